//! The life of an order, as vault and node each store it: its facts and uses, and the state that
//! follows from these, from the acts upon it and from the time.
//!
//! ```text
//! drafted ──▶ active ──▶ exhausted ──▶ expired
//!               │  ▲         │
//!               ▼  │         ▼
//!            suspended ──▶ revoked (from anywhere, for good)
//! ```
//!
//! `drafted` is an order file that nobody has used yet: only the command line knows it. A side
//! knows an order from the first request under it that it answered, or from the first act upon it.
//! Nothing here holds a pseudonym.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::act::{ActKind, may_close};
use super::{ActiveOrder, LegalBasis, PseudonymScope, Signer};
use crate::code::Code;
use crate::register::Id;

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OrderState {
    /// A file that no side has seen in use.
    Drafted,
    /// May be used (or may be once its time has come).
    Active,
    /// Stopped until every suspension is lifted.
    Suspended,
    /// As many pseudonyms as it allows were asked for; the same may be asked for again.
    Exhausted,
    /// Its time is over.
    Expired,
    /// Ended by its authority.
    Revoked,
}

impl OrderState {
    /// The spelling in JSON and on the terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            OrderState::Drafted => "drafted",
            OrderState::Active => "active",
            OrderState::Suspended => "suspended",
            OrderState::Exhausted => "exhausted",
            OrderState::Expired => "expired",
            OrderState::Revoked => "revoked",
        }
    }
}

/// A use of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderUse {
    /// When.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// The officer.
    #[schema(value_type = String)]
    pub officer: Id,
}

/// The facts and uses that a side stores of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderLife {
    /// Its authority.
    #[schema(value_type = String)]
    pub authority: Id,
    /// `judicial`, `statutory`, `force-majeure` or `continuity`.
    pub basis: String,
    /// The article (statutory), the side of the State's security (force majeure), or the epochs
    /// (continuity).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub basis_detail: Option<String>,
    /// Case reference.
    pub case: String,
    /// Purpose code.
    #[schema(value_type = String)]
    pub purpose: Id,
    /// Sector names.
    pub sectors: Vec<String>,
    /// Whether it lists its pseudonyms.
    pub listed: bool,
    /// How many pseudonyms it allows.
    pub limit: u64,
    /// How many of them were asked for.
    pub used: u64,
    /// The first second at which it is valid.
    #[schema(value_type = String)]
    pub not_before: Timestamp,
    /// The first second at which it no longer is.
    #[schema(value_type = String)]
    pub not_after: Timestamp,
    /// Who may execute it.
    #[schema(value_type = Vec<String>)]
    pub officers: Vec<Id>,
    /// Before this time the persons concerned are not told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub inform_after: Option<Timestamp>,
    /// Who had signed it when it was first used.
    pub signers: Vec<Signer>,
    /// Its first use.
    pub first: OrderUse,
    /// Its last use so far.
    pub last: OrderUse,
    /// When the last pseudonym that it allows was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub exhausted: Option<Timestamp>,
    /// When its use opened a review, as force majeure does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub review: Option<Timestamp>,
}

impl OrderLife {
    /// The life of an order after another use. `before` is the stored life; `used` is how many
    /// pseudonyms were asked for so far.
    pub fn after_use(
        before: Option<Self>,
        order: &ActiveOrder,
        officer: &Id,
        now: Timestamp,
        used: u64,
    ) -> Self {
        let use_now = OrderUse {
            time: now,
            officer: officer.clone(),
        };
        let mut life = before.unwrap_or_else(|| Self::new(order, use_now.clone()));
        life.last = use_now;
        life.used = used;
        if used >= life.limit && life.exhausted.is_none() {
            life.exhausted = Some(now);
        }
        life
    }

    fn new(order: &ActiveOrder, first: OrderUse) -> Self {
        let payload = &order.payload;
        let basis_detail = match &payload.basis {
            LegalBasis::Judicial => None,
            LegalBasis::Statutory { article } => Some(article.clone()),
            LegalBasis::ForceMajeure { security } => Some(security.as_str().to_owned()),
            LegalBasis::Continuity(epochs) => {
                Some(format!("epoch {} to {}", epochs.from, epochs.to))
            }
        };
        OrderLife {
            authority: payload.authority.clone(),
            basis: payload.basis.kind().to_owned(),
            basis_detail,
            case: payload.case.clone(),
            purpose: payload.purpose.clone(),
            sectors: payload.sectors.clone(),
            listed: matches!(payload.scope, PseudonymScope::Listed(_)),
            limit: order.limit(),
            used: 0,
            not_before: payload.not_before,
            not_after: payload.not_after,
            officers: payload.officers.clone(),
            inform_after: payload.inform_after,
            signers: order.signers.clone(),
            review: order.opens_review().then_some(first.time),
            last: first.clone(),
            first,
            exhausted: None,
        }
    }

