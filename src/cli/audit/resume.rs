//! `cloison audit resume`: after a restore that lost entries, or where the second place is lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::audit::AuditEvent;
use crate::audit::log::{Appender, KnownLoss, Log, LogError, LogParts};
use crate::cli::assent::{Assent, Irreversible};
use crate::cli::check;
use crate::clock::{Clock as _, SystemClock};
use crate::commit::Committer;
use crate::commit::small::SmallChunks;
use crate::config::{NodeConfig, VaultConfig};
use crate::keys::custody::{Deposit, Keyring};
use crate::keys::file::SecretKind;
use crate::store::index::Index;
use crate::store::{Store, StoreError};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};
use crate::tlog::checkpoint_file::CheckpointFile;

/// How long the entry may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Let a log go on after its store was restored from a backup, or without what its second place
/// held
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  cloison audit resume --after-restore --config vault.toml\n  \
    cloison audit resume --second-lost --config vault.toml\n\n\
    The process itself must not run. After a restore the shard that lost entries is never extended again; the log goes on in a \
    new one, whose first entry says what was lost. Before that, see docs/operations.md for what else an older store lacks, and \
    tell the commission. Where the second place is empty (lost, or new in the configuration) nobody can tell whether the store \
    is the newest one: hold it against what a witness or the other side has cosigned. The log says that it went on."
)]
pub struct AuditResumeArgs {
    /// The configuration of the vault or the node (`vault.toml`, `node.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// That the store was restored and lost entries, and that this is known
    #[arg(long, required_unless_present = "second_lost")]
    after_restore: bool,
    /// That the second place has nothing, and that this is known
    #[arg(long, conflicts_with = "after_restore")]
    second_lost: bool,
    #[command(flatten)]
    assent: Assent,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where a log lies, and whose it is.
struct ResumePlaces {
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
pub fn run(args: &AuditResumeArgs) -> Result<(), CommandError> {
    let place = place(args)?;
    let hint = "stop the process, and check [store], [secrets] and [audit] in the configuration";
    let failed = |error: &dyn std::fmt::Display| CommandError::new(error, hint);
    let Some(second) = place.second else {
        return Err(CommandError::new(
            "the configuration names no second place (`[audit] second`), so nothing is known to be lost",
            "start the process; it goes on where the store ends",
        ));
    };
    if !Store::is_there(&place.store) {
        let message = format_args!("there is no store at {}", place.store.display());
        return Err(CommandError::new(
            message,
            "mount its disk, or put the backup there first (docs/operations.md#backups)",
        ));
    }
    let store = Arc::new(Store::open(&place.store, &place.owner).map_err(|error| failed(&error))?);
    let open = |resume| -> Result<_, CommandError> {
        let key = place
            .keyring
            .read_signing_key(&place.key, SecretKind::Checkpoint)
            .map_err(|error| failed(&error))?;
        let parts = LogParts {
            second: Some(CheckpointFile::new(second.clone())),
            resume,
            ..LogParts::new(key)
        };
        Ok(Log::open(
            store.clone(),
            &place.owner,
            parts,
            SystemClock.now(),
        ))
    };
    if args.second_lost {
        let (origin, published) = match open(None)? {
            Err(LogError::SecondLost {
                origin, published, ..
            }) => (origin, published),
            Err(error) => return Err(failed(&error)),
            Ok(_) => {
                return Err(CommandError::new(
                    "the second place has what it should have",
                    "start the process",
                ));
            }
        };
        args.assent.obtain(&Irreversible {
            changes: format!(
                "The second place has nothing, as where its disk is not mounted; {origin} goes on from {published} published \
                 entries."
            ),
            lost: "Whether more were published, nobody can tell here any more; the log says so for good.",
        })?;
        let (log, appender) = open(Some(KnownLoss::SecondLost))?.map_err(|error| failed(&error))?;
        return go_on_without_second(args, &log, appender).map_err(|why| failed(&why));
    }
    let lost = match open(None)? {
        Err(LogError::Behind {
            published,
            origin,
            found,
            ..
        }) => (origin, published, found),
        Err(error) => return Err(failed(&error)),
        Ok(_) => {
            return Err(CommandError::new(
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
    let (log, appender) = open(Some(KnownLoss::AfterRestore))?.map_err(|error| failed(&error))?;
    let before = log.latest().map(|published| published.tree.shard);
    // The writer has the entry to write before anything else.
    let writer = writer(&log, appender).map_err(|error| failed(&error))?;
    let started = Instant::now();
    let resumed = loop {
        match log
            .latest()
            .filter(|published| Some(published.tree.shard) != before)
        {
            Some(published) => break published,
            None if started.elapsed() > PATIENCE => {
                let why = log
                    .trouble()
                    .unwrap_or_else(|| "the entry was not written in time".to_owned());
                return Err(failed(&why));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    drop(writer);
    let (origin, published, found) = lost;
    match args.json {
        true => print_json(
            &json!({"lost": {"log": origin, "entries": published}, "log": resumed.checkpoint.origin}),
        ),
        false => print(format_args!(
            "{origin} had {published} published entries, and {found}.\n\
             The log goes on as {}; its first entry says so. Start the process now.",
            resumed.checkpoint.origin
        )),
    }
}

/// The writer of a log, for the one entry that is to be written.
fn writer(log: &Log, appender: Appender) -> Result<Committer, StoreError> {
    let poisoned =
        Box::new(|error: &StoreError| tracing::error!(%error, "the entry cannot be written"));
    let (index, small, clock) = (
        Arc::new(Index::default()),
        SmallChunks::default(),
        Arc::new(SystemClock),
    );
    Committer::start(
        log.store().clone(),
        appender,
        index,
        None,
        small,
        clock,
        poisoned,
    )
}

/// Writes down that the second place had nothing, and fills it with the checkpoint over that entry.
fn go_on_without_second(
    args: &AuditResumeArgs,
    log: &Log,
    appender: Appender,
) -> Result<(), String> {
    let last = log.latest().ok_or("the store has no checkpoint")?;
    let writer = writer(log, appender).map_err(|error| error.to_string())?;
    let event = AuditEvent::SecondLost {
        checkpoint: last.note.clone(),
    };
    let receipt = writer
        .record(SystemClock.now(), event, vec![], vec![])
        .map_err(|code| code.to_string())?;
    let published = log.covering(&receipt, PATIENCE);
    let late = || {
        log.trouble()
            .unwrap_or_else(|| "the entry was not published in time".to_owned())
    };
    let checkpoint = published.ok_or_else(late)?.checkpoint.clone();
    drop(writer);
    let shown = match args.json {
        true => print_json(&json!({"log": checkpoint.origin, "entries": checkpoint.size})),
        false => print(format_args!(
            "The second place had nothing. It has the checkpoint over {} entries of {} now; the last of them says so. Start \
             the process now.",
            checkpoint.size, checkpoint.origin
        )),
    };
    shown.map_err(|error| error.message().to_owned())
}

fn place(args: &AuditResumeArgs) -> Result<ResumePlaces, CommandError> {
    let hint = "correct the file and try again";
    match check::is_node(&read_text(&args.config)?) {
        true => {
            let config =
                NodeConfig::load(&args.config).map_err(|error| CommandError::new(error, hint))?;
            let owner = format!("{}/node/{}", config.deployment, config.authority);
            let keyring = config.openers.keyring();
            Ok(ResumePlaces {
                store: config.store,
                owner,
                key: config.checkpoint,
                keyring,
                second: config.log.second,
            })
        }
        false => {
            let config =
                VaultConfig::load(&args.config).map_err(|error| CommandError::new(error, hint))?;
            let owner = format!("{}/vault", config.deployment);
            let keyring = config.openers.keyring();
            Ok(ResumePlaces {
                store: config.store,
                owner,
                key: config.secrets.checkpoint,
                keyring,
                second: config.log.second,
            })
        }
    }
}
