//! The interface of rows: everything that the store needs from the engine that keeps them.
//!
//! An engine keeps rows of bytes in named columns and gives these guarantees, which
//! [`contract`](super::contract) checks:
//!
//! * **Order.** Within a column, keys sort by their bytes, unsigned; a prefix sorts before what it
//!   begins.
//! * **Batches.** A batch takes effect as a whole or not at all. Its entries apply in the order in
//!   which they were added, so a row that is put after its range was deleted is there.
//! * **Durability.** When [`RowEngine::commit`] or [`RowEngine::load`] returns without an error,
//!   the rows survive a kill of the process and a loss of power.
//! * **Visibility.** A read that begins after a commit returned sees it. One scan shows one state:
//!   whole batches, from its first row to its last, whatever is committed meanwhile.
//! * **One holder.** While an engine is open, every other attempt to open the same rows, in this
//!   process or another, fails with [`StoreError::InUse`].
//!
//! The interface has no snapshots, open iterators or options of columns: a scan is one call, and
//! what an engine could do better if it knew more is a hint in [`ScanRange`]. The store calls
//! engines by static dispatch.

use super::StoreError;
use super::columns::{ColumnName, PARTITIONED};
use super::index::PartitionId;

/// A row as an engine keeps it: key and value.
pub type RawRow = (Vec<u8>, Vec<u8>);

/// Keeps rows, with the guarantees of this module's page.
pub trait RowEngine: Send + Sync {
    /// Changes that are committed together.
    type Batch: Default + Send;

    /// The value of a row.
    ///
    /// # Errors
    /// What the engine says.
    fn read(&self, column: ColumnName, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Hands `each` the value of every key, in the order of `keys`, which are sorted.
    ///
    /// # Errors
    /// What the engine says, or the first error of `each`.
    fn read_sorted<K: AsRef<[u8]>>(
        &self,
        column: ColumnName,
        keys: &[K],
        each: impl FnMut(Option<&[u8]>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// The row with the highest key of a column.
    ///
    /// # Errors
    /// What the engine says.
    fn last(&self, column: ColumnName) -> Result<Option<RawRow>, StoreError>;

    /// Hands `each` the key and value of every row in the range, in the order of their keys, until
    /// it says [`ScanStep::Stop`].
    ///
    /// # Errors
    /// What the engine says, or the first error of `each`.
    fn scan<E: From<StoreError>>(
        &self,
        column: ColumnName,
        range: ScanRange<'_>,
        each: impl FnMut(&[u8], &[u8]) -> Result<ScanStep, E>,
    ) -> Result<(), E>;

    /// Writes a row, and replaces one with the same key.
    fn put(&self, batch: &mut Self::Batch, column: ColumnName, key: &[u8], value: &[u8]);

    /// Deletes a row, if it is there.
    fn delete(&self, batch: &mut Self::Batch, column: ColumnName, key: &[u8]);

    /// Deletes every row from key `from` on and before key `until`.
    fn delete_range(&self, batch: &mut Self::Batch, column: ColumnName, from: &[u8], until: &[u8]);

    /// Deletes every row of a partition in the columns whose keys begin with sector number and
    /// epoch. An engine that keeps each partition apart can drop it instead.
    fn delete_partition(&self, batch: &mut Self::Batch, partition: PartitionId) {
        PARTITIONED
            .iter()
            .for_each(|column| self.delete_partition_of(batch, *column, partition));
    }

    /// The same in one of these columns.
    fn delete_partition_of(
        &self,
        batch: &mut Self::Batch,
        column: ColumnName,
        (sector, epoch): PartitionId,
    ) {
        let mut from = sector.to_be_bytes().to_vec();
        from.extend_from_slice(&epoch.to_be_bytes());
        // No key of the partition is longer than this.
        let until = [&from[..], &[0xff; 18]].concat();
        self.delete_range(batch, column, &from, &until);
    }

    /// Makes the changes of a batch, durably. After an error the state of the rows is unknown until
    /// they are opened anew.
    ///
    /// # Errors
    /// What the engine says.
    fn commit(&self, batch: Self::Batch) -> Result<(), StoreError>;

    /// Writes many rows, sorted by key, durably. A kill may leave some of them written and others
    /// not.
    ///
    /// # Errors
    /// As [`RowEngine::commit`].
    fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        column: ColumnName,
        rows: impl Iterator<Item = (K, V)>,
    ) -> Result<(), StoreError>;
}

/// How a scan continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanStep {
    /// With the next row.
    Next,
    /// With the first row whose key is at least this one, which lies behind the present one.
    SkipTo(Vec<u8>),
    /// Not at all.
    Stop,
}

/// Which rows of a column a scan shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanRange<'a> {
    /// The lowest key, which begins with `prefix`.
    pub from: &'a [u8],
    /// What every key begins with.
    pub prefix: &'a [u8],
    /// A hint: the rows are many and will not be read again soon, so the engine should not keep
    /// them in memory.
    pub once: bool,
}

impl<'a> ScanRange<'a> {
    /// Every row.
    pub const ALL: Self = Self {
        from: &[],
        prefix: &[],
        once: false,
    };

    /// Every row whose key begins with `prefix`.
    pub fn of(prefix: &'a [u8]) -> Self {
        Self {
            from: prefix,
            prefix,
            once: false,
        }
    }

    /// Every row from a key on.
    pub fn from(key: &'a [u8]) -> Self {
        Self {
            from: key,
            ..Self::ALL
        }
    }

    /// The same rows, with the hint `once`.
    pub fn once(self) -> Self {
        Self { once: true, ..self }
    }
}
