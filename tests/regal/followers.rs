//! The node is a place: an epoch waits for it, a release carries what it lacks, and what it holds
//! brings a vault back that was lost with its own places.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cloison::audit::origin::origin;
use cloison::journal::offer::JournalOffer;
use cloison::journal::read::{PlaceFault, PlaceLog};
use cloison::keys::file::read_signing_key;
use cloison::order::act::ActKind;
use cloison::store::Shard;
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::tree::{MerkleTree, leaf_hash};
use serde_json::{Value, json};

use super::common::backups::{good, words};
use super::common::{DEPLOYMENT, Door, QUORUM, Reply, Setup, Side, World, plain_get};
use super::journal::cipher;
use super::people::{act, soon, to_vault, unavailable};
use super::restore::back_up;

/// The node follows the vault and counts, and so does the vault's second place; so many must hold
/// an act. Neither side runs yet.
pub fn prepared(places: usize) -> World {
    let world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    fs::create_dir(world.path("elsewhere")).unwrap();
    let audit = format!(
        "second = \"elsewhere/place\"\nsecond-elsewhere = {}\nplaces = {places}\nfollowed = \"data/vault.followed\"\n\n\
         [[audit.follower]]\nname = \"court\"\npeer = \"court\"",
        places == 2
    );
    world.replace("vault.toml", "second = \"data/vault.place\"", &audit);
    let audit = "second = \"data/node.place\"\nfollowed = \"data/node.followed\"\n\n\
                 [[audit.follower]]\nname = \"vault\"\npeer = \"vault\"";
    world.replace("node.toml", "second = \"data/node.place\"", audit);
    world
}

/// The same, and both run.
pub fn world(places: usize) -> World {
    let mut world = prepared(places);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world
}

pub fn advance(world: &World, from: u64) -> Reply {
    let how = json!({"from": from});
    world.post_json("operator", Door::Control, "/v1/sectors/health/epochs", &how)
}

/// Entries under the checkpoint that auditors and witnesses see.
fn shown(world: &World) -> u64 {
    let reply = world.get("auditor", Door::Control, "/checkpoint");
    Checkpoint::read(reply.text().as_bytes()).unwrap().0.size
}

fn places(world: &World, who: &str, door: Door) -> Vec<Value> {
    let status = world.get(who, door, "/v1/status").ok();
    status["log"]["places"].as_array().unwrap().clone()
}

/// Entries that a followed folder holds, all of them checked.
fn held(world: &World, folder: &str, owner: &str, secrets: &str) -> Vec<Value> {
    let key = world.register().vault_checkpoint_key.unwrap();
    let node = world
        .register()
        .authorities
        .values()
        .next()
        .unwrap()
        .checkpoint_key
        .unwrap();
    let key = if owner.ends_with("vault") { key } else { node };
    let cipher = Some(Arc::new(cipher(world, secrets)));
    let place = PlaceLog::open(&world.path(folder), owner, &key, cipher).unwrap();
    let mut all = vec![];
    let walked = place.each::<PlaceFault>(|entry| {
        all.push(serde_json::from_slice(entry.entry).unwrap());
        Ok(())
    });
    walked.unwrap();
    all
}

