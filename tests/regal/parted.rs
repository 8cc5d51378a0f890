//! A vault that went on without what a follower holds: it takes no backup before the follower was
//! heard, ends, and names a way back that works.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use cloison::deployment::register_text::OPERATORS;

use super::common::backups::{good, words};
use super::common::{Door, Side, World};
use super::people::soon;
use super::without::{backup, loss, write_statement};

fn manifests(world: &World) -> Vec<PathBuf> {
    let files = fs::read_dir(world.path("vault-backup/manifests")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn in_place(world: &World, more: &[&str]) -> Output {
    let usual = ["restore", "--in-place", "--config", "vault.toml"];
    world.cloison(&[&usual, more].concat())
}

fn says(output: &Output, what: &[&str]) {
    let said = words(output);
    assert!(!output.status.success(), "{said}");
    for what in what {
        assert!(said.contains(what), "{what}: {said}");
    }
}

/// The vault was backed up, left its epoch, and was restored without places although the node holds
/// what came after the backup; nobody told the restore what the node has seen.
fn parted() -> World {
    let mut world = super::followers::prepared(1);
    world.with_repositories();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world.health_pseudonyms(&["AB000001"]);
    world.back_up();
    let id = backup(&world, "vault-backup");
    world.advance("health", false);
    let held = || fs::read_to_string(world.path("data/node.followed/checkpoint"));
    let seen = || super::without::remembered(&world);
    soon("the node holds and has cosigned all", || {
        let seen = fs::read_to_string(seen());
        held()
            .is_ok_and(|held| seen.is_ok_and(|seen| seen.lines().take(3).eq(held.lines().take(3))))
    });
    world.stop();
    world.lose("data/vault");
    world.lose("elsewhere/place");
    write_statement(&world, "loss.jws", loss("vault", &id), &OPERATORS);
    let with = [
        "--without-places",
        "loss.jws",
        "--lost",
        "second",
        "--lost",
        "court",
    ];
    good(&world.restore(Side::Vault, &with));
    world
}

#[test]
fn a_vault_that_went_on_without_published_entries_names_a_way_back_that_works() {
    let mut world = parted();
    world.replace(
        "vault.toml",
        "path = \"vault-backup\"\n",
        "path = \"vault-backup\"\nevery = \"10s\"\nkeep-last = 1\nkeep-days = 0\n",
    );
    // Without a backup the next one is due when the vault starts.
    let manifest = manifests(&world).remove(0);
    fs::rename(&manifest, world.path("manifest")).unwrap();
    world.start(Side::Vault, &[]);
    let _ = world.try_start(Side::Node, &[]);
    assert_eq!(world.ended(Side::Vault).code(), Some(71));
    let none: Vec<PathBuf> = vec![];
    assert_eq!(manifests(&world), none, "no backup of the wrong branch");
    fs::rename(world.path("manifest"), &manifest).unwrap();
    let log = world.log(Side::Vault);
    assert!(
        log.contains("went on without them") && !log.contains("restore --in-place --config"),
        "{log}"
    );
    world.end(Side::Node);

    // What cannot work says so, and names both logs by their folders.
    let from = ["--from", "data/node.followed"];
    let two = [
        "went two ways",
        "data/node.followed with",
        "move the other away",
    ];
    says(
        &in_place(&world, &from),
        &[&two[..], &["elsewhere/place with"]].concat(),
    );
    fs::rename(world.path("elsewhere/place"), world.path("elsewhere/wrong")).unwrap();
    says(
        &in_place(&world, &from),
        &[&two[..], &["data/vault with"]].concat(),
    );
    let resume = [
        "audit",
        "resume",
        "--config",
        "vault.toml",
        "--after-restore",
    ];
    says(
        &world.cloison(&resume),
        &["--in-place --config FILE --from"],
    );

    // The way that the log names.
    fs::rename(world.path("data/vault"), world.path("data/wrong")).unwrap();
    let bad = world.restore(
        Side::Vault,
        &["--from", "elsewhere/wrong", "--from", "data/node.followed"],
    );
    says(&bad, &["went two ways", "elsewhere/wrong with"]);
    assert!(
        !world.path("data/vault").exists(),
        "nothing is left of a refused restore"
    );
    let done = good(&world.restore(Side::Vault, &from));
    assert!(done["entries_after"].as_u64() > Some(0), "{done}");
    good_words(
        &world,
        &[
            "audit",
            "resume",
            "--second-lost",
            "--yes",
            "--config",
            "vault.toml",
        ],
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let epochs = world
        .get("operator", Door::Control, "/v1/sectors/health/epochs")
        .ok();
    assert_eq!(epochs["epochs"].as_array().unwrap().len(), 2, "{epochs}");
    let first = world.log(Side::Vault);
    let told = first
        .lines()
        .filter(|line| line.contains("its first start since"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("without places"), "{told:?}");
    assert!(
        told[1].contains("entries of the place data/node.followed"),
        "{told:?}"
    );
    world.stop();
}

fn good_words(world: &World, arguments: &[&str]) {
    let done = world.cloison(arguments);
    assert!(done.status.success(), "{}", words(&done));
}
