//! `cloison restore`: a vault's or node's store from a backup.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::HumanBytes;
use serde_json::json;

use crate::cli::backup::{BackupSide, fault, with_bar};
use crate::restore::{RestoreError, lay_down, make_parent};
use crate::terminal::{CommandError, print, print_json, voice};

/// Restore a vault's or node's store from a backup, into an empty folder
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison restore /mnt/backup/vault --config vault.toml --without-places\n  \
    cloison restore /mnt/backup/node --config node.toml --id 20261128T081500Z-1f3a9c07 \\\n    \
    --without-places\n\n\
    The server must not run. The store goes where `[store] path` says; that folder must be empty, and nothing is \
    overwritten. All of it is restored, or nothing: after a kill no server opens the folder, and the same command begins \
    anew. What came after the backup is not in it: docs/operations.md#backups says what that means.")]
pub struct RestoreArgs {
    /// The repository's folder
    #[arg(value_name = "REPOSITORY")]
    repository: PathBuf,
    /// The vault's or node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The backup; the last one unless named
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Restore although no place is named that holds the log after the backup: what came after it
    /// is lost
    #[arg(long)]
    without_places: bool,
}

/// Runs the command.
///
/// # Errors
/// When the backup is not good or not this side's, the folder is not empty, or no place is named.
pub fn run(args: &RestoreArgs) -> Result<(), CommandError> {
    let side = BackupSide::read(&args.config)?;
    let repository = side.repository(&args.repository)?;
    let key = side.key()?;
    let manifest = repository
        .manifest_of(args.id.as_deref(), &key)
        .map_err(fault)?;
    if !args.without_places {
        return Err(CommandError::usage(
            "no place is named that holds the log after the backup",
            "what came after the backup would be lost; to restore all the same, add --without-places",
        ));
    }
    let store = side.store.clone();
    make_parent(&store).map_err(|error| CommandError::file(&store, &error))?;
    let began = Instant::now();
    let laid = with_bar("restored", |progress| {
        lay_down(&repository, &manifest, &store, progress)
    });
    let folder = laid.map_err(restore_fault)?;
    // Brings it to the present format, while no server may open it.
    let opened = folder.open(&manifest.owner).map(drop);
    opened.map_err(|error| restore_fault(error.into()))?;
    let finished = folder.finish().map_err(RestoreError::Unfinished);
    finished.map_err(restore_fault)?;
    let took = began.elapsed();
    if voice().json {
        return print_json(&json!({
            "backup": manifest.id.as_str(),
            "entity": manifest.owner,
            "taken": manifest.taken.to_string(),
            "store": store,
            "bytes": manifest.length(),
            "entries": manifest.log.size,
            "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
    }
    print(format_args!(
        "{} holds the backup {} of {}: {}, {} entries of {}, in {:.1} s\nwhat came after {} is not in it; before the start \
         read docs/operations.md#backups",
        store.display(),
        manifest.id,
        manifest.owner,
        HumanBytes(manifest.length()),
        manifest.log.size,
        manifest.log.origin,
        took.as_secs_f64(),
        manifest.taken
    ))
}

/// What is wrong, and what to do.
pub(super) fn restore_fault(error: RestoreError) -> CommandError {
    match error {
        RestoreError::Backup(error) => fault(error),
        RestoreError::Store(error) => CommandError::new(
            error,
            "stop the server that has the store, or move what lies in the folder away; then run the command again",
        ),
        RestoreError::Unfinished(_) => {
            CommandError::new(error, "check the disk, and run the command again")
        }
    }
}
