//! What a restore does to the rows of a store that it brought to the end of its log.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::columns::{CHUNK, ChunkKey, ERASURE_DUE, INDEX, INDEX_MARK, META, TOMBSTONE};
use super::fields::RowField as _;
use super::index::PartitionId;
use super::rows::{RowEngine as _, ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

/// Begins the names of the rows that say below which sequence no chunk of a partition is given out.
const FLOOR: &[u8] = b"sequence-floor/";

/// The name of the row that says what holds since a restore without places.
const LOSS: &[u8] = b"restore-loss";

impl Store {
    /// Below which sequence no chunk of a partition is given out: there were chunks with those
    /// sequences once, and they are lost.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn sequence_floors(&self) -> Result<Vec<(PartitionId, u32)>, StoreError> {
        let rows = self.rows(META, FLOOR)?.into_iter();
        rows.map(|(key, value)| {
            let partition = PartitionId::read(&key[FLOOR.len()..]);
            partition.zip(u32::read(&value)).ok_or(META.corrupt())
        })
        .collect()
    }

    /// Sets such a floor.
    pub fn put_sequence_floor(&self, batch: &mut RowBatch, partition: PartitionId, floor: u32) {
        let key = [FLOOR, &partition.bytes()].concat();
        self.put(batch, META, &key[..], &floor.bytes());
    }

    /// The highest sequence of a chunk of a partition; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn last_sequence(&self, (sector, epoch): PartitionId) -> Result<u32, StoreError> {
        let is_beyond = |sequence: u32| -> Result<bool, StoreError> {
            let mut found = false;
            let key = ChunkKey {
                sector,
                epoch,
                sequence,
            };
            let from = key.to_bytes();
            let range = ScanRange {
                prefix: &from[..8],
                ..ScanRange::from(&from)
            };
            self.engine.scan(CHUNK.name, range, |_, _| {
                found = true;
                Ok::<_, StoreError>(ScanStep::Stop)
            })?;
            Ok(found)
        };
        // RocksDB seeks forward only, here: thirty-two seeks find the last one.
        let (mut low, mut high) = (0, u32::MAX);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if is_beyond(middle)? {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// What holds since the last restore without places, as `entity` writes it (JSON); none if
    /// there was no such restore.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn restore_loss(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(META, LOSS)
    }

    /// Writes that.
    pub fn put_restore_loss(&self, batch: &mut RowBatch, value: &[u8]) {
        self.put(batch, META, LOSS, value);
    }

    /// Forgets what was moved of the index: the next start makes it anew from the chunks.
    pub fn forget_index(&self, batch: &mut RowBatch) {
        for column in [INDEX.name, INDEX_MARK.name] {
            self.delete_range(batch, column, &[], &[0xff; 32]);
        }
    }

    /// The sectors and tombstones of all erased pseudonyms.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn all_tombstones(&self) -> Result<BTreeSet<(Uuid, [u8; 16])>, StoreError> {
        let rows = self.rows(TOMBSTONE, &[])?.into_iter();
        Ok(rows.map(|(key, _)| key).collect())
    }

    /// Every tag whose erasure waits for its age.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tags_due(&self) -> Result<BTreeSet<[u8; 16]>, StoreError> {
        let rows = self.rows(ERASURE_DUE, &[])?.into_iter();
        Ok(rows.map(|((_, tag), ())| tag).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sequence_and_the_floors_of_partitions() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        assert_eq!(store.last_sequence((1, 1)).unwrap(), 0);
        let mut batch = RowBatch::default();
        for (sector, epoch, sequence) in [(1, 1, 7), (1, 1, 300), (1, 2, 5), (2, 1, u32::MAX)] {
            let key = ChunkKey {
                sector,
                epoch,
                sequence,
            };
            store.put_chunk(&mut batch, key, b"x");
        }
        store.put_sequence_floor(&mut batch, (1, 2), 77);
        store.commit(batch).unwrap();
        let last = |partition| store.last_sequence(partition).unwrap();
        assert_eq!(
            [last((1, 1)), last((1, 2)), last((2, 1)), last((1, 3))],
            [300, 5, u32::MAX, 0]
        );
        assert_eq!(store.sequence_floors().unwrap(), [((1, 2), 77)]);
    }
}
