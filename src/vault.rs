//! The vault's state: an [`Entity`] with the keys of pseudonymisation and the index of stored
//! mappings.
//!
//! Use cases ([`crate::tokenize`], [`crate::epoch`], [`crate::reidentify`]) take a `&Vault`; no
//! HTTP here.

mod blinding;
mod counts;
mod frozen;
mod keeper;
mod pending;
mod rebuild;
pub(crate) mod sector;
pub(crate) mod stored;
mod under;
mod usable;

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;

use crate::audit::log::LogParts;
use crate::clock::{Clock, ClockMark};
use crate::code::Code;
use crate::commit::PoisonHandler;
pub use crate::entity::StartError;
use crate::entity::{Entity, EntityOpening, RegisterRows, Role, WriterParts};
use crate::keys::sector_secrets::SectorSecretStore;
use crate::keys::{
    AuditSecret, IdentityCheck, IndexKey, JournalSecret, SectorRootKey, StoreKey, StoreSecret,
};
use crate::quota::{self, Quotas};
use crate::refusal::Refusal;
use crate::register::{QuotaShare, Register};
use crate::seal::chunk::ChunkCipher;
use crate::seal::journal::JournalCipher;
use crate::store::index::Index;
use crate::store::{Store, StoreError};
use crate::system::lock::{intact, unpoisoned};
use crate::utis::UtiSource;
use blinding::KeyedBlinding;
pub use counts::VaultCounts;
use frozen::FrozenFacts;
pub use keeper::KeeperCounts;
pub(crate) use keeper::PauseGuard;
use keeper::{Keeper, KeeperParts};
pub(crate) use pending::{PendingAct, ROTATE};
use pending::{PendingActs, UnheldActs};
pub use sector::{Epoch, SectorAdvance, SectorState, Terms};
use sector::{SectorLoader, Sectors};
pub(crate) use usable::UsableVersions;

/// The secrets that the vault starts with.
pub struct VaultSecrets {
    /// Where UTIs come from: the identity secret, or identity sources.
    pub identity: Box<dyn UtiSource>,
    /// Root of audit tags.
    pub audit: AuditSecret,
    /// Versions of the storage secret.
    pub store: Vec<(u32, StoreSecret)>,
    /// Versions of the journal secret.
    pub journal: Vec<(u32, JournalSecret)>,
    /// Keeps the versions of the sector secret, and makes new ones.
    pub sector: Box<dyn SectorSecretStore>,
    /// Signs segments; authority nodes pin its public half.
    pub segment: SigningKey,
    /// Signs the log's checkpoints, and where the last one is kept.
    pub log: LogParts,
}

/// Called during a long start with its progress, in words.
pub type StartProgress<'a> = &'a dyn Fn(String);

/// Where the vault's store lies, and how much memory its index may take.
#[derive(Debug, Clone)]
pub struct VaultHome {
    /// The store's folder.
    pub store: PathBuf,
    /// Bytes of memory for the index: three quarters for the tables in memory, a quarter for
    /// caching the index on the disk.
    pub index_memory: u64,
}

impl VaultHome {
    /// A store whose index may take any amount of memory.
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
        // An unbounded index is never moved to the disk, so there is nothing to cache.
        let unbounded = self.index_memory == u64::MAX;
        if unbounded {
            1 << 20
        } else {
            usize::try_from(self.index_memory / 4).unwrap_or(usize::MAX)
        }
    }
}

/// The vault, serving under one register.
///
/// A change of the register makes another `Vault` over the same keys, index and store; see
/// [`InForce`](crate::entity::InForce). A request keeps the one that it began with.
pub struct Vault {
    /// Declared before the entity, so that the keeper is dropped, and its thread ends, before the
    /// writer.
    core: Arc<VaultCore>,
    entity: Arc<Entity>,
    sectors: Sectors,
    quotas: Quotas,
}

/// What stays when the register changes.
struct VaultCore {
    index: Arc<Index>,
    cipher: Arc<ChunkCipher>,
    keeper: Keeper,
    identity: Box<dyn UtiSource>,
    segment_signer: SigningKey,
    sector_secrets: Box<dyn SectorSecretStore>,
    roots: RwLock<HashMap<u32, SectorRootKey>>,
    frozen: FrozenFacts,
    counts: VaultCounts,
    look_ups: Mutex<()>,
    epoch_changes: Mutex<()>,
    segment_changes: Mutex<()>,
    /// What waits for places, under the lock of the epochs.
    pending: PendingActs,
    former_segment_keys: OnceLock<Vec<VerifyingKey>>,
}

