//! What vault and node have in common: a process with a register, a store, a log, and the one
//! writer to both.
//!
//! [`Vault`](crate::vault) and [`Node`](crate::node) own one and dereference to it. Use cases that
//! are the same on both sides (the log for auditors, inspections, the clock's mark, refusals) take
//! an [`Entity`].

mod change;
mod effects;
mod error;
mod followers;
mod in_force;
mod loss;
mod role;
mod start;
mod suspensions;
mod unanswered;
mod unconfirmed;
mod waiting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;

use crate::audit::Grant;
use crate::audit::cosign::{Cosigners, proven_time};
use crate::audit::log::{HeldByPlaces, Log};
use crate::clock::{Clock, ClockBehind};
use crate::code::Code;
use crate::commit::Committer;
use crate::commit::orders::OrderGate;
use crate::id::hex;
use crate::journal::versions::JournalVersions;
use crate::keys::AuditKey;
use crate::refusal::{Refusal, not_logged};
use crate::register::{Id, Register, SpkiDigest};
use crate::seal::journal::JournalCipher;
use crate::store::index::Index;
use crate::store::{DiskSpace, Store, StoreError};
use crate::system::lock::unpoisoned;
pub(crate) use change::{ChangedRegister, RegisterRows, UnderRegister};
use effects::ActSignal;
pub(crate) use effects::{ActsThread, WaitingActs};
pub use error::StartError;
pub use followers::TakenHeld;
pub(crate) use in_force::WeakInForce;
pub use in_force::{EntityInForce, InForce};
pub use loss::{LostSuspension, RestoreLoss, RestoredBackup};
pub use role::Role;
pub(crate) use start::{EntityOpening, WriterParts};
pub(crate) use suspensions::EntrySuspensions;
pub use suspensions::{EntrySuspension, SuspensionEnd};
use unanswered::UnansweredActs;
pub use unconfirmed::UnconfirmedRestore;

/// How long an act waits for places.
const PLACES: Duration = Duration::from_secs(5);

/// What stands of an act while too few places hold its entry
/// ([`ActEffect`](crate::audit::ActEffect)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActStanding {
    /// It restricts, and is in force.
    InForce,
    /// It grants, and is not in force.
    Withheld,
}

impl ActStanding {
    const fn words(self) -> &'static str {
        match self {
            Self::InForce => {
                "the act is in force here, and could be lost with this machine; ask again, or see to the places"
            }
            Self::Withheld => {
                "the act is stored here, and takes effect as soon as enough of them hold it; the same call asks again"
            }
        }
    }
}

/// One side of a deployment, serving under one register.
///
/// A change of the register makes another `Entity` over the same store, log and writer; see
/// [`InForce`]. A request keeps the one that it began with.
pub struct Entity {
    register: Arc<Register>,
    /// Which of this process's registers it is, counted from 0.
    change: u64,
    core: Arc<EntityCore>,
}

/// What stays when the register changes.
struct EntityCore {
    /// The `change` of the entity in force.
    changes: AtomicU64,
    role: Role,
    /// The public half of the key that signs the log's checkpoints.
    checkpoint_key: VerifyingKey,
    store: Arc<Store>,
    log: Arc<Log>,
    cosigners: OnceLock<Arc<Cosigners>>,
    /// For how many days at most a backup holds what was erased; unset where none is taken.
    backup_days: OnceLock<u32>,
    journal_versions: Mutex<JournalVersions>,
    unanswered: UnansweredActs,
    /// Tells of acts that wait for places.
    acts: ActSignal,
    committer: Committer,
    journal: Arc<JournalCipher>,
    index: Arc<Index>,
    clock: Arc<dyn Clock>,
    audit_key: AuditKey,
    space: DiskSpace,
    orders: OrderGate,
    /// Held during a change of an inspection, from reading its state to committing the new one.
    inspection_changes: Mutex<()>,
    suspensions: EntrySuspensions,
    /// Held during a change of a suspension, from reading them to committing the new one.
    suspension_changes: Mutex<()>,
    /// Held while a report is made, because it reads the whole log.
    reports: Mutex<()>,
    loss: loss::CurrentLoss,
    /// Held during a change of that, from reading it to committing the new one.
    loss_changes: Mutex<()>,
}

impl Entity {
    /// Which of the two it is.
    pub fn role(&self) -> &Role {
        &self.core.role
    }

