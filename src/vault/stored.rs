//! Looks up stored mappings: finds the chunk, unwraps it, and looks again until the commits under
//! way have settled. Releases, orders' copies and erasures look up here. Merges, migrations and the
//! start, which go through whole chunks, open these here.

use std::collections::{BTreeMap, HashMap};

use super::{SectorState, StartError, Vault};
use crate::code::Code;
use crate::pseudonym::ParsedPseudonym;
use crate::seal::SealError;
use crate::seal::chunk::{Chunk, ChunkCipher};
use crate::store::{ChunkKey, Store, StoreError};

/// How often a missing chunk is looked for again.
const MOST_LOOKS: usize = 16;

/// For `map_err`: names the chunk that does not open.
pub(crate) fn bad_chunk(key: ChunkKey) -> impl Fn(SealError) -> StartError + Copy {
    let ChunkKey {
        sector,
        epoch,
        sequence,
    } = key;
    move |source| StartError::Chunk {
        sector,
        epoch,
        sequence,
        source,
    }
}

/// Opens the vault's envelope around a chunk's row.
///
/// # Errors
/// [`StartError::Chunk`]
pub(crate) fn open_chunk(
    cipher: &ChunkCipher,
    key: ChunkKey,
    row: Vec<u8>,
) -> Result<Chunk, StartError> {
    cipher.unwrap(&key.to_bytes(), row).map_err(bad_chunk(key))
}

/// The chunk under a key, if it is stored.
///
/// # Errors
/// [`StartError::Store`], [`StartError::Chunk`]
pub(crate) fn stored_chunk(
    store: &Store,
    cipher: &ChunkCipher,
    key: ChunkKey,
) -> Result<Option<Chunk>, StartError> {
    store
        .chunk(key)?
        .map(|row| open_chunk(cipher, key, row))
        .transpose()
}

/// The pseudonyms for which no mapping was found.
#[derive(Default)]
pub(crate) struct AbsentMappings {
    /// Why there is none.
    pub(crate) codes: HashMap<ParsedPseudonym, Code>,
    /// Those whose chunk the index names and the store did not have at any look.
    pub(crate) missing: Vec<ParsedPseudonym>,
}

impl Vault {
    /// Looks up the mappings of pseudonyms of a sector. Hands each chunk that holds some of them to
    /// `each`, with these. A chunk may come twice, with other pseudonyms.
    ///
    /// # Errors
    /// [`StartError::Store`]; [`StartError::Chunk`] for a chunk that does not open.
    pub(crate) fn each_stored(
        &self,
        state: &SectorState,
        wanted: Vec<ParsedPseudonym>,
        mut each: impl FnMut(ChunkKey, Chunk, Vec<ParsedPseudonym>),
    ) -> Result<AbsentMappings, StartError> {
        let mut absent = AbsentMappings::default();
        let mut missing = self.look(state, wanted, &mut absent.codes, &mut each)?;
        // The index names a chunk just before the commit that stores it, and a merge may have moved
        // the records since. Once the commits under way are over, another look finds them, unless
        // the chunk was merged once more. A chunk that is still missing holds no mapping that was
        // answered.
        for _ in 0..MOST_LOOKS {
            if missing.is_empty() || !self.committer().settled() {
                break;
            }
            missing = self.look(state, missing, &mut absent.codes, &mut each)?;
        }
        Ok(AbsentMappings { missing, ..absent })
    }

    /// Looks once. Returns the pseudonyms that the index knows and the store does not have.
    fn look(
        &self,
        state: &SectorState,
        wanted: Vec<ParsedPseudonym>,
        codes: &mut HashMap<ParsedPseudonym, Code>,
        each: &mut impl FnMut(ChunkKey, Chunk, Vec<ParsedPseudonym>),
    ) -> Result<Vec<ParsedPseudonym>, StartError> {
        let mut missing = Vec::new();
        let mut chunks: BTreeMap<ChunkKey, Vec<ParsedPseudonym>> = BTreeMap::new();
        for parsed in wanted {
            match self.locate(state, &parsed)? {
                Ok(key) => chunks.entry(key).or_default().push(parsed),
                Err(code) => drop(codes.insert(parsed, code)),
            }
        }
        for (key, mut wanted) in chunks {
            let Some(chunk) = stored_chunk(self.store(), self.cipher(), key)? else {
                missing.extend(wanted);
                continue;
            };
            let mut held = vec![];
            for parsed in wanted.drain(..) {
                match chunk.find(&parsed.pseudonym).map_err(bad_chunk(key))? {
                    Some(_) => held.push(parsed),
                    None => drop(codes.insert(parsed, Code::NoMapping)),
                }
            }
            each(key, chunk, held);
        }
        Ok(missing)
    }

    /// The chunk that holds a pseudonym's mapping.
    fn locate(
        &self,
        state: &SectorState,
        parsed: &ParsedPseudonym,
    ) -> Result<Result<ChunkKey, Code>, StoreError> {
        let (mut known, mut retired) = (false, false);
        let epochs = state.epochs();
        if epochs
            .iter()
            .all(|epoch| epoch.terms.text_form != parsed.form)
        {
            return Ok(Err(Code::PseudonymMalformed));
        }
        // The newest epoch first, because most look-ups are of it.
        for epoch in epochs.iter().rev().filter(|epoch| epoch.writes(parsed)) {
            if epoch.is_retired() {
                retired = true;
                continue;
            }
            let epoch = epoch.row.epoch;
            known = true;
            let partition = self.index().partition((state.number, epoch));
            if let Some(sequence) = partition.locate(self.store(), parsed.pseudonym.as_bytes())? {
                return Ok(Ok(ChunkKey {
                    sector: state.number,
                    epoch,
                    sequence,
                }));
            }
        }
        Ok(Err(match (known, retired) {
            // A form that does not name its epoch may be of a retired epoch, too.
            (true, _) => Code::NoMapping,
            (false, true) => Code::EpochRetired,
            (false, false) => Code::PseudonymUnknownEpoch,
        }))
    }
}
