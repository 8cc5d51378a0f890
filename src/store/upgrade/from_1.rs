//! Format 1 to 2: keys rows of orders by authority and id. Format 1 keyed them by the id alone, so
//! another authority could pin an id that it had read.
//!
//! A new key has `authority id ‖ 0` before the order's id. An authority's id has at least one byte,
//! so the key's length tells a new row from an old one.

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use super::super::columns::{
    ColumnName, MIGRATION, MIGRATION_PAIRS, ORDER, ORDER_LIFE, ORDER_PAIR,
};
use super::super::fields::{NameField, RowField as _};
use super::super::rows::{RowEngine as _, ScanRange, ScanStep};
use super::super::{RowBatch, Store, StoreError};
use super::CommitRows;

/// The columns whose keys change.
const REKEYED: [ColumnName; 5] = [
    ORDER.name,
    ORDER_PAIR.name,
    ORDER_LIFE.name,
    MIGRATION.name,
    MIGRATION_PAIRS.name,
];

/// Bytes of rows that are moved in one commit.
const COMMIT: usize = if cfg!(test) { 64 } else { 1 << 20 };

/// The authority of each order.
type Authorities = HashMap<Uuid, String>;

/// Moves every old row under its new key, in commits of about [`COMMIT`].
pub(super) fn key_orders_by_authority(
    store: &Store,
    commit: &mut CommitRows<'_>,
) -> Result<(), StoreError> {
    let authorities = authorities(store)?;
    for column in REKEYED {
        let mut batch = RowBatch::default();
        store
            .engine
            .scan(column, ScanRange::ALL.once(), |key, value| {
                let Some(at) = old_id_place(column, key) else {
                    return Ok(ScanStep::Next);
                };
                let authority = authorities
                    .get(&id(key, at))
                    .ok_or(StoreError::Corrupt(column.as_str()))?;
                let moved = [&key[..at], &NameField::of(authority).bytes(), &key[at..]].concat();
                store.engine.delete(&mut batch.rows, column, key);
                store.engine.put(&mut batch.rows, column, &moved, value);
                if batch.size() >= COMMIT {
                    commit(std::mem::take(&mut batch))?;
                }
                Ok::<_, StoreError>(ScanStep::Next)
            })?;
        if !batch.is_empty() {
            commit(batch)?;
        }
    }
    Ok(())
}

/// Where the order's id stands in an old key. `None` for a new key.
fn old_id_place(column: ColumnName, key: &[u8]) -> Option<usize> {
    let (at, behind) = if column == ORDER_PAIR.name {
        (0, 16)
    } else if column == MIGRATION_PAIRS.name {
        // client id ‖ 0 ‖ order id ‖ page
        (key.iter().position(|byte| *byte == 0)? + 1, 4)
    } else {
        (0, 0)
    };
    (key.len() == at + 16 + behind).then_some(at)
}

fn id(key: &[u8], at: usize) -> Uuid {
    Uuid::from_slice(&key[at..at + 16]).expect("sixteen bytes")
}

/// The authority of each order with an old row, from its life; or from the log, if it has no life
/// (the first versions kept none).
fn authorities(store: &Store) -> Result<Authorities, StoreError> {
    #[derive(Deserialize)]
    struct LifeAuthority {
        authority: String,
    }
    let mut known = Authorities::new();
    store
        .engine
        .scan(ORDER_LIFE.name, ScanRange::ALL.once(), |key, value| {
            let life: LifeAuthority =
                serde_json::from_slice(value).map_err(|_| ORDER_LIFE.corrupt())?;
            // New keys end with the id too: the step may have been killed before.
            known.insert(id(key, key.len().saturating_sub(16)), life.authority);
            Ok::<_, StoreError>(ScanStep::Next)
        })?;
    let mut unknown = false;
    store
        .engine
        .scan(ORDER.name, ScanRange::ALL.once(), |key, _| {
            unknown |=
                old_id_place(ORDER.name, key).is_some_and(|at| !known.contains_key(&id(key, at)));
            Ok::<_, StoreError>(ScanStep::Next)
        })?;
    if unknown {
        add_logged(store, &mut known)?;
    }
    Ok(known)
}

/// Adds the orders that the log names: an order's row was written in the commit of such an entry.
fn add_logged(store: &Store, known: &mut Authorities) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct LoggedRelease {
        event: String,
        authority: String,
        order: Uuid,
    }
    store.each_audit::<StoreError>(0, usize::MAX, |_, entry| {
        let named = serde_json::from_slice::<LoggedRelease>(entry).ok();
        if let Some(named) =
            named.filter(|named| matches!(named.event.as_str(), "release" | "reveal"))
        {
            known.entry(named.order).or_insert(named.authority);
        }
        Ok(())
    })
}
