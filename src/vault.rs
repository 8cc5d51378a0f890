//! The vault's state: register, keys, store, index and writer, put together at start.
//!
//! Use cases ([`crate::tokenize`], [`crate::epoch`], [`crate::reidentify`]) take a `&Vault`; no HTTP here.

mod blinding;
mod frozen;
mod keeper;
mod quota;
mod rebuild;
pub(crate) mod sector;
pub(crate) mod stored;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock};

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::audit::Event;
use crate::audit::cosign::{Cosigners, proven_time};
use crate::audit::log::{Log, LogError, LogParts};
use crate::clock::{Clock, ClockBehind, ClockMark};
use crate::code::Code;
use crate::commit::Committer;
use crate::commit::orders::OrderGate;
use crate::keys::shelf::SecretShelf;
use crate::keys::{
    AuditKey, AuditSecret, IdentityKeys, IdentitySecret, IndexKey, SectorRootKey, StoreKey, StoreSecret, UtiSource,
};
use crate::register::{Fault, Id, Register};
use crate::seal::chunk::ChunkCipher;
use crate::store::index::Index;
use crate::store::{RowBatch, Space, Store, StoreError};
use blinding::KeyedBlinding;
use frozen::FrozenFacts;
pub use keeper::KeeperCounts;
pub(crate) use keeper::PauseGuard;
use keeper::{Keeper, KeeperParts};
pub use quota::Quotas;
pub use sector::{Epoch, SectorAdvance, SectorState, Terms};

/// Everything secret that the vault starts with.
pub struct VaultSecrets {
    /// Root of UTIs.
    pub identity: IdentitySecret,
    /// Root of audit tags.
    pub audit: AuditSecret,
    /// Versions of the storage secret.
    pub store: Vec<(u32, StoreSecret)>,
    /// Versions of the sector secret, and where new ones are made.
    pub sector: Box<dyn SecretShelf>,
    /// Signs segments; authority nodes pin its public half.
    pub segment: SigningKey,
    /// Signs the log's checkpoints, and where the last one is kept.
    pub log: LogParts,
}

