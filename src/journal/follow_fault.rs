//! Why a follower does not take what it is offered.

use std::path::PathBuf;

use crate::tlog::checkpoint_file::CheckpointFileError;

/// Why an offer was not taken. Nothing was changed then, and readers see what they saw.
#[derive(Debug, thiserror::Error)]
pub enum FollowFault {
    /// The owner's key did not sign its checkpoint, or it is of another log.
    #[error("the checkpoint that is offered: {0}")]
    Foreign(String),
    /// Its entries do not end where its checkpoint does, or do not begin where what is held ends.
    #[error("the entries that are offered do not fit: {0}")]
    Unfit(&'static str),
    /// The owner signed a checkpoint that does not continue what is held.
    #[error(
        "{origin} with {offered} entries does not continue the {held} that are held in {place}: the log was forked or \
         rewritten, or the entries are not its own. The checkpoint is kept there as `refused`"
    )]
    Forked {
        /// The log.
        origin: String,
        /// Entries under what was offered.
        offered: u64,
        /// Entries that are held.
        held: u64,
        /// The folder.
        place: String,
    },
    /// The folder does not hold what its checkpoint says.
    #[error(
        "{0} does not hold what its checkpoint says, or is of another log. Move that folder away: then the log is followed from \
         its beginning"
    )]
    Damaged(PathBuf),
    /// The folder cannot be read to its end.
    #[error("what is held in {} cannot be read: {error}", place.display())]
    Unreadable {
        /// The folder.
        place: PathBuf,
        /// What the operating system said.
        error: String,
    },
    /// The folder's disk is nearly full.
    #[error("the disk of {0} is nearly full: nothing more of the log is kept")]
    Full(PathBuf),
    /// So much was brought today.
    #[error("more than {} MiB of the log were brought today (UTC), which is all that {place} takes a day", bytes >> 20)]
    Surfeit {
        /// The folder.
        place: String,
        /// The most bytes a day.
        bytes: u64,
    },
    /// The folder is not there, and neither is the one that it lies in.
    #[error("{0} is not there: make it, or mount its disk")]
    Away(PathBuf),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] CheckpointFileError),
}

impl FollowFault {
    /// Whether people at the follower should look into it: an offer that is not whole needs nobody.
    pub fn is_notable(&self) -> bool {
        !matches!(self, Self::Foreign(_) | Self::Unfit(_))
    }

    /// Whether the next try may well end otherwise.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Folder(_) | Self::Full(_) | Self::Away(_) | Self::Unreadable { .. } => true,
            Self::Foreign(_)
            | Self::Unfit(_)
            | Self::Forked { .. }
            | Self::Damaged(_)
            | Self::Surfeit { .. } => false,
        }
    }
}
