//! `cloison witness`: the commission's own process, which cosigns the logs of others.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::serve::{bind, descriptors, health_listener, limits, prepare_process, runtime};
use super::{Error, print, print_json};
use crate::audit::origin::TrustedLogKey;
use crate::clock::SystemClock;
use crate::config::WitnessConfig;
use crate::http::tls::ServerTls;
use crate::http::witness::{self, WitnessDoor};
use crate::http::{self, Callers, Readiness};
use crate::keys::file::read_signing_key;
use crate::metrics::Registry;
use crate::tlog::note::{SignatureKind, Verifier};
use crate::tlog::witness::Witness;

/// Cosign the audit logs of others, as the commission does
#[derive(clap::Subcommand)]
pub enum Command {
    /// Run the witness: it cosigns a checkpoint after it has seen that the log only grew
    Serve(Args),
    /// Print the verifier key by which others know the witness's cosignatures
    Key(KeyArgs),
}

/// What `witness serve` takes.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison witness serve --config witness.toml\n\n\
    It speaks C2SP tlog-witness. docs/operations.md has an example of witness.toml. What it remembers (`[state]`) must not be \
    lost: a witness that forgets can be shown another history.")]
pub struct Args {
    /// The witness's configuration (`witness.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// What `witness key` takes.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison witness key --config witness.toml")]
pub struct KeyArgs {
    /// The witness's configuration (`witness.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When configuration or key are not in order, or a port is taken.
pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Serve(args) => serve(&args.config),
        Command::Key(args) => {
            let config = load(&args.config)?;
            let key = read_signing_key(&config.key).map_err(|e| Error::new(e, "check [secrets]"))?.verifying_key();
            let verifier = Verifier::new(config.name.as_str(), SignatureKind::Cosigner, key).to_string();
            let public = crate::keys::file::public_key_text(&key);
            match args.json {
                true => print_json(&serde_json::json!({"name": config.name, "public": public, "verifier": verifier})),
                false => print(verifier),
            }
        }
    }
}

fn load(path: &std::path::Path) -> Result<WitnessConfig, Error> {
    WitnessConfig::load(path).map_err(|error| Error::new(error, "correct the file and start again"))
}

fn serve(path: &std::path::Path) -> Result<(), Error> {
    prepare_process(true);
    let config = load(path)?;
    let key =
        read_signing_key(&config.key).map_err(|error| Error::new(error, "check [secrets] in the configuration"))?;
    descriptors::secure(1, &config.limits)?;
    let folder = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&config.state);
    folder.map_err(|error| Error::file(&config.state, &error))?;
    let logs = config.logs.iter().map(|log| TrustedLogKey::Owner(log.owner.clone(), log.public)).collect::<Vec<_>>();
    let witness = Arc::new(Witness::new(config.name.as_str(), key, logs, config.state.clone()));
    runtime()?.block_on(async move {
        let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
        let health = health_listener(config.health, &readiness, &registry)?;
        let tls = ServerTls::read(&config.tls).map_err(|e| Error::new(e, "check [tls] in the configuration"))?;
        let shutdown = http::terminated().map_err(|e| Error::new(e, "check the system's signal settings"))?;
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
