//! Recipients that the register no longer lists, and segments that have no other.

use std::collections::BTreeSet;

use super::super::{DropReport, DropRequest, FAILED, MOST_EXAMINED, segment_id};
use super::{RegisteredRecipients, SegmentDraft, change, commit, genuine, is_proved, proofs};
use crate::access::DropPermit;
use crate::audit::{SegmentAction, SegmentsDetails};
use crate::execution::{check_register, hex};
use crate::refusal::{Refusal, fault};
use crate::seal::record::{SegmentRecipient, SegmentRecord};
use crate::vault::Vault;

/// Takes the recipients out of a page of segments that the register no longer lists: only where one
/// that it does list was proved to open the segment, so that none is ever lost.
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
        check_register(vault.register(), register)?;
    }
    let _one_at_a_time = vault
        .segment_changes
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let law = RegisteredRecipients::of(vault);
    let after = request.after.as_deref().map(segment_id).transpose()?;
    let total = after
        .is_none()
        .then(|| vault.store().segment_count())
        .transpose()
        .map_err(fault(FAILED))?;
    let rows = vault
        .store()
        .segments_after(after.as_ref(), MOST_EXAMINED)
        .map_err(fault(FAILED))?;
    let next = (rows.len() == MOST_EXAMINED)
        .then(|| rows.last().map(|(id, _)| hex(id)))
        .flatten();
    let mut dropped = DropReport {
        examined: rows.len() as u64,
        total,
        recipients: 0,
        unproved: 0,
        refused: 0,
        next,
    };
    let (mut changes, mut keys) = (vec![], BTreeSet::new());
    for (id, bytes) in rows {
        let Some(mut record) = genuine(&law, &id, &bytes) else {
            dropped.refused += 1;
            continue;
        };
        let Some(sector) = law.sector(&record, permit.authority.as_ref()) else {
            continue;
        };
        let wanted = law.wanted(sector);
        let listed = |one: &SegmentRecipient| wanted.iter().any(|key| key.id.as_str() == one.key);
        if record.recipients.iter().all(listed) {
            continue;
        }
        let proofs = proofs(vault, &id)?;
        if !record
            .recipients
            .iter()
            .any(|one| listed(one) && is_proved(one, &proofs))
        {
            dropped.unproved += 1;
            continue;
        }
        let gone: Vec<String> = record
            .recipients
            .iter()
            .filter(|one| !listed(one))
            .map(|one| one.key.clone())
            .collect();
        record.recipients.retain(listed);
        dropped.recipients += gone.len() as u64;
        let proofs = gone.iter().map(|key| (key.clone(), None)).collect();
        keys.extend(gone);
        changes.push(change(
            vault,
            SegmentDraft {
                record,
                sector,
                changed: true,
                proofs,
            },
        )?);
    }
    if !changes.is_empty() {
        let (segments, recipients) = (changes.len() as u64, dropped.recipients);
        let (actor, keys) = (permit.actor.clone(), keys.into_iter().collect());
        commit(
            vault,
            SegmentsDetails {
                actor,
                action: SegmentAction::Drop,
                keys,
                segments,
                recipients,
            },
            changes,
        )?;
    }
    Ok(dropped)
}

/// How many stored segments no key opens that the register lists for their sector: what they hold
/// cannot be re-identified. Says nothing of signatures.
///
/// # Errors
/// [`Internal`](crate::code::Code::Internal).
pub fn stranded(vault: &Vault) -> Result<u64, Refusal> {
    let law = RegisteredRecipients::of(vault);
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
            let Some(sector) = law.sector(&record, None) else {
                continue;
            };
            let opens = law
                .wanted(sector)
                .iter()
                .any(|key| record.recipient(key.id.as_str()).is_some());
            stranded += u64::from(!opens);
        }
    }
}
