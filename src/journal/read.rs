//! Reads a place: as far as its checkpoint goes, and checks all of it. Entries are checked against
//! the tree that the checkpoint signs, side records against the hashes in the entries. No secret is
//! needed for the second place; what a follower wrote opens with the journal key only.
//!
//! What a writer was about to add behind the checkpoint is not read.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;

use super::origin::{origin, shard_of};
use super::segment::{EntryForm, Frame, SegmentReader};
use super::{CHECKPOINT, segments, shard_folder};
use crate::seal::journal::{JournalCipher, NamingEntry, record_digest};
use crate::store::Shard;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::tree::{Hash, MerkleTree, leaf_hash};

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceFault {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It has no checkpoint: nothing was published there.
    #[error("{0} holds no checkpoint of a log")]
    Empty(PathBuf),
    /// Its checkpoint is not one of this log, or not signed by its key.
    #[error("{0}: the checkpoint: {1}")]
    Foreign(PathBuf, String),
    /// A follower's, whose entries are sealed, and no key was given.
    #[error("{0} is a follower's: its entries open with the journal secret only")]
    Sealed(PathBuf),
    /// It is not what its checkpoint says.
    #[error("{0} does not hold what its checkpoint says: {1}")]
    Damaged(PathBuf, String),
}

/// An entry that a place holds.
#[derive(Debug, Clone, Copy)]
pub struct PlaceEntry<'p> {
    /// The shard that it is in.
    pub shard: Shard,
    /// The origin of that shard, and the entry's index in it: what its record opens for.
    pub naming: NamingEntry<'p>,
    /// The entry's bytes.
    pub entry: &'p [u8],
    /// The sealed side record that it names.
    pub record: Option<&'p [u8]>,
    /// Whether it names one that is not here: the owner had pruned it before the follower came to
    /// it.
    pub is_pruned: bool,
}

/// A part of the log that a place holds.
#[derive(Debug, Clone)]
pub struct PlaceShard {
    /// The shard.
    pub shard: Shard,
    /// Its origin.
    pub origin: String,
    /// The index of the first entry that is here.
    pub first: u64,
    /// How many entries the shard has, with those before the first one that is here.
    pub size: u64,
    /// The root over all of them.
    root: Hash,
}

/// A place, opened for reading.
#[derive(Clone)]
pub struct PlaceLog {
    folder: PathBuf,
    /// Opens entries that a follower holds.
    cipher: Option<Arc<JournalCipher>>,
    /// The checkpoint up to which the place vouches.
    pub checkpoint: Checkpoint,
    /// The signed note of it.
    pub note: Vec<u8>,
    /// What it holds of the log, oldest first; the last one is that of the checkpoint.
    pub shards: Vec<PlaceShard>,
}

/// What the first entry of a shard says of the shard before.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum ShardOpening {
    Continue {
        checkpoint: String,
    },
    Resume {
        kept: String,
        kept_entries: u64,
        kept_root: String,
    },
    #[serde(other)]
    First,
}

/// The members of an entry that this reads.
#[derive(Deserialize)]
struct RecordName {
    journal: Option<String>,
}

impl fmt::Debug for PlaceLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaceLog")
            .field("folder", &self.folder)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

