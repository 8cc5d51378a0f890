//! What was done in a time, by authority, client or sector: counted entry by entry, so that
//! everyone with a copy of the log counts the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::counted::CountedMembers;

/// By what the rows of a summary are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryKey {
    /// Regal authorities.
    Authority,
    /// Sector systems.
    Client,
    /// Sectors.
    Sector,
}

/// The figures of one authority, client or sector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SummaryRow {
    /// Tokenization requests.
    pub batches: u64,
    /// Identifiers accepted.
    pub accepted: u64,
    /// Identifiers rejected.
    pub rejected: u64,
    /// Requests to re-identify that were answered.
    pub reidentifications: u64,
    /// Different orders under which that, or a migration, was done.
    pub orders: u64,
    /// Pseudonyms that were asked about.
    pub asked: u64,
    /// Mappings handed out (in a vault's log) or opened (in a node's).
    pub mappings: u64,
    /// Mappings handed out or opened to follow an epoch, which nobody was shown.
    pub migrated: u64,
    /// Look-ups by rights officers.
    pub look_ups: u64,
    /// Erasures.
    pub erasures: u64,
    /// Requests that were refused. Refusals name an actor and no sector.
    pub refused: u64,
}

/// A summary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Entries of that time.
    pub entries: u64,
    /// The figures.
    pub rows: BTreeMap<String, SummaryRow>,
}

/// Counts entries.
#[derive(Debug)]
pub struct SummaryCounter {
    by: SummaryKey,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    summary: Summary,
    orders: BTreeMap<String, BTreeSet<(String, String)>>,
    /// By actor: refusals, and whether a sector system's work was refused.
    refused: BTreeMap<String, (u64, bool)>,
}

impl SummaryCounter {
    /// Counts by `by` what was logged at or after `from` and before `to`.
    pub fn new(by: SummaryKey, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        Self {
            by,
            from,
            to,
            summary: Summary::default(),
            orders: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Counts an entry, if it is of that time. A text that is not an entry counts nothing.
    pub fn add(&mut self, entry: &[u8]) {
        let Some(found) = CountedMembers::read(entry) else {
            return;
        };
        if !self.is_of_time(&found.time) {
            return;
        }
        self.summary.entries += 1;
        if found.event == "refuse" {
            let (count, of_client) = self.refused.entry(found.actor).or_default();
            *count += found.count;
            *of_client |= found.operation == "tokenize";
            return;
        }
        let name = match self.by {
            SummaryKey::Authority => &found.authority,
            SummaryKey::Client => &found.client,
            SummaryKey::Sector => &found.sector,
        };
        if name.is_empty() {
            return;
        }
        let row = self.summary.rows.entry(name.clone()).or_default();
        if row.count(&found)
            && let Some(order) = found.order
        {
            let orders = self.orders.entry(name.clone()).or_default();
            orders.insert((found.authority, order));
            row.orders = orders.len() as u64;
        }
    }

    fn is_of_time(&self, time: &str) -> bool {
        if self.from.is_none() && self.to.is_none() {
            return true;
        }
        time.parse::<Timestamp>().is_ok_and(|time| {
            self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
        })
    }

    /// The summary; rows in which nothing was counted are left out.
    pub fn finish(mut self) -> Summary {
        let rows = &mut self.summary.rows;
        for (actor, (count, of_client)) in self.refused {
            match self.by {
                SummaryKey::Client if of_client => {
                    rows.entry(actor).or_default().refused = count;
                }
                SummaryKey::Sector => {}
                _ => {
                    if let Some(row) = rows.get_mut(&actor) {
                        row.refused = count;
                    }
                }
            }
        }
        rows.retain(|_, row| *row != SummaryRow::default());
        self.summary
    }
}

impl SummaryRow {
    /// Counts an entry; whether it used an order.
    fn count(&mut self, found: &CountedMembers) -> bool {
        match found.event.as_str() {
            "tokenize" => {
                self.batches += found.requests;
                self.accepted += found.accepted;
                self.rejected += found.rejected;
            }
            "release" | "reveal" => {
                self.reidentifications += 1;
                self.asked += found.items;
                self.mappings += found.mappings;
                return true;
            }
            "migration-release" | "migration-reveal" => {
                self.migrated += found.items;
                return true;
            }
            "look-up" => self.look_ups += 1,
            "erase" => self.erasures += 1,
            _ => {}
        }
        false
    }

    /// Adds another row's figures. Orders are told apart within a row only, so their sum counts one
    /// in several rows several times.
    pub fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.reidentifications += other.reidentifications;
        self.orders += other.orders;
        self.asked += other.asked;
        self.mappings += other.mappings;
        self.migrated += other.migrated;
        self.look_ups += other.look_ups;
        self.erasures += other.erasures;
        self.refused += other.refused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::search::NamedTime;

    #[test]
    fn a_summary_counts_what_was_done_in_its_month() {
        let entries = [
            r#"{"accepted":5,"client":"a","event":"tokenize","rejected":1,"requests":2,"sector":"health","time":"2026-11-30T23:59:59.999Z"}"#,
            r#"{"accepted":7,"client":"a","event":"tokenize","rejected":0,"requests":1,"sector":"health","time":"2026-12-01T00:00:00.000Z"}"#,
            r#"{"authority":"court","event":"release","items":3,"mappings":2,"order":"o1","sector":"health","time":"2026-11-02T00:00:00.000Z"}"#,
            r#"{"authority":"court","event":"release","items":1,"mappings":1,"order":"o1","sector":"tax","time":"2026-11-02T00:00:00.000Z"}"#,
            r#"{"actor":"a","code":"unknown-sector","count":4,"event":"refuse","operation":"tokenize","time":"2026-11-03T00:00:00.000Z"}"#,
            r#"{"actor":"court","code":"order-rule","count":2,"event":"refuse","operation":"release","time":"2026-11-03T00:00:00.000Z"}"#,
            "no entry",
        ];
        let november = NamedTime::parse("2026-11").unwrap();
        let count = |by| {
            let mut counter = SummaryCounter::new(by, Some(november.begin), Some(november.end));
            entries
                .iter()
                .for_each(|entry| counter.add(entry.as_bytes()));
            counter.finish()
        };
        let of_client = SummaryRow {
            batches: 2,
            accepted: 5,
            rejected: 1,
            refused: 4,
            ..SummaryRow::default()
        };
        let clients = count(SummaryKey::Client);
        assert_eq!(clients.entries, 5);
        assert_eq!(clients.rows, BTreeMap::from([("a".to_owned(), of_client)]));
        let of_authority = SummaryRow {
            reidentifications: 2,
            orders: 1,
            asked: 4,
            mappings: 3,
            refused: 2,
            ..SummaryRow::default()
        };
        let rows = count(SummaryKey::Authority).rows;
        assert_eq!(rows, BTreeMap::from([("court".to_owned(), of_authority)]));
        let rows = count(SummaryKey::Sector).rows;
        let of = |name: &str| (rows[name].accepted, rows[name].asked, rows[name].orders);
        assert_eq!((of("health"), of("tax")), ((5, 3, 1), (0, 1, 1)));
    }
}
