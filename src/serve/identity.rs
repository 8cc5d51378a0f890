//! The identity source: read, check, open, serve, drain.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::bring::LogBringing;
use super::log_secrets::LogSecrets;
use super::node::{read_set, show_sealed};
use super::upkeep::{KeptParts, ServerStage, ServerUpkeep};
use super::watch::{EntityWatch, WatchingSide};
use super::{
    StartOptions, bind, descriptors, end_offers, end_process, first_start, inspection, limits,
    open_register, prepare_process, refuse_example_keys, runtime, shutdown_signal, start_error,
    tell_origin, watch, writable,
};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::config::{ClientConfig, IdentityConfig, KeyPlace, LogConfig};
use crate::entity::{EntityInForce, InForce};
use crate::http::backups::BackupDoor;
use crate::http::follow::FollowDoor;
use crate::http::identity_door::IdentityRoutes;
use crate::http::{self, Callers, Readiness, mount};
use crate::identity::{IdentityKeyStart, IdentityParts, IdentitySource};
use crate::keys::example::fingerprint;
use crate::keys::file::{FileError, SecretKind};
use crate::keys::memory::Protection;
use crate::keys::{IdentityKeys, IdentitySecret};
use crate::metrics::{Counter, Registry};
use crate::register::Register;
use crate::store::FirstStart;
use crate::terminal::CommandError;
use crate::unseal::holds_identity_alone;

/// Runs the identity source until it is told to stop.
///
/// # Errors
/// When configuration, secrets, register or store are not in order, or a port is taken.
pub fn run_identity(config: &Path, options: StartOptions) -> Result<(), CommandError> {
    let protection = prepare_process(true);
    let config = IdentityConfig::load(config)?;
    let register = open_register(&config.register)?;
    let (mut parts, fingerprints) = identity_parts(&config, register)?;
    parts.log.onlookers = watch::onlookers(&config.log, Some(&config.vault))?;
    refuse_example_keys(&config.tls, &fingerprints, options.allow_example_keys)?;
    descriptors::secure(1, &config.limits)?;
    let first = first_start::permit(&config.store, &config.log, options.first_start)?;
    writable::check(&config.store, &config.log)?;
    runtime()?.block_on(serve_identity(config, parts, first, protection))
}

/// Reads an identity source's secrets, and computes their fingerprints.
pub(super) fn identity_parts(
    config: &IdentityConfig,
    register: Register,
) -> Result<(IdentityParts, Vec<[u8; 32]>), CommandError> {
    let keyring = config.openers.keyring();
    let unread = |e: FileError| CommandError::new(e, "check [secrets] in the configuration");
    let mut fingerprints = vec![];
    let key = match &config.secret {
        KeyPlace::Shares(file) => {
            let set = read_set(file)?;
            if !holds_identity_alone(&set) {
                return Err(CommandError::new(
                    format_args!(
                        "{}: is not a set of the identity secret alone",
                        file.display()
                    ),
                    "name the set that `cloison identity split` wrote",
                ));
            }
            IdentityKeyStart::Shared(set)
        }
        KeyPlace::Own(deposit) => {
            let secret = keyring
                .read(deposit, SecretKind::Identity)
                .map_err(unread)?;
            fingerprints.push(fingerprint(secret.expose()));
            IdentityKeyStart::Open(IdentityKeys::new(&IdentitySecret(secret)))
        }
    };
    let places = [&config.audit, &config.journal, &config.checkpoint];
    let own = LogSecrets::read(&keyring, places).map_err(unread)?;
    fingerprints.extend(own.fingerprints());
    let parts = IdentityParts {
        register,
        identity: config.identity.clone(),
        key,
        times: config.seal,
        audit: own.audit,
        journal: own.journal,
        log: watch::log_parts(own.checkpoint, &config.log),
    };
    Ok((parts, fingerprints))
}

