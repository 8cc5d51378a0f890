//! Takes back the disk space of deleted chunks: merged into others, erased, or of a retired epoch.
//!
//! RocksDB can do so in any compaction, by moving live chunks out of the oldest blob files, even if
//! these hold nothing deleted. For rows that are written once and kept, that would rewrite a
//! quarter of the store again and again. So the store turns this on only while enough is deleted.

use std::sync::atomic::Ordering;

use super::{Store, StoreError};

/// Compactions begin to move chunks when more than this share of the blob files is deleted, in
/// percent.
const BEGIN: u64 = 25;
/// They stop when no more than this share is deleted, in percent.
const END: u64 = 10;
/// Least bytes of deleted chunks that are worth it.
const WORTH: u64 = 64 << 20;

impl Store {
    /// Lets compactions move chunks out of blob files while enough in them is deleted. Returns
    /// whether they do. Call it every few seconds. Does nothing during a scrub, which has all
    /// chunks moved.
    ///
    /// # Errors
    /// [`StoreError::Engine`]
    pub fn reclaim(&self) -> Result<bool, StoreError> {
        self.reclaim_beyond(WORTH)
    }

    fn reclaim_beyond(&self, worth: u64) -> Result<bool, StoreError> {
        let Some(_guard) = self.guard_compactions() else {
            return Ok(self.moves_chunks.load(Ordering::Relaxed));
        };
        let (all, gone) = self.engine.blob_bytes()?;
        let moves = self.moves_chunks.load(Ordering::Relaxed);
        let enough = if moves { END } else { BEGIN };
        let wanted = gone >= worth && gone > all / 100 * enough;
        if wanted != moves {
            self.move_chunks(wanted)?;
            tracing::info!(
                mib = all >> 20,
                gone_mib = gone >> 20,
                begins = wanted,
                "reclaiming the disk space of deleted chunks"
            );
        }
        Ok(wanted)
    }

    /// Whether compactions move all chunks that they meet, or none. The caller holds
    /// [`super::erase::CompactionGuard`].
    pub(super) fn move_chunks(&self, on: bool) -> Result<(), StoreError> {
        self.engine.move_blobs(on)?;
        self.moves_chunks.store(on, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::columns::CHUNK;
    use super::super::{ChunkKey, RowBatch, Store};

    fn chunk(sequence: u32) -> ChunkKey {
        ChunkKey {
            sector: 1,
            epoch: 1,
            sequence,
        }
    }

    #[test]
    fn a_scrub_under_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        let scrub = store.guard_compactions().unwrap();
        store.move_chunks(true).unwrap();
        assert!(store.guard_compactions().is_none(), "a second one waits");
        assert!(
            store.reclaim_beyond(1).unwrap(),
            "there is nothing to take back, and they are moved all the same"
        );
        drop(scrub);
        assert!(!store.reclaim_beyond(1).unwrap());
        assert!(store.guard_compactions().is_some());
    }

    #[test]
    fn the_disk_of_what_is_gone_comes_back_and_what_is_alive_is_left_alone() {
        const SIZE: usize = 64 << 10;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        let flush = || store.engine.flush(CHUNK.name).unwrap();
        let on_disk = || store.engine.all_blob_bytes();
        let row = |sequence: u32| vec![sequence as u8; SIZE];
        for round in 0..8 {
            let mut batch = RowBatch::default();
            (0..16).for_each(|n| {
                store.put_chunk(&mut batch, chunk(round * 16 + n), &row(round * 16 + n));
            });
            store.commit(batch).unwrap();
            flush();
        }
        let full = on_disk();
        assert!(!store.reclaim_beyond(1).unwrap());
        store.engine.compact(CHUNK.name);
        assert_eq!(on_disk(), full, "all is alive, and nothing was moved");

        let mut batch = RowBatch::default();
        (0..128)
            .filter(|n| n % 8 != 0)
            .for_each(|n| store.delete_chunk(&mut batch, chunk(n)));
        store.commit(batch).unwrap();
        flush();
        store.engine.compact(CHUNK.name);
        assert_eq!(on_disk(), full);
        // RocksDB's own threads do the rest.
        let begun = Instant::now();
        while store.reclaim_beyond(1).unwrap() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{} of {full} bytes",
                on_disk()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(on_disk() < full / 4, "{} of {full}", on_disk());
        for n in 0..128 {
            let found = store.chunk(chunk(n)).unwrap();
            assert_eq!(found, (n % 8 == 0).then(|| row(n)), "chunk {n}");
        }
    }
}
