//! Merging small chunks: their records, sorted, in one chunk under a new sequence, and the old rows
//! gone, in one commit of the one writer.
//!
//! Records stay sealed as they are; only the vault's own envelope is opened and closed. A look-up
//! that found an old sequence just before meets no chunk there, and looks again (`vault::stored`).

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

/// Merges chunks of one kind, which fit one chunk; how many old ones are gone.
///
/// # Errors
/// When one of them does not open; nothing has changed then.
pub(super) fn merge(
    parts: &KeeperParts,
    kind: &SmallChunkKind,
    small: &[SmallChunk],
) -> Result<u64, StartError> {
    let (sector, epoch) = kind.partition;
    let mut chunks: Vec<(ChunkKey, Chunk)> = Vec::with_capacity(small.len());
    for SmallChunk { sequence, .. } in small {
        let key = ChunkKey {
            sector,
            epoch,
            sequence: *sequence,
        };
        chunks.extend(
            stored_chunk(parts.entity.store(), &parts.cipher, key)?.map(|chunk| (key, chunk)),
        );
    }
    if chunks.len() < 2 {
        return Ok(0);
    }
    let (plain, pseudonyms) = put_together(kind, &chunks)?;
    let count = pseudonyms.len() as u32;
    let mut old: Vec<u32> = chunks.into_iter().map(|(key, _)| key.sequence).collect();
    old.sort_unstable();
    let gone = old.len() as u64;

    // The writer's: 0 stands for none.
    let given = Arc::new(AtomicU32::new(0));
    let (cipher, partition, tell) = (
        parts.cipher.clone(),
        parts.index.partition(kind.partition),
        given.clone(),
    );
    let change: Change = Box::new(move |store, batch| {
        if partition.is_held() {
            return;
        }
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
        old.iter().for_each(|sequence| {
            store.delete_chunk(
                batch,
                ChunkKey {
                    sequence: *sequence,
                    ..key
                },
            )
        });
        tell.store(sequence, Ordering::Release);
    });
    let done = match parts.entity.committer().change_unlogged(change) {
        Ok(()) => true,
        Err(Code::Overloaded) => false,
        Err(_) => return Ok(0),
    };
    match given.load(Ordering::Acquire) {
        0 if !done => {
            // It never reached the writer, who has better things to do just now.
            small
                .iter()
                .for_each(|small| parts.entity.committer().small().add(kind, *small));
            Ok(0)
        }
        0 => Ok(0),
        _ if !done => Ok(0),
        sequence => {
            parts.entity.committer().small().add(
                kind,
                SmallChunk {
                    sequence,
                    records: count,
                },
            );
            Ok(gone)
        }
    }
}

/// The records of several chunks in one, and whose they are.
fn put_together(
    kind: &SmallChunkKind,
    chunks: &[(ChunkKey, Chunk)],
) -> Result<(ChunkBuilder, Vec<[u8; 16]>), StartError> {
    let mut records = Vec::new();
    for (key, chunk) in chunks {
        for record in chunk.records() {
            let record = record.map_err(bad_chunk(*key))?;
            records.push((record.pseudonym, record.to_bytes()));
        }
    }
    records.sort_by_key(|(pseudonym, _)| *pseudonym);
    // Nothing is stored twice; and if it were, one is enough.
    records.dedup_by(|a, b| a.0 == b.0);
    let bytes = records.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut plain = ChunkBuilder::new(&kind.segment, &kind.scope, records.len(), bytes);
    records
        .iter()
        .for_each(|(pseudonym, bytes)| plain.push(*pseudonym, bytes));
    Ok((
        plain,
        records
            .into_iter()
            .map(|(pseudonym, _)| *pseudonym.as_bytes())
            .collect(),
    ))
}
