//! Versions of the sector secret: makes a new one for the next epochs, and destroys one that no
//! epoch needs.
//!
//! An epoch keeps the version that it was opened with. So a rotation changes nothing by itself: the
//! next epoch of each sector takes the newest version that is no epoch's own, once it is confirmed
//! ([`super::confirm`]). A version is *needed* by
//!
//! * each sector's current epoch, and the one before while they overlap;
//! * closed epochs whose mappings are kept: without the version nobody could find a person's
//!   mapping in them;
//! * the next epochs, if they would take it.
//!
//! Retiring a version cannot be undone: the store remembers it, so that a restored copy of the
//! secret is not used again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::statement::{Destruction, Mandate};
use super::{FAILED, commit};
use crate::access::OperatorPermit;
use crate::audit::log::HeldByPlaces;
use crate::audit::{AuditEvent, Grant};
use crate::code::Code;
use crate::commit::Change;
use crate::journal::prune::LogPlace;
use crate::keys::SectorRootKey;
use crate::keys::file::FileFault;
use crate::refusal::{Refusal, fault};
use crate::store::{EpochRow, StoreError};
use crate::vault::{PendingAct, ROTATE, UsableVersions, Vault};

/// The versions of the sector secret.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Secrets)]
pub struct SectorSecrets {
    /// By number.
    pub versions: Vec<SecretView>,
    /// The versions of the journal secret that side records need: those behind the oldest backup
    /// that is kept, or all where no backups are taken.
    #[serde(default)]
    pub journal: Vec<u32>,
    /// What was done to versions and takes effect as soon as enough places hold it, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
}

/// A version of the sector secret, as operators see it, without the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretView {
    /// Its number.
    pub version: u32,
    /// `here`; `unconfirmed`: here, but no operator has said that its custody holds it off this
    /// machine, so no epoch names it; `missing`, if an epoch names it and the vault does not have
    /// it; or `retired`.
    pub state: String,
    /// Whether it belongs to one epoch only.
    pub own: bool,
    /// What needs it; if empty, it may be retired.
    pub needed_by: Vec<SecretNeed>,
}

/// Why a version is needed.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = Need)]
#[serde(deny_unknown_fields)]
pub struct SecretNeed {
    /// Sector name, or the UUID of one that the register no longer has; absent for the next epochs
    /// of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector: Option<String>,
    /// Its epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// `current`, `overlap`, `mappings` (closed, and mappings are kept), `next-epochs`, or
    /// `next-epochs-else`: these take it unless the newer version is confirmed that waits for that.
    pub why: String,
}

