//! Which of the two entities a process is, and what follows from that.

use ed25519_dalek::VerifyingKey;

use crate::register::{Id, Register};

/// The vault, or an authority's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The vault.
    Vault,
    /// The node of this authority.
    Node(Id),
}

impl Role {
    /// `vault` or `node`: as entries of the log name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Node(_) => "node",
        }
    }

    /// The owner of its store and of its log: `<deployment>/vault`, `<deployment>/node/<authority>`.
    pub fn owner(&self, deployment: &Id) -> String {
        match self {
            Self::Vault => format!("{deployment}/vault"),
            Self::Node(authority) => format!("{deployment}/node/{authority}"),
        }
    }

    /// The key of its checkpoints, where the register states one.
    pub fn checkpoint_key(&self, register: &Register) -> Option<VerifyingKey> {
        match self {
            Self::Vault => register.vault_checkpoint_key,
            Self::Node(authority) => register.authorities.get(authority)?.checkpoint_key,
        }
    }

    /// Whether the register states the key of another side's log: then that side cosigns this one's.
    pub fn has_peer(&self, register: &Register) -> bool {
        match self {
            Self::Vault => register.authorities.values().any(|authority| authority.checkpoint_key.is_some()),
            Self::Node(_) => register.vault_checkpoint_key.is_some(),
        }
    }
}
