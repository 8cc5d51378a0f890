//! Inspections in the store: state that must not roll back.

use uuid::Uuid;

use super::columns::INSPECTION;
use super::{RowBatch, Store, StoreError};

impl Store {
    /// An inspection, as the inspection room writes it.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn inspection(&self, id: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(INSPECTION, &id)
    }

    /// All inspections, by id.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn inspections(&self) -> Result<Vec<(Uuid, Vec<u8>)>, StoreError> {
        self.rows(INSPECTION, &[])
    }

    /// Writes an inspection.
    pub fn put_inspection(&self, batch: &mut RowBatch, id: Uuid, value: &[u8]) {
        self.put(batch, INSPECTION, &id, value);
    }
}
