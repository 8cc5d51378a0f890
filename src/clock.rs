//! Time and randomness, as parameters.
//!
//! Everything that depends on the time of day takes a [`Clock`], so that a test can stand at any
//! instant; the operating system's time of day is read in [`SystemClock`] and its randomness in
//! [`random`], and nowhere else.
//!
//! A clock that is set back must not reopen what has expired: such decisions use
//! [`ClockMark::steady`].

pub mod lasting;
mod mark;

use std::cell::Cell;
use std::time::{Duration, Instant};

use jiff::Timestamp;
pub use mark::{CLOCK_TOLERANCE, ClockBehind, ClockMark};
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present instant (UTC).
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Days since 1970-01-01 (UTC), the unit of first-seen days and daily quotas.
pub fn day_of(now: Timestamp) -> u32 {
    u32::try_from(now.as_second().max(0) / 86_400).unwrap_or(u32::MAX)
}

/// The hour (UTC), counted since 1970.
pub fn hour_of(now: Timestamp) -> u32 {
    u32::try_from(now.as_second().max(0) / 3_600).unwrap_or(u32::MAX)
}

/// `N` bytes from the operating system's generator.
///
/// # Panics
/// When the operating system gives no randomness: cloison cannot work without it.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's random generator failed");
    bytes
}

/// A random UUID: version 4 (RFC 9562, section 5.4).
///
/// # Panics
/// As [`random`].
pub fn random_uuid() -> Uuid {
    uuid::Builder::from_random_bytes(random()).into_uuid()
}

/// The operating system's generator, for libraries that draw for themselves.
///
/// # Panics
/// As [`random`].
pub fn dice() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

/// How long a long computation goes on before it lets other threads run.
const TURN: Duration = Duration::from_micros(200);

/// Between two steps of a long computation: lets another thread that waits for this core run,
/// unless this was done a moment ago. Without this, the system switches threads at its next tick,
/// milliseconds later.
pub fn give_way() {
    thread_local!(static LAST: Cell<Option<Instant>> = const { Cell::new(None) });
    if LAST.get().is_none_or(|last| last.elapsed() >= TURN) {
        std::thread::yield_now();
        LAST.set(Some(Instant::now()));
    }
}

/// A clock for tests that stands still until it is set.
#[derive(Debug)]
pub struct FixedClock(std::sync::atomic::AtomicI64);

impl FixedClock {
    /// A clock that shows `now` (whole seconds).
    pub fn at(now: Timestamp) -> Self {
        Self(std::sync::atomic::AtomicI64::new(now.as_second()))
    }

    /// Moves the hands to `now`.
    pub fn set(&self, now: Timestamp) {
        self.0
            .store(now.as_second(), std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        let second = self.0.load(std::sync::atomic::Ordering::SeqCst);
        Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
