//! `cloison restore`: a vault's or node's store from a backup, brought to the end of its log.

mod print;
mod report;
mod secrets;

use std::path::PathBuf;
use std::time::Instant;

use crate::backup::manifest::BackupManifest;
use crate::backup::repository::BackupRepository;
use crate::cli::backup::{BackupSide, fault, with_bar};
use crate::journal::read::{PlaceFault, PlaceLog};
use crate::restore::clear::ClearingKeys;
use crate::restore::{RestoreError, RestoredLog, bring, lay_down, make_parent};
use crate::terminal::{CommandError, print as say, print_json, voice};
use secrets::RestoreSecrets;

/// Restore a vault's or node's store from a backup, into an empty folder
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_long_help = "Examples:\n  \
    cloison restore /mnt/backup/vault --config vault.toml\n  \
    cloison restore /mnt/backup/vault --config vault.toml --from /mnt/other/vault-journal\n  \
    cloison restore /mnt/backup/node --config node.toml --id 20261128T081500Z-1f3a9c07 \\\n    \
    --without-places\n\n\
    The server must not run. The store goes where `[store] path` says; that folder must be empty, and nothing is \
    overwritten. All of it is restored, or nothing: after a kill no server opens the folder, and the same command begins \
    anew. The log after the backup comes from the place that holds most of it: `[audit] second`, and those named with \
    --from. It brings every epoch, order, revocation, erasure and register since; the mappings of that interval are lost \
    until the clients send the identifiers again (`cloison restore report`).")]
pub struct RestoreArgs {
    #[command(subcommand)]
    command: Option<RestoreSubcommand>,
    #[command(flatten)]
    from: Option<RestoreSourceArgs>,
    /// Restore although no place holds the log after the backup: what came after it is lost
    #[arg(long)]
    without_places: bool,
}

#[derive(clap::Subcommand)]
enum RestoreSubcommand {
    /// Say how many requests and identifiers a restore would lose, by client, sector and hour
    Report(report::RestoreReportArgs),
}

/// A backup, and the places that hold the log after it.
#[derive(clap::Args)]
pub(crate) struct RestoreSourceArgs {
    /// The repository's folder
    #[arg(value_name = "REPOSITORY")]
    repository: PathBuf,
    /// The vault's or node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The backup; the last one unless named
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// A place that holds the log after the backup, beside `[audit] second`; repeatable
    #[arg(long = "from", value_name = "PLACE")]
    places: Vec<PathBuf>,
}

/// What those name.
struct RestoreSource {
    side: BackupSide,
    repository: BackupRepository,
    manifest: BackupManifest,
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
        let repository = side.repository(&self.repository)?;
        let key = side.key()?;
        let manifest = repository
            .manifest_of(self.id.as_deref(), &key)
            .map_err(fault)?;
        let second = side.second.iter();
        let second = second.filter(|folder| folder.join("checkpoint").exists());
        let secrets = RestoreSecrets::read(&side.config);
        let journal = || Some(secrets.as_ref().ok()?.journal.clone());
        let places: Result<Vec<_>, _> = second
            .chain(&self.places)
            .map(|folder| PlaceLog::open(folder, &manifest.owner, &key, journal()))
            .collect();
        Ok(RestoreSource {
            places: places.map_err(place_fault)?,
            secrets,
            side,
            repository,
            manifest,
        })
    }
}

/// Runs the command.
///
/// # Errors
/// When the backup is not good or not this side's, the folder is not empty, or no place is there.
pub fn run(args: &RestoreArgs) -> Result<(), CommandError> {
    match (&args.command, &args.from) {
        (Some(RestoreSubcommand::Report(args)), _) => report::run(args),
        (None, Some(from)) => restore(from.open()?, args.without_places),
        (None, None) => Err(CommandError::usage(
            "no repository is named",
            "name the repository's folder, and the configuration with --config FILE",
        )),
    }
}

fn restore(source: RestoreSource, without_places: bool) -> Result<(), CommandError> {
    let RestoreSource {
        side,
        repository,
        manifest,
        places,
        secrets,
    } = source;
    if places.is_empty() && !without_places {
        return Err(CommandError::usage(
            "no place is there that holds the log after the backup",
            "name one with --from PLACE; to restore without it and lose what came after the backup, add --without-places",
        ));
    }
    // Before anything is written: a secret that does not open stops everything else.
    let secrets = secrets?;
    let (side, repository, manifest, places) = (&side, &repository, &manifest, &places);
    let store = &side.store;
    make_parent(store).map_err(|error| CommandError::file(store, &error))?;
    let began = Instant::now();
    let laid = with_bar("restored", |progress| {
        lay_down(repository, manifest, store, progress)
    });
    let folder = laid.map_err(restore_fault)?;
    let brought = || -> Result<RestoredLog, RestoreError> {
        // Brings it to the present format, too, while no server may open it.
        let opened = folder.open(&manifest.owner)?;
        let keys = ClearingKeys {
            audit: &secrets.audit,
            chunks: side.cipher.as_ref(),
            register: &side.register,
        };
        bring(&opened, manifest, places, &secrets.journal, &keys)
    };
    let brought = match brought() {
        Ok(brought) => brought,
        Err(error) => {
            folder
                .give_up()
                .map_err(RestoreError::Unfinished)
                .map_err(restore_fault)?;
            return Err(restore_fault(error));
        }
    };
    let finished = folder.finish().map_err(RestoreError::Unfinished);
    finished.map_err(restore_fault)?;
    if voice().json {
        return print_json(&print::json(store, manifest, &brought, began.elapsed()));
    }
    say(print::text(store, manifest, &brought, began.elapsed()))
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
            "compare both with what the commission's witness has cosigned, and name only the place that counts; nothing was restored"
        }
        RestoreError::Record { .. } => {
            "bring back every version of `[secrets] journal` that the records need; nothing was restored"
        }
        RestoreError::Chunk { .. } => {
            "bring back every version of `[secrets] store` that the backup needs; nothing was restored"
        }
        RestoreError::Salts => "verify the backup (`cloison backup verify`); nothing was restored",
        RestoreError::Unfinished(_) => "check the disk, and run the command again",
    };
    CommandError::new(error, hint)
}
