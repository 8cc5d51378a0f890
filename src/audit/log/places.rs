//! The places off this machine that hold the log, and when a checkpoint may leave: once so many of
//! them hold all that it covers.
//!
//! A checkpoint is first *signed* (and in the second place, with all that it covers), then *offered*
//! to followers together with the entries that they lack, and *published* once enough places vouch
//! for it. Only a published one is shown to witnesses and auditors, and proves an entry to others.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;

use super::state::LogState;
use super::{Log, PublishedCheckpoint};
use crate::audit::AuditReceipt;
use crate::audit::origin::owner_and_shard;
use crate::audit::shard_reader::ShardReader;
use crate::store::{Shard, StoreError, TreeRow};
use crate::tlog::checkpoint::Checkpoint;

/// How messages name the second place.
pub const SECOND_PLACE: &str = "the second place";

/// How many places off this machine must hold an act before it counts, and which they are.
#[derive(Debug, Clone, Default)]
pub struct PlaceQuorum {
    /// How many; 0: none is waited for.
    pub needed: usize,
    /// Whether the second place counts.
    pub second: bool,
    /// The followers that count.
    pub followers: Vec<KnownFollower>,
}

/// A follower that counts among the places.
#[derive(Debug, Clone)]
pub struct KnownFollower {
    /// How messages name it.
    pub name: String,
    /// Whose signature vouches.
    pub key: FollowerIdentity,
}

/// Whose signature a follower's is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerIdentity {
    /// That of the key, under the follower's name.
    Stated(VerifyingKey),
    /// That of the other side which owns that log (`demo/vault`, `demo/node/court`), by the key that
    /// the register states.
    Peer(String),
}

/// A place, and what it holds.
#[derive(Debug, Clone)]
pub struct PlaceStanding {
    /// Its name.
    pub name: String,
    /// Whether it counts.
    pub counts: bool,
    /// The checkpoint up to which it holds the log, as it last vouched in this life of the process.
    pub held: Option<Checkpoint>,
    /// How long ago it vouched.
    pub vouched: Option<Duration>,
    /// For how long it has not held all that was durable.
    pub behind: Option<Duration>,
}

/// What the log knows of a place.
#[derive(Debug)]
pub(super) struct PlaceState {
    name: String,
    counts: bool,
    held: Option<Arc<PublishedCheckpoint>>,
    vouched: Option<Instant>,
    behind: Option<Instant>,
}

impl PlaceState {
    fn new(name: &str, counts: bool) -> Self {
        Self {
            name: name.to_owned(),
            counts,
            held: None,
            vouched: None,
            behind: None,
        }
    }

    /// Whether the place holds the log up to a head.
    fn holds(&self, head: TreeRow) -> bool {
        self.held.as_ref().is_some_and(|held| held.tree == head)
    }
}

impl PlaceQuorum {
    /// The places as they are at the start: what they hold is not known yet.
    pub(super) fn places(&self, has_second: bool) -> Vec<PlaceState> {
        let second = has_second.then(|| PlaceState::new(SECOND_PLACE, self.second));
        let followers = self.followers.iter();
        let followers = followers.map(|follower| PlaceState::new(&follower.name, true));
        second.into_iter().chain(followers).collect()
    }
}

/// Shard and entries: how far a checkpoint reaches.
fn reach(published: &PublishedCheckpoint) -> (Shard, u64) {
    (published.tree.shard, published.checkpoint.size)
}

