//! `cloison bench`: measures how fast this machine is, with a throw-away vault in a process of its
//! own.

mod body;
mod deployment;
mod outcome;
mod reidentify;
mod sender;
mod split;
mod usage;
mod vault;
mod wire;

use std::path::PathBuf;

use self::body::Dialect;
use self::outcome::{BenchOutcome, Workload};
use self::sender::LoadPlan;
use self::vault::RunningVault;
use self::wire::LoadTarget;
use super::local::LocalDeployment;
use crate::config::ClientConfig;
use crate::terminal::{CommandError, print, print_json};

/// Measure this machine with a throw-away vault: throughput, latency, CPU time, memory
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison bench\n  \
    cloison bench --known --persons 10000000 --rounds 5\n  \
    cloison bench --new --preload 10000000 --persons 1000000\n  \
    cloison bench --known --batch 1 --items 100000               # one identifier a request\n  \
    cloison bench --known --batch 1 --rate 2000 --items 20000 --beside 10000\n  \
    cloison bench --known --split --persons 10000000 --rounds 5  # an identity source, too\n  \
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
    /// Requests a second, sent when they are due; without it each connection sends as soon as its
    /// last answer has come
    #[arg(long, value_name = "PER SECOND")]
    rate: Option<f64>,
    /// Let one more connection send known persons without pause, in requests of this many; it is
    /// not counted
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
    /// Measure a vault whose identity secret lies with an identity source, both processes together,
    /// in turn with one that has it itself
    #[arg(long, conflicts_with_all = ["reidentify", "prepare"])]
    split: bool,
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
        deployment::make(folder, false)?;
        return Ok(());
    }
    let local = LocalDeployment::new(None)?;
    if args.split {
        return split::run(&local, &args);
    }
    let health = deployment::make(local.folder(), false)?;
    if let Some(items) = args.reidentify {
        // The register's limit of releases in an hour bounds the rounds, including the first one,
        // which is not measured.
        let rounds = args.rounds.min(9);
        return reidentify::run(
            &local,
            health.vault,
            items,
            args.segments.min(items),
            rounds,
            args.json,
        );
    }
    let vault = RunningVault::start(&local, local.folder(), health)?;
    vault.prepare(&args)?;
    let rounds = (0..args.rounds).map(|round| vault.measure(&args, round));
    let outcome = BenchOutcome::medians(rounds.collect::<Result<_, CommandError>>()?);
    drop(local);
    if args.json {
        print_json(&outcome)
    } else {
        print(format_args!(
            "{}\n{}",
            outcome.title(),
            outcome.figures(&args)
        ))
    }
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
