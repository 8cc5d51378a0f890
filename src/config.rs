//! Configuration files of the vault, the authority node, the identity source and their clients.
//!
//! TOML. An unknown field is a fault. All faults are reported at once, each with its line and what
//! to write instead. Paths are relative to the file's folder. What is *law* (sectors, clients,
//! authorities) stands in the signed register. A configuration holds addresses, files, and the keys
//! that verify the register.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use toml::de::DeTable;

use crate::backup::BackupPlan;
use crate::keys::custody::token::TokenConfig;
use crate::keys::custody::{Deposit, Keyring, PassphraseSource};
use crate::keys::file::{self, FileError};
use crate::lines::{self, NotUtf8};
use crate::register::read::{At, Faults, TomlField, TomlTable};
use crate::register::{Fault, Id};

mod apart;
mod audit;
mod backup;
mod custody;
mod files;
mod identity;
mod identity_link;
mod kind;
mod memory;
mod node;
mod register;
mod side;
mod value;
mod witness;

pub use audit::{LogConfig, SECOND_PLACE_NAME, WatcherConfig};
use custody::{SecretsSection, openers};
pub use files::{NamedFile, PairUse};
pub use identity::IdentityConfig;
pub use identity_link::{IdentityLinkConfig, IdentityPlace};
pub use kind::FileKind;
pub use node::{AuthorityKeyPlace, KeyPlace, NodeConfig};
pub use register::RegisterFiles;
use register::register_files;
pub use side::SideConfig;
use value::{
    BaseUrl, BodyMebibytes, Count, IndexMebibytes, ListenAddress, LoopbackAddress,
    PinnedCertificate, Place,
};
pub use witness::{FollowConfig, WatchedLog, WitnessConfig};

/// The most bytes that a configuration file may have.
const MAX_FILE: usize = 1024 * 1024;

/// `vault.toml`: what `cloison serve` runs on.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// The deployment's id; register and orders must carry the same.
    pub deployment: Id,
    /// Listener for sector systems.
    pub data: SocketAddr,
    /// Listener for authorities, auditors and operations.
    pub control: SocketAddr,
    /// Listener for health and metrics, without TLS, on loopback.
    pub health: SocketAddr,
    /// The server's certificate, and its key.
    pub tls: TlsFiles,
    /// Bytes of batches that may be under way at once. A client that has more than its share of
    /// them is sent away for a second. At least 17 MiB: one batch of the largest size (16 MiB) and
    /// what counting adds. Default 128 MiB.
    pub bodies: usize,
    /// The store's folder.
    pub store: PathBuf,
    /// Free bytes on the store's disk below which batches are refused, so that admitted requests
    /// and the log still have room. Default 256 MiB.
    pub reserve: u64,
    /// Bytes of memory for the index of mappings. What exceeds them lies on the disk. Default: half
    /// of what this process may have.
    pub index_memory: u64,
    /// `[audit]`: who watches the log.
    pub log: LogConfig,
    /// Where each of the vault's secrets lies.
    pub secrets: SecretPlaces,
    /// What opens those that are more than a file.
    pub openers: Openers,
    /// `[backup]`: where backups of the store go.
    pub backup: Option<BackupPlan>,
    /// `[[segment-key]]`: keys with which this vault signed segments before the present one.
    pub former_segment_keys: Vec<VerifyingKey>,
    /// The register and how it is known to be genuine.
    pub register: RegisterFiles,
    /// Limits of the listeners.
    pub limits: LimitConfig,
}

/// How to reach a server: `clients/*.toml`, and `[vault]` in `node.toml`.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `https://host:port`, without a slash at the end.
    pub url: String,
    /// Certificates (PEM), at least one file: their keys are the only ones that the server may
    /// have.
    pub server: Vec<PathBuf>,
    /// Certificates (PEM) of the authority that the server's certificate must be of, too.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM), 0600.
    pub key: PathBuf,
}

/// `[tls]` of a server.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate chain (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM), 0600.
    pub key: PathBuf,
    /// Whether the file still has `client-ca`, which earlier versions needed and which has no
    /// effect.
    pub has_client_ca: bool,
}

