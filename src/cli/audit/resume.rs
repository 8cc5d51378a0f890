//! `cloison audit resume`: after a restore that lost entries.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::audit::log::{Log, LogError, LogParts};
use crate::audit::second::SecondPlace;
use crate::cli::assent::{Assent, Irreversible};
use crate::cli::{Error, check, print, print_json, read_text};
use crate::clock::{Clock as _, SystemClock};
use crate::commit::Committer;
use crate::commit::small::SmallChunks;
use crate::config::{NodeConfig, VaultConfig};
use crate::keys::custody::{Deposit, Keyring};
use crate::keys::file::SecretKind;
use crate::store::Store;
use crate::store::index::Index;

/// How long the entry may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Let a log go on after its store was restored from a backup
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cloison audit resume --after-restore --config vault.toml\n\n\
    The process itself must not run. The shard that lost entries is never extended again; the log goes on in a new one, whose \
    first entry says what was lost. Before that, see docs/operations.md for what else an older store lacks, and tell the \
    commission.")]
pub struct Args {
    /// The configuration of the vault or the node (`vault.toml`, `node.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// That the store was restored and lost entries, and that this is known
    #[arg(long, required = true)]
    after_restore: bool,
    #[command(flatten)]
    assent: Assent,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where a log lies, and whose it is.
struct Place {
    store: PathBuf,
    owner: String,
    key: Deposit,
    keyring: Keyring,
    second: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When there is nothing to resume, or the log cannot be written.
pub fn run(args: &Args) -> Result<(), Error> {
    let place = place(args)?;
    let hint = "stop the process, and check [store], [secrets] and [audit] in the configuration";
    let failed = |error: &dyn std::fmt::Display| Error::new(error, hint);
    let Some(second) = place.second else {
        return Err(Error::new(
            "the configuration names no second place (`[audit] second`), so nothing is known to be lost",
            "start the process; it goes on where the store ends",
        ));
    };
    let store = Arc::new(Store::open(&place.store, &place.owner).map_err(|error| failed(&error))?);
    let open = |resume| {
        let key = place.keyring.read_signing_key(&place.key, SecretKind::Checkpoint).map_err(|error| failed(&error))?;
        let parts = LogParts { second: Some(SecondPlace::new(second.clone())), resume, ..LogParts::new(key) };
        Ok(Log::open(store.clone(), &place.owner, parts, SystemClock.now()))
    };
    let lost = match open(false)? {
        Err(LogError::Behind { published, origin, found, .. }) => (origin, published, found),
        Err(error) => return Err(failed(&error)),
        Ok(_) => {
            return Err(Error::new(
                "there is nothing to resume: the store leads to the checkpoint in the second place",
                "start the process",
            ));
        }
    };
    let (origin, published, found) = &lost;
    args.assent.obtain(&Irreversible {
        changes: format!("{origin} had {published} published entries, and {found}. The log goes on without them."),
        lost: "The shard that lost entries is never extended again, and the new one says so for good.",
    })?;
    let (log, appender) = open(true)?.map_err(|error| failed(&error))?;
    let before = log.latest().map(|published| published.tree.shard);
    let clock = Arc::new(SystemClock);
    let poisoned = Box::new(|error: &crate::store::StoreError| tracing::error!(%error, "the entry cannot be written"));
    let index = Arc::new(Index::default());
    let writer = Committer::start(store.clone(), appender, index, None, SmallChunks::default(), clock, poisoned);
    // The writer has the entry to write before anything else.
    let writer = writer.map_err(|error| failed(&error))?;
    let started = Instant::now();
    let resumed = loop {
        match log.latest().filter(|published| Some(published.tree.shard) != before) {
            Some(published) => break published,
            None if started.elapsed() > PATIENCE => {
                let why = log.trouble().unwrap_or_else(|| "the entry was not written in time".to_owned());
                return Err(failed(&why));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    drop(writer);
    let (origin, published, found) = lost;
    match args.json {
        true => print_json(&json!({"lost": {"log": origin, "entries": published}, "log": resumed.checkpoint.origin})),
        false => print(format_args!(
            "{origin} had {published} published entries, and {found}.\n\
             The log goes on as {}; its first entry says so. Start the process now.",
            resumed.checkpoint.origin
        )),
    }
}

fn place(args: &Args) -> Result<Place, Error> {
    let hint = "correct the file and try again";
    match check::is_node(&read_text(&args.config)?) {
        true => {
            let config = NodeConfig::load(&args.config).map_err(|error| Error::new(error, hint))?;
            let owner = format!("{}/node/{}", config.deployment, config.authority);
            let keyring = config.openers.keyring();
            Ok(Place { store: config.store, owner, key: config.checkpoint, keyring, second: config.log.second })
        }
        false => {
            let config = VaultConfig::load(&args.config).map_err(|error| Error::new(error, hint))?;
            let owner = format!("{}/vault", config.deployment);
            let keyring = config.openers.keyring();
            Ok(Place { store: config.store, owner, key: config.secrets.checkpoint, keyring, second: config.log.second })
        }
    }
}
