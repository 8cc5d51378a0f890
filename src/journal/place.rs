//! Writes a place. Entries and side records are durable there before the checkpoint over them is,
//! and that before the checkpoint leaves. The checkpoint changes by compare-and-swap only, under a
//! lock, so that a second process that writes here is found out and changes nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::origin::origin;
use super::prune::{LogPlace, PrunedSegments, prune_place};
use super::segment::{EntryForm, push_frame};
use super::tail::{CoveredEntries, SegmentTail, make_folder};
use super::{CHECKPOINT, segments, shard_folder};
use crate::files::{put_in_place, sync_folder};
use crate::store::rows::ScanStep;
use crate::store::{Shard, Store, StoreError, TreeRow};
use crate::system::lock::unpoisoned;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::checkpoint_file::{CheckpointFile, CheckpointFileError};
use crate::tlog::tree::{MerkleTree, empty_root, leaf_hash};

/// A folder on another disk or machine than the store.
pub struct JournalPlace {
    folder: PathBuf,
    checkpoint: CheckpointFile,
    /// Where the present shard's last segment ends, while this is known.
    tail: Mutex<Option<SegmentTail>>,
    /// Whether the next entries begin a segment.
    turn: AtomicBool,
}

/// What is written to a place: a log in a store.
#[derive(Clone, Copy)]
pub struct PlaceSource<'s> {
    /// The store.
    pub store: &'s Store,
    /// Whose log it is.
    pub owner: &'s str,
    /// Reads the tree over the first entries of a shard.
    pub tree_at: fn(&Store, &TreeRow, u64) -> Result<MerkleTree, StoreError>,
}

impl JournalPlace {
    /// The place in that folder. Its parent must exist, and the disk must be mounted.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            checkpoint: CheckpointFile::new(folder.join(CHECKPOINT)),
            folder,
            tail: Mutex::default(),
            turn: AtomicBool::new(false),
        }
    }

    /// Begins a segment with the next entries, so that the present one can be pruned as soon as no
    /// backup needs it.
    pub fn turn(&self) {
        self.turn.store(true, Ordering::Relaxed);
    }

    /// Removes the segments that lie wholly before `needed`. Not beside
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// As [`prune_place`].
    pub fn prune(&self, needed: LogPlace) -> io::Result<PrunedSegments> {
        prune_place(&self.folder, needed)
    }

    /// The file that holds the last checkpoint.
    pub fn checkpoint(&self) -> &CheckpointFile {
        &self.checkpoint
    }

    /// Whether a folder, or the file that earlier versions had in its stead, holds a checkpoint.
    pub fn holds_checkpoint(folder: &Path) -> bool {
        folder.is_file() || folder.join(CHECKPOINT).exists()
    }

    /// Takes over what a version left that kept the last checkpoint alone: the file in the folder's
    /// stead becomes the folder's checkpoint.
    ///
    /// # Errors
    /// [`CheckpointFileError::Io`]
    pub fn take_over(&self) -> Result<(), CheckpointFileError> {
        take_over(&self.folder).map_err(|error| self.failed(error))
    }

    /// Makes the place hold every entry that has a side record in the store, or follows one, in
    /// shards that ended (`older`) and in the one that the checkpoint in the place covers
    /// (`present`, as far as it does). What a place lacks, because it is new or was damaged, is
    /// written anew.
    ///
    /// # Errors
    /// [`CheckpointFileError::Io`], also for what the store cannot read.
    pub fn complete(
        &self,
        source: PlaceSource<'_>,
        older: &[TreeRow],
        present: Option<TreeRow>,
    ) -> Result<(), CheckpointFileError> {
        let complete = || {
            if !self.folder.is_dir() {
                make_folder(&self.folder)?;
            }
            let first = first_needed(source.store).map_err(io::Error::other)?;
            for covered in older {
                if covered.first + covered.size > first {
                    self.tail_at(source, covered, false)?;
                }
            }
            let present = present.filter(|covered| covered.size > 0);
            present
                .map(|covered| self.tail_at(source, &covered, true))
                .transpose()
        };
        let tail = complete().map_err(|error| self.failed(error))?;
        *unpoisoned(self.tail.lock()) = tail;
        Ok(())
    }

    /// Writes the entries of `tree` that the place lacks, and replaces the checkpoint `old` by
    /// `new`, which is over `tree`; both durable on return.
    ///
    /// # Errors
    /// [`CheckpointFileError::Changed`] if the checkpoint is not `old`: nothing is written then.
    /// [`CheckpointFileError::Io`]: whether or not something was written, readers see what they
    /// saw.
    pub fn publish(
        &self,
        source: PlaceSource<'_>,
        tree: &TreeRow,
        (old, new): (Option<&[u8]>, &[u8]),
    ) -> Result<(), CheckpointFileError> {
        self.checkpoint.swap_after(old, new, || {
            let mut held = unpoisoned(self.tail.lock());
            // Forgotten until the write succeeded: a failed one leaves an unknown end.
            let tail = match held.take().filter(|tail| tail.shard == tree.shard) {
                Some(tail) => tail,
                None => self.tail_at(source, &covered(source, tree, old), true)?,
            };
            *held = Some(self.extend(source, tail, tree)?);
            Ok(())
        })
    }

    /// Adds entries behind a tail, up to a tree, durably.
    fn extend(
        &self,
        source: PlaceSource<'_>,
        tail: SegmentTail,
        tree: &TreeRow,
    ) -> io::Result<SegmentTail> {
        let (folder, origin) = self.names(source, tree.shard);
        let turns = self.turn.swap(false, Ordering::Relaxed);
        let mut tail = tail.next((&folder, &origin), EntryForm::Clear, turns)?;
        let held = tail.tree.size();
        let (first, count) = (tree.first + held, tree.size.saturating_sub(held));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut records = records(source.store, first, tree.first + tree.size)
            .map_err(io::Error::other)?
            .into_iter()
            .peekable();
        let mut adding = tail.add()?;
        source
            .store
            .each_audit::<PlaceError>(first, count, |number, entry| {
                let record = records.next_if(|(of, _)| *of == number);
                let record = record.unwrap_or_default().1;
                adding.push(leaf_hash(entry), |bytes| push_frame(bytes, entry, &record))?;
                Ok(())
            })?;
        adding.finish(tree.size, tree.root)?;
        Ok(tail)
    }

    /// The tail of a shard behind the entries that a tree covers. Where the place does not hold
    /// them, they are written from the store. `cut` says whether more than these are cut off: they
    /// were never published.
    fn tail_at(
        &self,
        source: PlaceSource<'_>,
        covered: &TreeRow,
        cut: bool,
    ) -> io::Result<SegmentTail> {
        let folder = shard_folder(&self.folder, covered.shard);
        let found = segments(&folder)?;
        let TreeRow {
            shard, size, root, ..
        } = *covered;
        if let Some(tail) = SegmentTail::find(&folder, CoveredEntries { shard, size, root })? {
            if cut {
                for (_, later) in found.iter().filter(|(base, _)| *base > covered.size) {
                    fs::remove_file(later)?;
                }
            }
            return Ok(tail);
        }
        if !found.is_empty() {
            let place = folder.display().to_string();
            tracing::warn!(
                place,
                "the second place does not hold what its checkpoint says: it is written anew"
            );
        }
        let from = first_needed(source.store)
            .map_err(io::Error::other)?
            .clamp(covered.first, covered.first + covered.size);
        let before = (source.tree_at)(source.store, covered, from - covered.first)
            .map_err(io::Error::other)?;
        for (_, path) in found {
            fs::rename(&path, path.with_extension("damaged"))?;
        }
        let tail = self.begin(source, covered.shard, before)?;
        self.extend(source, tail, covered)
    }

    /// Begins a segment behind a tree.
    fn begin(
        &self,
        source: PlaceSource<'_>,
        shard: Shard,
        tree: MerkleTree,
    ) -> io::Result<SegmentTail> {
        let (folder, origin) = self.names(source, shard);
        SegmentTail::begin(&folder, (shard, &origin), tree, EntryForm::Clear)
    }

    /// The folder of a shard's segments, and its origin.
    fn names(&self, source: PlaceSource<'_>, shard: Shard) -> (PathBuf, String) {
        let folder = shard_folder(&self.folder, shard);
        (folder, origin(source.owner, shard))
    }

    fn failed(&self, error: io::Error) -> CheckpointFileError {
        CheckpointFileError::Io(self.folder.clone(), error)
    }
}

