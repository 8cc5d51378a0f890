//! Stores restored from backups: whole, or not at all; killed at any step and run again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::backup::{
    backed_up, copy_folder, create, good, id_of, largest, refused, remount, tokenize,
};
use super::faults::mount;
use super::world::card;
use crate::common::process::soon;
use crate::common::{Side, World};
use cloison::epoch::statement::Destruction;
use serde_json::{Value, json};

fn restore(world: &World, more: &[&str]) -> Output {
    let usual = ["restore", "backup", "--config", "vault.toml", "--json"];
    world.cloison(&[&usual[..], more].concat())
}

/// The pseudonyms of persons.
fn pseudonyms(world: &World, first: u32, count: u32) -> Vec<String> {
    let cards: Vec<String> = (first..first + count).map(card).collect();
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    world.tokenize("cnss-health", "health", "cnie", Some("billing"), &cards)
}

fn lose_the_store(world: &World) {
    fs::remove_dir_all(world.path("data/vault")).unwrap();
}

#[test]
fn a_store_comes_back_as_it_was_when_the_backup_was_taken() {
    let mut world = backed_up("");
    let before = pseudonyms(&world, 1, 300);
    let first = create(&world);
    tokenize(&world, 1_000, 100);
    let last = create(&world);
    // No restore under a running server.
    refused(&restore(&world, &[]), "is not empty");
    world.end(Side::Vault);
    lose_the_store(&world);
    let done = good(&restore(&world, &["--id", id_of(&first)]));
    assert_eq!(done["backup"], first["backup"]);
    refused(&restore(&world, &[]), "is not empty");
    world.start(Side::Vault, &[]);
    assert_eq!(pseudonyms(&world, 1, 300), before);
    world.end(Side::Vault);
    assert_eq!(world.mappings(), 300, "and not those of the second backup");

    lose_the_store(&world);
    assert_eq!(good(&restore(&world, &[]))["backup"], last["backup"]);
    world.start(Side::Vault, &[]);
    world.end(Side::Vault);
    assert_eq!(world.mappings(), 400);
}

/// A store and its second place.
const COPIES: [&str; 2] = ["data/vault", "data/vault.place"];

/// Moves both away, and others to their place.
fn exchange_copies(world: &World, away: &str, back: &str) {
    for folder in COPIES {
        let path = |kind: &str| world.path(&format!("{folder}{kind}"));
        fs::rename(path(""), path(away)).unwrap();
        fs::rename(path(back), path("")).unwrap();
    }
}

/// An old machine comes back with its own second place and serves for a while: its backups have
/// more of a log that does not count, and none of them is the last one.
#[test]
fn a_backup_of_another_branch_is_never_the_last_one() {
    let mut world = backed_up("");
    tokenize(&world, 1, 10);
    let first = create(&world);
    world.stop();
    for folder in COPIES {
        for kind in ["image", "old"] {
            let image = world.path(&format!("{folder}-{kind}"));
            copy_folder(&world.path(folder), &image);
        }
    }
    world.start(Side::Vault, &[]);
    tokenize(&world, 100, 10);
    let second = create(&world);
    world.end(Side::Vault);

    // The old machine.
    exchange_copies(&world, "-true", "-image");
    world.start(Side::Vault, &[]);
    for person in 0..20 {
        tokenize(&world, 1_000 + person, 1);
    }
    let astray = create(&world);
    let prune = ["backup", "prune", "--dry-run", "--json"];
    let online = ["--client", "clients/operator.toml"];
    let said = good(&world.cloison(&[&prune[..], &online].concat()));
    assert_eq!(
        said["removed"],
        json!([]),
        "its own sight is not the last word"
    );
    world.end(Side::Vault);
    exchange_copies(&world, "-astray", "-true");
    world.start(Side::Vault, &[]);
    tokenize(&world, 200, 1);
    let third = create(&world);

    let list = good(&world.cloison(&["backup", "list", "--json", "--client", online[1]]));
    let all = list["backups"].as_array().unwrap();
    let marked = all.iter().filter(|one| one["other_branch"] == true);
    assert_eq!(marked.map(id_of).collect::<Vec<_>>(), [id_of(&astray)]);
    let verified = ["backup", "verify", "--json"];
    let there = good(&world.cloison(&[&verified[..], &online].concat()));
    assert_eq!(there["backup"], third["backup"]);
    world.end(Side::Vault);

    let config = ["--config", "vault.toml"];
    let here = good(&world.cloison(&[&verified[..], &config].concat()));
    assert_eq!(here["backup"], third["backup"]);
    let last = ["--keep-last", "1"];
    let said = good(&world.cloison(&[&prune[..], &config, &last].concat()));
    assert_eq!(said["removed"], json!([first["backup"], second["backup"]]));
    assert_eq!(said["kept"], json!([third["backup"], astray["backup"]]));
    let key = ["--repository", "backup", "--register", "register.toml"];
    refused(
        &world.cloison(&[&prune[..], &key, &last].concat()),
        "more than one branch of the log",
    );
    lose_the_store(&world);
    let done = good(&restore(&world, &[]));
    assert_eq!(done["backup"], third["backup"], "the second place knows");
    // A place that ends before the backup began is an old copy of one.
    lose_the_store(&world);
    fs::rename(
        world.path("data/vault.place"),
        world.path("data/vault.place-now"),
    )
    .unwrap();
    let old = ["--id", id_of(&third), "--from", "data/vault.place-old"];
    refused(&restore(&world, &old), "it is an old copy of a place");
}

