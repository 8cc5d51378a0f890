//! `node.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;

use super::audit::LogOwner;
use super::custody::{SecretsSection, openers, seal_times};
use super::register::{RegisterFiles, register_files};
use super::value::{self, KeyCustody, ListenAddress, LoopbackAddress, Place};
use super::{
    ClientConfig, ConfigError, FileKind, LimitConfig, LogConfig, Openers, TlsFiles, apart, audit,
    backup, client, distinct_addresses, limits, listener, load, parse, section, store_section,
    tls_files,
};
use crate::backup::BackupPlan;
use crate::keys::custody::{Custody, Deposit};
use crate::register::read::{At, Faults, TomlTable};
use crate::register::{Fault, Id};
use crate::safe::SealTimes;

/// `node.toml`: what `cloison authority serve` runs on.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The deployment's id; register and orders must carry the same.
    pub deployment: Id,
    /// The authority that this node belongs to.
    pub authority: Id,
    /// Listener for officers.
    pub control: SocketAddr,
    /// Listener for health and metrics, without TLS, on loopback.
    pub health: SocketAddr,
    /// The server's certificate, and its key.
    pub tls: TlsFiles,
    /// The node's own store: its audit log, and the orders that it has seen.
    pub store: PathBuf,
    /// Free bytes on its disk below which nothing is opened. Default 256 MiB.
    pub reserve: u64,
    /// The secret behind the tags in the audit log.
    pub audit: Deposit,
    /// The Ed25519 key that signs the checkpoints of the audit log.
    pub checkpoint: Deposit,
    /// Journal secrets: a folder with `<version>.secret`, or credentials `<name>-<version>`.
    pub journal: Deposit,
    /// `[audit]`: who watches the log.
    pub log: LogConfig,
    /// `[backup]`: where backups of the store go.
    pub backup: Option<BackupPlan>,
    /// The authority's private keys.
    pub keys: Vec<AuthorityKeyPlace>,
    /// What opens secrets that are more than a file.
    pub openers: Openers,
    /// When shares are forgotten and keys in shares sealed again.
    pub seal: SealTimes,
    /// Keys with which the vault signs segments, pinned: people hand them over.
    pub segment_keys: Vec<VerifyingKey>,
    /// The register and how it is known to be genuine.
    pub register: RegisterFiles,
    /// How the node reaches the vault.
    pub vault: ClientConfig,
    /// Limits of the listener.
    pub limits: LimitConfig,
}

/// `[secrets]` of a node.
struct NodeSecretPlaces {
    audit: Deposit,
    checkpoint: Deposit,
    journal: Deposit,
}

/// `[[key]]` of a node: a private key of its authority.
#[derive(Debug, Clone)]
pub struct AuthorityKeyPlace {
    /// The key's id in the register.
    pub id: Id,
    /// Where it lies.
    pub place: KeyPlace,
}

/// Where an authority's private key lies, or an identity source's secret.
#[derive(Debug, Clone)]
pub enum KeyPlace {
    /// The process reads it at its start.
    Own(Deposit),
    /// Its custodians bring it in shares, which are checked against this set.
    Shares(PathBuf),
}

