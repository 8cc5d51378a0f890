//! Whether the store's path still leads to the files that are open.
//!
//! A process that has files open can go on writing after their folder is deleted, moved away or
//! mounted over: every write succeeds, and all of it is lost when the process ends.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Store, StoreError};

/// A file that RocksDB writes once, with the store.
const IDENTITY: &str = "IDENTITY";
/// The file that RocksDB holds locked while the store is open.
pub(super) const LOCK: &str = "LOCK";
/// The file that names the present state's files. RocksDB replaces it now and then.
const CURRENT: &str = "CURRENT";

/// The files that tell an open store from another at the same path. Both are held open, so that no
/// other file gets their inodes.
pub(super) struct StorePlace {
    folder: File,
    identity: File,
    /// Only the inode: RocksDB has the file open, and to open and close it here would release
    /// RocksDB's lock.
    lock: Inode,
    /// The highest number of a write-ahead log seen so far: the log that is being written.
    last_log: AtomicU64,
}

/// Time between two looks. RocksDB changes its log in far less.
const MOMENT: Duration = Duration::from_millis(100);

/// Device and inode number.
type Inode = (u64, u64);

fn inode(facts: &Metadata) -> Inode {
    (facts.dev(), facts.ino())
}

impl StorePlace {
    /// Notes where an open store lies.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let open = |path: &Path| {
            File::options()
                .read(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(path)
        };
        // The store's own path may be a link.
        let (folder, identity) = (File::open(path)?, open(&path.join(IDENTITY))?);
        let lock = inode(&fs::symlink_metadata(path.join(LOCK))?);
        Ok(Self {
            folder,
            identity,
            lock,
            last_log: AtomicU64::new(last_log(path)?),
        })
    }

    /// Whether the path leads to the open files, at a first look or, after `moment`, at a second
    /// one. A listing is no snapshot: while RocksDB changes its log, it may show neither the old
    /// log nor the new one.
    fn is_here_at_second_look(&self, path: &Path, moment: impl FnOnce()) -> io::Result<bool> {
        let look = || match self.is_here(path) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            found => found,
        };
        if look()? {
            return Ok(true);
        }
        moment();
        look()
    }

    /// Whether the path leads to the open files.
    fn is_here(&self, path: &Path) -> io::Result<bool> {
        let found = |name: &str| fs::symlink_metadata(path.join(name)).map(|facts| inode(&facts));
        let known = inode(&fs::metadata(path)?) == inode(&self.folder.metadata()?)
            && found(IDENTITY)? == inode(&self.identity.metadata()?)
            && found(LOCK)? == self.lock;
        fs::symlink_metadata(path.join(CURRENT))?;
        // A new log is made before an older one goes, so the number never falls.
        let last = last_log(path)?;
        Ok(known && self.last_log.fetch_max(last, Ordering::Relaxed) <= last)
    }
}

/// The highest number of a write-ahead log in the folder; 0 where there is none.
fn last_log(path: &Path) -> io::Result<u64> {
    let mut last = 0;
    for entry in fs::read_dir(path)? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|end| end == "log") {
            let number = name
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            last = last.max(number.unwrap_or(0));
        }
    }
    Ok(last)
}

impl Store {
    /// Checks that the store's path still leads to the files that are open. If not, poisons the
    /// store. Call it about once a second.
    ///
    /// # Errors
    /// [`StoreError::Displaced`]
    pub fn look_at_place(&self) -> Result<(), StoreError> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        let is_here = match place.is_here_at_second_look(&self.path, || std::thread::sleep(MOMENT))
        {
            Ok(is_here) => is_here,
            // Out of descriptors, for example: that says nothing about the files.
            Err(error) => {
                tracing::warn!(%error, "cannot check that the store's files are still in place");
                true
            }
        };
        if is_here {
            return Ok(());
        }
        self.poisoned.store(true, Ordering::Release);
        Err(StoreError::Displaced(self.path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ChunkKey, RowBatch, Store};
    use super::*;

    fn write(store: &Store) -> Result<(), StoreError> {
        let mut batch = RowBatch::default();
        store.put_chunk(
            &mut batch,
            ChunkKey {
                sector: 1,
                epoch: 1,
                sequence: 1,
            },
            &[7; 600],
        );
        store.commit(batch)
    }

    /// What is done to a store's folder (`path`; `beside` is free).
    type Harm = fn(path: &Path, beside: &Path);

    fn remove(path: &Path, wanted: impl Fn(&str) -> bool) {
        let names = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let found: Vec<_> = names
            .filter(|path| wanted(path.file_name().unwrap().to_str().unwrap()))
            .collect();
        assert!(!found.is_empty());
        found.iter().for_each(|path| fs::remove_file(path).unwrap());
    }

    #[test]
    fn a_store_whose_files_are_gone_or_replaced_takes_no_more() {
        let harms: [(&str, Harm); 6] = [
            ("deleted", |path, _| fs::remove_dir_all(path).unwrap()),
            ("moved away", |path, beside| {
                fs::rename(path, beside).unwrap();
            }),
            ("deleted and made again", |path, _| {
                fs::remove_dir_all(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
            ("another in its place", |path, beside| {
                drop(Store::open(beside, "test/vault").unwrap());
                fs::remove_dir_all(path).unwrap();
                fs::rename(beside, path).unwrap();
            }),
            ("emptied", |path, _| remove(path, |_| true)),
            ("without its log", |path, _| {
                remove(path, |name| name.ends_with(".log"));
            }),
        ];
        for (name, harm) in harms {
            let folder = tempfile::tempdir().unwrap();
            let (path, beside) = (folder.path().join("store"), folder.path().join("beside"));
            let store = Store::open(&path, "test/vault").unwrap();
            write(&store).unwrap();
            store.look_at_place().unwrap();
            harm(&path, &beside);
            assert!(
                matches!(store.look_at_place(), Err(StoreError::Displaced(_))),
                "{name}"
            );
            assert!(matches!(write(&store), Err(StoreError::Poisoned)), "{name}");
        }
    }

    #[test]
    fn a_store_that_changes_its_log_and_its_files_is_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), "test/vault").unwrap();
        for _ in 0..3 {
            write(&store).unwrap();
            store.scrub().unwrap();
            store.look_at_place().unwrap();
        }
    }

    #[test]
    fn a_log_that_one_listing_misses_is_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside) = (folder.path().join("store"), folder.path().join("beside"));
        let store = Store::open(&path, "test/vault").unwrap();
        let place = store.place.as_ref().unwrap();
        let logs = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let log = logs
            .filter(|path| path.extension().is_some_and(|end| end == "log"))
            .max()
            .unwrap();
        fs::rename(&log, &beside).unwrap();
        assert!(
            place
                .is_here_at_second_look(&path, || fs::rename(&beside, &log).unwrap())
                .unwrap()
        );
        assert!(
            place
                .is_here_at_second_look(&path, || panic!("it was there at the first look"))
                .unwrap()
        );
        fs::rename(&log, &beside).unwrap();
        assert!(
            !place.is_here_at_second_look(&path, || ()).unwrap(),
            "what stays away is gone"
        );
    }
}
