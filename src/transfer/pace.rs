//! Keeps a client below its organisation's quota: it waits before a request that would be refused.

use std::time::Duration;

use crate::client::ToldQuota;
use crate::quota::QuotaLeft;

/// What to do before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaceVerdict {
    /// Send it.
    Send,
    /// Wait: the quota a second is used up.
    Wait(Duration),
    /// The quota of the day does not have as many items any more.
    DayOver {
        /// What is left of the day's.
        left: u64,
        /// Until the next day.
        ends_in: Duration,
    },
}

/// What to do before a request with so many items, by what the vault told last.
pub fn before(told: Option<ToldQuota>, items: u64) -> PaceVerdict {
    match told {
        None => PaceVerdict::Send,
        Some(ToldQuota { left, heard }) => verdict(&left, heard.elapsed(), items),
    }
}

/// As the vault computes it (`vault/quota.rs`), from what it said `elapsed` ago. A debt is known by
/// the time until the bucket is full; what is rounded is rounded to the later moment.
fn verdict(left: &QuotaLeft, elapsed: Duration, items: u64) -> PaceVerdict {
    let ends_in = Duration::from_secs(left.day_ends_in.into());
    if elapsed < ends_in && items > left.today {
        return PaceVerdict::DayOver {
            left: left.today,
            ends_in: ends_in.saturating_sub(elapsed),
        };
    }
    let a_second = left.quota.items_per_second.max(1) as f64;
    let capacity = left.capacity() as f64;
    let level = if left.at_once > 0 {
        left.at_once as f64
    } else {
        (capacity - f64::from(left.full_in) * a_second).min(0.0)
    };
    // A request larger than the bucket passes when the bucket is full.
    let needed = (items as f64).min(capacity);
    let missing = needed - (level + elapsed.as_secs_f64() * a_second);
    if missing <= 0.0 {
        PaceVerdict::Send
    } else {
        // A little more: clocks of two machines do not go alike.
        PaceVerdict::Wait(Duration::from_secs_f64(missing / a_second + 0.02))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Quota;

    fn left(at_once: u64, full_in: u32, today: u64) -> QuotaLeft {
        QuotaLeft {
            quota: Quota {
                items_per_second: 100,
                items_per_day: 10_000,
            },
            at_once,
            full_in,
            today,
            day_ends_in: 3_600,
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_waits_as_long_as_the_bucket_takes() {
        let full = left(1_000, 0, 10_000);
        assert_eq!(verdict(&full, seconds(0), 1_000), PaceVerdict::Send);
        // Larger than the bucket: a full one is enough.
        assert_eq!(verdict(&full, seconds(0), 5_000), PaceVerdict::Send);
        let some = left(200, 8, 10_000);
        let PaceVerdict::Wait(pause) = verdict(&some, seconds(0), 500) else {
            panic!("there are only 200");
        };
        assert!((3.0..3.1).contains(&pause.as_secs_f64()), "{pause:?}");
        assert_eq!(verdict(&some, seconds(3), 500), PaceVerdict::Send);
        // A debt of 4 000 items: 50 seconds until it is full.
        let PaceVerdict::Wait(pause) = verdict(&left(0, 50, 5_000), seconds(0), 100) else {
            panic!("there is a debt");
        };
        assert!((41.0..41.1).contains(&pause.as_secs_f64()), "{pause:?}");
    }

    #[test]
    fn a_day_ends_and_another_begins() {
        let used = left(1_000, 0, 50);
        assert_eq!(
            verdict(&used, seconds(600), 51),
            PaceVerdict::DayOver {
                left: 50,
                ends_in: seconds(3_000)
            }
        );
        assert_eq!(verdict(&used, seconds(3_600), 51), PaceVerdict::Send);
        assert_eq!(before(None, 1), PaceVerdict::Send);
    }
}
