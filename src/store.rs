//! The only room that knows RocksDB. It sees sealed bytes and never a key.
//!
//! Durability is chosen in one place, [`Store::commit`]: no return before fsync. An error that a write or an fsync itself
//! returns poisons the store: what the disk holds is then unknown, and going on would acknowledge what may be lost.

mod audit;
mod columns;
pub mod descriptors;
mod direct;
mod erase;
mod first_start;
pub mod index;
mod inspections;
mod lock;
mod migrations;
mod moved;
mod order_copies;
mod orders;
mod place;
mod reclaim;
mod segments;
mod space;
mod tags;
mod upgrade;
mod wal;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, ErrorKind,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};
use uuid::Uuid;

pub use audit::{ItemTag, Shard, TreeRow};
use columns::Column;
pub use columns::{ChunkKey, EpochRow};
pub use erase::ErasureDue;
pub use first_start::FirstStart;
use lock::StoreLock;
pub use migrations::{MigrationRow, OpenPage, PairsRow};
pub use order_copies::{CopiesRow, CopyRow, copy_location};
pub use orders::{ActRow, OrderKey};
use place::Place;
pub use space::Space;
pub use tags::{EntryKeys, TagKind, TagPlace};
use upgrade::FORMAT;

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// RocksDB says so.
    #[error("the store at {path} failed: {source}")]
    Engine {
        /// Where the store lies.
        path: PathBuf,
        /// RocksDB's words.
        source: rocksdb::Error,
    },
    /// None is there, and no first start was prepared.
    #[error(
        "there is no store at {0}, and no first start was prepared there. A disk that is not mounted looks like this"
    )]
    Absent(PathBuf),
    /// Another process has it.
    #[error("the store at {0} is in use by another process; stop that one first")]
    InUse(PathBuf),
    /// Made by another version of cloison.
    #[error("the store at {path} has format {found}, this cloison reads formats 1 to {FORMAT}")]
    Format {
        /// Where the store lies.
        path: PathBuf,
        /// The format it has.
        found: u32,
    },
    /// Another deployment's, or another entity's.
    #[error("the store at {path} belongs to {found}, not to {wanted}")]
    Foreign {
        /// Where the store lies.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// It has columns that this version does not know.
    #[error("the store at {path} has columns that this cloison does not know ({}): a later version made it", found.join(", "))]
    Columns {
        /// Where the store lies.
        path: PathBuf,
        /// The unknown columns.
        found: Vec<String>,
    },
    /// Data files, but no file that says which of them count.
    #[error("the store at {0} has data files but no CURRENT file; restore it from a backup")]
    Headless(PathBuf),
    /// A table that the store had.
    #[error("the file {0} of the store is gone, or is not what it was; restore the store from a backup")]
    Missing(PathBuf),
    /// The header of a record that is whole was damaged.
    #[error("the write-ahead log {0} is damaged; restore the store from a backup")]
    Log(PathBuf),
    /// Its log has no tree yet.
    #[error("the store at {0} has no tree over its log: an earlier version wrote it, and the next start makes one")]
    Treeless(PathBuf),
    /// A row that is not what was written.
    #[error("a row of column {0} is not what cloison writes; restore the store from a backup")]
    Corrupt(&'static str),
    /// The index on the disk was made with another key.
    #[error(
        "the index on the disk was made under another storage secret of version {0}; is this the right store secret?"
    )]
    Veil(u32),
    /// An earlier write failed; nothing more is written.
    #[error("an earlier write failed; the store takes no more until restart")]
    Poisoned,
    /// Another process extends the same log.
    #[error("the second place of the last checkpoint was changed by another process: the log would fork")]
    Forked,
    /// The files of an open store cannot be looked at.
    #[error("the files of the store at {path} cannot be looked at: {source}")]
    Place {
        /// Where the store lies.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The store's path no longer leads to the files that are open.
    #[error(
        "the store at {0} was deleted, moved or replaced while it was open: what is written now would be lost. Bring the \
         folder back, or restore it from a backup"
    )]
    Displaced(PathBuf),
    /// The second place of the last checkpoint is gone or holds something else.
    #[error("the second place of the last checkpoint, {0}, no longer holds what this log last put there")]
    SecondDisplaced(PathBuf),
    /// The files still hold what was destroyed.
    #[error("files from before what was destroyed are still in the store at {0}: the scrub stays due")]
    Unscrubbed(PathBuf),
    /// The thread that writes met a fault of ours.
    #[error("the writer met a fault of ours and has ended; what it said stands above")]
    WriterEnded,
    /// The thread that keeps the index within its bound met a fault of ours.
    #[error("the keeper of the index met a fault of ours and has ended; what it said stands above")]
    KeeperEnded,
}

