//! What is acknowledged survives the machine: acts wait for a place on another one.

use std::fs;
use std::thread;

use cloison::deployment::register_text::OPERATORS;
use cloison::epoch::statement::Destruction;
use cloison::order::act::ActKind;
use serde_json::json;

use super::actors;
use super::common::{Door, QUORUM, Setup, Side, World};
use super::copies::sign_erasure;
use super::people::{act, at_vault, soon, to_vault, unavailable};

/// The vault's second place is said to lie on another machine.
fn world() -> World {
    world_with(|_| {})
}

/// The same, prepared further before its start.
fn world_with(prepare: fn(&World)) -> World {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    fs::create_dir(world.path("elsewhere")).unwrap();
    world.replace(
        "vault.toml",
        "second = \"data/vault.place\"",
        "second = \"elsewhere/place\"\nsecond-elsewhere = true",
    );
    prepare(&world);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world
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

fn current(world: &World) -> u64 {
    let listed = world
        .get("operator", Door::Control, "/v1/sectors/health/epochs")
        .ok();
    let epochs = listed["epochs"].as_array().unwrap().clone();
    let current = epochs.iter().find(|epoch| epoch["state"] == "current");
    current.unwrap()["epoch"].as_u64().unwrap()
}

#[test]
fn a_revocation_is_in_force_at_once_and_an_epoch_only_when_a_place_has_it() {
    let mut world = world();
    let asked = world.health_pseudonyms(&["AB1"]);
    let order = world.order("health", &asked);
    let signed = world.sign(&order, QUORUM);
    world.reidentify(&signed, "health", &asked).ok();
    away(&world, true);
    let (revoke, advance) = (act(&world, &order, ActKind::Revoke, &["judge-1"]), || {
        let how = json!({"from": 1});
        world.post_json("operator", Door::Control, "/v1/sectors/health/epochs", &how)
    });
    thread::scope(|scope| {
        let advanced = scope.spawn(advance);
        unavailable(&to_vault(&world, &revoke));
        unavailable(&advanced.join().unwrap());
    });
    assert_eq!(at_vault(&world, &order).unwrap()["state"], "revoked");
    assert_eq!(current(&world), 1);
    assert_eq!(
        world.health_pseudonyms(&["AB1"]),
        asked,
        "batches wait for no place"
    );
    away(&world, false);
    soon("in force without another call", || current(&world) == 2);
    // The same calls again.
    assert_eq!(to_vault(&world, &revoke).ok()["order"]["state"], "revoked");
    advance().ok();
    assert_eq!(current(&world), 2);
    assert_ne!(world.health_pseudonyms(&["AB1"]), asked);
    advance().ok();
    assert_eq!(current(&world), 2, "asked again, nothing changes");
    world.stop();
    let entries = world.entries(Side::Vault);
    let of = |event: &str| entries.iter().filter(|e| e["event"] == event).count();
    assert_eq!((of("epoch-advance"), of("order-act")), (1, 1));
}

#[test]
fn a_new_secret_and_a_register_wait_for_a_place() {
    let mut world = world();
    let rotate = || world.post_json("operator", Door::Control, "/v1/secrets", &json!({}));
    let reload = || world.post_json("operator", Door::Control, "/v1/register/reload", &json!({}));
    let versions = || {
        let listed = world.get("operator", Door::Control, "/v1/secrets").ok();
        listed["versions"].as_array().unwrap().len()
    };
    let in_force = || {
        let status = world.get("operator", Door::Control, "/v1/status").ok();
        status["register"]["version"].as_u64().unwrap()
    };
    assert_eq!(versions(), 1);
    away(&world, true);
    unavailable(&rotate());
    assert_eq!(versions(), 1);
    away(&world, false);
    soon("there without another call", || versions() == 2);
    rotate().ok();
    assert_eq!(versions(), 2, "asked again, no further one is made");
    rotate().ok();
    assert_eq!(versions(), 3, "that was the next call");
    let certificate = world.certify("auditor-2", 2000, 4000);
    world.edit_register(|text| {
        text + &format!("\n[[auditor]]\nid = \"auditor-2\"\ncertificate = \"{certificate}\"\n")
    });
    away(&world, true);
    unavailable(&reload());
    assert_eq!(in_force(), 1, "the register before is in force");
    away(&world, false);
    soon("in force without another call", || in_force() == 2);
    assert_eq!(reload().ok()["changed"], false);
    world.stop();
}

/// An act whose answer a place held up is not carried out twice, and gets its answer.
#[test]
fn the_same_erasure_and_suspension_are_answered_once_a_place_has_them() {
    let mut world = world_with(|world| {
        let health = &["health"][..];
        actors::rights_officers(world, &[("rights-1", health), ("rights-2", health)]);
    });
    let asked = world.health_pseudonyms(&["AB1"]);
    sign_erasure(&world, "1.jws", &asked[0]);
    let request = json!({"request": world.read("1.jws").trim_end()});
    let lodge = || world.post_json("rights-1", Door::Control, "/v1/rights/erasures", &request);
    let suspend = |how: &[&str]| {
        let by = ["--client", "clients/operator.toml", "--yes"];
        world.cloison(&[&["client", "suspend"], how, &by[..]].concat())
    };
    let key = [
        "--key",
        "secrets/register/operations.pem",
        "--kid",
        "operations",
    ];
    let what = ["dgi-tax", "--reason", "key-stolen"];
    away(&world, true);
    thread::scope(|scope| {
        let suspended =
            scope.spawn(|| suspend(&[&what[..], &key, &["--keep", "kept.jws"]].concat()));
        unavailable(&lodge());
        let said = suspended.join().unwrap();
        assert!(!said.status.success());
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("journal-unavailable"), "{said}");
    });
    unavailable(&lodge());
    away(&world, false);
    let receipt = lodge().ok();
    assert_eq!(lodge().code(), "request-replayed", "it was answered");
    let kept = json!({"statement": world.read("kept.jws").trim_end()});
    let bring = || world.post_json("operator", Door::Control, "/v1/suspensions", &kept);
    bring().ok();
    assert_eq!(bring().code(), "request-replayed", "it was answered");
    world.stop();
    let entries = world.entries(Side::Vault);
    let of = |event: &str| entries.iter().filter(|e| e["event"] == event).count();
    assert_eq!((of("erase"), of("suspension")), (1, 1));
    let named = &entries[receipt["entry"]["index"].as_u64().unwrap() as usize];
    assert_eq!(named["event"], "erase");
}

