//! RocksDB's checkpoint: a second folder with the present state, whose tables are hard links.

use std::path::Path;

use rocksdb::checkpoint::Checkpoint;

use super::RocksEngine;
use crate::store::StoreError;

/// Bytes of write-ahead log that are copied rather than written to tables first. RocksDB links
/// tables and copies logs, so a longer log costs every checkpoint; a flush costs small tables that
/// later compactions merge.
const MOST_LOG: u64 = 32 << 20;
/// Tells RocksDB never to flush first.
const NEVER_FLUSH: u64 = u64::MAX;

impl RocksEngine {
    /// Makes a folder with the state between two commits, in which every commit that has returned
    /// is whole. Commits go on meanwhile. The folder must not exist, and lies on the store's own
    /// disk: elsewhere RocksDB would copy all tables.
    pub(in crate::store) fn checkpoint(&self, into: &Path) -> Result<(), StoreError> {
        let made = |flush_beyond| {
            Checkpoint::new(&self.db)?.create_checkpoint_with_log_size(into, flush_beyond)
        };
        if self.log_bytes()? > MOST_LOG {
            self.flush_all()?;
        }
        made(NEVER_FLUSH).map_err(|source| self.failed(source))
    }

    /// Bytes of the write-ahead logs.
    fn log_bytes(&self) -> Result<u64, StoreError> {
        let logs = self.files(|name, _| name.ends_with(".log"))?;
        let length = |name: &String| std::fs::metadata(self.path.join(name)).map_or(0, |f| f.len());
        Ok(logs.iter().map(length).sum())
    }
}
