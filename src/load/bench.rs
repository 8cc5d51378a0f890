//! `cloison bench`: measures how fast this machine is, with a throw-away vault in a process of its
//! own.

mod body;
mod deployment;
mod reidentify;
mod sender;
mod usage;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use self::body::Dialect;
use self::sender::{LoadPlan, LoadResult};
use self::wire::LoadTarget;
use super::local::LocalDeployment;
use crate::config::ClientConfig;
use crate::terminal::{CommandError, print, print_json};

/// Identifiers in each request that stores persons before the measurement.
const PRELOAD_BATCH: u64 = 10_000;

/// Measure this machine with a throw-away vault: throughput, latency, CPU time, memory
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison bench\n  \
    cloison bench --known --persons 10000000 --rounds 5\n  \
    cloison bench --new --preload 10000000 --persons 1000000\n  \
    cloison bench --known --batch 1 --items 100000               # one identifier a request\n  \
    cloison bench --known --batch 1 --rate 2000 --items 20000 --beside 10000\n  \
    cloison bench --reidentify 10000 --segments 100 --rounds 5   # vault and node together\n\n\
    The vault is a process of its own with fresh keys and mutual TLS. As always, its log and store are durable before it \
    answers. Its folder is made under TMPDIR (else /tmp), which should be on the kind of disk to be measured, and is removed \
    at the end. CPU time is that of the vault's process alone, by the operating system's count, including the background \
    work that the load leaves behind. The load runs on the same cores and counts only in the throughput.")]
