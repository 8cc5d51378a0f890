//! The rate at which an authority asks for pseudonyms: the register bounds it, and an unusual rate
//! raises an alarm before that.
//!
//! Each release counts its pseudonyms by the hour (UTC), in its own commit, so that no restart
//! resets the count. So thieves with a stolen quorum who stay within their orders are slow, and
//! noticed.

use jiff::Timestamp;

use super::FAILED;
use crate::audit::AuditEvent;
use crate::clock::hour_of;
use crate::code::Code;
use crate::commit::Change;
use crate::refusal::{Refusal, fault};
use crate::register::{Authority, Id};
use crate::store::Store;

/// Hours from which the usual rate is computed: a week.
const WEEK: u32 = 7 * 24;
/// An hour of this many times the usual rate raises an alarm …
const UNUSUAL: u64 = 10;
/// … but never with fewer pseudonyms than this, unless half of what the register allows is fewer.
const LEAST: u64 = 1_000;

/// What is counted: each kind has its own limit in the register and its own hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateKind {
    /// Pseudonyms asked for under orders that re-identify.
    Releases,
    /// Mappings handed out under orders for continuity, which show nobody an identifier.
    Migrations,
}

impl RateKind {
    /// The name of the hours in the store; no authority's id has a slash.
    fn name(self, authority: &Id) -> String {
        match self {
            RateKind::Releases => authority.to_string(),
            RateKind::Migrations => format!("{authority}/migrations"),
        }
    }

    fn limit(self, authority: &Authority) -> u64 {
        match self {
            RateKind::Releases => authority.releases_per_hour,
            RateKind::Migrations => authority.migrations_per_hour,
        }
    }

    /// Migrations are rare, so none is usual: half of what the register allows raises the alarm.
    fn threshold(self, usual: u64, limit: u64) -> u64 {
        match self {
            RateKind::Releases => threshold(usual, limit),
            RateKind::Migrations => (limit / 2).max(1),
        }
    }
}

/// What a release adds to an authority's hour.
pub(crate) struct ReleaseRate {
    kind: RateKind,
    authority: Id,
    hour: u32,
    before: u64,
    items: u64,
    threshold: u64,
    limit: u64,
    old: Vec<u32>,
}

/// Adds `items` to the authority's present hour.
///
/// # Errors
/// [`Code::ReleaseRate`] if the register does not allow as many in an hour.
pub(super) fn take_rate(
    store: &Store,
    kind: RateKind,
    authority: &Authority,
    items: u64,
    now: Timestamp,
) -> Result<ReleaseRate, Refusal> {
    let hour = hour_of(now);
    let hours = store
        .released(&kind.name(&authority.id))
        .map_err(fault(FAILED))?;
    let before = hours
        .iter()
        .find(|(other, _)| *other == hour)
        .map_or(0, |(_, items)| *items);
    let limit = kind.limit(authority);
    if before.saturating_add(items) > limit {
        let left = 3_600 - now.as_second().rem_euclid(3_600);
        let why = match kind {
            RateKind::Releases => {
                format!(
                    "the register allows this authority {limit} pseudonyms an hour; {before} were asked for"
                )
            }
            RateKind::Migrations => {
                format!(
                    "the register allows this authority {limit} mappings an hour to migrate; {before} were"
                )
            }
        };
        return Err(Refusal::new(Code::ReleaseRate, why).come_back_in(left as u32));
    }
    let week = hours
        .iter()
        .filter(|(other, _)| *other < hour && *other >= hour.saturating_sub(WEEK));
    let usual = week.map(|(_, items)| items).sum::<u64>() / u64::from(WEEK);
    Ok(ReleaseRate {
        kind,
        authority: authority.id.clone(),
        hour,
        before,
        items,
        threshold: kind.threshold(usual, limit),
        limit,
        old: hours
            .iter()
            .map(|(hour, _)| *hour)
            .filter(|other| *other < hour.saturating_sub(WEEK))
            .collect(),
    })
}

/// The number of pseudonyms in an hour that raises the alarm.
fn threshold(usual: u64, limit: u64) -> u64 {
    (usual.saturating_mul(UNUSUAL))
        .max(LEAST)
        .min(limit / 2)
        .max(1)
}

impl ReleaseRate {
    /// What the release's commit writes.
    pub(crate) fn change(&self) -> Change {
        let (name, hour, items, old) = (
            self.kind.name(&self.authority),
            self.hour,
            self.before + self.items,
            self.old.clone(),
        );
        Box::new(move |store, batch| store.put_released(batch, &name, hour, items, &old))
    }

    /// The alarm, if this release makes the hour unusual.
    pub(crate) fn alarm(&self, now: Timestamp) -> Option<AuditEvent> {
        let items = self.before + self.items;
        if self.before >= self.threshold || items < self.threshold {
            return None;
        }
        tracing::warn!(authority = %self.authority, items, threshold = self.threshold, "an unusual rate of releases");
        let begins = now.as_second() - now.as_second().rem_euclid(3_600);
        Some(AuditEvent::ReleaseAlarm {
            authority: self.authority.clone(),
            of: (self.kind == RateKind::Migrations).then_some("migrations"),
            hour: Timestamp::from_second(begins)
                .map(|time| time.to_string())
                .unwrap_or_default(),
            items,
            threshold: self.threshold,
            limit: self.limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual() {
        assert_eq!(threshold(0, 100_000), 1_000, "a quiet authority");
        assert_eq!(threshold(50, 100_000), 1_000);
        assert_eq!(threshold(500, 100_000), 5_000, "ten usual hours");
        assert_eq!(
            threshold(9_000, 100_000),
            50_000,
            "half of what is allowed, however usual"
        );
        assert_eq!(threshold(0, 100), 50);
        assert_eq!(threshold(0, 1), 1);
        assert_eq!(
            RateKind::Migrations.threshold(0, 10_000_000),
            5_000_000,
            "no migration is usual"
        );
    }
}
