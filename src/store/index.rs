//! The exact in-memory index: which chunk holds a pseudonym's mapping.
//!
//! Pseudonyms are PRF outputs, so their first bytes are the hash. One [`Partition`] per (sector
//! number, epoch) is made of 256 tables, each of which grows by a quarter, at its own time, so that
//! growth never doubles the whole.

mod below;
mod bound;
mod table;

use crate::system::lock::intact;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Store, StoreError};
pub use below::IndexBlinding;
use below::LowerLevel;
use bound::MemoryBound;
use table::IndexTable;

/// Which partition: sector number and epoch.
pub type PartitionId = (u32, u32);

/// How many look-ups or insertions fetch their memory together. A processor waits for the address
/// of a memory page, but can resolve several pages at a time. So a block issues all its fetches
/// before it uses the first.
pub const AHEAD: usize = 64;

/// The index: which chunk holds each mapping, for every partition.
pub struct Index {
    partitions: RwLock<HashMap<PartitionId, Arc<Partition>>>,
    blinding: Option<Arc<dyn IndexBlinding>>,
    bound: MemoryBound,
}

/// Without a bound.
impl Default for Index {
    fn default() -> Self {
        Self {
            partitions: RwLock::default(),
            blinding: None,
            bound: MemoryBound::new(u64::MAX),
        }
    }
}

impl Index {
    /// An index whose tables take at most `bytes`. Further entries go to the store, hidden by the
    /// `blinding`. Entries that lie in the store already are known; those made under another key
    /// are forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not say what lies there.
    pub fn open(
        store: &Store,
        blinding: Arc<dyn IndexBlinding>,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        let index = Self {
            partitions: RwLock::default(),
            blinding: Some(blinding.clone()),
            bound: MemoryBound::new(bytes),
        };
        let mut partitions: BTreeMap<PartitionId, Vec<_>> = BTreeMap::new();
        for (id, place, under, mark) in store.marks()? {
            partitions.entry(id).or_default().push((under, place, mark));
        }
        for (id, marks) in partitions {
            let made = below::key_id(&*blinding, id);
            if marks
                .iter()
                .any(|(under, ..)| under.version == made.version && under.check != made.check)
            {
                return Err(StoreError::OtherIndexKey(made.version));
            }
            if marks.iter().all(|(under, ..)| *under == made) {
                let marks: Vec<_> = marks
                    .into_iter()
                    .map(|(_, place, mark)| (place, mark))
                    .collect();
                index.partition(id).1.load(&marks);
            } else {
                store.forget_moved(id)?;
            }
        }
        Ok(index)
    }

    /// The partition of a sector's epoch. Makes it if it is missing.
    pub fn partition(&self, id: PartitionId) -> Arc<Partition> {
        if let Some(found) = intact(self.partitions.read()).get(&id) {
            return found.clone();
        }
        intact(self.partitions.write())
            .entry(id)
            .or_insert_with(|| Arc::new(Partition::new(id, self.blinding.clone())))
            .clone()
    }

    /// All partitions.
    pub fn partitions(&self) -> Vec<(PartitionId, Arc<Partition>)> {
        let partitions = intact(self.partitions.read());
        partitions
            .iter()
            .map(|(id, partition)| (*id, partition.clone()))
            .collect()
    }

    /// Mappings that the index knows, over all partitions.
    pub fn len(&self) -> u64 {
        intact(self.partitions.read())
            .values()
            .map(|p| p.entries())
            .sum()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Mappings whose entries lie in the store and not in memory.
    pub fn moved(&self) -> u64 {
        intact(self.partitions.read())
            .values()
            .map(|p| p.1.moved())
            .sum()
    }

    /// Bytes that the tables take.
    pub fn bytes(&self) -> u64 {
        intact(self.partitions.read())
            .values()
            .map(|p| p.bytes())
            .sum()
    }
}

/// The index of one sector's epoch: tables in memory, and the entries below them.
pub struct Partition(RwLock<PartitionTables>, LowerLevel);

/// One table for each first byte.
struct PartitionTables {
    tables: Vec<IndexTable>,
    /// Entries of each table. Not in the table, because each insertion changes the count, and
    /// look-ups on other cores would wait for the cache line.
    used: Vec<usize>,
}

impl Default for PartitionTables {
    fn default() -> Self {
        Self {
            tables: (0..256).map(|_| IndexTable::default()).collect(),
            used: vec![0; 256],
        }
    }
}

impl PartitionTables {
    #[inline]
    fn of(&self, pseudonym: &[u8; 16]) -> &IndexTable {
        &self.tables[pseudonym[0] as usize]
    }

