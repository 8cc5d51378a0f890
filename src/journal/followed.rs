//! A place that a follower writes: another's log, entry by entry as its owner offers it, sealed.
//!
//! The follower holds no key that opens an entry. It checks that the owner signed the checkpoint,
//! and that the leaves behind those that it holds make the checkpoint's root. A checkpoint that
//! does not continue what it holds is refused and kept as evidence; the first copy stays.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;

pub use super::follow_fault::FollowFault;
use super::intake::{DayBytes, DayIntake};
use super::offer::{JournalHeld, JournalOffer};
use super::origin::{origin, owner_and_shard, shard_of};
use super::prune::{LogPlace, prune_place};
use super::segment::EntryForm;
use super::tail::{CoveredEntries, SegmentTail, make_folder};
use super::verified::VerifiedOffer;
use super::waived::WaivedEntries;
use super::whole::{FolderReading, first_changed};
use super::{CHECKPOINT, UNPUBLISHED, segments, shard_folder};
use crate::files::{put_in_place, sync_folder};
use crate::store::Shard;
use crate::system;
use crate::system::lock::unpoisoned;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::checkpoint_file::{CheckpointFile, CheckpointFileError};
use crate::tlog::note::{SignedNote, vouch};
use crate::tlog::tree::MerkleTree;

/// The room that is left on the folder's disk, in bytes: twice what vault and node leave on a
/// store's, which may be the same, so that nobody who brings entries stops the work there.
const RESERVE: u64 = 512 << 20;
/// The name of the first checkpoint that was refused because it does not continue what is held.
const REFUSED: &str = "refused";

/// The key by which a follower vouches, and its name.
pub struct FollowerKey {
    /// The name under which it vouches.
    pub name: String,
    /// The key.
    pub key: SigningKey,
}

/// A follower's folder.
pub struct FollowedPlace {
    folder: PathBuf,
    owner: String,
    checkpoint: CheckpointFile,
    key: Option<FollowerKey>,
    /// The most bytes that are taken in a day (UTC), if that is bounded.
    daily: Option<u64>,
    /// Which folder it is, as the operating system tells folders apart.
    identity: FolderIdentity,
    /// What was found when all of it was last read. After a fault nothing is vouched for. Its lock
    /// is never held while the disk is waited for.
    reading: Mutex<FolderReading>,
    state: Mutex<FollowedState>,
}

/// Device and inode of a folder.
type FolderIdentity = (u64, u64);

#[derive(Default)]
struct FollowedState {
    /// What the folder's checkpoint file has.
    note: Option<Vec<u8>>,
    /// The same, read.
    held: Option<(Shard, Checkpoint)>,
    /// What the owner said that it no longer needs. With each such word the next entries begin a
    /// segment, so that what lies wholly before can go.
    waived: WaivedEntries,
    /// Where entries are added, while this is known.
    tail: Option<SegmentTail>,
    /// What was taken on a day.
    intake: DayIntake,
}

impl FollowedPlace {
    /// Opens the folder in which the log of `owner` (such as `demo/vault`) is followed; makes it if
    /// it is not there, in one that is. `key` vouches; without it the follower counts nowhere.
    ///
    /// # Errors
    /// [`FollowFault::Folder`]; [`FollowFault::Away`]; [`FollowFault::Damaged`], also where another
    /// log is followed there.
    pub fn open(
        folder: PathBuf,
        owner: String,
        key: Option<FollowerKey>,
    ) -> Result<Self, FollowFault> {
        if !folder.is_dir() {
            let above = folder_above(&folder);
            if !above.is_dir() {
                return Err(FollowFault::Away(above.to_owned()));
            }
            make_folder(&folder).map_err(|error| CheckpointFileError::Io(folder.clone(), error))?;
        }
        let identity =
            identity(&folder).map_err(|error| CheckpointFileError::Io(folder.clone(), error))?;
        let place = Self {
            checkpoint: CheckpointFile::new(folder.join(CHECKPOINT)),
            folder,
            owner,
            key,
            daily: None,
            identity,
            reading: Mutex::default(),
            state: Mutex::default(),
        };
        let mut state = FollowedState {
            waived: WaivedEntries::of(&place.folder),
            intake: DayIntake::of(&place.folder),
            ..FollowedState::default()
        };
        if let Some(note) = place.checkpoint.load()? {
            let damaged = || FollowFault::Damaged(place.folder.clone());
            let (held, _) = Checkpoint::read(&note).map_err(|_| damaged())?;
            let shard = shard_of(&place.owner, &held.origin).ok_or_else(damaged)?;
            state.tail = Some(place.tail_of(shard, &held)?);
            state.note = Some(note);
            state.held = Some((shard, held));
        }
        *place.state() = state;
        Ok(place)
    }

