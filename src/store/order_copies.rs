//! Orders' copies of mappings: sealed as they were stored, each under its order's key. A copy stays
//! until its order is over, whatever happens to the mapping meanwhile.

use std::borrow::Cow;

use super::columns::{META, ORDER_COPIES, ORDER_COPY};
use super::fields::RowField;
use super::orders::OrderKey;
use super::rows::{ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};
use crate::clock::random;

/// An order's copy of one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRow {
    /// The epoch that the mapping is of.
    pub epoch: u32,
    /// The mapping, as the vault wraps it.
    pub sealed: Vec<u8>,
}

/// The state of an order's copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiesRow {
    /// When the order is over (Unix seconds).
    pub until: i64,
    /// Whether everything that it lists was looked for.
    pub whole: bool,
}

/// Where an order's copy lies, as what wraps it is bound to: its row's key, and its epoch.
pub fn copy_location(order: &OrderKey, tag: &[u8; 16], epoch: u32) -> Vec<u8> {
    [&order.bytes()[..], tag, &epoch.to_be_bytes()].concat()
}

/// Single value: the orders that were live under an older version have their copies.
const BEGUN: &[u8] = b"order-copies";
/// Prefix of the notes that the files may still hold bytes of destroyed copies; random bytes follow
/// it. So a clearing strikes out the notes from before it began, and no later one.
const CLEAR_DUE: &[u8] = b"copies-due/";

impl Store {
    /// The state of an order's copies, if it has any.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_copies(&self, order: &OrderKey) -> Result<Option<CopiesRow>, StoreError> {
        self.get(ORDER_COPIES, order)
    }

    /// All orders that have copies.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn copied_orders(&self) -> Result<Vec<(OrderKey, CopiesRow)>, StoreError> {
        self.rows(ORDER_COPIES, &[])
    }

    /// Notes that an order has copies, and until when.
    pub fn put_order_copies(&self, batch: &mut RowBatch, order: &OrderKey, row: CopiesRow) {
        self.put(batch, ORDER_COPIES, order, &row);
    }

    /// An order's copy of the mapping of a pseudonym, by its tag.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_copy(
        &self,
        order: &OrderKey,
        tag: &[u8; 16],
    ) -> Result<Option<CopyRow>, StoreError> {
        self.get(ORDER_COPY, &(order.clone(), *tag))
    }

    /// Adds an order's copy, or puts another in its place.
    pub fn put_order_copy(
        &self,
        batch: &mut RowBatch,
        order: &OrderKey,
        tag: &[u8; 16],
        copy: &CopyRow,
    ) {
        self.put(batch, ORDER_COPY, &(order.clone(), *tag), copy);
    }

    /// Goes through all copies of all orders.
    ///
    /// # Errors
    /// The first error of the engine or of `each`.
    pub fn each_order_copy<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(OrderKey, [u8; 16], CopyRow) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(ORDER_COPY, ScanRange::ALL, |(order, tag), value| {
            each(
                order,
                tag,
                CopyRow::read(value).ok_or(ORDER_COPY.corrupt())?,
            )
            .map(|()| ScanStep::Next)
        })
    }

    /// Destroys the copies of an order, and notes that their bytes are still to be cleared out of
    /// the files ([`Store::clear_copies`]).
    pub fn delete_order_copies(&self, batch: &mut RowBatch, order: &OrderKey) {
        let from = order.bytes();
        // Behind the last tag there can be.
        let until = [&from[..], &[0xff; 17]].concat();
        self.delete_range(batch, ORDER_COPY.name, &from, &until);
        self.delete(batch, ORDER_COPIES, order);
        let due: [u8; 16] = random();
        self.put(batch, META, &[CLEAR_DUE, &due].concat()[..], &[]);
    }

    /// Clears the bytes of destroyed copies out of the files if that is due. Returns whether it
    /// was. One clearing covers all copies that were destroyed before it. Waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Poisoned`], [`StoreError::Unscrubbed`]. What was
    /// destroyed may still be there then: it stays due.
    pub fn clear_copies(&self) -> Result<bool, StoreError> {
        let due = self.due(CLEAR_DUE)?;
        if due.is_empty() {
            return Ok(false);
        }
        self.engine.rewrite(&[ORDER_COPY.name, ORDER_COPIES.name])?;
        self.strike_out(&due).map(|()| true)
    }

    /// Whether this version has seen to the orders that were live when it first started.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn has_begun_copies(&self) -> Result<bool, StoreError> {
        self.has(META, BEGUN)
    }

    /// Notes that it has.
    pub fn put_begun_copies(&self, batch: &mut RowBatch) {
        self.put(batch, META, BEGUN, &[1]);
    }
}

impl RowField for CopiesRow {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([&self.until.to_be_bytes()[..], &[u8::from(self.whole)]].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (until, whole) = <(i64, u8)>::read_front(bytes)?;
        (whole <= 1).then_some(Self {
            until,
            whole: whole == 1,
        })
    }
}

impl RowField for CopyRow {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([&self.epoch.to_be_bytes()[..], &self.sealed].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let epoch = u32::read_front(bytes)?;
        Some(Self {
            epoch,
            sealed: std::mem::take(bytes).to_vec(),
        })
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
        let copy = CopyRow {
            epoch: 1,
            sealed: vec![7; 100],
        };
        let mut batch = RowBatch::default();
        orders
            .iter()
            .for_each(|order| store.put_order_copy(&mut batch, order, &[9; 16], &copy));
        store.commit(batch).unwrap();
        store.engine.flush(ORDER_COPY.name).unwrap();
        // A reader keeps the files.
        let reading = store.engine.hold_files(ORDER_COPY.name);
        let mut batch = RowBatch::default();
        orders
            .iter()
            .for_each(|order| store.delete_order_copies(&mut batch, order));
        store.commit(batch).unwrap();
        assert!(matches!(
            store.clear_copies(),
            Err(StoreError::Unscrubbed(_))
        ));
        assert!(
            !store.is_scrub_due().unwrap(),
            "the chunks need no scrub for it"
        );
        drop(reading);
        assert!(store.clear_copies().unwrap());
        assert!(!store.clear_copies().unwrap(), "once for both");
    }
}