    /// The register that this request, or this round of a task, is served under.
    pub fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.core.store
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.core.log
    }

    /// The writer.
    pub fn committer(&self) -> &Committer {
        &self.core.committer
    }

    /// What seals side records, and entries that leave for followers.
    pub(crate) fn journal(&self) -> &Arc<JournalCipher> {
        &self.core.journal
    }

    /// What stops the process because of an error that another thread found. It does not keep this
    /// side alive: the writer ends, and writes down what it has only counted, when the last owner
    /// drops it.
    pub(crate) fn stopper(&self) -> Box<dyn Fn(&StoreError) + Send + Sync> {
        let core = Arc::downgrade(&self.core);
        Box::new(move |error| {
            if let Some(core) = core.upgrade() {
                core.committer.poison(error);
            }
        })
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// The time for a decision that a clock set back must not revive.
    ///
    /// # Errors
    /// [`ClockBehind`]
    pub fn steady_time(&self) -> Result<Timestamp, ClockBehind> {
        self.core.committer.mark().steady(self.now())
    }

    /// The time that this side and the other have both reached ([`proven_time`]).
    pub fn proven_time(&self) -> Timestamp {
        proven_time(
            !self.core.role.peers(&self.register).is_empty(),
            self.cosigners(),
            self.now(),
        )
    }

    /// Names those who cosign this log. From then on nothing is released or opened unless the other
    /// side has cosigned it recently.
    pub fn watch(&self, cosigners: Arc<Cosigners>) {
        let _ = self.core.cosigners.set(cosigners);
    }

    /// Notes that backups are taken, and for how many days at most one holds what was erased.
    pub fn note_backup_days(&self, days: u32) {
        let _ = self.core.backup_days.set(days);
    }

    /// For how many days at most a backup holds what was erased; `None` if this server takes none.
    pub fn backup_days(&self) -> Option<u32> {
        self.core.backup_days.get().copied()
    }

    /// The versions of the journal secret that side records here need, in order. The first call
    /// reads all of them.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn journal_versions(&self) -> Result<Vec<u32>, StoreError> {
        unpoisoned(self.core.journal_versions.lock()).needed(self.store())
    }

    /// Those who cosign this log, once [`Entity::watch`] has named them.
    pub fn cosigners(&self) -> Option<&Arc<Cosigners>> {
        self.core.cosigners.get()
    }

    /// Whether the disk has less room than the reserve. Then no new work is admitted: the rest is
    /// for admitted requests, for revocations and for the log.
    pub fn is_short_of_space(&self) -> bool {
        self.core.space.is_short()
    }

    /// Checks whether the disk has less free space than the `reserve` (bytes). Call it about once a
    /// second.
    pub fn watch_space(&self, reserve: u64) {
        self.core.space.watch(&self.core.store, reserve);
    }

    /// Waits until enough places off this machine hold all that is durable here, an act that
    /// restricts among it. Hold no lock meanwhile that others need to restrict something.
    ///
    /// # Errors
    /// [`Code::JournalUnavailable`]: the act is in force.
    pub(crate) fn answer_restriction(&self) -> Result<(), Refusal> {
        self.wait_for_places(ActStanding::InForce).map(drop)
    }

    /// The same for an act that grants. The store knows then that places hold it, so that a restart
    /// leaves it in force. The proof is what puts it in force.
    ///
    /// # Errors
    /// [`Code::JournalUnavailable`]: the act is not in force.
    pub(crate) fn wait_for_grant(&self) -> Result<HeldByPlaces, Refusal> {
        let held = self.wait_for_places(ActStanding::Withheld)?;
        self.store_held()?;
        Ok(held)
    }

    /// Stores the checkpoint over what places hold.
    fn store_held(&self) -> Result<(), Refusal> {
        if self.log().asks_for_places() {
            let stored = self.committer().change_unlogged(Box::new(|_, _| {}));
            stored.map_err(not_logged(ActStanding::Withheld.words()))?;
        }
        Ok(())
    }

    /// What waits for places of that kind, in words, in the order of the entries.
    pub(crate) fn waiting(&self, is_asked: impl Fn(&Grant) -> bool) -> Vec<String> {
        let waiting = self.log().withheld().into_iter();
        let waiting = waiting.filter(|(grant, _)| is_asked(grant));
        waiting.map(|(grant, _)| grant.to_string()).collect()
    }

    fn wait_for_places(&self, standing: ActStanding) -> Result<HeldByPlaces, Refusal> {
        self.log().held(PLACES).ok_or_else(|| {
            let why = format!(
                "too few places off this machine hold the log so far ({}): {}",
                self.log().standing_in_words(),
                standing.words()
            );
            Refusal::new(Code::JournalUnavailable, why).come_back_in(5)
        })
    }

    /// Whether an officer or custodian has acknowledged that the vault's log goes on with the entry
    /// of this leaf hash, and enough places hold that.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn resume_acknowledged(&self, entry: &[u8; 32]) -> Result<bool, StoreError> {
        let withheld = || self.log().withholds(&Grant::Acknowledgement(hex(entry)));
        Ok(self.store().resume_acknowledged(entry)? && !withheld())
    }

    /// How many mappings of a sector are stored, in all its epochs. `None` if there is no such
    /// sector here, as at a node.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn mappings(&self, sector: &str) -> Result<Option<u64>, StoreError> {
        let Some(sector) = self.register.sector(sector) else {
            return Ok(None);
        };
        let numbers = self.core.store.sector_numbers()?;
        let Some((_, number)) = numbers.iter().find(|(uuid, _)| *uuid == sector.uuid) else {
            return Ok(None);
        };
        let partitions = self
            .core
            .index
            .partitions()
            .into_iter()
            .filter(|((found, _), _)| found == number);
        Ok(Some(
            partitions.map(|(_, partition)| partition.entries()).sum(),
        ))
    }

    /// The commit lock, places and acts of orders.
    pub(crate) fn orders(&self) -> &OrderGate {
        &self.core.orders
    }

    /// The key of the tags by which the entries about an item are found.
    pub(crate) fn audit_key(&self) -> &AuditKey {
        &self.core.audit_key
    }

    /// The same side under another register.
    pub(crate) fn under(&self, register: Arc<Register>) -> Self {
        Self {
            register,
            change: self.change + 1,
            core: self.core.clone(),
        }
    }

    /// Whether this register is the one in force. Once another one is, what would change an epoch
    /// or a frozen fact under this one is refused.
    pub(crate) fn is_in_force(&self) -> bool {
        self.core.changes.load(Ordering::Acquire) == self.change
    }

    /// Taken for a change of an inspection, from reading its state to committing the new one.
    pub(crate) fn lock_inspections(&self) -> MutexGuard<'_, ()> {
        unpoisoned(self.core.inspection_changes.lock())
    }

    /// The register entries that are suspended now, without what only the store keeps of them.
    pub fn suspensions(&self) -> Vec<EntrySuspension> {
        let all = self.core.suspensions.all();
        let withheld = self.log().withheld_now();
        let lasting = all.iter().filter(|row| row.lasts(&withheld));
        let as_lasting = |row: &EntrySuspension| EntrySuspension {
            keys: vec![],
            lifted: None,
            lifted_by: None,
            ..row.clone()
        };
        lasting.map(as_lasting).collect()
    }

    /// Whether the entry of that id and key is suspended, or was under another id.
    pub fn suspended(&self, entry: &str, key: SpkiDigest) -> bool {
        let all = self.core.suspensions.all();
        let mut shutting_out = all
            .iter()
            .filter(|row| row.shuts_out(entry, key))
            .peekable();
        if shutting_out.peek().is_none() {
            return false;
        }
        let withheld = self.log().withheld_now();
        shutting_out.any(|row| row.lasts(&withheld))
    }

    /// Refuses what persons signed whose entry is suspended, or has ended by the latest time that
    /// this side acted on: a clock set back revives nobody.
    ///
    /// # Errors
    /// [`Code::Suspended`], [`Code::KeyEnded`].
    pub(crate) fn refuse_shut_out(&self, signers: &[Id]) -> Result<(), Refusal> {
        let suspended =
            |(id, key): (&Id, SpkiDigest)| signers.contains(id) && self.suspended(id.as_str(), key);
        if self.register.callers().any(suspended) {
            let why = "the register's entry of a signer is suspended";
            return Err(Refusal::new(Code::Suspended, why));
        }
        let now = self.latest_time();
        let ended = |(id, key): (&Id, SpkiDigest)| {
            signers.contains(id) && self.register.ended(key, now).is_some()
        };
        if self.register.callers().any(ended) {
            let why = "the register's entry of a signer has ended";
            return Err(Refusal::new(Code::KeyEnded, why));
        }
        Ok(())
    }

    /// The time, or the latest one that was acted on, if the clock is behind it.
    pub(crate) fn latest_time(&self) -> Timestamp {
        self.now().max(self.core.committer.mark().time())
    }

    /// Whether no entry is suspended: what nearly every request asks.
    pub fn suspends_nobody(&self) -> bool {
        let all = self.core.suspensions.all();
        if all.is_empty() {
            return true;
        }
        let withheld = self.log().withheld_now();
        all.iter().all(|row| !row.lasts(&withheld))
    }

    /// Every suspension that was ever taken, also those that ended.
    pub(crate) fn suspensions_ever(&self) -> Arc<Vec<EntrySuspension>> {
        self.core.suspensions.all()
    }

    /// Takes suspensions that are durable. One that ends lasts until enough places hold the entry
    /// about its end.
    pub(crate) fn put_suspensions(&self, changed: Vec<EntrySuspension>) {
        self.core.suspensions.put(changed);
    }

    /// Ends the suspensions of entries and keys that the register in force no longer has.
    pub(crate) fn end_suspensions(&self, register: &Register) {
        let ended = self.core.suspensions.ended_by(register, self.now());
        self.core.suspensions.put(ended);
    }

    /// Taken for a change of a suspension, from reading them to committing the new one.
    pub(crate) fn lock_suspensions(&self) -> MutexGuard<'_, ()> {
        unpoisoned(self.core.suspension_changes.lock())
    }

    /// Taken for a change of what holds since a restore without places.
    pub(crate) fn lock_restore_loss(&self) -> MutexGuard<'_, ()> {
        unpoisoned(self.core.loss_changes.lock())
    }

    /// Taken while a report is made, because it reads the whole log. `None` while another one is
    /// being made.
    pub(crate) fn lock_reports(&self) -> Option<MutexGuard<'_, ()>> {
        match self.core.reports.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
