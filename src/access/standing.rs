//! Who is let in: what the register says of a caller's key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::code::Code;
use crate::entity::Entity;
use crate::refusal::Refusal;
use crate::register::{
    Authority, Id, Register, RegisteredClient, RegisteredIdentity, RegisteredVault, SpkiDigest,
    is_over,
};

/// How the log names a caller whose key the register does not have.
pub const UNKNOWN: &str = "unknown";

/// The entry of a register that has a key, also one that has ended.
enum KeyHolder<'r> {
    Client(&'r RegisteredClient),
    Operator(&'r Id),
    Auditor(&'r Id),
    RightsOfficer(&'r Id),
    Node(&'r Authority),
    /// An officer or a custodian.
    AuthorityMember(&'r Authority, &'r Id),
    Vault(&'r RegisteredVault),
    /// An identity source, or a custodian of it.
    Identity(&'r RegisteredIdentity, &'r Id),
}

impl<'r> KeyHolder<'r> {
    fn of(register: &'r Register, key: SpkiDigest) -> Option<Self> {
        if let Some(client) = register.clients.get(&key) {
            return Some(Self::Client(client));
        }
        if let Some(operator) = register.operators.get(&key) {
            return Some(Self::Operator(&operator.id));
        }
        if let Some(auditor) = register.auditors.get(&key) {
            return Some(Self::Auditor(auditor));
        }
        let mut rights = register.rights_officers.values();
        if let Some(officer) = rights.find(|officer| officer.certificate == key) {
            return Some(Self::RightsOfficer(&officer.id));
        }
        if let Some(vault) = register.vault.as_ref().filter(|one| one.certificate == key) {
            return Some(Self::Vault(vault));
        }
        let mut authorities = register.authorities.values();
        let mut identities = register.identities.values();
        authorities
            .find_map(|authority| Self::in_authority(authority, key))
            .or_else(|| identities.find_map(|identity| Self::of_identity(identity, key)))
    }

    fn of_identity(identity: &'r RegisteredIdentity, key: SpkiDigest) -> Option<Self> {
        let custodians = identity.custodians.values();
        let custodians = custodians.map(|custodian| (custodian.certificate, &custodian.id));
        std::iter::once((identity.certificate, &identity.id))
            .chain(custodians)
            .find(|(known, _)| *known == key)
            .map(|(_, id)| Self::Identity(identity, id))
    }

    fn in_authority(authority: &'r Authority, key: SpkiDigest) -> Option<Self> {
        if authority.node == key {
            return Some(Self::Node(authority));
        }
        let officers = authority.officers.values();
        let officers = officers.map(|officer| (officer.certificate, &officer.id));
        let custodians = authority.custodians.values();
        let mut members =
            officers.chain(custodians.map(|custodian| (custodian.certificate, &custodian.id)));
        members
            .find(|(known, _)| *known == key)
            .map(|(_, id)| Self::AuthorityMember(authority, id))
    }

    /// The id by which the log names it.
    fn id(&self) -> &'r Id {
        match self {
            Self::Client(client) => &client.id,
            Self::Node(authority) => &authority.id,
            Self::Vault(vault) => &vault.id,
            Self::Operator(id)
            | Self::Auditor(id)
            | Self::RightsOfficer(id)
            | Self::AuthorityMember(_, id)
            | Self::Identity(_, id) => id,
        }
    }

    fn account(&self) -> AccountHolder {
        match self {
            Self::Client(client) => AccountHolder::Organisation(client.organisation.clone()),
            Self::Operator(_) => AccountHolder::Operations,
            Self::Auditor(_) => AccountHolder::Commission,
            Self::RightsOfficer(_) => AccountHolder::Rights,
            Self::Node(authority) | Self::AuthorityMember(authority, _) => {
                AccountHolder::Authority(authority.id.clone())
            }
            Self::Vault(_) => AccountHolder::Vault,
            Self::Identity(identity, _) => AccountHolder::Identity(identity.id.clone()),
        }
    }

    /// [`CallerStanding::stops`].
    fn stops(&self) -> bool {
        matches!(
            self,
            Self::Operator(_) | Self::Node(_) | Self::AuthorityMember(..) | Self::Identity(..)
        )
    }
}

/// The caller, as the log names them.
pub fn actor(register: &Register, peer: SpkiDigest) -> String {
    KeyHolder::of(register, peer).map_or(UNKNOWN.to_owned(), |holder| holder.id().to_string())
}

/// The account to which a listener charges connections and requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccountHolder {
    /// A controller, by its id.
    Organisation(Id),
    /// An authority, by its id: its node, its officers and custodians.
    Authority(Id),
    /// The vault, at an identity source.
    Vault,
    /// An identity source, by its id, and its custodians.
    Identity(Id),
    /// The operators.
    Operations,
    /// The auditors.
    Commission,
    /// The rights officers.
    Rights,
    /// A single certificate, on a listener that uses no register (a witness's).
    Certificate(SpkiDigest),
    /// Any caller of a listener without TLS.
    Anybody,
}

/// What a listener knows about a caller before the first request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerStanding {
    /// The account to which its requests are charged.
    pub holder: AccountHolder,
    /// Whether it can stop something: bring an act upon an order, or seal a node. Such callers have
    /// a guaranteed share.
    pub stops: bool,
    /// The last day (UTC) of its entry, if the entry has one.
    pub until: Option<Date>,
}

/// Why a key is not admitted: in a handshake, once it has proved possession, and for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    /// The register has no entry with this key.
    Stranger,
    /// The key's entry was in force until the end of this day (UTC).
    Ended(Date),
    /// The key's entry is suspended.
    Suspended,
}

impl KeyRefusal {
    /// The code with which a request is refused.
    pub fn code(self) -> Code {
        match self {
            Self::Stranger => Code::UnknownClient,
            Self::Ended(_) => Code::KeyEnded,
            Self::Suspended => Code::Suspended,
        }
    }
}

impl From<KeyRefusal> for Refusal {
    fn from(refusal: KeyRefusal) -> Self {
        match refusal {
            KeyRefusal::Stranger | KeyRefusal::Suspended => Refusal::from(refusal.code()),
            KeyRefusal::Ended(day) => {
                Refusal::new(refusal.code(), format!("the entry ended on {day} (UTC)"))
            }
        }
    }
}

/// The caller behind a key, at the time `now`: who is let in, decided for each handshake and again
/// for each request, so that a connection outlives neither an entry nor its end.
///
/// # Errors
/// [`KeyRefusal`]
pub fn standing(
    register: &Register,
    peer: SpkiDigest,
    now: Timestamp,
) -> Result<CallerStanding, KeyRefusal> {
    let holder = KeyHolder::of(register, peer).ok_or(KeyRefusal::Stranger)?;
    match register.ended(peer, now) {
        Some(day) => Err(KeyRefusal::Ended(day)),
        None => Ok(CallerStanding {
            holder: holder.account(),
            stops: holder.stops(),
            until: register.key_terms.get(&peer).copied(),
        }),
    }
}

/// The caller behind a key at a side: as [`standing`], and not suspended. Asked in each handshake
/// and for each request.
///
/// # Errors
/// [`KeyRefusal`]
pub fn admitted(entity: &Entity, peer: SpkiDigest) -> Result<CallerStanding, KeyRefusal> {
    let standing = standing(entity.register(), peer, entity.latest_time())?;
    if !entity.suspends_nobody() && entity.suspended(&actor(entity.register(), peer), peer) {
        return Err(KeyRefusal::Suspended);
    }
    Ok(standing)
}

/// Whether a key is that of an identity source which the register in force has, and whose entry is
/// neither over nor suspended: the vault believes no other.
pub fn is_identity_source(entity: &Entity, key: SpkiDigest) -> bool {
    let mut identities = entity.register().identities.values();
    identities.any(|one| one.certificate == key) && admitted(entity, key).is_ok()
}

/// The same where a list of keys with their last days (UTC) takes the place of the register.
///
/// # Errors
/// [`KeyRefusal`]
pub fn listed(
    keys: &BTreeMap<SpkiDigest, Option<Date>>,
    peer: SpkiDigest,
    now: Timestamp,
) -> Result<CallerStanding, KeyRefusal> {
    let until = *keys.get(&peer).ok_or(KeyRefusal::Stranger)?;
    match until.filter(|until| is_over(*until, now)) {
        Some(day) => Err(KeyRefusal::Ended(day)),
        None => Ok(CallerStanding {
            holder: AccountHolder::Certificate(peer),
            stops: false,
            until,
        }),
    }
}
