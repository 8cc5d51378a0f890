//! Sealed chunks: the stored mappings.

use super::columns::{CHUNK, ChunkKey};
use super::rows::{RowEngine as _, ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

impl Store {
    /// Adds a sealed chunk.
    pub fn put_chunk(&self, batch: &mut RowBatch, key: ChunkKey, row: &[u8]) {
        self.put(batch, CHUNK, &key, row);
    }

    /// A sealed chunk.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn chunk(&self, key: ChunkKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(CHUNK, &key)
    }

    /// Deletes a chunk.
    pub fn delete_chunk(&self, batch: &mut RowBatch, key: ChunkKey) {
        self.delete(batch, CHUNK, &key);
    }

    /// Goes through all chunks in key order, without filling the cache.
    ///
    /// # Errors
    /// The first error of the engine or of `each`.
    pub fn each_chunk<E: From<StoreError>>(
        &self,
        each: impl FnMut(ChunkKey, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_chunk_but(|_| None, each)
    }

    /// The same, but where `skip` names a later key, the chunks before that key are not read.
    ///
    /// # Errors
    /// The first error of the engine or of `each`.
    pub fn each_chunk_but<E: From<StoreError>>(
        &self,
        skip: impl Fn(ChunkKey) -> Option<ChunkKey>,
        mut each: impl FnMut(ChunkKey, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(CHUNK, ScanRange::ALL.once(), |key, row| {
            if let Some(later) = skip(key).filter(|later| *later > key) {
                return Ok(ScanStep::SkipTo(later.to_bytes().to_vec()));
            }
            each(key, row.to_vec()).map(|()| ScanStep::Next)
        })
    }

    /// Goes through the chunks of a partition from a sequence on, as long as `each` returns true.
    ///
    /// # Errors
    /// The first error of the engine or of `each`.
    pub fn chunks_from<E: From<StoreError>>(
        &self,
        first: ChunkKey,
        mut each: impl FnMut(ChunkKey, Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = first.to_bytes();
        let range = ScanRange {
            prefix: &start[..8],
            ..ScanRange::from(&start)
        };
        self.each(CHUNK, range, |key, row| {
            Ok(if each(key, row.to_vec())? {
                ScanStep::Next
            } else {
                ScanStep::Stop
            })
        })
    }

    /// Whether there is a chunk of that sector (its number) and epoch.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn has_chunks(&self, sector: u32, epoch: u32) -> Result<bool, StoreError> {
        let mut found = false;
        let first = ChunkKey {
            sector,
            epoch,
            sequence: 0,
        }
        .to_bytes();
        self.engine
            .scan(CHUNK.name, ScanRange::of(&first[..8]), |_, _| {
                found = true;
                Ok::<_, StoreError>(ScanStep::Stop)
            })?;
        Ok(found)
    }

    /// About how many chunks there are.
    pub fn estimated_chunks(&self) -> u64 {
        self.engine.estimated_rows(CHUNK.name)
    }
}
