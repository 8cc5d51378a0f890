//! After a restore without places: people end what holds since then, each by a statement of two
//! operators.
//!
//! | what holds | which statement ends it |
//! |---|---|
//! | every sector is closed, because it may have left its epoch | `confirm-epoch`, a sector each: it stands at that epoch now, and neither the backup nor the other side's log names a later one |
//! | nothing is released or opened, because erasures may be missing | `erasures-lodged` |
//! | orders issued before are over | nothing: their authority signs new ones |
//!
//! What holds is [`RestoreLoss`]; the checks are where the requests are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{OperatorPermit, RestoreReadPermit};
use crate::audit::{AuditEvent, StatementNote};
use crate::code::Code;
use crate::commit::Change;
use crate::entity::{Entity, LostSuspension, RestoreLoss};
use crate::epoch::statement::{self, Destruction, DestructionPayload};
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::Sector;
use crate::statement::{Signed, Statement as _};
use crate::store::StoreError;

/// The context of an internal error in the log.
const FAILED: &str = "what holds since the restore";

/// A statement as it is brought.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRestore {
    /// The statement that two operators signed, JWS General JSON as text.
    pub statement: String,
}

/// What holds since the last restore without places.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreState {
    /// Absent where the store was never restored without places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<RestoreLossView>,
}

/// The same, of a side that was restored so.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreLossView {
    /// The backup's id; absent where a copy of the store was brought back by other means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// When the store was restored: orders that were not issued later are over.
    #[schema(value_type = String)]
    pub restored: Timestamp,
    /// The sectors that are closed, by name; none at a node, which answers in no sector.
    pub closed: Vec<ClosedSector>,
    /// Whether releases still wait for erasures to be lodged again.
    pub erasures_missing: bool,
    /// Until when the quotas of the day count as used, if they still do; never at a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub quotas_until: Option<Timestamp>,
    /// Register entries that the other side's log names as suspended after the backup, and that are
    /// not suspended here: people suspend them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspend: Vec<LostSuspension>,
    /// Whether the other side's log named more of them than the restore kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_suspended: bool,
    /// Whether the other side's log was not named at the restore, so that nothing is known of
    /// suspensions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_side_unknown: bool,
    /// While erasures are missing: closed epochs that are not retired. Those that were retired
    /// after the backup are retired again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retire: Vec<ClosedEpoch>,
}

/// A closed epoch whose mappings are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedEpoch {
    /// Sector name.
    pub sector: String,
    /// The epoch.
    pub epoch: u32,
}

/// A sector whose epoch nobody has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedSector {
    /// Sector name.
    pub sector: String,
    /// The lowest epoch that can be confirmed.
    pub least: u32,
}

/// What holds since the last restore without places.
///
/// # Errors
/// [`Code::Internal`].
pub fn state(entity: &Entity, _permit: &RestoreReadPermit) -> Result<RestoreState, Refusal> {
    current(entity)
}

fn current(entity: &Entity) -> Result<RestoreState, Refusal> {
    let loss = entity.restore_loss();
    let loss = loss.map(|loss| view(entity, &loss)).transpose();
    loss.map(|loss| RestoreState { loss })
        .map_err(fault(FAILED))
}

/// The entries of the register that the other side's log names as suspended and that are not.
fn to_suspend(entity: &Entity, loss: &RestoreLoss) -> Vec<LostSuspension> {
    let now = entity.suspensions();
    let lacks = |one: &&LostSuspension| now.iter().all(|row| row.entry.as_str() != one.entry);
    loss.suspended.iter().filter(lacks).cloned().collect()
}

/// The epochs that may have been retired in the lost time: closed, and not retired.
fn may_be_retired(entity: &Entity) -> Result<Vec<ClosedEpoch>, StoreError> {
    let retired = entity.store().retired_epochs()?;
    let mut closed = vec![];
    for sector in entity.register().sectors.values() {
        let rows = entity.store().epochs(sector.uuid)?;
        let last = rows.last().map_or(0, |row| row.epoch);
        let is_retired = |epoch| {
            retired
                .iter()
                .any(|row| (row.0, row.1) == (sector.uuid, epoch))
        };
        let left = rows.iter().map(|row| row.epoch);
        let left = left.filter(|epoch| *epoch != last && !is_retired(*epoch));
        closed.extend(left.map(|epoch| ClosedEpoch {
            sector: sector.name.clone(),
            epoch,
        }));
    }
    Ok(closed)
}

fn view(entity: &Entity, loss: &RestoreLoss) -> Result<RestoreLossView, StoreError> {
    let sectors = entity.register().sectors.values();
    let is_vault = entity.role().is_vault();
    let closed = sectors.filter(|sector| !loss.confirmed.contains(&sector.uuid));
    let closed = closed.map(|sector| ClosedSector {
        sector: sector.name.clone(),
        least: least(loss, sector.uuid),
    });
    Ok(RestoreLossView {
        backup: loss.backup.as_ref().map(|backup| backup.id.clone()),
        restored: loss.restored,
        closed: if is_vault { closed.collect() } else { vec![] },
        erasures_missing: !loss.erased_again,
        quotas_until: loss.quotas_until(entity.now()).filter(|_| is_vault),
        suspend: to_suspend(entity, loss),
        more_suspended: loss.more_suspended,
        other_side_unknown: !loss.other_side,
        retire: if loss.erased_again {
            vec![]
        } else {
            may_be_retired(entity)?
        },
    })
}

