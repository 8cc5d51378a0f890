//! Hands out the segments that a node has something to do with.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;

use super::super::{MOST_RECIPIENTS, MOST_SEGMENTS, RenewalTask, SegmentPage, SegmentQuestion};
use super::{
    RegisteredRecipients, SegmentRun, commit, is_proved, opening, proofs, read_own_record,
};
use crate::access::NodePermit;
use crate::audit::{SegmentAction, SegmentsDetails};
use crate::execution::check_register;
use crate::id::hex;
use crate::refusal::Refusal;
use crate::register::{Authority, Id, Sector};
use crate::seal::record::{SegmentRecipient, SegmentRecord};
use crate::vault::Vault;

/// A page of segments that a node of this authority has something to do with.
///
/// # Errors
/// [`Code::RegisterMismatch`](crate::code::Code::RegisterMismatch),
/// [`Code::AuditUnavailable`](crate::code::Code::AuditUnavailable),
/// [`Code::Internal`](crate::code::Code::Internal).
pub fn page(
    vault: &Vault,
    permit: &NodePermit,
    question: &SegmentQuestion,
) -> Result<SegmentPage, Refusal> {
    check_register(vault, &question.register)?;
    let picker = PagePicker {
        vault,
        registered: RegisteredRecipients::of(vault),
        own: &permit.authority,
        task: question.task,
    };
    let run = SegmentRun::after(vault, question.after.as_deref())?;
    let mut page = SegmentPage {
        register: hex(&vault.register().digest),
        segments: vec![],
        examined: 0,
        total: run.total,
        beyond: 0,
        unprovable: 0,
        refused: 0,
        next: run.next,
    };
    let (mut keys, mut recipients) = (BTreeSet::new(), 0);
    for (id, bytes) in run.rows {
        page.examined += 1;
        let Some(record) = read_own_record(&picker.registered, &id, &bytes) else {
            page.refused += 1;
            continue;
        };
        let todo = match picker.pick(&record)? {
            SegmentWork::Nothing => continue,
            SegmentWork::Unprovable => {
                page.unprovable += 1;
                continue;
            }
            SegmentWork::Beyond => {
                page.beyond += 1;
                continue;
            }
            SegmentWork::Recipients(todo) => todo,
        };
        recipients += todo.len();
        keys.extend(todo);
        page.segments.push(BASE64URL_NOPAD.encode(&bytes));
        if page.segments.len() == MOST_SEGMENTS || recipients >= MOST_RECIPIENTS {
            page.next = Some(hex(&id));
            break;
        }
    }
    if !page.segments.is_empty() {
        let keys = keys.into_iter().collect();
        log_handout(
            vault,
            &picker.own.id,
            question.task,
            page.segments.len(),
            keys,
        )?;
    }
    Ok(page)
}

/// What a node of the authority has to do with one segment.
enum SegmentWork {
    /// The task is done for it, or the authority is not competent in its sector.
    Nothing,
    /// Proofs are lacking, and the store has no digest that could check them.
    Unprovable,
    /// Recipients are lacking, and the segment is sealed to no key of this authority.
    Beyond,
    /// The ids of the keys to seal it to, or to prove.
    Recipients(Vec<String>),
}

struct PagePicker<'v> {
    vault: &'v Vault,
    registered: RegisteredRecipients<'v>,
    own: &'v Authority,
    task: RenewalTask,
}

impl PagePicker<'_> {
    fn pick(&self, record: &SegmentRecord) -> Result<SegmentWork, Refusal> {
        let Some(sector) = self.registered.sector(record, Some(&self.own.id)) else {
            return Ok(SegmentWork::Nothing);
        };
        let todo = match self.task {
            RenewalTask::Rewrap => self.lacking(record, sector),
            RenewalTask::Prove => self.unproved(record)?,
        };
        Ok(if todo.is_empty() {
            SegmentWork::Nothing
        } else if self.task == RenewalTask::Prove && opening(self.vault, &record.id)?.is_none() {
            SegmentWork::Unprovable
        } else if !record
            .recipients
            .iter()
            .any(|recipient| self.is_own(recipient))
        {
            SegmentWork::Beyond
        } else {
            SegmentWork::Recipients(todo)
        })
    }

    fn is_own(&self, recipient: &SegmentRecipient) -> bool {
        self.own
            .keys
            .iter()
            .any(|key| key.id.as_str() == recipient.key)
    }

    /// The keys that the register lists for the sector and that the record has no recipient for.
    fn lacking(&self, record: &SegmentRecord, sector: &Sector) -> Vec<String> {
        self.registered
            .wanted(sector)
            .filter(|key| record.recipient(key.id.as_str()).is_none())
            .map(|key| key.id.to_string())
            .collect()
    }

    /// The authority's own keys among the recipients that are not proved yet.
    fn unproved(&self, record: &SegmentRecord) -> Result<Vec<String>, Refusal> {
        let proofs = proofs(self.vault, &record.id)?;
        Ok(record
            .recipients
            .iter()
            .filter(|recipient| self.is_own(recipient) && !is_proved(recipient, &proofs))
            .map(|recipient| recipient.key.clone())
            .collect())
    }
}

/// Logs, before they go out, that segments are handed out to be opened.
fn log_handout(
    vault: &Vault,
    authority: &Id,
    task: RenewalTask,
    segments: usize,
    keys: Vec<String>,
) -> Result<(), Refusal> {
    let action = match task {
        RenewalTask::Rewrap => SegmentAction::HandOutToRewrap,
        RenewalTask::Prove => SegmentAction::HandOutToProve,
    };
    let entry = SegmentsDetails {
        actor: authority.clone(),
        action,
        keys,
        segments: segments as u64,
        recipients: 0,
    };
    commit(vault, entry, vec![])
}
