//! Who watches whom: a witness that is shown growth, forks and old checkpoints; vault and node;
//! cosignatures that are required.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use cloison::audit::origin::TrustedLogKey;
use cloison::audit::source::LogFolder;
use cloison::audit::verify::{self, LogExpectations};
use cloison::deployment::register_text::OPERATORS;
use cloison::epoch::statement::Destruction;
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::note::SignedNote;
use cloison::tlog::proof::consistency;
use cloison::tlog::source::SourceTiles;
use cloison::tlog::witness::{CheckpointSubmission, Witness, WitnessRefusal};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde_json::Value;

use super::common::backups::{good, words};
use super::common::witness::WitnessPlace;
use super::common::{Door, QUORUM, Side, World, copy_folder, plain_get};
use super::forge::{Log, ORIGIN, entries, entry, key, write};

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn witness(folder: &Path) -> Witness {
    let logs = vec![TrustedLogKey::Owner(
        "test/vault".into(),
        key().verifying_key(),
    )];
    Witness::new(
        "cndp",
        SigningKey::from_bytes(&[9; 32]),
        logs,
        folder.to_owned(),
    )
}

/// What a log submits that believes the witness to know `old` entries of it.
fn submission(log: &Log, old: u64) -> CheckpointSubmission {
    let folder = LogFolder(log.path().to_owned());
    let proof = consistency(&mut SourceTiles::new(&folder, "", log.size), old, log.size).unwrap();
    CheckpointSubmission {
        old,
        proof,
        note: String::from_utf8(log.checkpoint()).unwrap(),
    }
}

#[test]
fn a_witness_cosigns_growth_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let ours = witness(folder.path());
    let small = Log::new(300);
    let lines = ours.add_checkpoint(&submission(&small, 0), now()).unwrap();
    let note = String::from_utf8(small.checkpoint()).unwrap() + &lines;
    let time = SignedNote::parse(note.as_bytes())
        .unwrap()
        .time_of(&ours.verifier())
        .unwrap();
    assert_eq!(time, Some(now().as_second() as u64));

    // The same again, growth, and growth after a restart of the witness.
    ours.add_checkpoint(&submission(&small, 300), now())
        .unwrap();
    let large = Log::new(700);
    assert!(matches!(
        ours.add_checkpoint(&submission(&large, 0), now()),
        Err(WitnessRefusal::Stale(300))
    ));
    ours.add_checkpoint(&submission(&large, 300), now())
        .unwrap();
    let ours = witness(folder.path());
    assert_eq!(ours.size(ORIGIN).unwrap(), 700);
    let larger = Log::new(66_000);
    ours.add_checkpoint(&submission(&larger, 700), now())
        .unwrap();

    // Old checkpoints, forks, forgeries.
    assert!(matches!(
        ours.add_checkpoint(&submission(&large, 300), now()),
        Err(WitnessRefusal::Stale(66_000))
    ));
    let mut other = entries(66_500);
    other[10] = entry(1_000_000);
    let fork = Log::of(&other);
    assert!(matches!(
        ours.add_checkpoint(&submission(&fork, 66_000), now()),
        Err(WitnessRefusal::Inconsistent {
            old: 66_000,
            new: 66_500
        })
    ));
    let grown = Log::new(66_500);
    let mut spoilt = submission(&grown, 66_000);
    spoilt.proof[1][0] ^= 1;
    assert!(matches!(
        ours.add_checkpoint(&spoilt, now()),
        Err(WitnessRefusal::Inconsistent { .. })
    ));
    let mut forged = submission(&grown, 66_000);
    forged.note = forged.note.replace("\n66500\n", "\n66501\n");
    assert!(matches!(
        ours.add_checkpoint(&forged, now()),
        Err(WitnessRefusal::Unsigned(_))
    ));
    write(
        small.path(),
        "cloison/other/vault/2026",
        &key(),
        &entries(300),
    );
    assert!(matches!(
        ours.add_checkpoint(&submission(&small, 0), now()),
        Err(WitnessRefusal::UnknownLog(_))
    ));
    let backwards = CheckpointSubmission {
        old: 66_501,
        ..submission(&grown, 66_000)
    };
    assert!(matches!(
        ours.add_checkpoint(&backwards, now()),
        Err(WitnessRefusal::Malformed)
    ));
    assert_eq!(
        ours.size(ORIGIN).unwrap(),
        66_000,
        "nothing of that was remembered"
    );
    ours.add_checkpoint(&submission(&grown, 66_000), now())
        .unwrap();
}

