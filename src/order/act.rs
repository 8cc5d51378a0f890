//! Acts upon orders: what the authority's approvers sign to stop an order, to let it go on, or to close its review.
//!
//! An act is JSON signed as JWS like an order. **Whoever brings it does not matter, and bringing it twice does nothing**: the
//! acts upon an order are a set, and its state is read off that set, in whatever order they came. So two sides need only have
//! the same set to be of one mind.
//!
//! | act | who signs | what it does |
//! |---|---|---|
//! | `revoke` | any one approver of the order's authority | ends the order, for good |
//! | `suspend` | any one approver | stops it until every suspension is lifted |
//! | `resume` | a quorum of the authority, as for an order that is not force majeure | lifts the suspensions that it names |
//! | `close-review` | see [`may_close`] | closes the review that force majeure opened |
//!
//! One person may stop, because a stop that was wrong costs time and one that did not come costs a person's identity. Only a
//! quorum may let go on, because that is what an order is.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check::{enough, signed};
use super::payload::{time, uuid};
use super::{Refusal, Signer};
use crate::code::Code;
use crate::jws::{self, BadSignature, JwsError, Members};
use crate::register::{Id, Register};

/// The `typ` of an act's signatures.
pub const ACT_TYP: &str = "cloison-act+json";

/// The longest act, in bytes: room for every signature there may be and many suspensions. Sides keep acts for good, also
/// those that a stolen node makes up.
pub const MAX_ACT: usize = 16 << 10;

/// What an act does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Ends the order for good.
    Revoke,
    /// Stops it until that is lifted.
    Suspend,
    /// Lifts suspensions.
    Resume,
    /// Closes the review of an order under force majeure.
    CloseReview,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Revoke, Kind::Suspend, Kind::Resume, Kind::CloseReview];

    /// The spelling in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Revoke => "revoke",
            Kind::Suspend => "suspend",
            Kind::Resume => "resume",
            Kind::CloseReview => "close-review",
        }
    }
}

/// What an act says: its payload, member by member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActPayload {
    /// The deployment's id.
    pub aud: Id,
    /// What is done.
    pub act: Kind,
    /// The order's authority, whose approvers sign.
    pub authority: Id,
    /// The order's id.
    pub order: Uuid,
    /// Why, as a code that names nobody.
    pub reason: Id,
    /// When it was written; whole seconds.
    pub time: Timestamp,
    /// Of `resume`: SHA-256 of the payload of each suspension that it lifts; at least one. Of the others: empty.
    pub lifts: Vec<[u8; 32]>,
}

/// The payload as it is written, its members in this order.
#[derive(Serialize)]
struct Written<'a> {
    aud: &'a Id,
    act: Kind,
    authority: &'a Id,
    order: Uuid,
    reason: &'a Id,
    time: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifts: Vec<String>,
}

fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::ActInvalid, why)
}

fn unreadable(error: JwsError) -> Refusal {
    invalid(format!("the act: {error}"))
}

