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

    /// `vault` or `node/<authority>`: as statements name it.
    pub fn local_name(&self) -> String {
        match self {
            Self::Vault => "vault".to_owned(),
            Self::Node(authority) => format!("node/{authority}"),
        }
    }

    /// Whether it is the vault.
    pub fn is_vault(&self) -> bool {
        *self == Self::Vault
    }

    /// The owner of its store and of its log: `<deployment>/vault`,
    /// `<deployment>/node/<authority>`.
    pub fn owner(&self, deployment: &Id) -> String {
        match self {
            Self::Vault => format!("{deployment}/vault"),
            Self::Node(authority) => format!("{deployment}/node/{authority}"),
        }
    }

    /// Whose store and log these are, by their owner.
    pub fn of_owner(owner: &str) -> Option<Self> {
        let (_, name) = owner.split_once('/')?;
        match name.split_once('/') {
            None => (name == "vault").then_some(Self::Vault),
            Some(("node", authority)) => Id::parse(authority).map(Self::Node),
            Some(_) => None,
        }
    }

    /// The key of its checkpoints, where the register states one.
    pub fn checkpoint_key(&self, register: &Register) -> Option<VerifyingKey> {
        match self {
            Self::Vault => register.vault_checkpoint_key,
            Self::Node(authority) => register.authorities.get(authority)?.checkpoint_key,
        }
    }

    /// The other sides whose keys the register states: they cosign this side's log, and it cosigns
    /// theirs.
    pub fn peers(&self, register: &Register) -> Vec<(Role, VerifyingKey)> {
        let stated = |role: Role| role.checkpoint_key(register).map(|key| (role, key));
        match self {
            Self::Vault => register
                .authorities
                .keys()
                .cloned()
                .map(Self::Node)
                .filter_map(stated)
                .collect(),
            Self::Node(_) => stated(Self::Vault).into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_leads_back_to_its_role() {
        let id = |text| Id::parse(text).unwrap();
        for role in [Role::Vault, Role::Node(id("court"))] {
            assert_eq!(Role::of_owner(&role.owner(&id("demo"))), Some(role));
        }
        for other in [
            "demo",
            "demo/vault/x",
            "demo/court",
            "demo/node",
            "demo/node/",
        ] {
            assert_eq!(Role::of_owner(other), None, "{other}");
        }
    }
}
