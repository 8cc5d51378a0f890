//! Counts what happens at a listener, for `/metrics` and, at most once a second, for the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::metrics::{Counter, Gauge, Registry};

/// A listener's metrics.
pub(super) struct ListenerCounts {
    pub(super) open: Arc<Gauge>,
    pub(super) accepted: Arc<Counter>,
    pub(super) refused: Arc<Counter>,
    pub(super) failed_handshakes: Arc<Counter>,
    pub(super) evicted_handshakes: Arc<Counter>,
    pub(super) strangers: Arc<Counter>,
    pub(super) panics: Arc<Counter>,
    /// By the first digit of the status: 1 to 3, 4, and all others.
    answers: [Arc<Counter>; 3],
}

impl ListenerCounts {
    pub(super) fn new(registry: &Registry, listener: &str) -> Self {
        let label = Some(("listener", listener));
        let counter = |name: &'static str, help: &'static str| registry.counter(name, help, label);
        Self {
            open: registry.gauge("cloison_connections_open", "Connections at present.", label),
            accepted: counter("cloison_connections_total", "Connections accepted."),
            refused: counter(
                "cloison_connections_refused_total",
                "Connections closed because no more are allowed.",
            ),
            failed_handshakes: counter(
                "cloison_handshakes_failed_total",
                "TLS handshakes that failed.",
            ),
            evicted_handshakes: counter(
                "cloison_handshakes_evicted_total",
                "TLS handshakes ended to make room for those of another address, or for newer ones of the same.",
            ),
            strangers: counter(
                "cloison_strangers_refused_total",
                "TLS handshakes refused because the register has no entry with the certificate's key, or the entry has ended.",
            ),
            panics: counter("cloison_panics_total", "Requests whose handler panicked."),
            answers: [
                counter(
                    "cloison_http_answers_total",
                    "Requests answered with a status of 2xx.",
                ),
                counter(
                    "cloison_http_refusals_total",
                    "Requests answered with a status of 4xx.",
                ),
                counter(
                    "cloison_http_failures_total",
                    "Requests answered with a status of 5xx.",
                ),
            ],
        }
    }

    pub(super) fn count_answer(&self, status: u16) {
        let class = match status / 100 {
            1..=3 => 0,
            4 => 1,
            _ => 2,
        };
        self.answers[class].one();
    }
}

/// Counts events that strangers can cause as often as they like, so that the log mentions them at
/// most once a second.
pub(super) struct OncePerSecond {
    began: Instant,
    /// The second from which the log may mention them again.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl OncePerSecond {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            next: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
        }
    }

    /// Counts one more. When the log may mention them, returns how many there were since it last
    /// did.
    pub(super) fn count(&self) -> Option<u64> {
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        let now = self.began.elapsed().as_secs();
        let due = |next: u64| (next <= now).then_some(now + 1);
        self.next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due)
            .ok()?;
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_said_once_a_second() {
        let seldom = OncePerSecond::new();
        assert_eq!(seldom.count(), Some(1));
        assert!((0..10_000).filter_map(|_| seldom.count()).count() <= 1);
    }
}
