//! Acts that grant something: durable at once, and in force once enough places hold them.

use std::collections::HashMap;

use serde::Deserialize;

use super::Vault;
use super::sector::Sectors;
use crate::audit::log::Log;
use crate::keys::SectorRootKey;
use crate::refusal::{Refusal, not_logged};
use crate::store::StoreError;
use crate::system::lock::unpoisoned;

/// The name of a rotation of the sector secret among the acts that wait.
pub(crate) const ROTATE: &str = "secret-rotate";

/// What stands of such an act while too few places hold it.
const WAITS: &str = "the act is stored here, and takes effect once the same call finds enough";

/// An act that is durable and not yet in force.
pub(crate) struct PendingAct {
    /// What it does, so that the same call is known again.
    pub(crate) what: String,
    /// Puts it in force.
    pub(crate) effect: Box<dyn FnOnce(&Vault) + Send>,
}

impl Vault {
    /// Puts an act in force once enough places hold it. Call it under the lock of the epochs.
    ///
    /// # Errors
    /// [`Code::JournalUnavailable`](crate::code::Code::JournalUnavailable): the act waits, and is
    /// put in force before anything else that takes the lock.
    pub(crate) fn take_effect(&self, act: PendingAct) -> Result<(), Refusal> {
        *unpoisoned(self.core.pending.lock()) = Some(act);
        self.settle().map(drop)
    }

    /// Puts the act in force that waits, if there is one; its name.
    pub(super) fn settle(&self) -> Result<Option<String>, Refusal> {
        let mut pending = unpoisoned(self.core.pending.lock());
        if pending.is_none() {
            return Ok(None);
        }
        self.wait_for_places(WAITS)?;
        if self.log().asks_for_places() {
            // Stores the checkpoint that covers the act, so that a restart knows that it was held.
            let stored = self.committer().change_unlogged(Box::new(|_, _| {}));
            stored.map_err(not_logged(WAITS))?;
        }
        Ok(pending.take().map(|act| {
            (act.effect)(self);
            act.what
        }))
    }
}

/// What the entries behind the last checkpoint that places hold grant or destroy: at most one of them
/// was waited for when the process ended, and it was not in force.
#[derive(Default)]
pub(super) struct UnheldActs {
    /// Sector and its new epoch.
    advanced: Vec<(String, u32)>,
    /// Versions of the sector secret that were made for all sectors.
    made: Vec<u32>,
    /// Versions that were retired, and are not to be destroyed yet.
    pub(super) retired: Vec<u32>,
}

/// The members of such an entry.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum GrantMembers {
    EpochAdvance {
        sector: String,
        epoch: u32,
    },
    SecretRotate {
        version: u32,
        #[serde(default)]
        sector: Option<String>,
    },
    SecretRetire {
        version: u32,
    },
    #[serde(other)]
    Other,
}

impl UnheldActs {
    /// Reads them from a log that was just opened.
    pub(super) fn read(log: &Log) -> Result<Self, StoreError> {
        let mut acts = Self::default();
        log.each_unheld(|entry| match serde_json::from_slice(entry) {
            Ok(GrantMembers::EpochAdvance { sector, epoch }) => acts.advanced.push((sector, epoch)),
            Ok(GrantMembers::SecretRotate {
                version,
                sector: None,
            }) => acts.made.push(version),
            Ok(GrantMembers::SecretRetire { version }) => acts.retired.push(version),
            _ => {}
        })?;
        Ok(acts)
    }

    /// Takes out of force what a start has loaded of them, so that it waits for places as before.
    pub(super) fn withhold(
        self,
        sectors: &Sectors,
        roots: &mut HashMap<u32, SectorRootKey>,
    ) -> Option<PendingAct> {
        let epochs: Vec<_> = self
            .advanced
            .into_iter()
            .filter_map(|(sector, epoch)| {
                let state = sectors.get(&sector)?.clone();
                let epoch = state.withhold(epoch)?;
                Some((state, epoch))
            })
            .collect();
        let made: Vec<_> = self
            .made
            .into_iter()
            .filter_map(|version| roots.remove_entry(&version))
            .collect();
        if epochs.is_empty() && made.is_empty() {
            return None;
        }
        tracing::warn!("an act of before waits for places: the same call puts it in force");
        let what = if made.is_empty() {
            "epoch-advance"
        } else {
            ROTATE
        };
        Some(PendingAct {
            what: what.to_owned(),
            effect: Box::new(move |vault| {
                epochs
                    .into_iter()
                    .for_each(|(state, epoch)| state.advance(epoch));
                let mut roots = vault.roots().write().expect("no panic under this lock");
                roots.extend(made);
            }),
        })
    }
}
