//! The lower level of a partition: entries that the memory has no room for.
//!
//! A table that has to go is first *frozen*: an empty one takes its place, and look-ups still read
//! it. Then it is written to the store's column `index`, then a mark there counts it, then it is
//! dropped. So an entry moves from the tables to the frozen tables to the column, and reaches each
//! before it leaves the last: a look-up in that order finds it. A crash at any step leaves entries
//! in the column that no mark counts. The next start reads them from their chunks again, and
//! entries in the tables take precedence.
//!
//! Only a merge of chunks moves entries the other way: it gives them a new chunk, and takes them
//! out of the column and into the tables. A look-up that found nothing is repeated if that happened
//! meanwhile.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use super::table::IndexTable;
use super::{Partition, PartitionId, PartitionTables};
use crate::store::moved::{self, BlindingKeyId, MovedKey, MovedMark};
use crate::store::{RowBatch, Store, StoreError};
use crate::system::lock::intact;

/// Hides pseudonyms before they go to the disk. The store has no key, so the vault lends it this.
pub trait IndexBlinding: Send + Sync {
    /// The version of the key. Entries written under another version are made anew.
    fn version(&self) -> u32;

    /// A permutation of the pseudonyms' first bytes: where a partition's entries lie.
    fn places(&self, partition: PartitionId) -> [u8; 256];

    /// The tag that stands for each pseudonym, in order.
    fn tags(
        &self,
        partition: PartitionId,
        pseudonyms: &mut dyn Iterator<Item = &[u8; 16]>,
    ) -> Vec<[u8; 16]>;
}

/// What a partition has besides its tables.
pub(super) struct LowerLevel {
    id: PartitionId,
    blinding: Option<Arc<dyn IndexBlinding>>,
    /// The next chunk's sequence.
    sequence: AtomicU32,
    /// Whether any table was ever frozen. Until then, look-ups skip this level.
    used: AtomicBool,
    /// How often tables were frozen.
    freezes: AtomicU64,
    /// How often entries went back into the tables.
    returns: AtomicU64,
    /// Whether merging chunks of this partition is forbidden, because a migration goes through them
    /// in their order.
    held: AtomicBool,
    /// Whether the partition's epoch was retired. Then no entry comes here any more.
    retired: AtomicBool,
    /// Held while frozen tables are written to the store.
    moving: Mutex<()>,
    /// Lock order: take the tables' lock first, if both are needed.
    state: RwLock<LowerState>,
}

/// A table on its way to the column.
#[derive(Clone)]
struct FrozenTable {
    /// First byte of its pseudonyms.
    first: u8,
    table: Arc<IndexTable>,
    entries: u64,
}

#[derive(Default)]
struct LowerState {
    /// Pseudonyms that were taken out for good. A job prepared before that must not bring them
    /// back.
    erased: HashSet<[u8; 16]>,
    frozen: Vec<FrozenTable>,
    /// By first byte; made when first needed.
    places: Option<Box<[u8; 256]>>,
    /// By first byte; empty when there is none.
    marks: Vec<MovedMark>,
    /// The place whose turn it is.
    cursor: u8,
}

impl LowerLevel {
    pub(super) fn new(id: PartitionId, blinding: Option<Arc<dyn IndexBlinding>>) -> Self {
        Self {
            id,
            blinding,
            sequence: AtomicU32::new(1),
            used: AtomicBool::new(false),
            freezes: AtomicU64::new(0),
            returns: AtomicU64::new(0),
            held: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            moving: Mutex::default(),
            state: RwLock::default(),
        }
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        intact(self.moving.lock())
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, LowerState> {
        intact(self.state.read())
    }

    fn state_mut(&self) -> std::sync::RwLockWriteGuard<'_, LowerState> {
        intact(self.state.write())
    }

    fn blinding(&self) -> &dyn IndexBlinding {
        &**self
            .blinding
            .as_ref()
            .expect("nothing is moved without a blinding")
    }

    /// The key that this partition's rows are made under.
    fn key_id(&self) -> BlindingKeyId {
        key_id(self.blinding(), self.id)
    }

    /// Entries in frozen tables and in the column.
    pub(super) fn len(&self) -> u64 {
        let state = self.state();
        state
            .frozen
            .iter()
            .map(|frozen| frozen.entries)
            .sum::<u64>()
            + state.moved()
    }

    /// Entries in the column.
    pub(super) fn moved(&self) -> u64 {
        self.state().moved()
    }

