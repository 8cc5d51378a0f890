//! Whether a backup is good: hashes, signature, format, columns, and the whole log, without any
//! secret; with the storage secrets, that every chunk opens. Of a sealed backup that takes an
//! identity; without one, signature and sealed bytes are compared.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;

use super::BackupProgress;
use super::branch::store_contains;
use super::envelope::BackupIdentities;
use super::error::RepositoryError;
use super::listed::{ListedBackup, StoredFile};
use super::manifest::BackupManifest;
use super::opened::OpenedBackup;
use super::repository::{BackupRepository, RepositoryLock};
use super::sealed::SealedManifest;
use crate::audit::origin::TrustedLogKey;
use crate::audit::shard_reader::ShardReader;
use crate::audit::source::StoreSource;
use crate::audit::verify::{LogExpectations, all};
use crate::seal::chunk::ChunkCipher;
use crate::store::{Store, StoreError, TreeRow};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::tree::leaf_hash;

/// A backup that was found good.
#[derive(Debug)]
pub struct GoodBackup {
    /// Its manifest.
    pub manifest: BackupManifest,
    /// Entries of its log, in all shards: every one of them was read.
    pub entries: u64,
    /// Chunks that were opened; `None` without storage secrets.
    pub chunks: Option<u64>,
}

/// What a verification found out.
#[derive(Debug)]
pub enum BackupVerification {
    /// It is good.
    Good(GoodBackup),
    /// It is sealed and nothing was there to open it: the sealed bytes are those that were signed.
    Unopened(SealedManifest),
}

/// Verifies backups of one repository.
pub struct BackupVerifier<'v> {
    /// The repository.
    pub repository: &'v BackupRepository,
    /// The right to write there; `None` where it is read-only.
    pub lock: Option<&'v RepositoryLock>,
    /// The key of its owner's checkpoints.
    pub key: VerifyingKey,
    /// The storage secrets, if chunks are to be opened.
    pub cipher: Option<&'v ChunkCipher>,
    /// What opens a sealed backup, if it is to be opened.
    pub identities: Option<&'v BackupIdentities>,
}

