//! What people's rights do in the store: destroying salts, tombstones, what an erasure still has to destroy, and clearing away
//! the bytes of what was destroyed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rocksdb::{BottommostLevelCompaction, CompactOptions};
use uuid::Uuid;

use super::columns::Column;
use super::orders::OrderKey;
use super::{Batch, Store, StoreError, fixed};

/// Single values that say which erasures no scrub has followed yet: the erasure's id comes behind. One for each, so that a scrub
/// that ends strikes out those that it began after, and none that came meanwhile.
const SCRUB_DUE: &[u8] = b"scrub-due/";
/// The columns that erasures destroy rows of.
const SCRUBBED: [Column; 7] = [
    Column::Chunk,
    Column::Index,
    Column::AuditSalt,
    Column::AuditTag,
    Column::EntryIndex,
    Column::ErasureDue,
    Column::OrderPair,
];
/// How often a scrub looks whether another one has ended: they take seconds to hours.
const LOOK: Duration = Duration::from_millis(20);

/// How long files that a scrub has replaced may stay: an iterator that runs over them keeps them.
const LINGER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// Tags that are seen to at once.
const MOST_DUE: usize = 1_000;

/// A tag whose erasure has waited for its age.
pub struct ErasureDue {
    /// The tag.
    pub tag: [u8; 16],
    key: Vec<u8>,
}

fn named_by_day(officer: &str, day: u32) -> Vec<u8> {
    [officer.as_bytes(), &[0], &day.to_be_bytes()].concat()
}

/// Whoever has this says whether compactions move chunks; nobody else does.
pub(super) struct Alone<'s>(&'s AtomicBool);

