//! Erasure: two rights officers name pseudonyms, and one commit destroys their mappings, salts and
//! tags that are old enough, and logs it. The log's tree stays as it is. Once the last tag is
//! destroyed, nothing in it can confirm a guess any more.
//!
//! | what | how |
//! |---|---|
//! | the mapping | its chunk is rewritten without it, and the old one deleted |
//! | the salts of `tokenize` entries that may be over it | deleted: of the mapping's sector and domain, since its segment was opened |
//! | the tags of `release`, `reveal` and `look-up` entries | deleted with their salts when they are `evidence-days` old ([`super::traces`]) |
//! | the tag in an order's count | a random value takes its place when the order is over for so long: the count stays |
//!
//! An erasure does not depend on orders, because a live order has its own copies. Neither its
//! answer nor its entry says what was there, because that could reveal orders that must stay secret
//! for now.
//!
//! A tombstone stays, under a key of its own. It tells only that a pseudonym was erased, and only
//! to a holder of the audit secret *and* the pseudonym. It prevents the mapping from being stored
//! again. The request's id stays too, so that each side carries the request out once.

mod chunks;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::channel;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::FAILED;
use super::request::{ErasureRequest, check};
use super::traces::TraceSide;
use crate::access::RightsPermit;
use crate::audit::{AuditEvent, EraseDetails, LogPosition};
use crate::code::Code;
use crate::commit::Change;
use crate::entity::{ActStanding, Entity};
use crate::keys::AuditKey;
use crate::node::Node;
use crate::pseudonym::ParsedPseudonym;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Id, Register, Sector};
use crate::statement::Signed;
use crate::store::{RowBatch, Store};
use crate::vault::Vault;
pub(crate) use chunks::{MappingDomain, salts};

/// A request to erase, as a caller sends it.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Brought)]
pub struct ErasureText {
    /// The request that two rights officers signed: JWS General JSON, as text.
    pub request: String,
}

/// Confirms that an erasure was carried out on one side. It does not depend on what was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureReceipt {
    /// The request's id.
    #[schema(value_type = String)]
    pub request: Uuid,
    /// Where this side's entry about it stands in its log, for `cloison audit prove`.
    #[schema(value_type = Object)]
    pub entry: LogPosition,
    /// The last day (UTC) on which a backup may hold what was erased: `2026-12-28`. Absent where
    /// this server takes no backups: then its copies are for those to end who made them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub backups_until: Option<Date>,
    /// The last day (UTC) on which a side record that is older may be there, in the store or in the
    /// second place. Absent where this server takes no backups: side records are kept then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub side_records_until: Option<Date>,
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

fn check_request(
    text: &str,
    register: &Register,
    permit: &RightsPermit,
    now: Timestamp,
) -> Result<(Signed<ErasureRequest, Id>, Arc<Sector>), Refusal> {
    let signed = check(text, register, now)?;
    let own = permit.officer.sectors.contains(&signed.says.sector);
    let sector = register
        .sector(&signed.says.sector)
        .filter(|_| own)
        .cloned();
    let sector = sector.ok_or_else(|| {
        Refusal::new(
            Code::UnknownSector,
            "there is no such sector for this officer",
        )
    })?;
    Ok((signed, sector))
}

/// Refuses a request that was carried out here already. Otherwise one officer alone could bring it
/// again as long as it is valid, and destroy what was stored since. The answer holds only
/// under [`Book::lock_orders`](crate::order::book::Book::lock_orders).
fn check_not_carried_out(store: &Store, erasure: &ErasureRequest) -> Result<(), Refusal> {
    if store
        .is_carried_out(erasure.until(), erasure.id)
        .map_err(fault(FAILED))?
    {
        return Err(Refusal::new(
            Code::RequestReplayed,
            "the request was carried out here already; sign another one",
        ));
    }
    Ok(())
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
            tracing::error!(%error, "what was erased may still stand in the store's files");
        }
    }
}

/// What both sides store with an erasure: the request's id, that the files have to be scrubbed, and
/// that backups and side records are older.
fn note(store: &Store, batch: &mut RowBatch, erasure: &ErasureRequest, now: Timestamp) {
    store.put_carried_out(batch, erasure.until(), erasure.id);
    store.put_scrub_due(batch, erasure.id);
    // The writer runs this before it numbers the entries of the commit.
    match store.last_audit() {
        Ok(last) => {
            let next = last.map_or(0, |(number, _)| number + 1);
            store.put_last_erasure(batch, next, now.as_second());
        }
        Err(error) => tracing::error!(%error, "it is not noted that backups hold what was erased"),
    }
}

/// Days for which followers keep side records that the last backup no longer needs: until they are
/// told, a week, and until the segment that they lie in ends.
const WITH_FOLLOWERS: u32 = 9;

/// The last days of backups and of side records that are older than an erasure.
fn last_days(entity: &Entity, now: Timestamp) -> (Option<Date>, Option<Date>) {
    let Some(days) = entity.backup_days() else {
        return (None, None);
    };
    let day = |after: u32| {
        let span = SignedDuration::from_hours(24 * i64::from(after));
        let time = now.saturating_add(span).unwrap_or(Timestamp::MAX);
        Some(time.to_zoned(TimeZone::UTC).date())
    };
    // Backups go with the first one of the day after, side records with the first one after that.
    (day(days), day(days.saturating_add(1 + WITH_FOLLOWERS)))
}

