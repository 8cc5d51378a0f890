//! The node's side: opens data keys with the keys that it holds, seals them to the keys that the
//! register lists, and proves that its own keys open them.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;

use super::{
    DropReport, DropRequest, NewRecipient, RecipientProof, RenewalRequest, RenewalStep,
    RenewalTask, SegmentAnswer, SegmentQuestion,
};
use crate::access::RenewPermit;
use crate::audit::{AuditEvent, SegmentAction, SegmentsDetails};
use crate::code::Code;
use crate::execution::check_register;
use crate::id::hex;
use crate::link::VaultLink;
use crate::node::Node;
use crate::refusal::{Refusal, not_logged};
use crate::register::{AuthorityKey, Sector};
use crate::seal::record::SegmentRecord;
use crate::seal::segment::{AuthorityPrivateKey, prove, rewrap};

/// Works on one page: asks the vault for it, logs, opens the data keys, sends the result to the
/// vault.
///
/// # Errors
/// [`Code::Sealed`] when the node lacks a key that the task needs; the vault's refusals;
/// [`Code::AuditUnavailable`].
pub fn step(
    node: &Node,
    permit: &RenewPermit,
    asked: &RenewalRequest,
    vault: &dyn VaultLink,
) -> Result<RenewalStep, Refusal> {
    check_held(node, asked.task)?;
    let register = hex(&node.register().digest);
    let question = SegmentQuestion {
        register: register.clone(),
        task: asked.task,
        after: asked.after.clone(),
    };
    let page = vault.ask(&question)?;
    check_register(node, &page.register)?;
    let mut step = RenewalStep {
        examined: page.examined,
        total: page.total,
        recipients: 0,
        beyond: page.beyond,
        unprovable: page.unprovable,
        sealed: 0,
        discarded: 0,
        refused: page.refused,
        next: page.next,
    };
    if page.segments.is_empty() {
        return Ok(step);
    }

    // Logged before the first data key is opened.
    note_opening(node, permit, asked.task, page.segments.len())?;
    let mut done = SegmentAnswer {
        register,
        added: vec![],
        proved: vec![],
        broken: vec![],
    };
    work_on(node, asked.task, &page.segments, &mut step, &mut done)?;
    if done.added.is_empty() && done.proved.is_empty() && done.broken.is_empty() {
        return Ok(step);
    }
    let taken = vault.ask(&done)?;
    step.recipients = taken.added + taken.proved;
    step.discarded = taken.discarded;
    Ok(step)
}

/// Logs that segments are about to be opened.
fn note_opening(
    node: &Node,
    permit: &RenewPermit,
    task: RenewalTask,
    segments: usize,
) -> Result<(), Refusal> {
    let action = match task {
        RenewalTask::Rewrap => SegmentAction::OpenToRewrap,
        RenewalTask::Prove => SegmentAction::OpenToProve,
    };
    let keys = node
        .authority()
        .keys
        .iter()
        .map(|key| key.id.to_string())
        .collect();
    let entry = SegmentsDetails {
        actor: permit.actor.clone(),
        action,
        keys,
        segments: segments as u64,
        recipients: 0,
    };
    let recorded = node.committer().record(
        node.now(),
        AuditEvent::Segments(Box::new(entry)),
        vec![],
        vec![],
    );
    recorded.map(drop).map_err(not_logged("nothing is opened"))
}

/// Opens the data keys of a page with the keys that the node holds, and does the task with each.
fn work_on(
    node: &Node,
    task: RenewalTask,
    segments: &[String],
    step: &mut RenewalStep,
    done: &mut SegmentAnswer,
) -> Result<(), Refusal> {
    let held = node.safe().open(node.now(), |keys| {
        for text in segments {
            let record = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
            let record =
                record.and_then(|bytes| SegmentRecord::read(&bytes, node.segment_keys()).ok());
            let Some((record, sector)) = record.and_then(|record| competent(node, record)) else {
                tracing::warn!(
                    "a segment that the vault handed out is not signed by a pinned key, or not ours"
                );
                step.refused += 1;
                continue;
            };
            match task {
                RenewalTask::Rewrap => seal_to_lacking(node, keys, &record, sector, step, done),
                RenewalTask::Prove => prove_own(keys, &record, done),
            }
        }
        !keys.is_empty()
    });
    if held {
        Ok(())
    } else {
        Err(sealed("the node was sealed in the meantime"))
    }
}