/// Who has stolen a log's key can sign for any shard of it, without end.
#[test]
fn a_witness_remembers_a_bounded_number_of_shards_of_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let ours = witness(folder.path());
    let log = Log::new(3);
    let submit = |shard: &str, old: u64| {
        write(
            log.path(),
            &format!("cloison/test/vault/{shard}"),
            &key(),
            &entries(3),
        );
        ours.add_checkpoint(&submission(&log, old), now())
    };
    // A clock that ran ten years ahead.
    submit("2036", 0).unwrap();
    (0..1024).for_each(|n| fs::write(folder.path().join(format!("another-{n}")), "").unwrap());
    let files = || fs::read_dir(folder.path()).unwrap().count();
    let before = files();
    for shard in ["2019", "2028", "65535", "2026-64", "2027-65535"] {
        assert!(
            matches!(submit(shard, 0), Err(WitnessRefusal::Unlikely(_))),
            "{shard}"
        );
    }
    assert_eq!(files(), before, "nothing is kept of them");
    // Known logs continue; a true log turns its year, and is restored now and then.
    submit("2036", 3).unwrap();
    for shard in ["2025", "2026", "2026-1", "2026-63", "2027"] {
        submit(shard, 0).unwrap();
    }
}

/// What vault and node remember of each other's logs is not begun anew without a word.
#[test]
fn a_lost_memory_of_the_other_sides_log_is_not_taken_for_a_first_use() {
    let mut world = World::new();
    await_cosignature_of_the_node(&world);
    world.stop();
    for (side, folder) in [
        (Side::Vault, "data/vault.cosigned"),
        (Side::Node, "data/node.cosigned"),
    ] {
        fs::rename(world.path(folder), world.path("away")).unwrap();
        let failed = world.try_start(side, &[]).unwrap_err();
        assert!(
            failed
                .to_string()
                .contains("what was last seen of the other side's log"),
            "{failed}"
        );
        fs::rename(world.path("away"), world.path(folder)).unwrap();
        world.start(side, &[]);
    }
}

/// What a witness remembers is deleted while it runs: it does not begin anew, with whatever history
/// it is shown.
#[test]
fn a_witness_whose_folder_is_emptied_under_it_cosigns_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let ours = witness(folder.path());
    ours.add_checkpoint(&submission(&Log::new(300), 0), now())
        .unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for old in [0, 300] {
        let refused = ours
            .add_checkpoint(&submission(&Log::new(700), old), now())
            .unwrap_err();
        assert!(matches!(refused, WitnessRefusal::State(_)), "{refused}");
    }
}

#[test]
fn a_submission_has_one_form() {
    let good = submission(&Log::new(300), 256);
    assert_eq!(
        CheckpointSubmission::parse(good.text().as_bytes()),
        Some(good.clone())
    );
    for (from, to) in [
        ("old 256", "old 0256"),
        ("old ", "old"),
        ("\n\n", "\n"),
        ("old 256\n", "old 256\nnot base64\n"),
    ] {
        let text = good.text().replacen(from, to, 1);
        let parsed = CheckpointSubmission::parse(text.as_bytes());
        assert!(
            parsed.is_none() || parsed.unwrap().note != good.note,
            "{from:?} → {to:?}"
        );
    }
}

/// The note at a listener's `/checkpoint`.
pub fn shown(world: &World, door: Door) -> String {
    String::from_utf8(world.get("auditor", door, "/checkpoint").body).unwrap()
}

fn await_cosignature_of_the_node(world: &World) {
    eventually("the node cosigns the vault", || {
        shown(world, Door::Control).contains("— cloison/test/node/court ")
    });
}

#[track_caller]
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn vault_and_node_cosign_each_other_and_nothing_is_released_without() {
    let mut world = World::new();
    await_cosignature_of_the_node(&world);
    eventually("the vault cosigns the node", || {
        shown(&world, Door::Officers).contains("— cloison/test/vault ")
    });
    let pseudonyms = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    world.reidentify(&order, "health", &pseudonyms).ok();

    // A vault that nobody watches yet releases nothing; the node's own request makes up for it.
    world.end(Side::Node);
    world.end(Side::Vault);
    world.start(Side::Vault, &[]);
    let request = world.request(&order, "health", &pseudonyms);
    let refused = world.release_with(&order, &request, "health", &pseudonyms);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "cosignature-missing")
    );
    world.start(Side::Node, &[]);
    world.end(Side::Vault);
    world.start(Side::Vault, &[]);
    world.reidentify(&order, "health", &pseudonyms).ok();

    // The node's entry holds the proof.
    world.stop();
    let entries = world.entries(Side::Node);
    let reveal = entries
        .iter()
        .rfind(|entry| entry["event"] == "reveal")
        .unwrap();
    let checkpoint = reveal["vault_checkpoint"].as_str().unwrap();
    let (head, _) = Checkpoint::read(checkpoint.as_bytes()).unwrap();
    assert!(head.origin.starts_with("cloison/test/vault/") && reveal["vault_path"].is_array());
    assert_eq!(reveal["vault_entry"]["log"], head.origin);
    assert_eq!(
        world.refusals(Side::Vault, "court", "release", "cosignature-missing"),
        2
    );
}

