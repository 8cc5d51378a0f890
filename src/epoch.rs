//! Epochs: advancing a sector's epoch changes that sector's pseudonyms and nothing else.

pub mod clock;
pub mod confirm;
pub mod retire;
pub mod secrets;
pub mod statement;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::statement::{Destruction, Mandate};
use crate::access::OperatorPermit;
use crate::audit::{AuditEvent, Grant};
use crate::code::Code;
use crate::commit::Change;
use crate::journal::prune::LogPlace;
use crate::keys::SectorRootKey;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::Id;
use crate::store::ReservedSecret;
use crate::vault::{Epoch, PendingAct, SectorState, Terms, Vault, sector as epochs};

/// The context of an internal error in the log.
const FAILED: &str = "epochs and their secrets";

/// The epochs of a sector.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Epochs)]
pub struct EpochList {
    /// Sector name.
    pub sector: String,
    /// Oldest first.
    pub epochs: Vec<EpochView>,
    /// Epochs that are stored and take effect as soon as enough places hold them, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
}

impl EpochList {
    fn of(vault: &Vault, state: &SectorState) -> Self {
        let sector = state.sector.name.clone();
        let is_asked = |grant: &Grant| matches!(grant, Grant::Epoch(of, _) if *of == sector);
        Self {
            epochs: views(state, vault.now()),
            waiting: vault.waiting(is_asked),
            sector,
        }
    }
}

/// One epoch, as operators see it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EpochView {
    /// Its number.
    pub epoch: u32,
    /// `current`, `overlap` (the previous one, still answered), `closed` or `retired` (its mappings
    /// are gone).
    pub state: String,
    /// When it was opened, RFC 3339.
    pub opened_at: String,
    /// When it stops being answered beside its successor, RFC 3339.
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
pub fn list(vault: &Vault, _permit: &OperatorPermit, sector: &str) -> Result<EpochList, Code> {
    let state = vault.sector(sector).ok_or(Code::UnknownSector)?;
    Ok(EpochList::of(vault, state))
}

