//! `cloison serve` and `cloison authority serve`: read, check, open, serve, drain.

mod backup;
mod descriptors;
mod drill;
mod figures;
mod first_start;
mod reload;
mod tidy;
mod watch;
mod witness;
mod writable;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use drill::{DrillStart, drill_node, drill_vault};
use figures::PersonFigures;
use reload::{AtHangup, TlsKeeper, TlsUser};
use tokio::task::AbortHandle;
pub use watch::onlookers;
use watch::{EntityWatch, WatchedSide, WatchingSide};
pub use witness::run_witness;

use crate::audit::log::LogError;
use crate::certificates::{TlsInspection, unused_client_ca};
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::code::Code;
use crate::config::{
    AuthorityKeyPlace, KeyPlace, LimitConfig, NamedFile, NodeConfig, RegisterFiles, TlsFiles,
    VaultConfig,
};
use crate::entity::{EntityInForce, InForce, UnderRegister};
use crate::execution::step;
use crate::http::backups::BackupDoor;
use crate::http::data::DataDoor;
use crate::http::mount::VaultRouters;
use crate::http::node_door::NodeRoutes;
use crate::http::register::RegisterDoor;
use crate::http::tls::ServerTls;
use crate::http::{self, Callers, Limits, Listener, Readiness, health, mount, tls};
use crate::keys::example::{fingerprint, fingerprint_of_spki, is_example};
use crate::keys::file::{FileError, SecretKind, read_public};
use crate::keys::memory::{self, Protection};
use crate::keys::sector_secrets::{SectorSecretDeposit, read_journal};
use crate::keys::shares::ShareSet;
use crate::keys::{AuditSecret, AuthoritySecret, IdentitySecret, StoreSecret};
use crate::metrics::{PERSONS, Registry, coarse};
use crate::node::{Node, NodeParts};
use crate::order::book::Book;
use crate::register::{Register, RegisterOpenError, Suite};
use crate::reload::RegisterReload;
use crate::rights::erase::scrub;
use crate::seal::segment::AuthorityPrivateKey;
use crate::store::{FirstStart, StoreError};
use crate::terminal::CommandError;
use crate::tlog::checkpoint_file::CheckpointFileError;
use crate::vault::{SectorAdvance, StartError, Vault, VaultHome, VaultSecrets};

/// What the command line allows a start of vault or node.
#[derive(Debug, Clone, Copy)]
pub struct StartOptions {
    /// Run on the published keys of keys-example/.
    pub allow_example_keys: bool,
    /// Make the store although no first start was prepared.
    pub first_start: bool,
}

/// Runs the vault until it is told to stop.
///
/// # Errors
/// When configuration, keys, register or store are not in order, or a port is taken.
pub fn run_vault(
    config: &Path,
    advance: Vec<SectorAdvance>,
    options: StartOptions,
) -> Result<(), CommandError> {
    let protection = prepare_process(false);
    let config = VaultConfig::load(config)?;
    let register = open_register(&config.register)?;
    let (mut secrets, fingerprints) = read_vault_secrets(&config)?;
    secrets.log.onlookers = watch::onlookers(&config.log, None)?;
    refuse_example_keys(&config.tls, &fingerprints, options.allow_example_keys)?;
    descriptors::secure(2, &config.limits)?;
    let first = first_start::permit(&config.store, &config.log, options.first_start)?;
    writable::check(&config.store, &config.log)?;
    runtime()?.block_on(serve_vault(
        config, register, secrets, advance, first, protection,
    ))
}

