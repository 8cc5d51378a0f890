//! Retiring an epoch: its sector needs it no more, and its mappings go.
//!
//! A live order goes on with its own copies of what it may open ([`crate::reidentify::copies`]);
//! nothing is asked of it.
//!
//! Only the sector's system may retire an epoch, neither operations nor an authority: the sector
//! alone keeps its pseudonyms. An operator signs a statement with it, so that one stolen
//! certificate destroys nothing. The store shows the mappings no more at once; RocksDB removes them
//! from its files at its next compaction, and until then they are as sealed as they were.

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
    /// Whether only to say what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether mappings that were never migrated go, too.
    #[serde(default)]
    pub unmigrated: bool,
    /// The statement that an operator signed, JWS General JSON as text. A dry run takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// What went with an epoch, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetiredEpoch {
    /// Sector name.
    pub sector: String,
    /// The epoch.
    pub epoch: u32,
    /// How many mappings go, or would; 0 where it was retired before.
    pub mappings: u64,
    /// How many of them were never migrated.
    pub unmigrated: u64,
    /// Whether they are gone.
    pub retired: bool,
}

/// Retires a closed epoch, durable and logged before it is answered. Retiring it again changes
/// nothing.
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
    // No epoch is advanced, nothing released and nothing migrated meanwhile.
    let _changes = vault
        .epoch_changes
        .lock()
        .expect("no panic under this lock");
    let _alone = vault.orders().lock();
    let now = vault.steady_time()?;
    let no_such = || Refusal::new(Code::DomainClosed, "the sector has no such epoch");
    let epoch = state.epoch(number).ok_or_else(no_such)?;
    let sector = state.sector.name.clone();
    if epoch.is_retired() {
        return Ok(RetiredEpoch {
            sector,
            epoch: number,
            mappings: 0,
            unmigrated: 0,
            retired: true,
        });
    }
    let overlaps = state
        .previous(now)
        .is_some_and(|previous| previous.row.epoch == number);
    if state.current().row.epoch == number || overlaps {
        return Err(Refusal::new(
            Code::EpochOpen,
            "the epoch is the current one, or its overlap lasts",
        ));
    }
    let id = (state.number, number);
    let partition = vault.index().partition(id);
    let mappings = partition.entries();
    let unmigrated = unmigrated(vault, state, number, mappings).map_err(fault(FAILED))?;
    let retired = RetiredEpoch {
        sector,
        epoch: number,
        mappings,
        unmigrated,
        retired: !how.dry_run,
    };
    if how.dry_run {
        return Ok(retired);
    }
    if unmigrated > 0 && !how.unmigrated {
        let why = format!(
            "{unmigrated} of its {mappings} mappings were never migrated, and the call does not give them up"
        );
        return Err(Refusal::new(Code::EpochUnmigrated, why));
    }
    let wanted = Destruction::Epoch {
        sector: retired.sector.clone(),
        epoch: number,
    };
    let mandate = Mandate::of(vault, how.statement.as_deref(), &wanted)?;

    let (uuid, time) = (state.sector.uuid, now.as_second());
    let change: Change = Box::new(move |store, batch| {
        // First: after this no thread writes rows that the batch would not take away.
        partition.retire();
        store.retire_epoch(batch, uuid, number, time, id);
    });
    let event = AuditEvent::EpochRetire {
        client: permit.client.id.clone(),
        sector: retired.sector.clone(),
        epoch: number,
        mappings,
        unmigrated,
        statement: mandate.note(),
    };
    commit(vault, event, vec![change, mandate.change()])?;
    let _ = epoch.retired.set(time);
    vault.committer().small().forget(id);
    Ok(retired)
}

/// How many of an epoch's mappings no migration made a pair of. Of several migrations the one that
/// came furthest counts.
fn unmigrated(
    vault: &Vault,
    state: &SectorState,
    epoch: u32,
    mappings: u64,
) -> Result<u64, StoreError> {
    let left = |migration: MigrationRow| -> Result<u64, StoreError> {
        // A migration goes through the chunks by their sequence: those from `next` on it has not
        // seen.
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
        // An erasure may have taken mappings that were migrated: what was not seen is one at least.
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