impl StoreError {
    /// Whether it may pass by itself: a process that ends, a disk that comes back or gets room.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::InUse(_) | Self::Absent(_) => true,
            Self::Engine { source, .. } => is_out_of_room(source),
            _ => false,
        }
    }
}

/// A RocksDB with typed columns.
pub struct Store {
    db: DB,
    path: PathBuf,
    /// Of the column `index`, bounded; all others have RocksDB's own.
    cache: Cache,
    poisoned: AtomicBool,
    /// Whether compactions move chunks at present; see [`Store::reclaim`].
    moves_chunks: AtomicBool,
    /// Whether a scrub, or a look of the keeper's, has the say over how compactions treat chunks.
    scrubbed: AtomicBool,
    /// Where its files lie; a store that is only read does not watch them.
    place: Option<Place>,
}

/// Rows that will be written together or not at all.
#[derive(Default)]
pub struct Batch {
    rows: WriteBatch,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Store {
    /// Whether there is a store at that path.
    pub fn is_there(path: &Path) -> bool {
        path.join("CURRENT").exists()
    }

    /// Whether there is none: not even files of one that is damaged.
    fn is_absent(path: &Path) -> bool {
        !Self::is_there(path) && !has_data_files(path)
    }

    /// Opens the store of `owner` (deployment and entity, such as `demo/vault`), or makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: in use, of another format, another owner's, damaged, or RocksDB cannot open it.
    pub fn open(path: &Path, owner: &str) -> Result<Self, StoreError> {
        Self::open_with(path, owner, 1 << 20)
    }

    /// The same, with so many bytes of memory for blocks and filters of the index that lies on the disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: &Path, owner: &str, cache: usize) -> Result<Self, StoreError> {
        look_before_opening(path, owner)?;
        let failed = |source: rocksdb::Error| match is_locked(&source) {
            true => StoreError::InUse(path.to_owned()),
            false => StoreError::Engine { path: path.to_owned(), source },
        };
        let cache = Cache::new_lru_cache(cache);
        let columns = Column::ALL.iter().map(|c| ColumnFamilyDescriptor::new(c.name(), column_options(*c, &cache)));
        let mut options = database_options();
        options.set_use_direct_io_for_flush_and_compaction(direct::is_possible(path));
        let db = DB::open_cf_descriptors(&options, path, columns).map_err(failed)?;
        let store = Self {
            db,
            path: path.to_owned(),
            cache,
            poisoned: AtomicBool::new(false),
            moves_chunks: AtomicBool::new(false),
            scrubbed: AtomicBool::new(false),
            place: Some(Place::of(path).map_err(|source| StoreError::Place { path: path.to_owned(), source })?),
        };
        store.miss_nothing()?;
        store.claim(owner)?;
        Ok(store)
    }

    /// Finds a table that is gone or cut. With a bound on open files, RocksDB itself opens only the first few at its start.
    fn miss_nothing(&self) -> Result<(), StoreError> {
        for table in self.table_files()? {
            let (file, length) = &table;
            let found = std::fs::metadata(file).map(|facts| facts.len()).ok();
            // A compaction may just have taken it out of the list, and then away.
            if found != Some(*length) && self.table_files()?.contains(&table) {
                return Err(StoreError::Missing(table.0));
            }
        }
        Ok(())
    }

