//! The batch path: identifiers in, pseudonyms out, new mappings sealed and stored.
//!
//! [`prepare`] does all the computing and leaves a [`Job`] for the writer; the answer may go out
//! once that job is durable.

mod answer;
mod canonical;
mod derive;
mod domain;

use jiff::Timestamp;

use crate::access::TokenizePermit;
use crate::audit::TokenizeDetails;
use crate::clock::give_way;
use crate::code::Code;
use crate::commit::{AnsweredPseudonyms, Job, JobLog};
use crate::pseudonym::TextWriter;
use crate::refusal::Refusal;
use crate::register::Id;
use crate::store::index::AHEAD;
use crate::vault::{Epoch, SectorState, Vault};
pub use answer::{PreviousPseudonyms, TokenizedBatch};
pub(crate) use canonical::CanonicalBatch;
pub(crate) use derive::BatchDerivation;
pub use domain::DomainRequest;
pub(crate) use domain::OpenDomain;
use domain::RequestTime;

/// Most identifiers in one request.
pub const MAX_ITEMS: usize = 100_000;
/// Identifiers after which a long batch asks whether it is time to let others run: about a
/// twentieth of a millisecond.
const STRIDE: usize = 8 * AHEAD;

/// What a client asks, beside the identifiers.
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
/// A [`Refusal`] of the whole: an empty batch or too large a one, a closed domain, a missing
/// purpose, a used-up quota, a clock behind its mark where the domain goes by the clock. Nothing
/// was changed then.
pub fn prepare<'a>(
    vault: &Vault,
    permit: &TokenizePermit,
    options: &TokenizeOptions,
    items: impl ExactSizeIterator<Item = Result<&'a str, Code>>,
) -> Result<(TokenizedBatch, Job), Refusal> {
    let now = vault.now();
    let (state, scheme, organisation) = (
        &permit.sector,
        permit.scheme.id(),
        &permit.client.organisation,
    );
    if items.len() == 0 {
        return Err(Code::EmptyBatch.into());
    }
    if items.len() > MAX_ITEMS {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("at most {MAX_ITEMS} identifiers a request"),
        ));
    }
    let time = RequestTime {
        now,
        mark: vault.committer().mark(),
    };
    let current = domain::open(state, permit, &options.domain, time)?;
    let previous = domain::previous(state, permit, options, &current, time)?;
    let count = vault
        .quotas()
        .take(organisation, items.len() as u64, now)
        .map_err(|exceeded| {
            Refusal::from(Code::QuotaExceeded).come_back_in(exceeded.retry_after)
        })?;

    let batch = CanonicalBatch::read(permit, items);
    let utis = batch.utis(vault, scheme);
    let derivation = BatchDerivation {
        vault,
        state,
        scheme,
        batch: &batch,
        utis: &utis,
        now,
    };
    let mut mappings = Vec::new();
    let pseudonyms = derivation.in_domain(&current, &mut mappings)?;
    let previous = match &previous {
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
    };
    let log = log_of(permit, &answer, now);
    let changes = vault.frozen().first_use(
        vault.register(),
        &state.sector,
        scheme,
        organisation,
        permit.purpose.as_ref(),
    );
    Ok((
        answer,
        Job {
            mappings,
            changes,
            count: Some(count),
            log,
        },
    ))
}

/// How a sector writes the pseudonyms of an epoch.
pub(crate) fn writer(state: &SectorState, epoch: &Epoch) -> TextWriter {
    TextWriter::new(epoch.terms.text_form, &state.sector.tag, epoch.row.epoch)
}

/// Lets others run when so many identifiers make another stride.
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

/// The purpose code, or nothing.
pub(crate) fn text(id: Option<&Id>) -> String {
    id.map_or_else(String::new, ToString::to_string)
}
