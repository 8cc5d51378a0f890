//! Format 1 to 2: rows of orders are keyed by authority and id; in format 1 they were keyed by the id alone, so that another
//! authority could pin an id that it had read.
//!
//! A new key is the old one with `authority id ‖ 0` put in before the order's id, which an authority's id of at least one byte
//! makes longer: so the length tells an old row from a new one.

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use super::super::columns::Column;
use super::super::orders::named;
use super::super::{Batch, Store, StoreError};

/// The columns whose keys change.
const COLUMNS: [Column; 5] =
    [Column::Order, Column::OrderPair, Column::OrderLife, Column::Migration, Column::MigrationPairs];

/// Bytes of rows that are moved in one commit.
const COMMIT: usize = 1 << 20;

/// Whose each order is.
type Authorities = HashMap<Uuid, String>;

/// Moves every old row under its new key, in commits of about [`COMMIT`].
pub(super) fn key_orders_by_authority(store: &Store) -> Result<(), StoreError> {
    let authorities = authorities(store)?;
    for column in COLUMNS {
        let mut batch = Batch::default();
        store.each_row(column, |key, value| {
            let Some(at) = old(column, key) else { return Ok(()) };
            let authority = authorities.get(&id(key, at)).ok_or(StoreError::Corrupt(column.name()))?;
            let moved = [&key[..at], &named(authority), &key[at..]].concat();
            batch.rows.delete_cf(store.column(column), key);
            store.put(&mut batch, column, &moved, value);
            match batch.rows.size_in_bytes() < COMMIT {
                true => Ok(()),
                false => store.commit(std::mem::take(&mut batch)),
            }
        })?;
        store.commit(batch)?;
    }
    Ok(())
}

/// Where the order's id stands in an old key; nothing for a new one.
fn old(column: Column, key: &[u8]) -> Option<usize> {
    let (at, behind) = match column {
        Column::OrderPair => (0, 16),
        // client id ‖ 0 ‖ order id ‖ page
        Column::MigrationPairs => (key.iter().position(|byte| *byte == 0)? + 1, 4),
        _ => (0, 0),
    };
    (key.len() == at + 16 + behind).then_some(at)
}

fn id(key: &[u8], at: usize) -> Uuid {
    Uuid::from_slice(&key[at..at + 16]).expect("sixteen bytes")
}

/// Whose each order of an old row is: its life says so, and where it has none (the first versions kept none), the log.
fn authorities(store: &Store) -> Result<Authorities, StoreError> {
    #[derive(Deserialize)]
    struct Life {
        authority: String,
    }
    let mut known = Authorities::new();
    store.each_row(Column::OrderLife, |key, value| {
        let life: Life = serde_json::from_slice(value).map_err(|_| StoreError::Corrupt(Column::OrderLife.name()))?;
        // New keys end with the id too: the step may have been killed before.
        known.insert(id(key, key.len().saturating_sub(16)), life.authority);
        Ok(())
    })?;
    let mut unknown = false;
    store.each_row(Column::Order, |key, _| {
        unknown |= old(Column::Order, key).is_some_and(|at| !known.contains_key(&id(key, at)));
        Ok(())
    })?;
    if unknown {
        add_logged(store, &mut known)?;
    }
    Ok(known)
}

/// Adds the orders that the log names: an order's row was written in the commit of such an entry.
fn add_logged(store: &Store, known: &mut Authorities) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct Named {
        event: String,
        authority: String,
        order: Uuid,
    }
    store.each_audit::<StoreError>(0, usize::MAX, |_, entry| {
        let named = serde_json::from_slice::<Named>(entry).ok();
        if let Some(named) = named.filter(|named| matches!(named.event.as_str(), "release" | "reveal")) {
            known.entry(named.order).or_insert(named.authority);
        }
        Ok(())
    })
}
