//! Places that hold the log off its machine: entries and side records, under the log's last
//! checkpoint, so that a store that is restored from a backup can be brought to the present.
//!
//! | module | what it does |
//! |---|---|
//! | [`origin`] | the names of cloison's logs |
//! | `segment`, `tail` | the files of a place: their bytes; their end, where entries are added |
//! | [`place`] | the second place: written by the log's owner before a checkpoint over its entries leaves |
//! | [`offer`] | what owner and follower say to one another |
//! | [`followed`], [`followed_logs`] | a place that a follower writes; those that one side keeps for several |
//! | `follow_fault`, `verified` | why an offer is not taken; what it claims, verified |
//! | `waived` | what a follower may remove, and when |
//! | `whole` | whether a follower's folder still holds every byte that it took |
//! | [`read`] | reading a place, as far as its checkpoint goes, and checking all of it |
//! | [`prune`] | removing from a place what no kept backup needs |
//! | [`versions`] | which versions of the journal secret side records need |
//!
//! ```text
//! PLACE/checkpoint                        the last checkpoint; changes by compare-and-swap only
//! PLACE/2026/00000000000000000000.journal the entries of a shard from that index on
//! ```

mod follow_fault;
pub mod followed;
pub mod followed_logs;
mod intake;
pub mod offer;
pub mod origin;
pub mod place;
pub mod prune;
pub mod read;
mod segment;
mod tail;
mod verified;
pub mod versions;
mod waived;
mod whole;

use std::path::{Path, PathBuf};

use crate::store::Shard;

/// The name of a place's checkpoint.
const CHECKPOINT: &str = "checkpoint";
/// The ending of a segment's name.
const ENDING: &str = ".journal";
/// The ending of a segment that no checkpoint covered, in whose place another one began.
const UNPUBLISHED: &str = "unpublished";

/// The folder of a shard's segments.
fn shard_folder(place: &Path, shard: Shard) -> PathBuf {
    place.join(shard.to_string())
}

/// The segment of a shard that begins with that entry.
fn segment_path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}{ENDING}"))
}

/// The segments in a shard's folder, by the index that they begin with. None if there is no folder.
fn segments(folder: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let mut found = vec![];
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let base = name
            .and_then(|name| name.strip_suffix(ENDING))
            .and_then(|digits| digits.parse().ok())
            .filter(|base| path == segment_path(folder, *base));
        found.extend(base.map(|base| (base, path)));
    }
    found.sort_unstable();
    Ok(found)
}
