//! The options that RocksDB is opened with.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRecoveryMode, DataBlockIndexType, Options,
};

use crate::store::columns::{
    AUDIT, AUDIT_SALT, AUDIT_TAG, AUDIT_TILE, CHUNK, COLUMNS, ColumnName, ENTRY_INDEX, INDEX,
};
use crate::store::descriptors;

/// Columns that most commits write to.
const BUSY: [ColumnName; 5] = [
    AUDIT.name,
    AUDIT_SALT.name,
    AUDIT_TAG.name,
    ENTRY_INDEX.name,
    AUDIT_TILE.name,
];

/// Options for opening a database only to read it.
///
/// They track write-ahead logs in the manifest as [`of_database`] does. Without that, RocksDB wants
/// to strike a log that the manifest names from it, which it cannot do for a reader: it follows a
/// null pointer.
pub(super) fn of_reading() -> Options {
    let mut options = Options::default();
    options.set_track_and_verify_wals_in_manifest(true);
    options
}

pub(super) fn of_database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(DBCompressionType::None);
    // A crash leaves a torn last record. Any other record that does not read back is a loss, and
    // opening fails.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // With this, only the last write-ahead log may have a torn tail: an older one that is shorter
    // than it was, or gone, is a loss.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(512 << 20);
    options.set_keep_log_file_num(4);
    options.increase_parallelism(2);
    options.set_max_open_files(descriptors::share());
    options.set_bytes_per_sync(4 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options
}

/// Every column with its options.
pub(super) fn of_columns(cache: &Cache) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    COLUMNS
        .iter()
        .map(|column| ColumnFamilyDescriptor::new(column.as_str(), of_column(*column, cache)))
}

pub(super) fn of_column(column: ColumnName, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(write_buffer(column));
    if column == CHUNK.name {
        set_chunk(&mut options);
    } else if column == INDEX.name {
        set_index(&mut options, cache);
    }
    options
}

/// Bytes of memory that what is written to a column takes before it is flushed. While it is, as
/// much again is filled.
fn write_buffer(column: ColumnName) -> usize {
    match column {
        name if name == CHUNK.name => 64 << 20,
        name if BUSY.contains(&name) => 16 << 20,
        _ => 4 << 20,
    }
}

/// Chunks are written once and read rarely: their bytes go to blob files at the first flush, and
/// compaction moves only keys.
fn set_chunk(options: &mut Options) {
    options.set_enable_blob_files(true);
    options.set_min_blob_size(512);
    options.set_blob_file_size(256 << 20);
    options.set_blob_compression_type(DBCompressionType::None);
    options.set_enable_blob_gc(true);
    // `reclaim` turns it on when needed.
    options.set_blob_gc_age_cutoff(0.0);
    options.set_blob_gc_force_threshold(0.1);
}

/// The Bloom filter saves most look-ups of absent keys.
fn set_index(options: &mut Options, cache: &Cache) {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_whole_key_filtering(true);
    // Index and filters lie in pieces within the bounded cache: an index that exceeds the cache
    // gets slower, and takes no more memory.
    table.set_cache_index_and_filter_blocks(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_format_version(5);
    options.set_block_based_table_factory(&table);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of memory that the write buffers of all columns take once each is full: a column to
    /// which little is written takes hours to fill its own.
    fn write_buffers() -> usize {
        COLUMNS.iter().map(|column| write_buffer(*column)).sum()
    }

    #[test]
    fn write_buffers_take_what_the_operators_page_says() {
        let page = include_str!("../../../docs/operations.md");
        let stated = format!("write buffers, up to {} MiB", write_buffers() >> 20);
        assert!(page.contains(&stated), "{stated}");
    }
}
