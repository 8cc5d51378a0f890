//! A place holds the log and its side records as far as its checkpoint goes: over restarts, kills,
//! years and damage, and a reader believes nothing that it does not prove.

use std::fs;
use std::path::{Path, PathBuf};

use cloison::journal::place::JournalPlace;
use cloison::journal::read::{PlaceFault, PlaceLog};
use cloison::store::{Shard, Store, StoreError};
use cloison::tlog::checkpoint::Checkpoint;

use super::common::copy_folder;
use super::forge::key;
use super::shards::open;

const TIME: &str = "2026-11-22T12:00:00Z";
const OWNER: &str = "test/vault";

fn read(place: &Path) -> Result<PlaceLog, PlaceFault> {
    PlaceLog::open(place, OWNER, &key().verifying_key(), None)
}

/// Shard, index, entry, and side record.
pub type EntryAndRecord = (Shard, u64, Vec<u8>, Option<Vec<u8>>);

/// Entries and records of a place, in order; all of them checked.
fn held(place: &Path) -> Vec<EntryAndRecord> {
    let mut all = vec![];
    let log = read(place).unwrap();
    log.each::<PlaceFault>(|entry| {
        let record = entry.record.map(<[u8]>::to_vec);
        all.push((
            entry.shard,
            entry.naming.index,
            entry.entry.to_vec(),
            record,
        ));
        Ok(())
    })
    .unwrap();
    all
}

/// The same of a store.
pub fn kept(path: &Path) -> Vec<EntryAndRecord> {
    let store = Store::open(path, OWNER).unwrap();
    let mut all = vec![];
    for tree in store.trees().unwrap() {
        store
            .each_audit::<StoreError>(tree.first, tree.size as usize, |number, entry| {
                let record = store.journal(number)?;
                all.push((tree.shard, number - tree.first, entry.to_vec(), record));
                Ok(())
            })
            .unwrap();
    }
    all
}

fn faulty(place: &Path) -> String {
    let log = match read(place) {
        Ok(log) => log,
        Err(fault) => return fault.to_string(),
    };
    let walked = log.each::<PlaceFault>(|_| Ok(()));
    walked.unwrap_err().to_string()
}

/// A store that wrote entries, some of them with records, in two lives; and its place.
fn written(folder: &Path) -> (PathBuf, PathBuf) {
    let (store, place) = (folder.join("store"), folder.join("place"));
    for count in [300, 20] {
        let writing = open(&store, TIME, Some(&place), false).unwrap();
        writing.write(count);
        writing.write_state(3);
    }
    (store, place)
}

/// The one segment of a place.
fn segment(place: &Path) -> PathBuf {
    place.join("2026/00000000000000000000.journal")
}

#[test]
fn a_place_holds_what_the_store_has_over_restarts_and_years() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = written(folder.path());
    assert_eq!(held(&place), kept(&store));
    let writing = open(&store, "2027-01-01T00:00:05Z", Some(&place), false).unwrap();
    writing.write_state(1);
    writing.write(2);
    drop(writing);
    let all = kept(&store);
    assert_eq!(held(&place), all);
    assert!(all.iter().filter(|(.., record)| record.is_some()).count() > 6);
    let shards = read(&place).unwrap().shards;
    let shards: Vec<_> = shards.iter().map(|s| (s.shard.year, s.first)).collect();
    assert_eq!(shards, [(2026, 0), (2027, 0)]);
}

#[test]
fn what_a_kill_left_behind_the_checkpoint_is_not_read_and_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = written(folder.path());
    let whole = fs::read(segment(&place)).unwrap();
    let before = held(&place);
    for torn in [
        &b"\0\0"[..],
        b"\0\0\0\x04{\"a\"",
        &whole[whole.len() - 200..],
    ] {
        fs::write(segment(&place), [&whole[..], torn].concat()).unwrap();
        assert_eq!(held(&place), before);
    }
    open(&store, TIME, Some(&place), false).unwrap().write(2);
    assert_eq!(held(&place), kept(&store));
}

