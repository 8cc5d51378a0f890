//! Whether a follower's folder still holds every byte that it took, as far as that can be told without
//! a key: each frame has a sum, each segment begins where the one before it ends, and the last ends
//! with the checkpoint.

use std::io;
use std::path::{Path, PathBuf};

use super::prune::shards;
use super::segment::SegmentReader;
use super::segments;
use super::tail::CoveredEntries;
use crate::tlog::tree::MerkleTree;

/// Reads the folder up to the last entries that its checkpoint covers. Returns the first segment, or
/// shard's folder, that is not as it was; `None` if all is.
pub(super) fn first_changed(place: &Path, last: CoveredEntries) -> io::Result<Option<PathBuf>> {
    for (shard, folder) in shards(place)? {
        if shard > last.shard {
            continue;
        }
        // What a kill left behind the checkpoint was never held.
        let end = if shard == last.shard {
            last.size
        } else {
            u64::MAX
        };
        let mut before: Option<MerkleTree> = None;
        for (base, path) in segments(&folder)? {
            if base > end {
                continue;
            }
            let Some(mut reader) = SegmentReader::open(&path)? else {
                return Ok(Some(path));
            };
            let mut tree = std::mem::take(&mut reader.before);
            if before
                .is_some_and(|before| (before.size(), before.root()) != (tree.size(), tree.root()))
            {
                return Ok(Some(path));
            }
            while tree.size() < end {
                let Some(frame) = reader.next()? else { break };
                tree.push(frame.leaf, |_, _| {});
            }
            before = Some(tree);
        }
        let covers = |tree: MerkleTree| (tree.size(), tree.root()) == (last.size, last.root);
        if shard == last.shard && !before.is_some_and(covers) {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}
