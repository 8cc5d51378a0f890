//! Restores a store from a backup: whole, or not at all.
//!
//! The files go into the store's own folder, which must be empty. A mark in it, durable before the
//! first file, keeps servers out until the restore is whole ([`RestoreFolder`]); a restore that was
//! killed begins anew. `CURRENT`, without which RocksDB has no store, comes last ([`lay_down`]).
//!
//! Where no place has the log after the backup, people allow that by a statement ([`without`]).
//! Else the log after the backup comes from the place that has most of it ([`places`], [`replay`]),
//! and what was destroyed since goes again ([`clear`]). What that interval had acknowledged is
//! counted ([`report`]).

pub mod clear;
pub mod places;
pub mod replay;
pub mod report;
pub mod without;

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clear::{ClearedRows, ClearingKeys, ErasureState};
use replay::ReplayedLog;
use report::LostInterval;

use crate::audit::origin::origin;
use crate::backup::manifest::BackupLogHead;
use crate::backup::opened::OpenedBackup;
use crate::backup::{BackupProgress, RepositoryError};
use crate::journal::read::{PlaceFault, PlaceLog};
use crate::refusal::Refusal;
use crate::seal::SealError;
use crate::seal::journal::JournalCipher;
use crate::store::{RestoreFolder, Store, StoreError};

/// The file that makes a folder a store.
const CURRENT: &str = "CURRENT";

/// Why a store was not restored. Nothing was left behind, unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The repository or the backup.
    #[error(transparent)]
    Backup(#[from] RepositoryError),
    /// The folder, or the store in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A place that holds the log.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// Two logs that went different ways.
    #[error(
        "the log went two ways: {one}, and {longest}; people have to decide which of the two counts"
    )]
    Diverging {
        /// One log.
        one: LogHolding,
        /// The longest one.
        longest: LogHolding,
    },
    /// A place begins after the end of the backup.
    #[error(
        "the place lacks entries of {origin} before number {size}: it begins after what the store has"
    )]
    Gap {
        /// The log.
        origin: String,
        /// Where the backup ends, or the place goes on.
        size: u64,
    },
    /// A side record that does not open.
    #[error("the side record of entry {index} of {origin} does not open: {error}")]
    Record {
        /// The log.
        origin: String,
        /// The entry.
        index: u64,
        /// Why.
        error: SealError,
    },
    /// A chunk that does not open.
    #[error("a chunk of the backup does not open: {error}")]
    Chunk {
        /// Why.
        error: SealError,
    },
    /// An act upon an order that does not read back.
    #[error("an act upon an order in the restored store does not read back: {0}")]
    Act(Refusal),
    /// The entries whose salts an erasure destroyed were not found.
    #[error("the log in the restored store cannot be searched for destroyed salts")]
    Salts,
    /// The operating system; the folder is still marked.
    #[error("the restore cannot be finished: {0}")]
    Unfinished(io::Error),
}

/// How much of which log lies where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHolding {
    /// A place's folder, the backup, or the store.
    pub holder: String,
    /// Its log.
    pub origin: String,
    /// How many entries of it.
    pub size: u64,
}

impl fmt::Display for LogHolding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            holder,
            origin,
            size,
        } = self;
        write!(f, "{holder} with {size} entries of {origin}")
    }
}

/// Lays a backup's files down in an empty folder and checks what they are. The folder is marked as
/// unfinished still.
///
/// # Errors
/// [`RestoreError`]: the folder is not empty, a file of the backup is missing or damaged, the store
/// is not what the manifest says. The folder is empty again then.
pub fn lay_down(
    backup: &OpenedBackup<'_>,
    target: &Path,
    progress: &BackupProgress,
) -> Result<RestoreFolder, RestoreError> {
    let folder = RestoreFolder::take(target)?;
    let laid = fill(backup, &folder, progress);
    match laid {
        Ok(()) => Ok(folder),
        Err(error) => {
            folder.give_up().map_err(RestoreError::Unfinished)?;
            Err(error)
        }
    }
}

fn fill(
    backup: &OpenedBackup<'_>,
    folder: &RestoreFolder,
    progress: &BackupProgress,
) -> Result<(), RestoreError> {
    let manifest = backup.manifest();
    progress.expect(manifest.length());
    let files = manifest.files.iter().enumerate();
    let (current, others): (Vec<_>, Vec<_>) = files.partition(|(_, file)| file.name == CURRENT);
    for (place, file) in others.into_iter().chain(current) {
        backup.fetch(place, &folder.path().join(&file.name), &mut |bytes| {
            progress.read(bytes)
        })?;
    }
    let synced = folder.sync();
    synced.map_err(|error| RepositoryError::io(folder.path(), error))?;
    Store::check_columns(folder.path())?;
    manifest.check_store(&Store::open_for_audit(folder.path())?)?;
    Ok(())
}

/// Makes the folders above a store's, where they are missing.
///
/// # Errors
/// What the operating system says.
pub fn make_parent(store: &Path) -> io::Result<()> {
    match store.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => DirBuilder::new().mode(0o700).recursive(true).create(parent),
        None => Ok(()),
    }
}

/// What a restore brought beyond the backup.
#[derive(Debug, Default)]
pub struct RestoredLog {
    /// The place that it came from, if one had more than the backup.
    pub place: Option<PathBuf>,
    /// The log after the backup.
    pub replayed: ReplayedLog,
    /// What was destroyed again.
    pub cleared: ClearedRows,
}

/// The end of the log in a store that is behind; `None` where it has no entry.
///
/// # Errors
/// [`StoreError`]
pub fn head_of(store: &Store) -> Result<Option<BackupLogHead>, StoreError> {
    let (owner, last) = (store.owner()?, store.trees()?.pop());
    Ok(last.map(|tree| BackupLogHead {
        origin: origin(&owner, tree.shard),
        size: tree.size,
        root: tree.root,
    }))
}

/// Brings a store that was laid down, or that is behind, from its end (`head`, which messages call
/// `what`) to that of the log, from the place that has most of it, and destroys what was destroyed
/// since the backup. Does nothing where no place has more than the backup.
///
/// # Errors
/// [`RestoreError`]; the store is of no use then.
pub fn bring(
    store: &Store,
    (what, head): (&str, &BackupLogHead),
    places: &[PlaceLog],
    journal: &JournalCipher,
    keys: &ClearingKeys<'_>,
) -> Result<RestoredLog, RestoreError> {
    let Some(place) = places::longest(places, store, (what, head))? else {
        return Ok(RestoredLog::default());
    };
    let before = ErasureState::of(store)?;
    let replayed = replay::replay(store, place, journal)?;
    let cleared = clear::clear(store, &before, &replayed, keys)?;
    Ok(RestoredLog {
        place: Some(place.folder().to_owned()),
        replayed,
        cleared,
    })
}

/// What the log after a backup had acknowledged, without restoring anything.
///
/// # Errors
/// [`PlaceFault`]: the place is damaged.
pub fn lost_since(place: &PlaceLog, head: &BackupLogHead) -> Result<LostInterval, PlaceFault> {
    let (end, mut lost) = (head.position(), LostInterval::default());
    place.each::<PlaceFault>(|entry| {
        if Some((entry.shard, entry.naming.index)) >= end {
            lost.count(entry.entry);
        } else {
            lost.begin_after(entry.entry);
        }
        Ok(())
    })?;
    Ok(lost)
}
