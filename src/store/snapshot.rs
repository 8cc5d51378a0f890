//! A snapshot: the store's state between two commits, in a folder of its own, to be copied
//! elsewhere while the store goes on.
//!
//! It lies within the store's folder, because its tables are hard links and those need the same
//! disk. Until it is dropped it keeps files that the store has replaced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::columns::META;
use super::upgrade::FORMAT;
use super::{RocksEngine, RowBatch, Store, StoreError};

/// The snapshot's folder, within the store's.
const FOLDER: &str = "snapshot";
/// The name of the row with the repository that backups go to.
const BACKUPS: &[u8] = b"backups";
/// The folder in which RocksDB makes it.
const STAGING: &str = "snapshot.tmp";

/// The folder with a snapshot. Dropping it removes the folder.
#[derive(Debug)]
pub struct StoreSnapshot {
    path: PathBuf,
}

impl StoreSnapshot {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for reading. RocksDB adds a file of messages to the folder then, so list its files
    /// before.
    ///
    /// # Errors
    /// As [`Store::open_for_audit`].
    pub fn open(&self) -> Result<Store, StoreError> {
        Store::open_for_audit(&self.path)
    }
}

impl Drop for StoreSnapshot {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::error!(%error, "a snapshot of the store cannot be removed; the next start removes it");
        }
    }
}

impl Store {
    /// Takes a snapshot with every commit that has returned. Commits go on meanwhile, and the
    /// snapshot may have one that has not returned. There is one snapshot at a time.
    ///
    /// # Errors
    /// [`StoreError::Engine`]: there is a snapshot already, or the disk is full.
    pub fn snapshot(&self) -> Result<StoreSnapshot, StoreError> {
        let path = self.path.join(FOLDER);
        self.engine.checkpoint(&path)?;
        Ok(StoreSnapshot { path })
    }

    /// The present format of everything in a store.
    pub const FORMAT: u32 = FORMAT;

    /// Checks that a store has no column that only a later version knows.
    ///
    /// # Errors
    /// [`StoreError::Columns`], [`StoreError::Engine`].
    pub fn check_columns(path: &Path) -> Result<(), StoreError> {
        RocksEngine::check_columns(path)
    }

    /// The repository that backups of this store go to, once there was one.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn backup_repository(&self) -> Result<Option<[u8; 16]>, StoreError> {
        self.meta::<[u8; 16]>(BACKUPS)
    }

    /// Notes the repository that backups of this store go to.
    pub fn put_backup_repository(&self, batch: &mut RowBatch, repository: &[u8; 16]) {
        self.put(batch, META, BACKUPS, &repository[..]);
    }
}

/// Removes what a process that was killed has left of a snapshot. Call it while no other process
/// has the store.
pub(super) fn clear(store: &Path) -> io::Result<()> {
    for folder in [FOLDER, STAGING] {
        match fs::remove_dir_all(store.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// How many files of those names a snapshot keeps: their bytes stay on the disk while it is there.
pub(super) fn keeps<'n>(store: &Path, names: impl Iterator<Item = &'n String>) -> usize {
    let folder = store.join(FOLDER);
    names.filter(|name| folder.join(name).exists()).count()
}

#[cfg(test)]
mod tests {
    use super::super::ChunkKey;
    use super::*;

    fn chunk(sequence: u32) -> ChunkKey {
        ChunkKey {
            sector: 1,
            epoch: 1,
            sequence,
        }
    }

    fn put(store: &Store, sequence: u32) {
        let mut batch = RowBatch::default();
        store.put_chunk(&mut batch, chunk(sequence), &[7; 600]);
        store.commit(batch).unwrap();
    }

    #[test]
    fn a_snapshot_has_what_was_committed_and_nothing_later() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        put(&store, 1);
        let snapshot = store.snapshot().unwrap();
        put(&store, 2);
        assert!(store.snapshot().is_err(), "one at a time");
        let copy = snapshot.open().unwrap();
        assert_eq!(copy.chunk(chunk(1)).unwrap().unwrap(), [7; 600]);
        assert_eq!(copy.chunk(chunk(2)).unwrap(), None);
        assert_eq!(
            (copy.format().unwrap(), copy.owner().unwrap()),
            (store.format().unwrap(), "test/vault".to_owned())
        );
        drop((copy, snapshot));
        assert!(!folder.path().join(FOLDER).exists());
        drop(store.snapshot().unwrap());
    }

    #[test]
    fn what_a_killed_process_left_goes_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        std::mem::forget(store.snapshot().unwrap());
        fs::create_dir(folder.path().join(STAGING)).unwrap();
        drop(store);
        let store = Store::open(folder.path(), "test/vault").unwrap();
        assert!(!folder.path().join(FOLDER).exists() && !folder.path().join(STAGING).exists());
        drop(store.snapshot().unwrap());
    }

    #[test]
    fn bytes_that_a_snapshot_keeps_are_not_called_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        put(&store, 1);
        store.engine.flush_all().unwrap();
        let snapshot = store.snapshot().unwrap();
        assert!(matches!(store.scrub(), Err(StoreError::Unscrubbed(_))));
        drop(snapshot);
        store.scrub().unwrap();
    }
}
