//! The usual hour of each holder of a quota, and the alarm where an hour is far beyond it.
//!
//! Hours are counted as days are: in memory, stored with the commit of the request. So no restart
//! forgets the week.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::audit::AuditEvent;
use crate::clock::{ClockMark, hour_of};
use crate::commit::DayCount;
use crate::quota::QuotaHolder;
use crate::register::Quota;
use crate::store::{Store, StoreError};
use crate::system::lock::unpoisoned;

/// Hours from which the usual one is computed: a week.
const WEEK: u32 = 7 * 24;
/// An hour of this many times the usual one raises an alarm …
const UNUSUAL: u64 = 10;
/// … but never with fewer values than this.
const LEAST: u64 = 1_000;

/// Hours of all holders.
pub(super) struct UsualHours {
    hours: BTreeMap<QuotaHolder, Arc<Mutex<HolderHours>>>,
    /// So that a clock that was set back does not begin an hour again.
    mark: Arc<ClockMark>,
}

struct HolderHours {
    /// Hours before the present one that were counted, oldest first.
    before: BTreeMap<u32, u64>,
    present: Arc<DayCount>,
}

/// The name under which a holder's hours are stored; no holder's name begins so.
fn name(holder: &str) -> String {
    format!("hours/{holder}")
}

/// The number of values in an hour that raises the alarm.
fn threshold(usual: u64) -> u64 {
    usual.saturating_mul(UNUSUAL).max(LEAST)
}

impl UsualHours {
    /// What the store has of the last week.
    pub(super) fn load(
        holders: &[(QuotaHolder, Quota)],
        store: &Store,
        mark: Arc<ClockMark>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let none = Self {
            hours: BTreeMap::new(),
            mark,
        };
        none.under(holders, store, now)
    }

    /// The hours under another register: a holder that was there before keeps its own.
    pub(super) fn under(
        &self,
        holders: &[(QuotaHolder, Quota)],
        store: &Store,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let hour = hour_of(now.max(self.mark.time()));
        let of = |holder: &QuotaHolder| {
            let hours = match self.hours.get(holder) {
                Some(before) => before.clone(),
                None => {
                    let stored = store.quotas_used(&name(holder))?;
                    let mut before: BTreeMap<u32, u64> = stored.into_iter().collect();
                    let items = before.remove(&hour).unwrap_or(0);
                    let present = count(holder, hour, items);
                    Arc::new(Mutex::new(HolderHours { before, present }))
                }
            };
            Ok((holder.clone(), hours))
        };
        let hours = holders.iter().map(|(holder, _)| of(holder));
        Ok(Self {
            hours: hours.collect::<Result<_, StoreError>>()?,
            mark: self.mark.clone(),
        })
    }

    /// The hours in the store that are older than a week, by the names under which they are stored.
    pub(super) fn old(&self, store: &Store, now: Timestamp) -> Vec<(String, u32)> {
        let oldest = hour_of(now.max(self.mark.time())).saturating_sub(WEEK);
        let of = |holder: &QuotaHolder| {
            let name = name(holder);
            let hours = store.quotas_used(&name).unwrap_or_default().into_iter();
            let old = hours.filter(|(hour, _)| *hour < oldest);
            old.map(|(hour, _)| (name.clone(), hour))
                .collect::<Vec<_>>()
        };
        self.hours.keys().flat_map(of).collect()
    }

