//! Finds entries for people: by time, actor, sector, order and event.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;

use super::AuditEvent;

/// Conditions on an entry. A field that is `None` matches every entry.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Only entries at or after this time.
    pub from: Option<Timestamp>,
    /// Only entries before this time.
    pub to: Option<Timestamp>,
    /// Id of a client, operator, officer, authority or organisation that did what the entry says,
    /// signed what allowed it, or brought that.
    pub actor: Option<String>,
    /// Sector name.
    pub sector: Option<String>,
    /// Order id.
    pub order: Option<String>,
    /// What happened, such as `release`.
    pub event: Option<String>,
}

/// The members that a filter compares.
#[derive(Deserialize)]
struct FilterMembers<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    actor: Option<Cow<'a, str>>,
    client: Option<Cow<'a, str>>,
    operator: Option<Cow<'a, str>>,
    officer: Option<Cow<'a, str>>,
    authority: Option<Cow<'a, str>>,
    organisation: Option<Cow<'a, str>>,
    bearer: Option<Cow<'a, str>>,
    #[serde(default)]
    signers: Vec<Cow<'a, str>>,
    #[serde(default)]
    officers: Vec<Cow<'a, str>>,
    sector: Option<Cow<'a, str>>,
    order: Option<Cow<'a, str>>,
    #[serde(default)]
    opened: Vec<OpenedSector<'a>>,
}

/// A sector whose epoch a start opened.
#[derive(Deserialize)]
struct OpenedSector<'a> {
    sector: Cow<'a, str>,
}

impl<'a> FilterMembers<'a> {
    /// Everyone whom the entry names.
    fn actors(&self) -> impl Iterator<Item = &Cow<'a, str>> {
        [
            &self.actor,
            &self.client,
            &self.operator,
            &self.officer,
            &self.authority,
            &self.organisation,
            &self.bearer,
        ]
        .into_iter()
        .flatten()
        .chain(&self.signers)
        .chain(&self.officers)
    }
}

impl EntryFilter {
    /// Whether an entry matches. Bytes that are not an entry never match.
    pub fn matches(&self, entry: &[u8]) -> bool {
        serde_json::from_slice::<FilterMembers<'_>>(entry).is_ok_and(|found| self.is_met(&found))
    }

    /// The same, and notes the names that the entry has.
    pub fn matches_noting(&self, entry: &[u8], names: &mut LogNames) -> bool {
        let Ok(found) = serde_json::from_slice::<FilterMembers<'_>>(entry) else {
            names.foreign += 1;
            return false;
        };
        names.note(&found, self.order.as_deref());
        self.is_met(&found)
    }

    fn is_met(&self, found: &FilterMembers<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is(&self.sector, found.sector.as_deref())
            && is(&self.order, found.order.as_deref())
            && is(&self.event, Some(&found.event))
            && self
                .actor
                .as_ref()
                .is_none_or(|actor| found.actors().any(|name| name == actor))
            && self.in_time(&found.time)
    }

    fn in_time(&self, time: &str) -> bool {
        if self.from.is_none() && self.to.is_none() {
            return true;
        }
        let Ok(time) = time.parse::<Timestamp>() else {
            return false;
        };
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }
}

/// The most names of a kind that are remembered, so that a log of nonsense costs no memory.
const MOST_NAMES: usize = 10_000;

/// The names that a log has, to tell a name that did nothing from one that is misspelt.
#[derive(Debug, Default)]
pub struct LogNames {
    /// Everyone whom an entry names.
    pub actors: BTreeSet<String>,
    /// Sectors.
    pub sectors: BTreeSet<String>,
    /// Events.
    pub events: BTreeSet<String>,
    /// Whether an entry names the order that is looked for.
    pub has_order: bool,
    /// How many texts were no entries.
    pub foreign: u64,
}

impl LogNames {
    fn note(&mut self, found: &FilterMembers<'_>, order: Option<&str>) {
        let note = |names: &mut BTreeSet<String>, name: &str| {
            if !names.contains(name) && names.len() < MOST_NAMES {
                names.insert(name.to_owned());
            }
        };
        found.actors().for_each(|name| note(&mut self.actors, name));
        let opened = found.opened.iter().map(|opened| &opened.sector);
        found
            .sector
            .iter()
            .chain(opened)
            .for_each(|name| note(&mut self.sectors, name));
        note(&mut self.events, &found.event);
        self.has_order |= order.is_some() && found.order.as_deref() == order;
    }

    /// What is wrong with a filter whose names neither the log has nor `register_has`; the names
    /// that are known of that kind.
    pub fn unknown<'n>(
        &'n self,
        filter: &'n EntryFilter,
        register_has: &dyn Fn(NameKind, &str) -> bool,
    ) -> Option<UnknownName<'n>> {
        let lacks = |kind, name: &'n Option<String>, known: &'n BTreeSet<String>| {
            let name = name.as_deref()?;
            let is_known = known.contains(name) || register_has(kind, name);
            let known = known.iter().map(String::as_str);
            (!is_known).then(|| UnknownName {
                kind,
                name,
                known: known.collect(),
            })
        };
        let event = || {
            let name = filter.event.as_deref()?;
            let is_known = self.events.contains(name) || AuditEvent::NAMES.contains(&name);
            (!is_known).then(|| UnknownName {
                kind: NameKind::Event,
                name,
                known: AuditEvent::NAMES.to_vec(),
            })
        };
        let order = || {
            let name = filter.order.as_deref()?;
            (!self.has_order).then(|| UnknownName {
                kind: NameKind::Order,
                name,
                known: vec![],
            })
        };
        event()
            .or_else(|| lacks(NameKind::Sector, &filter.sector, &self.sectors))
            .or_else(|| lacks(NameKind::Actor, &filter.actor, &self.actors))
            .or_else(order)
    }
}

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// Someone who acts.
    Actor,
    /// A sector.
    Sector,
    /// What happened.
    Event,
    /// An order.
    Order,
}

