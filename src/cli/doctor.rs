//! `cloison doctor`: checks how well this machine, its configurations and the running processes
//! protect secrets.

mod identity;

use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use super::check::{Survey, open};
use crate::backup::{BackupPlan, RepositoryError};
use crate::certificates::TlsInspection;
use crate::client::health;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{LogConfig, SideConfig};
use crate::entity::Role;
use crate::journal::versions::OLDEST_JOURNAL_SECRET;
use crate::keys::custody::{Deposit, Keyring};
use crate::keys::memory;
use crate::register::Register;
use crate::store::Store;
use crate::terminal::{CommandError, print, print_json};

/// Check how well this machine and the processes on it protect secrets
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  cloison doctor\n  cloison doctor --config vault.toml --config node.toml --json\n\n\
    Levels of memory protection: 0, keys may be swapped or dumped; 1, keys may not; 2, nothing of the process may. With \
    --config the command asks the process that runs on it, over its health listener, which level it reached.\n\
    Exit code 1 if a finding is bad."
)]
pub struct DoctorArgs {
    /// The configuration of a vault, node or identity source that lies here (repeatable)
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum FindingState {
    Good,
    Poor,
    Bad,
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct DoctorFinding {
    what: String,
    state: FindingState,
    says: String,
    /// What to do, unless the state is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl DoctorFinding {
    fn good(what: impl Into<String>, says: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            state: FindingState::Good,
            says: says.into(),
            remedy: None,
        }
    }

    fn poor(what: impl Into<String>, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: FindingState::Poor,
            remedy: Some(remedy.into()),
            ..Self::good(what, says)
        }
    }

    fn bad(what: impl Into<String>, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: FindingState::Bad,
            ..Self::poor(what, says, remedy)
        }
    }

    fn line(&self) -> String {
        let state = match self.state {
            FindingState::Good => "good",
            FindingState::Poor => "poor",
            FindingState::Bad => "BAD",
        };
        let remedy = self
            .remedy
            .iter()
            .map(|remedy| format!("\n      do: {remedy}"))
            .collect::<String>();
        format!("{state:<5} {}: {}{remedy}", self.what, self.says)
    }
}

/// Runs the command.
///
/// # Errors
/// When a finding is bad.
pub fn run(args: DoctorArgs) -> Result<(), CommandError> {
    let mut findings = machine();
    let mut configs = vec![];
    for path in &args.config {
        configs.push(of_config(path, &mut findings)?);
    }
    findings.extend(identity::both_halves(&configs));
    if args.json {
        print_json(&findings)?;
    } else {
        findings
            .iter()
            .try_for_each(|finding| print(finding.line()))?;
    }
    match findings
        .iter()
        .filter(|finding| finding.state == FindingState::Bad)
        .count()
    {
        0 => Ok(()),
        1 => Err(CommandError::new(
            "one finding is bad",
            "it says what to do",
        )),
        count => Err(CommandError::new(
            format_args!("{count} findings are bad"),
            "each says what to do",
        )),
    }
}

/// The remedy when memory cannot be locked.
const LOCKING: &str = "set LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited` in a shell";
/// The remedy when a call to the kernel had no effect.
const KERNEL: &str = "check whether a sandbox or a security module forbids setrlimit and prctl";

/// Findings about any process that this user would start here.
fn machine() -> Vec<DoctorFinding> {
    let reached = memory::protect(true);
    let level = reached.level();
    let limit = memory::lock_limit().map_or("no limit".to_owned(), |bytes| {
        format!("{} KiB", bytes >> 10)
    });
    let says = format!("level {level} of 2 can be reached here (locked memory: {limit})");
    let mut findings = vec![match level {
        0 => DoctorFinding::bad("memory protection", says, LOCKING),
        _ => DoctorFinding::good("memory protection", says),
    }];
    findings.push(match (reached.keys_locked, reached.keys_left_out) {
        (true, true) => DoctorFinding::good(
            "key pages",
            "are locked, and left out of dumps and of children",
        ),
        (false, _) => DoctorFinding::bad(
            "key pages",
            "are not locked: they may be written to swap",
            LOCKING,
        ),
        (true, false) => DoctorFinding::bad(
            "key pages",
            "are locked, but not left out of dumps and of children",
            KERNEL,
        ),
    });
    findings.push(if reached.no_core {
        DoctorFinding::good("core files", "RLIMIT_CORE is set to 0 at each start")
    } else {
        DoctorFinding::bad(
            "core files",
            "RLIMIT_CORE could not be set to 0: a crash may write keys",
            KERNEL,
        )
    });
    findings.push(if reached.undumpable {
        DoctorFinding::good(
            "other processes",
            "PR_SET_DUMPABLE is off: none of the same user may look in",
        )
    } else {
        DoctorFinding::bad(
            "other processes",
            "PR_SET_DUMPABLE is on: those of the same user may look in",
            KERNEL,
        )
    });
    findings.push(swap_finding(level));
    findings.extend(match number("/proc/sys/kernel/yama/ptrace_scope") {
        Some(0) => Some(DoctorFinding::poor(
            "debuggers",
            "kernel.yama.ptrace_scope is 0",
            "make it 1 or more: `sysctl kernel.yama.ptrace_scope=1`",
        )),
        Some(scope) => Some(DoctorFinding::good(
            "debuggers",
            format!("kernel.yama.ptrace_scope is {scope}"),
        )),
        None => None,
    });
    findings
}