    /// Takes only so many bytes of the log in a day (UTC).
    #[must_use]
    pub fn taking(self, daily: u64) -> Self {
        let daily = Some(daily);
        Self { daily, ..self }
    }

    /// Whose log is followed in a folder; `None` if none is yet.
    pub fn owner_in(folder: &Path) -> Option<String> {
        let note = fs::read(folder.join(CHECKPOINT)).ok()?;
        let (held, _) = Checkpoint::read(&note).ok()?;
        owner_and_shard(&held.origin).map(|(owner, _)| owner.to_owned())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder that was opened still lies there: it was not moved away, and its disk is
    /// mounted. Where it does not, open the place again.
    pub fn is_in_place(&self) -> bool {
        identity(&self.folder).is_ok_and(|found| found == self.identity)
    }

    /// Whose log it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The checkpoint up to which everything is held.
    pub fn held(&self) -> Option<Checkpoint> {
        let state = self.state();
        let is_good = self.reading().is_good();
        let held = state.held.as_ref().filter(|_| is_good);
        held.map(|(_, held)| held.clone())
    }

    /// What is held, as the owner is told it: signed at the time `now`, where the follower has a
    /// key. The signature is of a kind of its own: a cosignature would say that the log was never
    /// another one.
    pub fn vouch(&self, now: Timestamp) -> JournalHeld {
        let state = self.state();
        let is_good = self.reading().is_good();
        let note = state.note.as_deref().filter(|_| is_good);
        let note = note.and_then(|note| std::str::from_utf8(note).ok());
        let note = note.map(|note| {
            let vouched = self.key.as_ref().and_then(|key| {
                let text = SignedNote::parse(note.as_bytes()).ok()?.text();
                let time = u64::try_from(now.as_second()).unwrap_or(0);
                Some(vouch(&key.name, &key.key, text, time))
            });
            format!("{note}{}", vouched.unwrap_or_default())
        });
        JournalHeld { note }
    }

    /// Takes what the owner offers, whose checkpoints `key` signs, at the time `now`: entries
    /// first, then the checkpoint, each durable. Entries that are held already are passed over.
    /// Returns whether more is held now than before.
    ///
    /// # Errors
    /// [`FollowFault`]
    pub fn accept(
        &self,
        offer: &JournalOffer,
        key: &VerifyingKey,
        now: Timestamp,
    ) -> Result<bool, FollowFault> {
        let VerifiedOffer {
            shard,
            checkpoint,
            note: new,
        } = VerifiedOffer::of(offer, &self.owner, key)?;
        if system::free_bytes(&self.folder).is_ok_and(|free| free < RESERVE) {
            return Err(FollowFault::Full(self.folder.clone()));
        }
        // A disk that cannot be read may well take more, and says itself if it does not.
        if let Err(damaged @ FollowFault::Damaged(_)) = self.check_reading() {
            return Err(damaged);
        }
        let mut state = self.state();
        let Some(before) = self.before(&state, offer, (shard, &checkpoint))? else {
            return Ok(false);
        };
        let mut tree = before.clone();
        for (leaf, _) in offer.frames_from(before.size()) {
            tree.push(leaf, |_, _| {});
        }
        if tree.size() != checkpoint.size || tree.root() != checkpoint.root {
            return Err(self.forked(&state, &checkpoint, &new));
        }
        let intake = self.intake(&state, offer, now)?;
        let mut tail = self.tail_in(&mut state, shard)?;
        let (old, folder) = (state.note.clone(), shard_folder(&self.folder, shard));
        let names = (folder.as_path(), checkpoint.origin.as_str());
        let turns = self.note_waived(&mut state, offer, now);
        self.checkpoint
            .swap_after(old.as_deref(), new.as_bytes(), || {
                let mut added = match tail.take() {
                    Some(tail) => tail.next(names, EntryForm::Sealed, turns)?,
                    None => self.begin(shard, before)?,
                };
                let mut adding = added.add()?;
                for (leaf, frame) in offer.frames_from(adding.size()) {
                    adding.push(leaf, |bytes| bytes.extend_from_slice(frame))?;
                }
                adding.finish(checkpoint.size, checkpoint.root)?;
                tail = Some(added);
                Ok(())
            })?;
        state.note = Some(new.into_bytes());
        state.held = Some((shard, checkpoint));
        state.tail = tail;
        if let Some(intake) = intake {
            state.intake.take(intake);
        }
        Ok(true)
    }

    /// What is taken on this day with an offer; `None` where that is not bounded.
    fn intake(
        &self,
        state: &FollowedState,
        offer: &JournalOffer,
        now: Timestamp,
    ) -> Result<Option<DayBytes>, FollowFault> {
        let Some(most) = self.daily else {
            return Ok(None);
        };
        let with = state.intake.with(offer.length() as u64, most, now);
        with.map(Some).map_err(|bytes| FollowFault::Surfeit {
            place: self.folder.display().to_string(),
            bytes,
        })
    }

    /// The tree behind which the entries of an offer go; `None` where all of it is held already.
    fn before(
        &self,
        state: &FollowedState,
        offer: &JournalOffer,
        (shard, offered): (Shard, &Checkpoint),
    ) -> Result<Option<MerkleTree>, FollowFault> {
        let Some((held_shard, held)) = &state.held else {
            return match (offer.before(), offer.first()) {
                (Some(before), _) => Ok(Some(before.clone())),
                (None, 0) => Ok(Some(MerkleTree::default())),
                (None, _) => Err(FollowFault::Unfit("nothing of what is before them is held")),
            };
        };
        if shard != *held_shard {
            return match (shard < *held_shard, offer.first()) {
                (true, _) => Ok(None),
                (false, 0) => Ok(Some(MerkleTree::default())),
                (false, _) => Err(FollowFault::Unfit("a shard begins with its first entry")),
            };
        }
        if offered.size < held.size || offered == held {
            return Ok(None);
        }
        if offer.first() > held.size {
            return Err(FollowFault::Unfit("they begin behind what is held"));
        }
        match &state.tail {
            Some(tail) => Ok(Some(tail.tree.clone())),
            // A write failed before.
            None => Ok(Some(self.tail_of(shard, held)?.tree)),
        }
    }

    /// Where the entries that are held of a shard end; `None` where none are. A shard before it is
    /// over: what lies behind its end is put away.
    fn tail_in(
        &self,
        state: &mut FollowedState,
        shard: Shard,
    ) -> Result<Option<SegmentTail>, FollowFault> {
        let Some((held_shard, held)) = &state.held else {
            return Ok(None);
        };
        let tail = match state.tail.take() {
            Some(tail) => tail,
            None => self.tail_of(*held_shard, held)?,
        };
        if *held_shard == shard {
            return Ok(Some(tail));
        }
        let folder = shard_folder(&self.folder, *held_shard);
        put_away_behind(&folder, held.size + 1)
            .and_then(|()| tail.close())
            .map_err(|error| CheckpointFileError::Io(folder, error))?;
        Ok(None)
    }

    /// Where the entries under a checkpoint end.
    fn tail_of(&self, shard: Shard, held: &Checkpoint) -> Result<SegmentTail, FollowFault> {
        let (size, root) = (held.size, held.root);
        let folder = shard_folder(&self.folder, shard);
        SegmentTail::find(&folder, CoveredEntries { shard, size, root })
            .map_err(|error| CheckpointFileError::Io(folder, error))?
            .ok_or_else(|| FollowFault::Damaged(self.folder.clone()))
    }

    /// Begins a segment behind a tree. What lies there in its way was never vouched for.
    fn begin(&self, shard: Shard, tree: MerkleTree) -> io::Result<SegmentTail> {
        let (folder, origin) = (
            shard_folder(&self.folder, shard),
            origin(&self.owner, shard),
        );
        put_away_behind(&folder, tree.size())?;
        SegmentTail::begin(&folder, (shard, &origin), tree, EntryForm::Sealed)
    }

    /// Keeps what the owner says that it no longer needs. Returns whether the next entries begin a
    /// segment.
    fn note_waived(&self, state: &mut FollowedState, offer: &JournalOffer, now: Timestamp) -> bool {
        let (shard, index) = offer.kept();
        let noted = state.waived.note(LogPlace { shard, index }, now);
        noted.unwrap_or_else(|error| self.not_pruned(&error))
    }

    /// Removes what the owner said a week ago that it no longer needs, at the time `now`. What
    /// cannot be removed is removed later. Call it now and then.
    pub fn prune(&self, now: Timestamp) {
        let mut state = self.state();
        let pruned = state.waived.take_due(now).and_then(|due| match due {
            Some(due) => prune_place(&self.folder, due).map(drop),
            None => Ok(()),
        });
        if let Err(error) = pruned {
            self.not_pruned(&error);
        }
    }

    /// Reads all that is held, once a day, at the time `now`: a disk can change what was written
    /// long ago. Where a byte is not as it was, or cannot be read, nothing is vouched for any more.
    /// It takes as long as reading the folder does; offers are taken meanwhile. Call it now and
    /// then, on a thread that nobody waits for.
    ///
    /// # Errors
    /// [`FollowFault::Damaged`], [`FollowFault::Unreadable`], also of an earlier call.
    pub fn look_through(&self, now: Timestamp) -> Result<(), FollowFault> {
        if !self.reading().begins(now) {
            return self.check_reading();
        }
        let covered = |(shard, held): &(Shard, Checkpoint)| CoveredEntries {
            shard: *shard,
            size: held.size,
            root: held.root,
        };
        let covered = self.state().held.as_ref().map(covered);
        let found = covered.map(|covered| {
            // What lies there may be anybody's, and the notice must not end with the thread.
            catch_unwind(|| first_changed(&self.folder, covered))
                .unwrap_or_else(|_| Err(io::Error::other("reading it failed inside cloison")))
        });
        self.reading()
            .end(found.transpose().map(Option::flatten), &self.folder, now);
        self.check_reading()
    }

    /// Whether all was good when it was last read ([`FollowedPlace::look_through`]).
    ///
    /// # Errors
    /// [`FollowFault::Damaged`], [`FollowFault::Unreadable`].
    pub fn check_reading(&self) -> Result<(), FollowFault> {
        self.reading().check(&self.folder)
    }

    fn not_pruned(&self, error: &io::Error) -> bool {
        let place = self.folder.display().to_string();
        tracing::warn!(place, %error, "what the log's owner no longer needs cannot be removed");
        false
    }

    /// Keeps a checkpoint that does not continue what is held, unless one is kept already.
    fn forked(&self, state: &FollowedState, offered: &Checkpoint, note: &str) -> FollowFault {
        let kept = self.folder.join(REFUSED);
        if !kept.exists() {
            let beside = self.folder.join("refused.new");
            if let Err(error) = put_in_place(&beside, &kept, note.as_bytes(), 0o600) {
                tracing::error!(%error, "a checkpoint that was refused cannot be kept");
            }
        }
        let held = state.held.as_ref();
        FollowFault::Forked {
            origin: offered.origin.clone(),
            offered: offered.size,
            held: held.map_or(0, |(_, held)| held.size),
            place: self.folder.display().to_string(),
        }
    }

    fn reading(&self) -> MutexGuard<'_, FolderReading> {
        unpoisoned(self.reading.lock())
    }

    fn state(&self) -> MutexGuard<'_, FollowedState> {
        unpoisoned(self.state.lock())
    }
}

/// Renames the segments of a shard's folder that begin at an entry or behind it: no checkpoint ever
/// covered them.
fn put_away_behind(folder: &Path, first: u64) -> io::Result<()> {
    for (_, path) in segments(folder)?.iter().filter(|(base, _)| *base >= first) {
        fs::rename(path, path.with_extension(UNPUBLISHED))?;
        // If the old name came back, what lies there would pass for a damaged part of the log.
        sync_folder(path)?;
    }
    Ok(())
}

fn identity(folder: &Path) -> io::Result<FolderIdentity> {
    let found = fs::metadata(folder)?;
    Ok((found.dev(), found.ino()))
}

/// The folder that one lies in.
pub(super) fn folder_above(folder: &Path) -> &Path {
    let above = folder.parent();
    above
        .filter(|above| !above.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
