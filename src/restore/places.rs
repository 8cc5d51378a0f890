//! Which place has the log after a backup. A place's checkpoint is signed by the log's own key, so
//! a place cannot make up a log; but two places can hold logs that went different ways, and then
//! people decide which one counts.

use super::{LogHolding, RestoreError};
use crate::backup::branch::store_contains;
use crate::backup::manifest::BackupLogHead;
use crate::journal::read::PlaceLog;
use crate::store::Store;

/// The place that reaches furthest.
pub fn furthest(places: &[PlaceLog]) -> Option<&PlaceLog> {
    places.iter().max_by_key(|place| place.end())
}

/// The place that holds most of the log, if it holds more than the backup does, whose end is `head`
/// and which messages call `what`.
///
/// # Errors
/// [`RestoreError::Diverging`]: two places, or a place and the backup, are not one log.
/// [`RestoreError::Gap`]: a place begins after the end of the store. [`RestoreError::Place`].
pub fn longest<'p>(
    places: &'p [PlaceLog],
    store: &Store,
    (what, head): (&str, &BackupLogHead),
) -> Result<Option<&'p PlaceLog>, RestoreError> {
    let Some(most) = furthest(places) else {
        return Ok(None);
    };
    for place in places {
        let other = &place.checkpoint;
        let is_in = most.contains(other)?;
        // What the longest place no longer holds, the backup may.
        if !is_in.map_or_else(|| store_contains(store, other), Ok)? {
            return Err(diverging(holding(place), most));
        }
    }
    let end = head.checkpoint();
    let base = || LogHolding {
        holder: what.to_owned(),
        origin: head.origin.clone(),
        size: head.size,
    };
    if most.end() <= head.position() {
        return if store_contains(store, &most.checkpoint)? {
            Ok(None)
        } else {
            Err(diverging(base(), most))
        };
    }
    match most.contains(&end)? {
        Some(true) => Ok(Some(most)),
        Some(false) => Err(diverging(base(), most)),
        None => Err(RestoreError::Gap {
            origin: end.origin,
            size: end.size,
        }),
    }
}

fn holding(place: &PlaceLog) -> LogHolding {
    LogHolding {
        holder: place.folder().display().to_string(),
        origin: place.checkpoint.origin.clone(),
        size: place.checkpoint.size,
    }
}

fn diverging(one: LogHolding, most: &PlaceLog) -> RestoreError {
    let longest = holding(most);
    RestoreError::Diverging { one, longest }
}