/// `[secrets]` of the vault: where each lies, and in which custody.
#[derive(Debug, Clone)]
pub struct SecretPlaces {
    /// `identity_secret`, or who holds it.
    pub identity: IdentityPlace,
    /// `audit_secret`.
    pub audit: Deposit,
    /// The Ed25519 key that signs segments.
    pub segment: Deposit,
    /// The Ed25519 key that signs the checkpoints of the audit log.
    pub checkpoint: Deposit,
    /// Sector secrets: a folder with `<version>.secret`, or credentials `<name>-<version>`.
    pub sector: Deposit,
    /// Storage secrets, in the same way.
    pub store: Deposit,
    /// Journal secrets, in the same way.
    pub journal: Deposit,
}

/// `passphrase` of `[secrets]`, and `[token]`: what opens secrets that are more than a file.
#[derive(Debug, Clone, Default)]
pub struct Openers {
    /// Where the passphrase comes from.
    pub passphrase: Option<PassphraseSource>,
    /// The token.
    pub token: Option<TokenConfig>,
}

impl Openers {
    /// A keyring of them.
    pub fn keyring(&self) -> Keyring {
        Keyring::new(self.passphrase.clone(), self.token.clone())
    }
}

/// `[limits]`, all optional.
#[derive(Debug, Clone)]
pub struct LimitConfig {
    /// Connections that a listener holds at once. One organisation gets at most a quarter of them,
    /// one certificate an eighth. Default 1024.
    pub connections: usize,
    /// How long requests under way may take after SIGTERM. Default 20 seconds.
    pub drain: Duration,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is a file of another kind.
    #[error("{}: this is {}, which {} takes, and not {}", file.display(), found.called(), found.taken_by(), wanted.called())]
    OtherKind {
        /// The file.
        file: PathBuf,
        /// The kind of the file.
        found: FileKind,
        /// The kind that was expected.
        wanted: FileKind,
    },
    /// It has faults: at least one, in the order of the file.
    #[error("{}", ConfigFaultList(file, faults))]
    Faults {
        /// The file.
        file: PathBuf,
        /// Its faults.
        faults: Vec<Fault>,
    },
}

/// `FILE:LINE: what`, and below it what to write instead.
struct ConfigFaultList<'a>(&'a Path, &'a [Fault]);

impl fmt::Display for ConfigFaultList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.1.iter().enumerate() {
            let break_before = if index == 0 { "" } else { "\n" };
            write!(
                f,
                "{break_before}{}:{}: {}\n    write instead: {}",
                self.0.display(),
                fault.line,
                fault.what,
                fault.instead
            )?;
        }
        Ok(())
    }
}

impl VaultConfig {
    /// Reads `vault.toml`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path, FileKind::Vault, Self::parse)
    }

    /// Reads the text of a `vault.toml` that lies in `folder`. Reports every fault, not only the
    /// first.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Fault>> {
        parse(text, "the vault's configuration", |root, faults| {
            let deployment: Option<At<Id>> = root.required("deployment", faults);
            let data = section(root, "data", faults, |table, faults| {
                let listen = table.required::<ListenAddress>("listen", faults);
                let bodies = table.or("bodies-mib", BodyMebibytes(128), faults);
                Some((listen?, bodies?.value.0 << 20))
            });
            let (data, bodies) = (
                data.as_ref().map(|(at, _)| (at.line, at.value.0)),
                data.as_ref().map(|(_, n)| *n),
            );
            let control =
                listener::<ListenAddress>(root, "control", faults).map(|at| (at.line, at.value.0));
            let health =
                listener::<LoopbackAddress>(root, "health", faults).map(|at| (at.line, at.value.0));
            distinct_addresses(&[data, control, health], faults);
            let tls = tls_files(root, folder, faults);
            let store = store_section(root, folder, faults);
            let index_memory = index(root, faults);
            let (secrets, places) = vault_secrets(root, folder, faults).unzip();
            let openers = openers(root, folder, places.as_ref(), faults);
            let log = audit::read(
                root,
                audit::LogOwner {
                    side: FileKind::Vault,
                    deployment: deployment.as_deref(),
                },
                folder,
                faults,
            );
            let backup = backup::read(root, folder, faults);
            let former_segment_keys = node::segment_keys(root, faults);
            let register = register_files(root, deployment.as_deref(), folder, faults);
            let limits = limits(root, faults);
            let config = VaultConfig {
                deployment: deployment?.value,
                data: data?.1,
                control: control?.1,
                health: health?.1,
                tls: tls?,
                bodies: bodies?,
                reserve: store.as_ref()?.1,
                store: store?.0,
                index_memory: index_memory?,
                log: log?,
                secrets: secrets?,
                openers: openers?,
                backup: backup?,
                former_segment_keys,
                register: register?,
                limits: limits?,
            };
            apart::check_entity(
                &config.store,
                &config.log,
                config.backup.as_ref(),
                root.line,
                faults,
            );
            Some(config)
        })
    }
}

