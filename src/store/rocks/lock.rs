//! Keeps other processes out while a store is examined, before RocksDB locks it itself.
//!
//! A process that has the store open makes and removes files all the time. Another process that
//! reads the list meanwhile would miss a listed file, and would take a whole store for a damaged
//! one.

use std::fs::File;
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::path::Path;

use crate::store::StoreError;
use crate::store::place::LOCK;
use crate::system;

/// RocksDB's lock file, locked: no process, this one included, opens the store before this is
/// dropped.
pub(super) struct StoreLock(Option<File>);

impl StoreLock {
    /// Locks a store. One that was never opened where it lies has no such file, and no process has
    /// it open.
    ///
    /// # Errors
    /// [`StoreError::InUse`]
    pub(super) fn take(store: &Path) -> Result<Self, StoreError> {
        // If this file does not open, RocksDB cannot open it either, and reports why.
        let Ok(file) = File::options()
            .read(true)
            .write(true)
            .open(store.join(LOCK))
        else {
            return Ok(Self(None));
        };
        match system::lock_record(&file) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Stays open: if it is this process that has the store, closing the file would end
                // RocksDB's own lock.
                let _open = ManuallyDrop::new(file);
                Err(StoreError::InUse(store.to_owned()))
            }
            // On a file system without locks, RocksDB reports that.
            _ => Ok(Self(Some(file))),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        let _ = self.0.as_ref().map(system::unlock_record);
    }
}
