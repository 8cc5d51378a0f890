//! The copies that orders have of mappings: sealed as they were stored, each under its order's key. What an order may open stays
//! here until the order is over, whatever becomes of the mapping meanwhile.

use rocksdb::{Direction, IteratorMode};

use super::columns::Column;
use super::orders::OrderKey;
use super::{Batch, Store, StoreError, fixed};
use crate::clock::random;

/// An order's copy of one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRow {
    /// The epoch that the mapping is of.
    pub epoch: u32,
    /// The mapping, as the vault wraps it.
    pub sealed: Vec<u8>,
}

/// What is known of an order that has copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiesRow {
    /// When the order is over (Unix seconds).
    pub until: i64,
    /// Whether everything that it lists was looked for.
    pub whole: bool,
}

/// Where an order's copy lies, as what wraps it is bound to: its row's key, and its epoch.
pub fn copy_location(order: &OrderKey, tag: &[u8; 16], epoch: u32) -> Vec<u8> {
    [&copy_key(order, tag)[..], &epoch.to_be_bytes()].concat()
}

fn copy_key(order: &OrderKey, tag: &[u8; 16]) -> Vec<u8> {
    [&order.to_bytes()[..], tag].concat()
}

/// Single value that says that the orders which were live under an older version have their copies.
const BEGUN: &[u8] = b"order-copies";
/// Single values that say that copies were destroyed whose bytes may still stand in the files: something random comes behind, so
/// that a clearing that ends strikes out those that it began after, and none that came meanwhile.
const CLEAR_DUE: &[u8] = b"copies-due/";

impl Store {
    /// What is known of an order's copies.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_copies(&self, order: &OrderKey) -> Result<Option<CopiesRow>, StoreError> {
        self.get(Column::OrderCopies, &order.to_bytes())?.map(|value| CopiesRow::from_bytes(&value)).transpose()
    }

    /// All orders that have copies.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn copied_orders(&self) -> Result<Vec<(OrderKey, CopiesRow)>, StoreError> {
        let rows = self.rows(Column::OrderCopies, &[])?.into_iter();
        rows.map(|(key, value)| Ok((OrderKey::read(Column::OrderCopies, &key)?.0, CopiesRow::from_bytes(&value)?)))
            .collect()
    }

    /// Notes that an order has copies, and until when.
    pub fn put_order_copies(&self, batch: &mut Batch, order: &OrderKey, row: CopiesRow) {
        let value = [&row.until.to_be_bytes()[..], &[u8::from(row.whole)]].concat();
        self.put(batch, Column::OrderCopies, &order.to_bytes(), &value);
    }

    /// An order's copy of the mapping of a pseudonym, by its tag.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_copy(&self, order: &OrderKey, tag: &[u8; 16]) -> Result<Option<CopyRow>, StoreError> {
        self.get(Column::OrderCopy, &copy_key(order, tag))?.map(|value| CopyRow::from_bytes(&value)).transpose()
    }

    /// Adds an order's copy, or puts another in its place.
    pub fn put_order_copy(&self, batch: &mut Batch, order: &OrderKey, tag: &[u8; 16], copy: &CopyRow) {
        let value = [&copy.epoch.to_be_bytes()[..], &copy.sealed].concat();
        self.put(batch, Column::OrderCopy, &copy_key(order, tag), &value);
    }

    /// Goes through all copies of all orders.
    ///
    /// # Errors
    /// The first error of RocksDB or of `each`.
    pub fn each_order_copy<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(OrderKey, [u8; 16], CopyRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let column = Column::OrderCopy;
        for row in self.db.iterator_cf(self.column(column), IteratorMode::From(&[], Direction::Forward)) {
            let (key, value) = row.map_err(|source| self.engine(source))?;
            let (order, tag) = OrderKey::read(column, &key)?;
            each(order, fixed(column, tag)?, CopyRow::from_bytes(&value)?)?;
        }
        Ok(())
    }

    /// Destroys the copies of an order, and notes that their bytes are still to be cleared out of the files
    /// ([`Store::clear_copies`]).
    pub fn delete_order_copies(&self, batch: &mut Batch, order: &OrderKey) {
        let from = order.to_bytes();
        // Behind the last tag there can be.
        let to = [&from[..], &[0xff; 17]].concat();
        batch.rows.delete_range_cf(self.column(Column::OrderCopy), &from, &to);
        batch.rows.delete_cf(self.column(Column::OrderCopies), &from);
        let due: [u8; 16] = random();
        self.put(batch, Column::Meta, &[CLEAR_DUE, &due].concat(), &[]);
    }

    /// Clears the bytes of copies that were destroyed out of the files where that is due; whether it was. One clearing sees to all
    /// copies that were destroyed before it. It waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Poisoned`], [`StoreError::Unscrubbed`]. What was destroyed may still be there then: it
    /// stays due.
    pub fn clear_copies(&self) -> Result<bool, StoreError> {
        let due = self.due(CLEAR_DUE)?;
        if due.is_empty() {
            return Ok(false);
        }
        self.rewrite(&[Column::OrderCopy, Column::OrderCopies])?;
        self.strike_out(&due).map(|()| true)
    }

    /// Whether this version has seen to the orders that were live when it first started.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn has_begun_copies(&self) -> Result<bool, StoreError> {
        Ok(self.get(Column::Meta, BEGUN)?.is_some())
    }

    /// Notes that it has.
    pub fn put_begun_copies(&self, batch: &mut Batch) {
        self.put(batch, Column::Meta, BEGUN, &[1]);
    }
}

impl CopiesRow {
    fn from_bytes(value: &[u8]) -> Result<Self, StoreError> {
        let value: [u8; 9] = fixed(Column::OrderCopies, value)?;
        let (until, whole) = value.split_at(8);
        Ok(Self { until: i64::from_be_bytes(fixed(Column::OrderCopies, until)?), whole: whole == [1] })
    }
}

impl CopyRow {
    fn from_bytes(value: &[u8]) -> Result<Self, StoreError> {
        let (epoch, sealed) = value.split_first_chunk::<4>().ok_or(StoreError::Corrupt(Column::OrderCopy.name()))?;
        Ok(Self { epoch: u32::from_be_bytes(*epoch), sealed: sealed.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn one_clearing_sees_to_all_destroyed_copies_and_stays_due_until_the_old_files_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        assert!(!store.clear_copies().unwrap(), "nothing was destroyed");
        let orders = [1, 2].map(|n| OrderKey::new("court", Uuid::from_bytes([n; 16])));
        let copy = CopyRow { epoch: 1, sealed: vec![7; 100] };
        let mut batch = Batch::default();
        orders.iter().for_each(|order| store.put_order_copy(&mut batch, order, &[9; 16], &copy));
        store.commit(batch).unwrap();
        store.db.flush_cf(store.column(Column::OrderCopy)).unwrap();
        // Whoever reads keeps the files.
        let reading = store.db.iterator_cf(store.column(Column::OrderCopy), IteratorMode::Start);
        let mut batch = Batch::default();
        orders.iter().for_each(|order| store.delete_order_copies(&mut batch, order));
        store.commit(batch).unwrap();
        assert!(matches!(store.clear_copies(), Err(StoreError::Unscrubbed(_))));
        assert!(!store.is_scrub_due().unwrap(), "the chunks need no scrub for it");
        drop(reading);
        assert!(store.clear_copies().unwrap());
        assert!(!store.clear_copies().unwrap(), "once for both");
    }
}
