//! `cloison audit resume`: lets a log go on after a restore that lost entries, or when the second
//! place is lost.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::audit::AuditEvent;
use crate::audit::cosign::{WitnessAnswer, WitnessLink};
use crate::audit::log::{Appender, KnownLoss, Log, LogError, LogParts};
use crate::audit::seen::Onlooker;
use crate::cli::assent::{Assent, Irreversible};
use crate::cli::check;
use crate::clock::{Clock as _, SystemClock};
use crate::commit::small::SmallChunks;
use crate::commit::{Committer, WriterSeals};
use crate::config::{ClientConfig, LogConfig, NodeConfig, VaultConfig};
use crate::journal::place::JournalPlace;
use crate::keys::custody::{Deposit, Keyring};
use crate::keys::file::SecretKind;
use crate::keys::sector_secrets::read_journal;
use crate::seal::journal::JournalCipher;
use crate::serve::onlookers;
use crate::store::index::Index;
use crate::store::{Store, StoreError};
use crate::terminal::files::read_text;
use crate::terminal::{CommandError, print, print_json};
use crate::tlog::witness::CheckpointSubmission;

/// How long writing the entry may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Let a log go on after its store was restored from a backup, or after its second place was lost
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  cloison audit resume --after-restore --config vault.toml\n  \
    cloison audit resume --after-restore --seen vault-seen.checkpoint --config vault.toml\n  \
    cloison audit resume --second-lost --config vault.toml\n\n\
    Stop the process first. After a restore the shard that lost entries is never extended again; the log goes on in a new \
    one, whose first entry says what was lost. Before that, see docs/operations.md for what else an older store lacks, and \
    tell the commission. When the second place is empty (lost, or new in the configuration), this machine cannot tell whether \
    the store is the newest one: compare it with what a witness or the other side has cosigned. The log says that it went on."
)]
pub struct AuditResumeArgs {
    /// The configuration of the vault or the node (`vault.toml`, `node.toml`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Go on although the store was restored and lost entries
    #[arg(long, required_unless_present = "second_lost")]
    after_restore: bool,
    /// Go on although the second place has nothing
    #[arg(long, conflicts_with = "after_restore")]
    second_lost: bool,
    /// With `--after-restore`: a checkpoint of this log that the other side remembers (a file of its
    /// `[audit] cosigned`), where the second place has an older one
    #[arg(long, value_name = "FILE", requires = "after_restore")]
    seen: Option<PathBuf>,
    #[command(flatten)]
    assent: Assent,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When there is nothing to resume, or the log cannot be written.
pub fn run(args: &AuditResumeArgs) -> Result<(), CommandError> {
    let place = ResumePlace::read(args)?;
    if args.second_lost {
        go_on_without_second(args, &place)
    } else {
        go_on_after_restore(args, &place)
    }
}

/// A log that a configuration names: where it lies, whose it is, what opens it, and who has seen it.
struct NamedLog {
    store: PathBuf,
    owner: String,
    key: Deposit,
    journal: Deposit,
    keyring: Keyring,
    log: LogConfig,
    /// At a node: the vault.
    vault: Option<ClientConfig>,
}

impl NamedLog {
    fn load(config: &Path) -> Result<Self, CommandError> {
        let invalid = |error| CommandError::new(error, "correct the file and try again");
        Ok(if check::is_node(&read_text(config)?) {
            Self::of_node(NodeConfig::load(config).map_err(invalid)?)
        } else {
            Self::of_vault(VaultConfig::load(config).map_err(invalid)?)
        })
    }

    fn of_node(node: NodeConfig) -> Self {
        Self {
            owner: format!("{}/node/{}", node.deployment, node.authority),
            store: node.store,
            key: node.checkpoint,
            journal: node.journal,
            keyring: node.openers.keyring(),
            log: node.log,
            vault: Some(node.vault),
        }
    }

    fn of_vault(vault: VaultConfig) -> Self {
        Self {
            owner: format!("{}/vault", vault.deployment),
            store: vault.store,
            key: vault.secrets.checkpoint,
            journal: vault.secrets.journal,
            keyring: vault.openers.keyring(),
            log: vault.log,
            vault: None,
        }
    }
}

/// A log that did not go on, with its open store.
struct ResumePlace {
    store: Arc<Store>,
    named: NamedLog,
    /// A checkpoint that somebody handed over, and its file's name.
    seen: Option<(PathBuf, String)>,
}

impl ResumePlace {
    /// Opens the store that a configuration names; that fails while the process runs.
    fn read(args: &AuditResumeArgs) -> Result<Self, CommandError> {
        let seen = args.seen.as_ref();
        let seen = seen.map(|file| Ok::<_, CommandError>((file.clone(), read_text(file)?)));
        let seen = seen.transpose()?;
        let named = NamedLog::load(&args.config)?;
        let nobody = named.log.witnesses.is_empty() && named.vault.is_none() && seen.is_none();
        if named.log.second.is_none() && nobody {
            return Err(CommandError::new(
                "the configuration names no second place (`[audit] second`) and no witness, so nothing is known to be lost",
                "start the process: it goes on where the store ends",
            ));
        }
        if !Store::is_there(&named.store) {
            return Err(CommandError::new(
                format_args!("there is no store at {}", named.store.display()),
                "mount its disk, or put the backup there first (docs/operations.md#backups)",
            ));
        }
        let store = Store::open(&named.store, &named.owner).map_err(failed)?;
        Ok(Self {
            store: Arc::new(store),
            named,
            seen,
        })
    }