/// As much of a shard as a checkpoint covers: nothing, if it is another shard's.
fn covered(source: PlaceSource<'_>, tree: &TreeRow, note: Option<&[u8]>) -> TreeRow {
    let checkpoint = note.and_then(|note| Checkpoint::read(note).ok());
    let ours = checkpoint
        .map(|(checkpoint, _)| checkpoint)
        .filter(|checkpoint| checkpoint.origin == origin(source.owner, tree.shard));
    let (size, root) = ours.map_or_else(|| (0, empty_root()), |ours| (ours.size, ours.root));
    TreeRow {
        size,
        root,
        ..*tree
    }
}

/// An error while entries are read from a store and written to a file.
enum PlaceError {
    Store(StoreError),
    File(io::Error),
}

impl From<StoreError> for PlaceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for PlaceError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<PlaceError> for io::Error {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Store(error) => Self::other(error),
            PlaceError::File(error) => error,
        }
    }
}

/// The number of the first entry that a place must hold: the first that has a side record, or that
/// follows those whose records were pruned. Where none ever had one, no entry is needed: the next
/// one will be the first.
///
/// # Errors
/// [`StoreError`]
pub fn first_needed(store: &Store) -> Result<u64, StoreError> {
    let (needed, last) = (store.journal_needed()?, store.last_audit()?);
    Ok(needed.unwrap_or(last.map_or(0, |(number, _)| number + 1)))
}

/// The side records of the entries from one number on and before another.
///
/// # Errors
/// [`StoreError`]
pub fn records(store: &Store, from: u64, until: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let mut records = vec![];
    store.each_journal::<StoreError>(from, |entry, sealed| {
        if entry >= until {
            return Ok(ScanStep::Stop);
        }
        records.push((entry, sealed.to_vec()));
        Ok(ScanStep::Next)
    })?;
    Ok(records)
}

/// The name beside a folder that only a take-over uses.
fn beside(folder: &Path, end: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(end);
    folder.with_file_name(name)
}

fn take_over(folder: &Path) -> io::Result<()> {
    let (new, old) = (beside(folder, ".place"), beside(folder, ".before"));
    let is_file = match fs::symlink_metadata(folder) {
        Ok(facts) => facts.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if is_file {
        let note = fs::read(folder)?;
        if !new.is_dir() {
            make_folder(&new)?;
        }
        put_in_place(&new.join("new"), &new.join(CHECKPOINT), &note, 0o600)?;
        fs::rename(folder, &old)?;
    }
    // A kill between the two renames leaves the folder under its other name.
    if !folder.exists() && new.join(CHECKPOINT).is_file() {
        fs::rename(&new, folder)?;
        sync_folder(folder)?;
        for end in [".before", ".lock"] {
            let _ = fs::remove_file(beside(folder, end));
        }
        tracing::info!(place = %folder.display(), "the second place is a folder now");
    }
    Ok(())
}
