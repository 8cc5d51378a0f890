//! The history of the store's format: one file for each step from a format to the next, named after
//! the one it starts from.
//!
//! A step runs once, when a store of that format is opened, before anything else reads it. Before
//! the first step a copy of the store is made beside it ([`keep_copy`]), because there is no way
//! back: an earlier version of cloison refuses the store afterwards. A step may be killed between
//! any two commits: every row shows by itself whether it is old or new, and the format's number is
//! written last. So the next start continues where it ended.
//!
//! A new column needs no step: opening makes the columns that are missing. It does change who can
//! read the store, so it changes [`OLDEST_READER`], as a new format does. So that each version can
//! say to the ones before it what they need, every store holds that version's name.

mod from_1;

use std::path::{Path, PathBuf};

use super::columns::META;
use super::fields::RowField as _;
use super::{RowBatch, Store, StoreError};
use crate::files;

/// The format of everything in the store.
pub(super) const FORMAT: u32 = 2;
/// The first version of cloison that reads this format and every column of [`super::COLUMNS`].
pub(super) const OLDEST_READER: &str = "0.2.0";

/// Single value: the format's number.
const FORMAT_ROW: &[u8] = b"format";
/// Single value: the oldest version of cloison that reads the store, as text.
pub(super) const READER_ROW: &[u8] = b"oldest-reader";
/// Single value: the format that the steps under way began with. It is there from before the copy
/// is made until the last step is done.
const UNDER_WAY_ROW: &[u8] = b"upgrade-from";

/// Makes a step's rows durable.
type CommitRows<'a> = dyn FnMut(RowBatch) -> Result<(), StoreError> + 'a;

/// The rows by which a store says what reads it.
pub(super) fn put_format(store: &Store, batch: &mut RowBatch) {
    store.put(batch, META, FORMAT_ROW, &FORMAT.bytes());
    store.put(batch, META, READER_ROW, OLDEST_READER.as_bytes());
}

/// Brings a store to [`FORMAT`].
///
/// # Errors
/// [`StoreError::Format`] for a format that no step leads from; [`StoreError::CopyInPlace`]; the
/// errors of the steps.
pub(super) fn upgrade(store: &Store, found: u32) -> Result<(), StoreError> {
    upgrade_by(store, found, &mut |batch| store.commit(batch))
}

/// The same, by these commits.
fn upgrade_by(store: &Store, found: u32, commit: &mut CommitRows<'_>) -> Result<(), StoreError> {
    if !(1..=FORMAT).contains(&found) {
        return Err(StoreError::Format {
            path: store.path.clone(),
            found,
            reader: store.oldest_reader()?,
        });
    }
    if found < FORMAT {
        keep_copy(store, found, commit)?;
    }
    for format in found..FORMAT {
        match format {
            1 => from_1::key_orders_by_authority(store, commit)?,
            _ => unreachable!("a step leads from every format up to the present one"),
        }
        let next = format + 1;
        let mut batch = RowBatch::default();
        store.put(&mut batch, META, FORMAT_ROW, &next.bytes());
        if next == FORMAT {
            put_format(store, &mut batch);
            store.delete(&mut batch, META, UNDER_WAY_ROW);
        }
        commit(batch)?;
        tracing::info!(format = next, "the store was brought to a later format");
    }
    if store.oldest_reader()?.as_deref() != Some(OLDEST_READER) {
        let mut batch = RowBatch::default();
        put_format(store, &mut batch);
        commit(batch)?;
    }
    Ok(())
}

/// Where the copy of a store of that format lies: `data/vault.format-1` beside `data/vault`.
fn copy_of(store: &Path, format: u32) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(format!(".format-{format}"));
    store.with_file_name(name)
}

/// Copies the store, as it is before the first step, to a folder beside it that people delete when
/// they trust the new version. Tables are hard links, so it takes room only as the store changes.
///
/// # Errors
/// [`StoreError::CopyInPlace`] where an earlier upgrade left a copy; what the engine says.
fn keep_copy(store: &Store, found: u32, commit: &mut CommitRows<'_>) -> Result<(), StoreError> {
    // The format at which the steps began: they may have been killed at a later one.
    let began = store.meta::<u32>(UNDER_WAY_ROW)?;
    let copy = copy_of(&store.path, began.unwrap_or(found));
    if began.is_none() {
        if copy.exists() {
            return Err(StoreError::CopyInPlace(copy));
        }
        let mut batch = RowBatch::default();
        store.put(&mut batch, META, UNDER_WAY_ROW, &found.bytes());
        commit(batch)?;
    }
    if !copy.exists() {
        store.engine.checkpoint(&copy)?;
        files::sync_folder(&copy).map_err(|source| StoreError::Place {
            path: copy.clone(),
            source,
        })?;
        tracing::info!(copy = %copy.display(), "the store as it was was copied before it is brought to a later format");
    }
    Ok(())
}

/// The name of a version. Messages repeat it, so a store cannot make it anything else.
pub(super) fn version_name(value: &[u8]) -> Option<String> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+".contains(byte);
    let name = std::str::from_utf8(value).ok()?;
    ((1..=20).contains(&value.len()) && value.iter().all(is_name)).then(|| name.to_owned())
}

