//! `cloison serve` and `cloison authority serve`: read, check, open, serve, drain.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::Error;
use crate::audit::checkpoint::cosigner_name;
use crate::audit::cosign::{Asking, Cosigners, Quorum, Watcher};
use crate::audit::log::{Log, LogParts};
use crate::audit::note::{Kind, Verifier};
use crate::audit::second::SecondPlace;
use crate::audit::verify::Trusted;
use crate::audit::witness::Witness;
use crate::client::peer::Peer;
use crate::client::{Client, Timeouts};
use crate::clock::SystemClock;
use crate::config::{LimitConfig, LogConfig, NodeConfig, RegisterFiles, TlsFiles, VaultConfig, WatcherConfig};
use crate::http::cosign::{self, Watching};
use crate::http::data::DataDoor;
use crate::http::node::NodeDoor;
use crate::http::{self, Limits, Listener, Readiness, control, data, health, tls};
use crate::keys::example::{fingerprint, fingerprint_of_spki, is_example};
use crate::keys::file::{SecretKind, read_secret, read_signing_key};
use crate::keys::shelf::{SecretFolder, read_versions};
use crate::keys::{AuditSecret, AuthoritySecret, IdentitySecret, StoreSecret};
use crate::metrics::Registry;
use crate::node::{Node, NodeParts};
use crate::register::{OpenError, Register};
use crate::seal::segment::AuthorityPrivateKey;
use crate::store::StoreError;
use crate::vault::{Vault, VaultSecrets};

/// Run the vault: derives pseudonyms, stores sealed mappings, releases them under an order.
#[derive(clap::Args)]
pub struct Args {
    /// The vault's configuration (`vault.toml`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Open a new epoch for this sector, because the register changed its granularity, text form or reversibility.
    #[arg(long, value_name = "SECTOR")]
    advance: Vec<String>,
    /// Take the published keys of keys-example/: for trying things out, never for a person's data.
    #[arg(long)]
    allow_example_keys: bool,
}

/// The authority's own process.
#[derive(clap::Subcommand)]
pub enum Authority {
    /// Run the authority node: opens mappings that the vault releases under an order.
    Serve(NodeArgs),
}

/// Run the authority node.
#[derive(clap::Args)]
pub struct NodeArgs {
    /// The node's configuration (`node.toml`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Take the published keys of keys-example/: for trying things out, never for a person's data.
    #[arg(long)]
    allow_example_keys: bool,
}

/// Runs the vault until it is told to stop.
///
/// # Errors
/// When configuration, keys, register or store are not in order, or a port is taken.
pub fn run(args: Args) -> Result<(), Error> {
    prepare_process();
    let config = VaultConfig::load(&args.config).map_err(|e| Error::new(e, "correct the file and start again"))?;
    let register = open_register(&config.register)?;
    let secrets = read_vault_secrets(&config)?;
    refuse_example_keys(&config.tls, &vault_fingerprints(&secrets)?, args.allow_example_keys)?;
    runtime()?.block_on(serve_vault(config, register, secrets, args.advance))
}

