//! `cloison check`: is this register, is this configuration right? The same questions that `serve` asks at its start, and
//! every fault at once, each with file, line and what to write instead.

mod survey;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::clock::{Clock as _, SystemClock};
use crate::config::{
    ClientConfig, ConfigError, FileKind, NamedFile, NodeConfig, RegisterFiles, VaultConfig, WitnessConfig,
};
use crate::register::{self, Fault, OpenError, Register};
use crate::terminal::{CommandError, print};
pub(super) use survey::Survey;

/// Check registers and configurations: every fault with file, line and what to write instead
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison check register.toml\n  \
    cloison check vault.toml node.toml witness.toml clients/*.toml\n\n\
    Every file that a configuration names is opened: certificates, keys, secrets, the register with its signatures. What a \
    passphrase or a token opens stays closed. A register by itself is checked without its signatures: `cloison register \
    verify` does that.\n\
    Exit code 1 if anything has a fault.")]
pub struct Args {
    /// Registers, and configurations of vaults, nodes, witnesses and clients; which is which shows in the file
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
pub fn run(args: Args) -> Result<(), CommandError> {
    let mut bad = 0;
    for file in args.files.iter().chain(&args.config) {
        match one(file) {
            Ok(good) => print(format_args!("{}: {good}", file.display()))?,
            Err(text) => {
                bad += 1;
                complain(&text);
            }
        }
    }
    match bad {
        0 => Ok(()),
        1 => Err(CommandError::new("a file has faults", "correct what is listed above and check again")),
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

/// Whether a configuration is a node's, and not a vault's.
pub(super) fn is_node(text: &str) -> bool {
    FileKind::of(text) == Some(FileKind::Node)
}

/// What a good file is, in a few words; or all its faults, in many.
fn one(file: &Path) -> Result<String, String> {
    let text = register::sign::read_text(file).map_err(|error| error.to_string())?;
    let of_config = |error: ConfigError| error.to_string();
    // Where nothing tells, somebody is at the beginning of a register.
    match FileKind::of(&text).unwrap_or(FileKind::Register) {
        FileKind::Register => {
            let register = register::parse(&text).map_err(|faults| listed(file, &faults))?;
            Ok(format!("a register without a fault: {}", summary(&register)))
        }
        FileKind::Vault => {
            let config = VaultConfig::load(file).map_err(of_config)?;
            opened(&config.named_files(), None)?;
            Ok(format!("{}; {} MiB for the index", signed(&config.register)?, config.index_memory >> 20))
        }
        FileKind::Node => {
            let config = NodeConfig::load(file).map_err(of_config)?;
            opened(&config.named_files(), unknown_authority(file, &config))?;
            signed(&config.register)
        }
        FileKind::Witness => {
            let config = WitnessConfig::load(file).map_err(of_config)?;
            opened(&config.named_files(), None)?;
            Ok(format!(
                "a witness's configuration without a fault: it watches {}",
                count(config.logs.len(), "log", "logs")
            ))
        }
        FileKind::Client => {
            let config = ClientConfig::load(file).map_err(of_config)?;
            opened(&config.named_files(), None)?;
            Ok("a client's configuration without a fault".into())
        }
    }
}

/// Opens every file that a configuration names: all that is wrong with them, and the other fault that is known already.
fn opened(files: &[NamedFile<'_>], known: Option<String>) -> Result<(), String> {
    let Survey { mut faults, .. } = Survey::of(files, SystemClock.now());
    faults.extend(known);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn unknown_authority(file: &Path, config: &NodeConfig) -> Option<String> {
    let known = open(&config.register).map(|register| register.authorities.contains_key(&config.authority));
    (known == Ok(false)).then(|| format!("{}: the register knows no authority `{}`", file.display(), config.authority))
}

/// Opens the register; where its signatures do not hold, its text is judged all the same, for those who edit it.
fn open(files: &RegisterFiles) -> Result<Register, String> {
    register::open(&files.file, &files.signatures, &files.pins).map_err(|error| match &error {
        OpenError::Signatures { .. } => {
            let faults =
                register::sign::read_text(&files.file).map(|text| register::parse(&text).err().unwrap_or_default());
            let lines = faults.map(|faults| listed(&files.file, &faults)).unwrap_or_default();
            [lines, error.to_string()].join("\n").trim_start().to_owned()
        }
        _ => error.to_string(),
    })
}

fn signed(files: &RegisterFiles) -> Result<String, String> {
    let register = open(files)?;
    Ok(format!("a configuration without a fault, with a signed register: {}", summary(&register)))
}

/// Every fault on lines of its own, as editors and people read them.
pub(super) fn listed(file: &Path, faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(|fault| fault.in_file(file).to_string()).collect();
    lines.join("\n")
}

/// A register in a few words.
pub(super) fn summary(register: &Register) -> String {
    format!(
        "deployment `{}`, version {}, {}, {}, {}",
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