async fn serve_identity(
    config: IdentityConfig,
    parts: IdentityParts,
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
    let (store, version) = (config.store.clone(), parts.register.version);
    let open = move || {
        let clock = Arc::new(SystemClock);
        IdentitySource::open(&store, parts, clock, Box::new(end_process))
    };
    let source = tokio::task::spawn_blocking(open).await.map_err(|_| {
        CommandError::new(
            "the identity source failed while it started",
            "see the log above",
        )
    })?;
    let source = InForce::new(source.map_err(start_error)?);
    first_start::end(first, &config.store)?;
    tell_origin(&config.store);
    let other = (&config.log, &config.vault);
    let WatchingSide {
        vault: peer,
        cosigners,
        asking: _asking,
        mut callers,
    } = watch::watching(&source.entity(), other, memory)?;
    let _bringing = bring_log(&source.entity(), other, &readiness, &mut callers)?;
    let inspect = inspection(config.clone(), IdentityConfig::named_files, source.entity());
    let parts = KeptParts {
        acts: vec![],
        tls: &config.tls,
        register: &config.register,
        backup: config.backup.as_ref(),
    };
    let (upkeep, register) = ServerUpkeep::prepare(
        (&source, version),
        parts,
        callers,
        inspect,
        (&tls, &readiness, &registry),
    )?;
    let backups = upkeep.backups.clone();
    let routes = IdentityRoutes {
        source: source.clone(),
        vault: peer.clone(),
    };
    let router = mount::identity(
        routes,
        register,
        BackupDoor::new(source.entity(), backups.clone()),
        FollowDoor::new(source.entity(), None),
        readiness.clone(),
    );
    let callers = Callers::Registered(tls, source.entity());
    let control = limits(&config.limits);
    let listeners = vec![bind("control", config.control, callers, router, control)?];
    tracing::info!(
        control = %config.control,
        health = %config.health,
        identity = %config.identity,
        "the identity source serves"
    );
    show_sealed(source.get().safe(), &readiness);
    watch::watch_vault_once(peer.clone(), &config.vault.url).await;
    readiness.clear("starting");
    let (entity, ready) = (source.entity(), readiness.clone());
    let watch = EntityWatch::new(entity.clone(), cosigners, config.reserve, ready, &registry);
    let keeping = keep_source(source.clone(), readiness.clone(), registry.clone());
    let tasks = [
        tokio::spawn(keeping).abort_handle(),
        tokio::spawn(watch::watch_side(entity.clone(), peer, watch)).abort_handle(),
    ];
    let kept_up = upkeep.start(&readiness, &registry);
    drop(source);
    let shutdown = end_offers(shutdown, entity);
    http::serve(listeners, Some(health), &readiness, &registry, shutdown).await;
    let tasks = tasks.iter().chain(&kept_up.tasks);
    tasks.for_each(AbortHandle::abort);
    backups.iter().for_each(|keeper| keeper.end());
    tracing::info!("the identity source has stopped");
    Ok(())
}

/// Brings the source's log to the vault and the witnesses that keep it.
fn bring_log(
    source: &EntityInForce,
    (log, vault): (&LogConfig, &ClientConfig),
    readiness: &Arc<Readiness>,
    callers: &mut Vec<Client>,
) -> Result<LogBringing, CommandError> {
    let mut bringing = LogBringing::to_witnesses(source, log, readiness, callers)?;
    bringing.bring_to_vault(vault, callers)?;
    Ok(bringing)
}

/// What the source counts, as `/metrics` shows it.
struct IdentityFigures {
    derived: Arc<Counter>,
    refused: Arc<Counter>,
    alarms: Arc<Counter>,
}

impl IdentityFigures {
    fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, None);
        Self {
            derived: counter("cloison_utis_derived_total", "UTIs answered to the vault"),
            refused: counter(
                "cloison_uti_parts_refused_total",
                "Parts of the vault's requests that were refused",
            ),
            alarms: counter(
                "cloison_uti_alarms_total",
                "Unusual hours of a holder of a quota that were noticed",
            ),
        }
    }

    fn show(&self, source: &IdentitySource) {
        let counts = source.counts();
        let advance = |shown: &Counter, counted: &AtomicU64| {
            shown.add(counted.load(Ordering::Relaxed) - shown.get());
        };
        advance(&self.derived, &counts.derived);
        advance(&self.refused, &counts.refused);
        advance(&self.alarms, &counts.alarms);
    }
}

/// Seals the secret when its time is over, shows on `/readyz` whether it is sealed, and updates the
/// figures.
async fn keep_source(
    source: InForce<IdentitySource>,
    readiness: Arc<Readiness>,
    registry: Arc<Registry>,
) {
    let figures = IdentityFigures::new(&registry);
    let help = "1: the identity source does not hold its secret";
    let sealed = registry.gauge("cloison_sealed_keys", help, None);
    let beats_an_hour = 5 * 3_600;
    for beat in 0_u64.. {
        let source = source.get();
        let timed = source.clone();
        // Sealing waits until its entry is durable.
        let keep = move || {
            crate::unseal::keep_time(&*timed);
            if beat.is_multiple_of(beats_an_hour) {
                timed.forget_old_hours();
            }
        };
        let _ = tokio::task::spawn_blocking(keep).await;
        sealed.set(show_sealed(source.safe(), &readiness) as i64);
        figures.show(&source);
        drop(source);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
