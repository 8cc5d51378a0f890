//! Detects a stalled writer: jobs wait and no commit has finished for [`STALL`].

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// After so long without a finished commit the writer counts as stalled, and no request is
/// admitted: a commit takes milliseconds, and while the disk hangs, an admitted request would wait
/// forever.
pub const STALL: Duration = Duration::from_secs(2);

/// How many jobs wait for the writer, and when its last commit finished.
pub(super) struct WriterPace {
    began: Instant,
    /// Jobs that were submitted and not answered.
    waiting: AtomicUsize,
    /// When the last commit finished or the first job began to wait, in milliseconds since `began`.
    mark: AtomicU64,
    /// Whether the writer waits for room in memory, and not for the disk.
    held_back: AtomicBool,
}

impl Default for WriterPace {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            waiting: AtomicUsize::new(0),
            mark: AtomicU64::new(0),
            held_back: AtomicBool::new(false),
        }
    }
}

impl WriterPace {
    /// Counts a job that begins to wait.
    pub(super) fn enter(&self) {
        if self.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            self.set_mark();
        }
    }

    /// Counts jobs that wait no more.
    pub(super) fn leave(&self, jobs: usize) {
        self.set_mark();
        self.waiting.fetch_sub(jobs, Ordering::AcqRel);
    }

    /// Notes whether the writer waits for room in memory: that is not a stall.
    pub(super) fn hold_back(&self, held_back: bool) {
        self.set_mark();
        self.held_back.store(held_back, Ordering::Release);
    }

    fn set_mark(&self) {
        self.mark
            .store(self.began.elapsed().as_millis() as u64, Ordering::Release);
    }

    /// How long the writer has been stalled, where that is longer than [`STALL`].
    pub(super) fn stalled(&self) -> Option<Duration> {
        if self.waiting.load(Ordering::Acquire) == 0 || self.held_back.load(Ordering::Acquire) {
            return None;
        }
        let mark = Duration::from_millis(self.mark.load(Ordering::Acquire));
        let since = self.began.elapsed().saturating_sub(mark);
        (since > STALL).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waits_can_stall() {
        let pace = WriterPace {
            began: Instant::now().checked_sub(Duration::from_secs(10)).unwrap(),
            ..WriterPace::default()
        };
        assert_eq!(pace.stalled(), None, "nothing waits");
        pace.waiting.store(1, Ordering::Release);
        assert!(
            pace.stalled().unwrap() > STALL,
            "ten seconds without a commit"
        );
        pace.leave(1);
        assert_eq!(pace.stalled(), None);
        pace.enter();
        assert_eq!(pace.stalled(), None, "only since a moment ago");
    }
}
