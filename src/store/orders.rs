//! Orders in the store: what was seen, counted, done upon them, and how much an authority asked for. All of it is state that
//! must not roll back.

use uuid::Uuid;

use super::columns::Column;
use super::{Batch, Store, StoreError, fixed};

/// What an order is known by. Who writes an order chooses its id, and another authority may read that id and use it too: so
/// an id names an order only within its authority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// The authority's id.
    pub authority: String,
    /// The order's id.
    pub id: Uuid,
}

impl OrderKey {
    /// The order of that id of that authority.
    pub fn new(authority: &str, id: Uuid) -> Self {
        Self { authority: authority.to_owned(), id }
    }

    /// authority id ‖ 0 ‖ order id (16)
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&named(&self.authority)[..], self.id.as_bytes()].concat()
    }

    /// Reads a key off the front of a row's; what stands behind it comes back too.
    pub(super) fn read(column: Column, key: &[u8]) -> Result<(Self, &[u8]), StoreError> {
        let corrupt = || StoreError::Corrupt(column.name());
        let end = key.iter().position(|byte| *byte == 0).ok_or_else(corrupt)?;
        let authority = std::str::from_utf8(&key[..end]).map_err(|_| corrupt())?;
        let (id, rest) = key[end + 1..].split_first_chunk::<16>().ok_or_else(corrupt)?;
        Ok((Self::new(authority, Uuid::from_bytes(*id)), rest))
    }
}

/// An act upon an order, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRow {
    /// The order's id.
    pub order: Uuid,
    /// SHA-256 of the act's payload, 32 bytes.
    pub digest: [u8; 32],
    /// The act, as the order room writes it.
    pub value: Vec<u8>,
}

