//! Migrations and retired epochs in the store: how far an order for continuity has come, the pairs
//! that wait for their sector, and which epochs are gone.

use std::borrow::Cow;

use uuid::Uuid;

use super::columns::{MIGRATION, MIGRATION_PAIRS, RETIRED};
use super::fields::{NameField, RowField};
use super::index::PartitionId;
use super::orders::OrderKey;
use super::rows::{RowEngine as _, ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

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
    /// The old epoch.
    pub from: u32,
    /// The new epoch.
    pub to: u32,
    /// The sequence of the first chunk that was not migrated yet.
    pub next: u32,
    /// The last page that was handed out, from 1; 0: none.
    pub page: u32,
    /// Mappings handed out: what counts against the order's limit.
    pub handed_out: u64,
    /// Pairs made.
    pub migrated: u64,
    /// Mappings that did not open.
    pub skipped: u64,
    /// The last page, if it was not taken yet.
    pub open: Option<OpenPage>,
}

/// A page of a migration that was handed out and not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPage {
    /// The request under which it was handed out last. Nil if no request may still bring it.
    pub request: Uuid,
    /// The sequence behind its last chunk.
    pub until: u32,
    /// How many mappings it has.
    pub items: u32,
}

impl RowField for MigrationRow {
    fn bytes(&self) -> Cow<'_, [u8]> {
        let mut value = vec![1];
        value.extend_from_slice(self.sector.as_bytes());
        [self.from, self.to, self.next, self.page]
            .iter()
            .for_each(|n| value.extend_from_slice(&n.to_be_bytes()));
        let counts = [self.handed_out, self.migrated, self.skipped];
        counts
            .iter()
            .for_each(|n| value.extend_from_slice(&n.to_be_bytes()));
        if let Some(open) = self.open {
            value.extend_from_slice(&(open.request, open.until, open.items).bytes());
        }
        Cow::Owned(value)
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        (u8::read_front(bytes)? == 1).then_some(())?;
        let sector = Uuid::read_front(bytes)?;
        let (from, to) = <(u32, u32)>::read_front(bytes)?;
        let (next, page) = <(u32, u32)>::read_front(bytes)?;
        let (handed_out, migrated, skipped) = <(u64, u64, u64)>::read_front(bytes)?;
        let open = if bytes.is_empty() {
            None
        } else {
            let (request, until, items) = <(Uuid, u32, u32)>::read_front(bytes)?;
            Some(OpenPage {
                request,
                until,
                items,
            })
        };
        Some(Self {
            sector,
            from,
            to,
            next,
            page,
            handed_out,
            migrated,
            skipped,
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
        self.get(MIGRATION, order)
    }

    /// All migrations that have begun.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn migrations(&self) -> Result<Vec<MigrationRow>, StoreError> {
        Ok(self
            .rows(MIGRATION, &[])?
            .into_iter()
            .map(|(_, row)| row)
            .collect())
    }

    /// Writes how far a migration has come.
    pub fn put_migration(&self, batch: &mut RowBatch, order: &OrderKey, row: MigrationRow) {
        self.put(batch, MIGRATION, order, &row);
    }

    /// Adds pairs for a sector system.
    pub fn put_pairs(&self, batch: &mut RowBatch, client: &str, row: &PairsRow) {
        self.put(
            batch,
            MIGRATION_PAIRS,
            &pairs_key(client, &row.order, row.page),
            &row.sealed[..],
        );
    }

    /// Goes through the pairs that wait for a sector system: all, or those of one order from a page
    /// on. Hands `each` order, page and sealed pairs, which may be a megabyte. Goes on as long as
    /// `each` returns true.
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
            Some((order, page)) => (pairs_key(client, order, page).bytes().into_owned(), 4),
            None => (NameField::of(client).bytes().into_owned(), 0),
        };
        // With a page, the prefix ends before it: all pages of the order.
        let range = ScanRange {
            prefix: &start[..start.len() - page],
            ..ScanRange::from(&start)
        };
        self.each(MIGRATION_PAIRS, range, |(_, order, page), sealed| {
            Ok(if each(order, page, sealed) {
                ScanStep::Next
            } else {
                ScanStep::Stop
            })
        })
    }

    /// The orders whose pairs wait for a sector system. Reads one row an order.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn pairs_orders(&self, client: &str) -> Result<Vec<OrderKey>, StoreError> {
        let mut orders = vec![];
        self.each(
            MIGRATION_PAIRS,
            ScanRange::of(&NameField::of(client).bytes()),
            |(_, order, _), _| {
                let behind = [&pairs_key(client, &order, u32::MAX).bytes()[..], &[0]].concat();
                orders.push(order);
                Ok::<_, StoreError>(ScanStep::SkipTo(behind))
            },
        )?;
        Ok(orders)
    }

    /// Deletes pairs that a sector system has taken.
    pub fn delete_pairs(&self, batch: &mut RowBatch, client: &str, order: &OrderKey, page: u32) {
        self.delete(batch, MIGRATION_PAIRS, &pairs_key(client, order, page));
    }

    /// Every epoch that was retired: sector, epoch, when (Unix seconds).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn retired_epochs(&self) -> Result<Vec<(Uuid, u32, i64)>, StoreError> {
        let rows = self.rows(RETIRED, &[])?.into_iter();
        Ok(rows
            .map(|((sector, epoch), time)| (sector, epoch, time))
            .collect())
    }

    /// Retires an epoch: notes when, and deletes every row of its mappings.
    pub fn retire_epoch(
        &self,
        batch: &mut RowBatch,
        sector: Uuid,
        epoch: u32,
        time: i64,
        partition: PartitionId,
    ) {
        self.put(batch, RETIRED, &(sector, epoch), &time);
        self.engine.delete_partition(&mut batch.rows, partition);
    }
}

fn pairs_key(client: &str, order: &OrderKey, page: u32) -> (NameField, OrderKey, u32) {
    (NameField::of(client), order.clone(), page)
}
