//! Quotas in items a second and a day. They hold for an organisation with all its certificates.
//! Identifier spaces are small: without quotas a client could enumerate its sector. The vault and
//! each identity source count for themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::clock::{ClockMark, day_of};
use crate::commit::DayCount;
use crate::register::{Quota, QuotaShare, Register};
use crate::store::{Store, StoreError};
use crate::system::lock::unpoisoned;

/// How many seconds' worth of items a bucket holds.
const BURST_SECONDS: u64 = 10;

/// Whose quota it is, by the name under which the store counts: an organisation's id, or another
/// name that no id can be.
pub type QuotaHolder = String;

/// A share of the quota of each organisation of a register.
pub fn of_organisations(
    register: &Register,
    share: QuotaShare,
) -> impl Iterator<Item = (QuotaHolder, Quota)> + '_ {
    let organisations = register.organisations.values();
    organisations.map(move |one| (one.id.to_string(), share.of(one.quota)))
}

/// The counts of all holders.
pub struct Quotas {
    accounts: BTreeMap<QuotaHolder, QuotaAccount>,
    /// So that a clock that was set back does not bring back a day whose quota is used up.
    mark: Arc<ClockMark>,
}

/// A holder's quota, and what is left of it. A change of the register keeps the bucket.
struct QuotaAccount {
    quota: Quota,
    bucket: Arc<Mutex<Bucket>>,
}

struct Bucket {
    /// Items that may be sent now, in thousandths. Below zero after a request larger than the
    /// bucket.
    level: i64,
    /// When `level` was brought up to date (Unix milliseconds).
    filled_at: i64,
    today: Arc<DayCount>,
}

/// The quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// After how many seconds to try again, at least one.
    pub retry_after: u32,
}

/// What an organisation may still send, after a request or when it asked. It depends on how many
/// items its clients sent, and on nothing that is known of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLeft {
    /// What the register grants.
    pub quota: Quota,
    /// Items that may be sent at once; none while a debt lasts.
    pub at_once: u64,
    /// Seconds until the bucket is full again.
    pub full_in: u32,
    /// Items left of the day's.
    pub today: u64,
    /// Seconds until the next day (UTC).
    pub day_ends_in: u32,
}

impl QuotaLeft {
    /// The most items that a bucket holds.
    pub fn capacity(&self) -> u64 {
        self.quota.items_per_second.saturating_mul(BURST_SECONDS)
    }
}

/// Items taken out of a quota.
pub struct QuotaTaken {
    /// The day's count, to be written with the request.
    pub count: Arc<DayCount>,
    /// What is left.
    pub left: QuotaLeft,
    bucket: Arc<Mutex<Bucket>>,
    items: u64,
}

impl QuotaTaken {
    /// Puts the items back: for what was asked came to nothing, and nothing was told.
    pub fn give_back(self) {
        let mut bucket = unpoisoned(self.bucket.lock());
        bucket.level = bucket.level.saturating_add(thousandths(self.items));
        self.count.items.fetch_sub(self.items, Ordering::Relaxed);
    }
}

