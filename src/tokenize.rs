//! The batch path: derives pseudonyms from identifiers, and seals and stores new mappings.
//!
//! [`prepare`] computes everything and leaves a [`Job`] for the writer. The answer may go out once
//! that job is durable.

mod answer;
mod canonical;
mod derive;
mod domain;

use std::borrow::Borrow;

use jiff::Timestamp;

use crate::access::TokenizePermit;
use crate::audit::TokenizeDetails;
use crate::clock::give_way;
use crate::code::Code;
use crate::commit::{AnsweredPseudonyms, Job, JobLog, NewMappings};
use crate::keys::Uti;
use crate::pseudonym::TextWriter;
use crate::quota::{QuotaExceeded, QuotaLeft, QuotaTaken};
use crate::refusal::Refusal;
use crate::register::Id;
use crate::store::index::AHEAD;
use crate::utis::{PendingUtis, UtiContext, UtiKind};
use crate::vault::{Epoch, SectorState, Vault};
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

/// A batch whose UTIs are there, or on their way from an identity source. It needs no more of the
/// request.
pub struct BegunBatch<P> {
    permit: P,
    domains: RequestDomains,
    taken: QuotaTaken,
    batch: CanonicalBatch,
    now: Timestamp,
}

/// Derives the pseudonyms of a batch and seals what the vault does not hold yet. Blocks the thread
/// while an identity source derives.
///
/// # Errors
/// A [`Refusal`] of the whole batch: those of [`begin`] and of [`BegunBatch::finish`]. Nothing was
/// changed then.
pub fn prepare<'a>(
    vault: &Vault,
    permit: impl Borrow<TokenizePermit>,
    options: &TokenizeOptions,
    items: impl ExactSizeIterator<Item = Result<&'a str, Code>>,
) -> Result<(TokenizedBatch, Job), Refusal> {
    let (begun, utis) = begin(vault, permit, options, items)?;
    begun.finish(vault, utis.wait())
}

/// Checks and counts a batch, brings its values to their canonical form and has their UTIs derived.
///
/// # Errors
/// A [`Refusal`] of the whole batch: it is empty or too large, the domain is closed, a purpose is
/// missing, the quota is used up, the domain depends on a clock that is behind its mark, or the
/// sector waits for a confirmation after a restore. Nothing was changed then.
pub fn begin<'a, P: Borrow<TokenizePermit>>(
    vault: &Vault,
    permit: P,
    options: &TokenizeOptions,
    items: impl ExactSizeIterator<Item = Result<&'a str, Code>>,
) -> Result<(BegunBatch<P>, PendingUtis), Refusal> {
    check_size(items.len())?;
    let now = vault.now();
    let allowed = permit.borrow();
    let (state, client) = (&allowed.sector, &allowed.client);
    vault.check_confirmed(state.sector.uuid)?;
    let time = RequestTime {
        now,
        mark: vault.committer().mark(),
    };
    let domains = domain::of(state, allowed, options, time)?;
    let taken = vault
        .quotas()
        .take(client.organisation.as_str(), items.len() as u64, now)
        .map_err(|exceeded| exceeded_refusal(vault, exceeded, now))?;

    let batch = CanonicalBatch::read(allowed, items);
    let context = UtiContext {
        kind: UtiKind::Tokenize,
        sector: state.sector.uuid,
        by: &client.id,
    };
    let utis = batch.utis(vault, context, allowed.scheme.id());
    let begun = BegunBatch {
        permit,
        domains,
        taken,
        batch,
        now,
    };
    Ok((begun, utis))
}

impl<P: Borrow<TokenizePermit>> BegunBatch<P> {
    /// Derives the pseudonyms from the UTIs that have come, and seals what the vault does not hold
    /// yet.
    ///
    /// # Errors
    /// Why no UTIs came: the batch counts for nothing then, and nothing was changed.
    /// [`Code::DomainClosed`] if the epoch's secret was destroyed; [`Code::Internal`].
    pub fn finish(
        self,
        vault: &Vault,
        utis: Result<Vec<Uti>, Refusal>,
    ) -> Result<(TokenizedBatch, Job), Refusal> {
        let Self {
            permit,
            domains,
            taken,
            batch,
            now,
        } = self;
        let utis = match utis {
            Ok(utis) => utis,
            Err(refusal) => {
                taken.give_back();
                return Err(refusal);
            }
        };
        let permit = permit.borrow();
        let batch = BatchWithUtis { batch, utis };
        let (answer, mappings) = derive(vault, permit, batch, &domains, taken.left, now)?;
        let log = log_of(permit, &answer, now);
        let changes = vault.frozen().first_use(
            vault.register(),
            &permit.sector.sector,
            permit.scheme.id(),
            &permit.client.organisation,
            permit.purpose.as_ref(),
        )?;
        let job = Job {
            mappings,
            changes,
            counts: vec![taken.count],
            log,
        };
        Ok((answer, job))
    }
}

/// The canonical values of a batch, and the UTI of each.
struct BatchWithUtis {
    batch: CanonicalBatch,
    utis: Vec<Uti>,
}

/// After a restore without places no quota is left that day: the refusal says so.
fn exceeded_refusal(vault: &Vault, exceeded: QuotaExceeded, now: Timestamp) -> Refusal {
    let until = vault.restore_loss().and_then(|loss| loss.quotas_until(now));
    let refusal = match until {
        None => Refusal::from(Code::QuotaExceeded),
        Some(until) => Refusal::new(
            Code::QuotaExceeded,
            format!(
                "the vault was restored, and quotas of that day count as used: no client gets a pseudonym before {until}"
            ),
        ),
    };
    refusal.come_back_in(exceeded.retry_after)
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
    BatchWithUtis { batch, utis }: BatchWithUtis,
    domains: &RequestDomains,
    left: QuotaLeft,
    now: Timestamp,
) -> Result<(TokenizedBatch, Vec<NewMappings>), Refusal> {
    let (state, scheme) = (&permit.sector, permit.scheme.id());
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
