//! What happens at a listener, for `/metrics` and, at most once a second, for the log.

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
    /// By the first digit of the status: 2, 4, 5; whatever else comes is counted with 5.
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
                "Connections closed as one too many.",
            ),
            failed_handshakes: counter(
                "cloison_handshakes_failed_total",
                "TLS handshakes that failed.",
            ),
            evicted_handshakes: counter(
                "cloison_handshakes_evicted_total",
                "TLS handshakes given up for those of another address, or for newer ones of the same.",
            ),
            strangers: counter(
                "cloison_strangers_refused_total",
                "TLS handshakes refused because the register does not know the certificate's key.",
            ),
            panics: counter("cloison_panics_total", "Requests that met a fault of ours."),
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

    pub(super) fn answered(&self, status: u16) {
        let class = match status / 100 {
            1..=3 => 0,
            4 => 1,
            _ => 2,
        };
        self.answers[class].one();
    }
}

/// Counts what strangers can make happen as often as they like, so that it is said at most once a
/// second.
pub(super) struct OncePerSecond {
    began: Instant,
    /// The second in which it may be said again.
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

    /// Counts one more; where it is time to say so, how many there were since it was said last.
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
