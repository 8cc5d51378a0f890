//! The mappings of an erasure: finds their chunks and the salts that go with them, and rewrites the
//! chunks without them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::audit::Domain;
use crate::commit::small::{SmallChunk, SmallChunkKind};
use crate::keys::DomainScope;
use crate::pseudonym::{ParsedPseudonym, Pseudonym};
use crate::refusal::{Refusal, fault};
use crate::rights::FAILED;
use crate::rights::resolutions::first_since;
use crate::seal::chunk::{Chunk, ChunkBuilder, ChunkCipher};
use crate::seal::segment;
use crate::store::index::Index;
use crate::store::{ChunkKey, RowBatch, Store, StoreError};
use crate::vault::{SectorState, Vault};

/// A chunk, and the mappings to remove from it.
pub(super) struct AffectedChunk {
    chunk: Chunk,
    erased: Vec<Pseudonym>,
}

/// The chunks that hold mappings of those pseudonyms.
///
/// # Errors
/// [`Code::Internal`](crate::code::Code::Internal), also if the store does not have a chunk that
/// the index names: the erasure must not claim then that its mappings are gone.
pub(super) fn read(
    vault: &Vault,
    state: &SectorState,
    wanted: &[ParsedPseudonym],
) -> Result<BTreeMap<ChunkKey, AffectedChunk>, Refusal> {
    let mut found: BTreeMap<ChunkKey, AffectedChunk> = BTreeMap::new();
    let each = |key, chunk, held: Vec<ParsedPseudonym>| {
        let found = found.entry(key).or_insert(AffectedChunk {
            chunk,
            erased: vec![],
        });
        found
            .erased
            .extend(held.iter().map(|parsed| parsed.pseudonym));
    };
    // A pseudonym that the index does not have has no mapping.
    let absent = vault
        .each_stored(state, wanted.to_vec(), each)
        .map_err(fault(FAILED))?;
    if !absent.missing.is_empty() {
        return Err(fault(FAILED)(
            "the index names a chunk that the store does not have",
        ));
    }
    Ok(found)
}

/// The domain of a mapping, and the earliest time at which it can have been stored.
pub(crate) struct MappingDomain {
    pub(crate) epoch: u32,
    pub(crate) scope: DomainScope,
    pub(crate) opened: Timestamp,
}

/// The domains of the chunks.
pub(super) fn domains(
    vault: &Vault,
    found: &BTreeMap<ChunkKey, AffectedChunk>,
) -> Result<Vec<MappingDomain>, Refusal> {
    let of = |(key, found): (&ChunkKey, &AffectedChunk)| {
        let record = vault
            .store()
            .segment(found.chunk.segment())
            .map_err(fault(FAILED))?
            .unwrap_or_default();
        let opened = segment::opened_at(&record).map_err(fault(FAILED))?;
        Ok(MappingDomain {
            epoch: key.epoch,
            scope: found.chunk.scope().clone(),
            opened,
        })
    };
    found.iter().map(of).collect()
}

/// The domains that the search for the salts of `searched` has not covered, or not far enough back.
pub(super) fn beyond(
    domains: Vec<MappingDomain>,
    searched: &[MappingDomain],
) -> Vec<MappingDomain> {
    let is_in = |since: &MappingDomain| {
        let covers = |known: &MappingDomain| {
            known.epoch == since.epoch && known.scope == since.scope && known.opened <= since.opened
        };
        searched.iter().any(covers)
    };
    domains.into_iter().filter(|since| !is_in(since)).collect()
}

/// The members of a `tokenize` entry that are read.
#[derive(Deserialize)]
struct TokenizeEntry {
    event: String,
    #[serde(default)]
    sector: String,
    domain: Option<Domain>,
    previous: Option<u32>,
}

/// The entries that still have their salt and whose salted digests may cover one of the mappings;
/// and where the log ended. The search begins at entry `from`, or when the first of the mappings'
/// segments was opened.
pub(crate) fn salts(
    store: &Store,
    sector: &str,
    domains: &[MappingDomain],
    from: Option<u64>,
) -> Result<(Vec<u64>, u64), Refusal> {
    let end = store
        .last_audit()
        .map_err(fault(FAILED))?
        .map_or(0, |(number, _)| number + 1);
    let Some(oldest) = domains.iter().map(|domain| domain.opened).min() else {
        return Ok((vec![], end));
    };
    let from = from.map_or_else(|| first_since(store, oldest), Ok)?;
    let mut salts = vec![];
    let each = |number: u64, entry: &[u8]| -> Result<(), StoreError> {
        let Ok(batch) = serde_json::from_slice::<TokenizeEntry>(entry) else {
            return Ok(());
        };
        let is_over = |since: &MappingDomain| {
            let same =
                |domain: &Domain| domain.epoch == since.epoch && domain.scope() == since.scope;
            batch.domain.as_ref().is_some_and(same) || batch.previous == Some(since.epoch)
        };
        if batch.event == "tokenize"
            && batch.sector == sector
            && domains.iter().any(is_over)
            && store.salt(number)?.is_some()
        {
            salts.push(number);
        }
        Ok(())
    };
    let count = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
    store.each_audit(from, count, each).map_err(fault(FAILED))?;
    Ok((salts, end))
}

/// Rewrites the chunks, in the writer's commit and while the index does not change. Returns the
/// chunks that have room now.
///
/// # Panics
/// If the index cannot be read or contradicts the chunks. The writer then ends, as after a failed
/// write, and nothing was changed.
pub(super) fn rewrite(
    store: &Store,
    batch: &mut RowBatch,
    index: &Index,
    cipher: &ChunkCipher,
    found: BTreeMap<ChunkKey, AffectedChunk>,
) -> Vec<(SmallChunkKind, SmallChunk)> {
    let mut fresh = vec![];
    for (old, AffectedChunk { chunk, erased }) in found
        .into_iter()
        .filter(|(_, found)| !found.erased.is_empty())
    {
        let records: Vec<_> = chunk.records().filter_map(Result::ok).collect();
        let all: Vec<[u8; 16]> = records
            .iter()
            .map(|record| *record.pseudonym.as_bytes())
            .collect();
        let kept: Vec<_> = records
            .iter()
            .filter(|record| !erased.contains(&record.pseudonym))
            .collect();
        let bytes: Vec<_> = kept.iter().map(|record| record.to_bytes()).collect();
        let size = bytes.iter().map(Vec::len).sum();
        let mut plain = ChunkBuilder::new(chunk.segment(), chunk.scope(), kept.len(), size);
        kept.iter()
            .zip(&bytes)
            .for_each(|(record, bytes)| plain.push(record.pseudonym, bytes));

        let partition = index.partition((old.sector, old.epoch));
        let given = partition.give_chunk(store, batch, &all, &[old.sequence]);
        let given = given.unwrap_or_else(|error| panic!("the index could not be read: {error}"));
        let new = ChunkKey {
            sequence: given.expect("the index says what the chunk says"),
            ..old
        };
        store.delete_chunk(batch, old);
        if !kept.is_empty() {
            store.put_chunk(batch, new, &cipher.wrap(&new.to_bytes(), plain));
            let partition = (old.sector, old.epoch);
            let kind = SmallChunkKind {
                partition,
                segment: *chunk.segment(),
                scope: chunk.scope().clone(),
            };
            fresh.push((
                kind,
                SmallChunk {
                    sequence: new.sequence,
                    records: kept.len() as u32,
                },
            ));
        }
        let erased: Vec<[u8; 16]> = erased
            .iter()
            .map(|pseudonym| *pseudonym.as_bytes())
            .collect();
        partition.forget(&erased);
    }
    fresh
}