    pub(super) fn frozen_bytes(&self) -> u64 {
        self.state()
            .frozen
            .iter()
            .map(|frozen| frozen.table.bytes())
            .sum()
    }

    /// Loads the partition's marks from the store.
    pub(super) fn load(&self, marks: &[(u8, MovedMark)]) {
        let places = self.blinding().places(self.id);
        let mut state = self.state_mut();
        let mut by_place = [MovedMark::default(); 256];
        marks
            .iter()
            .for_each(|(place, mark)| by_place[usize::from(*place)] = *mark);
        state.marks = places
            .iter()
            .map(|place| by_place[usize::from(*place)])
            .collect();
        // Continues where the last run stopped.
        state.cursor = (0..=255u8)
            .min_by_key(|place| by_place[usize::from(*place)].below)
            .unwrap_or(0);
        state.places = Some(Box::new(places));
        self.used.store(true, Ordering::Release);
    }
}

/// Identifies a blinding's key, by its tag of the zero pseudonym.
pub(super) fn key_id(blinding: &dyn IndexBlinding, id: PartitionId) -> BlindingKeyId {
    let tag = blinding.tags(id, &mut [[0; 16]].iter())[0];
    BlindingKeyId {
        version: blinding.version(),
        check: tag[..8].try_into().expect("8 of 16"),
    }
}

impl LowerState {
    fn moved(&self) -> u64 {
        self.marks.iter().map(|mark| mark.entries).sum()
    }

    fn mark(&self, first: u8) -> MovedMark {
        self.marks
            .get(usize::from(first))
            .copied()
            .unwrap_or_default()
    }
}

impl Partition {
    /// Whether entries may lie below the tables. Then a look-up that misses in the tables must look
    /// there, too.
    #[inline]
    pub fn has_below(&self) -> bool {
        self.1.used.load(Ordering::Acquire)
    }

