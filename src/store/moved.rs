//! Index entries that the memory had no room for, in a sorted column.
//!
//! They come as sorted files that RocksDB takes in whole: no write-ahead log, no sorting in memory, durable on return. A row
//! says in which chunk a mapping lies, and not whose mapping it is: places and tags are made under a key that the store does
//! not have. The Bloom filter spares look-ups of what is not there; it never says that something is.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DataBlockIndexType, IngestExternalFileOptions, Options,
    SstFileWriter,
};

use super::columns::Column;
use super::index::PartitionId;
use super::{Batch, Store, StoreError, column_options, fixed};

/// Sector number ‖ epoch ‖ place ‖ tag.
pub(super) type MovedKey = [u8; 25];

/// Keys that are looked up in one call: RocksDB holds a block for each until it returns.
const TOGETHER: usize = 256;
/// The file that is being written before RocksDB takes it; no ending that RocksDB knows.
const INCOMING: &str = "index.incoming";

/// How much of one place of a partition has been moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Of the chunks below this sequence, all entries have been moved.
    pub(super) below: u32,
    /// How many they are.
    pub(super) entries: u64,
}

/// Under which key places and tags were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    /// The key's version.
    pub(super) version: u32,
    /// What the key makes of nothing: another key of the same version is found out by it.
    pub(super) check: [u8; 8],
}

pub(super) fn key((sector, epoch): PartitionId, place: u8, tag: &[u8; 16]) -> MovedKey {
    let mut key = [0; 25];
    key[..4].copy_from_slice(&sector.to_be_bytes());
    key[4..8].copy_from_slice(&epoch.to_be_bytes());
    key[8] = place;
    key[9..].copy_from_slice(tag);
    key
}

fn mark_key((sector, epoch): PartitionId, place: u8) -> [u8; 9] {
    key((sector, epoch), place, &[0; 16])[..9].try_into().expect("9 of 25")
}

pub(super) fn set_options(options: &mut Options, cache: &Cache) {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_whole_key_filtering(true);
    // Index and filters in pieces within the bounded cache: what is larger than the cache gets slower and not larger.
    table.set_cache_index_and_filter_blocks(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_format_version(5);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(4 << 20);
}

impl Store {
    /// Takes in entries, sorted by key; durable on return.
    ///
    /// # Errors
    /// [`StoreError::Engine`] once, and [`StoreError::Poisoned`] ever after: as with any write.
    pub(super) fn take_in(&self, rows: impl Iterator<Item = (MovedKey, u32)>) -> Result<(), StoreError> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        let written = || -> Result<(), rocksdb::Error> {
            let options = column_options(Column::Index, &self.cache);
            let file = self.path.join(INCOMING);
            // One that a crash left behind.
            let _ = std::fs::remove_file(&file);
            let mut writer = SstFileWriter::create(&options);
            writer.open(&file)?;
            for (key, sequence) in rows {
                writer.put(key, sequence.to_be_bytes())?;
            }
            writer.finish()?;
            drop(writer);
            let mut how = IngestExternalFileOptions::default();
            how.set_move_files(true);
            self.db.ingest_external_file_cf_opts(self.column(Column::Index), &how, vec![file])
        };
        written().map_err(|source| {
            self.poisoned.store(true, std::sync::atomic::Ordering::Release);
            self.engine(source)
        })
    }

    /// The chunks of moved entries; `keys` are sorted.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub(super) fn moved(&self, keys: &[MovedKey]) -> Result<Vec<Option<u32>>, StoreError> {
        let column = self.column(Column::Index);
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            for value in self.db.batched_multi_get_cf(column, keys, true) {
                found.push(match value.map_err(|source| self.engine(source))? {
                    Some(value) => Some(u32::from_be_bytes(fixed(Column::Index, &value)?)),
                    None => None,
                });
            }
        }
        Ok(found)
    }

    /// Takes a moved entry away.
    pub(super) fn delete_moved(&self, batch: &mut Batch, key: &MovedKey) {
        batch.rows.delete_cf(self.column(Column::Index), key);
    }

    /// Notes how much of a place has been moved.
    pub(super) fn put_mark(&self, batch: &mut Batch, partition: PartitionId, place: u8, made: Made, mark: Mark) {
        let mut value = made.version.to_be_bytes().to_vec();
        value.extend_from_slice(&made.check);
        value.extend_from_slice(&mark.below.to_be_bytes());
        value.extend_from_slice(&mark.entries.to_be_bytes());
        self.put(batch, Column::IndexMark, &mark_key(partition, place), &value);
    }

    /// Every mark: partition, place, key, how much.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub(super) fn marks(&self) -> Result<Vec<(PartitionId, u8, Made, Mark)>, StoreError> {
        let number = |bytes: &[u8]| Ok::<_, StoreError>(u32::from_be_bytes(fixed(Column::IndexMark, bytes)?));
        let mut marks = vec![];
        for (key, value) in self.rows(Column::IndexMark, &[])? {
            let key: [u8; 9] = fixed(Column::IndexMark, &key)?;
            let value: [u8; 24] = fixed(Column::IndexMark, &value)?;
            let made = Made { version: number(&value[..4])?, check: fixed(Column::IndexMark, &value[4..12])? };
            let entries = u64::from_be_bytes(fixed(Column::IndexMark, &value[16..])?);
            let mark = Mark { below: number(&value[12..16])?, entries };
            marks.push(((number(&key[..4])?, number(&key[4..8])?), key[8], made, mark));
        }
        Ok(marks)
    }

    /// Forgets what was moved of a partition: the chunks still say it all.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub(super) fn forget_moved(&self, partition: PartitionId) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.delete_partition(&mut batch, Column::Index, partition);
        self.delete_partition(&mut batch, Column::IndexMark, partition);
        self.commit(batch)
    }

    /// Bytes on the disk that the moved entries take, about.
    pub fn moved_bytes(&self) -> u64 {
        let property = rocksdb::properties::LIVE_SST_FILES_SIZE;
        self.db.property_int_value_cf(self.column(Column::Index), property).ok().flatten().unwrap_or(0)
    }

    /// Bytes of memory that blocks and filters of the moved entries take at present.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }
}
