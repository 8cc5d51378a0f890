//! What is checked of every register before it comes into force, at a start and when a running side
//! reads it again, and how a side is made anew under another register.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Entity, EntrySuspension, EntrySuspensions, Role, StartError};
use crate::audit::OpenedEpoch;
use crate::commit::Change;
use crate::keys::IdentityCheck;
use crate::refusal::Refusal;
use crate::register::Register;
use crate::store::{EpochRow, RegisterRow, Store, StoreError};

/// What a register writes when it comes into force.
#[derive(Default)]
pub(crate) struct RegisterRows {
    /// Version and digest, where another register was in force before.
    in_force: Option<(u64, [u8; 32])>,
    /// The register, where the store does not have it.
    kept: Option<RegisterRow>,
    /// Suspensions that end, because the register no longer names the entry.
    pub(crate) lifted: Vec<EntrySuspension>,
    /// Numbers of new sectors.
    pub(crate) numbers: Vec<(Uuid, u32)>,
    /// Epochs that it opens.
    pub(crate) epochs: Vec<(Uuid, EpochRow)>,
    /// The check value of the vault's identity secret, where the store has none yet.
    pub(crate) identity: Option<IdentityCheck>,
}

impl RegisterRows {
    /// Whether nothing is left to write: the register was committed before, and waited for places.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_force.is_none()
            && self.kept.is_none()
            && self.lifted.is_empty()
            && self.numbers.is_empty()
            && self.epochs.is_empty()
    }

    /// The change that writes them.
    pub(crate) fn change(self) -> Change {
        Box::new(move |store, batch| {
            if let Some((version, digest)) = self.in_force {
                store.put_register(batch, version, &digest);
            }
            if let Some(row) = &self.kept {
                store.put_past_register(batch, row);
            }
            for row in self.lifted {
                store.put_suspension(batch, row.id, &row.to_bytes());
            }
            for (sector, number) in self.numbers {
                store.put_sector_number(batch, sector, number);
            }
            for (sector, row) in self.epochs {
                store.put_epoch(batch, sector, row);
            }
            if let Some(check) = self.identity {
                store.put_identity_check(batch, &check.0);
            }
        })
    }
}

/// A side that can be made anew under another register.
pub(crate) trait UnderRegister: AsRef<Arc<Entity>> + Send + Sync + Sized + 'static {
    /// What is held from before the checks until the register is in force.
    type Hold<'a>
    where
        Self: 'a;

    /// Keeps away what could contradict the register between the checks and the commit.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot be kept away now.
    fn hold(&self, next: &Register) -> Result<Self::Hold<'_>, Refusal>;

    /// Lets go; the register is in force.
    fn release(hold: Self::Hold<'_>);

    /// The same side under the register of `entity`. Adds what the change writes to `rows`; opens
    /// the epochs that it returns.
    ///
    /// # Errors
    /// All faults. Nothing was changed then.
    fn under(
        &self,
        entity: Arc<Entity>,
        rows: &mut RegisterRows,
    ) -> Result<(Self, Vec<OpenedEpoch>), Vec<StartError>>;
}

/// A checked change of the register, not in force yet.
pub(crate) struct ChangedRegister {
    /// The entity under the next register.
    pub(crate) entity: Arc<Entity>,
    /// What the change writes.
    pub(crate) rows: RegisterRows,
}

impl Entity {
    /// Checks a register as at a start: keys of logs, version, frozen facts.
    ///
    /// # Errors
    /// All faults.
    pub(crate) fn change_register(
        &self,
        register: Arc<Register>,
    ) -> Result<ChangedRegister, Vec<StartError>> {
        let mut faults = vec![];
        faults.extend(check_key(self.role(), &register, &self.core.checkpoint_key).err());
        if self.role().peers(&register) != self.role().peers(self.register()) {
            faults.push(StartError::PeersChanged);
        }
        let accepted = accept_register(self.store(), &register, self.now());
        let rows = accepted.unwrap_or_else(|others| {
            faults.extend(others);
            RegisterRows::default()
        });
        if faults.is_empty() {
            let entity = Arc::new(self.under(register));
            Ok(ChangedRegister { entity, rows })
        } else {
            Err(faults)
        }
    }
}

/// Refuses a register that states another key for this side's checkpoints than it signs with.
pub(super) fn check_key(
    role: &Role,
    register: &Register,
    own: &VerifyingKey,
) -> Result<(), StartError> {
    match role.checkpoint_key(register) {
        Some(stated) if stated != *own => Err(StartError::CheckpointKey),
        _ => Ok(()),
    }
}

/// Checks the register against the one that was in force and against every frozen fact. Returns
/// what it writes.
///
/// # Errors
/// All faults.
pub(super) fn accept_register(
    store: &Store,
    register: &Register,
    now: Timestamp,
) -> Result<RegisterRows, Vec<StartError>> {
    let (mut faults, mut rows) = (vec![], RegisterRows::default());
    match store.register().map_err(one)? {
        Some((seen, _)) if register.version < seen => faults.push(StartError::RegisterOlder {
            found: register.version,
            seen,
        }),
        Some((seen, digest)) if register.version == seen && digest != register.digest => {
            faults.push(StartError::RegisterChanged(seen));
        }
        Some((seen, _)) if register.version == seen => {}
        _ => rows.in_force = Some((register.version, register.digest)),
    }
    let used = store.all_frozen().map_err(one)?;
    let changed = register.changed_facts(used.iter().map(|(key, digest)| (key.as_str(), digest)));
    if !changed.is_empty() {
        faults.push(StartError::Frozen(changed));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    rows.kept = to_keep(store, register, now).map_err(one)?;
    rows.lifted = EntrySuspensions::load(store, register)
        .map_err(one)?
        .ended_by(register, now);
    Ok(rows)
}

/// The register with its text and signatures, unless the store has it. A store of an earlier
/// version has not.
fn to_keep(
    store: &Store,
    register: &Register,
    now: Timestamp,
) -> Result<Option<RegisterRow>, StoreError> {
    let Some(signed) = &register.signed else {
        return Ok(None);
    };
    if store.past_register(register.version)?.is_some() {
        return Ok(None);
    }
    Ok(Some(RegisterRow {
        version: register.version,
        since: now.as_second(),
        digest: register.digest,
        text: signed.text.clone(),
        signatures: signed.signatures.clone(),
    }))
}

fn one(error: StoreError) -> Vec<StartError> {
    vec![error.into()]
}
