//! The vault's second step: identifiers back, new pseudonyms, new mappings, pairs for the sector.
//!
//! The node is not believed: from each identifier the vault derives the old pseudonym again, and
//! one that is not the record's ends the page. So nobody plants another person behind a new
//! pseudonym, and who has a stolen certificate of the node tries one guess a request that an
//! officer must sign.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    EpochPair, EpochSlice, MigratedIdentifier, MigrationProgress, OpenedPage, check_room, pairs,
};
use crate::access::NodePermit;
use crate::audit::AuditEvent;
use crate::code::Code;
use crate::commit::{Change, Job, NewMappings, Pending};
use crate::execution::{FAILED, check_clock, check_register, enter};
use crate::identifier::MAX_CANONICAL;
use crate::keys::DomainScope;
use crate::order::Continuity;
use crate::order::book::Book;
use crate::pseudonym::Pseudonym;
use crate::refusal::{Refusal, fault};
use crate::register::Id;
use crate::seal::pairs::{PairsHead, seal};
use crate::store::{MigrationRow, OpenPage, OrderKey, PairsRow};
use crate::tokenize::{BatchDerivation, CanonicalBatch, OpenDomain, writer};
use crate::vault::Vault;

/// Takes the identifiers of a page that was handed out.
///
/// # Errors
/// A [`Refusal`] of the whole. [`Code::MappingInvalid`] where an identifier is not the one behind
/// its record: the page must then be asked for again.
pub fn take(
    vault: &Vault,
    permit: &NodePermit,
    opened: &OpenedPage,
) -> Result<MigrationProgress, Refusal> {
    check_register(vault.register(), &opened.register)?;
    check_room(vault)?;
    let _place = enter(vault.orders(), &permit.authority.id, Duration::ZERO)?;
    let _orders = Book::from(vault).lock_orders();
    let book = Book::from(vault);
    check_clock(&book, vault.committer().clock_mark())?;
    let AwaitedPage {
        order,
        sector,
        mut progress,
        open,
    } = AwaitedPage::of(&book, &permit.authority.id, opened)?;
    let pair = EpochPair::open(
        vault,
        &sector,
        Continuity {
            from: progress.from,
            to: progress.to,
        },
    )?;
    let slice = pair.read(vault, progress.next, Some(open.until), open.items as usize)?;

    // A page that keeps what it counted, and that only a new request opens again.
    let closed = MigrationRow {
        open: Some(OpenPage {
            request: Uuid::nil(),
            ..open
        }),
        ..progress
    };
    let Some(groups) = group(&slice, &opened.identifiers)? else {
        return Err(give_up(vault, order, closed));
    };
    let mut made = PagePairs::default();
    for ((scope, scheme), group) in &groups {
        if !made.derive(vault, &pair, scope, scheme, group, book.now())? {
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
    let event = AuditEvent::Migrate {
        authority: permit.authority.id.clone(),
        order: opened.order.to_string(),
        request: opened.request.to_string(),
        sector,
        from: progress.from,
        to: progress.to,
        page: opened.page,
        migrated,
        skipped,
    };
    let changes = vec![
        made.pairs(&pair, &order, opened.page, &progress)?,
        step(order, progress),
    ];
    let unavailable = |code| {
        Refusal::new(code, "the new mappings could not be stored; ask again").come_back_in(1)
    };
    let job = Job {
        mappings: made.mappings,
        ..Job::entry(book.now(), event, vec![], changes)
    };
    vault
        .committer()
        .submit(job)
        .and_then(Pending::wait)
        .map_err(unavailable)?;
    vault
        .migrated
        .fetch_add(migrated, std::sync::atomic::Ordering::Relaxed);
    told(vault, &pair, &progress, migrated, skipped)
}

/// A page that was handed out under an order that still stands, and whose identifiers have not come
/// yet.
struct AwaitedPage {
    order: OrderKey,
    sector: String,
    progress: MigrationRow,
    open: OpenPage,
}

impl AwaitedPage {
    /// The page that a node brings identifiers for.
    ///
    /// # Errors
    /// [`Code::UnknownOrder`], [`Code::OrderRevoked`], [`Code::OrderSuspended`],
    /// [`Code::OrderExpired`]; [`Code::RequestInvalid`] when another page is awaited, or none.
    fn of(book: &Book<'_>, authority: &Id, opened: &OpenedPage) -> Result<Self, Refusal> {
        let unknown = || {
            Refusal::new(
                Code::UnknownOrder,
                "no migration is under way under such an order of this authority",
            )
        };
        let order = OrderKey::new(authority.as_str(), opened.order);
        let life = book.life(&order)?.ok_or_else(unknown)?;
        let progress = book
            .store()
            .migration(&order)
            .map_err(fault(FAILED))?
            .ok_or_else(unknown)?;
        // What came since the page was handed out counts.
        book.stands(authority, opened.order)?;
        if book.now() >= life.not_after {
            return Err(Refusal::new(
                Code::OrderExpired,
                "the order ended while it was being executed",
            ));
        }
        let awaited =
            |open: &OpenPage| open.request == opened.request && progress.page == opened.page;
        let foreign = || {
            Refusal::new(
                Code::RequestInvalid,
                "the vault waits for no such page; ask for it again",
            )
        };
        let open = progress.open.filter(awaited).ok_or_else(foreign)?;
        let sector = life.sectors.first().ok_or_else(unknown)?.clone();
        Ok(Self {
            order,
            sector,
            progress,
            open,
        })
    }
}

/// How far it has come.
fn told(
    vault: &Vault,
    pair: &EpochPair,
    progress: &MigrationRow,
    migrated: u64,
    skipped: u64,
) -> Result<MigrationProgress, Refusal> {
    let done = pair.read(vault, progress.next, None, 1)?.items == 0;
    let seen = progress.migrated + progress.skipped;
    let total = vault.index().partition(pair.id()).entries().max(seen);
    Ok(MigrationProgress {
        migrated,
        skipped,
        seen,
        total,
        done,
    })
}

fn step(order: OrderKey, progress: MigrationRow) -> Change {
    Box::new(move |store, batch| store.put_migration(batch, &order, progress))
}

/// Closes the page durably; the refusal goes out only after that.
fn give_up(vault: &Vault, order: OrderKey, closed: MigrationRow) -> Refusal {
    match vault.committer().change_unlogged(step(order, closed)) {
        Ok(()) => Refusal::new(
            Code::MappingInvalid,
            "an identifier is not the one behind its record; ask again",
        ),
        Err(_) => Refusal::new(
            Code::AuditUnavailable,
            "the vault could not write; try again later",
        ),
    }
}

/// Old pseudonyms and canonical values of one domain and scheme.
type IdentifierGroup<'a> = Vec<(Pseudonym, &'a str)>;
type IdentifierGroups<'a> = BTreeMap<(DomainScope, Id), IdentifierGroup<'a>>;

/// The identifiers by domain and scheme; `None` where they do not fit the page.
fn group<'a>(
    slice: &EpochSlice,
    identifiers: &'a [Option<MigratedIdentifier>],
) -> Result<Option<IdentifierGroups<'a>>, Refusal> {
    if identifiers.len() != slice.items {
        return Ok(None);
    }
    let mut groups = IdentifierGroups::new();
    let mut identifiers = identifiers.iter();
    for (chunk, count) in &slice.chunks {
        for record in chunk.records().take(*count) {
            let record = record.map_err(fault(FAILED))?;
            let Some(Some(identifier)) = identifiers.next() else {
                continue;
            };
            let scheme =
                Id::parse(&identifier.scheme).filter(|_| identifier.value.0.len() <= MAX_CANONICAL);
            let Some(scheme) = scheme else {
                return Ok(None);
            };
            let group = groups.entry((chunk.scope().clone(), scheme)).or_default();
            group.push((record.pseudonym, identifier.value.0.as_str()));
        }
    }
    Ok(Some(groups))
}

