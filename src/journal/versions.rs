//! Which versions of the journal secret a store's side records need.

use std::collections::BTreeMap;

use crate::seal::journal::sealed_version;
use crate::store::rows::ScanStep;
use crate::store::{Store, StoreError};

/// The metric that tells which versions are needed: this one and later ones.
pub const OLDEST_JOURNAL_SECRET: &str = "cloison_journal_secret_oldest_needed";

/// The versions under which side records are sealed, as far as they were read. Each record is read
/// once.
#[derive(Debug, Default)]
pub struct JournalVersions {
    /// Version → the last entry whose record is sealed under it.
    last: BTreeMap<u32, u64>,
    /// The first entry whose record was not read yet.
    next: u64,
}

impl JournalVersions {
    /// The versions that a record in the store still needs, in order.
    ///
    /// # Errors
    /// [`StoreError`]; a record that is not of the format is one.
    pub fn needed(&mut self, store: &Store) -> Result<Vec<u32>, StoreError> {
        store.each_journal::<StoreError>(self.next, |entry, sealed| {
            let version = sealed_version(sealed).ok_or(StoreError::Corrupt("journal"))?;
            self.last.insert(version, entry);
            self.next = entry + 1;
            Ok(ScanStep::Next)
        })?;
        let first = store.first_journal()?;
        self.last
            .retain(|_, last| first.is_some_and(|first| *last >= first));
        Ok(self.last.keys().copied().collect())
    }
}
