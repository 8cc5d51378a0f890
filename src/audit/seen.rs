//! What others have seen of our log.
//!
//! A checkpoint that our own key signed, and that our store does not contain, shows that an older
//! copy of the store was brought back, or that another process extends the same log. Nothing may be
//! served then: what the checkpoint covers was in force, and this store does not know it. Those who
//! saw it cannot make it up, because only our key signs our checkpoints.

use std::collections::BTreeSet;

use super::cosign::WitnessLink;
use super::origin;
use super::resume::{LostCheckpoint, OwnLog};
use crate::store::{Shard, StoreError};

/// One who remembers the last checkpoint of our log that they saw.
pub struct Onlooker {
    /// How messages name them: `the witness …`, `the vault at …`.
    pub name: String,
    /// The connection to them.
    pub link: Box<dyn WitnessLink>,
}

/// A checkpoint of our log as somebody shows it.
#[derive(Debug, Clone)]
pub struct SeenCheckpoint {
    /// Who shows it, as [`Onlooker::name`].
    pub by: String,
    /// The signed note, unverified.
    pub note: Vec<u8>,
}

impl Onlooker {
    fn seen(&self, origins: &[String]) -> Vec<SeenCheckpoint> {
        let seen = |note| SeenCheckpoint {
            by: self.name.clone(),
            note,
        };
        let mut found = vec![];
        for origin in origins {
            match self.link.last(origin) {
                Ok(note) => found.extend(note.map(seen)),
                // One that is away says nothing, and need not be asked again.
                Err(why) => {
                    tracing::debug!(who = self.name, why, "does not say what it has seen");
                    break;
                }
            }
        }
        found
    }
}

/// Asks all onlookers at the same time what they have seen of a log that ends with the shard
/// `last`, in the year `year`. Returns what reaches furthest among what the store lacks.
///
/// # Errors
/// [`StoreError`] of reading the own log.
pub(super) fn furthest_lost(
    own: OwnLog<'_>,
    onlookers: &[Onlooker],
    last: Shard,
    year: u16,
) -> Result<Option<LostCheckpoint>, StoreError> {
    // What an older copy lacks is of its last shard, of one that began in its stead, or of this
    // year.
    let resumed = Shard {
        part: last.part.saturating_add(1),
        ..last
    };
    let shards = BTreeSet::from([last, resumed, Shard::of(year)]);
    let origins: Vec<String> = shards
        .into_iter()
        .map(|shard| origin::origin(own.owner, shard))
        .collect();
    let seen: Vec<SeenCheckpoint> = std::thread::scope(|scope| {
        let asked: Vec<_> = onlookers
            .iter()
            .map(|onlooker| scope.spawn(|| onlooker.seen(&origins)))
            .collect();
        let answered = asked.into_iter().filter_map(|thread| thread.join().ok());
        answered.flatten().collect()
    });
    let mut furthest: Option<LostCheckpoint> = None;
    for seen in &seen {
        let lost = own.lost(seen)?;
        furthest = furthest
            .into_iter()
            .chain(lost)
            .max_by_key(LostCheckpoint::reach);
    }
    Ok(furthest)
}
