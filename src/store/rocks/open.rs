//! Opening a RocksDB, and looking at its folder before it may write there.

use std::path::{Path, PathBuf};

use rocksdb::{Cache, ColumnFamilyDescriptor, DB, ErrorKind, IteratorMode, Options};

use super::lock::StoreLock;
use super::{RocksEngine, direct, failed, options, wal};
use crate::store::StoreError;
use crate::store::columns::{AUDIT_TREE, COLUMNS, META};
use crate::store::upgrade::{READER_ROW, version_name};

/// The column that every RocksDB has.
const DEFAULT: &str = "default";

impl RocksEngine {
    /// Whether there is a RocksDB at that path.
    pub fn is_there(path: &Path) -> bool {
        path.join("CURRENT").exists()
    }

    /// Whether there is no RocksDB, not even files of a damaged one.
    pub(in crate::store) fn is_absent(path: &Path) -> bool {
        !Self::is_there(path) && !has_data_files(path)
    }

    /// Opens the RocksDB in a folder, or makes one, with `cache` bytes of memory for blocks and
    /// filters of the column `index`. `owner` is only for the message about a database of another
    /// program.
    ///
    /// # Errors
    /// [`StoreError`]: in use, of another program, of a later version, damaged, or RocksDB cannot
    /// open it.
    pub fn open(path: &Path, owner: &str, cache: usize) -> Result<Self, StoreError> {
        look_before_opening(path, owner)?;
        let cache = Cache::new_lru_cache(cache);
        let mut options = options::of_database();
        options.set_use_direct_io_for_flush_and_compaction(direct::is_possible(path));
        let db = DB::open_cf_descriptors(&options, path, options::of_columns(&cache)).map_err(
            |source| {
                if is_locked(&source) {
                    StoreError::InUse(path.to_owned())
                } else {
                    failed(path, source)
                }
            },
        )?;
        let engine = Self {
            db,
            path: path.to_owned(),
            cache,
            _alone: None,
        };
        engine.check_tables()?;
        Ok(engine)
    }

