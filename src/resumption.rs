//! After a restore, a vault's log may have lost entries. The node opens nothing until a person
//! acknowledges that here.
//!
//! The node remembers how far it has cosigned the vault's log, so it notices a restore and refuses
//! to open mappings. The vault's log goes on with an entry that says what was lost. With the proof
//! of that entry an officer or a custodian may acknowledge the loss. What the node remembers stays,
//! because it is evidence.

use serde::{Deserialize, Serialize};

use crate::access::{NodePermit, ResumePermit};
use crate::audit::AuditEvent;
use crate::audit::resume::{self, Resumption};
use crate::code::Code;
use crate::commit::Change;
use crate::entity::Entity;
use crate::id::hex;
use crate::link::VaultLink;
use crate::refusal::{Refusal, fault, not_logged};
use crate::vault::Vault;

/// The context of an internal error in the log.
const FAILED: &str = "the resumptions of the vault's log could not be read";

/// The entries with which the vault's log went on after a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeProofs {
    /// Each with the proof that it is the first one of its shard (C2SP `tlog-proof`).
    pub proofs: Vec<String>,
}

/// The vault's side: shows these entries to an authority's node.
///
/// # Errors
/// [`Code::Internal`].
pub fn proofs(vault: &Vault, _permit: &NodePermit) -> Result<ResumeProofs, Refusal> {
    Ok(ResumeProofs {
        proofs: resume::proofs(vault.log()).map_err(fault(FAILED))?,
    })
}

/// A log of the vault that lost entries and goes on as another log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumedLog {
    /// Leaf hash of the entry that says so, hex; an acknowledgement names it.
    pub entry: String,
    /// When the log was resumed, as the entry says.
    pub time: String,
    /// The log that goes on.
    pub log: String,
    /// The log that lost entries.
    pub lost_log: String,
    /// How many entries it had, as far as they were published.
    pub lost_entries: u64,
    /// How many entries are left.
    pub kept_entries: u64,
    /// Whether the loss was acknowledged at this node.
    pub acknowledged: bool,
}

/// All resumed logs of the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumedLogs {
    /// Those that nobody has acknowledged first, then in the order of the logs.
    pub resumed: Vec<ResumedLog>,
}

/// Acknowledges the loss of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeAcknowledgement {
    /// Leaf hash of the entry, hex.
    pub entry: String,
}

/// The logs of the vault that lost entries.
///
/// # Errors
/// [`Code::PeerUnavailable`], [`Code::Internal`].
pub fn list(side: &Entity, link: &dyn VaultLink) -> Result<ResumedLogs, Refusal> {
    let shown = |resumption: &Resumption| {
        Ok(ResumedLog {
            entry: hex(&resumption.entry),
            time: resumption.time.clone(),
            log: resumption.log.clone(),
            lost_log: resumption.lost.origin.clone(),
            lost_entries: resumption.lost.size,
            kept_entries: resumption.kept_entries,
            acknowledged: side
                .resume_acknowledged(&resumption.entry)
                .map_err(fault(FAILED))?,
        })
    };
    let resumed = link.resumptions()?;
    let resumed = resumed.iter().map(shown);
    let mut resumed = resumed.collect::<Result<Vec<_>, Refusal>>()?;
    resumed.sort_by_key(|log| log.acknowledged);
    Ok(ResumedLogs { resumed })
}

/// Acknowledges the loss of one log, durably and logged. Repeating it does nothing.
///
/// # Errors
/// [`Code::UnknownResume`] if the vault shows no such entry; those of [`list`];
/// [`Code::AuditUnavailable`]; [`Code::JournalUnavailable`]: it counts once enough places hold it.
pub fn acknowledge(
    side: &Entity,
    permit: &ResumePermit,
    asked: &ResumeAcknowledgement,
    link: &dyn VaultLink,
) -> Result<ResumedLogs, Refusal> {
    let found = link
        .resumptions()?
        .into_iter()
        .find(|resumption| hex(&resumption.entry) == asked.entry);
    let Some(found) = found else {
        return Err(Refusal::new(
            Code::UnknownResume,
            "the vault's log shows no such entry, or not with a proof that fits",
        ));
    };
    if !side
        .store()
        .resume_acknowledged(&found.entry)
        .map_err(fault(FAILED))?
    {
        let (entry, time) = (found.entry, side.now());
        let change: Change = Box::new(move |store, batch| {
            store.put_resume_acknowledged(batch, &entry, time.as_second());
        });
        let event = AuditEvent::AcknowledgeResume {
            actor: permit.actor.clone(),
            log: found.log.clone(),
            entry: hex(&found.entry),
            lost_log: found.lost.origin.clone(),
            lost_entries: found.lost.size,
            kept_entries: found.kept_entries,
        };
        let recorded = side.committer().record(time, event, vec![], vec![change]);
        recorded.map_err(not_logged("nothing is acknowledged"))?;
        tracing::warn!(actor = %permit.actor, log = found.log, "a restore of the vault was acknowledged");
    }
    side.wait_for_grant()?;
    // Once the node has looked, a log that goes on is one like others, and is not listed.
    let listed = list(side, link)?;
    link.look_again();
    Ok(listed)
}
