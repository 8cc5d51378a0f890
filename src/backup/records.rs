//! Side records that no kept backup needs: pruned from the store and from the second place.
//!
//! A restore reads the log behind its backup. So the end of the log in the oldest backup that is
//! kept decides, whole or not: one that lost files goes by its age. Where no backup is whole, or
//! one is not of this log, nothing is pruned: this store may be the one that went astray.

use super::branch::LogBranch;
use super::error::RepositoryError;
use super::listed::ListedBackup;
use super::repository::BackupRepository;
use crate::commit::Change;
use crate::entity::Entity;
use crate::journal::prune::LogPlace;
use crate::refusal::{Refusal, not_logged};
use crate::store::{LastErasure, Store, StoreError};

/// The first entry behind the oldest backup.
#[derive(Debug, Clone, Copy)]
struct OldestEnd {
    /// Its number in the store.
    entry: u64,
    /// Its place in the log.
    place: LogPlace,
}

/// Deletes the side records that no backup in the repository needs, in the store and in the second
/// place. Once they are gone, and every backup is younger than the last erasure, the note of that
/// goes, too.
///
/// # Errors
/// [`RepositoryError`]; or that the rows could not be deleted. What is left goes the next time.
pub(super) fn prune_records(entity: &Entity, repository: &BackupRepository) -> Result<(), Refusal> {
    let Some(oldest) = oldest_end(entity, repository)? else {
        return Ok(());
    };
    let store = entity.store();
    let first = store.first_journal().map_err(RepositoryError::from)?;
    if let Some(first) = first.filter(|first| *first < oldest.entry) {
        let until = oldest.entry;
        let change: Change =
            Box::new(move |store: &Store, batch| store.prune_journal(batch, first, until));
        entity
            .committer()
            .change_unlogged(change)
            .map_err(not_logged("no side record is pruned"))?;
        tracing::info!(
            first,
            until,
            "side records that no backup needs were removed"
        );
    }
    let second = entity.log().prune_second(oldest.place);
    let second = second.map_err(RepositoryError::Place)?;
    if second.files > 0 {
        let (files, bytes) = (second.files, second.bytes);
        tracing::info!(
            files,
            bytes,
            "segments that no backup needs were removed from the second place"
        );
    }
    let erasure = store.last_erasure().map_err(RepositoryError::from)?;
    let Some(erasure) = erasure.filter(|erasure| erasure.entry < oldest.entry) else {
        return Ok(());
    };
    let erased = place_of(store, erasure).map_err(RepositoryError::from)?;
    if second.begins.is_none_or(|begins| Some(begins) > erased) {
        end_erasure(entity, erasure)?;
    }
    Ok(())
}

/// The place in the log of an erasure.
pub(super) fn place_of(
    store: &Store,
    erasure: LastErasure,
) -> Result<Option<LogPlace>, StoreError> {
    let trees = store.trees()?;
    let tree = trees.iter().rev().find(|tree| tree.first <= erasure.entry);
    Ok(tree.map(|tree| LogPlace {
        shard: tree.shard,
        index: erasure.entry - tree.first,
    }))
}

/// Where the log of the oldest backup ends, if that is a part of this log.
fn oldest_end(
    entity: &Entity,
    repository: &BackupRepository,
) -> Result<Option<OldestEnd>, RepositoryError> {
    let key = entity.log().key();
    // One that cannot be read may be the oldest.
    let listing = repository.backups(&key)?;
    let folder = || repository.folder().to_owned();
    let split = listing.split_by_branch(&LogBranch::Store(entity.store()), folder)?;
    if !split.others.is_empty() {
        return Ok(None);
    }
    let backups = split.of_log;
    let is_whole = |backup: &ListedBackup| backup.stored().iter().all(|f| repository.has(f));
    let Some(oldest) = backups.first().filter(|_| backups.iter().any(is_whole)) else {
        return Ok(None);
    };
    let ours = entity.log().restate(&oldest.log().checkpoint())?;
    Ok(ours.map(|ours| OldestEnd {
        entry: ours.tree.first + ours.tree.size,
        place: LogPlace {
            shard: ours.tree.shard,
            index: ours.tree.size,
        },
    }))
}

/// Clears the records that were older than an erasure out of the files, and strikes out its note.
fn end_erasure(entity: &Entity, erasure: LastErasure) -> Result<(), Refusal> {
    let store = entity.store();
    store.clear_journal().map_err(RepositoryError::from)?;
    let change: Change = Box::new(move |store: &Store, batch| {
        // Unless another one came meanwhile.
        if store.last_erasure().is_ok_and(|last| last == Some(erasure)) {
            store.delete_last_erasure(batch);
        }
    });
    let struck = entity.committer().change_unlogged(change);
    struck.map_err(not_logged("the note of an erasure stays"))?;
    tracing::info!("no backup and no side record is older than the last erasure any more");
    Ok(())
}
