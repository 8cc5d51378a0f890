//! The exact in-memory index: which chunk holds a pseudonym's mapping.
//!
//! Pseudonyms are PRF outputs, so their first bytes are the hash. One [`Partition`] per (sector number, epoch) is made of
//! 256 open-addressing tables; a slot's home is monotone in the pseudonym, so that growing a table is one sequential sweep
//! by a quarter and never doubles the whole.

use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};

/// Which partition: sector number and epoch.
pub type PartitionId = (u32, u32);

/// Slots a table starts with.
const INITIAL: usize = 16;
/// Grow beyond this fill (in 1/100).
const MAX_FILL: usize = 80;
const EMPTY: [u8; 16] = [0; 16];

/// All partitions.
#[derive(Default)]
pub struct Index {
    partitions: RwLock<HashMap<PartitionId, Arc<Partition>>>,
}

impl Index {
    /// The partition of a sector's epoch; made when it is not there yet.
    pub fn partition(&self, id: PartitionId) -> Arc<Partition> {
        if let Some(found) = self.partitions.read().expect("no panic under this lock").get(&id) {
            return found.clone();
        }
        self.partitions.write().expect("no panic under this lock").entry(id).or_default().clone()
    }

    /// Mappings that the index knows, over all partitions.
    pub fn len(&self) -> u64 {
        self.partitions.read().expect("no panic under this lock").values().map(|p| p.len()).sum()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that its tables take.
    pub fn bytes(&self) -> u64 {
        self.partitions.read().expect("no panic under this lock").values().map(|p| p.bytes()).sum()
    }
}

/// The index of one sector's epoch.
pub struct Partition(RwLock<Vec<Table>>);

impl Default for Partition {
    fn default() -> Self {
        Self(RwLock::new((0..256).map(|_| Table::default()).collect()))
    }
}

impl Partition {
    /// A view for many look-ups under one lock.
    pub fn read(&self) -> View<'_> {
        View(self.0.read().expect("no panic under this lock"))
    }

    /// Inserts what `pairs` hands out, in order, and tells each time whether the pseudonym was new.
    pub fn insert_all<'a>(&self, mut each: impl FnMut(&mut dyn FnMut(&'a [u8; 16], u32) -> bool)) {
        let mut tables = self.0.write().expect("no panic under this lock");
        each(&mut |pseudonym, chunk| tables[pseudonym[0] as usize].insert(pseudonym, chunk));
    }

    fn len(&self) -> u64 {
        self.0
            .read()
            .expect("no panic under this lock")
            .iter()
            .map(|t| t.used as u64 + u64::from(t.zero.is_some()))
            .sum()
    }

    fn bytes(&self) -> u64 {
        let slots: usize = self.0.read().expect("no panic under this lock").iter().map(|t| t.keys.capacity()).sum();
        slots as u64 * 20
    }
}

/// A read-locked partition.
pub struct View<'a>(RwLockReadGuard<'a, Vec<Table>>);

impl View<'_> {
    /// The chunk that holds the pseudonym's mapping.
    pub fn get(&self, pseudonym: &[u8; 16]) -> Option<u32> {
        self.0[pseudonym[0] as usize].get(pseudonym)
    }

    /// Whether the pseudonym's mapping is stored.
    pub fn contains(&self, pseudonym: &[u8; 16]) -> bool {
        self.0[pseudonym[0] as usize].position(pseudonym).is_some()
    }

    /// Starts fetching the pseudonym's slot into the cache, so that a later look-up need not wait for memory.
    #[inline]
    pub fn prefetch(&self, pseudonym: &[u8; 16]) {
        self.0[pseudonym[0] as usize].prefetch(pseudonym);
    }
}

/// Open addressing with linear probing. Keys and values apart: the everyday question needs only the keys.
#[derive(Default)]
struct Table {
    keys: Vec<[u8; 16]>,
    values: Vec<u32>,
    used: usize,
    /// The value of the all-zero pseudonym, which as a key means an empty slot.
    zero: Option<u32>,
}

impl Table {
    /// Home slot: monotone in bytes 1..9 (byte 0 chose the table), so that a sweep in slot order meets keys in nearly
    /// sorted order.
    #[inline]
    fn home(&self, key: &[u8; 16]) -> usize {
        let hash = u64::from_be_bytes(key[1..9].try_into().expect("8 of 16"));
        ((u128::from(hash) * self.keys.len() as u128) >> 64) as usize
    }

