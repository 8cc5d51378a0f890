//! The vault: read, check, open, serve, drain.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::bring::LogBringing;
use super::figures::PersonFigures;
use super::identity_form::{IdentityForm, watch_sources};
use super::log_secrets::LogSecrets;
use super::upkeep::{KeptParts, ServerStage, ServerUpkeep};
use super::watch::{EntityWatch, WatchedSide};
use super::{
    StartOptions, bind, descriptors, end_offers, end_process, first_start, follow, inspection,
    limits, open_register, prepare_process, refuse_example_keys, runtime, shutdown_signal,
    start_error, tell_origin, tidy, watch, writable,
};
use crate::clock::SystemClock;
use crate::config::VaultConfig;
use crate::entity::InForce;
use crate::http::backups::BackupDoor;
use crate::http::data::DataDoor;
use crate::http::follow::FollowDoor;
use crate::http::mount::VaultRouters;
use crate::http::{self, Callers, Limits, Listener, Readiness, mount};
use crate::identity_link::SourceWatcher;
use crate::keys::StoreSecret;
use crate::keys::example::fingerprint;
use crate::keys::file::{FileError, SecretKind};
use crate::keys::memory::Protection;
use crate::keys::sector_secrets::SectorSecretDeposit;
use crate::metrics::{PERSONS, Registry, coarse};
use crate::order::book::Book;
use crate::register::Register;
use crate::rights::erase::scrub;
use crate::store::FirstStart;
use crate::terminal::CommandError;
use crate::vault::{SectorAdvance, Vault, VaultHome, VaultSecrets};

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
    let ReadSecrets {
        mut secrets,
        fingerprints,
        sources,
    } = read_vault_secrets(&config, &register)?;
    secrets.log.onlookers = watch::onlookers(&config.log, None)?;
    refuse_example_keys(&config.tls, &fingerprints, options.allow_example_keys)?;
    descriptors::secure(2, &config.limits)?;
    let first = first_start::permit(&config.store, &config.log, options.first_start)?;
    writable::check(&config.store, &config.log)?;
    runtime()?.block_on(serve_vault(
        config, register, secrets, sources, advance, first, protection,
    ))
}

