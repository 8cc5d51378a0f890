//! Sealing the files of a backup, each once: the server cannot open what it sealed before, so it
//! knows a file again by its mark, which the clear part of every backup states.
//!
//! Only what this process sealed, or a clear part of its own signature names, is used again; a file
//! that others put there is not. Other recipients than those of a backup get files of their own.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

use super::bytes::BytesDone;
use super::envelope::BackupRecipients;
use super::error::RepositoryError;
use super::listed::{ListedBackup, StoredFile};
use super::manifest::{BackupFile, BackupManifest};
use super::repository::WritableRepository;
use super::sealed::{SealedFile, SealedManifest, SealedPart};
use crate::seal::journal::JournalCipher;

/// Files that lie sealed in a repository, by their marks.
pub type SealedByMark = HashMap<[u8; 32], SealedPart>;

/// Seals the files of one backup.
pub(super) struct BackupSealer<'s> {
    place: WritableRepository<'s>,
    recipients: &'s BackupRecipients,
    journal: Arc<JournalCipher>,
    /// What this process sealed, and what backups name.
    known: &'s mut SealedByMark,
    files: Vec<SealedFile>,
}

impl<'s> BackupSealer<'s> {
    /// Reads which files the repository has for these recipients. `known` has those that this
    /// process sealed for them, also for a backup that failed.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub(super) fn begin(
        place: WritableRepository<'s>,
        recipients: &'s BackupRecipients,
        journal: Arc<JournalCipher>,
        key: &VerifyingKey,
        known: &'s mut SealedByMark,
    ) -> Result<Self, RepositoryError> {
        let texts = recipients.texts();
        for (_, backup) in place.repository.backups(key)?.backups {
            // What cannot be read is told by `list` and `prune`; here its files are sealed anew.
            let Ok(ListedBackup::Sealed(sealed)) = backup else {
                continue;
            };
            if sealed.recipients == texts {
                known.extend(sealed.files.iter().map(|file| (file.mark, file.part)));
            }
        }
        Ok(Self {
            place,
            recipients,
            journal,
            known,
            files: vec![],
        })
    }

    /// Seals the next file, in the order of the manifest, unless the repository has it.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]; [`RepositoryError::Changed`] where the source is not that file.
    pub(super) fn put(
        &mut self,
        file: &BackupFile,
        source: &Path,
        done: BytesDone<'_>,
    ) -> Result<(), RepositoryError> {
        let WritableRepository { repository, lock } = self.place;
        let id = repository.id().0;
        let marks: Vec<_> = self.journal.backup_marks(&id, &file.sha256).collect();
        let known = marks.iter().find_map(|mark| self.known.get(mark)).copied();
        let known = known.filter(|part| repository.has(&StoredFile::sealed(part)));
        let part = match known {
            Some(part) => part,
            None => repository.add_sealed(lock, file, source, self.recipients, done)?,
        };
        // The newest version's: there is one at least.
        let mark = marks[0];
        self.known.insert(mark, part);
        self.files.push(SealedFile { part, mark });
        Ok(())
    }

    /// Seals the signed manifest; returns the clear part, which is to be signed.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub(super) fn finish(
        self,
        manifest: &BackupManifest,
        signed: &str,
    ) -> Result<SealedManifest, RepositoryError> {
        let WritableRepository { repository, lock } = self.place;
        let part = repository.add_sealed_text(lock, signed, self.recipients)?;
        // Files of earlier backups are read from their clear parts the next time.
        *self.known = self.files.iter().map(|f| (f.mark, f.part)).collect();
        Ok(SealedManifest {
            id: manifest.id.clone(),
            owner: manifest.owner.clone(),
            repository: repository.id(),
            taken: manifest.taken,
            log: manifest.log.clone(),
            recipients: self.recipients.texts(),
            manifest: part,
            files: self.files,
        })
    }
}
