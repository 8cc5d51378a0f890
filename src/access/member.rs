//! Who a caller is in the deployment, whatever their role: for what every registered key may ask.

use std::sync::Arc;

use crate::code::Code;
use crate::register::{
    Authority, Id, Register, RegisteredClient, RegisteredIdentity, RightsOfficer, SpkiDigest,
};

/// The part that a caller has in the deployment.
#[derive(Debug, Clone)]
pub enum MemberRole {
    /// A sector system.
    Client(Arc<RegisteredClient>),
    /// One who runs the servers.
    Operator,
    /// One who reads the logs.
    Auditor,
    /// One who executes people's rights.
    RightsOfficer(Arc<RightsOfficer>),
    /// The node of an authority.
    Node(Arc<Authority>),
    /// An officer of an authority.
    Officer(Arc<Authority>),
    /// A custodian of an authority.
    Custodian(Arc<Authority>),
    /// The vault, which calls identity sources.
    Vault,
    /// An identity source.
    Identity(Arc<RegisteredIdentity>),
    /// A custodian of an identity source.
    IdentityCustodian(Arc<RegisteredIdentity>),
}

/// Permission to know what a member of the deployment may know: the caller is one.
pub struct MemberPermit {
    pub(crate) id: Id,
    pub(crate) role: MemberRole,
}

/// The member behind a key.
///
/// # Errors
/// [`Code::UnknownClient`] for a key that the register does not know.
pub fn member(register: &Register, peer: SpkiDigest) -> Result<MemberPermit, Code> {
    let known = |id: &Id, role| {
        let id = id.clone();
        Ok(MemberPermit { id, role })
    };
    if let Some(client) = register.clients.get(&peer) {
        return known(&client.id, MemberRole::Client(client.clone()));
    }
    if let Some(operator) = register.operators.get(&peer) {
        return known(&operator.id, MemberRole::Operator);
    }
    if let Some(auditor) = register.auditors.get(&peer) {
        return known(auditor, MemberRole::Auditor);
    }
    let mut rights = register.rights_officers.values();
    if let Some(officer) = rights.find(|officer| officer.certificate == peer) {
        return known(&officer.id, MemberRole::RightsOfficer(officer.clone()));
    }
    for authority in register.authorities.values() {
        if authority.node == peer {
            return known(&authority.id, MemberRole::Node(authority.clone()));
        }
        let mut officers = authority.officers.values();
        if let Some(officer) = officers.find(|officer| officer.certificate == peer) {
            return known(&officer.id, MemberRole::Officer(authority.clone()));
        }
        let mut custodians = authority.custodians.values();
        if let Some(custodian) = custodians.find(|custodian| custodian.certificate == peer) {
            return known(&custodian.id, MemberRole::Custodian(authority.clone()));
        }
    }
    if let Some(vault) = register
        .vault
        .as_ref()
        .filter(|one| one.certificate == peer)
    {
        return known(&vault.id, MemberRole::Vault);
    }
    for identity in register.identities.values() {
        if identity.certificate == peer {
            return known(&identity.id, MemberRole::Identity(identity.clone()));
        }
        let mut custodians = identity.custodians.values();
        if let Some(custodian) = custodians.find(|custodian| custodian.certificate == peer) {
            let role = MemberRole::IdentityCustodian(identity.clone());
            return known(&custodian.id, role);
        }
    }
    Err(Code::UnknownClient)
}
