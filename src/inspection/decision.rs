//! What the commission decides on an inspection, and that it is over: statements signed with one of its register keys.
//!
//! Decree 2-09-165, art. 17: the decision names the controller with its address, the commissioned agents, the object and the
//! duration. The object is written twice: in words for people, and as sectors, actors and a time for the doors.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::code::Code;
use crate::jws::{self, JwsError, Members};
use crate::refusal::Refusal;
use crate::register::{Id, Register};

/// The `typ` of a decision's signatures.
pub const DECISION_TYP: &str = "cloison-inspection+json";
/// The `typ` of the signatures under its end.
pub const CLOSING_TYP: &str = "cloison-inspection-close+json";
/// The longest inspection, in days.
pub const MOST_DAYS: i64 = 366;
/// The longest statement, in bytes.
pub const MAX_STATEMENT: usize = 64 << 10;

/// A decision of the commission to inspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The deployment's id.
    #[schema(value_type = String)]
    pub aud: Id,
    /// The inspection's id: a random UUID (version 4).
    #[schema(value_type = String)]
    pub id: Uuid,
    /// The commission's reference: `[A-Z0-9/.-]{1,40}`.
    pub reference: String,
    /// The controller inspected.
    pub controller: String,
    /// Its address.
    pub address: String,
    /// The commissioned agents, by name.
    pub agents: Vec<String>,
    /// What it is about, in words.
    pub object: String,
    /// The auditors of the register to whom it opens.
    #[schema(value_type = Vec<String>)]
    pub auditors: Vec<Id>,
    /// Sectors, exactly; none: not narrowed by sectors.
    pub sectors: Vec<String>,
    /// Clients, organisations, authorities, officers, operators; none: not narrowed by actors.
    #[schema(value_type = Vec<String>)]
    pub actors: Vec<Id>,
    /// What was logged before is not its object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// Nor what was logged from here on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub to: Option<Timestamp>,
    /// It is open from this second …
    #[schema(value_type = String)]
    pub not_before: Timestamp,
    /// … until before this one.
    #[schema(value_type = String)]
    pub not_after: Timestamp,
}

/// The commission ends an inspection before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// The deployment's id.
    #[schema(value_type = String)]
    pub aud: Id,
    /// Which inspection.
    #[schema(value_type = String)]
    pub inspection: Uuid,
    /// Why, as a code that names nobody.
    #[schema(value_type = String)]
    pub reason: Id,
    /// When it was written; whole seconds.
    #[schema(value_type = String)]
    pub time: Timestamp,
}

/// A statement whose signatures were verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What it says.
    pub says: T,
    /// SHA-256 of its payload, 32 bytes.
    pub digest: [u8; 32],
    /// The commission's keys that signed, by id.
    pub signers: Vec<Id>,
}

pub(super) fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InspectionInvalid, why)
}

fn unreadable(error: JwsError) -> Refusal {
    invalid(format!("the statement: {error}"))
}

fn id(text: String, why: &'static str) -> Result<Id, Refusal> {
    Id::parse(&text).ok_or_else(|| invalid(why))
}

fn uuid(text: &str, why: &'static str) -> Result<Uuid, Refusal> {
    let read = Uuid::try_parse(text).ok().filter(|uuid| uuid.hyphenated().to_string() == text);
    read.filter(|uuid| uuid.get_version_num() == 4).ok_or_else(|| invalid(why))
}

fn time(text: &str, why: &'static str) -> Result<Timestamp, Refusal> {
    let read = text.parse::<Timestamp>().ok().filter(|time| time.subsec_nanosecond() == 0 && time.to_string() == text);
    read.ok_or_else(|| invalid(why))
}

/// Text for people: one line of 1 to `most` characters, nothing before and behind.
fn plain(text: &str, most: usize) -> bool {
    let count = text.chars().count();
    (1..=most).contains(&count) && text.trim() == text && !text.chars().any(char::is_control)
}

fn distinct<T: Ord>(list: &[T]) -> bool {
    list.iter().collect::<BTreeSet<_>>().len() == list.len()
}

