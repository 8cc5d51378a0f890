//! The side record of a commit: what it changes in the columns of state. Sealed, and named by the
//! commit's last entry, so that the log is the journal of the state.
//!
//! Day counts and the clock's mark change with nearly every commit. They travel at most once a
//! second, in the record of the commit that is due then, so that a batch of persons who are known
//! already costs nothing. The mark is written to the store no more often either: what it guards
//! against are minutes. At an identity source day counts travel with their own commit, so that not
//! even a second's worth of guesses is renewed by a restore.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::seal::journal::JournalCipher;
use crate::store::{ColumnName, StateChange, StateChanges};

/// How long day counts may wait for a record, and how far the stored mark may be behind.
const EVERY: SignedDuration = SignedDuration::from_secs(1);

/// What the writer knows of its side records.
pub(super) struct CommitJournal {
    /// Seals them.
    pub(super) cipher: Arc<JournalCipher>,
    /// Day counts that no record has yet.
    counts: BTreeMap<(ColumnName, Vec<u8>), Vec<u8>>,
    /// Whether day counts are never put off beyond their commit.
    counts_at_once: bool,
    /// When the last record was made.
    last: Option<Timestamp>,
}

impl CommitJournal {
    pub(super) fn new(cipher: Arc<JournalCipher>, counts_at_once: bool) -> Self {
        Self {
            cipher,
            counts: BTreeMap::new(),
            counts_at_once,
            last: None,
        }
    }

    /// Puts off day counts: of each, only the last value matters.
    pub(super) fn put_off(&mut self, counts: &StateChanges) {
        for change in counts.iter().flatten() {
            if let StateChange::Put { column, key, value } = change {
                self.counts.insert((column, key.to_vec()), value.to_vec());
            }
        }
    }

    /// Whether a commit has a record: it changes state, or the last record is a second old, or the
    /// clock was set back behind it.
    pub(super) fn is_due(&self, changes: &StateChanges, now: Timestamp, last: bool) -> bool {
        !changes.is_empty()
            || (last || self.counts_at_once) && !self.counts.is_empty()
            || self
                .last
                .is_none_or(|last| now < last || now.duration_since(last) >= EVERY)
    }

    /// Whether a commit without an entry gets one for its record.
    pub(super) fn needs_entry(&self, changes: &StateChanges, now: Timestamp, last: bool) -> bool {
        let waits = !changes.is_empty() || !self.counts.is_empty();
        waits && self.is_due(changes, now, last)
    }

    /// The record of a commit that is due: its own changes, and the counts that waited.
    pub(super) fn record(&mut self, mut changes: StateChanges, now: Timestamp) -> StateChanges {
        for ((column, key), value) in std::mem::take(&mut self.counts) {
            let (key, value) = (&key[..], &value[..]);
            changes.push(StateChange::Put { column, key, value });
        }
        self.last = Some(now);
        changes
    }
}
