//! Acts that are durable and were not answered, because too few places held them yet. The same act,
//! brought again, is not carried out again; it gets its answer once enough do.
//!
//! This is in memory: after a restart such an act is refused as carried out, and the log has its
//! entry.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{ActStanding, Entity};
use crate::audit::LogPosition;
use crate::refusal::Refusal;
use crate::system::lock::unpoisoned;

/// How many are remembered: each one is a statement that people signed.
const MOST: usize = 4_096;

/// SHA-256 of an act's payload → where the entry about it stands.
#[derive(Default)]
pub(super) struct UnansweredActs(Mutex<HashMap<[u8; 32], LogPosition>>);

impl Entity {
    /// Where the entry about an act stands that was carried out and not answered.
    pub(crate) fn unanswered(&self, digest: &[u8; 32]) -> Option<LogPosition> {
        let UnansweredActs(acts) = &self.core.unanswered;
        unpoisoned(acts.lock()).get(digest).cloned()
    }

    /// Waits until enough places hold an act that was carried out. Hold no lock meanwhile.
    ///
    /// # Errors
    /// As [`Entity::answer_restriction`] and [`Entity::wait_for_grant`]; the same act may be
    /// brought again then.
    pub(crate) fn answer_act(
        &self,
        digest: [u8; 32],
        entry: LogPosition,
        standing: ActStanding,
    ) -> Result<LogPosition, Refusal> {
        let held = match standing {
            ActStanding::InForce => self.answer_restriction(),
            ActStanding::Withheld => self.wait_for_grant().map(drop),
        };
        let UnansweredActs(acts) = &self.core.unanswered;
        let mut acts = unpoisoned(acts.lock());
        if held.is_ok() {
            acts.remove(&digest);
        } else if acts.len() < MOST {
            acts.insert(digest, entry.clone());
        }
        held.map(|()| entry)
    }
}