    /// Opens a RocksDB for reading only: a backup's, or one that another process has open. Writes
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError`]: there is none, it has no tree over its log (an older version's), or RocksDB
    /// cannot read it.
    pub(in crate::store) fn open_for_reading(path: &Path) -> Result<Self, StoreError> {
        let engine = |source| failed(path, source);
        let found = DB::list_cf(&Options::default(), path).map_err(engine)?;
        let is_found = |name: &str| found.iter().any(|found| found == name);
        if !is_found(AUDIT_TREE.name.as_str()) {
            return Err(StoreError::Treeless(path.to_owned()));
        }
        let columns = COLUMNS.iter().filter(|column| is_found(column.as_str()));
        let cache = Cache::new_lru_cache(1 << 20);
        let columns = columns.map(|column| {
            ColumnFamilyDescriptor::new(column.as_str(), options::of_column(*column, &cache))
        });
        let db = DB::open_cf_descriptors_read_only(&options::of_reading(), path, columns, false)
            .map_err(engine)?;
        Ok(Self {
            db,
            path: path.to_owned(),
            cache,
            _alone: None,
        })
    }

    /// The same of one that no process has open, and keeps every process out until it is dropped.
    ///
    /// # Errors
    /// As [`RocksEngine::open_for_reading`]; [`StoreError::InUse`]; what a damaged store says.
    pub(in crate::store) fn open_alone_for_reading(path: &Path) -> Result<Self, StoreError> {
        let alone = StoreLock::take(path)?;
        check_logs(path)?;
        let engine = Self {
            _alone: Some(alone),
            ..Self::open_for_reading(path)?
        };
        engine.check_tables()?;
        Ok(engine)
    }

    /// Refuses a database with columns that only a later version knows.
    pub(in crate::store) fn check_columns(path: &Path) -> Result<(), StoreError> {
        let mut found =
            DB::list_cf(&Options::default(), path).map_err(|source| failed(path, source))?;
        found
            .retain(|name| COLUMNS.iter().all(|column| column.as_str() != name) && name != DEFAULT);
        if found.is_empty() {
            return Ok(());
        }
        Err(StoreError::Columns {
            path: path.to_owned(),
            found,
            reader: oldest_reader(path),
        })
    }

    /// Finds tables that are gone or cut. With a bound on open files, RocksDB opens only the first
    /// few at its start.
    fn check_tables(&self) -> Result<(), StoreError> {
        for table in self.table_files()? {
            let (file, length) = &table;
            let found = std::fs::metadata(file).map(|facts| facts.len()).ok();
            // A compaction may just have taken it out of the list and deleted it.
            if found != Some(*length) && self.table_files()?.contains(&table) {
                return Err(StoreError::Missing(table.0));
            }
        }
        Ok(())
    }

    /// Every table of the present state, and its length.
    fn table_files(&self) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        let tables = self.db.live_files().map_err(|source| self.failed(source))?;
        let place = |name: &str| self.path.join(name.trim_start_matches('/'));
        Ok(tables
            .iter()
            .map(|table| (place(&table.name), table.size as u64))
            .collect())
    }
}

/// Examines a folder before RocksDB may write in it. RocksDB would add our columns to any database;
/// and if the file that names the present state is lost, it would begin a new database and delete
/// the old one's files.
fn look_before_opening(path: &Path, owner: &str) -> Result<(), StoreError> {
    if !RocksEngine::is_there(path) {
        return if has_data_files(path) {
            Err(StoreError::Headless(path.to_owned()))
        } else {
            Ok(())
        };
    }
    let _alone = StoreLock::take(path)?;
    check_logs(path)?;
    RocksEngine::check_columns(path)?;
    if default_is_empty(path)? {
        return Ok(());
    }
    Err(StoreError::Foreign {
        path: path.to_owned(),
        found: "another program".to_owned(),
        wanted: owner.to_owned(),
    })
}

/// Finds a write-ahead log that RocksDB would read to its damaged record and no further.
fn check_logs(path: &Path) -> Result<(), StoreError> {
    for log in files_ending(path, &["log"]) {
        // RocksDB reports a log that cannot be read.
        if wal::has_damaged_tail(&log).unwrap_or(false) {
            return Err(StoreError::Log(log));
        }
    }
    Ok(())
}

/// Whether the folder has files that only a store has: tables, or RocksDB's write-ahead logs
/// (`.log`). What RocksDB makes before CURRENT has none of these endings.
fn has_data_files(path: &Path) -> bool {
    files_ending(path, &["sst", "blob", "log"]).next().is_some()
}

fn files_ending(folder: &Path, ends: &[&str]) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    files.filter(move |file| {
        file.extension()
            .is_some_and(|end| ends.iter().any(|known| end == *known))
    })
}

/// The oldest version that reads a store with columns that this one does not know, if it says so.
fn oldest_reader(path: &Path) -> Option<String> {
    let mut options = options::of_reading();
    options.create_if_missing(false);
    let columns = [DEFAULT, META.name.as_str()];
    let db = DB::open_cf_for_read_only(&options, path, columns, false).ok()?;
    let value = db.get_cf(db.cf_handle(META.name.as_str())?, READER_ROW);
    version_name(&value.ok()??)
}

/// Whether RocksDB's default column is empty, as in every store of ours: our rows lie in columns of
/// our own.
fn default_is_empty(path: &Path) -> Result<bool, StoreError> {
    // With the same options as for serving: RocksDB 11 dereferences a null pointer when it opens a
    // database read-only whose manifest tracks write-ahead logs, unless the options say so too.
    let mut options = options::of_database();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    let db = DB::open_cf_for_read_only(&options, path, [DEFAULT], false)
        .map_err(|source| failed(path, source))?;
    Ok(db.iterator(IteratorMode::Start).next().is_none())
}

/// Whether a database did not open because a process has it open. RocksDB has one kind for all
/// errors of input and output, so only the message tells.
fn is_locked(error: &rocksdb::Error) -> bool {
    let words = error.to_string();
    error.kind() == ErrorKind::IOError
        && (words.contains("While lock file")
            && words.ends_with("Resource temporarily unavailable")
            || words.contains("lock hold by current process"))
}

#[cfg(test)]
mod tests {
    use rocksdb::WriteOptions;

    use super::*;

    /// A kill between the write of a new write-ahead log and the flush of every column leaves such
    /// a store; so does a copy that is made at that moment.
    #[test]
    fn a_store_whose_manifest_names_a_log_opens_for_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        let engine = RocksEngine::open(&path, "test/vault", 1 << 20).unwrap();
        let [first, second] =
            [COLUMNS[0], COLUMNS[1]].map(|column| engine.db.cf_handle(column.as_str()).unwrap());
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        for column in [first, second] {
            engine
                .db
                .put_cf_opt(column, b"key", b"value", &synced)
                .unwrap();
        }
        // The log is closed and still needed for the other column: the manifest names it.
        engine.db.flush_cf(first).unwrap();
        drop(engine);
        RocksEngine::open_for_reading(&path).unwrap();
    }
}
