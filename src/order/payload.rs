//! The payload of an order, member by member. `docs/orders.md` states the same for other
//! implementers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::code::Code;
use crate::json::JsonObject;
use crate::register::Id;
use crate::statement::members::{is_reference, repeats};
use crate::statement::{Statement, StatementFault};

/// The payload of an order. Once read it is well formed; [`super::check()`] decides whether the
/// register allows it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct OrderPayload {
    /// The deployment's id.
    pub aud: Id,
    /// The order's own id, random: UUID version 4.
    pub id: Uuid,
    /// The authority whose approvers sign.
    pub authority: Id,
    /// The legal ground.
    pub basis: LegalBasis,
    /// The case reference: `[A-Z0-9/.-]{1,40}`.
    pub case: String,
    /// The purpose: a code, so that it can be logged without naming a person.
    pub purpose: Id,
    /// Names of the sectors, exactly as written and never their descendants; at least one, each
    /// once.
    pub sectors: Vec<String>,
    /// Which pseudonyms.
    #[serde(flatten)]
    pub scope: PseudonymScope,
    /// The first second at which it is valid.
    pub not_before: Timestamp,
    /// The first second at which it no longer is.
    pub not_after: Timestamp,
    /// Who may execute it; at least one, each once.
    pub officers: Vec<Id>,
    /// Before this second the persons concerned are not told that they were re-identified under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inform_after: Option<Timestamp>,
    /// When it was issued; absent in orders of earlier versions. A side that was restored without
    /// places takes only orders that were issued later ([`crate::entity::RestoreLoss`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
}

/// The longest that an order may delay the notice beyond its own end, in days: five years.
pub const MOST_DELAY_DAYS: i64 = 5 * 366;

/// The legal ground of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LegalBasis {
    /// A court's decision.
    Judicial,
    /// A law that names the authority.
    Statutory {
        /// Which law and article: 1 to 120 letters, digits, spaces and ``,.;:()/'’°º-``.
        article: String,
    },
    /// Force majeure relating to security.
    ForceMajeure {
        /// Inside or outside the State.
        security: SecuritySide,
    },
    /// A sector needs the pseudonyms of its new epoch: they are migrated, and no identifier is
    /// shown.
    Continuity(Continuity),
}

/// The old and the new epoch of the order's one sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Continuity {
    /// The epoch to leave, at least 1.
    pub from: u32,
    /// The epoch to go to, a later one; it must be the current one when the order is used.
    pub to: u32,
}

/// The side of the State's security that force majeure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecuritySide {
    /// Inside the State.
    Internal,
    /// Outside the State.
    External,
}

impl SecuritySide {
    /// The spelling in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            SecuritySide::Internal => "internal",
            SecuritySide::External => "external",
        }
    }
}

/// Which pseudonyms an order opens.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub enum PseudonymScope {
    /// Exactly these pseudonyms, by sector, in the sector's text form.
    #[serde(rename = "pseudonyms")]
    Listed(BTreeMap<String, Vec<String>>),
    /// Any pseudonyms of its sectors, but at most this many.
    #[serde(rename = "limit")]
    AtMost(u64),
}

impl fmt::Debug for PseudonymScope {
    /// Counts only: a pseudonym has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PseudonymScope::Listed(lists) => {
                write!(
                    f,
                    "Listed({} in all)",
                    lists.values().map(Vec::len).sum::<usize>()
                )
            }
            PseudonymScope::AtMost(limit) => write!(f, "AtMost({limit})"),
        }
    }
}

