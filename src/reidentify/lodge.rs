//! Lodging an order: the vault sees it before its first use and copies the mappings of the
//! pseudonyms that it lists ([`super::copies`]). The answer says that the order is valid, and
//! nothing about the store.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::copies::Copies;
use crate::access::BearerPermit;
use crate::audit::{AuditEvent, OrderLodgeDetails};
use crate::code::Code;
use crate::commit::{Change, Committer};
use crate::execution::{FAILED, check_clock, enter};
use crate::id::hex;
use crate::link::{VaultLink, VaultQuestion};
use crate::node::Node;
use crate::order::book::Book;
use crate::order::life::stopped;
use crate::order::{LodgeableOrder, check_ahead};
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::Id;
use crate::vault::Vault;

/// An order that is lodged.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderText {
    /// The order: JWS General JSON, as text.
    pub order: String,
}

impl VaultQuestion for OrderText {
    type Answer = LodgedOrder;
    const PATH: &'static str = "/v1/orders";
}

/// Confirms that an order was lodged. The answer does not depend on which mappings the vault has.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LodgedOrder {
    /// The order's id.
    #[schema(value_type = String)]
    pub order: Uuid,
}

/// Takes an order at the vault and copies the mappings that it lists, durably and logged. Repeating
/// it does nothing.
///
/// # Errors
/// Those of [`check_ahead`]; [`Code::OrderAuthority`], [`Code::OrderConflict`],
/// [`Code::OrderRevoked`], [`Code::ClockBehind`]; [`Code::Overloaded`], [`Code::AuditUnavailable`].
pub fn at_vault(vault: &Vault, permit: &BearerPermit, text: &str) -> Result<LodgedOrder, Refusal> {
    let committer = vault.committer();
    committer.admit().map_err(Refusal::unavailable)?;
    let own = permit.authority.as_ref();
    let _place = own
        .map(|authority| enter(vault.orders(), authority, Duration::ZERO))
        .transpose()?;
    let book = Book::from(vault);
    let order = check_order(&book, permit, text, committer.clock_mark())?;
    // No erasure may come between finding the mappings and the commit of their copies.
    let _orders = book.lock_orders();
    check_stands(&book, &order)?;
    let lodged = LodgedOrder { order: order.id() };
    let mut copies = Copies::of(vault, order.scope())?;
    if copies.are_whole() {
        return Ok(lodged);
    }
    copies.complete()?;
    commit(committer, &book, permit, &order, vec![copies.change()])?;
    Ok(lodged)
}

/// Takes an order at the authority's node and sends it to the vault.
///
/// # Errors
/// As [`at_vault`]; [`Code::PeerUnavailable`].
pub fn at_node(
    node: &Node,
    permit: &BearerPermit,
    text: &str,
    vault: &dyn VaultLink,
) -> Result<LodgedOrder, Refusal> {
    let committer = node.committer();
    committer.admit().map_err(Refusal::unavailable)?;
    let book = Book::from(node);
    let order = check_order(&book, permit, text, committer.clock_mark())?;
    check_stands(&book, &order)?;
    let lodged = vault.ask(&OrderText {
        order: text.to_owned(),
    })?;
    let _orders = book.lock_orders();
    check_stands(&book, &order)?;
    commit(committer, &book, permit, &order, vec![])?;
    Ok(lodged)
}

/// Makes the checks that need text, register and time only.
fn check_order(
    book: &Book<'_>,
    permit: &BearerPermit,
    text: &str,
    clock_mark: i64,
) -> Result<LodgeableOrder, Refusal> {
    check_clock(book, clock_mark)?;
    let order = check_ahead(text, book.register(), book.now())?;
    let is_anothers = |own: &Id| own != order.authority();
    if permit.authority.as_ref().is_some_and(is_anothers) {
        return Err(Refusal::new(
            Code::OrderAuthority,
            "the order is another authority's",
        ));
    }
    Ok(order)
}

/// Makes the checks that depend on earlier uses and acts. A suspended order may be lodged: it needs
/// its copies once the suspension is lifted.
fn check_stands(book: &Book<'_>, order: &LodgeableOrder) -> Result<(), Refusal> {
    let pinned = book
        .store()
        .order_digest(&order.key())
        .map_err(fault(FAILED))?;
    if pinned.is_some_and(|digest| digest != *order.digest()) {
        return Err(Refusal::new(
            Code::OrderConflict,
            "another payload was seen under this id of the authority's",
        ));
    }
    book.check_issued(order.issued())?;
    match stopped(&book.acts(order.authority(), order.id())?) {
        Some(Code::OrderRevoked) => Err(Refusal::new(
            Code::OrderRevoked,
            "its authority has revoked the order",
        )),
        _ => Ok(()),
    }
}

fn commit(
    committer: &Committer,
    book: &Book<'_>,
    permit: &BearerPermit,
    order: &LodgeableOrder,
    mut changes: Vec<Change>,
) -> Result<(), Refusal> {
    let (key, digest) = (order.key(), *order.digest());
    let entry = OrderLodgeDetails {
        authority: order.authority().clone(),
        order: order.id().to_string(),
        order_digest: hex(&digest),
        bearer: permit.bearer.clone(),
    };
    changes.push(Box::new(move |store, batch| {
        store.put_order_digest(batch, &key, &digest);
    }));
    let event = AuditEvent::OrderLodge(Box::new(entry));
    committer
        .record(book.now(), event, vec![], changes)
        .map(drop)
        .map_err(not_logged("the order is not taken"))
}
