//! A backup as its repository tells of it, without any secret: all that listing, pruning and
//! looking for missing files need, whether it is sealed or not.

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;

use super::error::RepositoryError;
use super::manifest::{BackupFile, BackupId, BackupLogHead, BackupManifest, ManifestError};
use super::repository::BackupRepository;
use super::sealed::{SealedManifest, SealedPart};
use crate::id::hex;
use crate::jws::JwsError;
use crate::store::Store;

/// What follows the hash in the name of a sealed file.
pub(super) const SEALED_ENDING: &str = ".age";

/// A backup whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedBackup {
    /// Its manifest lies there in clear.
    Clear(BackupManifest),
    /// Its manifest is sealed, and this lies beside it in clear.
    Sealed(SealedManifest),
}

/// A file that a backup needs, as it lies in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// What it is called in messages: in the store, or else in the repository.
    pub called: String,
    /// Its name in the folder `files`.
    pub name: String,
    /// Its bytes there.
    pub length: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

impl StoredFile {
    /// A file that lies there in clear.
    pub(super) fn clear(file: &BackupFile) -> Self {
        Self {
            called: file.name.clone(),
            name: hex(&file.sha256),
            length: file.length,
            sha256: file.sha256,
        }
    }

    /// A file that lies there sealed.
    pub(super) fn sealed(part: &SealedPart) -> Self {
        let name = hex(&part.sha256) + SEALED_ENDING;
        Self {
            called: name.clone(),
            name,
            length: part.length,
            sha256: part.sha256,
        }
    }
}

impl ListedBackup {
    /// Reads one that the key of its owner's checkpoints must have signed.
    fn read(text: &str, key: &VerifyingKey, is_sealed: bool) -> Result<Self, ManifestError> {
        if is_sealed {
            SealedManifest::read(text, key).map(Self::Sealed)
        } else {
            BackupManifest::read(text, key).map(Self::Clear)
        }
    }

    /// Its id.
    pub fn id(&self) -> &BackupId {
        match self {
            Self::Clear(manifest) => &manifest.id,
            Self::Sealed(sealed) => &sealed.id,
        }
    }

    /// Whose store it is.
    pub fn owner(&self) -> &str {
        match self {
            Self::Clear(manifest) => &manifest.owner,
            Self::Sealed(sealed) => &sealed.owner,
        }
    }

    /// When it was taken.
    pub fn taken(&self) -> Timestamp {
        match self {
            Self::Clear(manifest) => manifest.taken,
            Self::Sealed(sealed) => sealed.taken,
        }
    }

    /// The end of its log.
    pub fn log(&self) -> &BackupLogHead {
        match self {
            Self::Clear(manifest) => &manifest.log,
            Self::Sealed(sealed) => &sealed.log,
        }
    }

    /// To whom it is sealed; empty if it is not.
    pub fn recipients(&self) -> &[String] {
        match self {
            Self::Clear(_) => &[],
            Self::Sealed(sealed) => &sealed.recipients,
        }
    }

    /// The files that it needs, as they lie in the repository.
    pub fn stored(&self) -> Vec<StoredFile> {
        match self {
            Self::Clear(manifest) => manifest.files.iter().map(StoredFile::clear).collect(),
            Self::Sealed(sealed) => {
                let parts = sealed.files.iter().map(|file| &file.part);
                let parts = parts.chain([&sealed.manifest]);
                parts.map(StoredFile::sealed).collect()
            }
        }
    }

    /// Bytes of them together. What is not verified may name any lengths.
    pub fn length(&self) -> u64 {
        let lengths = self.stored().into_iter().map(|file| file.length);
        lengths.fold(0, u64::saturating_add)
    }
}

/// The backups in a repository.
#[derive(Debug, Default)]
pub struct BackupListing {
    /// Each, or why it is none: those first, then in the order in which the backups were taken.
    pub backups: Vec<(BackupId, Result<ListedBackup, RepositoryError>)>,
    /// Names among the manifests that are no manifest's.
    pub foreign: Vec<String>,
}