/// A vault is an entity, with pseudonymisation beside it.
impl Deref for Vault {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.entity
    }
}

impl AsRef<Arc<Entity>> for Vault {
    fn as_ref(&self) -> &Arc<Entity> {
        &self.entity
    }
}

impl Vault {
    /// Opens the store, checks the register against what was in force, rebuilds the index, starts
    /// the writer and logs the start. `advance` names the sectors that get a new epoch because the
    /// register changed their terms.
    ///
    /// # Errors
    /// [`StartError`]. The store has not changed then, apart from being made if there was none.
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
            journal,
            sector: sector_secrets,
            segment,
            log,
        } = secrets;
        let open = |owner: &str| Store::open_with(&home.store, owner, home.cache());
        let mut opening = EntityOpening::of(Role::Vault, register, log, clock.now(), open)?;
        if !advance.is_empty() {
            opening.wait_no_longer();
        }
        let (register, store) = (opening.register.clone(), opening.store.clone());
        opening.rows.identity = check_identity(&*identity, &store)?;
        let (mut roots, mut retired) = load_roots(&*sector_secrets, &store)?;
        let now = clock.now();
        check_advance(&register, &store, advance, now)?;
        let loader = SectorLoader {
            store: &store,
            roots: &roots,
            advance,
            now,
            by_custody: sector_secrets.is_off_machine(),
            before: None,
        };
        if let Some(waiting) = &opening.waiting {
            // A fault in it is told now, as if it were to be in force.
            let checked = loader.load(&waiting.register, &mut RegisterRows::default());
            checked.map_err(StartError::first)?;
        }
        let (sectors, opened) = loader
            .load(&register, &mut opening.rows)
            .map_err(StartError::first)?;
        let cipher = Arc::new(chunk_cipher(&storage));
        let blinding = newest_blinding(&storage);
        let index = Arc::new(Index::open(&store, Arc::new(blinding), home.tables())?);
        let small = rebuild::rebuild(&store, &cipher, &index, progress)?;
        hold_migrated(&store, &sectors, &index)?;
        let writer = WriterParts {
            index: index.clone(),
            cipher: Some(cipher.clone()),
            journal: Arc::new(JournalCipher::new(&journal)),
            small,
            clock: clock.clone(),
            poisoned,
        };
        let started = opening.start(&audit, writer)?;
        let unheld = UnheldActs::of(started.entity.log());
        let mark = started.entity.committer().mark().clone();
        let quotas = Quotas::load(
            quota::of_organisations(&register, QuotaShare::WHOLE),
            &store,
            mark,
            clock.now(),
        )?;
        let entity = started.begin(opened)?;

        let pending = unheld.withhold(&sectors, &mut roots, &mut retired);
        destroy_retired(&*sector_secrets, &retired);
        let parts = KeeperParts {
            entity: entity.clone(),
            index: index.clone(),
            cipher: cipher.clone(),
        };
        let core = VaultCore {
            keeper: Keeper::start(parts),
            index,
            cipher,
            identity,
            segment_signer: segment,
            sector_secrets,
            roots: RwLock::new(roots),
            frozen: FrozenFacts::default(),
            counts: VaultCounts::default(),
            look_ups: Mutex::default(),
            epoch_changes: Mutex::default(),
            segment_changes: Mutex::default(),
            pending: PendingActs::of(pending),
            former_segment_keys: OnceLock::new(),
        };
        Ok(Self {
            core: Arc::new(core),
            entity,
            sectors,
            quotas,
        })
    }

    /// The entity: what a vault shares with an authority's node.
    pub fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    /// The index of stored mappings.
    pub fn index(&self) -> &Index {
        &self.core.index
    }

    /// What the keeper has done since the start.
    pub fn keeper_counts(&self) -> &KeeperCounts {
        self.core.keeper.counts()
    }

    /// A sector's state at run time.
    pub fn sector(&self, name: &str) -> Option<&Arc<SectorState>> {
        self.sectors.get(name)
    }

    /// Quotas of the organisations.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What was done since the start.
    pub fn counts(&self) -> &VaultCounts {
        &self.core.counts
    }

    /// Taken for a rights officer's look-up: its count and its commit are one step.
    pub(crate) fn lock_look_ups(&self) -> MutexGuard<'_, ()> {
        unpoisoned(self.core.look_ups.lock())
    }

    /// Taken for a change of a stored segment, from reading its record to the commit of the new
    /// one.
    pub(crate) fn lock_segments(&self) -> MutexGuard<'_, ()> {
        unpoisoned(self.core.segment_changes.lock())
    }

    /// Taken for a change of epochs or secrets. A change of the register takes it too, because it
    /// opens epochs. An act that waits for places takes effect first.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when another register has come into force since this request began;
    /// [`Code::JournalUnavailable`].
    pub(crate) fn lock_epochs(&self) -> Result<MutexGuard<'_, ()>, Refusal> {
        self.lock_and_settle().map(|(guard, _)| guard)
    }

    /// The same, and the name of the act that took effect, now or before without an answer.
    pub(crate) fn lock_and_settle(&self) -> Result<(MutexGuard<'_, ()>, Option<String>), Refusal> {
        let guard = self.lock_in_force()?;
        let settled = self.settle()?;
        Ok((guard, settled))
    }

    fn lock_in_force(&self) -> Result<MutexGuard<'_, ()>, Refusal> {
        let guard = intact(self.core.epoch_changes.lock());
        if self.is_in_force() {
            Ok(guard)
        } else {
            let why = "the register was just changed; ask again";
            Err(Refusal::new(Code::Overloaded, why).come_back_in(1))
        }
    }

    pub(crate) fn frozen(&self) -> &FrozenFacts {
        &self.core.frozen
    }

    pub(crate) fn utis(&self) -> &dyn UtiSource {
        &*self.core.identity
    }

    pub(crate) fn cipher(&self) -> &ChunkCipher {
        &self.core.cipher
    }

    pub(crate) fn shared_index(&self) -> Arc<Index> {
        self.core.index.clone()
    }

    pub(crate) fn shared_cipher(&self) -> Arc<ChunkCipher> {
        self.core.cipher.clone()
    }

    /// Keeps the keeper from moving entries of the index and from merging chunks until the guard is
    /// dropped.
    pub(crate) fn pause_keeper(&self) -> PauseGuard<'_> {
        self.core.keeper.pause()
    }

    pub(crate) fn segment_signer(&self) -> &SigningKey {
        &self.core.segment_signer
    }

    /// Names the keys with which this vault signed segments before the present one.
    pub fn know_former_segment_keys(&self, keys: Vec<VerifyingKey>) {
        let _ = self.core.former_segment_keys.set(keys);
    }

    /// The keys whose signature marks a stored segment as the vault's own. The vault renews no
    /// segment that others wrote into the store.
    pub(crate) fn segment_keys(&self) -> Vec<VerifyingKey> {
        let former = self
            .core
            .former_segment_keys
            .get()
            .into_iter()
            .flatten()
            .copied();
        std::iter::once(self.core.segment_signer.verifying_key())
            .chain(former)
            .collect()
    }

    pub(crate) fn sector_secrets(&self) -> &dyn SectorSecretStore {
        &*self.core.sector_secrets
    }

    /// Sectors at run time.
    pub(crate) fn sector_states(&self) -> impl Iterator<Item = &Arc<SectorState>> {
        self.sectors.values()
    }

    pub(crate) fn roots(&self) -> &RwLock<HashMap<u32, SectorRootKey>> {
        &self.core.roots
    }

    /// Wipes data keys of segments whose time is over, also in sectors that no request comes for.
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