/// How to advance an epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Advance)]
#[serde(deny_unknown_fields)]
pub struct AdvanceEpochRequest {
    /// The sector's current epoch. If the sector has advanced already, a repeated call is answered
    /// as done.
    pub from: u32,
    /// The epoch before `from`, if clients still get its pseudonyms beside the present ones: that
    /// overlap ends now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_overlap: Option<u32>,
    /// Whether the new epoch gets a version of the sector secret of its own, so that it can be
    /// destroyed.
    #[serde(default)]
    pub own_secret: bool,
    /// The statement that two operators signed, JWS General JSON as text: for `own_secret` in a
    /// sector without mappings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// Opens the next epoch of a sector, durable and logged before it is used. The same call again
/// changes nothing.
///
/// # Errors
/// [`Code::UnknownSector`]; [`Code::EpochNotCurrent`], [`Code::EpochOverlaps`];
/// [`Code::ClockBehind`]; those of a statement, if it takes one; [`Code::SecretUnconfirmed`] where
/// the version of the sector secret, which this call may have made, waits for [`confirm`];
/// [`Code::Internal`] if a new secret cannot be stored; [`Code::AuditUnavailable`];
/// [`Code::JournalUnavailable`]: the epoch is stored then, and opens as soon as enough places hold
/// it.
pub fn advance(
    vault: &Vault,
    permit: &OperatorPermit,
    sector: &str,
    how: &AdvanceEpochRequest,
) -> Result<EpochList, Refusal> {
    let unknown = || Refusal::new(Code::UnknownSector, "the register knows no such sector");
    let state = vault.sector(sector).ok_or_else(unknown)?;
    let _one_at_a_time = vault.lock_epochs()?;
    if is_done(state, how)? {
        return Ok(EpochList::of(vault, state));
    }
    // The overlap with the previous epoch begins now; with a clock that is behind, it would end too
    // early.
    let now = vault.steady_time()?;
    let ended_overlap = overlap_to_end(state, how, now)?;
    let mandate = if how.own_secret && !state.sector.reversible {
        let wanted = Destruction::OwnSecret {
            sector: sector.to_owned(),
            from: how.from,
        };
        Some(Mandate::of(vault, how.statement.as_deref(), &wanted)?)
    } else {
        None
    };
    let epoch = next(vault, &permit.operator, state, how.own_secret, now)?;
    let (uuid, row) = (state.sector.uuid, epoch.row);
    let event = AuditEvent::EpochAdvance {
        operator: permit.operator.clone(),
        sector: sector.to_owned(),
        epoch: row.epoch,
        secret_version: row.secret_version,
        own_secret: row.own_secret,
        ended_overlap,
        statement: mandate.as_ref().map(Mandate::note),
    };
    let opened: Change = Box::new(move |store, batch| store.put_epoch(batch, uuid, row));
    let changes = [opened]
        .into_iter()
        .chain(mandate.as_ref().map(Mandate::change));
    let entry = commit(vault, event, changes.collect())?;
    vault.take_effect(PendingAct {
        what: advance_name(sector, how.from),
        entry,
        effect: Box::new({
            let state = state.clone();
            move |_, held| state.advance(epoch, held)
        }),
    })?;
    Ok(EpochList::of(vault, state))
}

/// The name of an advance among the acts that wait for places.
fn advance_name(sector: &str, from: u32) -> String {
    format!("epoch-advance {sector} {from}")
}

/// Whether this same call was carried out before: an answer can get lost, and a second advance
/// could not be undone.
fn is_done(state: &SectorState, how: &AdvanceEpochRequest) -> Result<bool, Refusal> {
    let current = state.current().row;
    if current.epoch == how.from {
        return Ok(false);
    }
    match state.epochs().as_slice() {
        [.., left, _]
            if left.row.epoch == how.from
                && current.own_secret == how.own_secret
                // The only overlap that the call can have ended.
                && how.end_overlap.is_none_or(|ended| ended.checked_add(1) == Some(how.from)) =>
        {
            Ok(true)
        }
        _ => {
            let why = format!(
                "the sector stands at epoch {}, not at epoch {}",
                current.epoch, how.from
            );
            Err(Refusal::new(Code::EpochNotCurrent, why))
        }
    }
}

/// The epoch whose overlap ends when the next epoch opens. Refuses if the call does not name it.
fn overlap_to_end(
    state: &SectorState,
    how: &AdvanceEpochRequest,
    now: Timestamp,
) -> Result<Option<u32>, Refusal> {
    let overlapping = state.previous(now).map(|epoch| epoch.row.epoch);
    if overlapping.is_none() || overlapping == how.end_overlap {
        return Ok(overlapping);
    }
    let (epoch, current) = (overlapping.unwrap_or_default(), how.from);
    let until = state
        .overlap_ends()
        .map(|until| until.to_string())
        .unwrap_or_default();
    let why = format!(
        "epoch {epoch} is still answered beside epoch {current}, until {until}, and the call does not end that"
    );
    Err(Refusal::new(Code::EpochOverlaps, why))
}

/// The next epoch of a sector with its key, not yet stored.
fn next(
    vault: &Vault,
    operator: &Id,
    state: &SectorState,
    own_secret: bool,
    now: Timestamp,
) -> Result<Epoch, Refusal> {
    let version = if own_secret {
        own_version(vault, operator, state)?
    } else {
        shared_version(vault)?
    };
    let row = epochs::next_row(
        Some(&state.current().row),
        version,
        own_secret,
        Terms::of(&state.sector),
        now,
    );
    let roots = vault.roots().read().expect("no panic under this lock");
    let epoch = epochs::load(&state.sector, row, &roots).map_err(fault(FAILED))?;
    if epoch.key.is_none() {
        return Err(fault(FAILED)(
            "no sector secret is here for the next epoch to derive from; try --own-secret",
        ));
    }
    Ok(epoch)
}

/// The version that the next epochs share. Refuses while a newer one waits to be confirmed: who
/// made it wants no more epochs on the one before.
fn shared_version(vault: &Vault) -> Result<u32, Refusal> {
    let usable = confirm::usable(vault)?;
    let roots = vault.roots().read().expect("no panic under this lock");
    match usable.unconfirmed(&roots) {
        Some(version) => Err(confirm::unconfirmed(version)),
        None => Ok(usable.shared_version(&roots)),
    }
}

/// The version that was made for the next epoch of this sector alone, once it is confirmed. Where
/// there is none it is made, durably and logged, and waits for that.
fn own_version(vault: &Vault, operator: &Id, state: &SectorState) -> Result<u32, Refusal> {
    let usable = confirm::usable(vault)?;
    let (sector, from) = (state.sector.uuid, state.current().row.epoch);
    let reserved = vault.store().reserved_secrets().map_err(fault(FAILED))?;
    let made = {
        let roots = vault.roots().read().expect("no panic under this lock");
        let made = reserved.into_iter().filter(|made| {
            (made.sector, made.from) == (sector, from) && roots.contains_key(&made.version)
        });
        made.map(|made| made.version).max()
    };
    if let Some(version) = made {
        return if usable.is_confirmed(version) {
            Ok(version)
        } else {
            Err(confirm::unconfirmed(version))
        };
    }
    let used = vault.store().all_epochs().map_err(fault(FAILED))?;
    let highest = secrets::highest(vault, &used).map_err(fault(FAILED))?;
    let (version, secret) = vault
        .sector_secrets()
        .create(highest)
        .map_err(fault(FAILED))?;
    let needs_word = !vault.sector_secrets().is_off_machine();
    if needs_word {
        let reserved = ReservedSecret {
            version,
            sector,
            from,
        };
        let note: Change = Box::new(move |store, batch| store.put_reserved_secret(batch, reserved));
        let event = AuditEvent::SecretRotate {
            operator: operator.clone(),
            version,
            sector: Some(state.sector.name.clone()),
        };
        commit(vault, event, vec![note])?;
    }
    let mut roots = vault.roots().write().expect("no panic under this lock");
    roots.insert(version, SectorRootKey::new(&secret));
    if needs_word {
        Err(confirm::unconfirmed(version))
    } else {
        Ok(version)
    }
}

/// Commits an entry together with the changes that it describes. Returns where the entry stands.
fn commit(vault: &Vault, event: AuditEvent, changes: Vec<Change>) -> Result<LogPlace, Refusal> {
    vault
        .committer()
        .record(vault.now(), event, vec![], changes)
        .map(|receipt| LogPlace::from(&receipt))
        .map_err(not_logged("nothing is done"))
}

fn views(state: &SectorState, now: Timestamp) -> Vec<EpochView> {
    let epochs = state.epochs();
    let previous = state.previous(now).map(|epoch| epoch.row.epoch);
    let current = state.current().row.epoch;
    let time = |seconds| {
        Timestamp::from_second(seconds)
            .map(|t| t.to_string())
            .unwrap_or_default()
    };
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
