//! The vault's state: an [`Entity`] with the keys of pseudonymisation and the index of stored
//! mappings, put together at start.
//!
//! Use cases ([`crate::tokenize`], [`crate::epoch`], [`crate::reidentify`]) take a `&Vault`; no
//! HTTP here.

mod blinding;
mod frozen;
mod keeper;
mod quota;
mod rebuild;
pub(crate) mod sector;
pub(crate) mod stored;

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;

use crate::audit::log::LogParts;
use crate::clock::{Clock, ClockMark};
use crate::commit::PoisonHandler;
pub use crate::entity::StartError;
use crate::entity::{Entity, EntityOpening, Role, WriterParts};
use crate::keys::sector_secrets::SectorSecretStore;
use crate::keys::{
    AuditSecret, IdentityKeys, IdentitySecret, IndexKey, SectorRootKey, StoreKey, StoreSecret,
    UtiSource,
};
use crate::register::Register;
use crate::seal::chunk::ChunkCipher;
use crate::store::index::Index;
use crate::store::{Store, StoreError};
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
    pub sector: Box<dyn SectorSecretStore>,
    /// Signs segments; authority nodes pin its public half.
    pub segment: SigningKey,
    /// Signs the log's checkpoints, and where the last one is kept.
    pub log: LogParts,
}

/// Called now and then during a long start: how far it is, in words.
pub type StartProgress<'a> = &'a dyn Fn(String);

/// Where the vault's store lies, and what it may take of the machine.
#[derive(Debug, Clone)]
pub struct VaultHome {
    /// The store's folder.
    pub store: PathBuf,
    /// Bytes of memory for the index: three quarters for the tables, one for what is read of the
    /// index on the disk.
    pub index_memory: u64,
}

impl VaultHome {
    /// A store whose index takes what it needs.
    pub fn unbounded(store: &Path) -> Self {
        Self {
            store: store.to_owned(),
            index_memory: u64::MAX,
        }
    }

    /// Bytes for the tables.
    fn tables(&self) -> u64 {
        self.index_memory - self.index_memory / 4
    }

    /// Bytes for blocks and filters of the index on the disk.
    fn cache(&self) -> usize {
        // Where nothing is ever moved nothing is read.
        let unbounded = self.index_memory == u64::MAX;
        if unbounded {
            1 << 20
        } else {
            usize::try_from(self.index_memory / 4).unwrap_or(usize::MAX)
        }
    }
}

/// The vault, serving.
pub struct Vault {
    index: Arc<Index>,
    cipher: Arc<ChunkCipher>,
    /// Before the entity and its writer, which it must not outlive.
    keeper: Keeper,
    entity: Arc<Entity>,
    identity: Box<dyn UtiSource>,
    segment_signer: SigningKey,
    sector_secrets: Box<dyn SectorSecretStore>,
    roots: RwLock<HashMap<u32, SectorRootKey>>,
    sectors: HashMap<String, Arc<SectorState>>,
    frozen: FrozenFacts,
    quotas: Quotas,
    /// Unusual rates of release that were noticed since the start.
    pub(crate) release_alarms: AtomicU64,
    /// Pseudonyms that were asked for under orders since the start.
    pub(crate) released: AtomicU64,
    /// Pairs of old and new pseudonyms made since the start.
    pub(crate) migrated: AtomicU64,
    /// One look-up of rights officers at a time: counting it and its commit are one step.
    pub(crate) look_ups: Mutex<()>,
    /// One epoch change at a time.
    pub(crate) epoch_changes: Mutex<()>,
    /// One change of stored segments at a time: from reading a record to the commit of what comes
    /// in its place.
    pub(crate) segment_changes: Mutex<()>,
    former_segment_keys: OnceLock<Vec<VerifyingKey>>,
}

/// A vault is an entity, with pseudonymisation beside it.
impl Deref for Vault {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.entity
    }
}

