//! `cloison bench --reidentify`: measures re-identification at vault and node together, with its
//! order, request, counts and log entries. Every round has an order of its own, so that every
//! pseudonym is counted anew.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::body::Dialect;
use super::{deployment, usage};
use crate::client::Client;
use crate::client::officer::OfficerCall;
use crate::clock::{Clock as _, SystemClock};
use crate::config::NodeConfig;
use crate::deployment::register_text::{APPROVERS, OFFICER};
use crate::load::local::LocalDeployment;
use crate::load::orders::{CaseOrder, made_up_id, person_key};
use crate::reidentify::reveal::RevealedItem;
use crate::terminal::{CommandError, open_client, print, print_json};

/// The results: the medians of all rounds.
#[derive(Debug, serde::Serialize)]
struct ReidentifyOutcome {
    workload: &'static str,
    /// Pseudonyms in each request.
    items: u64,
    /// Segments that they lie in.
    segments: u64,
    rounds: u16,
    /// CPU time of vault and node together per pseudonym, user and system, until both were idle
    /// again.
    cpu_us_per_item: f64,
    /// The vault's part.
    vault_us_per_item: f64,
    /// The node's part.
    node_us_per_item: f64,
    /// From the officer's request to the answer.
    request_ms: f64,
    /// Each round's `cpu_us_per_item`.
    each: Vec<f64>,
}

/// Both processes.
struct BothProcesses {
    vault: u32,
    node: u32,
}

