//! What a log is opened with, and how a start compares the store with what others have seen of it.

use ed25519_dalek::SigningKey;

use super::second::place_source;
use super::state::LogState;
use super::{LogError, PlaceQuorum};
use crate::audit::origin;
use crate::audit::resume::{self, LostCheckpoint, OwnLog};
use crate::audit::seen::{self, Onlooker};
use crate::journal::place::JournalPlace;
use crate::store::{Shard, Store, TreeRow};
use crate::tlog::checkpoint::Checkpoint;

/// What a log needs beside its store.
pub struct LogParts {
    /// Signs the checkpoints.
    pub key: SigningKey,
    /// The second place: holds the log and its last checkpoint outside the store, as
    /// [`journal`](crate::journal) explains.
    pub second: Option<JournalPlace>,
    /// How many places off this machine must hold an act before it counts as safe, and which.
    pub places: PlaceQuorum,
    /// Those who are asked, when the log is opened, what they have seen of it.
    pub onlookers: Vec<Onlooker>,
    /// A loss after which the log may continue; without it, opening a log with a loss fails.
    pub resume: Option<KnownLoss>,
}

/// A loss that an operator has confirmed, after which the log may continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownLoss {
    /// The store is behind the second place, because it was restored: the log continues in a new
    /// shard.
    AfterRestore,
    /// The second place is empty.
    SecondLost,
    /// The store was restored from a backup that no place goes on from: the log continues in a new
    /// shard, whatever others have seen, and an empty second place begins with it.
    WithoutPlaces,
}

impl KnownLoss {
    /// Whether the log continues in a new shard.
    fn ends_shard(self) -> bool {
        matches!(self, Self::AfterRestore | Self::WithoutPlaces)
    }

    /// Whether the second place may be empty.
    fn empties_second(self) -> bool {
        matches!(self, Self::SecondLost | Self::WithoutPlaces)
    }
}

impl LogParts {
    /// A log that signs with `key`, has no second place and asks nobody.
    pub fn new(key: SigningKey) -> Self {
        Self {
            key,
            second: None,
            places: PlaceQuorum::default(),
            onlookers: vec![],
            resume: None,
        }
    }

    /// Compares the store with what the second place and the onlookers have. Returns the loss after
    /// which the log continues, if there is one.
    pub(super) fn compare_seen(
        &self,
        own: OwnLog<'_>,
        (last, year): (Shard, u16),
        state: &mut LogState,
    ) -> Result<Option<LostCheckpoint>, LogError> {
        let second = self.compare_second(own, state)?;
        let others = seen::furthest_lost(own, &self.onlookers, last, year)?;
        let lost = second
            .into_iter()
            .chain(others)
            .max_by_key(LostCheckpoint::reach);
        match lost {
            Some(lost) if !self.resume.is_some_and(KnownLoss::ends_shard) => Err(lost.refusal()),
            None if self.resume == Some(KnownLoss::WithoutPlaces) => own.end_of(last, &self.key),
            lost => Ok(lost),
        }
    }

    /// Compares the store with the second place, and notes what that holds. Returns what it has and
    /// the store has not.
    fn compare_second(
        &self,
        own: OwnLog<'_>,
        state: &mut LogState,
    ) -> Result<Option<LostCheckpoint>, LogError> {
        let Some(second) = self.second.as_ref().map(JournalPlace::checkpoint) else {
            return Ok(None);
        };
        state.second = second.load()?;
        let lost = resume::compare(own, second, state.second.as_deref())?;
        // An empty second place means a first start only if nothing was ever published.
        if let (None, Some((_, last))) = (&state.second, state.published.last_key_value())
            && !self.resume.is_some_and(KnownLoss::empties_second)
        {
            let (origin, published) = (last.checkpoint.origin.clone(), last.checkpoint.size);
            return Err(LogError::SecondLost {
                place: second.path().display().to_string(),
                origin,
                published,
            });
        }
        Ok(lost)
    }

    /// As much of the present shard (`row`) as the checkpoint in the second place covers; `None`
    /// where that is of an earlier shard, or of entries that are lost.
    pub(super) fn covered_by_second(
        &self,
        owner: &str,
        row: &TreeRow,
        state: &LogState,
        lost: bool,
    ) -> Option<TreeRow> {
        let Some(note) = &state.second else {
            let published = state.published.get(&row.shard);
            return published.map(|published| published.tree);
        };
        let (held, _) = Checkpoint::read(note).ok()?;
        let is_present = !lost && held.origin == origin::origin(owner, row.shard);
        is_present.then_some(TreeRow {
            size: held.size,
            root: held.root,
            ..*row
        })
    }

    /// Makes the second place hold what the store has: the present shard as far as `present` says,
    /// and all others.
    pub(super) fn complete_second(
        &self,
        store: &Store,
        owner: &str,
        present: Option<TreeRow>,
    ) -> Result<(), LogError> {
        let Some(second) = &self.second else {
            return Ok(());
        };
        let mut older = store.trees()?;
        older.retain(|tree| present.is_none_or(|present| present.shard != tree.shard));
        Ok(second.complete(place_source(store, owner), &older, present)?)
    }
}
