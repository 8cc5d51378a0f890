//! Counts commits: how many have begun, and how many are over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counts of commits.
#[derive(Default)]
pub(super) struct Rounds {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// The count of ended commits once the writer has ended.
const OVER: u64 = u64::MAX;

impl Rounds {
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn close(&self) {
        self.ended.store(OVER, Ordering::Release);
    }

    /// Waits until every commit that has begun is over. Returns whether they all became durable.
    pub(super) fn settled(&self) -> bool {
        let begun = self.begun.load(Ordering::Acquire);
        loop {
            match self.ended.load(Ordering::Acquire) {
                OVER => return false,
                ended if ended >= begun => return true,
                // A commit takes as long as an fsync, and every caller can wait.
                _ => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}
