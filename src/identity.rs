//! The identity source's state: an [`Entity`] with the identity secret, under an administrator of
//! its own.
//!
//! It derives UTIs for the vault and for nobody else, and holds no other secret of the vault's: no
//! sector secret, no storage key. What it lets through it decides by its own register, counts in
//! its own store and writes into its own log, so that neither side alone can guess at a pseudonym.

mod alarm;
mod derive;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::audit::OpenedEpoch;
use crate::audit::log::LogParts;
use crate::clock::Clock;
use crate::commit::PoisonHandler;
use crate::commit::small::SmallChunks;
use crate::entity::{
    Entity, EntityOpening, RegisterRows, Role, StartError, UnderRegister, WriterParts,
};
use crate::keys::shares::ShareSet;
use crate::keys::{AuditSecret, IdentityKeys, JournalSecret};
use crate::quota::{QuotaHolder, Quotas, of_organisations};
use crate::refusal::Refusal;
use crate::register::{Id, Quota, QuotaShare, Register, RegisteredIdentity};
use crate::safe::{KeySafe, SealTimes};
use crate::seal::journal::JournalCipher;
use crate::store::index::Index;
use crate::store::{RowBatch, Store, StoreError};
use alarm::UsualHours;
pub use derive::{PreparedUtis, derive};

/// How the key's place in the safe is called.
const KEY: &str = "identity";

/// What a rights officer's acts may ask for: they concern one person at a time, and are as many in
/// a day as the vault lets an officer look up.
const RIGHTS: Quota = Quota {
    items_per_second: 1,
    items_per_day: 50,
};

/// How many probes and person keys the vault may ask for, of which nothing of a person can be told:
/// so that a thief does not fill the log with them.
const BARE: Quota = Quota {
    items_per_second: 20,
    items_per_day: 200_000,
};

/// The account of [`BARE`].
const BARE_ACCOUNT: &str = "vault/bare";

/// The identity secret, as it is when the process starts.
pub enum IdentityKeyStart {
    /// It was in this machine's own custody.
    Open(IdentityKeys),
    /// Its custodians bring it in shares, which are checked against this set.
    Shared(ShareSet),
}

/// Everything that an identity source starts with, beside its store.
pub struct IdentityParts {
    /// The register copy.
    pub register: Register,
    /// Which identity source of the register this is.
    pub identity: Id,
    /// The identity secret.
    pub key: IdentityKeyStart,
    /// When shares are forgotten and a secret in shares sealed again.
    pub times: SealTimes,
    /// Root of audit tags.
    pub audit: AuditSecret,
    /// Versions of the journal secret.
    pub journal: Vec<(u32, JournalSecret)>,
    /// Signs the log's checkpoints, and where the last one is kept.
    pub log: LogParts,
}

/// The identity source, serving under one register.
///
/// A change of the register makes another one over the same keys and store; see
/// [`InForce`](crate::entity::InForce). A request keeps the one that it began with.
pub struct IdentitySource {
    entity: Arc<Entity>,
    registered: Arc<RegisteredIdentity>,
    quotas: Quotas,
    usual: UsualHours,
    core: Arc<IdentityCore>,
}

/// What stays when the register changes.
struct IdentityCore {
    /// Where the secret is in shares: who holds them, and how many it takes.
    custodians: Option<(Vec<Id>, usize)>,
    safe: KeySafe<IdentityKeys>,
    counts: IdentityCounts,
}

/// What is counted since the start, for `/metrics`.
#[derive(Default)]
pub struct IdentityCounts {
    /// UTIs answered.
    pub derived: AtomicU64,
    /// Parts of requests that were refused.
    pub refused: AtomicU64,
    /// Unusual hours that were noticed.
    pub alarms: AtomicU64,
}

/// An identity source is an entity, with the identity secret beside it.
impl Deref for IdentitySource {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.entity
    }
}

impl AsRef<Arc<Entity>> for IdentitySource {
    fn as_ref(&self) -> &Arc<Entity> {
        &self.entity
    }
}

impl IdentityCore {
    /// This source's entry in a register, which must state enough custodians.
    fn check(
        &self,
        register: &Register,
        id: &Id,
    ) -> Result<Arc<RegisteredIdentity>, Vec<StartError>> {
        let Some(registered) = register.identities.get(id) else {
            return Err(vec![StartError::UnknownIdentity(id.clone())]);
        };
        if let Some((custodians, threshold)) = &self.custodians {
            let known = |id: &&Id| registered.custodians.contains_key(*id);
            let able = custodians.iter().filter(known).count();
            if able < *threshold {
                return Err(vec![StartError::Custodians {
                    key: KEY.to_owned(),
                    able,
                    threshold: *threshold,
                }]);
            }
        }
        Ok(registered.clone())
    }
}