/// A log went on in another shard after its places were lost, and backups were taken since. An old
/// copy of the place has only the shard before: the newest backup is the last one all the same, and
/// the copy is refused.
#[test]
fn a_place_that_missed_a_shard_does_not_hide_the_newest_backup() {
    let mut world = backed_up("");
    tokenize(&world, 1, 10);
    let first = create(&world);
    world.end(Side::Vault);
    let place = world.path("data/vault.place");
    let old = world.path("data/place-old");
    copy_folder(&place, &old);
    lose_the_store(&world);
    fs::remove_dir_all(&place).unwrap();
    let loss = Destruction::RestoreWithoutPlaces {
        entity: "vault".to_owned(),
        backup: id_of(&first).to_owned(),
        case: "OPS/2026-17".to_owned(),
    };
    let statement = world.sign_statement(&world.statement(loss), &["operator", "operator-2"]);
    world.write("loss.jws", &statement);
    let without = ["--without-places", "loss.jws", "--lost", "second"];
    good(&restore(&world, &without));
    world.start(Side::Vault, &[]);
    // A backup names what was published before it: the new shard has to be.
    let log = |place: &Path| {
        let checkpoint = fs::read_to_string(place.join("checkpoint")).unwrap_or_default();
        checkpoint.lines().next().unwrap_or_default().to_owned()
    };
    soon("the new shard is published", || {
        !log(&place).is_empty() && log(&place) != log(&old)
    });
    let second = create(&world);
    world.stop();
    lose_the_store(&world);
    let now = world.path("data/place-now");
    fs::rename(&place, &now).unwrap();

    let from = ["--from", "data/place-old"];
    refused(&restore(&world, &from), "it is an old copy of a place");
    fs::rename(&old, &place).unwrap();
    let list = ["backup", "list", "--config", "vault.toml", "--json"];
    let list = good(&world.cloison(&list));
    for backup in list["backups"].as_array().unwrap() {
        assert_eq!(backup["other_branch"], Value::Null, "{list}");
    }
    fs::remove_dir_all(&place).unwrap();
    let done = good(&restore(&world, &["--from", "data/place-now"]));
    assert_eq!(done["backup"], second["backup"]);
}

/// A store that was restored is a store: backed up, lost and restored again, with every act of both
/// lives.
#[test]
fn a_restored_store_is_backed_up_and_restored_again() {
    let mut world = backed_up("");
    let first = pseudonyms(&world, 1, 30);
    create(&world);
    world.advance("health", false);
    for life in 1..=2_u32 {
        world.end(Side::Vault);
        lose_the_store(&world);
        let done = good(&restore(&world, &[]));
        assert!(done["entries_after"].as_u64() > Some(0), "{done}");
        world.start(Side::Vault, &[]);
        let second = pseudonyms(&world, 1, 30);
        assert_ne!(
            second, first,
            "life {life}: the epoch that was left stays so"
        );
        let taken = create(&world);
        assert_eq!(pseudonyms(&world, 1, 30), second);
        world.end(Side::Vault);
        lose_the_store(&world);
        assert_eq!(good(&restore(&world, &[]))["backup"], taken["backup"]);
        world.start(Side::Vault, &[]);
        assert_eq!(pseudonyms(&world, 1, 30), second);
        tokenize(&world, 1_000 * life, 10);
    }
    world.stop();
    world.verify_log(Side::Vault);
}

