//! Re-identification under a signed order: the vault releases sealed mappings, the authority node opens them.
//!
//! Both sides make the same checks (`check`), each from its own register, its own store and its own clock; neither
//! trusts the other for any of them.
//!
//! 1. [`reveal::ask`] (node): checks, then asks the vault.
//! 2. [`release::release`] (vault): checks again, counts, logs durably, and only then hands out records with their segments.
//! 3. `reveal::reveal` (node): takes the order and the receipt of the node's own entry by value, opens, answers.

pub mod release;
pub mod reveal;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::{Domain, LogPosition};
use crate::code::Code;
use crate::order::{self, ActiveOrder, OfficerRequest, Refusal};
use crate::register::{Id, Register, Sector};
use crate::store::Store;

/// Most pseudonyms in one request.
pub const MAX_ITEMS: usize = 10_000;
/// How far a clock may stand behind what was already seen, in seconds.
pub const CLOCK_TOLERANCE: i64 = 120;

/// What an officer asks of the node: the order, his signed request, and the list it is about.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The order: JWS General JSON, as text.
    pub order: String,
    /// The officer's request: JWS General JSON, as text.
    pub request: String,
    /// Sector name.
    pub sector: String,
    /// Pseudonyms in the sector's text form.
    pub pseudonyms: Vec<String>,
}

/// What the node asks of the vault.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// What the officer asked.
    #[serde(deserialize_with = "crate::jws::object")]
    pub asked: Asked,
}

/// What the vault hands out: inner envelopes still closed.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// SHA-256 of the vault's register, hex.
    pub register: String,
    /// Where the vault's entry about this release stands in its log.
    #[schema(value_type = Object)]
    pub entry: LogPosition,
    /// That entry, with the proof that it is in the vault's log (C2SP `tlog-proof`).
    pub proof: String,
    /// One for each pseudonym asked for, in order.
    pub items: Vec<Released>,
    /// The segment records that the items name, base64url.
    pub segments: Vec<String>,
}

/// One item of a release.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
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
pub(crate) fn check(
    asked: &Asked,
    register: &Register,
    authority: &Id,
    store: &Store,
    clock_mark: i64,
    now: Timestamp,
) -> Result<Checked, Refusal> {
    if now.as_millisecond() + CLOCK_TOLERANCE * 1_000 < clock_mark {
        return Err(Refusal::new(Code::ClockBehind, "the clock is behind what was already seen; set it right"));
    }
    match asked.pseudonyms.len() {
        0 => return Err(Refusal::new(Code::EmptyBatch, "the request names no pseudonym")),
        n if n > MAX_ITEMS => {
            return Err(Refusal::new(Code::TooLarge, format!("at most {MAX_ITEMS} pseudonyms a request")));
        }
        _ => {}
    }
    let order = order::check(&asked.order, register, now)?;
    if order.authority() != authority {
        return Err(Refusal::new(Code::OrderAuthority, "the order is another authority's"));
    }
    let pinned = store.order_digest(order.id()).map_err(internal)?;
    if pinned.is_some_and(|digest| digest != *order.digest()) {
        return Err(Refusal::new(Code::OrderConflict, "another payload was seen under this order's id"));
    }
    let sector = order.sector(&asked.sector)?.clone();
    let request = order::check_request(&asked.request, &order, register, &asked.sector, &asked.pseudonyms, now)?;
    Ok(Checked { order, request, sector })
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "re-identification failed");
    Refusal::new(Code::Internal, "a fault of ours; the log says more")
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
