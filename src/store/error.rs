//! Why the store refuses or fails.

use std::path::PathBuf;

use super::upgrade::FORMAT;

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("the store at {path} failed: {source}")]
    Engine {
        /// Where the store lies.
        path: PathBuf,
        /// The engine's words.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether the disk is full.
        full: bool,
    },
    /// There is no store, and no first start was prepared.
    #[error(
        "there is no store at {0}, and no first start was prepared there. A disk that is not mounted looks like this"
    )]
    Absent(PathBuf),
    /// A restore into its folder is not finished.
    #[error("a restore into {0} is not finished; run `cloison restore` again")]
    Restoring(PathBuf),
    /// A restore may not fill a folder that has something in it.
    #[error("{0} is not empty, and a restore overwrites nothing; move what is there away")]
    NotEmpty(PathBuf),
    /// Another process has it open.
    #[error("the store at {0} is in use by another process; stop that one first")]
    InUse(PathBuf),
    /// Made by another version of cloison.
    #[error(
        "the store at {path} has format {found}, and this cloison ({}) reads formats 1 to {FORMAT}: {}", env!("CARGO_PKG_VERSION"), read_by(reader.as_ref())
    )]
    Format {
        /// Where the store lies.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The oldest version that reads it, if the store says so.
        reader: Option<String>,
    },
    /// An earlier upgrade left its copy where another one would put its own.
    #[error(
        "a copy of a store lies at {0}, where the copy belongs that is made before this store is brought to a later format; \
         delete it if it is no longer needed, or move it away"
    )]
    CopyInPlace(PathBuf),
    /// Another deployment's, or another entity's.
    #[error("the store at {path} belongs to {found}, not to {wanted}")]
    Foreign {
        /// Where the store lies.
        path: PathBuf,
        /// The owner that it has.
        found: String,
        /// The owner that it should have.
        wanted: String,
    },
    /// It has columns that this version does not know.
    #[error(
        "the store at {path} has columns that this cloison ({}) does not know ({}): {}", env!("CARGO_PKG_VERSION"), found.join(", "), read_by(reader.as_ref())
    )]
    Columns {
        /// Where the store lies.
        path: PathBuf,
        /// The unknown columns.
        found: Vec<String>,
        /// The oldest version that reads it, if the store says so.
        reader: Option<String>,
    },
    /// Data files, but no file that says which of them count.
    #[error("the store at {0} has data files but no CURRENT file; restore it from a backup")]
    Headless(PathBuf),
    /// A table of the present state is missing or has another length.
    #[error("the file {0} of the store is missing or has changed; restore the store from a backup")]
    Missing(PathBuf),
    /// A record of the write-ahead log is whole, and its header is damaged.
    #[error("the write-ahead log {0} is damaged; restore the store from a backup")]
    Log(PathBuf),
    /// Its log has no tree yet.
    #[error(
        "the store at {0} has no tree over its log: an earlier version wrote it, and the next start makes one"
    )]
    Treeless(PathBuf),
    /// A row is not in the format that cloison writes.
    #[error("a row of column {0} is not what cloison writes; restore the store from a backup")]
    Corrupt(&'static str),
    /// The index on the disk was made with another key.
    #[error(
        "the index on the disk was made under another storage secret of version {0}; is this the right store secret?"
    )]
    OtherIndexKey(u32),
    /// An earlier write failed; nothing more is written.
    #[error("an earlier write failed; the store takes no more until restart")]
    Poisoned,
    /// Another process extends the same log.
    #[error(
        "the second place of the last checkpoint was changed by another process: the log would fork"
    )]
    Forked,
    /// The files of an open store cannot be examined.
    #[error("the files of the store at {path} cannot be examined: {source}")]
    Place {
        /// Where the store lies.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The store's path no longer leads to the files that are open.
    #[error(
        "the store at {0} was deleted, moved or replaced while it was open: what is written now would be lost. Bring the \
         folder back, or restore it from a backup"
    )]
    Displaced(PathBuf),
    /// The second place of the last checkpoint is gone or holds something else.
    #[error(
        "the second place of the last checkpoint, {0}, no longer holds what this log last put there"
    )]
    SecondDisplaced(PathBuf),
    /// The files still hold what was destroyed.
    #[error("the store at {0} still has files that may hold destroyed rows; the scrub stays due")]
    Unscrubbed(PathBuf),
    /// Somebody has seen entries of the log that the store does not have: it was rolled back, or
    /// another process extends the same log.
    #[error(
        "{by} has a checkpoint over {published} entries of {origin}, signed by this log's own key, and {found}: an older \
         copy of this store was brought back, or another process goes on with the same one"
    )]
    RolledBack {
        /// Who has seen it.
        by: String,
        /// The log.
        origin: String,
        /// Entries that the checkpoint covers.
        published: u64,
        /// How this store differs.
        found: String,
        /// Whether its log went on without those entries.
        went_on: bool,
    },
    /// The writer thread panicked.
    #[error("the writer panicked; see the log above")]
    WriterEnded,
    /// The keeper thread panicked.
    #[error("the keeper of the index panicked; see the log above")]
    KeeperEnded,
}

impl StoreError {
    /// Whether a later attempt may succeed: a process may end, a disk may be mounted or get room.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::InUse(_) | Self::Absent(_) | Self::Engine { full: true, .. }
        )
    }
}

/// Says who reads a store that this version does not.
fn read_by(reader: Option<&String>) -> String {
    match reader {
        Some(version) => format!(
            "version {version} and later ones read it. Install that, or restore a backup from before it was brought there"
        ),
        None => "another version made it. Install that one, or restore a backup of this one's"
            .to_owned(),
    }
}
