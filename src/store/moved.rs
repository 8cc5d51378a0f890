//! Index entries that the memory has no room for, in a sorted column.
//!
//! The engine loads them sorted, many at once. A row says in which chunk a mapping lies, and not
//! whose mapping it is: places and tags are made under a key that the store does not have.

use std::borrow::Cow;

use super::columns::{INDEX, INDEX_MARK};
use super::fields::RowField;
use super::index::PartitionId;
use super::rows::RowEngine as _;
use super::{RowBatch, Store, StoreError};

/// Sector number ‖ epoch ‖ place ‖ tag.
pub(super) type MovedKey = [u8; 25];

/// How much of one place of a partition has been moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MovedMark {
    /// Of the chunks below this sequence, all entries have been moved.
    pub(super) below: u32,
    /// How many they are.
    pub(super) entries: u64,
}

/// Which key places and tags were made under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlindingKeyId {
    /// The key's version.
    pub(super) version: u32,
    /// The key's tag of the zero pseudonym, which tells it from another key of the same version.
    pub(super) check: [u8; 8],
}

pub(super) fn key((sector, epoch): PartitionId, place: u8, tag: &[u8; 16]) -> MovedKey {
    let mut key = [0; 25];
    key[..4].copy_from_slice(&sector.to_be_bytes());
    key[4..8].copy_from_slice(&epoch.to_be_bytes());
    key[8] = place;
    key[9..].copy_from_slice(tag);
    key
}

impl RowField for BlindingKeyId {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned((self.version, self.check).bytes().into_owned())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (version, check) = <(u32, [u8; 8])>::read_front(bytes)?;
        Some(Self { version, check })
    }
}

impl RowField for MovedMark {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned((self.below, self.entries).bytes().into_owned())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (below, entries) = <(u32, u64)>::read_front(bytes)?;
        Some(Self { below, entries })
    }
}

impl Store {
    /// Stores entries, sorted by key. They are durable on return.
    ///
    /// # Errors
    /// [`StoreError::Engine`] once, and [`StoreError::Poisoned`] ever after: as with any write.
    pub(super) fn take_in(
        &self,
        rows: impl Iterator<Item = (MovedKey, u32)>,
    ) -> Result<(), StoreError> {
        let rows = rows.map(|(key, sequence)| (key, sequence.to_be_bytes()));
        self.write(|| self.engine.load(INDEX.name, rows))
    }

    /// The chunks of moved entries; `keys` are sorted.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub(super) fn moved(&self, keys: &[MovedKey]) -> Result<Vec<Option<u32>>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        self.engine.read_sorted(INDEX.name, keys, |value| {
            found.push(
                value
                    .map(|value| u32::read(value).ok_or(INDEX.corrupt()))
                    .transpose()?,
            );
            Ok(())
        })?;
        Ok(found)
    }

    /// Takes a moved entry away.
    pub(super) fn delete_moved(&self, batch: &mut RowBatch, key: &MovedKey) {
        self.delete(batch, INDEX, key);
    }

    /// Notes how much of a place has been moved.
    pub(super) fn put_mark(
        &self,
        batch: &mut RowBatch,
        (sector, epoch): PartitionId,
        place: u8,
        key: BlindingKeyId,
        mark: MovedMark,
    ) {
        self.put(batch, INDEX_MARK, &(sector, epoch, place), &(key, mark));
    }

    /// Every mark: partition, place, key, how much.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub(super) fn marks(
        &self,
    ) -> Result<Vec<(PartitionId, u8, BlindingKeyId, MovedMark)>, StoreError> {
        let rows = self.rows(INDEX_MARK, &[])?.into_iter();
        Ok(rows
            .map(|((sector, epoch, place), (key, mark))| ((sector, epoch), place, key, mark))
            .collect())
    }

    /// Forgets a partition's moved entries. The next start makes them anew from the chunks.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub(super) fn forget_moved(&self, partition: PartitionId) -> Result<(), StoreError> {
        let mut batch = RowBatch::default();
        for column in [INDEX.name, INDEX_MARK.name] {
            self.engine
                .delete_partition_of(&mut batch.rows, column, partition);
        }
        self.commit(batch)
    }

    /// Bytes on the disk that the moved entries take, about.
    pub fn moved_bytes(&self) -> u64 {
        self.engine.table_bytes(INDEX.name)
    }

    /// Bytes of memory that blocks and filters of the moved entries take at present.
    pub fn cache_bytes(&self) -> u64 {
        self.engine.cache_bytes()
    }
}