impl BackupVerifier<'_> {
    /// Verifies a backup.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(
        &self,
        backup: ListedBackup,
        progress: &BackupProgress,
    ) -> Result<BackupVerification, RepositoryError> {
        match (&backup, self.identities) {
            (ListedBackup::Sealed(sealed), None) => {
                self.check_stored(&backup, progress)?;
                return Ok(BackupVerification::Unopened(sealed.clone()));
            }
            (ListedBackup::Clear(_), _) => self.check_stored(&backup, progress)?,
            (ListedBackup::Sealed(_), Some(_)) => {}
        }
        let opened = self
            .repository
            .open_backup(backup, self.identities, &self.key)?;
        let work = Workplace::of(self.repository, self.lock)?;
        let folder = work.lay_out(self.repository, &opened, progress)?;
        let manifest = opened.manifest();
        Store::check_columns(&folder)?;
        let store = Store::open_for_audit(&folder)?;
        manifest.check_store(&store)?;
        let entries = self.check_log(&folder, &store, manifest)?;
        let chunks = self.cipher.map(|cipher| open_chunks(&store, cipher));
        Ok(BackupVerification::Good(GoodBackup {
            entries,
            chunks: chunks.transpose()?,
            manifest: manifest.clone(),
        }))
    }

    /// Compares every file as it lies there with what was signed.
    fn check_stored(
        &self,
        backup: &ListedBackup,
        progress: &BackupProgress,
    ) -> Result<(), RepositoryError> {
        progress.expect(backup.length());
        for file in backup.stored() {
            self.repository
                .check(&file, &mut |bytes| progress.read(bytes))?;
        }
        Ok(())
    }

    /// Checks every entry of every shard. A backup may end with entries that no checkpoint in it
    /// covers; those are under the root that the manifest signs.
    fn check_log(
        &self,
        folder: &Path,
        store: &Store,
        manifest: &BackupManifest,
    ) -> Result<u64, RepositoryError> {
        let trees = store.trees()?;
        let last = trees
            .last()
            .ok_or(RepositoryError::Differs("it has no log"))?;
        let stored = store.checkpoint(last.shard)?;
        let covered = stored.and_then(|note| Some(Checkpoint::read(&note).ok()?.0.size));
        let wanted = LogExpectations {
            keys: vec![TrustedLogKey::Owner(manifest.owner.clone(), self.key)],
            ..LogExpectations::default()
        };
        let source = StoreSource::open(folder).map_err(unreadable)?;
        let report = all(&source, &wanted, &mut |_, _, _| {}).map_err(unreadable)?;
        // A shard that has just begun has no checkpoint in the store yet.
        let is_new = |origin: &str| covered.is_none() && origin == last.shard.to_string();
        let finding = report.all_findings().find(|(origin, _)| !is_new(origin));
        if let Some((origin, finding)) = finding {
            return Err(RepositoryError::Log(format!("{origin}: {finding}")));
        }
        self.check_end(store, last, covered.unwrap_or(0), manifest)?;
        Ok(trees.iter().map(|tree| tree.size).sum())
    }

    /// Computes the root over the last shard from the entries beyond those that its stored
    /// checkpoint covers, and compares it with the one that the manifest signs; then the checkpoint
    /// that the manifest has with the log.
    fn check_end(
        &self,
        store: &Store,
        last: &TreeRow,
        covered: u64,
        manifest: &BackupManifest,
    ) -> Result<(), RepositoryError> {
        let mut tree = ShardReader::new(store, last, covered).tree()?;
        let rest = last.size.saturating_sub(covered);
        ShardReader::new(store, last, last.size).each::<StoreError>(
            covered,
            rest,
            |_, entry| {
                tree.push(leaf_hash(entry), |_, _| {});
                Ok(())
            },
        )?;
        if tree.root() != manifest.log.root || tree.size() != manifest.log.size {
            let why = "its entries do not have the root that the manifest signs";
            return Err(RepositoryError::Log(format!(
                "{}: {why}",
                manifest.log.origin
            )));
        }
        let Some(note) = &manifest.checkpoint else {
            return Ok(());
        };
        let (published, _) = Checkpoint::open(note.as_bytes(), &self.key).map_err(unreadable)?;
        if store_contains(store, &published)? {
            Ok(())
        } else {
            let why = "the log does not contain the checkpoint in the manifest";
            Err(RepositoryError::Log(format!("{}: {why}", published.origin)))
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> RepositoryError {
    RepositoryError::Log(error.to_string())
}

/// Opens every chunk; returns how many there are.
fn open_chunks(store: &Store, cipher: &ChunkCipher) -> Result<u64, RepositoryError> {
    let (mut opened, mut failed) = (0, 0);
    store.each_chunk::<StoreError>(|key, row| {
        match cipher.unwrap(&key.to_bytes(), row) {
            Ok(_) => opened += 1,
            Err(_) => failed += 1,
        }
        Ok(())
    })?;
    if failed > 0 {
        return Err(RepositoryError::Chunks { count: failed });
    }
    Ok(opened)
}

/// A folder to look at a backup in: within the repository, or among the temporary files where that
/// is read-only, or sealed: nothing in clear goes to its place. Dropping it removes the folder.
pub struct Workplace(PathBuf);

impl Workplace {
    /// A folder of its own.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub fn of(
        repository: &BackupRepository,
        lock: Option<&RepositoryLock>,
    ) -> Result<Self, RepositoryError> {
        if let Some(lock) = lock.filter(|_| !repository.is_sealed()) {
            return repository.workplace(lock).map(Self);
        }
        let name = format!("cloison-backup-{}", crate::clock::random_uuid());
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| RepositoryError::io(&path, error))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A folder in which the files of a backup have their names in the store. They are links,
    /// because it is only read; those of a sealed backup are opened into it.
    fn lay_out(
        &self,
        repository: &BackupRepository,
        opened: &OpenedBackup<'_>,
        progress: &BackupProgress,
    ) -> Result<PathBuf, RepositoryError> {
        let folder = self.0.join("store");
        let at = |error| RepositoryError::io(&folder, error);
        DirBuilder::new().mode(0o700).create(&folder).map_err(at)?;
        let manifest = opened.manifest();
        if opened.is_sealed() {
            progress.expect(manifest.length());
        }
        let files = repository.folder().canonicalize().map_err(at)?;
        for (place, file) in manifest.files.iter().enumerate() {
            let to = folder.join(&file.name);
            if opened.is_sealed() {
                opened.fetch(place, &to, &mut |bytes| progress.read(bytes))?;
                continue;
            }
            let lies = repository.path_of(&StoredFile::clear(file));
            let lies = lies.strip_prefix(repository.folder()).unwrap_or(&lies);
            symlink(files.join(lies), to).map_err(at)?;
        }
        Ok(folder)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
