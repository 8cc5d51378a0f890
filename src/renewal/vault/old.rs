//! Recipients that the register no longer lists, and segments that have no other.

use std::collections::BTreeSet;

use super::super::{DropReport, DropRequest, FAILED, MOST_EXAMINED};
use super::{
    RegisteredRecipients, SegmentDraft, SegmentRun, commit, is_proved, proofs, read_own_record,
};
use crate::access::DropPermit;
use crate::audit::{SegmentAction, SegmentsDetails};
use crate::execution::check_register;
use crate::refusal::{Refusal, fault};
use crate::seal::record::{SegmentRecipient, SegmentRecord};
use crate::vault::Vault;

/// Drops the recipients of a page of segments that the register no longer lists. A segment keeps
/// them until a recipient that the register does list is proved to open it, so that none is lost.
///
/// # Errors
/// [`RegisterMismatch`](crate::code::Code::RegisterMismatch),
/// [`AuditUnavailable`](crate::code::Code::AuditUnavailable),
/// [`Internal`](crate::code::Code::Internal).
pub fn drop_old(
    vault: &Vault,
    permit: &DropPermit,
    request: &DropRequest,
) -> Result<DropReport, Refusal> {
    if let Some(register) = &request.register {
        check_register(vault, register)?;
    }
    let _segments = vault.lock_segments();
    let registered = RegisteredRecipients::of(vault);
    let run = SegmentRun::after(vault, request.after.as_deref())?;
    let mut report = DropReport {
        examined: run.rows.len() as u64,
        total: run.total,
        recipients: 0,
        unproved: 0,
        refused: 0,
        next: run.next,
    };
    let (mut changes, mut keys) = (vec![], BTreeSet::new());
    for (id, bytes) in run.rows {
        let Some(record) = read_own_record(&registered, &id, &bytes) else {
            report.refused += 1;
            continue;
        };
        let is_competent = registered
            .sector(&record, permit.authority.as_ref())
            .is_some();
        let old = old_recipients(&registered, &record);
        if !is_competent || old.is_empty() {
            continue;
        }
        let proofs = proofs(vault, &id)?;
        let is_kept = |one: &SegmentRecipient| !old.contains(&one.key);
        let mut kept = record.recipients.iter().filter(|one| is_kept(one));
        if !kept.any(|one| is_proved(one, &proofs)) {
            report.unproved += 1;
            continue;
        }
        let mut draft = SegmentDraft::of(record);
        draft.record.recipients.retain(is_kept);
        draft.changed = true;
        draft.proofs = old.iter().map(|key| (key.clone(), None)).collect();
        changes.push(draft.change(vault)?);
        report.recipients += old.len() as u64;
        keys.extend(old);
    }
    if !changes.is_empty() {
        let entry = SegmentsDetails {
            actor: permit.actor.clone(),
            action: SegmentAction::Drop,
            keys: keys.into_iter().collect(),
            segments: changes.len() as u64,
            recipients: report.recipients,
        };
        commit(vault, entry, changes)?;
    }
    Ok(report)
}

/// The keys of recipients that the register no longer lists for the record's sector.
fn old_recipients(registered: &RegisteredRecipients<'_>, record: &SegmentRecord) -> Vec<String> {
    let Some(sector) = registered.sector(record, None) else {
        return vec![];
    };
    let listed: Vec<_> = registered
        .wanted(sector)
        .map(|key| key.id.as_str())
        .collect();
    let keys = record.recipients.iter().map(|one| &one.key);
    keys.filter(|key| !listed.contains(&key.as_str()))
        .cloned()
        .collect()
}

/// Counts the stored segments that no key opens which the register lists for their sector: their
/// mappings cannot be re-identified. Signatures are not checked.
///
/// # Errors
/// [`Internal`](crate::code::Code::Internal).
pub fn stranded(vault: &Vault) -> Result<u64, Refusal> {
    let registered = RegisteredRecipients::of(vault);
    let (mut after, mut stranded) = (None, 0);
    loop {
        let rows = vault
            .store()
            .segments_after(after.as_ref(), MOST_EXAMINED)
            .map_err(fault(FAILED))?;
        let Some((last, _)) = rows.last() else {
            return Ok(stranded);
        };
        after = Some(*last);
        for (_, bytes) in &rows {
            let Ok(record) = SegmentRecord::unverified(bytes) else {
                continue;
            };
            let Some(sector) = registered.sector(&record, None) else {
                continue;
            };
            let opens = registered
                .wanted(sector)
                .any(|key| record.recipient(key.id.as_str()).is_some());
            stranded += u64::from(!opens);
        }
    }
}