impl Decision {
    /// Reads a payload, strictly.
    ///
    /// # Errors
    /// [`Code::InspectionInvalid`], saying which member is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut members = Members::parse(bytes).map_err(unreadable)?;
        let from = members.maybe_text("from").map_err(unreadable)?;
        let to = members.maybe_text("to").map_err(unreadable)?;
        let mut texts = |name| members.texts(name).map_err(unreadable);
        let (agents, sectors) = (texts("agents")?, texts("sectors")?);
        let (auditors, actors) = (texts("auditors")?, texts("actors")?);
        let mut text = |name| members.text(name).map_err(unreadable);
        let decision = Decision {
            aud: id(text("aud")?, "`aud` is no id")?,
            id: uuid(&text("id")?, "`id` is not a random UUID in lower case with hyphens")?,
            reference: text("reference")?,
            controller: text("controller")?,
            address: text("address")?,
            agents,
            object: text("object")?,
            auditors: auditors.into_iter().map(|one| id(one, "an auditor is no id")).collect::<Result<_, _>>()?,
            sectors,
            actors: actors.into_iter().map(|one| id(one, "an actor is no id")).collect::<Result<_, _>>()?,
            from: from.map(|text| time(&text, "`from` is not written like 2026-11-22T09:00:00Z")).transpose()?,
            to: to.map(|text| time(&text, "`to` is not written like 2026-11-22T09:00:00Z")).transpose()?,
            not_before: time(&text("not_before")?, "`not_before` is not written like 2026-11-22T09:00:00Z")?,
            not_after: time(&text("not_after")?, "`not_after` is not written like 2026-11-22T09:00:00Z")?,
        };
        members.end().map_err(unreadable)?;
        decision.well_formed()?;
        Ok(decision)
    }

    fn well_formed(&self) -> Result<(), Refusal> {
        let reference = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"/.-".contains(&b);
        let lines = [&self.controller, &self.address];
        let longest = SignedDuration::from_hours(24 * MOST_DAYS);
        let faults = [
            (
                !(1..=40).contains(&self.reference.len()) || !self.reference.bytes().all(reference),
                "`reference` is not 1 to 40 of A-Z, 0-9, '/', '.' and '-'",
            ),
            (
                !lines.iter().all(|line| plain(line, 200)),
                "`controller` or `address` is not a line of 1 to 200 characters",
            ),
            (!plain(&self.object, 1_000), "`object` is not a line of 1 to 1000 characters"),
            (
                self.agents.is_empty() || self.agents.len() > 32 || !self.agents.iter().all(|agent| plain(agent, 120)),
                "`agents` does not name 1 to 32 agents, each in a line of 1 to 120 characters",
            ),
            (self.auditors.is_empty() || !distinct(&self.auditors), "`auditors` is empty or names one twice"),
            (!distinct(&self.sectors) || !distinct(&self.actors), "`sectors` or `actors` names one twice"),
            (self.sectors.len() > 256 || self.actors.len() > 256, "`sectors` or `actors` names more than 256"),
            (
                self.sectors.is_empty() && self.actors.is_empty(),
                "neither `sectors` nor `actors` names one: an inspection has an object",
            ),
            (self.from.zip(self.to).is_some_and(|(from, to)| from >= to), "`from` is not before `to`"),
            (self.not_before >= self.not_after, "`not_before` is not before `not_after`"),
            (self.not_after.duration_since(self.not_before) > longest, "an inspection lasts 366 days at most"),
        ];
        match faults.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, why)) => Err(invalid(why)),
            None => Ok(()),
        }
    }

    /// The payload as compact JSON.
    ///
    /// # Errors
    /// [`Code::InspectionInvalid`] when it is not one that can be read.
    pub fn write(&self) -> Result<Vec<u8>, Refusal> {
        let bytes = serde_json::to_vec(self).map_err(|_| invalid("the decision cannot be written as JSON"))?;
        Self::read(&bytes)?;
        Ok(bytes)
    }
}

impl Closing {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut members = Members::parse(bytes).map_err(unreadable)?;
        let mut text = |name| members.text(name).map_err(unreadable);
        let closing = Closing {
            aud: id(text("aud")?, "`aud` is no id")?,
            inspection: uuid(&text("inspection")?, "`inspection` is not a random UUID in lower case with hyphens")?,
            reason: id(text("reason")?, "`reason` is not a code of a-z, 0-9 and '-'")?,
            time: time(&text("time")?, "`time` is not written like 2026-11-22T09:00:00Z")?,
        };
        members.end().map_err(unreadable)?;
        Ok(closing)
    }

    /// The payload as compact JSON.
    ///
    /// # Errors
    /// As [`Decision::write`].
    pub fn write(&self) -> Result<Vec<u8>, Refusal> {
        let bytes = serde_json::to_vec(self).map_err(|_| invalid("the statement cannot be written as JSON"))?;
        Self::read(&bytes)?;
        Ok(bytes)
    }
}

/// A payload, signed with a register key of the commission's.
///
/// # Errors
/// [`Code::InspectionInvalid`] when `kid` is no id.
pub fn sign(payload: &[u8], typ: &str, kid: &str, key: &SigningKey) -> Result<String, Refusal> {
    jws::add_signature(&jws::draft(payload), typ, kid, key).map_err(unreadable)
}

