//! `cloison backup verify --drill`: a restore into a throw-away folder, and a start there.

use std::time::{Duration, Instant};

use super::{fault, with_bar};
use crate::backup::opened::OpenedBackup;
use crate::backup::repository::{BackupRepository, RepositoryLock};
use crate::backup::verify::Workplace;
use crate::cli::restore::restore_fault;
use crate::config::SideConfig;
use crate::restore::{RestoreError, lay_down};
use crate::serve::{DrillStart, drill_identity, drill_node, drill_vault};
use crate::terminal::CommandError;

/// How long a drill took.
pub(super) struct DrillTimes {
    /// Until the store lay there, whole.
    pub(super) restored: Duration,
    /// The start on it.
    pub(super) start: DrillStart,
}

/// Runs the drill. The folder is removed afterwards.
///
/// # Errors
/// When the backup cannot be restored, or the server does not start on it.
pub(super) fn run(
    repository: &BackupRepository,
    lock: Option<&RepositoryLock>,
    backup: &OpenedBackup<'_>,
    config: SideConfig,
) -> Result<DrillTimes, CommandError> {
    let work = Workplace::of(repository, lock).map_err(fault)?;
    let store = work.path().join("drill");
    let began = Instant::now();
    let laid = with_bar("restored", |progress| lay_down(backup, &store, progress));
    let finished =
        laid.and_then(|folder| folder.finish("a drill").map_err(RestoreError::Unfinished));
    finished.map_err(restore_fault)?;
    let restored = began.elapsed();
    let start = match config {
        SideConfig::Vault(config) => drill_vault(*config, &store)?,
        SideConfig::Node(config) => drill_node(&config, &store)?,
        SideConfig::Identity(config) => drill_identity(&config, &store)?,
    };
    Ok(DrillTimes { restored, start })
}
