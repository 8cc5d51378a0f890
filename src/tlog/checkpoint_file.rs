//! A file that holds the last checkpoint of a log and changes only by compare-and-swap. It reveals
//! two writers of one log, and a store that was restored from a backup. A log's second place is
//! such a file, on another disk than its store; a witness remembers each log in one. Callers say in
//! their own messages which of these it is.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::files::put_in_place;
use crate::system;
use crate::system::lock::unpoisoned;

/// Why a checkpoint was not read from its file, or not written to it.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointFileError {
    /// It cannot be read or written.
    #[error("the checkpoint file {0}: {1}")]
    Io(PathBuf, io::Error),
    /// Another process changed it.
    #[error(
        "the checkpoint in {0} is not the one that was last put there: it was deleted, or another process writes to it"
    )]
    Changed(PathBuf),
}

/// A file that holds one checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointFile {
    path: PathBuf,
    /// The device of its folder when this value was made. After an unmount, an empty folder on
    /// another device is left in its place.
    device: Option<u64>,
    /// What the file may have since a write of ours failed: what was to be put there, and what was
    /// there before. A write can fail after its rename.
    tried: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl CheckpointFile {
    /// The file at that path. Its folder must exist, and the folder's disk must be mounted.
    pub fn new(path: PathBuf) -> Self {
        let device = device(&path);
        let tried = Arc::default();
        Self {
            path,
            device,
            tried,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content; `None` if there is no file.
    ///
    /// # Errors
    /// [`CheckpointFileError::Io`]
    pub fn load(&self) -> Result<Option<Vec<u8>>, CheckpointFileError> {
        match fs::read(&self.path) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(error)),
        }
    }

    /// The content. A missing file counts as absent only while its folder is on the same device as
    /// at first.
    fn held(&self) -> Result<Option<Vec<u8>>, CheckpointFileError> {
        let found = self.load()?;
        let now = device(&self.path);
        let is_away = now.is_none() || self.device.is_some_and(|first| Some(first) != now);
        if found.is_none() && is_away {
            return Err(self.io(io::Error::other("the disk that it was on is not mounted")));
        }
        Ok(found)
    }

    /// Replaces the content `old` with `new`; durable on return.
    ///
    /// # Errors
    /// [`CheckpointFileError::Changed`] if the content is not `old`; [`CheckpointFileError::Io`],
    /// also if its disk is not mounted.
    pub fn swap(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), CheckpointFileError> {
        self.swap_after(old, new, || Ok(()))
    }

    /// The same; `before` is done under the lock, once the content is known to be `old`, and before
    /// it changes.
    ///
    /// # Errors
    /// As [`CheckpointFile::swap`]; an error of `before` is one of [`CheckpointFileError::Io`].
    pub fn swap_after(
        &self,
        old: Option<&[u8]>,
        new: &[u8],
        before: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), CheckpointFileError> {
        // Checked first, so that nothing is created in the folder of an unmounted disk.
        self.held()?;
        let name = |end: &str| {
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(end);
            self.path.with_file_name(name)
        };
        // The lock is a file of its own, because the checkpoint's file is replaced.
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let lock = options
            .open(name(".lock"))
            .map_err(|error| self.io(error))?;
        system::wait_for_lock(&lock).map_err(|error| self.io(error))?;
        let held = self.held()?;
        let mut tried = unpoisoned(self.tried.lock());
        if held.as_deref() != old && !held.as_ref().is_some_and(|held| tried.contains(held)) {
            return Err(CheckpointFileError::Changed(self.path.clone()));
        }
        before().map_err(|error| self.io(error))?;
        *tried = held.into_iter().chain([new.to_vec()]).collect();
        put_in_place(&name(".new"), &self.path, new, 0o600).map_err(|error| self.io(error))?;
        tried.clear();
        Ok(())
    }

    /// Whether the content is `wanted`, or what a write of ours that failed was to put there.
    ///
    /// # Errors
    /// [`CheckpointFileError::Io`]: it cannot be reached, for example because its disk is not
    /// mounted.
    pub fn still_holds(&self, wanted: &[u8]) -> Result<bool, CheckpointFileError> {
        let tried = unpoisoned(self.tried.lock());
        let is_ours = |found: Vec<u8>| found == wanted || tried.contains(&found);
        Ok(self.held()?.is_some_and(is_ours))
    }

    fn io(&self, error: io::Error) -> CheckpointFileError {
        CheckpointFileError::Io(self.path.clone(), error)
    }
}

/// The device of a file's folder.
fn device(path: &Path) -> Option<u64> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::metadata(folder).ok().map(|facts| facts.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (
            folder.path().join("checkpoint"),
            folder.path().join("victim"),
        );
        fs::write(&victim, "theirs").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("checkpoint.new")).unwrap();
        let place = CheckpointFile::new(path);
        place.swap(None, b"one").unwrap();
        assert_eq!(
            (place.load().unwrap().unwrap(), fs::read(&victim).unwrap()),
            (b"one".to_vec(), b"theirs".to_vec())
        );
        fs::remove_file(folder.path().join("checkpoint.lock")).unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("checkpoint.lock")).unwrap();
        assert!(matches!(
            place.swap(Some(b"one"), b"two"),
            Err(CheckpointFileError::Io(..))
        ));
    }

    #[test]
    fn only_a_caller_who_knows_the_content_may_change_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = CheckpointFile::new(folder.path().join("checkpoint"));
        assert_eq!(place.load().unwrap(), None);
        place.swap(None, b"one").unwrap();
        place.swap(Some(b"one"), b"two").unwrap();
        assert!(matches!(
            place.swap(Some(b"one"), b"three"),
            Err(CheckpointFileError::Changed(_))
        ));
        assert!(matches!(
            place.swap(None, b"three"),
            Err(CheckpointFileError::Changed(_))
        ));
        assert_eq!(place.load().unwrap().unwrap(), b"two");
        let nowhere = CheckpointFile::new(folder.path().join("no/such/folder"));
        assert!(matches!(
            nowhere.swap(None, b"x"),
            Err(CheckpointFileError::Io(..))
        ));
    }
    #[test]
    fn what_a_failed_write_left_is_not_anothers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let place = CheckpointFile::new(path.clone());
        place.swap(None, b"one").unwrap();
        // The write fails: its name beside the file is taken by a folder.
        let beside = folder.path().join("checkpoint.new");
        fs::create_dir(&beside).unwrap();
        let failed = place.swap(Some(b"one"), b"two");
        assert!(matches!(failed, Err(CheckpointFileError::Io(..))));
        // Here it could have failed after its rename.
        fs::write(&path, b"two").unwrap();
        assert!(place.still_holds(b"one").unwrap());
        let failed = place.swap(Some(b"one"), b"three");
        assert!(matches!(failed, Err(CheckpointFileError::Io(..))));
        fs::remove_dir(&beside).unwrap();
        place.swap(Some(b"one"), b"three").unwrap();
        assert_eq!(place.load().unwrap().unwrap(), b"three");
        // From then on it is another's again.
        fs::write(&path, b"two").unwrap();
        assert!(!place.still_holds(b"three").unwrap());
        let changed = place.swap(Some(b"three"), b"four");
        assert!(matches!(changed, Err(CheckpointFileError::Changed(_))));
    }
}
