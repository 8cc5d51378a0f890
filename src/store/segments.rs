//! Segments in the store: their records, and which of their recipients were proved to open them.

use super::columns::{SEGMENT, SEGMENT_PROOF};
use super::rows::{ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

/// A segment's id and its record.
pub type SegmentRow = ([u8; 16], Vec<u8>);

impl Store {
    /// Adds a segment record, or puts another in its place.
    pub fn put_segment(&self, batch: &mut RowBatch, id: &[u8; 16], record: &[u8]) {
        self.put(batch, SEGMENT, id, record);
    }

    /// A segment record.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn segment(&self, id: &[u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(SEGMENT, id)
    }

    /// The segments behind `after` (or from the first) in the order of their ids, at most `most`.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn segments_after(
        &self,
        after: Option<&[u8; 16]>,
        most: usize,
    ) -> Result<Vec<SegmentRow>, StoreError> {
        let mut rows = vec![];
        self.each(
            SEGMENT,
            ScanRange::from(after.map_or(&[], |after| after)),
            |id, record| {
                if rows.len() == most {
                    return Ok(ScanStep::Stop);
                }
                if Some(&id) != after {
                    rows.push((id, record.to_vec()));
                }
                Ok::<_, StoreError>(ScanStep::Next)
            },
        )?;
        Ok(rows)
    }

    /// How many segments there are.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn segment_count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        self.each(SEGMENT, ScanRange::ALL, |_, _| {
            count += 1;
            Ok::<_, StoreError>(ScanStep::Next)
        })?;
        Ok(count)
    }

    /// The recipients of a segment that were proved to open it: the id of each one's key, and the
    /// digest of the entry that was proved.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn segment_proofs(&self, id: &[u8; 16]) -> Result<Vec<(String, [u8; 32])>, StoreError> {
        let rows = self.rows(SEGMENT_PROOF, id)?.into_iter();
        Ok(rows
            .map(|((_, key), digest)| (key, digest))
            .filter(|(key, _)| !key.is_empty())
            .collect())
    }

    /// Notes the SHA-256 of what shows that a key opened a segment.
    pub fn put_segment_opening(&self, batch: &mut RowBatch, id: &[u8; 16], digest: &[u8; 32]) {
        self.put(batch, SEGMENT_PROOF, &(*id, String::new()), digest);
    }

    /// The SHA-256 of what shows that a key opened a segment.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn segment_opening(&self, id: &[u8; 16]) -> Result<Option<[u8; 32]>, StoreError> {
        self.get(SEGMENT_PROOF, &(*id, String::new()))
    }

    /// Notes that a recipient was proved.
    pub fn put_segment_proof(
        &self,
        batch: &mut RowBatch,
        id: &[u8; 16],
        key: &str,
        entry: &[u8; 32],
    ) {
        self.put(batch, SEGMENT_PROOF, &(*id, key.to_owned()), entry);
    }

    /// Forgets that a recipient was proved.
    pub fn delete_segment_proof(&self, batch: &mut RowBatch, id: &[u8; 16], key: &str) {
        self.delete(batch, SEGMENT_PROOF, &(*id, key.to_owned()));
    }
}