impl PlaceLog {
    /// Opens the place of the log of `owner` (such as `demo/vault`), whose checkpoints `key` signs,
    /// or that log's among several that are kept in a folder; `cipher` opens entries that a
    /// follower holds. Reads the checkpoint and how the shards hang together; [`PlaceLog::each`]
    /// checks the rest.
    ///
    /// # Errors
    /// [`PlaceFault`]
    pub fn open(
        folder: &Path,
        owner: &str,
        key: &VerifyingKey,
        cipher: Option<Arc<JournalCipher>>,
    ) -> Result<Self, PlaceFault> {
        // One that keeps several logs has a folder for each.
        let below = folder.join(owner);
        let is_of_several = !folder.join(CHECKPOINT).exists() && below.join(CHECKPOINT).exists();
        let folder = if is_of_several { &*below } else { folder };
        let path = folder.join(CHECKPOINT);
        let note = match std::fs::read(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
                return Err(PlaceFault::Empty(folder.to_owned()));
            }
            Err(error) => return Err(PlaceFault::Io(path, error)),
        };
        let foreign = |why: String| PlaceFault::Foreign(path.clone(), why);
        let (checkpoint, _) =
            Checkpoint::open(&note, key).map_err(|error| foreign(error.to_string()))?;
        let shard = shard_of(owner, &checkpoint.origin)
            .ok_or_else(|| foreign(format!("it is of {}", checkpoint.origin)))?;
        let mut place = Self {
            folder: folder.to_owned(),
            cipher,
            shards: vec![],
            note,
            checkpoint,
        };
        let mut next = Some((shard, place.checkpoint.clone()));
        while let Some((shard, end)) = next {
            let Some(first) = place.first_of(shard)? else {
                break;
            };
            next = if first == 0 && end.size > 0 {
                place.shard_before(owner, shard, key)?
            } else {
                None
            };
            let Checkpoint { origin, size, root } = end;
            place.shards.push(PlaceShard {
                shard,
                origin,
                first,
                size,
                root,
            });
        }
        if place.shards.is_empty() {
            return Err(place.damaged(format!("there is no entry of {shard}")));
        }
        place.shards.reverse();
        Ok(place)
    }

    /// Where it ends: the last shard, and how many entries that one has.
    pub fn end(&self) -> Option<(Shard, u64)> {
        Some((self.shards.last()?.shard, self.checkpoint.size))
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hands `each` every entry with its record, oldest first, and checks them on the way. What was
    /// handed out counts only when this returns without an error.
    ///
    /// # Errors
    /// The first [`PlaceFault`], or the first error of `each`.
    pub fn each<E: From<PlaceFault>>(
        &self,
        mut each: impl FnMut(PlaceEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for shard in &self.shards {
            let tree = self.walk(shard, shard.size, |naming, form, frame| {
                let entry = self.opened(naming, form, &frame.entry, &frame.leaf)?;
                let named = has_record(&entry, &frame.record).and_then(|has_record| {
                    let may_lack = form == EntryForm::Sealed || has_record;
                    may_lack.then_some(has_record).ok_or(MISSING)
                });
                let has_record = named.map_err(|what| {
                    let (index, origin) = (naming.index, naming.origin);
                    self.damaged(format!("entry {index} of {origin}: {what}"))
                })?;
                each(PlaceEntry {
                    shard: shard.shard,
                    naming,
                    entry: &entry,
                    record: (!frame.record.is_empty()).then_some(&frame.record),
                    is_pruned: !has_record,
                })
            })?;
            if tree.root() != shard.root {
                let what = format!("the entries of {} do not make its root", shard.origin);
                return Err(self.damaged(what).into());
            }
        }
        Ok(())
    }

    /// Whether the log that this place holds contains a checkpoint: its entries are the first ones
    /// of ours. `None` where the place begins after it, so that this cannot tell.
    ///
    /// # Errors
    /// [`PlaceFault`]
    pub fn contains(&self, checkpoint: &Checkpoint) -> Result<Option<bool>, PlaceFault> {
        let of = self.shards.iter();
        let Some(shard) = of.clone().find(|shard| shard.origin == checkpoint.origin) else {
            // An older shard than the first that is here cannot be looked at.
            let whole = self.shards.first().is_some_and(|first| first.first == 0);
            return Ok(whole.then_some(false));
        };
        if checkpoint.size < shard.first {
            return Ok(None);
        }
        if checkpoint.size > shard.size {
            return Ok(Some(false));
        }
        let tree = self.walk(shard, checkpoint.size, |_, _, _| Ok::<_, PlaceFault>(()))?;
        Ok(Some(tree.root() == checkpoint.root))
    }

    /// Goes through the entries of a shard that are here, before index `until`. Returns the tree
    /// over all before `until`.
    fn walk<E: From<PlaceFault>>(
        &self,
        shard: &PlaceShard,
        until: u64,
        mut each: impl FnMut(NamingEntry<'_>, EntryForm, &Frame) -> Result<(), E>,
    ) -> Result<MerkleTree, E> {
        let folder = shard_folder(&self.folder, shard.shard);
        let mut tree: Option<MerkleTree> = None;
        for (base, path) in self.found(&folder)? {
            let failed = |error| PlaceFault::Io(path.clone(), error);
            let damaged = |what: &str| PlaceFault::Damaged(path.clone(), what.to_owned());
            let mut segment = SegmentReader::open(&path)
                .map_err(failed)?
                .ok_or_else(|| damaged("it does not begin as a segment does"))?;
            let follows = tree.as_ref().is_none_or(|tree| *tree == segment.before);
            if segment.origin != shard.origin || segment.before.size() != base || !follows {
                return Err(damaged("it does not continue the segment before").into());
            }
            let mut over = std::mem::take(&mut segment.before);
            while over.size() < until {
                let Some(frame) = segment.next().map_err(failed)? else {
                    break;
                };
                let (origin, index) = (shard.origin.as_str(), over.size());
                each(NamingEntry { origin, index }, segment.form, &frame)?;
                over.push(frame.leaf, |_, _| {});
            }
            let is_over = over.size() == until;
            tree = Some(over);
            if is_over {
                break;
            }
        }
        let tree = tree.unwrap_or_default();
        if tree.size() == until {
            Ok(tree)
        } else {
            let what = format!(
                "{} ends after {} of {until} entries",
                shard.origin,
                tree.size()
            );
            Err(self.damaged(what).into())
        }
    }

    /// The index of the first entry of a shard that is here.
    fn first_of(&self, shard: Shard) -> Result<Option<u64>, PlaceFault> {
        let found = self.found(&shard_folder(&self.folder, shard))?;
        Ok(found.first().map(|(base, _)| *base))
    }

    fn found(&self, folder: &Path) -> Result<Vec<(u64, PathBuf)>, PlaceFault> {
        segments(folder).map_err(|error| PlaceFault::Io(folder.to_owned(), error))
    }

    /// The shard that the first entry of a shard continues, and where that one ends.
    fn shard_before(
        &self,
        owner: &str,
        shard: Shard,
        key: &VerifyingKey,
    ) -> Result<Option<(Shard, Checkpoint)>, PlaceFault> {
        let path = super::segment_path(&shard_folder(&self.folder, shard), 0);
        let failed = |error| PlaceFault::Io(path.clone(), error);
        let first = match SegmentReader::open(&path).map_err(failed)? {
            Some(mut segment) => {
                let first = segment.next().map_err(failed)?;
                first.map(|first| (segment, first))
            }
            None => None,
        };
        let (segment, first) = first
            .ok_or_else(|| self.damaged(format!("the first entry of {shard} cannot be read")))?;
        let naming = NamingEntry {
            origin: &segment.origin,
            index: 0,
        };
        let first = self.opened(naming, segment.form, &first.entry, &first.leaf)?;
        let unreadable = || {
            self.damaged(format!(
                "the first entry of {shard} does not say what comes before"
            ))
        };
        let opening = serde_json::from_slice(&first).map_err(|_| unreadable())?;
        let before = match opening {
            ShardOpening::First => return Ok(None),
            ShardOpening::Continue { checkpoint } => {
                let (end, _) =
                    Checkpoint::open(checkpoint.as_bytes(), key).map_err(|_| unreadable())?;
                shard_of(owner, &end.origin).map(|shard| (shard, end))
            }
            ShardOpening::Resume {
                kept,
                kept_entries: size,
                kept_root,
            } => {
                let root = HEXLOWER.decode(kept_root.as_bytes()).ok();
                let root = root.and_then(|root| root.try_into().ok());
                Shard::parse(&kept).zip(root).map(|(shard, root)| {
                    let origin = origin(owner, shard);
                    (shard, Checkpoint { origin, size, root })
                })
            }
        };
        before.map(Some).ok_or_else(unreadable)
    }

    /// An entry in clear.
    fn opened<'f>(
        &self,
        naming: NamingEntry<'_>,
        form: EntryForm,
        entry: &'f [u8],
        leaf: &Hash,
    ) -> Result<Cow<'f, [u8]>, PlaceFault> {
        if form == EntryForm::Clear {
            return Ok(Cow::Borrowed(entry));
        }
        let NamingEntry { origin, index } = naming;
        let cipher = self.cipher.as_ref();
        let cipher = cipher.ok_or_else(|| PlaceFault::Sealed(self.folder.clone()))?;
        let opened = cipher.open_entry(naming, entry).map_err(|error| {
            self.damaged(format!("entry {index} of {origin} does not open: {error}"))
        })?;
        if leaf_hash(&opened) == *leaf {
            Ok(Cow::Owned(opened))
        } else {
            let what = format!("entry {index} of {origin} is not the one that its leaf names");
            Err(self.damaged(what))
        }
    }

    fn damaged(&self, what: String) -> PlaceFault {
        PlaceFault::Damaged(self.folder.clone(), what)
    }
}

/// What is wrong with an entry whose record is not there.
const MISSING: &str = "the side record that it names is missing";

/// Checks that a record is the one that its entry names. Returns whether the record that it names,
/// if any, is there.
fn has_record(entry: &[u8], record: &[u8]) -> Result<bool, &'static str> {
    let name: RecordName =
        serde_json::from_slice(entry).map_err(|_| "it is not an entry: it is not JSON")?;
    match (name.journal, record.is_empty()) {
        (None, true) => Ok(true),
        (None, false) => Err("there is a side record, and it names none"),
        (Some(_), true) => Ok(false),
        (Some(name), false) if name == HEXLOWER.encode(&record_digest(record)) => Ok(true),
        (Some(_), false) => Err("the side record is not the one that it names"),
    }
}
