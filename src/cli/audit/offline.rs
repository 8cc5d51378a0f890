//! The log of a process that does not run: opened as its start opens it, for the one entry that a
//! command writes.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;

use crate::audit::cosign::{WitnessAnswer, WitnessLink};
use crate::audit::log::{Appender, KnownLoss, Log, LogError, LogParts};
use crate::audit::seen::Onlooker;
use crate::clock::{Clock as _, SystemClock};
use crate::commit::small::SmallChunks;
use crate::commit::{Committer, WriterSeals};
use crate::config::{ClientConfig, LogConfig, RegisterFiles, SideConfig};
use crate::entity::Role;
use crate::journal::place::JournalPlace;
use crate::keys::custody::{Deposit, Keyring};
use crate::keys::file::SecretKind;
use crate::keys::sector_secrets::read_journal;
use crate::seal::journal::JournalCipher;
use crate::serve::onlookers;
use crate::store::index::Index;
use crate::store::{Store, StoreError};
use crate::terminal::CommandError;
use crate::tlog::witness::CheckpointSubmission;

/// How long writing the entry may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A log that a configuration names: where it lies, whose it is, what opens it, and who has seen
/// it.
pub(crate) struct NamedLog {
    pub(crate) store: PathBuf,
    pub(crate) owner: String,
    pub(crate) role: Role,
    key: Deposit,
    journal: Deposit,
    keyring: Keyring,
    pub(crate) log: LogConfig,
    pub(crate) register: RegisterFiles,
    /// At a side that is not the vault: the vault.
    vault: Option<ClientConfig>,
}

impl NamedLog {
    /// Reads it from the configuration of a side.
    ///
    /// # Errors
    /// When that is not in order.
    pub(crate) fn load(config: &Path) -> Result<Self, CommandError> {
        let invalid = |error| CommandError::new(error, "correct the file and try again");
        let side = SideConfig::load(config).map_err(invalid)?;
        Ok(Self {
            owner: side.role().owner(side.deployment()),
            role: side.role(),
            store: side.store().to_owned(),
            key: side.checkpoint_key().clone(),
            journal: side.journal_secrets().clone(),
            keyring: side.openers().keyring(),
            log: side.log().clone(),
            register: side.register().clone(),
            vault: side.vault().cloned(),
        })
    }

    /// Whether nobody is known who could have seen more of the log.
    pub(crate) fn asks_nobody(&self) -> bool {
        self.log.witnesses.is_empty() && self.vault.is_none()
    }
}

/// A log with its open store.
pub(crate) struct OfflineLog {
    pub(crate) store: Arc<Store>,
    pub(crate) named: NamedLog,
    /// Checkpoints that somebody handed over, and their files' names.
    pub(crate) seen: Vec<(PathBuf, String)>,
}

impl OfflineLog {
    /// The key that verifies the log's checkpoints.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn key(&self) -> Result<VerifyingKey, CommandError> {
        let key = self
            .named
            .keyring
            .read_signing_key(&self.named.key, SecretKind::Checkpoint);
        Ok(key.map_err(failed)?.verifying_key())
    }

    /// Opens the log as a start does, accepting only the loss `known`.
    ///
    /// # Errors
    /// When its key or its onlookers cannot be read. Within: why the log does not go on.
    pub(crate) fn open(&self, known: Option<KnownLoss>) -> Result<OpenedLog, CommandError> {
        let named = &self.named;
        let key = named
            .keyring
            .read_signing_key(&named.key, SecretKind::Checkpoint)
            .map_err(failed)?;
        let mut onlookers = onlookers(&named.log, named.vault.as_ref())?;
        onlookers.extend(self.seen.iter().cloned().map(|(file, note)| Onlooker {
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
    ///
    /// # Errors
    /// When its secrets cannot be read, or it does not start.
    pub(crate) fn writer(&self, log: &Log, appender: Appender) -> Result<Committer, CommandError> {
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
            counts_at_once: false,
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
pub(crate) type OpenedLog = Result<(Arc<Log>, Appender), LogError>;

/// The error of a command that could not write its entry.
pub(crate) fn failed(error: impl Display) -> CommandError {
    let hint = "stop the process, and check [store], [secrets] and [audit] in the configuration";
    CommandError::new(error, hint)
}

/// Why an entry was not written: the log's own fault, or else `late`.
pub(crate) fn trouble(log: &Log, late: &str) -> String {
    log.trouble().unwrap_or_else(|| late.to_owned())
}