impl Store {
    /// The payload digest first seen under an order's key.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_digest(&self, order: &OrderKey) -> Result<Option<[u8; 32]>, StoreError> {
        self.get(Column::Order, &order.to_bytes())?.map(|value| fixed(Column::Order, &value)).transpose()
    }

    /// Pins the payload of an order.
    pub fn put_order_digest(&self, batch: &mut Batch, order: &OrderKey, digest: &[u8; 32]) {
        self.put(batch, Column::Order, &order.to_bytes(), digest);
    }

    /// Tags of the pseudonyms that were asked for under an order.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_pairs(&self, order: &OrderKey) -> Result<Vec<[u8; 16]>, StoreError> {
        let prefix = order.to_bytes();
        let rows = self.rows(Column::OrderPair, &prefix)?.into_iter();
        rows.map(|(key, _)| fixed(Column::OrderPair, &key[prefix.len()..])).collect()
    }

    /// Whether a tag is among those that an order counts.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn has_order_pair(&self, order: &OrderKey, tag: &[u8; 16]) -> Result<bool, StoreError> {
        self.get(Column::OrderPair, &[&order.to_bytes()[..], tag].concat()).map(|row| row.is_some())
    }

    /// Notes that a pseudonym was asked for under an order.
    pub fn put_order_pair(&self, batch: &mut Batch, order: &OrderKey, tag: &[u8; 16]) {
        let key = [&order.to_bytes()[..], tag].concat();
        self.put(batch, Column::OrderPair, &key, &[]);
    }

    /// What is kept of an order's life.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn order_life(&self, order: &OrderKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Column::OrderLife, &order.to_bytes())
    }

    /// The lives of all orders that were seen, by authority and id.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_lives(&self) -> Result<Vec<(OrderKey, Vec<u8>)>, StoreError> {
        let rows = self.rows(Column::OrderLife, &[])?.into_iter();
        rows.map(|(key, value)| Ok((OrderKey::read(Column::OrderLife, &key)?.0, value))).collect()
    }

    /// Writes an order's life so far.
    pub fn put_order_life(&self, batch: &mut Batch, order: &OrderKey, life: &[u8]) {
        self.put(batch, Column::OrderLife, &order.to_bytes(), life);
    }

    /// The acts upon one order (or all) of an authority, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_acts(&self, authority: &str, order: Option<Uuid>) -> Result<Vec<ActRow>, StoreError> {
        let mut prefix = named(authority);
        if let Some(order) = order {
            prefix.extend_from_slice(order.as_bytes());
        }
        let start = authority.len() + 1;
        let rows = self.rows(Column::OrderAct, &prefix)?.into_iter().map(|(key, value)| {
            let (order, digest) =
                key[start..].split_at_checked(16).ok_or(StoreError::Corrupt(Column::OrderAct.name()))?;
            let order = Uuid::from_bytes(fixed(Column::OrderAct, order)?);
            Ok(ActRow { order, digest: fixed(Column::OrderAct, digest)?, value })
        });
        rows.collect()
    }

    /// One act of an authority.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn order_act(&self, authority: &str, order: Uuid, digest: &[u8; 32]) -> Result<Option<ActRow>, StoreError> {
        let value = self.get(Column::OrderAct, &act_key(authority, order, digest))?;
        Ok(value.map(|value| ActRow { order, digest: *digest, value }))
    }

    /// Adds an act of an authority upon one of its orders.
    pub fn put_order_act(&self, batch: &mut Batch, authority: &str, act: &ActRow) {
        self.put(batch, Column::OrderAct, &act_key(authority, act.order, &act.digest), &act.value);
    }

    /// Whether an officer's request of that time and id was answered already.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn request_seen(&self, time: i64, request: Uuid) -> Result<bool, StoreError> {
        self.get(Column::Request, &request_key(time, request)).map(|row| row.is_some())
    }

    /// Notes that an officer's request was answered, and forgets those from before `forget` (Unix seconds).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`]; nothing is in the batch then.
    pub fn put_request(&self, batch: &mut Batch, time: i64, request: Uuid, forget: i64) -> Result<(), StoreError> {
        let old = self.rows_until(Column::Request, &forget.to_be_bytes(), 1_000)?;
        old.iter().for_each(|key| batch.rows.delete_cf(self.column(Column::Request), key));
        self.put(batch, Column::Request, &request_key(time, request), &[]);
        Ok(())
    }

    /// Whether what several people signed to be done once (a request to erase, a statement that allows a destruction) was carried
    /// out here already: by the time when it is too old, and its id.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn is_carried_out(&self, until: i64, id: Uuid) -> Result<bool, StoreError> {
        let found = self.get(Column::CarriedOut, &request_key(until, id))?;
        // Where older versions kept it.
        Ok(found.is_some() || self.request_seen(until, id)?)
    }

    /// Notes that it was carried out. That is not forgotten: there are no more of these than of erasures and destructions.
    pub fn put_carried_out(&self, batch: &mut Batch, until: i64, id: Uuid) {
        self.put(batch, Column::CarriedOut, &request_key(until, id), &[]);
    }

    /// Pseudonyms that an authority asked for, by the hour since 1970, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn released(&self, authority: &str) -> Result<Vec<(u32, u64)>, StoreError> {
        let rows = self.rows(Column::ReleaseRate, &named(authority))?.into_iter();
        rows.map(|(key, value)| {
            let hour = u32::from_be_bytes(fixed(Column::ReleaseRate, &key[authority.len() + 1..])?);
            Ok((hour, u64::from_be_bytes(fixed(Column::ReleaseRate, &value)?)))
        })
        .collect()
    }

    /// Writes how many pseudonyms an authority asked for in an hour, and forgets the hours `old`.
    pub fn put_released(&self, batch: &mut Batch, authority: &str, hour: u32, items: u64, old: &[u32]) {
        let key = |hour: u32| [&named(authority)[..], &hour.to_be_bytes()].concat();
        old.iter().for_each(|old| batch.rows.delete_cf(self.column(Column::ReleaseRate), key(*old)));
        self.put(batch, Column::ReleaseRate, &key(hour), &items.to_be_bytes());
    }
}

/// A name of any length as the beginning of a key; no id has a zero byte.
pub(super) fn named(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn act_key(authority: &str, order: Uuid, digest: &[u8; 32]) -> Vec<u8> {
    [&named(authority)[..], order.as_bytes(), digest].concat()
}

fn request_key(time: i64, request: Uuid) -> Vec<u8> {
    [&time.to_be_bytes()[..], request.as_bytes()].concat()
}
