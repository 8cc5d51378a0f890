//! `cloison check`: is this register, is this configuration right? The same questions that `serve` asks at its start, and
//! every fault at once, each with file, line and what to write instead.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::{Error, print};
use crate::config::{ClientConfig, ConfigError, NodeConfig, RegisterFiles, VaultConfig};
use crate::keys::custody::{Custody, Deposit, Keyring};
use crate::keys::file::look_at_private;
use crate::register::{self, Fault, OpenError, Register};

/// Check registers and configurations: every fault with file, line and what to write instead
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    cloison check register.toml\n  \
    cloison check vault.toml node.toml clients/*.toml\n\n\
    A vault's or node's configuration is checked together with the register that it names and that register's \
    signatures. A register by itself is checked without its signatures: `cloison register verify` does that.\n\
    Exit code 1 if anything has a fault.")]
pub struct Args {
    /// Registers, and configurations of vaults, nodes and clients; which is which shows in the file
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
pub fn run(args: Args) -> Result<(), Error> {
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
        1 => Err(Error::new("a file has faults", "correct what is listed above and check again")),
        _ => Err(Error::new(format_args!("{bad} files have faults"), "correct what is listed above and check again")),
    }
}

/// Writes to standard error, which may be closed: the exit code then has to do.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What a file is, by what stands in it.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Register,
    Vault,
    Node,
    Client,
}

fn kind_of(text: &str) -> Kind {
    // A broken file is still somebody's, and its own reader says what is broken.
    let (table, _) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    let is_text = |name: &str| table.get(name).is_some_and(|value| value.get_ref().is_str());
    let has_table = |name: &str| table.get(name).is_some_and(|value| value.get_ref().is_table());
    let has_list = |name: &str| table.get(name).is_some_and(|value| value.get_ref().is_array());
    if is_text("url") {
        Kind::Client
    } else if has_list("sector") || has_list("organisation") {
        Kind::Register
    } else if is_text("authority") || has_table("vault") {
        Kind::Node
    } else if has_table("secrets") || has_table("tls") || has_table("register") {
        Kind::Vault
    } else {
        Kind::Register
    }
}

/// Whether a configuration is a node's, and not a vault's.
pub(super) fn is_node(text: &str) -> bool {
    kind_of(text) == Kind::Node
}

/// What a good file is, in a few words; or all its faults, in many.
fn one(file: &Path) -> Result<String, String> {
    let text = register::sign::read_text(file).map_err(|error| error.to_string())?;
    let of_config = |error: ConfigError| error.to_string();
    match kind_of(&text) {
        Kind::Register => {
            let register = register::parse(&text).map_err(|faults| listed(file, &faults))?;
            Ok(format!("a register without a fault: {}", summary(&register)))
        }
        Kind::Vault => {
            let config = VaultConfig::load(file).map_err(of_config)?;
            private(&config.secret_deposits(), &[&config.tls.key])?;
            Ok(format!("{}; {} MiB for the index", signed(&config.register)?, config.index_memory >> 20))
        }
        Kind::Node => {
            let config = NodeConfig::load(file).map_err(of_config)?;
            private(&config.secret_deposits(), &[&config.tls.key, &config.vault.key])?;
            match open(&config.register)?.authorities.contains_key(&config.authority) {
                true => signed(&config.register),
                false => Err(format!("{}: the register knows no authority `{}`", file.display(), config.authority)),
            }
        }
        Kind::Client => {
            ClientConfig::load(file).map(|_| "a client's configuration without a fault".into()).map_err(of_config)
        }
    }
}

/// Refuses secret files that others could have read or written, that are somebody else's, or that are not there.
fn private(deposits: &[(Deposit, bool)], keys: &[&PathBuf]) -> Result<(), String> {
    let (_, faults) = secret_files(deposits, keys);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Looks at secret files as `serve` would, without reading them: how many there are in each custody, and what is wrong.
/// Credentials are systemd's to keep; here nothing is known of them but their number.
pub(super) fn secret_files(
    deposits: &[(Deposit, bool)],
    keys: &[&PathBuf],
) -> (BTreeMap<&'static str, usize>, Vec<String>) {
    let (mut good, mut faults) = (BTreeMap::new(), Vec::new());
    let keyring = Keyring::default();
    let mut look = |deposit: &Deposit| {
        let looked = match deposit.custody {
            Custody::Credential => Ok(()),
            _ => look_at_private(&deposit.at),
        };
        match looked {
            Ok(()) => *good.entry(deposit.custody.as_str()).or_default() += 1,
            Err(fault) => faults.push(fault.to_string()),
        }
    };
    let mut unread = Vec::new();
    for (deposit, is_folder) in deposits {
        match *is_folder && deposit.custody != Custody::Credential {
            false => look(deposit),
            true => match keyring.versions(deposit) {
                Ok(versions) => versions.into_iter().for_each(|version| look(&deposit.version(version))),
                Err(fault) => unread.push(fault.to_string()),
            },
        }
    }
    keys.iter().for_each(|key| look(&Deposit::file(key.as_path())));
    faults.extend(unread);
    (good, faults)
}

/// Opens the register; where its signatures do not hold, its text is judged all the same, for whoever is editing it.
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
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    format!(
        "deployment `{}`, version {}, {}, {}, {}",
        register.deployment,
        register.version,
        count(register.sectors.len(), "sector", "sectors"),
        count(register.clients.len(), "client", "clients"),
        count(register.authorities.len(), "authority", "authorities"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_even_when_broken() {
        for (text, kind) in [
            (include_str!("../../tests/data/register.toml"), Kind::Register),
            ("", Kind::Register),
            ("deployment = \"demo\"\n[[authority]]\nid = \"court\"\n", Kind::Register),
            ("deployment = \"demo\"\n[data]\nlisten = \"…\"\n[secrets]\nidentity = \"…\"\n[register]\n", Kind::Vault),
            ("deployment = \"demo\"\n[tls]\nkey = \n", Kind::Vault),
            ("deployment = \"demo\"\nauthority = \"court\"\n[tls]\n", Kind::Node),
            ("[vault]\nurl = \"https://localhost\"\n", Kind::Node),
            ("url = \"https://localhost\"\n", Kind::Client),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }
}
