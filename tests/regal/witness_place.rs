//! A witness that follows is a place: acts wait for it alone, its folder brings a vault back whose
//! machine was lost, and nothing of it is believed that the log does not prove.

use std::fs;

use cloison::http::tls::spki_digest_of_file;
use cloison::keys::file::public_key_text;
use cloison::order::act::ActKind;
use serde_json::Value;

use super::common::backups::{good, words};
use super::common::process::Process;
use super::common::witness::WitnessPlace;
use super::common::{Door, QUORUM, Setup, Side, Stream, World, plain_get, request};
use super::followers::{advance, last_segment};
use super::people::{act, soon, to_vault, unavailable};
use super::restore::back_up;

/// Where the witness keeps the vault's log, and the node's.
const VAULT_LOG: &str = "data/witness-logs/test/vault";
const NODE_LOG: &str = "data/witness-logs/test/node/court";

/// The witness follows both sides and is the only place that counts at either.
fn world() -> (World, WitnessPlace, Process) {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    let place = WitnessPlace::prepare(&world);
    let node = world.register().authorities.values().next().cloned();
    let key = public_key_text(&node.unwrap().checkpoint_key.unwrap());
    let caller = spki_digest_of_file(&world.certificate("node")).unwrap();
    let follow = format!(
        "[follow]\npath = \"data/witness-logs\"\n[[log]]\nowner = \"test/node/court\"\npublic = \"{key}\"\n\
         [[caller]]\ncertificate = \"{caller:?}\"\n[state]"
    );
    world.replace("witness.toml", "[state]", &follow);
    let text = world.read("vault.toml");
    let asked = &text[text.find("[[audit.witness]]").unwrap()..text.find("\n[audit]").unwrap()];
    let own = asked
        .replace("tls/vault.pem", "tls/node.pem")
        .replace("tls/vault.key", "tls/node.key");
    world.replace("node.toml", "[audit]", &format!("{own}\n[audit]"));
    for file in ["vault.toml", "node.toml"] {
        let follows = "name = \"cndp\"\nfollows = true";
        world.replace(file, "name = \"cndp\"", follows);
        world.replace(file, "[audit]", "[audit]\nplaces = 1");
    }
    let witness = place.start(&world, &["--first-start"]).unwrap();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    (world, place, witness)
}

/// What the vault says of the witness among its places.
fn standing(world: &World) -> Value {
    let status = world.get("operator", Door::Control, "/v1/status").ok();
    let places = status["log"]["places"].as_array().unwrap();
    let cndp = places.iter().find(|place| place["name"] == "cndp");
    cndp.unwrap().clone()
}

#[test]
fn a_vault_whose_machine_is_lost_comes_back_from_the_witness() {
    let (mut world, _place, _witness) = world();
    back_up(&mut world);
    let asked = world.health_pseudonyms(&["AB1", "AB2"]);
    let order = world.order("health", &asked);
    let signed = world.sign(&order, QUORUM);
    world.reidentify(&signed, "health", &asked[..1]).ok();
    world.back_up();
    advance(&world, 1).ok();
    let revoke = act(&world, &order, ActKind::Revoke, &["judge-1"]);
    soon("the revocation is held", || {
        to_vault(&world, &revoke).status == 200
    });
    let standing = standing(&world);
    assert_eq!(standing["counts"], true, "{standing}");
    assert!(standing["entries"].as_u64() > Some(3), "{standing}");
    soon("the node's log is kept, too", || {
        world.path(NODE_LOG).join("checkpoint").exists()
    });
    world.kill(Side::Vault);
    world.end(Side::Node);
    let entries = world.entries(Side::Vault);

    for lost in ["data/vault", "data/vault.place"] {
        world.lose(lost);
    }
    // A folder whose bytes are not the log's restores nothing.
    let segment = last_segment(&world.path(VAULT_LOG));
    let whole = fs::read(&segment).unwrap();
    let mut other = whole.clone();
    let last = other.len() - 40;
    other[last] ^= 1;
    fs::write(&segment, &other).unwrap();
    let refused = world.restore(Side::Vault, &["--from", VAULT_LOG]);
    assert!(!refused.status.success(), "{}", words(&refused));
    let left = world.path("data/vault").read_dir();
    assert_eq!(left.map_or(0, Iterator::count), 0, "nothing is half done");
    fs::write(&segment, &whole).unwrap();

    // The folder of both logs will do.
    let done = good(&world.restore(Side::Vault, &["--from", "data/witness-logs"]));
    // The advance, the revocation, and its refusals, if it had to be brought again.
    assert!(done["entries_after"].as_u64() > Some(1), "{done}");
    let resume = "audit resume --second-lost --yes --config vault.toml";
    let resumed = world.cloison(&resume.split(' ').collect::<Vec<_>>());
    assert!(resumed.status.success(), "{}", words(&resumed));
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    assert_eq!(to_vault(&world, &revoke).ok()["order"]["state"], "revoked");
    advance(&world, 1).ok();
    world.stop();
    let after = world.entries(Side::Vault);
    assert!(after.starts_with(&entries));
    let advances = after
        .iter()
        .filter(|entry| entry["event"] == "epoch-advance");
    assert_eq!(
        advances.count(),
        1,
        "the epoch is there: it is not advanced again"
    );
}

