//! Migrations and retired epochs in the store: how far an order for continuity has come, the pairs that wait for their sector,
//! and which epochs are gone.

use rocksdb::{Direction, IteratorMode};
use uuid::Uuid;

use super::columns::{ChunkKey, Column};
use super::index::PartitionId;
use super::orders::{OrderKey, named};
use super::{Batch, Store, StoreError, fixed};

/// Sealed pairs that wait for a sector system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairsRow {
    /// The order.
    pub order: OrderKey,
    /// Which page of its migration, from 1.
    pub page: u32,
    /// The pairs, sealed to the sector system.
    pub sealed: Vec<u8>,
}

/// How far the migration under an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationRow {
    /// The sector.
    pub sector: Uuid,
    /// The epoch that is left.
    pub from: u32,
    /// The epoch that is gone to.
    pub to: u32,
    /// The sequence of the first chunk that was not taken yet.
    pub next: u32,
    /// The last page that was handed out, from 1; 0: none.
    pub page: u32,
    /// Mappings handed out: what counts against the order's limit.
    pub handed_out: u64,
    /// Pairs made.
    pub migrated: u64,
    /// Mappings that did not open.
    pub skipped: u64,
    /// The last page, where it was not taken yet.
    pub open: Option<OpenPage>,
}

/// A page of a migration that was handed out and not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPage {
    /// The request under which it was handed out last; nil: none that may still bring it.
    pub request: Uuid,
    /// The sequence behind its last chunk.
    pub until: u32,
    /// How many mappings it has.
    pub items: u32,
}

impl MigrationRow {
    fn to_bytes(self) -> Vec<u8> {
        let mut value = vec![1];
        value.extend_from_slice(self.sector.as_bytes());
        [self.from, self.to, self.next, self.page].iter().for_each(|n| value.extend_from_slice(&n.to_be_bytes()));
        let counts = [self.handed_out, self.migrated, self.skipped];
        counts.iter().for_each(|n| value.extend_from_slice(&n.to_be_bytes()));
        if let Some(open) = self.open {
            value.extend_from_slice(open.request.as_bytes());
            value.extend_from_slice(&open.until.to_be_bytes());
            value.extend_from_slice(&open.items.to_be_bytes());
        }
        value
    }

    fn from_bytes(value: &[u8]) -> Option<Self> {
        let (head, open) = value.split_at_checked(1 + 16 + 4 * 4 + 3 * 8)?;
        (head[0] == 1).then_some(())?;
        let number = |bytes: &[u8], at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let count = |at: usize| Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
        let open = match open.len() {
            0 => None,
            24 => Some(OpenPage { request: uuid(&open[..16])?, until: number(open, 16)?, items: number(open, 20)? }),
            _ => return None,
        };
        Some(Self {
            sector: uuid(&head[1..17])?,
            from: number(head, 17)?,
            to: number(head, 21)?,
            next: number(head, 25)?,
            page: number(head, 29)?,
            handed_out: count(33)?,
            migrated: count(41)?,
            skipped: count(49)?,
            open,
        })
    }
}

