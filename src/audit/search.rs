//! Finds entries for people: by time, actor, sector, order and event.

use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;

/// Conditions on an entry. A field that is `None` matches every entry.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Only entries at or after this time.
    pub from: Option<Timestamp>,
    /// Only entries before this time.
    pub to: Option<Timestamp>,
    /// Id of a client, operator, officer, authority or organisation.
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
    sector: Option<Cow<'a, str>>,
    order: Option<Cow<'a, str>>,
}

impl EntryFilter {
    /// Whether an entry matches. Bytes that are not an entry never match.
    pub fn matches(&self, entry: &[u8]) -> bool {
        let Ok(found) = serde_json::from_slice::<FilterMembers<'_>>(entry) else {
            return false;
        };
        let is = |wanted: &Option<String>, found: &Option<Cow<'_, str>>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| found.as_deref() == Some(wanted))
        };
        let by = |actor: &String| {
            [
                &found.actor,
                &found.client,
                &found.operator,
                &found.officer,
                &found.authority,
                &found.organisation,
            ]
            .iter()
            .any(|name| name.as_deref() == Some(actor))
        };
        is(&self.sector, &found.sector)
            && is(&self.order, &found.order)
            && self
                .event
                .as_ref()
                .is_none_or(|event| *event == found.event)
            && self.actor.as_ref().is_none_or(by)
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

/// Reads an instant (RFC 3339) or the beginning of a day (`2026-11-22`, UTC).
pub fn instant(text: &str) -> Option<Timestamp> {
    let day = || {
        text.parse::<jiff::civil::Date>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
    };
    match text.len() {
        10 => day().map(|day| day.timestamp()),
        _ => text.parse().ok(),
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
                from: instant("2026-11-22"),
                to: instant("2026-11-23"),
                ..EntryFilter::default()
            },
            EntryFilter {
                from: instant("2026-11-22T10:00:00Z"),
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
                to: instant("2026-11-22T10:00:00Z"),
                ..EntryFilter::default()
            },
            EntryFilter {
                from: instant("2026-11-23"),
                ..EntryFilter::default()
            },
        ];
        assert!(yes.iter().all(|filter| filter.matches(entry)));
        assert!(no.iter().all(|filter| !filter.matches(entry)));
        assert!(!EntryFilter::default().matches(b"{}"));
        assert_eq!(
            instant("2026-11-22").unwrap().to_string(),
            "2026-11-22T00:00:00Z"
        );
        assert_eq!(instant("yesterday"), None);
    }
}
