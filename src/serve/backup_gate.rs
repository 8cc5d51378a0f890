//! Holds back what a server does to its repository and its second place by itself, until those who
//! may know more of its log were heard.
//!
//! An old copy of a store that starts takes a backup of a branch that does not count, and pruning
//! would remove good ones for it. Whoever has seen more ends the process as soon as they are heard.
//! One who is away holds nothing up for longer than [`PATIENCE`].

use std::time::{Duration, Instant};

use crate::audit::log::SECOND_PLACE;
use crate::entity::Entity;

/// How long those are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether backups may be taken and removed.
pub(super) struct BackupGate {
    begun: Instant,
    is_open: bool,
}

impl BackupGate {
    /// Closed, as at a start.
    pub(super) fn closed() -> Self {
        Self {
            begun: Instant::now(),
            is_open: false,
        }
    }

    /// Opens once all were heard, or were waited for long enough.
    pub(super) fn is_open(&mut self, entity: &Entity) -> bool {
        if self.is_open {
            return true;
        }
        let missing = unheard(entity);
        if missing.is_empty() {
            self.is_open = true;
            tracing::info!(
                "all who watch this log were heard; backups are taken and removed as is due"
            );
        } else if self.begun.elapsed() >= PATIENCE {
            self.is_open = true;
            tracing::warn!(
                missing = missing.join(", "),
                "not all who watch this log were heard since the start; backups are taken and removed all the same"
            );
        }
        self.is_open
    }
}

/// Those who cosign the log or follow it, and have not said since the start what they have seen.
fn unheard(entity: &Entity) -> Vec<String> {
    let cosigners = entity.cosigners().map(|cosigners| cosigners.all());
    let cosigners = cosigners.into_iter().flatten();
    let cosigners = cosigners.filter(|cosigner| cosigner.last.is_none());
    let followers = entity.log().places().into_iter();
    let followers = followers.filter(|place| place.name != SECOND_PLACE && place.vouched.is_none());
    let names = cosigners.map(|cosigner| cosigner.name);
    names.chain(followers.map(|place| place.name)).collect()
}
