//! Erasure: of the pseudonyms that two rights officers name, the mappings, the salts and the tags
//! that are old enough are destroyed, in one commit with the entry that says so. The log's tree
//! stays as it is, and nothing in it can be held against a guess any more once the last tag is old
//! enough.
//!
//! | what | how |
//! |---|---|
//! | the mapping | its chunk is written anew without it, and the old one deleted |
//! | the salts of `tokenize` entries that may be over it | deleted: of the mapping's sector and domain, since its segment was opened |
//! | the tags of `release`, `reveal` and `look-up` entries | deleted with their salts when they are `evidence-days` old ([`super::traces`]) |
//! | the tag in an order's count | a random value takes its place when the order is over for so long: the count stays |
//!
//! An erasure asks no order: what a live order needs it has as a copy of its own. And it says
//! nothing of what was there, neither in its answer nor in its entry: that would tell of orders
//! that may not be told yet.
//!
//! What stays is a tombstone, under a key of its own: those who hold the audit secret *and* the
//! pseudonym can tell by it that the pseudonym was erased, and nothing else. It keeps the mapping
//! from being stored again. The request's id stays too, so that each side carries the request out
//! once.

mod chunks;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::channel;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::FAILED;
use super::request::{ErasureRequest, check};
use super::traces::TraceSide;
use crate::access::RightsPermit;
use crate::audit::{AuditEvent, EraseDetails, LogPosition};
use crate::code::Code;
use crate::commit::{Change, Committer};
use crate::keys::AuditKey;
use crate::node::Node;
use crate::pseudonym::ParsedPseudonym;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Id, Register, Sector};
use crate::statement::Signed;
use crate::store::{RowBatch, Store};
use crate::vault::Vault;

/// A request to erase that somebody brings.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Brought)]
pub struct ErasureText {
    /// The request that two rights officers signed: JWS General JSON, as text.
    pub request: String,
}

/// That an erasure was carried out on one side: the same whatever was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureReceipt {
    /// The request's id.
    #[schema(value_type = String)]
    pub request: Uuid,
    /// Where this side's entry about it stands in its log, for `cloison audit prove`.
    #[schema(value_type = Object)]
    pub entry: LogPosition,
}

/// Reads the pseudonyms of a request.
fn parse(
    erasure: &ErasureRequest,
    sector: &Sector,
    key: &AuditKey,
) -> Result<Vec<(ParsedPseudonym, [u8; 16])>, Refusal> {
    let read = erasure.pseudonyms.iter().map(|text| {
        let wrong = |code: Code| {
            Refusal::new(
                Code::RightsInvalid,
                format!("a pseudonym of the request: {code}"),
            )
        };
        let parsed = sector.parse_pseudonym(text).map_err(wrong)?;
        Ok((parsed, key.tag(sector.uuid, &parsed.pseudonym)))
    });
    read.collect()
}

fn checked(
    text: &str,
    register: &Register,
    permit: &RightsPermit,
    now: Timestamp,
) -> Result<(ErasureRequest, Vec<Id>, Arc<Sector>), Refusal> {
    let Signed {
        says: erasure,
        persons: officers,
        ..
    } = check(text, register, now)?;
    let own = permit.officer.sectors.contains(&erasure.sector);
    let sector = register.sector(&erasure.sector).filter(|_| own).cloned();
    let sector = sector.ok_or_else(|| {
        Refusal::new(
            Code::UnknownSector,
            "there is no such sector for this officer",
        )
    })?;
    Ok((erasure, officers, sector))
}

/// Refuses a request that was carried out here already: one officer alone could otherwise bring it
/// again and again, for as long as it is good, and have destroyed what came since. It holds only
/// under [`Book::lock_orders`](crate::order::book::Book::lock_orders).
fn seen(store: &Store, erasure: &ErasureRequest) -> Result<(), Refusal> {
    match store
        .is_carried_out(erasure.until(), erasure.id)
        .map_err(fault(FAILED))?
    {
        true => Err(Refusal::new(
            Code::RequestReplayed,
            "the request was carried out here already; sign another one",
        )),
        false => Ok(()),
    }
}

/// Clears the destroyed bytes out of the store's files where that is due. A large store takes its
/// time, so this runs beside the requests: after an erasure, at a start, and every hour, because
/// the last scrub may not have finished.
pub fn scrub(store: &Store) {
    match store.scrub_due() {
        Ok(true) => tracing::info!("what was erased is gone from the store's files"),
        // Another scrub did it.
        Ok(false) => {}
        Err(error) => {
            tracing::error!(%error, "what was erased may still stand in the store's files")
        }
    }
}

/// What both sides write down with an erasure: the request, and that the files are to be scrubbed.
fn note(store: &Store, batch: &mut RowBatch, erasure: &ErasureRequest) {
    store.put_carried_out(batch, erasure.until(), erasure.id);
    store.put_scrub_due(batch, erasure.id);
}

