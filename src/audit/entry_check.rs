//! Checks the entries of one log, one after the other, during the walk.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::report::{LogReport, TimeReversal};
use super::verify::VerifyProgress;
use crate::clock::ClockBehind;
use crate::tlog::walk::{LogFinding, LogVisitor};

/// Checks entries and collects the report of their log.
pub(super) struct EntryCheck<'c> {
    log: &'c mut LogReport,
    /// The first entry.
    pub(super) first: Option<Vec<u8>>,
    /// The latest time of an entry so far, also of the logs before; empty before there is one.
    latest: &'c mut String,
    /// Whether the last entry was earlier than that by more than clocks may differ.
    is_behind: bool,
    progress: VerifyProgress<'c>,
}

/// The members that every entry has.
#[derive(Deserialize)]
struct CommonMembers<'e> {
    #[serde(borrow)]
    time: Cow<'e, str>,
    #[serde(borrow)]
    event: Cow<'e, str>,
}

impl LogVisitor for EntryCheck<'_> {
    fn entry(&mut self, index: u64, entry: &[u8]) {
        if index == 0 {
            self.first = Some(entry.to_vec());
        }
        self.log.checked += 1;
        let canonical = serde_json::from_slice::<serde_json::Value>(entry)
            .is_ok_and(|value| serde_json::to_vec(&value).is_ok_and(|bytes| bytes == entry));
        match serde_json::from_slice::<CommonMembers<'_>>(entry) {
            Ok(members) if canonical => self.count(index, members),
            _ => self.finding(LogFinding {
                place: format!("entry {index}"),
                what: "is logged and is not an entry: it is not canonical JSON with `time` and `event`"
                    .to_owned(),
            }),
        }
    }

    fn contains(&mut self, size: u64) {
        self.log.contains.push(size);
    }

    fn finding(&mut self, finding: LogFinding) {
        self.log.find_in_walk(finding);
    }

    fn progress(&mut self, walked: u64) {
        (self.progress)(&self.log.origin, walked, self.log.size);
    }
}

impl<'c> EntryCheck<'c> {
    pub(super) fn new(
        log: &'c mut LogReport,
        latest: &'c mut String,
        progress: VerifyProgress<'c>,
    ) -> Self {
        Self {
            log,
            first: None,
            latest,
            is_behind: false,
            progress,
        }
    }

    /// Counts an entry.
    fn count(&mut self, index: u64, members: CommonMembers<'_>) {
        let CommonMembers { time, event } = members;
        self.compare_times(index, &time);
        match self.log.events.get_mut(&*event) {
            Some(count) => *count += 1,
            None => drop(self.log.events.insert(event.into_owned(), 1)),
        }
        if self
            .log
            .earliest
            .as_deref()
            .is_none_or(|earliest| &*time < earliest)
        {
            self.log.earliest = Some(time.to_string());
        }
        if self
            .log
            .latest
            .as_deref()
            .is_none_or(|latest| &*time > latest)
        {
            self.log.latest = Some(time.into_owned());
        }
    }

    /// Notes where times begin to run backwards. A request that waited becomes durable after
    /// younger ones, so only a difference larger than the tolerance of clocks counts.
    fn compare_times(&mut self, index: u64, time: &str) {
        // Times have one spelling and nearly always grow, so they are compared as text first.
        if *time >= **self.latest {
            self.latest.clear();
            self.latest.push_str(time);
            self.is_behind = false;
            return;
        }
        let (now, mark) = (time.parse::<Timestamp>(), self.latest.parse::<Timestamp>());
        let (Ok(now), Ok(mark)) = (now, mark) else {
            return;
        };
        let is_behind = now < ClockBehind { now, mark }.until();
        if is_behind && !self.is_behind {
            let after = self.latest.clone();
            self.log.note_reversal(TimeReversal {
                entry: index,
                time: time.to_owned(),
                after,
            });
        }
        self.is_behind = is_behind;
    }
}
