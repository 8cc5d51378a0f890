//! Clears the bytes of deleted rows out of RocksDB's files, and takes back their disk space.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::RocksEngine;
use crate::store::StoreError;
use crate::store::columns::{CHUNK, COLUMNS, ColumnName, META};
use crate::store::snapshot;

/// Time between two looks whether replaced files are gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long replaced files may stay: an iterator that reads them keeps them.
const LINGER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

impl RocksEngine {
    /// Rewrites columns without what was deleted, and begins a new write-ahead log.
    pub(in crate::store) fn rewrite(&self, columns: &[ColumnName]) -> Result<(), StoreError> {
        let mut old = self.files(|name, length| name.ends_with(".log") && length > 0)?;
        self.flush_all()?;
        // Chunks alone lie in blob files.
        if columns.contains(&CHUNK.name) {
            old.extend(self.files(|name, _| name.ends_with(".blob"))?);
        }
        old.extend(self.tables(columns)?);
        // Twice: rows that came to an empty column during the first round still hold the old log,
        // and the file of a flush under way is listed only after it.
        self.flush_all()?;
        let mut whole = CompactOptions::default();
        whole.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for column in columns {
            self.db.compact_range_cf_opt(
                self.column(*column),
                None::<&[u8]>,
                None::<&[u8]>,
                &whole,
            );
        }
        // RocksDB deletes the write-ahead log that the columns were flushed from at the next flush.
        self.flush(META.name)?;
        self.wait_until_gone(&old)
    }

    /// Writes what a column has in memory to its files.
    pub(in crate::store) fn flush(&self, column: ColumnName) -> Result<(), StoreError> {
        self.db
            .flush_cf(self.column(column))
            .map_err(|source| self.failed(source))
    }

    /// Writes what all columns have in memory to their files.
    pub(in crate::store) fn flush_all(&self) -> Result<(), StoreError> {
        COLUMNS.iter().try_for_each(|column| self.flush(*column))
    }

    /// Compacts a column, as RocksDB's own threads do.
    #[cfg(test)]
    pub(in crate::store) fn compact(&self, column: ColumnName) {
        self.db
            .compact_range_cf(self.column(column), None::<&[u8]>, None::<&[u8]>);
    }

    /// Waits until none of these files is in the store's folder or a snapshot any more. A
    /// compaction does not report whether it finished. One that did has replaced every file that
    /// was there before it.
    fn wait_until_gone(&self, old: &BTreeSet<String>) -> Result<(), StoreError> {
        let begun = Instant::now();
        loop {
            let left = self.files(|name, _| old.contains(name))?.len()
                + snapshot::keeps(&self.path, old.iter());
            if left == 0 {
                return Ok(());
            }
            if begun.elapsed() > LINGER {
                tracing::error!(
                    files = left,
                    "files that were replaced are still there: a backup or another reader keeps them, or the disk is full"
                );
                return Err(StoreError::Unscrubbed(self.path.clone()));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The names of the files in the store's folder that are wanted, by name and length.
    pub(in crate::store) fn files(
        &self,
        wanted: impl Fn(&str, u64) -> bool,
    ) -> Result<BTreeSet<String>, StoreError> {
        let list = || -> std::io::Result<BTreeSet<String>> {
            let mut names = BTreeSet::new();
            for entry in std::fs::read_dir(&self.path)? {
                let entry = entry?;
                // A file that is deleted meanwhile counts as gone.
                let length = entry.metadata().map_or(0, |facts| facts.len());
                names.extend(
                    entry
                        .file_name()
                        .into_string()
                        .ok()
                        .filter(|name| wanted(name, length)),
                );
            }
            Ok(names)
        };
        list().map_err(|source| StoreError::Place {
            path: self.path.clone(),
            source,
        })
    }

    /// The names of the files that hold rows of these columns.
    fn tables(&self, columns: &[ColumnName]) -> Result<BTreeSet<String>, StoreError> {
        let live = self.db.live_files().map_err(|source| self.failed(source))?;
        let of_these = live.into_iter().filter(|file| {
            columns
                .iter()
                .any(|c| c.as_str() == file.column_family_name)
        });
        // RocksDB names them relative to the store's folder: `/000012.sst`.
        Ok(of_these
            .map(|file| file.name.trim_start_matches('/').to_owned())
            .collect())
    }

    /// Whether compactions move all chunks that they meet, or none.
    pub(in crate::store) fn move_blobs(&self, on: bool) -> Result<(), StoreError> {
        let cutoff = [(
            "blob_garbage_collection_age_cutoff",
            if on { "1.0" } else { "0.0" },
        )];
        self.db
            .set_options_cf(self.column(CHUNK.name), &cutoff)
            .map_err(|source| self.failed(source))
    }

    /// Bytes of live blob files, and how many of them belong to deleted chunks.
    pub(in crate::store) fn blob_bytes(&self) -> Result<(u64, u64), StoreError> {
        let property = |name| self.property(CHUNK.name, name);
        Ok((
            property("rocksdb.live-blob-file-size")?,
            property("rocksdb.live-blob-file-garbage-size")?,
        ))
    }

    /// Bytes of all blob files on the disk.
    #[cfg(test)]
    pub(in crate::store) fn all_blob_bytes(&self) -> u64 {
        self.property(CHUNK.name, "rocksdb.total-blob-file-size")
            .unwrap()
    }
}