#[test]
fn a_place_that_lost_what_it_vouches_for_is_told_and_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = written(folder.path());
    type Damage = fn(&[u8]) -> Option<Vec<u8>>;
    let damages: [(&str, Damage); 4] = [
        ("ends after", |whole| {
            Some(whole[..whole.len() - 1].to_vec())
        }),
        ("there is no entry of 2026", |_| None),
        ("the first entry of 2026 cannot be read", |whole| {
            Some(whole[1..].to_vec())
        }),
        ("do not make its root", |whole| {
            let at = whole.windows(8).rposition(|bytes| bytes == b"\"refuse\"");
            let mut other = whole.to_vec();
            other[at.unwrap() + 1] = b'R';
            Some(other)
        }),
    ];
    for (what, damage) in damages {
        match damage(&fs::read(segment(&place)).unwrap()) {
            Some(bytes) => fs::write(segment(&place), bytes).unwrap(),
            None => fs::remove_file(segment(&place)).unwrap(),
        }
        assert!(faulty(&place).contains(what), "{what}: {}", faulty(&place));
        open(&store, TIME, Some(&place), false).unwrap().write(1);
        assert_eq!(held(&place), kept(&store), "{what}");
    }
}

#[test]
fn a_record_that_is_missing_changed_or_not_named_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (_, place) = written(folder.path());
    let whole = fs::read(segment(&place)).unwrap();
    let records: Vec<_> = held(&place).into_iter().filter_map(|(.., r)| r).collect();
    let last = records.last().unwrap();
    let at = whole
        .windows(last.len())
        .rposition(|bytes| bytes == last)
        .unwrap();
    let mut changed = whole.clone();
    changed[at + 40] ^= 1;
    fs::write(segment(&place), &changed).unwrap();
    assert!(faulty(&place).contains("is not the one that it names"));
    let without = [&whole[..at - 4], &[0; 4], &whole[at + last.len()..]].concat();
    fs::write(segment(&place), without).unwrap();
    assert!(faulty(&place).contains("that it names is missing"));
}

#[test]
fn a_place_of_another_log_or_key_or_none_is_called_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (_, place) = written(folder.path());
    let other = ed25519_dalek::SigningKey::from_bytes(&[99; 32]).verifying_key();
    let foreign = PlaceLog::open(&place, OWNER, &other, None);
    assert!(
        matches!(foreign, Err(PlaceFault::Foreign(..))),
        "{foreign:?}"
    );
    let foreign = PlaceLog::open(&place, "test/node/court", &key().verifying_key(), None);
    assert!(
        matches!(foreign, Err(PlaceFault::Foreign(..))),
        "{foreign:?}"
    );
    fs::remove_file(place.join("checkpoint")).unwrap();
    assert!(matches!(read(&place), Err(PlaceFault::Empty(_))));
    assert!(matches!(
        read(&folder.path().join("no")),
        Err(PlaceFault::Io(..))
    ));
}

#[test]
fn a_place_tells_whether_it_continues_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("place"));
    open(&store, TIME, Some(&place), false).unwrap().write(10);
    let earlier = read(&place).unwrap().checkpoint;
    copy_folder(&store, &folder.path().join("backup"));
    open(&store, TIME, Some(&place), false).unwrap().write(5);
    let log = read(&place).unwrap();
    assert_eq!(log.contains(&earlier).unwrap(), Some(true));
    assert_eq!(log.contains(&log.checkpoint).unwrap(), Some(true));
    let forged = Checkpoint {
        root: [1; 32],
        ..earlier.clone()
    };
    assert_eq!(log.contains(&forged).unwrap(), Some(false));
    let beyond = Checkpoint {
        size: 1_000,
        ..earlier.clone()
    };
    assert_eq!(log.contains(&beyond).unwrap(), Some(false));

    // A store that was restored goes on in another part, which the place holds behind what is kept.
    let backup = folder.path().join("backup");
    open(&backup, TIME, Some(&place), true).unwrap().write(4);
    assert_eq!(held(&place), kept(&backup));
    let resumed = read(&place).unwrap();
    assert_eq!(resumed.contains(&earlier).unwrap(), Some(true));
    assert_eq!(resumed.contains(&log.checkpoint).unwrap(), Some(false));
}

#[test]
fn the_file_of_an_earlier_version_becomes_a_place_also_after_a_kill_halfway() {
    for step in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let (store, place) = (folder.path().join("store"), folder.path().join("place"));
        open(&store, TIME, Some(&place), false).unwrap().write(10);
        // As an earlier version left it.
        let note = fs::read(place.join("checkpoint")).unwrap();
        fs::remove_dir_all(&place).unwrap();
        fs::write(&place, &note).unwrap();
        assert!(JournalPlace::holds_checkpoint(&place));
        let new = folder.path().join("place.place");
        if step > 0 {
            fs::create_dir(&new).unwrap();
        }
        if step > 1 {
            fs::write(new.join("checkpoint"), &note).unwrap();
            fs::rename(&place, folder.path().join("place.before")).unwrap();
        }
        open(&store, TIME, Some(&place), false).unwrap().write(2);
        assert_eq!(held(&place), kept(&store));
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
