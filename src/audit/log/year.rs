//! When the year of a shard is over. A clock that once ran years ahead must not end it: shards
//! follow one another, so that entries of the present would lie in that far year's shard until it
//! comes.

use jiff::{SignedDuration, Timestamp};

/// A clock that was seen within so much time before the new year is believed when it shows it.
/// From further back it may have jumped.
const NEAR: SignedDuration = SignedDuration::from_hours(24 * 92);
/// A clock that may have jumped is believed when it has shown times after the year's end for so
/// long. No pause between two of them is longer than [`NEAR`].
const PROVEN: SignedDuration = SignedDuration::from_hours(24 * 31);

/// Decides whether a clock that shows a time after a year's end is believed.
#[derive(Debug)]
pub(super) struct YearEnd {
    /// The last time that the clock showed.
    last: Timestamp,
    /// Since when a clock that jumped shows times after the year's end.
    doubted_since: Option<Timestamp>,
}

impl YearEnd {
    /// As the store knows it: the latest time that was ever acted on, and since when the clock is
    /// doubted.
    pub(super) fn new(end: Timestamp, mark: Timestamp, doubted_since: Option<Timestamp>) -> Self {
        // A mark after the year's end is a doubted clock's. Without the doubt, the clock was right
        // again since, and nobody knows at what time last.
        let is_known = mark < end || doubted_since.is_some();
        Self {
            last: if is_known {
                mark
            } else {
                Timestamp::UNIX_EPOCH
            },
            doubted_since,
        }
    }

    /// Since when the clock is doubted: this must be in the store with the entries.
    pub(super) fn doubted_since(&self) -> Option<Timestamp> {
        self.doubted_since
    }

    /// Whether the year that ends at `end` is over, now that the clock shows `now`.
    pub(super) fn is_over(&mut self, end: Timestamp, now: Timestamp) -> bool {
        let pause = now.duration_since(self.last);
        self.last = now;
        self.doubted_since = match self.doubted_since {
            _ if now < end => None,
            _ if pause > NEAR => Some(now),
            Some(since) if now.duration_since(since) < PROVEN => Some(since.min(now)),
            _ => return true,
        };
        false
    }

    /// A new year has begun.
    pub(super) fn begin(&mut self) {
        self.doubted_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "2027-01-01T00:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn over(year: &mut YearEnd, now: &str) -> bool {
        year.is_over(at(END), at(now))
    }

    #[test]
    fn a_year_ends_under_a_clock_that_was_near_and_not_under_one_that_jumps() {
        let mut year = YearEnd::new(at(END), at("2026-11-22T12:00:00Z"), None);
        assert!(!over(&mut year, "2026-12-31T23:59:59Z"));
        assert!(over(&mut year, "2027-01-01T00:00:00Z"));

        let mut year = YearEnd::new(at(END), at("2026-11-22T12:00:00Z"), None);
        assert!(!over(&mut year, "2031-03-01T00:00:00Z"));
        assert!(!over(&mut year, "2031-03-31T00:00:00Z"));
        // The clock is right again, and jumps again.
        assert!(!over(&mut year, "2026-11-22T12:00:01Z"));
        assert_eq!(year.doubted_since(), None);
        assert!(!over(&mut year, "2031-04-02T00:00:00Z"));
        assert!(!over(&mut year, "2026-12-31T23:59:59Z"));
        assert!(over(&mut year, "2027-01-01T00:00:00Z"));

        // A mark of 2031 does not make 2031 near.
        let mut year = YearEnd::new(at(END), at("2031-04-02T00:00:00Z"), None);
        assert!(!over(&mut year, "2031-04-03T00:00:00Z"));
    }

    #[test]
    fn a_clock_that_stays_is_believed_after_a_month_also_over_restarts() {
        let mut year = YearEnd::new(at(END), at("2026-11-22T12:00:00Z"), None);
        assert!(!over(&mut year, "2030-06-01T00:00:00Z"));
        let since = year.doubted_since();
        assert_eq!(since, Some(at("2030-06-01T00:00:00Z")));
        let mut year = YearEnd::new(at(END), at("2030-06-01T00:00:00Z"), since);
        assert!(!over(&mut year, "2030-06-20T00:00:00Z"));
        assert!(over(&mut year, "2030-07-02T00:00:00Z"));
        // Far ahead of that, it would have jumped a second time.
        let mut year = YearEnd::new(at(END), at("2030-06-01T00:00:00Z"), since);
        assert!(!over(&mut year, "2031-06-01T00:00:00Z"));
        assert_eq!(year.doubted_since(), Some(at("2031-06-01T00:00:00Z")));
    }
}
