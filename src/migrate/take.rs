//! The vault's second step: takes the identifiers back, derives the new pseudonyms, stores the new
//! mappings and the pairs for the sector.
//!
//! The vault does not believe the node: it derives the old pseudonym of each identifier again, and
//! ends the page at the first one that is not the record's. So nobody plants another person behind
//! a new pseudonym, and a thief with the node's certificate tries one guess for each request that
//! an officer signs.

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
use crate::utis::{UtiContext, UtiKind};
use crate::vault::Vault;

/// Takes the identifiers of a page that was handed out.
///
/// # Errors
/// A [`Refusal`] of the page. [`Code::MappingInvalid`] if an identifier is not the one behind its
/// record: the node must then ask for the page again.
pub fn take(
    vault: &Vault,
    permit: &NodePermit,
    opened: &OpenedPage,
) -> Result<MigrationProgress, Refusal> {
    check_register(vault, &opened.register)?;
    check_room(vault)?;
    let _place = enter(vault.orders(), &permit.authority.id, Duration::ZERO)?;
    let _orders = Book::from(vault).lock_orders();
    let book = Book::from(vault);
    check_clock(&book, vault.committer().clock_mark())?;
    let page = AwaitedPage::of(&book, &permit.authority.id, opened)?;
    let pair = EpochPair::open(vault, &page.sector, page.epochs())?;
    let (until, items) = (page.open.until, page.open.items as usize);
    let slice = pair.read(vault, page.progress.next, Some(until), items)?;
    let conversion = PageConversion {
        vault,
        pair: &pair,
        authority: &permit.authority.id,
        now: book.now(),
    };
    let made = PagePairs::derive(&conversion, &slice, &opened.identifiers)?;
    let Some(made) = made else {
        return Err(close(vault, page));
    };
    let (migrated, skipped) = (made.count, slice.items as u64 - made.count);
    let progress = page.progress_after(&slice, migrated, skipped);
    let event = AuditEvent::Migrate {
        authority: permit.authority.id.clone(),
        order: opened.order.to_string(),
        request: opened.request.to_string(),
        sector: page.sector,
        from: progress.from,
        to: progress.to,
        page: opened.page,
        migrated,
        skipped,
    };
    let changes = vec![
        seal_pairs(made.lines, &pair, &page.order, opened.page)?,
        put_progress(page.order, progress),
    ];
    let job = Job {
        mappings: made.mappings,
        ..Job::entry(book.now(), event, vec![], changes)
    };
    vault
        .committer()
        .submit(job)
        .and_then(Pending::wait)
        .map_err(|code| {
            Refusal::new(code, "the new mappings could not be stored; ask again").come_back_in(1)
        })?;
    vault
        .counts()
        .migrated
        .fetch_add(migrated, std::sync::atomic::Ordering::Relaxed);
    report(vault, &pair, &progress, migrated, skipped)
}

/// A page that was handed out under an order that still stands, and not taken yet.
struct AwaitedPage {
    order: OrderKey,
    sector: String,
    progress: MigrationRow,
    open: OpenPage,
}

impl AwaitedPage {
    /// The page for which a node sends identifiers.
    ///
    /// # Errors
    /// [`Code::UnknownOrder`], [`Code::OrderRevoked`], [`Code::OrderSuspended`],
    /// [`Code::OrderExpired`]; [`Code::RequestInvalid`] if the vault awaits another page, or none.
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
        // An act may have come since the page was handed out.
        book.check_stands(authority, opened.order)?;
        if book.now() >= life.not_after {
            return Err(Refusal::new(
                Code::OrderExpired,
                "the order ended while it was being executed",
            ));
        }
        let is_awaited =
            |open: &OpenPage| open.request == opened.request && progress.page == opened.page;
        let other_page = || {
            Refusal::new(
                Code::RequestInvalid,
                "the vault waits for no such page; ask for it again",
            )
        };
        let open = progress.open.filter(is_awaited).ok_or_else(other_page)?;
        let sector = life.sectors.first().ok_or_else(unknown)?.clone();
        Ok(Self {
            order,
            sector,
            progress,
            open,
        })
    }

    fn epochs(&self) -> Continuity {
        Continuity {
            from: self.progress.from,
            to: self.progress.to,
        }
    }

    /// The progress once this page is taken. If the order allows no more than a part of the last
    /// chunk, the next page begins with that chunk again.
    fn progress_after(&self, slice: &EpochSlice, migrated: u64, skipped: u64) -> MigrationRow {
        MigrationRow {
            open: None,
            next: self.open.until - u32::from(slice.is_cut),
            migrated: self.progress.migrated + migrated,
            skipped: self.progress.skipped + skipped,
            ..self.progress
        }
    }

    /// The progress with this page closed: what it counted stays, and only a new request opens it
    /// again.
    fn closed(&self) -> MigrationRow {
        MigrationRow {
            open: Some(OpenPage {
                request: Uuid::nil(),
                ..self.open
            }),
            ..self.progress
        }
    }
}

