//! `cloison serve`, `cloison authority serve` and `cloison identity serve`: read, check, open,
//! serve, drain.

mod backup;
mod backup_gate;
mod bring;
mod descriptors;
mod drill;
mod figures;
mod first_start;
mod follow;
mod identity;
mod identity_form;
mod log_secrets;
mod node;
mod reload;
mod tidy;
mod upkeep;
mod vault;
mod watch;
mod witness;
mod writable;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

pub use drill::{DrillStart, drill_identity, drill_node, drill_vault};
pub(crate) use follow::look_through_daily;
use identity::identity_parts;
pub use identity::run_identity;
use node::node_parts;
pub use node::{read_set, run_node};
use reload::{AtHangup, TlsKeeper, TlsUser};
use vault::read_vault_secrets;
pub use vault::run_vault;
pub use watch::onlookers;
pub use witness::{run_witness, witness_of};

use crate::audit::log::LogError;
use crate::certificates::{TlsInspection, unused_client_ca};
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::config::{LimitConfig, NamedFile, RegisterFiles, TlsFiles};
use crate::entity::{ActsThread, EntityInForce, InForce, UnderRegister, WaitingActs};
use crate::http::tls::ServerTls;
use crate::http::{self, Callers, Limits, Listener, Readiness, health, tls};
use crate::keys::example::{fingerprint_of_spki, is_example};
use crate::keys::memory::{
    Protection, {self},
};
use crate::metrics::Registry;
use crate::register::{Register, RegisterOpenError};
use crate::reload::{BY_SIGNAL, BY_START, RegisterReload};
use crate::store::{StoreError, forget_origin, restored_from};
use crate::terminal::CommandError;
use crate::tlog::checkpoint_file::CheckpointFileError;
use crate::vault::StartError;

/// What the command line allows a start of a side.
#[derive(Debug, Clone, Copy)]
pub struct StartOptions {
    /// Run on the published keys of keys-example/.
    pub allow_example_keys: bool,
    /// Make the store although no first start was prepared.
    pub first_start: bool,
}

fn read_tls(files: &TlsFiles) -> Result<ServerTls, CommandError> {
    ServerTls::read(files).map_err(|e| CommandError::new(e, "check [tls] in the configuration"))
}

/// What inspects the TLS files that a configuration names, with the register in force.
fn inspection<C: Send + 'static>(
    config: C,
    named_files: fn(&C) -> Vec<NamedFile<'_>>,
    entity: EntityInForce,
) -> impl Fn() -> TlsInspection + Send + 'static {
    move || {
        let (files, entity) = (named_files(&config), entity.get());
        TlsInspection::of(&files, Some(entity.register()), SystemClock.now())
    }
}

/// What keeps the TLS files of a server up to date ([`reload`]): those of its listeners and of its
/// `callers`. SIGHUP goes there, too.
fn keep_tls(
    files: &TlsFiles,
    listeners: &ServerTls,
    callers: Vec<Client>,
    inspect: impl Fn() -> TlsInspection + Send + 'static,
    readiness: &Arc<Readiness>,
    registry: &Registry,
) -> Result<TlsKeeper, CommandError> {
    if let Some(warning) = unused_client_ca(files) {
        tracing::warn!("{warning}");
    }
    let callers = callers.into_iter().map(TlsUser::Caller);
    let users = std::iter::once(TlsUser::Listeners(listeners.clone())).chain(callers);
    TlsKeeper::new(users.collect(), inspect, readiness.clone(), registry)
        .map_err(|e| CommandError::new(e, "check the system's signal settings"))
}

/// Puts a changed register in force, from the configured files.
fn register_reload<T: UnderRegister>(
    in_force: &InForce<T>,
    files: &RegisterFiles,
) -> RegisterReload<T> {
    let files = files.clone();
    let read = move || crate::register::open(&files.file, &files.signatures, &files.pins);
    RegisterReload::new(in_force.clone(), Box::new(read))
}

/// At SIGHUP the register is read again too; so it is at once where the start left one in the file
/// (`waits`). What is returned beside that does it.
fn at_hangup<T: UnderRegister>(
    reload: Arc<RegisterReload<T>>,
    waits: bool,
) -> (AtHangup, impl Future<Output = ()> + Send) {
    let (ask, mut asked) = unbounded_channel();
    if waits {
        let _ = ask.send(BY_START);
    }
    let keep = async move {
        while let Some(cause) = asked.recv().await {
            let reload = reload.clone();
            let _ = tokio::task::spawn_blocking(move || reload_register(&reload, cause)).await;
        }
    };
    let hangup = move || {
        let _ = ask.send(BY_SIGNAL);
    };
    (Box::new(hangup), keep)
}

