//! Re-identification under a signed order: the vault releases sealed mappings, the authority node opens them.
//!
//! Both sides make the same checks (`check`), each from its own register, its own store and its own clock; neither
//! trusts the other for any of them.
//!
//! 1. [`reveal::ask`] (node): checks, then asks the vault.
//! 2. [`release::release`] (vault): checks again, counts, logs durably, and only then hands out records with their segments.
//! 3. `reveal::reveal` (node): takes the order and the receipt of the node's own entry by value, opens, answers.
//!
//! What the vault releases it copies into the order's own rows ([`copies`]), at the latest then; an order may be shown to it before
//! ([`lodge`]).
//!
//! Before anything is released, both sides hold the same acts upon orders: [`step`]. An answer may come sealed to the
//! officer's own key: [`deliver`].

pub mod copies;
pub mod deliver;
pub mod lodge;
pub(crate) mod rate;
pub mod release;
pub mod resumed;
pub mod reveal;
pub mod step;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audit::{Domain, LogPosition};
use crate::clock::ClockMark;
use crate::code::Code;
use crate::commit::Change;
use crate::commit::orders::{MOST_UNDER_WAY, OrderGate, OrderPlace, OrderQuestion};
use crate::node::Node;
use crate::order::book::Book;
use crate::order::life::Life;
use crate::order::{self, ActiveOrder, OfficerRequest};
use crate::refusal::{Refusal, fault};
use crate::register::{Id, Register, Sector};

/// Most pseudonyms in one request.
pub const MAX_ITEMS: usize = 10_000;

/// What an officer asks of the node: the order, his signed request, and the list it is about.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The order: JWS General JSON, as text.
    pub order: String,
    /// The officer's request: JWS General JSON, as text.
    pub request: String,
    /// Sector name.
    pub sector: String,
    /// Pseudonyms in the sector's text form, or in one that it had in an earlier epoch.
    pub pseudonyms: Vec<String>,
    /// How the answer is to come; absent: in clear, over this connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<Delivery>,
}

impl std::fmt::Debug for Asked {
    /// Counts only: neither a pseudonym nor an order that may list some belongs in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked")
            .field("sector", &self.sector)
            .field("items", &self.pseudonyms.len())
            .finish_non_exhaustive()
    }
}

/// How an answer comes other than in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// As an age file, sealed to the key that the register has for the officer who signed the request.
    OfficerKey,
}

/// What the node asks of the vault.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// The digest of all acts upon the authority's orders that the node holds ([`Book::digest`]).
    pub acts: String,
    /// What the officer asked.
    #[serde(deserialize_with = "crate::jws::object")]
    pub asked: Asked,
}

/// What the vault hands out: inner envelopes still closed.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// SHA-256 of the vault's register, hex.
    pub register: String,
    /// Where the vault's entry about this release stands in its log.
    #[schema(value_type = Object)]
    pub entry: LogPosition,
    /// That entry, with the proof that it is in the vault's log (C2SP `tlog-proof`).
    pub proof: String,
    /// How many pseudonyms were asked for under the order by now: the vault's count, which binds.
    pub used: u64,
    /// One for each pseudonym asked for, in order.
    pub items: Vec<Released>,
    /// The segment records that the items name, base64url.
    pub segments: Vec<String>,
}

impl std::fmt::Debug for Release {
    /// Counts only: records begin with their pseudonym.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Release").field("entry", &self.entry).field("items", &self.items.len()).finish_non_exhaustive()
    }
}

/// One item of a release.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Released {
    /// A mapping, still sealed.
    Mapping {
        /// The record, base64url.
        record: String,
        /// Its domain.
        domain: Domain,
        /// Which of the release's segments it is sealed under.
        segment: usize,
    },
    /// Nothing, and why.
    Refused {
        /// The item's code.
        #[schema(value_type = String)]
        code: Code,
    },
}

impl std::fmt::Debug for Released {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Released::Mapping { .. } => f.write_str("Mapping(…)"),
            Released::Refused { code } => write!(f, "Refused({code})"),
        }
    }
}

/// An order and a request that passed every check of one side.
pub(crate) struct Checked {
    pub(crate) order: ActiveOrder,
    pub(crate) request: OfficerRequest,
    pub(crate) sector: std::sync::Arc<Sector>,
}

/// The checks that both sides make.
///
/// # Errors
/// A [`Refusal`] with the code that says which.
pub(crate) fn check(asked: &Asked, authority: &Id, book: &Book<'_>, clock_mark: i64) -> Result<Checked, Refusal> {
    match asked.pseudonyms.len() {
        0 => return Err(Refusal::new(Code::EmptyBatch, "the request names no pseudonym")),
        n if n > MAX_ITEMS => {
            return Err(Refusal::new(Code::TooLarge, format!("at most {MAX_ITEMS} pseudonyms a request")));
        }
        _ => {}
    }
    let (order, request) = (&asked.order, &asked.request);
    let checked = check_order(order, request, &asked.sector, &asked.pseudonyms, authority, book, clock_mark)?;
    match checked.order.continuity() {
        None => Ok(checked),
        Some(_) => Err(Refusal::new(Code::OrderRule, "an order for continuity migrates, and re-identifies nobody")),
    }
}

/// Those of the checks that are the same whatever the order is for.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_order(
    order: &str,
    request: &str,
    sector: &str,
    pseudonyms: &[String],
    authority: &Id,
    book: &Book<'_>,
    clock_mark: i64,
) -> Result<Checked, Refusal> {
    let (register, now) = (book.register(), book.now());
    check_clock(book, clock_mark)?;
    let order = order::check(order, register, now)?;
    if order.authority() != authority {
        return Err(Refusal::new(Code::OrderAuthority, "the order is another authority's"));
    }
    let facts = order.sector(sector)?.clone();
    let request = order::check_request(request, &order, register, sector, pseudonyms, now)?;
    let checked = Checked { order, request, sector: facts };
    seen(&checked, book)?;
    Ok(checked)
}

