//! Re-identification under a signed order: the vault releases sealed mappings, the authority node
//! opens them. [`crate::execution`] holds the steps that it shares with migration.
//!
//! 1. [`reveal::ask`] (node): checks, then asks the vault.
//! 2. [`release::release`] (vault): checks again, counts, logs durably, and only then hands out
//!    records with their segments.
//! 3. [`reveal::ask`] goes on (node): checks the proof of the vault's entry, logs durably, opens,
//!    answers.
//!
//! The vault copies the mappings that it releases into the order's own rows ([`copies`]), or
//! earlier if the order was lodged ([`lodge`]). The answer can be sealed to the officer's own key
//! ([`deliver`]).

pub mod copies;
pub mod deliver;
pub mod lodge;
pub mod release;
pub mod reveal;

use serde::{Deserialize, Serialize};

use crate::audit::{Domain, LogPosition, ReidentifyDetails, tags_root};
use crate::code::Code;
use crate::execution::at_node::{VaultHandout, VaultStatement};
use crate::execution::{self, PresentedRequest, VerifiedRequest};
use crate::id::hex;
use crate::link::VaultQuestion;
use crate::order::book::Book;
use crate::refusal::Refusal;
use crate::register::Id;
use crate::store::ItemTag;

/// Most pseudonyms in one request.
pub const MAX_ITEMS: usize = 10_000;

/// An officer's request to the node: the order, the signed request, and the list that it is about.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReidentifyRequest {
    /// The order: JWS General JSON, as text.
    pub order: String,
    /// The officer's request: JWS General JSON, as text.
    pub request: String,
    /// Sector name.
    pub sector: String,
    /// Pseudonyms in the sector's text form, or in one that it had in an earlier epoch.
    pub pseudonyms: Vec<String>,
    /// How to deliver the answer; if absent, in clear over this connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<Delivery>,
}

impl std::fmt::Debug for ReidentifyRequest {
    /// Counts only: neither a pseudonym nor an order that may list some belongs in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReidentifyRequest")
            .field("sector", &self.sector)
            .field("items", &self.pseudonyms.len())
            .finish_non_exhaustive()
    }
}

/// How to deliver an answer other than in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// As an age file, sealed to the key that the register has for the officer who signed the
    /// request.
    OfficerKey,
}

/// The node's request to the vault for a release.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// The digest of all acts upon the authority's orders that the node holds ([`Book::digest`]).
    pub acts: String,
    /// What the node holds of the vault's log, cosigned, if it follows it: the text of
    /// [`JournalHeld`](crate::journal::offer::JournalHeld).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<String>,
    /// The officer's request.
    #[serde(deserialize_with = "crate::json::object")]
    pub asked: ReidentifyRequest,
}

impl VaultQuestion for ReleaseRequest {
    type Answer = Release;
    const PATH: &'static str = "/v1/releases";
    const HANDS_OUT_MAPPINGS: bool = true;
}

/// The mappings that the vault hands out, still sealed to the authority.
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
    /// How many pseudonyms were asked for under the order so far: the vault's count, which binds.
    pub used: u64,
    /// One for each pseudonym asked for, in order.
    pub items: Vec<ReleasedItem>,
    /// The segment records that the items name, base64url.
    pub segments: Vec<String>,
    /// What the node lacks of the vault's log up to the proof's checkpoint, if it follows it: a
    /// [`JournalOffer`](crate::journal::offer::JournalOffer), base64url.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tail: Option<String>,
}

impl std::fmt::Debug for Release {
    /// Counts only: records begin with their pseudonym.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Release")
            .field("entry", &self.entry)
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

impl VaultHandout for Release {
    fn statement(&self) -> VaultStatement<'_> {
        let Self {
            register,
            entry,
            proof,
            used,
            tail,
            ..
        } = self;
        VaultStatement {
            register,
            entry,
            proof,
            tail: tail.as_deref(),
            used: *used,
        }
    }
}

/// One item of a release.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum ReleasedItem {
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

impl std::fmt::Debug for ReleasedItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReleasedItem::Mapping { .. } => f.write_str("Mapping(…)"),
            ReleasedItem::Refused { code } => write!(f, "Refused({code})"),
        }
    }
}

/// Makes the checks that both sides make.
///
/// # Errors
/// A [`Refusal`] with the code of the check that failed.
fn verify(
    asked: &ReidentifyRequest,
    authority: &Id,
    book: &Book<'_>,
    clock_mark: i64,
) -> Result<VerifiedRequest, Refusal> {
    let ReidentifyRequest {
        order,
        request,
        sector,
        pseudonyms,
        ..
    } = asked;
    match pseudonyms.len() {
        0 => {
            return Err(Refusal::new(
                Code::EmptyBatch,
                "the request names no pseudonym",
            ));
        }
        n if n > MAX_ITEMS => {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("at most {MAX_ITEMS} pseudonyms a request"),
            ));
        }
        _ => {}
    }
    let verified = execution::verify(
        &PresentedRequest {
            order,
            request,
            sector,
            pseudonyms,
        },
        authority,
        book,
        clock_mark,
    )?;
    match verified.order.continuity() {
        None => Ok(verified),
        Some(_) => Err(Refusal::new(
            Code::OrderRule,
            "an order for continuity migrates, and re-identifies nobody",
        )),
    }
}

/// How many items have a mapping.
fn mappings(items: &[ReleasedItem]) -> u64 {
    items
        .iter()
        .filter(|item| matches!(item, ReleasedItem::Mapping { .. }))
        .count() as u64
}

/// What both sides log; the node adds where the vault's entry stands.
fn entry(
    verified: &VerifiedRequest,
    asked: &ReidentifyRequest,
    mappings: u64,
    tags: &[ItemTag],
) -> ReidentifyDetails {
    let VerifiedRequest { order, request, .. } = verified;
    ReidentifyDetails {
        authority: order.authority().clone(),
        officer: request.officer().clone(),
        order: order.id().to_string(),
        order_digest: hex(order.digest()),
        basis: order.basis().kind(),
        request: request.id().to_string(),
        case: order.case().to_owned(),
        sector: asked.sector.clone(),
        items: asked.pseudonyms.len() as u64,
        mappings,
        tags: tags_root(tags),
        vault_entry: None,
        vault_path: vec![],
        vault_checkpoint: None,
    }
}
