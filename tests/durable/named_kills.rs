//! Kills at named points: before each call that changes a name or makes one durable, of a backup, a
//! pruning, a restore and a restore in place. Afterwards the repository verifies, the store is the
//! old one, the new one or refused as unfinished, and the same command succeeds. `ops/kills.c`
//! kills.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use cloison::store::Store;

use super::backup::{backed_up, create, files, good, manifests, refused, tokenize, words};
use super::sealed::sealed_to;
use super::world::long;
use crate::common::shim::shim;
use crate::common::{Side, World, copy_folder};

/// The calls before which a sample of the suite kills, of so many.
fn points(count: usize) -> Vec<usize> {
    assert!(count > 0);
    if long() {
        return (1..=count).collect();
    }
    let mut points: Vec<_> = (0..6).map(|n| 1 + n * (count - 1) / 5).collect();
    points.dedup();
    points
}

/// What a process finds in its environment that is killed before its `at`-th call below a folder.
fn preload(world: &World, folder: &str, at: Option<usize>) -> Vec<(String, String)> {
    let text = |path: &Path| path.display().to_string();
    let root = world.path(folder).canonicalize().unwrap();
    let mut env = vec![
        ("LD_PRELOAD".to_owned(), text(&shim("kills"))),
        ("KILL_ROOT".to_owned(), text(&root)),
        ("KILL_SAID".to_owned(), text(&world.path("said"))),
    ];
    env.extend(at.map(|at| ("KILL_AT".to_owned(), at.to_string())));
    env
}

/// How many such calls the last process made that was not killed.
fn counted(world: &World) -> usize {
    let said = fs::read(world.path("said")).unwrap_or_default();
    let _ = fs::remove_file(world.path("said"));
    said.len()
}

/// Puts a copy of a folder in the place of another.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    copy_folder(from, to);
}

/// A stopped world with two backups and a life after the last; the folder `image` has it all.
fn lived() -> World {
    live(backed_up(""))
}

/// The same, of a world that runs.
fn live(mut world: World) -> World {
    tokenize(&world, 1, 300);
    create(&world);
    tokenize(&world, 1_000, 300);
    world.stop();
    copy(&world.path("data/vault"), &world.path("image/behind"));
    world.start(Side::Vault, &[]);
    create(&world);
    tokenize(&world, 2_000, 30);
    world.advance("health", false);
    world.end(Side::Vault);
    for (from, to) in [("data/vault", "image/vault"), ("backup", "image/backup")] {
        copy(&world.path(from), &world.path(to));
    }
    world
}

fn verify(world: &World) {
    let usual = ["backup", "verify", "--repository", "backup"];
    let identity: &[&str] = if world.path("one.age").exists() {
        &["--identity", "one.age"]
    } else {
        &[]
    };
    let key = ["--register", "register.toml"];
    let verified = world.cloison(&[&usual[..], &key, identity].concat());
    assert!(verified.status.success(), "{}", words(&verified));
}

fn last_entry(world: &World) -> u64 {
    let store = Store::open_for_audit(&world.path("data/vault")).unwrap();
    store.last_audit().unwrap().unwrap().0
}

/// Runs a command once for each point, and kills it there. `reset` makes everything as it was
/// before; `check` gets the world after the kill.
fn at_each(
    world: &mut World,
    folder: &str,
    command: &[&str],
    reset: impl Fn(&World),
    check: impl Fn(&World, usize),
) {
    reset(world);
    world.env = preload(world, folder, None);
    let whole = world.cloison(command);
    assert!(whole.status.success(), "{}", words(&whole));
    let count = counted(world);
    for at in points(count) {
        world.env.clear();
        reset(world);
        world.env = preload(world, folder, Some(at));
        let killed = world.cloison(command);
        world.env.clear();
        let said = words(&killed);
        assert_eq!(killed.status.signal(), Some(9), "{at} of {count}: {said}");
        check(world, at);
    }
    eprintln!("{count} points of {command:?}");
}

