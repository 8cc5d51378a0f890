//! `cloison doctor`: how well this machine, this configuration and the process that runs on it keep their secrets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::check::{is_node, secret_files};
use super::{Error, print, print_json};
use crate::config::{NodeConfig, VaultConfig};
use crate::keys::memory::{self, Protection};

/// Look at how well this machine and what runs on it keep their secrets
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  cloison doctor\n  cloison doctor --config vault.toml --config node.toml --json\n\n\
    Levels of memory protection: 0, keys may be swapped or dumped; 1, keys may not; 2, nothing of the process may. With \
    --config the process that runs on it is asked for the level that it reached, over its health listener.\n\
    Exit code 1 if anything is bad."
)]
pub struct Args {
    /// The configuration of a vault or node that lies here (repeatable)
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Good,
    Poor,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: State,
    says: String,
}

/// Runs the command.
///
/// # Errors
/// When anything is bad.
pub fn run(args: Args) -> Result<(), Error> {
    let mut findings = machine();
    for config in &args.config {
        of_config(config, &mut findings)?;
    }
    match args.json {
        true => print_json(&findings)?,
        false => {
            for Finding { what, state, says } in &findings {
                let state = match state {
                    State::Good => "good",
                    State::Poor => "poor",
                    State::Bad => "BAD",
                };
                print(format_args!("{state:<5} {what}: {says}"))?;
            }
        }
    }
    match findings.iter().filter(|finding| finding.state == State::Bad).count() {
        0 => Ok(()),
        count => Err(Error::new(format_args!("{count} findings are bad"), "each says what to do")),
    }
}

/// What holds for whatever would be started here, by this user, in this place.
fn machine() -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |what: &str, state, says: String| findings.push(Finding { what: what.into(), state, says });

    let reached = memory::protect(true);
    let level = reached.level();
    let limit = memory::lock_limit().map_or("no limit".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
    let advice = match level {
        0 => "; raise it: LimitMEMLOCK=infinity in the unit, `ulimit -l` in a shell",
        _ => "",
    };
    let state = if level == 0 { State::Bad } else { State::Good };
    say("memory protection", state, format!("level {level} of 2 can be reached here (locked memory: {limit}{advice})"));

    let yes = |good| if good { State::Good } else { State::Bad };
    say("key pages", yes(reached.keys_locked && reached.keys_left_out), key_pages_say(&reached).into());
    say("core files", yes(reached.no_core), "RLIMIT_CORE is set to 0 at each start".into());
    say("other processes", yes(reached.undumpable), "PR_SET_DUMPABLE is off: none of the same user may look in".into());

    match swap() {
        Some(true) if level < 2 => say(
            "swap",
            State::Poor,
            "is on: what is not locked may be written to it. Turn it off, or MemorySwapMax=0 in the unit".into(),
        ),
        Some(true) => say("swap", State::Good, "is on, and an authority node's memory is locked whole".into()),
        Some(false) => say("swap", State::Good, "is off, or not for this service".into()),
        None => say("swap", State::Poor, "cannot be seen here".into()),
    }
    match number("/proc/sys/kernel/yama/ptrace_scope") {
        Some(0) => say("debuggers", State::Poor, "kernel.yama.ptrace_scope is 0; make it 1 or more".into()),
        Some(scope) => say("debuggers", State::Good, format!("kernel.yama.ptrace_scope is {scope}")),
        None => {}
    }
    findings
}

fn key_pages_say(reached: &Protection) -> &'static str {
    match (reached.keys_locked, reached.keys_left_out) {
        (true, true) => "are locked, and left out of dumps and of children",
        (false, _) => "are not locked: they may be written to swap",
        (true, false) => {
            "are locked, but not left out of dumps and of children: the system does not take madvise for it"
        }
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether anything of this process may be swapped: a swap area is on, and the process's group may use it.
fn swap() -> Option<bool> {
    let areas = fs::read_to_string("/proc/swaps").ok()?.lines().count() > 1;
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/').to_owned();
        fs::read_to_string(Path::new("/sys/fs/cgroup").join(path).join("memory.swap.max")).ok()
    });
    Some(areas && group.is_none_or(|most| most.trim() != "0"))
}

/// What a configuration names, and the process that runs on it.
fn of_config(path: &Path, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let text = super::read_text(path)?;
    let load = |error| Error::new(error, "correct the file: `cloison check`");
    let (health, custody) = match is_node(&text) {
        true => {
            let config = NodeConfig::load(path).map_err(load)?;
            (config.health, secret_files(&config.secret_deposits(), &[&config.tls.key, &config.vault.key]))
        }
        false => {
            let config = VaultConfig::load(path).map_err(load)?;
            (config.health, secret_files(&config.secret_deposits(), &[&config.tls.key]))
        }
    };
    let called = path.display();
    let (good, faults) = custody;
    for fault in faults {
        findings.push(Finding { what: format!("{called}: secrets"), state: State::Bad, says: fault });
    }
    for (custody, count) in good {
        let state = if custody == "file" { State::Poor } else { State::Good };
        let says = match custody {
            "file" => format!("{count} in clear in files of mode 0600: root on this machine reads them"),
            other => format!("{count} in custody `{other}`"),
        };
        findings.push(Finding { what: format!("{called}: secrets"), state, says });
    }
    let what = format!("{called}: the process");
    findings.push(match level_of(health) {
        Some(0) => {
            let says = "runs at level 0: keys may be swapped or dumped; see its unit's LimitMEMLOCK".into();
            Finding { what, state: State::Bad, says }
        }
        Some(level) => {
            Finding { what, state: State::Good, says: format!("runs at level {level} of memory protection") }
        }
        None => Finding { what, state: State::Poor, says: format!("does not answer on {health}") },
    });
    Ok(())
}

/// The level that a running process says it has reached.
fn level_of(health: SocketAddr) -> Option<u8> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&health, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {health}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer).ok()?;
    let line = answer.lines().find_map(|line| line.strip_prefix("cloison_memory_protection "))?;
    line.trim().parse().ok()
}