    /// Opens the log as a start does, accepting only the loss `known`.
    fn open(&self, known: Option<KnownLoss>) -> Result<OpenedLog, CommandError> {
        let named = &self.named;
        let key = named
            .keyring
            .read_signing_key(&named.key, SecretKind::Checkpoint)
            .map_err(failed)?;
        let mut onlookers = onlookers(&named.log, named.vault.as_ref())?;
        onlookers.extend(self.seen.clone().map(|(file, note)| Onlooker {
            name: file.display().to_string(),
            link: Box::new(HandedCheckpoint(note)),
        }));
        let parts = LogParts {
            second: named.log.second.clone().map(JournalPlace::new),
            places: named.log.places.clone(),
            onlookers,
            resume: known,
            ..LogParts::new(key)
        };
        let (store, now) = (self.store.clone(), SystemClock.now());
        Ok(Log::open(store, &named.owner, parts, now))
    }

    /// The writer of the log, for the one entry that is to be written.
    fn writer(&self, log: &Log, appender: Appender) -> Result<Committer, CommandError> {
        let poisoned =
            Box::new(|error: &StoreError| tracing::error!(%error, "the entry cannot be written"));
        let (index, small, clock) = (
            Arc::new(Index::default()),
            SmallChunks::default(),
            Arc::new(SystemClock),
        );
        let journal = read_journal(&self.named.keyring, &self.named.journal).map_err(failed)?;
        let seals = WriterSeals {
            chunks: None,
            journal: Arc::new(JournalCipher::new(&journal)),
        };
        let store = log.store().clone();
        Committer::start(store, appender, index, seals, small, clock, poisoned).map_err(failed)
    }
}

/// A checkpoint that somebody saw and handed over as a file.
struct HandedCheckpoint(String);

impl WitnessLink for HandedCheckpoint {
    fn ask(&self, _: &CheckpointSubmission) -> Result<WitnessAnswer, String> {
        Err("a file cosigns nothing".to_owned())
    }

    fn last(&self, origin: &str) -> Result<Option<Vec<u8>>, String> {
        let is_of = self.0.lines().next() == Some(origin);
        Ok(is_of.then(|| self.0.clone().into_bytes()))
    }
}

/// A log and what appends to it, or why it does not go on.
type OpenedLog = Result<(Arc<Log>, Appender), LogError>;

fn failed(error: impl Display) -> CommandError {
    let hint = "stop the process, and check [store], [secrets] and [audit] in the configuration";
    CommandError::new(error, hint)
}

/// Begins a new shard, whose first entry says what was lost.
fn go_on_after_restore(args: &AuditResumeArgs, place: &ResumePlace) -> Result<(), CommandError> {
    let (origin, published, found) = match place.open(None)? {
        Err(LogError::Behind {
            origin,
            published,
            found,
            ..
        }) => (origin, published, found),
        Err(error) => return Err(failed(error)),
        Ok(_) => {
            return Err(CommandError::new(
                "there is nothing to resume: the store leads to the checkpoint that the second place and those who cosign have",
                "start the process",
            ));
        }
    };
    args.assent.obtain(&Irreversible {
        changes: format!("{origin} had {published} published entries, and {found}. The log goes on without them."),
        lost: "The shard that lost entries is never extended again, and the new one says so for good.",
    })?;
    let (log, appender) = place.open(Some(KnownLoss::AfterRestore))?.map_err(failed)?;
    let before = log.latest().map(|published| published.tree.shard);
    // The writer writes the entry about the loss before anything else.
    let writer = place.writer(&log, appender)?;
    let started = Instant::now();
    let resumed = loop {
        let latest = log.latest();
        match latest.filter(|published| Some(published.tree.shard) != before) {
            Some(published) => break published,
            None if started.elapsed() > PATIENCE => {
                return Err(failed(trouble(&log, "the entry was not written in time")));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    drop(writer);
    let new = &resumed.checkpoint.origin;
    if args.json {
        print_json(&json!({"lost": {"log": origin, "entries": published}, "log": new}))
    } else {
        print(format_args!(
            "{origin} had {published} published entries, and {found}.\n\
             The log goes on as {new}; its first entry says so. Start the process now."
        ))
    }
}

/// Logs that the second place had nothing, and fills it with the checkpoint over that entry.
fn go_on_without_second(args: &AuditResumeArgs, place: &ResumePlace) -> Result<(), CommandError> {
    let (origin, published) = match place.open(None)? {
        Err(LogError::SecondLost {
            origin, published, ..
        }) => (origin, published),
        Err(error) => return Err(failed(error)),
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
        lost: "Whether more were published can no longer be told here; the log says so for good.",
    })?;
    let (log, appender) = place.open(Some(KnownLoss::SecondLost))?.map_err(failed)?;
    let last = log.latest();
    let last = last.ok_or_else(|| failed("the store has no checkpoint"))?;
    let writer = place.writer(&log, appender)?;
    let event = AuditEvent::SecondLost {
        checkpoint: last.note.clone(),
    };
    let receipt = writer
        .record(SystemClock.now(), event, vec![], vec![])
        .map_err(failed)?;
    let published = log.signed(&receipt, PATIENCE);
    let published =
        published.ok_or_else(|| failed(trouble(&log, "the entry was not published in time")))?;
    drop(writer);
    let (size, origin) = (published.checkpoint.size, &published.checkpoint.origin);
    if args.json {
        print_json(&json!({"log": origin, "entries": size}))
    } else {
        print(format_args!(
            "The second place had nothing. It has the checkpoint over {size} entries of {origin} now; the last of them says so. \
             Start the process now."
        ))
    }
}

/// Why an entry was not written: the log's own fault, or else `late`.
fn trouble(log: &Log, late: &str) -> String {
    log.trouble().unwrap_or_else(|| late.to_owned())
}
