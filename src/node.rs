//! The authority node's state: an [`Entity`] with the keys of one authority.
//!
//! It holds no pseudonymisation secret and no storage key.

pub mod safe;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

use crate::audit::log::LogParts;
use crate::clock::Clock;
use crate::commit::PoisonHandler;
use crate::commit::small::SmallChunks;
use crate::entity::{Entity, EntityOpening, Role, StartError, WriterParts};
use crate::keys::AuditSecret;
use crate::keys::file::SecretKind;
use crate::keys::shares::ShareSet;
use crate::register::{Authority, Id, Register};
use crate::seal::segment::AuthorityPrivateKey;
use crate::store::Store;
use crate::store::index::Index;
use safe::{KeySafe, SealTimes};

/// The id and the public key of the key that a pinned set makes.
fn pinned((id, set): &(Id, ShareSet)) -> (&str, &[u8]) {
    // A set of anything but one key of an authority has no public key that a register states.
    let public: &[u8] = match set.secrets.as_slice() {
        [one] if one.kind == SecretKind::Authority && one.name == id.as_str() => &one.public,
        _ => &[],
    };
    (id.as_str(), public)
}

/// Everything that the node starts with, beside its store.
pub struct NodeParts {
    /// The register copy.
    pub register: Register,
    /// Which authority this node is.
    pub authority: Id,
    /// The authority's private keys that were in this machine's own custody.
    pub keys: Vec<AuthorityPrivateKey>,
    /// The keys in shares: their ids in the register, and the pinned sets. They start sealed.
    pub shared: Vec<(Id, ShareSet)>,
    /// When shares are forgotten and keys in shares sealed again.
    pub times: SealTimes,
    /// The vault's segment keys, pinned.
    pub segment_keys: Vec<VerifyingKey>,
    /// Root of audit tags.
    pub audit: AuditSecret,
    /// Signs the log's checkpoints, and where the last one is kept.
    pub log: LogParts,
}

/// The authority node, serving under one register.
///
/// A change of the register makes another `Node` over the same keys and store; see
/// [`InForce`](crate::entity::InForce). A request keeps the one that it began with.
pub struct Node {
    entity: Arc<Entity>,
    authority: Arc<Authority>,
    core: Arc<NodeCore>,
}

/// What stays when the register changes.
struct NodeCore {
    safe: KeySafe,
    segment_keys: Vec<VerifyingKey>,
}

/// A node is an entity, with an authority's keys beside it.
impl Deref for Node {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.entity
    }
}

impl AsRef<Arc<Entity>> for Node {
    fn as_ref(&self) -> &Arc<Entity> {
        &self.entity
    }
}

impl Node {
    /// Opens the node's store, checks register and keys, starts the writer and logs the start.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(
        path: &Path,
        parts: NodeParts,
        clock: Arc<dyn Clock>,
        poisoned: PoisonHandler,
    ) -> Result<Self, StartError> {
        let NodeParts {
            register,
            authority,
            keys,
            shared,
            times,
            segment_keys,
            audit,
            log,
        } = parts;
        let authority = register
            .authorities
            .get(&authority)
            .cloned()
            .ok_or(StartError::UnknownAuthority(authority))?;
        for (id, public) in keys
            .iter()
            .map(|key| (key.id(), key.public()))
            .chain(shared.iter().map(pinned))
        {
            let stated = authority
                .keys
                .iter()
                .find(|stated| stated.id.as_str() == id);
            if stated.is_none_or(|stated| stated.public != public) {
                return Err(StartError::AuthorityKey(id.to_owned()));
            }
        }
        for (id, set) in &shared {
            let able = set
                .custodians
                .iter()
                .filter(|id| authority.custodians.contains_key(*id))
                .count();
            if able < set.threshold {
                return Err(StartError::Custodians {
                    key: id.to_string(),
                    able,
                    threshold: set.threshold,
                });
            }
        }
        let open = |owner: &str| Store::open(path, owner);
        let opening = EntityOpening::of(Role::Node(authority.id.clone()), register, log, open)?;
        // A node stores no mappings.
        let (index, small) = (Arc::new(Index::default()), SmallChunks::default());
        let started = opening.start(
            &audit,
            WriterParts {
                index,
                cipher: None,
                small,
                clock,
                poisoned,
            },
        )?;
        let entity = started.begin(vec![])?;
        Ok(Self {
            entity,
            authority,
            core: Arc::new(NodeCore {
                safe: KeySafe::new(keys, shared, times),
                segment_keys,
            }),
        })
    }

    /// The entity: what a node shares with the vault.
    pub fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    /// The authority that this node belongs to.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The node's keys, as far as it holds them.
    pub fn safe(&self) -> &KeySafe {
        &self.core.safe
    }

    pub(crate) fn segment_keys(&self) -> &[VerifyingKey] {
        &self.core.segment_keys
    }
}