impl ActPayload {
    /// Reads a payload, strictly.
    ///
    /// # Errors
    /// [`Code::ActInvalid`], saying which member is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut members = Members::parse(bytes).map_err(unreadable)?;
        let mut text = |name| members.text(name).map_err(unreadable);
        let id = |text: String, why| Id::parse(&text).ok_or_else(|| invalid(why));
        let kind = text("act")?;
        let act = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        let act = act.ok_or_else(|| invalid("`act` is none of revoke, suspend, resume, close-review"))?;
        let mut payload = ActPayload {
            aud: id(text("aud")?, "`aud` is no id")?,
            act,
            authority: id(text("authority")?, "`authority` is no id")?,
            order: uuid(&text("order")?).ok_or_else(|| invalid("`order` is not a UUID in lower case with hyphens"))?,
            reason: id(text("reason")?, "`reason` is not a code of a-z, 0-9 and '-'")?,
            time: time(&text("time")?).ok_or_else(|| invalid("`time` is not written like 2026-11-22T09:00:00Z"))?,
            lifts: vec![],
        };
        if act == Kind::Resume {
            let lifts = members.texts("lifts").map_err(unreadable)?;
            let digest = |text: &String| data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok();
            let digests: Option<BTreeSet<[u8; 32]>> = lifts.iter().map(digest).collect();
            let digests = digests.filter(|set| !set.is_empty() && set.len() == lifts.len());
            let digests = digests.ok_or_else(|| invalid("`lifts` is not a list of digests, each once"))?;
            payload.lifts = digests.into_iter().collect();
        }
        members.end().map_err(unreadable)?;
        Ok(payload)
    }

    /// The payload as compact JSON.
    ///
    /// # Errors
    /// [`Code::ActInvalid`] when it is not one that can be read.
    pub fn write(&self) -> Result<Vec<u8>, Refusal> {
        let written = Written {
            aud: &self.aud,
            act: self.act,
            authority: &self.authority,
            order: self.order,
            reason: &self.reason,
            time: self.time,
            lifts: self.lifts.iter().map(|digest| data_encoding::HEXLOWER.encode(digest)).collect(),
        };
        let bytes = serde_json::to_vec(&written).map_err(|_| invalid("the act cannot be written as JSON"))?;
        Self::read(&bytes)?;
        Ok(bytes)
    }
}

/// Reads the envelope of an act, at most [`MAX_ACT`] bytes of it.
fn parse(text: &str) -> Result<jws::Unverified, Refusal> {
    if text.len() > MAX_ACT {
        return Err(invalid("an act has at most 16 KiB"));
    }
    jws::parse(text, ACT_TYP).map_err(unreadable)
}

/// An act without a signature, to be signed with [`sign_act`].
///
/// # Errors
/// As [`ActPayload::write`].
pub fn draft_act(payload: &ActPayload) -> Result<String, Refusal> {
    Ok(jws::draft(&payload.write()?))
}

/// The act with one more signature.
///
/// # Errors
/// [`Code::ActInvalid`] when the text is no act, or `kid` signed it already.
pub fn sign_act(text: &str, kid: &str, key: &SigningKey) -> Result<String, Refusal> {
    jws::add_signature(text, ACT_TYP, kid, key).map_err(unreadable)
}

/// An act whose signatures were verified, and which its signers may do as far as the register tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// What it says.
    pub payload: ActPayload,
    /// SHA-256 of its payload, 32 bytes: what it is known by.
    pub digest: [u8; 32],
    /// The act in its one spelling: what is stored and sent on.
    pub text: String,
    /// Who signed.
    pub signers: Vec<Signer>,
}

/// What an act says and what it is known by, verifying nothing.
///
/// # Errors
/// [`Code::ActInvalid`] when it is not of the strict form.
pub fn read_act(text: &str) -> Result<(ActPayload, [u8; 32]), Refusal> {
    let jws = parse(text)?;
    Ok((ActPayload::read(jws.payload())?, jws.digest()))
}

/// What the register makes of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Those who signed may do it.
    Good(Act),
    /// The register cannot say so: it does not know a signer, or too few have signed for what is done. It may have been good
    /// under an earlier register. Why comes with it: [`Code::ActInvalid`] or [`Code::OrderQuorum`].
    Unproven(Refusal),
}