/// Compares the identity secret with the one that the store's pseudonyms derive from. Returns its
/// check value where the store has none yet.
fn check_identity(
    source: &dyn UtiSource,
    store: &Store,
) -> Result<Option<IdentityCheck>, StartError> {
    let known = store.identity_check()?.map(IdentityCheck);
    match (source.check(known), known) {
        (Ok(shown), Some(known)) if shown != known => Err(StartError::OtherIdentity),
        (Ok(_), Some(_)) => Ok(None),
        (Ok(shown), None) => Ok(Some(shown)),
        // Each source is compared before it is used, so the vault may start before them.
        (Err(refusal), Some(_)) => {
            tracing::warn!(why = %refusal, "the vault starts without an identity source");
            Ok(None)
        }
        (Err(refusal), None) => Err(StartError::NoIdentity(refusal.to_string())),
    }
}

/// The root keys of the sector secret's versions, and the versions that are still here although
/// they were retired: someone put a copy back, or a retirement was interrupted.
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
                tracing::error!(version, %error, "a retired version of the sector secret is still here");
            }
        }
    }
}

/// Opens chunks under every version of the storage secret.
fn chunk_cipher(storage: &[(u32, StoreSecret)]) -> ChunkCipher {
    let keys = storage.iter();
    ChunkCipher::new(keys.map(|(version, secret)| (*version, StoreKey::new(secret))))
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

/// Forbids merging in the partitions of unfinished migrations, which go through chunks in their
/// order.
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
            // New chunks must get sequences above the migrated ones, even where the last of these
            // is gone.
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
