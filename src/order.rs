//! Orders: the signed permission to re-identify. The format, for other implementers, is in
//! `docs/orders.md`.
//!
//! An order is a JSON [`OrderPayload`] signed as JWS by k of n approvers of one authority, from at
//! least two distinct bodies. Only [`check()`] makes an [`ActiveOrder`], after every check that
//! needs no store. Revealing takes one by value, so that an unauthorised reveal does not compile:
//!
//! ```compile_fail,E0451
//! # use cloison::order::ActiveOrder;
//! let order = ActiveOrder { digest: [0; 32], ..todo!() }; // private fields: only `check` makes one
//! ```
//! ```compile_fail,E0599
//! # fn f(order: cloison::order::ActiveOrder) {
//! let again = order.clone(); // one check, one use
//! # }
//! ```
//!
//! The parts that need a store stand apart: an order's life ([`life`]), the acts upon it ([`act`]:
//! revoke, suspend, resume, close its review), and the book in which each side keeps both
//! ([`book`]).

pub mod act;
pub mod book;
mod check;
pub mod life;
mod payload;
mod request;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::code::Code;
use crate::pseudonym::ParsedPseudonym;
use crate::refusal::Refusal;
use crate::register::{Approver, Id, Sector};
use crate::statement;
use crate::store::OrderKey;

pub use check::{LODGE_DAYS, OrderFinding, check, check_ahead, examine, forbidden};
pub use payload::{Continuity, LegalBasis, OrderPayload, PseudonymScope, SecuritySide};
pub use request::{
    FRESH_SECONDS, OfficerRequest, RequestPayload, check_request, list_digest, sign_request,
};

/// The longest validity of an order under force majeure, in hours.
pub const FORCE_MAJEURE_HOURS: u32 = 72;

/// The facts of an order that its copies depend on.
pub(crate) struct OrderScope<'a> {
    pub(crate) key: OrderKey,
    /// When it is over.
    pub(crate) until: Timestamp,
    /// The listed pseudonyms, by sector.
    pub(crate) listed: &'a ListedPseudonyms,
}

/// The pseudonyms that an order lists, by sector, as parsed values with their text form, because
/// forms belong to epochs.
type ListedPseudonyms = BTreeMap<String, HashSet<ParsedPseudonym>>;

/// A person who signed, and the body to which they belonged then.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// The approver's id.
    #[schema(value_type = String)]
    pub id: Id,
    /// The approver's body.
    #[schema(value_type = String)]
    pub body: Id,
}

impl Signer {
    fn of(approver: &Approver) -> Self {
        Self {
            id: approver.id.clone(),
            body: approver.body.clone(),
        }
    }
}

/// An order that was checked against a register and the time: permission for one request.
///
/// Neither `Clone` nor constructible outside this room. It states that the order was valid at the
/// instant of its check, so make one for each request and consume it there.
#[must_use]
pub struct ActiveOrder {
    payload: OrderPayload,
    digest: [u8; 32],
    signers: Vec<Signer>,
    sectors: BTreeMap<String, Arc<Sector>>,
    /// The listed pseudonyms, parsed; empty for an order that lists none.
    listed: ListedPseudonyms,
}

impl ActiveOrder {
    /// The order's id.
    pub fn id(&self) -> Uuid {
        self.payload.id
    }

    /// The order's key in the store: its authority and its id.
    pub fn key(&self) -> OrderKey {
        OrderKey::new(self.payload.authority.as_str(), self.payload.id)
    }

    /// SHA-256 of the payload, which the store pins under the key.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The authority whose order it is. The caller checks whether it is this node's authority, or
    /// that of the node that asks.
    pub fn authority(&self) -> &Id {
        &self.payload.authority
    }

    /// The approvers who signed, all verified, in the order of their signatures.
    pub fn signers(&self) -> Vec<Id> {
        self.signers
            .iter()
            .map(|signer| signer.id.clone())
            .collect()
    }

    /// The approvers who signed, with their bodies.
    pub fn signed_by(&self) -> &[Signer] {
        &self.signers
    }

    /// The legal ground.
    pub fn basis(&self) -> &LegalBasis {
        &self.payload.basis
    }

    /// Whether its use must be reviewed afterwards, as force majeure must.
    pub fn opens_review(&self) -> bool {
        matches!(self.payload.basis, LegalBasis::ForceMajeure { .. })
    }

    /// The epochs between which it migrates; `None` for an order that re-identifies.
    pub fn continuity(&self) -> Option<Continuity> {
        match self.payload.basis {
            LegalBasis::Continuity(epochs) => Some(epochs),
            LegalBasis::Judicial
            | LegalBasis::Statutory { .. }
            | LegalBasis::ForceMajeure { .. } => None,
        }
    }

