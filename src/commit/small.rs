//! Small chunks, which the keeper merges.
//!
//! Requests with one identifier make chunks of one record, or of as many as met in one commit. Each
//! costs a row, and a row costs as much as a hundred records in a large chunk.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::keys::DomainScope;
use crate::seal::chunk::MAX_RECORDS;
use crate::seal::segment::SegmentId;
use crate::store::index::PartitionId;
use crate::system::lock::unpoisoned;

/// Chunks with fewer records are small: any two of them fit one.
pub const SMALL: usize = MAX_RECORDS / 2;
/// Small chunks of one kind that are merged even if they do not fill a chunk.
const MANY: usize = 32;
/// After so long without a new chunk of its kind, the chunks of a kind are merged.
const QUIET: Duration = Duration::from_secs(60);
/// How often all kinds are searched for quiet ones.
const LOOK: Duration = Duration::from_secs(10);

/// What chunks must have in common to be merged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SmallChunkKind {
    /// Sector number and epoch.
    pub partition: PartitionId,
    /// The segment that their mappings are sealed under.
    pub segment: SegmentId,
    /// The granularity values of their domain.
    pub scope: DomainScope,
}

/// One small chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallChunk {
    /// Its sequence.
    pub sequence: u32,
    /// How many records it has.
    pub records: u32,
}

/// All small chunks that are known.
#[derive(Default)]
pub struct SmallChunks(Mutex<KnownSmallChunks>);

#[derive(Default)]
struct KnownSmallChunks {
    kinds: HashMap<SmallChunkKind, ChunksOfKind>,
    /// Kinds that may have become due since the last search.
    touched: Vec<SmallChunkKind>,
    looked: Option<Instant>,
}

struct ChunksOfKind {
    chunks: Vec<SmallChunk>,
    records: u32,
    since: Instant,
}

impl ChunksOfKind {
    fn is_due(&self, now: Instant) -> bool {
        let enough = self.records as usize >= MAX_RECORDS || self.chunks.len() >= MANY;
        enough || (self.chunks.len() >= 2 && now.saturating_duration_since(self.since) >= QUIET)
    }

    /// Takes as many as fit into one chunk.
    fn take(&mut self) -> Vec<SmallChunk> {
        let mut records = 0;
        let fits = |small: &&SmallChunk| {
            records += small.records;
            records as usize <= MAX_RECORDS
        };
        let count = self.chunks.iter().take_while(fits).count();
        let taken: Vec<_> = self.chunks.drain(..count).collect();
        self.records -= taken.iter().map(|small| small.records).sum::<u32>();
        taken
    }
}

impl SmallChunks {
    /// Adds a chunk, if it is small. It must be durable.
    pub fn add(&self, kind: &SmallChunkKind, small: SmallChunk) {
        if small.records as usize >= SMALL {
            return;
        }
        let now = Instant::now();
        let mut all = unpoisoned(self.0.lock());
        let empty = || ChunksOfKind {
            chunks: vec![],
            records: 0,
            since: now,
        };
        let chunks = all.kinds.entry(kind.clone()).or_insert_with(empty);
        let was_due = chunks.is_due(chunks.since);
        chunks.chunks.push(small);
        chunks.records += small.records;
        chunks.since = now;
        if !was_due && chunks.is_due(now) {
            all.touched.push(kind.clone());
        }
    }

    /// Forgets the chunks of a partition: they are gone.
    pub fn forget(&self, partition: PartitionId) {
        let mut all = unpoisoned(self.0.lock());
        all.kinds.retain(|kind, _| kind.partition != partition);
        all.touched.retain(|kind| kind.partition != partition);
    }

    /// How many small chunks are known.
    pub fn len(&self) -> usize {
        unpoisoned(self.0.lock())
            .kinds
            .values()
            .map(|chunks| chunks.chunks.len())
            .sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes at least two chunks that are due to be merged into one.
    pub fn take(&self) -> Option<(SmallChunkKind, Vec<SmallChunk>)> {
        let now = Instant::now();
        let mut all = unpoisoned(self.0.lock());
        if all.touched.is_empty()
            && all
                .looked
                .is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK)
        {
            all.looked = Some(now);
            let due = all
                .kinds
                .iter()
                .filter(|(_, chunks)| chunks.is_due(now))
                .map(|(kind, _)| kind.clone());
            all.touched = due.collect();
        }
        loop {
            let kind = all.touched.last()?.clone();
            let taken = all
                .kinds
                .get_mut(&kind)
                .filter(|chunks| chunks.is_due(now))
                .map(ChunksOfKind::take);
            if !all
                .kinds
                .get(&kind)
                .is_some_and(|chunks| chunks.is_due(now))
            {
                all.touched.pop();
            }
            all.kinds
                .retain(|other, chunks| *other != kind || !chunks.chunks.is_empty());
            match taken {
                Some(taken) if taken.len() >= 2 => return Some((kind, taken)),
                _ => continue,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(epoch: u32) -> SmallChunkKind {
        SmallChunkKind {
            partition: (1, epoch),
            segment: [7; 16],
            scope: DomainScope::default(),
        }
    }

    fn add(small: &SmallChunks, epoch: u32, sizes: &[u32]) {
        (1..).zip(sizes).for_each(|(sequence, records)| {
            small.add(
                &kind(epoch),
                SmallChunk {
                    sequence,
                    records: *records,
                },
            );
        });
    }

    #[test]
    fn many_of_one_record_become_one() {
        let small = SmallChunks::default();
        add(&small, 1, &[1; 31]);
        assert_eq!(small.take(), None, "not many yet");
        add(&small, 1, &[1; 1]);
        let (of, taken) = small.take().unwrap();
        assert_eq!((of, taken.len()), (kind(1), 32));
        assert_eq!((small.take(), small.len()), (None, 0));
    }

    #[test]
    fn what_is_taken_fits_one_chunk() {
        let small = SmallChunks::default();
        add(&small, 1, &[127, 127, 127, 5, 128, 255]);
        add(&small, 2, &[3, 3]);
        assert_eq!(small.len(), 6, "128 and 255 are not small");
        let (_, taken) = small.take().unwrap();
        assert_eq!(
            taken,
            [
                SmallChunk {
                    sequence: 1,
                    records: 127
                },
                SmallChunk {
                    sequence: 2,
                    records: 127
                }
            ]
        );
        assert_eq!((small.take(), small.len()), (None, 4));
    }

    #[test]
    fn a_backlog_is_taken_piece_by_piece() {
        let small = SmallChunks::default();
        add(&small, 1, &[1; 1_000]);
        let mut pieces = vec![];
        while let Some((_, taken)) = small.take() {
            pieces.push(taken.len());
        }
        assert_eq!(pieces, [256, 256, 256, 232]);
    }
}
