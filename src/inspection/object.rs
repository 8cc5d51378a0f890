//! The object of an inspection: decides which entries it covers.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::InspectionView;
use crate::register::Register;

/// The object of an inspection, resolved against a register.
#[derive(Debug, Clone)]
pub struct InspectionObject {
    /// Sector names; empty: any.
    sectors: BTreeSet<String>,
    /// Ids of actors; empty: any.
    actors: BTreeSet<String>,
    /// Entries that name no sector are covered if they are by one of these: the actors, or the
    /// clients of the sectors.
    without_sector: BTreeSet<String>,
    from: Option<Timestamp>,
    to: Timestamp,
}

/// The members of an entry that are read.
#[derive(Deserialize)]
struct EntryNames<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    actor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(borrow)]
    operator: Option<Cow<'a, str>>,
    #[serde(borrow)]
    officer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    authority: Option<Cow<'a, str>>,
    #[serde(borrow)]
    organisation: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sector: Option<Cow<'a, str>>,
}

impl InspectionObject {
    /// The object of an inspection. It does not cover entries after its end.
    pub fn of(view: &InspectionView, register: &Register) -> Self {
        let decision = &view.decision;
        let actors: BTreeSet<String> = decision.actors.iter().map(ToString::to_string).collect();
        let of_sectors = register.clients.values().filter(|client| {
            actors.is_empty()
                && client
                    .sectors
                    .iter()
                    .any(|name| decision.sectors.contains(name))
        });
        let without_sector = actors
            .iter()
            .cloned()
            .chain(of_sectors.map(|client| client.id.to_string()))
            .collect();
        Self {
            sectors: decision.sectors.iter().cloned().collect(),
            actors,
            without_sector,
            from: decision.from,
            to: decision.to.map_or(view.end(), |to| to.min(view.end())),
        }
    }

    /// The first instant that it covers.
    pub fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// Whether the object covers an entry; false for any other text.
    pub fn covers(&self, entry: &[u8]) -> bool {
        let Ok(found) = serde_json::from_slice::<EntryNames<'_>>(entry) else {
            return false;
        };
        let by = |set: &BTreeSet<String>| {
            [
                &found.actor,
                &found.client,
                &found.operator,
                &found.officer,
                &found.authority,
                &found.organisation,
            ]
            .iter()
            .any(|name| name.as_ref().is_some_and(|name| set.contains(&**name)))
        };
        let is_about = match &found.sector {
            Some(sector) => {
                (self.sectors.is_empty() || self.sectors.contains(&**sector))
                    && (self.actors.is_empty() || by(&self.actors))
            }
            None => by(&self.without_sector),
        };
        is_about
            && found.time.parse().is_ok_and(|time: Timestamp| {
                self.from.is_none_or(|from| time >= from) && time < self.to
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(sectors: &[&str], actors: &[&str], clients: &[&str]) -> InspectionObject {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<BTreeSet<_>>()
        };
        InspectionObject {
            sectors: set(sectors),
            actors: set(actors),
            without_sector: set(actors).union(&set(clients)).cloned().collect(),
            from: Some("2026-11-22T00:00:00Z".parse().unwrap()),
            to: "2026-11-23T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn an_object_covers_itself_and_nothing_else() {
        let time = r#""time":"2026-11-22T10:00:00.000Z""#;
        let batch =
            format!(r#"{{"client":"cnss-health","organisation":"cnss","sector":"health",{time}}}"#);
        let child = batch.replace("\"health\"", "\"health.chu-rabat\"");
        let refusal = format!(r#"{{"actor":"cnss-health",{time}}}"#);
        let start = format!(r#"{{"entity":"vault",{time}}}"#);
        let by_sector = object(&["health"], &[], &["cnss-health"]);
        assert!(by_sector.covers(batch.as_bytes()) && by_sector.covers(refusal.as_bytes()));
        assert!(!by_sector.covers(child.as_bytes()) && !by_sector.covers(start.as_bytes()));
        let by_both = object(&["health"], &["cnss"], &[]);
        assert!(by_both.covers(batch.as_bytes()) && !by_both.covers(refusal.as_bytes()));
        assert!(!object(&["health"], &["dgi"], &[]).covers(batch.as_bytes()));
        assert!(object(&[], &["cnss"], &[]).covers(child.as_bytes()));
        for day in ["2026-11-21", "2026-11-23"] {
            assert!(
                !by_sector.covers(batch.replace("2026-11-22", day).as_bytes()),
                "{day}"
            );
        }
        assert!(!by_sector.covers(b"{}"));
    }
}
