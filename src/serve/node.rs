//! The authority node: read, check, open, serve, drain.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::log_secrets::LogSecrets;
use super::upkeep::{KeptParts, ServerStage, ServerUpkeep};
use super::watch::{EntityWatch, WatchingSide};
use super::{
    StartOptions, bind, descriptors, end_offers, end_process, first_start, follow, inspection,
    limits, open_register, prepare_process, refuse_example_keys, runtime, shutdown_signal,
    start_error, tell_origin, tidy, watch, writable,
};
use crate::clock::SystemClock;
use crate::code::Code;
use crate::config::{AuthorityKeyPlace, KeyPlace, NodeConfig};
use crate::entity::InForce;
use crate::execution::step;
use crate::http::backups::BackupDoor;
use crate::http::follow::FollowDoor;
use crate::http::node_door::NodeRoutes;
use crate::http::{self, Callers, Readiness, mount};
use crate::keys::AuthoritySecret;
use crate::keys::example::fingerprint;
use crate::keys::file::{FileError, SecretKind, read_public};
use crate::keys::memory::Protection;
use crate::keys::shares::ShareSet;
use crate::metrics::Registry;
use crate::node::{Node, NodeParts};
use crate::register::{Register, Suite};
use crate::safe::KeySafe;
use crate::seal::segment::AuthorityPrivateKey;
use crate::store::FirstStart;
use crate::terminal::CommandError;

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
pub(super) fn node_parts(
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
    let places = [&config.audit, &config.journal, &config.checkpoint];
    let own = LogSecrets::read(&keyring, places).map_err(unread)?;
    fingerprints.extend(own.fingerprints());
    let parts = NodeParts {
        register,
        authority: config.authority.clone(),
        keys,
        shared,
        times: config.seal,
        segment_keys: config.segment_keys.clone(),
        audit: own.audit,
        journal: own.journal,
        log: watch::log_parts(own.checkpoint, &config.log),
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
    let ServerStage {
        registry,
        readiness,
        health,
        tls,
    } = ServerStage::set(config.health, &config.tls, &protection)?;
    let shutdown = shutdown_signal()?;
    let memory = watch::memory(&config.log, &config.store)?;
    let store = config.store.clone();
    let version = parts.register.version;
    let open = move || Node::open(&store, parts, Arc::new(SystemClock), Box::new(end_process));
    let node = tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| CommandError::new("the node failed while it started", "see the log above"))?
        .map_err(start_error)?;
    first_start::end(first, &config.store)?;
    tell_origin(&config.store);
    let node = InForce::new(node);
    let WatchingSide {
        vault: peer,
        cosigners,
        asking: _asking,
        mut callers,
    } = watch::watching(&node.entity(), (&config.log, &config.vault), memory)?;
    let other = (&config.log, &config.vault);
    let _following = follow::node(&node, other, &readiness, &mut callers)?;
    let inspect = inspection(config.clone(), NodeConfig::named_files, node.entity());
    let parts = KeptParts {
        acts: vec![],
        tls: &config.tls,
        register: &config.register,
        backup: config.backup.as_ref(),
    };
    let (upkeep, register) = ServerUpkeep::prepare(
        (&node, version),
        parts,
        callers,
        inspect,
        (&tls, &readiness, &registry),
    )?;
    let backups = upkeep.backups.clone();
    let routes = NodeRoutes {
        node: node.clone(),
        vault: peer.clone(),
    };
    let door = BackupDoor::new(node.entity(), backups.clone());
    let keeping_in_step = tokio::spawn(keep_in_step(routes.clone())).abort_handle();
    let callers = Callers::Registered(tls, node.entity());
    let listeners = vec![bind(
        "control",
        config.control,
        callers,
        mount::node(
            routes,
            register,
            door,
            FollowDoor::new(node.entity(), None),
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
    show_sealed(node.get().safe(), &readiness);
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
    let ending = node.entity();
    let tasks = [
        keeping_in_step,
        tokio::spawn(tidy::node(node.clone())).abort_handle(),
        tokio::spawn(sealing).abort_handle(),
        tokio::spawn(watch::watch_side(node.entity(), peer, watch)).abort_handle(),
    ];
    let kept_up = upkeep.start(&readiness, &registry);
    let shutdown = end_offers(shutdown, ending);
    http::serve(listeners, Some(health), &readiness, &registry, shutdown).await;
    tasks
        .iter()
        .chain(&kept_up.tasks)
        .for_each(AbortHandle::abort);
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
        let _ = tokio::task::spawn_blocking(move || crate::unseal::keep_time(&*times)).await;
        sealed.set(show_sealed(node.safe(), &readiness) as i64);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Names the sealed keys on `/readyz`. Returns how many there are.
pub(super) fn show_sealed<K>(safe: &KeySafe<K>, readiness: &Readiness) -> usize {
    let sealed = safe.sealed();
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
