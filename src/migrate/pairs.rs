//! The sector's side of a migration: a sector system fetches its pairs page by page, and the vault
//! deletes them when the system says that it has them.
//!
//! Pairs are sealed to every sector system that may fetch them: of the sector, allowed to
//! `migrate`, and, where the sector separates them, of the controller and with the purpose. So no
//! system learns another's pseudonyms. The store keeps the pairs sealed; the vault cannot read them
//! again.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::SectorPermit;
use crate::audit::AuditEvent;
use crate::code::Code;
use crate::execution::FAILED;
use crate::keys::DomainScope;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Id, Operation, Register};
use crate::seal::pairs::PairsHead;
use crate::store::OrderKey;
use crate::vault::Vault;

/// Most pages in one answer: some ten megabytes.
const MOST_PAGES: usize = 8;

/// The sector systems to which a domain's pairs are sealed, each with its key.
///
/// # Errors
/// [`Code::NoMigrationKey`] when there is none.
pub(super) fn recipients(
    register: &Register,
    sector: &str,
    scope: &DomainScope,
) -> Result<Vec<(Id, [u8; 32])>, Refusal> {
    let may = |separated: &str, own: &[Id]| {
        separated.is_empty() || own.iter().any(|own| own.as_str() == separated)
    };
    let clients = register.clients.values().filter(|client| {
        client.operations.contains(&Operation::Migrate)
            && client.sectors.iter().any(|own| own == sector)
            && may(
                &scope.controller,
                std::slice::from_ref(&client.organisation),
            )
            && may(&scope.purpose, &client.purposes)
    });
    let found: Vec<_> = clients
        .filter_map(|client| Some((client.id.clone(), client.migration_key?)))
        .collect();
    if found.is_empty() {
        let named = |what: &str, value: &str| {
            if value.is_empty() {
                String::new()
            } else {
                format!(", {what} {value}")
            }
        };
        let why = format!(
            "the register has no client with `migrate` and a `migration-key` for sector {sector}{}{}",
            named("controller", &scope.controller),
            named("purpose", &scope.purpose)
        );
        return Err(Refusal::new(Code::NoMigrationKey, why));
    }
    Ok(found)
}

/// A migration with pairs to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitingMigration {
    /// The order's authority.
    pub authority: String,
    /// The order's id.
    pub order: String,
    /// The epoch of the old pseudonyms.
    pub from: u32,
    /// The epoch of the new pseudonyms.
    pub to: u32,
    /// How many pages wait.
    pub pages: u64,
    /// How many pairs are in them.
    pub pairs: u64,
}

/// The migrations with pairs for a sector system to fetch, in one sector.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitingMigrations {
    /// Sector name.
    pub sector: String,
    /// By authority and order.
    pub migrations: Vec<WaitingMigration>,
}

/// Pages of pairs, sealed.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedPages {
    /// The order's id.
    pub order: String,
    /// In the order of their numbers.
    pub pages: Vec<SealedPage>,
    /// Whether more pages follow.
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
pub struct PairsAcknowledgement {
    /// The last page that it has.
    pub page: u32,
}

/// What was deleted.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PairsRemoved {
    /// How many pages.
    pub pages: u64,
    /// How many pairs were in them.
    pub pairs: u64,
}

/// Visits this client's pages in the permit's sector, either of all orders or of one order from a
/// page on, as long as `each` returns true.
fn each(
    vault: &Vault,
    permit: &SectorPermit,
    from: Option<(&OrderKey, u32)>,
    mut each: impl FnMut(PairsHead, OrderKey, &[u8]) -> bool,
) -> Result<(), Refusal> {
    let (sector, mut damaged) = (permit.sector.sector.uuid, None);
    let gone = vault
        .store()
        .each_pairs(
            permit.client.id.as_str(),
            from,
            |order, _, sealed| match PairsHead::read(sealed) {
                Ok(head) if head.sector == sector => each(head, order, sealed),
                Ok(_) => true,
                Err(error) => {
                    damaged = Some(error);
                    false
                }
            },
        );
    gone.map_err(fault(FAILED))?;
    damaged.map_or(Ok(()), |error| Err(fault(FAILED)(error)))
}

/// The migrations with pairs to fetch.
///
/// # Errors
/// [`Code::Internal`].
pub fn list(vault: &Vault, permit: &SectorPermit) -> Result<WaitingMigrations, Refusal> {
    let mut migrations: Vec<WaitingMigration> = vec![];
    each(vault, permit, None, |head, key, _| {
        let OrderKey { authority, id } = key;
        let order = id.to_string();
        if migrations
            .last()
            .is_none_or(|last| (&last.authority, &last.order) != (&authority, &order))
        {
            migrations.push(WaitingMigration {
                authority,
                order,
                from: head.from,
                to: head.to,
                pages: 0,
                pairs: 0,
            });
        }
        if let Some(last) = migrations.last_mut() {
            last.pages += 1;
            last.pairs += u64::from(head.pairs);
        }
        true
    })?;
    Ok(WaitingMigrations {
        sector: permit.sector.sector.name.clone(),
        migrations,
    })
}

