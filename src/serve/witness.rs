//! `cloison witness serve`: the commission's own process, which cosigns the logs of others.

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use tokio::task::AbortHandle;

use super::{
    bind, descriptors, first_start, follow, health_listener, keep_tls, limits, prepare_process,
    read_tls, runtime, shutdown_signal,
};
use crate::access;
use crate::audit::origin::{AcknowledgedLogs, TrustedLogKey};
use crate::certificates::TlsInspection;
use crate::clock::{Clock as _, SystemClock};
use crate::config::WitnessConfig;
use crate::http::witness::{self, KeptLogs, WitnessDoor};
use crate::http::{self, Callers, KeyCheck, Readiness};
use crate::journal::followed::FollowerKey;
use crate::journal::followed_logs::FollowedLogs;
use crate::keys::file::read_signing_key;
use crate::metrics::Registry;
use crate::terminal::CommandError;
use crate::tlog::witness::Witness;

/// Runs a witness until it is told to stop.
///
/// # Errors
/// When configuration or key are not in order, or a port is taken.
pub fn run_witness(config: &Path, is_first_start: bool) -> Result<(), CommandError> {
    prepare_process(true);
    let config = WitnessConfig::load(config)?;
    descriptors::secure(1, &config.limits)?;
    first_start::witness_folder(&config.state, is_first_start)?;
    let witness = Arc::new(witness_of(&config)?);
    let kept = kept_logs(&config)?;
    runtime()?.block_on(serve_witness(config, witness, kept))
}

/// The witness of a configuration.
///
/// # Errors
/// When its key cannot be read.
pub fn witness_of(config: &WitnessConfig) -> Result<Witness, CommandError> {
    let key = witness_key(config)?;
    let logs = config.logs.iter();
    let logs = logs.map(|log| TrustedLogKey::Owner(log.owner.clone(), log.public));
    let logs = AcknowledgedLogs(logs.collect());
    let (name, state) = (config.name.as_str(), config.state.clone());
    Ok(Witness::new(name, key, logs, state))
}

fn witness_key(config: &WitnessConfig) -> Result<SigningKey, CommandError> {
    read_signing_key(&config.key)
        .map_err(|error| CommandError::new(error, "check [secrets] in the configuration"))
}

/// The logs that it keeps, if it is told to. It vouches for them under its name, by its key.
fn kept_logs(config: &WitnessConfig) -> Result<Option<KeptLogs>, CommandError> {
    let Some(follow) = &config.follow else {
        return Ok(None);
    };
    let key = FollowerKey {
        name: config.name.clone(),
        key: witness_key(config)?,
    };
    let logs = config.logs.iter();
    Ok(Some(KeptLogs {
        keys: logs.map(|log| (log.owner.clone(), log.public)).collect(),
        folders: Arc::new(FollowedLogs::new(
            follow.path.clone(),
            key,
            follow.daily,
            follow::look_through_daily,
        )),
    }))
}

async fn serve_witness(
    config: WitnessConfig,
    witness: Arc<Witness>,
    kept: Option<KeptLogs>,
) -> Result<(), CommandError> {
    let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
    let health = health_listener(config.health, &readiness, &registry)?;
    let tls = read_tls(&config.tls)?;
    let shutdown = shutdown_signal()?;
    let key = witness.verifier().to_string();
    let named = config.clone();
    let inspect = move || TlsInspection::of(&named.named_files(), None, SystemClock.now());
    let keeper = keep_tls(&config.tls, &tls, vec![], inspect, &readiness, &registry)?;
    let mut tasks = vec![tokio::spawn(keeper.keep(registry.clone(), vec![])).abort_handle()];
    if let Some(kept) = &kept {
        let showing = follow::show_troubles(kept.folders.clone(), readiness.clone());
        tasks.push(tokio::spawn(showing).abort_handle());
    }
    let known = config.callers;
    let callers: KeyCheck = Arc::new(move |key| access::listed(&known, key, SystemClock.now()));
    let clock = Arc::new(SystemClock);
    let listeners = vec![bind(
        "control",
        config.control,
        Callers::Known(tls, callers),
        witness::router(WitnessDoor {
            witness,
            kept,
            clock,
        }),
        limits(&config.limits),
    )?];
    tracing::info!(control = %config.control, health = %config.health, key, "the witness serves");
    readiness.clear("starting");
    http::serve(listeners, Some(health), &readiness, &registry, shutdown).await;
    tasks.iter().for_each(AbortHandle::abort);
    tracing::info!("the witness has stopped");
    Ok(())
}
