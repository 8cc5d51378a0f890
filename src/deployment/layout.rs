//! A folder that is filled once: nothing is overwritten, secrets are private from their first byte,
//! and a failure leaves nothing behind.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::files::sync_folder;
use crate::keys::file::{FileError, SecretKind, write_private, write_public};
use crate::terminal::CommandError;

/// Where the vault's root secrets lie in a deployment.
pub const VAULT_SECRETS: &str = "secrets/vault";

/// The file of a secret within its holder's folder, for every place that makes, names or recovers
/// it. `name` is the version of a secret that has versions, the id of an authority's, and empty for
/// all others.
pub fn secret_file(kind: SecretKind, name: &str) -> String {
    match (kind, name) {
        (SecretKind::Segment | SecretKind::Checkpoint, _) => format!("{kind}.pem"),
        (SecretKind::Authority, id) => format!("{id}.secret"),
        (kind, "") => format!("{kind}.secret"),
        (kind, version) => format!("{kind}/{version}.secret"),
    }
}

/// The path of one of the vault's root secrets in a deployment.
pub fn vault_secret(kind: SecretKind, version: &str) -> String {
    format!("{VAULT_SECRETS}/{}", secret_file(kind, version))
}

/// The folder of one deployment while it is being written. If it is dropped before
/// [`NewFolder::finish`], it is emptied again.
pub struct NewFolder {
    root: PathBuf,
    /// Whether we made the root itself, and so may remove it.
    ours: bool,
    finished: bool,
}

impl NewFolder {
    /// Takes `root`, which must be absent or empty.
    ///
    /// # Errors
    /// When it is neither, or cannot be made.
    pub fn create(root: &Path) -> Result<Self, CommandError> {
        let ours = match DirBuilder::new().mode(0o700).create(root) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut entries = root
                    .read_dir()
                    .map_err(|error| CommandError::file(root, &error))?;
                if entries.next().is_some() {
                    return Err(CommandError::new(
                        format_args!("{} is not empty", root.display()),
                        "a deployment is never overwritten: name a folder that does not exist yet",
                    ));
                }
                false
            }
            Err(error) => return Err(CommandError::file(root, &error)),
        };
        Ok(Self {
            root: root.to_owned(),
            ours,
            finished: false,
        })
    }

    /// Writes a file that anyone who can enter the folder may read.
    pub fn public(&self, path: &str, text: &str) -> Result<(), CommandError> {
        write_public(&self.place(path)?, text.as_bytes()).map_err(|error| unwritten(&error))
    }

    /// Writes a file that only its owner may read (0600).
    pub fn secret(&self, path: &str, text: &str) -> Result<(), CommandError> {
        write_private(&self.place(path)?, text.as_bytes()).map_err(|error| unwritten(&error))
    }

    /// Where a new file goes; the folders above it exist afterwards.
    pub fn place(&self, path: &str) -> Result<PathBuf, CommandError> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above)?;
        }
        Ok(self.root.join(path))
    }

    /// Makes a folder (0700) and those above it.
    pub fn folder(&self, path: &str) -> Result<(), CommandError> {
        let path = self.root.join(path);
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&path)
            .map_err(|error| CommandError::file(&path, &error))
    }

    /// Makes the folders' names durable (the files are already) and keeps the folder.
    pub fn finish(mut self) -> Result<(), CommandError> {
        sync_folders(&self.root).map_err(|error| CommandError::file(&self.root, &error))?;
        if self.ours {
            sync_folder(&self.root).map_err(|error| CommandError::file(&self.root, &error))?;
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // The folder was absent or empty, so everything in it is ours. A failure cannot be reported
        // here.
        if self.ours {
            let _ = std::fs::remove_dir_all(&self.root);
        } else if let Ok(entries) = self.root.read_dir() {
            for path in entries.flatten().map(|entry| entry.path()) {
                let _ = if path.is_dir() {
                    std::fs::remove_dir_all(&path)
                } else {
                    std::fs::remove_file(&path)
                };
            }
        }
    }
}

/// A file could not be written.
pub fn unwritten(error: &FileError) -> CommandError {
    CommandError::new(error, "check the path and the disk; nothing is left behind")
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_private_and_nothing_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("d");
        let folder = NewFolder::create(&root).unwrap();
        folder.secret("secrets/a/one.secret", "x\n").unwrap();
        folder.public("tls/ca.pem", "y\n").unwrap();
        assert_eq!(mode(&root.join("secrets/a/one.secret")), 0o600);
        assert_eq!(mode(&root.join("secrets/a")), 0o700);
        assert_eq!(mode(&root), 0o700);
        assert!(folder.secret("secrets/a/one.secret", "z\n").is_err());
        folder.finish().unwrap();
        assert_eq!(
            std::fs::read_to_string(root.join("secrets/a/one.secret")).unwrap(),
            "x\n"
        );
        assert!(
            NewFolder::create(&root)
                .err()
                .unwrap()
                .message()
                .contains("not empty")
        );
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let absent = place.path().join("absent");
        let folder = NewFolder::create(&absent).unwrap();
        folder.secret("secrets/a.secret", "x\n").unwrap();
        drop(folder);
        assert!(!absent.exists());

        let empty = place.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let folder = NewFolder::create(&empty).unwrap();
        folder.secret("secrets/a.secret", "x\n").unwrap();
        folder.public("vault.toml", "y\n").unwrap();
        drop(folder);
        assert_eq!(empty.read_dir().unwrap().count(), 0);
    }
}