/// Why the vault does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open, or is not ours.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The register is older than one that was in force.
    #[error("register version {found} is older than version {seen}, which was in force; take the newer one")]
    RegisterOlder {
        /// Version of the file.
        found: u64,
        /// Version in force before.
        seen: u64,
    },
    /// Another register of the same version was in force.
    #[error("another register of version {0} was in force; a change needs a higher version")]
    RegisterChanged(u64),
    /// The register changes what is frozen since its first use.
    #[error("the register changes what is frozen since its first use:{}", list(.0))]
    Frozen(Vec<Fault>),
    /// The register changes what only a new epoch may change.
    #[error(
        "the register changes granularity, text form or reversibility of sector {0}, which needs a new epoch; \
         start once with --advance {0}"
    )]
    TermsChanged(String),
    /// A new epoch would end an overlap, and nobody said so.
    #[error(
        "epoch {epoch} of sector {sector} is still answered beside the present one, and a new epoch ends that for good; \
         wait until its overlap is over, or start once with --advance {sector}:{epoch}"
    )]
    EpochOverlaps {
        /// Sector name.
        sector: String,
        /// The epoch that still overlaps.
        epoch: u32,
    },
    /// The register forgets a text form that an epoch still has.
    #[error(
        "an epoch of sector {sector} has the text form {form}, which the register does not name; \
         add former-text-forms = [\"{form}\"] to it, so that orders can still name pseudonyms of that epoch"
    )]
    FormerTextForm {
        /// Sector name.
        sector: String,
        /// The form.
        form: &'static str,
    },
    /// A sector that is to have a new epoch is not in the register.
    #[error("the register knows no sector {0} to advance")]
    UnknownSector(String),
    /// A secret version that an epoch derives from is not here.
    #[error("sector secret version {version}, from which epoch {epoch} of {sector} derives, is not here")]
    SecretMissing {
        /// Sector name.
        sector: String,
        /// Its epoch.
        epoch: u32,
        /// The absent version.
        version: u32,
    },
    /// Secrets cannot be read or made.
    #[error("sector secrets: {0}")]
    Shelf(String),
    /// A chunk does not open: wrong storage secret, or a damaged store.
    #[error(
        "chunk {sequence} of sector number {sector}, epoch {epoch} does not open: {source}; is this the right store secret?"
    )]
    Chunk {
        /// Sector number.
        sector: u32,
        /// Epoch.
        epoch: u32,
        /// Sequence.
        sequence: u32,
        /// Why.
        source: crate::seal::SealError,
    },
    /// An order's copy of a mapping does not open.
    #[error("a copy that an order keeps does not open: {0}; is this the right store secret?")]
    Copy(crate::seal::SealError),
    /// The register does not know the authority that this node is configured for.
    #[error("the register knows no authority {0}")]
    UnknownAuthority(Id),
    /// An authority's private key does not fit the register.
    #[error("the private key {0} is not one that the register states for this authority")]
    AuthorityKey(String),
    /// Not enough of a key's custodians are in the register to unseal it.
    #[error("{able} custodians of the key {key} are in the register, and it takes {threshold} of them")]
    Custodians {
        /// The key's id.
        key: String,
        /// How many of the set's custodians the register knows.
        able: usize,
        /// How many shares it takes.
        threshold: usize,
    },
    /// A new epoch would begin at a time that is over.
    #[error("a sector is to have a new epoch, and {0}")]
    Clock(ClockBehind),
    /// The log cannot be gone on with.
    #[error(transparent)]
    Log(LogError),
    /// The register states another key for the log's checkpoints.
    #[error("the key that signs checkpoints (`[secrets] checkpoint`) is not the one that the register states")]
    CheckpointKey,
    /// Nothing can be logged.
    #[error("the audit log takes no entry ({0}); a vault does not start without one")]
    Audit(Code),
}

/// Called now and then during a long start: how far it is, in words.
pub type StartProgress<'a> = &'a dyn Fn(String);

/// Where the vault's store lies, and what it may take of the machine.
#[derive(Debug, Clone)]
pub struct Home {
    /// The store's folder.
    pub store: PathBuf,
    /// Bytes of memory for the index: three quarters for the tables, one for what is read of the index on the disk.
    pub index_memory: u64,
}

impl Home {
    /// A store whose index takes what it needs.
    pub fn unbounded(store: &Path) -> Self {
        Self { store: store.to_owned(), index_memory: u64::MAX }
    }

    /// Bytes for the tables.
    fn tables(&self) -> u64 {
        self.index_memory - self.index_memory / 4
    }

    /// Bytes for blocks and filters of the index on the disk.
    fn cache(&self) -> usize {
        // Where nothing is ever moved nothing is read.
        let unbounded = self.index_memory == u64::MAX;
        if unbounded { 1 << 20 } else { usize::try_from(self.index_memory / 4).unwrap_or(usize::MAX) }
    }
}

/// The vault, serving.
pub struct Vault {
    register: Arc<Register>,
    store: Arc<Store>,
    log: Arc<Log>,
    cosigners: OnceLock<Arc<Cosigners>>,
    index: Arc<Index>,
    cipher: Arc<ChunkCipher>,
    /// Before the writer, which it must not outlive.
    keeper: Keeper,
    committer: Arc<Committer>,
    clock: Arc<dyn Clock>,
    identity: Box<dyn UtiSource>,
    audit_key: AuditKey,
    segment_signer: SigningKey,
    shelf: Box<dyn SecretShelf>,
    roots: RwLock<HashMap<u32, SectorRootKey>>,
    sectors: HashMap<String, Arc<SectorState>>,
    frozen: FrozenFacts,
    space: Space,
    quotas: Quotas,
    /// One release at a time: counting against an order's limit and the commit of the release are one step.
    orders: OrderGate,
    /// Unusual rates of release that were noticed since the start.
    pub(crate) release_alarms: std::sync::atomic::AtomicU64,
    /// Pseudonyms that were asked for under orders since the start.
    pub(crate) released: std::sync::atomic::AtomicU64,
    /// Pairs of old and new pseudonyms made since the start.
    pub(crate) migrated: std::sync::atomic::AtomicU64,
    /// One look-up of rights officers at a time: counting it and its commit are one step.
    pub(crate) look_ups: std::sync::Mutex<()>,
    /// One epoch change at a time.
    pub(crate) epoch_changes: std::sync::Mutex<()>,
    /// One change of stored segments at a time: from reading a record to the commit of what comes in its place.
    pub(crate) segment_changes: std::sync::Mutex<()>,
    former_segment_keys: OnceLock<Vec<VerifyingKey>>,
}

