//! What the interval between a backup and the end of the log had acknowledged. Chunks are in no
//! place, so the mappings of that interval are lost until the clients send the identifiers again;
//! they get the same pseudonyms then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Requests and identifiers that were acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LostCount {
    /// Requests.
    pub requests: u64,
    /// Identifiers that were accepted.
    pub identifiers: u64,
}

/// Whose requests: client, sector and hour (`2026-11-28T08`, UTC).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LostHour {
    /// The client.
    pub client: String,
    /// The sector.
    pub sector: String,
    /// The hour.
    pub hour: String,
}

/// A row of the report.
#[derive(Debug, Serialize)]
pub struct LostRow<'r> {
    /// Whose requests.
    #[serde(flatten)]
    pub of: &'r LostHour,
    /// How many.
    #[serde(flatten)]
    pub count: LostCount,
}

/// What was acknowledged after a backup.
#[derive(Debug, Clone, Default)]
pub struct LostInterval {
    /// The time of the last entry before it, RFC 3339: clients send again what was answered since.
    pub since: Option<String>,
    /// The time of the last entry that was counted: what was answered later is counted nowhere.
    pub until: Option<String>,
    hours: BTreeMap<LostHour, LostCount>,
}

#[derive(Deserialize)]
struct TokenizeMembers {
    event: String,
    time: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    sector: String,
    #[serde(default)]
    requests: Option<u64>,
    #[serde(default)]
    accepted: u64,
}

impl LostInterval {
    /// Notes an entry that is before the interval.
    pub fn begin_after(&mut self, entry: &[u8]) {
        let read = serde_json::from_slice::<TokenizeMembers>(entry);
        self.since = read.ok().map(|entry| entry.time);
    }

    /// Counts an entry, if it is one about tokenization.
    pub fn count(&mut self, entry: &[u8]) {
        let read = serde_json::from_slice::<TokenizeMembers>(entry);
        let Ok(batch) = read else { return };
        self.until = Some(batch.time.clone());
        if batch.event != "tokenize" {
            return;
        }
        let hour = batch.time.get(..13).unwrap_or_default().to_owned();
        let of = LostHour {
            client: batch.client,
            sector: batch.sector,
            hour,
        };
        let count = self.hours.entry(of).or_default();
        let requests = batch.requests.unwrap_or(1);
        count.requests = count.requests.saturating_add(requests);
        count.identifiers = count.identifiers.saturating_add(batch.accepted);
    }

    /// By client, sector and hour.
    pub fn rows(&self) -> impl Iterator<Item = LostRow<'_>> {
        self.hours
            .iter()
            .map(|(of, count)| LostRow { of, count: *count })
    }

    /// All together.
    pub fn total(&self) -> LostCount {
        let add = |a: LostCount, b: &LostCount| LostCount {
            requests: a.requests.saturating_add(b.requests),
            identifiers: a.identifiers.saturating_add(b.identifiers),
        };
        self.hours.values().fold(LostCount::default(), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_requests_are_counted_by_client_sector_and_hour() {
        let mut lost = LostInterval::default();
        for (client, time, accepted) in [
            ("clinic", "2026-11-28T08:00:00Z", 3),
            ("clinic", "2026-11-28T08:59:59.9Z", 4),
            ("clinic", "2026-11-28T09:00:00Z", 5),
            ("tax", "2026-11-28T08:00:00Z", 6),
        ] {
            let entry = format!(
                r#"{{"event":"tokenize","time":"{time}","client":"{client}","sector":"health","accepted":{accepted},"domain":{{"epoch":2}}}}"#
            );
            lost.count(entry.as_bytes());
        }
        lost.count(br#"{"event":"start","time":"2026-11-28T09:30:00Z"}"#);
        lost.count(b"no entry");
        lost.begin_after(br#"{"event":"backup","time":"2026-11-28T07:59:00Z"}"#);
        assert_eq!(lost.since.as_deref(), Some("2026-11-28T07:59:00Z"));
        assert_eq!(lost.until.as_deref(), Some("2026-11-28T09:30:00Z"));
        let rows: Vec<_> = lost
            .rows()
            .map(|row| {
                (
                    row.of.client.clone(),
                    row.of.hour.clone(),
                    row.count.identifiers,
                )
            })
            .collect();
        let row = |client: &str, hour: &str, count| (client.to_owned(), hour.to_owned(), count);
        assert_eq!(
            rows,
            [
                row("clinic", "2026-11-28T08", 7),
                row("clinic", "2026-11-28T09", 5),
                row("tax", "2026-11-28T08", 6)
            ]
        );
        assert_eq!(lost.total().identifiers, 18);
    }
}