/// Whose values are counted, and how many each may ask for: an organisation its share of its quota;
/// a migration by an authority's order what the register lets it migrate, and no more than the
/// organisations of the sector can spare ([`Quotas::take_spare`]); a rights officer a few. Every
/// kind of request is counted, so that none lets a thief of the vault through.
fn holders(register: &Register, share: QuotaShare) -> Vec<(QuotaHolder, Quota)> {
    let authorities = register.authorities.values();
    let may_migrate = authorities.filter(|authority| authority.continuity_quorum.is_some());
    let migrations = may_migrate.map(|authority| {
        let an_hour = authority.migrations_per_hour;
        let quota = Quota {
            items_per_second: an_hour.div_ceil(3_600),
            items_per_day: an_hour.saturating_mul(24),
        };
        (migrations_of(&authority.id), share.of(quota))
    });
    let officers = register.rights_officers.keys();
    let rights = officers.map(|officer| (rights_of(officer), share.of(RIGHTS)));
    of_organisations(register, share)
        .chain(migrations)
        .chain(rights)
        .chain([(BARE_ACCOUNT.to_owned(), BARE)])
        .collect()
}

/// The accounts of an identity source: those of organisations, as the vault has them, and its own.
pub fn accounts(register: &Register) -> impl Iterator<Item = QuotaHolder> {
    let holders = holders(register, QuotaShare::WHOLE).into_iter();
    holders.map(|(holder, _)| holder)
}

/// The account of the migrations that an authority orders; no id has a slash.
fn migrations_of(authority: &Id) -> QuotaHolder {
    format!("migrations/{authority}")
}

/// The account of a rights officer's acts.
fn rights_of(officer: &Id) -> QuotaHolder {
    format!("rights/{officer}")
}

/// Nothing can contradict a register at an identity source between its checks and its commit.
impl UnderRegister for IdentitySource {
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
        let registered = self.core.check(entity.register(), &self.registered.id)?;
        let one = |error: StoreError| vec![StartError::from(error)];
        let (store, now) = (entity.store(), entity.now());
        let holders = holders(entity.register(), registered.share);
        let usual = self.usual.under(&holders, store, now).map_err(one)?;
        let quotas = self.quotas.under(holders.into_iter(), store, now);
        let source = Self {
            quotas: quotas.map_err(one)?,
            usual,
            entity: entity.clone(),
            registered,
            core: self.core.clone(),
        };
        Ok((source, vec![]))
    }
}

impl IdentitySource {
    /// Opens the store, checks register and secret, starts the writer and logs the start.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(
        path: &Path,
        parts: IdentityParts,
        clock: Arc<dyn Clock>,
        poisoned: PoisonHandler,
    ) -> Result<Self, StartError> {
        let (mut keys, mut shared, mut custodians) = (vec![], vec![], None);
        match parts.key {
            IdentityKeyStart::Open(key) => keys.push((KEY.to_owned(), key)),
            IdentityKeyStart::Shared(set) => {
                custodians = Some((set.custodians.clone(), set.threshold));
                shared.push((Id::parse(KEY).expect("an id"), set));
            }
        }
        let core = IdentityCore {
            custodians,
            safe: KeySafe::new(keys, shared, parts.times),
            counts: IdentityCounts::default(),
        };
        let registered = core
            .check(&parts.register, &parts.identity)
            .map_err(StartError::first)?;
        let open = |owner: &str| Store::open(path, owner);
        let role = Role::Identity(parts.identity);
        let mut opening = EntityOpening::of(role, parts.register, parts.log, clock.now(), open)?;
        let registered = match core.check(&opening.register, &registered.id) {
            Ok(before) if opening.waiting.is_some() => before,
            // Its custodians changed, which takes this start.
            _ => {
                opening.wait_no_longer();
                registered
            }
        };
        // An identity source stores no mappings.
        let writer = WriterParts {
            index: Arc::new(Index::default()),
            cipher: None,
            journal: Arc::new(JournalCipher::new(&parts.journal)),
            small: SmallChunks::default(),
            clock,
            poisoned,
        };
        let entity = opening.start(&parts.audit, writer)?.begin(vec![])?;
        let (store, now) = (entity.store().clone(), entity.now());
        let holders = holders(entity.register(), registered.share);
        let mark = entity.committer().mark().clone();
        let usual = UsualHours::load(&holders, &store, mark.clone(), now)?;
        let quotas = Quotas::load(holders.into_iter(), &store, mark, now)?;
        Ok(Self {
            entity,
            registered,
            quotas,
            usual,
            core: Arc::new(core),
        })
    }

    /// The entity: what an identity source shares with the vault.
    pub fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    /// This source's entry in the register.
    pub fn registered(&self) -> &Arc<RegisteredIdentity> {
        &self.registered
    }

    /// The identity secret's keys, if they are here.
    pub fn safe(&self) -> &KeySafe<IdentityKeys> {
        &self.core.safe
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &IdentityCounts {
        &self.core.counts
    }

    /// Forgets hours that are older than the week from which the usual hour is known.
    pub fn forget_old_hours(&self) {
        let old = self.usual.old(self.store(), self.now());
        if old.is_empty() {
            return;
        }
        let forget = move |store: &Store, batch: &mut RowBatch| {
            for (name, hour) in &old {
                store.forget_quota_used(batch, name, *hour);
            }
        };
        if let Err(code) = self.committer().change_unlogged(Box::new(forget)) {
            tracing::debug!(%code, "old hours are forgotten later");
        }
    }
}