/// Reads the register again and says the outcome.
fn reload_register<T: UnderRegister>(reload: &RegisterReload<T>, cause: &'static str) {
    match reload.reload_by(cause) {
        Ok(done) if done.changed => {}
        Ok(done) => tracing::info!(
            version = done.register.version,
            "the register is in force already"
        ),
        Err(refusal) if refusal.code() == Code::JournalUnavailable => {
            tracing::warn!(why = %refusal, "the register waits for places");
        }
        Err(refusal) => tracing::error!(
            code = %refusal.code(),
            why = %refusal,
            "the register was not reloaded"
        ),
    }
}

/// Puts acts in force that waited for places, as soon as these hold them.
fn acts_thread(
    entity: EntityInForce,
    parts: Vec<Arc<dyn WaitingActs>>,
) -> Result<ActsThread, CommandError> {
    ActsThread::start(entity, parts)
        .map_err(|error| CommandError::new(error, "check the limits on threads"))
}

/// Ends when the process is told to stop.
fn shutdown_signal() -> Result<impl Future<Output = ()> + Send, CommandError> {
    http::termination().map_err(|e| CommandError::new(e, "check the system's signal settings"))
}

/// Runs `end`, on a thread of its own, when the process is told to stop. For commands that go on
/// until then.
///
/// # Errors
/// When the operating system does not let the process listen for signals, or start a thread.
pub fn at_termination(end: impl FnOnce() + Send + 'static) -> Result<(), CommandError> {
    let runtime = runtime()?;
    let stopped = {
        let _entered = runtime.enter();
        shutdown_signal()?
    };
    let wait = move || {
        runtime.block_on(stopped);
        end();
    };
    let thread = std::thread::Builder::new().name("signals".into());
    let started = thread.spawn(wait).map(drop);
    started.map_err(|error| CommandError::new(error, "check the limits on threads"))
}

/// The same signal; then nobody waits for entries of the log any more, so that the listeners can
/// end.
async fn end_offers(shutdown: impl Future<Output = ()> + Send, entity: EntityInForce) {
    shutdown.await;
    entity.get().log().end_offers();
}

/// Says at the first start of a store that was restored where it came from.
fn tell_origin(store: &Path) {
    let Some(from) = restored_from(store) else {
        return;
    };
    tracing::info!(
        from,
        "the store was restored, and this is its first start since"
    );
    if let Err(error) = forget_origin(store) {
        tracing::warn!(%error, "the next start says once more that the store was restored");
    }
}

/// Says why a side did not start. The error is temporary where a later start may succeed
/// without a change by people: another process still holds the store, the disk is full or absent.
fn start_error(error: StartError) -> CommandError {
    let hint = "see docs/operations.md, \"What an error at start means\"";
    match &error {
        StartError::Store(store) if store.may_pass() => CommandError::temporary(error, hint),
        StartError::Log(LogError::SecondLost { .. }) => {
            let hint = "if the configuration names a new place, move the old one there and start again; else mount its disk; if it \
                        is lost: docs/audit.md, \"When the second place is away\"";
            CommandError::temporary(error, hint)
        }
        StartError::Log(LogError::Second(CheckpointFileError::Io(..)))
        | StartError::Clock(_)
        | StartError::NoIdentity(_)
        | StartError::Audit(_) => CommandError::temporary(error, hint),
        StartError::Log(LogError::Behind { went_on, .. }) => {
            CommandError::new(&error, way_back(*went_on)).with_exit(ROLLED_BACK)
        }
        _ => CommandError::new(error, hint),
    }
}

/// The exit code of a server whose store lacks what was published of its log: a start again does
/// not help (`EX_OSERR`; systemd is told not to try).
const ROLLED_BACK: u8 = 71;

/// What to do about a store that lacks published entries of its log; `went_on` where its log went
/// on without them, so that nothing can be added to it.
fn way_back(went_on: bool) -> &'static str {
    if went_on {
        "this store's log went on without them, so no place brings it to the present: move the store and its second place away, \
         and restore a backup with the place that holds them: `cloison restore REPOSITORY --config FILE --from PLACE`"
    } else {
        "bring what is missing from a place that holds it: `cloison restore --in-place --config FILE` (--from PLACE for another than the \
         second place); else docs/operations.md#backups"
    }
}

/// Ends the process, because it may acknowledge nothing more: a write failed and the state of the
/// disk is unknown, or the store's files were moved.
///
/// Skips the exit handlers: RocksDB's would destroy what its background threads still use, or wait
/// for these threads while the disk hangs.
fn end_process(error: &StoreError) {
    let (what, exit) = match error {
        StoreError::Displaced(_) | StoreError::SecondDisplaced(_) => {
            ("files were taken from under this process", 70)
        }
        StoreError::RolledBack { .. } => ("this store is not the newest", ROLLED_BACK),
        _ => ("a write failed", 70),
    };
    let hint = match error {
        StoreError::RolledBack { went_on, .. } => Some(way_back(*went_on)),
        _ => None,
    };
    tracing::error!(%error, hint, "{what}; stopping, because nothing more could be acknowledged");
    crate::system::process::exit_at_once(exit.into())
}

