//! A backup whose manifest was read, and whose files can be: in clear, or with the identities that
//! open them.

use std::io::{BufReader, Read as _, Write as _};
use std::path::Path;

use ed25519_dalek::VerifyingKey;

use super::bytes::{BytesDone, DigestPipe, PortionWriter, copy, open_regular};
use super::envelope::{BackupIdentities, OpenFault};
use super::error::RepositoryError;
use super::listed::{ListedBackup, StoredFile, check_format};
use super::manifest::{BackupManifest, LONGEST, ManifestError};
use super::repository::BackupRepository;
use super::sealed::SealedManifest;

/// A backup that can be restored.
pub struct OpenedBackup<'r> {
    repository: &'r BackupRepository,
    manifest: BackupManifest,
    sealed: Option<(SealedManifest, &'r BackupIdentities)>,
}

impl BackupRepository {
    /// Opens a backup; a sealed one takes the identities of its recipients.
    ///
    /// # Errors
    /// [`RepositoryError::NoIdentity`], [`RepositoryError::WrongIdentity`],
    /// [`RepositoryError::Manifest`], [`RepositoryError::Missing`], [`RepositoryError::Damaged`],
    /// [`RepositoryError::Format`].
    pub fn open_backup<'r>(
        &'r self,
        backup: ListedBackup,
        identities: Option<&'r BackupIdentities>,
        key: &VerifyingKey,
    ) -> Result<OpenedBackup<'r>, RepositoryError> {
        let sealed = match backup {
            ListedBackup::Clear(manifest) => {
                return Ok(OpenedBackup {
                    repository: self,
                    manifest,
                    sealed: None,
                });
            }
            ListedBackup::Sealed(sealed) => sealed,
        };
        let identities = identities.ok_or_else(|| RepositoryError::NoIdentity {
            id: sealed.id.clone(),
            recipients: sealed.recipients.clone(),
        })?;
        let manifest = self.open_manifest(&sealed, identities, key)?;
        Ok(OpenedBackup {
            repository: self,
            manifest,
            sealed: Some((sealed, identities)),
        })
    }

    /// Opens the manifest of a sealed backup, and compares it with the clear part.
    fn open_manifest(
        &self,
        sealed: &SealedManifest,
        identities: &BackupIdentities,
        key: &VerifyingKey,
    ) -> Result<BackupManifest, RepositoryError> {
        let wrong = |why| RepositoryError::Manifest {
            id: sealed.id.clone(),
            why,
        };
        let mut text = vec![];
        self.open_file(
            &StoredFile::sealed(&sealed.manifest),
            sealed,
            identities,
            |piece| {
                text.extend_from_slice(piece);
                if text.len() > LONGEST {
                    return Err(wrong(ManifestError::TooLong));
                }
                Ok(())
            },
        )?;
        let text = String::from_utf8(text).map_err(|_| wrong(ManifestError::Sealed))?;
        let manifest = BackupManifest::read(&text, key).map_err(wrong)?;
        let is_same = (&manifest.id, &manifest.owner) == (&sealed.id, &sealed.owner)
            && (manifest.taken, &manifest.log) == (sealed.taken, &sealed.log)
            && manifest.files.len() == sealed.files.len();
        if !is_same {
            return Err(wrong(ManifestError::Sealed));
        }
        check_format(&manifest)?;
        Ok(manifest)
    }

    /// Hands on what is sealed in a file, after which its sealed bytes are known to be the right
    /// ones.
    fn open_file(
        &self,
        file: &StoredFile,
        sealed: &SealedManifest,
        identities: &BackupIdentities,
        take: impl FnMut(&[u8]) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let path = self.path_of(file);
        // A byte more than it should have shows that it is longer; no more is read.
        let bytes = open_regular(&path).map(|bytes| bytes.take(file.length.saturating_add(1)));
        let bytes = bytes.map_err(|error| self.explain(file, error))?;
        let mut bytes = BufReader::new(DigestPipe::new(bytes));
        let opened = identities.open(&mut bytes, take);
        if let Err(OpenFault::Caller(error)) = opened {
            return Err(error);
        }
        // What did not open may be damaged: its hash says so, and tells that from a wrong identity.
        let mut bytes = bytes.into_inner();
        // An error of the disk says nothing of the bytes, even where they read well afterwards.
        if let Some(error) = bytes.take_fault() {
            return Err(RepositoryError::io(&path, error));
        }
        let rest = std::io::copy(&mut bytes, &mut std::io::sink());
        rest.map_err(|error| RepositoryError::io(&path, error))?;
        self.compare(file, Ok(bytes.finish().1))?;
        match opened {
            Ok(()) => Ok(()),
            Err(OpenFault::Recipient) => Err(RepositoryError::WrongIdentity {
                id: sealed.id.clone(),
                recipients: sealed.recipients.clone(),
            }),
            Err(OpenFault::Damaged | OpenFault::Caller(_)) => Err(self.damaged(file)),
        }
    }
}

impl OpenedBackup<'_> {
    /// What it holds.
    pub fn manifest(&self) -> &BackupManifest {
        &self.manifest
    }

    /// Whether it was sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// Copies a file of it, by its place in the manifest, elsewhere: in clear and durable but for
    /// its name. Compares length and hash, of a sealed file also those of the sealed bytes; `done`
    /// is told of clear bytes.
    ///
    /// # Errors
    /// [`RepositoryError::Missing`], [`RepositoryError::Link`], [`RepositoryError::Damaged`],
    /// [`RepositoryError::Io`]; [`RepositoryError::WrongIdentity`].
    pub fn fetch(
        &self,
        place: usize,
        to: &Path,
        done: BytesDone<'_>,
    ) -> Result<(), RepositoryError> {
        let wanted = &self.manifest.files[place];
        match &self.sealed {
            None => {
                let file = StoredFile::clear(wanted);
                let read = copy(&self.repository.path_of(&file), to, done);
                self.repository.compare(&file, read)
            }
            Some((sealed, identities)) => {
                let file = StoredFile {
                    called: wanted.name.clone(),
                    ..StoredFile::sealed(&sealed.files[place].part)
                };
                let mut out = DigestPipe::new(PortionWriter::create(to)?);
                self.repository
                    .open_file(&file, sealed, identities, |piece| {
                        let written = out.write_all(piece);
                        written.map_err(|error| RepositoryError::io(to, error))?;
                        done(piece.len() as u64)
                    })?;
                let (out, clear) = out.finish();
                out.finish()?;
                if (clear.length, clear.sha256) == (wanted.length, wanted.sha256) {
                    Ok(())
                } else {
                    Err(self.repository.damaged(&file))
                }
            }
        }
    }
}
