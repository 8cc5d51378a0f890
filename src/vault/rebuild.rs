//! Rebuilds the index from the chunks at every start.
//!
//! One thread reads chunks, the others open them and enter their pseudonyms. Entries that were
//! moved to the store are not entered again, and chunks whose entries were all moved are not read.
//! When the index exceeds its memory, its tables are moved to the store meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::stored::{bad_chunk, open_chunk};
use super::{StartError, StartProgress};
use crate::commit::small::{SmallChunk, SmallChunkKind, SmallChunks};
use crate::metrics::{PERSONS, coarse};
use crate::seal::chunk::ChunkCipher;
use crate::store::index::{AHEAD, Index, Partition, PartitionId};
use crate::store::{ChunkKey, Store, StoreError};
use crate::system::lock::unpoisoned;

/// Chunks in a portion, which one thread takes at once.
const TOGETHER: usize = 16;
/// Portions that may wait for a thread.
const WAITING: usize = 8;
/// Most threads: one reader cannot feed more.
const MOST_THREADS: usize = 8;
/// How often the progress is reported.
const TELL: Duration = Duration::from_millis(100);

type Portion = Vec<(ChunkKey, Vec<u8>)>;

/// What the threads share.
struct RebuildWork<'a> {
    cipher: &'a ChunkCipher,
    index: &'a Index,
    small: &'a SmallChunks,
    /// Portions that were sent and are not in the index yet.
    open: AtomicU64,
    mappings: AtomicU64,
    failed: Mutex<Option<StartError>>,
    has_failed: AtomicBool,
}

/// Fills the index and sets each partition's next sequence. Returns the small chunks.
///
/// # Errors
/// The first chunk that does not open; [`StoreError`].
pub(super) fn rebuild(
    store: &Store,
    cipher: &ChunkCipher,
    index: &Index,
    progress: StartProgress<'_>,
) -> Result<SmallChunks, StartError> {
    let small = SmallChunks::default();
    let work = RebuildWork {
        cipher,
        index,
        small: &small,
        open: AtomicU64::new(0),
        mappings: AtomicU64::new(index.moved()),
        failed: Mutex::new(None),
        has_failed: AtomicBool::new(false),
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_THREADS);
    let (sender, receiver) = sync_channel(WAITING);
    let receiver = Mutex::new(receiver);
    let read = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work.run(&receiver));
        }
        // `read` takes the sender, so that the threads end when it returns.
        read(store, &work, sender, progress)
    });
    let failed = unpoisoned(work.failed.into_inner());
    failed.map_or(read, Err)?;
    Ok(small)
}

/// Reads the chunks that have entries in memory, and hands them out.
fn read(
    store: &Store,
    work: &RebuildWork<'_>,
    sender: SyncSender<Portion>,
    progress: StartProgress<'_>,
) -> Result<(), StartError> {
    let first: HashMap<PartitionId, u32> = work
        .index
        .partitions()
        .into_iter()
        .map(|(id, p)| (id, unread(&p)))
        .collect();
    for (id, partition) in work.index.partitions() {
        // Also if the chunks below it are gone, because no sequence is given twice.
        partition.set_sequence(
            partition
                .moved_below()
                .into_iter()
                .max()
                .unwrap_or(0)
                .max(1),
        );
        tracing::debug!(
            sector = id.0,
            epoch = id.1,
            from = unread(&partition),
            "entries of this partition lie on the disk"
        );
    }
    let total = store.estimated_chunks();
    let (mut portion, mut chunks, mut told) =
        (Portion::with_capacity(TOGETHER), 0u64, Instant::now());
    let skip = |key: ChunkKey| {
        let sequence = *first.get(&(key.sector, key.epoch))?;
        (key.sequence < sequence).then_some(ChunkKey { sequence, ..key })
    };
    store.each_chunk_but::<StartError>(skip, |key, row| {
        let after = key
            .sequence
            .checked_add(1)
            .ok_or(StoreError::Corrupt("chunk"))?;
        let partition = work.index.partition((key.sector, key.epoch));
        partition.set_sequence(partition.sequence().max(after));
        portion.push((key, row));
        if portion.len() < TOGETHER {
            return Ok(());
        }
        chunks += TOGETHER as u64;
        work.hand_out(&sender, &mut portion)?;
        if work.index.is_over() {
            work.drain();
            work.index.relieve(store, || true)?;
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            // Rounded, because every user of this machine may read it.
            let mappings = coarse(work.mappings.load(Ordering::Relaxed), PERSONS);
            progress(format!(
                "rebuilding the index: {mappings} mappings, {chunks} of about {total} chunks"
            ));
        }
        Ok(())
    })?;
    for (id, floor) in store.sequence_floors()? {
        let partition = work.index.partition(id);
        partition.set_sequence(partition.sequence().max(floor));
    }
    work.hand_out(&sender, &mut portion)?;
    work.drain();
    if work.index.is_over() {
        work.index.relieve(store, || true)?;
    }
    Ok(())
}

