//! Backups of a store: taken while it runs, each file kept once, signed, verified, pruned.
//!
//! [`manifest`] says what a backup holds, and [`repository`] where it lies. For a foreign place a
//! repository is sealed with age ([`envelope`]): [`sealed`] is what it shows then, and what anybody
//! can do without an identity goes by [`listed`]; reading the files takes [`opened`]. [`take`]
//! makes a backup: a snapshot of the store between two commits, whose files are copied afterwards
//! while the store goes on. [`verify`] finds out whether a backup is whole and its log good,
//! without any secret; [`prune`] removes those that no rule keeps, and with them the side records
//! that no other needs. [`branch`] says which of them are of the log that counts. [`keeper`] does
//! this for a server, one job at a time.
//!
//! A backup holds no secret, no TLS key, no register and no configuration: [`KEPT_APART`] names
//! them.

pub mod branch;
mod bytes;
pub mod envelope;
pub mod error;
pub mod keeper;
pub mod listed;
pub mod manifest;
pub mod opened;
mod pace;
pub mod prune;
mod records;
pub mod repository;
pub mod sealed;
mod sealing;
mod signed;
mod state;
pub mod take;
pub mod verify;
pub mod view;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use envelope::BackupRecipients;
pub use error::RepositoryError;
pub use prune::BackupRetention;
use repository::BackupRepository;

/// What no backup holds, what people keep apart from it, and who.
pub const KEPT_APART: &str = "\
a backup holds no secret. A restore needs these too, kept apart from it:
  secrets         [secrets]; a node's [[key]]    their custodians (`cloison secrets split`)
  TLS keys        [tls]                          those who run the machine
  register        register.toml, register.jws    operations, the commission
  configuration   vault.toml, node.toml          operations
  age identity    where [backup] has recipients  its holders, off this machine";

/// `[backup]` of a vault or node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPlan {
    /// The repository's folder, on another disk or machine than the store.
    pub path: PathBuf,
    /// How often the server takes one by itself; `None`: only when told to.
    pub every: Option<Duration>,
    /// What is kept.
    pub retention: BackupRetention,
    /// To whom the repository is sealed; `None`: it is not.
    pub recipients: Option<BackupRecipients>,
}

impl BackupPlan {
    /// Opens the repository, which must hold the backups of `owner` and be sealed as the plan says.
    ///
    /// # Errors
    /// Those of [`BackupRepository::open_for`]; [`RepositoryError::Sealed`],
    /// [`RepositoryError::NotSealed`].
    pub fn open(&self, owner: &str) -> Result<BackupRepository, RepositoryError> {
        let repository = BackupRepository::open_for(&self.path, owner)?;
        let path = || self.path.clone();
        match (repository.is_sealed(), self.recipients.is_some()) {
            (true, false) => Err(RepositoryError::Sealed(path())),
            (false, true) => Err(RepositoryError::NotSealed(path())),
            _ => Ok(repository),
        }
    }

    /// Whether backups are sealed, in a few words.
    pub fn seal_in_words(&self) -> String {
        match self.recipients.as_ref().map(|to| to.texts().len()) {
            None => "in clear".to_owned(),
            Some(1) => "sealed to one recipient".to_owned(),
            Some(count) => format!("sealed to {count} recipients"),
        }
    }
}

/// How far a job has come, and whether it is to stop.
#[derive(Debug, Default)]
pub struct BackupProgress {
    /// Bytes that were read so far.
    pub done: AtomicU64,
    /// Bytes that are to be read.
    pub all: AtomicU64,
    /// Bytes that the repository lacked and that were copied.
    pub copied: AtomicU64,
    stop: AtomicBool,
}

impl BackupProgress {
    /// Tells the job to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Notes that bytes were read.
    ///
    /// # Errors
    /// [`RepositoryError::Stopped`]
    pub fn read(&self, bytes: u64) -> Result<(), RepositoryError> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.stop.load(Ordering::Acquire) {
            return Err(RepositoryError::Stopped);
        }
        Ok(())
    }

    /// Notes how many bytes are to be read.
    pub fn expect(&self, bytes: u64) {
        self.all.store(bytes, Ordering::Relaxed);
    }
}