impl Quotas {
    /// Full buckets, and today's counts from the store.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn load(
        quotas: impl Iterator<Item = (QuotaHolder, Quota)>,
        store: &Store,
        mark: Arc<ClockMark>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let none = Self {
            accounts: BTreeMap::new(),
            mark,
        };
        none.under(quotas, store, now)
    }

    /// The counts under other quotas: a holder that was there before keeps its bucket.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn under(
        &self,
        quotas: impl Iterator<Item = (QuotaHolder, Quota)>,
        store: &Store,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let day = day_of(now.max(self.mark.time()));
        let account = |(holder, quota): (QuotaHolder, Quota)| {
            let bucket = match self.accounts.get(&holder) {
                Some(before) => before.bucket.clone(),
                None => Arc::new(Mutex::new(Bucket {
                    level: capacity(quota),
                    filled_at: now.as_millisecond(),
                    today: day_count(&holder, day, store.quota_used(&holder, day)?),
                })),
            };
            Ok((holder, QuotaAccount { quota, bucket }))
        };
        Ok(Self {
            accounts: quotas.map(account).collect::<Result<_, StoreError>>()?,
            mark: self.mark.clone(),
        })
    }

    /// Takes `items` out of the holder's quota.
    ///
    /// # Errors
    /// `QuotaExceeded`. Nothing is taken then.
    pub fn take(
        &self,
        holder: &str,
        items: u64,
        now: Timestamp,
    ) -> Result<QuotaTaken, QuotaExceeded> {
        let Some(QuotaAccount { quota, bucket }) = self.accounts.get(holder) else {
            return Err(QuotaExceeded {
                retry_after: 86_400,
            });
        };
        let shared = bucket;
        let mut bucket = unpoisoned(shared.lock());
        bucket.refill(*quota, now);
        bucket.turn_to(holder, day_of(now.max(self.mark.time())));
        let used = bucket.today.items.load(Ordering::Relaxed);
        if used.saturating_add(items) > quota.items_per_day {
            return Err(QuotaExceeded {
                retry_after: bucket.day_ends_in(now),
            });
        }
        let price = thousandths(items);
        // A request larger than the bucket passes when the bucket is full, and leaves a debt.
        let needed = price.min(capacity(*quota));
        if bucket.level < needed {
            let missing = needed.saturating_sub(bucket.level);
            return Err(QuotaExceeded {
                retry_after: seconds(missing / inflow(*quota) + 1),
            });
        }
        bucket.level = bucket.level.saturating_sub(price);
        bucket.today.items.fetch_add(items, Ordering::Relaxed);
        Ok(QuotaTaken {
            count: bucket.today.clone(),
            left: bucket.left(*quota, now),
            bucket: shared.clone(),
            items,
        })
    }

    /// Takes `items` out of what `holders` have left of the day, from one after the other, and
    /// leaves each of them half of its day. What they may send in a second stays theirs. Returns
    /// the days' counts, to be written with the request.
    ///
    /// # Errors
    /// `QuotaExceeded`. Nothing is taken then.
    pub fn take_spare(
        &self,
        holders: &BTreeSet<QuotaHolder>,
        items: u64,
        now: Timestamp,
    ) -> Result<Vec<Arc<DayCount>>, QuotaExceeded> {
        let (mut missing, mut retry_after, mut taken) = (items, 86_400, vec![]);
        for holder in holders {
            let Some(QuotaAccount { quota, bucket }) = self.accounts.get(holder) else {
                continue;
            };
            let mut bucket = unpoisoned(bucket.lock());
            bucket.turn_to(holder, day_of(now.max(self.mark.time())));
            retry_after = bucket.day_ends_in(now);
            let used = bucket.today.items.load(Ordering::Relaxed);
            let part = (quota.items_per_day / 2).saturating_sub(used).min(missing);
            if part > 0 {
                bucket.today.items.fetch_add(part, Ordering::Relaxed);
                taken.push((bucket.today.clone(), part));
                missing -= part;
            }
        }
        if missing == 0 {
            return Ok(taken.into_iter().map(|(count, _)| count).collect());
        }
        for (count, part) in taken {
            count.items.fetch_sub(part, Ordering::Relaxed);
        }
        Err(QuotaExceeded { retry_after })
    }

    /// What a holder may still send; `None` if there is no such holder.
    pub fn left(&self, holder: &str, now: Timestamp) -> Option<QuotaLeft> {
        let QuotaAccount { quota, bucket } = self.accounts.get(holder)?;
        let mut bucket = unpoisoned(bucket.lock());
        bucket.refill(*quota, now);
        bucket.turn_to(holder, day_of(now.max(self.mark.time())));
        Some(bucket.left(*quota, now))
    }
}

