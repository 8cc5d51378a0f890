//! The vault's second step: identifiers back, new pseudonyms, new mappings, pairs for the sector.
//!
//! The node is not believed: from each identifier the vault derives the old pseudonym again, and one that is not the
//! record's ends the page. So nobody plants another person behind a new pseudonym, and who has a stolen certificate of
//! the node tries one guess a request that an officer must sign.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Handed, Identifier, Slice, Taken, Way, check_room, pairs};
use crate::access::NodePermit;
use crate::audit::Event;
use crate::code::Code;
use crate::commit::{Change, Job, NewMappings, Pending};
use crate::identifier::MAX_CANONICAL;
use crate::keys::DomainScope;
use crate::order::Continuity;
use crate::order::book::Book;
use crate::pseudonym::Pseudonym;
use crate::refusal::{Refusal, fault};
use crate::register::Id;
use crate::reidentify::{FAILED, check_clock, check_register, enter};
use crate::seal::pairs::{PairsHead, seal};
use crate::store::{MigrationRow, OpenPage, OrderKey, PairsRow};
use crate::tokenize::{BatchDerivation, CanonicalBatch, OpenDomain, writer};
use crate::vault::Vault;

/// Takes the identifiers of a page that was handed out.
///
/// # Errors
/// A [`Refusal`] of the whole. [`Code::MappingInvalid`] where an identifier is not the one behind its record: the page must
/// then be asked for again.
pub fn take(vault: &Vault, permit: &NodePermit, handed: &Handed) -> Result<Taken, Refusal> {
    check_register(vault.register(), &handed.register)?;
    check_room(vault)?;
    let _place = enter(vault.orders(), &permit.authority.id, Duration::ZERO)?;
    let _orders = Book::from(vault).lock_orders();
    let book = Book::from(vault);
    let (now, authority) = (book.now(), &permit.authority.id);
    check_clock(&book, vault.committer().clock_mark())?;
    let unknown =
        || Refusal::new(Code::UnknownOrder, "no migration is under way under such an order of this authority");
    let order = OrderKey::new(authority.as_str(), handed.order);
    let life = book.life(&order)?.ok_or_else(unknown)?;
    let mut progress = vault.store().migration(&order).map_err(fault(FAILED))?.ok_or_else(unknown)?;
    // What came since the page was handed out counts.
    book.stands(authority, handed.order)?;
    if now >= life.not_after {
        return Err(Refusal::new(Code::OrderExpired, "the order ended while it was being executed"));
    }
    let awaited = |open: &OpenPage| open.request == handed.request && progress.page == handed.page;
    let foreign = || Refusal::new(Code::RequestInvalid, "the vault waits for no such page; ask for it again");
    let open = progress.open.filter(awaited).ok_or_else(foreign)?;
    let sector = life.sectors.first().ok_or_else(unknown)?;
    let way = Way::open(vault, sector, Continuity { from: progress.from, to: progress.to })?;
    let slice = way.read(vault, progress.next, Some(open.until), open.items as usize)?;

    // A page that keeps what it counted, and that only a new request opens again.
    let closed = MigrationRow { open: Some(OpenPage { request: Uuid::nil(), ..open }), ..progress };
    let Some(groups) = group(&slice, &handed.identifiers)? else { return Err(give_up(vault, order, closed)) };
    let mut made = Made::default();
    for ((scope, scheme), group) in &groups {
        if !made.derive(vault, &way, scope, scheme, group, now)? {
            return Err(give_up(vault, order, closed));
        }
    }
    let migrated = made.count;
    let skipped = slice.items as u64 - migrated;
    progress.open = None;
    // What the order no longer allows is left where it is, and is what is left.
    progress.next = open.until - u32::from(slice.is_cut);
    progress.migrated += migrated;
    progress.skipped += skipped;
    let event = Event::Migrate {
        authority: authority.clone(),
        order: handed.order.to_string(),
        request: handed.request.to_string(),
        sector: sector.clone(),
        from: progress.from,
        to: progress.to,
        page: handed.page,
        migrated,
        skipped,
    };
    let changes = vec![made.pairs(&way, &order, handed.page, &progress)?, step(order, progress)];
    let unavailable = |code| Refusal::new(code, "the new mappings could not be stored; ask again").come_back_in(1);
    let job = Job { mappings: made.mappings, ..Job::entry(now, event, vec![], changes) };
    vault.committer().submit(job).and_then(Pending::wait).map_err(unavailable)?;
    vault.migrated.fetch_add(migrated, std::sync::atomic::Ordering::Relaxed);
    told(vault, &way, &progress, migrated, skipped)
}

/// How far it has come.
fn told(vault: &Vault, way: &Way, progress: &MigrationRow, migrated: u64, skipped: u64) -> Result<Taken, Refusal> {
    let done = way.read(vault, progress.next, None, 1)?.items == 0;
    let seen = progress.migrated + progress.skipped;
    let total = vault.index().partition(way.id()).entries().max(seen);
    Ok(Taken { migrated, skipped, seen, total, done })
}

