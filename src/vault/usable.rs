//! Which versions of the sector secret a new epoch may name: those of which an operator has said
//! that their custody holds them off this machine. A version that is lost with the machine takes
//! the pseudonyms of its epochs along.
//!
//! A version that an epoch names already counts as confirmed, and so does every version while there
//! is no epoch yet: whoever prepared the first start made it. A custody that holds secrets off the
//! machine by itself needs no word of an operator.

use std::collections::{HashMap, HashSet};

use crate::keys::SectorRootKey;
use crate::store::{EpochRow, Store, StoreError};

/// The versions that new epochs may name, and those that belong to one epoch.
pub(crate) struct UsableVersions {
    confirmed: HashSet<u32>,
    /// Versions of one epoch's own, also of one that is not opened yet.
    own: HashSet<u32>,
    /// Whether no word of an operator is needed.
    all: bool,
}

impl UsableVersions {
    /// What the store says. `used` are the epochs of all sectors; `by_custody` says whether the
    /// custody holds secrets off this machine by itself.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn of(
        store: &Store,
        used: &[EpochRow],
        by_custody: bool,
    ) -> Result<Self, StoreError> {
        let reserved = store.reserved_secrets()?.into_iter();
        let own = used.iter().filter(|row| row.own_secret);
        let mut confirmed: HashSet<u32> = store.confirmed_secrets()?.into_iter().collect();
        confirmed.extend(used.iter().map(|row| row.secret_version));
        Ok(Self {
            own: (own.map(|row| row.secret_version))
                .chain(reserved.map(|reserved| reserved.version))
                .collect(),
            confirmed,
            all: by_custody || used.is_empty(),
        })
    }

    /// Whether a new epoch may name a version.
    pub(crate) fn is_confirmed(&self, version: u32) -> bool {
        self.all || self.confirmed.contains(&version)
    }

    /// Whether a version belongs to one epoch.
    pub(crate) fn is_own(&self, version: u32) -> bool {
        self.own.contains(&version)
    }

    /// The version that new epochs without a secret of their own share: the newest one here that is
    /// confirmed and no epoch's own.
    pub(crate) fn shared_version(&self, here: &HashMap<u32, SectorRootKey>) -> u32 {
        let here = here.keys().copied();
        here.filter(|version| !self.is_own(*version) && self.is_confirmed(*version))
            .max()
            .unwrap_or(1)
    }

    /// The version that would take the place of the shared one if it were confirmed.
    pub(crate) fn unconfirmed(&self, here: &HashMap<u32, SectorRootKey>) -> Option<u32> {
        let shared = self.shared_version(here);
        let here = here.keys().copied();
        here.filter(|version| *version > shared && !self.is_own(*version))
            .max()
    }
}