    #[inline]
    fn prefetch(&self, key: &[u8; 16]) {
        #[cfg(target_arch = "x86_64")]
        if !self.keys.is_empty() {
            let slot = &raw const self.keys[self.home(key)];
            // SAFETY: a prefetch reads nothing architecturally; the address is that of an element that exists.
            unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(slot.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = key;
    }

    /// Slot of a key that is there (never of the zero key; see `get`).
    #[inline]
    fn position(&self, key: &[u8; 16]) -> Option<usize> {
        if *key == EMPTY {
            return self.zero.map(|_| usize::MAX);
        }
        if self.keys.is_empty() {
            return None;
        }
        let mut slot = self.home(key);
        loop {
            let found = &self.keys[slot];
            if found == key {
                return Some(slot);
            }
            if *found == EMPTY {
                return None;
            }
            slot += 1;
            if slot == self.keys.len() {
                slot = 0;
            }
        }
    }

    fn get(&self, key: &[u8; 16]) -> Option<u32> {
        match self.position(key)? {
            usize::MAX => self.zero,
            slot => Some(self.values[slot]),
        }
    }

    /// Inserts unless the key is there; whether it was inserted.
    fn insert(&mut self, key: &[u8; 16], value: u32) -> bool {
        if *key == EMPTY {
            return self.zero.is_none() && self.zero.replace(value).is_none();
        }
        if (self.used + 1) * 100 > self.keys.len() * MAX_FILL {
            self.grow();
        }
        let mut slot = self.home(key);
        loop {
            let found = &self.keys[slot];
            if found == key {
                return false;
            }
            if *found == EMPTY {
                break;
            }
            slot += 1;
            if slot == self.keys.len() {
                slot = 0;
            }
        }
        self.keys[slot] = *key;
        self.values[slot] = value;
        self.used += 1;
        true
    }

    fn grow(&mut self) {
        let capacity = (self.keys.len() + self.keys.len() / 4).max(INITIAL);
        let old = std::mem::take(self);
        self.zero = old.zero;
        self.keys = vec![EMPTY; capacity];
        self.values = vec![0; capacity];
        for (key, value) in old.keys.iter().zip(&old.values).filter(|(key, _)| **key != EMPTY) {
            let mut slot = self.home(key);
            while self.keys[slot] != EMPTY {
                slot += 1;
                if slot == capacity {
                    slot = 0;
                }
            }
            self.keys[slot] = *key;
            self.values[slot] = *value;
        }
        self.used = old.used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn insert(partition: &Partition, key: [u8; 16], value: u32) -> bool {
        let mut new = false;
        partition.insert_all(|insert| new = insert(&key, value));
        new
    }

    proptest! {
        /// Against the standard map, with keys crowded into few homes.
        #[test]
        fn agrees_with_a_map(ops in prop::collection::vec((0u8..4, 0u8..3, any::<u8>(), 0u8..6, any::<u32>()), 1..600)) {
            let partition = Partition::default();
            let mut model = HashMap::new();
            for (table, high, middle, low, value) in ops {
                let mut key = [0; 16];
                (key[0], key[1], key[2], key[15]) = (table, high * 127, middle, low);
                prop_assert_eq!(insert(&partition, key, value), !model.contains_key(&key));
                model.entry(key).or_insert(value);
                prop_assert_eq!(partition.read().get(&key), model.get(&key).copied());
            }
            prop_assert_eq!(partition.len(), model.len() as u64);
            for (key, value) in &model {
                prop_assert_eq!(partition.read().get(key), Some(*value));
            }
        }
    }

    #[test]
    fn the_zero_pseudonym_is_a_pseudonym() {
        let partition = Partition::default();
        assert!(!partition.read().contains(&[0; 16]));
        assert!(insert(&partition, [0; 16], 7));
        assert!(!insert(&partition, [0; 16], 8));
        assert_eq!(partition.read().get(&[0; 16]), Some(7));
    }

    #[test]
    fn grows_by_a_quarter() {
        let partition = Partition::default();
        for i in 0..100_000u64 {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            key[8..].copy_from_slice(&i.to_be_bytes());
            assert!(insert(&partition, key, i as u32));
        }
        assert!(partition.bytes() < 100_000 * 20 * 100 * 13 / (MAX_FILL as u64 * 10), "at most 1.25 times the fill");
    }
}