impl Vault {
    /// Opens the store, checks the register against what was in force, rebuilds the index, starts the writer and logs the
    /// start. `advance` names the sectors that get a new epoch because the register changed their terms.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed in the store then, but for a store made anew.
    pub fn open(
        home: &Home,
        register: Register,
        secrets: VaultSecrets,
        advance: &[SectorAdvance],
        clock: Arc<dyn Clock>,
        progress: StartProgress<'_>,
        poisoned: crate::commit::PoisonHandler,
    ) -> Result<Self, StartError> {
        let owner = format!("{}/vault", register.deployment);
        let store = Arc::new(Store::open_with(&home.store, &owner, home.cache())?);
        if register.vault_checkpoint_key.is_some_and(|stated| stated != secrets.log.key.verifying_key()) {
            return Err(StartError::CheckpointKey);
        }
        let mut batch = RowBatch::default();
        accept_register(&store, &register, &mut batch)?;

        let retired = store.retired_secrets()?;
        let mut left = vec![];
        let mut roots: HashMap<u32, SectorRootKey> = HashMap::new();
        for (version, secret) in secrets.sector.load().map_err(|e| StartError::Shelf(e.to_string()))? {
            match retired.contains(&version) {
                true => left.push(version),
                false => drop(roots.insert(version, SectorRootKey::new(&secret))),
            }
        }
        if let Some(unknown) = advance.iter().find(|asked| register.sector(&asked.sector).is_none()) {
            return Err(StartError::UnknownSector(unknown.sector.clone()));
        }
        if !advance.is_empty() {
            // The overlap with the epoch before begins now.
            ClockMark::at(store.clock_mark()?).steady(clock.now()).map_err(StartError::Clock)?;
        }
        let (sectors, opened) = sector::load_all(&store, &register, &roots, advance, clock.now(), &mut batch)?;

        let blinding = secrets.store.iter().max_by_key(|(version, _)| *version);
        let blinding =
            blinding.map(|(version, secret)| KeyedBlinding { version: *version, key: IndexKey::new(secret) });
        let store_keys = secrets.store.iter().map(|(version, secret)| (*version, StoreKey::new(secret)));
        let cipher = Arc::new(ChunkCipher::new(store_keys));
        let blinding = Arc::new(blinding.expect("at least one version of the storage secret"));
        let index = Arc::new(Index::open(&store, blinding, home.tables())?);
        let small = rebuild::rebuild(&store, &cipher, &index, progress)?;
        // What somebody goes through in its order is not merged.
        for row in store.migrations()? {
            if let Some(state) = sectors.values().find(|state| state.sector.uuid == row.sector) {
                let partition = index.partition((state.number, row.from));
                partition.hold();
                // What comes later lies behind what was gone through, even if the last chunk of that is no more.
                partition.set_sequence(partition.sequence().max(row.next).max(row.open.map_or(0, |open| open.until)));
            }
        }
        let (log, appender) = Log::open(store.clone(), &owner, secrets.log, clock.now())?;
        let (wrap, ours) = (Some(cipher.clone()), index.clone());
        let committer = Committer::start(store.clone(), appender, ours, wrap, small, clock.clone(), poisoned)?;
        let quotas = Quotas::load(&register, &store, committer.mark().clone(), clock.now())?;
        let start = Event::Start {
            entity: "vault",
            program: env!("CARGO_PKG_VERSION"),
            register_version: register.version,
            register_digest: data_encoding::HEXLOWER.encode(&register.digest),
            opened,
        };
        // Only now: a start that failed on any of the above has put no register in force and opened no epoch.
        let begun = committer.begin(batch, clock.now(), start).map_err(StartError::Audit)?;
        first_checkpoint(&log, &begun)?;

        // Retired, and here again (or still): a copy that somebody put back, or a retirement that was broken off.
        for version in left {
            match secrets.sector.destroy(version) {
                Ok(()) => tracing::warn!(version, "a retired version of the sector secret was here, and was destroyed"),
                Err(error) => tracing::error!(version, %error, "a retired version of the sector secret is still here"),
            }
        }

        let committer = Arc::new(committer);
        let keeper = Keeper::start(KeeperParts {
            store: store.clone(),
            index: index.clone(),
            cipher: cipher.clone(),
            committer: committer.clone(),
        });
        Ok(Self {
            register: Arc::new(register),
            store,
            log,
            cosigners: OnceLock::new(),
            index,
            cipher,
            keeper,
            committer,
            clock,
            identity: Box::new(IdentityKeys::new(&secrets.identity)),
            audit_key: AuditKey::new(&secrets.audit),
            segment_signer: secrets.segment,
            shelf: secrets.sector,
            roots: RwLock::new(roots),
            sectors,
            frozen: FrozenFacts::default(),
            space: Space::default(),
            quotas,
            orders: OrderGate::default(),
            release_alarms: std::sync::atomic::AtomicU64::new(0),
            released: std::sync::atomic::AtomicU64::new(0),
            migrated: std::sync::atomic::AtomicU64::new(0),
            look_ups: std::sync::Mutex::default(),
            epoch_changes: std::sync::Mutex::default(),
            segment_changes: std::sync::Mutex::default(),
            former_segment_keys: OnceLock::new(),
        })
    }