/// The lowest epoch of a sector that can be confirmed.
fn least(loss: &RestoreLoss, sector: Uuid) -> u32 {
    loss.epochs.get(&sector).copied().unwrap_or(1)
}

/// Takes a statement that confirms an epoch or says that erasures were lodged again: durable,
/// logged, and in force once enough places hold it.
///
/// # Errors
/// [`Code::StatementInvalid`], [`Code::RequestReplayed`], [`Code::UnknownSector`],
/// [`Code::EpochNotCurrent`], [`Code::AuditUnavailable`]; [`Code::JournalUnavailable`]: the same
/// statement asks again then.
pub fn confirm(
    entity: &Entity,
    permit: &OperatorPermit,
    text: &str,
) -> Result<RestoreState, Refusal> {
    let signed = statement::check(text, entity.register(), entity.steady_time()?)?;
    entity.refuse_shut_out(&signed.persons)?;
    let _one_at_a_time = entity.lock_restore_loss();
    let stored = RestoreLoss::of(entity.store()).map_err(fault(FAILED))?;
    let loss = stored.ok_or_else(|| invalid("this side was not restored without places"))?;
    let (id, until) = (signed.says.id, signed.says.until().as_second());
    let taken = entity.store().is_carried_out(until, id);
    let changed = apply(entity, &loss, &signed)?;
    if !taken.map_err(fault(FAILED))? {
        let (row, event) = (changed.to_bytes(), event(&signed, permit));
        let write: Change = Box::new(move |store, batch| {
            store.put_carried_out(batch, until, id);
            store.put_restore_loss(batch, &row);
        });
        entity
            .committer()
            .record(entity.now(), event, vec![], vec![write])
            .map_err(not_logged("nothing is confirmed"))?;
        // The log withholds it until enough places hold its entry.
        entity.put_restore_loss(changed);
    } else if changed != loss {
        let why = "the statement was taken already: sign another one";
        return Err(Refusal::new(Code::RequestReplayed, why));
    }
    entity.wait_for_grant()?;
    current(entity)
}

fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    DestructionPayload::refuse(why)
}

/// What holds after the statement.
fn apply(
    entity: &Entity,
    loss: &RestoreLoss,
    signed: &Signed<DestructionPayload, crate::id::Id>,
) -> Result<RestoreLoss, Refusal> {
    if signed.says.time < loss.restored {
        return Err(invalid(
            "the statement was written before the restore: sign another one",
        ));
    }
    let mut loss = loss.clone();
    match &signed.says.destruction {
        Destruction::ConfirmEpoch { sector, epoch } if entity.role().is_vault() => {
            let known = entity.register().sector(sector);
            let known = known.ok_or_else(|| {
                Refusal::new(Code::UnknownSector, "the register knows no such sector")
            })?;
            check_epoch(entity, &loss, known, *epoch)?;
            loss.confirmed.insert(known.uuid);
        }
        Destruction::ErasuresLodged { entity: named } if *named == entity.role().local_name() => {
            loss.erased_again = true;
        }
        _ => {
            return Err(invalid(
                "the statement is for something else, or for another side",
            ));
        }
    }
    Ok(loss)
}

/// Refuses an epoch at which the sector does not stand, and one below what is known of it.
fn check_epoch(
    entity: &Entity,
    loss: &RestoreLoss,
    sector: &Sector,
    epoch: u32,
) -> Result<(), Refusal> {
    let rows = entity.store().epochs(sector.uuid).map_err(fault(FAILED))?;
    let current = rows.last().map_or(0, |row| row.epoch);
    let least = least(loss, sector.uuid);
    if epoch != current {
        let why = format!(
            "the sector stands at epoch {current}, not at epoch {epoch}: advance it first (`cloison epoch advance`)"
        );
        return Err(Refusal::new(Code::EpochNotCurrent, why));
    }
    if epoch < least {
        let why = format!(
            "the other side's log names epoch {least} of the sector: advance it as far first (`cloison epoch advance`)"
        );
        return Err(Refusal::new(Code::EpochNotCurrent, why));
    }
    Ok(())
}

fn event(
    signed: &Signed<DestructionPayload, crate::id::Id>,
    permit: &OperatorPermit,
) -> AuditEvent {
    let (what, sector, epoch) = match &signed.says.destruction {
        Destruction::ConfirmEpoch { sector, epoch } => {
            ("epoch", Some(sector.clone()), Some(*epoch))
        }
        _ => ("erasures", None, None),
    };
    AuditEvent::RestoreConfirm {
        operator: permit.operator.clone(),
        what,
        sector,
        epoch,
        statement: StatementNote {
            statement: signed.says.id.to_string(),
            signers: signed.persons.clone(),
        },
    }
}
