//! Acts that grant something: durable at once, and in force once enough places hold them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::sector::Sectors;
use super::{Vault, destroy_retired};
use crate::audit::Grant;
use crate::audit::log::{HeldByPlaces, Log};
use crate::entity::{InForce, WaitingActs};
use crate::journal::prune::LogPlace;
use crate::keys::SectorRootKey;
use crate::refusal::Refusal;
use crate::system::lock::unpoisoned;

/// The name of a rotation of the sector secret among the acts that wait.
pub(crate) const ROTATE: &str = "secret-rotate";
/// How long a call is known again whose act took effect without an answer.
const KNOWN: Duration = Duration::from_secs(3_600);

/// Puts an act in force that enough places hold.
pub(crate) type ActEffectOnce = Box<dyn FnOnce(&Vault, &HeldByPlaces) + Send>;

/// An act that is durable and not yet in force.
pub(crate) struct PendingAct {
    /// What it does, so that the same call is known again.
    pub(crate) what: String,
    /// Where its entry stands.
    pub(crate) entry: LogPlace,
    /// Puts it in force.
    pub(crate) effect: ActEffectOnce,
}

/// The act upon epochs or secrets that waits for places; no other one is taken before.
#[derive(Default)]
pub(super) struct PendingActs {
    /// Locked while a call waits for places.
    waiting: Mutex<Option<PendingAct>>,
    /// The last act that took effect without an answer, and when.
    unanswered: Mutex<Option<(String, Instant)>>,
}

impl PendingActs {
    pub(super) fn of(waiting: Option<PendingAct>) -> Self {
        Self {
            waiting: Mutex::new(waiting),
            unanswered: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<PendingAct>> {
        unpoisoned(self.waiting.lock())
    }
}

impl Vault {
    /// Puts an act in force once enough places hold it. Call it under the lock of the epochs.
    ///
    /// # Errors
    /// [`Code::JournalUnavailable`](crate::code::Code::JournalUnavailable): the act waits, and
    /// takes effect as soon as enough places hold it, before anything else that takes the lock.
    pub(crate) fn take_effect(&self, act: PendingAct) -> Result<(), Refusal> {
        *self.core.pending.waiting() = Some(act);
        self.settle().map(drop)
    }

    /// Puts the act in force that waits, if there is one. Returns the name of the act that this
    /// did, or that took effect before and was not answered.
    pub(super) fn settle(&self) -> Result<Option<String>, Refusal> {
        let unanswered = unpoisoned(self.core.pending.unanswered.lock()).take();
        let unanswered = unanswered.filter(|(_, since)| since.elapsed() < KNOWN);
        let mut waiting = self.core.pending.waiting();
        let Some(entry) = waiting.as_ref().map(|act| act.entry) else {
            return Ok(unanswered.map(|(what, _)| what));
        };
        let held = match self.held_now(entry) {
            Ok(None) => self.wait_for_grant(),
            held => held.map(|held| held.expect("it is held")),
        };
        match held {
            Ok(held) => Ok(self.carry_out(waiting.take(), &held)),
            Err(refusal) => {
                drop(waiting);
                self.leave_to_places();
                Err(refusal)
            }
        }
    }

    fn carry_out(&self, act: Option<PendingAct>, held: &HeldByPlaces) -> Option<String> {
        act.map(|act| {
            (act.effect)(self, held);
            act.what
        })
    }
}

/// Acts upon epochs and secrets of the vault in force.
impl WaitingActs for InForce<Vault> {
    fn awaited(&self) -> Option<LogPlace> {
        let vault = self.get();
        let waiting = vault.core.pending.waiting.try_lock().ok()?;
        waiting.as_ref().map(|act| act.entry)
    }

    fn put_in_force(&self) {
        let vault = self.get();
        // The lock of the epochs first: a call waits for places under both.
        let Ok(_one_at_a_time) = vault.lock_in_force() else {
            return;
        };
        let mut waiting = vault.core.pending.waiting();
        let entry = waiting.as_ref().map(|act| act.entry);
        let held = entry.and_then(|entry| vault.held_now(entry).ok().flatten());
        if let Some(held) = held
            && let Some(what) = vault.carry_out(waiting.take(), &held)
        {
            tracing::info!(act = what, "enough places hold the act: it is in force");
            *unpoisoned(vault.core.pending.unanswered.lock()) = Some((what, Instant::now()));
        }
    }
}

/// What the entries behind the last checkpoint that places hold grant or destroy: at most one of
/// them was waited for when the process ended, and it was not in force.
#[derive(Default)]
pub(super) struct UnheldActs {
    /// Sector and its new epoch.
    advanced: Vec<(String, u32)>,
    /// Versions of the sector secret that were made for all sectors.
    made: Vec<u32>,
    /// Versions that were retired, and are not to be destroyed yet.
    retired: Vec<u32>,
    /// Where the last of their entries stands.
    last: Option<LogPlace>,
}

impl UnheldActs {
    /// Those of a log that was just opened.
    pub(super) fn of(log: &Log) -> Self {
        let mut acts = Self::default();
        for (grant, entry) in log.withheld() {
            match grant {
                Grant::Epoch(sector, epoch) => acts.advanced.push((sector, epoch)),
                Grant::Secret(version) => acts.made.push(version),
                Grant::Retirement(version) => acts.retired.push(version),
                _ => continue,
            }
            acts.last = Some(entry);
        }
        acts
    }

    /// Takes out of force what a start has loaded of them, so that it waits for places as before.
    /// `retired` are the versions that are here although they were retired; those that are to be
    /// destroyed at once stay there.
    pub(super) fn withhold(
        self,
        sectors: &Sectors,
        roots: &mut HashMap<u32, SectorRootKey>,
        retired: &mut Vec<u32>,
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
        let kept: Vec<_> = retired
            .extract_if(.., |version| self.retired.contains(version))
            .collect();
        let what = match (made.is_empty(), epochs.is_empty(), kept.is_empty()) {
            (false, ..) => ROTATE,
            (true, false, _) => "epoch-advance",
            (true, true, false) => "secret-retire",
            (true, true, true) => return None,
        };
        tracing::warn!(
            act = what,
            "an act of before takes effect as soon as enough places hold it"
        );
        Some(PendingAct {
            what: what.to_owned(),
            entry: self.last?,
            effect: Box::new(move |vault, held| {
                epochs
                    .into_iter()
                    .for_each(|(state, epoch)| state.advance(epoch, held));
                let mut roots = vault.roots().write().expect("no panic under this lock");
                roots.extend(made);
                destroy_retired(vault.sector_secrets(), &kept);
            }),
        })
    }
}
