//! Whether a follower's folder still holds every byte that it took, as far as that can be told
//! without a key: each frame has a sum, each segment begins where the one before it ends, and the
//! last ends with the checkpoint.

use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::follow_fault::FollowFault;
use super::prune::shards;
use super::segment::SegmentReader;
use super::tail::CoveredEntries;
use super::{segments, shard_folder};
use crate::tlog::tree::MerkleTree;

/// How long after a reading the next one begins.
const DAILY: SignedDuration = SignedDuration::from_hours(24);
/// The same where the folder could not be read to its end.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// The readings of a follower's folder: when the next is due, and what the last one found.
#[derive(Default)]
pub(super) struct FolderReading {
    next: Option<Timestamp>,
    fault: Option<ReadingFault>,
}

enum ReadingFault {
    /// A byte is not as it was.
    Changed,
    /// What the operating system said.
    Unreadable(String),
}

impl FolderReading {
    /// Whether a reading is due at the time `now`. If so, no other one is for a day.
    pub(super) fn begins(&mut self, now: Timestamp) -> bool {
        let is_due = self.next.is_none_or(|next| next <= now);
        if is_due {
            self.next = Some(now + DAILY);
        }
        is_due && !matches!(self.fault, Some(ReadingFault::Changed))
    }

    /// Notes what a reading of the folder `place` found that ended: the first file that is not as
    /// it was. A segment that is not there, in a folder that is, was pruned meanwhile, as a rule:
    /// the next reading tells.
    pub(super) fn end(&mut self, found: io::Result<Option<PathBuf>>, place: &Path, now: Timestamp) {
        match found {
            Ok(None) => self.fault = None,
            Ok(Some(path)) => {
                let path = path.display();
                tracing::error!(%path, "what is held of a log is not as it was");
                self.fault = Some(ReadingFault::Changed);
            }
            Err(error) => {
                self.next = Some(now + AGAIN);
                let may_be_pruned = error.kind() == io::ErrorKind::NotFound && place.is_dir();
                if !may_be_pruned {
                    self.fault = Some(ReadingFault::Unreadable(error.to_string()));
                }
            }
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.fault.is_none()
    }

    /// What the last reading of the folder `place` found.
    ///
    /// # Errors
    /// [`FollowFault::Damaged`], [`FollowFault::Unreadable`].
    pub(super) fn check(&self, place: &Path) -> Result<(), FollowFault> {
        let place = place.to_owned();
        match &self.fault {
            None => Ok(()),
            Some(ReadingFault::Changed) => Err(FollowFault::Damaged(place)),
            Some(ReadingFault::Unreadable(error)) => {
                let error = error.clone();
                Err(FollowFault::Unreadable { place, error })
            }
        }
    }
}

/// Reads the folder up to the last entries that its checkpoint covers. Returns the first segment,
/// or shard's folder, that is not as it was; `None` if all is.
pub(super) fn first_changed(place: &Path, last: CoveredEntries) -> io::Result<Option<PathBuf>> {
    let mut all = shards(place)?;
    all.retain(|(shard, _)| *shard <= last.shard);
    if all.iter().all(|(shard, _)| *shard != last.shard) {
        return Ok(Some(shard_folder(place, last.shard)));
    }
    for (shard, folder) in all {
        // What a kill left behind the checkpoint was never held. Behind a shard that is over it was
        // cut off.
        let end = (shard == last.shard).then_some(last.size);
        let tree = match read_shard(&folder, end)? {
            Ok(tree) => tree,
            changed @ Err(_) => return Ok(changed.err()),
        };
        let covers = |tree: MerkleTree| (tree.size(), tree.root()) == (last.size, last.root);
        if shard == last.shard && !tree.is_some_and(covers) {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// Reads a shard's segments, each to its end, or up to so many entries of the shard. Returns the
/// tree over its entries, `None` if there is no segment; or the first segment that is not as it
/// was.
fn read_shard(folder: &Path, end: Option<u64>) -> io::Result<Result<Option<MerkleTree>, PathBuf>> {
    let mut before: Option<MerkleTree> = None;
    for (base, path) in segments(folder)? {
        if end.is_some_and(|end| base > end) {
            continue;
        }
        let Some(mut reader) = SegmentReader::open(&path)? else {
            return Ok(Err(path));
        };
        let mut tree = std::mem::take(&mut reader.before);
        if before.is_some_and(|before| (before.size(), before.root()) != (tree.size(), tree.root()))
        {
            return Ok(Err(path));
        }
        while end != Some(tree.size()) {
            match reader.next()? {
                Some(frame) => tree.push(frame.leaf, |_, _| {}),
                None if reader.is_at_end() => break,
                None => return Ok(Err(path)),
            }
        }
        before = Some(tree);
    }
    Ok(Ok(before))
}