impl ClientConfig {
    /// Reads a client's file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path, FileKind::Client, Self::parse)
    }

    /// Reads the text of a client's file that lies in `folder`. Reports every fault, not only the
    /// first.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Fault>> {
        parse(text, "the client's configuration", |root, faults| {
            client(root, folder, faults)
        })
    }
}

fn load<T>(
    path: &Path,
    wanted: FileKind,
    parse: impl FnOnce(&str, &Path) -> Result<T, Vec<Fault>>,
) -> Result<T, ConfigError> {
    let file = path.to_owned();
    let text = read_config(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|faults| match FileKind::of(&text) {
        // With broken syntax, the kind that the file seems to have may be wrong.
        Some(found) if found != wanted && DeTable::parse(&text).is_ok() => ConfigError::OtherKind {
            file,
            found,
            wanted,
        },
        _ => ConfigError::Faults { file, faults },
    })
}

/// The text of a configuration file.
fn read_config(path: &Path) -> Result<String, ConfigError> {
    lines::text(file::read_public(path, MAX_FILE)?).map_err(|NotUtf8 { line }| {
        let (what, instead) = (
            "the line is not UTF-8".into(),
            "the same text, saved as UTF-8".into(),
        );
        ConfigError::Faults {
            file: path.to_owned(),
            faults: vec![Fault {
                line,
                what,
                instead,
            }],
        }
    })
}

/// Parses TOML and lets `take` read the root. Returns its value only if there was no fault.
fn parse<T>(
    text: &str,
    called: &str,
    take: impl FnOnce(&mut TomlTable<'_, '_>, &mut Faults) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let mut faults = Faults::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = faults.line(&error.span().unwrap_or(0..0));
        faults.push(
            line,
            format!("the line is not TOML: {}", error.message()),
            "a line `name = value` or `[section]`",
        );
    }
    if !errors.is_empty() {
        // Reading on in a broken file would report faults that are none.
        return Err(faults.into_sorted());
    }
    let mut root = TomlTable::new(called, 1, document.get_ref());
    let taken = take(&mut root, &mut faults);
    root.finish(&mut faults);
    match taken {
        Some(value) if faults.count() == 0 => Ok(value),
        _ => Err(faults.into_sorted()),
    }
}

/// Reads a section that must be there.
fn section<T>(
    root: &mut TomlTable<'_, '_>,
    name: &'static str,
    faults: &mut Faults,
    take: impl FnOnce(&mut TomlTable<'_, '_>, &mut Faults) -> Option<T>,
) -> Option<T> {
    if !root.has(name) {
        let line = root.line;
        faults.push(
            line,
            format!("{} has no section `{name}`", root.called()),
            format!("[{name}] and its fields below"),
        );
    }
    optional_section(root, name, faults, take)?
}

/// Reads a section that may be there. `Some(None)` if it is not, `None` if it is faulty.
fn optional_section<T>(
    root: &mut TomlTable<'_, '_>,
    name: &'static str,
    faults: &mut Faults,
    take: impl FnOnce(&mut TomlTable<'_, '_>, &mut Faults) -> Option<T>,
) -> Option<Option<T>> {
    let there = root.has(name);
    let Some(mut table) = root.table(name, faults) else {
        return (!there).then_some(None);
    };
    let taken = take(&mut table, faults);
    table.finish(faults);
    taken.map(Some)
}

fn listener<T: TomlField>(
    root: &mut TomlTable<'_, '_>,
    name: &'static str,
    faults: &mut Faults,
) -> Option<At<T>> {
    section(root, name, faults, |table, faults| {
        table.required("listen", faults)
    })
}

fn distinct_addresses(addresses: &[Option<(usize, SocketAddr)>], faults: &mut Faults) {
    let mut seen: Vec<SocketAddr> = Vec::new();
    for (line, address) in addresses.iter().flatten() {
        // Port 0 stands for any free port, so it may occur twice.
        if address.port() != 0 && seen.contains(address) {
            faults.push(
                *line,
                "`listen` is the address of another listener",
                "an address of its own",
            );
        }
        seen.push(*address);
    }
}