/// What a page comes to.
#[derive(Default)]
struct PagePairs {
    mappings: Vec<NewMappings>,
    count: u64,
    /// By recipient (client id): its key, the lines, how many.
    lines: BTreeMap<Id, ([u8; 32], Vec<u8>, u32)>,
}

impl PagePairs {
    /// Derives the pairs of one domain and scheme; whether every old pseudonym is the record's.
    fn derive(
        &mut self,
        vault: &Vault,
        pair: &EpochPair,
        scope: &DomainScope,
        scheme: &Id,
        group: &IdentifierGroup<'_>,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let batch = CanonicalBatch::of(group.iter().map(|(_, value)| *value));
        let utis = batch.utis(vault, scheme);

        let key = pair
            .from
            .key
            .as_ref()
            .ok_or("an epoch lost its key")
            .map_err(fault(FAILED))?;
        let mut prfs = Vec::with_capacity(utis.len());
        key.domain(pair.from.row.epoch, scope)
            .prfs(&utis, &mut prfs);
        let form = pair.from.terms.text_form;
        if prfs
            .iter()
            .zip(group)
            .any(|(prf, (old, _))| prf.to_pseudonym().fixed_for(form) != *old)
        {
            return Ok(false);
        }
        let domain = OpenDomain {
            epoch: pair.to.clone(),
            scope: scope.clone(),
        };
        let derivation = BatchDerivation {
            vault,
            state: &pair.state,
            scheme,
            batch: &batch,
            utis: &utis,
            now,
        };
        let new = derivation
            .in_domain(&domain, &mut self.mappings)
            .map_err(|refusal| {
                Refusal::new(refusal.code(), "the new pseudonyms could not be derived")
            })?;

        let (old_text, new_text) = (
            writer(&pair.state, &pair.from),
            writer(&pair.state, &pair.to),
        );
        let mut text = Vec::with_capacity(group.len() * 84);
        for ((old, _), new) in group.iter().zip(&new) {
            old_text.write(old, &mut text);
            text.push(b',');
            new_text.write(new, &mut text);
            text.push(b'\n');
        }
        for (client, key) in pairs::recipients(vault.register(), &pair.state.sector.name, scope)? {
            let (_, lines, count) = self.lines.entry(client).or_insert((key, vec![], 0));
            lines.extend_from_slice(&text);
            *count += group.len() as u32;
        }
        self.count += group.len() as u64;
        Ok(true)
    }

    /// Seals the lines to each recipient; what the commit writes.
    fn pairs(
        &mut self,
        pair: &EpochPair,
        order: &OrderKey,
        page: u32,
        progress: &MigrationRow,
    ) -> Result<Change, Refusal> {
        let mut rows = vec![];
        for (client, (key, lines, pairs)) in std::mem::take(&mut self.lines) {
            let head = PairsHead {
                sector: pair.state.sector.uuid,
                order: order.id,
                from: progress.from,
                to: progress.to,
                page,
                pairs,
            };
            let sealed = seal(head, &key, &lines).map_err(fault(FAILED))?;
            rows.push((
                client,
                PairsRow {
                    order: order.clone(),
                    page,
                    sealed,
                },
            ));
        }
        Ok(Box::new(move |store, batch| {
            rows.iter()
                .for_each(|(client, row)| store.put_pairs(batch, client.as_str(), row));
        }))
    }
}
