//! Segments in the store: their records, and which of their recipients were proved to open them.

use rocksdb::{Direction, IteratorMode};

use super::columns::Column;
use super::{Batch, Store, StoreError, fixed};

/// A segment's id and its record.
pub type SegmentRow = ([u8; 16], Vec<u8>);

impl Store {
    /// Adds a segment record, or puts another in its place.
    pub fn put_segment(&self, batch: &mut Batch, id: &[u8; 16], record: &[u8]) {
        self.put(batch, Column::Segment, id, record);
    }

    /// A segment record.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn segment(&self, id: &[u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Column::Segment, id)
    }

    /// The segments behind `after` (or from the first) in the order of their ids, at most `most`.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn segments_after(&self, after: Option<&[u8; 16]>, most: usize) -> Result<Vec<SegmentRow>, StoreError> {
        let start = after.map_or(IteratorMode::Start, |after| IteratorMode::From(after, Direction::Forward));
        let mut rows = Vec::new();
        for row in self.db.iterator_cf(self.column(Column::Segment), start) {
            let (key, record) = row.map_err(|source| self.engine(source))?;
            let id = fixed(Column::Segment, &key)?;
            if Some(&id) == after {
                continue;
            }
            if rows.len() == most {
                break;
            }
            rows.push((id, record.into_vec()));
        }
        Ok(rows)
    }

    /// How many segments there are.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn segment_count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for row in self.db.iterator_cf(self.column(Column::Segment), IteratorMode::Start) {
            row.map_err(|source| self.engine(source))?;
            count += 1;
        }
        Ok(count)
    }

    /// The recipients of a segment that were proved to open it: the id of each one's key, and the digest of the entry that
    /// was proved.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn segment_proofs(&self, id: &[u8; 16]) -> Result<Vec<(String, [u8; 32])>, StoreError> {
        let corrupt = || StoreError::Corrupt(Column::SegmentProof.name());
        let rows = self.rows(Column::SegmentProof, id)?.into_iter().filter(|(key, _)| key.len() > 16);
        let rows = rows.map(|(key, digest)| {
            let name = key.get(16..).and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(corrupt)?;
            Ok((name.to_owned(), fixed(Column::SegmentProof, &digest)?))
        });
        rows.collect()
    }

    /// Notes the SHA-256 of what shows that somebody opened a segment.
    pub fn put_segment_opening(&self, batch: &mut Batch, id: &[u8; 16], digest: &[u8; 32]) {
        self.put(batch, Column::SegmentProof, id, digest);
    }

    /// The SHA-256 of what shows that somebody opened a segment.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn segment_opening(&self, id: &[u8; 16]) -> Result<Option<[u8; 32]>, StoreError> {
        let digest = self.get(Column::SegmentProof, id)?;
        digest.map(|digest| fixed(Column::SegmentProof, &digest)).transpose()
    }

    /// Notes that a recipient was proved.
    pub fn put_segment_proof(&self, batch: &mut Batch, id: &[u8; 16], key: &str, entry: &[u8; 32]) {
        self.put(batch, Column::SegmentProof, &proof_key(id, key), entry);
    }

    /// Forgets that a recipient was proved.
    pub fn delete_segment_proof(&self, batch: &mut Batch, id: &[u8; 16], key: &str) {
        batch.rows.delete_cf(self.column(Column::SegmentProof), proof_key(id, key));
    }
}

fn proof_key(id: &[u8; 16], key: &str) -> Vec<u8> {
    [&id[..], key.as_bytes()].concat()
}