fn tls_files(root: &mut TomlTable<'_, '_>, folder: &Path, faults: &mut Faults) -> Option<TlsFiles> {
    section(root, "tls", faults, |table, faults| {
        let certificate = table.required::<Place>("certificate", faults);
        let key = table.required::<Place>("key", faults);
        let client_ca = table.optional::<Place>("client-ca", faults);
        Some(TlsFiles {
            certificate: certificate?.within(folder),
            key: key?.within(folder),
            has_client_ca: client_ca.is_some(),
        })
    })
}

fn client(
    table: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<ClientConfig> {
    let url = table.required::<BaseUrl>("url", faults);
    let server = pinned_servers(table, faults);
    let ca = table.optional::<Place>("ca", faults);
    let certificate = table.required::<Place>("certificate", faults);
    let key = table.required::<Place>("key", faults);
    Some(ClientConfig {
        url: url?.value.0,
        server: server.iter().map(|pin| pin.0.within(folder)).collect(),
        ca: ca.map(|place| place.within(folder)),
        certificate: certificate?.within(folder),
        key: key?.within(folder),
    })
}

/// `server`: at least one certificate whose key the server may have.
fn pinned_servers(
    table: &mut TomlTable<'_, '_>,
    faults: &mut Faults,
) -> Vec<At<PinnedCertificate>> {
    let before = faults.count();
    let server = table.list::<PinnedCertificate>("server", faults);
    for (n, place) in server.iter().enumerate() {
        if server[..n].iter().any(|before| before.0.0 == place.0.0) {
            let what = format!("{}: `server` names a file twice", table.called());
            faults.push(place.line, what, "each certificate once");
        }
    }
    if server.is_empty() && faults.count() == before {
        let why = if table.has("ca") {
            "has `ca` and no `server`: an authority alone does not tell which server this is"
        } else {
            "has no `server`: it could not tell which server this is"
        };
        faults.push(
            table.line,
            format!("{} {why}", table.called()),
            "server = [\"tls/vault.pem\"], the certificate (PEM) that the server shows: its key is what \
             counts; those who run the server hand it over",
        );
    }
    server
}

/// `[store]`: the folder, and the bytes of its disk that stay free.
fn store_section(
    root: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<(PathBuf, u64)> {
    section(root, "store", faults, |table, faults| {
        let path = table.required::<Place>("path", faults);
        let reserve = table.or("reserve-mib", Count(256), faults);
        Some((path?.within(folder), (reserve?.value.0 as u64) << 20))
    })
}

/// `[secrets]` of a vault.
fn vault_secrets(
    root: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<(SecretPlaces, SecretsSection)> {
    let link = identity_link::read(root, folder, faults);
    section(root, "secrets", faults, |table, faults| {
        let mut section = SecretsSection::read(table, folder, faults)?;
        let mut required = |name| section.required(name, table, faults);
        let audit = required("audit");
        let (segment, checkpoint) = (required("segment"), required("checkpoint"));
        let (sector, store) = (required("sector"), required("store"));
        let journal = required("journal");
        let identity = identity_link::place(&mut section, table, link, faults);
        let secrets = SecretPlaces {
            identity: identity?,
            audit: audit?,
            segment: segment?,
            checkpoint: checkpoint?,
            sector: sector?,
            store: store?,
            journal: journal?,
        };
        Some((secrets, section))
    })
}

fn index(root: &mut TomlTable<'_, '_>, faults: &mut Faults) -> Option<u64> {
    let memory = optional_section(root, "index", faults, |table, faults| {
        Some(
            table
                .optional::<IndexMebibytes>("memory-mib", faults)
                .map(|at| at.value.0 << 20),
        )
    })?;
    Some(memory.flatten().unwrap_or_else(memory::half))
}

fn limits(root: &mut TomlTable<'_, '_>, faults: &mut Faults) -> Option<LimitConfig> {
    let usual = LimitConfig {
        connections: 1024,
        drain: Duration::from_secs(20),
    };
    let limits = optional_section(root, "limits", faults, |table, faults| {
        let connections = table.or("connections", Count(usual.connections), faults);
        let drain = table.or(
            "drain-seconds",
            Count(usual.drain.as_secs() as usize),
            faults,
        );
        Some(LimitConfig {
            connections: connections?.value.0,
            drain: Duration::from_secs(drain?.value.0 as u64),
        })
    })?;
    Some(limits.unwrap_or(usual))
}

#[cfg(test)]
mod tests;
