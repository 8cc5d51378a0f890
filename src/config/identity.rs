//! `identity.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::audit::LogOwner;
use super::custody::{SecretsSection, openers, seal_times};
use super::node::KeyPlace;
use super::register::{RegisterFiles, register_files};
use super::value::{ListenAddress, LoopbackAddress, Place};
use super::{
    ClientConfig, ConfigError, FileKind, LimitConfig, LogConfig, Openers, TlsFiles, apart, audit,
    backup, client, distinct_addresses, limits, listener, load, parse, section, store_section,
    tls_files,
};
use crate::backup::BackupPlan;
use crate::entity::Role;
use crate::keys::custody::Deposit;
use crate::register::read::{At, Faults, TomlTable};
use crate::register::{Fault, Id};
use crate::safe::SealTimes;

/// `identity.toml`: what `cloison identity serve` runs on.
#[derive(Debug, Clone)]
pub struct IdentityConfig {
    /// The deployment's id; the register must carry the same.
    pub deployment: Id,
    /// Which `[[identity]]` of the register this source is.
    pub identity: Id,
    /// Listener for the vault, for auditors and for the source's custodians.
    pub control: SocketAddr,
    /// Listener for health and metrics, without TLS, on loopback.
    pub health: SocketAddr,
    /// The server's certificate, and its key.
    pub tls: TlsFiles,
    /// The source's own store: its log, and the counts of the quotas.
    pub store: PathBuf,
    /// Free bytes on its disk below which nothing is derived. Default 256 MiB.
    pub reserve: u64,
    /// The identity secret.
    pub secret: KeyPlace,
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
    /// What opens secrets that are more than a file.
    pub openers: Openers,
    /// When shares are forgotten and a secret in shares sealed again.
    pub seal: SealTimes,
    /// The register and how it is known to be genuine.
    pub register: RegisterFiles,
    /// How the source reaches the vault, whose log it watches and which watches its own.
    pub vault: ClientConfig,
    /// Limits of the listener.
    pub limits: LimitConfig,
}

/// `[secrets]` of an identity source.
struct IdentitySecretPlaces {
    secret: KeyPlace,
    audit: Deposit,
    checkpoint: Deposit,
    journal: Deposit,
}

impl IdentityConfig {
    /// Reads `identity.toml`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path, FileKind::Identity, Self::parse)
    }

    /// What the process is.
    pub fn role(&self) -> Role {
        Role::Identity(self.identity.clone())
    }

    /// Reads the text of an `identity.toml` that lies in `folder`. Reports every fault, not only
    /// the first.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Fault>> {
        parse(
            text,
            "the identity source's configuration",
            |root, faults| {
                let deployment: Option<At<Id>> = root.required("deployment", faults);
                let identity = root.required("identity", faults);
                let control = listener::<ListenAddress>(root, "control", faults)
                    .map(|at| (at.line, at.value.0));
                let health = listener::<LoopbackAddress>(root, "health", faults)
                    .map(|at| (at.line, at.value.0));
                distinct_addresses(&[control, health], faults);
                let tls = tls_files(root, folder, faults);
                let store = store_section(root, folder, faults);
                let (own, places) = section(root, "secrets", faults, |table, faults| {
                    secrets(table, folder, faults)
                })
                .unzip();
                let owner = LogOwner {
                    side: FileKind::Identity,
                    deployment: deployment.as_deref(),
                };
                let log = audit::read(root, owner, folder, faults);
                let backup = backup::read(root, folder, faults);
                let openers = openers(root, folder, places.as_ref(), faults);
                let seal = seal_times(root, faults);
                let register = register_files(root, deployment.as_deref(), folder, faults);
                let vault = section(root, "vault", faults, |table, faults| {
                    client(table, folder, faults)
                });
                let limits = limits(root, faults);
                let own = own?;
                let config = IdentityConfig {
                    deployment: deployment?.value,
                    identity: identity?.value,
                    control: control?.1,
                    health: health?.1,
                    tls: tls?,
                    reserve: store.as_ref()?.1,
                    store: store?.0,
                    secret: own.secret,
                    audit: own.audit,
                    checkpoint: own.checkpoint,
                    journal: own.journal,
                    log: log?,
                    backup: backup?,
                    openers: openers?,
                    seal: seal?,
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
            },
        )
    }
}

/// `[secrets]`: `identity` in a custody, or `identity-shares`, the set that its custodians' shares
/// are checked against.
fn secrets(
    table: &mut TomlTable<'_, '_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<(IdentitySecretPlaces, SecretsSection)> {
    let mut section = SecretsSection::read(table, folder, faults)?;
    let shares = table.optional::<Place>("identity-shares", faults);
    let secret = match shares {
        Some(set) if table.has("identity") => {
            let what =
                "`identity` and `identity-shares` are both there: the secret lies in one custody";
            faults.push(set.line, what, "one of the two");
            section
                .required("identity", table, faults)
                .map(KeyPlace::Own)
        }
        Some(set) => Some(KeyPlace::Shares(set.within(folder))),
        None => section
            .required("identity", table, faults)
            .map(KeyPlace::Own),
    };
    let mut required = |name| section.required(name, table, faults);
    let (audit, checkpoint) = (required("audit"), required("checkpoint"));
    let journal = required("journal");
    let own = IdentitySecretPlaces {
        secret: secret?,
        audit: audit?,
        checkpoint: checkpoint?,
        journal: journal?,
    };
    Some((own, section))
}
