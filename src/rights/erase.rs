//! Erasure: of the pseudonyms that two rights officers name, the mappings, the tags and the salts are destroyed, in one commit
//! with the entry that says so. The log's tree stays as it is, and nothing in it can be held against a guess any more.
//!
//! | what | how |
//! |---|---|
//! | the mapping | its chunk is written anew without it, and the old one deleted |
//! | the tags of `release`, `reveal` and `look-up` entries | deleted with their salts: the entries' roots are over both |
//! | the tag in an order's count | a random value takes its place: the count binds and stays |
//! | the salts of `tokenize` entries that may be over it | deleted: of the mapping's sector and domain, since its segment was opened |
//!
//! What stays is a tombstone, under a key of its own: who holds the audit secret *and* the pseudonym can tell by it that it was
//! erased, and nothing else. It keeps the mapping from being stored again. And the request's id stays while it is good: it is
//! carried out once on each side.

mod chunks;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::internal;
use super::request::{Erasure, check};
use crate::access::RightsPermit;
use crate::audit::{Entry, Erased, Event};
use crate::code::Code;
use crate::commit::{Change, Committer, Job, Logged, Pending};
use crate::keys::AuditKey;
use crate::node::Node;
use crate::order::Refusal;
use crate::order::book::Book;
use crate::pseudonym::Parsed;
use crate::register::{Id, Register, Sector};
use crate::store::{Batch, OrderKey, Store, TagPlace};
use crate::vault::Vault;

/// What came of an erasure on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Destroyed {
    /// The request's id.
    #[schema(value_type = String)]
    pub request: Uuid,
    /// Pseudonyms that it names.
    pub items: u64,
    /// Mappings destroyed; the node has none.
    pub mappings: u64,
    /// Tags destroyed.
    pub tags: u64,
    /// Salts of tokenization entries destroyed.
    pub salts: u64,
}

/// The rows that go, found before the commit.
#[derive(Default)]
struct Rows {
    tags: Vec<TagPlace>,
    pairs: Vec<(OrderKey, [u8; 16])>,
    salts: Vec<u64>,
}

impl Rows {
    /// The tags of those pseudonyms, wherever they lie.
    fn find(store: &Store, tags: &HashSet<[u8; 16]>) -> Result<Self, Refusal> {
        let mut rows = Self::default();
        let each = |place, tag| {
            if tags.contains(&tag) {
                rows.tags.push(place);
            }
        };
        store.each_tag(each).map_err(internal)?;
        let each = |order, tag| {
            if tags.contains(&tag) {
                rows.pairs.push((order, tag));
            }
        };
        store.each_order_pair(each).map_err(internal)?;
        Ok(rows)
    }

    fn destroy(&self, store: &Store, batch: &mut Batch) {
        self.tags.iter().for_each(|place| store.delete_tag(batch, *place));
        self.salts.iter().for_each(|entry| store.delete_salt(batch, *entry));
        for (order, tag) in &self.pairs {
            store.replace_order_pair(batch, order, tag, &crate::clock::random());
        }
    }
}