#[test]
fn a_restore_that_is_killed_at_any_point_is_unfinished_or_whole() {
    let mut world = lived();
    let end = last_entry(&world);
    let command = ["restore", "backup", "--config", "vault.toml", "--json"];
    let reset = |world: &World| {
        let _ = fs::remove_dir_all(world.path("data/vault"));
    };
    at_each(&mut world, "data", &command, reset, |world, at| {
        let store = world.path("data/vault");
        if store.join("RESTORING").exists() {
            assert!(Store::open(&store, "test/vault").is_err(), "{at}");
        } else if Store::is_there(&store) {
            assert_eq!(last_entry(world), end, "{at}");
            return;
        }
        good(&world.cloison(&command));
        assert_eq!(last_entry(world), end, "{at}");
        assert!(!store.join("RESTORING").exists());
    });
    verify(&world);
    world.start(Side::Vault, &[]);
    world.end(Side::Vault);
    assert_eq!(world.mappings(), 600, "{}", world.log(Side::Vault).len());
}

#[test]
fn a_store_that_is_brought_to_the_present_in_place_is_the_old_one_or_the_new_one() {
    let mut world = lived();
    let end = last_entry(&world);
    let command = ["restore", "--in-place", "--config", "vault.toml", "--json"];
    let behind = {
        copy(&world.path("image/behind"), &world.path("data/vault"));
        last_entry(&world)
    };
    let reset = |world: &World| {
        let _ = fs::remove_dir_all(world.path("data/vault.restoring"));
        copy(&world.path("image/behind"), &world.path("data/vault"));
    };
    at_each(&mut world, "data", &command, reset, |world, at| {
        let now = last_entry(world);
        assert!([behind, end].contains(&now), "{at}: {now}");
        if now == behind {
            good(&world.cloison(&command));
        } else {
            refused(&world.cloison(&command), "no place has more of the log");
        }
        assert_eq!(last_entry(world), end, "{at}");
        assert!(!world.path("data/vault.restoring").exists(), "{at}");
    });
    world.start(Side::Vault, &[]);
    world.end(Side::Vault);
    assert_eq!(world.mappings(), 600);
}

#[test]
fn a_pruning_that_is_killed_at_any_point_leaves_good_backups() {
    let mut world = lived();
    let usual = [
        "backup",
        "prune",
        "--repository",
        "backup",
        "--register",
        "register.toml",
    ];
    let command = [&usual[..], &["--keep-last", "1", "--keep-days", "0"]].concat();
    let reset = |world: &World| copy(&world.path("image/backup"), &world.path("backup"));
    at_each(&mut world, "backup", &command, reset, |world, _| {
        verify(world);
        let pruned = world.cloison(&command);
        assert!(pruned.status.success(), "{}", words(&pruned));
        assert_eq!(manifests(world).len(), 1);
        verify(world);
    });
}

#[test]
fn a_backup_that_is_killed_at_any_point_is_none_and_the_next_one_is_whole() {
    kill_backups(lived());
}

#[test]
fn a_sealed_backup_that_is_killed_at_any_point_is_none_and_the_next_one_is_whole() {
    kill_backups(live(sealed_to(&["one"])));
}

fn kill_backups(mut world: World) {
    let reset = |world: &World| {
        copy(&world.path("image/backup"), &world.path("backup"));
        copy(&world.path("image/vault"), &world.path("data/vault"));
        let _ = fs::remove_dir_all(world.path("data/vault.place"));
        copy(&world.path("image/place"), &world.path("data/vault.place"));
    };
    copy(&world.path("data/vault.place"), &world.path("image/place"));
    let ask = ["backup", "create", "--client", "clients/operator.toml"];
    world.env = preload(&world, "backup", None);
    world.start(Side::Vault, &[]);
    world.env.clear();
    create(&world);
    world.end(Side::Vault);
    let count = counted(&world);
    for at in points(count) {
        reset(&world);
        world.env = preload(&world, "backup", Some(at));
        let started = world.try_start(Side::Vault, &[]);
        world.env.clear();
        if started.is_ok() {
            let _ = world.cloison(&ask);
            assert_eq!(
                world.ended(Side::Vault).signal(),
                Some(9),
                "{at} of {count}"
            );
        }
        verify(&world);
        assert!((2..=3).contains(&manifests(&world).len()), "{at}");
        world.start(Side::Vault, &[]);
        create(&world);
        world.end(Side::Vault);
        verify(&world);
        assert!(!files(&world).is_empty());
    }
}
