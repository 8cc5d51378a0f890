//! Executing an order: the steps that re-identification and migration share, on the vault's side
//! and on the node's.
//!
//! | | vault (`at_vault`) | node (`at_node`) |
//! |---|---|---|
//! | 1 | the node holds the same register and watches this log; there is room | the node is unsealed; there is room |
//! | 2 | a place among the authority's requests | a place among the authority's requests |
//! | 3 | both hold the same acts; signatures, formats and digests are verified (`verify`) | the same, and the officer who asks has signed |
//! | 4 | | the vault is asked, its entry proved, and the vault watches this log |
//! | 5 | its turn: again the clock, the acts, and earlier uses (`check_seen`) | its turn: earlier uses, and the vault's count |
//! | 6 | one commit: entry, counts and notes | one commit: entry and notes |
//! | 7 | the proof of the entry, and what the node lacks of the log up to it (`tail`); mappings are handed out | order and receipt open the mappings ([`opening`]) |
//!
//! Each side makes every check from its own register, its own store and its own clock; neither
//! trusts the other for any of them. Before anything is released, both sides hold the same acts
//! upon orders: [`step`].

pub(crate) mod at_node;
pub(crate) mod at_vault;
pub mod opening;
pub(crate) mod rate;
mod registers;
pub mod step;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::ClockMark;
use crate::code::Code;
use crate::commit::Change;
use crate::commit::orders::{MOST_UNDER_WAY, OrderGate, OrderPlace};
use crate::order::book::Book;
use crate::order::life::OrderLife;
use crate::order::{self, ActiveOrder, OfficerRequest};
use crate::refusal::{Refusal, fault};
use crate::register::{Id, Sector};
pub(crate) use registers::check_register;

/// An order and a request that passed every check of one side.
pub(crate) struct VerifiedRequest {
    pub(crate) order: ActiveOrder,
    pub(crate) request: OfficerRequest,
    pub(crate) sector: Arc<Sector>,
}

/// The order and the request as an officer sends them, and what the request is about.
pub(crate) struct PresentedRequest<'a> {
    pub(crate) order: &'a str,
    pub(crate) request: &'a str,
    pub(crate) sector: &'a str,
    pub(crate) pseudonyms: &'a [String],
}

/// Makes the checks that both sides make for every kind of order.
///
/// # Errors
/// A [`Refusal`] with the code of the check that failed.
pub(crate) fn verify(
    asked: &PresentedRequest<'_>,
    authority: &Id,
    book: &Book<'_>,
    clock_mark: i64,
) -> Result<VerifiedRequest, Refusal> {
    let (register, now) = (book.register(), book.now());
    check_clock(book, clock_mark)?;
    let order = order::check(asked.order, register, now)?;
    if order.authority() != authority {
        return Err(Refusal::new(
            Code::OrderAuthority,
            "the order is another authority's",
        ));
    }
    let sector = order.sector(asked.sector)?.clone();
    let request = order::check_request(
        asked.request,
        &order,
        register,
        asked.sector,
        asked.pseudonyms,
        now,
    )?;
    let verified = VerifiedRequest {
        order,
        request,
        sector,
    };
    check_seen(&verified, book)?;
    Ok(verified)
}

/// Refuses to act while the clock stands behind its high-water mark.
///
/// # Errors
/// [`Code::ClockBehind`].
pub(crate) fn check_clock(book: &Book<'_>, clock_mark: i64) -> Result<(), Refusal> {
    ClockMark::at(clock_mark).steady(book.now())?;
    Ok(())
}

/// Makes the checks that depend on earlier uses of the order. They hold only while no other request
/// reveals or releases, so each side makes them again in its turn ([`Book::lock_orders`]).
///
/// # Errors
/// [`Code::OrderConflict`], [`Code::OrderRevoked`], [`Code::OrderSuspended`],
/// [`Code::OrderBeforeRestore`], [`Code::RequestReplayed`]; [`Code::OrderExpired`] if the order
/// ended meanwhile.
fn check_seen(verified: &VerifiedRequest, book: &Book<'_>) -> Result<(), Refusal> {
    let VerifiedRequest { order, request, .. } = verified;
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
    book.check_stands(order.authority(), order.id())?;
    book.check_issued(order.issued())?;
    if book.now() >= order.validity().1 {
        return Err(Refusal::new(
            Code::OrderExpired,
            "the order ended while it was being executed",
        ));
    }
    if book
        .store()
        .request_seen(request.time().as_second(), request.id())
        .map_err(fault(FAILED))?
    {
        return Err(Refusal::new(
            Code::RequestReplayed,
            "the request was answered already; sign another one",
        ));
    }
    Ok(())
}

/// How long an answered request is remembered, in seconds: far longer than a request is fresh.
const REMEMBERED: i64 = 3_600;

/// What both sides store with an answer: the digest of the order's payload, its life, and the
/// request.
fn notes(verified: &VerifiedRequest, book: &Book<'_>, used: u64) -> Result<Change, Refusal> {
    let (order, digest) = (verified.order.key(), *verified.order.digest());
    let life = book.life(&order)?;
    let life = OrderLife::after_use(
        life,
        &verified.order,
        verified.request.officer(),
        book.now(),
        used,
    )
    .to_bytes();
    let (request, time) = (verified.request.id(), verified.request.time().as_second());
    let forget = book.now().as_second() - REMEMBERED;
    Ok(Box::new(move |store, batch| {
        store.put_order_digest(batch, &order, &digest);
        store.put_order_life(batch, &order, &life);
        if let Err(error) = store.put_request(batch, time, request, forget) {
            // The write of this batch will meet the same fault and poison the store.
            tracing::error!(%error, "old requests cannot be read");
        }
    }))
}

/// Takes a place for a request under an order. Each authority has few places, so that a thief with
/// a node's certificate cannot keep the vault busy for everybody else.
///
/// # Errors
/// [`Code::Overloaded`] if none is free within `patience`.
pub(crate) fn enter<'a>(
    gate: &'a OrderGate,
    authority: &Id,
    patience: Duration,
) -> Result<OrderPlace<'a>, Refusal> {
    gate.enter(authority, patience).ok_or_else(|| {
        let why =
            format!("{MOST_UNDER_WAY} requests under orders of this authority are being worked on");
        Refusal::new(Code::Overloaded, why).come_back_in(1)
    })
}

/// The context of an internal error in the log.
pub(crate) const FAILED: &str = "re-identification failed";
