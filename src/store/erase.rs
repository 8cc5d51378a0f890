//! Erasures in the store: destroy salts, add tombstones, note what is still to be destroyed, and
//! clear the bytes of destroyed rows out of the files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::columns::{
    AUDIT_SALT, AUDIT_TAG, CHUNK, ColumnName, ENTRY_INDEX, ERASURE_DUE, INDEX, LOOK_UPS, META,
    ORDER_PAIR, TOMBSTONE,
};
use super::fields::{NameField, RowField as _};
use super::orders::OrderKey;
use super::rows::{ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

/// Prefix of the notes of erasures that no scrub has followed yet; the erasure's id follows it.
/// Each erasure has its own note, so that a scrub strikes out those that came before it began, and
/// no later one.
const SCRUB_DUE: &[u8] = b"scrub-due/";
/// The note of the last erasure that backups or side records may not have followed.
const LAST_ERASURE: &[u8] = b"last-erasure";
/// The columns that erasures destroy rows of.
const SCRUBBED: [ColumnName; 7] = [
    CHUNK.name,
    INDEX.name,
    AUDIT_SALT.name,
    AUDIT_TAG.name,
    ENTRY_INDEX.name,
    ERASURE_DUE.name,
    ORDER_PAIR.name,
];
/// How often a scrub that waits looks whether the other one has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Tags that are destroyed at once.
const MOST_DUE: usize = 1_000;

/// A tag whose erasure has waited for its age.
pub struct ErasureDue {
    /// The tag.
    pub tag: [u8; 16],
    /// When it was (Unix seconds).
    time: i64,
}

impl ErasureDue {
    /// When it is or was due (Unix seconds).
    pub fn time(&self) -> i64 {
        self.time
    }
}

/// The last erasure, for as long as something outside the live rows is older than it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastErasure {
    /// The number of the first entry that was not there before it: what holds fewer entries is
    /// older.
    pub entry: u64,
    /// When it was (Unix seconds).
    pub time: i64,
}

/// The right to decide whether compactions move chunks. Only one holder has it at a time.
pub(super) struct CompactionGuard<'s>(&'s AtomicBool);

