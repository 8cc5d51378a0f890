//! After a restore: what the second place remembers against what the store has.
//!
//! A log is append-only, and what was published must stay. A store that lacks published entries therefore never extends
//! their shard again: when told to (`audit resume --after-restore`) it begins another one, whose first entry says what was
//! lost. The entries themselves are in the hands of whoever copied the log.

use ed25519_dalek::VerifyingKey;

use super::Event;
use super::checkpoint::{Checkpoint, owner_and_shard};
use super::log::LogError;
use super::second::{SecondError, SecondPlace};
use super::shelf::Shelf;
use super::tree::Hash;
use crate::store::{Shard, Store, StoreError};

/// A published checkpoint that the store does not lead to.
pub(super) struct Lost {
    checkpoint: Checkpoint,
    note: String,
    found: String,
    /// Its shard.
    pub(super) shard: Shard,
}

/// Compares; `None` where all is well.
pub(super) fn compare(
    store: &Store,
    owner: &str,
    key: &VerifyingKey,
    place: &SecondPlace,
    note: Option<&[u8]>,
) -> Result<Option<Lost>, LogError> {
    let Some(note) = note else { return Ok(None) };
    let unusable = |why: String| SecondError::Io(place.path().to_owned(), std::io::Error::other(why));
    let (checkpoint, _) = Checkpoint::open(note, key).map_err(|error| unusable(error.to_string()))?;
    let shard = owner_and_shard(&checkpoint.origin).filter(|(found, _)| *found == owner).map(|(_, shard)| shard);
    let shard = shard.ok_or_else(|| unusable(format!("it holds a checkpoint of {}", checkpoint.origin)))?;
    let found = match store.tree(shard)? {
        None => format!("this store has no entry of {shard}"),
        Some(row) if row.size < checkpoint.size => format!("this store has only {} of them", row.size),
        Some(row) => match root_at(store, &row, checkpoint.size)? == checkpoint.root {
            true => return Ok(None),
            false => "this store has others in their place".to_owned(),
        },
    };
    let note = String::from_utf8(note.to_vec()).map_err(|_| unusable("it is no text".into()))?;
    Ok(Some(Lost { checkpoint, note, found, shard }))
}

fn root_at(store: &Store, row: &crate::store::TreeRow, size: u64) -> Result<Hash, StoreError> {
    Ok(Shelf::new(store, row, size).tree()?.root())
}

impl Lost {
    pub(super) fn refusal(self, place: &SecondPlace) -> LogError {
        LogError::Behind {
            place: place.path().display().to_string(),
            origin: self.checkpoint.origin,
            published: self.checkpoint.size,
            found: self.found,
        }
    }

    /// The first entry of the shard with which the log goes on.
    pub(super) fn event(self, kept_shard: Shard, kept: u64, root: Hash) -> Event {
        Event::Resume {
            lost: self.note,
            kept: kept_shard.to_string(),
            kept_entries: kept,
            kept_root: data_encoding::HEXLOWER.encode(&root),
        }
    }
}
