//! At a start, orders that were live under a version without copies get theirs, and all copies are
//! wrapped under the present storage key, so that they do not need an earlier version of the
//! storage secret.

use std::collections::HashMap;

use super::{SealedMapping, unwrap};
use crate::commit::Change;
use crate::execution::FAILED;
use crate::order::book::Book;
use crate::order::life::stopped;
use crate::refusal::{Refusal, fault};
use crate::store::{ChunkKey, CopiesRow, CopyRow, OrderKey};
use crate::vault::stored::{bad_chunk, open_chunk};
use crate::vault::{StartError, Vault};

/// A copy to write: its order, the tag that it lies under, its row.
type NewCopy = (OrderKey, [u8; 16], CopyRow);

/// Does both, durably. To be called at a start, before the vault serves.
///
/// # Errors
/// [`Code::Internal`](crate::code::Code::Internal) also if a copy does not open, for example
/// because its version of the storage secret is missing;
/// [`Code::AuditUnavailable`](crate::code::Code::AuditUnavailable).
pub fn begin(vault: &Vault) -> Result<(), Refusal> {
    let mut copies = rewrapped(vault).map_err(fault(FAILED))?;
    let mut orders = vec![];
    let is_first = !vault.store().has_begun_copies().map_err(fault(FAILED))?;
    if is_first {
        orders = live(vault)?;
        copies.extend(of_counted(vault, &orders)?);
    }
    if !is_first && copies.is_empty() {
        return Ok(());
    }
    let change: Change = Box::new(move |store, batch| {
        orders
            .iter()
            .for_each(|(order, row)| store.put_order_copies(batch, order, *row));
        copies
            .iter()
            .for_each(|(order, tag, copy)| store.put_order_copy(batch, order, tag, copy));
        store.put_begun_copies(batch);
    });
    vault
        .committer()
        .change_unlogged(change)
        .map_err(Refusal::unavailable)
}

/// The copies under an earlier version of the storage key, wrapped under the present one.
fn rewrapped(vault: &Vault) -> Result<Vec<NewCopy>, StartError> {
    let (cipher, mut copies) = (vault.cipher(), vec![]);
    vault.store().each_order_copy(|order, tag, copy| {
        if cipher.is_current(&copy.sealed) {
            return Ok(());
        }
        let epoch = copy.epoch;
        let chunk = unwrap(cipher, &order, &tag, copy)?;
        let record = chunk
            .records()
            .next()
            .transpose()
            .map_err(StartError::Copy)?;
        if let Some(pseudonym) = record.map(|record| record.pseudonym)
            && let Some(mapping) =
                SealedMapping::of(&chunk, epoch, &pseudonym).map_err(StartError::Copy)?
        {
            let row = mapping.wrap(cipher, &order, &tag, pseudonym);
            copies.push((order, tag, row));
        }
        Ok::<_, StartError>(())
    })?;
    Ok(copies)
}

/// The orders that were used and are neither over nor revoked. The store does not know what they
/// list: they are completed when they are presented again.
fn live(vault: &Vault) -> Result<Vec<(OrderKey, CopiesRow)>, Refusal> {
    let (book, mut live) = (Book::from(vault), vec![]);
    for (order, life) in book.lives()? {
        let is_revoked = stopped(&book.acts(&life.authority, order.id)?)
            == Some(crate::code::Code::OrderRevoked);
        if life.not_after > book.now() && !is_revoked {
            live.push((
                order,
                CopiesRow {
                    until: life.not_after.as_second(),
                    whole: false,
                },
            ));
        }
    }
    Ok(live)
}

/// Copies of the pseudonyms that were asked for under these orders. Only their tags are known, so
/// this reads all mappings, once.
fn of_counted(vault: &Vault, orders: &[(OrderKey, CopiesRow)]) -> Result<Vec<NewCopy>, Refusal> {
    let mut wanted: HashMap<[u8; 16], Vec<&OrderKey>> = HashMap::new();
    for (order, _) in orders {
        for tag in vault.store().order_pairs(order).map_err(fault(FAILED))? {
            wanted.entry(tag).or_default().push(order);
        }
    }
    let mut copies = vec![];
    if wanted.is_empty() {
        return Ok(copies);
    }
    let uuids: HashMap<u32, _> = vault
        .sector_states()
        .map(|state| (state.number, state.sector.uuid))
        .collect();
    let each = |key: ChunkKey, row| {
        let Some(sector) = uuids.get(&key.sector) else {
            return Ok(());
        };
        let (chunk, bad) = (open_chunk(vault.cipher(), key, row)?, bad_chunk(key));
        for record in chunk.records() {
            let pseudonym = record.map_err(bad)?.pseudonym;
            let tag = vault.audit_key().tag(*sector, &pseudonym);
            for order in wanted.get(&tag).into_iter().flatten() {
                if let Some(mapping) =
                    SealedMapping::of(&chunk, key.epoch, &pseudonym).map_err(bad)?
                {
                    copies.push((
                        (*order).clone(),
                        tag,
                        mapping.wrap(vault.cipher(), order, &tag, pseudonym),
                    ));
                }
            }
        }
        Ok::<_, StartError>(())
    };
    vault.store().each_chunk(each).map_err(fault(FAILED))?;
    Ok(copies)
}