impl Drop for CompactionGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Store {
    /// The salt of an entry, if it has one.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn salt(&self, entry: u64) -> Result<Option<[u8; 16]>, StoreError> {
        self.get(AUDIT_SALT, &entry)
    }

    /// Destroys the salt of an entry.
    pub fn delete_salt(&self, batch: &mut RowBatch, entry: u64) {
        self.delete(batch, AUDIT_SALT, &entry);
    }

    /// Goes through all pairs of orders and tags that were counted.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn each_order_pair(
        &self,
        mut each: impl FnMut(OrderKey, [u8; 16]),
    ) -> Result<(), StoreError> {
        self.each(ORDER_PAIR, ScanRange::ALL.once(), |(order, tag), _| {
            each(order, tag);
            Ok(ScanStep::Next)
        })
    }

    /// Replaces a counted tag by one that belongs to no pseudonym. The count stays, because it
    /// limits the order.
    pub fn replace_order_pair(
        &self,
        batch: &mut RowBatch,
        order: &OrderKey,
        tag: &[u8; 16],
        with: &[u8; 16],
    ) {
        self.delete(batch, ORDER_PAIR, &(order.clone(), *tag));
        self.put_order_pair(batch, order, with);
    }

    /// The tombstones of a sector's erased pseudonyms.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tombstones(&self, sector: Uuid) -> Result<Vec<[u8; 16]>, StoreError> {
        let rows = self.rows(TOMBSTONE, sector.as_bytes())?.into_iter();
        Ok(rows.map(|((_, tombstone), _)| tombstone).collect())
    }

    /// Notes that a pseudonym was erased, and when (Unix seconds).
    pub fn put_tombstone(
        &self,
        batch: &mut RowBatch,
        sector: Uuid,
        tombstone: &[u8; 16],
        time: i64,
    ) {
        self.put(batch, TOMBSTONE, &(sector, *tombstone), &time);
    }

    /// Tags whose erasure waits for their age until `now` (Unix seconds), with the keys to strike
    /// them out by.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn erasures_due(&self, now: i64) -> Result<Vec<ErasureDue>, StoreError> {
        let end = now.saturating_add(1).to_be_bytes();
        let keys = self.keys_before(ERASURE_DUE, &end, MOST_DUE)?.into_iter();
        Ok(keys.map(|(time, tag)| ErasureDue { tag, time }).collect())
    }

    /// Notes that a tag is to be destroyed wherever it still lies at that time (Unix seconds).
    pub fn put_erasure_due(&self, batch: &mut RowBatch, time: i64, tag: &[u8; 16]) {
        self.put(batch, ERASURE_DUE, &(time, *tag), &());
    }

    /// Strikes out the note of a tag that was destroyed.
    pub fn delete_erasure_due(&self, batch: &mut RowBatch, due: &ErasureDue) {
        self.delete(batch, ERASURE_DUE, &(due.time, due.tag));
    }

    /// Look-ups that a rights officer made on a day (days since 1970).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn look_ups(&self, officer: &str, day: u32) -> Result<u64, StoreError> {
        Ok(self
            .get(LOOK_UPS, &(NameField::of(officer), day))?
            .unwrap_or(0))
    }

    /// Writes how many look-ups a rights officer made on a day, and forgets the days before.
    pub fn put_look_ups(&self, batch: &mut RowBatch, officer: &str, day: u32, count: u64) {
        let (first, today) = (
            (NameField::of(officer), 0_u32),
            (NameField::of(officer), day),
        );
        self.delete_range(batch, LOOK_UPS.name, &first.bytes(), &today.bytes());
        self.put(batch, LOOK_UPS, &today, &count);
    }

    /// Notes durably that an erasure still needs a scrub, so that a restart does not forget it.
    pub fn put_scrub_due(&self, batch: &mut RowBatch, erasure: Uuid) {
        let key = [SCRUB_DUE, erasure.hyphenated().to_string().as_bytes()].concat();
        self.put(batch, META, &key[..], &[]);
    }

    /// Notes that what older backups and side records hold was erased: `entry` is the number of
    /// the next entry, the first that they lack; `time` is in Unix seconds. An earlier note is
    /// replaced, because what is older than this erasure is older than the one before.
    pub fn put_last_erasure(&self, batch: &mut RowBatch, entry: u64, time: i64) {
        self.put(batch, META, LAST_ERASURE, &(entry, time).bytes());
    }

    /// The last erasure that backups or side records may not have followed yet.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn last_erasure(&self) -> Result<Option<LastErasure>, StoreError> {
        let row = self.meta::<(u64, i64)>(LAST_ERASURE)?;
        Ok(row.map(|(entry, time)| LastErasure { entry, time }))
    }

    /// Strikes out the note of an erasure that no backup and no side record is older than.
    pub fn delete_last_erasure(&self, batch: &mut RowBatch) {
        self.delete(batch, META, LAST_ERASURE);
    }

    /// Whether there is an erasure that no scrub has followed.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn is_scrub_due(&self) -> Result<bool, StoreError> {
        self.due(SCRUB_DUE).map(|due| !due.is_empty())
    }

    /// Clears the bytes of what was destroyed out of the files: flushes, so that the write-ahead
    /// log goes, and compacts. Copies every live chunk, which may take long in a large store. Keys
    /// at the edges of files may stay in RocksDB's manifest until the next start. Waits while
    /// another one is under way.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Poisoned`], [`StoreError::Unscrubbed`]. Nothing is
    /// lost then, and what was destroyed may still be there: the scrub stays due.
    pub fn scrub(&self) -> Result<(), StoreError> {
        let _guard = self.wait_for_compactions();
        self.clear_away(&self.due(SCRUB_DUE)?)
    }

    /// Scrubs if a scrub is due. Returns whether it was. If several calls wait, the first one does
    /// the work of all.
    ///
    /// # Errors
    /// As [`Store::scrub`].
    pub fn scrub_due(&self) -> Result<bool, StoreError> {
        let _guard = self.wait_for_compactions();
        let due = self.due(SCRUB_DUE)?;
        if due.is_empty() {
            return Ok(false);
        }
        self.clear_away(&due).map(|()| true)
    }

    /// The right to decide whether compactions move chunks, unless a scrub or [`Store::reclaim`]
    /// holds it.
    pub(super) fn guard_compactions(&self) -> Option<CompactionGuard<'_>> {
        let taken =
            self.scrubbed
                .compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        taken.ok().map(|_| CompactionGuard(&self.scrubbed))
    }

    pub(super) fn wait_for_compactions(&self) -> CompactionGuard<'_> {
        loop {
            match self.guard_compactions() {
                Some(guard) => return guard,
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// The notes with a prefix: what is still to be cleared out of the files.
    pub(super) fn due(&self, begin: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self
            .rows(META, begin)?
            .into_iter()
            .map(|(key, _)| key)
            .collect())
    }

    /// Strikes out the notes of what was cleared out of the files.
    pub(super) fn strike_out(&self, due: &[Vec<u8>]) -> Result<(), StoreError> {
        if due.is_empty() {
            return Ok(());
        }
        let mut batch = RowBatch::default();
        due.iter()
            .for_each(|key| self.delete(&mut batch, META, &key[..]));
        self.commit(batch)
    }

    /// Scrubs, and strikes out what was due before.
    fn clear_away(&self, due: &[Vec<u8>]) -> Result<(), StoreError> {
        // Otherwise deleted chunks stay in blob files until enough of these is deleted.
        let rewritten = self
            .move_chunks(true)
            .and_then(|()| self.engine.rewrite(&SCRUBBED));
        rewritten.and(self.move_chunks(false))?;
        self.strike_out(due)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChunkKey;
    use super::*;

    /// A compaction does not say that it came to its end: what is looked at are the files.
    #[test]
    fn a_scrub_stays_due_until_the_old_files_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        let key = ChunkKey {
            sector: 1,
            epoch: 1,
            sequence: 1,
        };
        let mut batch = RowBatch::default();
        store.put_chunk(&mut batch, key, &[7; 4_096]);
        store.commit(batch).unwrap();
        store.engine.flush_all().unwrap();
        // A reader keeps the files.
        let reading = store.engine.hold_files(CHUNK.name);
        let mut batch = RowBatch::default();
        store.delete_chunk(&mut batch, key);
        store.put_scrub_due(&mut batch, Uuid::from_bytes([1; 16]));
        store.commit(batch).unwrap();
        assert!(matches!(store.scrub_due(), Err(StoreError::Unscrubbed(_))));
        assert!(store.is_scrub_due().unwrap());
        drop(reading);
        assert!(store.scrub_due().unwrap());
        assert!(!store.is_scrub_due().unwrap());
        let blobs = store
            .engine
            .files(|name, _| name.ends_with(".blob"))
            .unwrap();
        assert!(blobs.is_empty(), "{blobs:?}");
    }
}