/// The first chunk with entries that were not moved.
fn unread(partition: &Partition) -> u32 {
    partition.moved_below().into_iter().min().unwrap_or(0)
}

impl RebuildWork<'_> {
    fn hand_out(
        &self,
        sender: &SyncSender<Portion>,
        portion: &mut Portion,
    ) -> Result<(), StartError> {
        if self.has_failed.load(Ordering::Relaxed) {
            // A placeholder: `rebuild` returns the thread's error.
            return Err(StoreError::Corrupt("chunk").into());
        }
        self.open.fetch_add(1, Ordering::AcqRel);
        sender
            .send(std::mem::replace(portion, Portion::with_capacity(TOGETHER)))
            .expect("a thread is there");
        Ok(())
    }

    /// Waits until every portion that was handed out is in the index.
    fn drain(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn run(&self, receiver: &Mutex<Receiver<Portion>>) {
        let mut last: Option<(PartitionId, Arc<Partition>, [u32; 256])> = None;
        loop {
            let next = unpoisoned(receiver.lock()).recv();
            let Ok(portion) = next else { return };
            for (key, row) in portion {
                if self.has_failed.load(Ordering::Relaxed) {
                    break;
                }
                let id = (key.sector, key.epoch);
                let (_, partition, moved) = match &last {
                    Some(last) if last.0 == id => last,
                    _ => {
                        let partition = self.index.partition(id);
                        let moved = partition.moved_below();
                        last.insert((id, partition, moved))
                    }
                };
                if let Err(error) = self.enter(key, row, partition, moved) {
                    unpoisoned(self.failed.lock()).get_or_insert(error);
                    self.has_failed.store(true, Ordering::Release);
                }
            }
            self.open.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn enter(
        &self,
        key: ChunkKey,
        row: Vec<u8>,
        partition: &Partition,
        moved: &[u32; 256],
    ) -> Result<(), StartError> {
        let chunk = open_chunk(self.cipher, key, row)?;
        let mut pseudonyms = Vec::with_capacity(crate::seal::chunk::MAX_RECORDS);
        let mut records = 0;
        for record in chunk.records() {
            let pseudonym = *record.map_err(bad_chunk(key))?.pseudonym.as_bytes();
            records += 1;
            // Entries that were moved since `moved` was read are of earlier chunks.
            if key.sequence >= moved[usize::from(pseudonym[0])] {
                pseudonyms.push(pseudonym);
            }
        }
        let mut entries = partition.write();
        for block in pseudonyms.chunks(AHEAD) {
            entries.prefetch(block.iter());
            for pseudonym in block {
                entries.insert(pseudonym, key.sequence);
            }
        }
        drop(entries);
        self.mappings
            .fetch_add(pseudonyms.len() as u64, Ordering::Relaxed);
        let kind = SmallChunkKind {
            partition: (key.sector, key.epoch),
            segment: *chunk.segment(),
            scope: chunk.scope().clone(),
        };
        self.small.add(
            &kind,
            SmallChunk {
                sequence: key.sequence,
                records,
            },
        );
        Ok(())
    }
}
