//! The authoriser: decides who may do what. Use cases take a permit, and only this room makes
//! permits.
//!
//! ```compile_fail,E0451
//! # use std::sync::Arc;
//! # use cloison::{access::SectorPermit, register::RegisteredClient, vault::SectorState};
//! fn forge(client: Arc<RegisteredClient>, sector: Arc<SectorState>) -> SectorPermit {
//!     SectorPermit { client, sector } // private fields: only `access` makes one
//! }
//! ```

mod member;
mod standing;

use std::sync::Arc;

pub use member::{MemberPermit, MemberRole, member};
pub use standing::{
    AccountHolder, CallerStanding, KeyRefusal, UNKNOWN, actor, admitted, is_identity_source,
    listed, standing,
};

use crate::code::Code;
use crate::entity::{Entity, Role};
use crate::identifier::Scheme;
use crate::register::{
    Authority, Id, Officer, Operation, Register, RegisteredClient, RightsOfficer, SpkiDigest,
};
use crate::vault::{SectorState, Vault};

/// The sector system behind a key.
///
/// # Errors
/// [`Code::UnknownClient`] for a key that the register does not know, [`Code::Forbidden`] for any
/// other caller.
pub fn client(register: &Register, peer: SpkiDigest) -> Result<&Arc<RegisteredClient>, Code> {
    register
        .clients
        .get(&peer)
        .ok_or_else(|| stranger(register, peer))
}

/// Permission to ask for pseudonyms in one sector, with one scheme, for one purpose.
pub struct TokenizePermit {
    pub(crate) client: Arc<RegisteredClient>,
    pub(crate) sector: Arc<SectorState>,
    pub(crate) scheme: Arc<Scheme>,
    pub(crate) purpose: Option<Id>,
}

/// Authorises a tokenization.
///
/// A client that lacks the sector gets the same answer as for a sector that does not exist.
///
/// # Errors
/// [`Code::UnknownClient`], [`Code::Forbidden`], [`Code::UnknownSector`], [`Code::UnknownScheme`],
/// [`Code::UnknownPurpose`].
pub fn tokenize(
    vault: &Vault,
    peer: SpkiDigest,
    sector: &str,
    scheme: &str,
    purpose: Option<&str>,
) -> Result<TokenizePermit, Code> {
    let register = vault.register();
    let client = client(register, peer)?;
    if !client.operations.contains(&Operation::Tokenize) {
        return Err(Code::Forbidden);
    }
    let state = vault
        .sector(sector)
        .filter(|_| client.sectors.iter().any(|name| name == sector))
        .ok_or(Code::UnknownSector)?;
    let scheme = state
        .sector
        .schemes
        .iter()
        .find(|id| id.as_str() == scheme)
        .and_then(|id| register.schemes.get(id))
        .ok_or(Code::UnknownScheme)?;
    let purpose = match purpose {
        None => None,
        Some(text) => {
            let declared = state.sector.purposes.iter().find(|id| id.as_str() == text);
            Some(
                declared
                    .filter(|id| client.purposes.contains(id))
                    .cloned()
                    .ok_or(Code::UnknownPurpose)?,
            )
        }
    };
    Ok(TokenizePermit {
        client: client.clone(),
        sector: state.clone(),
        scheme: scheme.clone(),
        purpose,
    })
}

/// Permission for a sector system to do an operation other than tokenization in one of its sectors.
pub struct SectorPermit {
    pub(crate) client: Arc<RegisteredClient>,
    pub(crate) sector: Arc<SectorState>,
}

/// Authorises an operation of a sector system in a sector.
///
/// # Errors
/// [`Code::UnknownClient`], [`Code::Forbidden`], [`Code::UnknownSector`], as [`tokenize`].
pub fn in_sector(
    vault: &Vault,
    peer: SpkiDigest,
    sector: &str,
    operation: Operation,
) -> Result<SectorPermit, Code> {
    let client = client(vault.register(), peer)?;
    if !client.operations.contains(&operation) {
        return Err(Code::Forbidden);
    }
    let own = |_: &&Arc<SectorState>| client.sectors.iter().any(|name| name == sector);
    let state = vault
        .sector(sector)
        .filter(own)
        .ok_or(Code::UnknownSector)?;
    Ok(SectorPermit {
        client: client.clone(),
        sector: state.clone(),
    })
}

