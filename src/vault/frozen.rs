//! Freezes the facts of the register that a first use depends on: see
//! [`crate::register::Register::facts_used_by`].

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::code::Code;
use crate::commit::{Change, Committer};
use crate::refusal::Refusal;
use crate::register::{FrozenFact, Id, Register, Sector};
use crate::system::lock::unpoisoned;

/// How long a change of the register waits for first uses under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Combinations whose facts are frozen in the store.
#[derive(Default)]
pub(crate) struct FrozenFacts {
    known: Arc<RwLock<HashSet<FirstUse>>>,
    /// Facts that a later register states otherwise, with the digest that it states; none where it
    /// dropped the fact. A request that began under the register before must not freeze them as
    /// that one states them.
    superseded: Mutex<BTreeMap<String, Option<[u8; 32]>>>,
    /// One clone for each first use that is under way.
    under_way: Arc<()>,
}

type FirstUse = (Uuid, Id, Id, Option<Id>);

impl FrozenFacts {
    /// The facts to write when `sector` takes identifiers of `scheme` from `organisation` for
    /// `purpose`, if this is the first time since the start. Writing a fact again is harmless.
    ///
    /// # Errors
    /// [`Code::Overloaded`] if another register, which states one of them otherwise, has come into
    /// force since the request began.
    pub(crate) fn first_use(
        &self,
        register: &Register,
        sector: &Sector,
        scheme: &Id,
        organisation: &Id,
        purpose: Option<&Id>,
    ) -> Result<Vec<Change>, Refusal> {
        let used = (
            sector.uuid,
            scheme.clone(),
            organisation.clone(),
            purpose.cloned(),
        );
        if unpoisoned(self.known.read()).contains(&used) {
            return Ok(vec![]);
        }
        let keys = register.facts_used_by(sector, scheme, organisation, purpose);
        let facts: Vec<_> = register
            .frozen_facts()
            .into_iter()
            .filter(|fact| keys.contains(&fact.key))
            .collect();
        let under_way = self.begin(&facts)?;
        let known = self.known.clone();
        Ok(vec![Box::new(move |store, batch| {
            facts
                .iter()
                .for_each(|fact| store.put_frozen(batch, &fact.key, &fact.digest));
            // Only in the commit, because a job that was turned away writes nothing.
            unpoisoned(known.write()).insert(used);
            drop(under_way);
        })])
    }

    fn begin(&self, facts: &[FrozenFact]) -> Result<Arc<()>, Refusal> {
        let superseded = unpoisoned(self.superseded.lock());
        let is_other = |fact: &FrozenFact| {
            superseded
                .get(&fact.key)
                .is_some_and(|stated| *stated != Some(fact.digest))
        };
        if facts.iter().any(is_other) {
            let why = "the register was just changed; ask again";
            return Err(Refusal::new(Code::Overloaded, why).come_back_in(1));
        }
        Ok(self.under_way.clone())
    }

    /// Lets no request freeze what `next` states otherwise than `before`, and waits until the first
    /// uses under way are durable: the store then has every fact that `next` must not change.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when these take too long.
    pub(super) fn supersede(
        &self,
        before: &Register,
        next: &Register,
        committer: &Committer,
    ) -> Result<SupersededFacts<'_>, Refusal> {
        let stated: BTreeMap<_, _> = next
            .frozen_facts()
            .into_iter()
            .map(|fact| (fact.key, fact.digest))
            .collect();
        let otherwise = before
            .frozen_facts()
            .into_iter()
            .map(|fact| (stated.get(&fact.key).copied(), fact))
            .filter(|(stated, fact)| *stated != Some(fact.digest))
            .map(|(stated, fact)| (fact.key, stated));
        let mut superseded = unpoisoned(self.superseded.lock());
        let kept = superseded.clone();
        for (key, digest) in superseded.iter_mut() {
            *digest = stated.get(key).copied();
        }
        superseded.extend(otherwise);
        drop(superseded);
        let hold = SupersededFacts {
            facts: self,
            kept: Some(kept),
        };
        let began = Instant::now();
        while Arc::strong_count(&self.under_way) > 1 {
            if began.elapsed() > PATIENCE {
                let why = "requests that use a sector for the first time are under way; try again";
                return Err(Refusal::new(Code::Overloaded, why).come_back_in(1));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if committer.settled() {
            Ok(hold)
        } else {
            Err(Refusal::unavailable(Code::AuditUnavailable))
        }
    }
}

/// While a register is on its way into force: what it states otherwise is not frozen. Dropped
/// without [`SupersededFacts::keep`], the register before stays, and with it what it states.
pub(super) struct SupersededFacts<'a> {
    facts: &'a FrozenFacts,
    kept: Option<BTreeMap<String, Option<[u8; 32]>>>,
}

impl SupersededFacts<'_> {
    /// The register is in force.
    pub(super) fn keep(mut self) {
        self.kept = None;
    }
}

impl Drop for SupersededFacts<'_> {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            *unpoisoned(self.facts.superseded.lock()) = kept;
        }
    }
}