impl Store {
    /// How far the migration under an order has come.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn migration(&self, order: &OrderKey) -> Result<Option<MigrationRow>, StoreError> {
        let Some(value) = self.get(Column::Migration, &order.to_bytes())? else { return Ok(None) };
        MigrationRow::from_bytes(&value).map(Some).ok_or(StoreError::Corrupt(Column::Migration.name()))
    }

    /// All migrations that have begun.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn migrations(&self) -> Result<Vec<MigrationRow>, StoreError> {
        let rows = self.rows(Column::Migration, &[])?.into_iter();
        let corrupt = || StoreError::Corrupt(Column::Migration.name());
        rows.map(|(_, value)| MigrationRow::from_bytes(&value).ok_or_else(corrupt)).collect()
    }

    /// Writes how far a migration has come.
    pub fn put_migration(&self, batch: &mut Batch, order: &OrderKey, row: MigrationRow) {
        self.put(batch, Column::Migration, &order.to_bytes(), &row.to_bytes());
    }

    /// Goes through the chunks of a partition from a sequence on, for as long as `each` wants another one.
    ///
    /// # Errors
    /// The first error of RocksDB or of `each`.
    pub fn chunks_from<E: From<StoreError>>(
        &self,
        first: ChunkKey,
        mut each: impl FnMut(ChunkKey, Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = first.to_bytes();
        for row in self.db.iterator_cf(self.column(Column::Chunk), IteratorMode::From(&start, Direction::Forward)) {
            let (key, value) = row.map_err(|source| self.engine(source))?;
            let key = ChunkKey::from_bytes(&key).ok_or(StoreError::Corrupt("chunk"))?;
            if (key.sector, key.epoch) != (first.sector, first.epoch) || !each(key, value.into_vec())? {
                break;
            }
        }
        Ok(())
    }

    /// Adds pairs for a sector system.
    pub fn put_pairs(&self, batch: &mut Batch, client: &str, row: &PairsRow) {
        self.put(batch, Column::MigrationPairs, &pairs_key(client, &row.order, row.page), &row.sealed);
    }

    /// Goes through the pairs that wait for a sector system, of one order and from a page on, or of all: order, page and what is
    /// sealed, which may be a megabyte. Goes on as long as `each` says so.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn each_pairs(
        &self,
        client: &str,
        from: Option<(&OrderKey, u32)>,
        mut each: impl FnMut(OrderKey, u32, &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let (start, page) = match from {
            Some((order, page)) => (pairs_key(client, order, page), 4),
            None => (named(client), 0),
        };
        // Of one order, or of all.
        let prefix = &start[..start.len() - page];
        let rows =
            self.db.iterator_cf(self.column(Column::MigrationPairs), IteratorMode::From(&start, Direction::Forward));
        for row in rows {
            let (key, sealed) = row.map_err(|source| self.engine(source))?;
            if !key.starts_with(prefix) {
                break;
            }
            let (order, page) = OrderKey::read(Column::MigrationPairs, &key[client.len() + 1..])?;
            if !each(order, u32::from_be_bytes(fixed(Column::MigrationPairs, page)?), &sealed) {
                break;
            }
        }
        Ok(())
    }

    /// The orders of whose migrations pairs wait for a sector system. Reads one row an order.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn pairs_orders(&self, client: &str) -> Result<Vec<OrderKey>, StoreError> {
        let (prefix, mut orders) = (named(client), vec![]);
        let mut rows = self.db.raw_iterator_cf(self.column(Column::MigrationPairs));
        rows.seek(&prefix);
        while let Some(key) = rows.key().filter(|key| key.starts_with(&prefix)) {
            let (order, _) = OrderKey::read(Column::MigrationPairs, &key[prefix.len()..])?;
            rows.seek([&pairs_key(client, &order, u32::MAX)[..], &[0]].concat());
            orders.push(order);
        }
        rows.status().map_err(|source| self.engine(source))?;
        Ok(orders)
    }

    /// Takes pairs away that a sector system has.
    pub fn delete_pairs(&self, batch: &mut Batch, client: &str, order: &OrderKey, page: u32) {
        batch.rows.delete_cf(self.column(Column::MigrationPairs), pairs_key(client, order, page));
    }

    /// Every epoch that was retired: sector, epoch, when (Unix seconds).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn retired_epochs(&self) -> Result<Vec<(Uuid, u32, i64)>, StoreError> {
        let rows = self.rows(Column::Retired, &[])?.into_iter();
        rows.map(|(key, value)| {
            let (sector, epoch) = key.split_at_checked(16).ok_or(StoreError::Corrupt(Column::Retired.name()))?;
            let epoch = u32::from_be_bytes(fixed(Column::Retired, epoch)?);
            let time = i64::from_be_bytes(fixed(Column::Retired, &value)?);
            Ok((Uuid::from_bytes(fixed(Column::Retired, sector)?), epoch, time))
        })
        .collect()
    }

    /// Retires an epoch: notes when, and takes away every row that its mappings have.
    pub fn retire_epoch(&self, batch: &mut Batch, sector: Uuid, epoch: u32, time: i64, partition: PartitionId) {
        let key = [&sector.as_bytes()[..], &epoch.to_be_bytes()].concat();
        self.put(batch, Column::Retired, &key, &time.to_be_bytes());
        for column in [Column::Chunk, Column::Index, Column::IndexMark] {
            self.delete_partition(batch, column, partition);
        }
    }

    /// Takes away every row of a partition in a column whose keys begin with sector number and epoch.
    pub(super) fn delete_partition(&self, batch: &mut Batch, column: Column, (sector, epoch): PartitionId) {
        let mut from = sector.to_be_bytes().to_vec();
        from.extend_from_slice(&epoch.to_be_bytes());
        // No key of the partition is longer than this.
        let to = [&from[..], &[0xff; 18]].concat();
        batch.rows.delete_range_cf(self.column(column), &from, &to);
    }
}

fn pairs_key(client: &str, order: &OrderKey, page: u32) -> Vec<u8> {
    [&named(client)[..], &order.to_bytes(), &page.to_be_bytes()].concat()
}
