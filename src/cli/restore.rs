//! `cloison restore`: a vault's or node's store from a backup, brought to the end of its log.

mod confirm;
mod in_place;
mod next;
mod print;
mod report;
mod secrets;
mod without;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ed25519_dalek::VerifyingKey;

use crate::backup::branch::LogBranch;
use crate::backup::envelope::BackupIdentities;
use crate::backup::listed::ListedBackup;
use crate::backup::repository::BackupRepository;
use crate::cli::backup::{BackupSide, fault, read_identity, with_bar};
use crate::journal::place::JournalPlace;
use crate::journal::read::{PlaceFault, PlaceLog};
use crate::restore::clear::ClearingKeys;
use crate::restore::places::furthest;
use crate::restore::{RestoreError, RestoredLog, bring, lay_down, make_parent};
use crate::seal::journal::JournalCipher;
use crate::terminal::{CommandError, print as say, print_json, voice};
use next::{RestoreWay, SideFiles, numbered};
use secrets::RestoreSecrets;

/// Restore a vault's or node's store from a backup, into an empty folder
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_long_help = "Examples:\n  \
    cloison restore /mnt/backup/vault --config vault.toml\n  \
    cloison restore /mnt/backup/vault --config vault.toml --from /mnt/other/vault-journal\n  \
    cloison restore /mnt/abroad/vault --config vault.toml --identity backup.age    # a sealed one\n  \
    cloison restore /mnt/backup/node --config node.toml --id 20261128T081500Z-1f3a9c07 \\\n    \
    --without-places statement.jws\n  \
    cloison restore --in-place --config vault.toml --from /mnt/other/vault-journal\n  \
    cloison restore state --client clients/operator.toml   # what holds since then\n\n\
    The server must not run. The store goes where `[store] path` says; that folder must be empty, and nothing is \
    overwritten. All of it is restored, or nothing: after a kill no server opens the folder, and the same command begins \
    anew. The log after the backup comes from the place that holds most of it: `[audit] second`, and those named with \
    --from. It brings every epoch, order, revocation, erasure and register since; the mappings of that interval are lost \
    until the clients send the identifiers again (`cloison restore report`). Where no place is left, two operators sign for what \
    is lost (`cloison statement new --restore-without-places`): earlier orders are over, sectors are closed until their epochs are \
    confirmed, and nothing is released until erasures were lodged again.")]
pub struct RestoreArgs {
    #[command(subcommand)]
    command: Option<RestoreSubcommand>,
    #[command(flatten)]
    from: Option<RestoreSourceArgs>,
    /// Bring a store that is behind (exit code 71) to the present from a place, without a backup
    #[arg(long, conflicts_with_all = ["repository", "id", "without_places"])]
    in_place: bool,
    #[command(flatten)]
    without: without::WithoutPlacesArgs,
}

#[derive(clap::Subcommand)]
enum RestoreSubcommand {
    /// Say how many requests and identifiers a restore would lose, by client, sector and hour
    Report(report::RestoreReportArgs),
    /// Say what holds at a side since it was restored without places
    State(confirm::RestoreStateArgs),
    /// Confirm a sector's epoch, or that erasures were lodged again, after a restore without places
    Confirm(confirm::RestoreConfirmArgs),
}

