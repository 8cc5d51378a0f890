//! The result of a check of logs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::tlog::walk::LogFinding;

/// A cosignature that verifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cosignature {
    /// Who cosigned.
    pub name: String,
    /// When (Unix seconds).
    pub time: u64,
}

/// A place where the times of entries run backwards by more than clocks may differ. This is not a
/// fault of the log: it records what the clock showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeReversal {
    /// The entry, from 0.
    pub entry: u64,
    /// Its time.
    pub time: String,
    /// The latest time before it.
    pub after: String,
}

impl fmt::Display for TimeReversal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "entry {}: is of {}, and comes after an entry of {}",
            self.entry, self.time, self.after
        )
    }
}

/// The result for one log, that is for one shard.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LogReport {
    /// Its origin; its location if its checkpoint does not verify.
    pub origin: String,
    /// The checkpoint that everything was compared with: the signed note as it was read; empty if
    /// it does not verify.
    #[serde(skip)]
    pub note: Vec<u8>,
    /// Entries that the checkpoint covers.
    pub size: u64,
    /// The root that the checkpoint states, base64.
    pub root: String,
    /// Entries that were read and match the tree.
    pub checked: u64,
    /// How many of each event.
    pub events: BTreeMap<String, u64>,
    /// Earliest time in an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest: Option<String>,
    /// Latest time in an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    /// Cosignatures that verify.
    pub cosigned: Vec<Cosignature>,
    /// Sizes of checkpoints kept from before that this log contains.
    pub contains: Vec<u64>,
    /// The log whose last checkpoint its first entry holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// Whether it begins after a restore that lost entries.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// Entries at the end of a store that no checkpoint covers yet.
    #[serde(skip_serializing_if = "is_zero")]
    pub uncovered: u64,
    /// Where the times of entries begin to run backwards: the clock was set back there, or had run
    /// ahead before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backwards: Vec<TimeReversal>,
    /// What is wrong with it.
    pub findings: Vec<LogFinding>,
    /// Whether there are more findings than are listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more_findings: bool,
}

/// The most findings that are listed for one log.
const MOST_FINDINGS: usize = 20;

impl LogReport {
    pub(super) fn find(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.findings.push(LogFinding {
            place: place.into(),
            what: what.into(),
        });
    }

    /// Adds a finding of the walk, unless there are many.
    pub(super) fn find_in_walk(&mut self, finding: LogFinding) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings = true;
        }
    }

    /// Notes a time reversal, unless there are many.
    pub(super) fn note_reversal(&mut self, reversal: TimeReversal) {
        if self.backwards.len() < MOST_FINDINGS {
            self.backwards.push(reversal);
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The result for all logs of a source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LogsReport {
    /// Its logs, oldest first.
    pub logs: Vec<LogReport>,
    /// What is wrong beyond a single log.
    pub findings: Vec<LogFinding>,
}

impl LogsReport {
    /// Whether there is no finding.
    pub fn is_good(&self) -> bool {
        !self.logs.is_empty() && self.all_findings().next().is_none()
    }

    /// All warnings, each with its log: worth knowing, but not wrong.
    pub fn all_warnings(&self) -> impl Iterator<Item = (&str, &TimeReversal)> {
        self.logs.iter().flat_map(|log| {
            log.backwards
                .iter()
                .map(|place| (log.origin.as_str(), place))
        })
    }

    /// All findings, each with its log.
    pub fn all_findings(&self) -> impl Iterator<Item = (&str, &LogFinding)> {
        let of_logs = self.logs.iter().flat_map(|log| {
            log.findings
                .iter()
                .map(|found| (log.origin.as_str(), found))
        });
        of_logs.chain(self.findings.iter().map(|found| ("", found)))
    }
}
