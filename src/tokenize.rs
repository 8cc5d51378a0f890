//! The batch path: identifiers in, pseudonyms out, new mappings sealed and stored.
//!
//! [`prepare`] does all the computing and leaves a [`Job`] for the writer; the answer may go out once that job is durable.

mod domain;

use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroize as _;

use crate::access::TokenizePermit;
use crate::audit::{Domain, TokenizeDetails};
use crate::clock::{day_of, give_way};
use crate::code::Code;
use crate::commit::{Answered, Job, Logged, NewMappings};
use crate::keys::{NoncePart, Prf, Uti, UtiBatch};
use crate::pseudonym::{Pseudonym, TextWriter};
use crate::refusal::{Refusal, fault};
use crate::register::Id;
use crate::seal::chunk::{ChunkBuilder, MAX_RECORDS};
use crate::seal::mapping::{Location, Sealer};
use crate::store::index::{AHEAD, PartitionView};
use crate::vault::{Epoch, SectorState, Vault};
pub use domain::DomainRequest;
use domain::Present;
pub(crate) use domain::Scoped;

/// Most identifiers in one request.
pub const MAX_ITEMS: usize = 100_000;
/// Identifiers after which a long batch asks whether it is time to let others run: about a twentieth of a millisecond.
const STRIDE: usize = 8 * AHEAD;

/// What a client asks, beside the identifiers.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Epoch and period, where the client names them.
    pub domain: DomainRequest,
    /// Whether the previous epoch's pseudonyms are wanted too.
    pub previous: bool,
}

/// The pseudonyms of a batch. To be shown only when the job that came with it is durable.
pub struct Answer {
    /// Sector name.
    pub sector: String,
    /// The domain answered in.
    pub domain: Domain,
    /// Pseudonyms of the accepted identifiers, in order.
    pub pseudonyms: Vec<Pseudonym>,
    /// How the sector writes them.
    pub writer: TextWriter,
    /// The previous epoch's, where they were asked for and its overlap lasts.
    pub previous: Option<PreviousAnswer>,
    /// Rejected identifiers: place in the request, and why. In order.
    pub errors: Vec<(u32, Code)>,
}

/// The previous epoch's pseudonyms of the same identifiers.
pub struct PreviousAnswer {
    /// The domain.
    pub domain: Domain,
    /// Pseudonyms, in the order of the accepted identifiers.
    pub pseudonyms: Vec<Pseudonym>,
    /// How that epoch writes them.
    pub writer: TextWriter,
}

impl Answer {
    /// Goes through the items of the request in order: the place among the accepted ones, or why it was rejected.
    pub fn each(&self, mut item: impl FnMut(Result<usize, Code>)) {
        let mut errors = self.errors.iter().peekable();
        let mut place = 0;
        for at in 0..(self.pseudonyms.len() + self.errors.len()) {
            match errors.next_if(|(error_at, _)| *error_at as usize == at) {
                Some((_, code)) => item(Err(*code)),
                None => {
                    item(Ok(place));
                    place += 1;
                }
            }
        }
    }
}

/// Derives the pseudonyms of a batch and seals what the vault does not hold yet.
///
/// # Errors
/// A [`Refusal`] of the whole: an empty batch or too large a one, a closed domain, a missing purpose, a used-up quota, a clock
/// behind its mark where the domain goes by the clock.
/// Nothing was changed then.
pub fn prepare<'a>(
    vault: &Vault,
    permit: &TokenizePermit,
    wish: &Wish,
    items: impl ExactSizeIterator<Item = Result<&'a str, Code>>,
) -> Result<(Answer, Job), Refusal> {
    let now = vault.now();
    let state = &permit.sector;
    if items.len() == 0 {
        return Err(Code::EmptyBatch.into());
    }
    if items.len() > MAX_ITEMS {
        return Err(Refusal::new(Code::TooLarge, format!("at most {MAX_ITEMS} identifiers a request")));
    }
    let present = Present { now, mark: vault.committer().mark() };
    let scoped = domain::open(state, permit, &wish.domain, present)?;
    let previous = domain::previous(state, permit, wish, &scoped, present)?;
    let count = vault
        .quotas()
        .take(&permit.client.organisation, items.len() as u64, now)
        .map_err(|exceeded| Refusal::from(Code::QuotaExceeded).come_back_in(exceeded.retry_after))?;

    let batch = Canonical::read(permit, items);
    let utis = batch.utis(vault, permit.scheme.id());

    let mut mappings = Vec::new();
    let pseudonyms = derive(vault, state, permit.scheme.id(), &scoped, &utis, &batch, now, &mut mappings)?;
    let previous = match &previous {
        None => None,
        Some(scoped) => Some(PreviousAnswer {
            pseudonyms: derive(vault, state, permit.scheme.id(), scoped, &utis, &batch, now, &mut mappings)?,
            domain: scoped.domain(),
            writer: writer(state, &scoped.epoch),
        }),
    };
    let answer = Answer {
        sector: state.sector.name.clone(),
        domain: scoped.domain(),
        pseudonyms,
        writer: writer(state, &scoped.epoch),
        previous,
        errors: batch.errors,
    };
    let log = logged(permit, &answer, now);
    let (scheme, organisation) = (permit.scheme.id(), &permit.client.organisation);
    let changes =
        vault.frozen().first_use(vault.register(), &state.sector, scheme, organisation, permit.purpose.as_ref());
    Ok((answer, Job { mappings, changes, count: Some(count), log }))
}

