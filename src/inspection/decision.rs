//! The commission's decision on an inspection, and its end: statements signed with one of the
//! commission's register keys.
//!
//! Decree 2-09-165, art. 17: the decision names the controller with its address, the commissioned
//! agents, the object and the duration. The object is stated twice: in words for people, and as
//! sectors, actors and a time for the program.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::code::Code;
use crate::json::JsonObject;
use crate::refusal::Refusal;
use crate::register::{Id, Register};
use crate::statement::members::{is_reference, repeats};
use crate::statement::{Signed, Statement, StatementFault, UnverifiedStatement};

/// The longest inspection, in days.
pub const MOST_DAYS: i64 = 366;
/// The longest statement, in bytes.
pub const MAX_STATEMENT: usize = 64 << 10;

/// A decision of the commission to inspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectionDecision {
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
    /// The object, in words.
    pub object: String,
    /// The auditors of the register who get access.
    #[schema(value_type = Vec<String>)]
    pub auditors: Vec<Id>,
    /// Names of the sectors, exactly; empty: any sector.
    pub sectors: Vec<String>,
    /// Clients, organisations, authorities, officers, operators; empty: any actor.
    #[schema(value_type = Vec<String>)]
    pub actors: Vec<Id>,
    /// Entries before this time are not its object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// Entries from this time on are not its object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub to: Option<Timestamp>,
    /// The first second at which it is open.
    #[schema(value_type = String)]
    pub not_before: Timestamp,
    /// The first second at which it no longer is.
    #[schema(value_type = String)]
    pub not_after: Timestamp,
}

/// The commission ends an inspection before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectionClosing {
    /// The deployment's id.
    #[schema(value_type = String)]
    pub aud: Id,
    /// Which inspection.
    #[schema(value_type = String)]
    pub inspection: Uuid,
    /// Why, as a code that names no person.
    #[schema(value_type = String)]
    pub reason: Id,
    /// When it was written; whole seconds.
    #[schema(value_type = String)]
    pub time: Timestamp,
}

pub(super) fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    InspectionDecision::refuse(why)
}

/// Whether a text is one line of 1 to `most` characters without blanks around it.
fn plain(text: &str, most: usize) -> bool {
    let count = text.chars().count();
    (1..=most).contains(&count) && text.trim() == text && !text.chars().any(char::is_control)
}

impl Statement for InspectionDecision {
    const TYP: &'static str = "cloison-inspection+json";
    const NAME: &'static str = "the decision";
    const CODE: Code = Code::InspectionInvalid;
    const MAX_TEXT: usize = MAX_STATEMENT;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        let decision = Self {
            aud: members.id("aud")?,
            id: members.random_uuid("id")?,
            reference: members.text("reference")?,
            controller: members.text("controller")?,
            address: members.text("address")?,
            agents: members.texts("agents")?,
            object: members.text("object")?,
            auditors: members.ids("auditors")?,
            sectors: members.texts("sectors")?,
            actors: members.ids("actors")?,
            from: members.maybe_time("from")?,
            to: members.maybe_time("to")?,
            not_before: members.time("not_before")?,
            not_after: members.time("not_after")?,
        };
        decision.well_formed()?;
        Ok(decision)
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

impl InspectionDecision {
    fn well_formed(&self) -> Result<(), StatementFault> {
        let lines = [&self.controller, &self.address];
        let longest = SignedDuration::from_hours(24 * MOST_DAYS);
        let faults = [
            (
                !is_reference(&self.reference),
                "`reference` is not 1 to 40 of A-Z, 0-9, '/', '.' and '-'",
            ),
            (
                !lines.iter().all(|line| plain(line, 200)),
                "`controller` or `address` is not a line of 1 to 200 characters",
            ),
            (
                !plain(&self.object, 1_000),
                "`object` is not a line of 1 to 1000 characters",
            ),
            (
                self.agents.is_empty()
                    || self.agents.len() > 32
                    || !self.agents.iter().all(|agent| plain(agent, 120)),
                "`agents` does not name 1 to 32 agents, each in a line of 1 to 120 characters",
            ),
            (
                self.auditors.is_empty() || repeats(&self.auditors),
                "`auditors` is empty or names one twice",
            ),
            (
                repeats(&self.sectors) || repeats(&self.actors),
                "`sectors` or `actors` names one twice",
            ),
            (
                self.sectors.len() > 256 || self.actors.len() > 256,
                "`sectors` or `actors` names more than 256",
            ),
            (
                self.sectors.is_empty() && self.actors.is_empty(),
                "neither `sectors` nor `actors` names one: an inspection has an object",
            ),
            (
                self.from.zip(self.to).is_some_and(|(from, to)| from >= to),
                "`from` is not before `to`",
            ),
            (
                self.not_before >= self.not_after,
                "`not_before` is not before `not_after`",
            ),
            (
                self.not_after.duration_since(self.not_before) > longest,
                "an inspection lasts 366 days at most",
            ),
        ];
        match faults.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, why)) => Err(why.into()),
            None => Ok(()),
        }
    }
}

impl Statement for InspectionClosing {
    const TYP: &'static str = "cloison-inspection-close+json";
    const NAME: &'static str = "the statement";
    const CODE: Code = Code::InspectionInvalid;
    const MAX_TEXT: usize = MAX_STATEMENT;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        Ok(Self {
            aud: members.id("aud")?,
            inspection: members.random_uuid("inspection")?,
            reason: members.reason("reason")?,
            time: members.time("time")?,
        })
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

/// Verifies that the commission signed, with one of its pinned register keys, and nobody else.
fn by_commission<S: Statement>(text: &str, register: &Register) -> Result<Signed<S, Id>, Refusal> {
    let holder_of = |kid: &str| {
        let pinned = register
            .commission
            .iter()
            .find(|pinned| pinned.id.as_str() == kid)?;
        Some((pinned.id.clone(), &pinned.key))
    };
    let statement = UnverifiedStatement::<S>::read(text)?;
    statement.verify(
        &register.deployment,
        1,
        "the commission with one of its register keys",
        holder_of,
    )
}

/// Checks a decision against the register.
///
/// # Errors
/// [`Code::InspectionInvalid`]: form, deployment, signatures, an auditor or a sector that the
/// register does not know.
pub fn check(text: &str, register: &Register) -> Result<Signed<InspectionDecision, Id>, Refusal> {
    let signed = by_commission::<InspectionDecision>(text, register)?;
    let InspectionDecision {
        auditors, sectors, ..
    } = &signed.says;
    if let Some(unknown) = auditors
        .iter()
        .find(|id| register.auditors.values().all(|known| known != *id))
    {
        return Err(invalid(format!("the register has no auditor {unknown}")));
    }
    if sectors.iter().any(|name| register.sector(name).is_none()) {
        return Err(invalid(
            "the decision names a sector that the register does not have",
        ));
    }
    Ok(signed)
}

/// Checks the end of an inspection against the register.
///
/// # Errors
/// [`Code::InspectionInvalid`]: form, deployment, signatures.
pub fn check_closing(
    text: &str,
    register: &Register,
) -> Result<Signed<InspectionClosing, Id>, Refusal> {
    by_commission(text, register)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> InspectionDecision {
        let time = |text: &str| text.parse().unwrap();
        InspectionDecision {
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
        assert_eq!(InspectionDecision::read(&written).unwrap(), decision());
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
            assert_eq!(
                InspectionDecision::read(text.as_bytes())
                    .expect_err(&text)
                    .code(),
                Code::InspectionInvalid,
                "{text}"
            );
        }
    }
}
