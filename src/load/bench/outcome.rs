//! The figures of a bench, and how they are shown.

use indicatif::HumanCount;

use super::BenchArgs;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Workload {
    New,
    Known,
    Irreversible,
}

/// The results of one round, or the medians of all.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct BenchOutcome {
    pub(super) workload: Workload,
    pub(super) persons: u64,
    pub(super) batch: u64,
    /// Identifiers answered in a round.
    pub(super) items: u64,
    /// From the first request to the last answer.
    pub(super) seconds: f64,
    pub(super) items_per_second: f64,
    /// CPU time of the vault's process per identifier, user and system, until it was idle again;
    /// with an identity source, that of both processes.
    pub(super) cpu_us_per_item: f64,
    /// The identity source's part of it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity_us_per_item: Option<f64>,
    /// Latency of a request.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Memory of the same processes at the end of the round.
    pub(super) rss_mib: f64,
    /// Each round, where there were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rounds: Vec<BenchOutcome>,
}

impl BenchOutcome {
    /// The one round, or of several the median of each figure.
    pub(super) fn medians(rounds: Vec<Self>) -> Self {
        let mut all = rounds[0].clone();
        if rounds.len() == 1 {
            return all;
        }
        let of = |figure: fn(&Self) -> f64| spread(&rounds, figure)[1];
        all.seconds = of(|round| round.seconds);
        all.items_per_second = of(|round| round.items_per_second);
        all.cpu_us_per_item = of(|round| round.cpu_us_per_item);
        all.identity_us_per_item = all
            .identity_us_per_item
            .map(|_| of(|round| round.identity_us_per_item.unwrap_or_default()));
        all.p50_ms = of(|round| round.p50_ms);
        all.p99_ms = of(|round| round.p99_ms);
        all.rss_mib = of(|round| round.rss_mib);
        all.rounds = rounds;
        all
    }

    /// What was measured, in a line.
    pub(super) fn title(&self) -> String {
        let what = match self.workload {
            Workload::New => "new persons: derived, sealed, stored",
            Workload::Known => "known persons: nothing new to store",
            Workload::Irreversible => "a sector that keeps no mappings",
        };
        format!(
            "{what}; {} identifiers in requests of {}, durable and logged before each answer",
            HumanCount(self.items),
            HumanCount(self.batch)
        )
    }

    /// The figures, a line each.
    pub(super) fn figures(&self, args: &BenchArgs) -> String {
        let single = std::slice::from_ref(self);
        let rounds = if self.rounds.is_empty() {
            single
        } else {
            &self.rounds
        };
        let mut text = String::new();
        let mut line = |name: &str, unit: &str, places: usize, figure: fn(&Self) -> f64| {
            let [least, median, most] = spread(rounds, figure);
            let number = |value: f64| match places {
                0 => HumanCount(value as u64).to_string(),
                places => format!("{value:.places$}"),
            };
            text += &format!("  {name:<12} {:>14} {unit}", number(median));
            if rounds.len() > 1 {
                text += &format!(
                    "   (median of {}; {} to {})",
                    rounds.len(),
                    number(least),
                    number(most)
                );
            }
            text.push('\n');
        };
        line("throughput", "identifiers/s", 0, |round| {
            round.items_per_second
        });
        let whose = if self.identity_us_per_item.is_some() {
            "µs/identifier, vault and identity source together"
        } else {
            "µs/identifier, the vault's process alone"
        };
        line("CPU", whose, 3, |round| round.cpu_us_per_item);
        if self.identity_us_per_item.is_some() {
            line("  vault", "µs/identifier", 3, |round| {
                round.cpu_us_per_item - round.identity_us_per_item.unwrap_or_default()
            });
            line("  source", "µs/identifier", 3, |round| {
                round.identity_us_per_item.unwrap_or_default()
            });
        }
        line("latency p50", "ms a request", 2, |round| round.p50_ms);
        line("latency p99", "ms a request", 2, |round| round.p99_ms);
        line("memory", "MiB", 0, |round| round.rss_mib);
        if args.beside.is_some() {
            text += "  The CPU figure includes the load beside.\n";
        }
        text.pop();
        text
    }
}

/// Least, median and most.
fn spread(rounds: &[BenchOutcome], figure: impl Fn(&BenchOutcome) -> f64) -> [f64; 3] {
    let mut all: Vec<f64> = rounds.iter().map(figure).collect();
    all.sort_unstable_by(f64::total_cmp);
    let (half, odd) = (all.len() / 2, all.len() % 2 == 1);
    let median = if odd {
        all[half]
    } else {
        (all[half - 1] + all[half]) / 2.0
    };
    [all[0], median, all[all.len() - 1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(seconds: f64) -> BenchOutcome {
        BenchOutcome {
            workload: Workload::Known,
            persons: 1,
            batch: 1,
            items: 1,
            seconds,
            items_per_second: 1.0 / seconds,
            cpu_us_per_item: 1.0,
            p50_ms: 1.0,
            p99_ms: 1.0,
            identity_us_per_item: None,
            rss_mib: 1.0,
            rounds: Vec::new(),
        }
    }

    #[test]
    fn one_round_has_exactly_the_members_that_are_promised() {
        let value = serde_json::to_value(BenchOutcome::medians(vec![round(1.0)])).unwrap();
        let mut names: Vec<_> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        let mut wanted = [
            "workload",
            "persons",
            "batch",
            "items",
            "seconds",
            "items_per_second",
            "cpu_us_per_item",
            "p50_ms",
            "p99_ms",
            "rss_mib",
        ];
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        assert_eq!(value["workload"], "known");
    }

    #[test]
    fn medians_are_of_each_figure() {
        let all = BenchOutcome::medians([3.0, 1.0, 2.0, 10.0].map(round).to_vec());
        assert_eq!((all.seconds, all.rounds.len()), (2.5, 4));
        assert_eq!(
            BenchOutcome::medians([3.0, 1.0, 2.0].map(round).to_vec()).seconds,
            2.0
        );
    }
}