fn swap_finding(level: u8) -> DoctorFinding {
    match swap() {
        Some(true) if level < 2 => {
            let remedy = "turn it off, or set MemorySwapMax=0 in the unit";
            DoctorFinding::poor(
                "swap",
                "is on: what is not locked may be written to it",
                remedy,
            )
        }
        Some(true) => DoctorFinding::good(
            "swap",
            "is on, and an authority node's memory is locked whole",
        ),
        Some(false) => DoctorFinding::good("swap", "is off, or not for this service"),
        None => DoctorFinding::poor(
            "swap",
            "cannot be seen here",
            "run `cloison doctor` outside the sandbox, where /proc is whole",
        ),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether anything of this process may be swapped: a swap area is on, and the process's group may
/// use it.
fn swap() -> Option<bool> {
    let areas = fs::read_to_string("/proc/swaps").ok()?.lines().count() > 1;
    let group = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| {
            let path = text
                .lines()
                .find_map(|line| line.strip_prefix("0::"))?
                .trim_start_matches('/')
                .to_owned();
            fs::read_to_string(
                Path::new("/sys/fs/cgroup")
                    .join(path)
                    .join("memory.swap.max"),
            )
            .ok()
        });
    Some(areas && group.is_none_or(|most| most.trim() != "0"))
}

/// Findings about the certificates that a configuration names: a good one for each that can be
/// used, with its key, and a poor one for each warning.
fn certificate_findings(
    called: &impl Display,
    tls: &TlsInspection,
    findings: &mut Vec<DoctorFinding>,
) {
    let what = || format!("{called}: certificates");
    for pair in &tls.pairs {
        let ends = pair
            .expires()
            .map_or("no end".to_owned(), |end| end.to_string());
        let says = format!(
            "{}: key {:?}, until {ends}",
            pair.certificate.display(),
            pair.key
        );
        findings.push(DoctorFinding::good(what(), says));
    }
    findings.extend(tls.warnings.iter().map(|warning| {
        let remedy = "docs/operations.md, \"Keys and certificates\"";
        DoctorFinding::poor(what(), warning.clone(), remedy)
    }));
}

/// Findings about the files that a configuration names and the process that runs on it.
fn of_config(path: &Path, findings: &mut Vec<DoctorFinding>) -> Result<SideConfig, CommandError> {
    let load = |error| CommandError::new(error, "correct the file: `cloison check`");
    let config = SideConfig::load(path).map_err(load)?;
    let register = open(config.register()).ok();
    let survey = Survey::of(&config.named_files(), register.as_ref(), SystemClock.now());
    let health = config.health();
    let backup = plan_of(config.backup().cloned(), register, &config.role());
    let called = path.display();
    let (files, secrets) = (
        || format!("{called}: files"),
        || format!("{called}: secrets"),
    );
    findings.extend(
        survey
            .faults
            .into_iter()
            .map(|fault| DoctorFinding::bad(files(), fault, "put it right: `cloison check`")),
    );
    certificate_findings(&called, &survey.tls, findings);
    findings.extend(identity::finding(&called, &config));
    findings.push(place_finding(&called, config.log()));
    findings.extend(backup.map(|(plan, owner)| backup_finding(&called, &plan, &owner)));
    findings.extend(journal_finding(&called, health, config.journal_secrets()));
    findings.extend(copy_findings(&called, config.store()));
    findings.extend(
        survey
            .custody
            .into_iter()
            .map(|(custody, count)| match custody {
                "file" => {
                    let says = format!(
                        "{count} in clear in files of mode 0600: root on this machine reads them"
                    );
                    DoctorFinding::poor(
                        secrets(),
                        says,
                        "put them into another custody: docs/keys.md",
                    )
                }
                other => DoctorFinding::good(secrets(), format!("{count} in custody `{other}`")),
            }),
    );
    let process = format!("{called}: the process");
    findings.push(match level_of(health) {
        Some(0) => DoctorFinding::bad(
            process,
            "runs at level 0: keys may be swapped or dumped",
            LOCKING,
        ),
        Some(level) => DoctorFinding::good(
            process,
            format!("runs at level {level} of memory protection"),
        ),
        None => DoctorFinding::poor(
            process,
            format!("does not answer on {health}"),
            "start it, or look at its log",
        ),
    });
    Ok(config)
}

/// Whether places off this machine hold the log.
fn place_finding(called: &impl Display, log: &LogConfig) -> DoctorFinding {
    let what = format!("{called}: places");
    match log.places.needed {
        0 => DoctorFinding::bad(
            what,
            "no place off this machine is waited for: what was acknowledged since the last backup, revocations too, is lost with it",
            "let a node follow (`[audit] followed` there, `[[audit.follower]]` here) or a witness (`[follow]` there, `follows = true` here), or put `[audit] second` on another machine and \
             say so: `second-elsewhere = true`",
        ),
        needed => {
            let second = log.places.second.then_some("the second place");
            let followers = log.places.followers.iter().map(|follower| &*follower.name);
            let able: Vec<_> = second.into_iter().chain(followers).collect();
            let says = format!(
                "{needed} of these must hold an act before it counts: {}",
                able.join(", ")
            );
            DoctorFinding::good(what, says)
        }
    }
}

/// How backups are taken, and of which owner; that is known by a register that can be read.
fn plan_of(
    plan: Option<BackupPlan>,
    register: Option<Register>,
    role: &Role,
) -> Option<(BackupPlan, String)> {
    plan.zip(register.map(|register| role.owner(&register.deployment)))
}

/// Whether backups can go where they should, and are sealed.
fn backup_finding(called: &impl Display, plan: &BackupPlan, owner: &str) -> DoctorFinding {
    let what = format!("{called}: backups");
    let path = plan.path.display();
    let first = match plan.open(owner) {
        Ok(_) => "",
        Err(RepositoryError::Empty(_)) => {
            "; it is empty: the first backup begins a repository there. If there was one, its disk is not mounted"
        }
        Err(error) => {
            return DoctorFinding::bad(
                what,
                error.to_string(),
                "until then no backup is taken: docs/operations.md, \"Backups\"",
            );
        }
    };
    let says = match plan.recipients {
        None => format!(
            "go in clear to {path}: who reads there has the log, not the mappings; `[backup] recipients` seals them{first}"
        ),
        Some(_) => format!("go {} to {path}{first}", plan.seal_in_words()),
    };
    DoctorFinding::good(what, says)
}

/// Which versions of the journal secret side records still need. Nothing is said where there is one
/// version, or where no backups are taken: then each is needed.
fn journal_finding(
    called: &impl Display,
    health: SocketAddr,
    deposit: &Deposit,
) -> Option<DoctorFinding> {
    let mut versions = Keyring::default().versions(deposit).ok()?;
    versions.sort_unstable();
    let newest = *versions.last().filter(|_| versions.len() > 1)?;
    let oldest = metric(health, OLDEST_JOURNAL_SECRET)?;
    let what = format!("{called}: journal secrets");
    let unneeded = versions.iter().filter(|version| **version < oldest);
    let unneeded: Vec<_> = unneeded.map(u32::to_string).collect();
    if unneeded.is_empty() {
        let says = format!("versions {} to {newest} are needed", versions[0]);
        return Some(DoctorFinding::good(what, says));
    }
    Some(DoctorFinding::poor(
        what,
        format!(
            "no side record needs version {} any more; {oldest} and later ones are needed",
            unneeded.join(", ")
        ),
        "destroy it with all its copies, then restart: docs/keys.md",
    ))
}

/// The copies of a store that upgrades left: they hold what was erased since.
fn copy_findings(called: &impl Display, store: &Path) -> Vec<DoctorFinding> {
    let copies = Store::upgrade_copies(store).into_iter();
    let copies = copies.map(|copy| copy.display().to_string());
    copies
        .map(|copy| {
            DoctorFinding::poor(
                format!("{called}: the store's format"),
                format!(
                    "an upgrade left the store as it was before in {copy}: what was erased since is still in there"
                ),
                format!("when this version has proved itself, delete it: rm -r {copy}"),
            )
        })
        .collect()
}

/// The level that a running process says it has reached.
fn level_of(health: SocketAddr) -> Option<u8> {
    metric(health, "cloison_memory_protection")
}

/// A figure of a running process.
fn metric<T: FromStr>(health: SocketAddr, name: &str) -> Option<T> {
    let metrics = health::get(health, "/metrics")?;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}