#[test]
fn a_vault_that_lost_entries_is_noticed_by_the_node_which_opens_again_when_that_was_acknowledged() {
    let mut world = World::new();
    await_cosignature_of_the_node(&world);
    world.stop();
    let (store, backup) = (world.path("data/vault"), world.path("backup"));
    copy_folder(&store, &backup);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let pseudonyms = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    world.reidentify(&order, "health", &pseudonyms).ok();
    world.end(Side::Vault);

    // Restored, it refuses to start, also when its second place is taken away; told to continue
    // without, it starts, and the node refuses.
    fs::remove_dir_all(&store).unwrap();
    copy_folder(&backup, &store);
    let failed = world.try_start(Side::Vault, &[]).unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("is not the one that was published"),
        "{failed}"
    );
    // It is not to go on without them while the second place holds what is missing.
    let refused = world.resume(Side::Vault, "--after-restore");
    assert!(
        !refused.status.success()
            && String::from_utf8_lossy(&refused.stderr).contains("restore --in-place"),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    let second = world.path("data/vault.place/checkpoint");
    let remembered = fs::read(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let failed = world.try_start(Side::Vault, &[]).unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("is empty, but this log has published"),
        "{failed}"
    );
    let told = world.resume(Side::Vault, "--second-lost");
    assert!(told.status.success(), "{}", words(&told));
    // The node shows it what it has seen: a vault that is not the newest ends.
    world.start(Side::Vault, &[]);
    let _ = world.reidentify(&order, "health", &pseudonyms);
    assert_eq!(world.ended(Side::Vault).code(), Some(71));
    let said = world.log(Side::Vault);
    assert!(
        said.contains("the node of court has a checkpoint over"),
        "{said}"
    );

    // Told to, it continues in a new shard, and everyone knows.
    fs::remove_dir_all(&store).unwrap();
    copy_folder(&backup, &store);
    fs::write(&second, remembered).unwrap();
    lose_the_places_entries(&world);
    let resumed = resume(&world, &[]);
    assert!(resumed.status.success(), "{}", words(&resumed));
    world.start(Side::Vault, &[]);
    assert!(
        shown(&world, Door::Control)
            .lines()
            .next()
            .unwrap()
            .ends_with("-1")
    );

    // The node refuses until an officer or custodian has acknowledged it; what it remembers stays
    // where it is.
    let refused = world.reidentify(&order, "health", &pseudonyms);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (502, "proof-invalid")
    );
    assert!(
        refused.text().contains("acknowledge-resume"),
        "{}",
        refused.text()
    );
    let ready = || plain_get(world.health(Side::Node), "/readyz").unwrap();
    eventually("the node says that it opens nothing", || {
        ready().starts_with("HTTP/1.1 503")
            && ready().contains("vault-log")
            && ready().contains("acknowledge-resume")
    });
    let found = acknowledge(&world, &[]).remove(0);
    assert_eq!(found["acknowledged"], false);
    assert_eq!(
        found["log"],
        format!("{}-1", found["lost_log"].as_str().unwrap())
    );
    let unknown = [
        "authority",
        "acknowledge-resume",
        "--client",
        "clients/officer.toml",
        "--entry",
        &"0".repeat(64),
    ];
    assert!(!world.cloison(&unknown).status.success());
    assert_eq!(
        world.reidentify(&order, "health", &pseudonyms).code(),
        "proof-invalid"
    );
    assert_eq!(
        acknowledge(&world, &["--entry", found["entry"].as_str().unwrap()])[0]["acknowledged"],
        true
    );
    // The vault is asked again, and waits for what its people know of the lost time.
    let waits = world.reidentify(&order, "health", &pseudonyms);
    assert_eq!(waits.code(), "erasures-missing");
    eventually("the node is ready again", || {
        ready().starts_with("HTTP/1.1 200")
    });
    world.end(Side::Node);
    world.start(Side::Node, &[]);
    let waits = world.reidentify(&order, "health", &pseudonyms);
    assert_eq!(waits.code(), "erasures-missing");
    world.end(Side::Node);
    let entries = world.entries(Side::Node);
    let entry = entries
        .iter()
        .find(|entry| entry["event"] == "acknowledge-resume")
        .expect("it is logged");
    assert_eq!(
        (&entry["actor"], &entry["entry"]),
        (&"officer".into(), &found["entry"])
    );
    let again = world.resume(Side::Vault, "--after-restore");
    assert!(!again.status.success());
}

