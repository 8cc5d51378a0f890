//! A folder into which a store is being restored. A file in it says so until the restore is whole:
//! meanwhile no server opens it, and another restore begins anew.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};

/// The file that says that a restore is not whole.
const MARK: &str = "RESTORING";
/// What the file says to people.
const NOTE: &str = "\
A restore into this folder is not finished. No server opens it. Run `cloison restore` again: it begins anew.
";
/// Stands in the mark where the restore made the folder, too.
const MADE: &str = "The restore made this folder, and removes it if it gives up.\n";
/// The file that says where a restored store came from, until its first start.
const ORIGIN: &str = "RESTORED";
/// What a new file system has in its folder.
const NEW_DISK: &str = "lost+found";

/// A folder that a restore may fill.
#[derive(Debug)]
pub struct RestoreFolder {
    path: PathBuf,
    /// Whether it was made for the restore.
    is_made: bool,
}

impl RestoreFolder {
    /// Takes an empty folder, or one that a restore left unfinished, which is emptied. It is made
    /// where there is none. The mark is durable on return.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], [`StoreError::InUse`], [`StoreError::Place`].
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let at = |source| StoreError::Place {
            path: path.to_owned(),
            source,
        };
        let is_made = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => was_made(path),
            Err(error) => return Err(at(error)),
        };
        let marked = is_restoring(path);
        if !marked && !is_empty(path).map_err(at)? {
            return Err(StoreError::NotEmpty(path.to_owned()));
        }
        let folder = Self {
            path: path.to_owned(),
            is_made,
        };
        if !marked {
            folder.mark().map_err(at)?;
        }
        folder.clear().map_err(at)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn mark(&self) -> io::Result<()> {
        let made = if self.is_made { MADE } else { "" };
        fs::write(self.path.join(MARK), [NOTE, made].concat())?;
        File::open(self.path.join(MARK))?.sync_all()?;
        self.sync()?;
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Makes the names in the folder durable.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Removes all but the mark.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() == MARK || entry.file_name() == NEW_DISK {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        self.sync()
    }

    /// Opens the store that was laid down here, for the rest of the restore.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(&self, owner: &str) -> Result<Store, StoreError> {
        Store::open_anyway(&self.path, owner, 1 << 20)
    }

    /// Gives the restore up: the folder is as empty as before, or gone where it was made for the
    /// restore.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn give_up(self) -> io::Result<()> {
        if self.is_made {
            return self.remove();
        }
        self.clear()?;
        self.unmark()
    }

    /// Removes the folder, the mark last.
    fn remove(self) -> io::Result<()> {
        self.clear()?;
        fs::remove_file(self.path.join(MARK))?;
        fs::remove_dir(&self.path)
    }

    /// Ends the restore: from now on a server opens the store, and its first start says that it
    /// came from `origin`. Close the store before.
    ///
    /// # Errors
    /// What the operating system says; it is not finished then.
    pub fn finish(self, origin: &str) -> io::Result<()> {
        note_origin(&self.path, origin)?;
        self.unmark()
    }

    fn unmark(self) -> io::Result<()> {
        self.sync()?;
        fs::remove_file(self.path.join(MARK))?;
        self.sync()
    }
}

/// A store that stands still, and a copy of it that is changed meanwhile and then takes its place.
///
/// The copy lies in a marked folder beside the store (`data/vault.restoring` beside `data/vault`),
/// and its tables are hard links at first. The exchange is one call, so a kill leaves the old store
/// or the new one; what it leaves beside goes with the next attempt or the next start.
pub struct StoreExchange {
    path: PathBuf,
    beside: RestoreFolder,
    /// Held open, so that no server takes it up.
    still: Store,
}

impl StoreExchange {
    /// Copies the store of `owner`.
    ///
    /// # Errors
    /// [`StoreError`]: as [`Store::open`]; the folder beside is not ours, or the disk is full.
    pub fn begin(path: &Path, owner: &str) -> Result<Self, StoreError> {
        if is_restoring(path) {
            return Err(StoreError::Restoring(path.to_owned()));
        }
        let still = Store::open(path, owner)?;
        let beside = RestoreFolder::take(&beside_of(path))?;
        still.engine.checkpoint(&beside.path.join(COPY))?;
        Ok(Self {
            path: path.to_owned(),
            beside,
            still,
        })
    }

    /// Opens the copy. Close it before it takes the store's place.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn copy(&self, owner: &str) -> Result<Store, StoreError> {
        Store::open_anyway(&self.beside.path.join(COPY), owner, 1 << 20)
    }

    /// Gives it up: the store is as it was.
    ///
    /// # Errors
    /// What the operating system says; a start removes what is left.
    pub fn give_up(self) -> io::Result<()> {
        self.beside.remove()
    }

    /// Puts the copy in the store's place, and removes the store that was there. The next start
    /// says that the store came from `origin`.
    ///
    /// # Errors
    /// What the operating system says. Where the store was not exchanged, it is as it was.
    pub fn finish(self, origin: &str) -> io::Result<()> {
        let copy = self.beside.path.join(COPY);
        note_origin(&copy, origin)?;
        File::open(&copy)?.sync_all()?;
        crate::system::exchange(&copy, &self.path)?;
        self.beside.sync()?;
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        drop(self.still);
        self.beside.remove()
    }
}