/// Reads the pseudonyms of a request.
fn parse(erasure: &Erasure, sector: &Sector, key: &AuditKey) -> Result<Vec<(Parsed, [u8; 16])>, Refusal> {
    let read = erasure.pseudonyms.iter().map(|text| {
        let wrong = |code: Code| Refusal::new(Code::RightsInvalid, format!("a pseudonym of the request: {code}"));
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
) -> Result<(Erasure, Vec<Id>, Arc<Sector>), Refusal> {
    let (erasure, officers) = check(text, register, now)?;
    let own = permit.officer.sectors.contains(&erasure.sector);
    let sector = register.sector(&erasure.sector).filter(|_| own).cloned();
    let sector = sector.ok_or_else(|| Refusal::new(Code::UnknownSector, "there is no such sector for this officer"))?;
    Ok((erasure, officers, sector))
}

/// Refuses a request that was carried out here already: one officer alone could otherwise bring it again and again, for as long
/// as it is good, and have destroyed what came since. It holds only under [`Book::alone`].
fn seen(store: &Store, erasure: &Erasure) -> Result<(), Refusal> {
    match store.request_seen(erasure.until(), erasure.id).map_err(internal)? {
        true => Err(Refusal::new(Code::RequestReplayed, "the request was carried out here already; sign another one")),
        false => Ok(()),
    }
}

/// What both sides write down with an erasure: the request, and that the files are to be scrubbed.
fn note(store: &Store, batch: &mut Batch, erasure: &Erasure) {
    // Under the time when it is too old, so that the requests of re-identification, which are good for minutes, do not have it
    // forgotten before; and it has none of theirs forgotten.
    if let Err(error) = store.put_request(batch, erasure.until(), erasure.id, 0) {
        // The write of this very batch will meet the same fault, and poison the store.
        tracing::error!(%error, "old requests cannot be read");
    }
    store.put_scrub_due(batch, erasure.id);
}

fn entry(erasure: &Erasure, officers: &[Id], permit: &RightsPermit, done: &Destroyed, now: Timestamp) -> Entry {
    let erased = Erased {
        officers: officers.to_vec(),
        request: erasure.id.to_string(),
        sector: erasure.sector.clone(),
        items: done.items,
        mappings: done.mappings,
        tags: done.tags,
        salts: done.salts,
        bearer: permit.officer.id.clone(),
    };
    Entry::new(now, Event::Erase(Box::new(erased)))
}

/// Hands a change to the writer together with the entry that it then turns out to need.
fn commit<T: Send + 'static>(
    committer: &Committer,
    change: impl FnOnce(&Store, &mut Batch) -> (Entry, T) + Send + 'static,
) -> Result<T, Refusal> {
    let outcome = Arc::new(Mutex::new((None, None)));
    fn locked<T>(outcome: &Mutex<T>) -> MutexGuard<'_, T> {
        outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
    let (written, told) = (outcome.clone(), outcome.clone());
    let change: Change = Box::new(move |store, batch| {
        let (entry, done) = change(store, batch);
        *locked(&written) = (Some(entry), Some(done));
    });
    let decide = move || Some((locked(&told).0.take()?, vec![]));
    let log = Logged::Decided(Box::new(decide));
    let job = Job { mappings: vec![], changes: vec![change], count: None, log };
    let unavailable = |code| Refusal::new(code, "the audit log takes no entry, so nothing is erased");
    committer.submit(job).and_then(Pending::wait).map_err(unavailable)?;
    let done = locked(&outcome).1.take();
    done.ok_or_else(|| internal("the writer has written what it was not told"))
}

/// Erases at the vault.
///
/// # Errors
/// [`Code::RightsInvalid`], [`Code::UnknownSector`], [`Code::RequestReplayed`], [`Code::ClockBehind`]; [`Code::AuditUnavailable`],
/// [`Code::Overloaded`], [`Code::Internal`]: nothing was erased then.
pub fn at_vault(vault: &Vault, permit: &RightsPermit, text: &str) -> Result<Destroyed, Refusal> {
    let now = vault.steady_time()?;
    let (erasure, officers, sector) = checked(text, vault.register(), permit, now)?;
    vault.committer().admit().map_err(Refusal::unavailable)?;
    // Before the long way as well: a repeated request is to cost nothing.
    seen(vault.store(), &erasure)?;
    let state = vault.sector(&sector.name).ok_or_else(|| internal("a sector of the register has no state"))?.clone();
    let wanted = parse(&erasure, &sector, vault.audit_key())?;
    let tags: HashSet<[u8; 16]> = wanted.iter().map(|(_, tag)| *tag).collect();
    let stone = |(parsed, _): &(Parsed, _)| vault.audit_key().tombstone(sector.uuid, &parsed.pseudonym);
    let stones: HashSet<[u8; 16]> = wanted.iter().map(stone).collect();
    // The long way through the log before anybody has to wait …
    let domains = chunks::domains(vault, &chunks::read(vault, &state, &wanted)?)?;
    let (mut salts, end) = chunks::salts(vault, &sector.name, &domains, None)?;
    // … and what came since while nothing is released and no entry of the index is on its way.
    let _alone = Book::from(vault).alone();
    let _still = vault.hold_still();
    seen(vault.store(), &erasure)?;
    // A commit that has begun may bring one of the mappings.
    if !vault.committer().settled() {
        return Err(Refusal::unavailable(Code::AuditUnavailable));
    }
    let found = chunks::read(vault, &state, &wanted)?;
    salts.extend(chunks::salts(vault, &sector.name, &domains, Some(end))?.0);
    // Of a mapping that came since, the log was not gone through yet.
    let late = chunks::beyond(chunks::domains(vault, &found)?, &domains);
    salts.extend(chunks::salts(vault, &sector.name, &late, None)?.0);
    salts.sort_unstable();
    salts.dedup();
    let rows = Rows { salts, ..Rows::find(vault.store(), &tags)? };
    let (index, cipher, officer) = (vault.shared_index(), vault.shared_cipher(), permit.officer.clone());
    let change = move |store: &Store, batch: &mut Batch| {
        // First: whoever has prepared a batch finds the pseudonyms in the index or among these.
        state.bury(&stones);
        stones.iter().for_each(|stone| store.put_tombstone(batch, sector.uuid, stone, now.as_second()));
        note(store, batch, &erasure);
        rows.destroy(store, batch);
        let (mappings, fresh) = chunks::rewrite(store, batch, &index, &cipher, found);
        let done = Destroyed {
            request: erasure.id,
            items: wanted.len() as u64,
            mappings,
            tags: (rows.tags.len() + rows.pairs.len()) as u64,
            salts: rows.salts.len() as u64,
        };
        (entry(&erasure, &officers, &RightsPermit { officer }, &done, now), (done, fresh))
    };
    let (done, fresh) = commit(vault.committer(), change)?;
    fresh.into_iter().for_each(|(kind, small)| vault.committer().small().add(&kind, small));
    Ok(done)
}

/// Erases at an authority's node: the tags beside its entries.
///
/// # Errors
/// As [`at_vault`].
pub fn at_node(node: &Node, permit: &RightsPermit, text: &str) -> Result<Destroyed, Refusal> {
    let now = node.steady_time()?;
    let (erasure, officers, sector) = checked(text, node.register(), permit, now)?;
    node.committer().admit().map_err(Refusal::unavailable)?;
    let tags = parse(&erasure, &sector, node.audit_key())?.into_iter().map(|(_, tag)| tag).collect();
    let _alone = Book::from(node).alone();
    seen(node.store(), &erasure)?;
    let rows = Rows::find(node.store(), &tags)?;
    let officer = permit.officer.clone();
    let change = move |store: &Store, batch: &mut Batch| {
        note(store, batch, &erasure);
        rows.destroy(store, batch);
        let done = Destroyed {
            request: erasure.id,
            items: erasure.pseudonyms.len() as u64,
            mappings: 0,
            tags: (rows.tags.len() + rows.pairs.len()) as u64,
            salts: 0,
        };
        (entry(&erasure, &officers, &RightsPermit { officer }, &done, now), done)
    };
    commit(node.committer(), change)
}
