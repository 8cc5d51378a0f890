//! The places off this machine that hold the log, and when a checkpoint may leave: once so many of
//! them hold all that it covers.
//!
//! A checkpoint is first *signed* (and in the second place, with all that it covers), then
//! *offered* to followers together with the entries that they lack, and *published* once enough
//! places vouch for it. Only a published one is shown to witnesses and auditors, and proves an
//! entry to others.

use std::cmp::Ordering::{Equal, Greater, Less};
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
    /// That of the other side which owns that log (`demo/vault`, `demo/node/court`), by the key
    /// that the register states.
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

/// When a follower vouched.
#[derive(Debug, Clone, Copy)]
pub struct VouchTime {
    /// By its own clock (Unix seconds), as it signed that.
    pub said: u64,
    /// The present by this side's clock (Unix seconds).
    pub now: u64,
}

/// What the log knows of a place.
#[derive(Debug)]
pub(super) struct PlaceState {
    name: String,
    counts: bool,
    held: Option<Arc<PublishedCheckpoint>>,
    vouched: Option<Instant>,
    /// The time of its last word (Unix seconds, by its clock).
    said: u64,
    behind: Option<Instant>,
}

impl PlaceState {
    fn new(name: &str, counts: bool) -> Self {
        Self {
            name: name.to_owned(),
            counts,
            held: None,
            vouched: None,
            said: 0,
            behind: None,
        }
    }

    /// Whether this word of a follower is its last one so far. An older one is a copy that others
    /// kept, or came late; unless the last one came from a clock that ran ahead.
    fn takes(&mut self, time: VouchTime) -> bool {
        let is_old = time.said < self.said && self.said <= time.now;
        // Of two in one second the one that says more is the later one.
        if !is_old {
            self.said = time.said;
        }
        !is_old
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

    /// Notes what a place holds; `time` is that of a follower's word. A follower whose later word
    /// says less has lost what it held, and counts for no more than that.
    fn note_place(&mut self, name: &str, held: Arc<PublishedCheckpoint>, time: Option<VouchTime>) {
        let durable = self.durable;
        let Some(place) = self.places.iter_mut().find(|place| place.name == name) else {
            return;
        };
        let before = place.said;
        if !time.is_none_or(|time| place.takes(time)) {
            return;
        }
        place.vouched = Some(Instant::now());
        let is_later = place.said != before;
        let order = place.held.as_ref().map(|old| reach(&held).cmp(&reach(old)));
        match order {
            Some(Less) if is_later => {
                tracing::warn!(place = name, "the place holds less of the log than it did");
            }
            Some(Less | Equal) => return,
            Some(Greater) | None => {}
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

    /// Whether somebody waited in vain for places, which have not held what was waited for since.
    pub fn lacks_places(&self) -> bool {
        let state = self.state();
        state.unmet.is_some_and(|(shard, size)| {
            let published = state.published.get(&shard);
            published.is_none_or(|published| published.checkpoint.size < size)
        })
    }

    /// Which of the places that count hold all that is durable, and when the others were last
    /// heard, in words.
    pub fn standing_in_words(&self) -> String {
        let places = self.places().into_iter().filter(|place| place.counts);
        let (hold, lack): (Vec<_>, Vec<_>) = places.partition(|place| place.behind.is_none());
        let lack = lack.iter().map(|place| {
            let heard = place
                .vouched
                .map(|ago| format!("last heard {} s ago", ago.as_secs()));
            let heard = heard.unwrap_or_else(|| "not heard since the start".to_owned());
            format!("{} ({heard})", place.name)
        });
        let hold: Vec<_> = hold.into_iter().map(|place| place.name).collect();
        let lack: Vec<_> = lack.collect();
        let mut words = format!("{} of {} hold all of it", hold.len(), self.places_needed());
        for (what, names) in [(": ", hold), ("; not ", lack)] {
            if !names.is_empty() {
                words += &format!("{what}{}", names.join(", "));
            }
        }
        words
    }

    /// A checkpoint as this log signs it, if the log contains it, published or not; `None` if it
    /// does not, or is another log's.
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
    pub fn note_held(&self, place: &str, held: Arc<PublishedCheckpoint>, time: VouchTime) {
        let mut state = self.state();
        state.note_place(place, held, Some(time));
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
            state.note_place(SECOND_PLACE, signed, None);
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

    /// Waits for a checkpoint of a shard over at least `size` entries. Where none came in time, the
    /// log remembers it until one comes ([`Log::lacks_places`]).
    pub(super) fn published_with(
        &self,
        shard: Shard,
        size: u64,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        let of = |state: &LogState| state.published.get(&shard).cloned();
        let found = self.wait_for(size, patience, of);
        if found.is_none() && !patience.is_zero() {
            self.state().unmet = Some((shard, size));
        }
        found
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