/// The name of the copy in its folder.
const COPY: &str = "store";

/// The folder for the copy of a store.
fn beside_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    path.with_file_name(name)
}

/// Removes what an exchange that was killed has left beside a store: a copy, or the store before.
/// Call it while no other process has the store.
pub(super) fn clear_beside(path: &Path) -> io::Result<()> {
    let beside = RestoreFolder {
        path: beside_of(path),
        is_made: true,
    };
    if is_restoring(&beside.path) {
        beside.remove()?;
    }
    Ok(())
}

/// Whether a restore that is not finished made that folder.
fn was_made(path: &Path) -> bool {
    fs::read_to_string(path.join(MARK)).is_ok_and(|mark| mark.ends_with(MADE))
}

/// Writes down where the store in a folder came from. Durable on return, but for the file's name.
fn note_origin(store: &Path, origin: &str) -> io::Result<()> {
    fs::write(store.join(ORIGIN), origin)?;
    File::open(store.join(ORIGIN))?.sync_all()
}

/// Where the store at that path was restored from, if it was not started since.
pub fn restored_from(path: &Path) -> Option<String> {
    fs::read_to_string(path.join(ORIGIN)).ok()
}

/// Notes that the restored store at that path was started.
///
/// # Errors
/// What the operating system says; the next start says once more that the store was restored.
pub fn forget_origin(path: &Path) -> io::Result<()> {
    fs::remove_file(path.join(ORIGIN))
}

/// Whether a restore into that folder is not finished.
pub(super) fn is_restoring(path: &Path) -> bool {
    fs::symlink_metadata(path.join(MARK)).is_ok()
}

fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != NEW_DISK {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_server_opens_a_store_before_its_restore_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        let restore = RestoreFolder::take(&path).unwrap();
        let refused = Store::open(&path, "test/vault");
        assert!(matches!(refused, Err(StoreError::Restoring(_))));
        drop(restore.open("test/vault").unwrap());
        assert!(matches!(
            Store::open(&path, "test/vault"),
            Err(StoreError::Restoring(_))
        ));
        restore.finish("the backup B").unwrap();
        drop(Store::open(&path, "test/vault").unwrap());
        assert_eq!(restored_from(&path).as_deref(), Some("the backup B"));
        forget_origin(&path).unwrap();
        assert_eq!(restored_from(&path), None);
        assert!(matches!(
            RestoreFolder::take(&path),
            Err(StoreError::NotEmpty(_))
        ));
    }

    #[test]
    fn a_copy_takes_the_stores_place_at_once_and_nothing_is_left_of_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let (path, owner) = (folder.path().join("vault"), "test/vault");
        let beside = folder.path().join("vault.restoring");
        drop(Store::open(&path, owner).unwrap());
        let mark = |store: &Store, mark| {
            let mut batch = crate::store::RowBatch::default();
            store.put_clock_mark(&mut batch, mark);
            store.commit(batch).unwrap();
        };
        for (mark_before, is_finished) in [(0, true), (7, false)] {
            let exchange = StoreExchange::begin(&path, owner).unwrap();
            assert!(Store::open(&path, owner).is_err(), "it stands still");
            let copy = exchange.copy(owner).unwrap();
            assert_eq!(copy.clock_mark().unwrap(), mark_before);
            mark(&copy, mark_before + 7);
            drop(copy);
            if is_finished {
                exchange.finish("a place").unwrap();
                assert!(!beside.exists());
            } else {
                // As a kill leaves it.
                drop(exchange);
                assert!(beside.exists());
            }
        }
        let store = Store::open(&path, owner).unwrap();
        assert_eq!(store.clock_mark().unwrap(), 7);
        assert!(!beside.exists(), "a start removes it");
        drop(store);
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("mine"), "x").unwrap();
        assert!(StoreExchange::begin(&path, owner).is_err());
        assert!(beside.join("mine").exists());
    }

    #[test]
    fn an_unfinished_restore_begins_anew_and_a_given_up_one_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        fs::create_dir_all(path.join(NEW_DISK)).unwrap();
        let restore = RestoreFolder::take(&path).unwrap();
        drop(restore.open("test/vault").unwrap());
        drop(restore);
        let restore = RestoreFolder::take(&path).unwrap();
        assert!(!Store::is_there(&path));
        restore.give_up().unwrap();
        assert!(is_empty(&path).unwrap());
        // A folder that the restore made is gone, also where it was killed in between.
        let path = folder.path().join("node");
        drop(RestoreFolder::take(&path).unwrap());
        RestoreFolder::take(&path).unwrap().give_up().unwrap();
        assert!(!path.exists());
    }
}