impl LogState {
    /// Notes the head up to which the log is durable.
    pub(super) fn note_durable(&mut self, head: TreeRow) {
        self.durable = Some(head);
        for place in &mut self.places {
            if !place.holds(head) {
                place.behind.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Notes what a place holds.
    fn note_place(&mut self, name: &str, held: Arc<PublishedCheckpoint>) {
        let durable = self.durable;
        let Some(place) = self.places.iter_mut().find(|place| place.name == name) else {
            return;
        };
        place.vouched = Some(Instant::now());
        if place
            .held
            .as_ref()
            .is_some_and(|old| reach(old) >= reach(&held))
        {
            return;
        }
        place.held = Some(held);
        let is_behind = durable.is_some_and(|durable| !place.holds(durable));
        place.behind = is_behind.then(Instant::now);
    }

    /// The last checkpoint whose entries `needed` places hold.
    fn held_by(&self, needed: usize) -> Option<Arc<PublishedCheckpoint>> {
        let Some(last) = needed.checked_sub(1) else {
            let (_, offered) = self.offered.last_key_value()?;
            return Some(offered.clone());
        };
        let counting = self.places.iter().filter(|place| place.counts);
        let mut held: Vec<_> = counting.filter_map(|place| place.held.clone()).collect();
        held.sort_unstable_by_key(|held| std::cmp::Reverse(reach(held)));
        held.into_iter().nth(last)
    }

    /// The last checkpoint that is offered to a follower which counts, or does not.
    pub(super) fn last_for(&self, counts: bool) -> Option<Arc<PublishedCheckpoint>> {
        let is_first = self.published.is_empty();
        let of = if counts || is_first {
            &self.offered
        } else {
            &self.published
        };
        of.last_key_value().map(|(_, last)| last.clone())
    }

    /// Publishes what enough places hold.
    pub(super) fn settle(&mut self, needed: usize) {
        let Some(held) = self.held_by(needed) else {
            return;
        };
        let shard = held.tree.shard;
        // Shards that ended before it are held as well.
        let ended: Vec<_> = self
            .offered
            .range(..shard)
            .map(|(_, o)| o.clone())
            .collect();
        for published in ended.into_iter().chain([held]) {
            let shard = published.tree.shard;
            let is_new = self
                .published
                .get(&shard)
                .is_none_or(|old| old.checkpoint.size < published.checkpoint.size);
            if is_new {
                self.unstored.insert(shard, published.clone());
                self.published.insert(shard, published);
            }
        }
    }
}

impl Log {
    /// The followers that count among the places.
    pub fn followers(&self) -> &[KnownFollower] {
        &self.quorum.followers
    }

    /// How many places off this machine must hold an act before it counts.
    pub fn places_needed(&self) -> usize {
        self.quorum.needed
    }

    /// The places, and what they hold.
    pub fn places(&self) -> Vec<PlaceStanding> {
        let state = self.state();
        let places = state.places.iter().map(|place| PlaceStanding {
            name: place.name.clone(),
            counts: place.counts,
            held: place.held.as_ref().map(|held| held.checkpoint.clone()),
            vouched: place.vouched.map(|since| since.elapsed()),
            behind: place.behind.map(|since| since.elapsed()),
        });
        places.collect()
    }

    /// A checkpoint as this log signs it, if the log contains it, published or not; `None` if it does
    /// not, or is another log's.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn contained(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Arc<PublishedCheckpoint>>, StoreError> {
        let shard = owner_and_shard(&checkpoint.origin).filter(|(owner, _)| *owner == self.owner);
        let Some((_, shard)) = shard else {
            return Ok(None);
        };
        let offered = self.state().offered.get(&shard).cloned();
        if let Some(offered) = offered.filter(|offered| offered.checkpoint == *checkpoint) {
            return Ok(Some(offered));
        }
        let row = self.store.tree(shard)?;
        let Some(row) = row.filter(|row| checkpoint.size <= row.size) else {
            return Ok(None);
        };
        let root = ShardReader::new(&self.store, &row, checkpoint.size)
            .tree()?
            .root();
        let size = checkpoint.size;
        let signed = (root == checkpoint.root).then(|| self.sign(TreeRow { size, root, ..row }));
        Ok(signed.map(Arc::new))
    }

    /// Notes that a place vouches for a checkpoint of this log, and publishes what enough places
    /// hold then.
    pub fn note_held(&self, place: &str, held: Arc<PublishedCheckpoint>) {
        let mut state = self.state();
        state.note_place(place, held);
        state.settle(self.quorum.needed);
        self.news.notify_all();
        drop(state);
        // Those that do not count are offered what is published.
        self.tell_listener(false);
    }

    /// Notes that a checkpoint is in the second place, if there is one, and offers it.
    pub(super) fn put_offer(&self, signed: PublishedCheckpoint) {
        let signed = Arc::new(signed);
        let mut state = self.state();
        state.second = Some(signed.note.clone().into_bytes());
        state.trouble = None;
        state.offered.insert(signed.tree.shard, signed.clone());
        if self.second.is_some() {
            state.note_place(SECOND_PLACE, signed);
        }
        state.settle(self.quorum.needed);
        self.news.notify_all();
        drop(state);
        self.tell_listener(false);
    }

    /// Waits for a checkpoint over an entry that is signed and in the second place, and may not be
    /// published yet.
    pub fn signed(
        &self,
        receipt: &AuditReceipt,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        self.offered_with(receipt.shard, receipt.index + 1, patience)
    }

    /// Waits for such a checkpoint of a shard over at least `size` entries.
    pub(super) fn offered_with(
        &self,
        shard: Shard,
        size: u64,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        let of = |state: &LogState| state.offered.get(&shard).cloned();
        self.wait_for(size, patience, of)
    }

    /// Waits for a checkpoint of a shard over at least `size` entries.
    pub(super) fn published_with(
        &self,
        shard: Shard,
        size: u64,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        let of = |state: &LogState| state.published.get(&shard).cloned();
        self.wait_for(size, patience, of)
    }

    fn wait_for(
        &self,
        size: u64,
        patience: Duration,
        of: impl Fn(&LogState) -> Option<Arc<PublishedCheckpoint>>,
    ) -> Option<Arc<PublishedCheckpoint>> {
        let end = Instant::now() + patience;
        let mut state = self.state();
        loop {
            let found = of(&state).filter(|found| found.checkpoint.size >= size);
            if found.is_some() {
                return found;
            }
            let left = end.checked_duration_since(Instant::now())?;
            state.wanted = true;
            self.work.notify_one();
            state = self
                .news
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
