//! The authority node's state: an [`Entity`] with the keys of one authority.
//!
//! It holds no pseudonymisation secret and no storage key.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ed25519_dalek::VerifyingKey;

use crate::audit::OpenedEpoch;
use crate::audit::log::LogParts;
use crate::clock::Clock;
use crate::commit::PoisonHandler;
use crate::commit::small::SmallChunks;
use crate::entity::{
    Entity, EntityOpening, RegisterRows, Role, StartError, UnderRegister, WriterParts,
};
use crate::journal::followed::FollowedPlace;
use crate::keys::file::SecretKind;
use crate::keys::shares::ShareSet;
use crate::keys::{AuditSecret, JournalSecret};
use crate::refusal::Refusal;
use crate::register::{Authority, Id, Register};
use crate::safe::{KeySafe, SealTimes};
use crate::seal::journal::JournalCipher;
use crate::seal::segment::AuthorityPrivateKey;
use crate::store::Store;
use crate::store::index::Index;
use crate::system::lock::unpoisoned;

/// The public key that a pinned set makes.
fn pinned(id: &Id, set: &ShareSet) -> Vec<u8> {
    // A set of anything but one key of an authority has no public key that a register states.
    match set.secrets.as_slice() {
        [one] if one.kind == SecretKind::Authority && one.name == id.as_str() => {
            one.public.to_vec()
        }
        _ => vec![],
    }
}

/// Each key with its id.
fn by_id(keys: Vec<AuthorityPrivateKey>) -> Vec<(String, AuthorityPrivateKey)> {
    let with_id = |key: AuthorityPrivateKey| (key.id().to_owned(), key);
    keys.into_iter().map(with_id).collect()
}

/// Whose shares unseal a key.
struct KeyCustodians {
    key: Id,
    custodians: Vec<Id>,
    threshold: usize,
}

impl KeyCustodians {
    fn of((key, set): &(Id, ShareSet)) -> Self {
        Self {
            key: key.clone(),
            custodians: set.custodians.clone(),
            threshold: set.threshold,
        }
    }
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
    /// Versions of the journal secret.
    pub journal: Vec<(u32, JournalSecret)>,
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
    /// Every key that this node is configured with: its id, and its public half.
    stated_keys: Vec<(String, Vec<u8>)>,
    /// Of these, the keys in shares.
    custodians: Vec<KeyCustodians>,
    safe: KeySafe<AuthorityPrivateKey>,
    segment_keys: Vec<VerifyingKey>,
    followed: Mutex<Option<Arc<FollowedPlace>>>,
}

/// A node is an entity, with an authority's keys beside it.
impl Deref for Node {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.entity
    }
}

impl NodeCore {
    /// This node's authority in a register, which must state its keys and enough custodians.
    fn check(&self, register: &Register, id: &Id) -> Result<Arc<Authority>, Vec<StartError>> {
        let Some(authority) = register.authorities.get(id) else {
            return Err(vec![StartError::UnknownAuthority(id.clone())]);
        };
        let mut faults = vec![];
        for (id, public) in &self.stated_keys {
            let mut stated = authority.keys.iter();
            if !stated.any(|key| key.id.as_str() == id && key.public == *public) {
                faults.push(StartError::AuthorityKey(id.clone()));
            }
        }
        for set in &self.custodians {
            let known = |id: &&Id| authority.custodians.contains_key(*id);
            let able = set.custodians.iter().filter(known).count();
            if able < set.threshold {
                faults.push(StartError::Custodians {
                    key: set.key.to_string(),
                    able,
                    threshold: set.threshold,
                });
            }
        }
        if faults.is_empty() {
            Ok(authority.clone())
        } else {
            Err(faults)
        }
    }
}

/// Nothing can contradict a register at a node between its checks and its commit.
impl UnderRegister for Node {
    type Hold<'a> = ();

    fn hold(&self, _: &Register) -> Result<(), Refusal> {
        Ok(())
    }

    fn release((): ()) {}

    fn under(
        &self,
        entity: Arc<Entity>,
        _: &mut RegisterRows,
    ) -> Result<(Self, Vec<OpenedEpoch>), Vec<StartError>> {
        let authority = self.core.check(entity.register(), &self.authority.id)?;
        let node = Self {
            entity,
            authority,
            core: self.core.clone(),
        };
        Ok((node, vec![]))
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
            journal,
            log,
        } = parts;
        let keys_here = keys
            .iter()
            .map(|key| (key.id().to_owned(), key.public().to_vec()));
        let core = NodeCore {
            stated_keys: keys_here
                .chain(
                    shared
                        .iter()
                        .map(|(id, set)| (id.to_string(), pinned(id, set))),
                )
                .collect(),
            custodians: shared.iter().map(KeyCustodians::of).collect(),
            safe: KeySafe::new(by_id(keys), shared, times),
            segment_keys,
            followed: Mutex::default(),
        };
        let authority = core
            .check(&register, &authority)
            .map_err(StartError::first)?;
        let open = |owner: &str| Store::open(path, owner);
        let role = Role::Node(authority.id.clone());
        let mut opening = EntityOpening::of(role, register, log, clock.now(), open)?;
        let authority = match core.check(&opening.register, &authority.id) {
            Ok(before) if opening.waiting.is_some() => before,
            // Its keys or custodians changed, which takes this start.
            _ => {
                opening.wait_no_longer();
                authority
            }
        };
        // A node stores no mappings.
        let (index, small) = (Arc::new(Index::default()), SmallChunks::default());
        let started = opening.start(
            &audit,
            WriterParts {
                index,
                cipher: None,
                journal: Arc::new(JournalCipher::new(&journal)),
                small,
                clock,
                poisoned,
            },
        )?;
        let entity = started.begin(vec![])?;
        Ok(Self {
            entity,
            authority,
            core: Arc::new(core),
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
    pub fn safe(&self) -> &KeySafe<AuthorityPrivateKey> {
        &self.core.safe
    }

    /// Names the folder in which this node follows the vault's log. From then on the vault's
    /// answers carry what it lacks.
    pub fn follow(&self, place: Arc<FollowedPlace>) {
        *unpoisoned(self.core.followed.lock()) = Some(place);
    }

    /// The folder in which this node follows the vault's log, if it does.
    pub fn followed(&self) -> Option<Arc<FollowedPlace>> {
        unpoisoned(self.core.followed.lock()).clone()
    }

    pub(crate) fn segment_keys(&self) -> &[VerifyingKey] {
        &self.core.segment_keys
    }
}