    /// The register in force.
    pub fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// From now on the other side must have cosigned this log of late before anything is released.
    pub fn watch(&self, cosigners: Arc<Cosigners>) {
        let _ = self.cosigners.set(cosigners);
    }

    /// Those who cosign this log, once there are any.
    pub fn cosigners(&self) -> Option<&Arc<Cosigners>> {
        self.cosigners.get()
    }

    /// The time that this side and an authority's node have both reached ([`proven_time`]).
    pub fn proven_time(&self) -> jiff::Timestamp {
        let has_peer = self.register.authorities.values().any(|authority| authority.checkpoint_key.is_some());
        proven_time(has_peer, self.cosigners(), self.now())
    }

    /// The index of stored mappings.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What was done in the background since the start.
    pub fn kept(&self) -> &KeeperCounts {
        self.keeper.counts()
    }

    /// The writer.
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

    /// What is kept of a sector at run time.
    pub fn sector(&self, name: &str) -> Option<&Arc<SectorState>> {
        self.sectors.get(name)
    }

    /// Mappings that a sector has in the store, in all its epochs.
    pub fn mappings(&self, sector: &str) -> Option<u64> {
        let number = self.sector(sector)?.number;
        let of_sector = self.index.partitions().into_iter().filter(|((found, _), _)| *found == number);
        Some(of_sector.map(|(_, partition)| partition.entries()).sum())
    }

    /// Quotas of the organisations.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Turns, places and acts of orders.
    pub(crate) fn orders(&self) -> &OrderGate {
        &self.orders
    }

    /// What was released since the start: pseudonyms asked for under orders, and alarms about unusual rates of it.
    pub fn release_counts(&self) -> (u64, u64) {
        use std::sync::atomic::Ordering::Relaxed;
        (self.released.load(Relaxed), self.release_alarms.load(Relaxed))
    }

