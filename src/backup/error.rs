//! Why a backup is not taken, not found or not good.

use std::io;
use std::path::{Path, PathBuf};

use super::manifest::{BackupId, ManifestError};
use crate::code::Code;
use crate::refusal::Refusal;
use crate::store::StoreError;

/// What is wrong with a repository, or with a backup in it.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// There is no such folder.
    #[error("there is no folder {0}: is its disk mounted?")]
    Absent(PathBuf),
    /// A file where the folder should be.
    #[error("{0} is not a folder")]
    NotAFolder(PathBuf),
    /// A folder without a repository, and with nothing else.
    #[error("{0} is empty: is its disk mounted?")]
    Empty(PathBuf),
    /// An empty folder, and this store's backups went to a repository before.
    #[error(
        "{0} is empty, and backups of this store went to a repository before: its disk is not mounted, or another \
         repository is to be begun there"
    )]
    Lost(PathBuf),
    /// Another repository than the one that this store's backups went to.
    #[error("{0} is another repository than the one that backups of this store went to before")]
    Other(PathBuf),
    /// Something else lies there.
    #[error("{0} is not a repository of backups, and not empty: nothing was written there")]
    Foreign(PathBuf),
    /// Another entity's.
    #[error("the repository {path} holds backups of {found}, not of {wanted}")]
    Owner {
        /// The repository.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The configuration names recipients, and the repository is not sealed.
    #[error(
        "{0} is a repository that is not sealed, and the configuration names recipients: name an empty folder and begin \
         another with --new-repository"
    )]
    NotSealed(PathBuf),
    /// The repository is sealed, and the configuration names no recipients.
    #[error(
        "{0} is a sealed repository, and the configuration names no recipients: name them, or an empty folder and begin \
         another with --new-repository"
    )]
    Sealed(PathBuf),
    /// A clear backup in a sealed repository, or the other way round.
    #[error(
        "the backup {id} is {is}, and the repository {path} is {other}: one of them was put there by others"
    )]
    Mixed {
        /// Its name.
        id: BackupId,
        /// `sealed` or `not sealed`.
        is: &'static str,
        /// The other one.
        other: &'static str,
        /// The repository.
        path: PathBuf,
    },
    /// A sealed backup of another repository.
    #[error("the backup {0} was written for another repository, and counts in none but that one")]
    Moved(BackupId),
    /// A sealed backup, and nothing that opens it.
    #[error("the backup {id} is sealed to {}, and no identity is named that opens it", .recipients.join(", "))]
    NoIdentity {
        /// Its id.
        id: BackupId,
        /// To whom.
        recipients: Vec<String>,
    },
    /// A sealed backup, and identities of others.
    #[error("no identity that is named opens the backup {id}: it is sealed to {}", .recipients.join(", "))]
    WrongIdentity {
        /// Its id.
        id: BackupId,
        /// To whom.
        recipients: Vec<String>,
    },
    /// Another process works on it.
    #[error("another process takes, verifies or prunes backups in {0}")]
    Busy(PathBuf),
    /// A link, or something else that is not a plain file or folder.
    #[error("{0} is a link, or not a plain file or folder: nothing is read through it")]
    Link(PathBuf),
    /// The operating system.
    #[error("{path}: {error}")]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// The second place could not be pruned.
    #[error("the second place: {0}")]
    Place(io::Error),
    /// A file of the snapshot changed while it was copied.
    #[error("{0} changed while it was copied")]
    Changed(PathBuf),
    /// A file of a backup is gone.
    #[error("the file {name} of the backup is missing ({path})")]
    Missing {
        /// Its name in the store.
        name: String,
        /// Where it should lie.
        path: PathBuf,
    },
    /// A file of a backup has other bytes.
    #[error("the file {name} of the backup is damaged: {path} has other bytes than it should")]
    Damaged {
        /// Its name in the store.
        name: String,
        /// Where it lies.
        path: PathBuf,
    },
    /// There is no backup.
    #[error("there is no backup in {0}")]
    None(PathBuf),
    /// Backups of several branches, and the log that counts is not known.
    #[error(
        "{0} holds backups of more than one branch of the log: later ones have fewer entries than earlier ones, so which is \
         the last is not known"
    )]
    Branches(PathBuf),
    /// No backup is of the log that counts.
    #[error("no backup in {0} is of the log that counts: all are of other branches of it")]
    OtherBranches(PathBuf),
    /// There is no such backup.
    #[error("there is no backup {0} in this repository")]
    Unknown(String),
    /// A manifest that is not one, or not signed.
    #[error("the manifest of the backup {id}: {why}")]
    Manifest {
        /// The name that it has.
        id: BackupId,
        /// What is wrong.
        why: ManifestError,
    },
    /// A manifest under another's name.
    #[error(
        "the manifest {name} is that of the backup {id}: a copy under another name is no backup"
    )]
    Renamed {
        /// The name that it has.
        name: BackupId,
        /// The backup that it names.
        id: BackupId,
    },
    /// A store of a later version.
    #[error(
        "the backup has format {found} of the store, and this cloison reads formats 1 to {known}"
    )]
    Format {
        /// The backup's.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// The backup's store does not open, or not as the manifest says.
    #[error("the store in the backup: {0}")]
    Store(#[from] StoreError),
    /// The manifest says something else than the store.
    #[error("the store in the backup is not what its manifest says: {0}")]
    Differs(&'static str),
    /// Findings in its log.
    #[error("the log in the backup is not good: {0}")]
    Log(String),
    /// A chunk that does not open.
    #[error("{count} chunks of the backup do not open with these storage secrets")]
    Chunks {
        /// How many.
        count: u64,
    },
    /// What was committed meanwhile did not become durable.
    #[error("a write of the store failed meanwhile, so the backup was given up")]
    Unsettled,
    /// The process is ending.
    #[error("the process was told to stop; what was copied so far is used by the next backup")]
    Stopped,
}

impl RepositoryError {
    /// What the operating system says of a path.
    pub fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }

    /// The outward code.
    pub fn code(&self) -> Code {
        match self {
            Self::Busy(_) => Code::BackupRunning,
            Self::None(_) | Self::Unknown(_) | Self::Branches(_) | Self::OtherBranches(_) => {
                Code::UnknownBackup
            }
            Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Manifest { .. }
            | Self::Renamed { .. }
            | Self::Mixed { .. }
            | Self::Moved(_)
            | Self::Format { .. }
            | Self::Differs(_)
            | Self::Log(_)
            | Self::Chunks { .. } => Code::BackupDamaged,
            _ => Code::BackupUnavailable,
        }
    }
}

impl From<RepositoryError> for Refusal {
    fn from(error: RepositoryError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
