//! What a vault refuses to start on, and what a start that fails leaves behind.

use std::fs;
use std::path::Path;

use cloison::clock::FixedClock;
use cloison::keys::{Key, StoreSecret};
use cloison::reidentify::reveal::RevealedItem;
use cloison::store::{Store, StoreError};
use cloison::tokenize::TokenizeOptions;
use cloison::vault::{StartError, Vault, VaultHome};
use rocksdb::{DB, Options};
use std::sync::Arc;

use super::world::{
    CALLERS, World, advance, card, dawn, register, reveal, tokenize, tokenize_with,
};
use crate::common::copy_folder;

fn columns(path: &Path) -> Vec<String> {
    DB::list_cf(&Options::default(), path).unwrap()
}

fn raw(path: &Path) -> DB {
    DB::open_cf(&Options::default(), path, columns(path)).unwrap()
}

#[test]
fn a_store_has_one_owner_and_one_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::open(&path, "durable/vault").unwrap();
    assert!(matches!(
        Store::open(&path, "durable/vault"),
        Err(StoreError::InUse(_))
    ));
    drop(store);
    for other in ["other/vault", "durable/node/court"] {
        match Store::open(&path, other) {
            Err(StoreError::Foreign { found, wanted, .. }) => {
                assert_eq!((found.as_str(), wanted.as_str()), ("durable/vault", other));
            }
            _ => panic!("a foreign store was opened"),
        }
    }
    Store::open(&path, "durable/vault").unwrap();
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(Store::open(&path, "durable/vault").unwrap());
    for format in [0u32, 3, u32::MAX] {
        let db = raw(&path);
        db.put_cf(
            db.cf_handle("state-meta").unwrap(),
            b"format",
            format.to_be_bytes(),
        )
        .unwrap();
        db.put_cf(
            db.cf_handle("state-meta").unwrap(),
            b"oldest-reader",
            "9.8.7",
        )
        .unwrap();
        drop(db);
        match Store::open(&path, "durable/vault") {
            Err(error @ StoreError::Format { found, .. }) => {
                assert_eq!(found, format);
                let said = error.to_string();
                assert!(
                    said.contains("version 9.8.7 and later ones read it"),
                    "{said}"
                );
            }
            _ => panic!("another format was opened"),
        }
        let db = raw(&path);
        let found = db
            .get_cf(db.cf_handle("state-meta").unwrap(), b"format")
            .unwrap()
            .unwrap();
        assert_eq!(found, format.to_be_bytes());
    }
}

/// A later version may have columns that this one does not know.
#[test]
fn unknown_columns_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(Store::open(&path, "durable/vault").unwrap());
    let mut db = raw(&path);
    db.create_cf("state-links", &Options::default()).unwrap();
    db.put_cf(
        db.cf_handle("state-meta").unwrap(),
        b"oldest-reader",
        "9.8.7",
    )
    .unwrap();
    drop(db);
    match Store::open(&path, "durable/vault") {
        Err(StoreError::Columns { found, reader, .. }) => {
            assert_eq!(found, ["state-links"]);
            assert_eq!(reader.as_deref(), Some("9.8.7"));
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("a store with unknown columns was opened"),
    }
}

/// Somebody else's database is not made ours because it has no owner written in it.
#[test]
fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut options = Options::default();
    options.create_if_missing(true);
    let db = DB::open(&options, &path).unwrap();
    db.put(b"theirs", b"1").unwrap();
    drop(db);
    assert!(matches!(
        Store::open(&path, "durable/vault"),
        Err(StoreError::Foreign { .. })
    ));
    assert_eq!(columns(&path), ["default"], "and nothing was added to it");
}

/// A kill during the very first start leaves some of the columns: the next start goes on from
/// there.
#[test]
fn a_half_made_store_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(DB::open_cf(&options, &path, ["default", "chunk", "segment"]).unwrap());
    drop(Store::open(&path, "durable/vault").unwrap());
    Store::open(&path, "durable/vault").unwrap();
}

/// A store that has lost what says whose it is, but not the rest, is not taken for a new one.
#[test]
fn a_store_without_its_owner_is_damaged() {
    let world = World::new();
    drop(world.open());
    let db = raw(&world.store());
    for key in [&b"format"[..], b"owner"] {
        db.delete_cf(db.cf_handle("state-meta").unwrap(), key)
            .unwrap();
    }
    drop(db);
    assert!(matches!(
        Store::open(&world.store(), "durable/vault"),
        Err(StoreError::Corrupt("state-meta"))
    ));
}

