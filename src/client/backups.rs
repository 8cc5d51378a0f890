//! A server's backups.

use super::{Client, ClientError};
use crate::backup::keeper::{CreateBackup, PruneBackups, VerifyBackup};
use crate::backup::prune::PrunedBackups;
use crate::backup::view::{BackupJobView, BackupList};

impl Client {
    /// The backups and the work on them.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn backups(&self) -> Result<BackupList, ClientError> {
        self.get_json("/v1/backups")
    }

    /// Has a backup taken.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn create_backup(&self, how: &CreateBackup) -> Result<BackupJobView, ClientError> {
        self.post_json("/v1/backups", how)
    }

    /// Has a backup verified.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn verify_backup(&self, which: &VerifyBackup) -> Result<BackupJobView, ClientError> {
        self.post_json("/v1/backups/verify", which)
    }

    /// Has the backups removed that no rule keeps.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn prune_backups(&self, how: &PruneBackups) -> Result<PrunedBackups, ClientError> {
        self.post_json("/v1/backups/prune", how)
    }
}