/// A backup, and the places that hold the log after it.
#[derive(clap::Args)]
pub(crate) struct RestoreSourceArgs {
    /// The repository's folder
    #[arg(value_name = "REPOSITORY")]
    repository: Option<PathBuf>,
    /// The vault's or node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The backup; the last one unless named
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// A place that holds the log after the backup, beside `[audit] second`; repeatable
    #[arg(long = "from", value_name = "PLACE")]
    places: Vec<PathBuf>,
    /// The identity file that opens a sealed backup; mode 0600
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// What those name.
struct RestoreSource {
    config: PathBuf,
    side: BackupSide,
    repository: BackupRepository,
    key: VerifyingKey,
    backup: ListedBackup,
    /// What opens it, if it is sealed.
    identities: Option<BackupIdentities>,
    places: Vec<PlaceLog>,
    /// The second place can be read without them.
    secrets: Result<RestoreSecrets, CommandError>,
}

impl RestoreSourceArgs {
    /// Opens it.
    ///
    /// # Errors
    /// When the backup is not good or not this side's, or a place cannot be used.
    fn open(&self) -> Result<RestoreSource, CommandError> {
        let side = BackupSide::read(&self.config)?;
        let folder = self.repository.as_ref().ok_or_else(|| {
            CommandError::usage(
                "no repository is named",
                "name the repository's folder; to bring a store that is behind to the present, add --in-place",
            )
        })?;
        let repository = side.repository(folder)?;
        let key = side.key()?;
        let identities = read_identity(self.identity.as_deref())?;
        let secrets = RestoreSecrets::read(&side.config);
        let journal = || Some(secrets.as_ref().ok()?.journal.clone());
        let places = self.open_places(&side, (repository.owner(), &key), journal)?;
        let branch = furthest(&places).map_or(LogBranch::Unknown, LogBranch::Place);
        let backup = repository.backup(self.id.as_deref(), &key, &branch);
        let backup = backup.map_err(fault)?;
        Ok(RestoreSource {
            config: self.config.clone(),
            places,
            secrets,
            side,
            repository,
            key,
            backup,
            identities,
        })
    }
}

impl RestoreSourceArgs {
    /// Opens the second place, where it holds something, and those named, of the log of `owner`,
    /// whose checkpoints `key` signs. What followers hold is opened by `journal`.
    fn open_places(
        &self,
        side: &BackupSide,
        (owner, key): (&str, &VerifyingKey),
        journal: impl Fn() -> Option<Arc<JournalCipher>>,
    ) -> Result<Vec<PlaceLog>, CommandError> {
        let second = side.second.iter();
        let second = second.filter(|folder| JournalPlace::holds_checkpoint(folder));
        let places: Result<Vec<_>, _> = second
            .chain(&self.places)
            .map(|folder| PlaceLog::open(folder, owner, key, journal()))
            .collect();
        places.map_err(place_fault)
    }
}

/// Runs the command.
///
/// # Errors
/// When the backup is not good or not this side's, the folder is not empty, or no place is there.
pub fn run(args: &RestoreArgs) -> Result<(), CommandError> {
    match (&args.command, &args.from) {
        (Some(RestoreSubcommand::Report(args)), _) => report::run(args),
        (Some(RestoreSubcommand::State(args)), _) => confirm::state(args),
        (Some(RestoreSubcommand::Confirm(args)), _) => confirm::run(args),
        (None, Some(from)) if args.in_place => in_place::run(from),
        (None, Some(from)) => {
            let source = from.open()?;
            let loss = args.without.allow(&source)?;
            restore(source, loss)
        }
        (None, None) => Err(CommandError::usage(
            "no repository is named",
            "name the repository's folder, and the configuration with --config FILE",
        )),
    }
}

fn restore(source: RestoreSource, loss: Option<without::AllowedArgs>) -> Result<(), CommandError> {
    let RestoreSource {
        config,
        side,
        repository,
        key,
        backup,
        identities,
        places,
        secrets,
    } = source;
    // Before anything is written: a secret that does not open stops everything else.
    let secrets = secrets?;
    let backup = repository.open_backup(backup, identities.as_ref(), &key);
    let backup = backup.map_err(fault)?;
    let (side, manifest, places) = (&side, backup.manifest(), &places);
    if loss.is_none() {
        without::refuse_stale(places, manifest)?;
    }
    let way = match loss {
        Some(_) => RestoreWay::WithoutPlaces,
        None => RestoreWay::FromPlaces,
    };
    let store = &side.store;
    make_parent(store).map_err(|error| CommandError::file(store, &error))?;
    let began = Instant::now();
    let laid = with_bar("restored", |progress| lay_down(&backup, store, progress));
    let folder = laid.map_err(restore_fault)?;
    let brought = || -> Result<RestoredLog, CommandError> {
        // Brings it to the present format, too, while no server may open it.
        let opened = folder.open(&manifest.owner);
        let opened = opened.map_err(|error| restore_fault(error.into()))?;
        if let Some(loss) = loss {
            loss.record(opened, &config, &side.register)?;
            return Ok(RestoredLog::default());
        }
        let keys = ClearingKeys {
            audit: &secrets.audit,
            chunks: side.cipher.as_ref(),
            register: &side.register,
        };
        let what = format!("the backup {}", manifest.id);
        let base = (&*what, &manifest.log);
        bring(&opened, base, places, &secrets.journal, &keys).map_err(restore_fault)
    };
    let brought = match brought() {
        Ok(brought) => brought,
        Err(error) => {
            let given_up = folder.give_up().map_err(RestoreError::Unfinished);
            given_up.map_err(restore_fault)?;
            return Err(error);
        }
    };
    let origin = print::origin(manifest, way, &brought);
    let finished = folder.finish(&origin).map_err(RestoreError::Unfinished);
    finished.map_err(restore_fault)?;
    if voice().json {
        return print_json(&print::json(store, manifest, &brought, began.elapsed()));
    }
    let steps = SideFiles::of(side, &config).steps(way);
    let named = (&**store, &side.role);
    say(print::text(named, manifest, &brought, began.elapsed()))?;
    say(numbered(&steps))
}

/// What is wrong with a place, and what to do.
fn place_fault(fault: PlaceFault) -> CommandError {
    restore_fault(RestoreError::Place(fault))
}

/// What is wrong, and what to do.
pub(super) fn restore_fault(error: RestoreError) -> CommandError {
    let hint = match &error {
        RestoreError::Backup(_) => {
            let RestoreError::Backup(error) = error else {
                return CommandError::bug(error);
            };
            return fault(error);
        }
        RestoreError::Store(_) => {
            "stop the server that has the store, or move what lies in the folder away; then run the command again"
        }
        RestoreError::Place(_) | RestoreError::Gap { .. } => {
            "name another place with --from, or leave this one out; nothing was restored"
        }
        RestoreError::Diverging { .. } => {
            "compare both with what the commission's witness has cosigned. Then move the other away, also where it is `[audit] second` \
             or the store, and name the place that counts with --from; if it is the backup that does not count, name one of the other \
             log with --id. Nothing was restored"
        }
        RestoreError::Record { .. } => {
            "bring back every version of `[secrets] journal` that the records need; nothing was restored"
        }
        RestoreError::Chunk { .. } => {
            "bring back every version of `[secrets] store` that the backup needs; nothing was restored"
        }
        RestoreError::Act(_) | RestoreError::Salts => {
            "verify the backup (`cloison backup verify`); nothing was restored"
        }
        RestoreError::Unfinished(_) => "check the disk, and run the command again",
    };
    CommandError::new(error, hint)
}
