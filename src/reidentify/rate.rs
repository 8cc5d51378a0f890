//! How much an authority asks for: bounded by the register, and an alarm before that when it is unusual.
//!
//! Counted are the pseudonyms of every request that is answered, by the hour (UTC), in the commit of the release itself; so no
//! restart resets them. A stolen quorum that stays within its orders is slowed down, and heard.

use jiff::Timestamp;

use super::internal;
use crate::audit::Event;
use crate::code::Code;
use crate::commit::Change;
use crate::order::Refusal;
use crate::register::{Authority, Id};
use crate::store::Store;

/// Hours that are looked back on for what is usual: a week.
const WEEK: u32 = 7 * 24;
/// So many times its usual hour is an alarm …
const UNUSUAL: u64 = 10;
/// … but never fewer pseudonyms than this, unless half of what the register allows is fewer.
const LEAST: u64 = 1_000;

/// What a release adds to an authority's hour.
pub(super) struct Rate {
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
/// [`Code::ReleaseRate`] when the register does not allow as many in an hour.
pub(super) fn take(store: &Store, authority: &Authority, items: u64, now: Timestamp) -> Result<Rate, Refusal> {
    let hour = hour_of(now);
    let hours = store.released(authority.id.as_str()).map_err(internal)?;
    let before = hours.iter().find(|(other, _)| *other == hour).map_or(0, |(_, items)| *items);
    let limit = authority.releases_per_hour;
    if before.saturating_add(items) > limit {
        let left = 3_600 - now.as_second().rem_euclid(3_600);
        let why = format!("the register allows this authority {limit} pseudonyms an hour; {before} were asked for");
        return Err(Refusal::new(Code::ReleaseRate, why).come_back_in(left as u32));
    }
    let week = hours.iter().filter(|(other, _)| *other < hour && *other >= hour.saturating_sub(WEEK));
    let usual = week.map(|(_, items)| items).sum::<u64>() / u64::from(WEEK);
    Ok(Rate {
        authority: authority.id.clone(),
        hour,
        before,
        items,
        threshold: threshold(usual, limit),
        limit,
        old: hours.iter().map(|(hour, _)| *hour).filter(|other| *other < hour.saturating_sub(WEEK)).collect(),
    })
}

/// From how many pseudonyms in an hour on there is an alarm.
fn threshold(usual: u64, limit: u64) -> u64 {
    (usual.saturating_mul(UNUSUAL)).max(LEAST).min(limit / 2).max(1)
}

impl Rate {
    /// What the release's commit writes.
    pub(super) fn change(&self) -> Change {
        let (authority, hour, items, old) =
            (self.authority.clone(), self.hour, self.before + self.items, self.old.clone());
        Box::new(move |store, batch| store.put_released(batch, authority.as_str(), hour, items, &old))
    }

    /// The alarm, when this release is the one that makes the hour unusual.
    pub(super) fn alarm(&self, now: Timestamp) -> Option<Event> {
        let items = self.before + self.items;
        if self.before >= self.threshold || items < self.threshold {
            return None;
        }
        tracing::warn!(authority = %self.authority, items, threshold = self.threshold, "an unusual rate of releases");
        let begins = now.as_second() - now.as_second().rem_euclid(3_600);
        Some(Event::ReleaseAlarm {
            authority: self.authority.clone(),
            hour: Timestamp::from_second(begins).map(|time| time.to_string()).unwrap_or_default(),
            items,
            threshold: self.threshold,
            limit: self.limit,
        })
    }
}

fn hour_of(now: Timestamp) -> u32 {
    u32::try_from(now.as_second().max(0) / 3_600).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual() {
        assert_eq!(threshold(0, 100_000), 1_000, "a quiet authority");
        assert_eq!(threshold(50, 100_000), 1_000);
        assert_eq!(threshold(500, 100_000), 5_000, "ten usual hours");
        assert_eq!(threshold(9_000, 100_000), 50_000, "half of what is allowed, however usual");
        assert_eq!(threshold(0, 100), 50);
        assert_eq!(threshold(0, 1), 1);
    }
}