/// A vault that lost entries continues twice, so that the shard that is too short is not among the
/// last two that it names: the node still refuses until that is acknowledged.
#[test]
fn every_log_that_the_node_remembers_is_held_against_the_vaults() {
    let mut world = World::new();
    await_cosignature_of_the_node(&world);
    world.stop();
    let (store, backup) = (world.path("data/vault"), world.path("backup"));
    copy_folder(&store, &backup);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let pseudonyms = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    world.reidentify(&order, "health", &pseudonyms).ok();
    world.stop();
    restore_and_resume(&world, &backup);
    let between = world.path("between");
    copy_folder(&store, &between);
    world.start(Side::Vault, &[]);
    world.stop();
    restore_and_resume(&world, &between);
    world.start(Side::Vault, &[]);
    assert!(
        shown(&world, Door::Control)
            .lines()
            .next()
            .unwrap()
            .ends_with("-2")
    );

    world.start(Side::Node, &[]);
    let refused = world.reidentify(&order, "health", &pseudonyms);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (502, "proof-invalid"),
        "{}",
        refused.text()
    );
    assert!(
        refused.text().contains("acknowledge-resume"),
        "{}",
        refused.text()
    );
    let found = acknowledge(&world, &[]);
    assert_eq!(found.len(), 2, "each shard that was begun after a loss");
    for log in &found {
        let entry = log["entry"].as_str().unwrap();
        let known = acknowledge(&world, &["--entry", entry]);
        let known = known.iter().find(|log| log["entry"] == entry).unwrap();
        assert_eq!(known["acknowledged"], true);
    }
    let waits = world.reidentify(&order, "health", &pseudonyms);
    assert_eq!(waits.code(), "erasures-missing");
}

/// `authority acknowledge-resume`, by the officer: the logs of the vault that lost entries.
fn acknowledge(world: &World, more: &[&str]) -> Vec<Value> {
    let usual = ["authority", "acknowledge-resume", "--json"];
    let officer = ["--client", "clients/officer.toml"];
    let answer = good(&world.cloison(&[&usual[..], &officer, more].concat()));
    answer["resumed"].as_array().unwrap().clone()
}

/// Lets the vault's log go on from the copy in its place, once two operators have signed for that.
pub fn resume(world: &World, more: &[&str]) -> Output {
    let usual = ["audit", "resume", "--after-restore", "--yes"];
    let line = [&usual[..], &["--config", "vault.toml"], more].concat();
    let refused = world.cloison(&line);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "nobody signed for it");
    let Some((_, kept)) = said.split_once("--resume-from-copy vault:") else {
        return refused;
    };
    let kept = kept.split_whitespace().next().unwrap();
    let signed = |entity: &str, kept: &str, by: &[&str]| {
        let statement = world.statement(Destruction::ResumeFromCopy {
            entity: entity.to_owned(),
            kept: kept.to_owned(),
            case: "OPS/2026-17".to_owned(),
        });
        let _ = fs::remove_file(world.path("loss.jws"));
        world.write("loss.jws", &world.sign_statement(&statement, by));
        world.cloison(&[&line[..], &["--statement", "loss.jws"]].concat())
    };
    let last = if kept.ends_with('0') { '1' } else { '0' };
    let other = format!("{}{last}", &kept[..kept.len() - 1]);
    for (entity, kept, by, why) in [
        ("vault", kept, &OPERATORS[..1], "1 of 2 signatures"),
        ("vault", &*other, &OPERATORS[..], "and not of vault at"),
        ("node/court", kept, &OPERATORS[..], "and not of vault at"),
    ] {
        let said = words(&signed(entity, kept, by));
        assert!(said.contains(why), "{said}");
    }
    signed("vault", kept, &OPERATORS)
}

