//! What vault and node each keep in memory about orders: the lock under which they commit, how many
//! releases are under way for each authority, and which acts the register confirms.
//!
//! Everything costly (reading a text, verifying its signatures) is done before
//! [`OrderGate::lock_orders`]. Under the lock the stored facts are only compared, counted and
//! committed, so that a caller cannot keep a revocation waiting by sending bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::id::Id;
use crate::store::OrderKey;
use crate::system::lock::unpoisoned;

/// Most releases, reveals and migration pages that are under way for one authority at a time.
pub const MOST_UNDER_WAY: usize = 8;

/// How long two sides may differ in their acts before that is reported: an exchange takes seconds.
pub const OUT_OF_STEP: SignedDuration = SignedDuration::from_secs(30);

/// One side's commit lock, places and acts.
#[derive(Default)]
pub struct OrderGate {
    turn: Mutex<()>,
    under_way: Mutex<HashMap<Id, usize>>,
    /// Orders under which the other side is being asked.
    asking: Mutex<HashSet<OrderKey>>,
    place_left: Condvar,
    answered: Condvar,
    acts: Mutex<HashMap<Id, Arc<ActSet>>>,
    /// By authority: since when its other side does not hold the same acts.
    apart: Mutex<BTreeMap<Id, Timestamp>>,
    /// Authority → what is to be said, where its other side holds another register.
    registers: Mutex<BTreeMap<Id, String>>,
}

/// A place for one request under an order. Given back when dropped.
pub struct OrderPlace<'a> {
    gate: &'a OrderGate,
    authority: Id,
}

impl Drop for OrderPlace<'_> {
    fn drop(&mut self) {
        if let Some(count) = unpoisoned(self.gate.under_way.lock()).get_mut(&self.authority) {
            *count -= 1;
        }
        self.gate.place_left.notify_all();
    }
}

/// The right to ask the other side for a request under an order. Others under the same order wait
/// until it is dropped.
pub struct OrderQuestion<'a> {
    gate: &'a OrderGate,
    order: OrderKey,
}

impl Drop for OrderQuestion<'_> {
    fn drop(&mut self) {
        unpoisoned(self.gate.asking.lock()).remove(&self.order);
        self.gate.answered.notify_all();
    }
}

/// The acts of one authority that the register confirms: the digest of each, and its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActSet(BTreeMap<[u8; 32], Uuid>);

impl ActSet {
    /// Adds an act.
    pub fn insert(&mut self, digest: [u8; 32], order: Uuid) {
        self.0.insert(digest, order);
    }

    /// The order of the act with this digest.
    pub fn order(&self, digest: &[u8; 32]) -> Option<Uuid> {
        self.0.get(digest).copied()
    }

    /// The acts behind `after`, in the order of their digests, each with its order.
    pub fn behind(&self, after: Option<[u8; 32]>) -> impl Iterator<Item = ([u8; 32], Uuid)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.0
            .range((from, std::ops::Bound::Unbounded))
            .map(|(digest, order)| (*digest, *order))
    }

    /// SHA-256 over order id and digest of each, in the order of their digests.
    pub fn digest(&self) -> [u8; 32] {
        let hash = self.0.iter().fold(Sha256::new(), |hash, (digest, order)| {
            hash.chain_update(order).chain_update(digest)
        });
        hash.finalize().into()
    }
}

