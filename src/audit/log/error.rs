//! Why a log cannot be opened.

use crate::store::StoreError;
use crate::tlog::checkpoint_file::CheckpointFileError;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The second place.
    #[error("the second place of the last checkpoint: {0}")]
    Second(#[from] CheckpointFileError),
    /// The operating system could not start a thread.
    #[error("cannot start the thread that signs checkpoints: {0}")]
    Thread(std::io::Error),
    /// The second place holds a checkpoint that this store's log does not contain.
    #[error(
        "the log in this store is not the one that was published: {by} has a checkpoint over {published} entries of {origin}, \
         and {found}. A store that was restored from a backup must not continue as if nothing had happened"
    )]
    Behind {
        /// Who has the checkpoint.
        by: String,
        /// Its log.
        origin: String,
        /// Entries that it covers.
        published: u64,
        /// How this store differs.
        found: String,
        /// Whether its log went on without those entries, so that no place can be added to it.
        went_on: bool,
    },
    /// The second place is empty, and this log has published checkpoints.
    #[error(
        "the second place of the last checkpoint, {place}, is empty, but this log has published at least {published} \
         entries of {origin}. First see that its disk is mounted. This store cannot tell whether \
         the log published more before the store was restored from a backup"
    )]
    SecondLost {
        /// Where the checkpoint should be.
        place: String,
        /// The log.
        origin: String,
        /// Entries under the last checkpoint that the store has.
        published: u64,
    },
}
