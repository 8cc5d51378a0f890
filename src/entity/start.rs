//! How an entity starts: open the store, check the register, start log and writer, log the start,
//! wait for its checkpoint.
//!
//! A start has three steps, because the vault checks more between them: [`EntityOpening`],
//! [`StartedEntity`], [`Entity`]. Only the last one writes, so a start that fails before has put no
//! register in force.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::{Entity, EntityCore, Role, StartError};
use crate::audit::log::{Log, LogParts};
use crate::audit::{AuditEvent, OpenedEpoch};
use crate::clock::Clock;
use crate::code::Code;
use crate::commit::orders::OrderGate;
use crate::commit::small::SmallChunks;
use crate::commit::{Committer, PoisonHandler};
use crate::keys::{AuditKey, AuditSecret};
use crate::register::Register;
use crate::seal::chunk::ChunkCipher;
use crate::store::index::Index;
use crate::store::{DiskSpace, RowBatch, Store, StoreError};

/// How long a start waits for the checkpoint over its entry.
const FIRST_CHECKPOINT: Duration = Duration::from_secs(10);

/// An entity whose store is open and whose register was checked against it.
pub(crate) struct EntityOpening {
    pub(crate) register: Arc<Register>,
    pub(crate) store: Arc<Store>,
    /// What the start changes in the store. Committed together with the start's entry.
    pub(crate) batch: RowBatch,
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
    /// The small chunks that are stored already.
    pub(crate) small: SmallChunks,
    pub(crate) clock: Arc<dyn Clock>,
    /// Called once when a write fails: the process must end.
    pub(crate) poisoned: PoisonHandler,
}

/// An entity whose writer runs, and whose start is not logged yet.
pub(crate) struct StartedEntity {
    pub(crate) entity: Entity,
    batch: RowBatch,
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
        open: impl FnOnce(&str) -> Result<Store, StoreError>,
    ) -> Result<Self, StartError> {
        if role
            .checkpoint_key(&register)
            .is_some_and(|stated| stated != log.key.verifying_key())
        {
            return Err(StartError::CheckpointKey);
        }
        let owner = role.owner(&register.deployment);
        let store = Arc::new(open(&owner)?);
        let mut batch = RowBatch::default();
        accept_register(&store, &register, &mut batch)?;
        Ok(Self {
            register: Arc::new(register),
            store,
            batch,
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
            batch,
            role,
            owner,
            log,
        } = self;
        let WriterParts {
            index,
            cipher,
            small,
            clock,
            poisoned,
        } = writer;
        let (log, appender) = Log::open(store.clone(), &owner, log, clock.now())?;
        let committer = Committer::start(
            store.clone(),
            appender,
            index.clone(),
            cipher,
            small,
            clock.clone(),
            poisoned,
        )?;
        let core = EntityCore {
            changes: AtomicU64::new(0),
            role,
            store,
            log,
            cosigners: OnceLock::new(),
            committer,
            index,
            clock,
            audit_key: AuditKey::new(audit),
            space: DiskSpace::default(),
            orders: OrderGate::default(),
            inspection_changes: Mutex::default(),
            reports: Mutex::default(),
        };
        let entity = Entity {
            register,
            change: 0,
            core: Arc::new(core),
        };
        Ok(StartedEntity { entity, batch })
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
        let Self { entity, batch } = self;
        let start = AuditEvent::Start {
            entity: entity.role().name(),
            program: env!("CARGO_PKG_VERSION"),
            register_version: entity.register.version,
            register_digest: data_encoding::HEXLOWER.encode(&entity.register.digest),
            opened,
        };
        let begun = entity
            .committer()
            .begin(batch, entity.now(), start)
            .map_err(StartError::Audit)?;
        if entity.log().covering(&begun, FIRST_CHECKPOINT).is_none() {
            tracing::error!(
                why = entity.log().trouble(),
                "no checkpoint covers the start"
            );
            return Err(StartError::Audit(Code::AuditUnavailable));
        }
        Ok(Arc::new(entity))
    }
}

/// Checks the register against the one that was in force and against every frozen fact. Adds a new
/// register's version and digest to the batch.
fn accept_register(
    store: &Store,
    register: &Register,
    batch: &mut RowBatch,
) -> Result<(), StartError> {
    match store.register()? {
        Some((seen, _)) if register.version < seen => {
            return Err(StartError::RegisterOlder {
                found: register.version,
                seen,
            });
        }
        Some((seen, digest)) if register.version == seen && digest != register.digest => {
            return Err(StartError::RegisterChanged(seen));
        }
        Some((seen, _)) if register.version == seen => {}
        _ => store.put_register(batch, register.version, &register.digest),
    }
    let used = store.all_frozen()?;
    let changed = register.changed_facts(used.iter().map(|(key, digest)| (key.as_str(), digest)));
    if changed.is_empty() {
        Ok(())
    } else {
        Err(StartError::Frozen(changed))
    }
}
