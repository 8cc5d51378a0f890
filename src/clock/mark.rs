//! The clock's high-water mark: the latest time that was ever acted on.
//!
//! It is durable, so that a restart does not forget it. A clock behind the mark was set back, or
//! had run ahead before. cloison cannot know which. Either way, something that has expired would be
//! open again.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::code::Code;

/// How far a clock may stand behind the mark: as far as a time service sets one back.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(2);

/// The latest time that was ever acted on (Unix milliseconds).
#[derive(Debug, Default)]
pub struct ClockMark(AtomicI64);

/// The clock stands further behind the mark than a time service sets one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockBehind {
    /// What the clock shows.
    pub now: Timestamp,
    /// The latest time that was ever acted on.
    pub mark: Timestamp,
}

impl ClockMark {
    /// A mark at so many milliseconds (Unix).
    pub fn at(milliseconds: i64) -> Self {
        Self(AtomicI64::new(milliseconds))
    }

    /// Unix milliseconds.
    pub fn milliseconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The same as a time.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(self.milliseconds()).unwrap_or(Timestamp::MAX)
    }

    /// Raises the mark, if that is later.
    pub fn raise(&self, milliseconds: i64) {
        self.0.fetch_max(milliseconds, Ordering::Relaxed);
    }

    /// Lowers the mark to `to` if it is still at `from`. Returns whether it did.
    pub fn lower(&self, from: Timestamp, to: Timestamp) -> bool {
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        to < from
            && self
                .0
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// `now`, if it is not behind the mark: the time for decisions that a clock set back must not
    /// revive.
    ///
    /// # Errors
    /// [`ClockBehind`]
    pub fn steady(&self, now: Timestamp) -> Result<Timestamp, ClockBehind> {
        let behind = ClockBehind {
            now,
            mark: self.time(),
        };
        if now < behind.until() {
            Err(behind)
        } else {
            Ok(now)
        }
    }
}

impl ClockBehind {
    /// When the clock is believed again if nobody sets it.
    pub fn until(&self) -> Timestamp {
        self.mark
            .checked_sub(CLOCK_TOLERANCE)
            .unwrap_or(Timestamp::MIN)
    }

    /// How many seconds the clock stands behind the mark.
    pub fn seconds(&self) -> i64 {
        self.mark.as_second().saturating_sub(self.now.as_second())
    }
}

impl fmt::Display for ClockBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the clock shows {}, and {} was already seen: what depends on the time is refused until {}; set the clock right, \
             or have the mark lowered if the clock once ran ahead (`cloison clock lower`)",
            whole(self.now),
            whole(self.mark),
            whole(self.until())
        )
    }
}

/// A time in whole seconds, as statements about the mark name it.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

impl From<ClockBehind> for Code {
    fn from(_: ClockBehind) -> Self {
        Code::ClockBehind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn two_minutes_behind_are_tolerated_and_no_more() {
        let mark = ClockMark::default();
        mark.raise(at("2026-11-22T12:00:00Z").as_millisecond());
        mark.raise(at("2026-11-21T12:00:00Z").as_millisecond());
        assert!(mark.steady(at("2026-11-22T11:58:00Z")).is_ok());
        let behind = mark.steady(at("2026-11-22T11:57:59Z")).unwrap_err();
        assert_eq!(
            (behind.until(), behind.seconds()),
            (at("2026-11-22T11:58:00Z"), 121)
        );
        assert!(
            behind
                .to_string()
                .contains("refused until 2026-11-22T11:58:00Z"),
            "{behind}"
        );
    }

    #[test]
    fn a_mark_is_lowered_only_from_where_it_is_said_to_be() {
        let (ahead, present) = (at("2036-01-01T00:00:00Z"), at("2026-11-22T12:00:00Z"));
        let mark = ClockMark::at(ahead.as_millisecond());
        assert!(!mark.lower(at("2035-01-01T00:00:00Z"), present));
        assert!(
            !mark.lower(ahead, at("2037-01-01T00:00:00Z")),
            "that would raise it"
        );
        assert!(mark.lower(ahead, present));
        assert!(mark.steady(present).is_ok());
    }
}
