//! Derives the pseudonyms of one batch in one domain, looks them up, and seals the mappings that
//! are not stored yet.

use std::sync::Arc;

use jiff::Timestamp;

use super::{CanonicalBatch, OpenDomain, yield_after};
use crate::clock::{day_of, give_way};
use crate::code::Code;
use crate::commit::NewMappings;
use crate::keys::{DomainKey, NoncePart, PrfOutput, Uti};
use crate::pseudonym::Pseudonym;
use crate::refusal::{Refusal, fault};
use crate::register::{Id, TextForm};
use crate::seal::chunk::{ChunkBuilder, MAX_RECORDS};
use crate::seal::mapping::{MappingLocation, MappingSealer};
use crate::seal::segment::OpenSegment;
use crate::store::index::{AHEAD, Partition, PartitionView};
use crate::vault::{SectorState, Vault};

/// One batch of a sector, whose pseudonyms are derived in one domain after the other.
pub(crate) struct BatchDerivation<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) state: &'a SectorState,
    pub(crate) scheme: &'a Id,
    pub(crate) batch: &'a CanonicalBatch,
    /// The UTIs of the batch's values, in order.
    pub(crate) utis: &'a [Uti],
    pub(crate) now: Timestamp,
}

/// A mapping that is not stored yet.
struct UnstoredMapping {
    pseudonym: Pseudonym,
    nonce: NoncePart,
    /// Place among the accepted identifiers.
    place: u32,
}