impl Drop for Alone<'_> {
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
        let salt = self.get(Column::AuditSalt, &entry.to_be_bytes())?;
        salt.map(|salt| fixed(Column::AuditSalt, &salt)).transpose()
    }

    /// Destroys the salt of an entry.
    pub fn delete_salt(&self, batch: &mut Batch, entry: u64) {
        batch.rows.delete_cf(self.column(Column::AuditSalt), entry.to_be_bytes());
    }

    /// Goes through all pairs of orders and tags that were counted.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn each_order_pair(&self, mut each: impl FnMut(OrderKey, [u8; 16])) -> Result<(), StoreError> {
        self.each_row(Column::OrderPair, |key, _| {
            let (order, tag) = OrderKey::read(Column::OrderPair, key)?;
            each(order, fixed(Column::OrderPair, tag)?);
            Ok(())
        })
    }

    /// Puts something that is nobody's in the place of a tag that was counted: the count stays, for it binds.
    pub fn replace_order_pair(&self, batch: &mut Batch, order: &OrderKey, tag: &[u8; 16], with: &[u8; 16]) {
        batch.rows.delete_cf(self.column(Column::OrderPair), [&order.to_bytes()[..], tag].concat());
        self.put_order_pair(batch, order, with);
    }

    /// The tombstones of a sector's erased pseudonyms.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tombstones(&self, sector: Uuid) -> Result<Vec<[u8; 16]>, StoreError> {
        let rows = self.rows(Column::Tombstone, sector.as_bytes())?.into_iter();
        rows.map(|(key, _)| fixed(Column::Tombstone, key.get(16..).unwrap_or_default())).collect()
    }

    /// Notes that a pseudonym was erased, and when (Unix seconds).
    pub fn put_tombstone(&self, batch: &mut Batch, sector: Uuid, stone: &[u8; 16], time: i64) {
        self.put(batch, Column::Tombstone, &[&sector.as_bytes()[..], stone].concat(), &time.to_be_bytes());
    }

    /// Tags whose erasure waits for their age until `now` (Unix seconds), with the keys to strike them out by.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn erasures_due(&self, now: i64) -> Result<Vec<ErasureDue>, StoreError> {
        let end = now.saturating_add(1).to_be_bytes();
        let keys = self.rows_until(Column::ErasureDue, &end, MOST_DUE)?.into_iter();
        keys.map(|key| {
            let tag = fixed(Column::ErasureDue, key.get(8..).unwrap_or_default())?;
            Ok(ErasureDue { tag, key })
        })
        .collect()
    }

    /// Notes that a tag is to be destroyed wherever it still lies at that time (Unix seconds).
    pub fn put_erasure_due(&self, batch: &mut Batch, time: i64, tag: &[u8; 16]) {
        self.put(batch, Column::ErasureDue, &[&time.to_be_bytes()[..], tag].concat(), &[]);
    }

    /// Strikes out what was seen to.
    pub fn delete_erasure_due(&self, batch: &mut Batch, due: &ErasureDue) {
        batch.rows.delete_cf(self.column(Column::ErasureDue), &due.key);
    }

    /// Look-ups that a rights officer made on a day (days since 1970).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn look_ups(&self, officer: &str, day: u32) -> Result<u64, StoreError> {
        let count = self.get(Column::LookUps, &named_by_day(officer, day))?;
        count.map_or(Ok(0), |count| Ok(u64::from_be_bytes(fixed(Column::LookUps, &count)?)))
    }

    /// Writes how many look-ups a rights officer made on a day, and forgets the days before.
    pub fn put_look_ups(&self, batch: &mut Batch, officer: &str, day: u32, count: u64) {
        let (first, today) = (named_by_day(officer, 0), named_by_day(officer, day));
        batch.rows.delete_range_cf(self.column(Column::LookUps), &first, &today);
        self.put(batch, Column::LookUps, &today, &count.to_be_bytes());
    }

    /// Notes that the bytes of what an erasure destroys are still to be cleared out of the files: so that a restart before
    /// that does not have it forgotten.
    pub fn put_scrub_due(&self, batch: &mut Batch, erasure: Uuid) {
        let key = [SCRUB_DUE, erasure.hyphenated().to_string().as_bytes()].concat();
        self.put(batch, Column::Meta, &key, &[]);
    }

    /// Whether there is an erasure that no scrub has followed.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn is_scrub_due(&self) -> Result<bool, StoreError> {
        self.due(SCRUB_DUE).map(|due| !due.is_empty())
    }

    /// Clears the bytes of what was destroyed out of the files: flushes, so that the write-ahead log goes, and compacts.
    /// What of the chunks is alive is copied, and so it may take long in a large store. Keys at the edges of files may stay
    /// in RocksDB's manifest until the next start. Waits while another one is under way.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Poisoned`], [`StoreError::Unscrubbed`]. Nothing is lost then, and what was destroyed
    /// may still be there: the scrub stays due.
    pub fn scrub(&self) -> Result<(), StoreError> {
        let _alone = self.wait_alone();
        self.clear_away(&self.due(SCRUB_DUE)?)
    }

    /// The same where it is due, after an erasure or at a start; whether it was. Of several that wait for one another the
    /// first sees to all.
    ///
    /// # Errors
    /// As [`Store::scrub`].
    pub fn scrub_due(&self) -> Result<bool, StoreError> {
        let _alone = self.wait_alone();
        let due = self.due(SCRUB_DUE)?;
        if due.is_empty() {
            return Ok(false);
        }
        self.clear_away(&due).map(|()| true)
    }

    /// The right to say whether compactions move chunks, unless somebody has it: a scrub, or a look of the keeper's.
    pub(super) fn alone(&self) -> Option<Alone<'_>> {
        let taken = self.scrubbed.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        taken.ok().map(|_| Alone(&self.scrubbed))
    }

    fn wait_alone(&self) -> Alone<'_> {
        loop {
            match self.alone() {
                Some(alone) => return alone,
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// The notes of what is still to be cleared out of the files, by what they begin with.
    pub(super) fn due(&self, begin: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.rows(Column::Meta, begin)?.into_iter().map(|(key, _)| key).collect())
    }

    /// Strikes out the notes of what was cleared out of the files.
    pub(super) fn strike_out(&self, due: &[Vec<u8>]) -> Result<(), StoreError> {
        if due.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        due.iter().for_each(|key| batch.rows.delete_cf(self.column(Column::Meta), key));
        self.commit(batch)
    }

    /// Scrubs, and strikes out what was due before.
    fn clear_away(&self, due: &[Vec<u8>]) -> Result<(), StoreError> {
        // Otherwise chunks stay in blob files until enough of them is gone.
        let rewritten = self.move_chunks(true).and_then(|()| self.rewrite(&SCRUBBED));
        rewritten.and(self.move_chunks(false))?;
        self.strike_out(due)
    }

    /// Writes columns anew without what was destroyed, and has the write-ahead log begin anew.
    pub(super) fn rewrite(&self, columns: &[Column]) -> Result<(), StoreError> {
        let engine = |source| self.engine(source);
        let mut old = self.files(|name, length| name.ends_with(".log") && length > 0)?;
        self.flush_all()?;
        // Chunks alone lie in blob files.
        if columns.contains(&Column::Chunk) {
            old.extend(self.files(|name, _| name.ends_with(".blob"))?);
        }
        old.extend(self.tables(columns)?);
        // What came to an empty column during the first round holds the log of then, and a file of a flush under way counts
        // only when that is over.
        self.flush_all()?;
        let mut whole = CompactOptions::default();
        whole.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for column in columns {
            self.db.compact_range_cf_opt(self.column(*column), None::<&[u8]>, None::<&[u8]>, &whole);
        }
        // The write-ahead log that the columns were flushed out of goes with the next one.
        self.db.flush_cf(self.column(Column::Meta)).map_err(engine)?;
        self.wait_until_gone(&old)
    }

    fn flush_all(&self) -> Result<(), StoreError> {
        let mut all = Column::ALL.iter();
        all.try_for_each(|column| self.db.flush_cf(self.column(*column))).map_err(|source| self.engine(source))
    }

    /// Waits until none of these files is in the store's folder any more. A compaction does not say whether it came to its end;
    /// one that did has replaced every file that was there before it.
    fn wait_until_gone(&self, old: &BTreeSet<String>) -> Result<(), StoreError> {
        let begun = Instant::now();
        loop {
            let left = self.files(|name, _| old.contains(name))?.len();
            if left == 0 {
                return Ok(());
            }
            if begun.elapsed() > LINGER {
                tracing::error!(files = left, "a compaction has not replaced all files: is the disk full?");
                return Err(StoreError::Unscrubbed(self.path.clone()));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The names of the files in the store's folder that are wanted, by name and length.
    fn files(&self, wanted: impl Fn(&str, u64) -> bool) -> Result<BTreeSet<String>, StoreError> {
        let list = || -> std::io::Result<BTreeSet<String>> {
            let mut names = BTreeSet::new();
            for entry in std::fs::read_dir(&self.path)? {
                let entry = entry?;
                // One that goes meanwhile is as good as gone.
                let length = entry.metadata().map_or(0, |facts| facts.len());
                names.extend(entry.file_name().into_string().ok().filter(|name| wanted(name, length)));
            }
            Ok(names)
        };
        list().map_err(|source| StoreError::Place { path: self.path.clone(), source })
    }

    /// The names of the files that hold rows of these columns.
    fn tables(&self, columns: &[Column]) -> Result<BTreeSet<String>, StoreError> {
        let live = self.db.live_files().map_err(|source| self.engine(source))?;
        let of_these = live.into_iter().filter(|file| columns.iter().any(|c| c.name() == file.column_family_name));
        // RocksDB names them from the store's folder on: `/000012.sst`.
        Ok(of_these.map(|file| file.name.trim_start_matches('/').to_owned()).collect())
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
        let key = ChunkKey { sector: 1, epoch: 1, sequence: 1 };
        let mut batch = Batch::default();
        store.put_chunk(&mut batch, key, &[7; 4_096]);
        store.commit(batch).unwrap();
        store.flush_all().unwrap();
        // Whoever reads keeps the files.
        let reading = store.db.iterator_cf(store.column(Column::Chunk), rocksdb::IteratorMode::Start);
        let mut batch = Batch::default();
        store.delete_chunk(&mut batch, key);
        store.put_scrub_due(&mut batch, Uuid::from_bytes([1; 16]));
        store.commit(batch).unwrap();
        assert!(matches!(store.scrub_due(), Err(StoreError::Unscrubbed(_))));
        assert!(store.is_scrub_due().unwrap());
        drop(reading);
        assert!(store.scrub_due().unwrap());
        assert!(!store.is_scrub_due().unwrap());
        let blobs = store.files(|name, _| name.ends_with(".blob")).unwrap();
        assert!(blobs.is_empty(), "{blobs:?}");
    }
}
