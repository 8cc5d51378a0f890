//! The second place of the last checkpoint: a file on another disk than the store's. It is changed by compare-and-swap before
//! a checkpoint is published, so that two writers of one log, or a store from a backup, are noticed.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::keys::file::{FileFault, put_in_place};
use crate::system;

/// Why the second place did not take or give a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum SecondError {
    /// It cannot be read or written.
    #[error("the last checkpoint that is kept in {0}: {1}")]
    Io(PathBuf, io::Error),
    /// Somebody else changed it.
    #[error(
        "the last checkpoint that is kept in {0} is not the one that was last put there: it was deleted, or another process \
         extends the same log"
    )]
    Changed(PathBuf),
    /// No thread.
    #[error("no thread to sign checkpoints in: {0}")]
    Thread(io::Error),
}

/// A file that holds one checkpoint.
#[derive(Debug, Clone)]
pub struct SecondPlace {
    path: PathBuf,
    /// The device that its folder lay on at first: where a disk is unmounted, an empty folder of another one is left.
    device: Option<u64>,
}

impl SecondPlace {
    /// At that path; its folder must exist, and the disk that it is on be mounted.
    pub fn new(path: PathBuf) -> Self {
        let device = device(&path);
        Self { path, device }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is there.
    ///
    /// # Errors
    /// [`SecondError::Io`]
    pub fn load(&self) -> Result<Option<Vec<u8>>, SecondError> {
        match fs::read(&self.path) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(error)),
        }
    }

    /// What is there; that nothing is there is believed only of the disk that it was on at first.
    fn held(&self) -> Result<Option<Vec<u8>>, SecondError> {
        let found = self.load()?;
        let now = device(&self.path);
        let is_away = now.is_none() || self.device.is_some_and(|first| Some(first) != now);
        match found.is_none() && is_away {
            true => Err(self.io(io::Error::other("the disk that it was on is away"))),
            false => Ok(found),
        }
    }

    /// Puts `new` there if `old` is what is there; durable on return.
    ///
    /// # Errors
    /// [`SecondError::Changed`] where something else is there, [`SecondError::Io`], also where its disk is away.
    pub fn swap(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), SecondError> {
        // Before anything is made in the folder of a disk that is away.
        self.held()?;
        let name = |end: &str| {
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(end);
            self.path.with_file_name(name)
        };
        // The lock is on a file of its own: the checkpoint's is replaced.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let lock = options.open(name(".lock")).map_err(|error| self.io(error))?;
        system::wait_for_lock(&lock).map_err(|error| self.io(error))?;
        if self.held()?.as_deref() != old {
            return Err(SecondError::Changed(self.path.clone()));
        }
        put_in_place(&name(".new"), &self.path, new, 0o600).map_err(|fault| match fault {
            FileFault::Io(error) => self.io(error),
            fault => self.io(io::Error::other(fault.to_string())),
        })
    }

    /// Whether `wanted` is what is there.
    ///
    /// # Errors
    /// [`SecondError::Io`]: it cannot be reached, as a disk that is away for a while. Nothing can be published there meanwhile.
    pub(super) fn still_holds(&self, wanted: &[u8]) -> Result<bool, SecondError> {
        Ok(self.held()?.is_some_and(|found| found == wanted))
    }

    fn io(&self, error: io::Error) -> SecondError {
        SecondError::Io(self.path.clone(), error)
    }
}

/// The device of the folder that a file lies in.
fn device(path: &Path) -> Option<u64> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::metadata(folder).ok().map(|facts| facts.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("checkpoint"), folder.path().join("victim"));
        fs::write(&victim, "theirs").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("checkpoint.new")).unwrap();
        let place = SecondPlace::new(path);
        place.swap(None, b"one").unwrap();
        assert_eq!((place.load().unwrap().unwrap(), fs::read(&victim).unwrap()), (b"one".to_vec(), b"theirs".to_vec()));
        fs::remove_file(folder.path().join("checkpoint.lock")).unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("checkpoint.lock")).unwrap();
        assert!(matches!(place.swap(Some(b"one"), b"two"), Err(SecondError::Io(..))));
    }

    #[test]
    fn only_who_knows_what_is_there_may_change_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = SecondPlace::new(folder.path().join("checkpoint"));
        assert_eq!(place.load().unwrap(), None);
        place.swap(None, b"one").unwrap();
        place.swap(Some(b"one"), b"two").unwrap();
        assert!(matches!(place.swap(Some(b"one"), b"three"), Err(SecondError::Changed(_))));
        assert!(matches!(place.swap(None, b"three"), Err(SecondError::Changed(_))));
        assert_eq!(place.load().unwrap().unwrap(), b"two");
        let nowhere = SecondPlace::new(folder.path().join("no/such/folder"));
        assert!(matches!(nowhere.swap(None, b"x"), Err(SecondError::Io(..))));
    }
}