/// Starts logging to standard error and protects the memory ([`memory::protect`]). Ignores SIGXFSZ,
/// so that a write beyond the file-size limit fails and is reported, and SIGHUP, until
/// [`http::termination`] handles it: by default, both would end the process without a message.
fn prepare_process(whole: bool) -> Protection {
    crate::terminal::log::start();
    crate::system::process::ignore_file_size_and_hangup();
    memory::protect(whole)
}

/// Shows in the log and on `/metrics` how well the process's memory is protected.
fn show_protection(protection: &Protection, registry: &Registry) {
    let help = "0: keys may be swapped or dumped; 1: keys may not; 2: nothing of the process may";
    registry
        .gauge("cloison_memory_protection", help, None)
        .set(protection.level().into());
    match protection.level() {
        0 => tracing::warn!(
            ?protection,
            "keys may be swapped or dumped: `cloison doctor` says what to change"
        ),
        level => tracing::info!(level, "keys are kept out of swap and dumps"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(error, "check the limits on threads and memory"))
}

/// A listener's limits, as configured.
fn limits(config: &LimitConfig) -> Limits {
    Limits {
        connections: config.connections,
        drain: config.drain,
        ..Limits::default()
    }
}

fn bind(
    name: &'static str,
    address: std::net::SocketAddr,
    callers: Callers,
    router: axum::Router,
    limits: Limits,
) -> Result<Listener, CommandError> {
    Listener::bind(name, address, callers, router, limits)
        .map_err(|error| bind_error(name, address, &error))
}

fn health_listener(
    address: std::net::SocketAddr,
    readiness: &Arc<Readiness>,
    registry: &Arc<Registry>,
) -> Result<Listener, CommandError> {
    let router = health::router(readiness.clone(), registry.clone());
    let limits = Limits {
        connections: descriptors::HEALTH_CONNECTIONS,
        idle: HEALTH_IDLE,
        ..Limits::default()
    };
    Listener::bind("health", address, Callers::Anybody, router, limits)
        .map_err(|error| bind_error("health", address, &error))
}

/// How long a connection of the health listener may be idle.
const HEALTH_IDLE: Duration = Duration::from_secs(5);

fn bind_error(name: &str, address: std::net::SocketAddr, error: &std::io::Error) -> CommandError {
    let message = format_args!("the {name} listener cannot have {address}: {error}");
    let hint = "stop what listens there, or choose another address in the configuration";
    match error.kind() {
        // The previous process may still be draining, and the address's network may come up later.
        std::io::ErrorKind::AddrInUse | std::io::ErrorKind::AddrNotAvailable => {
            CommandError::temporary(message, hint)
        }
        _ => CommandError::new(message, hint),
    }
}

/// Reads the register, checks its signatures against the pinned keys, validates it whole.
///
/// # Errors
/// When it cannot be read, lacks signatures, or has faults.
pub fn open_register(files: &RegisterFiles) -> Result<Register, CommandError> {
    crate::register::sign::open(&files.file, &files.signatures, &files.pins).map_err(|error| {
        let hint = match &error {
            RegisterOpenError::Read { .. } => "check [register] in the configuration",
            RegisterOpenError::Signatures { .. } => {
                "a register needs its signatures: see `cloison register sign --help`"
            }
            RegisterOpenError::Faults { .. } => {
                "correct the register (`cloison check`) and have it signed again"
            }
        };
        CommandError::new(error, hint)
    })
}

/// Refuses the published example keys, unless the start allows them: everybody has them.
fn refuse_example_keys(
    tls: &TlsFiles,
    fingerprints: &[[u8; 32]],
    allowed: bool,
) -> Result<(), CommandError> {
    let hint = "check [tls] in the configuration";
    let certificate =
        tls::spki_digest_of_file(&tls.certificate).map_err(|e| CommandError::new(e, hint))?;
    let found =
        fingerprints.iter().any(is_example) || is_example(&fingerprint_of_spki(&certificate.0));
    match (found, allowed) {
        (false, _) => Ok(()),
        (true, true) => {
            tracing::warn!(
                "running on the published keys of keys-example: for trying things out only"
            );
            Ok(())
        }
        (true, false) => Err(CommandError::new(
            "these are the published keys of keys-example/, which everybody has",
            "make keys of your own with `cloison init DIR`; to try things out, add --allow-example-keys",
        )),
    }
}