    /// Canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        // `Value` keeps its members sorted.
        let value = serde_json::to_value(self).expect("a life is plain data");
        serde_json::to_vec(&value).expect("a value is plain data")
    }

    /// Reads what [`OrderLife::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// An act upon an order as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppliedAct {
    /// What was done.
    pub act: ActKind,
    /// Why, as a code.
    #[schema(value_type = String)]
    pub reason: Id,
    /// Who signed.
    pub by: Vec<Signer>,
    /// When it was written, as its signers say.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// When this side got it.
    #[schema(value_type = String)]
    pub received: Timestamp,
    /// SHA-256 of its payload, hex: what a `resume` names.
    pub digest: String,
    /// Of `resume`: the suspensions that it lifts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lifts: Vec<String>,
}

/// An order as `cloison order list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderView {
    /// The order's id.
    #[schema(value_type = String)]
    pub id: Uuid,
    /// Its authority.
    #[schema(value_type = String)]
    pub authority: Id,
    /// Its state now.
    pub state: OrderState,
    /// Whether its use has to be reviewed and was not reviewed yet.
    pub review_due: bool,
    /// Its facts and uses; absent if there were only acts upon it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub life: Option<OrderLife>,
    /// The acts upon it, in the sequence in which they were received.
    pub acts: Vec<AppliedAct>,
}

impl OrderView {
    /// Combines the life of an order and the acts upon it.
    pub fn new(
        id: Uuid,
        authority: Id,
        life: Option<OrderLife>,
        mut acts: Vec<AppliedAct>,
        now: Timestamp,
    ) -> Self {
        acts.sort_by(|one, other| {
            (one.received, &one.digest).cmp(&(other.received, &other.digest))
        });
        let state = state(life.as_ref(), &acts, now);
        let review_due = life
            .as_ref()
            .is_some_and(|life| life.review.is_some() && !is_reviewed(life, &acts));
        Self {
            id,
            authority,
            state,
            review_due,
            life,
            acts,
        }
    }
}

/// The code of the refusal, if the acts stop an order.
pub fn stopped(acts: &[AppliedAct]) -> Option<Code> {
    if acts.iter().any(|done| done.act == ActKind::Revoke) {
        return Some(Code::OrderRevoked);
    }
    (!suspensions(acts).is_empty()).then_some(Code::OrderSuspended)
}

/// The suspensions that no act has lifted.
pub fn suspensions(acts: &[AppliedAct]) -> Vec<&AppliedAct> {
    let lifted: BTreeSet<&String> = acts.iter().flat_map(|done| &done.lifts).collect();
    acts.iter()
        .filter(|done| done.act == ActKind::Suspend && !lifted.contains(&done.digest))
        .collect()
}

/// Whether persons who may do so closed the review of an order.
pub fn is_reviewed(life: &OrderLife, acts: &[AppliedAct]) -> bool {
    acts.iter()
        .any(|done| done.act == ActKind::CloseReview && may_close(&done.by, &life.signers))
}

fn state(life: Option<&OrderLife>, acts: &[AppliedAct], now: Timestamp) -> OrderState {
    match (stopped(acts), life) {
        (Some(Code::OrderRevoked), _) => OrderState::Revoked,
        (_, Some(life)) if now >= life.not_after => OrderState::Expired,
        (Some(_), _) => OrderState::Suspended,
        (None, Some(life)) if life.used >= life.limit => OrderState::Exhausted,
        (None, _) => OrderState::Active,
    }
}

/// The orders that a side knows.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Those with a review to close first, then the latest used.
    pub orders: Vec<OrderView>,
    /// How many older ones were left out.
    pub more: usize,
}

/// The most orders in one answer.
const MOST_LISTED: usize = 10_000;

impl Orders {
    /// As many of these orders as one answer has room for.
    pub fn of(mut orders: Vec<OrderView>) -> Self {
        let more = orders.len().saturating_sub(MOST_LISTED);
        orders.truncate(MOST_LISTED);
        Self { orders, more }
    }
}
