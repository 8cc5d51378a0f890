//! Brings a restored store to the end of the log that a place holds: entries byte for byte, the
//! tree over them, and the side record of each, in order. Nothing is merged and nothing is guessed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::RestoreError;
use super::report::LostInterval;
use crate::audit::index_keys;
use crate::audit::shard_reader::ShardReader;
use crate::journal::read::{PlaceEntry, PlaceLog};
use crate::seal::journal::JournalCipher;
use crate::store::{RowBatch, Shard, StateChanges, Store, TreeRow};
use crate::tlog::tree::{MerkleTree, leaf_hash, tile_bytes};

/// Entries in one commit. Nothing counts before the last one, because the folder is marked.
const TOGETHER: usize = 512;

/// What was brought.
#[derive(Debug, Default)]
pub struct ReplayedLog {
    /// Entries.
    pub entries: u64,
    /// Side records.
    pub records: u64,
    /// What they had acknowledged.
    pub lost: LostInterval,
    /// Client and order → pages of pairs that the client acknowledged.
    pub acknowledged: BTreeMap<(String, String), u64>,
}

/// The members of an entry about pairs.
#[derive(Deserialize)]
struct PairsMembers {
    event: String,
    action: String,
    client: String,
    order: String,
    pages: u64,
}

impl ReplayedLog {
    fn count(&mut self, entry: &[u8]) {
        self.entries += 1;
        self.lost.count(entry);
        if let Ok(pairs) = serde_json::from_slice::<PairsMembers>(entry)
            && pairs.event == "migration-pairs"
            && pairs.action == "acknowledge"
        {
            let of = (pairs.client, pairs.order);
            *self.acknowledged.entry(of).or_default() += pairs.pages;
        }
    }
}

/// Brings everything that a place holds and the store does not.
///
/// # Errors
/// [`RestoreError`]: the place is damaged, a record does not open, the disk is full. The store is
/// of no use then.
pub fn replay(
    store: &Store,
    place: &PlaceLog,
    cipher: &JournalCipher,
) -> Result<ReplayedLog, RestoreError> {
    let mut writer = ReplayWriter::over(store, cipher)?;
    place.each(|entry| writer.take(entry))?;
    let last = place.shards.last().map(|shard| shard.shard);
    writer.finish(last, &place.note)
}

struct ReplayWriter<'r> {
    store: &'r Store,
    cipher: &'r JournalCipher,
    /// The shards that the backup has.
    known: BTreeMap<Shard, TreeRow>,
    /// The shard that grows.
    shard: Option<GrowingShard>,
    /// The number of the next entry in the store.
    next: u64,
    batch: RowBatch,
    waiting: usize,
    done: ReplayedLog,
}

struct GrowingShard {
    shard: Shard,
    first: u64,
    tree: MerkleTree,
}

impl GrowingShard {
    fn row(&self) -> TreeRow {
        TreeRow {
            shard: self.shard,
            first: self.first,
            size: self.tree.size(),
            root: self.tree.root(),
        }
    }
}

/// What the first entry of a shard says of the end of the one before.
#[derive(Deserialize)]
struct ShardBeginning {
    event: String,
    checkpoint: Option<String>,
}

impl<'r> ReplayWriter<'r> {
    fn over(store: &'r Store, cipher: &'r JournalCipher) -> Result<Self, RestoreError> {
        let trees = store.trees()?;
        let mut done = ReplayedLog::default();
        if let Some((_, entry)) = store.last_audit()? {
            done.lost.begin_after(&entry);
        }
        Ok(Self {
            next: trees.last().map_or(0, |tree| tree.first + tree.size),
            known: trees.into_iter().map(|tree| (tree.shard, tree)).collect(),
            store,
            cipher,
            shard: None,
            batch: RowBatch::default(),
            waiting: 0,
            done,
        })
    }

    fn take(&mut self, entry: PlaceEntry<'_>) -> Result<(), RestoreError> {
        let known = self.known.get(&entry.shard).copied();
        if known.is_some_and(|known| entry.naming.index < known.size) {
            return Ok(());
        }
        self.turn_to(&entry, known)?;
        let Some(growing) = &mut self.shard else {
            return Err(gap(&entry));
        };
        if growing.tree.size() != entry.naming.index {
            return Err(gap(&entry));
        }
        if entry.is_pruned {
            return Err(gap(&entry));
        }
        let (store, batch) = (self.store, &mut self.batch);
        if let Some(record) = entry.record {
            let opened = self.cipher.open(entry.naming, record);
            let changes = opened.map_err(|error| RestoreError::Record {
                origin: entry.naming.origin.to_owned(),
                index: entry.naming.index,
                error,
            })?;
            store.apply_changes(batch, &StateChanges::read(changes)?)?;
            store.put_journal(batch, self.next, record);
            self.done.records += 1;
        }
        store.put_audit(
            batch,
            self.next,
            entry.entry,
            None,
            &[],
            index_keys(entry.entry),
        );
        let shard = growing.shard;
        growing.tree.push(leaf_hash(entry.entry), |id, hashes| {
            store.put_tile(batch, shard, id.level, id.index, &tile_bytes(hashes));
        });
        self.done.count(entry.entry);
        self.next += 1;
        self.waiting += 1;
        if self.waiting >= TOGETHER {
            self.commit()?;
        }
        Ok(())
    }

    /// Goes on with the shard of an entry.
    fn turn_to(
        &mut self,
        entry: &PlaceEntry<'_>,
        known: Option<TreeRow>,
    ) -> Result<(), RestoreError> {
        if self.shard.as_ref().is_some_and(|s| s.shard == entry.shard) {
            return Ok(());
        }
        self.commit()?;
        let before = self.shard.take().map(|growing| growing.shard);
        let before = before.or(self.known.keys().next_back().copied());
        self.shard = Some(match known {
            Some(row) => GrowingShard {
                shard: row.shard,
                first: row.first,
                tree: ShardReader::new(self.store, &row, row.size).tree()?,
            },
            None => GrowingShard {
                shard: entry.shard,
                first: self.next,
                tree: MerkleTree::default(),
            },
        });
        // The shard before has ended: its last checkpoint stands in this entry.
        let opening = serde_json::from_slice::<ShardBeginning>(entry.entry).ok();
        let closed = opening
            .filter(|opening| opening.event == "continue" && known.is_none())
            .and_then(|opening| opening.checkpoint);
        if let (Some(shard), Some(note)) = (before, closed) {
            self.store
                .put_checkpoint(&mut self.batch, shard, note.as_bytes());
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), RestoreError> {
        if let Some(growing) = &self.shard
            && growing.tree.size() > 0
        {
            self.store.put_tree(&mut self.batch, growing.row());
        }
        self.waiting = 0;
        if !self.batch.is_empty() {
            self.store.commit(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    fn finish(mut self, last: Option<Shard>, note: &[u8]) -> Result<ReplayedLog, RestoreError> {
        if let Some(last) = last {
            self.store.put_checkpoint(&mut self.batch, last, note);
        }
        self.commit()?;
        Ok(self.done)
    }
}

fn gap(entry: &PlaceEntry<'_>) -> RestoreError {
    RestoreError::Gap {
        origin: entry.naming.origin.to_owned(),
        size: entry.naming.index,
    }
}