    fn insert(&mut self, pseudonym: &[u8; 16], chunk: u32) -> bool {
        let (table, used) = (
            &mut self.tables[pseudonym[0] as usize],
            &mut self.used[pseudonym[0] as usize],
        );
        if table.is_full(*used) {
            table.grow(pseudonym[0]);
        }
        let new = table.insert(pseudonym, chunk);
        *used += usize::from(new);
        new
    }
}

impl Default for Partition {
    fn default() -> Self {
        Self::new((0, 0), None)
    }
}

impl Partition {
    fn new(id: PartitionId, blinding: Option<Arc<dyn IndexBlinding>>) -> Self {
        Self(RwLock::default(), LowerLevel::new(id, blinding))
    }

    /// A view for many look-ups under one lock.
    pub fn read(&self) -> PartitionView<'_> {
        PartitionView(intact(self.0.read()))
    }

    /// A view for many insertions under one lock.
    pub fn write(&self) -> PartitionInsertions<'_> {
        PartitionInsertions(intact(self.0.write()))
    }

    /// How many mappings it knows.
    pub fn entries(&self) -> u64 {
        // Both under one lock, because entries move between them.
        let tables = intact(self.0.read());
        tables.used.iter().map(|used| *used as u64).sum::<u64>() + self.1.len()
    }

    fn bytes(&self) -> u64 {
        let tables = intact(self.0.read());
        tables.tables.iter().map(IndexTable::bytes).sum::<u64>() + self.1.frozen_bytes()
    }
}

/// A read-locked partition.
pub struct PartitionView<'a>(RwLockReadGuard<'a, PartitionTables>);

impl PartitionView<'_> {
    /// The chunk that holds the pseudonym's mapping, if the tables have it; see
    /// [`Partition::locate`].
    pub fn get(&self, pseudonym: &[u8; 16]) -> Option<u32> {
        self.0.of(pseudonym).get(pseudonym)
    }

    /// Whether the tables have the pseudonym; see [`Partition::has_below`].
    pub fn contains(&self, pseudonym: &[u8; 16]) -> bool {
        self.0.of(pseudonym).contains(pseudonym)
    }

    /// Starts fetching the pseudonym's tags, so that a later look-up need not wait for memory.
    #[inline]
    pub fn prefetch(&self, pseudonym: &[u8; 16]) {
        self.0.of(pseudonym).prefetch(pseudonym);
    }

    /// Starts fetching the pseudonym's entry. Call it after [`Self::prefetch`] has had time to
    /// finish.
    #[inline]
    pub fn prefetch_entry(&self, pseudonym: &[u8; 16]) {
        self.0.of(pseudonym).prefetch_entry(pseudonym);
    }
}

/// A write-locked partition.
pub struct PartitionInsertions<'a>(RwLockWriteGuard<'a, PartitionTables>);

impl PartitionInsertions<'_> {
    /// Enters a pseudonym unless it is there. Returns whether it was entered.
    pub fn insert(&mut self, pseudonym: &[u8; 16], chunk: u32) -> bool {
        self.0.insert(pseudonym, chunk)
    }

    /// Starts fetching the memory that the insertions of a block need; see [`AHEAD`].
    #[inline]
    pub fn prefetch<'p>(&self, block: impl Iterator<Item = &'p [u8; 16]> + Clone) {
        block
            .clone()
            .for_each(|pseudonym| self.0.of(pseudonym).prefetch(pseudonym));
        block.for_each(|pseudonym| self.0.of(pseudonym).prefetch_slot(pseudonym));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn insert(partition: &Partition, key: [u8; 16], value: u32) -> bool {
        partition.write().insert(&key, value)
    }

    proptest! {
        /// Against the standard map, with keys crowded into few homes.
        #[test]
        fn agrees_with_a_map(
            ops in prop::collection::vec((0u8..4, 0u8..3, any::<u8>(), 0u8..6, any::<u32>(), 0u8..4), 1..600)
        ) {
            let partition = Partition::default();
            let mut model = HashMap::new();
            for (table, high, middle, low, value, way) in ops {
                let mut key = [0; 16];
                (key[0], key[1], key[2], key[15]) = (table, high * 127, middle, low);
                if way == 0 {
                    // One that is there, if there is any.
                    let key = model.keys().copied().find(|there| *there >= key).unwrap_or(key);
                    partition.forget(&[key]);
                    model.remove(&key);
                    prop_assert_eq!(partition.read().get(&key), None);
                    continue;
                }
                prop_assert_eq!(insert(&partition, key, value), !model.contains_key(&key));
                model.entry(key).or_insert(value);
                prop_assert_eq!(partition.read().get(&key), model.get(&key).copied());
            }
            prop_assert_eq!(partition.entries(), model.len() as u64);
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
        assert!(
            partition.bytes() < 100_000 * 36,
            "at most a quarter more than what the fill makes of 21 bytes"
        );
    }
}
