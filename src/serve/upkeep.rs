//! What all sides have alike around the store that they serve: the health listener and TLS before
//! it is open; and while it is served, TLS files and register that may change, its place on the
//! disk, its backups.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::reload::{AtHangup, TlsKeeper};
use super::{
    acts_thread, at_hangup, backup, health_listener, keep_tls, read_tls, register_reload,
    show_protection, watch,
};
use crate::backup::BackupPlan;
use crate::backup::keeper::BackupKeeper;
use crate::certificates::TlsInspection;
use crate::client::Client;
use crate::config::{RegisterFiles, TlsFiles};
use crate::entity::{ActsThread, EntityInForce, InForce, UnderRegister, WaitingActs};
use crate::http::register::RegisterDoor;
use crate::http::tls::ServerTls;
use crate::http::{Listener, Readiness};
use crate::keys::memory::Protection;
use crate::metrics::Registry;
use crate::terminal::CommandError;

/// What a server has before its store is open.
pub(super) struct ServerStage {
    pub(super) registry: Arc<Registry>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) health: Listener,
    pub(super) tls: ServerTls,
}

impl ServerStage {
    /// Binds the health listener and reads the TLS files.
    ///
    /// # Errors
    /// When the port is taken, or a file cannot be used.
    pub(super) fn set(
        health: SocketAddr,
        tls: &TlsFiles,
        protection: &Protection,
    ) -> Result<Self, CommandError> {
        let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
        show_protection(protection, &registry);
        Ok(Self {
            health: health_listener(health, &readiness, &registry)?,
            tls: read_tls(tls)?,
            registry,
            readiness,
        })
    }
}

/// The parts of a configuration that change while a server runs, or say what it does by itself; and
/// the acts that wait for places, beside the register.
pub(super) struct KeptParts<'c> {
    pub(super) acts: Vec<Arc<dyn WaitingActs>>,
    pub(super) tls: &'c TlsFiles,
    pub(super) register: &'c RegisterFiles,
    pub(super) backup: Option<&'c BackupPlan>,
}

/// What a server keeps up while it serves.
pub(super) struct ServerUpkeep {
    /// Its backups, where the configuration has `[backup]`.
    pub(super) backups: Option<Arc<BackupKeeper>>,
    entity: EntityInForce,
    keeper: TlsKeeper,
    at_hangup: AtHangup,
    reloading: Pin<Box<dyn Future<Output = ()> + Send>>,
    acts: ActsThread,
}

/// The tasks and threads of a server that is kept up.
pub(super) struct KeptUp {
    pub(super) tasks: Vec<AbortHandle>,
    /// Puts acts in force while it lives.
    _acts: ActsThread,
}

impl ServerUpkeep {
    /// Prepares it for a side that was started with the register of `version` in its file. The TLS
    /// files are those of its listeners and of its `callers`.
    ///
    /// # Errors
    /// When the system starts no thread, or lets nobody listen for SIGHUP.
    pub(super) fn prepare<T: UnderRegister>(
        (side, version): (&InForce<T>, u64),
        parts: KeptParts<'_>,
        callers: Vec<Client>,
        inspect: impl Fn() -> TlsInspection + Send + 'static,
        (listeners, readiness, registry): (&ServerTls, &Arc<Readiness>, &Registry),
    ) -> Result<(Self, RegisterDoor), CommandError> {
        let entity = side.entity();
        let keeper = keep_tls(parts.tls, listeners, callers, inspect, readiness, registry)?;
        let reload = Arc::new(register_reload(side, parts.register));
        let mut waiting = parts.acts;
        waiting.push(reload.clone());
        let acts = acts_thread(entity.clone(), waiting)?;
        let waits = entity.get().register().version != version;
        let (at_hangup, reloading) = at_hangup(reload.clone(), waits);
        let upkeep = Self {
            backups: backup::keeper(entity.clone(), parts.backup),
            entity,
            keeper,
            at_hangup,
            reloading: Box::pin(reloading),
            acts,
        };
        Ok((upkeep, RegisterDoor::new(reload)))
    }

    /// Starts the tasks that do it. They are aborted by their handles.
    pub(super) fn start(self, readiness: &Arc<Readiness>, registry: &Arc<Registry>) -> KeptUp {
        let keeping_place = watch::keep_place(self.entity, readiness.clone());
        let keeping_tls = self.keeper.keep(registry.clone(), vec![self.at_hangup]);
        let tasks = vec![
            tokio::spawn(keeping_place).abort_handle(),
            tokio::spawn(backup::keep(self.backups, registry.clone())).abort_handle(),
            tokio::spawn(keeping_tls).abort_handle(),
            tokio::spawn(self.reloading).abort_handle(),
        ];
        KeptUp {
            tasks,
            _acts: self.acts,
        }
    }
}