/// How far the migration has come.
fn report(
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

fn put_progress(order: OrderKey, progress: MigrationRow) -> Change {
    Box::new(move |store, batch| store.put_migration(batch, &order, progress))
}

/// Closes a page durably; the refusal goes out only after that.
fn close(vault: &Vault, page: AwaitedPage) -> Refusal {
    let change = put_progress(page.order.clone(), page.closed());
    match vault.committer().change_unlogged(change) {
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

/// Groups the identifiers by domain and scheme; `None` if they do not fit the page.
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

/// The new mappings of a page, and the pairs of old and new pseudonyms for the sector.
#[derive(Default)]
struct PagePairs {
    mappings: Vec<NewMappings>,
    count: u64,
    lines: PairLines,
}

/// By recipient (client id): its key, the lines, how many.
type PairLines = BTreeMap<Id, ([u8; 32], Vec<u8>, u32)>;

/// What the pairs of a page are derived with.
struct PageConversion<'a> {
    vault: &'a Vault,
    pair: &'a EpochPair,
    /// Whose order it is.
    authority: &'a Id,
    now: Timestamp,
}

impl PagePairs {
    /// Derives the pairs of a page; `None` if an identifier is not the one behind its record.
    fn derive(
        conversion: &PageConversion<'_>,
        slice: &EpochSlice,
        identifiers: &[Option<MigratedIdentifier>],
    ) -> Result<Option<Self>, Refusal> {
        let Some(groups) = group(slice, identifiers)? else {
            return Ok(None);
        };
        let mut made = Self::default();
        for ((scope, scheme), group) in &groups {
            if !made.add(conversion, scope, scheme, group)? {
                return Ok(None);
            }
        }
        Ok(Some(made))
    }

    /// Derives the pairs of one domain and scheme. Returns false if an old pseudonym is not the
    /// record's.
    fn add(
        &mut self,
        conversion: &PageConversion<'_>,
        scope: &DomainScope,
        scheme: &Id,
        group: &IdentifierGroup<'_>,
    ) -> Result<bool, Refusal> {
        let PageConversion {
            vault, pair, now, ..
        } = *conversion;
        let batch = CanonicalBatch::of(group.iter().map(|(_, value)| *value));
        let context = UtiContext {
            kind: UtiKind::Migrate,
            sector: pair.state.sector.uuid,
            by: conversion.authority,
        };
        let utis = batch.utis(vault, context, scheme).wait()?;

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
}

/// Seals the lines to each recipient: what the commit writes.
fn seal_pairs(
    lines: PairLines,
    pair: &EpochPair,
    order: &OrderKey,
    page: u32,
) -> Result<Change, Refusal> {
    let mut rows = vec![];
    for (client, (key, lines, pairs)) in lines {
        let head = PairsHead {
            sector: pair.state.sector.uuid,
            order: order.id,
            from: pair.from.row.epoch,
            to: pair.to.row.epoch,
            page,
            pairs,
        };
        let sealed = seal(head, &key, &lines).map_err(fault(FAILED))?;
        let row = PairsRow {
            order: order.clone(),
            page,
            sealed,
        };
        rows.push((client, row));
    }
    Ok(Box::new(move |store, batch| {
        for (client, row) in &rows {
            store.put_pairs(batch, client.as_str(), row);
        }
    }))
}