/// The last segment of a place of one shard.
pub fn last_segment(place: &Path) -> PathBuf {
    let files = |folder: &Path| {
        let files = fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    let shard = files(place).into_iter().find(|path| path.is_dir());
    let mut segments = files(&shard.unwrap());
    segments.retain(|path| path.extension().is_some_and(|end| end == "journal"));
    segments.into_iter().max().unwrap()
}

fn away(world: &World, is_away: bool) {
    let (here, there) = (world.path("elsewhere"), world.path("gone"));
    let (from, to) = if is_away {
        (here, there)
    } else {
        (there, here)
    };
    fs::rename(from, to).unwrap();
}

#[test]
fn an_epoch_waits_for_two_places_and_no_checkpoint_leaves_before() {
    let mut world = world(2);
    world.health_pseudonyms(&["AB1"]);
    soon("both places hold all", || {
        let places = places(&world, "operator", Door::Control);
        assert_eq!(places.len(), 2, "{places:?}");
        let same = places
            .iter()
            .all(|place| place["entries"] == places[0]["entries"]);
        same && places
            .iter()
            .all(|place| place["counts"] == true && place["behind_seconds"].is_null())
    });
    world.end(Side::Node);
    let before = shown(&world);
    let refused = advance(&world, 1);
    assert_eq!(
        (refused.status, refused.code()),
        (503, "journal-unavailable".into())
    );
    assert_eq!(
        shown(&world),
        before,
        "nothing leaves before two places hold it"
    );
    world.start(Side::Node, &[]);
    advance(&world, 1).ok();
    assert!(shown(&world) > before);
    world.stop();
    let entries = world.entries(Side::Vault);
    let advances = entries.iter().filter(|e| e["event"] == "epoch-advance");
    assert_eq!(advances.count(), 1, "asked again, nothing is done twice");
    let held = held(
        &world,
        "data/node.followed",
        "test/vault",
        "secrets/vault/journal",
    );
    assert!(entries.starts_with(&held) && held.len() as u64 > before);
}

#[test]
fn each_side_holds_the_others_log() {
    let mut world = world(1);
    let asked = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    world.reidentify(&order, "health", &asked).ok();
    let owner = format!("{DEPLOYMENT}/node/court");
    let folder = format!("data/vault.followed/{owner}");
    soon("the vault holds the node's log", || {
        let has = |folder: &Path| folder.join("checkpoint").exists();
        has(&world.path(&folder))
            && held(&world, &folder, &owner, "secrets/authority/journal")
                .iter()
                .any(|entry| entry["event"] == "reveal")
    });
    let court = &places(&world, "officer", Door::Officers)[..];
    let vault = court.iter().find(|place| place["name"] == "vault").unwrap();
    assert_eq!(vault["counts"], true, "{vault}");
    world.stop();
}

#[test]
fn a_release_waits_for_no_place_and_is_not_lost_with_the_vault() {
    let mut world = world(1);
    back_up(&mut world);
    let asked = world.health_pseudonyms(&["AB1", "AB2"]);
    let order = world.order("health", &asked);
    let signed = world.sign(&order, QUORUM);
    world.reidentify(&signed, "health", &asked[..1]).ok();
    let other = world.order("health", &asked);
    let lodged = world.sign(&other, QUORUM);
    world.reidentify(&lodged, "health", &asked[..1]).ok();
    world.back_up();
    let revoke = act(&world, &other, ActKind::Revoke, &["judge-1"]);
    soon("the revocation is held", || {
        to_vault(&world, &revoke).status == 200
    });
    // The vault's own place is away: nothing is published, and the release is answered.
    away(&world, true);
    world.health_pseudonyms(&["AB3"]);
    world.reidentify(&signed, "health", &asked).ok();
    world.kill(Side::Vault);
    world.end(Side::Node);
    let held = held(
        &world,
        "data/node.followed",
        "test/vault",
        "secrets/vault/journal",
    );
    let releases = held
        .iter()
        .filter(|entry| entry["event"] == "release")
        .count();
    assert_eq!(releases, 3, "the answer carried the last one");

    world.lose("data/vault");
    let from = ["--from", "data/node.followed"];
    let done = good(&world.restore(Side::Vault, &from));
    assert!(done["entries_after"].as_u64() > Some(2), "{done}");
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::rename(world.path("gone/place"), world.path("elsewhere/place")).unwrap();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let again = to_vault(&world, &revoke);
    assert_eq!(again.ok()["order"]["state"], "revoked");
    world.stop();
    let entries = world.entries(Side::Vault);
    assert!(entries.starts_with(&held), "entry by entry");
}

#[test]
fn strangers_follow_nothing_and_forged_words_count_for_nothing() {
    let world = world(2);
    let ask = |who: &str, body: &[u8]| {
        world.post(who, Door::Control, "/v1/journal?wait=0", "text/plain", body)
    };
    let nothing = b"cloison held 1\n";
    for who in ["operator", "auditor", "node"] {
        let reply = ask(who, nothing);
        assert_eq!(reply.status, 200, "{who}");
        assert!(reply.body.starts_with(b"cloison offer 1\n"), "{who}");
        assert!(
            !reply.body.windows(7).any(|part| part == b"\"event\""),
            "{who}"
        );
    }
    assert_eq!(ask("cnss-health", nothing).status, 403);
    let note = world
        .get("auditor", Door::Control, "/checkpoint")
        .text()
        .to_owned();
    let forged = note.replacen('\n', "-1\n", 1);
    let lines = "\u{2014} court AAAAAAAA\n";
    for body in [
        String::new(),
        "cloison held 2\n".into(),
        format!("cloison held 1\n{forged}"),
        format!(
            "cloison held 1\n{}",
            note.replace("test/vault", "test/other")
        ),
        "cloison held 1\nnot a note\n".into(),
    ] {
        let reply = ask("operator", body.as_bytes());
        assert_eq!(
            (reply.status, reply.code()),
            (400, "malformed-body".into()),
            "{body}"
        );
    }
    // An unknown cosignature is passed over, as C2SP says; it counts for nothing.
    let reply = ask(
        "operator",
        format!("cloison held 1\n{note}{lines}").as_bytes(),
    );
    assert!(matches!(reply.status, 200 | 204), "{}", reply.status);
    let long = vec![b'x'; 70_000];
    assert_eq!(ask("operator", &long).status, 413);

    let bring = |who: &str, body: &[u8]| {
        let (path, bytes) = ("/v1/journal/offers", "application/octet-stream");
        world.post(who, Door::Control, path, bytes, body)
    };
    assert_eq!(bring("operator", b"").status, 403);
    assert_eq!(bring("node", b"").status, 200);
    // A side record goes whole, whatever else an offer holds.
    let large = |mib: usize| bring("node", &vec![b'x'; mib << 20]);
    assert_eq!((large(31).status, large(33).status), (400, 413));
    let own = ask("node", nothing).body;
    let length = own.len();
    let mut huge = own.clone();
    huge[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    for body in [&b"nothing"[..], &own, &own[..length - 1], &own[..40], &huge] {
        let reply = bring("node", body);
        assert_eq!((reply.status, reply.code()), (400, "malformed-body".into()));
    }
}

#[test]
fn a_folder_is_followed_only_from_the_server_whose_log_it_holds() {
    let mut world = world(1);
    world.health_pseudonyms(&["AB1"]);
    let follow = |client: &str| {
        let file = format!("clients/{client}.toml");
        let to = [
            "audit",
            "follow",
            "--to",
            "followed",
            "--register",
            "register.toml",
        ];
        world.cloison(&[&to[..], &["--once", "--client", &file]].concat())
    };
    let done = follow("auditor");
    assert!(done.status.success(), "{}", words(&done));
    let other = words(&follow("auditor-node"));
    assert!(
        other.contains("followed holds the log of test/vault")
            && other.contains("has the log of test/node/court"),
        "{other}"
    );
    // A server that is away: what may have ended it, and what brings it back.
    let log = fs::File::create(world.path("follow.log")).unwrap();
    let mut following = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args([
            "audit",
            "follow",
            "--to",
            "followed",
            "--register",
            "register.toml",
        ])
        .args(["--client", "clients/auditor.toml"])
        .current_dir(world.path(""))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let said = || world.read("follow.log");
    soon("it follows", || said().contains("follows the log"));
    world.end(Side::Vault);
    let said = || world.read("follow.log");
    soon("it says that the server is away", || {
        said().contains("tried again every second")
            && said().contains("--in-place --config FILE --from followed")
    });
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn a_node_serves_beside_a_damaged_folder_and_follows_again_once_it_is_away() {
    let mut world = world(1);
    let asked = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    world.reidentify(&order, "health", &asked).ok();
    world.end(Side::Node);
    let segment = last_segment(&world.path("data/node.followed"));
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() - 9]).unwrap();

    world.start(Side::Node, &[]);
    let ready = || plain_get(world.health(Side::Node), "/readyz").unwrap_or_default();
    soon("the node says what is damaged, and what to do", || {
        let said = ready();
        said.contains("data/node.followed does not hold what its checkpoint says")
            && said.contains("Move that folder away")
    });
    unavailable(&world.reidentify(&order, "health", &asked));
    world.lose("data/node.followed");
    soon("it follows from the beginning", || {
        world.reidentify(&order, "health", &asked).status == 200
    });
    assert!(world.path("data/node.followed/checkpoint").exists());
}

#[test]
fn kills_of_either_side_lose_nothing_that_was_acknowledged() {
    let mut world = world(1);
    for round in 0..4 {
        let cards = [format!("AB{round}1"), format!("AB{round}2")];
        let asked = world.health_pseudonyms(&[&cards[0], &cards[1]]);
        let order = world.order("health", &asked);
        let signed = world.sign(&order, QUORUM);
        world.reidentify(&signed, "health", &asked).ok();
        let revoke = act(&world, &order, ActKind::Revoke, &["judge-1"]);
        soon("a place holds it", || {
            to_vault(&world, &revoke).status == 200
        });
        let side = [Side::Vault, Side::Node][round % 2];
        world.kill(side);
        // What was acknowledged is held, whoever is killed.
        let held = held(
            &world,
            "data/node.followed",
            "test/vault",
            "secrets/vault/journal",
        );
        let of = |event: &str| held.iter().filter(|entry| entry["event"] == event).count();
        assert_eq!((of("release"), of("order-act")), (round + 1, round + 1));
        world.start(side, &[]);
    }
    world.stop();
    let held = held(
        &world,
        "data/node.followed",
        "test/vault",
        "secrets/vault/journal",
    );
    assert!(world.entries(Side::Vault).starts_with(&held));
}

/// What one commit changes is one record, however long, and has to come off the machine all the
/// same.
#[test]
fn a_record_of_many_megabytes_is_brought_like_any_other() {
    let mut world = prepared(1);
    world.start(Side::Vault, &[]);
    let key = read_signing_key(&world.path("secrets/authority/checkpoint.pem")).unwrap();
    let shard = Shard {
        year: 2026,
        part: 0,
    };
    let origin = origin(&format!("{DEPLOYMENT}/node/court"), shard);
    let mut tree = MerkleTree::default();
    let mut offer_of = |bytes: usize| {
        let (first, leaf) = (tree.size(), leaf_hash(&tree.size().to_be_bytes()));
        tree.push(leaf, |_, _| {});
        let mut offer = JournalOffer::after(first);
        offer.push(leaf, b"sealed", &vec![7; bytes]);
        let (origin, size, root) = (origin.clone(), tree.size(), tree.root());
        let note = Checkpoint { origin, size, root }.sign(&key);
        offer.under(&note, &key).to_bytes()
    };
    let bring = |offer: &[u8]| {
        let (path, bytes) = ("/v1/journal/offers", "application/octet-stream");
        world.post("node", Door::Control, path, bytes, offer)
    };
    for (held, length) in [(1, 100), (2, 12 << 20), (3, 24 << 20), (4, 100)] {
        let reply = bring(&offer_of(length));
        assert_eq!(reply.status, 200, "{length}: {}", reply.text());
        let (_, note) = reply.text().split_once('\n').unwrap();
        assert_eq!(Checkpoint::read(note.as_bytes()).unwrap().0.size, held);
    }
    assert_eq!(bring(&vec![7; 33 << 20]).code(), "too-large");
    world.stop();
}
