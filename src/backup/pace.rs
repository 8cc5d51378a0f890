//! The pace of a backup: the thread that reads and copies works for a moment, then rests several
//! times as long. Otherwise it and the requests would share processor and disk evenly, although
//! requests wait for an answer and a backup does not.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::BackupProgress;
use super::error::RepositoryError;

/// Bytes after which the thread rests.
const PORTION: u64 = 4 << 20;
/// How many times as long as it worked it rests: a backup takes a fifth of a processor at most.
const REST: u32 = 4;
/// It rests no longer than this, also where the disk hung.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Tells a job's progress, and keeps its pace.
#[derive(Debug)]
pub(super) struct PacedProgress<'p> {
    progress: &'p BackupProgress,
    /// When the work since the last rest began.
    began: Instant,
    /// Bytes since the last rest.
    bytes: u64,
}

impl<'p> PacedProgress<'p> {
    /// Begins to work.
    pub(super) fn begin(progress: &'p BackupProgress) -> Self {
        Self {
            progress,
            began: Instant::now(),
            bytes: 0,
        }
    }

    /// Notes bytes of a file that need not be read again.
    ///
    /// # Errors
    /// [`RepositoryError::Stopped`]
    pub(super) fn passed_over(&self, bytes: u64) -> Result<(), RepositoryError> {
        self.progress.read(bytes)
    }

    /// Notes bytes that were read, and rests if it is time to.
    ///
    /// # Errors
    /// [`RepositoryError::Stopped`]
    pub(super) fn read(&mut self, bytes: u64) -> Result<(), RepositoryError> {
        self.rest_after(bytes);
        self.progress.read(bytes)
    }

    /// Notes bytes that were copied, and rests if it is time to.
    ///
    /// # Errors
    /// [`RepositoryError::Stopped`]
    pub(super) fn copied(&mut self, bytes: u64) -> Result<(), RepositoryError> {
        self.rest_after(bytes);
        self.progress.copied.fetch_add(bytes, Ordering::Relaxed);
        self.progress.read(0)
    }

    fn rest_after(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= PORTION {
            sleep((self.began.elapsed() * REST).min(LONGEST_REST));
            *self = Self::begin(self.progress);
        }
    }
}
