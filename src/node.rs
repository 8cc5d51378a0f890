//! The authority node's state: its register copy, its keys, its store and its log.
//!
//! It holds no pseudonymisation secret and no storage key.

pub mod safe;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use ed25519_dalek::VerifyingKey;

use crate::audit::Event;
use crate::audit::cosign::{Cosigners, proven_time};
use crate::audit::log::{Log, LogParts};
use crate::clock::{Clock, ClockBehind};
use crate::commit::Committer;
use crate::commit::orders::OrderGate;
use crate::commit::small::SmallChunks;
use crate::keys::file::SecretKind;
use crate::keys::shares::ShareSet;
use crate::keys::{AuditKey, AuditSecret};
use crate::register::{Authority, Id, Register};
use crate::seal::segment::AuthorityPrivateKey;
use crate::store::index::Index;
use crate::store::{RowBatch, Space, Store};
use crate::vault::{StartError, accept_register, first_checkpoint};
use safe::{Safe, SealTimes};

/// The id and the public key that a pinned set is of.
fn pinned((id, set): &(Id, ShareSet)) -> (&str, &[u8]) {
    // A set of anything but one authority's key has no public key that a register states.
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
    /// Those that are in shares: their ids in the register, and the pinned sets. They start sealed.
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

/// The authority node, serving.
pub struct Node {
    register: Arc<Register>,
    authority: Arc<Authority>,
    safe: Safe,
    segment_keys: Vec<VerifyingKey>,
    audit_key: AuditKey,
    store: Arc<Store>,
    log: Arc<Log>,
    cosigners: OnceLock<Arc<Cosigners>>,
    committer: Committer,
    clock: Arc<dyn Clock>,
    space: Space,
    /// One at a time from reading what was seen and done upon an order to the commit of a reveal or an act.
    orders: OrderGate,
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
        poisoned: crate::commit::PoisonHandler,
    ) -> Result<Self, StartError> {
        let NodeParts { register, authority, keys, shared, times, segment_keys, audit, log } = parts;
        let authority = register.authorities.get(&authority).cloned().ok_or(StartError::UnknownAuthority(authority))?;
        for (id, public) in keys.iter().map(|key| (key.id(), key.public())).chain(shared.iter().map(pinned)) {
            let stated = authority.keys.iter().find(|stated| stated.id.as_str() == id);
            if stated.is_none_or(|stated| stated.public != public) {
                return Err(StartError::AuthorityKey(id.to_owned()));
            }
        }
        for (id, set) in &shared {
            let able = set.custodians.iter().filter(|id| authority.custodians.contains_key(*id)).count();
            if able < set.threshold {
                return Err(StartError::Custodians { key: id.to_string(), able, threshold: set.threshold });
            }
        }
        if authority.checkpoint_key.is_some_and(|stated| stated != log.key.verifying_key()) {
            return Err(StartError::CheckpointKey);
        }
        let owner = format!("{}/node/{}", register.deployment, authority.id);
        let store = Arc::new(Store::open(path, &owner)?);
        let mut batch = RowBatch::default();
        accept_register(&store, &register, &mut batch)?;
        let index = Arc::new(Index::default());
        let (log, appender) = Log::open(store.clone(), &owner, log, clock.now())?;
        let small = SmallChunks::default();
        let committer = Committer::start(store.clone(), appender, index, None, small, clock.clone(), poisoned)?;
        let start = Event::Start {
            entity: "node",
            program: env!("CARGO_PKG_VERSION"),
            register_version: register.version,
            register_digest: data_encoding::HEXLOWER.encode(&register.digest),
            opened: vec![],
        };
        let begun = committer.begin(batch, clock.now(), start).map_err(StartError::Audit)?;
        first_checkpoint(&log, &begun)?;
        Ok(Self {
            register: Arc::new(register),
            authority,
            safe: Safe::new(keys, shared, times),
            segment_keys,
            audit_key: AuditKey::new(&audit),
            store,
            log,
            cosigners: OnceLock::new(),
            committer,
            clock,
            space: Space::default(),
            orders: OrderGate::default(),
        })
    }

    /// The register copy.
    pub fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// Whose node it is.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The node's store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// From now on the vault must have cosigned this log of late before anything is opened.
    pub fn watch(&self, cosigners: Arc<Cosigners>) {
        let _ = self.cosigners.set(cosigners);
    }

    /// Those who cosign this log, once there are any.
    pub fn cosigners(&self) -> Option<&Arc<Cosigners>> {
        self.cosigners.get()
    }

    /// The time that this side and the vault have both reached ([`proven_time`]).
    pub fn proven_time(&self) -> jiff::Timestamp {
        proven_time(self.register.vault_checkpoint_key.is_some(), self.cosigners(), self.now())
    }

    /// The node's writer.
    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    /// The time.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// The time for a decision that a clock set back must not revive.
    ///
    /// # Errors
    /// [`ClockBehind`]
    pub fn steady_time(&self) -> Result<jiff::Timestamp, ClockBehind> {
        self.committer.mark().steady(self.now())
    }

    /// Whether the disk has less room than the reserve: then nothing is opened, and what room there is stays for revocations
    /// and for sealing the keys.
    pub fn is_short_of_space(&self) -> bool {
        self.space.is_short()
    }

    /// Looks at the disk's free space and notes whether the `reserve` (bytes) is touched. To be called every second or so.
    pub fn watch_space(&self, reserve: u64) {
        self.space.watch(&self.store, reserve);
    }

    /// Turns, places and acts of orders.
    pub(crate) fn orders(&self) -> &OrderGate {
        &self.orders
    }

    /// The node's keys, as far as it holds them.
    pub fn safe(&self) -> &Safe {
        &self.safe
    }

    pub(crate) fn segment_keys(&self) -> &[VerifyingKey] {
        &self.segment_keys
    }

    pub(crate) fn audit_key(&self) -> &AuditKey {
        &self.audit_key
    }
}