async fn serve_vault(
    config: VaultConfig,
    register: Register,
    secrets: VaultSecrets,
    advance: Vec<String>,
) -> Result<(), Error> {
    let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
    let health = health_listener(config.health, &readiness, &registry)?;
    let tls = tls::server_config(&config.tls).map_err(|e| Error::new(e, "check [tls] in the configuration"))?;
    let shutdown = http::terminated().map_err(|e| Error::new(e, "check the system's signal settings"))?;

    // Health answers while the index is rebuilt; the doors open when it is complete.
    let store = config.store.clone();
    let shown = readiness.clone();
    let open = tokio::task::spawn_blocking(move || {
        let progress = move |what: &'static str, count: u64| {
            if count % 100_000 < 256 {
                shown.set("starting", format!("rebuilding the index: {count} {what}"));
            }
        };
        Vault::open(&store, register, secrets, &advance, Arc::new(SystemClock), &progress, Box::new(poisoned))
    });
    let serving_health = tokio::spawn({
        let (readiness, registry) = (readiness.clone(), registry.clone());
        async move { http::serve(vec![], Some(health), &readiness, &registry, std::future::pending()).await }
    });
    let vault = open
        .await
        .map_err(|_| Error::new("the vault failed while it started", "see the log above"))?
        .map_err(|e| Error::new(e, "nothing was changed; see docs/operations.md"))?;
    let vault = Arc::new(vault);
    let (watching, _asking) = watch_vault(&vault, &config)?;
    let door = DataDoor::new(vault.clone(), &registry, config.bodies);
    let listeners = vec![
        bind("data", config.data, &tls, data::router(door), &config.limits)?,
        bind(
            "control",
            config.control,
            &tls,
            control::router(vault.clone()).merge(cosign::router(watching.clone())),
            &config.limits,
        )?,
    ];
    tracing::info!(
        data = %config.data,
        control = %config.control,
        health = %config.health,
        mappings = vault.index().len(),
        "the vault serves"
    );
    readiness.clear("starting");
    let housekeeping = tokio::spawn(keep_house(watching, config.reserve, readiness.clone(), registry.clone()));
    http::serve(listeners, None, &readiness, &registry, shutdown).await;
    housekeeping.abort();
    serving_health.abort();
    tracing::info!("the vault has stopped");
    Ok(())
}

