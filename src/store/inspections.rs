//! Inspections in the store: state that must not roll back.

use uuid::Uuid;

use super::columns::Column;
use super::{Batch, Store, StoreError, fixed};

impl Store {
    /// An inspection, as the inspection room writes it.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn inspection(&self, id: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Column::Inspection, id.as_bytes())
    }

    /// All inspections, by id.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn inspections(&self) -> Result<Vec<(Uuid, Vec<u8>)>, StoreError> {
        let rows = self.rows(Column::Inspection, &[])?.into_iter();
        rows.map(|(key, value)| Ok((Uuid::from_bytes(fixed(Column::Inspection, &key)?), value))).collect()
    }

    /// Writes an inspection.
    pub fn put_inspection(&self, batch: &mut Batch, id: Uuid, value: &[u8]) {
        self.put(batch, Column::Inspection, id.as_bytes(), value);
    }
}
