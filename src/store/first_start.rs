//! A store is made only at a first start that was prepared.
//!
//! A disk that is not mounted leaves a path without a store, as before a first start. A vault that
//! made a new store there would have lost every mapping, erasure, revocation and retired epoch. So
//! a first start must be announced: by a note beside the store's path, which `cloison init` leaves
//! there, or by an option on the command line.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::restoring::is_restoring;
use super::{Store, StoreError};

/// Permission to make a store where there is none.
#[must_use]
#[derive(Debug)]
pub struct FirstStart {
    note: PathBuf,
}

impl FirstStart {
    /// What the note says to people; its presence is what counts.
    pub const NOTE: &str = "\
There is no store beside this file yet. The first start makes one, and removes this file. Without this file a start that finds
no store refuses, because a disk that is not mounted looks the same. If the store is to lie on a disk of its own, mount that
disk first and move this file onto it.
";

    /// The note that announces the first start of the store at that path: `data/vault.first-start`
    /// for `data/vault`.
    pub fn note(store: &Path) -> PathBuf {
        let mut name = store.file_name().unwrap_or_default().to_owned();
        name.push(".first-start");
        store.with_file_name(name)
    }

    /// Permits a start where there is a store, or where a first one was announced by the note or is
    /// asked for. Makes nothing.
    ///
    /// # Errors
    /// [`StoreError::Absent`]; [`StoreError::Restoring`] where a restore is not finished.
    pub fn permit(store: &Path, is_asked_for: bool) -> Result<Self, StoreError> {
        if is_restoring(store) {
            return Err(StoreError::Restoring(store.to_owned()));
        }
        let note = Self::note(store);
        if Store::is_absent(store) && !is_asked_for && !note.exists() {
            return Err(StoreError::Absent(store.to_owned()));
        }
        Ok(Self { note })
    }

    /// Takes the permission back, once the store is there: makes the store's folder durable by
    /// name, then removes the note.
    ///
    /// # Errors
    /// What the operating system says; the note is still there then.
    pub fn end(self) -> io::Result<()> {
        if !self.note.exists() {
            return Ok(());
        }
        let folder = self
            .note
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let folder = File::open(folder)?;
        folder.sync_all()?;
        fs::remove_file(&self.note)?;
        folder.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_made_only_at_a_first_start_that_was_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        assert!(matches!(
            FirstStart::permit(&path, false),
            Err(StoreError::Absent(_))
        ));
        // An empty folder, and the one that a new file system has: a mount point, or a disk that
        // was made anew.
        fs::create_dir_all(path.join("lost+found")).unwrap();
        assert!(matches!(
            FirstStart::permit(&path, false),
            Err(StoreError::Absent(_))
        ));
        FirstStart::permit(&path, true).unwrap().end().unwrap();

        let note = folder.path().join("vault.first-start");
        fs::write(&note, FirstStart::NOTE).unwrap();
        let first = FirstStart::permit(&path, false).unwrap();
        drop(Store::open(&path, "test/vault").unwrap());
        first.end().unwrap();
        assert!(!note.exists());
        FirstStart::permit(&path, false).unwrap().end().unwrap();

        // Files without the one that says which of them count are a damaged store, and opening it
        // says so.
        fs::remove_file(path.join("CURRENT")).unwrap();
        let _ = FirstStart::permit(&path, false).unwrap();
        assert!(matches!(
            Store::open(&path, "test/vault"),
            Err(StoreError::Headless(_))
        ));
    }
}