/// Has the vault drop recipients that the register no longer lists. The node needs no key for that.
///
/// # Errors
/// The vault's refusals.
pub fn drop_old(
    node: &Node,
    _permit: &RenewPermit,
    request: &DropRequest,
    vault: &dyn VaultLink,
) -> Result<DropReport, Refusal> {
    let register = Some(hex(&node.register().digest));
    vault.ask(&DropRequest {
        register,
        after: request.after.clone(),
    })
}

fn sealed(why: &str) -> Refusal {
    Refusal::new(Code::Sealed, why.to_owned())
}

/// Refuses a task for which the node lacks a key: `rewrap` needs at least one key, `prove` every
/// key that the register lists for this authority.
fn check_held(node: &Node, task: RenewalTask) -> Result<(), Refusal> {
    let held: BTreeSet<String> = node.safe().open(node.now(), |keys| {
        keys.iter().map(|key| key.id().to_owned()).collect()
    });
    if held.is_empty() {
        return Err(sealed(
            "the node is sealed: its custodians have to unseal it",
        ));
    }
    let listed = node.authority().keys.iter().map(|key| key.id.as_str());
    let lacking: Vec<&str> = listed.filter(|id| !held.contains(*id)).collect();
    match task {
        RenewalTask::Prove if !lacking.is_empty() => {
            let lacking = lacking.join(", ");
            let why = format!(
                "to prove its keys the node has to hold {lacking}: unseal, or add [[key]] to node.toml"
            );
            Err(sealed(&why))
        }
        _ => Ok(()),
    }
}

/// The record with its sector, if this authority is competent there by the node's own register.
fn competent(node: &Node, record: SegmentRecord) -> Option<(SegmentRecord, &Sector)> {
    let sector = node
        .register()
        .sectors
        .values()
        .find(|sector| sector.uuid == record.sector)?;
    sector
        .authorities
        .contains(&node.authority().id)
        .then_some((record, &**sector))
}

fn seal_to_lacking(
    node: &Node,
    keys: &[&AuthorityPrivateKey],
    record: &SegmentRecord,
    sector: &Sector,
    step: &mut RenewalStep,
    done: &mut SegmentAnswer,
) {
    // The node's own register says which keys are lacking, not the vault.
    let lacking: Vec<&AuthorityKey> = (node.register().recipients(sector).map(|(_, key)| key))
        .filter(|key| record.recipient(key.id.as_str()).is_none())
        .collect();
    let able: Vec<_> = keys
        .iter()
        .filter(|key| record.recipient(key.id()).is_some())
        .collect();
    if able.is_empty() {
        step.sealed += 1;
        return;
    }
    match able
        .iter()
        .find_map(|key| rewrap(record, key, &lacking).ok())
    {
        Some(recipients) => {
            done.added
                .extend(recipients.into_iter().map(|recipient| NewRecipient {
                    segment: hex(&record.id),
                    suite: recipient.suite,
                    key: recipient.key,
                    enc: BASE64URL_NOPAD.encode(&recipient.enc),
                    ct: BASE64URL_NOPAD.encode(&recipient.ct),
                }));
        }
        None => {
            tracing::warn!("a segment does not open with a key that it is sealed to");
            step.refused += 1;
        }
    }
}

fn prove_own(keys: &[&AuthorityPrivateKey], record: &SegmentRecord, done: &mut SegmentAnswer) {
    let tried: Vec<_> = keys.iter().map(|key| (key, prove(record, key))).collect();
    // A node that cannot open the segment at all cannot prove anything about it.
    let Some(opening) = tried.iter().find_map(|(_, opened)| opened.as_ref().ok()) else {
        return;
    };
    let opening = hex(opening.expose());
    for (key, opened) in &tried {
        let Some(recipient) = record.recipient(key.id()) else {
            continue;
        };
        let proof = RecipientProof {
            segment: hex(&record.id),
            key: key.id().to_owned(),
            entry: hex(&recipient.digest()),
            opening: opening.clone(),
        };
        match opened {
            Ok(_) => done.proved.push(proof),
            Err(error) => {
                tracing::warn!(%error, key = key.id(), "a segment does not open with a key that it is sealed to");
                done.broken.push(proof);
            }
        }
    }
}
