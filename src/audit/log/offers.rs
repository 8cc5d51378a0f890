//! What the log offers to followers: entries and side records that they lack, sealed, up to a
//! checkpoint.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Log, PublishedCheckpoint};
use crate::audit::origin::{origin, owner_and_shard};
use crate::audit::shard_reader::ShardReader;
use crate::journal::offer::JournalOffer;
use crate::journal::place::{first_needed, records};
use crate::seal::journal::{JournalCipher, NamingEntry};
use crate::store::{Shard, StoreError, TreeRow};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::tree::leaf_hash;

/// Entries that are read at once.
const STEP: u64 = 64;

/// Is told of each checkpoint that is offered; with `true`, that nobody waits any more, because the
/// process ends.
pub type OfferListener = Box<dyn Fn(bool) + Send + Sync>;

impl Log {
    /// What a follower lacks that holds the log up to `held` (a checkpoint that this log contains,
    /// or lost at a restore that it owns up to; `None`: nothing). `None` if it lacks nothing.
    ///
    /// One that does not count (`counts`) gets what is published: what it alone had seen would bar
    /// a log that is restored from the places that count. Until something is published, the first
    /// followers have to begin.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn offer(
        &self,
        cipher: &JournalCipher,
        held: Option<&Checkpoint>,
        counts: bool,
    ) -> Result<Option<JournalOffer>, StoreError> {
        let last = self.state().last_for(counts);
        match last {
            Some(last) => self.offer_until(cipher, held, &last),
            None => Ok(None),
        }
    }

    /// A checkpoint over all that is durable, and what a follower lacks of it that holds the log up
    /// to `held`. It is in no place yet: whoever gets it gets all that it covers. `None` if the
    /// follower lacks more than one offer takes.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn durable_tail(
        &self,
        cipher: &JournalCipher,
        held: &Checkpoint,
    ) -> Result<Option<(PublishedCheckpoint, JournalOffer)>, StoreError> {
        let Some(head) = self.state().durable else {
            return Ok(None);
        };
        let signed = self.sign(head);
        let offer = self.offer_until(cipher, Some(held), &signed)?;
        let whole = offer.filter(|offer| offer.note().starts_with(&signed.note));
        Ok(whole.map(|offer| (signed, offer)))
    }

    /// The origin of the last checkpoint that is offered.
    pub fn offered_origin(&self) -> Option<String> {
        let state = self.state();
        let (_, last) = state.offered.last_key_value()?;
        Some(last.checkpoint.origin.clone())
    }

    /// Has the first listener that is named told of each offer.
    pub fn on_offers(&self, listener: OfferListener) {
        let _ = self.listener.set(listener);
    }

    pub(super) fn tell_listener(&self, has_ended: bool) {
        if let Some(listener) = self.listener.get() {
            listener(has_ended);
        }
    }

    /// Waits until something is offered beyond `held`, or the process ends.
    pub fn wait_for_offer(&self, held: Option<&Checkpoint>, counts: bool, patience: Duration) {
        let end = Instant::now() + patience;
        let held = held.and_then(|held| Some((owner_and_shard(&held.origin)?.1, held.size)));
        let mut state = self.state();
        while !state.offers_end {
            let last = state.last_for(counts);
            let is_new =
                last.is_some_and(|last| held < Some((last.tree.shard, last.checkpoint.size)));
            let left = end.checked_duration_since(Instant::now());
            let Some(left) = left.filter(|_| !is_new) else {
                return;
            };
            state = self
                .news
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Ends all waiting for offers, because the process ends.
    pub fn end_offers(&self) {
        self.state().offers_end = true;
        self.news.notify_all();
        self.tell_listener(true);
    }

    /// Signs a checkpoint over a tree.
    pub(super) fn sign(&self, tree: TreeRow) -> PublishedCheckpoint {
        PublishedCheckpoint::sign(&self.owner, tree, &self.key)
    }

    fn offer_until(
        &self,
        cipher: &JournalCipher,
        held: Option<&Checkpoint>,
        last: &PublishedCheckpoint,
    ) -> Result<Option<JournalOffer>, StoreError> {
        let mut rows = self.store.trees()?;
        rows.retain(|row| row.shard <= last.tree.shard && row.size > 0);
        if let Some(row) = rows.last_mut() {
            *row = last.tree;
        }
        let start = match held {
            None => self.beginning(&rows)?,
            Some(held) => continuation(&rows, held),
        };
        let Some((row, offer)) = start else {
            return Ok(None);
        };
        let offer = self.filled(cipher, row, offer)?.keeping(self.kept(&rows)?);
        let signed = if offer.end() == last.tree.size && row.shard == last.tree.shard {
            last.note.clone()
        } else {
            let (store, size) = (&self.store, offer.end());
            let root = ShardReader::new(store, row, size).tree()?.root();
            self.sign(TreeRow { size, root, ..*row }).note
        };
        Ok(Some(offer.under(&signed, &self.key)))
    }

    /// The first entry that a kept backup needs.
    fn kept(&self, rows: &[TreeRow]) -> Result<(Shard, u64), StoreError> {
        let first = first_needed(&self.store)?;
        let row = rows.iter().find(|row| first < row.first + row.size);
        let of = |row: &TreeRow| (row.shard, first.saturating_sub(row.first));
        let last = rows.last().map(|row| (row.shard, row.size));
        Ok(row.map(of).or(last).unwrap_or((Shard::of(0), 0)))
    }

    /// What a follower begins with that holds nothing: the first entry that a place must hold.
    fn beginning<'r>(
        &self,
        rows: &'r [TreeRow],
    ) -> Result<Option<(&'r TreeRow, JournalOffer)>, StoreError> {
        let first = first_needed(&self.store)?;
        let holds = |row: &&TreeRow| first < row.first + row.size;
        let Some(row) = rows.iter().find(holds).or(rows.last()) else {
            return Ok(None);
        };
        let index = first.saturating_sub(row.first).min(row.size);
        let before = ShardReader::new(&self.store, row, index).tree()?;
        Ok(Some((row, JournalOffer::beginning(before))))
    }

    /// Adds the entries of a shard behind those that an offer has, as many as it takes.
    fn filled(
        &self,
        cipher: &JournalCipher,
        row: &TreeRow,
        mut offer: JournalOffer,
    ) -> Result<JournalOffer, StoreError> {
        let origin: Arc<str> = origin(&self.owner, row.shard).into();
        let mut is_full = false;
        while offer.end() < row.size && !is_full {
            let (from, until) = (offer.end(), (offer.end() + STEP).min(row.size));
            let records = records(&self.store, row.first + from, row.first + until)?;
            let mut records = records.into_iter().peekable();
            let reader = ShardReader::new(&self.store, row, until);
            reader.each::<StoreError>(from, until - from, |index, entry| {
                let record = records.next_if(|(of, _)| *of == row.first + index);
                let record = record.unwrap_or_default().1;
                is_full |= !offer.takes(entry.len() + record.len());
                if !is_full {
                    let origin = &*origin;
                    let sealed = cipher.seal_entry(NamingEntry { origin, index }, entry);
                    offer.push(leaf_hash(entry), &sealed, &record);
                }
                Ok(())
            })?;
        }
        Ok(offer)
    }
}

/// What comes behind a checkpoint: the rest of its shard, or the next shard.
fn continuation<'r>(rows: &'r [TreeRow], held: &Checkpoint) -> Option<(&'r TreeRow, JournalOffer)> {
    let (_, shard) = owner_and_shard(&held.origin)?;
    let rest = rows
        .iter()
        .find(|row| row.shard == shard && row.size > held.size);
    if let Some(row) = rest {
        return Some((row, JournalOffer::after(held.size)));
    }
    let next = rows.iter().find(|row| row.shard > shard)?;
    Some((next, JournalOffer::after(0)))
}
