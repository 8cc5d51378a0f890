//! The secrets of a side's log, which every side has.

use ed25519_dalek::SigningKey;

use crate::keys::custody::{Deposit, Keyring};
use crate::keys::example::fingerprint;
use crate::keys::file::{FileError, SecretKind};
use crate::keys::sector_secrets::read_journal;
use crate::keys::{AuditSecret, JournalSecret};

/// The secrets of a side's log.
pub(super) struct LogSecrets {
    /// Root of audit tags.
    pub(super) audit: AuditSecret,
    /// Versions of the journal secret.
    pub(super) journal: Vec<(u32, JournalSecret)>,
    /// Signs checkpoints.
    pub(super) checkpoint: SigningKey,
}

impl LogSecrets {
    /// Reads them from their places: audit, journal, checkpoint key.
    pub(super) fn read(keyring: &Keyring, places: [&Deposit; 3]) -> Result<Self, FileError> {
        let [audit, journal, checkpoint] = places;
        Ok(Self {
            audit: AuditSecret(keyring.read(audit, SecretKind::Audit)?),
            journal: read_journal(keyring, journal)?,
            checkpoint: keyring.read_signing_key(checkpoint, SecretKind::Checkpoint)?,
        })
    }

    /// The fingerprint of each.
    pub(super) fn fingerprints(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        let journal = self.journal.iter().map(|(_, secret)| secret.0.expose());
        let single = [self.audit.0.expose(), self.checkpoint.as_bytes()];
        single.into_iter().chain(journal).map(fingerprint)
    }
}