    /// The case reference.
    pub fn case(&self) -> &str {
        &self.payload.case
    }

    /// The purpose code.
    pub fn purpose(&self) -> &Id {
        &self.payload.purpose
    }

    /// The sectors that it names, each known to the register and reversible.
    pub fn sectors(&self) -> impl Iterator<Item = &Arc<Sector>> {
        self.sectors.values()
    }

    /// The sector of that name, if the order names it.
    ///
    /// # Errors
    /// [`Code::OutOfScope`] if it does not.
    pub fn sector(&self, name: &str) -> Result<&Arc<Sector>, Refusal> {
        self.sectors
            .get(name)
            .ok_or_else(|| Refusal::new(Code::OutOfScope, "the order does not name this sector"))
    }

    /// Who may execute it.
    pub fn officers(&self) -> &[Id] {
        &self.payload.officers
    }

    /// How many distinct pseudonyms may be asked for under it, in all its sectors together. If the
    /// order lists them, this is the length of its lists.
    pub fn limit(&self) -> u64 {
        match &self.payload.scope {
            PseudonymScope::AtMost(limit) => *limit,
            PseudonymScope::Listed(lists) => lists.values().map(|list| list.len() as u64).sum(),
        }
    }

    /// The first second at which it is valid, and the first at which it no longer is.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        (self.payload.not_before, self.payload.not_after)
    }

    /// When it was issued, if it says so.
    pub fn issued(&self) -> Option<Timestamp> {
        self.payload.issued
    }

    /// Reads a pseudonym of one of its sectors, in the sector's text form or one that it had in an
    /// earlier epoch, and says whether the order opens it. Compared as parsed values, not as text.
    ///
    /// # Errors
    /// The item's code: [`Code::OutOfScope`] for another sector or a pseudonym that is not listed,
    /// or that of [`crate::pseudonym::parse`].
    pub fn admit(&self, sector: &str, text: &str) -> Result<ParsedPseudonym, Code> {
        let facts = self.sectors.get(sector).ok_or(Code::OutOfScope)?;
        let parsed = facts.parse_pseudonym(text)?;
        if self.continuity().is_some() {
            // An order for continuity covers a whole epoch and opens no single pseudonym.
            return Err(Code::OutOfScope);
        }
        match &self.payload.scope {
            PseudonymScope::AtMost(_) => Ok(parsed),
            PseudonymScope::Listed(_)
                if self
                    .listed
                    .get(sector)
                    .is_some_and(|list| list.contains(&parsed)) =>
            {
                Ok(parsed)
            }
            PseudonymScope::Listed(_) => Err(Code::OutOfScope),
        }
    }

    /// The facts that the order's copies depend on.
    pub(crate) fn scope(&self) -> OrderScope<'_> {
        OrderScope {
            key: self.key(),
            until: self.payload.not_after,
            listed: &self.listed,
        }
    }

    /// Whether the order opens this pseudonym of this sector.
    pub fn allows(&self, sector: &str, text: &str) -> bool {
        self.admit(sector, text).is_ok()
    }
}

/// An order that was checked as of the time from which it is valid: it may be lodged, but opens
/// nothing.
pub struct LodgeableOrder(ActiveOrder);

impl LodgeableOrder {
    /// The order's id.
    pub fn id(&self) -> Uuid {
        self.0.id()
    }

    /// The order's key in the store.
    pub fn key(&self) -> OrderKey {
        self.0.key()
    }

    /// SHA-256 of the payload, 32 bytes.
    pub fn digest(&self) -> &[u8; 32] {
        self.0.digest()
    }

    /// When it was issued, if it says so.
    pub fn issued(&self) -> Option<Timestamp> {
        self.0.issued()
    }

    /// The authority whose order it is.
    pub fn authority(&self) -> &Id {
        self.0.authority()
    }

    /// The facts that the order's copies depend on.
    pub(crate) fn scope(&self) -> OrderScope<'_> {
        self.0.scope()
    }
}

impl fmt::Debug for ActiveOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveOrder")
            .field("id", &self.id())
            .field("authority", self.authority())
            .finish_non_exhaustive()
    }
}

/// SHA-256 of the payload of an unchecked order, which an officer's request quotes.
///
/// # Errors
/// [`Code::OrderMalformed`] if the text is not of the strict form.
pub fn digest_of(text: &str) -> Result<[u8; 32], Refusal> {
    statement::digest_of::<OrderPayload>(text)
}