/// Puts a copy of the vault's store in its place, and lets the log continue in another shard.
fn restore_and_resume(world: &World, backup: &Path) {
    let store = world.path("data/vault");
    fs::remove_dir_all(&store).unwrap();
    copy_folder(backup, &store);
    lose_the_places_entries(world);
    let resumed = resume(world, &[]);
    assert!(resumed.status.success(), "{}", words(&resumed));
}

/// Leaves the second place its checkpoint only.
fn lose_the_places_entries(world: &World) {
    for entry in fs::read_dir(world.path("data/vault.place")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        }
    }
}

#[test]
fn a_vault_can_require_a_witness_and_says_when_it_lacks_it() {
    let mut world = World::asleep();
    let place = WitnessPlace::prepare(&world);
    world.replace(
        "vault.toml",
        "[audit]",
        "[audit]\nrequired = 1\nwithin-seconds = 5",
    );
    // What it remembers is never begun anew but on purpose.
    let refused = place.start(&world, &[]).err().unwrap();
    assert_eq!(refused.code, Some(75));
    let witness = place.start(&world, &["--first-start"]).unwrap();
    world.start(Side::Vault, &[]);
    world.health_pseudonyms(&["AB1"]);
    eventually("the witness cosigns", || {
        shown(&world, Door::Control).contains("— cndp ")
    });
    let verifier = String::from_utf8(
        world
            .cloison(&["witness", "key", "--config", "witness.toml"])
            .stdout,
    )
    .unwrap();
    let verify = [
        "audit",
        "verify",
        "--client",
        "clients/auditor.toml",
        "--register",
        "register.toml",
        "--json",
    ];
    let with = ["--witness", verifier.trim(), "--require", "1"];
    let report = world.cloison(&[&verify[..], &with[..]].concat());
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(
        (&report["good"], &report["logs"][0]["cosigned"][0]["name"]),
        (&true.into(), &"cndp".into())
    );

    witness.signal(libc::SIGHUP);
    let said = || fs::read_to_string(world.path("logs/witness.log")).unwrap();
    eventually("a hangup ends no witness", || {
        said().contains("SIGHUP: reading again")
    });

    let ready = || plain_get(world.health(Side::Vault), "/readyz").unwrap_or_default();
    drop(witness);
    eventually("the vault says what it lacks", || {
        ready().contains("0 of 1 required cosignatures within 5 s")
    });
    let _witness = place.start(&world, &[]).unwrap();
    eventually("the vault is ready again", || {
        ready().contains("\"ready\":true")
    });
    assert!(
        world
            .log(Side::Vault)
            .contains("the register does not state its key"),
        "asked, and not registered"
    );
}

/// A register states a witness's key and no name: a cosignature by that key is that witness's,
/// under whatever name.
#[test]
fn the_witnesses_of_a_register_count_without_being_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, log) = (witness(folder.path()), Log::new(300));
    let lines = ours.add_checkpoint(&submission(&log, 0), now()).unwrap();
    let path = log.path().join("checkpoint");
    let report = |witnesses: Vec<(&str, &SigningKey)>, required| {
        let witnesses = witnesses
            .into_iter()
            .map(|(id, key)| (id.to_owned(), key.verifying_key()))
            .collect();
        let wanted = LogExpectations {
            keys: vec![TrustedLogKey::Any(key().verifying_key())],
            witnesses,
            required,
            ..LogExpectations::default()
        };
        verify::all(
            &LogFolder(log.path().to_owned()),
            &wanted,
            &mut |_, _, _| {},
        )
        .unwrap()
    };
    let (known, other) = (
        SigningKey::from_bytes(&[9; 32]),
        SigningKey::from_bytes(&[10; 32]),
    );
    assert!(
        !report(vec![("commission", &known)], 1).is_good(),
        "not cosigned yet"
    );
    fs::write(
        &path,
        [log.checkpoint(), lines.clone().into_bytes()].concat(),
    )
    .unwrap();
    let good = report(vec![("commission", &known), ("other", &other)], 1);
    assert!(good.is_good());
    assert_eq!(
        good.logs[0]
            .cosigned
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        ["cndp"]
    );
    assert!(!report(vec![("other", &other)], 1).is_good());
    assert!(!report(vec![("commission", &known)], 2).is_good());
    // A cosignature by a witness of the register that is none.
    let mut forged = lines.into_bytes();
    let end = forged.len() - 4;
    forged[end] = if forged[end] == b'A' { b'B' } else { b'A' };
    fs::write(&path, [log.checkpoint(), forged].concat()).unwrap();
    assert!(!report(vec![("commission", &known)], 0).is_good());
}