async fn serve_vault(
    config: VaultConfig,
    register: Register,
    secrets: VaultSecrets,
    advance: Vec<SectorAdvance>,
    first: FirstStart,
    protection: Protection,
) -> Result<(), CommandError> {
    let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
    show_protection(&protection, &registry);
    let health = health_listener(config.health, &readiness, &registry)?;
    let tls = read_tls(&config.tls)?;
    let shutdown = shutdown_signal()?;
    let memory = watch::memory(&config.log, &config.store)?;
    // The health listener answers while the index is rebuilt. The others are bound when it is
    // complete.
    let serving_health = tokio::spawn({
        let (readiness, registry) = (readiness.clone(), registry.clone());
        async move {
            let never = std::future::pending();
            http::serve(vec![], Some(health), &readiness, &registry, never).await
        }
    });
    let vault = open_vault(&config, register, secrets, advance, &readiness).await?;
    first_start::end(first, &config.store)?;
    prepare_copies(vault.get()).await?;
    vault
        .get()
        .know_former_segment_keys(config.former_segment_keys.clone());
    let WatchedSide {
        door: cosigning,
        asking: _asking,
        callers,
    } = watch::vault(&vault, &config, memory)?;
    let inspect = inspection(config.clone(), VaultConfig::named_files, vault.entity());
    let keeper = keep_tls(&config.tls, &tls, callers, inspect, &readiness, &registry)?;
    let watch = EntityWatch::new(
        vault.entity(),
        cosigning.cosigners.clone(),
        config.reserve,
        readiness.clone(),
        &registry,
    );
    let reload = Arc::new(register_reload(&vault, &config.register));
    let register = RegisterDoor::new(reload.clone());
    let backups = backup::keeper(vault.entity(), config.backup.as_ref());
    let routers = mount::vault(
        DataDoor::new(vault.clone(), &registry),
        cosigning,
        register,
        BackupDoor::new(vault.entity(), backups.clone()),
        readiness.clone(),
    );
    let callers = Callers::Registered(tls, vault.entity());
    let listeners = vault_listeners(&config, routers, callers)?;
    tracing::info!(
        data = %config.data,
        control = %config.control,
        health = %config.health,
        mappings = coarse(vault.get().index().len(), PERSONS),
        "the vault serves"
    );
    readiness.clear("starting");
    let counted = vault.get();
    tokio::task::spawn_blocking(move || warn_of_stranded_segments(&counted));
    let tasks = [
        serving_health.abort_handle(),
        tokio::spawn(tidy::vault(vault.clone())).abort_handle(),
        tokio::spawn(watch::keep_place(vault.entity(), readiness.clone())).abort_handle(),
        tokio::spawn(keep_house(vault.clone(), watch, registry.clone())).abort_handle(),
        tokio::spawn(backup::keep(backups.clone(), registry.clone())).abort_handle(),
        tokio::spawn(keeper.keep(registry.clone(), vec![at_hangup(reload)])).abort_handle(),
    ];
    http::serve(listeners, None, &readiness, &registry, shutdown).await;
    tasks.iter().for_each(AbortHandle::abort);
    backups.iter().for_each(|keeper| keeper.end());
    tracing::info!("the vault has stopped");
    Ok(())
}

/// Opens the vault on a thread of its own. `/readyz` says how far it is.
async fn open_vault(
    config: &VaultConfig,
    register: Register,
    secrets: VaultSecrets,
    advance: Vec<SectorAdvance>,
    readiness: &Arc<Readiness>,
) -> Result<InForce<Vault>, CommandError> {
    tracing::info!(
        mib = config.index_memory >> 20,
        "memory that the index of mappings may take"
    );
    let home = VaultHome {
        store: config.store.clone(),
        index_memory: config.index_memory,
    };
    let readiness = readiness.clone();
    let open = move || {
        let progress = move |words: String| readiness.set("starting", words);
        Vault::open(
            &home,
            register,
            secrets,
            &advance,
            Arc::new(SystemClock),
            &progress,
            Box::new(end_process),
        )
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| CommandError::new("the vault failed while it started", "see the log above"))?
        .map(InForce::new)
        .map_err(start_error)
}

