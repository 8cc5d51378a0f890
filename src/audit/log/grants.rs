//! What entries of this log grant and may not be in force yet, because too few places hold them.
//!
//! The writer withholds a grant before the commit of its entry, and a start those of the entries
//! that it finds behind the last checkpoint that places hold. A grant is in force from the moment
//! that enough places hold its entry; what is more to be done then is done by a thread that waits
//! for that ([`Log::until_held`]).

use std::collections::{HashMap, HashSet};
use std::sync::RwLock;

use super::Log;
use super::startup::stored_checkpoint;
use crate::audit::Grant;
use crate::journal::prune::LogPlace;
use crate::store::{Shard, Store, StoreError};
use crate::system::lock::unpoisoned;

/// Grants whose entries places may not hold, and where the entries stand.
#[derive(Default)]
pub(super) struct WithheldGrants(RwLock<HashMap<Grant, LogPlace>>);

impl Log {
    /// Whether enough places hold an entry now.
    pub(super) fn is_held(&self, entry: LogPlace) -> bool {
        self.published(entry.shard)
            .is_some_and(|published| entry.index < published.checkpoint.size)
    }

    /// Whether something was granted that is not in force, because too few places hold its entry.
    pub fn withholds(&self, grant: &Grant) -> bool {
        let entry = unpoisoned(self.withheld.0.read()).get(grant).copied();
        entry.is_some_and(|entry| !self.is_held(entry))
    }

    /// Whether nothing is withheld: what nearly every request asks. Forgets what places hold by
    /// now.
    pub fn withholds_nothing(&self) -> bool {
        if unpoisoned(self.withheld.0.read()).is_empty() {
            return true;
        }
        let mut withheld = unpoisoned(self.withheld.0.write());
        withheld.retain(|_, entry| !self.is_held(*entry));
        withheld.is_empty()
    }

    /// All that was granted and is not in force now, for a decision about many things. It takes one
    /// lock where nothing is withheld.
    pub fn withheld_now(&self) -> HashSet<Grant> {
        if self.withholds_nothing() {
            return HashSet::new();
        }
        let withheld = self.withheld().into_iter();
        withheld.map(|(grant, _)| grant).collect()
    }

    /// All that was granted and is not in force, in the order of the entries, and where these
    /// stand.
    pub fn withheld(&self) -> Vec<(Grant, LogPlace)> {
        let withheld = unpoisoned(self.withheld.0.read()).clone();
        let mut withheld: Vec<_> = withheld.into_iter().collect();
        withheld.retain(|(_, entry)| !self.is_held(*entry));
        withheld.sort_by_key(|(_, entry)| *entry);
        withheld
    }

    /// Withholds what an entry grants that is about to become durable.
    pub(super) fn withhold(&self, grant: Grant, shard: Shard, index: u64) {
        if !self.asks_for_places() {
            return;
        }
        let mut withheld = unpoisoned(self.withheld.0.write());
        withheld.retain(|_, entry| !self.is_held(*entry));
        withheld.insert(grant, LogPlace { shard, index });
    }

    /// Withholds what the entries grant that no checkpoint covers which enough places hold, as far
    /// as the store knows: where the process ended before places held them.
    pub(super) fn withhold_unheld(&self) -> Result<(), StoreError> {
        if !self.asks_for_places() {
            return Ok(());
        }
        each_unheld(&self.store, |grant, entry| {
            self.withhold(grant, entry.shard, entry.index);
        })
    }
}

/// Calls `each` with what the entries grant that no checkpoint covers which enough places hold, as
/// far as a store knows, and where they stand.
///
/// # Errors
/// [`StoreError`]
pub fn each_unheld(store: &Store, mut each: impl FnMut(Grant, LogPlace)) -> Result<(), StoreError> {
    for tree in store.trees()? {
        let (shard, published) = (tree.shard, stored_checkpoint(store, tree)?);
        let held = published.map_or(0, |published| published.checkpoint.size);
        let count = usize::try_from(tree.size.saturating_sub(held)).unwrap_or(usize::MAX);
        store.each_audit(tree.first + held, count, |number, entry| {
            if let Some(grant) = Grant::of_entry(entry) {
                let index = number - tree.first;
                each(grant, LogPlace { shard, index });
            }
            Ok::<_, StoreError>(())
        })?;
    }
    Ok(())
}