/// Judges an act by the register alone, so that two sides with one register judge it alike. A stop is never refused because of
/// a time: neither its own nor ours.
///
/// # Errors
/// [`Code::ActInvalid`] for what nobody honest hands on: form, deployment, authority, a signature that does not verify under
/// the key that the register has for its signer.
pub fn judge_act(text: &str, register: &Register) -> Result<Verdict, Refusal> {
    let jws = parse(text)?;
    let payload = ActPayload::read(jws.payload())?;
    if payload.aud != register.deployment {
        return Err(invalid("the act is for another deployment"));
    }
    let authority = register.authorities.get(&payload.authority);
    let authority = authority.ok_or_else(|| invalid("the register knows no such authority"))?;
    let persons = match signed(&jws, authority).all_good() {
        Ok(persons) => persons,
        Err(BadSignature::Forged(_)) => return Err(invalid("a signature does not verify")),
        Err(BadSignature::Unknown(_)) => {
            return Ok(Verdict::Unproven(invalid("a signer is no approver of the authority")));
        }
    };
    let signers: Vec<_> = persons.into_iter().map(Signer::of).collect();
    let bodies: BTreeSet<_> = signers.iter().map(|signer| &signer.body).collect();
    let wanted = match payload.act {
        Kind::Resume => enough(signers.len(), bodies.len(), authority.quorum),
        Kind::Revoke | Kind::Suspend | Kind::CloseReview if signers.is_empty() => {
            Err(Refusal::new(Code::OrderQuorum, "nobody has signed it"))
        }
        Kind::Revoke | Kind::Suspend | Kind::CloseReview => Ok(()),
    };
    Ok(match wanted {
        Ok(()) => Verdict::Good(Act { payload, digest: jws.digest(), text: jws.to_text(), signers }),
        Err(refusal) => Verdict::Unproven(refusal),
    })
}

/// The act, where it is good.
///
/// # Errors
/// Those of [`judge_act`], and why it is not good.
pub fn check_act(text: &str, register: &Register) -> Result<Act, Refusal> {
    match judge_act(text, register)? {
        Verdict::Good(act) => Ok(act),
        Verdict::Unproven(refusal) => Err(refusal),
    }
}

/// Whether these persons may close the review of an order that those signed: a second body must have looked, and somebody
/// who had no part in the order. That is so when one of them is of a body that did not sign the order at all; or, where
/// the authority has no such body, when they are of two bodies and at least one of them did not sign it.
pub fn may_close(reviewers: &[Signer], ordered: &[Signer]) -> bool {
    let new_body = |signer: &Signer| ordered.iter().all(|other| other.body != signer.body);
    let new_person = |signer: &Signer| ordered.iter().all(|other| other.id != signer.id);
    let bodies: BTreeSet<_> = reviewers.iter().map(|signer| &signer.body).collect();
    reviewers.iter().any(new_body) || bodies.len() >= 2 && reviewers.iter().any(new_person)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(act: Kind) -> ActPayload {
        let lifts = if act == Kind::Resume { vec![[1; 32], [2; 32]] } else { vec![] };
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
        for kind in Kind::ALL {
            let written = payload(kind).write().unwrap();
            assert_eq!(ActPayload::read(&written).unwrap(), payload(kind));
        }
    }

    #[test]
    fn every_departure_is_refused() {
        let good = String::from_utf8(payload(Kind::Resume).write().unwrap()).unwrap();
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
            assert_eq!(ActPayload::read(text.as_bytes()).expect_err(&text).code(), Code::ActInvalid, "{text}");
        }
    }

    #[test]
    fn a_review_is_closed_by_a_second_body_and_never_by_those_who_ordered() {
        let signer = |id: &str, body: &str| Signer { id: Id::parse(id).unwrap(), body: Id::parse(body).unwrap() };
        let (judge, other_judge) = (signer("judge-1", "court"), signer("judge-2", "court"));
        let (prosecutor, inspector) = (signer("prosecutor", "prosecution"), signer("inspector", "inspection"));
        let ordered = [judge.clone(), prosecutor.clone()];
        let closes =
            |reviewers: &[&Signer]| may_close(&reviewers.iter().copied().cloned().collect::<Vec<_>>(), &ordered);
        assert!(!closes(&[]));
        assert!(!closes(&[&judge]));
        assert!(!closes(&[&judge, &prosecutor]), "those who ordered");
        assert!(!closes(&[&other_judge]), "a body that ordered, alone");
        assert!(!closes(&[&other_judge, &judge]), "one body");
        assert!(closes(&[&other_judge, &prosecutor]), "two bodies, one of them through somebody new");
        assert!(closes(&[&inspector]), "a body that had no part in it");
    }
}
