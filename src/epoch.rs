//! Epochs: advancing a sector's epoch changes that sector's pseudonyms and nothing else.

pub mod retire;
pub mod secrets;

use jiff::Timestamp;
use serde::Serialize;

use crate::access::OperatorPermit;
use crate::audit::{Entry, Event};
use crate::code::Code;
use crate::commit::{Job, Logged};
use crate::keys::SectorRootKey;
use crate::vault::{SectorState, Terms, Vault, sector as epochs};

/// One epoch, as operators see it.
#[derive(Debug, Clone, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct EpochView {
    /// Its number.
    pub epoch: u32,
    /// `current`, `overlap` (the previous one, still answered), `closed` or `retired` (its mappings are gone).
    pub state: String,
    /// When it was opened, RFC 3339.
    pub opened_at: String,
    /// Until when it is still answered beside its successor, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub overlap_until: Option<String>,
    /// The version of the sector secret that it derives from.
    pub secret_version: u32,
    /// Whether no other epoch uses that version, so that destroying it destroys the epoch.
    pub own_secret: bool,
}

/// The epochs of a sector, oldest first.
///
/// # Errors
/// [`Code::UnknownSector`].
pub fn list(vault: &Vault, _permit: &OperatorPermit, sector: &str) -> Result<Vec<EpochView>, Code> {
    let state = vault.sector(sector).ok_or(Code::UnknownSector)?;
    Ok(views(state, vault.now()))
}

/// Opens the next epoch of a sector, durable and logged before it is used.
///
/// # Errors
/// [`Code::UnknownSector`]; [`Code::ClockBehind`]; [`Code::Internal`] when a new secret cannot be stored;
/// [`Code::AuditUnavailable`].
pub fn advance(vault: &Vault, permit: &OperatorPermit, sector: &str, own_secret: bool) -> Result<Vec<EpochView>, Code> {
    let state = vault.sector(sector).ok_or(Code::UnknownSector)?;
    let _one_at_a_time = vault.epoch_changes.lock().expect("no panic under this lock");
    // The overlap with the epoch before begins now, and would be over too early.
    let now = vault.steady_time()?;
    let rows: Vec<_> = state.epochs().iter().map(|epoch| epoch.row).collect();
    let used = vault.store().all_epochs().map_err(internal)?;
    let version = if own_secret {
        let highest = secrets::highest(vault, &used).map_err(internal)?;
        let (version, secret) = vault.shelf().create(highest).map_err(internal)?;
        vault.roots().write().expect("no panic under this lock").insert(version, SectorRootKey::new(&secret));
        version
    } else {
        let roots = vault.roots().read().expect("no panic under this lock");
        epochs::shared_version(&roots, &used)
    };
    let row = epochs::next_row(rows.last(), version, own_secret, Terms::of(&state.sector), now);
    let epoch = {
        let roots = vault.roots().read().expect("no panic under this lock");
        epochs::load(&state.sector, row, &roots).map_err(internal)?
    };
    if epoch.key.is_none() {
        return Err(internal(format_args!("no sector secret is here for it to derive from; try --own-secret")));
    }

    let event = Event::EpochAdvance {
        operator: permit.operator.clone(),
        sector: sector.to_owned(),
        epoch: row.epoch,
        secret_version: version,
        own_secret,
    };
    let uuid = state.sector.uuid;
    let job = Job {
        mappings: vec![],
        changes: vec![Box::new(move |store, batch| store.put_epoch(batch, uuid, row))],
        count: None,
        log: Logged::Entry(Entry::new(now, event), vec![]),
    };
    vault.committer().submit(job)?.wait()?;
    state.advance(epoch);
    Ok(views(state, now))
}

fn internal(error: impl std::fmt::Display) -> Code {
    tracing::error!(%error, "an epoch could not be advanced");
    Code::Internal
}

fn views(state: &SectorState, now: Timestamp) -> Vec<EpochView> {
    let epochs = state.epochs();
    let previous = state.previous(now).map(|epoch| epoch.row.epoch);
    let current = state.current().row.epoch;
    let time = |seconds| Timestamp::from_second(seconds).map(|t| t.to_string()).unwrap_or_default();
    epochs
        .iter()
        .map(|epoch| EpochView {
            epoch: epoch.row.epoch,
            state: match epoch.row.epoch {
                n if n == current => "current",
                n if Some(n) == previous => "overlap",
                _ if epoch.is_retired() => "retired",
                _ => "closed",
            }
            .to_owned(),
            opened_at: time(epoch.row.opened_at),
            overlap_until: (Some(epoch.row.epoch) == previous)
                .then(|| state.overlap_ends().map(|t| t.to_string()))
                .flatten(),
            secret_version: epoch.row.secret_version,
            own_secret: epoch.row.own_secret,
        })
        .collect()
}
