//! Orders in the store: their payloads, counts, lives and acts, and how much an authority asked
//! for. This state must not roll back.

use std::borrow::Cow;

use uuid::Uuid;

use super::columns::{
    CARRIED_OUT, ORDER, ORDER_ACT, ORDER_LIFE, ORDER_PAIR, RELEASE_RATE, REQUEST,
};
use super::fields::{NameField, RowField};
use super::{RowBatch, Store, StoreError};

/// An order's name: its authority and its id. The author of an order chooses the id, and another
/// authority may read that id and use it too. So an id names an order only within its authority.
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
        Self {
            authority: authority.to_owned(),
            id,
        }
    }
}

/// authority id ‖ 0 ‖ order id (16)
impl RowField for OrderKey {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([self.authority.as_bytes(), &[0], self.id.as_bytes()].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (NameField(authority), id) = <(NameField, Uuid)>::read_front(bytes)?;
        Some(Self { authority, id })
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
        self.get(ORDER, order)
    }

    /// Pins the payload of an order.
    pub fn put_order_digest(&self, batch: &mut RowBatch, order: &OrderKey, digest: &[u8; 32]) {
        self.put(batch, ORDER, order, digest);
    }

    /// Tags of the pseudonyms that were asked for under an order.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_pairs(&self, order: &OrderKey) -> Result<Vec<[u8; 16]>, StoreError> {
        let rows = self.rows(ORDER_PAIR, &order.bytes())?.into_iter();
        Ok(rows.map(|((_, tag), ())| tag).collect())
    }

    /// Whether a tag is among those that an order counts.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn has_order_pair(&self, order: &OrderKey, tag: &[u8; 16]) -> Result<bool, StoreError> {
        self.has(ORDER_PAIR, &(order.clone(), *tag))
    }

    /// Notes that a pseudonym was asked for under an order.
    pub fn put_order_pair(&self, batch: &mut RowBatch, order: &OrderKey, tag: &[u8; 16]) {
        self.put(batch, ORDER_PAIR, &(order.clone(), *tag), &());
    }

    /// An order's life so far.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn order_life(&self, order: &OrderKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(ORDER_LIFE, order)
    }

    /// The lives of all orders that were seen, by authority and id.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_lives(&self) -> Result<Vec<(OrderKey, Vec<u8>)>, StoreError> {
        self.rows(ORDER_LIFE, &[])
    }

    /// Writes an order's life so far.
    pub fn put_order_life(&self, batch: &mut RowBatch, order: &OrderKey, life: &[u8]) {
        self.put(batch, ORDER_LIFE, order, life);
    }

    /// The acts upon one order (or all) of an authority, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn order_acts(
        &self,
        authority: &str,
        order: Option<Uuid>,
    ) -> Result<Vec<ActRow>, StoreError> {
        let mut prefix = NameField::of(authority).bytes().into_owned();
        prefix.extend(order.iter().flat_map(Uuid::as_bytes));
        let rows = self.rows(ORDER_ACT, &prefix)?.into_iter();
        Ok(rows
            .map(|((order, digest), value)| ActRow {
                order: order.id,
                digest,
                value,
            })
            .collect())
    }

    /// One act of an authority.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn order_act(
        &self,
        authority: &str,
        order: Uuid,
        digest: &[u8; 32],
    ) -> Result<Option<ActRow>, StoreError> {
        let value = self.get(ORDER_ACT, &(OrderKey::new(authority, order), *digest))?;
        Ok(value.map(|value| ActRow {
            order,
            digest: *digest,
            value,
        }))
    }

    /// Adds an act of an authority upon one of its orders.
    pub fn put_order_act(&self, batch: &mut RowBatch, authority: &str, act: &ActRow) {
        self.put(
            batch,
            ORDER_ACT,
            &(OrderKey::new(authority, act.order), act.digest),
            &act.value[..],
        );
    }

    /// Whether an officer's request of that time and id was answered already.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn request_seen(&self, time: i64, request: Uuid) -> Result<bool, StoreError> {
        self.has(REQUEST, &(time, request))
    }

    /// Notes that an officer's request was answered, and forgets those from before `forget` (Unix
    /// seconds).
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`]; nothing is in the batch then.
    pub fn put_request(
        &self,
        batch: &mut RowBatch,
        time: i64,
        request: Uuid,
        forget: i64,
    ) -> Result<(), StoreError> {
        let old = self.keys_before(REQUEST, &forget.to_be_bytes(), 1_000)?;
        old.iter().for_each(|key| self.delete(batch, REQUEST, key));
        self.put(batch, REQUEST, &(time, request), &());
        Ok(())
    }

    /// Whether a statement that allows one act (a request to erase, a statement that allows a
    /// destruction) was carried out here already. Its key is the time when it is too old, and its
    /// id.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn is_carried_out(&self, until: i64, id: Uuid) -> Result<bool, StoreError> {
        // Older versions kept these among the requests.
        Ok(self.has(CARRIED_OUT, &(until, id))? || self.request_seen(until, id)?)
    }

    /// Notes that a statement was carried out. The note is never deleted: there are only as many as
    /// erasures and destructions.
    pub fn put_carried_out(&self, batch: &mut RowBatch, until: i64, id: Uuid) {
        self.put(batch, CARRIED_OUT, &(until, id), &());
    }

    /// Pseudonyms that an authority asked for, by the hour since 1970, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Engine`], [`StoreError::Corrupt`].
    pub fn released(&self, authority: &str) -> Result<Vec<(u32, u64)>, StoreError> {
        let rows = self
            .rows(RELEASE_RATE, &NameField::of(authority).bytes())?
            .into_iter();
        Ok(rows.map(|((_, hour), items)| (hour, items)).collect())
    }

    /// Writes how many pseudonyms an authority asked for in an hour, and forgets the hours `old`.
    pub fn put_released(
        &self,
        batch: &mut RowBatch,
        authority: &str,
        hour: u32,
        items: u64,
        old: &[u32],
    ) {
        let key = |hour: u32| (NameField::of(authority), hour);
        old.iter()
            .for_each(|old| self.delete(batch, RELEASE_RATE, &key(*old)));
        self.put(batch, RELEASE_RATE, &key(hour), &items);
    }
}