impl BatchDerivation<'_> {
    /// Derives the pseudonyms in one domain; mappings that are not stored yet are sealed and added
    /// to `mappings`.
    ///
    /// # Errors
    /// [`Code::DomainClosed`] if the epoch's secret was destroyed; [`Code::Internal`].
    pub(crate) fn in_domain(
        &self,
        domain: &OpenDomain,
        mappings: &mut Vec<NewMappings>,
    ) -> Result<Vec<Pseudonym>, Refusal> {
        let epoch = &domain.epoch;
        let sector_key = epoch.key.as_ref().ok_or(Code::DomainClosed)?;
        let key = sector_key.domain(epoch.row.epoch, &domain.scope);
        if !epoch.terms.reversible {
            return Ok(self.derive(&key, epoch.terms.text_form));
        }
        let partition = (self.state.number, epoch.row.epoch);
        let index = self.vault.index().partition(partition);
        // Read before the look-up: the writer looks up again what may have left the tables since.
        let generation = index.generation();
        let (pseudonyms, mut unstored) =
            self.derive_and_look_up(&key, epoch.terms.text_form, &index);
        self.drop_stored_on_disk(&index, &mut unstored)?;
        self.drop_erased(&mut unstored);
        if !unstored.is_empty() {
            let (segment, chunks) = self.seal(domain, unstored)?;
            let scope = Arc::new(domain.scope.clone());
            mappings.push(NewMappings {
                partition,
                scope,
                segment,
                chunks,
                generation,
            });
        }
        Ok(pseudonyms)
    }

    /// Derives the pseudonyms of an epoch that stores no mappings.
    fn derive(&self, key: &DomainKey, form: TextForm) -> Vec<Pseudonym> {
        let mut pseudonyms = Vec::with_capacity(self.utis.len());
        let mut prfs: Vec<PrfOutput> = Vec::with_capacity(AHEAD);
        for utis in self.utis.chunks(AHEAD) {
            key.prfs(utis, &mut prfs);
            pseudonyms.extend(prfs.iter().map(|prf| prf.to_pseudonym().fixed_for(form)));
            prfs.clear();
            yield_after(pseudonyms.len());
        }
        pseudonyms
    }

    /// Derives the pseudonyms and finds the mappings that the index's tables do not have. The slots
    /// of each block are prefetched while the next block is hashed.
    fn derive_and_look_up(
        &self,
        key: &DomainKey,
        form: TextForm,
        index: &Partition,
    ) -> (Vec<Pseudonym>, Vec<UnstoredMapping>) {
        let mut pseudonyms = Vec::with_capacity(self.utis.len());
        let mut unstored = Vec::new();
        let mut hashed: Vec<PrfOutput> = Vec::with_capacity(AHEAD);
        let mut fetched: Vec<PrfOutput> = Vec::with_capacity(AHEAD);
        for utis in self.utis.chunks(AHEAD) {
            let first = pseudonyms.len();
            key.prfs(utis, &mut hashed);
            pseudonyms.extend(hashed.iter().map(|prf| prf.to_pseudonym().fixed_for(form)));
            let view = index.read();
            pseudonyms[first..]
                .iter()
                .for_each(|pseudonym| view.prefetch(pseudonym.as_bytes()));
            keep_unstored(&view, &pseudonyms[..first], &mut fetched, &mut unstored);
            drop(view);
            std::mem::swap(&mut hashed, &mut fetched);
            yield_after(pseudonyms.len());
        }
        keep_unstored(&index.read(), &pseudonyms, &mut fetched, &mut unstored);
        (pseudonyms, unstored)
    }

    /// Removes the mappings that the index on the disk has.
    fn drop_stored_on_disk(
        &self,
        index: &Partition,
        unstored: &mut Vec<UnstoredMapping>,
    ) -> Result<(), Refusal> {
        if !index.has_below() || unstored.is_empty() {
            return Ok(());
        }
        let misses: Vec<_> = unstored
            .iter()
            .map(|mapping| *mapping.pseudonym.as_bytes())
            .collect();
        let unreadable = |error| fault("the index on the disk could not be read")(error).code();
        let mut below = index
            .below(self.vault.store(), &misses)
            .map_err(unreadable)?
            .into_iter();
        unstored.retain(|_| below.next().flatten().is_none());
        Ok(())
    }

    /// Removes the mappings of persons that were erased: they must not be stored again.
    fn drop_erased(&self, unstored: &mut Vec<UnstoredMapping>) {
        let Some(tombstones) = self.state.tombstones() else {
            return;
        };
        let (key, sector) = (self.vault.audit_key(), self.state.sector.uuid);
        unstored.retain(|mapping| !tombstones.contains(&key.tombstone(sector, &mapping.pseudonym)));
    }

    /// Seals mappings under the sector's segment.
    fn seal(
        &self,
        domain: &OpenDomain,
        mut unstored: Vec<UnstoredMapping>,
    ) -> Result<(Arc<OpenSegment>, Vec<ChunkBuilder>), Refusal> {
        let (register, signer) = (self.vault.register(), self.vault.segment_signer());
        let segment = self
            .state
            .segment(register, signer, self.now)
            .map_err(|_| Code::Internal)?;
        if let Some(chunks) = self.seal_under(&segment, domain, &mut unstored) {
            return Ok((segment, chunks));
        }
        // The segment has too few counters left, perhaps because others took them just now; a fresh
        // segment has enough.
        let segment = self
            .state
            .fresh_segment(register, signer, self.now)
            .map_err(|_| Code::Internal)?;
        let chunks = self
            .seal_under(&segment, domain, &mut unstored)
            .ok_or(Code::Internal)?;
        Ok((segment, chunks))
    }

    /// Seals mappings into chunks; `None` if the segment has too few counters left.
    fn seal_under(
        &self,
        segment: &OpenSegment,
        domain: &OpenDomain,
        unstored: &mut [UnstoredMapping],
    ) -> Option<Vec<ChunkBuilder>> {
        let location = MappingLocation::new(
            self.state.sector.uuid,
            domain.epoch.row.epoch,
            &domain.scope,
        );
        let mut sealer = MappingSealer::new(
            segment,
            location,
            self.scheme.as_str(),
            day_of(self.now),
            unstored.len(),
        )?;
        let size = sealer.record_size(self.batch.mean_length());
        let mut chunks = Vec::with_capacity(unstored.len().div_ceil(MAX_RECORDS));
        for run in unstored.chunks_mut(MAX_RECORDS) {
            // Sorted before they are sealed, so that neither the row nor its nonces tell the order
            // of the request.
            run.sort_unstable_by_key(|mapping| u128::from_be_bytes(*mapping.pseudonym.as_bytes()));
            let mut chunk =
                ChunkBuilder::new(segment.id(), &domain.scope, run.len(), run.len() * size);
            for mapping in run {
                let value = self.batch.value(mapping.place as usize);
                sealer.seal(mapping.pseudonym, mapping.nonce, value, &mut chunk);
            }
            chunks.push(chunk);
            give_way();
        }
        Some(chunks)
    }
}

/// Adds the last pseudonyms, whose PRF outputs are `prfs`, to `unstored` if the tables do not have
/// them.
fn keep_unstored(
    view: &PartitionView<'_>,
    pseudonyms: &[Pseudonym],
    prfs: &mut Vec<PrfOutput>,
    unstored: &mut Vec<UnstoredMapping>,
) {
    let first = pseudonyms.len() - prfs.len();
    pseudonyms[first..]
        .iter()
        .for_each(|pseudonym| view.prefetch_entry(pseudonym.as_bytes()));
    for (place, prf) in (first..).zip(prfs.iter()) {
        let pseudonym = pseudonyms[place];
        if !view.contains(pseudonym.as_bytes()) {
            unstored.push(UnstoredMapping {
                pseudonym,
                nonce: prf.nonce_part(),
                place: place as u32,
            });
        }
    }
    // Wiped where they lie: moved out one by one, they would be wiped elsewhere and left here.
    prfs.clear();
}