impl Vault {
    /// Opens the store, checks the register against what was in force, rebuilds the index, starts
    /// the writer and logs the start. `advance` names the sectors that get a new epoch because the
    /// register changed their terms.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed in the store then, but for a store made anew.
    pub fn open(
        home: &VaultHome,
        register: Register,
        secrets: VaultSecrets,
        advance: &[SectorAdvance],
        clock: Arc<dyn Clock>,
        progress: StartProgress<'_>,
        poisoned: PoisonHandler,
    ) -> Result<Self, StartError> {
        let VaultSecrets {
            identity,
            audit,
            store: storage,
            sector: sector_secrets,
            segment,
            log,
        } = secrets;
        let open = |owner: &str| Store::open_with(&home.store, owner, home.cache());
        let mut opening = EntityOpening::of(Role::Vault, register, log, open)?;
        let (register, store) = (opening.register.clone(), opening.store.clone());
        let (roots, retired) = load_roots(&*sector_secrets, &store)?;
        let now = clock.now();
        check_advance(&register, &store, advance, now)?;
        let (sectors, opened) =
            sector::load_all(&store, &register, &roots, advance, now, &mut opening.batch)?;
        let keys = storage
            .iter()
            .map(|(version, key)| (*version, StoreKey::new(key)));
        let cipher = Arc::new(ChunkCipher::new(keys));
        let blinding = newest_blinding(&storage);
        let index = Arc::new(Index::open(&store, Arc::new(blinding), home.tables())?);
        let small = rebuild::rebuild(&store, &cipher, &index, progress)?;
        hold_migrated(&store, &sectors, &index)?;

        let writer = WriterParts {
            index: index.clone(),
            cipher: Some(cipher.clone()),
            small,
            clock: clock.clone(),
            poisoned,
        };
        let started = opening.start(&audit, writer)?;
        let mark = started.entity.committer().mark().clone();
        let quotas = Quotas::load(&register, &store, mark, clock.now())?;
        let entity = started.begin(opened)?;

        destroy_retired(&*sector_secrets, &retired);
        let parts = KeeperParts {
            entity: entity.clone(),
            index: index.clone(),
            cipher: cipher.clone(),
        };
        Ok(Self {
            keeper: Keeper::start(parts),
            index,
            cipher,
            entity,
            identity: Box::new(IdentityKeys::new(&identity)),
            segment_signer: segment,
            sector_secrets,
            roots: RwLock::new(roots),
            sectors,
            frozen: FrozenFacts::default(),
            quotas,
            release_alarms: AtomicU64::new(0),
            released: AtomicU64::new(0),
            migrated: AtomicU64::new(0),
            look_ups: Mutex::default(),
            epoch_changes: Mutex::default(),
            segment_changes: Mutex::default(),
            former_segment_keys: OnceLock::new(),
        })
    }

    /// What it shares with an authority's node.
    pub fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    /// The index of stored mappings.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What was done in the background since the start.
    pub fn kept(&self) -> &KeeperCounts {
        self.keeper.counts()
    }

    /// What is kept of a sector at run time.
    pub fn sector(&self, name: &str) -> Option<&Arc<SectorState>> {
        self.sectors.get(name)
    }

    /// Quotas of the organisations.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What was released since the start: pseudonyms asked for under orders, and alarms about
    /// unusual rates of it.
    pub fn release_counts(&self) -> (u64, u64) {
        (
            self.released.load(Ordering::Relaxed),
            self.release_alarms.load(Ordering::Relaxed),
        )
    }

    /// Pairs of old and new pseudonyms made since the start.
    pub fn migrated(&self) -> u64 {
        self.migrated.load(Ordering::Relaxed)
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

    /// Keeps the keeper from moving entries of the index and from merging chunks until the guard is
    /// dropped.
    pub(crate) fn pause_keeper(&self) -> PauseGuard<'_> {
        self.keeper.pause()
    }

    pub(crate) fn segment_signer(&self) -> &SigningKey {
        &self.segment_signer
    }

    /// Says with which keys this vault signed segments before it had the present one.
    pub fn know_former_segment_keys(&self, keys: Vec<VerifyingKey>) {
        let _ = self.former_segment_keys.set(keys);
    }