/// A request to retire a version.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Retire)]
#[serde(deny_unknown_fields)]
pub struct RetireSecretRequest {
    /// The version.
    pub version: u32,
    /// Whether only to say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// The statement that two operators signed, JWS General JSON as text. A dry run takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// The result of retiring a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Retired)]
#[serde(deny_unknown_fields)]
pub struct RetiredSecret {
    /// The version.
    pub version: u32,
    /// Whether it is retired now.
    pub retired: bool,
    /// Whether the vault has destroyed it. If it could not, it no longer uses it all the same, and
    /// `remains` says what is left.
    pub destroyed: bool,
    /// What is still to be destroyed by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remains: Option<String>,
}

/// Lists every version that the vault has or that an epoch names.
///
/// # Errors
/// [`Code::Internal`].
pub fn list(vault: &Vault, _permit: &OperatorPermit) -> Result<SectorSecrets, Refusal> {
    let journal = vault.journal_versions().map_err(fault(FAILED))?;
    // Without a lock: reading waits for nothing, also while an act waits for places.
    let versions = views(vault).map_err(fault(FAILED))?;
    let is_asked = |grant: &Grant| matches!(grant, Grant::Secret(_) | Grant::Retirement(_));
    Ok(SectorSecrets {
        versions,
        journal,
        waiting: vault.waiting(is_asked),
    })
}

/// Makes a new version for the next epochs, durably and logged.
///
/// # Errors
/// [`Code::SecretReadOnly`]; [`Code::AuditUnavailable`]; [`Code::JournalUnavailable`]: the version
/// is there as soon as enough places hold the entry; [`Code::Internal`].
pub fn rotate(vault: &Vault, permit: &OperatorPermit) -> Result<SectorSecrets, Refusal> {
    let (one_at_a_time, settled) = vault.lock_and_settle()?;
    // The same call, asked again after it waited for places. Nothing in it tells it from another
    // one.
    if settled.as_deref() != Some(ROTATE) {
        make_version(vault, permit)?;
    }
    drop(one_at_a_time);
    list(vault, permit)
}

fn make_version(vault: &Vault, permit: &OperatorPermit) -> Result<(), Refusal> {
    let used = vault.store().all_epochs().map_err(fault(FAILED))?;
    let highest = highest(vault, &used).map_err(fault(FAILED))?;
    let read_only = || {
        Refusal::new(
            Code::SecretReadOnly,
            "the vault cannot write where its sector secrets lie",
        )
    };
    let (version, secret) = vault
        .sector_secrets()
        .create(highest)
        .map_err(|error| match &error.fault {
            FileFault::ReadOnly => read_only(),
            FileFault::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => read_only(),
            _ => fault(FAILED)(&error),
        })?;
    let event = AuditEvent::SecretRotate {
        operator: permit.operator.clone(),
        version,
        sector: None,
    };
    let entry = commit(vault, event, vec![])?;
    let root = SectorRootKey::new(&secret);
    vault.take_effect(PendingAct {
        what: ROTATE.to_owned(),
        entry,
        effect: Box::new(move |vault, _| {
            let mut roots = vault.roots().write().expect("no panic under this lock");
            roots.insert(version, root);
        }),
    })
}

/// Retires a version that nothing needs: logs it first, then destroys and forgets the secret.
/// Repeating the call finishes an incomplete destruction and takes no statement.
///
/// # Errors
/// [`Code::UnknownSecret`]; [`Code::SecretNeeded`], with what needs it; those of a statement;
/// [`Code::AuditUnavailable`]; [`Code::JournalUnavailable`]: it is destroyed as soon as enough
/// places hold the retirement; [`Code::Internal`].
pub fn retire(
    vault: &Vault,
    permit: &OperatorPermit,
    asked: &RetireSecretRequest,
) -> Result<RetiredSecret, Refusal> {
    let version = asked.version;
    let _one_at_a_time = vault.lock_epochs()?;
    let view = views(vault)
        .map_err(fault(FAILED))?
        .into_iter()
        .find(|view| view.version == version);
    let view = view.ok_or_else(|| {
        Refusal::new(
            Code::UnknownSecret,
            format!("there is no version {version}"),
        )
    })?;
    if !view.needed_by.is_empty() {
        let needs: Vec<String> = view.needed_by.iter().map(SecretNeed::to_string).collect();
        let why = format!("version {version} is needed by {}", needs.join(", "));
        return Err(Refusal::new(Code::SecretNeeded, why));
    }
    if asked.dry_run {
        return Ok(RetiredSecret {
            version,
            retired: view.state == "retired",
            destroyed: false,
            remains: None,
        });
    }
    if view.state != "retired" {
        let mandate = Mandate::of(
            vault,
            asked.statement.as_deref(),
            &Destruction::Secret { version },
        )?;
        let mut all = vault.store().retired_secrets().map_err(fault(FAILED))?;
        all.push(version);
        all.sort_unstable();
        let note: Change = Box::new(move |store, batch| store.put_retired_secrets(batch, &all));
        let operator = permit.operator.clone();
        let event = AuditEvent::SecretRetire {
            operator,
            version,
            statement: mandate.note(),
        };
        let entry = commit(vault, event, vec![note, mandate.change()])?;
        return destroy_once_held(vault, version, entry);
    }
    let held = vault.wait_for_grant()?;
    Ok(destroy(vault, version, &held))
}

/// Destroys a version that was retired in this log entry, once enough places hold that.
fn destroy_once_held(
    vault: &Vault,
    version: u32,
    entry: LogPlace,
) -> Result<RetiredSecret, Refusal> {
    let done: Arc<OnceLock<RetiredSecret>> = Arc::default();
    vault.take_effect(PendingAct {
        what: format!("secret-retire {version}"),
        entry,
        effect: Box::new({
            let done = done.clone();
            move |vault, held| drop(done.set(destroy(vault, version, held)))
        }),
    })?;
    let destroyed = done.get().cloned();
    destroyed.ok_or_else(|| fault(FAILED)("a retirement took effect and destroyed nothing"))
}

/// Forgets a retired version and destroys it.
fn destroy(vault: &Vault, version: u32, _retirement: &HeldByPlaces) -> RetiredSecret {
    vault
        .roots()
        .write()
        .expect("no panic under this lock")
        .remove(&version);
    vault
        .sector_states()
        .for_each(|sector| sector.forget(version));
    let remains = match vault.sector_secrets().destroy(version) {
        Ok(()) => None,
        // It was destroyed before.
        Err(error) if is_absent(&error.fault) => None,
        Err(error) => {
            tracing::error!(%error, version, "a retired version of the sector secret could not be destroyed");
            Some(error.path.display().to_string())
        }
    };
    RetiredSecret {
        version,
        retired: true,
        destroyed: remains.is_none(),
        remains,
    }
}

fn is_absent(fault: &FileFault) -> bool {
    matches!(fault, FileFault::Io(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// The highest version that ever existed: numbers are not used again.
pub(super) fn highest(vault: &Vault, used: &[EpochRow]) -> Result<u32, StoreError> {
    let store = vault.store();
    // Also those whose file was lost before an epoch named them: another secret under the number of
    // a confirmed one would count as confirmed.
    let reserved = store.reserved_secrets()?.into_iter();
    let here = vault
        .roots()
        .read()
        .expect("no panic under this lock")
        .keys()
        .copied()
        .max();
    Ok(used
        .iter()
        .map(|row| row.secret_version)
        .chain(store.retired_secrets()?)
        .chain(store.confirmed_secrets()?)
        .chain(reserved.map(|reserved| reserved.version))
        .chain(here)
        .max()
        .unwrap_or(0))
}

/// Why a version is needed that the next epochs take.
const NEXT: &str = "next-epochs";
/// The same while a newer one waits to be confirmed, before which no epoch is opened.
const NEXT_ELSE: &str = "next-epochs-else";

fn views(vault: &Vault) -> Result<Vec<SecretView>, StoreError> {
    let (store, now) = (vault.store(), vault.now());
    let (used, retired) = (store.all_epochs()?, store.retired_secrets()?);
    let usable = UsableVersions::of(store, &used, vault.sector_secrets().is_off_machine())?;
    let (here, next, why): (BTreeSet<u32>, u32, _) = {
        let roots = vault.roots().read().expect("no panic under this lock");
        (
            roots.keys().copied().collect(),
            usable.shared_version(&roots),
            usable.unconfirmed(&roots).map_or(NEXT, |_| NEXT_ELSE),
        )
    };
    let mut needs: BTreeMap<u32, BTreeSet<SecretNeed>> = BTreeMap::new();
    needs.entry(next).or_default().insert(SecretNeed {
        sector: None,
        epoch: None,
        why: why.into(),
    });
    for (uuid, number) in store.sector_numbers()? {
        let state = vault
            .sector_states()
            .find(|state| state.sector.uuid == uuid);
        let name = state.map_or_else(|| uuid.to_string(), |state| state.sector.name.clone());
        let overlap = state
            .and_then(|state| state.previous(now))
            .map(|epoch| epoch.row.epoch);
        let rows = store.epochs(uuid)?;
        let current = rows.last().map(|row| row.epoch);
        for row in rows {
            let why = match row.epoch {
                epoch if Some(epoch) == current => "current",
                epoch if Some(epoch) == overlap => "overlap",
                epoch if store.has_chunks(number, epoch)? => "mappings",
                _ => continue,
            };
            let need = SecretNeed {
                sector: Some(name.clone()),
                epoch: Some(row.epoch),
                why: why.into(),
            };
            needs.entry(row.secret_version).or_default().insert(need);
        }
    }
    let all: BTreeSet<u32> = (used.iter().map(|row| row.secret_version))
        .chain(retired.clone())
        .chain(here.clone())
        .collect();
    let view = |version: u32| SecretView {
        version,
        state: match (retired.contains(&version), here.contains(&version)) {
            (true, _) => "retired",
            (false, true) if usable.is_confirmed(version) => "here",
            (false, true) => "unconfirmed",
            (false, false) => "missing",
        }
        .to_owned(),
        own: usable.is_own(version),
        needed_by: needs
            .remove(&version)
            .unwrap_or_default()
            .into_iter()
            .collect(),
    };
    Ok(all.into_iter().map(view).collect())
}

impl std::fmt::Display for SecretNeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.sector, self.epoch) {
            (Some(sector), Some(epoch)) => write!(f, "epoch {epoch} of {sector} ({})", self.why),
            _ if self.why == NEXT_ELSE => {
                write!(f, "the next epochs, unless the newer version is confirmed")
            }
            _ => write!(f, "the next epochs"),
        }
    }
}