    /// Adds values to a holder's hour. Returns the count, to be written with the request, and the
    /// alarm if this request makes the hour unusual.
    pub(super) fn add(
        &self,
        holder: &str,
        items: u64,
        now: Timestamp,
    ) -> Option<(Arc<DayCount>, Option<AuditEvent>)> {
        let mut hours = unpoisoned(self.hours.get(holder)?.lock());
        hours.turn_to(holder, hour_of(now.max(self.mark.time())));
        let threshold = threshold(hours.usual());
        let before = hours.present.items.fetch_add(items, Ordering::Relaxed);
        let after = before.saturating_add(items);
        let alarm = (before < threshold && after >= threshold).then(|| {
            tracing::warn!(holder, items = after, threshold, "an unusual hour");
            let begins = i64::from(hours.present.day) * 3_600;
            AuditEvent::UtisAlarm {
                holder: holder.to_owned(),
                hour: Timestamp::from_second(begins)
                    .map(|time| time.to_string())
                    .unwrap_or_default(),
                items: after,
                threshold,
            }
        });
        Some((hours.present.clone(), alarm))
    }
}

impl HolderHours {
    /// Begins another hour. An hour that the clock goes back to goes on in the present one.
    fn turn_to(&mut self, holder: &str, hour: u32) {
        if hour <= self.present.day {
            return;
        }
        let items = self.present.items.load(Ordering::Relaxed);
        self.before.insert(self.present.day, items);
        self.before
            .retain(|other, _| *other >= hour.saturating_sub(WEEK));
        self.present = count(holder, hour, 0);
    }

    /// The usual hour: the mean over the last week, or over the hours since the first one in it.
    fn usual(&self) -> u64 {
        let present = self.present.day;
        let mut week = self.before.range(present.saturating_sub(WEEK)..present);
        let Some((first, items)) = week.next() else {
            return 0;
        };
        let sum = week.fold(*items, |sum, (_, items)| sum.saturating_add(*items));
        sum / u64::from(present - first).max(1)
    }
}

fn count(holder: &str, hour: u32, items: u64) -> Arc<DayCount> {
    Arc::new(DayCount {
        organisation: name(holder),
        day: hour,
        items: AtomicU64::new(items),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(before: impl IntoIterator<Item = (u32, u64)>) -> UsualHours {
        let hours = HolderHours {
            before: before.into_iter().collect(),
            present: count("cnss", 1_000, 0),
        };
        UsualHours {
            hours: [("cnss".to_owned(), Arc::new(Mutex::new(hours)))].into(),
            mark: Arc::default(),
        }
    }

    fn at(hour: u32) -> Timestamp {
        Timestamp::from_second(i64::from(hour) * 3_600 + 60).unwrap()
    }

    fn alarms(hours: &UsualHours, hour: u32, items: u64) -> bool {
        hours.add("cnss", items, at(hour)).unwrap().1.is_some()
    }

    #[test]
    fn ten_usual_hours_raise_one_alarm_an_hour() {
        let hours = hours((832..1_000).map(|hour| (hour, 500)));
        assert!(!alarms(&hours, 1_000, 4_999));
        assert!(alarms(&hours, 1_000, 1));
        assert!(!alarms(&hours, 1_000, 50_000), "once an hour");
        // The hour before is part of the week now: (167 * 500 + 55 000) / 168 = 824.
        assert!(!alarms(&hours, 1_001, 8_239));
        assert!(alarms(&hours, 1_001, 1));
    }

    #[test]
    fn hours_without_a_request_make_the_usual_hour_smaller() {
        let hours = hours([(832, 16_800)]);
        assert!(!alarms(&hours, 1_000, 999), "168 hours of 100");
        assert!(alarms(&hours, 1_000, 1));
    }

    #[test]
    fn what_nobody_ever_asked_for_is_not_usual() {
        let hours = hours([]);
        assert!(!alarms(&hours, 1_000, LEAST - 1));
        assert!(alarms(&hours, 1_000, 1));
    }

    #[test]
    fn a_clock_set_back_begins_no_hour_again() {
        let hours = hours([]);
        assert!(alarms(&hours, 1_000, LEAST));
        assert!(!alarms(&hours, 999, LEAST));
        let (count, _) = hours.add("cnss", 1, at(999)).unwrap();
        assert_eq!(count.items.load(Ordering::Relaxed), 2 * LEAST + 1);
        assert_eq!(count.day, 1_000);
    }
}