    /// The keys whose signature under a stored segment is the vault's own: what anybody else wrote
    /// into the store is not to be signed anew.
    pub(crate) fn segment_keys(&self) -> Vec<VerifyingKey> {
        let former = self
            .former_segment_keys
            .get()
            .into_iter()
            .flatten()
            .copied();
        std::iter::once(self.segment_signer.verifying_key())
            .chain(former)
            .collect()
    }

    pub(crate) fn sector_secrets(&self) -> &dyn SectorSecretStore {
        &*self.sector_secrets
    }

    /// Sectors at run time.
    pub(crate) fn sector_states(&self) -> impl Iterator<Item = &Arc<SectorState>> {
        self.sectors.values()
    }

    pub(crate) fn roots(&self) -> &RwLock<HashMap<u32, SectorRootKey>> {
        &self.roots
    }

    /// Wipes data keys of segments whose time is over, also where no request comes to replace them.
    pub fn sweep(&self) {
        self.sectors
            .values()
            .for_each(|sector| sector.sweep(self.now()));
    }
}

/// Refuses to advance a sector that the register does not know. Refuses any advance while the clock
/// is behind its mark, because an epoch's overlap with the one before begins at its opening.
fn check_advance(
    register: &Register,
    store: &Store,
    advance: &[SectorAdvance],
    now: Timestamp,
) -> Result<(), StartError> {
    if let Some(unknown) = advance
        .iter()
        .find(|asked| register.sector(&asked.sector).is_none())
    {
        return Err(StartError::UnknownSector(unknown.sector.clone()));
    }
    if !advance.is_empty() {
        ClockMark::at(store.clock_mark()?)
            .steady(now)
            .map_err(StartError::Clock)?;
    }
    Ok(())
}

/// The root keys of the sector secret's versions, and the versions that are here though they were
/// retired: copies that were put back, or retirements that were broken off.
fn load_roots(
    secrets: &dyn SectorSecretStore,
    store: &Store,
) -> Result<(HashMap<u32, SectorRootKey>, Vec<u32>), StartError> {
    let retired = store.retired_secrets()?;
    let (mut roots, mut left) = (HashMap::new(), vec![]);
    for (version, secret) in secrets
        .load()
        .map_err(|error| StartError::SectorSecrets(error.to_string()))?
    {
        if retired.contains(&version) {
            left.push(version);
        } else {
            roots.insert(version, SectorRootKey::new(&secret));
        }
    }
    Ok((roots, left))
}

fn destroy_retired(secrets: &dyn SectorSecretStore, versions: &[u32]) {
    for version in versions {
        match secrets.destroy(*version) {
            Ok(()) => tracing::warn!(
                version,
                "a retired version of the sector secret was here, and was destroyed"
            ),
            Err(error) => {
                tracing::error!(version, %error, "a retired version of the sector secret is still here")
            }
        }
    }
}

/// The key of the index's tags: under the newest version of the storage secret.
fn newest_blinding(storage: &[(u32, StoreSecret)]) -> KeyedBlinding {
    let newest = storage.iter().max_by_key(|(version, _)| *version);
    let (version, secret) = newest.expect("at least one version of the storage secret");
    KeyedBlinding {
        version: *version,
        key: IndexKey::new(secret),
    }
}

/// Keeps the partitions from being merged that a migration goes through in their order.
fn hold_migrated(
    store: &Store,
    sectors: &sector::Sectors,
    index: &Index,
) -> Result<(), StoreError> {
    for row in store.migrations()? {
        if let Some(state) = sectors
            .values()
            .find(|state| state.sector.uuid == row.sector)
        {
            let partition = index.partition((state.number, row.from));
            partition.hold();
            // Later chunks lie behind those that were migrated, even where the last of these is
            // gone.
            partition.set_sequence(
                partition
                    .sequence()
                    .max(row.next)
                    .max(row.open.map_or(0, |open| open.until)),
            );
        }
    }
    Ok(())
}