    /// Changes when entries leave the tables. A look-up that found nothing is current only while
    /// this stays the same.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.1.freezes.load(Ordering::Acquire)
    }

    /// The chunks of pseudonyms that the tables do not have, where they lie below.
    ///
    /// # Errors
    /// [`StoreError`] when the column does not read.
    pub fn below(
        &self,
        store: &Store,
        pseudonyms: &[[u8; 16]],
    ) -> Result<Vec<Option<u32>>, StoreError> {
        let mut found = vec![None; pseudonyms.len()];
        if !self.has_below() {
            return Ok(found);
        }
        let mut wanted: Vec<(u8, usize)> = Vec::new();
        {
            let state = self.1.state();
            let mut frozen = [None; 256];
            state
                .frozen
                .iter()
                .for_each(|one| frozen[usize::from(one.first)] = Some(&one.table));
            for (at, pseudonym) in pseudonyms.iter().enumerate() {
                found[at] =
                    frozen[usize::from(pseudonym[0])].and_then(|table| table.get(pseudonym));
                if found[at].is_none() && state.mark(pseudonym[0]).entries > 0 {
                    let places = state.places.as_ref().expect("there is a mark");
                    wanted.push((places[usize::from(pseudonym[0])], at));
                }
            }
        }
        if wanted.is_empty() {
            return Ok(found);
        }
        let tags = self.1.blinding().tags(
            self.1.id,
            &mut wanted.iter().map(|(_, at)| &pseudonyms[*at]),
        );
        let key = |((place, at), tag): (&(u8, usize), &[u8; 16])| {
            (moved::key(self.1.id, *place, tag), *at)
        };
        let mut keys: Vec<(MovedKey, usize)> = wanted.iter().zip(&tags).map(key).collect();
        keys.sort_unstable();
        let (keys, places): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        for (at, chunk) in places.into_iter().zip(store.moved(&keys)?) {
            found[at] = chunk;
        }
        Ok(found)
    }

    /// The chunk of a pseudonym, wherever its entry lies.
    ///
    /// # Errors
    /// As [`Partition::below`].
    pub fn locate(&self, store: &Store, pseudonym: &[u8; 16]) -> Result<Option<u32>, StoreError> {
        loop {
            let returns = self.1.returns.load(Ordering::Acquire);
            let mut found = self.read().get(pseudonym);
            if found.is_none() {
                found = self.below(store, std::slice::from_ref(pseudonym))?[0];
            }
            if found.is_some() || self.1.returns.load(Ordering::Acquire) == returns {
                return Ok(found);
            }
        }
    }

    /// The next chunk's sequence. Only the writer takes one, by [`Partition::set_sequence`].
    pub fn sequence(&self) -> u32 {
        self.1.sequence.load(Ordering::Relaxed)
    }

    /// Sets the next chunk's sequence.
    pub fn set_sequence(&self, next: u32) {
        self.1.sequence.store(next, Ordering::Relaxed);
    }

    /// Takes pseudonyms out of the tables, for good. Only the writer may call it, and only for
    /// pseudonyms that lie neither in a frozen table nor in the column: [`Partition::give_chunk`]
    /// leaves them so.
    pub fn forget(&self, pseudonyms: &[[u8; 16]]) {
        let mut tables = intact(self.0.write());
        let mut state = self.1.state_mut();
        for pseudonym in pseudonyms {
            tables.remove(pseudonym);
            state.erased.insert(*pseudonym);
        }
    }

    /// The pseudonyms that were taken out since the start.
    pub fn erased(&self) -> HashSet<[u8; 16]> {
        self.1.state().erased.clone()
    }

    /// By first byte: entries of chunks below this sequence need not be in the tables.
    pub fn moved_below(&self) -> [u32; 256] {
        let state = self.1.state();
        std::array::from_fn(|first| state.mark(first as u8).below)
    }

    /// Forbids merging chunks of this partition. A merge that the writer has begun may still
    /// finish.
    pub fn hold(&self) {
        self.1.held.store(true, Ordering::Release);
    }

    /// Whether chunks of this partition may not be merged.
    pub fn is_held(&self) -> bool {
        self.1.held.load(Ordering::Acquire)
    }

    /// Whether its epoch was retired.
    pub fn is_retired(&self) -> bool {
        self.1.retired.load(Ordering::Acquire)
    }

    /// Forgets every entry, for good. Only the writer may call it, in the commit that deletes the
    /// rows. After it, no entry of this partition is written to the store.
    pub fn retire(&self) {
        {
            let _moving = self.1.moving();
            self.1.retired.store(true, Ordering::Release);
        }
        let mut tables = intact(self.0.write());
        let mut state = self.1.state_mut();
        *tables = PartitionTables::default();
        state.frozen.clear();
        state.marks.clear();
    }

    /// Freezes tables, in turn, until they take `bytes`. Returns whether any are frozen.
    pub(super) fn freeze(&self, bytes: u64) -> bool {
        let mut tables = intact(self.0.write());
        let mut state = self.1.state_mut();
        let blinding = || Box::new(self.1.blinding().places(self.1.id));
        let mut at_place = [0; 256];
        (0..=255u8)
            .zip(state.places.get_or_insert_with(blinding).iter())
            .for_each(|(first, place)| {
                at_place[usize::from(*place)] = first;
            });
        let mut frozen: u64 = state.frozen.iter().map(|frozen| frozen.table.bytes()).sum();
        for _ in 0..256 {
            if frozen >= bytes && !state.frozen.is_empty() {
                break;
            }
            let first = at_place[usize::from(state.cursor)];
            state.cursor = state.cursor.wrapping_add(1);
            let entries = std::mem::take(&mut tables.used[usize::from(first)]) as u64;
            if entries > 0 {
                let table = std::mem::take(&mut tables.tables[usize::from(first)]);
                frozen += table.bytes();
                state.frozen.push(FrozenTable {
                    first,
                    table: Arc::new(table),
                    entries,
                });
            }
        }
        self.1.used.store(true, Ordering::Release);
        self.1.freezes.fetch_add(1, Ordering::AcqRel);
        !state.frozen.is_empty()
    }

    /// Writes frozen tables to the column and drops them. Returns how many entries they had. Their
    /// mappings must be durable.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub(super) fn move_frozen(&self, store: &Store) -> Result<u64, StoreError> {
        let _moving = self.1.moving();
        if self.is_retired() {
            return Ok(0);
        }
        let (mut frozen, places, mut marks) = {
            let state = self.1.state();
            let marks: Vec<MovedMark> = (0..=255u8).map(|first| state.mark(first)).collect();
            let Some(places) = state.places.clone() else {
                return Ok(0);
            };
            (state.frozen.clone(), places, marks)
        };
        if frozen.is_empty() {
            return Ok(0);
        }
        frozen.sort_unstable_by_key(|frozen| places[usize::from(frozen.first)]);
        store.take_in(
            frozen
                .iter()
                .flat_map(|one| self.rows(places[usize::from(one.first)], &one.table)),
        )?;
        let mut batch = RowBatch::default();
        let (mut moved, made) = (0, self.1.key_id());
        for FrozenTable {
            first,
            table,
            entries,
        } in &frozen
        {
            let mark = &mut marks[usize::from(*first)];
            // The writer takes each sequence under the tables' write lock, so later entries have
            // later sequences.
            mark.below = mark.below.max(latest(table).saturating_add(1));
            mark.entries += entries;
            moved += entries;
            store.put_mark(
                &mut batch,
                self.1.id,
                places[usize::from(*first)],
                made,
                *mark,
            );
        }
        store.commit(batch)?;
        let mut state = self.1.state_mut();
        state.marks = marks;
        state.frozen.clear();
        Ok(moved)
    }

    /// A table's rows, sorted.
    fn rows(&self, place: u8, table: &IndexTable) -> Vec<(MovedKey, u32)> {
        let tags = self.1.blinding().tags(
            self.1.id,
            &mut table.entries().map(|(pseudonym, _)| pseudonym),
        );
        let values = table.entries().map(|(_, chunk)| chunk);
        let mut rows: Vec<_> = tags
            .iter()
            .map(|tag| moved::key(self.1.id, place, tag))
            .zip(values)
            .collect();
        rows.sort_unstable();
        rows
    }

    /// Gives pseudonyms that lie in the chunks `old` (sorted) a new chunk, and returns its
    /// sequence. Returns `None`, and changes nothing, if one of them no longer lies there. Only the
    /// writer may call it, in its commit.
    ///
    /// # Errors
    /// [`StoreError`] when the column does not read.
    pub fn give_chunk(
        &self,
        store: &Store,
        batch: &mut RowBatch,
        pseudonyms: &[[u8; 16]],
        old: &[u32],
    ) -> Result<Option<u32>, StoreError> {
        let is_old =
            |chunk: &Option<u32>| chunk.is_some_and(|chunk| old.binary_search(&chunk).is_ok());
        let moved: Vec<[u8; 16]> = {
            let tables = self.read();
            let (in_tables, moved): (Vec<_>, Vec<_>) =
                pseudonyms.iter().partition(|p| tables.contains(p));
            if !in_tables
                .into_iter()
                .all(|pseudonym| is_old(&tables.get(pseudonym)))
            {
                return Ok(None);
            }
            moved.into_iter().copied().collect()
        };
        if !moved.is_empty() && !self.below(store, &moved)?.iter().all(is_old) {
            return Ok(None);
        }
        let mut tables = intact(self.0.write());
        let mut state = self.1.state_mut();
        if !moved.is_empty() && !state.frozen.is_empty() {
            return Ok(None);
        }
        let sequence = self.sequence();
        self.set_sequence(
            sequence
                .checked_add(1)
                .expect("an epoch of a sector has fewer than 2^32 chunks"),
        );
        pseudonyms
            .iter()
            .for_each(|pseudonym| tables.set(pseudonym, sequence));
        if !moved.is_empty() {
            let (tags, made) = (
                self.1.blinding().tags(self.1.id, &mut moved.iter()),
                self.1.key_id(),
            );
            for (pseudonym, tag) in moved.iter().zip(tags) {
                let place =
                    state.places.as_ref().expect("something was moved")[usize::from(pseudonym[0])];
                store.delete_moved(batch, &moved::key(self.1.id, place, &tag));
                let mark = &mut state.marks[usize::from(pseudonym[0])];
                mark.entries -= 1;
                store.put_mark(batch, self.1.id, place, made, *mark);
            }
            self.1.returns.fetch_add(1, Ordering::AcqRel);
        }
        Ok(Some(sequence))
    }
}

impl PartitionTables {
    fn remove(&mut self, pseudonym: &[u8; 16]) {
        let first = usize::from(pseudonym[0]);
        self.used[first] -= usize::from(self.tables[first].remove(pseudonym));
    }

    /// Inserts or replaces.
    fn set(&mut self, pseudonym: &[u8; 16], chunk: u32) {
        if !self.insert(pseudonym, chunk) {
            self.tables[usize::from(pseudonym[0])].replace(pseudonym, chunk);
        }
    }
}

/// The latest chunk that a table names.
fn latest(table: &IndexTable) -> u32 {
    table.entries().map(|(_, chunk)| chunk).max().unwrap_or(0)
}
