//! An older copy of a store, brought back by whatever means, is not served: those who have seen
//! more of its log say so. The acts after the image are those that must not be undone ([`acts`]);
//! what is not served undoes none of them.

use std::fs;

use cloison::tlog::checkpoint::Checkpoint;
use jiff::Timestamp;

use super::acts::{self, Acts};
use super::common::backups::words;
use super::common::witness::WitnessPlace;
use super::common::{Door, Side, World, copy_folder, plain_get};
use super::witnesses::{eventually, resume, shown};

/// Everything that a side keeps on its disks, beside its configuration.
const VAULT: [&str; 3] = ["data/vault", "data/vault.place", "data/vault.cosigned"];
const NODE: [&str; 3] = ["data/node", "data/node.place", "data/node.cosigned"];

/// Copies the machine's image of a side into the folder `image`, or brings it back.
fn image(world: &World, places: [&str; 3], image: &str, bring_back: bool) {
    fs::create_dir_all(world.path(image).join("data")).unwrap();
    for place in places {
        let (here, there) = (world.path(place), world.path(image).join(place));
        let (from, to) = if bring_back {
            (there, here)
        } else {
            (here, there)
        };
        if !from.exists() {
            continue;
        }
        if from.is_dir() {
            let _ = fs::remove_dir_all(&to);
            copy_folder(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn cosigned_by_both(world: &World) {
    eventually("the node cosigns the vault", || {
        shown(world, Door::Control).contains("— cloison/test/node/court ")
    });
    eventually("the vault cosigns the node", || {
        shown(world, Door::Officers).contains("— cloison/test/vault ")
    });
}

/// Both sides run and cosign one another, with what is there before the image.
fn begun() -> (World, Acts) {
    let mut world = acts::world();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let acts = Acts::prepare(&world);
    cosigned_by_both(&world);
    (world, acts)
}

#[test]
fn a_vault_of_yesterday_is_stopped_by_the_node() {
    let (mut world, acts) = begun();
    world.stop();
    image(&world, VAULT, "yesterday", false);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    acts.act(&world);
    world.end(Side::Vault);
    image(&world, VAULT, "yesterday", true);

    // It knows no witness, and cannot ask the node; as soon as the node watches it, it ends.
    world.start(Side::Vault, &[]);
    assert_eq!(world.ended(Side::Vault).code(), Some(71));
    let said = world.log(Side::Vault);
    assert!(said.contains("this store is not the newest"), "{said}");
    assert!(
        said.contains("the node of court has a checkpoint"),
        "{said}"
    );

    // A person may let it go on, with what the node has seen; the log says so for good.
    let seen = fs::read_dir(world.path("data/node.cosigned")).unwrap();
    let seen = seen.map(|file| file.unwrap().path());
    let seen = seen.max_by_key(|file| {
        let note = fs::read(file).unwrap();
        Checkpoint::read(&note).map_or(0, |(checkpoint, _)| checkpoint.size)
    });
    let seen = seen.unwrap().display().to_string();
    let resume = |more: &[&str]| resume(&world, more);
    assert!(!resume(&[]).status.success(), "nobody here knows of a loss");
    let resumed = resume(&["--seen", &seen]);
    let why = String::from_utf8_lossy(&resumed.stderr).into_owned();
    assert!(resumed.status.success(), "{why}");
    world.start(Side::Vault, &[]);
    let ready = || plain_get(world.health(Side::Node), "/readyz").unwrap();
    eventually("the node says that it opens nothing", || {
        ready().contains("acknowledge-resume")
    });
    assert!(world.is_running(Side::Vault));
}

#[test]
fn a_node_of_yesterday_does_not_start() {
    let (mut world, acts) = begun();
    world.stop();
    image(&world, NODE, "yesterday", false);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    acts.act(&world);
    eventually("the vault cosigns the node", || {
        shown(&world, Door::Officers).contains("— cloison/test/vault ")
    });
    world.end(Side::Node);
    image(&world, NODE, "yesterday", true);
    let failed = world.try_start(Side::Node, &[]).unwrap_err();
    assert_eq!(failed.code, Some(71), "{failed}");
    assert!(failed.said.contains("the vault at https://"), "{failed}");
}

/// Two images of one night, brought back on both sides: each fits the other. The witness is
/// elsewhere.
#[test]
fn both_sides_of_yesterday_are_told_by_a_witness() {
    let mut world = acts::world();
    let place = WitnessPlace::prepare(&world);
    let witness = place.start(&world, &["--first-start"]).unwrap();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let acts = Acts::prepare(&world);
    cosigned_by_both(&world);
    world.stop();
    for places in [VAULT, NODE] {
        image(&world, places, "yesterday", false);
    }
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    acts.act(&world);
    let covers = |world: &World| {
        let note = shown(world, Door::Control);
        note.contains("— cndp ").then_some(note)
    };
    let before = covers(&world);
    world.health_pseudonyms(&["AB8"]);
    eventually("the witness cosigns what came after", || {
        covers(&world).is_some_and(|note| Some(note) != before)
    });
    world.stop();
    for places in [VAULT, NODE] {
        image(&world, places, "yesterday", true);
    }
    let failed = world.try_start(Side::Vault, &[]).unwrap_err();
    assert_eq!(failed.code, Some(71), "{failed}");
    assert!(
        failed.said.contains("the witness cndp has a checkpoint"),
        "{failed}"
    );

    // While the witness is away nobody tells; when it comes back, the vault ends.
    drop(witness);
    world.start(Side::Vault, &[]);
    let _witness = place.start(&world, &[]).unwrap();
    assert_eq!(world.ended(Side::Vault).code(), Some(71));

    // Where the loss is for good, the witness begins the next shard once its people have
    // acknowledged it.
    let resumed = resume(&world, &[]);
    assert!(resumed.status.success(), "{}", words(&resumed));
    world.start(Side::Vault, &[]);
    eventually("the witness refuses the new shard", || {
        world
            .read("logs/witness.log")
            .contains("its people have acknowledged that")
    });
    assert!(covers(&world).is_none(), "not cosigned");
    let year = Timestamp::now().to_string()[..4].to_owned();
    let name = |part: &str| format!("cloison/test/vault/{year}{part}");
    let acknowledge = |log: &str| {
        let line = [
            "witness",
            "acknowledge-resume",
            "--config",
            "witness.toml",
            "--log",
            log,
        ];
        world.cloison(&line).status.success()
    };
    assert!(!acknowledge(&name("")) && !acknowledge("cloison/other/vault/2026-1"));
    assert!(acknowledge(&name("-1")));
    eventually("the witness cosigns the new shard", || {
        covers(&world).is_some()
    });
}

/// Only what the log's own key signed counts.
#[test]
fn what_nobody_signed_stops_nothing() {
    let mut world = World::new();
    cosigned_by_both(&world);
    let note = shown(&world, Door::Control);
    let (checkpoint, _) = Checkpoint::read(note.as_bytes()).unwrap();
    let forged = Checkpoint {
        size: checkpoint.size + 1_000,
        ..checkpoint
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let told = world.post(
        "node",
        Door::Control,
        "/v1/audit/cosignatures",
        "text/plain",
        forged.sign(&key).as_bytes(),
    );
    assert_eq!((told.status, told.code().as_str()), (400, "malformed-body"));
    assert!(world.is_running(Side::Vault));
    world.health_pseudonyms(&["AB1"]);
}
