//! Acts upon orders: the authority's approvers sign them to stop an order, to let it go on, or to
//! close its review.
//!
//! An act is JSON signed as JWS like an order. **It does not matter who brings it, and bringing it
//! twice does nothing**: the acts upon an order are a set, and the order's state follows from that
//! set, not from the sequence in which they came. So two sides that hold the same set agree.
//!
//! | act | who signs | what it does |
//! |---|---|---|
//! | `revoke` | any one approver of the order's authority | ends the order, for good |
//! | `suspend` | any one approver | stops it until every suspension is lifted |
//! | `resume` | a quorum of the authority, as for an order that is not force majeure | lifts the suspensions that it names |
//! | `close-review` | see [`may_close`] | closes the review that force majeure opened |
//!
//! One person may stop an order, because a wrong stop costs time and a missing one costs a person's
//! identity. Only a quorum may let it go on, because only a quorum may order.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Signer;
use super::check::{enough, signers_of};
use crate::code::Code;
use crate::json::JsonObject;
use crate::refusal::Refusal;
use crate::register::{Id, LEAST_BODIES, Register};
use crate::statement::members::{as_hex_list, digest};
use crate::statement::{BadSignature, Signed, Statement, StatementFault, UnverifiedStatement};

/// The kind of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ActKind {
    /// Ends the order for good.
    Revoke,
    /// Stops it until the suspension is lifted.
    Suspend,
    /// Lifts suspensions.
    Resume,
    /// Closes the review of an order under force majeure.
    CloseReview,
}

impl ActKind {
    const ALL: [ActKind; 4] = [
        ActKind::Revoke,
        ActKind::Suspend,
        ActKind::Resume,
        ActKind::CloseReview,
    ];

    /// Whether it lets something go on. Then it is in force once enough places hold it.
    pub const fn grants(self) -> bool {
        matches!(self, ActKind::Resume | ActKind::CloseReview)
    }

    /// The spelling in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActKind::Revoke => "revoke",
            ActKind::Suspend => "suspend",
            ActKind::Resume => "resume",
            ActKind::CloseReview => "close-review",
        }
    }
}

/// The payload of an act, member by member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActPayload {
    /// The deployment's id.
    pub aud: Id,
    /// The kind of the act.
    pub act: ActKind,
    /// The order's authority, whose approvers sign.
    pub authority: Id,
    /// The order's id.
    pub order: Uuid,
    /// Why, as a code that names no person.
    pub reason: Id,
    /// When it was written; whole seconds.
    pub time: Timestamp,
    /// Of `resume`: SHA-256 of the payload of each suspension that it lifts; at least one. Of the
    /// others: empty.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_hex_list")]
    pub lifts: Vec<[u8; 32]>,
}

impl Statement for ActPayload {
    const TYP: &'static str = "cloison-act+json";
    const NAME: &'static str = "the act";
    const CODE: Code = Code::ActInvalid;
    /// Room for every signature that there may be and for many suspensions. A bound is needed
    /// because sides keep acts for good, even those that a stolen node sends.
    const MAX_TEXT: usize = 16 << 10;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        let kind = members.text("act")?;
        let act = ActKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind);
        let act = act.ok_or("`act` is none of revoke, suspend, resume, close-review")?;
        let lifts = if act == ActKind::Resume {
            lifts(&members.texts("lifts")?)?
        } else {
            vec![]
        };
        Ok(ActPayload {
            aud: members.id("aud")?,
            act,
            authority: members.id("authority")?,
            order: members.uuid("order")?,
            reason: members.reason("reason")?,
            time: members.time("time")?,
            lifts,
        })
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

fn lifts(texts: &[String]) -> Result<Vec<[u8; 32]>, StatementFault> {
    let digests: Option<BTreeSet<[u8; 32]>> = texts.iter().map(|text| digest(text)).collect();
    let digests = digests.filter(|set| !set.is_empty() && set.len() == texts.len());
    let digests = digests.ok_or("`lifts` is not a list of digests, each once")?;
    Ok(digests.into_iter().collect())
}

/// An act that its signers may do by the register.
pub type SignedAct = Signed<ActPayload, Signer>;

/// The result of judging an act by the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActVerdict {
    /// Those who signed may do it.
    Good(SignedAct),
    /// The register does not confirm it: it does not have a signer, or too few have signed. The act
    /// may have been valid under an earlier register. The refusal says why: [`Code::ActInvalid`] or
    /// [`Code::OrderQuorum`].
    Unproven(Refusal),
}

/// Judges an act by the register alone, so that two sides with one register judge it alike. No act
/// is refused because of its time or the clock's, so that a stop always counts.
///
/// # Errors
/// [`Code::ActInvalid`] for an act that no honest caller sends: wrong form, deployment or
/// authority, or a signature that does not verify under its signer's key in the register.
pub fn judge_act(text: &str, register: &Register) -> Result<ActVerdict, Refusal> {
    let act = UnverifiedStatement::<ActPayload>::read(text)?;
    act.is_for(&register.deployment)?;
    let authority = register.authorities.get(&act.says().authority);
    let authority =
        authority.ok_or_else(|| ActPayload::refuse("the register knows no such authority"))?;
    let signatures = signers_of(&act, authority);
    let act = match act.signed(signatures) {
        Ok(act) => act,
        Err(BadSignature::Forged(_)) => {
            return Err(ActPayload::refuse("a signature does not verify"));
        }
        Err(BadSignature::Unknown(_)) => {
            let stranger = ActPayload::refuse("a signer is not an approver of the authority");
            return Ok(ActVerdict::Unproven(stranger));
        }
    };
    Ok(match may_do(&act, authority.quorum) {
        Ok(()) => ActVerdict::Good(act),
        Err(refusal) => ActVerdict::Unproven(refusal),
    })
}

