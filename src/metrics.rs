//! Counters and gauges, and their text for Prometheus (exposition format 0.0.4).
//!
//! A metric is an atomic that its owner holds; the [`Registry`] only knows how to print it. Names
//! begin with `cloison_`. Anyone on the machine may read metrics without a certificate. So a label
//! names a listener, an operation or a code, never a caller or a sector system. And no figure shows
//! the effect of one request for one person: a reader could compare it before and after, and learn
//! whether that person was known ([`CoarseGauge`], [`CoarseCounter`]).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::system::lock::unpoisoned;

/// A metric that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A metric that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds one until the guard is dropped.
    pub fn hold(self: &Arc<Self>) -> GaugeGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuard(Arc::clone(self))
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The steps in which persons, their mappings and their chunks are shown.
pub const PERSONS: u64 = 1_000;
/// The steps in which memory and disk that grow with them are shown.
pub const MEBIBYTE: u64 = 1 << 20;

/// `value` in whole steps, rounded down.
pub const fn coarse(value: u64, step: u64) -> u64 {
    value - value % step
}

/// A gauge that is shown in whole steps. Steps alone hide nothing from a reader who knows how far
/// the next one is; set it once an hour.
#[derive(Debug)]
pub struct CoarseGauge {
    gauge: Arc<Gauge>,
    step: u64,
}

impl CoarseGauge {
    /// Sets it.
    pub fn set(&self, value: u64) {
        self.gauge
            .set(i64::try_from(coarse(value, self.step)).unwrap_or(i64::MAX));
    }
}

/// A counter that is shown in whole steps.
#[derive(Debug)]
pub struct CoarseCounter {
    counter: Arc<Counter>,
    step: u64,
}

impl CoarseCounter {
    /// Raises it to the count so far, in whole steps.
    pub fn advance_to(&self, count: u64) {
        self.counter
            .add(coarse(count, self.step).saturating_sub(self.counter.get()));
    }
}

/// Lowers the gauge by one when dropped; see [`Gauge::hold`].
#[derive(Debug)]
pub struct GaugeGuard(Arc<Gauge>);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Upper bounds of a histogram's buckets, in microseconds.
const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 10_000_000,
];

/// How long something took, in buckets from 0.1 ms to 10 s.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each of `BOUNDS`, and one for all beyond.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS
            .iter()
            .position(|bound| microseconds <= *bound)
            .unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Metric {
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    Histogram(Arc<Histogram>),
}

impl Metric {
    fn kind(&self) -> &'static str {
        match self {
            Metric::Counter(_) => "counter",
            Metric::Gauge(_) => "gauge",
            Metric::Histogram(_) => "histogram",
        }
    }
}

#[derive(Debug)]
struct MetricEntry {
    name: &'static str,
    help: &'static str,
    /// `key="value"`, or empty.
    label: String,
    metric: Metric,
}

/// All metrics of a process.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Vec<MetricEntry>>);

impl Registry {
    /// A registry without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new counter. `name` ends in `_total`; metrics of one name differ in their label.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        label: Option<(&str, &str)>,
    ) -> Arc<Counter> {
        let counter = Arc::new(Counter::default());
        self.push(name, help, label, Metric::Counter(Arc::clone(&counter)));
        counter
    }

    /// A new gauge.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        label: Option<(&str, &str)>,
    ) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        self.push(name, help, label, Metric::Gauge(Arc::clone(&gauge)));
        gauge
    }

    /// A new gauge that is shown in whole steps.
    pub fn coarse_gauge(&self, name: &'static str, help: &'static str, step: u64) -> CoarseGauge {
        CoarseGauge {
            gauge: self.gauge(name, help, None),
            step,
        }
    }

    /// A new counter that is shown in whole steps.
    pub fn coarse_counter(
        &self,
        name: &'static str,
        help: &'static str,
        step: u64,
    ) -> CoarseCounter {
        CoarseCounter {
            counter: self.counter(name, help, None),
            step,
        }
    }

    /// A new histogram. `name` ends in `_seconds`.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        label: Option<(&str, &str)>,
    ) -> Arc<Histogram> {
        let histogram = Arc::new(Histogram::default());
        self.push(name, help, label, Metric::Histogram(Arc::clone(&histogram)));
        histogram
    }

    fn push(
        &self,
        name: &'static str,
        help: &'static str,
        label: Option<(&str, &str)>,
        metric: Metric,
    ) {
        debug_assert!(name.starts_with("cloison_"));
        let label = label
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .unwrap_or_default();
        let mut entries = unpoisoned(self.0.lock());
        // Metrics of one name stand together, as the format asks.
        let place = entries
            .iter()
            .rposition(|entry| entry.name == name)
            .map_or(entries.len(), |last| last + 1);
        entries.insert(
            place,
            MetricEntry {
                name,
                help,
                label,
                metric,
            },
        );
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let entries = unpoisoned(self.0.lock());
        let mut out = String::with_capacity(entries.len() * 96);
        let mut before = "";
        for entry in entries.iter() {
            if entry.name != before {
                let _ = writeln!(
                    out,
                    "# HELP {0} {1}\n# TYPE {0} {2}",
                    entry.name,
                    entry.help,
                    entry.metric.kind()
                );
                before = entry.name;
            }
            match &entry.metric {
                Metric::Counter(counter) => {
                    sample(&mut out, entry.name, "", &[&entry.label], counter.get());
                }
                Metric::Gauge(gauge) => {
                    sample(&mut out, entry.name, "", &[&entry.label], gauge.get());
                }
                Metric::Histogram(histogram) => render_histogram(&mut out, entry, histogram),
            }
        }
        out
    }
}

