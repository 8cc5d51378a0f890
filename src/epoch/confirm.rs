//! Confirming a version of the sector secret: an operator says, in the log, that its custody holds
//! it off this machine. Only then an epoch may name it.

use serde::{Deserialize, Serialize};

use super::secrets::{SectorSecrets, list};
use super::{FAILED, commit};
use crate::access::OperatorPermit;
use crate::audit::AuditEvent;
use crate::code::Code;
use crate::commit::Change;
use crate::refusal::{Refusal, fault};
use crate::vault::{UsableVersions, Vault};

/// A request to confirm a version.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Confirm)]
#[serde(deny_unknown_fields)]
pub struct ConfirmSecretRequest {
    /// The version.
    pub version: u32,
}

/// Confirms a version, durably and logged. The same call again changes nothing.
///
/// # Errors
/// [`Code::UnknownSecret`]: the vault does not have the version. [`Code::AuditUnavailable`];
/// [`Code::JournalUnavailable`]: it is confirmed here. [`Code::Internal`].
pub fn confirm(
    vault: &Vault,
    permit: &OperatorPermit,
    asked: &ConfirmSecretRequest,
) -> Result<SectorSecrets, Refusal> {
    let version = asked.version;
    let one_at_a_time = vault.lock_epochs()?;
    let is_here = vault
        .roots()
        .read()
        .expect("no panic under this lock")
        .contains_key(&version);
    if !is_here {
        let why = format!("the vault has no version {version}, so nobody can say where it is held");
        return Err(Refusal::new(Code::UnknownSecret, why));
    }
    if !usable(vault)?.is_confirmed(version) {
        let mut all = vault.store().confirmed_secrets().map_err(fault(FAILED))?;
        all.push(version);
        all.sort_unstable();
        let note: Change = Box::new(move |store, batch| store.put_confirmed_secrets(batch, &all));
        let operator = permit.operator.clone();
        commit(
            vault,
            AuditEvent::SecretConfirm { operator, version },
            vec![note],
        )?;
    }
    // No place is waited for: an epoch that names the version waits for an entry of its own, which
    // comes later.
    drop(one_at_a_time);
    list(vault, permit)
}

/// The versions that new epochs may name now.
pub(super) fn usable(vault: &Vault) -> Result<UsableVersions, Refusal> {
    let used = vault.store().all_epochs().map_err(fault(FAILED))?;
    let by_custody = vault.sector_secrets().is_off_machine();
    UsableVersions::of(vault.store(), &used, by_custody).map_err(fault(FAILED))
}

/// Refuses an epoch on a version that no operator has confirmed.
pub(super) fn unconfirmed(version: u32) -> Refusal {
    let why = format!(
        "version {version} of the sector secret waits for an operator's word that its custody holds it off this machine; nothing is advanced"
    );
    Refusal::new(Code::SecretUnconfirmed, why)
}
