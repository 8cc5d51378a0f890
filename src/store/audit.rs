//! The rows of the log: entries with their prunable companions, and for each shard the tree over
//! its entries, the tree's full tiles, and the last checkpoint.

use std::borrow::Cow;
use std::fmt;

use super::columns::{
    AUDIT, AUDIT_CHECKPOINT, AUDIT_SALT, AUDIT_TAG, AUDIT_TILE, AUDIT_TREE, META,
};
use super::fields::RowField;
use super::rows::{RowEngine as _, ScanRange, ScanStep};
use super::{EntryKeys, RowBatch, Store, StoreError, TagPlace};

/// A part of the log with a tree of its own: a year's, or what follows in that year after a
/// restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// The year (UTC).
    pub year: u16,
    /// 0, and one more for each time that the log was resumed after a restore.
    pub part: u16,
}

impl Shard {
    /// The first shard of a year.
    pub fn of(year: u16) -> Self {
        Self { year, part: 0 }
    }

    /// Reads `2026` or `2026-1`, in its one spelling.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, part) = text.split_once('-').unwrap_or((text, "0"));
        let shard = Self {
            year: year.parse().ok()?,
            part: part.parse().ok()?,
        };
        (shard.to_string() == text).then_some(shard)
    }
}

impl RowField for Shard {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([self.year.to_be_bytes(), self.part.to_be_bytes()].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let [a, b, c, d] = <[u8; 4]>::read_front(bytes)?;
        Some(Self {
            year: u16::from_be_bytes([a, b]),
            part: u16::from_be_bytes([c, d]),
        })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        if self.part == 0 {
            Ok(())
        } else {
            write!(f, "-{}", self.part)
        }
    }
}

/// The tree over the entries of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeRow {
    /// The shard.
    pub shard: Shard,
    /// The number of its first entry in this store.
    pub first: u64,
    /// How many entries it has.
    pub size: u64,
    /// The Merkle root over them (RFC 6962).
    pub root: [u8; 32],
}

impl TreeRow {
    fn to_bytes(self) -> [u8; 49] {
        let mut value = [0; 49];
        value[0] = 1;
        value[1..9].copy_from_slice(&self.first.to_be_bytes());
        value[9..17].copy_from_slice(&self.size.to_be_bytes());
        value[17..].copy_from_slice(&self.root);
        value
    }

    fn from_bytes(shard: Shard, value: &[u8; 49]) -> Result<Self, StoreError> {
        let (format, first, (size, root)) =
            <(u8, u64, (u64, [u8; 32]))>::read(value).ok_or(AUDIT_TREE.corrupt())?;
        if format != 1 {
            return Err(AUDIT_TREE.corrupt());
        }
        Ok(Self {
            shard,
            first,
            size,
            root,
        })
    }
}

/// The tag of one item that an entry concerns, with its salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemTag {
    /// HMAC under the audit secret.
    pub tag: [u8; 16],
    /// Random; the entry's root is over both.
    pub salt: [u8; 16],
}

fn resume_key(entry: &[u8; 32]) -> Vec<u8> {
    [&b"resume-acknowledged/"[..], entry].concat()
}

impl Store {
    /// Adds an audit entry, its prunable salt and tags, and its index rows.
    pub fn put_audit(
        &self,
        batch: &mut RowBatch,
        index: u64,
        entry: &[u8],
        salt: Option<&[u8; 16]>,
        tags: &[ItemTag],
        keys: EntryKeys,
    ) {
        self.put(batch, AUDIT, &index, entry);
        if let Some(salt) = salt {
            self.put(batch, AUDIT_SALT, &index, salt);
        }
        for (place, item) in (0..).zip(tags) {
            let place = TagPlace {
                entry: index,
                place,
            };
            self.put(batch, AUDIT_TAG, &place, &[item.tag, item.salt].concat());
            self.index_tag(batch, keys.tags, &item.tag, place);
        }
        if let Some(order) = keys.order {
            self.index_order(batch, order, index);
        }
    }

    /// Index and bytes of the last audit entry.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn last_audit(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let row = self.engine.last(AUDIT.name)?;
        row.map(|(key, entry)| Ok((u64::read(&key).ok_or(AUDIT.corrupt())?, entry)))
            .transpose()
    }

    /// Audit entries from `from` on, at most `count`.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn audit_from(&self, from: u64, count: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let mut entries = vec![];
        self.each_audit::<StoreError>(from, count, |index, entry| {
            entries.push((index, entry.to_vec()));
            Ok(())
        })?;
        Ok(entries)
    }

    /// Goes through audit entries from `from` on, at most `count`, in order.
    ///
    /// # Errors
    /// The first error of the engine or of `each`.
    pub fn each_audit<E: From<StoreError>>(
        &self,
        from: u64,
        count: usize,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = count;
        self.each(
            AUDIT,
            ScanRange::from(&from.to_be_bytes()).once(),
            |index, entry| {
                if left == 0 {
                    return Ok(ScanStep::Stop);
                }
                left -= 1;
                each(index, entry).map(|()| ScanStep::Next)
            },
        )
    }

    /// Notes the tree of a shard.
    pub fn put_tree(&self, batch: &mut RowBatch, tree: TreeRow) {
        self.put(batch, AUDIT_TREE, &tree.shard, &tree.to_bytes());
    }

    /// The trees of all shards, the first one first. None in a store that older versions wrote.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn trees(&self) -> Result<Vec<TreeRow>, StoreError> {
        let rows = self.rows(AUDIT_TREE, &[])?.into_iter();
        rows.map(|(shard, value)| TreeRow::from_bytes(shard, &value))
            .collect()
    }

    /// The tree of a shard.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tree(&self, shard: Shard) -> Result<Option<TreeRow>, StoreError> {
        self.get(AUDIT_TREE, &shard)?
            .map(|value| TreeRow::from_bytes(shard, &value))
            .transpose()
    }

    /// Adds a full tile of a shard's tree (256 hashes).
    pub fn put_tile(
        &self,
        batch: &mut RowBatch,
        shard: Shard,
        level: u8,
        index: u64,
        hashes: &[u8],
    ) {
        self.put(batch, AUDIT_TILE, &(shard, level, index), hashes);
    }

    /// A full tile of a shard's tree.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tile(&self, shard: Shard, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let tile = self.get(AUDIT_TILE, &(shard, level, index))?;
        if tile.as_ref().is_some_and(|hashes| hashes.len() != 256 * 32) {
            return Err(AUDIT_TILE.corrupt());
        }
        Ok(tile)
    }

    /// Whether it was acknowledged that the other side's log goes on with this entry (leaf hash)
    /// after a restore.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn resume_acknowledged(&self, entry: &[u8; 32]) -> Result<bool, StoreError> {
        self.has(META, &resume_key(entry)[..])
    }

    /// Notes that it was, and when (Unix seconds).
    pub fn put_resume_acknowledged(&self, batch: &mut RowBatch, entry: &[u8; 32], time: i64) {
        self.put(batch, META, &resume_key(entry), &time.to_be_bytes());
    }

    /// Notes the last checkpoint of a shard's tree (a signed note).
    pub fn put_checkpoint(&self, batch: &mut RowBatch, shard: Shard, note: &[u8]) {
        self.put(batch, AUDIT_CHECKPOINT, &shard, note);
    }

    /// The last checkpoint of a shard's tree that was written down (a signed note).
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn checkpoint(&self, shard: Shard) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(AUDIT_CHECKPOINT, &shard)
    }
}
