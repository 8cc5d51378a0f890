//! Merges small chunks: one commit of the writer stores their records, sorted, as one chunk under a
//! new sequence, and deletes the old rows.
//!
//! Records stay sealed; only the vault's own envelope is opened and made anew. A look-up that read
//! an old sequence just before the commit finds no chunk there, and looks again (`vault::stored`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::KeeperParts;
use crate::code::Code;
use crate::commit::Change;
use crate::commit::small::{SmallChunk, SmallChunkKind};
use crate::seal::chunk::{Chunk, ChunkBuilder};
use crate::store::ChunkKey;
use crate::vault::StartError;
use crate::vault::stored::{bad_chunk, stored_chunk};

/// Merges chunks of one kind that fit into one chunk. Returns how many old chunks are gone.
///
/// # Errors
/// When one of them does not open. Nothing has changed then.
pub(super) fn merge(
    parts: &KeeperParts,
    kind: &SmallChunkKind,
    small: &[SmallChunk],
) -> Result<u64, StartError> {
    let chunks = stored_chunks(parts, kind, small)?;
    if chunks.len() < 2 {
        return Ok(0);
    }
    let merged = combine(kind, &chunks)?;
    let (gone, records) = (chunks.len() as u64, merged.pseudonyms.len() as u32);
    // The writer stores the new chunk's sequence here. 0 stands for none.
    let given = Arc::new(AtomicU32::new(0));
    let change = replacement(parts, kind, merged, given.clone());
    let committer = parts.entity.committer();
    match committer.change_unlogged(change) {
        Ok(()) => {}
        Err(Code::Overloaded) => {
            // The job was never queued. Try again when the writer has less to do.
            small
                .iter()
                .for_each(|small| committer.small().add(kind, *small));
            return Ok(0);
        }
        Err(_) => return Ok(0),
    }
    match given.load(Ordering::Acquire) {
        0 => Ok(0),
        sequence => {
            committer
                .small()
                .add(kind, SmallChunk { sequence, records });
            Ok(gone)
        }
    }
}

/// Opens those of the small chunks that are still stored.
fn stored_chunks(
    parts: &KeeperParts,
    kind: &SmallChunkKind,
    small: &[SmallChunk],
) -> Result<Vec<(ChunkKey, Chunk)>, StartError> {
    let (sector, epoch) = kind.partition;
    let mut chunks = Vec::with_capacity(small.len());
    for SmallChunk { sequence, .. } in small {
        let key = ChunkKey {
            sector,
            epoch,
            sequence: *sequence,
        };
        let chunk = stored_chunk(parts.entity.store(), &parts.cipher, key)?;
        chunks.extend(chunk.map(|chunk| (key, chunk)));
    }
    Ok(chunks)
}

/// Stores the merged chunk in place of the old ones, unless an entry has left them meanwhile, and
/// tells its sequence in `given`.
fn replacement(
    parts: &KeeperParts,
    kind: &SmallChunkKind,
    merged: MergedChunk,
    given: Arc<AtomicU32>,
) -> Change {
    let (sector, epoch) = kind.partition;
    let (cipher, partition) = (parts.cipher.clone(), parts.index.partition(kind.partition));
    Box::new(move |store, batch| {
        if partition.is_held() {
            return;
        }
        let MergedChunk {
            plain,
            pseudonyms,
            old,
        } = merged;
        let sequence = match partition.give_chunk(store, batch, &pseudonyms, &old) {
            Ok(Some(sequence)) => sequence,
            Ok(None) => return,
            Err(error) => {
                return tracing::error!(%error, "the index could not be read; small chunks stay as they are");
            }
        };
        let key = ChunkKey {
            sector,
            epoch,
            sequence,
        };
        store.put_chunk(batch, key, &cipher.wrap(&key.to_bytes(), plain));
        for sequence in old {
            store.delete_chunk(batch, ChunkKey { sequence, ..key });
        }
        given.store(sequence, Ordering::Release);
    })
}

/// A chunk that takes the place of several.
struct MergedChunk {
    plain: ChunkBuilder,
    pseudonyms: Vec<[u8; 16]>,
    /// The sequences of the old chunks, sorted.
    old: Vec<u32>,
}

/// Puts the records of several chunks into one, sorted.
fn combine(kind: &SmallChunkKind, chunks: &[(ChunkKey, Chunk)]) -> Result<MergedChunk, StartError> {
    let mut records = Vec::new();
    for (key, chunk) in chunks {
        for record in chunk.records() {
            let record = record.map_err(bad_chunk(*key))?;
            records.push((record.pseudonym, record.to_bytes()));
        }
    }
    records.sort_by_key(|(pseudonym, _)| *pseudonym);
    // No pseudonym is stored twice. If one were, one record is enough.
    records.dedup_by(|a, b| a.0 == b.0);
    let bytes = records.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut plain = ChunkBuilder::new(&kind.segment, &kind.scope, records.len(), bytes);
    records
        .iter()
        .for_each(|(pseudonym, bytes)| plain.push(*pseudonym, bytes));
    let mut old: Vec<u32> = chunks.iter().map(|(key, _)| key.sequence).collect();
    old.sort_unstable();
    let pseudonyms = records
        .into_iter()
        .map(|(pseudonym, _)| *pseudonym.as_bytes());
    Ok(MergedChunk {
        plain,
        pseudonyms: pseudonyms.collect(),
        old,
    })
}
