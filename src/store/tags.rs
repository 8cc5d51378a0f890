//! The tags beside entries, and the index that leads from a tag or an order to its entries.

use uuid::Uuid;

use super::columns::Column;
use super::{Batch, Store, StoreError, fixed};

/// Where a tag lies: the number of its entry in this store, and its place among that entry's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagPlace {
    /// The entry's number, over all shards.
    pub entry: u64,
    /// Its place among the tags of the entry.
    pub place: u32,
}

impl TagPlace {
    pub(super) fn to_bytes(self) -> [u8; 12] {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&self.entry.to_be_bytes());
        key[8..].copy_from_slice(&self.place.to_be_bytes());
        key
    }

    fn from_bytes(column: Column, key: &[u8]) -> Result<Self, StoreError> {
        let (entry, place) = key.split_first_chunk::<8>().ok_or(StoreError::Corrupt(column.name()))?;
        Ok(Self { entry: u64::from_be_bytes(*entry), place: u32::from_be_bytes(fixed(column, place)?) })
    }
}

/// Whose tags an entry has. Those of look-ups lie apart in the index: a look-up must not go through earlier look-ups of the same
/// person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TagKind {
    /// A release's or a reveal's.
    #[default]
    Resolution = 0,
    /// A look-up's.
    LookUp = 1,
}

/// The kind of an order in the index, beside those of tags.
const ORDER: u8 = 2;
/// Single value that says that all entries are indexed: stores of older versions have no index.
const INDEXED: &[u8] = b"entry-index";
/// Rows of one commit while older entries are indexed.
const ROWS: usize = 10_000;

/// What an entry is found by, beside its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryKeys {
    /// Whose its tags are.
    pub tags: TagKind,
    /// The order under which it released something.
    pub order: Option<Uuid>,
}

impl Store {
    pub(super) fn index_tag(&self, batch: &mut Batch, kind: TagKind, tag: &[u8; 16], place: TagPlace) {
        self.put(batch, Column::EntryIndex, &index_key(kind as u8, tag, place), &[]);
    }

    pub(super) fn index_order(&self, batch: &mut Batch, order: Uuid, entry: u64) {
        let key = index_key(ORDER, order.as_bytes(), TagPlace { entry, place: 0 });
        self.put(batch, Column::EntryIndex, &key, &[]);
    }

    /// Where a tag lies, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn tag_places(&self, kind: TagKind, tag: &[u8; 16]) -> Result<Vec<TagPlace>, StoreError> {
        self.places(kind as u8, tag)
    }

    /// The entries that released something under an order, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_entries(&self, order: Uuid) -> Result<Vec<u64>, StoreError> {
        Ok(self.places(ORDER, order.as_bytes())?.into_iter().map(|place| place.entry).collect())
    }

    fn places(&self, kind: u8, key: &[u8; 16]) -> Result<Vec<TagPlace>, StoreError> {
        let prefix = [&[kind][..], key].concat();
        let rows = self.rows(Column::EntryIndex, &prefix)?.into_iter();
        rows.map(|(key, _)| TagPlace::from_bytes(Column::EntryIndex, &key[prefix.len()..])).collect()
    }

    /// Destroys a tag with its salt.
    pub fn delete_tag(&self, batch: &mut Batch, kind: TagKind, tag: &[u8; 16], place: TagPlace) {
        batch.rows.delete_cf(self.column(Column::AuditTag), place.to_bytes());
        batch.rows.delete_cf(self.column(Column::EntryIndex), index_key(kind as u8, tag, place));
    }

    /// Indexes the entries of a store that an older version wrote, once; `keys_of` reads what an entry is found by. Broken off,
    /// it begins again: the same rows are the same.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn index_entries(&self, keys_of: impl Fn(&[u8]) -> EntryKeys) -> Result<(), StoreError> {
        if self.get(Column::Meta, INDEXED)?.is_some() {
            return Ok(());
        }
        let (mut batch, mut rows) = (Batch::default(), 0);
        let mut write = |batch: &mut Batch| {
            rows += 1;
            if rows % ROWS == 0 { self.commit(std::mem::take(batch)) } else { Ok(()) }
        };
        self.each_audit::<StoreError>(0, usize::MAX, |number, entry| {
            let keys = keys_of(entry);
            if let Some(order) = keys.order {
                self.index_order(&mut batch, order, number);
                write(&mut batch)?;
            }
            Ok(())
        })?;
        let mut last = (u64::MAX, TagKind::default());
        self.each_row(Column::AuditTag, |key, value| {
            let place = TagPlace::from_bytes(Column::AuditTag, key)?;
            let tag = *value.first_chunk::<16>().ok_or(StoreError::Corrupt(Column::AuditTag.name()))?;
            if last.0 != place.entry {
                let entry = self.get(Column::Audit, &place.entry.to_be_bytes())?.unwrap_or_default();
                last = (place.entry, keys_of(&entry).tags);
            }
            self.index_tag(&mut batch, last.1, &tag, place);
            write(&mut batch)
        })?;
        self.put(&mut batch, Column::Meta, INDEXED, &[1]);
        self.commit(batch)
    }
}

fn index_key(kind: u8, key: &[u8; 16], place: TagPlace) -> Vec<u8> {
    [&[kind][..], key, &place.to_bytes()].concat()
}