/// Watches the disk, wipes data keys whose time is over, brings the gauges up to date.
async fn keep_house(watching: Arc<Watching>, reserve: u64, readiness: Arc<Readiness>, registry: Arc<Registry>) {
    let vault = &watching.vault;
    let mappings = registry.gauge("cloison_mappings", "Mappings that the index knows", None);
    let index_bytes = registry.gauge("cloison_index_bytes", "Memory of the index", None);
    loop {
        vault.watch_space(reserve);
        match vault.is_short_of_space() {
            true => readiness.set("space", "the disk is nearly full: batches are refused"),
            false => readiness.clear("space"),
        }
        say_of_log(vault.log(), &watching.cosigners, &readiness);
        vault.sweep();
        mappings.set(vault.index().len() as i64);
        index_bytes.set(vault.index().bytes() as i64);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What keeps the log from being published or believed.
fn say_of_log(log: &Log, cosigners: &Cosigners, readiness: &Readiness) {
    match log.trouble() {
        Some(why) => readiness.set("audit", format!("no checkpoint can be published: {why}")),
        None => readiness.clear("audit"),
    }
    match cosigners.lack() {
        Some(why) => readiness.set("witnesses", why),
        None => readiness.clear("witnesses"),
    }
}

/// How long who watches may let us wait.
const WATCHING: Timeouts = Timeouts { connect: Duration::from_secs(5), step: Duration::from_secs(10) };

/// The witnesses that a configuration names.
fn watchers(config: &LogConfig) -> Result<Vec<Watcher>, Error> {
    let watcher = |witness: &WatcherConfig| {
        let client = Client::with_timeouts(&witness.client, WATCHING)
            .map_err(|error| Error::new(error, "check [[audit.witness]] in the configuration"))?;
        let verifier = Verifier::new(witness.name.as_str(), Kind::Cosigner, witness.public);
        Ok(Watcher { verifier, ask: Some(Box::new(client)), counts: true })
    };
    config.witnesses.iter().map(watcher).collect()
}

fn cosigners(watchers: Vec<Watcher>, log: &Arc<Log>, config: &LogConfig) -> Result<(Arc<Cosigners>, Asking), Error> {
    let quorum = Quorum { required: config.required, within: config.within };
    if quorum.required > 0 {
        log.prefer_cosigned();
    }
    let cosigners = Cosigners::new(watchers, quorum, Arc::new(SystemClock));
    let asking = cosigners.start(log.clone()).map_err(|error| Error::new(error, "check the limits on threads"))?;
    Ok((cosigners, asking))
}

/// A witness of the other side's log that remembers beside our own store.
fn witness_of(
    owner: &str,
    key: SigningKey,
    logs: Vec<Trusted>,
    config: &LogConfig,
    store: &Path,
) -> Result<Witness, Error> {
    let folder = config.cosigned.clone().unwrap_or_else(|| store.with_extension("cosigned"));
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder);
    made.map_err(|error| Error::file(&folder, &error))?;
    Ok(Witness::new(cosigner_name(owner), key, logs, folder))
}

/// Vault and nodes watch each other, and witnesses watch the vault.
fn watch_vault(vault: &Arc<Vault>, config: &VaultConfig) -> Result<(Arc<Watching>, Asking), Error> {
    let deployment = &vault.register().deployment;
    let mut all = watchers(&config.log)?;
    let mut logs = vec![];
    for authority in vault.register().authorities.values() {
        let Some(key) = authority.checkpoint_key else { continue };
        let owner = format!("{deployment}/node/{}", authority.id);
        let verifier = Verifier::new(cosigner_name(&owner), Kind::Cosigner, key);
        all.push(Watcher { verifier, ask: None, counts: false });
        logs.push(Trusted::Owner(owner, key));
    }
    let key = read_signing_key(&config.secrets.checkpoint).map_err(|e| Error::new(e, "check [secrets]"))?;
    let witness = witness_of(vault.log().owner(), key, logs, &config.log, &config.store)?;
    let (cosigners, asking) = cosigners(all, vault.log(), &config.log)?;
    vault.watch(cosigners.clone());
    Ok((Arc::new(Watching { vault: vault.clone(), witness: Arc::new(witness), cosigners }), asking))
}

/// The node's side of the same: it dials, for both.
fn watch_node(node: &Arc<Node>, config: &NodeConfig) -> Result<(Arc<Peer>, Arc<Cosigners>, Asking), Error> {
    let hint = "check [vault] in the configuration";
    let client = || Client::with_timeouts(&config.vault, WATCHING).map_err(|e| Error::new(e, hint));
    let owner = format!("{}/vault", node.register().deployment);
    let mut all = watchers(&config.log)?;
    let mut logs = vec![];
    if let Some(key) = node.register().vault_checkpoint_key {
        let verifier = Verifier::new(cosigner_name(&owner), Kind::Cosigner, key);
        all.push(Watcher { verifier, ask: Some(Box::new(client()?)), counts: false });
        logs.push(Trusted::Owner(owner, key));
    }
    let key = read_signing_key(&config.checkpoint).map_err(|e| Error::new(e, "check [secrets]"))?;
    let witness = witness_of(node.log().owner(), key, logs, &config.log, &config.store)?;
    let (cosigners, asking) = cosigners(all, node.log(), &config.log)?;
    node.watch(cosigners.clone());
    Ok((
        Arc::new(Peer::new(
            Client::new(&config.vault).map_err(|e| Error::new(e, hint))?,
            client()?,
            witness,
            Arc::new(SystemClock),
        )),
        cosigners,
        asking,
    ))
}

/// How often the node watches the vault's log without being asked for anything.
const WATCH: Duration = Duration::from_secs(60);

/// Runs the authority node until it is told to stop.
///
/// # Errors
/// When configuration, keys, register or store are not in order, or a port is taken.
pub fn run_authority(command: Authority) -> Result<(), Error> {
    let Authority::Serve(args) = command;
    prepare_process();
    let config = NodeConfig::load(&args.config).map_err(|e| Error::new(e, "correct the file and start again"))?;
    let register = open_register(&config.register)?;
    let hint = "check [[key]] and [secrets] in the configuration";
    let mut fingerprints = Vec::new();
    let mut keys = Vec::new();
    for entry in &config.keys {
        let secret = AuthoritySecret(read_secret(&entry.file, SecretKind::Authority).map_err(|e| Error::new(e, hint))?);
        fingerprints.push(fingerprint(secret.0.expose()));
        keys.push(AuthorityPrivateKey::derive(&secret, entry.id.as_str()));
    }
    let audit = AuditSecret(read_secret(&config.audit, SecretKind::Audit).map_err(|e| Error::new(e, hint))?);
    fingerprints.push(fingerprint(audit.0.expose()));
    let checkpoint = read_signing_key(&config.checkpoint).map_err(|e| Error::new(e, hint))?;
    fingerprints.push(fingerprint(checkpoint.as_bytes()));
    refuse_example_keys(&config.tls, &fingerprints, args.allow_example_keys)?;
    let segment_keys = config.segment_keys.clone();
    let log = log_parts(checkpoint, &config.log);
    let parts = NodeParts { register, authority: config.authority.clone(), keys, segment_keys, audit, log };
    runtime()?.block_on(serve_node(config, parts))
}

async fn serve_node(config: NodeConfig, parts: NodeParts) -> Result<(), Error> {
    let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
    let health = health_listener(config.health, &readiness, &registry)?;
    let tls = tls::server_config(&config.tls).map_err(|e| Error::new(e, "check [tls] in the configuration"))?;
    let shutdown = http::terminated().map_err(|e| Error::new(e, "check the system's signal settings"))?;
    let store = config.store.clone();
    let open = move || Node::open(&store, parts, Arc::new(SystemClock), Box::new(poisoned));
    let node = tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| Error::new("the node failed while it started", "see the log above"))?
        .map_err(|e| Error::new(e, "nothing was changed; see docs/operations.md"))?;
    let node = Arc::new(node);
    let (peer, cosigners, _asking) = watch_node(&node, &config)?;
    let door = Arc::new(NodeDoor { node: node.clone(), vault: peer.clone() });
    let listeners = vec![bind("control", config.control, &tls, http::node::router(door), &config.limits)?];
    tracing::info!(
        control = %config.control,
        health = %config.health,
        authority = %config.authority,
        "the authority node serves"
    );
    readiness.clear("starting");
    let watching = tokio::spawn(async move {
        loop {
            let peer = peer.clone();
            let exchanged = tokio::task::spawn_blocking(move || peer.exchange()).await;
            if let Ok(Err(why)) = exchanged {
                tracing::warn!(%why, "the vault's log was not watched");
            }
            tokio::time::sleep(WATCH).await;
        }
    });
    let shown = readiness.clone();
    let housekeeping = tokio::spawn(async move {
        loop {
            say_of_log(node.log(), &cosigners, &shown);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    http::serve(listeners, Some(health), &readiness, &registry, shutdown).await;
    watching.abort();
    housekeeping.abort();
    tracing::info!("the authority node has stopped");
    Ok(())
}

/// A write failed: what the disk holds is unknown, so nothing more may be acknowledged by this process.
fn poisoned(error: &StoreError) {
    tracing::error!(%error, "a write failed; stopping, because nothing more could be acknowledged");
    std::process::exit(70);
}

/// Logging to standard error, files for the owner alone, and no core dumps: they would hold every secret. A file-size limit
/// is to fail the write, which is then reported, and not to end the process without a word.
pub(super) fn prepare_process() {
    super::log::start();
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls take plain values; `none` outlives its call.
    unsafe {
        libc::umask(0o077);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(error, "check the limits on threads and memory"))
}

pub(super) fn bind(
    name: &'static str,
    address: std::net::SocketAddr,
    tls: &Arc<rustls::ServerConfig>,
    router: axum::Router,
    limits: &LimitConfig,
) -> Result<Listener, Error> {
    let limits = Limits { connections: limits.connections, drain: limits.drain, ..Limits::default() };
    Listener::bind(name, address, Some(tls.clone()), router, limits).map_err(|error| unbound(name, address, &error))
}

pub(super) fn health_listener(
    address: std::net::SocketAddr,
    readiness: &Arc<Readiness>,
    registry: &Arc<Registry>,
) -> Result<Listener, Error> {
    let router = health::router(readiness.clone(), registry.clone());
    Listener::bind("health", address, None, router, Limits::default())
        .map_err(|error| unbound("health", address, &error))
}

fn unbound(name: &str, address: std::net::SocketAddr, error: &std::io::Error) -> Error {
    Error::new(
        format_args!("the {name} listener cannot have {address}: {error}"),
        "stop what listens there, or choose another address in the configuration",
    )
}

/// Reads the register, checks its signatures against the pinned keys, validates it whole.
pub(super) fn open_register(files: &RegisterFiles) -> Result<Register, Error> {
    crate::register::sign::open(&files.file, &files.signatures, &files.pins).map_err(|error| {
        let hint = match &error {
            OpenError::Read { .. } => "check [register] in the configuration",
            OpenError::Signatures { .. } => "a register needs its signatures: see `cloison register sign --help`",
            OpenError::Faults { .. } => "correct the register (`cloison check`) and have it signed again",
        };
        Error::new(error, hint)
    })
}

pub(super) fn read_vault_secrets(config: &VaultConfig) -> Result<VaultSecrets, Error> {
    let read = || {
        let files = &config.secrets;
        let store = read_versions(&files.store, SecretKind::Store)?;
        Ok(VaultSecrets {
            identity: IdentitySecret(read_secret(&files.identity, SecretKind::Identity)?),
            audit: AuditSecret(read_secret(&files.audit, SecretKind::Audit)?),
            store: store.into_iter().map(|(version, key)| (version, StoreSecret(key))).collect(),
            sector: Box::new(SecretFolder(files.sector.clone())),
            segment: read_signing_key(&files.segment)?,
            log: log_parts(read_signing_key(&files.checkpoint)?, &config.log),
        })
    };
    read().map_err(|e: crate::keys::file::FileError| Error::new(e, "check [secrets] in the configuration"))
}

fn log_parts(key: SigningKey, config: &LogConfig) -> LogParts {
    LogParts { second: config.second.clone().map(SecondPlace::new), ..LogParts::new(key) }
}

fn vault_fingerprints(secrets: &VaultSecrets) -> Result<Vec<[u8; 32]>, Error> {
    let sector = secrets.sector.load().map_err(|e| Error::new(e, "check [secrets] in the configuration"))?;
    let mut fingerprints = vec![
        fingerprint(secrets.identity.0.expose()),
        fingerprint(secrets.audit.0.expose()),
        fingerprint(secrets.segment.as_bytes()),
        fingerprint(secrets.log.key.as_bytes()),
    ];
    fingerprints.extend(secrets.store.iter().map(|(_, secret)| fingerprint(secret.0.expose())));
    fingerprints.extend(sector.iter().map(|(_, secret)| fingerprint(secret.0.expose())));
    Ok(fingerprints)
}

/// Keys that everybody has protect nobody.
fn refuse_example_keys(tls: &TlsFiles, fingerprints: &[[u8; 32]], allowed: bool) -> Result<(), Error> {
    let hint = "check [tls] in the configuration";
    let certificate = tls::spki_digest_of_file(&tls.certificate).map_err(|e| Error::new(e, hint))?;
    let found = fingerprints.iter().any(is_example) || is_example(&fingerprint_of_spki(&certificate.0));
    match (found, allowed) {
        (false, _) => Ok(()),
        (true, true) => {
            tracing::warn!("running on the published keys of keys-example: for trying things out only");
            Ok(())
        }
        (true, false) => Err(Error::new(
            "these are the published keys of keys-example/, which everybody has",
            "make keys of your own with `cloison init DIR`; to try things out, add --allow-example-keys",
        )),
    }
}
