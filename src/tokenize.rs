//! The batch path: derives pseudonyms from identifiers, and seals and stores new mappings.
//!
//! [`prepare`] computes everything and leaves a [`Job`] for the writer. The answer may go out once
//! that job is durable.

mod answer;
mod canonical;
mod derive;
mod domain;

use jiff::Timestamp;

use crate::access::TokenizePermit;
use crate::audit::TokenizeDetails;
use crate::clock::give_way;
use crate::code::Code;
use crate::commit::{AnsweredPseudonyms, Job, JobLog, NewMappings};
use crate::pseudonym::TextWriter;
use crate::refusal::Refusal;
use crate::register::Id;
use crate::store::index::AHEAD;
use crate::utis::{UtiContext, UtiKind};
use crate::vault::{Epoch, QuotaLeft, SectorState, Vault};
pub use answer::{PreviousPseudonyms, TokenizedBatch};
pub(crate) use canonical::CanonicalBatch;
pub(crate) use derive::BatchDerivation;
pub(crate) use domain::OpenDomain;
pub use domain::{DomainRequest, period_of};
use domain::{RequestDomains, RequestTime};

/// Most identifiers in one request.
pub const MAX_ITEMS: usize = 100_000;
/// A long batch offers to let others run after this many identifiers, about every twentieth of a
/// millisecond.
const STRIDE: usize = 8 * AHEAD;

/// The options of a batch.
#[derive(Debug, Clone, Default)]
pub struct TokenizeOptions {
    /// Epoch and period, where the client names them.
    pub domain: DomainRequest,
    /// Whether the previous epoch's pseudonyms are wanted too.
    pub previous: bool,
}

/// Derives the pseudonyms of a batch and seals what the vault does not hold yet.
///
/// # Errors
/// A [`Refusal`] of the whole batch: it is empty or too large, the domain is closed, a purpose is
/// missing, the quota is used up, the domain depends on a clock that is behind its mark, or the sector
/// waits for a confirmation after a restore. Nothing was changed then.
pub fn prepare<'a>(
    vault: &Vault,
    permit: &TokenizePermit,
    options: &TokenizeOptions,
    items: impl ExactSizeIterator<Item = Result<&'a str, Code>>,
) -> Result<(TokenizedBatch, Job), Refusal> {
    check_size(items.len())?;
    let now = vault.now();
    let (state, organisation) = (&permit.sector, &permit.client.organisation);
    vault.check_confirmed(state.sector.uuid)?;
    let time = RequestTime {
        now,
        mark: vault.committer().mark(),
    };
    let domains = domain::of(state, permit, options, time)?;
    let taken = vault
        .quotas()
        .take(organisation, items.len() as u64, now)
        .map_err(|exceeded| {
            Refusal::from(Code::QuotaExceeded).come_back_in(exceeded.retry_after)
        })?;

    let batch = CanonicalBatch::read(permit, items);
    let (answer, mappings) = derive(vault, permit, batch, &domains, taken.left, now)?;
    let log = log_of(permit, &answer, now);
    let changes = vault.frozen().first_use(
        vault.register(),
        &state.sector,
        permit.scheme.id(),
        organisation,
        permit.purpose.as_ref(),
    )?;
    Ok((
        answer,
        Job {
            mappings,
            changes,
            count: Some(taken.count),
            log,
        },
    ))
}

fn check_size(items: usize) -> Result<(), Refusal> {
    match items {
        0 => Err(Code::EmptyBatch.into()),
        1..=MAX_ITEMS => Ok(()),
        _ => Err(Refusal::new(
            Code::TooLarge,
            format!("at most {MAX_ITEMS} identifiers a request"),
        )),
    }
}

/// Derives the pseudonyms of the current domain, and of the previous one if it is wanted; with them
/// the mappings that the vault does not hold yet.
fn derive(
    vault: &Vault,
    permit: &TokenizePermit,
    batch: CanonicalBatch,
    domains: &RequestDomains,
    left: QuotaLeft,
    now: Timestamp,
) -> Result<(TokenizedBatch, Vec<NewMappings>), Refusal> {
    let (state, scheme) = (&permit.sector, permit.scheme.id());
    let context = UtiContext {
        kind: UtiKind::Tokenize,
        sector: state.sector.uuid,
        by: &permit.client.id,
    };
    let utis = batch.utis(vault, context, scheme).wait()?;
    let derivation = BatchDerivation {
        vault,
        state,
        scheme,
        batch: &batch,
        utis: &utis,
        now,
    };
    let mut mappings = Vec::new();
    let current = &domains.current;
    let pseudonyms = derivation.in_domain(current, &mut mappings)?;
    let previous = match &domains.previous {
        None => None,
        Some(domain) => Some(PreviousPseudonyms {
            pseudonyms: derivation.in_domain(domain, &mut mappings)?,
            domain: domain.named(),
            writer: writer(state, &domain.epoch),
        }),
    };
    let answer = TokenizedBatch {
        sector: state.sector.name.clone(),
        domain: current.named(),
        pseudonyms,
        writer: writer(state, &current.epoch),
        previous,
        errors: batch.errors,
        left,
    };
    Ok((answer, mappings))
}

/// How a sector writes the pseudonyms of an epoch.
pub(crate) fn writer(state: &SectorState, epoch: &Epoch) -> TextWriter {
    TextWriter::new(epoch.terms.text_form, &state.sector.tag, epoch.row.epoch)
}

/// Lets others run after each stride of identifiers.
fn yield_after(done: usize) {
    if done.is_multiple_of(STRIDE) {
        give_way();
    }
}

fn log_of(permit: &TokenizePermit, answer: &TokenizedBatch, now: Timestamp) -> JobLog {
    let mut answered = answer.pseudonyms.clone();
    if let Some(previous) = &answer.previous {
        answered.extend_from_slice(&previous.pseudonyms);
    }
    let entry = TokenizeDetails {
        client: permit.client.id.clone(),
        organisation: permit.client.organisation.clone(),
        sector: answer.sector.clone(),
        domain: answer.domain.clone(),
        previous: answer
            .previous
            .as_ref()
            .map(|previous| previous.domain.epoch),
        scheme: permit.scheme.id().clone(),
        purpose: permit.purpose.clone(),
        requests: 1,
        accepted: answer.pseudonyms.len() as u64,
        rejected: answer.errors.len() as u64,
        digest: String::new(),
    };
    let items = answer.pseudonyms.len() + answer.errors.len();
    JobLog::Tokenized {
        time: now,
        entry: Box::new(entry),
        answered: AnsweredPseudonyms::new(items, answered),
    }
}

/// The id as text; empty if there is none.
pub(crate) fn text(id: Option<&Id>) -> String {
    id.map_or_else(String::new, ToString::to_string)
}
