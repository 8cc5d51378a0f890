//! Which backups are of the log that counts.
//!
//! A repository may hold backups of several branches of one log: an old machine served for a
//! minute, or a store went on without what was lost. By time or by entries, those of a dead branch
//! may come after the living one's. So a backup counts only where the log that counts contains the
//! end of its log. One of another branch is never the last one, takes no other's place when backups
//! are pruned, and stays for a while itself: the machine that prunes may be the one that went
//! astray.

use std::path::PathBuf;

use ed25519_dalek::VerifyingKey;

use super::error::RepositoryError;
use super::listed::{BackupListing, ListedBackup};
use super::manifest::BackupLogHead;
use super::repository::BackupRepository;
use crate::audit::origin::owner_and_shard;
use crate::audit::shard_reader::ShardReader;
use crate::journal::read::{PlaceFault, PlaceLog};
use crate::store::{Store, StoreError};
use crate::tlog::checkpoint::Checkpoint;

/// The log that counts, as far as it is known.
pub enum LogBranch<'l> {
    /// That in a store, a running server's or a stopped one's.
    Store(&'l Store),
    /// That in a place that holds it. It may lack the last entries, and the oldest.
    Place(&'l PlaceLog),
    /// Nobody knows it. Then the backups must be of one branch by their own times.
    Unknown,
}

/// The backups of a repository: those of the log that counts, and the others.
#[derive(Debug, Default)]
pub struct BackupsByBranch {
    /// Those that the log contains, by their place in it.
    pub of_log: Vec<ListedBackup>,
    /// Those of other branches, by the time at which they were taken.
    pub others: Vec<ListedBackup>,
}

impl LogBranch<'_> {
    /// Whether the log contains the end of a backup's.
    ///
    /// # Errors
    /// [`RepositoryError::Store`], [`RepositoryError::Log`]: it cannot be read.
    pub fn contains(&self, head: &BackupLogHead) -> Result<bool, RepositoryError> {
        let end = head.checkpoint();
        match self {
            Self::Store(store) => Ok(store_contains(store, &end)?),
            Self::Place(place) => {
                let is_in = place_may_contain(place, head, &end);
                is_in.map_err(|fault| RepositoryError::Log(fault.to_string()))
            }
            Self::Unknown => Ok(true),
        }
    }

    /// Whether a place ends before the end of a backup's log, so that it cannot tell.
    fn leaves_open(&self, head: &BackupLogHead) -> bool {
        matches!(self, Self::Place(place) if ends_before(place, head))
    }
}

/// What is older than all that a place holds may be in its log, and what is a little newer.
fn place_may_contain(
    place: &PlaceLog,
    head: &BackupLogHead,
    end: &Checkpoint,
) -> Result<bool, PlaceFault> {
    Ok(ends_before(place, head) || place.contains(end)?.unwrap_or(true))
}

fn ends_before(place: &PlaceLog, head: &BackupLogHead) -> bool {
    let owner = |origin: &str| owner_and_shard(origin).map(|(owner, _)| owner.to_owned());
    // Also where the backup is of a later shard: the place may have missed that one's begin.
    owner(&head.origin) == owner(&place.checkpoint.origin) && head.position() > place.end()
}

/// Whether the log in a store contains a checkpoint.
///
/// # Errors
/// [`StoreError`]
pub fn store_contains(store: &Store, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
    let row = match owner_and_shard(&checkpoint.origin) {
        Some((owner, shard)) if owner == store.owner()? => store.tree(shard)?,
        _ => None,
    };
    match row.filter(|row| checkpoint.size <= row.size) {
        Some(row) => {
            let reader = ShardReader::new(store, &row, checkpoint.size);
            Ok(reader.tree()?.root() == checkpoint.root)
        }
        None => Ok(false),
    }
}

impl BackupListing {
    /// The backups of the log that counts, and the others.
    ///
    /// # Errors
    /// What is wrong with the first that is none; [`RepositoryError::Branches`]: the log that
    /// counts is not known, and they are of several branches. [`RepositoryError::Store`].
    pub fn split_by_branch(
        self,
        branch: &LogBranch<'_>,
        folder: impl FnOnce() -> PathBuf,
    ) -> Result<BackupsByBranch, RepositoryError> {
        let all = self.all()?;
        if matches!(branch, LogBranch::Unknown) && !is_one_line(&all) {
            return Err(RepositoryError::Branches(folder()));
        }
        let mut split = BackupsByBranch::default();
        for backup in all {
            if branch.contains(backup.log())? {
                split.of_log.push(backup);
            } else {
                split.others.push(backup);
            }
        }
        // A clock may have been set back between two backups.
        split.of_log.sort_by_key(|backup| backup.log().position());
        Ok(split)
    }
}

/// Whether backups in the order of their times are in that of their logs, too.
fn is_one_line(by_time: &[ListedBackup]) -> bool {
    by_time.is_sorted_by_key(|backup| backup.log().position())
}

impl BackupRepository {
    /// A backup, or the last one of the log that counts, signed by `key`.
    ///
    /// # Errors
    /// [`RepositoryError::Unknown`] and what is wrong with it; those of
    /// [`BackupRepository::last_backup`].
    pub fn backup(
        &self,
        id: Option<&str>,
        key: &VerifyingKey,
        branch: &LogBranch<'_>,
    ) -> Result<ListedBackup, RepositoryError> {
        match id {
            Some(id) => self.named_backup(id, key),
            None => self.last_backup(key, branch),
        }
    }

    /// The last backup of the log that counts, signed by `key`. No older one is taken without a
    /// word in the place of a later one that cannot be read.
    ///
    /// # Errors
    /// [`RepositoryError::None`], [`RepositoryError::Branches`],
    /// [`RepositoryError::OtherBranches`]; what is wrong with a later one.
    pub fn last_backup(
        &self,
        key: &VerifyingKey,
        branch: &LogBranch<'_>,
    ) -> Result<ListedBackup, RepositoryError> {
        let (mut read, mut unread) = (vec![], vec![]);
        for (id, backup) in self.backups(key)?.backups {
            match backup {
                Ok(backup) => read.push(backup),
                Err(error) => unread.push((id, error)),
            }
        }
        if matches!(branch, LogBranch::Unknown) && !is_one_line(&read) {
            return Err(RepositoryError::Branches(self.folder().to_owned()));
        }
        let is_empty = read.is_empty();
        read.sort_by_key(|backup| backup.log().position());
        let (mut last, mut open) = (None, vec![]);
        for backup in read.into_iter().rev() {
            if !branch.contains(backup.log())? {
                continue;
            }
            if branch.leaves_open(backup.log()) {
                open.push(backup);
            } else {
                last = Some(backup);
                break;
            }
        }
        // A log only grows: what goes further than the last one in it, and is of it, was taken
        // later.
        let passed = last.as_ref().map(ListedBackup::id);
        let further = open.into_iter().find(|one| Some(one.id()) > passed);
        let last = further.or(last);
        let last_id = last.as_ref().map(ListedBackup::id);
        let mut later = unread.into_iter().filter(|(id, _)| Some(id) > last_id);
        if let Some((_, error)) = later.next() {
            return Err(error);
        }
        let folder = self.folder().to_owned();
        last.ok_or(if is_empty {
            RepositoryError::None(folder)
        } else {
            RepositoryError::OtherBranches(folder)
        })
    }
}