impl Store {
    /// The oldest version of cloison that reads the store, where it says so: those before 0.2 did
    /// not.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn oldest_reader(&self) -> Result<Option<String>, StoreError> {
        Ok(self
            .get(META, READER_ROW)?
            .and_then(|value| version_name(&value)))
    }

    /// The copies that upgrades of the store left beside it. What is erased from the store is still
    /// in them, so they are to be deleted soon.
    pub fn upgrade_copies(path: &Path) -> Vec<PathBuf> {
        (1..FORMAT)
            .map(|format| copy_of(path, format))
            .filter(|copy| copy.exists())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::super::columns::{
        COLUMNS, ColumnName, MIGRATION, MIGRATION_PAIRS, ORDER, ORDER_LIFE, ORDER_PAIR,
    };
    use super::super::rocks::RocksEngine;
    use super::super::rows::{RowEngine as _, ScanRange, ScanStep};
    use super::*;

    const OWNER: &str = "test/vault";

    type Rows = BTreeSet<(ColumnName, Vec<u8>, Vec<u8>)>;

    fn rows(path: &Path) -> Rows {
        let engine = RocksEngine::open_for_reading(path).unwrap();
        let mut rows = Rows::new();
        for column in COLUMNS {
            let read = engine.scan(*column, ScanRange::ALL, |key, value| {
                rows.insert((*column, key.to_vec(), value.to_vec()));
                Ok::<_, StoreError>(ScanStep::Next)
            });
            read.unwrap();
        }
        rows
    }

    /// A store of format 1 with an order, as cloison 0.1 wrote it.
    fn write_format_1(path: &Path) {
        let store = Store::open(path, OWNER).unwrap();
        let mut batch = RowBatch::default();
        let id = Uuid::from_bytes([1; 16]);
        let tag = [&id.as_bytes()[..], &[9; 16]].concat();
        let page = [&b"clinic\0"[..], id.as_bytes(), &[0, 0, 0, 1]].concat();
        for (column, key, value) in [
            (ORDER.name, &id.as_bytes()[..], &[5; 32][..]),
            (ORDER_PAIR.name, &tag, &[]),
            (ORDER_LIFE.name, id.as_bytes(), br#"{"authority":"court"}"#),
            (MIGRATION.name, id.as_bytes(), &[6; 40]),
            (MIGRATION_PAIRS.name, &page, b"sealed"),
        ] {
            store.engine.put(&mut batch.rows, column, key, value);
        }
        store.put(&mut batch, META, FORMAT_ROW, &1u32.bytes());
        store.delete(&mut batch, META, READER_ROW);
        store.commit(batch).unwrap();
    }

    /// The store open, and not brought to any other format.
    fn as_it_is(path: &Path) -> Store {
        let engine = RocksEngine::open(path, OWNER, 1 << 20).unwrap();
        let place = super::super::place::StorePlace::of(path).unwrap();
        Store::over(engine, path, Some(place))
    }

    fn copy_files(from: &Path, to: &Path) {
        std::fs::create_dir(to).unwrap();
        for entry in from.read_dir().unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    #[test]
    fn an_upgrade_that_is_killed_between_any_two_commits_is_finished_and_its_copy_is_the_old_store()
    {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old");
        write_format_1(&old);
        let mut before = rows(&old);
        // The copy is made after this row.
        before.insert((META.name, UNDER_WAY_ROW.to_vec(), 1u32.bytes().into_owned()));
        let mut expected: Option<Rows> = None;
        for kill_after in 0.. {
            let path = folder.path().join(format!("{kill_after}"));
            let copy = copy_of(&path, 1);
            copy_files(&old, &path);
            let (store, mut commits) = (as_it_is(&path), 0);
            let killed = upgrade_by(&store, 1, &mut |batch| {
                if commits == kill_after {
                    return Err(StoreError::Poisoned);
                }
                commits += 1;
                store.commit(batch)
            });
            drop(store);
            if kill_after == 1 {
                // As if the kill had come before the copy.
                std::fs::remove_dir_all(&copy).unwrap();
            }
            drop(Store::open(&path, OWNER).unwrap());
            let after = rows(&path);
            assert_eq!(*expected.get_or_insert_with(|| after.clone()), after);
            assert!(rows(&copy) == before, "killed after {kill_after} commits");
            assert_eq!(Store::upgrade_copies(&path), std::slice::from_ref(&copy));
            // A later start is none of its business.
            drop(Store::open(&path, OWNER).unwrap());
            assert_eq!(rows(&path), after);
            if killed.is_ok() {
                // The row before the copy, one for each of five rows, the format.
                assert_eq!(commits, 7);
                return;
            }
        }
    }

    #[test]
    fn the_copy_of_an_earlier_upgrade_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        write_format_1(&path);
        let (copy, before) = (copy_of(&path, 1), rows(&path));
        std::fs::create_dir(&copy).unwrap();
        match Store::open(&path, OWNER) {
            Err(StoreError::CopyInPlace(there)) => assert_eq!(there, copy),
            other => panic!("{:?}", other.map(drop)),
        }
        assert_eq!(rows(&path), before);
        std::fs::remove_dir(&copy).unwrap();
        drop(Store::open(&path, OWNER).unwrap());
        // The copy takes the store's place as it is, and is brought up again.
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::rename(&copy, &path).unwrap();
        let store = Store::open(&path, OWNER).unwrap();
        assert_eq!(store.format().unwrap(), FORMAT);
        assert_eq!(store.oldest_reader().unwrap().unwrap(), OLDEST_READER);
    }

    #[test]
    fn the_name_of_a_version_is_nothing_else() {
        assert_eq!(version_name(b"0.3.0-rc1").as_deref(), Some("0.3.0-rc1"));
        for other in [&b""[..], b"0.3\x1b[2J", b"0.3 or so", &[b'1'; 21], &[0xff]] {
            assert_eq!(version_name(other), None);
        }
    }
}