impl NodeConfig {
    /// Reads `node.toml`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path, FileKind::Node, Self::parse)
    }

    /// Reads the text of a `node.toml` that lies in `folder`. Reports every fault, not only the
    /// first.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Fault>> {
        parse(text, "the node's configuration", |root, faults| {
            let deployment: Option<At<Id>> = root.required("deployment", faults);
            let authority = root.required("authority", faults);
            let control =
                listener::<ListenAddress>(root, "control", faults).map(|at| (at.line, at.value.0));
            let health =
                listener::<LoopbackAddress>(root, "health", faults).map(|at| (at.line, at.value.0));
            distinct_addresses(&[control, health], faults);
            let tls = tls_files(root, folder, faults);
            let store = store_section(root, folder, faults);
            let secrets = section(root, "secrets", faults, |table, faults| {
                let mut places = SecretsSection::read(table, folder, faults)?;
                let audit = places.required("audit", table, faults);
                let checkpoint = places.required("checkpoint", table, faults);
                let journal = places.required("journal", table, faults);
                let own = NodeSecretPlaces {
                    audit: audit?,
                    checkpoint: checkpoint?,
                    journal: journal?,
                };
                Some((own, places))
            });
            let (own, mut places) = secrets.unzip();
            let log = audit::read(
                root,
                LogOwner {
                    side: FileKind::Node,
                    deployment: deployment.as_deref(),
                },
                folder,
                faults,
            );
            let backup = backup::read(root, folder, faults);
            let keys = authority_keys(root, folder, places.as_mut(), faults);
            let openers = openers(root, folder, places.as_ref(), faults);
            let seal = seal_times(root, faults);
            let before = faults.count();
            let segment_keys = segment_keys(root, faults);
            if segment_keys.is_empty() && faults.count() == before {
                faults.push(
                    root.line,
                    "no [[segment-key]] is stated: the node could verify no segment",
                    "[[segment-key]] with the vault's public key",
                );
            }
            let register = register_files(root, deployment.as_deref(), folder, faults);
            let vault = section(root, "vault", faults, |table, faults| {
                client(table, folder, faults)
            });
            let limits = limits(root, faults);
            let own = own?;
            let config = NodeConfig {
                deployment: deployment?.value,
                authority: authority?.value,
                control: control?.1,
                health: health?.1,
                tls: tls?,
                reserve: store.as_ref()?.1,
                store: store?.0,
                audit: own.audit,
                checkpoint: own.checkpoint,
                journal: own.journal,
                log: log?,
                backup: backup?,
                keys,
                openers: openers?,
                seal: seal?,
                segment_keys,
                register: register?,
                vault: vault?,
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

fn authority_keys(
    root: &mut TomlTable<'_, '_>,
    folder: &Path,
    mut places: Option<&mut SecretsSection>,
    faults: &mut Faults,
) -> Vec<AuthorityKeyPlace> {
    let mut keys: Vec<AuthorityKeyPlace> = Vec::new();
    let tables = root.tables("key", "id", faults);
    if tables.is_empty() {
        faults.push(
            root.line,
            "the node has no key of its authority",
            "[[key]] with id and file",
        );
    }
    for mut table in tables {
        let id = table.required::<Id>("id", faults);
        let file = table.required::<Place>("file", faults);
        let custody = table.or("custody", KeyCustody::Own(Custody::File), faults);
        table.finish(faults);
        let (Some(id), Some(file), Some(custody)) = (id, file, custody) else {
            continue;
        };
        if keys.iter().any(|key| key.id == id.value) {
            faults.push(
                id.line,
                format!("a second key has the id `{}`", id.value),
                "an id of its own",
            );
        }
        let place = match custody.value {
            KeyCustody::Shares => KeyPlace::Shares(file.within(folder)),
            KeyCustody::Own(custody) => {
                let deposit = value::deposit(&file, custody, folder);
                if let Some(places) = places.as_deref_mut() {
                    places.note("file", &deposit, file.line, faults);
                }
                KeyPlace::Own(deposit)
            }
        };
        keys.push(AuthorityKeyPlace {
            id: id.value,
            place,
        });
    }
    keys
}

/// `[[segment-key]]`: keys with which the vault signs, or signed, segments.
pub(super) fn segment_keys(root: &mut TomlTable<'_, '_>, faults: &mut Faults) -> Vec<VerifyingKey> {
    let tables = root.tables("segment-key", "public", faults);
    let mut keys = Vec::new();
    for mut table in tables {
        keys.extend(
            table
                .required::<VerifyingKey>("public", faults)
                .map(|at| at.value),
        );
        table.finish(faults);
    }
    keys
}