fn step(order: OrderKey, progress: MigrationRow) -> Change {
    Box::new(move |store, batch| store.put_migration(batch, &order, progress))
}

/// Closes the page, durably, before anybody hears why.
fn give_up(vault: &Vault, order: OrderKey, closed: MigrationRow) -> Refusal {
    match vault.committer().change_unlogged(step(order, closed)) {
        Ok(()) => Refusal::new(Code::MappingInvalid, "an identifier is not the one behind its record; ask again"),
        Err(_) => Refusal::new(Code::AuditUnavailable, "the vault could not write; try again later"),
    }
}

/// Old pseudonyms and canonical values of one domain and scheme.
type Group<'a> = Vec<(Pseudonym, &'a str)>;
type Groups<'a> = BTreeMap<(DomainScope, Id), Group<'a>>;

/// The identifiers by domain and scheme; `None` where they do not fit the page.
fn group<'a>(slice: &Slice, identifiers: &'a [Option<Identifier>]) -> Result<Option<Groups<'a>>, Refusal> {
    if identifiers.len() != slice.items {
        return Ok(None);
    }
    let mut groups = Groups::new();
    let mut identifiers = identifiers.iter();
    for (chunk, count) in &slice.chunks {
        for record in chunk.records().take(*count) {
            let record = record.map_err(fault(FAILED))?;
            let Some(Some(identifier)) = identifiers.next() else { continue };
            let scheme = Id::parse(&identifier.scheme).filter(|_| identifier.value.0.len() <= MAX_CANONICAL);
            let Some(scheme) = scheme else { return Ok(None) };
            let group = groups.entry((chunk.scope().clone(), scheme)).or_default();
            group.push((record.pseudonym, identifier.value.0.as_str()));
        }
    }
    Ok(Some(groups))
}

/// What a page comes to.
#[derive(Default)]
struct Made {
    mappings: Vec<NewMappings>,
    count: u64,
    /// By recipient (client id): its key, the lines, how many.
    lines: BTreeMap<Id, ([u8; 32], Vec<u8>, u32)>,
}

impl Made {
    /// Derives the pairs of one domain and scheme; whether every old pseudonym is the record's.
    fn derive(
        &mut self,
        vault: &Vault,
        way: &Way,
        scope: &DomainScope,
        scheme: &Id,
        group: &Group<'_>,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let batch = CanonicalBatch::of(group.iter().map(|(_, value)| *value));
        let utis = batch.utis(vault, scheme);

        let key = way.from.key.as_ref().ok_or("an epoch lost its key").map_err(fault(FAILED))?;
        let mut prfs = Vec::with_capacity(utis.len());
        key.domain(way.from.row.epoch, scope).prfs(&utis, &mut prfs);
        let form = way.from.terms.text_form;
        if prfs.iter().zip(group).any(|(prf, (old, _))| prf.to_pseudonym().fixed_for(form) != *old) {
            return Ok(false);
        }
        let domain = OpenDomain { epoch: way.to.clone(), scope: scope.clone() };
        let derivation = BatchDerivation { vault, state: &way.state, scheme, batch: &batch, utis: &utis, now };
        let new = derivation
            .in_domain(&domain, &mut self.mappings)
            .map_err(|refusal| Refusal::new(refusal.code(), "the new pseudonyms could not be derived"))?;

        let (old_text, new_text) = (writer(&way.state, &way.from), writer(&way.state, &way.to));
        let mut text = Vec::with_capacity(group.len() * 84);
        for ((old, _), new) in group.iter().zip(&new) {
            old_text.write(old, &mut text);
            text.push(b',');
            new_text.write(new, &mut text);
            text.push(b'\n');
        }
        for (client, key) in pairs::recipients(vault.register(), &way.state.sector.name, scope)? {
            let (_, lines, count) = self.lines.entry(client).or_insert((key, vec![], 0));
            lines.extend_from_slice(&text);
            *count += group.len() as u32;
        }
        self.count += group.len() as u64;
        Ok(true)
    }

    /// Seals the lines to each recipient; what the commit writes.
    fn pairs(&mut self, way: &Way, order: &OrderKey, page: u32, progress: &MigrationRow) -> Result<Change, Refusal> {
        let mut rows = vec![];
        for (client, (key, lines, pairs)) in std::mem::take(&mut self.lines) {
            let head = PairsHead {
                sector: way.state.sector.uuid,
                order: order.id,
                from: progress.from,
                to: progress.to,
                page,
                pairs,
            };
            let sealed = seal(head, &key, &lines).map_err(fault(FAILED))?;
            rows.push((client, PairsRow { order: order.clone(), page, sealed }));
        }
        Ok(Box::new(move |store, batch| {
            rows.iter().for_each(|(client, row)| store.put_pairs(batch, client.as_str(), row));
        }))
    }
}
