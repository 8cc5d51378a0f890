//! The store: rows of sealed bytes, and never a key. An engine keeps the rows, behind the interface
//! [`rows`]. RocksDB is the only engine so far.
//!
//! [`Store::commit`] alone decides durability: it returns after fsync. An error of a write or an
//! fsync poisons the store, because what the disk holds is then unknown, and a later
//! acknowledgement could be of something lost.

mod audit;
mod batch;
mod chunks;
mod columns;
pub mod contract;
pub mod descriptors;
mod erase;
mod error;
mod fields;
mod first_start;
pub mod index;
mod inspections;
mod journal;
mod migrations;
mod moved;
mod offline;
mod opening;
mod order_copies;
mod orders;
mod place;
mod reclaim;
mod registers;
mod restored;
mod restoring;
mod rocks;
pub mod rows;
mod segments;
mod snapshot;
mod space;
mod state;
mod suspensions;
mod tags;
mod upgrade;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

pub use audit::{ItemTag, Shard, TreeRow};
pub use batch::{RowBatch, StateChange, StateChanges};
pub use columns::{COLUMNS, ChunkKey, ColumnName, EpochRow, PARTITIONED};
use columns::{META, TypedColumn};
pub use erase::{ErasureDue, LastErasure};
pub use error::StoreError;
pub use fields::{NameField, RowField};
pub use first_start::FirstStart;
pub use migrations::{MigrationRow, OpenPage, PairsRow};
pub use offline::OfflineRow;
pub use order_copies::{CopiesRow, CopyRow, copy_location};
pub use orders::{ActRow, OrderKey};
use place::StorePlace;
pub use registers::RegisterRow;
pub use restoring::{RestoreFolder, StoreExchange, forget_origin, restored_from};
pub use rocks::RocksEngine;
use rows::{RowEngine, ScanRange, ScanStep};
pub use snapshot::StoreSnapshot;
pub use space::DiskSpace;
pub use state::ReservedSecret;
pub use tags::{EntryKeys, TagKind, TagPlace};

/// The rows of one vault or node, by what they mean.
pub struct Store {
    engine: RocksEngine,
    path: PathBuf,
    poisoned: AtomicBool,
    /// Whether compactions move chunks at present; see [`Store::reclaim`].
    moves_chunks: AtomicBool,
    /// Whether a scrub or the keeper's [`Store::reclaim`] decides at present how compactions treat
    /// chunks.
    scrubbed: AtomicBool,
    /// Where the store's files lie. `None` for a store that is only read, which does not watch
    /// them.
    place: Option<StorePlace>,
}

/// Rows of a column, read whole.
type OwnedRows<K, V> = Vec<(<K as ToOwned>::Owned, <V as ToOwned>::Owned)>;

impl Store {
    /// Writes the rows, durably: returns after fsync.
    ///
    /// # Errors
    /// [`StoreError::Engine`] once, and [`StoreError::Poisoned`] ever after.
    pub fn commit(&self, batch: RowBatch) -> Result<(), StoreError> {
        self.write(|| self.engine.commit(batch.rows))
    }

    /// Makes a durable write. After one that fails, none is made any more.
    fn write(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        write().inspect_err(|_| self.poisoned.store(true, Ordering::Release))
    }

    /// Whether a write failed: the process must end.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Bytes free on the store's disk, for this user.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        crate::system::free_bytes(&self.path)
    }

    // Rows, by the types of their column.

    fn put<K, V>(&self, batch: &mut RowBatch, column: TypedColumn<K, V>, key: &K, value: &V)
    where
        K: RowField + ?Sized,
        V: RowField + ?Sized,
    {
        let (key, value, column) = (&key.bytes()[..], &value.bytes()[..], column.name);
        batch.changes.push(StateChange::Put { column, key, value });
        self.engine.put(&mut batch.rows, column, key, value);
    }

    fn delete<K: RowField + ?Sized, V: ?Sized>(
        &self,
        batch: &mut RowBatch,
        column: TypedColumn<K, V>,
        key: &K,
    ) {
        let (key, column) = (&key.bytes()[..], column.name);
        batch.changes.push(StateChange::Delete { column, key });
        self.engine.delete(&mut batch.rows, column, key);
    }

    fn get<K, V>(&self, column: TypedColumn<K, V>, key: &K) -> Result<Option<V::Owned>, StoreError>
    where
        K: RowField + ?Sized,
        V: RowField + ?Sized,
    {
        let value = self.engine.read(column.name, &key.bytes())?;
        value
            .map(|value| V::read_owned(value).ok_or(column.corrupt()))
            .transpose()
    }

    fn has<K: RowField + ?Sized, V: ?Sized>(
        &self,
        column: TypedColumn<K, V>,
        key: &K,
    ) -> Result<bool, StoreError> {
        Ok(self.engine.read(column.name, &key.bytes())?.is_some())
    }

    /// A single value by its name.
    fn meta<V: RowField>(&self, name: &[u8]) -> Result<Option<V::Owned>, StoreError> {
        self.get(META, name)?
            .map(|value| V::read(&value).ok_or(META.corrupt()))
            .transpose()
    }

    /// All rows whose key begins with `prefix`. Only for prefixes with few rows.
    fn rows<K, V>(
        &self,
        column: TypedColumn<K, V>,
        prefix: &[u8],
    ) -> Result<OwnedRows<K, V>, StoreError>
    where
        K: RowField + ?Sized,
        V: RowField + ?Sized,
    {
        let mut rows = vec![];
        self.engine
            .scan(column.name, ScanRange::of(prefix), |key, value| {
                let row = K::read(key).zip(V::read(value)).ok_or(column.corrupt())?;
                rows.push(row);
                Ok::<_, StoreError>(ScanStep::Next)
            })?;
        Ok(rows)
    }

    /// Hands `each` the key of every row in the range, and the bytes of its value.
    fn each<K: RowField + ?Sized, V: ?Sized, E: From<StoreError>>(
        &self,
        column: TypedColumn<K, V>,
        range: ScanRange<'_>,
        mut each: impl FnMut(K::Owned, &[u8]) -> Result<ScanStep, E>,
    ) -> Result<(), E> {
        self.engine.scan(column.name, range, |key, value| {
            each(K::read(key).ok_or(column.corrupt())?, value)
        })
    }

    /// The keys before `end`, at most `most` of them.
    fn keys_before<K: RowField + ?Sized, V: ?Sized>(
        &self,
        column: TypedColumn<K, V>,
        end: &[u8],
        most: usize,
    ) -> Result<Vec<K::Owned>, StoreError> {
        let mut keys = vec![];
        self.engine.scan(column.name, ScanRange::ALL, |key, _| {
            if keys.len() == most || key >= end {
                return Ok(ScanStep::Stop);
            }
            keys.push(K::read(key).ok_or(column.corrupt())?);
            Ok::<_, StoreError>(ScanStep::Next)
        })?;
        Ok(keys)
    }
}