#[test]
fn an_act_waits_for_the_witness_also_once_its_folder_is_lost() {
    let (mut world, place, witness) = world();
    world.health_pseudonyms(&["AB1"]);
    soon("the witness holds what there is", || {
        standing(&world)["behind_seconds"].is_null()
    });
    drop(witness);
    let refused = advance(&world, 1);
    unavailable(&refused);
    let why = refused.text().to_owned();
    assert!(
        why.contains("0 of 1 hold all of it; not cndp (last heard"),
        "{why}"
    );
    let ready = || plain_get(world.health(Side::Vault), "/readyz").unwrap_or_default();
    soon("it is said at once who is missing", || {
        ready().contains("cndp is ")
    });
    world.lose("data/witness-logs");
    let witness = place.start(&world, &[]).unwrap();
    advance(&world, 1).ok();
    soon("it holds all that there is", || {
        standing(&world)["behind_seconds"].is_null()
    });
    world.stop();

    // One that keeps nothing, though it is said to, is named.
    world.replace(
        "witness.toml",
        "[follow]\npath = \"data/witness-logs\"\n",
        "",
    );
    drop(witness);
    let _witness = place.start(&world, &[]).unwrap();
    world.start(Side::Vault, &[]);
    soon("the vault says who keeps nothing", || {
        let ready = plain_get(world.health(Side::Vault), "/readyz").unwrap_or_default();
        ready.contains("the witness cndp does not keep this log: its configuration has no [follow]")
    });
}

#[test]
fn a_witness_keeps_what_its_logs_owners_signed_and_nothing_else() {
    let (world, place, _witness) = world();
    world.health_pseudonyms(&["AB1"]);
    let (path, held) = ("/v1/journal?wait=0", b"cloison held 1\n");
    let offer = world.post("node", Door::Control, path, "text/plain", held);
    assert_eq!(offer.status, 200);
    let ask = |log: &str, body: &[u8]| {
        let files = ("tls/vault.pem", "secrets/tls/vault.key");
        let files = (world.path(files.0), world.path(files.1));
        let mut stream = Stream::connect(place.listen, &world.certificate("node"), Some(files));
        let path = format!("/v1/journal/offers{log}");
        let bytes = [("content-type", "application/octet-stream")];
        stream
            .exchange(&request("POST", &path, &bytes, body))
            .unwrap()
    };
    assert_eq!(ask("?log=test/vault", b"").status, 200);
    for (log, status) in [
        ("", 400),
        ("?log=test/vault&more=1", 400),
        ("?log=test/other", 404),
        ("?log=../../../elsewhere", 404),
    ] {
        assert_eq!(ask(log, b"").status, status, "{log}");
    }
    for body in [&b"nothing"[..], &offer.body[..offer.body.len() - 1]] {
        let reply = ask("?log=test/vault", body);
        assert_eq!((reply.status, reply.code()), (400, "malformed-body".into()));
    }
    // The vault's own log under the node's name.
    let foreign = ask("?log=test/node/court", &offer.body);
    assert_eq!(
        (foreign.status, foreign.code()),
        (400, "malformed-body".into())
    );
    assert!(!world.path("data/elsewhere").exists());
}