/// Writes an erasure and its entry, durably.
fn commit(
    entity: &Entity,
    change: Change,
    erasure: &ErasureRequest,
    officers: Vec<Id>,
    permit: &RightsPermit,
    now: Timestamp,
) -> Result<LogPosition, Refusal> {
    let erased = EraseDetails {
        officers,
        request: erasure.id.to_string(),
        sector: erasure.sector.clone(),
        bearer: permit.officer.id.clone(),
    };
    let recorded = entity.committer().record(
        now,
        AuditEvent::Erase(Box::new(erased)),
        vec![],
        vec![change],
    );
    let receipt = recorded.map_err(not_logged("nothing is erased"))?;
    Ok(receipt.position())
}

/// Answers an erasure that was carried out, once enough places hold it. Hold no lock meanwhile.
fn answer(
    entity: &Entity,
    (digest, request): ([u8; 32], Uuid),
    entry: LogPosition,
    now: Timestamp,
) -> Result<ErasureReceipt, Refusal> {
    let entry = entity.answer_act(digest, entry, ActStanding::InForce)?;
    let (backups_until, side_records_until) = last_days(entity, now);
    Ok(ErasureReceipt {
        request,
        entry,
        backups_until,
        side_records_until,
    })
}

/// Erases at the vault.
///
/// # Errors
/// [`Code::RightsInvalid`], [`Code::UnknownSector`], [`Code::RequestReplayed`],
/// [`Code::ClockBehind`]; [`Code::AuditUnavailable`], [`Code::Overloaded`], [`Code::Internal`]:
/// nothing was erased then. [`Code::JournalUnavailable`]: it was erased, and the same request gets
/// its receipt once enough places hold it.
pub fn at_vault(
    vault: &Vault,
    permit: &RightsPermit,
    text: &str,
) -> Result<ErasureReceipt, Refusal> {
    let now = vault.steady_time()?;
    let (signed, sector) = check_request(text, vault.register(), permit, now)?;
    let (erasure, officers, act) = (signed.says, signed.persons, signed.digest);
    vault.refuse_shut_out(&officers)?;
    let act = (act, erasure.id);
    if let Some(entry) = vault.unanswered(&act.0) {
        return answer(vault, act, entry, now);
    }
    vault.committer().admit().map_err(Refusal::unavailable)?;
    // Checked before the long scan as well, so that a repeated request costs nothing.
    check_not_carried_out(vault.store(), &erasure)?;
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
    // The long scan of the log runs before others have to wait for the lock …
    let domains = chunks::domains(vault, &chunks::read(vault, &state, &named)?)?;
    let (mut salts, end) = chunks::salts(vault.store(), &sector.name, &domains, None)?;
    let side = TraceSide::of(vault);
    let pairs = side.pairs(&tags)?;
    // … and a short one covers what came since, under the lock and after the writer has settled.
    let orders = side.book.lock_orders();
    let pause = vault.pause_keeper();
    check_not_carried_out(vault.store(), &erasure)?;
    // A commit that has begun may bring one of the mappings.
    if !vault.committer().settled() {
        return Err(Refusal::unavailable(Code::AuditUnavailable));
    }
    let found = chunks::read(vault, &state, &named)?;
    salts.extend(chunks::salts(vault.store(), &sector.name, &domains, Some(end))?.0);
    // For a mapping that came since, the log was not scanned yet.
    let late = chunks::beyond(chunks::domains(vault, &found)?, &domains);
    salts.extend(chunks::salts(vault.store(), &sector.name, &late, None)?.0);
    let traces = side.traces(&tags, pairs)?;
    let (index, cipher, written) = (vault.shared_index(), vault.shared_cipher(), erasure.clone());
    let (tell, told) = channel();
    let change: Change = Box::new(move |store, batch| {
        // First: a batch that is already prepared then finds the pseudonyms in the index or among
        // the tombstones.
        state.add_tombstones(&tombstones);
        tombstones.iter().for_each(|tombstone| {
            store.put_tombstone(batch, sector.uuid, tombstone, now.as_second());
        });
        note(store, batch, &written, now);
        salts
            .iter()
            .for_each(|entry| store.delete_salt(batch, *entry));
        traces.destroy(store, batch);
        // The request that waits for this may have ended.
        let _ = tell.send(chunks::rewrite(store, batch, &index, &cipher, found));
    });
    let entry = commit(vault, change, &erasure, officers, permit, now)?;
    told.try_iter()
        .flatten()
        .for_each(|(kind, small)| vault.committer().small().add(&kind, small));
    // Others must not wait for places with this.
    drop((pause, orders));
    answer(vault, act, entry, now)
}

/// Erases at an authority's node: the tags beside its entries.
///
/// # Errors
/// As [`at_vault`].
pub fn at_node(node: &Node, permit: &RightsPermit, text: &str) -> Result<ErasureReceipt, Refusal> {
    let now = node.steady_time()?;
    let (signed, sector) = check_request(text, node.register(), permit, now)?;
    let (erasure, officers, act) = (signed.says, signed.persons, signed.digest);
    node.refuse_shut_out(&officers)?;
    let act = (act, erasure.id);
    if let Some(entry) = node.unanswered(&act.0) {
        return answer(node, act, entry, now);
    }
    node.committer().admit().map_err(Refusal::unavailable)?;
    let tags = parse(&erasure, &sector, node.audit_key())?
        .into_iter()
        .map(|(_, tag)| tag)
        .collect();
    // Checked before the long scan of the pairs as well, so that a repeated request costs nothing.
    check_not_carried_out(node.store(), &erasure)?;
    let side = TraceSide::of(node);
    let pairs = side.pairs(&tags)?;
    let orders = side.book.lock_orders();
    check_not_carried_out(node.store(), &erasure)?;
    let traces = side.traces(&tags, pairs)?;
    let written = erasure.clone();
    let change: Change = Box::new(move |store, batch| {
        note(store, batch, &written, now);
        traces.destroy(store, batch);
    });
    let entry = commit(node, change, &erasure, officers, permit, now)?;
    drop(orders);
    answer(node, act, entry, now)
}
