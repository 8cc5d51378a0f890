//! Side records that no kept backup needs are pruned, from the store and from the second place; a
//! restore from what is kept loses no act all the same.

use std::collections::BTreeSet;
use std::fs;

use cloison::order::act::ActKind;
use cloison::rights::erase::ErasureReceipt;
use jiff::SignedDuration;
use serde_json::Value;

use super::common::backups::{good, words};
use super::common::{QUORUM, Side, World};
use super::copies::{erase, world};
use super::journal::state;
use super::people::{act, soon, to_vault};
use super::restore::comparable;

fn backup(world: &World, verb: &str) -> Value {
    let usual = [
        "backup",
        verb,
        "--json",
        "--client",
        "clients/operator.toml",
    ];
    good(&world.cloison(&usual))
}

/// Takes a backup and removes all before it, and what only they needed.
fn keep_one(world: &World) {
    backup(world, "create");
    let pruned = backup(world, "prune");
    assert_eq!(pruned["kept"].as_array().unwrap().len(), 1, "{pruned}");
}

/// The segments in the vault's second place, by the entry that they begin with.
fn segments(world: &World) -> BTreeSet<u64> {
    let folder = fs::read_dir(world.path("data/vault.place")).unwrap();
    let shard = folder
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    let names = fs::read_dir(shard).unwrap();
    // A new one is written beside them first.
    names
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "journal"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
        .collect()
}

fn revoke(world: &World, pseudonyms: &[String]) -> String {
    let order = world.order("health", pseudonyms);
    let signed = world.sign(&order, QUORUM);
    to_vault(world, &act(world, &order, ActKind::Revoke, &["judge-1"])).ok();
    signed
}

#[test]
fn what_no_backup_needs_goes_and_a_restore_still_brings_every_act() {
    let mut world = world();
    world.stop();
    fs::create_dir(world.path("vault-backup")).unwrap();
    let section = "\n[backup]\npath = \"vault-backup\"\nkeep-last = 1\nkeep-days = 0\n[secrets]";
    world.replace("vault.toml", "\n[secrets]", section);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let asked = world.health_pseudonyms(&["AB000001", "AB000002"]);
    keep_one(&world);
    let first = revoke(&world, &asked[..1]);
    let receipts = erase(&world, "1.jws", &asked[1]);
    let [receipt, at_node] =
        receipts.map(|text| serde_json::from_value::<ErasureReceipt>(text).unwrap());
    assert_eq!(
        (at_node.backups_until, at_node.side_records_until),
        (None, None)
    );
    let today = cloison::clock::Clock::now(&cloison::clock::SystemClock);
    let day = |after: i64| {
        let time = today + SignedDuration::from_hours(24 * after);
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).date())
    };
    // Midnight may have passed since.
    assert!(receipt.backups_until == day(1) || receipt.backups_until == day(0));
    assert!(receipt.side_records_until == day(11) || receipt.side_records_until == day(10));
    // What lies before the first backup's segment goes; the rest stays with what is still needed. A
    // busy machine may not have published the backup's entry when it is asked first.
    keep_one(&world);
    soon("what no backup needs goes", || {
        segments(&world).first() > Some(&0) || {
            backup(&world, "prune");
            false
        }
    });
    world.stop();
    let needed = world.store(Side::Vault).journal_needed().unwrap().unwrap();
    assert!(needed > 0, "the store kept every record");
    let left = segments(&world);
    assert!(
        left.first() > Some(&0) && left.first() < Some(&needed),
        "{left:?}"
    );
    assert!(world.store(Side::Vault).last_erasure().unwrap().is_some());

    // A place that is written anew holds all that the backup needs.
    let shard = fs::read_dir(world.path("data/vault.place")).unwrap();
    let shard = shard
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir());
    fs::remove_dir_all(shard.unwrap()).unwrap();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    assert_eq!(segments(&world).first(), Some(&needed));
    let second = revoke(&world, &asked[..1]);
    world.stop();
    let kept = comparable(state(&world.path("data/vault")));
    world.lose("data/vault");
    good(&world.restore(Side::Vault, &[]));
    assert_eq!(comparable(state(&world.path("data/vault"))), kept);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    for order in [first, second] {
        let reply = world.reidentify(&order, "health", &asked[..1]);
        assert_eq!(reply.json()["code"], "order-revoked", "{}", reply.text());
    }
    // This process begins a segment behind its first backup. Once it is there, the one before can
    // go, and with it the erasure's records.
    let before = segments(&world);
    backup(&world, "create");
    soon("a segment begins", || {
        segments(&world).last() > before.last()
    });
    assert_eq!(backup(&world, "prune")["kept"].as_array().unwrap().len(), 1);
    world.stop();
    assert!(world.store(Side::Vault).last_erasure().unwrap().is_none());
    assert!(!words(&world.restore(Side::Vault, &[])).contains("panicked"));
}

#[test]
fn nothing_is_pruned_where_a_manifest_cannot_be_read() {
    let mut world = world();
    world.stop();
    fs::create_dir(world.path("vault-backup")).unwrap();
    let section = "\n[backup]\npath = \"vault-backup\"\nkeep-last = 1\n[secrets]";
    world.replace("vault.toml", "\n[secrets]", section);
    world.start(Side::Vault, &[]);
    world.health_pseudonyms(&["AB000001"]);
    backup(&world, "create");
    let manifests = fs::read_dir(world.path("vault-backup/manifests")).unwrap();
    let manifest = manifests.map(|entry| entry.unwrap().path()).next().unwrap();
    let text = fs::read(&manifest).unwrap();
    backup(&world, "create");
    fs::write(&manifest, &text[1..]).unwrap();
    let refused = world.cloison(&["backup", "prune", "--client", "clients/operator.toml"]);
    assert!(!refused.status.success(), "{}", words(&refused));
    world.stop();
    assert_eq!(world.store(Side::Vault).first_journal().unwrap(), Some(0));
    assert_eq!(segments(&world).first(), Some(&0));
}
