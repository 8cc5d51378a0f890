//! Rows in RocksDB: the only file that uses its types for rows. Opening, options and clearing files
//! are in the modules below.

mod checkpoint;
mod direct;
mod files;
mod lock;
mod open;
mod options;
mod wal;

use std::path::{Path, PathBuf};

use rocksdb::{
    Cache, ColumnFamily, DB, ErrorKind, IngestExternalFileOptions, IteratorMode, ReadOptions,
    SstFileWriter, WriteBatch, WriteOptions,
};

use self::lock::StoreLock;
use super::StoreError;
use super::columns::{CHUNK, ColumnName};
use super::rows::{RawRow, RowEngine, ScanRange, ScanStep};

/// Keys that are read in one call: RocksDB holds a block for each until it returns.
const TOGETHER: usize = 256;
/// The file that is written before RocksDB takes it in. RocksDB does not know this ending.
const INCOMING: &str = "index.incoming";
/// How far a scan of all chunks reads ahead.
const AHEAD: usize = 4 << 20;

/// A RocksDB in a folder.
pub struct RocksEngine {
    db: DB,
    path: PathBuf,
    /// The bounded cache of the column `index`. All other columns use RocksDB's own.
    cache: Cache,
    /// Keeps other processes out of a store that is open for reading only, where that was asked
    /// for. RocksDB does so itself where it writes.
    _alone: Option<StoreLock>,
}

/// Rows that RocksDB will write together or not at all.
#[derive(Default)]
pub struct RocksBatch(WriteBatch);

impl RocksBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the changes.
    pub(super) fn size(&self) -> usize {
        self.0.size_in_bytes()
    }
}

impl RowEngine for RocksEngine {
    type Batch = RocksBatch;

    fn read(&self, column: ColumnName, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(column) = self.column_if_there(column) else {
            return Ok(None);
        };
        self.db
            .get_cf(column, key)
            .map_err(|source| self.failed(source))
    }

    fn read_sorted<K: AsRef<[u8]>>(
        &self,
        column: ColumnName,
        keys: &[K],
        mut each: impl FnMut(Option<&[u8]>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for keys in keys.chunks(TOGETHER) {
            for value in self
                .db
                .batched_multi_get_cf(self.column(column), keys, true)
            {
                each(value.map_err(|source| self.failed(source))?.as_deref())?;
            }
        }
        Ok(())
    }

    fn last(&self, column: ColumnName) -> Result<Option<RawRow>, StoreError> {
        let row = self
            .db
            .iterator_cf(self.column(column), IteratorMode::End)
            .next();
        let row = row.transpose().map_err(|source| self.failed(source))?;
        Ok(row.map(|(key, value)| (key.into_vec(), value.into_vec())))
    }

    fn scan<E: From<StoreError>>(
        &self,
        column: ColumnName,
        range: ScanRange<'_>,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<ScanStep, E>,
    ) -> Result<(), E> {
        let mut options = ReadOptions::default();
        options.fill_cache(!range.once);
        if range.once && column == CHUNK.name {
            options.set_readahead_size(AHEAD);
        }
        let Some(column) = self.column_if_there(column) else {
            return Ok(());
        };
        let mut rows = self.db.raw_iterator_cf_opt(column, options);
        rows.seek(range.from);
        while let Some((key, value)) = rows.item().filter(|(key, _)| key.starts_with(range.prefix))
        {
            match each(key, value)? {
                ScanStep::Next => rows.next(),
                ScanStep::SkipTo(later) => rows.seek(later),
                ScanStep::Stop => return Ok(()),
            }
        }
        Ok(rows.status().map_err(|source| self.failed(source))?)
    }

    fn put(&self, batch: &mut RocksBatch, column: ColumnName, key: &[u8], value: &[u8]) {
        batch.0.put_cf(self.column(column), key, value);
    }

    fn delete(&self, batch: &mut RocksBatch, column: ColumnName, key: &[u8]) {
        batch.0.delete_cf(self.column(column), key);
    }

    fn delete_range(&self, batch: &mut RocksBatch, column: ColumnName, from: &[u8], until: &[u8]) {
        batch.0.delete_range_cf(self.column(column), from, until);
    }

    fn commit(&self, batch: RocksBatch) -> Result<(), StoreError> {
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        self.db
            .write_opt(batch.0, &durable)
            .map_err(|source| self.failed(source))
    }

    /// Writes a sorted file that RocksDB takes in whole: no write-ahead log, no sorting in memory.
    fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        column: ColumnName,
        rows: impl Iterator<Item = (K, V)>,
    ) -> Result<(), StoreError> {
        let written = || -> Result<(), rocksdb::Error> {
            let options = options::of_column(column, &self.cache);
            let file = self.path.join(INCOMING);
            // A crash may have left one behind.
            let _ = std::fs::remove_file(&file);
            let mut writer = SstFileWriter::create(&options);
            writer.open(&file)?;
            for (key, value) in rows {
                writer.put(key, value)?;
            }
            writer.finish()?;
            drop(writer);
            let mut how = IngestExternalFileOptions::default();
            how.set_move_files(true);
            self.db
                .ingest_external_file_cf_opts(self.column(column), &how, vec![file])
        };
        written().map_err(|source| self.failed(source))
    }
}

impl RocksEngine {
    fn column(&self, column: ColumnName) -> &ColumnFamily {
        self.db
            .cf_handle(column.as_str())
            .expect("every column is opened with the store")
    }

    /// A column, unless an earlier version made the store and it is open for reading only: then a
    /// column that it lacks has no rows.
    fn column_if_there(&self, column: ColumnName) -> Option<&ColumnFamily> {
        self.db.cf_handle(column.as_str())
    }

    fn failed(&self, source: rocksdb::Error) -> StoreError {
        failed(&self.path, source)
    }

    /// About how many rows a column has.
    pub(super) fn estimated_rows(&self, column: ColumnName) -> u64 {
        self.property(column, "rocksdb.estimate-num-keys")
            .unwrap_or(0)
    }

    /// About how many bytes a column's rows take on the disk, without blob files.
    pub(super) fn table_bytes(&self, column: ColumnName) -> u64 {
        self.property(column, "rocksdb.live-sst-files-size")
            .unwrap_or(0)
    }

    /// Bytes of memory that blocks and filters of the column `index` take at present.
    pub(super) fn cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    fn property(&self, column: ColumnName, property: &str) -> Result<u64, StoreError> {
        let found = self.db.property_int_value_cf(self.column(column), property);
        Ok(found.map_err(|source| self.failed(source))?.unwrap_or(0))
    }

    /// Keeps the files that a column has at present for as long as the result lives, as a slow
    /// reader would.
    #[cfg(test)]
    pub(super) fn hold_files(&self, column: ColumnName) -> impl Sized + '_ {
        self.db
            .iterator_cf(self.column(column), IteratorMode::Start)
    }
}

fn failed(path: &Path, source: rocksdb::Error) -> StoreError {
    // RocksDB has one kind for all errors of input and output, so only the message tells.
    let full = source.kind() == ErrorKind::IOError
        && source.to_string().contains("No space left on device");
    StoreError::Engine {
        path: path.to_owned(),
        source: Box::new(source),
        full,
    }
}
