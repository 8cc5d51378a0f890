//! The sector's side of a migration: the pairs that wait for a sector system, fetched page by page and taken away when it says
//! that it has them.
//!
//! Pairs are sealed to every sector system that may fetch them: of the sector, allowed to `migrate`, and, where the sector
//! separates them, of the controller and with the purpose. So nobody learns of another's pseudonyms. What lies in the store
//! is sealed; the vault cannot read it again.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::SectorPermit;
use crate::audit::{Entry, Event};
use crate::code::Code;
use crate::commit::{Job, Logged, Pending};
use crate::keys::DomainScope;
use crate::order::Refusal;
use crate::register::{Id, Operation, Register};
use crate::reidentify::internal;
use crate::seal::pairs::PairsHead;
use crate::store::PairsRow;
use crate::vault::Vault;

/// Most pages in one answer: some ten megabytes.
const MOST_PAGES: usize = 8;

/// The sector systems to which pairs of a domain are sealed, each with its key.
///
/// # Errors
/// [`Code::NoMigrationKey`] when there is none.
pub(super) fn recipients(
    register: &Register,
    sector: &str,
    scope: &DomainScope,
) -> Result<Vec<(Id, [u8; 32])>, Refusal> {
    let may = |separated: &str, own: &[Id]| separated.is_empty() || own.iter().any(|own| own.as_str() == separated);
    let clients = register.clients.values().filter(|client| {
        client.operations.contains(&Operation::Migrate)
            && client.sectors.iter().any(|own| own == sector)
            && may(&scope.controller, std::slice::from_ref(&client.organisation))
            && may(&scope.purpose, &client.purposes)
    });
    let found: Vec<_> = clients.filter_map(|client| Some((client.id.clone(), client.migration_key?))).collect();
    if found.is_empty() {
        let named =
            |what: &str, value: &str| if value.is_empty() { String::new() } else { format!(", {what} {value}") };
        let why = format!(
            "the register has no client with `migrate` and a `migration-key` for sector {sector}{}{}",
            named("controller", &scope.controller),
            named("purpose", &scope.purpose)
        );
        return Err(Refusal::new(Code::NoMigrationKey, why));
    }
    Ok(found)
}

/// A migration whose pairs wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The order's id.
    pub order: String,
    /// The epoch of the old pseudonyms.
    pub from: u32,
    /// The epoch of the new ones.
    pub to: u32,
    /// How many pages wait.
    pub pages: u64,
    /// How many pairs are in them.
    pub pairs: u64,
}

/// The migrations whose pairs wait for a sector system in one sector.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Migrations {
    /// Sector name.
    pub sector: String,
    /// By the order's id.
    pub migrations: Vec<Waiting>,
}

/// Pages of pairs, sealed.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedPages {
    /// The order's id.
    pub order: String,
    /// In the order of their numbers.
    pub pages: Vec<SealedPage>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// One page of pairs, sealed to the sector system's `migration-key`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedPage {
    /// Its number, from 1.
    pub page: u32,
    /// How many pairs.
    pub pairs: u32,
    /// The pairs, sealed, base64url.
    pub sealed: String,
}

/// Says that a sector system has pairs, up to a page.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The last page that it has.
    pub page: u32,
}

/// What was taken away.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    /// How many pages.
    pub pages: u64,
    /// How many pairs were in them.
    pub pairs: u64,
}

/// The sealed pairs of this client, one order's from a page on or all, that are of the permit's sector.
fn rows(
    vault: &Vault,
    permit: &SectorPermit,
    from: Option<(Uuid, u32)>,
    most: usize,
) -> Result<Vec<(PairsHead, PairsRow)>, Refusal> {
    let rows = vault.store().pairs(permit.client.id.as_str(), from, most).map_err(internal)?;
    let headed = rows.into_iter().map(|row| Ok((PairsHead::read(&row.sealed).map_err(internal)?, row)));
    let headed: Vec<_> = headed.collect::<Result<_, Refusal>>()?;
    Ok(headed.into_iter().filter(|(head, _)| head.sector == permit.sector.sector.uuid).collect())
}

