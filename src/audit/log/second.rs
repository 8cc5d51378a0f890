//! The second place while the log runs: looked at every second, pruned, begun anew.

use super::Log;
use super::publish::EVERY;
use crate::audit::shard_reader::ShardReader;
use crate::journal::place::{JournalPlace, PlaceSource};
use crate::journal::prune::{LogPlace, PrunedSegments};
use crate::store::{Store, StoreError};
use crate::system::lock::unpoisoned;

/// What is written to the second place: a log in its store.
pub(super) fn place_source<'s>(store: &'s Store, owner: &'s str) -> PlaceSource<'s> {
    PlaceSource {
        store,
        owner,
        tree_at: |store, row, size| ShardReader::new(store, row, size).tree(),
    }
}

impl Log {
    /// Why no checkpoint can be published at present.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        let away = |why: &String| format!("the second place cannot be reached: {why}");
        state
            .trouble
            .clone()
            .or_else(|| state.away.as_ref().map(away))
    }

    /// Checks that the second place still holds what was last put there. While it cannot be
    /// reached, [`trouble`](Self::trouble) says so, and this is not an error. Called about every
    /// second.
    ///
    /// # Errors
    /// [`StoreError::SecondDisplaced`]
    pub fn look_at_second(&self) -> Result<(), StoreError> {
        let Some(second) = self.second.as_ref().map(JournalPlace::checkpoint) else {
            return Ok(());
        };
        // While it is being changed, the change itself compares.
        let Ok(_changing) = self.publishing.try_lock() else {
            return Ok(());
        };
        let Some(held) = self.state().second.clone() else {
            return Ok(());
        };
        let found = second.still_holds(&held);
        let away = found.as_ref().err().map(ToString::to_string);
        let before = std::mem::replace(&mut self.state().away, away.clone());
        match (before, away) {
            (None, Some(why)) => tracing::warn!(why, "the second place cannot be reached"),
            (Some(_), None) => tracing::info!("the second place can be reached again"),
            _ => {}
        }
        match found {
            Ok(true) | Err(_) => Ok(()),
            Ok(false) => Err(StoreError::SecondDisplaced(second.path().to_owned())),
        }
    }

    /// Removes from the second place the segments that lie wholly before `needed`. Waits a little
    /// for what is durable to be there, so that a segment that was to be begun is.
    ///
    /// # Errors
    /// As [`JournalPlace::prune`].
    pub fn prune_second(&self, needed: LogPlace) -> std::io::Result<PrunedSegments> {
        let head = self.state().durable;
        if let Some(head) = head.filter(|_| self.second.is_some()) {
            let _ = self.offered_with(head.shard, head.size, 2 * EVERY);
        }
        let _publishing = unpoisoned(self.publishing.lock());
        let second = self.second.as_ref();
        second.map_or_else(
            || Ok(PrunedSegments::default()),
            |second| second.prune(needed),
        )
    }

    /// Begins a segment in the second place with the next entries.
    pub fn turn_second(&self) {
        self.second.iter().for_each(JournalPlace::turn);
    }

    /// Whether the second place held a checkpoint that this log did not put there.
    pub fn is_forked(&self) -> bool {
        self.state().forked
    }
}
