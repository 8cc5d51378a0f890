//! Keys that can be sealed: an authority's private keys at its node, the identity secret's keys at
//! an identity source. They are sealed, being unsealed, or open.
//!
//! A key in shares is missing until its custodians have brought enough of them. A key in another
//! custody is here from the start. Sealing wipes both. A request that uses one holds the safe
//! meanwhile, so no key is left anywhere once sealing has returned. This module only holds the
//! keys; [`crate::unseal`] decides and logs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::keys::shares::{Share, ShareSet};
use crate::register::Id;
use crate::system::lock::unpoisoned;

/// When shares are forgotten and keys in shares sealed again.
#[derive(Debug, Clone, Copy)]
pub struct SealTimes {
    /// A key in shares is sealed after it was not used for so long.
    pub idle: Duration,
    /// Shares are forgotten so long after the first, unless enough have come by then.
    pub forget: Duration,
}

impl Default for SealTimes {
    /// An hour; ten minutes.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(3_600),
            forget: Duration::from_secs(600),
        }
    }
}

/// The keys of a side.
pub struct KeySafe<K> {
    times: SealTimes,
    slots: RwLock<KeySlots<K>>,
    ceremony: Mutex<Ceremony>,
    used: Mutex<TwoClockMoment>,
}

/// All keys, and how often they were sealed.
pub(crate) struct KeySlots<K> {
    pub(crate) keys: Vec<KeySlot<K>>,
    /// Goes up with each sealing, so that an unsealing that began before a sealing cannot end after
    /// it.
    pub(crate) sealings: u64,
}

/// A key's place.
pub(crate) struct KeySlot<K> {
    /// The key's id: an authority's key in the register; `identity`.
    pub(crate) id: String,
    /// The key, if it is unsealed.
    pub(crate) key: Option<K>,
    /// Its pinned set, if it is in shares.
    pub(crate) set: Option<ShareSet>,
}

/// What a share is brought for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharePurpose {
    /// To open the side.
    Unseal,
    /// To prove that the shares make the key, and no more.
    Drill,
}

/// Shares brought so far, for each purpose and key (by its place among the slots).
pub(crate) type Ceremony = BTreeMap<(SharePurpose, usize), GatheredShares>;

/// Shares of one key.
pub(crate) struct GatheredShares {
    /// Each was checked against the key's set; no two are the same custodian's.
    pub(crate) shares: Vec<Share>,
    /// When the first came.
    pub(crate) since: TwoClockMoment,
}

/// A moment on two clocks: one stands still while the machine sleeps, the other can be set back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TwoClockMoment {
    steady: Instant,
    wall: Timestamp,
}

impl TwoClockMoment {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            steady: Instant::now(),
            wall: now,
        }
    }

    /// How long ago it was, by the clock that says more.
    pub(crate) fn elapsed(&self, now: Timestamp) -> Duration {
        let wall = Duration::try_from(now.duration_since(self.wall)).unwrap_or_default();
        self.steady.elapsed().max(wall)
    }
}

impl<K> KeySafe<K> {
    /// A safe with keys in it, and with places for those in shares.
    pub fn new(keys: Vec<(String, K)>, shared: Vec<(Id, ShareSet)>, times: SealTimes) -> Self {
        let here = keys.into_iter().map(|(id, key)| KeySlot {
            id,
            key: Some(key),
            set: None,
        });
        let away = shared.into_iter().map(|(id, set)| KeySlot {
            id: id.to_string(),
            key: None,
            set: Some(set),
        });
        let keys = here.chain(away).collect();
        Self {
            times,
            slots: RwLock::new(KeySlots { keys, sealings: 0 }),
            ceremony: Mutex::default(),
            used: Mutex::new(TwoClockMoment::at(Timestamp::UNIX_EPOCH)),
        }
    }

    /// When keys are sealed and shares forgotten.
    pub fn times(&self) -> SealTimes {
        self.times
    }

    /// Whether every key is sealed.
    pub fn is_sealed(&self) -> bool {
        self.slots().keys.iter().all(|slot| slot.key.is_none())
    }

    /// The ids of the keys that are sealed.
    pub fn sealed(&self) -> Vec<String> {
        self.slots()
            .keys
            .iter()
            .filter(|slot| slot.key.is_none())
            .map(|slot| slot.id.clone())
            .collect()
    }

    /// Lends the keys that are open. Sealing waits until they are back, so `work` must not wait for
    /// anything.
    pub(crate) fn open<T>(&self, now: Timestamp, work: impl FnOnce(&[&K]) -> T) -> T {
        let slots = self.slots();
        let keys: Vec<_> = slots
            .keys
            .iter()
            .filter_map(|slot| slot.key.as_ref())
            .collect();
        if !keys.is_empty() {
            self.touch(now);
        }
        work(&keys)
    }

    /// Wipes every key, or only those in shares, and all shares brought so far. Returns whether
    /// there was any key.
    pub(crate) fn seal(&self, only_shared: bool) -> bool {
        let had = {
            let mut slots = unpoisoned(self.slots.write());
            slots.sealings += 1;
            let mut wiped = false;
            for slot in slots
                .keys
                .iter_mut()
                .filter(|slot| !only_shared || slot.set.is_some())
            {
                wiped |= slot.key.take().is_some();
            }
            wiped
        };
        // After the keys: a ceremony may be held for as long as an entry takes to become durable.
        self.ceremony().clear();
        had
    }

    /// Puts a key in its slot, unless there was a sealing since `sealings` was read. Returns
    /// whether it did.
    pub(crate) fn put(&self, place: usize, key: K, sealings: u64, now: Timestamp) -> bool {
        let mut slots = unpoisoned(self.slots.write());
        if slots.sealings != sealings {
            return false;
        }
        slots.keys[place].key = Some(key);
        self.touch(now);
        true
    }

    /// How long no key was used.
    pub(crate) fn idle(&self, now: Timestamp) -> Duration {
        unpoisoned(self.used.lock()).elapsed(now)
    }

    pub(crate) fn slots(&self) -> RwLockReadGuard<'_, KeySlots<K>> {
        unpoisoned(self.slots.read())
    }

    pub(crate) fn ceremony(&self) -> MutexGuard<'_, Ceremony> {
        unpoisoned(self.ceremony.lock())
    }

    fn touch(&self, now: Timestamp) {
        *unpoisoned(self.used.lock()) = TwoClockMoment::at(now);
    }
}