impl fmt::Debug for OrderPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderPayload")
            .field("id", &self.id)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Statement for OrderPayload {
    const TYP: &'static str = "cloison-order+json";
    const NAME: &'static str = "the order";
    const CODE: Code = Code::OrderMalformed;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        let payload = OrderPayload {
            aud: members.id("aud")?,
            id: members.uuid("id")?,
            authority: members.id("authority")?,
            basis: LegalBasis::take(members.object("basis")?)?,
            case: members.text("case")?,
            purpose: members.id("purpose")?,
            sectors: members.texts("sectors")?,
            scope: PseudonymScope::take(members)?,
            not_before: members.time("not_before")?,
            not_after: members.time("not_after")?,
            officers: members.ids("officers")?,
            inform_after: members.maybe_time("inform_after")?,
            issued: members.maybe_time("issued")?,
        };
        match payload.faults().into_iter().next() {
            Some(fault) => Err(StatementFault::Rule(fault)),
            None => Ok(payload),
        }
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

impl OrderPayload {
    /// Every broken rule of those that need no register and that no type expresses. States which
    /// member is wrong, counted from 1, and never its value.
    pub fn faults(&self) -> Vec<Cow<'static, str>> {
        let mut faults: Vec<Cow<'static, str>> = vec![];
        if !is_reference(&self.case) {
            faults.push("`case` is not 1 to 40 of A-Z, 0-9, '/', '.' and '-'".into());
        }
        if let LegalBasis::Statutory { article } = &self.basis {
            let plain = |c: char| c.is_alphanumeric() || " ,.;:()/'’°º-".contains(c);
            if !(1..=120).contains(&article.chars().count())
                || !article.chars().all(plain)
                || article.trim() != article
            {
                faults.push(
                    "`article` is not 1 to 120 letters, digits, spaces and ,.;:()/'’°º-".into(),
                );
            }
        }
        if let LegalBasis::Continuity(Continuity { from, to }) = self.basis {
            if from == 0 || from >= to {
                faults.push("`from` and `to` are not two epochs, the later one last".into());
            }
            if self.sectors.len() != 1 || !matches!(self.scope, PseudonymScope::AtMost(_)) {
                faults.push("an order for continuity names one sector and has a `limit`".into());
            }
        }
        if self.id.get_version_num() != 4 || self.id.get_variant() != uuid::Variant::RFC4122 {
            faults.push("`id` is not a random UUID (version 4)".into());
        }
        self.faults_of_times(&mut faults);
        if self.sectors.is_empty() || repeats(&self.sectors) {
            faults.push("`sectors` is empty or names one twice".into());
        }
        if self.officers.is_empty() || repeats(&self.officers) {
            faults.push("`officers` is empty or names one twice".into());
        }
        self.faults_of_scope(&mut faults);
        faults
    }

    fn faults_of_times(&self, faults: &mut Vec<Cow<'static, str>>) {
        // A time with a fraction would not read back.
        for (time, fault) in [
            (self.not_before, "`not_before` has a fraction"),
            (self.not_after, "`not_after` has a fraction"),
        ] {
            if time.subsec_nanosecond() != 0 {
                faults.push(fault.into());
            }
        }
        if let Some(inform_after) = self.inform_after {
            let longest = jiff::SignedDuration::from_hours(24 * MOST_DELAY_DAYS);
            if inform_after.subsec_nanosecond() != 0 || inform_after <= self.not_before {
                faults.push("`inform_after` has a fraction or is not after `not_before`".into());
            }
            if inform_after.duration_since(self.not_after) > longest {
                faults.push("`inform_after` is more than five years after `not_after`".into());
            }
        }
        if let Some(issued) = self.issued
            && issued.subsec_nanosecond() != 0
        {
            faults.push("`issued` has a fraction".into());
        }
        if self.not_before >= self.not_after {
            faults.push("`not_before` is not before `not_after`".into());
        }
    }

    /// Every sector has its list and every list its sector, so that nobody signs for more or less
    /// than they read.
    fn faults_of_scope(&self, faults: &mut Vec<Cow<'static, str>>) {
        let lists = match &self.scope {
            PseudonymScope::AtMost(0) => return faults.push("`limit` is 0".into()),
            PseudonymScope::AtMost(_) => return,
            PseudonymScope::Listed(lists) => lists,
        };
        if lists.len() > self.sectors.len() {
            faults.push("`pseudonyms` has a list for a sector that `sectors` does not name".into());
        }
        for (number, sector) in (1..).zip(&self.sectors) {
            match lists.get(sector) {
                Some(list) if repeats(list) => {
                    faults.push(
                        format!("the list in `pseudonyms` for sector {number} names one twice")
                            .into(),
                    );
                }
                Some(list) if !list.is_empty() => {}
                _ => faults.push(format!("`pseudonyms` lists none for sector {number}").into()),
            }
        }
    }
}

impl LegalBasis {
    fn take(mut members: JsonObject) -> Result<Self, StatementFault> {
        let basis = match members.text("kind")?.as_str() {
            "judicial" => LegalBasis::Judicial,
            "statutory" => LegalBasis::Statutory {
                article: members.text("article")?,
            },
            "force-majeure" => LegalBasis::ForceMajeure {
                security: security(&members.text("security")?)?,
            },
            "continuity" => LegalBasis::Continuity(Continuity {
                from: members.small("from")?,
                to: members.small("to")?,
            }),
            _ => {
                return Err(
                    "`kind` is none of judicial, statutory, force-majeure, continuity".into(),
                );
            }
        };
        members.end()?;
        Ok(basis)
    }

