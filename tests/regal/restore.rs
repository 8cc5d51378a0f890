//! A restore loses no act: both sides are lost after a life with real processes, restored from a
//! backup that was taken before it, and brought to the end of their logs from the second places.

use std::collections::BTreeSet;
use std::fs;

use cloison::order::act::ActKind;
use serde_json::json;

use super::common::backups::{good, words};
use super::common::{QUORUM, Side, World};
use super::copies::{erase, world};
use super::journal::{Rows, live, state};
use super::people::{act, to_vault};

/// Gives both sides a repository; the node's server takes its backups by itself.
pub fn back_up(world: &mut World) {
    world.stop();
    world.with_repositories();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
}

/// The rows without those that a restore adds: floors of sequences, what is to be scrubbed, and
/// tags that are looked at again.
pub fn comparable(rows: Rows) -> BTreeSet<(String, Vec<u8>, Vec<u8>)> {
    rows.into_iter()
        .filter(|((column, key), _)| {
            column != "state-erasure-due" && !key.starts_with(b"sequence-floor/")
        })
        .map(|((column, key), value)| (column, key, value))
        .collect()
}

#[test]
fn both_sides_come_back_with_every_act_since_the_backup() {
    let mut world = world();
    back_up(&mut world);
    let cards = ["AB000001", "AB000002", "AB000003", "AB000004"];
    let asked = world.health_pseudonyms(&cards);
    world.back_up();
    world.end(Side::Node);
    world.start(Side::Node, &[]);
    live(&mut world);
    world.stop();
    let before = [Side::Vault, Side::Node].map(|side| state(&world.path(side.folder())));
    for side in [Side::Vault, Side::Node] {
        world.lose(side.folder());
        let done = good(&world.restore(side, &[]));
        assert!(done["entries_after"].as_u64() > Some(0), "{done}");
        assert!(done["records_after"].as_u64() > Some(0), "{done}");
        if side == Side::Vault {
            assert!(done["destroyed"]["mappings"].as_u64() > Some(0), "{done}");
            let lost = done["lost"].as_array().unwrap();
            assert!(
                lost.iter().any(|row| row["client"] == "cnss-health"),
                "{done}"
            );
        }
    }
    for (side, before) in [Side::Vault, Side::Node].into_iter().zip(before) {
        let after = comparable(state(&world.path(side.folder())));
        let before = comparable(before);
        let name = |(column, key, _): &(String, Vec<u8>, Vec<u8>)| {
            (column.clone(), String::from_utf8_lossy(key).into_owned())
        };
        // Copies of an order that was over or revoked go with the restore, where the server had not
        // yet destroyed them.
        let missing = before.difference(&after).map(name);
        let missing: Vec<_> = missing
            .filter(|(column, _)| !column.starts_with("state-order-cop"))
            .collect();
        let more: Vec<_> = after.difference(&before).map(name).collect();
        assert_eq!((missing, more), (vec![], vec![]), "{side:?}");
    }
    // Both start as if nothing had happened, in step, and serve.
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let order = world.order("health", &asked[..1]);
    let items = world
        .reidentify(&world.sign(&order, QUORUM), "health", &asked[..1])
        .ok();
    assert_eq!(items["items"][0]["code"], "no-mapping", "erased: {items}");
    assert!(!world.log(Side::Vault).contains("panicked"));
    world.stop();
    world.verify_log(Side::Vault);
}

#[test]
fn a_revocation_an_erasure_and_a_lost_interval() {
    let mut world = world();
    back_up(&mut world);
    let asked = world.health_pseudonyms(&["AB000001", "AB000002"]);
    let order = world.order("health", &asked);
    let signed = world.sign(&order, QUORUM);
    world.back_up();
    let revoked = act(&world, &order, ActKind::Revoke, &["judge-1"]);
    to_vault(&world, &revoked).ok();
    erase(&world, "1.jws", &asked[0]);
    let late = world.health_pseudonyms(&["AB000003"]);
    // A checkpoint covers it; then the machine is gone.
    world.end(Side::Node);
    world.end(Side::Vault);
    world.lose("data/vault");
    let report = world.cloison(&[
        "restore",
        "report",
        "vault-backup",
        "--config",
        "vault.toml",
    ]);
    assert!(
        words(&report).contains("1 identifiers of 1 requests"),
        "{}",
        words(&report)
    );
    // A place that is damaged restores nothing.
    let place = fs::read_dir(world.path("data/vault.place")).unwrap();
    let shard = place
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    let segment = fs::read_dir(shard).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&segment).unwrap();
    let mut bytes = whole.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let refused = world.restore(Side::Vault, &[]);
    assert!(
        !refused.status.success() && words(&refused).contains("does not hold"),
        "{}",
        words(&refused)
    );
    assert!(fs::read_dir(world.path("data/vault")).map_or(0, Iterator::count) == 0);
    fs::write(&segment, whole).unwrap();
    good(&world.restore(Side::Vault, &[]));
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let reply = world.reidentify(&signed, "health", &asked[1..]);
    assert_eq!(
        reply.json()["code"],
        json!("order-revoked"),
        "{}",
        reply.text()
    );
    // The lost mapping comes back with the same pseudonym when it is sent again.
    let other = world.order("health", &late);
    let other = world.sign(&other, QUORUM);
    let items = world.reidentify(&other, "health", &late).ok();
    assert_eq!(items["items"][0]["code"], "no-mapping", "{items}");
    assert_eq!(world.health_pseudonyms(&["AB000003"]), late);
    let items = world.reidentify(&other, "health", &late).ok();
    assert_eq!(items["items"][0]["value"], "AB000003", "{items}");
    let erased = world.order("health", &asked[..1]);
    let erased = world.sign(&erased, QUORUM);
    let items = world.reidentify(&erased, "health", &asked[..1]).ok();
    assert_eq!(items["items"][0]["code"], "no-mapping", "{items}");
}
