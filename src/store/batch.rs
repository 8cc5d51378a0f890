//! A batch of rows, which records what it changes in the columns of state.

use super::columns::{COLUMNS, ColumnName};
use super::fields::RowField as _;
use super::rocks::RocksEngine;
use super::rows::RowEngine;
use super::{Store, StoreError};

/// Changes of rows that are committed together.
#[derive(Default)]
pub struct RowBatch {
    pub(super) rows: <RocksEngine as RowEngine>::Batch,
    pub(super) changes: StateChanges,
}

impl RowBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of the changes.
    pub(super) fn size(&self) -> usize {
        self.rows.size()
    }

    /// Takes out what was recorded since the last call. The rows stay in the batch.
    pub fn take_changes(&mut self) -> StateChanges {
        std::mem::take(&mut self.changes)
    }
}

/// What changes in the columns of state, in order.
///
/// ```text
/// changes = change…
/// change  = 1 ‖ u8(length) ‖ column ‖ u32be(length) ‖ key ‖ u32be(length) ‖ value     put
///         | 2 ‖ u8(length) ‖ column ‖ u32be(length) ‖ key                             delete
///         | 3 ‖ u8(length) ‖ column ‖ u32be(length) ‖ from ‖ u32be(length) ‖ until    delete from a key on, before another
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateChanges(Vec<u8>);

/// One change of a column of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange<'c> {
    /// A row is written.
    Put {
        /// Its column.
        column: ColumnName,
        /// Its key.
        key: &'c [u8],
        /// Its value.
        value: &'c [u8],
    },
    /// A row is deleted, if it is there.
    Delete {
        /// Its column.
        column: ColumnName,
        /// Its key.
        key: &'c [u8],
    },
    /// Every row from key `from` on and before key `until` is deleted.
    DeleteRange {
        /// Their column.
        column: ColumnName,
        /// The first key.
        from: &'c [u8],
        /// The key behind the last one.
        until: &'c [u8],
    },
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

impl StateChanges {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads changes from bytes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: they are not of the format, or name a column that is not of state.
    pub fn read(bytes: Vec<u8>) -> Result<Self, StoreError> {
        let changes = Self(bytes);
        changes.iter().try_for_each(|change| change.map(drop))?;
        Ok(changes)
    }

    /// Each change, in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<StateChange<'_>, StoreError>> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let change = read_change(&mut rest);
            if change.is_none() {
                rest = &[];
            }
            Some(change.ok_or(StoreError::Corrupt("journal")))
        })
    }

    /// Adds other changes behind these.
    pub fn append(&mut self, later: &Self) {
        self.0.extend_from_slice(&later.0);
    }

    /// Adds a change, unless its column is not of state.
    pub fn push(&mut self, change: StateChange<'_>) {
        let (kind, column, key, last) = match change {
            StateChange::Put { column, key, value } => (PUT, column, key, Some(value)),
            StateChange::Delete { column, key } => (DELETE, column, key, None),
            StateChange::DeleteRange {
                column,
                from,
                until,
            } => (DELETE_RANGE, column, from, Some(until)),
        };
        if !column.is_state() {
            return;
        }
        let name = column.as_str();
        self.0.push(kind);
        self.0
            .push(u8::try_from(name.len()).expect("a column's name is short"));
        self.0.extend_from_slice(name.as_bytes());
        [Some(key), last]
            .into_iter()
            .flatten()
            .for_each(|field| self.push_field(field));
    }

    fn push_field(&mut self, field: &[u8]) {
        let length = u32::try_from(field.len()).expect("a row is shorter than 4 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
    }
}

fn read_change<'c>(rest: &mut &'c [u8]) -> Option<StateChange<'c>> {
    let kind = u8::read_front(rest)?;
    let length = usize::from(u8::read_front(rest)?);
    let name = take(rest, length)?;
    let column = *COLUMNS
        .iter()
        .find(|column| column.is_state() && column.as_str().as_bytes() == name)?;
    let key = read_field(rest)?;
    match kind {
        PUT => Some(StateChange::Put {
            column,
            key,
            value: read_field(rest)?,
        }),
        DELETE => Some(StateChange::Delete { column, key }),
        DELETE_RANGE => Some(StateChange::DeleteRange {
            column,
            from: key,
            until: read_field(rest)?,
        }),
        _ => None,
    }
}

fn read_field<'c>(rest: &mut &'c [u8]) -> Option<&'c [u8]> {
    let length = u32::read_front(rest)?;
    take(rest, usize::try_from(length).ok()?)
}

fn take<'c>(rest: &mut &'c [u8], length: usize) -> Option<&'c [u8]> {
    let (field, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(field)
}

impl Store {
    /// Puts recorded changes into a batch, byte for byte.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]; the batch is of no use then.
    pub fn apply_changes(
        &self,
        batch: &mut RowBatch,
        changes: &StateChanges,
    ) -> Result<(), StoreError> {
        for change in changes.iter() {
            match change? {
                StateChange::Put { column, key, value } => {
                    self.engine.put(&mut batch.rows, column, key, value);
                }
                StateChange::Delete { column, key } => {
                    self.engine.delete(&mut batch.rows, column, key);
                }
                StateChange::DeleteRange {
                    column,
                    from,
                    until,
                } => self
                    .engine
                    .delete_range(&mut batch.rows, column, from, until),
            }
        }
        Ok(())
    }

    /// Deletes every row of a column from key `from` on and before key `until`.
    pub(super) fn delete_range(
        &self,
        batch: &mut RowBatch,
        column: ColumnName,
        from: &[u8],
        until: &[u8],
    ) {
        batch.changes.push(StateChange::DeleteRange {
            column,
            from,
            until,
        });
        self.engine
            .delete_range(&mut batch.rows, column, from, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::columns::{CHUNK, META, ORDER_PAIR};

    #[test]
    fn changes_read_back_in_order_and_columns_without_state_are_not_recorded() {
        let all = [
            StateChange::Put {
                column: META.name,
                key: b"k",
                value: b"",
            },
            StateChange::Delete {
                column: ORDER_PAIR.name,
                key: b"",
            },
            StateChange::DeleteRange {
                column: META.name,
                from: b"a",
                until: b"b",
            },
        ];
        let mut changes = StateChanges::default();
        changes.push(StateChange::Delete {
            column: CHUNK.name,
            key: b"x",
        });
        assert!(changes.is_empty());
        all.iter().for_each(|change| changes.push(*change));
        let read = StateChanges::read(changes.as_bytes().to_vec()).unwrap();
        assert!(read.iter().map(Result::unwrap).eq(all));
    }

    #[test]
    fn bytes_that_are_no_changes_are_refused() {
        let mut changes = StateChanges::default();
        changes.push(StateChange::Put {
            column: META.name,
            key: b"key",
            value: b"value",
        });
        let whole = changes.as_bytes();
        for cut in 1..whole.len() {
            assert!(StateChanges::read(whole[..cut].to_vec()).is_err(), "{cut}");
        }
        let of = |kind: u8, name: &str| {
            let mut bytes = vec![kind, name.len() as u8];
            bytes.extend(name.as_bytes());
            bytes.extend([0; 8]);
            StateChanges::read(bytes)
        };
        assert!(of(PUT, "state-meta").is_ok());
        for (kind, name) in [
            (0, "state-meta"),
            (4, "state-meta"),
            (PUT, "chunk"),
            (PUT, "state-"),
        ] {
            assert!(of(kind, name).is_err(), "{kind} {name}");
        }
        assert!(StateChanges::read([whole, &[0xff]].concat()).is_err());
    }
}