/// The migrations whose pairs wait.
///
/// # Errors
/// [`Code::Internal`].
pub fn list(vault: &Vault, permit: &SectorPermit) -> Result<Migrations, Refusal> {
    let mut migrations: Vec<Waiting> = vec![];
    for (head, row) in rows(vault, permit, None, usize::MAX)? {
        let order = row.order.to_string();
        if migrations.last().is_none_or(|last| last.order != order) {
            migrations.push(Waiting { order, from: head.from, to: head.to, pages: 0, pairs: 0 });
        }
        if let Some(last) = migrations.last_mut() {
            last.pages += 1;
            last.pairs += u64::from(head.pairs);
        }
    }
    Ok(Migrations { sector: permit.sector.sector.name.clone(), migrations })
}

/// Pages behind `after`, logged before they go out.
///
/// # Errors
/// [`Code::UnknownOrder`] where nothing waits of that order; [`Code::AuditUnavailable`].
pub fn fetch(vault: &Vault, permit: &SectorPermit, order: Uuid, after: u32) -> Result<SealedPages, Refusal> {
    let mut waiting = rows(vault, permit, Some((order, after.saturating_add(1))), MOST_PAGES + 1)?;
    if waiting.is_empty() && rows(vault, permit, Some((order, 0)), 1)?.is_empty() {
        return Err(Refusal::new(Code::UnknownOrder, "no pairs of such an order wait for this client"));
    }
    let more = waiting.len() > MOST_PAGES;
    waiting.truncate(MOST_PAGES);
    note(vault, permit, order, "fetch", &waiting, vec![])?;
    let page = |(head, row): (PairsHead, PairsRow)| SealedPage {
        page: row.page,
        pairs: head.pairs,
        sealed: BASE64URL_NOPAD.encode(&row.sealed),
    };
    Ok(SealedPages { order: order.to_string(), pages: waiting.into_iter().map(page).collect(), more })
}

/// Takes away the pages up to `last`, which the sector system has.
///
/// # Errors
/// [`Code::AuditUnavailable`]. Doing it again takes away nothing and is no error.
pub fn acknowledge(vault: &Vault, permit: &SectorPermit, order: Uuid, last: u32) -> Result<Acknowledged, Refusal> {
    let mut gone = rows(vault, permit, Some((order, 0)), usize::MAX)?;
    gone.retain(|(_, row)| row.page <= last);
    let (client, pages): (_, Vec<u32>) = (permit.client.id.clone(), gone.iter().map(|(_, row)| row.page).collect());
    let count = (pages.len() as u64, gone.iter().map(|(head, _)| u64::from(head.pairs)).sum());
    if !pages.is_empty() {
        let change: crate::commit::Change = Box::new(move |store, batch| {
            pages.iter().for_each(|page| store.delete_pairs(batch, client.as_str(), order, *page));
        });
        note(vault, permit, order, "acknowledge", &gone, vec![change])?;
    }
    Ok(Acknowledged { pages: count.0, pairs: count.1 })
}

fn note(
    vault: &Vault,
    permit: &SectorPermit,
    order: Uuid,
    action: &'static str,
    rows: &[(PairsHead, PairsRow)],
    changes: Vec<crate::commit::Change>,
) -> Result<(), Refusal> {
    let event = Event::MigrationPairs {
        client: permit.client.id.clone(),
        sector: permit.sector.sector.name.clone(),
        order: order.to_string(),
        action,
        pages: rows.len() as u64,
        pairs: rows.iter().map(|(head, _)| u64::from(head.pairs)).sum(),
    };
    let log = Logged::Entry(Entry::new(vault.now(), event), vec![]);
    let unavailable = |code| Refusal::new(code, "the audit log takes no entry, so nothing is done");
    let job = Job { mappings: vec![], changes, count: None, log };
    vault.committer().submit(job).and_then(Pending::wait).map(|_| ()).map_err(unavailable)
}