    /// Pairs of old and new pseudonyms made since the start.
    pub fn migrated(&self) -> u64 {
        self.migrated.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn frozen(&self) -> &FrozenFacts {
        &self.frozen
    }

    pub(crate) fn utis(&self) -> &dyn UtiSource {
        &*self.identity
    }

    pub(crate) fn cipher(&self) -> &ChunkCipher {
        &self.cipher
    }

    pub(crate) fn shared_index(&self) -> Arc<Index> {
        self.index.clone()
    }

    pub(crate) fn shared_cipher(&self) -> Arc<ChunkCipher> {
        self.cipher.clone()
    }

    /// Keeps the keeper from moving entries of the index and from merging chunks until the guard is dropped.
    pub(crate) fn pause_keeper(&self) -> PauseGuard<'_> {
        self.keeper.pause()
    }

    pub(crate) fn audit_key(&self) -> &AuditKey {
        &self.audit_key
    }

    pub(crate) fn segment_signer(&self) -> &SigningKey {
        &self.segment_signer
    }

    /// Says with which keys this vault signed segments before it had the present one.
    pub fn know_former_segment_keys(&self, keys: Vec<VerifyingKey>) {
        let _ = self.former_segment_keys.set(keys);
    }

    /// The keys whose signature under a stored segment is the vault's own: what anybody else wrote into the store is not to
    /// be signed anew.
    pub(crate) fn segment_keys(&self) -> Vec<VerifyingKey> {
        let former = self.former_segment_keys.get().into_iter().flatten().copied();
        std::iter::once(self.segment_signer.verifying_key()).chain(former).collect()
    }

    pub(crate) fn shelf(&self) -> &dyn SecretShelf {
        &*self.shelf
    }

    /// Sectors at run time.
    pub(crate) fn sector_states(&self) -> impl Iterator<Item = &Arc<SectorState>> {
        self.sectors.values()
    }

    pub(crate) fn roots(&self) -> &RwLock<HashMap<u32, SectorRootKey>> {
        &self.roots
    }

    /// Whether the disk has less room than the reserve that what was let in, and the log, need.
    pub fn is_short_of_space(&self) -> bool {
        self.space.is_short()
    }

    /// Looks at the disk's free space and notes whether the `reserve` (bytes) is touched. To be called every second or so.
    pub fn watch_space(&self, reserve: u64) {
        self.space.watch(&self.store, reserve);
    }

    /// Wipes data keys of segments whose time is over, also where no request comes to replace them.
    pub fn sweep(&self) {
        self.sectors.values().for_each(|sector| sector.sweep(self.now()));
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Store(error) => Self::Store(error),
            error => Self::Log(error),
        }
    }
}

/// How long a start waits for the checkpoint over its entry.
const FIRST_CHECKPOINT: std::time::Duration = std::time::Duration::from_secs(10);

/// Nobody is served before a checkpoint covers the entry of the start.
pub(crate) fn first_checkpoint(log: &Log, start: &crate::audit::AuditReceipt) -> Result<(), StartError> {
    if log.covering(start, FIRST_CHECKPOINT).is_none() {
        tracing::error!(why = log.trouble(), "no checkpoint covers the start");
        return Err(StartError::Audit(Code::AuditUnavailable));
    }
    Ok(())
}

/// Checks the register against the one that was in force and against every frozen fact; notes what is new.
pub(crate) fn accept_register(store: &Store, register: &Register, batch: &mut RowBatch) -> Result<(), StartError> {
    match store.register()? {
        Some((seen, _)) if register.version < seen => {
            return Err(StartError::RegisterOlder { found: register.version, seen });
        }
        Some((seen, digest)) if register.version == seen && digest != register.digest => {
            return Err(StartError::RegisterChanged(seen));
        }
        Some((seen, _)) if register.version == seen => {}
        _ => store.put_register(batch, register.version, &register.digest),
    }
    let used = store.all_frozen()?;
    let changed = register.changed_facts(used.iter().map(|(key, digest)| (key.as_str(), digest)));
    if changed.is_empty() { Ok(()) } else { Err(StartError::Frozen(changed)) }
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}
