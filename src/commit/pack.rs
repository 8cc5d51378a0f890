//! Packs the new mappings of one group of jobs into chunks. Enters them into the index, and leaves
//! out those that it already knows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::small::{self, SmallChunk, SmallChunkKind};
use super::{CommitWriter, NewMappings};
use crate::keys::DomainScope;
use crate::seal::chunk::{ChunkBuilder, MAX_RECORDS, RecordRef};
use crate::seal::segment::{OpenSegment, SegmentId};
use crate::store::index::{AHEAD, Partition, PartitionId, PartitionInsertions};
use crate::store::{ChunkKey, RowBatch, Store, StoreError};

impl CommitWriter {
    /// Stores those of the mappings that are not stored yet. Full chunks stay as they came. The
    /// records of smaller ones are combined, by partition, segment and scope.
    pub(super) fn pack(
        &mut self,
        batch: &mut RowBatch,
        mappings: Vec<NewMappings>,
        segments: &mut Vec<Arc<OpenSegment>>,
    ) -> Result<(), StoreError> {
        for ((partition, id, scope), group) in grouped(mappings) {
            let segment = group.segment.clone();
            let chunks = claim(
                &self.store,
                &self.index.partition(partition),
                &id,
                &scope,
                group,
            )?;
            if !chunks.is_empty() && !segment.is_stored() {
                self.store.put_segment(batch, &id, segment.record());
                self.store
                    .put_segment_opening(batch, &id, segment.opening());
                segments.push(segment);
            }
            let cipher = self
                .cipher
                .as_ref()
                .expect("mappings come only where a chunk cipher is");
            for (sequence, chunk) in chunks {
                let key = ChunkKey {
                    sector: partition.0,
                    epoch: partition.1,
                    sequence,
                };
                let records = chunk.records().len();
                self.inserted += records as u64;
                if records < small::SMALL {
                    let kind = SmallChunkKind {
                        partition,
                        segment: id,
                        scope: (*scope).clone(),
                    };
                    self.fresh.push((
                        kind,
                        SmallChunk {
                            sequence,
                            records: records as u32,
                        },
                    ));
                }
                self.store
                    .put_chunk(batch, key, &cipher.wrap(&key.to_bytes(), chunk));
            }
        }
        Ok(())
    }
}

/// Sorts mappings by partition, segment and scope.
fn grouped(
    mappings: Vec<NewMappings>,
) -> BTreeMap<(PartitionId, SegmentId, Arc<DomainScope>), PackGroup> {
    let mut groups = BTreeMap::new();
    for new in mappings {
        let group = groups
            .entry((new.partition, *new.segment.id(), new.scope))
            .or_insert_with(|| PackGroup {
                segment: new.segment,
                full: vec![],
                small: vec![],
                generation: new.generation,
            });
        group.generation = group.generation.min(new.generation);
        for chunk in new.chunks {
            if chunk.records().len() == MAX_RECORDS {
                group.full.push(chunk);
            } else {
                group.small.push(chunk);
            }
        }
    }
    groups
}

/// Pseudonyms of the group that are stored and whose entries have moved from the index's tables to
/// the disk.
fn moved_meanwhile(
    store: &Store,
    partition: &Partition,
    group: &PackGroup,
) -> Result<HashSet<[u8; 16]>, StoreError> {
    let chunks = group.full.iter().chain(&group.small);
    let all: Vec<_> = chunks
        .flat_map(ChunkBuilder::records)
        .map(|record| *record.pseudonym.as_bytes())
        .collect();
    let found = partition.below(store, &all)?;
    Ok(all
        .into_iter()
        .zip(found)
        .filter_map(|(pseudonym, chunk)| chunk.map(|_| pseudonym))
        .collect())
}

/// Enters mappings into the index. Returns those that were not there yet, in chunks, each with its
/// sequence.
fn claim(
    store: &Store,
    partition: &Partition,
    id: &SegmentId,
    scope: &DomainScope,
    group: PackGroup,
) -> Result<Vec<(u32, ChunkBuilder)>, StoreError> {
    // A key that missed at lookup may since have been inserted and evicted to disk. While the
    // tables are locked nothing leaves them.
    let (mut moved, mut generation) = (HashSet::new(), group.generation);
    let mut index = loop {
        let index = partition.write();
        let present = partition.generation();
        if present == generation {
            break index;
        }
        drop(index);
        (moved, generation) = (moved_meanwhile(store, partition, &group)?, present);
    };
    if partition.is_retired() {
        // The request came in the last moment of an overlap. Its epoch is gone, so nothing of it is
        // stored.
        return Ok(vec![]);
    }
    moved.extend(partition.erased());
    let PackGroup { full, small, .. } = group;
    let (small, moved) = (&small[..], &moved);
    let next = &mut partition.sequence();
    let mut chunks = Vec::with_capacity(full.len() + small.len());
    let mut finish = |chunk, next: &mut u32| {
        chunks.push((*next, chunk));
        // Wrapping around would overwrite the first chunks.
        *next = next
            .checked_add(1)
            .expect("an epoch of a sector has fewer than 2^32 chunks");
    };
    for mut chunk in full {
        let mut new = [false; MAX_RECORDS];
        enter(&mut index, chunk.records(), moved, *next, |place| {
            new[place] = true;
        });
        let mut new = new.iter();
        chunk.retain(|_| *new.next().expect("no chunk has more records"));
        if !chunk.records().is_empty() {
            finish(chunk, next);
        }
    }
    let mut run = Vec::with_capacity(MAX_RECORDS);
    for chunk in small {
        if run.len() + chunk.records().len() > MAX_RECORDS {
            finish(combine(id, scope, std::mem::take(&mut run)), next);
        }
        enter(&mut index, chunk.records(), moved, *next, |place| {
            run.push((chunk, chunk.records()[place]));
        });
    }
    if !run.is_empty() {
        finish(combine(id, scope, run), next);
    }
    partition.set_sequence(*next);
    Ok(chunks)
}

/// What one group of jobs stores in one partition, segment and scope.
struct PackGroup {
    segment: Arc<OpenSegment>,
    full: Vec<ChunkBuilder>,
    small: Vec<ChunkBuilder>,
    /// The index's generation before the first look-up that did not find them.
    generation: u64,
}

/// Enters records under a chunk's sequence. Hands `new` the places of those that were not there
/// yet.
fn enter(
    index: &mut PartitionInsertions<'_>,
    records: &[RecordRef],
    moved: &HashSet<[u8; 16]>,
    sequence: u32,
    mut new: impl FnMut(usize),
) {
    for (block, start) in records.chunks(AHEAD).zip((0..).step_by(AHEAD)) {
        index.prefetch(block.iter().map(|record| record.pseudonym.as_bytes()));
        for (place, record) in (start..).zip(block) {
            let pseudonym = record.pseudonym.as_bytes();
            let is_moved = !moved.is_empty() && moved.contains(pseudonym);
            if !is_moved && index.insert(pseudonym, sequence) {
                new(place);
            }
        }
    }
}

/// Combines records of several chunks into one.
fn combine(
    id: &SegmentId,
    scope: &DomainScope,
    mut run: Vec<(&ChunkBuilder, RecordRef)>,
) -> ChunkBuilder {
    run.sort_unstable_by_key(|(_, record)| record.pseudonym);
    let bytes = run
        .iter()
        .map(|(chunk, record)| chunk.record(record).len())
        .sum();
    let mut together = ChunkBuilder::new(id, scope, run.len(), bytes);
    run.iter()
        .for_each(|(chunk, record)| together.push(record.pseudonym, chunk.record(record)));
    together
}
