//! A vault under load, by itself or with the identity source that has its identity secret.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::body::Dialect;
use super::deployment::{self, BenchHealth};
use super::outcome::{BenchOutcome, Workload};
use super::sender::{LoadPlan, LoadResult};
use super::wire::LoadTarget;
use super::{BenchArgs, usage};
use crate::config::ClientConfig;
use crate::load::local::LocalDeployment;
use crate::terminal::CommandError;

/// Identifiers in each request that stores persons before the measurement.
const PRELOAD_BATCH: u64 = 10_000;

/// The processes of a deployment that is measured.
pub(super) struct RunningVault {
    /// The vault's process.
    vault: u32,
    /// The identity source's, where there is one.
    identity: Option<u32>,
    /// The sector with mappings, and the one without.
    reversible: LoadTarget,
    irreversible: LoadTarget,
}

impl RunningVault {
    /// Starts what a folder of [`deployment::make`] is the deployment of; first the identity
    /// source, without which a new vault does not start.
    pub(super) fn start(
        local: &LocalDeployment,
        folder: &Path,
        health: BenchHealth,
    ) -> Result<Self, CommandError> {
        let start = |name, command: &[&str], file: &str, health: SocketAddr| {
            let config = folder.join(file);
            let config = config.to_str().ok_or_else(|| {
                CommandError::usage("TMPDIR is not UTF-8", "choose another folder")
            })?;
            local.start(name, &[command, &["--config", config]].concat(), health)
        };
        let identity = health.identity.map(|health| {
            let command = ["identity", "serve"];
            start("identity source", &command, "identity.toml", health)
        });
        let identity = identity.transpose()?;
        let name = if identity.is_some() {
            "vault of the identity source"
        } else {
            "vault"
        };
        let vault = start(name, &["serve"], "vault.toml", health.vault)?;
        Ok(Self {
            vault,
            identity,
            reversible: target(folder, deployment::REVERSIBLE)?,
            irreversible: target(folder, deployment::IRREVERSIBLE)?,
        })
    }

    /// Stores the persons that have to be there before anything is measured.
    pub(super) fn prepare(&self, args: &BenchArgs) -> Result<(), CommandError> {
        self.preload(known(args) + args.preload, args.json)?;
        self.processes()
            .try_for_each(|id| usage::cpu_when_idle(id).map(drop))
    }

    /// Measures a round, which are numbered from 0.
    pub(super) fn measure(
        &self,
        args: &BenchArgs,
        round: u16,
    ) -> Result<BenchOutcome, CommandError> {
        let workload = args.workload.chosen();
        let (first, cycle) = match workload {
            Workload::New => (
                known(args) + args.preload + u64::from(round) * args.persons,
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
    }

    fn processes(&self) -> impl Iterator<Item = u32> {
        [self.vault].into_iter().chain(self.identity)
    }

    /// CPU time of each process; the vault's first.
    fn cpu(
        &self,
        of: fn(u32) -> Result<Duration, CommandError>,
    ) -> Result<Vec<Duration>, CommandError> {
        self.processes().map(of).collect()
    }

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
        let mut before = vec![];
        // The clock starts after the handshakes.
        let begin = || {
            before = match args.beside {
                None => self.cpu(usage::cpu_when_idle)?,
                Some(_) => {
                    // The vault is never idle then: waits until the load beside runs evenly.
                    std::thread::sleep(Duration::from_millis(300));
                    self.cpu(usage::cpu)?
                }
            };
            Ok(())
        };
        let sent = match args.beside {
            None => load.run(target, begin)?,
            Some(batch) => self.run_beside(load, target, begin, batch, args.persons)?,
        };
        let resident: Result<Vec<f64>, _> = self.processes().map(usage::resident_mib).collect();
        let after = self.cpu(usage::cpu_when_idle)?;
        let per_item: Vec<f64> = after
            .iter()
            .zip(&before)
            .map(|(after, before)| after.checked_sub(*before).unwrap())
            .map(|spent| spent.as_secs_f64() * 1e6 / sent.items.max(1) as f64)
            .collect();
        let seconds = sent.elapsed.as_secs_f64();
        Ok(BenchOutcome {
            workload,
            persons: args.persons,
            batch: load.batch,
            items: sent.items,
            seconds,
            items_per_second: sent.items as f64 / seconds.max(1e-9),
            cpu_us_per_item: per_item.iter().sum(),
            identity_us_per_item: per_item.get(1).copied(),
            p50_ms: sent.percentile_ms(50.0),
            p99_ms: sent.percentile_ms(99.0),
            rss_mib: resident?.iter().sum(),
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

/// How many known persons the measurement needs.
fn known(args: &BenchArgs) -> u64 {
    if args.workload.chosen() == Workload::Known || args.beside.is_some() {
        args.persons
    } else {
        0
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