/// The disk that a restore goes to is full or read-only: a sentence, and nothing is left.
#[test]
fn a_disk_that_takes_no_restore_is_named_and_left_as_it_was() {
    let mut world = backed_up("");
    tokenize(&world, 1, 40_000);
    create(&world);
    world.stop();
    lose_the_store(&world);
    fs::create_dir(world.path("small")).unwrap();
    world.replace("vault.toml", "\"data/vault\"", "\"small/vault\"");
    let Some(_mounted) = mount(&world.path("small"), 1) else {
        eprintln!("not tested: this user may not mount a file system of limited size");
        return;
    };
    let is_empty = || {
        let store = world.path("small/vault");
        fs::read_dir(store).map_or(0, Iterator::count) == 0
    };
    refused(&restore(&world, &[]), "No space left on device");
    assert!(is_empty(), "nothing is left");
    remount(&world.path("small"), "ro");
    refused(&restore(&world, &[]), "Read-only file system");
    assert!(is_empty());
    remount(&world.path("small"), "rw,size=64m");
    good(&restore(&world, &[]));
}

#[test]
fn a_drill_restores_and_starts_and_changes_nothing() {
    let mut world = backed_up("");
    tokenize(&world, 1, 300);
    create(&world);
    world.stop();
    let before = fs::read(world.path("data/vault/CURRENT")).unwrap();
    let usual = [
        "backup",
        "verify",
        "--config",
        "vault.toml",
        "--drill",
        "--json",
    ];
    let said = good(&world.cloison(&usual));
    // The index counts all of them, to the nearest: there are three hundred.
    assert_eq!(said["drill"]["mappings"], 300, "{said}");
    assert!(!world.path("backup/work").exists());
    assert_eq!(fs::read(world.path("data/vault/CURRENT")).unwrap(), before);
    world.start(Side::Vault, &[]);
}

#[test]
fn what_is_no_good_backup_of_this_side_restores_nothing() {
    let mut world = backed_up("");
    tokenize(&world, 1, 300);
    create(&world);
    world.stop();
    lose_the_store(&world);
    let is_empty = |world: &World| {
        let store = world.path("data/vault");
        !store.exists() || fs::read_dir(store).unwrap().next().is_none()
    };
    let without = ["restore", "backup", "--config", "vault.toml"];
    fs::rename(world.path("data/vault.place"), world.path("data/away")).unwrap();
    refused(
        &world.cloison(&without),
        "no place is there that holds the log after the backup",
    );
    fs::rename(world.path("data/away"), world.path("data/vault.place")).unwrap();
    let other = ["restore", "backup", "--config", "node.toml"];
    refused(
        &world.cloison(&other),
        "holds backups of test/vault, not of test/node/court",
    );
    refused(
        &restore(&world, &["--id", "20200101T000000Z-00000000"]),
        "there is no backup",
    );
    assert!(is_empty(&world));
    fs::create_dir_all(world.path("data/vault")).unwrap();
    fs::write(world.path("data/vault/notes.txt"), "mine").unwrap();
    refused(&restore(&world, &[]), "is not empty");
    assert_eq!(
        fs::read(world.path("data/vault/notes.txt")).unwrap(),
        b"mine"
    );
    fs::remove_file(world.path("data/vault/notes.txt")).unwrap();

    let path = largest(&world);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    refused(&restore(&world, &[]), "is damaged");
    assert!(is_empty(&world), "nothing is left");
    fs::write(&path, &whole[..10]).unwrap();
    refused(&restore(&world, &[]), "is damaged");
    fs::remove_file(&path).unwrap();
    refused(&restore(&world, &[]), "is missing");
    assert!(is_empty(&world));
    fs::write(&path, whole).unwrap();
    good(&restore(&world, &[]));
}

#[test]
fn killed_while_it_restores_and_run_again() {
    let mut world = backed_up("");
    tokenize(&world, 1, 20_000);
    create(&world);
    world.stop();
    let rounds = if super::world::long() { 50 } else { 6 };
    let mut unfinished = 0;
    for _ in 0..rounds {
        lose_the_store_if_there(&world);
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloison"))
            .args(["restore", "backup", "--config", "vault.toml"])
            .current_dir(world.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moment = u64::from_be_bytes(cloison::clock::random()) % 120;
        std::thread::sleep(Duration::from_millis(moment));
        let _ = child.kill();
        child.wait().unwrap();
        if world.path("data/vault/RESTORING").exists() {
            unfinished += 1;
            let failed = world.try_start(Side::Vault, &[]).unwrap_err();
            assert!(failed.said.contains("is not finished"), "{failed}");
            good(&restore(&world, &[]));
        }
    }
    eprintln!("{unfinished} of {rounds} were killed on the way");
    lose_the_store_if_there(&world);
    good(&restore(&world, &[]));
    world.start(Side::Vault, &[]);
    world.end(Side::Vault);
    assert_eq!(world.mappings(), 20_000);
}

fn lose_the_store_if_there(world: &World) {
    if world.path("data/vault").exists() {
        lose_the_store(world);
    }
}