/// Permission to operate the vault.
pub struct OperatorPermit {
    pub(crate) operator: Id,
}

/// Authorises an operator.
///
/// # Errors
/// [`Code::UnknownClient`] for a key that the register does not know, [`Code::Forbidden`] for any
/// other caller.
pub fn operator(register: &Register, peer: SpkiDigest) -> Result<OperatorPermit, Code> {
    match register.operators.get(&peer) {
        Some(operator) => Ok(OperatorPermit {
            operator: operator.id.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// Permission to read the log.
pub struct AuditorPermit {
    pub(crate) auditor: Id,
}

impl AuditorPermit {
    /// The auditor.
    pub fn auditor(&self) -> &Id {
        &self.auditor
    }
}

/// Authorises an auditor.
///
/// # Errors
/// As [`operator`].
pub fn auditor(register: &Register, peer: SpkiDigest) -> Result<AuditorPermit, Code> {
    match register.auditors.get(&peer) {
        Some(auditor) => Ok(AuditorPermit {
            auditor: auditor.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// Permission to bring a statement of the commission. Its effect follows from its signatures, not
/// from the caller.
pub struct MessengerPermit {
    /// The caller, as the log names them.
    pub(crate) bearer: String,
    /// The auditor, if the caller is one: they see only inspections that name them.
    pub(crate) auditor: Option<Id>,
}

/// Authorises an auditor or an operator.
///
/// # Errors
/// As [`operator`].
pub fn messenger(register: &Register, peer: SpkiDigest) -> Result<MessengerPermit, Code> {
    match auditor(register, peer) {
        Ok(permit) => Ok(MessengerPermit {
            bearer: permit.auditor.to_string(),
            auditor: Some(permit.auditor),
        }),
        Err(_) => operator(register, peer).map(|permit| MessengerPermit {
            bearer: permit.operator.to_string(),
            auditor: None,
        }),
    }
}

/// Permission to serve persons' rights in some sectors.
pub struct RightsPermit {
    pub(crate) officer: Arc<RightsOfficer>,
}

/// Authorises a rights officer.
///
/// # Errors
/// As [`operator`].
pub fn rights_officer(register: &Register, peer: SpkiDigest) -> Result<RightsPermit, Code> {
    match register
        .rights_officers
        .values()
        .find(|officer| officer.certificate == peer)
    {
        Some(officer) => Ok(RightsPermit {
            officer: officer.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// The part of a log that a caller may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogReading {
    /// All of it: an auditor.
    Entries,
    /// Checkpoints and tiles of hashes: an authority's node, which checks that the log only grows.
    /// It may not read what other authorities and sector systems did.
    Hashes,
}

/// Authorises an auditor to read a log, and an authority's node or an identity source to read the
/// vault's.
///
/// # Errors
/// As [`operator`].
pub fn reader(entity: &Entity, peer: SpkiDigest) -> Result<LogReading, Code> {
    let (register, is_vault) = (entity.register(), *entity.role() == Role::Vault);
    match auditor(register, peer) {
        Ok(_) => Ok(LogReading::Entries),
        Err(_) if is_vault && side(register, peer).is_ok() => Ok(LogReading::Hashes),
        Err(code) => Err(code),
    }
}

/// Authorises those who may follow a log, whose entries leave sealed: its readers ([`reader`]), and
/// an operator of the vault, or a custodian of the node or of the identity source.
///
/// # Errors
/// As [`operator`].
pub fn follower(entity: &Entity, peer: SpkiDigest) -> Result<(), Code> {
    let register = entity.register();
    let is_keeper = match entity.role() {
        Role::Vault => operator(register, peer).is_ok(),
        Role::Node(authority) => custodian(register, authority, peer).is_ok(),
        Role::Identity(id) => identity_custodian(register, id, peer).is_ok(),
    };
    if is_keeper {
        return Ok(());
    }
    reader(entity, peer).map(drop)
}

/// Permission for an authority's node to ask the vault for a release.
pub struct NodePermit {
    pub(crate) authority: Arc<Authority>,
}

/// Authorises an authority's node.
///
/// # Errors
/// As [`operator`].
pub fn node(register: &Register, peer: SpkiDigest) -> Result<NodePermit, Code> {
    match register
        .authorities
        .values()
        .find(|authority| authority.node == peer)
    {
        Some(authority) => Ok(NodePermit {
            authority: authority.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// Permission for another side of the deployment to watch the vault's log, and to have its own
/// watched: an authority's node, or an identity source.
pub struct SidePermit {
    pub(crate) role: Role,
}

/// Authorises a side that calls the vault.
///
/// # Errors
/// As [`operator`].
pub fn side(register: &Register, peer: SpkiDigest) -> Result<SidePermit, Code> {
    let mut identities = register.identities.values();
    let role = match identities.find(|identity| identity.certificate == peer) {
        Some(identity) => Role::Identity(identity.id.clone()),
        None => Role::Node(node(register, peer)?.authority.id.clone()),
    };
    Ok(SidePermit { role })
}

/// Permission for the vault to have UTIs derived by an identity source.
pub struct VaultPermit {
    /// How the log names it.
    pub(crate) vault: Id,
}

/// Authorises the vault, at an identity source.
///
/// # Errors
/// As [`operator`].
pub fn vault(register: &Register, peer: SpkiDigest) -> Result<VaultPermit, Code> {
    match register
        .vault
        .as_ref()
        .filter(|vault| vault.certificate == peer)
    {
        Some(vault) => Ok(VaultPermit {
            vault: vault.id.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// Permission for an officer to ask their authority's node.
pub struct OfficerPermit {
    pub(crate) officer: Id,
}

/// Authorises an officer of `authority`.
///
/// # Errors
/// As [`operator`].
pub fn officer(
    register: &Register,
    authority: &Id,
    peer: SpkiDigest,
) -> Result<OfficerPermit, Code> {
    let officers = register
        .authorities
        .get(authority)
        .into_iter()
        .flat_map(|authority| authority.officers.values());
    match officers
        .into_iter()
        .find(|officer: &&Officer| officer.certificate == peer)
    {
        Some(officer) => Ok(OfficerPermit {
            officer: officer.id.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// Permission for a custodian to bring their share to their authority's node, or to their identity
/// source.
pub struct CustodianPermit {
    pub(crate) custodian: Id,
}

/// Authorises a custodian of `authority`.
///
/// # Errors
/// As [`operator`].
pub fn custodian(
    register: &Register,
    authority: &Id,
    peer: SpkiDigest,
) -> Result<CustodianPermit, Code> {
    let custodians = register
        .authorities
        .get(authority)
        .into_iter()
        .flat_map(|authority| authority.custodians.values());
    match custodians
        .into_iter()
        .find(|custodian| custodian.certificate == peer)
    {
        Some(custodian) => Ok(CustodianPermit {
            custodian: custodian.id.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// Authorises a custodian of the identity source `identity`.
///
/// # Errors
/// As [`operator`].
pub fn identity_custodian(
    register: &Register,
    identity: &Id,
    peer: SpkiDigest,
) -> Result<CustodianPermit, Code> {
    let source = register.identities.get(identity);
    let mut custodians = source.into_iter().flat_map(|one| one.custodians.values());
    match custodians.find(|custodian| custodian.certificate == peer) {
        Some(custodian) => Ok(CustodianPermit {
            custodian: custodian.id.clone(),
        }),
        None => Err(stranger(register, peer)),
    }
}

/// Permission to see whether an authority's node is sealed, and to seal it. Every custodian and
/// every officer has it, because the first who sees that something is wrong should seal. The
/// custodians can undo that.
pub struct SealPermit {
    pub(crate) actor: Id,
}

impl SealPermit {
    /// A custodian may seal.
    pub(crate) fn of(custodian: CustodianPermit) -> Self {
        Self {
            actor: custodian.custodian,
        }
    }
}

/// Authorises a custodian or an officer of `authority`.
///
/// # Errors
/// As [`operator`].
pub fn sealer(register: &Register, authority: &Id, peer: SpkiDigest) -> Result<SealPermit, Code> {
    let permit = custodian(register, authority, peer).map(|permit| SealPermit {
        actor: permit.custodian,
    });
    permit.or_else(|_| {
        officer(register, authority, peer).map(|permit| SealPermit {
            actor: permit.officer,
        })
    })
}

/// Permission to acknowledge, at an authority's node, that the vault's log lost entries at a
/// restore. Every custodian and every officer has it, because they answer for what the node opens.
/// It opens nothing without an order.
pub struct ResumePermit {
    pub(crate) actor: Id,
}

impl ResumePermit {
    /// A custodian may acknowledge.
    pub(crate) fn of(custodian: CustodianPermit) -> Self {
        Self {
            actor: custodian.custodian,
        }
    }
}

/// Authorises a custodian or an officer of `authority`.
///
/// # Errors
/// As [`operator`].
pub fn resumer(
    register: &Register,
    authority: &Id,
    peer: SpkiDigest,
) -> Result<ResumePermit, Code> {
    sealer(register, authority, peer).map(|permit| ResumePermit {
        actor: permit.actor,
    })
}

/// Permission to have an authority's node seal its segments to the keys that the register lists.
/// Every custodian and every officer has it, because the register alone decides to which keys.
pub struct RenewPermit {
    pub(crate) actor: Id,
}

/// Authorises a custodian or an officer of `authority`.
///
/// # Errors
/// As [`operator`].
pub fn renewer(register: &Register, authority: &Id, peer: SpkiDigest) -> Result<RenewPermit, Code> {
    sealer(register, authority, peer).map(|permit| RenewPermit {
        actor: permit.actor,
    })
}

/// Permission to bring a statement that suspends a register entry or lifts that, and to see what is
/// suspended. A statement's effect follows from its signatures, not from the caller.
pub struct SuspensionPermit {
    /// The caller, as the log names them.
    pub(crate) bearer: String,
}

/// Authorises operators and auditors, and at a node its officers and custodians.
///
/// # Errors
/// As [`operator`].
pub fn suspension_bearer(entity: &Entity, peer: SpkiDigest) -> Result<SuspensionPermit, Code> {
    register_reader(entity, peer).map(|permit| SuspensionPermit {
        bearer: permit.actor.to_string(),
    })
}

/// Permission to have a side read its register again, and to see which registers were in force.
/// What is signed decides what comes into force, not the caller.
pub struct RegisterPermit {
    pub(crate) actor: Id,
}

/// Authorises an operator at the vault, a custodian or an officer at their authority's node, and a
/// custodian at their identity source.
///
/// # Errors
/// As [`operator`].
pub fn register_keeper(entity: &Entity, peer: SpkiDigest) -> Result<RegisterPermit, Code> {
    let register = entity.register();
    match entity.role() {
        Role::Vault => operator(register, peer).map(|permit| permit.operator),
        Role::Node(authority) => sealer(register, authority, peer).map(|permit| permit.actor),
        Role::Identity(id) => identity_custodian(register, id, peer).map(|own| own.custodian),
    }
    .map(|actor| RegisterPermit { actor })
}

/// Authorises those, the operators and the auditors to see which registers were in force.
///
/// # Errors
/// As [`operator`].
pub fn register_reader(entity: &Entity, peer: SpkiDigest) -> Result<RegisterPermit, Code> {
    register_keeper(entity, peer).or_else(|_| {
        messenger(entity.register(), peer).and_then(|permit| {
            Id::parse(&permit.bearer)
                .map(|actor| RegisterPermit { actor })
                .ok_or(Code::Internal)
        })
    })
}

/// Permission to see what holds since a restore without places.
pub struct RestoreReadPermit(());

/// Authorises operators, at an authority's node its custodians and officers, and at an identity
/// source its custodians, who meet the refusals.
///
/// # Errors
/// As [`operator`].
pub fn restore_reader(entity: &Entity, peer: SpkiDigest) -> Result<RestoreReadPermit, Code> {
    let register = entity.register();
    let operator = operator(register, peer).map(drop);
    let allowed = operator.or_else(|code| match entity.role() {
        Role::Vault => Err(code),
        Role::Node(authority) => sealer(register, authority, peer).map(drop),
        Role::Identity(id) => identity_custodian(register, id, peer).map(drop),
    });
    allowed.map(RestoreReadPermit)
}

/// Permission to have a server's store backed up, and to see its backups.
pub struct BackupPermit {
    pub(crate) actor: Id,
}

/// Authorises an operator at the vault, a custodian at their identity source, and a custodian or an
/// officer at their authority's node: a node need not have custodians. The server's configuration
/// says where backups lie and which stay.
///
/// # Errors
/// As [`operator`].
pub fn backup_keeper(entity: &Entity, peer: SpkiDigest) -> Result<BackupPermit, Code> {
    let register = entity.register();
    match entity.role() {
        Role::Vault => operator(register, peer).map(|permit| permit.operator),
        Role::Node(authority) => sealer(register, authority, peer).map(|permit| permit.actor),
        Role::Identity(id) => identity_custodian(register, id, peer).map(|own| own.custodian),
    }
    .map(|actor| BackupPermit { actor })
}

/// Permission to drop, at the vault, recipients that the register no longer lists.
pub struct DropPermit {
    pub(crate) actor: Id,
    /// Limits the permit to one authority's sectors; `None`: all sectors.
    pub(crate) authority: Option<Id>,
}

/// Authorises an operator (in every sector) or an authority's node (where it is competent).
///
/// # Errors
/// As [`operator`].
pub fn dropper(register: &Register, peer: SpkiDigest) -> Result<DropPermit, Code> {
    match node(register, peer) {
        Ok(NodePermit { authority }) => Ok(DropPermit {
            actor: authority.id.clone(),
            authority: Some(authority.id.clone()),
        }),
        Err(_) => operator(register, peer).map(|permit| DropPermit {
            actor: permit.operator,
            authority: None,
        }),
    }
}

fn stranger(register: &Register, peer: SpkiDigest) -> Code {
    if actor(register, peer) == UNKNOWN {
        Code::UnknownClient
    } else {
        Code::Forbidden
    }
}

/// Permission to bring an act upon an order, and to see the orders that a side knows. An act's
/// effect follows from its signatures, not from the caller.
pub struct BearerPermit {
    /// The caller, as the log names them.
    pub(crate) bearer: String,
    /// Limits the permit to one authority's orders; `None`: all orders.
    pub(crate) authority: Option<Id>,
}

/// Authorises an operator (for every authority) or an authority's node (for its own), at the vault.
///
/// # Errors
/// As [`operator`].
pub fn bearer(register: &Register, peer: SpkiDigest) -> Result<BearerPermit, Code> {
    let own = node(register, peer).map(|permit| permit.authority.id.clone());
    match own {
        Ok(authority) => Ok(BearerPermit {
            bearer: authority.to_string(),
            authority: Some(authority),
        }),
        Err(_) => operator(register, peer).map(|permit| BearerPermit {
            bearer: permit.operator.to_string(),
            authority: None,
        }),
    }
}

/// Authorises an officer of `authority`, at its node.
///
/// # Errors
/// As [`operator`].
pub fn officer_bearer(
    register: &Register,
    authority: &Id,
    peer: SpkiDigest,
) -> Result<BearerPermit, Code> {
    let permit = officer(register, authority, peer)?;
    Ok(BearerPermit {
        bearer: permit.officer.to_string(),
        authority: Some(authority.clone()),
    })
}
