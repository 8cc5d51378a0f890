//! How an entity starts: open the store, check the register, start log and writer, log the start,
//! wait for its checkpoint.
//!
//! A start has three steps, because the vault checks more between them: [`EntityOpening`],
//! [`StartedEntity`], [`Entity`]. Only the last one writes, so a start that fails before has put no
//! register in force.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::change::{RegisterRows, check_key};
use super::effects::ActSignal;
use super::loss::CurrentLoss;
use super::unanswered::UnansweredActs;
use super::waiting::{StartRegisters, WaitingRegister};
use super::{Entity, EntityCore, EntrySuspensions, Role, StartError};
use jiff::Timestamp;

use crate::audit::log::{Log, LogParts};
use crate::audit::{AuditEvent, OpenedEpoch};
use crate::clock::Clock;
use crate::code::Code;
use crate::commit::orders::OrderGate;
use crate::commit::small::SmallChunks;
use crate::commit::{Committer, PoisonHandler, WriterSeals};
use crate::keys::{AuditKey, AuditSecret};
use crate::register::Register;
use crate::seal::chunk::ChunkCipher;
use crate::seal::journal::JournalCipher;
use crate::store::index::Index;
use crate::store::{DiskSpace, Store, StoreError};

/// How long a start waits for the checkpoint over its entry.
const FIRST_CHECKPOINT: Duration = Duration::from_secs(10);

/// An entity whose store is open and whose register was checked against it.
pub(crate) struct EntityOpening {
    pub(crate) register: Arc<Register>,
    pub(crate) store: Arc<Store>,
    /// What the start changes in the store. Committed together with the start's entry.
    pub(crate) rows: RegisterRows,
    /// The register in the file, where it waits for places.
    pub(crate) waiting: Option<WaitingRegister>,
    role: Role,
    owner: String,
    log: LogParts,
}

/// What the writer works on.
pub(crate) struct WriterParts {
    /// The index of stored mappings; empty at a node.
    pub(crate) index: Arc<Index>,
    /// Wraps chunks; a node has none.
    pub(crate) cipher: Option<Arc<ChunkCipher>>,
    /// Seals the log's side records.
    pub(crate) journal: Arc<JournalCipher>,
    /// The small chunks that are stored already.
    pub(crate) small: SmallChunks,
    pub(crate) clock: Arc<dyn Clock>,
    /// Called once when a write fails: the process must end.
    pub(crate) poisoned: PoisonHandler,
}

/// An entity whose writer runs, and whose start is not logged yet.
pub(crate) struct StartedEntity {
    pub(crate) entity: Entity,
    rows: RegisterRows,
}

impl EntityOpening {
    /// Checks the key of the checkpoints, opens the store of this owner, and checks the register
    /// against it.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed in the store then, but for a store made anew.
    pub(crate) fn of(
        role: Role,
        register: Register,
        log: LogParts,
        now: Timestamp,
        open: impl FnOnce(&str) -> Result<Store, StoreError>,
    ) -> Result<Self, StartError> {
        check_key(&role, &register, &log.key.verifying_key())?;
        let owner = role.owner(&register.deployment);
        let store = Arc::new(open(&owner)?);
        let registers = StartRegisters::of(&role, &store, &log, register, now);
        let registers = registers.map_err(StartError::first)?;
        Ok(Self {
            register: registers.in_force,
            store,
            rows: registers.rows,
            waiting: registers.waiting,
            role,
            owner,
            log,
        })
    }

    /// Opens the log and starts the writer.
    ///
    /// # Errors
    /// [`StartError::Log`], [`StartError::Store`].
    pub(crate) fn start(
        self,
        audit: &AuditSecret,
        writer: WriterParts,
    ) -> Result<StartedEntity, StartError> {
        let Self {
            register,
            store,
            rows,
            waiting,
            role,
            owner,
            log,
        } = self;
        if let Some(WaitingRegister { register: next, .. }) = waiting {
            tracing::warn!(
                version = next.version,
                before = register.version,
                "the register in the file waits for places of the log; the one before is in force until they have it"
            );
        }
        let WriterParts {
            index,
            cipher,
            journal,
            small,
            clock,
            poisoned,
        } = writer;
        let suspensions = EntrySuspensions::load(&store, &register)?;
        let loss = CurrentLoss::load(&store)?;
        let checkpoint_key = log.key.verifying_key();
        let (log, appender) = Log::open(store.clone(), &owner, log, clock.now())?;
        let committer = Committer::start(
            store.clone(),
            appender,
            index.clone(),
            WriterSeals {
                chunks: cipher,
                journal: journal.clone(),
                counts_at_once: matches!(role, Role::Identity(_)),
            },
            small,
            clock.clone(),
            poisoned,
        )?;
        let core = EntityCore {
            changes: AtomicU64::new(0),
            role,
            checkpoint_key,
            store,
            log,
            cosigners: OnceLock::new(),
            backup_days: OnceLock::new(),
            journal_versions: Mutex::default(),
            unanswered: UnansweredActs::default(),
            acts: ActSignal::default(),
            committer,
            journal,
            index,
            clock,
            audit_key: AuditKey::new(audit),
            space: DiskSpace::default(),
            orders: OrderGate::default(),
            inspection_changes: Mutex::default(),
            suspensions,
            suspension_changes: Mutex::default(),
            reports: Mutex::default(),
            loss,
            loss_changes: Mutex::default(),
        };
        let entity = Entity {
            register,
            change: 0,
            core: Arc::new(core),
        };
        Ok(StartedEntity { entity, rows })
    }
}

impl StartedEntity {
    /// Puts the register in force, writes the rest of the batch and logs the start, in one commit,
    /// and waits until a checkpoint covers the entry: nobody is served before. `opened` are the
    /// epochs that the start opens.
    ///
    /// # Errors
    /// [`StartError::Audit`].
    pub(crate) fn begin(self, opened: Vec<OpenedEpoch>) -> Result<Arc<Entity>, StartError> {
        let Self { entity, rows } = self;
        let start = AuditEvent::Start {
            entity: entity.role().name(),
            program: env!("CARGO_PKG_VERSION"),
            register_version: entity.register.version,
            register_digest: data_encoding::HEXLOWER.encode(&entity.register.digest),
            opened,
        };
        let lifted = rows.lifted.clone();
        let begun = entity
            .committer()
            .record(entity.now(), start, vec![], vec![rows.change()])
            .map_err(StartError::Audit)?;
        entity.put_suspensions(lifted);
        // Followers that count may need this side to serve first, so their word is not waited for.
        if entity.log().signed(&begun, FIRST_CHECKPOINT).is_none() {
            tracing::error!(
                why = entity.log().trouble(),
                "no checkpoint covers the start"
            );
            return Err(StartError::Audit(Code::AuditUnavailable));
        }
        Ok(Arc::new(entity))
    }
}
