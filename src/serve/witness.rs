//! `cloison witness serve`: the commission's own process, which cosigns the logs of others.

use std::path::Path;
use std::sync::Arc;

use super::{bind, descriptors, first_start, health_listener, limits, prepare_process, runtime};
use crate::audit::origin::TrustedLogKey;
use crate::clock::SystemClock;
use crate::config::WitnessConfig;
use crate::http::tls::ServerTls;
use crate::http::witness::{self, WitnessDoor};
use crate::http::{self, Callers, Readiness};
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
    let key = read_signing_key(&config.key)
        .map_err(|error| CommandError::new(error, "check [secrets] in the configuration"))?;
    descriptors::secure(1, &config.limits)?;
    first_start::witness_folder(&config.state, is_first_start)?;
    let logs = config
        .logs
        .iter()
        .map(|log| TrustedLogKey::Owner(log.owner.clone(), log.public))
        .collect::<Vec<_>>();
    let witness = Arc::new(Witness::new(
        config.name.as_str(),
        key,
        logs,
        config.state.clone(),
    ));
    runtime()?.block_on(async move {
        let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
        let health = health_listener(config.health, &readiness, &registry)?;
        let tls = ServerTls::read(&config.tls).map_err(|e| CommandError::new(e, "check [tls] in the configuration"))?;
        let shutdown = http::termination().map_err(|e| CommandError::new(e, "check the system's signal settings"))?;
        let key = witness.verifier().to_string();
        let door = WitnessDoor { witness, clock: Arc::new(SystemClock) };
        let listeners = vec![bind(
            "control",
            config.control,
            Callers::Certified(tls),
            witness::router(door),
            limits(&config.limits),
        )?];
        tracing::info!(control = %config.control, health = %config.health, key, "the witness serves");
        readiness.clear("starting");
        http::serve(listeners, Some(health), &readiness, &registry, shutdown).await;
        tracing::info!("the witness has stopped");
        Ok(())
    })
}
