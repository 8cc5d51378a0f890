//! The versions of a root secret: a folder with one file for each, `1.secret`, `2.secret`, …, in
//! any custody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::custody::{Custody, Deposit, Keyring};
use super::file::{FileError, SecretKind};
use super::{JournalSecret, Key, SectorSecret};

/// The store of the sector secret's versions.
pub trait SectorSecretStore: Send + Sync {
    /// Every version in it.
    ///
    /// # Errors
    /// When one cannot be read.
    fn load(&self) -> Result<Vec<(u32, SectorSecret)>, FileError>;

    /// Makes a new random version, durable before it is returned, with a number above all in the
    /// store and above `used`, the highest that was ever used: the number of a destroyed version is
    /// never used again.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn create(&self, used: u32) -> Result<(u32, SectorSecret), FileError>;

    /// Destroys a version, durably.
    ///
    /// # Errors
    /// When it is not in the store, or the custody cannot be written.
    fn destroy(&self, version: u32) -> Result<(), FileError>;

    /// Whether the store by itself holds what it has off this machine.
    fn is_off_machine(&self) -> bool;
}

/// Sector secrets in a deposit.
pub struct SectorSecretDeposit {
    deposit: Deposit,
    keyring: Arc<Keyring>,
}

impl SectorSecretDeposit {
    /// The versions in that deposit.
    pub fn new(deposit: Deposit, keyring: Arc<Keyring>) -> Self {
        Self { deposit, keyring }
    }

    /// A folder of plain files.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self::new(Deposit::file(path), Arc::default())
    }
}

impl SectorSecretStore for SectorSecretDeposit {
    fn load(&self) -> Result<Vec<(u32, SectorSecret)>, FileError> {
        let found = self
            .keyring
            .read_versions(&self.deposit, SecretKind::Sector)?;
        Ok(found
            .into_iter()
            .map(|(version, key)| (version, SectorSecret(key)))
            .collect())
    }

    fn create(&self, used: u32) -> Result<(u32, SectorSecret), FileError> {
        let next = self
            .keyring
            .versions(&self.deposit)?
            .into_iter()
            .fold(used, u32::max)
            + 1;
        let secret = Key::random();
        self.keyring
            .write(&self.deposit.version(next), SecretKind::Sector, &secret)?;
        Ok((next, SectorSecret(secret)))
    }

    fn destroy(&self, version: u32) -> Result<(), FileError> {
        self.keyring.destroy(&self.deposit.version(version))
    }

    fn is_off_machine(&self) -> bool {
        self.deposit.custody == Custody::Token
    }
}

/// All versions of a journal secret, by number; never none.
///
/// # Errors
/// When one cannot be read, or there is none.
pub fn read_journal(
    keyring: &Keyring,
    deposit: &Deposit,
) -> Result<Vec<(u32, JournalSecret)>, FileError> {
    let found = keyring.read_versions(deposit, SecretKind::Journal)?;
    let found = found.into_iter();
    Ok(found
        .map(|(version, key)| (version, JournalSecret(key)))
        .collect())
}

/// All versions of a secret in a folder of plain files, by number; never none.
///
/// # Errors
/// When the folder or a file cannot be read, or there is no version.
pub fn read_versions(folder: &Path, kind: SecretKind) -> Result<Vec<(u32, Key)>, FileError> {
    Keyring::default().read_versions(&Deposit::file(folder), kind)
}
