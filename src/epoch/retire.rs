//! Retiring an epoch: its sector no longer needs it, and its mappings are deleted.
//!
//! A live order keeps its own copies of the mappings that it may open
//! ([`crate::reidentify::copies`]), so retiring does not depend on orders.
//!
//! Only the sector's system may retire an epoch, and neither an operator nor an authority, because
//! only the sector knows whether it still uses the pseudonyms. An operator signs a statement as
//! well, so that one stolen certificate destroys nothing. The store stops showing the mappings at
//! once; RocksDB removes them from its files at its next compaction, and until then they stay
//! sealed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::statement::{Destruction, Mandate};
use super::{FAILED, commit};
use crate::access::SectorPermit;
use crate::audit::AuditEvent;
use crate::code::Code;
use crate::commit::Change;
use crate::refusal::{Refusal, fault};
use crate::store::{ChunkKey, MigrationRow, StoreError};
use crate::vault::{SectorState, Vault};

/// How to retire an epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RetireEpoch)]
#[serde(deny_unknown_fields)]
pub struct RetireEpochRequest {
    /// Whether only to say what would be deleted.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether to delete also mappings that were never migrated.
    #[serde(default)]
    pub unmigrated: bool,
    /// The statement that an operator signed, JWS General JSON as text. A dry run takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// What was deleted with an epoch, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetiredEpoch {
    /// Sector name.
    pub sector: String,
    /// The epoch.
    pub epoch: u32,
    /// How many mappings were deleted, or would be; 0 if it was retired before.
    pub mappings: u64,
    /// How many of them were never migrated.
    pub unmigrated: u64,
    /// Whether they were deleted.
    pub retired: bool,
}

/// Retires a closed epoch, durably and logged before it is answered. Repeating it changes nothing.
///
/// # Errors
/// [`Code::DomainClosed`] for an epoch that the sector does not have; [`Code::EpochOpen`] for the
/// current one and for one whose overlap lasts; [`Code::ClockBehind`]; [`Code::EpochUnmigrated`];
/// those of a statement; [`Code::AuditUnavailable`].
pub fn retire(
    vault: &Vault,
    permit: &SectorPermit,
    number: u32,
    how: &RetireEpochRequest,
) -> Result<RetiredEpoch, Refusal> {
    let state = &permit.sector;
    // Meanwhile no epoch is advanced, nothing is released and nothing is migrated.
    let epochs = vault.lock_epochs()?;
    let orders = vault.orders().lock_orders();
    let now = vault.steady_time()?;
    let epoch = state
        .epoch(number)
        .ok_or_else(|| Refusal::new(Code::DomainClosed, "the sector has no such epoch"))?;
    let mut retired = RetiredEpoch {
        sector: state.sector.name.clone(),
        epoch: number,
        mappings: 0,
        unmigrated: 0,
        retired: true,
    };
    if epoch.is_retired() {
        drop((orders, epochs));
        vault.answer_restriction()?;
        return Ok(retired);
    }
    check_closed(state, number, now)?;
    let id = (state.number, number);
    retired.mappings = vault.index().partition(id).entries();
    retired.unmigrated =
        unmigrated(vault, state, number, retired.mappings).map_err(fault(FAILED))?;
    if how.dry_run {
        retired.retired = false;
        return Ok(retired);
    }
    check_migrated(&retired, how)?;
    let wanted = Destruction::Epoch {
        sector: retired.sector.clone(),
        epoch: number,
    };
    let mandate = Mandate::of(vault, how.statement.as_deref(), &wanted)?;
    commit_retirement(vault, permit, &retired, &mandate, now)?;
    let _ = epoch.retired.set(now.as_second());
    vault.committer().small().forget(id);
    // Others must not wait for places with this.
    drop((orders, epochs));
    vault.answer_restriction()?;
    Ok(retired)
}

/// Refuses the current epoch, and the previous one while its overlap lasts.
fn check_closed(state: &SectorState, number: u32, now: Timestamp) -> Result<(), Refusal> {
    let overlaps = state
        .previous(now)
        .is_some_and(|previous| previous.row.epoch == number);
    if state.current().row.epoch == number || overlaps {
        return Err(Refusal::new(
            Code::EpochOpen,
            "the epoch is the current one, or its overlap lasts",
        ));
    }
    Ok(())
}

/// Refuses to destroy mappings that were never migrated, unless the call gives them up.
fn check_migrated(retired: &RetiredEpoch, how: &RetireEpochRequest) -> Result<(), Refusal> {
    let RetiredEpoch {
        mappings,
        unmigrated,
        ..
    } = retired;
    if *unmigrated > 0 && !how.unmigrated {
        let why = format!(
            "{unmigrated} of its {mappings} mappings were never migrated, and the call does not give them up"
        );
        return Err(Refusal::new(Code::EpochUnmigrated, why));
    }
    Ok(())
}

/// Deletes the epoch's rows and logs it, in one commit.
fn commit_retirement(
    vault: &Vault,
    permit: &SectorPermit,
    retired: &RetiredEpoch,
    mandate: &Mandate,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (state, epoch) = (&permit.sector, retired.epoch);
    let (uuid, id) = (state.sector.uuid, (state.number, epoch));
    let partition = vault.index().partition(id);
    let change: Change = Box::new(move |store, batch| {
        // First: after this no thread writes rows that the batch would not delete.
        partition.retire();
        store.retire_epoch(batch, uuid, epoch, now.as_second(), id);
    });
    let event = AuditEvent::EpochRetire {
        client: permit.client.id.clone(),
        sector: retired.sector.clone(),
        epoch,
        mappings: retired.mappings,
        unmigrated: retired.unmigrated,
        statement: mandate.note(),
    };
    commit(vault, event, vec![change, mandate.change()]).map(drop)
}

/// How many of an epoch's mappings were not migrated. Of several migrations the one that came
/// furthest counts.
fn unmigrated(
    vault: &Vault,
    state: &SectorState,
    epoch: u32,
    mappings: u64,
) -> Result<u64, StoreError> {
    let left = |migration: MigrationRow| -> Result<u64, StoreError> {
        // A migration reads the chunks by their sequence and has not seen those from `next` on.
        let mut is_seen = true;
        let next = ChunkKey {
            sector: state.number,
            epoch,
            sequence: migration.next,
        };
        vault.store().chunks_from(next, |_, _| {
            is_seen = false;
            Ok::<bool, StoreError>(false)
        })?;
        // An erasure may have deleted mappings that were migrated, so at least one is left to see.
        Ok(if is_seen {
            migration.skipped
        } else {
            mappings.saturating_sub(migration.migrated).max(1)
        })
    };
    let migrations = vault.store().migrations()?.into_iter();
    let of_epoch = migrations
        .filter(|migration| (migration.sector, migration.from) == (state.sector.uuid, epoch));
    let counts = of_epoch.map(left).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(counts.into_iter().min().unwrap_or(mappings))
}
