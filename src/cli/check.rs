//! `cloison check`: makes the checks that `serve` makes at its start, and lists every fault at
//! once, each with file, line and what to write instead.

mod survey;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::inputs::list_faults;
use crate::audit::log::{FollowerIdentity, KnownFollower};
use crate::backup::BackupPlan;
use crate::certificates::{ending_entries, unused_client_ca};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{
    ClientConfig, ConfigError, FileKind, IdentityConfig, LogConfig, NamedFile, NodeConfig,
    RegisterFiles, SideConfig, VaultConfig, WitnessConfig,
};
use crate::entity::Role;
use crate::register::{self, Fault, Register, RegisterOpenError};
use crate::terminal::{CommandError, print, print_json, voice};
pub(super) use survey::Survey;

/// Check registers and configurations: every fault, and what to write instead
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison check register.toml\n  \
    cloison check vault.toml node.toml witness.toml clients/*.toml\n\n\
    Opens every file that a configuration names: certificates, keys, secrets, the register with its signatures; but no secret \
    under a passphrase or in a token. A register by itself is checked without its signatures: `cloison register \
    verify` does that.\n\
    A warning (a certificate or an entry that ends soon, a line without effect) is no fault.\n\
    Exit code 1 if anything has a fault.")]
pub struct CheckArgs {
    /// Registers, and configurations of vaults, nodes, witnesses and clients; the content tells
    /// which is which
    #[arg(value_name = "FILE", required_unless_present = "config")]
    files: Vec<PathBuf>,
    /// The same, spelled as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Runs the command: a line for each good file on standard output, faults on standard error.
///
/// # Errors
/// When any file has a fault or cannot be read.
pub fn run(args: CheckArgs) -> Result<(), CommandError> {
    let (mut bad, mut files) = (0, vec![]);
    for file in args.files.iter().chain(&args.config) {
        match check_file(file) {
            Ok(CheckedFile { says, warnings }) if voice().json => {
                files.push(json!({"file": file, "good": says, "warnings": warnings}));
            }
            Ok(CheckedFile { says, warnings }) => {
                print(format_args!("{}: {says}", file.display()))?;
                for warning in warnings {
                    complain(&format!("warning: {}: {warning}", file.display()));
                }
            }
            Err(text) => {
                bad += 1;
                if voice().json {
                    files.push(json!({"file": file, "faults": text}));
                } else {
                    complain(&text);
                }
            }
        }
    }
    if voice().json {
        print_json(&json!({"files": files}))?;
    }
    match bad {
        0 => Ok(()),
        1 => Err(CommandError::new(
            "a file has faults",
            "correct what is listed above and check again",
        )),
        _ => Err(CommandError::new(
            format_args!("{bad} files have faults"),
            "correct what is listed above and check again",
        )),
    }
}

/// Writes to standard error, which may be closed: the exit code then has to do.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A file without a fault.
struct CheckedFile {
    /// What it is, in one line.
    says: String,
    /// What to see to all the same.
    warnings: Vec<String>,
}

/// Describes a good file, or lists all its faults.
fn check_file(file: &Path) -> Result<CheckedFile, String> {
    let text = register::sign::read_text(file).map_err(|error| error.to_string())?;
    let of_config = |error: ConfigError| error.to_string();
    let kind = FileKind::of(&text);
    if let (None, Some(other)) = (kind, not_ours(&text)) {
        return Err(format!(
            "{}: is {other}, and neither a register nor a configuration",
            file.display()
        ));
    }
    // A file of no known kind is most likely the beginning of a register.
    match kind.unwrap_or(FileKind::Register) {
        FileKind::Register => {
            let faulty = |faults: Vec<Fault>| match kind {
                Some(_) => list_faults(file, &faults),
                None => first_of(file, &faults),
            };
            let register = register::parse(&text).map_err(faulty)?;
            Ok(CheckedFile {
                says: format!("a register without a fault: {}", summary(&register)),
                warnings: ending_entries(&register, SystemClock.now()),
            })
        }
        FileKind::Vault => {
            let config = VaultConfig::load(file).map_err(of_config)?;
            let register = open(&config.register).ok();
            let unknown = unknown_followers(file, &config.log, &Role::Vault, register.as_ref());
            let mut warnings = opened(&config.named_files(), register.as_ref(), unknown)?;
            warnings.extend(unused_client_ca(&config.tls));
            let says = format!(
                "{}; {} MiB for the index{}",
                signed(&config.register)?,
                config.index_memory >> 20,
                backups(config.backup.as_ref())
            );
            Ok(CheckedFile { says, warnings })
        }
        FileKind::Node => {
            let config = NodeConfig::load(file).map_err(of_config)?;
            let unknown = unknown_authority(file, &config);
            beside_the_vault(file, &SideConfig::Node(Box::new(config)), unknown)
        }
        FileKind::Identity => {
            let config = IdentityConfig::load(file).map_err(of_config)?;
            let unknown = unknown_identity(file, &config);
            beside_the_vault(file, &SideConfig::Identity(Box::new(config)), unknown)
        }
        FileKind::Witness => {
            let config = WitnessConfig::load(file).map_err(of_config)?;
            let mut warnings = opened(&config.named_files(), None, vec![])?;
            warnings.extend(unused_client_ca(&config.tls));
            let kept = config.follow.as_ref().map(|follow| {
                let folder = follow.path.display();
                format!(", and keeps what it is brought in {folder}")
            });
            let says = format!(
                "a witness's configuration without a fault: it watches {}{}",
                count(config.logs.len(), "log", "logs"),
                kept.unwrap_or_default()
            );
            Ok(CheckedFile { says, warnings })
        }
        FileKind::Client => {
            let config = ClientConfig::load(file).map_err(of_config)?;
            Ok(CheckedFile {
                warnings: opened(&config.named_files(), None, vec![])?,
                says: "a client's configuration without a fault".into(),
            })
        }
    }
}

/// What is found in a node's or identity source's configuration; `unknown` if the register does not
/// know the side.
fn beside_the_vault(
    file: &Path,
    side: &SideConfig,
    unknown: Option<String>,
) -> Result<CheckedFile, String> {
    let register = open(side.register()).ok();
    let mut faults = unknown_followers(file, side.log(), &side.role(), register.as_ref());
    faults.extend(unknown);
    let mut warnings = opened(&side.named_files(), register.as_ref(), faults)?;
    warnings.extend(unused_client_ca(side.tls()));
    let says = signed(side.register())? + &backups(side.backup());
    Ok(CheckedFile { says, warnings })
}

/// Opens every file that a configuration names, and lists what is wrong with them together with the
/// faults that are already known; gives the warnings where there is none.
fn opened(
    files: &[NamedFile<'_>],
    register: Option<&Register>,
    known: Vec<String>,
) -> Result<Vec<String>, String> {
    let Survey {
        mut faults, tls, ..
    } = Survey::of(files, register, SystemClock.now());
    faults.extend(known);
    if faults.is_empty() {
        Ok(tls.warnings)
    } else {
        Err(faults.join("\n"))
    }
}

/// Followers that can never count: the register states no log of theirs, or their key is that of a
/// log.
fn unknown_followers(
    file: &Path,
    log: &LogConfig,
    role: &Role,
    register: Option<&Register>,
) -> Vec<String> {
    let Some(register) = register else {
        return vec![];
    };
    let peers = role.peers(register);
    let owners: Vec<_> = peers
        .iter()
        .map(|(peer, _)| peer.owner(&register.deployment))
        .collect();
    let own = role.checkpoint_key(register);
    let keys: Vec<_> = peers.iter().map(|(_, key)| *key).chain(own).collect();
    let unfit = |follower: &KnownFollower| match &follower.key {
        FollowerIdentity::Peer(owner) if !owners.contains(owner) => Some(format!(
            "the register states no checkpoint key of {owner}, which follower `{}` names as `peer`",
            follower.name
        )),
        FollowerIdentity::Stated(key) if keys.contains(key) => Some(format!(
            "the key of follower `{}` is the checkpoint key of a vault or node; name that side as `peer`",
            follower.name
        )),
        _ => None,
    };
    let unfit = log.places.followers.iter().filter_map(unfit);
    unfit
        .map(|what| format!("{}: {what}", file.display()))
        .collect()
}

fn unknown_authority(file: &Path, config: &NodeConfig) -> Option<String> {
    let known =
        open(&config.register).map(|register| register.authorities.contains_key(&config.authority));
    (known == Ok(false)).then(|| {
        format!(
            "{}: the register knows no authority `{}`",
            file.display(),
            config.authority
        )
    })
}

fn unknown_identity(file: &Path, config: &IdentityConfig) -> Option<String> {
    let known =
        open(&config.register).map(|register| register.identities.contains_key(&config.identity));
    (known == Ok(false)).then(|| {
        format!(
            "{}: the register knows no identity source `{}`",
            file.display(),
            config.identity
        )
    })
}

/// Opens the register. When its signatures do not verify, its text is checked all the same, for the
/// people who edit it.
pub(super) fn open(files: &RegisterFiles) -> Result<Register, String> {
    register::open(&files.file, &files.signatures, &files.pins).map_err(|error| match &error {
        RegisterOpenError::Signatures { .. } => {
            let faults = register::sign::read_text(&files.file)
                .map(|text| register::parse(&text).err().unwrap_or_default());
            let lines = faults
                .map(|faults| list_faults(&files.file, &faults))
                .unwrap_or_default();
            [lines, error.to_string()]
                .join("\n")
                .trim_start()
                .to_owned()
        }
        _ => error.to_string(),
    })
}

/// How backups are taken, where they are.
fn backups(plan: Option<&BackupPlan>) -> String {
    plan.map_or(String::new(), |plan| {
        format!("; backups {}", plan.seal_in_words())
    })
}

fn signed(files: &RegisterFiles) -> Result<String, String> {
    let register = open(files)?;
    Ok(format!(
        "a configuration without a fault, with a signed register: {}",
        summary(&register)
    ))
}

/// What a file is that this command does not check by itself, by its first lines.
fn not_ours(text: &str) -> Option<&'static str> {
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let first = lines.next()?.trim();
    let is_entry = |line: &str| !line.contains(['=', '[', ' ']);
    match first {
        _ if first.starts_with("-----BEGIN ") => {
            Some("a certificate or key in PEM (the configuration that names it checks it, too)")
        }
        _ if first.starts_with("cloison-secret-") => {
            Some("a secret (the configuration that names it checks it, too)")
        }
        _ if first.starts_with('{') => Some(
            "JSON, as signatures, orders, acts and statements are (`cloison register`, `order`, `statement`)",
        ),
        _ if is_entry(first) && lines.take(9).all(is_entry) => Some("a list, a line an entry"),
        _ => None,
    }
}

/// The first faults of a file of no known kind, and how many more there are.
fn first_of(file: &Path, faults: &[Fault]) -> String {
    const MOST: usize = 10;
    let shown = list_faults(file, &faults[..faults.len().min(MOST)]);
    match faults.len().saturating_sub(MOST) {
        0 => shown,
        more => format!(
            "{shown}\n{}: and {}",
            file.display(),
            count(more, "more fault", "more faults")
        ),
    }
}

/// A register in a few words.
pub(super) fn summary(register: &Register) -> String {
    let sources = match register.identities.len() {
        0 => String::new(),
        number => format!(", {}", count(number, "identity source", "identity sources")),
    };
    format!(
        "deployment `{}`, version {}, {}, {}, {}{sources}",
        register.deployment,
        register.version,
        count(register.sectors.len(), "sector", "sectors"),
        count(register.clients.len(), "client", "clients"),
        count(register.authorities.len(), "authority", "authorities"),
    )
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
