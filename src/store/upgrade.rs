//! The history of the store's format: one file for each step from a format to the next, named after
//! the one it starts from.
//!
//! A step runs once, when a store of that format is opened, before anything else reads it. It may
//! be killed anywhere: every row shows by itself whether it is old or new, and the format's number
//! is written last. So the next start continues where it ended. There is no way back: an earlier
//! version of cloison refuses the store, so take a backup before the first start of a version that
//! says in its notes that it changes the format.
//!
//! A new column needs no step: opening makes the columns that are missing.

mod from_1;

use super::columns::META;
use super::fields::RowField as _;
use super::{RowBatch, Store, StoreError};

/// The format of everything in the store.
pub(super) const FORMAT: u32 = 2;

/// Brings a store to [`FORMAT`].
///
/// # Errors
/// [`StoreError::Format`] for a format that no step leads from; the errors of the steps.
pub(super) fn upgrade(store: &Store, found: u32) -> Result<(), StoreError> {
    let mut format = found;
    while format != FORMAT {
        match format {
            1 => from_1::key_orders_by_authority(store)?,
            _ => {
                return Err(StoreError::Format {
                    path: store.path.clone(),
                    found,
                });
            }
        }
        format += 1;
        let mut batch = RowBatch::default();
        store.put(&mut batch, META, b"format", &format.bytes());
        store.commit(batch)?;
        tracing::info!(format, "the store was brought to a later format");
    }
    Ok(())
}