impl OrderGate {
    /// While the guard lives, no other thread commits a release, a reveal, a migration's page or an
    /// act.
    pub fn lock_orders(&self) -> MutexGuard<'_, ()> {
        // The lock guards rows in the store, which are whole after any panic.
        unpoisoned(self.turn.lock())
    }

    /// Takes a place for a request of this authority. If all are taken, waits for one at most as
    /// long as `patience`.
    pub fn enter(&self, authority: &Id, patience: Duration) -> Option<OrderPlace<'_>> {
        let is_full = |under_way: &mut HashMap<Id, usize>| {
            under_way
                .get(authority)
                .is_some_and(|count| *count >= MOST_UNDER_WAY)
        };
        let waited = self.place_left.wait_timeout_while(
            unpoisoned(self.under_way.lock()),
            patience,
            is_full,
        );
        let (mut under_way, waited) = unpoisoned(waited);
        if waited.timed_out() {
            return None;
        }
        *under_way.entry(authority.clone()).or_default() += 1;
        Some(OrderPlace {
            gate: self,
            authority: authority.clone(),
        })
    }

    /// Takes the right to ask the other side for a request under an order, and waits for it at most
    /// as long as `patience`. Only one request asks at a time, so that the other side's counts
    /// arrive in the order in which it made them.
    pub fn ask(&self, order: OrderKey, patience: Duration) -> Option<OrderQuestion<'_>> {
        let is_asked = |asking: &mut HashSet<OrderKey>| asking.contains(&order);
        let waited =
            self.answered
                .wait_timeout_while(unpoisoned(self.asking.lock()), patience, is_asked);
        let (mut asking, waited) = unpoisoned(waited);
        if waited.timed_out() {
            return None;
        }
        asking.insert(order.clone());
        Some(OrderQuestion { gate: self, order })
    }

    /// The acts of an authority. `load` reads them the first time.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn acts<E>(
        &self,
        authority: &Id,
        load: impl FnOnce() -> Result<ActSet, E>,
    ) -> Result<Arc<ActSet>, E> {
        // Held while they are loaded, so that an act that is committed meanwhile is added
        // afterwards.
        let mut acts = unpoisoned(self.acts.lock());
        if let Some(known) = acts.get(authority) {
            return Ok(known.clone());
        }
        let loaded = Arc::new(load()?);
        acts.insert(authority.clone(), loaded.clone());
        Ok(loaded)
    }

    /// Adds an act that is durable now.
    pub fn add_act(&self, authority: &Id, digest: [u8; 32], order: Uuid) {
        if let Some(acts) = unpoisoned(self.acts.lock()).get_mut(authority) {
            Arc::make_mut(acts).insert(digest, order);
        }
    }

    /// Notes whether the other side of an authority holds the same acts.
    pub fn note_step(&self, authority: &Id, is_in_step: bool, now: Timestamp) {
        let mut apart = unpoisoned(self.apart.lock());
        if is_in_step {
            apart.remove(authority);
        } else {
            apart.entry(authority.clone()).or_insert(now);
        }
    }

    /// Notes that an authority's other side holds another register, and what that means; `None`: it
    /// holds the same one.
    pub fn note_register(&self, authority: &Id, mismatch: Option<String>) {
        let mut registers = unpoisoned(self.registers.lock());
        match mismatch {
            Some(words) => drop(registers.insert(authority.clone(), words)),
            None => drop(registers.remove(authority)),
        }
    }

    /// What is to be said of the registers of the other sides that hold another one.
    pub fn other_registers(&self) -> Vec<String> {
        let registers = unpoisoned(self.registers.lock());
        let said = registers.iter();
        said.map(|(authority, words)| format!("{authority}: {words}"))
            .collect()
    }

    /// The authorities whose other side has not held the same acts for [`OUT_OF_STEP`] or longer.
    pub fn out_of_step(&self, now: Timestamp) -> Vec<Id> {
        let apart = unpoisoned(self.apart.lock());
        let long = apart
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= OUT_OF_STEP);
        long.map(|(authority, _)| authority.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_so_many_places_and_another_has_its_own() {
        let (gate, court, ministry) = (
            OrderGate::default(),
            Id::parse("court").unwrap(),
            Id::parse("ministry").unwrap(),
        );
        let mut places: Vec<_> = (0..MOST_UNDER_WAY)
            .map(|_| gate.enter(&court, Duration::ZERO).unwrap())
            .collect();
        assert!(gate.enter(&court, Duration::ZERO).is_none());
        assert!(gate.enter(&ministry, Duration::ZERO).is_some());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.enter(&court, Duration::from_secs(60)).is_some());
            places.pop();
            assert!(
                waiting.join().unwrap(),
                "a place that was given back is taken"
            );
        });
    }

    #[test]
    fn an_act_that_is_added_while_the_others_are_loaded_is_not_forgotten() {
        let (gate, court) = (OrderGate::default(), Id::parse("court").unwrap());
        gate.add_act(&court, [1; 32], Uuid::nil());
        let loaded = gate
            .acts(&court, || {
                Ok::<_, ()>(ActSet([([1; 32], Uuid::nil())].into()))
            })
            .unwrap();
        gate.add_act(&court, [2; 32], Uuid::nil());
        let acts = gate.acts(&court, || Err(())).unwrap();
        assert_eq!(acts.behind(None).count(), 2);
        assert_eq!(acts.behind(Some([1; 32])).count(), 1);
        assert_ne!(acts.digest(), loaded.digest());
    }

    #[test]
    fn out_of_step_is_said_after_half_a_minute_and_no_longer_than_it_lasts() {
        let (gate, court) = (OrderGate::default(), Id::parse("court").unwrap());
        let began: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let later = |seconds| began + SignedDuration::from_secs(seconds);
        gate.note_step(&court, false, began);
        gate.note_step(&court, false, later(20));
        assert!(
            gate.out_of_step(later(29)).is_empty(),
            "an exchange takes its time"
        );
        assert_eq!(gate.out_of_step(later(30)), std::slice::from_ref(&court));
        gate.note_step(&court, true, later(31));
        assert!(gate.out_of_step(later(90)).is_empty());
    }
}