impl BackupListing {
    /// All of them, oldest first.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn all(self) -> Result<Vec<ListedBackup>, RepositoryError> {
        self.backups.into_iter().map(|(_, backup)| backup).collect()
    }
}

impl BackupRepository {
    /// The backups that lie here, signed by `key`. One text is in memory at a time: a repository in
    /// bad hands may have many that nobody signed.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn backups(&self, key: &VerifyingKey) -> Result<BackupListing, RepositoryError> {
        let found = self.manifest_names()?;
        let read = |id: BackupId| {
            let backup = self.read_backup(&id, key);
            (id, backup)
        };
        let mut backups: Vec<_> = found.ids.into_iter().map(read).collect();
        // By their ids, and not by their places in the log: they may be of several branches.
        backups.sort_by_key(|(_, backup)| backup.is_ok());
        Ok(BackupListing {
            backups,
            foreign: found.foreign,
        })
    }

    /// A backup, signed by `key`.
    ///
    /// # Errors
    /// [`RepositoryError::Unknown`], and those of `read_backup`.
    pub(super) fn named_backup(
        &self,
        text: &str,
        key: &VerifyingKey,
    ) -> Result<ListedBackup, RepositoryError> {
        let unknown = || RepositoryError::Unknown(text.to_owned());
        let id = BackupId::parse(text).ok_or_else(unknown)?;
        self.read_backup(&id, key)
    }

    /// Reads the manifest that lies here under a name.
    ///
    /// # Errors
    /// Those of `manifest_text`; [`RepositoryError::Manifest`], [`RepositoryError::Mixed`],
    /// [`RepositoryError::Renamed`], [`RepositoryError::Moved`], [`RepositoryError::Owner`],
    /// [`RepositoryError::Format`].
    pub(super) fn read_backup(
        &self,
        name: &BackupId,
        key: &VerifyingKey,
    ) -> Result<ListedBackup, RepositoryError> {
        let (text, is_sealed) = (self.manifest_text(name)?, self.is_sealed());
        let backup = ListedBackup::read(&text, key, is_sealed).map_err(|why| {
            let is_of_other_type = why == ManifestError::Text(JwsError::Type);
            if is_of_other_type && ListedBackup::read(&text, key, !is_sealed).is_ok() {
                self.mixed(name)
            } else {
                let id = name.clone();
                RepositoryError::Manifest { id, why }
            }
        })?;
        if backup.id() != name {
            return Err(RepositoryError::Renamed {
                name: name.clone(),
                id: backup.id().clone(),
            });
        }
        if backup.owner() != self.owner() {
            return Err(RepositoryError::Owner {
                path: self.folder().to_owned(),
                found: backup.owner().to_owned(),
                wanted: self.owner().to_owned(),
            });
        }
        match &backup {
            ListedBackup::Clear(manifest) => check_format(manifest)?,
            ListedBackup::Sealed(sealed) if sealed.repository != self.id() => {
                return Err(RepositoryError::Moved(name.clone()));
            }
            ListedBackup::Sealed(_) => {}
        }
        Ok(backup)
    }

    fn mixed(&self, id: &BackupId) -> RepositoryError {
        let (is, other) = if self.is_sealed() {
            ("not sealed", "sealed")
        } else {
            ("sealed", "not sealed")
        };
        RepositoryError::Mixed {
            id: id.clone(),
            is,
            other,
            path: self.folder().to_owned(),
        }
    }
}

/// Checks that this program reads the store that a manifest describes.
///
/// # Errors
/// [`RepositoryError::Format`]
pub(super) fn check_format(manifest: &BackupManifest) -> Result<(), RepositoryError> {
    match manifest.format {
        1..=Store::FORMAT => Ok(()),
        found => Err(RepositoryError::Format {
            found,
            known: Store::FORMAT,
        }),
    }
}