impl Bucket {
    fn left(&self, quota: Quota, now: Timestamp) -> QuotaLeft {
        let missing = capacity(quota).saturating_sub(self.level).max(0);
        let full_in = missing
            .unsigned_abs()
            .div_ceil(inflow(quota).unsigned_abs());
        let used = self.today.items.load(Ordering::Relaxed);
        QuotaLeft {
            quota,
            at_once: u64::try_from(self.level / 1_000).unwrap_or(0),
            full_in: u32::try_from(full_in).unwrap_or(u32::MAX),
            today: quota.items_per_day.saturating_sub(used),
            day_ends_in: self.day_ends_in(now),
        }
    }

    fn day_ends_in(&self, now: Timestamp) -> u32 {
        seconds((i64::from(self.today.day) + 1) * 86_400 - now.as_second())
    }

    /// Begins the count of another day.
    fn turn_to(&mut self, holder: &str, day: u32) {
        if day == self.today.day {
            return;
        }
        // A day goes back only if the mark was lowered. What was used stays used.
        let used = if day > self.today.day {
            0
        } else {
            self.today.items.load(Ordering::Relaxed)
        };
        self.today = day_count(holder, day, used);
    }

    fn refill(&mut self, quota: Quota, now: Timestamp) {
        let now = now.as_millisecond();
        let elapsed = (now - self.filled_at).max(0);
        // Milliseconds times items a second are thousandths of items.
        let gained = elapsed.saturating_mul(thousandths(quota.items_per_second) / 1_000);
        self.level = self.level.saturating_add(gained).min(capacity(quota));
        self.filled_at = now;
    }
}

/// Whole seconds to wait, at least one.
fn seconds(wait: i64) -> u32 {
    u32::try_from(wait.max(1)).unwrap_or(u32::MAX)
}

/// What a full bucket holds, in thousandths of an item.
fn capacity(quota: Quota) -> i64 {
    thousandths(quota.items_per_second.saturating_mul(BURST_SECONDS))
}

/// What flows into a bucket in a second, in thousandths of an item.
fn inflow(quota: Quota) -> i64 {
    thousandths(quota.items_per_second).max(1)
}

