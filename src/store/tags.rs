//! The tags beside entries, and the index that leads from a tag or an order to its entries.

use std::borrow::Cow;

use uuid::Uuid;

use super::columns::{AUDIT, AUDIT_TAG, ENTRY_INDEX, META};
use super::fields::RowField;
use super::rows::{ScanRange, ScanStep};
use super::{RowBatch, Store, StoreError};

/// Where a tag lies: the number of its entry in this store, and its place among that entry's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagPlace {
    /// The entry's number, over all shards.
    pub entry: u64,
    /// Its place among the tags of the entry.
    pub place: u32,
}

impl RowField for TagPlace {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([&self.entry.to_be_bytes()[..], &self.place.to_be_bytes()].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (entry, place) = <(u64, u32)>::read_front(bytes)?;
        Some(Self { entry, place })
    }
}

/// What the tags of an entry stand for. Those of look-ups lie apart in the index: a look-up must
/// not go through earlier look-ups of the same person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TagKind {
    /// A release's or a reveal's.
    #[default]
    Resolution = 0,
    /// A look-up's.
    LookUp = 1,
}

/// The kind of an order in the index, beside those of tags.
const ORDER_KIND: u8 = 2;
/// Single value that says that all entries are indexed: stores of older versions have no index.
const INDEXED: &[u8] = b"entry-index";
/// Rows of one commit while older entries are indexed.
const ROWS: usize = 10_000;

/// What an entry is found by, beside its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryKeys {
    /// What its tags stand for.
    pub tags: TagKind,
    /// The order under which it released something.
    pub order: Option<Uuid>,
}

impl Store {
    pub(super) fn index_tag(
        &self,
        batch: &mut RowBatch,
        kind: TagKind,
        tag: &[u8; 16],
        place: TagPlace,
    ) {
        self.put(batch, ENTRY_INDEX, &(kind as u8, *tag, place), &());
    }

    pub(super) fn index_order(&self, batch: &mut RowBatch, order: Uuid, entry: u64) {
        let place = TagPlace { entry, place: 0 };
        self.put(
            batch,
            ENTRY_INDEX,
            &(ORDER_KIND, order.into_bytes(), place),
            &(),
        );
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
        Ok(self
            .places(ORDER_KIND, order.as_bytes())?
            .into_iter()
            .map(|place| place.entry)
            .collect())
    }

    fn places(&self, kind: u8, key: &[u8; 16]) -> Result<Vec<TagPlace>, StoreError> {
        let rows = self.rows(ENTRY_INDEX, &(kind, *key).bytes())?.into_iter();
        Ok(rows.map(|((_, _, place), ())| place).collect())
    }

    /// Destroys a tag with its salt.
    pub fn delete_tag(&self, batch: &mut RowBatch, kind: TagKind, tag: &[u8; 16], place: TagPlace) {
        self.delete(batch, AUDIT_TAG, &place);
        self.delete(batch, ENTRY_INDEX, &(kind as u8, *tag, place));
    }

    /// Indexes, once, the entries of a store that an older version wrote. `keys_of` reads what an
    /// entry is found by. If it is interrupted, the next start begins again and writes the same
    /// rows.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn index_entries(&self, keys_of: impl Fn(&[u8]) -> EntryKeys) -> Result<(), StoreError> {
        if self.has(META, INDEXED)? {
            return Ok(());
        }
        let (mut batch, mut rows) = (RowBatch::default(), 0);
        let mut write = |batch: &mut RowBatch| {
            rows += 1;
            if rows % ROWS == 0 {
                self.commit(std::mem::take(batch))
            } else {
                Ok(())
            }
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
        self.each(AUDIT_TAG, ScanRange::ALL.once(), |place, mut value| {
            let tag = <[u8; 16]>::read_front(&mut value).ok_or(AUDIT_TAG.corrupt())?;
            if last.0 != place.entry {
                let entry = self.get(AUDIT, &place.entry)?.unwrap_or_default();
                last = (place.entry, keys_of(&entry).tags);
            }
            self.index_tag(&mut batch, last.1, &tag, place);
            write(&mut batch).map(|()| ScanStep::Next)
        })?;
        self.put(&mut batch, META, INDEXED, &[1]);
        self.commit(batch)
    }
}
