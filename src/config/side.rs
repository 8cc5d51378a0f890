//! The configuration of a side of the deployment, whichever it is: what commands need of all of
//! them alike.

use std::net::SocketAddr;
use std::path::Path;

use super::{
    ClientConfig, ConfigError, FileKind, IdentityConfig, LogConfig, NamedFile, NodeConfig, Openers,
    RegisterFiles, TlsFiles, VaultConfig, read_config,
};
use crate::backup::BackupPlan;
use crate::entity::Role;
use crate::keys::custody::Deposit;
use crate::register::Id;

/// A vault's, a node's or an identity source's configuration.
#[derive(Debug, Clone)]
pub enum SideConfig {
    /// `vault.toml`
    Vault(Box<VaultConfig>),
    /// `node.toml`
    Node(Box<NodeConfig>),
    /// `identity.toml`
    Identity(Box<IdentityConfig>),
}

/// Names the same field of each configuration.
macro_rules! each {
    ($side:expr, $config:ident => $field:expr) => {
        match $side {
            SideConfig::Vault($config) => $field,
            SideConfig::Node($config) => $field,
            SideConfig::Identity($config) => $field,
        }
    };
}

impl SideConfig {
    /// Reads the configuration of the side that the file's fields tell. What is neither a node's
    /// nor an identity source's is read as a vault's.
    ///
    /// # Errors
    /// When it cannot be read or has faults.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Ok(match FileKind::of(&read_config(path)?) {
            Some(FileKind::Node) => Self::Node(Box::new(NodeConfig::load(path)?)),
            Some(FileKind::Identity) => Self::Identity(Box::new(IdentityConfig::load(path)?)),
            _ => Self::Vault(Box::new(VaultConfig::load(path)?)),
        })
    }

    /// What the process is.
    pub fn role(&self) -> Role {
        match self {
            Self::Vault(_) => Role::Vault,
            Self::Node(config) => Role::Node(config.authority.clone()),
            Self::Identity(config) => config.role(),
        }
    }

    /// The deployment's id.
    pub fn deployment(&self) -> &Id {
        each!(self, config => &config.deployment)
    }

    /// The health listener.
    pub fn health(&self) -> SocketAddr {
        each!(self, config => config.health)
    }

    /// The listeners' certificate and key.
    pub fn tls(&self) -> &TlsFiles {
        each!(self, config => &config.tls)
    }

    /// The store's folder.
    pub fn store(&self) -> &Path {
        each!(self, config => &config.store)
    }

    /// `[audit]`
    pub fn log(&self) -> &LogConfig {
        each!(self, config => &config.log)
    }

    /// `[backup]`
    pub fn backup(&self) -> Option<&BackupPlan> {
        each!(self, config => config.backup.as_ref())
    }

    /// `[register]`
    pub fn register(&self) -> &RegisterFiles {
        each!(self, config => &config.register)
    }

    /// What opens secrets that are more than a file.
    pub fn openers(&self) -> &Openers {
        each!(self, config => &config.openers)
    }

    /// Every file that it names.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        each!(self, config => config.named_files())
    }

    /// The audit secret's place.
    pub fn audit_secret(&self) -> &Deposit {
        match self {
            Self::Vault(config) => &config.secrets.audit,
            Self::Node(config) => &config.audit,
            Self::Identity(config) => &config.audit,
        }
    }

    /// The place of the key that signs checkpoints.
    pub fn checkpoint_key(&self) -> &Deposit {
        match self {
            Self::Vault(config) => &config.secrets.checkpoint,
            Self::Node(config) => &config.checkpoint,
            Self::Identity(config) => &config.checkpoint,
        }
    }

    /// The place of the journal secrets.
    pub fn journal_secrets(&self) -> &Deposit {
        match self {
            Self::Vault(config) => &config.secrets.journal,
            Self::Node(config) => &config.journal,
            Self::Identity(config) => &config.journal,
        }
    }

    /// The way to the vault, which a side that is not the vault has.
    pub fn vault(&self) -> Option<&ClientConfig> {
        match self {
            Self::Vault(_) => None,
            Self::Node(config) => Some(&config.vault),
            Self::Identity(config) => Some(&config.vault),
        }
    }
}
