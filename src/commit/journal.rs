//! The side record of a commit: what it changes in the columns of state. Sealed, and named by the
//! commit's last entry, so that the log is the journal of the state.
//!
//! Day counts and the clock's mark change with nearly every commit. They travel at most once a
//! second, in the record of the commit that is due then, so that a batch of persons who are known
//! already costs nothing.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::seal::journal::JournalCipher;
use crate::store::{ColumnName, StateChange, StateChanges};

/// How long day counts and the clock's mark may wait for a record.
const EVERY: SignedDuration = SignedDuration::from_secs(1);

/// What the writer knows of its side records.
pub(super) struct CommitJournal {
    /// Seals them.
    pub(super) cipher: JournalCipher,
    /// Rows of which only the last value matters, and which no record has yet.
    waiting: BTreeMap<(ColumnName, Vec<u8>), Vec<u8>>,
    /// Whether one of these is a day count: they do not wait for the next entry.
    counts_wait: bool,
    /// When the last record with such rows was made.
    last: Option<Timestamp>,
}

impl CommitJournal {
    pub(super) fn new(cipher: JournalCipher) -> Self {
        Self {
            cipher,
            waiting: BTreeMap::new(),
            counts_wait: false,
            last: None,
        }
    }

    /// Notes rows that may wait: day counts (`count`), or the clock's mark.
    pub(super) fn put_off(&mut self, changes: &StateChanges, count: bool) {
        for change in changes.iter().flatten() {
            if let StateChange::Put { column, key, value } = change {
                self.waiting.insert((column, key.to_vec()), value.to_vec());
                self.counts_wait |= count;
            }
        }
    }

    /// Whether a commit without an entry needs one for its record.
    pub(super) fn needs_entry(&self, changes: &StateChanges, now: Timestamp, last: bool) -> bool {
        let waits = self.counts_wait || last && !self.waiting.is_empty();
        !changes.is_empty() || waits && (last || self.is_due(now))
    }

    /// The commit's record: its own changes, and those that waited long enough. `None` where there
    /// is nothing to record.
    pub(super) fn record(
        &mut self,
        mut changes: StateChanges,
        now: Timestamp,
        last: bool,
    ) -> Option<StateChanges> {
        if !changes.is_empty() || last || self.is_due(now) {
            for ((column, key), value) in std::mem::take(&mut self.waiting) {
                changes.push(StateChange::Put {
                    column,
                    key: &key,
                    value: &value,
                });
            }
            self.counts_wait = false;
            self.last = Some(now);
        }
        (!changes.is_empty()).then_some(changes)
    }

    /// Whether the last record is a second old, or the clock was set back behind it.
    fn is_due(&self, now: Timestamp) -> bool {
        self.last
            .is_none_or(|last| now < last || now.duration_since(last) >= EVERY)
    }
}
