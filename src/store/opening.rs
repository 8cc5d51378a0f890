//! Opening a store: checks its owner, and brings it to the present format.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::columns::META;
use super::place::StorePlace;
use super::rocks::RocksEngine;
use super::upgrade;
use super::{RowBatch, Store, StoreError, restoring, snapshot};

impl Store {
    /// Whether there is a store at that path.
    pub fn is_there(path: &Path) -> bool {
        RocksEngine::is_there(path)
    }

    /// Whether there is no store, not even files of a damaged one.
    pub(super) fn is_absent(path: &Path) -> bool {
        RocksEngine::is_absent(path)
    }

    /// Opens the store of `owner` (deployment and entity, such as `demo/vault`), or makes it where
    /// there is none.
    ///
    /// # Errors
    /// [`StoreError`]: in use, of another format, another owner's, damaged, or the engine cannot
    /// open it.
    pub fn open(path: &Path, owner: &str) -> Result<Self, StoreError> {
        Self::open_with(path, owner, 1 << 20)
    }

    /// The same, with `cache` bytes of memory for blocks and filters of the index on the disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: &Path, owner: &str, cache: usize) -> Result<Self, StoreError> {
        if restoring::is_restoring(path) {
            return Err(StoreError::Restoring(path.to_owned()));
        }
        let store = Self::open_anyway(path, owner, cache)?;
        let cleared = restoring::clear_beside(path);
        cleared.map_err(|source| StoreError::Place {
            path: path.to_owned(),
            source,
        })?;
        Ok(store)
    }

    /// The same, also where a restore is not finished.
    pub(super) fn open_anyway(path: &Path, owner: &str, cache: usize) -> Result<Self, StoreError> {
        let engine = RocksEngine::open(path, owner, cache)?;
        let unusable = |source| StoreError::Place {
            path: path.to_owned(),
            source,
        };
        snapshot::clear(path).map_err(unusable)?;
        let place = StorePlace::of(path).map_err(unusable)?;
        let store = Self::over(engine, path, Some(place));
        store.claim(owner)?;
        for copy in Self::upgrade_copies(path) {
            tracing::warn!(
                copy = %copy.display(),
                "the copy that was made before the store was brought to a later format is still there, and holds what was erased since: \
                 delete it when this version has proved itself"
            );
        }
        Ok(store)
    }

    /// Opens a store to read its log and nothing else: a backup, or one that another process has
    /// open. Writes nothing.
    ///
    /// # Errors
    /// [`StoreError`]: no store, one without a tree (an older version's), or the engine cannot read
    /// it.
    pub fn open_for_audit(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::over(RocksEngine::open_for_reading(path)?, path, None))
    }

    /// A store over an open engine. Without a place to watch it takes no writes.
    pub(super) fn over(engine: RocksEngine, path: &Path, place: Option<StorePlace>) -> Self {
        Self {
            engine,
            path: path.to_owned(),
            poisoned: AtomicBool::new(place.is_none()),
            moves_chunks: AtomicBool::new(false),
            scrubbed: AtomicBool::new(false),
            place,
        }
    }

    /// Checks the owner and brings the store to the present format, or writes both into a new
    /// store.
    fn claim(&self, owner: &str) -> Result<(), StoreError> {
        let Some(format) = self.meta::<u32>(b"format")? else {
            // The first row after these two is a log entry. A store that has one and no format is
            // damaged, not new.
            if self.last_audit()?.is_some() {
                return Err(META.corrupt());
            }
            let mut batch = RowBatch::default();
            upgrade::put_format(self, &mut batch);
            self.put(&mut batch, META, b"owner", owner.as_bytes());
            return self.commit(batch);
        };
        let found = self.get(META, b"owner")?.unwrap_or_default();
        if found != owner.as_bytes() {
            let found = String::from_utf8_lossy(&found).into_owned();
            return Err(StoreError::Foreign {
                path: self.path.clone(),
                found,
                wanted: owner.to_owned(),
            });
        }
        upgrade::upgrade(self, format)
    }

    /// Whose store it is: deployment and entity, such as `demo/vault`.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn owner(&self) -> Result<String, StoreError> {
        self.meta::<String>(b"owner")?.ok_or(META.corrupt())
    }
}