fn vault_listeners(
    config: &VaultConfig,
    routers: VaultRouters,
    callers: Callers,
) -> Result<Vec<Listener>, CommandError> {
    let control = limits(&config.limits);
    let data = Limits {
        batches: config.bodies,
        ..limits(&config.limits)
    };
    Ok(vec![
        bind("data", config.data, callers.clone(), routers.data, data)?,
        bind("control", config.control, callers, routers.control, control)?,
    ])
}

fn warn_of_stranded_segments(vault: &Vault) {
    if let Ok(count @ 1..) = crate::renewal::vault::stranded(vault) {
        let hint = "list the key that they are sealed to again, and `cloison authority renew`";
        tracing::warn!(
            count,
            hint,
            "segments are sealed to no key that the register lists"
        );
    }
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

/// At SIGHUP the register is read again too.
fn at_hangup<T: UnderRegister>(reload: Arc<RegisterReload<T>>) -> AtHangup {
    Box::new(move || match reload.reload_at_signal() {
        Ok(done) if done.changed => {}
        Ok(done) => tracing::info!(
            version = done.register.version,
            "the register is in force already"
        ),
        Err(refusal) => tracing::error!(
            code = %refusal.code(),
            why = %refusal,
            "the register was not reloaded"
        ),
    })
}

/// Ends when the process is told to stop.
fn shutdown_signal() -> Result<impl Future<Output = ()> + Send, CommandError> {
    http::termination().map_err(|e| CommandError::new(e, "check the system's signal settings"))
}

/// Makes the copies that live orders still lack. Must end before the first request.
async fn prepare_copies(vault: Arc<Vault>) -> Result<(), CommandError> {
    let begun =
        tokio::task::spawn_blocking(move || crate::reidentify::copies::start::begin(&vault)).await;
    let begun = begun
        .map_err(|_| CommandError::new("the vault failed while it started", "see the log above"))?;
    begun.map_err(|refusal| {
        CommandError::new(
            refusal,
            "see the log above; a copy needs the storage secret that it was made under",
        )
    })
}

/// Says why a vault or node did not start. The error is temporary where a later start may succeed
/// without a change by people: another process still holds the store, the disk is full or absent.
fn start_error(error: StartError) -> CommandError {
    let hint = "see docs/operations.md, \"What an error at start means\"";
    match &error {
        StartError::Store(store) if store.may_pass() => CommandError::temporary(error, hint),
        StartError::Log(
            LogError::Second(CheckpointFileError::Io(..)) | LogError::SecondLost { .. },
        )
        | StartError::Clock(_)
        | StartError::Audit(_) => CommandError::temporary(error, hint),
        StartError::Log(LogError::Behind { .. }) => {
            CommandError::new(error, hint).with_exit(ROLLED_BACK)
        }
        _ => CommandError::new(error, hint),
    }
}

/// Once a second: watches the disk, wipes data keys whose time is over, updates the gauges.
async fn keep_house(vault: InForce<Vault>, mut watch: EntityWatch, registry: Arc<Registry>) {
    let figures = PersonFigures::new(&registry);
    let bound = registry.gauge(
        "cloison_index_bound_bytes",
        "Memory that the index may take before entries move",
        None,
    );
    bound.set(i64::try_from(vault.get().index().bound()).unwrap_or(i64::MAX));
    let alarms = registry.counter(
        "cloison_release_alarms_total",
        "Unusual rates of releases that were noticed",
        None,
    );
    let reviews = registry.gauge(
        "cloison_reviews_due",
        "Orders under force majeure whose review is not closed",
        None,
    );
    let out_of_step = registry.gauge(
        "cloison_out_of_step",
        "Authorities whose node does not hold the same acts upon orders",
        None,
    );
    let mut beats = 0_u64;
    loop {
        let vault = vault.get();
        out_of_step.set(watch.look() as i64);
        vault.sweep();
        let counted = vault.counts().release_alarms.load(Ordering::Relaxed);
        alarms.add(counted - alarms.get());
        if beats.is_multiple_of(3_600) {
            figures.show(&vault);
            // Repeats a scrub that did not finish.
            let store = vault.store().clone();
            tokio::task::spawn_blocking(move || scrub(&store));
        }
        // Once a minute, because it reads every order there ever was.
        if beats.is_multiple_of(60)
            && let Ok(due) = Book::of(&vault).reviews_due()
        {
            reviews.set(due as i64);
        }
        drop(vault);
        beats += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Runs the authority node until it is told to stop.
///
/// # Errors
/// When configuration, keys, register or store are not in order, or a port is taken.
pub fn run_node(config: &Path, options: StartOptions) -> Result<(), CommandError> {
    let protection = prepare_process(true);
    let config = NodeConfig::load(config)?;
    let register = open_register(&config.register)?;
    let (mut parts, fingerprints) = node_parts(&config, register)?;
    parts.log.onlookers = watch::onlookers(&config.log, Some(&config.vault))?;
    refuse_example_keys(&config.tls, &fingerprints, options.allow_example_keys)?;
    descriptors::secure(1, &config.limits)?;
    let first = first_start::permit(&config.store, &config.log, options.first_start)?;
    writable::check(&config.store, &config.log)?;
    runtime()?.block_on(serve_node(config, parts, first, protection))
}

/// Reads a node's keys and secrets, and computes their fingerprints.
fn node_parts(
    config: &NodeConfig,
    register: Register,
) -> Result<(NodeParts, Vec<[u8; 32]>), CommandError> {
    let keyring = config.openers.keyring();
    let unread =
        |e: FileError| CommandError::new(e, "check [[key]] and [secrets] in the configuration");
    let (mut fingerprints, mut keys, mut shared) = (vec![], vec![], vec![]);
    for AuthorityKeyPlace { id, place } in &config.keys {
        match place {
            KeyPlace::Shares(file) => shared.push((id.clone(), read_set(file)?)),
            KeyPlace::Own(deposit) => {
                let secret = AuthoritySecret(
                    keyring
                        .read(deposit, SecretKind::Authority)
                        .map_err(unread)?,
                );
                fingerprints.push(fingerprint(secret.0.expose()));
                // The suite does not matter for a key that the register does not state:
                // `Node::open` refuses its id.
                let stated = register
                    .authorities
                    .get(&config.authority)
                    .into_iter()
                    .flat_map(|own| &own.keys);
                let suite = stated
                    .into_iter()
                    .find(|key| key.id == *id)
                    .map_or(Suite::X25519, |key| key.suite);
                keys.push(AuthorityPrivateKey::derive(&secret, id.as_str(), suite));
            }
        }
    }
    let audit = AuditSecret(
        keyring
            .read(&config.audit, SecretKind::Audit)
            .map_err(unread)?,
    );
    fingerprints.push(fingerprint(audit.0.expose()));
    let journal = read_journal(&keyring, &config.journal).map_err(unread)?;
    fingerprints.extend(
        journal
            .iter()
            .map(|(_, secret)| fingerprint(secret.0.expose())),
    );
    let checkpoint = keyring
        .read_signing_key(&config.checkpoint, SecretKind::Checkpoint)
        .map_err(unread)?;
    fingerprints.push(fingerprint(checkpoint.as_bytes()));
    let parts = NodeParts {
        register,
        authority: config.authority.clone(),
        keys,
        shared,
        times: config.seal,
        segment_keys: config.segment_keys.clone(),
        audit,
        journal,
        log: watch::log_parts(checkpoint, &config.log),
    };
    Ok((parts, fingerprints))
}

/// Reads a set of shares.
///
/// # Errors
/// When the file cannot be read or is not a set of shares.
pub fn read_set(file: &Path) -> Result<ShareSet, CommandError> {
    let hint = "`cloison authority keygen` and `cloison secrets split` write such files: *.set";
    let text = read_public(file, 1 << 20).map_err(|e| CommandError::new(e, hint))?;
    ShareSet::from_json(&text)
        .map_err(|e| CommandError::new(format_args!("{}: {e}", file.display()), hint))
}

async fn serve_node(
    config: NodeConfig,
    parts: NodeParts,
    first: FirstStart,
    protection: Protection,
) -> Result<(), CommandError> {
    let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
    show_protection(&protection, &registry);
    let health = health_listener(config.health, &readiness, &registry)?;
    let tls = read_tls(&config.tls)?;
    let shutdown = shutdown_signal()?;
    let memory = watch::memory(&config.log, &config.store)?;
    let store = config.store.clone();
    let open = move || Node::open(&store, parts, Arc::new(SystemClock), Box::new(end_process));
    let node = tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| CommandError::new("the node failed while it started", "see the log above"))?
        .map_err(start_error)?;
    first_start::end(first, &config.store)?;
    let node = InForce::new(node);
    let WatchingSide {
        vault: peer,
        cosigners,
        asking: _asking,
        callers,
    } = watch::node(&node, &config, memory)?;
    let inspect = inspection(config.clone(), NodeConfig::named_files, node.entity());
    let keeper = keep_tls(&config.tls, &tls, callers, inspect, &readiness, &registry)?;
    let reload = Arc::new(register_reload(&node, &config.register));
    let routes = NodeRoutes {
        node: node.clone(),
        vault: peer.clone(),
    };
    let backups = backup::keeper(node.entity(), config.backup.as_ref());
    let door = BackupDoor::new(node.entity(), backups.clone());
    let keeping_in_step = tokio::spawn(keep_in_step(routes.clone())).abort_handle();
    let callers = Callers::Registered(tls, node.entity());
    let listeners = vec![bind(
        "control",
        config.control,
        callers,
        mount::node(
            routes,
            RegisterDoor::new(reload.clone()),
            door,
            readiness.clone(),
        ),
        limits(&config.limits),
    )?];
    tracing::info!(
        control = %config.control,
        health = %config.health,
        authority = %config.authority,
        "the authority node serves"
    );
    show_sealed(&node.get(), &readiness);
    watch::watch_vault_once(peer.clone(), &config.vault.url).await;
    readiness.clear("starting");
    let watch = EntityWatch::new(
        node.entity(),
        cosigners,
        config.reserve,
        readiness.clone(),
        &registry,
    );
    let sealing = watch_seal(node.clone(), readiness.clone(), registry.clone());
    let tasks = [
        keeping_in_step,
        tokio::spawn(tidy::node(node.clone())).abort_handle(),
        tokio::spawn(backup::keep(backups.clone(), registry.clone())).abort_handle(),
        tokio::spawn(keeper.keep(registry.clone(), vec![at_hangup(reload)])).abort_handle(),
        tokio::spawn(sealing).abort_handle(),
        tokio::spawn(watch::keep_place(node.entity(), readiness.clone())).abort_handle(),
        tokio::spawn(watch::watch_node(node, peer, watch)).abort_handle(),
    ];
    http::serve(listeners, Some(health), &readiness, &registry, shutdown).await;
    tasks.iter().for_each(AbortHandle::abort);
    backups.iter().for_each(|keeper| keeper.end());
    tracing::info!("the authority node has stopped");
    Ok(())
}

/// Seals the node's keys when their time is over, and shows on `/readyz` and `/metrics` which are
/// sealed.
async fn watch_seal(node: InForce<Node>, readiness: Arc<Readiness>, registry: Arc<Registry>) {
    let sealed = registry.gauge(
        "cloison_sealed_keys",
        "Keys of the authority that this node does not hold",
        None,
    );
    loop {
        let node = node.get();
        let times = node.clone();
        // Sealing waits until its entry is durable.
        let _ = tokio::task::spawn_blocking(move || crate::unseal::keep_time(&times)).await;
        sealed.set(show_sealed(&node, &readiness) as i64);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Names the sealed keys on `/readyz`. Returns how many there are.
fn show_sealed(node: &Node, readiness: &Readiness) -> usize {
    let sealed = node.safe().sealed();
    if sealed.is_empty() {
        readiness.clear("sealed");
    } else {
        let sealed = sealed.join(", ");
        let words = format!("keys that their custodians have to unseal: {sealed}");
        readiness.set("sealed", words);
    }
    sealed.len()
}

/// Exchanges acts upon orders with the vault, at the start and every [`IN_STEP_EVERY`], so that a
/// revocation reaches both sides even when no request comes. No release depends on it: each release
/// makes its own exchange.
async fn keep_in_step(routes: NodeRoutes) {
    loop {
        let (node, vault) = (routes.node.get(), routes.vault.clone());
        let step = move || {
            let stepped = step::get_in_step(&node, &*vault);
            if let Err(refusal) = &stepped {
                tracing::debug!(code = %refusal.code(), "vault and node are not in step");
            }
            let mismatch = stepped
                .err()
                .filter(|refusal| refusal.code() == Code::RegisterMismatch)
                .map(|refusal| refusal.to_string());
            let orders = node.orders();
            orders.note_register(&node.authority().id, mismatch);
        };
        let _ = tokio::task::spawn_blocking(step).await;
        tokio::time::sleep(IN_STEP_EVERY).await;
    }
}

/// How often node and vault exchange acts upon orders.
const IN_STEP_EVERY: Duration = Duration::from_secs(5);

/// The exit code of a server whose store lacks what was published of its log: a start again does not
/// help (`EX_OSERR`; systemd is told not to try).
const ROLLED_BACK: u8 = 71;

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
    tracing::error!(%error, "{what}; stopping, because nothing more could be acknowledged");
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

/// Reads the vault's secrets and computes their fingerprints.
fn read_vault_secrets(config: &VaultConfig) -> Result<(VaultSecrets, Vec<[u8; 32]>), CommandError> {
    let read = || {
        let (places, keyring) = (&config.secrets, Arc::new(config.openers.keyring()));
        let sector = SectorSecretDeposit::new(places.sector.clone(), keyring.clone());
        let store = keyring.read_versions(&places.store, SecretKind::Store)?;
        let secrets = VaultSecrets {
            identity: IdentitySecret(keyring.read(&places.identity, SecretKind::Identity)?),
            audit: AuditSecret(keyring.read(&places.audit, SecretKind::Audit)?),
            segment: keyring.read_signing_key(&places.segment, SecretKind::Segment)?,
            store: store
                .into_iter()
                .map(|(version, key)| (version, StoreSecret(key)))
                .collect(),
            journal: read_journal(&keyring, &places.journal)?,
            sector: Box::new(sector),
            log: watch::log_parts(
                keyring.read_signing_key(&places.checkpoint, SecretKind::Checkpoint)?,
                &config.log,
            ),
        };
        let fingerprints = vault_fingerprints(&secrets)?;
        Ok((secrets, fingerprints))
    };
    read().map_err(|e: FileError| CommandError::new(e, "check [secrets] in the configuration"))
}

fn vault_fingerprints(secrets: &VaultSecrets) -> Result<Vec<[u8; 32]>, FileError> {
    let sector = secrets.sector.load()?;
    let mut fingerprints = vec![
        fingerprint(secrets.identity.0.expose()),
        fingerprint(secrets.audit.0.expose()),
        fingerprint(secrets.segment.as_bytes()),
        fingerprint(secrets.log.key.as_bytes()),
    ];
    fingerprints.extend(
        secrets
            .store
            .iter()
            .map(|(_, secret)| fingerprint(secret.0.expose())),
    );
    fingerprints.extend(
        secrets
            .journal
            .iter()
            .map(|(_, secret)| fingerprint(secret.0.expose())),
    );
    fingerprints.extend(
        sector
            .iter()
            .map(|(_, secret)| fingerprint(secret.0.expose())),
    );
    Ok(fingerprints)
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