/// Checks that enough persons have signed for the kind of act.
fn may_do(act: &SignedAct, quorum: usize) -> Result<(), Refusal> {
    match act.says.act {
        ActKind::Resume => {
            let bodies: BTreeSet<_> = act.persons.iter().map(|signer| &signer.body).collect();
            enough(act.persons.len(), bodies.len(), quorum)
        }
        ActKind::Revoke | ActKind::Suspend | ActKind::CloseReview if act.persons.is_empty() => {
            Err(Refusal::new(Code::OrderQuorum, "nobody has signed it"))
        }
        ActKind::Revoke | ActKind::Suspend | ActKind::CloseReview => Ok(()),
    }
}

/// Judges an act and returns it if the register confirms it.
///
/// # Errors
/// Those of [`judge_act`], and why the register does not confirm it.
pub fn check_act(text: &str, register: &Register) -> Result<SignedAct, Refusal> {
    match judge_act(text, register)? {
        ActVerdict::Good(act) => Ok(act),
        ActVerdict::Unproven(refusal) => Err(refusal),
    }
}

/// Whether `reviewers` may close the review of an order that `ordered` signed. Either one of them
/// belongs to a body that did not sign the order; or, if the authority has no such body, they
/// belong to two bodies and at least one of them did not sign it.
pub fn may_close(reviewers: &[Signer], ordered: &[Signer]) -> bool {
    let new_body = |signer: &Signer| ordered.iter().all(|other| other.body != signer.body);
    let new_person = |signer: &Signer| ordered.iter().all(|other| other.id != signer.id);
    let bodies: BTreeSet<_> = reviewers.iter().map(|signer| &signer.body).collect();
    reviewers.iter().any(new_body)
        || bodies.len() >= LEAST_BODIES && reviewers.iter().any(new_person)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(act: ActKind) -> ActPayload {
        let lifts = if act == ActKind::Resume {
            vec![[1; 32], [2; 32]]
        } else {
            vec![]
        };
        ActPayload {
            aud: Id::parse("demo").unwrap(),
            act,
            authority: Id::parse("court").unwrap(),
            order: "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d".parse().unwrap(),
            reason: Id::parse("case-closed").unwrap(),
            time: "2026-11-22T09:00:00Z".parse().unwrap(),
            lifts,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for kind in ActKind::ALL {
            let written = payload(kind).write().unwrap();
            assert_eq!(ActPayload::read(&written).unwrap(), payload(kind));
        }
    }

    #[test]
    fn every_departure_is_refused() {
        let good = String::from_utf8(payload(ActKind::Resume).write().unwrap()).unwrap();
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        for (from, to) in [
            (r#""aud":"demo","#, ""),
            (r#""aud":"demo""#, r#""aud":"demo","more":1"#),
            ("resume", "Resume"),
            ("resume", "revoke"),
            ("7f4df9b1", "7F4DF9B1"),
            ("case-closed", "Case closed"),
            ("09:00:00Z", "09:00:00.5Z"),
            (&one, &two),
            (&one, "01"),
            (&format!("\"{one}\",\"{two}\""), ""),
        ] {
            assert!(good.contains(from), "{from}");
            let text = good.replacen(from, to, 1);
            assert_eq!(
                ActPayload::read(text.as_bytes()).expect_err(&text).code(),
                Code::ActInvalid,
                "{text}"
            );
        }
    }

    #[test]
    fn a_review_is_closed_by_a_second_body_and_never_by_those_who_ordered() {
        let signer = |id: &str, body: &str| Signer {
            id: Id::parse(id).unwrap(),
            body: Id::parse(body).unwrap(),
        };
        let (judge, other_judge) = (signer("judge-1", "court"), signer("judge-2", "court"));
        let (prosecutor, inspector) = (
            signer("prosecutor", "prosecution"),
            signer("inspector", "inspection"),
        );
        let ordered = [judge.clone(), prosecutor.clone()];
        let closes = |reviewers: &[&Signer]| {
            may_close(
                &reviewers.iter().copied().cloned().collect::<Vec<_>>(),
                &ordered,
            )
        };
        assert!(!closes(&[]));
        assert!(!closes(&[&judge]));
        assert!(!closes(&[&judge, &prosecutor]), "those who ordered");
        assert!(!closes(&[&other_judge]), "a body that ordered, alone");
        assert!(!closes(&[&other_judge, &judge]), "one body");
        assert!(
            closes(&[&other_judge, &prosecutor]),
            "two bodies, one of them through a new person"
        );
        assert!(closes(&[&inspector]), "a body that had no part in it");
    }
}