pub(crate) fn writer(state: &SectorState, epoch: &Epoch) -> TextWriter {
    TextWriter::new(epoch.terms.text_form, &state.sector.tag, epoch.row.epoch)
}

/// The canonical values of a batch in one arena.
pub(crate) struct Canonical {
    values: Arena,
    ends: Vec<u32>,
    errors: Vec<(u32, Code)>,
}

/// Identifiers, one behind the other; wiped on drop. Of what it might have held and did not, the memory is never touched.
struct Arena(Vec<u8>);

impl Arena {
    /// Bytes behind the last value that one which was rejected in the end may have left.
    const REJECTED: usize = 18 * crate::identifier::MAX_RAW;

    /// Room for so many values. It never grows: a reallocation would leave identifiers behind in freed memory.
    fn for_values(count: usize) -> Self {
        Self(Vec::with_capacity(count * crate::identifier::MAX_CANONICAL + Self::REJECTED))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let used = self.0.len() + Self::REJECTED;
        self.0.resize(used.min(self.0.capacity()), 0);
        self.0.as_mut_slice().zeroize();
    }
}

impl Canonical {
    fn read<'a>(permit: &TokenizePermit, items: impl ExactSizeIterator<Item = Result<&'a str, Code>>) -> Self {
        let n = items.len();
        let mut batch = Self { values: Arena::for_values(n), ends: Vec::with_capacity(n), errors: Vec::new() };
        for (place, item) in items.enumerate() {
            match item.and_then(|raw| permit.scheme.canonical(raw, &mut batch.values.0)) {
                Ok(()) => batch.ends.push(batch.values.0.len() as u32),
                Err(code) => batch.errors.push((place as u32, code)),
            }
            pace(place + 1);
        }
        batch
    }

    /// Values that are canonical already, because the vault sealed them as such.
    pub(crate) fn of<'a>(values: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let n = values.len();
        let mut batch = Self { values: Arena::for_values(n), ends: Vec::with_capacity(n), errors: vec![] };
        for value in values {
            batch.values.0.extend_from_slice(value.as_bytes());
            batch.ends.push(batch.values.0.len() as u32);
        }
        batch
    }

    /// Their UTIs, in order.
    pub(crate) fn utis(&self, vault: &Vault, scheme: &Id) -> Vec<Uti> {
        let mut utis = Vec::with_capacity(self.ends.len());
        for ends in self.ends.chunks(STRIDE) {
            let start = self.start(utis.len());
            vault.utis().derive(UtiBatch { scheme: scheme.as_str(), values: &self.values.0, start, ends }, &mut utis);
            pace(utis.len());
        }
        utis
    }

    fn value(&self, place: usize) -> &[u8] {
        &self.values.0[self.start(place)..self.ends[place] as usize]
    }

    fn start(&self, place: usize) -> usize {
        if place == 0 { 0 } else { self.ends[place - 1] as usize }
    }
}

/// Lets others run when so many identifiers make another stride.
fn pace(done: usize) {
    if done.is_multiple_of(STRIDE) {
        give_way();
    }
}