/// A restart puts nothing in force and destroys nothing that waits for places, and both happen as
/// soon as these have it.
#[test]
fn what_waits_for_a_place_waits_over_a_restart() {
    let mut world = world();
    let before = world.health_pseudonyms(&["AB1"]);
    let advance = |world: &World| {
        let how = json!({"from": 1});
        world.post_json("operator", Door::Control, "/v1/sectors/health/epochs", &how)
    };
    let restart = |world: &mut World| {
        world.kill(Side::Vault);
        away(world, false);
        world.start(Side::Vault, &[]);
    };
    away(&world, true);
    unavailable(&advance(&world));
    restart(&mut world);
    soon("in force without another call", || current(&world) == 2);
    assert_ne!(world.health_pseudonyms(&["AB1"]), before);
    advance(&world).ok();
    assert_eq!(current(&world), 2);
    // What was in force is in force after a kill.
    restart_in_force(&mut world);
    assert_eq!(current(&world), 2);

    let rotate = || {
        world
            .post_json("operator", Door::Control, "/v1/secrets", &json!({}))
            .ok()
    };
    (0..2).for_each(|_| drop(rotate()));
    let statement = world.statement(Destruction::Secret { version: 2 });
    let statement = world.sign_statement(&statement, &OPERATORS);
    let retire = |world: &World, body| {
        world.post_json("operator", Door::Control, "/v1/secrets/retire", &body)
    };
    let is_there = |world: &World| {
        let mut files = fs::read_dir(world.path("secrets/vault/sector")).unwrap();
        files.any(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.starts_with("2.")
        })
    };
    away(&world, true);
    unavailable(&retire(
        &world,
        json!({"version": 2, "statement": statement}),
    ));
    assert!(is_there(&world), "it is not destroyed yet");
    restart(&mut world);
    soon("destroyed without another call", || !is_there(&world));
    let retired = retire(&world, json!({"version": 2})).ok();
    assert_eq!(retired["destroyed"], true);
    world.stop();
}

fn restart_in_force(world: &mut World) {
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
}