/// Refuses to act by a clock that stands behind what was already seen.
///
/// # Errors
/// [`Code::ClockBehind`].
pub(crate) fn check_clock(book: &Book<'_>, clock_mark: i64) -> Result<(), Refusal> {
    ClockMark::at(clock_mark).steady(book.now())?;
    Ok(())
}

/// Those of the checks that look at what was seen and done before. They hold only while nobody else reveals or releases:
/// whoever acts on them makes them (again) under [`Book::alone`].
///
/// # Errors
/// [`Code::OrderConflict`], [`Code::OrderRevoked`], [`Code::OrderSuspended`], [`Code::RequestReplayed`]; [`Code::OrderExpired`]
/// when the order ended meanwhile.
pub(crate) fn seen(checked: &Checked, book: &Book<'_>) -> Result<(), Refusal> {
    let Checked { order, request, .. } = checked;
    let pinned = book.store().order_digest(&order.key()).map_err(fault(FAILED))?;
    if pinned.is_some_and(|digest| digest != *order.digest()) {
        return Err(Refusal::new(Code::OrderConflict, "another payload was seen under this id of the authority's"));
    }
    book.stands(order.authority(), order.id())?;
    if book.now() >= order.validity().1 {
        return Err(Refusal::new(Code::OrderExpired, "the order ended while it was being executed"));
    }
    if book.store().request_seen(request.time().as_second(), request.id()).map_err(fault(FAILED))? {
        return Err(Refusal::new(Code::RequestReplayed, "the request was answered already; sign another one"));
    }
    Ok(())
}

/// How long an answered request is remembered, in seconds: far beyond the time for which it is fresh.
const REMEMBERED: i64 = 3_600;

/// What both sides write down with an answer: the payload under the order's id, its life, and the request.
pub(crate) fn notes(checked: &Checked, book: &Book<'_>, used: u64) -> Result<Change, Refusal> {
    let (order, digest) = (checked.order.key(), *checked.order.digest());
    let life =
        Life::after_use(book.life(&order)?, &checked.order, checked.request.officer(), book.now(), used).to_bytes();
    let (request, time) = (checked.request.id(), checked.request.time().as_second());
    let forget = book.now().as_second() - REMEMBERED;
    Ok(Box::new(move |store, batch| {
        store.put_order_digest(batch, &order, &digest);
        store.put_order_life(batch, &order, &life);
        if let Err(error) = store.put_request(batch, time, request, forget) {
            // The write of this very batch will meet the same fault, and poison the store.
            tracing::error!(%error, "old requests cannot be read");
        }
    }))
}

/// How long a request at the node waits for a place among those of its authority.
pub(crate) const NODE_PATIENCE: Duration = Duration::from_secs(30);

/// Takes a place for a request under an order: few of an authority are worked on at a time, so that a stolen node's certificate
/// cannot keep the vault from everybody else.
///
/// # Errors
/// [`Code::Overloaded`] when none is free within `patience`.
pub(crate) fn enter<'a>(gate: &'a OrderGate, authority: &Id, patience: Duration) -> Result<OrderPlace<'a>, Refusal> {
    gate.enter(authority, patience).ok_or_else(|| {
        let why = format!("{MOST_UNDER_WAY} requests under orders of this authority are being worked on");
        Refusal::new(Code::Overloaded, why).come_back_in(1)
    })
}

/// Lets one request under an order at a time ask the vault, so that the vault's counts come in the order in which it made them.
///
/// # Errors
/// [`Code::Overloaded`] when another one takes longer than [`NODE_PATIENCE`].
pub(crate) fn ask_alone<'a>(node: &'a Node, order: &ActiveOrder) -> Result<OrderQuestion<'a>, Refusal> {
    node.orders().ask(order.key(), NODE_PATIENCE).ok_or_else(|| {
        Refusal::new(Code::Overloaded, "another request under this order is being worked on").come_back_in(1)
    })
}

/// Compares the vault's count under an order with what this node remembers of it, before anything is opened: a vault that was
/// rolled back would have the same limit used up twice.
///
/// # Errors
/// [`Code::ProofInvalid`] when the count went down; [`Code::LimitReached`] when it is above the limit.
pub(crate) fn check_count(order: &ActiveOrder, book: &Book<'_>, used: u64) -> Result<(), Refusal> {
    let before = book.life(&order.key())?.map_or(0, |life| life.used);
    if used < before {
        tracing::error!(order = %order.id(), used, before, "the vault counts less under an order than it did");
        let why = format!("the vault counts {used} under this order and counted {before} before: was it rolled back?");
        return Err(Refusal::new(Code::ProofInvalid, why));
    }
    match used <= order.limit() {
        true => Ok(()),
        false => Err(Refusal::new(Code::LimitReached, "the vault has handed out more than the order allows")),
    }
}

/// What the log says of a fault of ours here.
pub(crate) const FAILED: &str = "re-identification failed";

/// Vault and node hold the same register (`other` is the other side's digest, hex), or nothing is done.
pub(crate) fn check_register(register: &Register, other: &str) -> Result<(), Refusal> {
    let why = "vault and node hold different registers; bring them together";
    match other == hex(&register.digest) {
        true => Ok(()),
        false => Err(Refusal::new(Code::RegisterMismatch, why)),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
