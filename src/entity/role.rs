//! Which of the entities a process is, and what follows from that.

use ed25519_dalek::VerifyingKey;

use crate::register::{Id, Register};

/// The vault, an authority's node, or an identity source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The vault.
    Vault,
    /// The node of this authority.
    Node(Id),
    /// The identity source of that id.
    Identity(Id),
}

impl Role {
    /// `vault`, `node` or `identity`: as entries of the log name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Node(_) => "node",
            Self::Identity(_) => "identity",
        }
    }

    /// `vault`, `node/<authority>` or `identity/<id>`: as statements name it.
    pub fn local_name(&self) -> String {
        match self {
            Self::Vault => "vault".to_owned(),
            Self::Node(authority) => format!("node/{authority}"),
            Self::Identity(id) => format!("identity/{id}"),
        }
    }

    /// How sentences call it: `the vault`, `the node of court`, `the identity source trust`.
    pub fn called(&self) -> String {
        match self {
            Self::Vault => "the vault".to_owned(),
            Self::Node(authority) => format!("the node of {authority}"),
            Self::Identity(id) => format!("the identity source {id}"),
        }
    }

    /// Whether it is the vault.
    pub fn is_vault(&self) -> bool {
        *self == Self::Vault
    }

    /// The owner of its store and of its log: `<deployment>/` and its local name.
    pub fn owner(&self, deployment: &Id) -> String {
        format!("{deployment}/{}", self.local_name())
    }

    /// Every side whose log the register states a key for.
    pub fn all(register: &Register) -> impl Iterator<Item = (Role, VerifyingKey)> {
        let nodes = register.authorities.keys().cloned().map(Self::Node);
        let identities = register.identities.keys().cloned().map(Self::Identity);
        let all = std::iter::once(Self::Vault).chain(nodes).chain(identities);
        all.filter_map(|role| role.checkpoint_key(register).map(|key| (role, key)))
    }

    /// Whose store and log these are, by their owner.
    pub fn of_owner(owner: &str) -> Option<Self> {
        let (_, name) = owner.split_once('/')?;
        Self::of_local_name(name)
    }

    /// The role that a statement names.
    pub fn of_local_name(name: &str) -> Option<Self> {
        match name.split_once('/') {
            None => (name == "vault").then_some(Self::Vault),
            Some(("node", authority)) => Id::parse(authority).map(Self::Node),
            Some(("identity", id)) => Id::parse(id).map(Self::Identity),
            Some(_) => None,
        }
    }

    /// The key of its checkpoints, where the register states one.
    pub fn checkpoint_key(&self, register: &Register) -> Option<VerifyingKey> {
        match self {
            Self::Vault => register.vault_checkpoint_key,
            Self::Node(authority) => register.authorities.get(authority)?.checkpoint_key,
            Self::Identity(id) => Some(register.identities.get(id)?.checkpoint_key),
        }
    }

    /// The other sides whose keys the register states: they cosign this side's log, and it cosigns
    /// theirs.
    pub fn peers(&self, register: &Register) -> Vec<(Role, VerifyingKey)> {
        Self::all(register)
            .filter(|(other, _)| self.is_vault() != other.is_vault())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_leads_back_to_its_role() {
        let id = |text| Id::parse(text).unwrap();
        for role in [
            Role::Vault,
            Role::Node(id("court")),
            Role::Identity(id("trust")),
        ] {
            assert_eq!(Role::of_owner(&role.owner(&id("demo"))), Some(role));
        }
        for other in [
            "demo",
            "demo/vault/x",
            "demo/court",
            "demo/node",
            "demo/node/",
            "demo/identity/",
        ] {
            assert_eq!(Role::of_owner(other), None, "{other}");
        }
    }
}
