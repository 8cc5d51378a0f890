//! Freezes the facts of the register that a first use depends on: see
//! [`crate::register::Register::facts_used_by`].

use std::collections::HashSet;
use std::sync::{Arc, RwLock};

use uuid::Uuid;

use crate::commit::Change;
use crate::register::{Id, Register, Sector};
use crate::system::lock::unpoisoned;

/// Combinations whose facts are frozen in the store.
#[derive(Default)]
pub(crate) struct FrozenFacts(Arc<RwLock<HashSet<FirstUse>>>);

type FirstUse = (Uuid, Id, Id, Option<Id>);

impl FrozenFacts {
    /// The facts to write when `sector` takes identifiers of `scheme` from `organisation` for
    /// `purpose`, if this is the first time since the start. Writing a fact again is harmless.
    pub(crate) fn first_use(
        &self,
        register: &Register,
        sector: &Sector,
        scheme: &Id,
        organisation: &Id,
        purpose: Option<&Id>,
    ) -> Vec<Change> {
        let used = (
            sector.uuid,
            scheme.clone(),
            organisation.clone(),
            purpose.cloned(),
        );
        if unpoisoned(self.0.read()).contains(&used) {
            return vec![];
        }
        let keys = register.facts_used_by(sector, scheme, organisation, purpose);
        let facts: Vec<_> = register
            .frozen_facts()
            .into_iter()
            .filter(|fact| keys.contains(&fact.key))
            .collect();
        let known = self.0.clone();
        vec![Box::new(move |store, batch| {
            facts
                .iter()
                .for_each(|fact| store.put_frozen(batch, &fact.key, &fact.digest));
            // Only in the commit, because a job that was turned away writes nothing.
            unpoisoned(known.write()).insert(used);
        })]
    }
}
