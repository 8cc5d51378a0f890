//! The secrets that a restore needs beside the storage secrets: what opens side records, and what
//! makes tags and tombstones.

use std::sync::Arc;

use crate::config::SideConfig;
use crate::keys::file::{FileError, SecretKind};
use crate::keys::sector_secrets::read_journal;
use crate::keys::{AuditKey, AuditSecret};
use crate::seal::journal::JournalCipher;
use crate::terminal::CommandError;

/// Those secrets, as keys.
pub(super) struct RestoreSecrets {
    pub(super) journal: Arc<JournalCipher>,
    pub(super) audit: AuditKey,
}

impl RestoreSecrets {
    /// Reads them from their custody.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn read(config: &SideConfig) -> Result<Self, CommandError> {
        let keyring = config.openers().keyring();
        let (journal, audit) = (config.journal_secrets(), config.audit_secret());
        let read = || -> Result<Self, FileError> {
            let audit = AuditSecret(keyring.read(audit, SecretKind::Audit)?);
            Ok(Self {
                journal: Arc::new(JournalCipher::new(&read_journal(&keyring, journal)?)),
                audit: AuditKey::new(&audit),
            })
        };
        read().map_err(|error| CommandError::new(error, "check [secrets] in the configuration"))
    }
}