/// Writes an erasure and its entry, durably.
fn commit(
    committer: &Committer,
    change: Change,
    erasure: &ErasureRequest,
    officers: Vec<Id>,
    permit: &RightsPermit,
    now: Timestamp,
) -> Result<ErasureReceipt, Refusal> {
    let erased = EraseDetails {
        officers,
        request: erasure.id.to_string(),
        sector: erasure.sector.clone(),
        bearer: permit.officer.id.clone(),
    };
    let recorded = committer.record(
        now,
        AuditEvent::Erase(Box::new(erased)),
        vec![],
        vec![change],
    );
    let receipt = recorded.map_err(not_logged("nothing is erased"))?;
    Ok(ErasureReceipt {
        request: erasure.id,
        entry: receipt.position(),
    })
}

/// Erases at the vault.
///
/// # Errors
/// [`Code::RightsInvalid`], [`Code::UnknownSector`], [`Code::RequestReplayed`],
/// [`Code::ClockBehind`]; [`Code::AuditUnavailable`], [`Code::Overloaded`], [`Code::Internal`]:
/// nothing was erased then.
pub fn at_vault(
    vault: &Vault,
    permit: &RightsPermit,
    text: &str,
) -> Result<ErasureReceipt, Refusal> {
    let now = vault.steady_time()?;
    let (erasure, officers, sector) = checked(text, vault.register(), permit, now)?;
    vault.committer().admit().map_err(Refusal::unavailable)?;
    // Before the long way as well: a repeated request is to cost nothing.
    seen(vault.store(), &erasure)?;
    let state = vault
        .sector(&sector.name)
        .ok_or("a sector of the register has no state")
        .map_err(fault(FAILED))?
        .clone();
    let wanted = parse(&erasure, &sector, vault.audit_key())?;
    let tags: HashSet<[u8; 16]> = wanted.iter().map(|(_, tag)| *tag).collect();
    let tombstone = |(parsed, _): &(ParsedPseudonym, _)| {
        vault.audit_key().tombstone(sector.uuid, &parsed.pseudonym)
    };
    let tombstones: HashSet<[u8; 16]> = wanted.iter().map(tombstone).collect();
    let named: Vec<ParsedPseudonym> = wanted.into_iter().map(|(parsed, _)| parsed).collect();
    // The long way through the log before anybody has to wait …
    let domains = chunks::domains(vault, &chunks::read(vault, &state, &named)?)?;
    let (mut salts, end) = chunks::salts(vault, &sector.name, &domains, None)?;
    let side = TraceSide::of(vault);
    let pairs = side.pairs(&tags)?;
    // … and what came since while nothing is released and no entry of the index is on its way.
    let _orders = side.book.lock_orders();
    let _pause = vault.pause_keeper();
    seen(vault.store(), &erasure)?;
    // A commit that has begun may bring one of the mappings.
    if !vault.committer().settled() {
        return Err(Refusal::unavailable(Code::AuditUnavailable));
    }
    let found = chunks::read(vault, &state, &named)?;
    salts.extend(chunks::salts(vault, &sector.name, &domains, Some(end))?.0);
    // Of a mapping that came since, the log was not gone through yet.
    let late = chunks::beyond(chunks::domains(vault, &found)?, &domains);
    salts.extend(chunks::salts(vault, &sector.name, &late, None)?.0);
    let traces = side.traces(&tags, pairs)?;
    let (index, cipher, written) = (vault.shared_index(), vault.shared_cipher(), erasure.clone());
    let (tell, told) = channel();
    let change: Change = Box::new(move |store, batch| {
        // First: a batch that is already prepared finds the pseudonyms in the index or among these.
        state.add_tombstones(&tombstones);
        tombstones.iter().for_each(|tombstone| {
            store.put_tombstone(batch, sector.uuid, tombstone, now.as_second())
        });
        note(store, batch, &written);
        salts
            .iter()
            .for_each(|entry| store.delete_salt(batch, *entry));
        traces.destroy(store, batch);
        // The request that waits for it may have ended.
        let _ = tell.send(chunks::rewrite(store, batch, &index, &cipher, found));
    });
    let receipt = commit(vault.committer(), change, &erasure, officers, permit, now)?;
    told.try_iter()
        .flatten()
        .for_each(|(kind, small)| vault.committer().small().add(&kind, small));
    Ok(receipt)
}

/// Erases at an authority's node: the tags beside its entries.
///
/// # Errors
/// As [`at_vault`].
pub fn at_node(node: &Node, permit: &RightsPermit, text: &str) -> Result<ErasureReceipt, Refusal> {
    let now = node.steady_time()?;
    let (erasure, officers, sector) = checked(text, node.register(), permit, now)?;
    node.committer().admit().map_err(Refusal::unavailable)?;
    let tags = parse(&erasure, &sector, node.audit_key())?
        .into_iter()
        .map(|(_, tag)| tag)
        .collect();
    // Before the long way through the pairs as well: a repeated request is to cost nothing.
    seen(node.store(), &erasure)?;
    let side = TraceSide::of(node);
    let pairs = side.pairs(&tags)?;
    let _orders = side.book.lock_orders();
    seen(node.store(), &erasure)?;
    let traces = side.traces(&tags, pairs)?;
    let written = erasure.clone();
    let change: Change = Box::new(move |store, batch| {
        note(store, batch, &written);
        traces.destroy(store, batch);
    });
    commit(node.committer(), change, &erasure, officers, permit, now)
}
