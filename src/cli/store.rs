//! `cloison store`: the store of a process that is stopped.

pub mod export;

use std::path::PathBuf;

use crate::config::VaultConfig;
use crate::store::{Store, StoreError};
use crate::terminal::CommandError;

/// Leave with a stopped vault's store: its mappings in a file that other programs read
#[derive(clap::Subcommand)]
pub enum StoreCommand {
    /// Export a stopped vault's mappings, sealed as they are, to a file that other programs read
    Export(export::StoreExportArgs),
}

/// Runs the command.
///
/// # Errors
/// Those of the command that was named.
pub fn run(command: StoreCommand) -> Result<(), CommandError> {
    match command {
        StoreCommand::Export(args) => export::run(&args),
    }
}

/// Which store.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct StoreArgs {
    /// The configuration of the vault whose store it is; the vault is stopped
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of a store: a copy, or a backup. The command reads it where it lies
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
}

impl StoreArgs {
    /// Opens the store, so that nothing else does, and changes nothing in it.
    ///
    /// # Errors
    /// When a configuration is not a vault's, or the store is not there, in use, damaged, of a
    /// later format or another owner's.
    fn open(&self) -> Result<Store, CommandError> {
        let (path, owner) = match (&self.store, &self.config) {
            (Some(path), _) => (path.clone(), None),
            (None, Some(config)) => {
                let config = VaultConfig::load(config)?;
                let owner = format!("{}/vault", config.deployment);
                (config.store, Some(owner))
            }
            (None, None) => unreachable!("the command line requires one of them"),
        };
        let store = Store::open_offline(&path).map_err(|error| unopened(&error))?;
        let found = store.owner().map_err(|error| unopened(&error))?;
        match owner {
            Some(wanted) if wanted != found => Err(unopened(&StoreError::Foreign {
                path,
                found,
                wanted,
            })),
            _ => Ok(store),
        }
    }
}

/// A store that cannot be read, and what to do.
fn unopened(error: &StoreError) -> CommandError {
    match error {
        StoreError::Absent(path) => CommandError::new(
            format_args!("there is no store at {}", path.display()),
            "name the folder that `[store] path` names, or a copy of it; if it lies on a disk of its own, mount that first",
        ),
        StoreError::InUse(_) => CommandError::new(
            error,
            "stop the vault, or name a copy of its store with --store",
        ),
        StoreError::Foreign { .. } => CommandError::new(
            error,
            "name the configuration of the vault whose store it is",
        ),
        StoreError::Format { .. } | StoreError::Columns { .. } => CommandError::new(
            error,
            "use the version of cloison that wrote it, or a later one",
        ),
        _ => CommandError::new(
            error,
            "check the folder and its disk, or name another copy with --store",
        ),
    }
}