/// Runs the bench: `items` pseudonyms in `segments` segments, `rounds` times.
///
/// # Errors
/// When a process cannot be started, or a pseudonym does not open.
pub(super) fn run(
    local: &LocalDeployment,
    health: SocketAddr,
    items: u64,
    segments: u64,
    rounds: u16,
    json: bool,
) -> Result<(), CommandError> {
    let folder = local.folder();
    let pseudonyms = store(local, health, items, segments)?;
    let vault = start_vault(local, health)?;
    let file = folder.join("node.toml");
    let config = NodeConfig::load(&file).map_err(CommandError::bug)?;
    let arguments = ["authority", "serve", "--config", text(&file)?];
    let sides = BothProcesses {
        vault,
        node: local.start("node", &arguments, config.health)?,
    };
    let officer = open_client(&folder.join("clients/officer.toml"))?;
    // The first request opens connections and fills caches, and is not measured.
    round(folder, &sides, &officer, &pseudonyms)?;
    let measured = (0..rounds)
        .map(|_| round(folder, &sides, &officer, &pseudonyms))
        .collect::<Result<Vec<_>, _>>()?;
    let median = |of: fn(&[f64; 3]) -> f64| {
        let mut all: Vec<f64> = measured.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let outcome = ReidentifyOutcome {
        workload: "reidentify",
        items,
        segments,
        rounds,
        cpu_us_per_item: median(|[vault, node, _]| vault + node),
        vault_us_per_item: median(|[vault, ..]| *vault),
        node_us_per_item: median(|[_, node, _]| *node),
        request_ms: median(|[.., ms]| *ms),
        each: measured
            .iter()
            .map(|[vault, node, _]| vault + node)
            .collect(),
    };
    if json {
        return print_json(&outcome);
    }
    print(format_args!(
        "re-identification: {items} pseudonyms of {segments} segments in one request, an order for each of {rounds} rounds\n  \
         CPU          {:>14.3} µs/pseudonym, vault and node together\n    vault      {:>14.3} µs/pseudonym\n    node       \
         {:>14.3} µs/pseudonym\n  latency      {:>14.2} ms a request",
        outcome.cpu_us_per_item,
        outcome.vault_us_per_item,
        outcome.node_us_per_item,
        outcome.request_ms
    ))
}

fn text(path: &Path) -> Result<&str, CommandError> {
    path.to_str()
        .ok_or_else(|| CommandError::usage("TMPDIR is not UTF-8", "choose another folder"))
}

fn start_vault(local: &LocalDeployment, health: SocketAddr) -> Result<u32, CommandError> {
    local.start(
        "vault",
        &[
            "serve",
            "--config",
            text(&local.folder().join("vault.toml"))?,
        ],
        health,
    )
}

/// Stores the persons; a vault forgets its data keys when it stops, so each of its lives has a
/// segment of its own.
fn store(
    local: &LocalDeployment,
    health: SocketAddr,
    items: u64,
    segments: u64,
) -> Result<Vec<String>, CommandError> {
    let mut pseudonyms = vec![];
    for segment in 0..segments {
        let (first, last) = (items * segment / segments, items * (segment + 1) / segments);
        start_vault(local, health)?;
        pseudonyms.extend(tokenize(local.folder(), first..last)?);
        local.stop("vault");
    }
    Ok(pseudonyms)
}

/// Tokenizes the persons, which stores their mappings; returns the pseudonyms.
fn tokenize(folder: &Path, persons: std::ops::Range<u64>) -> Result<Vec<String>, CommandError> {
    #[derive(serde::Deserialize)]
    struct BenchPseudonyms {
        pseudonyms: Vec<String>,
    }
    let client = open_client(&folder.join(format!("clients/{}.toml", deployment::CLIENT)))?;
    let (mut body, mut reply) = (Vec::new(), Vec::new());
    Dialect::Cloison.write(persons, &mut body);
    let path = crate::client::path(&["v1", "sectors", deployment::REVERSIBLE, "pseudonyms"]);
    client.post(&path, crate::client::JSON, &body, &mut reply)?;
    let answer: BenchPseudonyms = client.parse(&reply)?;
    Ok(answer.pseudonyms)
}

/// Makes one request under an order of its own. Returns µs per item at the vault and at the node,
/// and milliseconds in all.
fn round(
    folder: &Path,
    sides: &BothProcesses,
    officer: &Client,
    pseudonyms: &[String],
) -> Result<[f64; 3], CommandError> {
    let (order, key, officer_id) = (
        order(folder, pseudonyms)?,
        person_key(folder, OFFICER)?,
        made_up_id(OFFICER)?,
    );
    let sector = deployment::REVERSIBLE;
    let call = OfficerCall {
        order: &order,
        officer: &officer_id,
        key: &key,
        sector,
        pseudonyms,
    };
    let before = [
        usage::cpu_when_idle(sides.vault)?,
        usage::cpu_when_idle(sides.node)?,
    ];
    let begun = Instant::now();
    let opened = call.reidentify(officer, SystemClock.now())?;
    let took = begun.elapsed();
    let after = [
        usage::cpu_when_idle(sides.vault)?,
        usage::cpu_when_idle(sides.node)?,
    ];
    if opened.items.len() != pseudonyms.len()
        || opened
            .items
            .iter()
            .any(|item| matches!(item, RevealedItem::Refused { .. }))
    {
        return Err(CommandError::bug("not every pseudonym was opened"));
    }
    let per_item = |spent: Duration| spent.as_secs_f64() * 1e6 / pseudonyms.len() as f64;
    Ok([
        per_item(after[0].checked_sub(before[0]).unwrap()),
        per_item(after[1].checked_sub(before[1]).unwrap()),
        took.as_secs_f64() * 1e3,
    ])
}

/// An order that lists all pseudonyms, signed by two approvers of two bodies.
fn order(folder: &Path, pseudonyms: &[String]) -> Result<String, CommandError> {
    let now = Timestamp::from_second(SystemClock.now().as_second()).map_err(CommandError::bug)?;
    let order = CaseOrder {
        deployment: deployment::DEPLOYMENT,
        case: "BENCH",
        purpose: "measurement",
        sector: deployment::REVERSIBLE,
        pseudonyms,
        not_before: now,
        not_after: now + SignedDuration::from_hours(1),
    };
    order.sign(folder, &[APPROVERS[0].id, APPROVERS[2].id])
}