async fn serve_vault(
    config: VaultConfig,
    register: Register,
    secrets: VaultSecrets,
    sources: Option<SourceWatcher>,
    advance: Vec<SectorAdvance>,
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
    // The health listener answers while the index is rebuilt. The others are bound when it is
    // complete.
    let serving_health = tokio::spawn({
        let (readiness, registry) = (readiness.clone(), registry.clone());
        async move {
            let never = std::future::pending();
            http::serve(vec![], Some(health), &readiness, &registry, never).await
        }
    });
    let version = register.version;
    let vault = open_vault(&config, register, secrets, advance, &readiness).await?;
    sources.iter().for_each(|sources| sources.follow(&vault));
    first_start::end(first, &config.store)?;
    tell_origin(&config.store);
    prepare_copies(vault.get()).await?;
    vault
        .get()
        .know_former_segment_keys(config.former_segment_keys.clone());
    let WatchedSide {
        door: cosigning,
        asking: _asking,
        mut callers,
    } = watch::vault(&vault, &config, memory)?;
    let entity = vault.entity();
    let _bringing = LogBringing::to_witnesses(&entity, &config.log, &readiness, &mut callers)?;
    let inspect = inspection(config.clone(), VaultConfig::named_files, vault.entity());
    let parts = KeptParts {
        acts: vec![Arc::new(vault.clone())],
        tls: &config.tls,
        register: &config.register,
        backup: config.backup.as_ref(),
    };
    let (upkeep, register) = ServerUpkeep::prepare(
        (&vault, version),
        parts,
        callers,
        inspect,
        (&tls, &readiness, &registry),
    )?;
    let backups = upkeep.backups.clone();
    let watch = EntityWatch::new(
        vault.entity(),
        cosigning.cosigners.clone(),
        config.reserve,
        readiness.clone(),
        &registry,
    );
    let followed = follow::followed_logs(&config.log, &vault.entity());
    let routers = mount::vault(
        DataDoor::new(vault.clone(), &registry),
        cosigning,
        register,
        BackupDoor::new(vault.entity(), backups.clone()),
        FollowDoor::new(vault.entity(), followed.clone()),
        readiness.clone(),
    );
    let callers = Callers::Registered(tls, vault.entity());
    let listeners = vault_listeners(&config, routers, callers)?;
    tracing::info!(
        data = %config.data,
        control = %config.control,
        health = %config.health,
        mappings = %in_whole_steps(vault.get().index().len()),
        "the vault serves"
    );
    readiness.clear("starting");
    let counted = vault.get();
    tokio::task::spawn_blocking(move || warn_of_stranded_segments(&counted));
    let showing = followed.map(|kept| follow::show_troubles(kept, readiness.clone()));
    let showing = showing.map(|showing| tokio::spawn(showing).abort_handle());
    let tasks = [
        serving_health.abort_handle(),
        tokio::spawn(tidy::vault(vault.clone())).abort_handle(),
        tokio::spawn(keep_house(vault.clone(), watch, registry.clone())).abort_handle(),
        tokio::spawn(watch_sources(sources, readiness.clone(), registry.clone())).abort_handle(),
    ];
    let kept_up = upkeep.start(&readiness, &registry);
    let shutdown = end_offers(shutdown, vault.entity());
    http::serve(listeners, None, &readiness, &registry, shutdown).await;
    let tasks = tasks.iter().chain(&kept_up.tasks).chain(&showing);
    tasks.for_each(AbortHandle::abort);
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

/// How many mappings there are, as a log may tell it.
fn in_whole_steps(mappings: u64) -> String {
    match coarse(mappings, PERSONS) {
        0 => format!("below {PERSONS}"),
        steps => steps.to_string(),
    }
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

/// The vault's secrets, and what their files are.
pub(super) struct ReadSecrets {
    pub(super) secrets: VaultSecrets,
    pub(super) fingerprints: Vec<[u8; 32]>,
    /// Shows how the identity sources are, where the identity secret lies with them.
    pub(super) sources: Option<SourceWatcher>,
}

/// Reads the vault's secrets, and begins to connect to the identity sources.
pub(super) fn read_vault_secrets(
    config: &VaultConfig,
    register: &Register,
) -> Result<ReadSecrets, CommandError> {
    let keyring = Arc::new(config.openers.keyring());
    let of_file =
        |error: FileError| CommandError::new(error, "check [secrets] in the configuration");
    let IdentityForm {
        source,
        fingerprint,
        sources,
    } = IdentityForm::open(&config.secrets.identity, &keyring, register)?;
    let read = || {
        let places = &config.secrets;
        let sector = SectorSecretDeposit::new(places.sector.clone(), keyring.clone());
        let store = keyring.read_versions(&places.store, SecretKind::Store)?;
        let own = [&places.audit, &places.journal, &places.checkpoint];
        let own = LogSecrets::read(&keyring, own)?;
        let mut fingerprints: Vec<_> = own.fingerprints().chain(fingerprint).collect();
        let secrets = VaultSecrets {
            identity: source,
            audit: own.audit,
            segment: keyring.read_signing_key(&places.segment, SecretKind::Segment)?,
            store: store
                .into_iter()
                .map(|(version, key)| (version, StoreSecret(key)))
                .collect(),
            journal: own.journal,
            sector: Box::new(sector),
            log: watch::log_parts(own.checkpoint, &config.log),
        };
        fingerprints.extend(mapping_fingerprints(&secrets)?);
        Ok(ReadSecrets {
            secrets,
            fingerprints,
            sources,
        })
    };
    read().map_err(of_file)
}

/// The fingerprints of the secrets that seal and derive.
fn mapping_fingerprints(secrets: &VaultSecrets) -> Result<Vec<[u8; 32]>, FileError> {
    let sector = secrets.sector.load()?;
    let mut fingerprints = vec![fingerprint(secrets.segment.as_bytes())];
    fingerprints.extend(
        secrets
            .store
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_says_that_a_store_with_a_few_mappings_has_none() {
        assert_eq!(in_whole_steps(25), format!("below {PERSONS}"));
        assert_eq!(in_whole_steps(PERSONS + 1), PERSONS.to_string());
    }
}
