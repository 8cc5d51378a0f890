//! The side records of the log: for each commit that changed state, what changed, sealed by the
//! entity that wrote it. The commit's last entry names the record.

use super::columns::{JOURNAL, META};
use super::fields::RowField as _;
use super::rows::{ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

/// The note up to which entry records were pruned.
const PRUNED: &[u8] = b"journal-pruned";

impl Store {
    /// Keeps the sealed record that entry number `entry` names.
    pub fn put_journal(&self, batch: &mut RowBatch, entry: u64, sealed: &[u8]) {
        self.put(batch, JOURNAL, &entry, sealed);
    }

    /// The sealed record that an entry names, unless it was pruned.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn journal(&self, entry: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(JOURNAL, &entry)
    }

    /// Hands `each` the records from entry number `from` on, with their numbers, in order.
    ///
    /// # Errors
    /// The first error of the engine or of `each`.
    pub fn each_journal<E: From<StoreError>>(
        &self,
        from: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<ScanStep, E>,
    ) -> Result<(), E> {
        self.each(
            JOURNAL,
            ScanRange::from(&from.to_be_bytes()).once(),
            |entry, sealed| each(entry, sealed),
        )
    }

    /// The number of the first entry that has a record here.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn first_journal(&self) -> Result<Option<u64>, StoreError> {
        let mut first = None;
        self.each_journal::<StoreError>(0, |entry, _| {
            first = Some(entry);
            Ok(ScanStep::Stop)
        })?;
        Ok(first)
    }

    /// The number of the first entry that a restore may still need: the first that has a record, or
    /// the one up to which records were pruned. `None` if no record was ever made.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn journal_needed(&self) -> Result<Option<u64>, StoreError> {
        match self.meta::<u64>(PRUNED)? {
            Some(pruned) => Ok(Some(pruned)),
            None => self.first_journal(),
        }
    }

    /// Deletes the records of the entries from number `from` on and before number `until`: one row
    /// in the batch, however many they are. What follows is still needed.
    pub fn prune_journal(&self, batch: &mut RowBatch, from: u64, until: u64) {
        self.delete_range(batch, JOURNAL.name, &from.bytes(), &until.bytes());
        self.put(batch, META, PRUNED, &until.bytes());
    }

    /// Clears the bytes of deleted records out of the files.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Unscrubbed`]: they may still be there then.
    pub fn clear_journal(&self) -> Result<(), StoreError> {
        let _guard = self.wait_for_compactions();
        self.engine.rewrite(&[JOURNAL.name])
    }
}