/// "In use" is said of nothing but a store in use.
#[test]
fn a_damaged_block_is_not_called_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a-locked-block");
    drop(Store::open(&path, "durable/vault").unwrap());
    fs::write(path.join("CURRENT"), "MANIFEST-999999\n").unwrap();
    match Store::open(&path, "durable/vault") {
        Err(StoreError::Engine { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened"),
    }
}

/// A start that fails late (here: with another storage secret) has changed nothing: neither the
/// register in force nor numbers nor epochs.
#[test]
fn a_failed_start_changes_nothing() {
    let world = World::new();
    let vault = world.open();
    tokenize(&vault, CALLERS[0], &[card(1)]).unwrap();
    drop(vault);
    let before = everything(&world.store());
    let mut secrets = world.secrets();
    secrets.store = vec![(1, StoreSecret(Key::take(&mut [7; 32])))];
    let mut newer = register();
    newer.version += 1;
    let clock = Arc::new(FixedClock::at(dawn()));
    let failed = Vault::open(
        &VaultHome::unbounded(&world.store()),
        newer,
        secrets,
        &[],
        clock,
        &|_| {},
        Box::new(|_| {}),
    );
    assert!(matches!(failed, Err(StartError::Chunk { .. })));
    assert!(
        before == everything(&world.store()),
        "nothing was changed in the store"
    );
    // In particular the register that was in force may still be started with.
    world.open();
}

/// A second place that has nothing is first use only where nothing was published yet: a vault, or a
/// node, whose second place is lost starts only when somebody has said that they know, and its log
/// says so.
#[test]
fn a_lost_second_place_is_gone_on_without_only_by_a_logged_command() {
    use crate::common::{Setup, Side, World};
    let mut world = World::with(Setup {
        log: "info",
        ..Setup::default()
    });
    world.health_pseudonyms(&["AB1"]);
    world.stop();
    for (side, name) in [(Side::Vault, "vault"), (Side::Node, "node")] {
        let early = world.resume(side, "--second-lost");
        assert!(
            String::from_utf8_lossy(&early.stderr).contains("has what it should have"),
            "{early:?}"
        );
        fs::remove_file(world.path(&format!("data/{name}.place/checkpoint"))).unwrap();
        let failed = world.try_start(side, &[]).unwrap_err();
        assert_eq!(
            failed.code,
            Some(75),
            "a disk that is not mounted may come back"
        );
        assert!(
            failed
                .said
                .contains("is empty, but this log has published at least"),
            "{failed}"
        );
        let resumed = world.resume(side, "--second-lost");
        assert!(
            resumed.status.success(),
            "{}",
            String::from_utf8_lossy(&resumed.stderr)
        );
        world.start(side, &[]);
        world.end(side);
        let entries = world.entries(side);
        let noted: Vec<_> = entries
            .iter()
            .filter(|entry| entry["event"] == "second-lost")
            .collect();
        assert_eq!(noted.len(), 1);
        assert!(
            noted[0]["checkpoint"]
                .as_str()
                .unwrap()
                .contains(&format!("/{name}")),
            "{}",
            noted[0]
        );
    }
}

fn everything(path: &Path) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let db = raw(path);
    let mut rows = vec![];
    for column in columns(path) {
        for row in db.iterator_cf(db.cf_handle(&column).unwrap(), rocksdb::IteratorMode::Start) {
            let (key, value) = row.unwrap();
            rows.push((column.clone(), key.into_vec(), value.into_vec()));
        }
    }
    rows
}

/// Of an epoch with a secret of its own nothing is left once that secret is destroyed; and no later
/// secret takes its number, or the old epoch would come back with another key, and two epochs would
/// share what is destroyed together.
#[test]
fn the_number_of_a_destroyed_secret_is_never_used_again() {
    let world = World::new();
    let vault = world.open();
    tokenize(&vault, CALLERS[0], &[card(1)]).unwrap();
    let own = advance(&vault, "health", true)
        .last()
        .unwrap()
        .secret_version;
    tokenize(&vault, CALLERS[0], &[card(1)]).unwrap();
    let shared = advance(&vault, "health", false)
        .last()
        .unwrap()
        .secret_version;
    assert_ne!(own, shared);
    drop(vault);
    fs::remove_file(world.home.path().join(format!("sector/{own}.secret"))).unwrap();

    let vault = world.open();
    assert!(
        vault.sector("health").unwrap().epochs()[1].key.is_none(),
        "the epoch is gone"
    );
    let next = advance(&vault, "tax", true).last().unwrap().secret_version;
    assert_ne!(next, own);
    drop(vault);
    let vault = world.open();
    assert!(
        vault.sector("health").unwrap().epochs()[1].key.is_none(),
        "and stays gone"
    );
}