    /// Every table of the present state, and its length.
    fn table_files(&self) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        let tables = self.db.live_files().map_err(|source| self.engine(source))?;
        let place = |name: &str| self.path.join(name.trim_start_matches('/'));
        Ok(tables.iter().map(|table| (place(&table.name), table.size as u64)).collect())
    }

    /// Checks the owner and brings the store to the present format, or writes both into a new store.
    fn claim(&self, owner: &str) -> Result<(), StoreError> {
        let Some(format) = self.get(Column::Meta, b"format")? else {
            // The first row after these two is a log entry: with one of those, this is no new store but a damaged one.
            if self.last_audit()?.is_some() {
                return Err(StoreError::Corrupt(Column::Meta.name()));
            }
            let mut batch = Batch::default();
            self.put(&mut batch, Column::Meta, b"format", &FORMAT.to_be_bytes());
            self.put(&mut batch, Column::Meta, b"owner", owner.as_bytes());
            return self.commit(batch);
        };
        let format = u32::from_be_bytes(fixed(Column::Meta, &format)?);
        let found = self.get(Column::Meta, b"owner")?.unwrap_or_default();
        if found != owner.as_bytes() {
            let found = String::from_utf8_lossy(&found).into_owned();
            return Err(StoreError::Foreign { path: self.path.clone(), found, wanted: owner.to_owned() });
        }
        upgrade::upgrade(self, format)
    }

    /// Writes the rows, durably: returns after fsync.
    ///
    /// # Errors
    /// [`StoreError::Engine`] once, and [`StoreError::Poisoned`] ever after.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        self.db.write_opt(batch.rows, &durable).map_err(|source| {
            self.poisoned.store(true, Ordering::Release);
            self.engine(source)
        })
    }

    /// Bytes free on the store's disk, for this user.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::ffi::CString::new(self.path.as_os_str().as_bytes())?;
        let mut facts = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` ends with a zero byte and `facts` has room for what statvfs writes.
        if unsafe { libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: statvfs succeeded, so it wrote all of it.
        let facts = unsafe { facts.assume_init() };
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    /// Whether a write failed: the process must end.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    // --- chunks -------------------------------------------------------------------------------------------------------

    /// Adds a sealed chunk.
    pub fn put_chunk(&self, batch: &mut Batch, key: ChunkKey, row: &[u8]) {
        self.put(batch, Column::Chunk, &key.to_bytes(), row);
    }

    /// A sealed chunk.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn chunk(&self, key: ChunkKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Column::Chunk, &key.to_bytes())
    }

    /// Takes a chunk away.
    pub fn delete_chunk(&self, batch: &mut Batch, key: ChunkKey) {
        batch.rows.delete_cf(self.column(Column::Chunk), key.to_bytes());
    }

    /// Goes through all chunks in key order, without filling the cache.
    ///
    /// # Errors
    /// The first error of RocksDB or of `each`.
    pub fn each_chunk<E: From<StoreError>>(
        &self,
        each: impl FnMut(ChunkKey, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_chunk_but(|_| None, each)
    }

    /// The same without those that `skip` leads past: where it names a later key, the chunks before that are not read.
    ///
    /// # Errors
    /// The first error of RocksDB or of `each`.
    pub fn each_chunk_but<E: From<StoreError>>(
        &self,
        skip: impl Fn(ChunkKey) -> Option<ChunkKey>,
        mut each: impl FnMut(ChunkKey, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(4 << 20);
        let mut rows = self.db.raw_iterator_cf_opt(self.column(Column::Chunk), options);
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            let key = ChunkKey::from_bytes(key).ok_or(StoreError::Corrupt("chunk"))?;
            match skip(key).filter(|later| *later > key) {
                Some(later) => rows.seek(later.to_bytes()),
                None => {
                    each(key, value.to_vec())?;
                    rows.next();
                }
            }
        }
        Ok(rows.status().map_err(|source| self.engine(source))?)
    }

    /// Whether there is a chunk of that sector (its number) and epoch.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn has_chunks(&self, sector: u32, epoch: u32) -> Result<bool, StoreError> {
        let first = ChunkKey { sector, epoch, sequence: 0 }.to_bytes();
        let mut rows = self.db.iterator_cf(self.column(Column::Chunk), IteratorMode::From(&first, Direction::Forward));
        match rows.next().transpose().map_err(|source| self.engine(source))? {
            Some((key, _)) => Ok(key.starts_with(&first[..8])),
            None => Ok(false),
        }
    }

    /// About how many chunks there are.
    pub fn estimated_chunks(&self) -> u64 {
        let property = rocksdb::properties::ESTIMATE_NUM_KEYS;
        self.db.property_int_value_cf(self.column(Column::Chunk), property).ok().flatten().unwrap_or(0)
    }

    // --- state: what must not roll back -------------------------------------------------------------------------------

    /// Numbers of the sectors that were ever used.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn sector_numbers(&self) -> Result<Vec<(Uuid, u32)>, StoreError> {
        self.rows(Column::Sector, &[])?
            .into_iter()
            .map(|(key, value)| {
                let uuid = Uuid::from_bytes(fixed(Column::Sector, &key)?);
                Ok((uuid, u32::from_be_bytes(fixed(Column::Sector, &value)?)))
            })
            .collect()
    }

    /// Gives a sector its number.
    pub fn put_sector_number(&self, batch: &mut Batch, sector: Uuid, number: u32) {
        self.put(batch, Column::Sector, sector.as_bytes(), &number.to_be_bytes());
    }

    /// The epochs of a sector, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn epochs(&self, sector: Uuid) -> Result<Vec<EpochRow>, StoreError> {
        self.epochs_under(sector.as_bytes())
    }

    /// The epochs of all sectors, also of those that the register no longer has.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn all_epochs(&self) -> Result<Vec<EpochRow>, StoreError> {
        self.epochs_under(&[])
    }

    fn epochs_under(&self, prefix: &[u8]) -> Result<Vec<EpochRow>, StoreError> {
        self.rows(Column::Epoch, prefix)?
            .into_iter()
            .map(|(key, value)| {
                let epoch = u32::from_be_bytes(fixed(Column::Epoch, key.get(16..).unwrap_or_default())?);
                EpochRow::from_bytes(epoch, &value).ok_or(StoreError::Corrupt(Column::Epoch.name()))
            })
            .collect()
    }

    /// Adds an epoch.
    pub fn put_epoch(&self, batch: &mut Batch, sector: Uuid, row: EpochRow) {
        let key = [&sector.as_bytes()[..], &row.epoch.to_be_bytes()[..]].concat();
        self.put(batch, Column::Epoch, &key, &row.to_bytes());
    }

    /// Every frozen fact with its digest.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn all_frozen(&self) -> Result<Vec<(String, [u8; 32])>, StoreError> {
        self.rows(Column::Frozen, &[])?
            .into_iter()
            .map(|(key, value)| {
                let key = String::from_utf8(key).map_err(|_| StoreError::Corrupt(Column::Frozen.name()))?;
                Ok((key, fixed(Column::Frozen, &value)?))
            })
            .collect()
    }

    /// Freezes a fact.
    pub fn put_frozen(&self, batch: &mut Batch, fact: &str, digest: &[u8; 32]) {
        self.put(batch, Column::Frozen, fact.as_bytes(), digest);
    }

    /// Items that an organisation sent on a day.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn quota_used(&self, organisation: &str, day: u32) -> Result<u64, StoreError> {
        match self.get(Column::Quota, &quota_key(organisation, day))? {
            Some(value) => Ok(u64::from_be_bytes(fixed(Column::Quota, &value)?)),
            None => Ok(0),
        }
    }

    /// Notes the items that an organisation sent on a day.
    pub fn put_quota_used(&self, batch: &mut Batch, organisation: &str, day: u32, items: u64) {
        self.put(batch, Column::Quota, &quota_key(organisation, day), &items.to_be_bytes());
    }

    /// The register that was last accepted: version and digest.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn register(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        let Some(value) = self.get(Column::Meta, b"register")? else { return Ok(None) };
        let value: [u8; 40] = fixed(Column::Meta, &value)?;
        let (version, digest) = value.split_at(8);
        Ok(Some((u64::from_be_bytes(fixed(Column::Meta, version)?), fixed(Column::Meta, digest)?)))
    }

    /// Versions of the sector secret that were retired, in order.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn retired_secrets(&self) -> Result<Vec<u32>, StoreError> {
        let value = self.get(Column::Meta, b"retired-secrets")?.unwrap_or_default();
        value.chunks(4).map(|version| Ok(u32::from_be_bytes(fixed(Column::Meta, version)?))).collect()
    }

    /// Notes which versions of the sector secret were retired.
    pub fn put_retired_secrets(&self, batch: &mut Batch, versions: &[u32]) {
        let value: Vec<u8> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
        self.put(batch, Column::Meta, b"retired-secrets", &value);
    }

    /// Notes the register that is now in force.
    pub fn put_register(&self, batch: &mut Batch, version: u64, digest: &[u8; 32]) {
        self.put(batch, Column::Meta, b"register", &[&version.to_be_bytes()[..], &digest[..]].concat());
    }

    /// The latest time that was ever acted on (Unix milliseconds).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn clock_mark(&self) -> Result<i64, StoreError> {
        match self.get(Column::Meta, b"clock")? {
            Some(value) => Ok(i64::from_be_bytes(fixed(Column::Meta, &value)?)),
            None => Ok(0),
        }
    }

    /// Notes the time of a commit (Unix milliseconds).
    pub fn put_clock_mark(&self, batch: &mut Batch, now: i64) {
        self.put(batch, Column::Meta, b"clock", &now.to_be_bytes());
    }

    // --- RocksDB ------------------------------------------------------------------------------------------------------

    fn column(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column is opened with the store")
    }

    fn put(&self, batch: &mut Batch, column: Column, key: &[u8], value: &[u8]) {
        batch.rows.put_cf(self.column(column), key, value);
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.column(column), key).map_err(|source| self.engine(source))
    }

    /// All rows whose key begins with `prefix`. For columns with few rows a prefix.
    fn rows(&self, column: Column, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for row in self.db.iterator_cf(self.column(column), IteratorMode::From(prefix, Direction::Forward)) {
            let (key, value) = row.map_err(|source| self.engine(source))?;
            if !key.starts_with(prefix) {
                break;
            }
            rows.push((key.into_vec(), value.into_vec()));
        }
        Ok(rows)
    }

    /// Goes through all rows of a column in key order, without filling the cache.
    fn each_row(
        &self,
        column: Column,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        for row in self.db.iterator_cf_opt(self.column(column), options, IteratorMode::Start) {
            let (key, value) = row.map_err(|source| self.engine(source))?;
            each(&key, &value)?;
        }
        Ok(())
    }

    /// The keys before `end`, at most `most` of them.
    fn rows_until(&self, column: Column, end: &[u8], most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        for row in self.db.iterator_cf(self.column(column), IteratorMode::Start).take(most) {
            let (key, _) = row.map_err(|source| self.engine(source))?;
            if &key[..] >= end {
                break;
            }
            keys.push(key.into_vec());
        }
        Ok(keys)
    }

    fn engine(&self, source: rocksdb::Error) -> StoreError {
        StoreError::Engine { path: self.path.clone(), source }
    }
}

/// Key and value.
type Row = (Vec<u8>, Vec<u8>);

fn quota_key(organisation: &str, day: u32) -> Vec<u8> {
    [organisation.as_bytes(), &[0], &day.to_be_bytes()].concat()
}

fn fixed<const N: usize>(column: Column, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt(column.name()))
}

/// Looks at a folder before RocksDB may write in it: it would add our columns to any database, and where the file that
/// names the present state is lost, begin a new database and clear the old one's files away.
fn look_before_opening(path: &Path, owner: &str) -> Result<(), StoreError> {
    let engine = |source| StoreError::Engine { path: path.to_owned(), source };
    if !path.join("CURRENT").exists() {
        return if has_data_files(path) { Err(StoreError::Headless(path.to_owned())) } else { Ok(()) };
    }
    let _alone = StoreLock::take(path)?;
    for log in files_ending(path, &["log"]) {
        // A log that cannot be read, RocksDB will say.
        if wal::has_damaged_tail(&log).unwrap_or(false) {
            return Err(StoreError::Log(log));
        }
    }
    let mut found = DB::list_cf(&Options::default(), path).map_err(engine)?;
    found.retain(|name| Column::ALL.iter().all(|column| column.name() != name) && name != DEFAULT);
    if !found.is_empty() {
        return Err(StoreError::Columns { path: path.to_owned(), found });
    }
    // Ours is empty: every row of ours lies in a column of ours.
    // With the options it is opened with for good: RocksDB 11 ends the process by a null pointer where it is to open a
    // database read-only whose manifest tracks write-ahead logs, and is not told to track them.
    let mut options = database_options();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    let db = DB::open_cf_for_read_only(&options, path, [DEFAULT], false).map_err(engine)?;
    match db.iterator(IteratorMode::Start).next() {
        None => Ok(()),
        Some(_) => Err(StoreError::Foreign {
            path: path.to_owned(),
            found: "another program".to_owned(),
            wanted: owner.to_owned(),
        }),
    }
}

/// Whether the folder has files that only a store has: tables, or RocksDB's write-ahead logs (`.log`). What RocksDB makes before
/// CURRENT has none of these endings.
fn has_data_files(path: &Path) -> bool {
    files_ending(path, &["sst", "blob", "log"]).next().is_some()
}

fn files_ending(folder: &Path, ends: &[&str]) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(move |file| file.extension().is_some_and(|end| ends.iter().any(|known| end == *known)))
}

/// The column that every RocksDB has.
const DEFAULT: &str = "default";

/// Whether a database did not open because it is open. RocksDB has one kind for all errors of input and output, so that
/// only its words tell.
fn is_locked(error: &rocksdb::Error) -> bool {
    let words = error.to_string();
    error.kind() == ErrorKind::IOError
        && (words.contains("While lock file") && words.ends_with("Resource temporarily unavailable")
            || words.contains("lock hold by current process"))
}

/// Whether the disk is full: of that, too, only the words tell.
fn is_out_of_room(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::IOError && error.to_string().contains("No space left on device")
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(DBCompressionType::None);
    // A torn last record is what a crash leaves; anything else that does not read back is a loss and must be heard.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // The tail of the last write-ahead log, that is: an older one that is shorter than it was, or gone, is a loss.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(512 << 20);
    options.set_keep_log_file_num(4);
    options.increase_parallelism(2);
    options.set_max_open_files(descriptors::share());
    options.set_bytes_per_sync(4 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options
}

fn column_options(column: Column, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    match column {
        Column::Chunk => {
            // Chunks are written once and read rarely: their bytes go to blob files at the first flush, and compaction
            // moves only keys.
            options.set_write_buffer_size(64 << 20);
            options.set_enable_blob_files(true);
            options.set_min_blob_size(512);
            options.set_blob_file_size(256 << 20);
            options.set_blob_compression_type(DBCompressionType::None);
            options.set_enable_blob_gc(true);
            // Only while `reclaim` says so.
            options.set_blob_gc_age_cutoff(0.0);
            options.set_blob_gc_force_threshold(0.1);
        }
        Column::Index => moved::set_options(&mut options, cache),
        Column::Audit | Column::AuditSalt | Column::AuditTag | Column::EntryIndex | Column::AuditTile => {
            options.set_write_buffer_size(16 << 20);
        }
        _ => options.set_write_buffer_size(4 << 20),
    }
    options
}