/// An order as a sector system names it.
#[derive(Debug, Clone)]
pub struct NamedOrder {
    /// Its id.
    pub id: Uuid,
    /// Its authority; needed only if pairs of two authorities' orders wait under one id.
    pub authority: Option<Id>,
}

/// The named order, if pairs of it wait for this client.
///
/// # Errors
/// [`Code::UnknownOrder`] if the id alone names orders of two authorities.
fn find(
    vault: &Vault,
    permit: &SectorPermit,
    named: &NamedOrder,
) -> Result<Option<OrderKey>, Refusal> {
    let mut orders = vault
        .store()
        .pairs_orders(permit.client.id.as_str())
        .map_err(fault(FAILED))?;
    let is_authority = |key: &OrderKey| {
        named
            .authority
            .as_ref()
            .is_none_or(|id| id.as_str() == key.authority)
    };
    orders.retain(|key| key.id == named.id && is_authority(key));
    let order = orders.pop();
    if !orders.is_empty() {
        let why =
            "pairs of two authorities' orders of this id wait: name the `authority` in the query";
        return Err(Refusal::new(Code::UnknownOrder, why));
    }
    Ok(order)
}

/// Fetches the pages after `after`, logged before they go out.
///
/// # Errors
/// [`Code::UnknownOrder`] if no pairs of that order wait; [`Code::AuditUnavailable`].
pub fn fetch(
    vault: &Vault,
    permit: &SectorPermit,
    order: &NamedOrder,
    after: u32,
) -> Result<SealedPages, Refusal> {
    let unknown = || {
        Refusal::new(
            Code::UnknownOrder,
            "no pairs of such an order wait for this client",
        )
    };
    let order = find(vault, permit, order)?.ok_or_else(unknown)?;
    let (mut pages, mut heads, mut more, mut any) = (vec![], vec![], false, false);
    each(
        vault,
        permit,
        Some((&order, after.saturating_add(1))),
        |head, _, sealed| {
            more = pages.len() == MOST_PAGES;
            if !more {
                pages.push(SealedPage {
                    page: head.page,
                    pairs: head.pairs,
                    sealed: BASE64URL_NOPAD.encode(sealed),
                });
                heads.push(head);
            }
            !more
        },
    )?;
    if pages.is_empty() {
        each(vault, permit, Some((&order, 0)), |_, _, _| {
            any = true;
            false
        })?;
        if !any {
            return Err(unknown());
        }
    }
    note(vault, permit, &order, "fetch", &heads, vec![])?;
    Ok(SealedPages {
        order: order.id.to_string(),
        pages,
        more,
    })
}

/// Deletes the pages up to `last`, which the sector system has. Repeating the call deletes nothing
/// and is no error.
///
/// # Errors
/// [`Code::AuditUnavailable`].
pub fn acknowledge(
    vault: &Vault,
    permit: &SectorPermit,
    order: &NamedOrder,
    last: u32,
) -> Result<PairsRemoved, Refusal> {
    let Some(order) = find(vault, permit, order)? else {
        return Ok(PairsRemoved { pages: 0, pairs: 0 });
    };
    let mut gone = vec![];
    each(vault, permit, Some((&order, 0)), |head, _, _| {
        let has = head.page <= last;
        if has {
            gone.push(head);
        }
        has
    })?;
    let (client, pages): (_, Vec<u32>) = (
        permit.client.id.clone(),
        gone.iter().map(|head| head.page).collect(),
    );
    let count = (
        pages.len() as u64,
        gone.iter().map(|head| u64::from(head.pairs)).sum(),
    );
    if !pages.is_empty() {
        let key = order.clone();
        let change: crate::commit::Change = Box::new(move |store, batch| {
            pages
                .iter()
                .for_each(|page| store.delete_pairs(batch, client.as_str(), &key, *page));
        });
        note(vault, permit, &order, "acknowledge", &gone, vec![change])?;
    }
    Ok(PairsRemoved {
        pages: count.0,
        pairs: count.1,
    })
}

fn note(
    vault: &Vault,
    permit: &SectorPermit,
    order: &OrderKey,
    action: &'static str,
    pages: &[PairsHead],
    changes: Vec<crate::commit::Change>,
) -> Result<(), Refusal> {
    let event = AuditEvent::MigrationPairs {
        client: permit.client.id.clone(),
        sector: permit.sector.sector.name.clone(),
        order: order.id.to_string(),
        action,
        pages: pages.len() as u64,
        pairs: pages.iter().map(|head| u64::from(head.pairs)).sum(),
    };
    vault
        .committer()
        .record(vault.now(), event, vec![], changes)
        .map(drop)
        .map_err(not_logged("nothing is done"))
}
