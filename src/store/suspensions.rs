//! Suspensions of register entries in the store: state that must not roll back.

use uuid::Uuid;

use super::columns::SUSPENSION;
use super::{RowBatch, Store, StoreError};

impl Store {
    /// All suspensions that were ever brought, also those that were lifted, by the id of their
    /// statement, as the room of suspensions writes them.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn suspensions(&self) -> Result<Vec<(Uuid, Vec<u8>)>, StoreError> {
        self.rows(SUSPENSION, &[])
    }

    /// Writes a suspension.
    pub fn put_suspension(&self, batch: &mut RowBatch, id: Uuid, value: &[u8]) {
        self.put(batch, SUSPENSION, &id, value);
    }
}