/// Whose previous epoch was destroyed still gets the present one's pseudonyms, also where it asks
/// for both.
#[test]
fn a_destroyed_epoch_is_no_longer_answered_beside_the_next() {
    let world = World::new();
    let vault = world.open();
    let own = advance(&vault, "health", true)
        .last()
        .unwrap()
        .secret_version;
    advance(&vault, "health", false);
    let both = TokenizeOptions {
        previous: true,
        ..TokenizeOptions::default()
    };
    assert!(
        tokenize_with(&vault, CALLERS[0], &both, &[card(1)])
            .unwrap()
            .previous
            .is_some()
    );
    drop(vault);
    fs::remove_file(world.home.path().join(format!("sector/{own}.secret"))).unwrap();
    let vault = world.open();
    let answer = tokenize_with(&vault, CALLERS[0], &both, &[card(1)]).unwrap();
    assert!(answer.previous.is_none());
    assert_eq!(answer.domain.epoch, 3);
}

/// A segment has counters for 2³² mappings: a batch that finds too few left gets a segment that has
/// enough, and both open.
#[test]
fn a_segment_without_counters_is_replaced() {
    let world = World::new();
    let vault = world.open();
    let node = world.node();
    let mut answer = tokenize(&vault, CALLERS[0], &[card(1)]).unwrap();
    let signer = world.secrets().segment;
    let present = || {
        vault
            .sector("health")
            .unwrap()
            .segment(vault.register(), &signer, dawn())
            .unwrap()
    };
    let first = present();
    first.reserve((1 << 32) - 5).unwrap();
    answer.pseudonyms.extend(
        tokenize(&vault, CALLERS[0], &[card(2), card(3)])
            .unwrap()
            .pseudonyms,
    );
    assert_eq!(present().id(), first.id(), "two fit");
    answer.pseudonyms.extend(
        tokenize(&vault, CALLERS[0], &[card(4), card(5), card(6)])
            .unwrap()
            .pseudonyms,
    );
    assert_ne!(present().id(), first.id(), "three more do not");
    let texts: Vec<_> = answer
        .pseudonyms
        .iter()
        .map(|pseudonym| answer.writer.text(pseudonym))
        .collect();
    for (item, person) in reveal(&vault, &node, "health", &texts).iter().zip(1..) {
        let RevealedItem::Identifier { value, .. } = item else {
            panic!("{item:?}")
        };
        assert_eq!(*value.0, card(person));
    }
}

/// A sector secret that a kill left half written does not stand in the way of the next start.
#[test]
fn a_half_written_secret_is_not_in_the_way() {
    let world = World::new();
    drop(world.open());
    let shelf = world.home.path().join("sector");
    let complete = fs::read(shelf.join("1.secret")).unwrap();
    // What `write_private` has on disk before it gives the file its name.
    let vault = world.open();
    advance(&vault, "health", true);
    drop(vault);
    let names: Vec<_> = fs::read_dir(&shelf)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names.len(),
        2,
        "nothing but the two versions is left: {names:?}"
    );
    fs::write(shelf.join(".3.secret.new"), &complete[..20]).unwrap();
    let vault = world.open();
    assert_eq!(
        advance(&vault, "health", true)
            .last()
            .unwrap()
            .secret_version,
        3
    );
    drop(vault);
    world.open();
}

/// Two copies of one store answer alike: a restored copy repeats the same pseudonyms.
#[test]
fn a_copy_answers_the_same() {
    let world = World::new();
    let vault = world.open();
    let items: Vec<_> = (0..600).map(card).collect();
    let before = tokenize(&vault, CALLERS[0], &items).unwrap().pseudonyms;
    drop(vault);
    let twin = World::new();
    copy_folder(&world.store(), &twin.store());
    let vault = twin.open();
    assert_eq!(vault.index().len(), 600);
    assert_eq!(
        tokenize(&vault, CALLERS[0], &items).unwrap().pseudonyms,
        before
    );
    assert_eq!(vault.index().len(), 600);
}

/// A store whose write-ahead log was changed for a new one while the old one is still needed: what
/// a vault of any size leaves behind. RocksDB once ended the process over it.
#[test]
fn after_the_log_has_turned_over() {
    let world = World::new();
    let vault = world.open();
    // More than the chunks' write buffer (64 MiB).
    for first in (0..1_200_000u32).step_by(100_000) {
        let items: Vec<_> = (first..first + 100_000).map(card).collect();
        tokenize(&vault, CALLERS[0], &items).unwrap();
    }
    drop(vault);
    let logs = fs::read_dir(world.store()).unwrap().flatten();
    let logs = logs
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "log"))
        .count();
    assert!(logs > 1, "{logs} write-ahead logs");
    assert_eq!(world.open().index().len(), 1_200_000);
}