fn thousandths(items: u64) -> i64 {
    i64::try_from(items.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

fn day_count(holder: &str, day: u32, items: u64) -> Arc<DayCount> {
    Arc::new(DayCount {
        organisation: holder.to_owned(),
        day,
        items: AtomicU64::new(items),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(items_per_second: u64, items_per_day: u64) -> (Quotas, QuotaHolder) {
        let id = "cnss".to_owned();
        let quota = Quota {
            items_per_second,
            items_per_day,
        };
        let bucket = Arc::new(Mutex::new(Bucket {
            level: capacity(quota),
            filled_at: 0,
            today: day_count(&id, 0, 0),
        }));
        (
            Quotas {
                accounts: [(id.clone(), QuotaAccount { quota, bucket })].into(),
                mark: Arc::default(),
            },
            id,
        )
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let (quotas, id) = quotas(10, 1_000);
        assert!(quotas.take(&id, 100, at(0)).is_ok());
        assert_eq!(
            quotas.take(&id, 20, at(0)).err().unwrap(),
            QuotaExceeded { retry_after: 3 }
        );
        assert!(quotas.take(&id, 20, at(2)).is_ok());
        assert!(quotas.take(&id, 1, at(2)).is_err());
    }

    #[test]
    fn a_request_larger_than_the_bucket_leaves_a_debt() {
        let (quotas, id) = quotas(10, 10_000);
        assert!(quotas.take(&id, 1_000, at(0)).is_ok());
        assert!(
            quotas.take(&id, 1, at(89)).is_err(),
            "1 000 items are 100 seconds' worth"
        );
        assert!(quotas.take(&id, 1, at(91)).is_ok());
    }

    #[test]
    fn what_is_left_is_told() {
        let (quotas, id) = quotas(10, 1_000);
        let full = quotas.left(&id, at(0)).unwrap();
        assert_eq!((full.at_once, full.full_in, full.today), (100, 0, 1_000));
        assert_eq!((full.capacity(), full.day_ends_in), (100, 86_400));
        let after = quotas.take(&id, 150, at(0)).ok().unwrap().left;
        assert_eq!((after.at_once, after.full_in, after.today), (0, 15, 850));
        // As soon as it says that there is room, there is.
        let later = quotas.left(&id, at(6)).unwrap();
        assert_eq!((later.at_once, later.full_in), (10, 9));
        assert!(quotas.take(&id, later.at_once, at(6)).is_ok());
        assert_eq!(quotas.left(&id, at(86_400)).unwrap().today, 1_000);
        assert_eq!(quotas.left("dgi", at(0)), None);
    }

    #[test]
    fn what_is_spared_leaves_each_holder_half_of_its_day() {
        let (mut quotas, id) = quotas(10, 100);
        let other = "dgi".to_owned();
        let (more, _) = super::tests::quotas(10, 60);
        let account = more.accounts.into_values().next().unwrap();
        quotas.accounts.insert(other.clone(), account);
        let both: BTreeSet<_> = [id.clone(), other.clone(), "nobody".to_owned()].into();
        let used = |holder: &str| quotas.left(holder, at(0)).unwrap().today;
        assert!(quotas.take(&id, 20, at(0)).is_ok());
        assert_eq!(
            quotas.take_spare(&both, 61, at(0)).unwrap_err(),
            QuotaExceeded {
                retry_after: 86_400
            },
            "30 of each"
        );
        assert_eq!((used(&id), used(&other)), (80, 60), "nothing was taken");
        assert_eq!(quotas.take_spare(&both, 60, at(0)).unwrap().len(), 2);
        assert_eq!((used(&id), used(&other)), (50, 30));
        assert!(quotas.take_spare(&both, 1, at(0)).is_err());
        // The bucket of a second was not touched: 80 of 100 are there.
        assert!(quotas.take(&id, 50, at(0)).is_ok());
        assert!(quotas.take_spare(&both, 1, at(86_400)).is_ok());
    }

    #[test]
    fn a_day_has_an_end() {
        let (quotas, id) = quotas(1_000, 150);
        assert!(quotas.take(&id, 150, at(0)).is_ok());
        assert_eq!(
            quotas.take(&id, 1, at(86_399)).err().unwrap(),
            QuotaExceeded { retry_after: 1 }
        );
        assert_eq!(
            quotas
                .take(&id, 1, at(86_400))
                .unwrap_or_else(|_| panic!("there is room"))
                .count
                .items
                .load(Ordering::Relaxed),
            1
        );
    }

    #[test]
    fn a_clock_set_back_gives_no_quota_twice() {
        let (quotas, id) = quotas(1_000, 150);
        assert!(quotas.take(&id, 150, at(10 * 86_400)).is_ok());
        quotas.mark.raise(at(10 * 86_400).as_millisecond());
        assert!(quotas.take(&id, 1, at(9 * 86_400)).is_err());
        // Two operators say that it is the ninth day: what was used today stays used, and tomorrow
        // is another day.
        assert!(quotas.mark.lower(at(10 * 86_400), at(9 * 86_400)));
        assert!(quotas.take(&id, 1, at(9 * 86_400)).is_err());
        assert!(quotas.take(&id, 150, at(10 * 86_400)).is_ok());
    }

    #[test]
    fn refused_items_are_not_counted() {
        let (quotas, id) = quotas(1, 100);
        assert!(quotas.take(&id, 101, at(0)).is_err());
        assert_eq!(
            quotas
                .take(&id, 1, at(0))
                .unwrap_or_else(|_| panic!("there is room"))
                .count
                .items
                .load(Ordering::Relaxed),
            1
        );
    }
}