pub struct BenchArgs {
    /// Persons in each round; with --known, how many are stored
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=body::MOST / 2))]
    persons: u64,
    /// Identifiers in one request
    #[arg(long, value_name = "B", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
    #[command(flatten)]
    workload: WorkloadChoice,
    /// With --known: identifiers sent in each round; without it each person is sent once
    #[arg(long, value_name = "N", requires = "known", value_parser = clap::value_parser!(u64).range(1..))]
    items: Option<u64>,
    /// Other persons to store before anything is measured
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=body::MOST / 2))]
    preload: u64,
    /// Connections at once [default: 4, or 32 when each request has one identifier]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    connections: Option<u16>,
    /// Requests a second, sent when they are due; without it each connection sends as soon as its last
    /// answer has come
    #[arg(long, value_name = "PER SECOND")]
    rate: Option<f64>,
    /// Let one more connection send known persons without pause, in requests of this many; it is not
    /// counted
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    beside: Option<u64>,
    /// Measure this many times; the figures are then medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Measure re-identification instead: this many pseudonyms in one request, vault and node
    /// together
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10000", conflicts_with_all = ["known", "new", "irreversible", "rate", "beside"], value_parser = clap::value_parser!(u64).range(1..=10_000))]
    reidentify: Option<u64>,
    /// With --reidentify: in how many segments they lie
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    segments: u64,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    /// Write the deployment that would be measured to this folder, for another program to start and
    /// load, and stop
    #[arg(long, value_name = "DIR", hide = true)]
    prepare: Option<PathBuf>,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct WorkloadChoice {
    /// Persons that the vault has not seen: derived, sealed, stored (this is measured if nothing is
    /// chosen)
    #[arg(long)]
    new: bool,
    /// Persons whose mappings are stored already: the everyday case
    #[arg(long)]
    known: bool,
    /// Persons in a sector that keeps no mappings
    #[arg(long)]
    irreversible: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Workload {
    New,
    Known,
    Irreversible,
}

/// The results of one round, or the medians of all.
#[derive(Debug, Clone, serde::Serialize)]
struct BenchOutcome {
    workload: Workload,
    persons: u64,
    batch: u64,
    /// Identifiers answered in a round.
    items: u64,
    /// From the first request to the last answer.
    seconds: f64,
    items_per_second: f64,
    /// CPU time of the vault's process per identifier, user and system, until it was idle again.
    cpu_us_per_item: f64,
    /// Latency of a request.
    p50_ms: f64,
    p99_ms: f64,
    /// Memory of the vault's process at the end of the round.
    rss_mib: f64,
    /// Each round, where there were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rounds: Vec<BenchOutcome>,
}

/// Runs the command.
///
/// # Errors
/// When the vault cannot be started or does not answer everything.
pub fn run(args: BenchArgs) -> Result<(), CommandError> {
    if args
        .rate
        .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
    {
        return Err(CommandError::usage(
            "--rate is a number above zero",
            "such as --rate 2000",
        ));
    }
    if let Some(folder) = &args.prepare {
        deployment::make(folder)?;
        return Ok(());
    }
    let local = LocalDeployment::new(None)?;
    let health = deployment::make(local.folder())?;
    if let Some(items) = args.reidentify {
        // The register's limit of releases in an hour bounds the rounds, including the first one,
        // which is not measured.
        let rounds = args.rounds.min(9);
        return reidentify::run(
            &local,
            health,
            items,
            args.segments.min(items),
            rounds,
            args.json,
        );
    }
    let vault = RunningVault::start(&local, health)?;
    let outcome = vault.measure(&args)?;
    drop(local);
    if args.json {
        print_json(&outcome)
    } else {
        print(outcome.report(&args))
    }
}

/// A vault under load.
struct RunningVault {
    id: u32,
    /// The sector with mappings, and the one without.
    reversible: LoadTarget,
    irreversible: LoadTarget,
}

impl RunningVault {
    fn start(local: &LocalDeployment, health: SocketAddr) -> Result<Self, CommandError> {
        let config = local.folder().join("vault.toml");
        let config = config
            .to_str()
            .ok_or_else(|| CommandError::usage("TMPDIR is not UTF-8", "choose another folder"))?;
        let id = local.start("vault", &["serve", "--config", config], health)?;
        let [reversible, irreversible] = [deployment::REVERSIBLE, deployment::IRREVERSIBLE]
            .map(|sector| target(local.folder(), sector));
        Ok(Self {
            id,
            reversible: reversible?,
            irreversible: irreversible?,
        })
    }

    fn measure(&self, args: &BenchArgs) -> Result<BenchOutcome, CommandError> {
        let workload = args.workload.chosen();
        let known = if workload == Workload::Known || args.beside.is_some() {
            args.persons
        } else {
            0
        };
        self.preload(known + args.preload, args.json)?;
        usage::cpu_when_idle(self.id)?;
        let rounds = (0..args.rounds).map(|round| {
            let (first, cycle) = match workload {
                Workload::New => (
                    known + args.preload + u64::from(round) * args.persons,
                    u64::MAX,
                ),
                Workload::Known | Workload::Irreversible => (0, args.persons),
            };
            let load = LoadPlan {
                dialect: Dialect::Cloison,
                first,
                batch: args.batch,
                items: args.items.unwrap_or(args.persons),
                cycle,
                connections: args
                    .connections
                    .map_or(if args.batch == 1 { 32 } else { 4 }, usize::from),
                rate: args.rate,
            };
            self.round(args, workload, &load)
        });
        Ok(BenchOutcome::medians(
            rounds.collect::<Result<_, CommandError>>()?,
        ))
    }

    /// Stores persons before anything is measured.
    fn preload(&self, persons: u64, quiet: bool) -> Result<(), CommandError> {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(persons)
        };
        let style =
            ProgressStyle::with_template("storing {bar:40} {human_pos} of {human_len}, {eta} left");
        bar.set_style(style.expect("the template is a constant"));
        let most = 50 * PRELOAD_BATCH;
        for first in (0..persons).step_by(most as usize) {
            let items = most.min(persons - first);
            let (dialect, batch) = (Dialect::Cloison, PRELOAD_BATCH);
            let load = LoadPlan {
                dialect,
                first,
                batch,
                items,
                cycle: u64::MAX,
                connections: 4,
                rate: None,
            };
            load.run(&self.reversible, || Ok(()))?;
            bar.inc(items);
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn round(
        &self,
        args: &BenchArgs,
        workload: Workload,
        load: &LoadPlan,
    ) -> Result<BenchOutcome, CommandError> {
        let target = if workload == Workload::Irreversible {
            &self.irreversible
        } else {
            &self.reversible
        };
        let mut before = Duration::ZERO;
        // The clock starts after the handshakes.
        let begin = || {
            before = match args.beside {
                None => usage::cpu_when_idle(self.id)?,
                Some(_) => {
                    // The vault is never idle then: waits until the load beside runs evenly.
                    std::thread::sleep(Duration::from_millis(300));
                    usage::cpu(self.id)?
                }
            };
            Ok(())
        };
        let sent = match args.beside {
            None => load.run(target, begin)?,
            Some(batch) => self.run_beside(load, target, begin, batch, args.persons)?,
        };
        let rss_mib = usage::resident_mib(self.id)?;
        let cpu = usage::cpu_when_idle(self.id)?.checked_sub(before).unwrap();
        let seconds = sent.elapsed.as_secs_f64();
        Ok(BenchOutcome {
            workload,
            persons: args.persons,
            batch: load.batch,
            items: sent.items,
            seconds,
            items_per_second: sent.items as f64 / seconds.max(1e-9),
            cpu_us_per_item: cpu.as_secs_f64() * 1e6 / sent.items.max(1) as f64,
            p50_ms: sent.percentile_ms(50.0),
            p99_ms: sent.percentile_ms(99.0),
            rss_mib,
            rounds: Vec::new(),
        })
    }

    /// The load, while another connection sends known persons without pause. (The CPU time is that
    /// of both.)
    fn run_beside(
        &self,
        load: &LoadPlan,
        target: &LoadTarget,
        begin: impl FnOnce() -> Result<(), CommandError>,
        batch: u64,
        persons: u64,
    ) -> Result<LoadResult, CommandError> {
        let (dialect, stop) = (Dialect::Cloison, AtomicBool::new(false));
        let other = LoadPlan {
            dialect,
            first: 0,
            batch,
            items: u64::MAX / 2,
            cycle: persons,
            connections: 1,
            rate: None,
        };
        std::thread::scope(|scope| {
            let beside = scope.spawn(|| other.run_until(&self.reversible, || Ok(()), &stop));
            let sent = load.run(target, begin);
            stop.store(true, Ordering::Relaxed);
            beside.join().expect("no load panics")?;
            sent
        })
    }
}

fn target(folder: &Path, sector: &str) -> Result<LoadTarget, CommandError> {
    let file = folder.join(format!("clients/{}.toml", deployment::CLIENT));
    let client = ClientConfig::load(&file).map_err(CommandError::bug)?;
    LoadTarget::new(
        &client,
        &crate::client::path(&["v1", "sectors", sector, "pseudonyms"]),
        "",
    )
}

impl WorkloadChoice {
    fn chosen(&self) -> Workload {
        match (self.known, self.irreversible) {
            (true, _) => Workload::Known,
            (_, true) => Workload::Irreversible,
            _ => Workload::New,
        }
    }
}

impl BenchOutcome {
    /// The one round, or of several the median of each figure.
    fn medians(rounds: Vec<Self>) -> Self {
        let mut all = rounds[0].clone();
        if rounds.len() == 1 {
            return all;
        }
        let of = |figure: fn(&Self) -> f64| spread(&rounds, figure)[1];
        all.seconds = of(|round| round.seconds);
        all.items_per_second = of(|round| round.items_per_second);
        all.cpu_us_per_item = of(|round| round.cpu_us_per_item);
        all.p50_ms = of(|round| round.p50_ms);
        all.p99_ms = of(|round| round.p99_ms);
        all.rss_mib = of(|round| round.rss_mib);
        all.rounds = rounds;
        all
    }

    fn report(&self, args: &BenchArgs) -> String {
        let what = match self.workload {
            Workload::New => "new persons: derived, sealed, stored",
            Workload::Known => "known persons: nothing new to store",
            Workload::Irreversible => "a sector that keeps no mappings",
        };
        let mut text = format!(
            "{what}; {} identifiers in requests of {}, durable and logged before each answer\n",
            HumanCount(self.items),
            HumanCount(self.batch)
        );
        let single = std::slice::from_ref(self);
        let rounds = if self.rounds.is_empty() {
            single
        } else {
            &self.rounds
        };
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
        line(
            "CPU",
            "µs/identifier, the vault's process alone",
            3,
            |round| round.cpu_us_per_item,
        );
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

/// Load a running server and print the result as JSON, as benches/compare does with both contenders
#[derive(clap::Args)]
pub struct LoadArgs {
    /// The client file: certificates, key, and the server unless --url names another
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    /// The server's URL, if not the client file's
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The path of the requests
    #[arg(long, value_name = "PATH")]
    path: String,
    /// One more header, as `name: value` (repeatable)
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// The form of the requests
    #[arg(long, value_enum)]
    dialect: Dialect,
    /// The first person
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// How many persons
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=body::MOST))]
    persons: u64,
    /// Persons in one request
    #[arg(long, value_name = "B", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=200))]
    connections: u16,
}

/// Runs the hidden command `load`.
///
/// # Errors
/// When not everything is answered.
pub fn run_load(args: LoadArgs) -> Result<(), CommandError> {
    let mut client = ClientConfig::load(&args.client)
        .map_err(|error| CommandError::new(error, "check the client file"))?;
    client.url = args.url.unwrap_or(client.url);
    let headers: String = args
        .header
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let target = LoadTarget::new(&client, &args.path, &headers)?;
    let load = LoadPlan {
        dialect: args.dialect,
        first: args.first,
        batch: args.batch,
        items: args.persons,
        cycle: u64::MAX,
        connections: args.connections.into(),
        rate: None,
    };
    let sent = load.run(&target, || Ok(()))?;
    print_json(&serde_json::json!({
        "items": sent.items,
        "seconds": sent.elapsed.as_secs_f64(),
        "p50_ms": sent.percentile_ms(50.0),
        "p99_ms": sent.percentile_ms(99.0),
        "longest_ms": sent.percentile_ms(100.0),
        "busy": sent.busy,
    }))
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
