//! Keeps other processes out while a store is looked at, before RocksDB does so itself.
//!
//! A process that has the store open makes, lists and removes files all the time: whoever looks at them beside it can find one
//! that is listed and gone, and would call a whole store damaged.

use std::fs::File;
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::StoreError;
use super::place::LOCK;

/// RocksDB's lock file, locked: no process, this one included, opens the store before this is dropped.
pub(super) struct StoreLock(Option<File>);

impl StoreLock {
    /// Locks a store. One that was never opened where it lies has no such file, and nobody who has it open.
    ///
    /// # Errors
    /// [`StoreError::InUse`]
    pub(super) fn take(store: &Path) -> Result<Self, StoreError> {
        // What cannot be opened here RocksDB cannot open either, and says why.
        let Ok(file) = File::options().read(true).write(true).open(store.join(LOCK)) else { return Ok(Self(None)) };
        match set(&file, libc::F_WRLCK) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Stays open: if it is this process that has the store, closing the file would end RocksDB's own lock.
                let _open = ManuallyDrop::new(file);
                Err(StoreError::InUse(store.to_owned()))
            }
            // A file system without locks: RocksDB says so.
            _ => Ok(Self(Some(file))),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Closing alone would not do: a child that is just being started has the file open, too, until it runs its program.
        let _ = self.0.as_ref().map(|file| set(file, libc::F_UNLCK));
    }
}

/// Sets a lock that belongs to the open file, and conflicts with those of processes, which RocksDB sets.
fn set(file: &File, kind: libc::c_int) -> std::io::Result<()> {
    // SAFETY: zeros are a lock of the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and the lock outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
