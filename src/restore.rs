//! Restores a store from a backup: whole, or not at all.
//!
//! The files go into the store's own folder, which must be empty. A mark in it, durable before the
//! first file, keeps servers out until the restore is whole ([`RestoreFolder`]); a restore that was
//! killed begins anew. `CURRENT`, without which RocksDB has no store, comes last.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::backup::manifest::BackupManifest;
use crate::backup::repository::BackupRepository;
use crate::backup::{BackupProgress, RepositoryError};
use crate::store::{RestoreFolder, Store, StoreError};

/// The file that makes a folder a store.
const CURRENT: &str = "CURRENT";

/// Why a store was not restored. Nothing was left behind, unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The repository or the backup.
    #[error(transparent)]
    Backup(#[from] RepositoryError),
    /// The folder, or the store in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system; the folder is still marked.
    #[error("the restore cannot be finished: {0}")]
    Unfinished(io::Error),
}

/// Lays a backup's files down in an empty folder and checks what they are. The folder is marked as
/// unfinished still.
///
/// # Errors
/// [`RestoreError`]: the folder is not empty, a file of the backup is missing or damaged, the store is
/// not what the manifest says. The folder is empty again then.
pub fn lay_down(
    repository: &BackupRepository,
    manifest: &BackupManifest,
    target: &Path,
    progress: &BackupProgress,
) -> Result<RestoreFolder, RestoreError> {
    let folder = RestoreFolder::take(target)?;
    let laid = fill(repository, manifest, &folder, progress);
    match laid {
        Ok(()) => Ok(folder),
        Err(error) => {
            folder.give_up().map_err(RestoreError::Unfinished)?;
            Err(error)
        }
    }
}

fn fill(
    repository: &BackupRepository,
    manifest: &BackupManifest,
    folder: &RestoreFolder,
    progress: &BackupProgress,
) -> Result<(), RestoreError> {
    progress.expect(manifest.length());
    let (current, others): (Vec<_>, Vec<_>) =
        manifest.files.iter().partition(|file| file.name == CURRENT);
    for file in others.into_iter().chain(current) {
        repository.fetch(file, &folder.path().join(&file.name), &mut |bytes| {
            progress.read(bytes)
        })?;
    }
    let synced = folder.sync();
    synced.map_err(|error| RepositoryError::io(folder.path(), error))?;
    Store::check_columns(folder.path())?;
    manifest.check_store(&Store::open_for_audit(folder.path())?)?;
    Ok(())
}

/// Makes the folders above a store's, where they are missing.
///
/// # Errors
/// What the operating system says.
pub fn make_parent(store: &Path) -> io::Result<()> {
    match store.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => DirBuilder::new().mode(0o700).recursive(true).create(parent),
        None => Ok(()),
    }
}
