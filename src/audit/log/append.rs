//! The writer's side of a log: adds entries to the tree of their year, in the same commit as the
//! entries.

use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use super::year::YearEnd;
use super::{Log, LogError};
use crate::audit::origin;
use crate::audit::resume::LostCheckpoint;
use crate::audit::{AuditEvent, AuditReceipt, Grant};
use crate::seal::journal::NamingEntry;
use crate::store::{RowBatch, Shard, TreeRow};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::tree::{Hash, MerkleTree, leaf_hash, tile_bytes};

pub(super) fn year_of(time: Timestamp) -> u16 {
    u16::try_from(time.to_zoned(TimeZone::UTC).year()).unwrap_or(0)
}

/// The first instant after a year.
pub(super) fn end_of(year: u16) -> Timestamp {
    let next = i16::try_from(year).map_or(i16::MAX, |year| year.saturating_add(1));
    // The calendar ends with the year 9999.
    if next > 9_999 {
        return Timestamp::MAX;
    }
    date(next, 1, 1)
        .to_zoned(TimeZone::UTC)
        .map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

/// The writer's side of a log: it alone appends.
pub struct Appender {
    pub(super) log: Arc<Log>,
    pub(super) shard: Shard,
    pub(super) origin: Arc<str>,
    /// The number of the shard's first entry in the store.
    pub(super) first: u64,
    pub(super) tree: MerkleTree,
    pub(super) ends: Timestamp,
    /// Whether the clock is believed when it shows a time after `ends`.
    pub(super) year_end: YearEnd,
    /// The tree after the last commit.
    pub(super) head: TreeRow,
    /// Since when the store says that the clock is doubted.
    pub(super) stored_doubt: Option<Timestamp>,
    /// The entry that the shard must begin with.
    pub(super) opening: Option<AuditEvent>,
    pub(super) publisher: Option<JoinHandle<()>>,
}

impl Appender {
    /// The writer of a log that was opened: of its present shard, or after a loss of the next one.
    /// Starts the thread that signs.
    pub(super) fn begin(
        log: &Arc<Log>,
        (row, tree): (TreeRow, MerkleTree),
        lost: Option<LostCheckpoint>,
        now: Timestamp,
    ) -> Result<Self, LogError> {
        let doubted_since = log.store.year_doubted()?;
        let marked = Timestamp::from_millisecond(log.store.clock_mark()?).unwrap_or(now);
        let last = if row.size > 0 { marked } else { now };
        let ends = end_of(row.shard.year);
        let signing = log.clone();
        let publisher = std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || signing.publish_until_the_end());
        let mut appender = Self {
            origin: origin::origin(&log.owner, row.shard).into(),
            log: log.clone(),
            shard: row.shard,
            first: row.first,
            tree,
            ends,
            year_end: YearEnd::new(ends, last, doubted_since),
            stored_doubt: doubted_since,
            head: row,
            opening: None,
            publisher: Some(publisher.map_err(LogError::Thread)?),
        };
        if let Some(lost) = lost {
            let (kept, root) = (appender.tree.size(), appender.tree.root());
            let last = lost.shard.max(row.shard);
            appender.begin_shard(Shard {
                part: last.part + 1,
                ..last
            });
            appender.opening = Some(lost.event(row.shard, kept, root));
        }
        Ok(appender)
    }

    /// The number that the next entry gets in the store.
    pub fn next(&self) -> u64 {
        self.first + self.tree.size()
    }

    /// The place in the shard of the entry that gets the number `number` in the store.
    pub fn place_of(&self, number: u64) -> NamingEntry<'_> {
        NamingEntry {
            origin: &self.origin,
            index: number - self.first,
        }
    }

    /// Withholds what the entry grants that gets the number `number` in the store, until enough
    /// places hold it. Call it before the entry becomes durable.
    pub fn withhold(&self, grant: Grant, number: u64) {
        self.log.withhold(grant, self.shard, number - self.first);
    }

    /// Ends the shard if its year is over by a clock that is believed (`YearEnd`). Returns the
    /// entry that must be appended before any other.
    pub fn turn(&mut self, now: Timestamp) -> Option<AuditEvent> {
        if self.year_end.is_over(self.ends, now) {
            // A shard without entries has no checkpoint to hand on, and nobody can tell it from a
            // shard that never existed.
            let closed = (self.tree.size() > 0).then(|| {
                // Its last tree may not be published yet; after a kill, nothing else would publish
                // it.
                self.durable();
                let TreeRow { size, root, .. } = self.head;
                Checkpoint {
                    origin: self.origin.to_string(),
                    size,
                    root,
                }
                .sign(&self.log.key)
            });
            self.begin_shard(Shard::of(year_of(now)));
            self.opening = self
                .opening
                .take()
                .or(closed.map(|checkpoint| AuditEvent::Continue { checkpoint }));
        }
        self.opening.take()
    }

    pub(super) fn begin_shard(&mut self, shard: Shard) {
        self.first += self.tree.size();
        self.tree = MerkleTree::default();
        self.shard = shard;
        self.origin = origin::origin(&self.log.owner, shard).into();
        self.ends = end_of(shard.year);
        self.year_end.begin();
        self.head = self.row();
    }

    /// Adds to the entries' own batch the rows of the tree that they change, and the checkpoints
    /// that the store lacks. Returns a receipt for each entry.
    pub fn append(&mut self, entries: &[Vec<u8>], batch: &mut RowBatch) -> Vec<AuditReceipt> {
        let store = &self.log.store;
        for (shard, published) in std::mem::take(&mut self.log.state().unstored) {
            store.put_checkpoint(batch, shard, published.note.as_bytes());
        }
        let mut receipts = Vec::with_capacity(entries.len());
        for entry in entries {
            let leaf: Hash = leaf_hash(entry);
            let index = self.tree.size();
            receipts.push(AuditReceipt {
                origin: self.origin.clone(),
                shard: self.shard,
                index,
                leaf,
            });
            self.tree.push(leaf, |id, hashes| {
                store.put_tile(batch, self.shard, id.level, id.index, &tile_bytes(hashes));
            });
        }
        if self.stored_doubt != self.year_end.doubted_since() {
            self.stored_doubt = self.year_end.doubted_since();
            store.put_year_doubted(batch, self.stored_doubt);
        }
        if !entries.is_empty() {
            self.head = self.row();
            store.put_tree(batch, self.head);
        }
        receipts
    }

    /// Notes that the commit is durable: checkpoints may now cover it.
    pub fn durable(&self) {
        let head = self.head;
        let mut state = self.log.state();
        state.note_durable(head);
        match state.heads.last_mut() {
            Some(last) if last.shard == head.shard => *last = head,
            _ if head.size > 0 => state.heads.push(head),
            _ => {}
        }
    }

    /// Whether another process was found to extend the same log.
    pub fn is_forked(&self) -> bool {
        self.log.is_forked()
    }

    /// Signs what is durable and ends the thread that signs. [`Appender::append`] then puts the
    /// checkpoints that the store lacks into a batch.
    pub fn end(&mut self) {
        let Some(publisher) = self.publisher.take() else {
            return;
        };
        self.log.state().ending = true;
        self.log.work.notify_one();
        let _ = publisher.join();
    }

    fn row(&self) -> TreeRow {
        TreeRow {
            shard: self.shard,
            first: self.first,
            size: self.tree.size(),
            root: self.tree.root(),
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.end();
    }
}
