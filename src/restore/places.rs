//! Which place has the log after a backup. A place's checkpoint is signed by the log's own key, so a
//! place cannot make up a log; but two places can hold logs that went different ways, and then people
//! decide which one counts.

use super::RestoreError;
use crate::backup::branch::store_contains;
use crate::backup::manifest::BackupLogHead;
use crate::journal::read::PlaceLog;
use crate::store::{Shard, Store};
use crate::tlog::checkpoint::Checkpoint;

/// The place that reaches furthest.
pub fn furthest(places: &[PlaceLog]) -> Option<&PlaceLog> {
    places.iter().max_by_key(|place| end_of(place))
}

/// The place that holds most of the log, if it holds more than the backup does.
///
/// # Errors
/// [`RestoreError::Diverging`]: two places, or a place and the backup, are not one log.
/// [`RestoreError::Gap`]: a place begins after the end of the store. [`RestoreError::Place`].
pub fn longest<'p>(
    places: &'p [PlaceLog],
    store: &Store,
    head: &BackupLogHead,
) -> Result<Option<&'p PlaceLog>, RestoreError> {
    let Some(most) = furthest(places) else {
        return Ok(None);
    };
    for place in places {
        let other = &place.checkpoint;
        let is_in = most.contains(other)?;
        // What the longest place no longer holds, the backup may.
        if !is_in.map_or_else(|| store_contains(store, other), Ok)? {
            return Err(diverging(&other.origin, other.size, &most.checkpoint));
        }
    }
    let end = Checkpoint {
        origin: head.origin.clone(),
        size: head.size,
        root: head.root,
    };
    if end_of(most) <= head.position() {
        return if store_contains(store, &most.checkpoint)? {
            Ok(None)
        } else {
            Err(diverging(&end.origin, end.size, &most.checkpoint))
        };
    }
    match most.contains(&end)? {
        Some(true) => Ok(Some(most)),
        Some(false) => Err(diverging(&end.origin, end.size, &most.checkpoint)),
        None => Err(RestoreError::Gap {
            origin: end.origin,
            size: end.size,
        }),
    }
}

fn end_of(place: &PlaceLog) -> Option<(Shard, u64)> {
    let last = place.shards.last()?;
    Some((last.shard, place.checkpoint.size))
}

fn diverging(origin: &str, size: u64, most: &Checkpoint) -> RestoreError {
    RestoreError::Diverging {
        origin: origin.to_owned(),
        size,
        other: most.origin.clone(),
        other_size: most.size,
    }
}