/// A name that is not known, and those that are.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownName<'n> {
    /// What it is of.
    pub kind: NameKind,
    /// The name.
    pub name: &'n str,
    /// Names of that kind.
    pub known: Vec<&'n str>,
}

/// A time as people name it: an instant (RFC 3339), a day (`2026-11-22`) or a month (`2026-11`),
/// the last two in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedTime {
    /// The instant, or the first one of the day or month.
    pub begin: Timestamp,
    /// The instant, or the first one after the day or month.
    pub end: Timestamp,
}

impl NamedTime {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let at = |day: Date| Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp());
        let days = |first: Date, next: Date| {
            Some(Self {
                begin: at(first)?,
                end: at(next)?,
            })
        };
        match text.len() {
            7 => {
                let first: Date = format!("{text}-01").parse().ok()?;
                days(first, first.checked_add(1.month()).ok()?)
            }
            10 => {
                let day: Date = text.parse().ok()?;
                days(day, day.tomorrow().ok()?)
            }
            _ => {
                let instant = text.parse().ok()?;
                Some(Self {
                    begin: instant,
                    end: instant,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_counts() {
        let entry = br#"{"client":"cnss-health","event":"tokenize","organisation":"cnss","sector":"health","time":"2026-11-22T10:00:00.000Z"}"#;
        let text = |text: &str| Some(text.to_owned());
        let yes = [
            EntryFilter::default(),
            EntryFilter {
                actor: text("cnss-health"),
                ..EntryFilter::default()
            },
            EntryFilter {
                actor: text("cnss"),
                sector: text("health"),
                event: text("tokenize"),
                ..EntryFilter::default()
            },
            EntryFilter {
                from: begin("2026-11-22"),
                to: begin("2026-11-23"),
                ..EntryFilter::default()
            },
            EntryFilter {
                from: begin("2026-11-22T10:00:00Z"),
                ..EntryFilter::default()
            },
        ];
        let no = [
            EntryFilter {
                actor: text("health"),
                ..EntryFilter::default()
            },
            EntryFilter {
                sector: text("health.x"),
                ..EntryFilter::default()
            },
            EntryFilter {
                order: text("x"),
                ..EntryFilter::default()
            },
            EntryFilter {
                to: begin("2026-11-22T10:00:00Z"),
                ..EntryFilter::default()
            },
            EntryFilter {
                from: begin("2026-11-23"),
                ..EntryFilter::default()
            },
        ];
        assert!(yes.iter().all(|filter| filter.matches(entry)));
        assert!(no.iter().all(|filter| !filter.matches(entry)));
        assert!(!EntryFilter::default().matches(b"{}"));
    }

    fn begin(text: &str) -> Option<Timestamp> {
        NamedTime::parse(text).map(|time| time.begin)
    }

    #[test]
    fn days_and_months_are_times() {
        let of = |text| NamedTime::parse(text).map(|t| (t.begin.to_string(), t.end.to_string()));
        let pair = |begin: &str, end: &str| {
            Some((format!("{begin}T00:00:00Z"), format!("{end}T00:00:00Z")))
        };
        assert_eq!(of("2026-12"), pair("2026-12-01", "2027-01-01"));
        assert_eq!(of("2026-02-28"), pair("2026-02-28", "2026-03-01"));
        let instant = "2026-11-22T10:00:00Z";
        assert_eq!(of(instant), Some((instant.into(), instant.into())));
        for wrong in ["yesterday", "2026-13", "2026-02-30", "2026", "26-11-01", ""] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_that_neither_log_nor_register_has_is_unknown() {
        let mut names = LogNames::default();
        let all = EntryFilter::default();
        for entry in [
            r#"{"event":"start","opened":[{"sector":"tax"}],"time":"t"}"#,
            r#"{"client":"cnss-health","event":"tokenize","sector":"health","time":"t"}"#,
            r#"{"bearer":"op-2","event":"order-act","signers":["judge-1"],"order":"o","time":"t"}"#,
            "not an entry",
        ] {
            all.matches_noting(entry.as_bytes(), &mut names);
        }
        assert_eq!(names.foreign, 1);
        let sector = |name: &str| EntryFilter {
            sector: Some(name.to_owned()),
            ..EntryFilter::default()
        };
        let actor = |name: &str| EntryFilter {
            actor: Some(name.to_owned()),
            ..EntryFilter::default()
        };
        let nothing = |_: NameKind, _: &str| false;
        for known in [
            sector("tax"),
            sector("health"),
            actor("judge-1"),
            actor("op-2"),
        ] {
            assert_eq!(names.unknown(&known, &nothing), None);
        }
        let wrong = sector("helth");
        assert_eq!(
            names.unknown(&wrong, &nothing),
            Some(UnknownName {
                kind: NameKind::Sector,
                name: "helth",
                known: vec!["health", "tax"],
            })
        );
        let register = |kind, name: &str| kind == NameKind::Sector && name == "helth";
        assert_eq!(names.unknown(&wrong, &register), None);
        let event = EntryFilter {
            event: Some("releases".to_owned()),
            ..EntryFilter::default()
        };
        let unknown = names.unknown(&event, &nothing).unwrap();
        assert!(unknown.known.contains(&"release"), "{unknown:?}");
    }
}