    /// The spelling of `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            LegalBasis::Judicial => "judicial",
            LegalBasis::Statutory { .. } => "statutory",
            LegalBasis::ForceMajeure { .. } => "force-majeure",
            LegalBasis::Continuity(_) => "continuity",
        }
    }
}

fn security(text: &str) -> Result<SecuritySide, StatementFault> {
    match text {
        "internal" => Ok(SecuritySide::Internal),
        "external" => Ok(SecuritySide::External),
        _ => Err("`security` is neither internal nor external".into()),
    }
}

impl PseudonymScope {
    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        match (
            members.maybe_object("pseudonyms")?,
            members.maybe_number("limit")?,
        ) {
            (Some(lists), None) => Ok(PseudonymScope::Listed(
                lists.into_texts_by_name("pseudonyms")?,
            )),
            (None, Some(limit)) => Ok(PseudonymScope::AtMost(limit)),
            _ => Err("there must be either `pseudonyms` or `limit`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"aud":"demo","id":"7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d","authority":"court","basis":{"kind":"judicial"},"case":"RABAT/2026-17.A","purpose":"investigation","sectors":["health"],"pseudonyms":{"health":["p1","p2"]},"not_before":"2026-11-22T09:00:00Z","not_after":"2026-11-23T09:00:00Z","officers":["karim"]}"#;

    #[test]
    fn what_is_written_reads_back_and_the_other_way_round() {
        for (from, to) in [
            ("", ""),
            (r#""pseudonyms":{"health":["p1","p2"]}"#, r#""limit":5"#),
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"statutory","article":"Loi n° 43-05, art. 19"}"#,
            ),
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"force-majeure","security":"external"}"#,
            ),
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"continuity","from":1,"to":4294967295}"#,
            ),
            (
                r#""officers":["karim"]"#,
                r#""officers":["karim"],"inform_after":"2027-11-22T09:00:00Z""#,
            ),
            (
                r#""officers":["karim"]"#,
                r#""officers":["karim"],"issued":"2026-11-21T17:30:00Z""#,
            ),
        ] {
            let text = GOOD.replace(from, to);
            // Continuity goes with a limit.
            let text = if to.contains("continuity") {
                text.replace(r#""pseudonyms":{"health":["p1","p2"]}"#, r#""limit":5"#)
            } else {
                text
            };
            let text = if from.is_empty() {
                GOOD.to_owned()
            } else {
                text
            };
            let payload =
                OrderPayload::read(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!(String::from_utf8(payload.write().unwrap()).unwrap(), text);
        }
    }

    /// Every departure from [`GOOD`] is refused, and the refusal does not quote it.
    fn assert_refused(departures: &[(&str, &str)]) {
        for (from, to) in departures {
            assert!(GOOD.contains(from), "{from}");
            let text = GOOD.replacen(from, to, 1);
            let refusal = OrderPayload::read(text.as_bytes()).expect_err(&text);
            assert_eq!(refusal.code(), Code::OrderMalformed, "{text}");
            assert!(!refusal.to_string().contains("sante1"), "{refusal}");
        }
    }

    #[test]
    fn audience_and_id_have_one_form() {
        assert_refused(&[
            (r#""aud":"demo""#, r#""aud":"Demo""#),
            (r#""aud":"demo","#, ""),
            (r#""aud":"demo""#, r#""aud":["demo"]"#),
            (r#""aud":"demo""#, r#""aud":"demo","aud":"demo""#),
            (r#""aud":"demo""#, r#""aud":"demo","sante1":1"#),
            ("7f4df9b1", "7F4DF9B1"),
            ("-4fb6-", "-1fb6-"),
            ("-9a4e-", "-ca4e-"),
            (
                "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d",
                "7f4df9b177f54fb69a4e0f2a8a5b6c3d",
            ),
            (
                "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d",
                "urn:uuid:7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d",
            ),
        ]);
    }

    #[test]
    fn a_legal_basis_has_exactly_its_members() {
        assert_refused(&[
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"judicial","article":"1"}"#,
            ),
            (r#"{"kind":"judicial"}"#, r#"{"kind":"continuity"}"#),
            (r#"{"kind":"judicial"}"#, r#"{"kind":"statutory"}"#),
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"statutory","article":" 1"}"#,
            ),
            (
                r#"{"kind":"judicial"}"#,
                "{\"kind\":\"statutory\",\"article\":\"a\u{202e}b\"}",
            ),
            (r#"{"kind":"judicial"}"#, r#"{"kind":"force-majeure"}"#),
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"force-majeure","security":"both"}"#,
            ),
            (r#"{"kind":"judicial"}"#, r#"["judicial"]"#),
            // All of these also have a list of pseudonyms, which an order for continuity must not
            // have.
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"continuity","from":1,"to":2}"#,
            ),
            (
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"continuity","from":1}"#,
            ),
            (r#"{"kind":"judicial"}"#, r#""judicial""#),
        ]);
    }

    #[test]
    fn case_and_scope_stay_within_their_bounds() {
        assert_refused(&[
            ("RABAT/2026-17.A", "Rabat"),
            ("RABAT/2026-17.A", ""),
            (
                "RABAT/2026-17.A",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            (r#"["health"]"#, r#"["health","health"]"#),
            (r#"["health"]"#, "[]"),
            (r#"["health"]"#, r#""health""#),
            (r#"["health"]"#, r#"["health","tax"]"#),
            (r#"["health"]"#, r#"["tax"]"#),
            (r#"["p1","p2"]"#, r#"["p1","p1"]"#),
            (r#"["p1","p2"]"#, "[]"),
            (r#"["p1","p2"]"#, "[1]"),
            (
                r#""pseudonyms":{"health":["p1","p2"]}"#,
                r#""pseudonyms":{"health":["p1","p2"]},"limit":3"#,
            ),
            (r#""pseudonyms":{"health":["p1","p2"]},"#, ""),
            (
                r#""pseudonyms":{"health":["p1","p2"]}"#,
                r#""pseudonyms":["p1"]"#,
            ),
            (r#""pseudonyms":{"health":["p1","p2"]}"#, r#""limit":0"#),
            (r#""pseudonyms":{"health":["p1","p2"]}"#, r#""limit":"3""#),
            (r#""pseudonyms":{"health":["p1","p2"]}"#, r#""limit":1.5"#),
            (r#""pseudonyms":{"health":["p1","p2"]}"#, r#""limit":null"#),
        ]);
    }

    #[test]
    fn times_and_officers_have_one_form() {
        assert_refused(&[
            ("2026-11-22T09:00:00Z", "2026-11-22T10:00:00+01:00"),
            ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00.5Z"),
            ("2026-11-22T09:00:00Z", "2026-11-22t09:00:00z"),
            ("2026-11-22T09:00:00Z", "2026-11-22"),
            ("2026-11-22T09:00:00Z", "2026-11-23T09:00:00Z"),
            ("2026-11-22T09:00:00Z", "2026-12-22T09:00:00Z"),
            (r#"["karim"]"#, r#"["karim"],"inform_after":"2027-11-22""#),
            (
                r#"["karim"]"#,
                r#"["karim"],"inform_after":"2026-11-22T09:00:00Z""#,
            ),
            (
                r#"["karim"]"#,
                r#"["karim"],"inform_after":"2032-11-22T09:00:00Z""#,
            ),
            (r#"["karim"]"#, "[]"),
            (r#"["karim"]"#, r#"["karim","karim"]"#),
            (r#"["karim"]"#, r#"["Karim"]"#),
        ]);
    }

    #[test]
    fn continuity_names_one_sector_two_epochs_and_a_limit() {
        let good = GOOD
            .replace(
                r#"{"kind":"judicial"}"#,
                r#"{"kind":"continuity","from":1,"to":2}"#,
            )
            .replace(r#""pseudonyms":{"health":["p1","p2"]}"#, r#""limit":5"#);
        assert!(OrderPayload::read(good.as_bytes()).is_ok());
        for (from, to) in [
            (r#""from":1"#, r#""from":0"#),
            (r#""from":1"#, r#""from":2"#),
            (r#""from":1"#, r#""from":"1""#),
            (r#""to":2"#, r#""to":4294967296"#),
            (r#""to":2"#, r#""to":2,"article":"1""#),
            (r#"["health"]"#, r#"["health","tax"]"#),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(
                OrderPayload::read(good.replace(from, to).as_bytes())
                    .unwrap_err()
                    .code(),
                Code::OrderMalformed,
                "{to}"
            );
        }
    }

    #[test]
    fn neither_payload_nor_scope_prints_a_pseudonym() {
        let payload = OrderPayload::read(GOOD.as_bytes()).unwrap();
        assert!(!format!("{payload:?} {:?}", payload.scope).contains("p1"));
    }
}
