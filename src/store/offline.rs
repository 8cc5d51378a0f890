//! A store that no process serves, opened to be read whole and never written: its rows in the order
//! in which another program can follow them.

use std::path::Path;

use uuid::Uuid;

use super::columns::{
    CHUNK, ChunkKey, EPOCH, EpochRow, META, RETIRED, SECTOR, SEGMENT, TOMBSTONE, TypedColumn,
};
use super::fields::RowField;
use super::rocks::RocksEngine;
use super::rows::{ScanRange, ScanStep};
use super::upgrade::FORMAT;
use super::{Store, StoreError, restoring};

/// A row of a store that is read whole.
#[derive(Debug)]
pub enum OfflineRow<'a> {
    /// A sector and its number in this store.
    Sector(Uuid, u32),
    /// A sector's epoch.
    Epoch(Uuid, EpochRow),
    /// Sector, epoch, and when it was retired (Unix seconds).
    Retired(Uuid, u32, i64),
    /// Sector, tombstone of an erased pseudonym, and when it was erased (Unix seconds).
    Tombstone(Uuid, [u8; 16], i64),
    /// A segment's id and its record.
    Segment([u8; 16], &'a [u8]),
    /// A chunk as it lies on the disk.
    Chunk(ChunkKey, &'a [u8]),
}

impl Store {
    /// Opens a store, or a copy of one, that no process has open, and keeps every process out until
    /// it is dropped. Changes no row and brings it to no other format.
    ///
    /// # Errors
    /// [`StoreError`]: none there, in use, of a later format, damaged.
    pub fn open_offline(path: &Path) -> Result<Self, StoreError> {
        if !Self::is_there(path) {
            return Err(StoreError::Absent(path.to_owned()));
        }
        if restoring::is_restoring(path) {
            return Err(StoreError::Restoring(path.to_owned()));
        }
        let store = Self::over(RocksEngine::open_alone_for_reading(path)?, path, None);
        let found = store.format()?;
        if found > FORMAT {
            return Err(StoreError::Format {
                path: path.to_owned(),
                found,
                reader: store.oldest_reader()?,
            });
        }
        Ok(store)
    }

    /// The format of everything in the store.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn format(&self) -> Result<u32, StoreError> {
        self.meta::<u32>(b"format")?.ok_or(META.corrupt())
    }

    /// Hands `each` the state that readers of mappings need, then every segment, then every chunk
    /// in the order of their keys. Reads one row at a time. Chunks of retired epochs are left out.
    ///
    /// These columns hold the same in every format of the store so far; a format that changes one
    /// has to change this.
    ///
    /// # Errors
    /// The first error of the engine or of `each`.
    pub fn each_offline_row<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(OfflineRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.every(SECTOR, |sector, value| {
            let number = u32::read(value).ok_or(SECTOR.corrupt())?;
            each(OfflineRow::Sector(sector, number))
        })?;
        self.every(EPOCH, |(sector, epoch), value| {
            let row = <[u8; 18]>::read(value).and_then(|row| EpochRow::from_bytes(epoch, &row));
            each(OfflineRow::Epoch(sector, row.ok_or(EPOCH.corrupt())?))
        })?;
        self.every(RETIRED, |(sector, epoch), value| {
            let time = i64::read(value).ok_or(RETIRED.corrupt())?;
            each(OfflineRow::Retired(sector, epoch, time))
        })?;
        self.every(TOMBSTONE, |(sector, tombstone), value| {
            let time = i64::read(value).ok_or(TOMBSTONE.corrupt())?;
            each(OfflineRow::Tombstone(sector, tombstone, time))
        })?;
        self.every(SEGMENT, |id, record| each(OfflineRow::Segment(id, record)))?;
        self.each_lasting_chunk(each)
    }

    fn each_lasting_chunk<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(OfflineRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let numbers = self.sector_numbers()?;
        let number_of = |sector| Some(numbers.iter().find(|(uuid, _)| *uuid == sector)?.1);
        let retired: Vec<(u32, u32)> = self
            .retired_epochs()?
            .into_iter()
            .filter_map(|(sector, epoch, _)| Some((number_of(sector)?, epoch)))
            .collect();
        self.every(CHUNK, |key, row| {
            if retired.contains(&(key.sector, key.epoch)) {
                return Ok(());
            }
            each(OfflineRow::Chunk(key, row))
        })
    }

    fn every<K: RowField + ?Sized, V: ?Sized, E: From<StoreError>>(
        &self,
        column: TypedColumn<K, V>,
        mut each: impl FnMut(K::Owned, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(column, ScanRange::ALL.once(), |key, value| {
            each(key, value).map(|()| ScanStep::Next)
        })
    }
}
