//! The rows of the log: entries with their prunable companions, and for each shard the tree over its entries, the tree's
//! full tiles, and the last checkpoint.

use std::fmt;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use rocksdb::{Cache, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options, ReadOptions};

use super::columns::Column;
use super::{Batch, EntryKeys, Store, StoreError, TagPlace, column_options, fixed};

/// A part of the log with a tree of its own: a year's, or what follows in that year after a restore.
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
        let shard = Self { year: year.parse().ok()?, part: part.parse().ok()? };
        (shard.to_string() == text).then_some(shard)
    }

    fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.year.to_be_bytes(), self.part.to_be_bytes());
        [a, b, c, d]
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        if self.part == 0 { Ok(()) } else { write!(f, "-{}", self.part) }
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

    fn from_bytes(shard: Shard, value: &[u8]) -> Option<Self> {
        let value: &[u8; 49] = value.try_into().ok()?;
        (value[0] == 1).then_some(())?;
        Some(Self {
            shard,
            first: u64::from_be_bytes(value[1..9].try_into().ok()?),
            size: u64::from_be_bytes(value[9..17].try_into().ok()?),
            root: value[17..].try_into().ok()?,
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

fn tile_key(shard: Shard, level: u8, index: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&shard.to_bytes());
    key[4] = level;
    key[5..].copy_from_slice(&index.to_be_bytes());
    key
}

impl Store {
    /// Adds an audit entry with its prunable companions, and what it is found by.
    pub fn put_audit(
        &self,
        batch: &mut Batch,
        index: u64,
        entry: &[u8],
        salt: Option<&[u8; 16]>,
        tags: &[ItemTag],
        keys: EntryKeys,
    ) {
        self.put(batch, Column::Audit, &index.to_be_bytes(), entry);
        if let Some(salt) = salt {
            self.put(batch, Column::AuditSalt, &index.to_be_bytes(), salt);
        }
        for (place, item) in (0..).zip(tags) {
            let place = TagPlace { entry: index, place };
            self.put(batch, Column::AuditTag, &place.to_bytes(), &[item.tag, item.salt].concat());
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
        let mut rows = self.db.iterator_cf(self.column(Column::Audit), IteratorMode::End);
        let Some(row) = rows.next() else { return Ok(None) };
        let (key, entry) = row.map_err(|source| self.engine(source))?;
        Ok(Some((u64::from_be_bytes(fixed(Column::Audit, &key)?), entry.into_vec())))
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
    /// The first error of RocksDB or of `each`.
    pub fn each_audit<E: From<StoreError>>(
        &self,
        from: u64,
        count: usize,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = from.to_be_bytes();
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mode = IteratorMode::From(&start, Direction::Forward);
        for row in self.db.iterator_cf_opt(self.column(Column::Audit), options, mode).take(count) {
            let (key, entry) = row.map_err(|source| self.engine(source))?;
            each(u64::from_be_bytes(fixed(Column::Audit, &key)?), &entry)?;
        }
        Ok(())
    }

    /// Notes the tree of a shard.
    pub fn put_tree(&self, batch: &mut Batch, tree: TreeRow) {
        self.put(batch, Column::AuditTree, &tree.shard.to_bytes(), &tree.to_bytes());
    }

    /// The trees of all shards, the first one first. None in a store that older versions wrote.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn trees(&self) -> Result<Vec<TreeRow>, StoreError> {
        self.rows(Column::AuditTree, &[])?
            .into_iter()
            .map(|(key, value)| {
                let [a, b, c, d] = fixed(Column::AuditTree, &key)?;
                let shard = Shard { year: u16::from_be_bytes([a, b]), part: u16::from_be_bytes([c, d]) };
                TreeRow::from_bytes(shard, &value).ok_or(StoreError::Corrupt(Column::AuditTree.name()))
            })
            .collect()
    }

    /// The tree of a shard.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tree(&self, shard: Shard) -> Result<Option<TreeRow>, StoreError> {
        let corrupt = StoreError::Corrupt(Column::AuditTree.name());
        match self.get(Column::AuditTree, &shard.to_bytes())? {
            Some(value) => TreeRow::from_bytes(shard, &value).ok_or(corrupt).map(Some),
            None => Ok(None),
        }
    }

    /// Adds a full tile of a shard's tree (256 hashes).
    pub fn put_tile(&self, batch: &mut Batch, shard: Shard, level: u8, index: u64, hashes: &[u8]) {
        self.put(batch, Column::AuditTile, &tile_key(shard, level, index), hashes);
    }

    /// A full tile of a shard's tree.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tile(&self, shard: Shard, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let tile = self.get(Column::AuditTile, &tile_key(shard, level, index))?;
        match tile {
            Some(hashes) if hashes.len() != 256 * 32 => Err(StoreError::Corrupt(Column::AuditTile.name())),
            tile => Ok(tile),
        }
    }

    /// Opens a store for reading its log and nothing else: a backup, or beside the process that writes it. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError`]: no store, one without a tree (an older version's), or RocksDB cannot read it.
    pub fn open_for_audit(path: &Path) -> Result<Self, StoreError> {
        let engine = |source| StoreError::Engine { path: path.to_owned(), source };
        let found = DB::list_cf(&Options::default(), path).map_err(engine)?;
        if !found.iter().any(|name| name == Column::AuditTree.name()) {
            return Err(StoreError::Treeless(path.to_owned()));
        }
        let columns = Column::ALL.iter().filter(|column| found.iter().any(|name| name == column.name()));
        let cache = Cache::new_lru_cache(1 << 20);
        let columns = columns.map(|column| ColumnFamilyDescriptor::new(column.name(), column_options(*column, &cache)));
        let db = DB::open_cf_descriptors_read_only(&Options::default(), path, columns, false).map_err(engine)?;
        Ok(Self {
            db,
            path: path.to_owned(),
            cache,
            poisoned: AtomicBool::new(true),
            moves_chunks: AtomicBool::new(false),
            scrubbed: AtomicBool::new(false),
            place: None,
        })
    }

    /// Whose store it is: deployment and entity, such as `demo/vault`.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn owner(&self) -> Result<String, StoreError> {
        let owner = self.get(Column::Meta, b"owner")?.and_then(|owner| String::from_utf8(owner).ok());
        owner.ok_or(StoreError::Corrupt(Column::Meta.name()))
    }

    /// Whether it was acknowledged that the other side's log goes on with this entry (leaf hash) after a restore.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn resume_acknowledged(&self, entry: &[u8; 32]) -> Result<bool, StoreError> {
        self.get(Column::Meta, &resume_key(entry)).map(|row| row.is_some())
    }

    /// Notes that it was, and when (Unix seconds).
    pub fn put_resume_acknowledged(&self, batch: &mut Batch, entry: &[u8; 32], time: i64) {
        self.put(batch, Column::Meta, &resume_key(entry), &time.to_be_bytes());
    }

    /// Notes the last checkpoint of a shard's tree (a signed note).
    pub fn put_checkpoint(&self, batch: &mut Batch, shard: Shard, note: &[u8]) {
        self.put(batch, Column::AuditCheckpoint, &shard.to_bytes(), note);
    }

    /// The last checkpoint of a shard's tree that was written down (a signed note).
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn checkpoint(&self, shard: Shard) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Column::AuditCheckpoint, &shard.to_bytes())
    }
}