/// Derives the pseudonyms in one domain; mappings that are not stored yet are sealed and added to `mappings`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn derive(
    vault: &Vault,
    state: &SectorState,
    scheme: &Id,
    scoped: &Scoped,
    utis: &[Uti],
    batch: &Canonical,
    now: Timestamp,
    mappings: &mut Vec<NewMappings>,
) -> Result<Vec<Pseudonym>, Refusal> {
    let epoch = &scoped.epoch;
    let sector_key = epoch.key.as_ref().ok_or(Code::DomainClosed)?;
    let key = sector_key.domain(epoch.row.epoch, &scoped.scope);
    let form = epoch.terms.text_form;
    let mut pseudonyms = Vec::with_capacity(utis.len());
    let mut ahead: Vec<Prf> = Vec::with_capacity(AHEAD);
    if !epoch.terms.reversible {
        for utis in utis.chunks(AHEAD) {
            key.prfs(utis, &mut ahead);
            pseudonyms.extend(ahead.drain(..).map(|prf| prf.to_pseudonym().fixed_for(form)));
            pace(pseudonyms.len());
        }
        return Ok(pseudonyms);
    }

    let partition = (state.number, epoch.row.epoch);
    let index = vault.index().partition(partition);
    let generation = index.generation();
    let mut unknown: Vec<Unknown> = Vec::new();
    // Each block's slots are fetched while the next block is hashed.
    let mut fetched: Vec<Prf> = Vec::with_capacity(AHEAD);
    for utis in utis.chunks(AHEAD) {
        let first = pseudonyms.len();
        key.prfs(utis, &mut ahead);
        pseudonyms.extend(ahead.iter().map(|prf| prf.to_pseudonym().fixed_for(form)));
        let view = index.read();
        pseudonyms[first..].iter().for_each(|pseudonym| view.prefetch(pseudonym.as_bytes()));
        keep_unknown(&view, &pseudonyms[..first], &mut fetched, &mut unknown);
        drop(view);
        std::mem::swap(&mut ahead, &mut fetched);
        pace(pseudonyms.len());
    }
    keep_unknown(&index.read(), &pseudonyms, &mut fetched, &mut unknown);
    if index.has_below() && !unknown.is_empty() {
        let misses: Vec<_> = unknown.iter().map(|unknown| *unknown.pseudonym.as_bytes()).collect();
        let below = index
            .below(vault.store(), &misses)
            .map_err(|error| fault("the index on the disk could not be read")(error).code())?;
        let mut below = below.into_iter();
        unknown.retain(|_| below.next().flatten().is_none());
    }
    if let Some(buried) = state.buried() {
        unknown.retain(|unknown| !buried.contains(&vault.audit_key().tombstone(state.sector.uuid, &unknown.pseudonym)));
    }
    if unknown.is_empty() {
        return Ok(pseudonyms);
    }

    let mut segment = state.segment(vault.register(), vault.segment_signer(), now).map_err(|_| Code::Internal)?;
    let location = Location::new(state.sector.uuid, epoch.row.epoch, &scoped.scope);
    let (scheme, day) = (scheme.as_str(), day_of(now));
    let mut sealer = match Sealer::new(&segment, location.clone(), scheme, day, unknown.len()) {
        Some(sealer) => sealer,
        // No counters left for so many, or others took them a moment ago: a segment of our own has.
        None => {
            segment = state.fresh_segment(vault.register(), vault.segment_signer(), now).map_err(|_| Code::Internal)?;
            Sealer::new(&segment, location, scheme, day, unknown.len()).ok_or(Code::Internal)?
        }
    };
    let size = sealer.record_size(batch.values.0.len() / utis.len());
    let mut chunks = Vec::with_capacity(unknown.len().div_ceil(MAX_RECORDS));
    for run in unknown.chunks_mut(MAX_RECORDS) {
        // Sorted before they are sealed: neither the row nor its nonces tell in which order a list was sent.
        run.sort_unstable_by_key(|unknown| u128::from_be_bytes(*unknown.pseudonym.as_bytes()));
        let mut chunk = ChunkBuilder::new(segment.id(), &scoped.scope, run.len(), run.len() * size);
        for unknown in run {
            sealer.seal(unknown.pseudonym, unknown.nonce, batch.value(unknown.place as usize), &mut chunk);
        }
        chunks.push(chunk);
        give_way();
    }
    let (scope, segment) = (Arc::new(scoped.scope.clone()), segment.clone());
    mappings.push(NewMappings { partition, scope, segment, chunks, generation });
    Ok(pseudonyms)
}

/// A person whose mapping is not stored yet.
struct Unknown {
    pseudonym: Pseudonym,
    nonce: NoncePart,
    /// Place among the accepted identifiers.
    place: u32,
}

/// Takes note of those of the last pseudonyms, whose PRF outputs are `prfs`, that are not stored yet.
fn keep_unknown(view: &PartitionView<'_>, pseudonyms: &[Pseudonym], prfs: &mut Vec<Prf>, unknown: &mut Vec<Unknown>) {
    let first = pseudonyms.len() - prfs.len();
    pseudonyms[first..].iter().for_each(|pseudonym| view.prefetch_entry(pseudonym.as_bytes()));
    for (place, prf) in (first..).zip(prfs.drain(..)) {
        let pseudonym = pseudonyms[place];
        if !view.contains(pseudonym.as_bytes()) {
            unknown.push(Unknown { pseudonym, nonce: prf.nonce_part(), place: place as u32 });
        }
    }
}

fn logged(permit: &TokenizePermit, answer: &Answer, now: Timestamp) -> Logged {
    let mut answered = answer.pseudonyms.clone();
    if let Some(previous) = &answer.previous {
        answered.extend_from_slice(&previous.pseudonyms);
    }
    let entry = TokenizeDetails {
        client: permit.client.id.clone(),
        organisation: permit.client.organisation.clone(),
        sector: answer.sector.clone(),
        domain: answer.domain.clone(),
        previous: answer.previous.as_ref().map(|previous| previous.domain.epoch),
        scheme: permit.scheme.id().clone(),
        purpose: permit.purpose.clone(),
        requests: 1,
        accepted: answer.pseudonyms.len() as u64,
        rejected: answer.errors.len() as u64,
        digest: String::new(),
    };
    let items = answer.pseudonyms.len() + answer.errors.len();
    Logged::Tokenized { time: now, entry: Box::new(entry), answered: Answered::new(items, answered) }
}

/// The purpose code, or nothing.
pub(crate) fn text(id: Option<&Id>) -> String {
    id.map_or_else(String::new, ToString::to_string)
}
