//! What a first use freezes: see [`crate::register::Register::facts_used_by`].

use std::collections::HashSet;
use std::sync::{Arc, RwLock};

use uuid::Uuid;

use crate::access::TokenizePermit;
use crate::commit::Change;
use crate::register::{Id, Register};

/// Combinations whose facts are frozen in the store.
#[derive(Default)]
pub(crate) struct Frozen(Arc<RwLock<HashSet<Used>>>);

type Used = (Uuid, Id, Id, Option<Id>);

impl Frozen {
    /// What must be written with this use, when it is the first since the start. Writing a fact again is harmless.
    pub(crate) fn first_use(&self, register: &Register, permit: &TokenizePermit) -> Vec<Change> {
        let sector = &permit.sector.sector;
        let used =
            (sector.uuid, permit.scheme.id().clone(), permit.client.organisation.clone(), permit.purpose.clone());
        if self.0.read().expect("no panic under this lock").contains(&used) {
            return vec![];
        }
        let keys = register.facts_used_by(sector, &used.1, &used.2, used.3.as_ref());
        let facts: Vec<_> = register.frozen_facts().into_iter().filter(|fact| keys.contains(&fact.key)).collect();
        let known = self.0.clone();
        vec![Box::new(move |store, batch| {
            facts.iter().for_each(|fact| store.put_frozen(batch, &fact.key, &fact.digest));
            // Only now: a job that was turned away wrote nothing.
            known.write().expect("no panic under this lock").insert(used);
        })]
    }
}
