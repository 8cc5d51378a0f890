//! Retiring an epoch: its sector says that it needs it no more, and its mappings go.
//!
//! A live order goes on with its own copies of what it may open ([`crate::reidentify::copies`]); nothing is asked of it.
//!
//! Nobody else may say so, neither operations nor an authority: who keeps pseudonyms of an epoch is the sector alone. What is
//! gone is gone from the store's view at once, and from its files when RocksDB next compacts them; until then it is as
//! sealed as it was.

use serde::{Deserialize, Serialize};

use crate::access::SectorPermit;
use crate::audit::{Entry, Event};
use crate::code::Code;
use crate::commit::{Change, Job, Logged, Pending};
use crate::vault::Vault;

/// How to retire an epoch.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RetireEpoch)]
#[serde(deny_unknown_fields)]
pub struct Retire {
    /// Whether only to say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What went with an epoch, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RetiredEpoch)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// Sector name.
    pub sector: String,
    /// The epoch.
    pub epoch: u32,
    /// How many mappings it has, or had.
    pub mappings: u64,
    /// Whether they are gone.
    pub retired: bool,
}

/// Retires a closed epoch, durable and logged before it is answered. Retiring it again changes nothing.
///
/// # Errors
/// [`Code::DomainClosed`] for an epoch that the sector does not have; [`Code::EpochOpen`] for the current one and for one
/// whose overlap lasts; [`Code::EpochRetired`] where it was retired before; [`Code::AuditUnavailable`].
pub fn retire(vault: &Vault, permit: &SectorPermit, number: u32, how: Retire) -> Result<Retired, Code> {
    let state = &permit.sector;
    // No epoch is advanced, nothing released and nothing migrated meanwhile.
    let _changes = vault.epoch_changes.lock().expect("no panic under this lock");
    let _alone = vault.releases.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let now = vault.now();
    let epoch = state.epoch(number).ok_or(Code::DomainClosed)?;
    if epoch.is_retired() {
        return Err(Code::EpochRetired);
    }
    let overlaps = state.previous(now).is_some_and(|previous| previous.row.epoch == number);
    if state.current().row.epoch == number || overlaps {
        return Err(Code::EpochOpen);
    }
    let id = (state.number, number);
    let partition = vault.index().partition(id);
    let mappings = partition.entries();
    let retired = Retired { sector: state.sector.name.clone(), epoch: number, mappings, retired: !how.dry_run };
    if how.dry_run {
        return Ok(retired);
    }

    let (uuid, time) = (state.sector.uuid, now.as_second());
    let change: Change = Box::new(move |store, batch| {
        // First: after this nobody writes rows that the batch would not take away.
        partition.retire();
        store.retire_epoch(batch, uuid, number, time, id);
    });
    let event = Event::EpochRetire {
        client: permit.client.id.clone(),
        sector: state.sector.name.clone(),
        epoch: number,
        mappings,
    };
    let log = Logged::Entry(Entry::new(now, event), vec![]);
    let job = Job { mappings: vec![], changes: vec![change], count: None, log };
    vault.committer().submit(job).and_then(Pending::wait)?;
    let _ = epoch.retired.set(time);
    vault.committer().small().forget(id);
    Ok(retired)
}