/// Verifies that the commission signed: one of its pinned keys, and nobody else.
fn verified(text: &str, typ: &str, register: &Register) -> Result<(jws::Unverified, Vec<Id>), Refusal> {
    if text.len() > MAX_STATEMENT {
        return Err(invalid("a statement has at most 64 KiB"));
    }
    let jws = jws::parse(text, typ).map_err(unreadable)?;
    let holder_of = |kid: &str| {
        let pinned = register.commission.iter().find(|pinned| pinned.id.as_str() == kid)?;
        Some((pinned.id.clone(), &pinned.key))
    };
    let bad = |_| invalid("a signature does not verify, or its key is no register key of the commission");
    let signers = jws.signatures(holder_of).all_good().map_err(bad)?;
    match signers.is_empty() {
        true => Err(invalid("the commission has not signed it")),
        false => Ok((jws, signers)),
    }
}

/// Checks a decision against the register.
///
/// # Errors
/// [`Code::InspectionInvalid`]: form, deployment, signatures, an auditor or a sector that the register does not know.
pub fn check(text: &str, register: &Register) -> Result<Signed<Decision>, Refusal> {
    let (jws, signers) = verified(text, DECISION_TYP, register)?;
    let says = Decision::read(jws.payload())?;
    if says.aud != register.deployment {
        return Err(invalid("the decision is for another deployment"));
    }
    if let Some(unknown) = says.auditors.iter().find(|id| register.auditors.values().all(|known| known != *id)) {
        return Err(invalid(format!("the register has no auditor {unknown}")));
    }
    if says.sectors.iter().any(|name| register.sector(name).is_none()) {
        return Err(invalid("the decision names a sector that the register does not have"));
    }
    Ok(Signed { says, digest: jws.digest(), signers })
}

/// Checks the end of an inspection against the register.
///
/// # Errors
/// [`Code::InspectionInvalid`]: form, deployment, signatures.
pub fn check_closing(text: &str, register: &Register) -> Result<Signed<Closing>, Refusal> {
    let (jws, signers) = verified(text, CLOSING_TYP, register)?;
    let says = Closing::read(jws.payload())?;
    match says.aud == register.deployment {
        true => Ok(Signed { says, digest: jws.digest(), signers }),
        false => Err(invalid("the statement is for another deployment")),
    }
}

/// Reads a decision's payload, verifying no signature.
///
/// # Errors
/// [`Code::InspectionInvalid`] when it is not of the strict form.
pub fn read_unverified(text: &str) -> Result<Decision, Refusal> {
    Decision::read(jws::parse(text, DECISION_TYP).map_err(unreadable)?.payload())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> Decision {
        let time = |text: &str| text.parse().unwrap();
        Decision {
            aud: Id::parse("demo").unwrap(),
            id: "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d".parse().unwrap(),
            reference: "D-118/2026".into(),
            controller: "Caisse nationale de sécurité sociale".into(),
            address: "Boulevard Mohammed V, Casablanca".into(),
            agents: vec!["A. Agent".into(), "B. Agent".into()],
            object: "Reimbursement of care: who was re-identified, and why".into(),
            auditors: vec![Id::parse("auditor").unwrap()],
            sectors: vec!["health".into()],
            actors: vec![],
            from: Some(time("2026-01-01T00:00:00Z")),
            to: None,
            not_before: time("2026-11-22T09:00:00Z"),
            not_after: time("2026-12-22T09:00:00Z"),
        }
    }

    #[test]
    fn what_is_written_reads_back_and_every_departure_is_refused() {
        let written = decision().write().unwrap();
        assert_eq!(Decision::read(&written).unwrap(), decision());
        let good = String::from_utf8(written).unwrap();
        for (from, to) in [
            (r#""aud":"demo""#, r#""aud":"Demo""#),
            ("-4fb6-", "-1fb6-"),
            ("D-118/2026", "d 118"),
            ("Boulevard", " Boulevard"),
            ("A. Agent", ""),
            (r#"["A. Agent","B. Agent"]"#, "[]"),
            (r#"["auditor"]"#, "[]"),
            (r#"["auditor"]"#, r#"["auditor","auditor"]"#),
            (r#"["health"]"#, "[]"),
            ("2026-01-01T00:00:00Z", "2026-01-01"),
            ("2026-12-22T09:00:00Z", "2026-11-22T09:00:00Z"),
            ("2026-12-22T09:00:00Z", "2028-12-22T09:00:00Z"),
            (r#""actors":[]"#, r#""actors":[],"more":1"#),
            ("Reimbursement", "Reim\\nbursement"),
        ] {
            assert!(good.contains(from), "{from}");
            let text = good.replacen(from, to, 1);
            assert_eq!(Decision::read(text.as_bytes()).expect_err(&text).code(), Code::InspectionInvalid, "{text}");
        }
    }
}