fn render_histogram(out: &mut String, entry: &MetricEntry, histogram: &Histogram) {
    let mut so_far = 0;
    for (index, bucket) in histogram.buckets.iter().enumerate() {
        so_far += bucket.load(Ordering::Relaxed);
        let bound = BOUNDS
            .get(index)
            .map_or("+Inf".into(), |bound| (*bound as f64 / 1e6).to_string());
        sample(
            out,
            entry.name,
            "_bucket",
            &[&entry.label, &format!("le=\"{bound}\"")],
            so_far,
        );
    }
    let seconds = histogram.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
    sample(out, entry.name, "_sum", &[&entry.label], seconds);
    sample(out, entry.name, "_count", &[&entry.label], so_far);
}

fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[&str],
    value: impl std::fmt::Display,
) {
    let labels: Vec<&str> = labels
        .iter()
        .copied()
        .filter(|label| !label.is_empty())
        .collect();
    let _ = if labels.is_empty() {
        writeln!(out, "{name}{suffix} {value}")
    } else {
        writeln!(out, "{name}{suffix}{{{}}} {value}", labels.join(","))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus() {
        let registry = Registry::new();
        let data = registry.counter(
            "cloison_connections_total",
            "Connections.",
            Some(("listener", "data")),
        );
        let depth = registry.gauge("cloison_waiting", "Requests that wait.", None);
        registry.counter(
            "cloison_connections_total",
            "Connections.",
            Some(("listener", "control")),
        );
        data.add(3);
        let held = depth.hold();
        assert_eq!(
            registry.render(),
            "# HELP cloison_connections_total Connections.\n# TYPE cloison_connections_total counter\n\
             cloison_connections_total{listener=\"data\"} 3\ncloison_connections_total{listener=\"control\"} 0\n\
             # HELP cloison_waiting Requests that wait.\n# TYPE cloison_waiting gauge\ncloison_waiting 1\n"
        );
        drop(held);
        assert_eq!(depth.get(), 0);
    }

    #[test]
    fn a_coarse_figure_moves_in_whole_steps() {
        let registry = Registry::new();
        let mappings = registry.coarse_gauge("cloison_mappings", "Mappings.", PERSONS);
        let released = registry.coarse_counter("cloison_released_total", "Releases.", PERSONS);
        for (value, shown) in [
            (0, 0),
            (999, 0),
            (1_000, 1_000),
            (1_999, 1_000),
            (2_000, 2_000),
        ] {
            mappings.set(value);
            released.advance_to(value);
            let text = registry.render();
            assert!(
                text.contains(&format!("\ncloison_mappings {shown}\n")),
                "{text}"
            );
            assert!(
                text.contains(&format!("\ncloison_released_total {shown}\n")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_histogram_counts_upwards() {
        let registry = Registry::new();
        let took = registry.histogram(
            "cloison_request_seconds",
            "Time.",
            Some(("operation", "tokenize")),
        );
        for milliseconds in [1, 1, 30, 60_000] {
            took.observe(Duration::from_millis(milliseconds));
        }
        let text = registry.render();
        assert!(
            text.contains(
                "cloison_request_seconds_bucket{operation=\"tokenize\",le=\"0.0005\"} 0\n"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "cloison_request_seconds_bucket{operation=\"tokenize\",le=\"0.001\"} 2\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("cloison_request_seconds_bucket{operation=\"tokenize\",le=\"10\"} 3\n"),
            "{text}"
        );
        assert!(
            text.contains("cloison_request_seconds_bucket{operation=\"tokenize\",le=\"+Inf\"} 4\n"),
            "{text}"
        );
        assert!(
            text.contains("cloison_request_seconds_sum{operation=\"tokenize\"} 60.032\n"),
            "{text}"
        );
        assert!(
            text.contains("cloison_request_seconds_count{operation=\"tokenize\"} 4\n"),
            "{text}"
        );
    }
}
