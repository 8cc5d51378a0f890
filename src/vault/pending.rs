//! Acts that grant something: durable at once, and in force once enough places hold them.

use std::collections::HashMap;

use super::Vault;
use super::sector::Sectors;
use crate::audit::Grant;
use crate::audit::log::{HeldByPlaces, Log};
use crate::keys::SectorRootKey;
use crate::refusal::Refusal;
use crate::system::lock::unpoisoned;

/// The name of a rotation of the sector secret among the acts that wait.
pub(crate) const ROTATE: &str = "secret-rotate";

/// Puts an act in force that enough places hold.
pub(crate) type ActEffectOnce = Box<dyn FnOnce(&Vault, &HeldByPlaces) + Send>;

/// An act that is durable and not yet in force.
pub(crate) struct PendingAct {
    /// What it does, so that the same call is known again.
    pub(crate) what: String,
    /// Puts it in force.
    pub(crate) effect: ActEffectOnce,
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

    /// The act that places hold by now, and that only waits for the same call: its name.
    pub(crate) fn waiting_for_its_call(&self) -> Option<String> {
        // While it is locked, a call waits for places.
        let pending = self.core.pending.try_lock().ok()?;
        let what = pending.as_ref().map(|act| act.what.clone())?;
        let is_unheld = |grant: &Grant| matches!(grant, Grant::Epoch(..) | Grant::Secret(_));
        let unheld = self.log().withheld().iter().any(is_unheld);
        (!unheld).then_some(what)
    }

    /// Puts the act in force that waits, if there is one; its name.
    pub(super) fn settle(&self) -> Result<Option<String>, Refusal> {
        let mut pending = unpoisoned(self.core.pending.lock());
        if pending.is_none() {
            return Ok(None);
        }
        let held = self.wait_for_grant()?;
        Ok(pending.take().map(|act| {
            (act.effect)(self, &held);
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

impl UnheldActs {
    /// Those of a log that was just opened.
    pub(super) fn of(log: &Log) -> Self {
        let mut acts = Self::default();
        for grant in log.withheld() {
            match grant {
                Grant::Epoch(sector, epoch) => acts.advanced.push((sector, epoch)),
                Grant::Secret(version) => acts.made.push(version),
                Grant::Retirement(version) => acts.retired.push(version),
                _ => {}
            }
        }
        acts
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
            effect: Box::new(move |vault, held| {
                epochs
                    .into_iter()
                    .for_each(|(state, epoch)| state.advance(epoch, held));
                let mut roots = vault.roots().write().expect("no panic under this lock");
                roots.extend(made);
            }),
        })
    }
}
