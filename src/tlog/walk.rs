//! Checks one log from the signed root down to each of its entries. Every tile is compared with its
//! hash in the parent tile, and every entry with its leaf, so that each finding names its place.
//! Memory stays flat: one tile for each level, one bundle.

use std::fmt;

use serde::Serialize;

use super::base64;
use super::checkpoint::Checkpoint;
use super::path::LogResource;
use super::source::{LogSource, LogSourceError, read_or_wider, split_bundle};
use super::tree::{self, Hash, MerkleTree, TILE_WIDTH, TileId, leaf_hash, tree_hash};

/// Entries between two reports of progress.
const STEP: u64 = 4_096;

/// Something that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogFinding {
    /// Where: an entry, a tile, the checkpoint.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for LogFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What a walk reports to, in the order of the log.
pub trait LogVisitor {
    /// An entry that matches its leaf, and its number.
    fn entry(&mut self, index: u64, entry: &[u8]);

    /// The log contains the checkpoint of `size` entries that was seen before.
    fn contains(&mut self, size: u64);

    /// Something is wrong.
    fn finding(&mut self, finding: LogFinding);

    /// `walked` entries have been checked.
    fn progress(&mut self, walked: u64);
}

/// Walks through the log under `head`, a verified checkpoint, and compares it with checkpoints of
/// it that were `seen` before.
///
/// # Errors
/// [`LogSourceError`] when the log cannot be read at all; everything else is a finding.
pub fn walk(
    source: &dyn LogSource,
    shard: &str,
    head: &Checkpoint,
    seen: &[&Checkpoint],
    visitor: &mut dyn LogVisitor,
) -> Result<(), LogSourceError> {
    let mut seen = seen.to_vec();
    seen.sort_by_key(|checkpoint| checkpoint.size);
    LogWalk {
        source,
        shard,
        head,
        seen,
        tree: MerkleTree::default(),
        visitor,
    }
    .run()
}

struct LogWalk<'w> {
    source: &'w dyn LogSource,
    shard: &'w str,
    head: &'w Checkpoint,
    /// Checkpoints seen before that the walk has not reached, by size.
    seen: Vec<&'w Checkpoint>,
    /// The tree over the entries as they are.
    tree: MerkleTree,
    visitor: &'w mut dyn LogVisitor,
}

/// A bundle of entries, and what the tiles above say about it.
struct Bundle<'t> {
    index: u64,
    width: u16,
    /// Its tile, if there is one.
    tile: Option<&'t [Hash]>,
    /// Whether the tile is that of the signed tree.
    is_verified: bool,
    /// The tile's hash in its parent, if the parent is verified.
    expected: Option<&'t Hash>,
}

impl LogWalk<'_> {
    fn run(&mut self) -> Result<(), LogSourceError> {
        let mut edge = vec![vec![]; tree::LEVELS.into()];
        for (id, width) in tree::edge_tiles(self.head.size) {
            if let Some(hashes) = self.tile(id, width)? {
                edge[usize::from(id.level)] = hashes;
            }
        }
        let top = MerkleTree::from_edge(self.head.size, edge.clone());
        let is_rooted = top.is_some_and(|tree| tree.root() == self.head.root);
        self.compare_seen();
        // The highest level covers the first entries.
        for (id, width) in tree::edge_tiles(self.head.size)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let hashes = &edge[usize::from(id.level)];
            match id.level.checked_sub(1) {
                None => {
                    let tile = Some(&hashes[..]).filter(|hashes| !hashes.is_empty());
                    let bundle = Bundle {
                        index: id.index,
                        width,
                        tile,
                        is_verified: is_rooted,
                        expected: None,
                    };
                    self.entries(&bundle)?;
                }
                Some(level) => {
                    for place in 0..u64::from(width) {
                        let below = TileId {
                            level,
                            index: id.index * TILE_WIDTH as u64 + place,
                        };
                        self.below(below, hashes.get(place as usize).filter(|_| is_rooted))?;
                    }
                }
            }
        }
        self.conclude(&edge, is_rooted);
        self.visitor.progress(self.head.size);
        Ok(())
    }

    /// Checks a full tile and everything below it; `expected` is its hash in the parent, if the
    /// parent is verified.
    fn below(&mut self, id: TileId, expected: Option<&Hash>) -> Result<(), LogSourceError> {
        let tile = self.tile(id, TILE_WIDTH as u16)?;
        let is_verified = match (&tile, expected) {
            (Some(tile), Some(expected)) => tree_hash(tile) == *expected,
            _ => false,
        };
        let Some(level) = id.level.checked_sub(1) else {
            let tile = tile.as_deref();
            return self.entries(&Bundle {
                index: id.index,
                width: TILE_WIDTH as u16,
                tile,
                is_verified,
                expected,
            });
        };
        if expected.is_some() && tile.is_some() && !is_verified {
            self.find(
                tile_name(id),
                "is not the tile of this tree: its hashes do not give the hash that its parent has",
            );
        }
        for place in 0..TILE_WIDTH {
            let below = TileId {
                level,
                index: id.index * TILE_WIDTH as u64 + place as u64,
            };
            self.below(
                below,
                tile.as_ref()
                    .filter(|_| is_verified)
                    .map(|tile| &tile[place]),
            )?;
        }
        Ok(())
    }

    /// Compares the entries of a bundle with their tile.
    fn entries(&mut self, bundle: &Bundle<'_>) -> Result<(), LogSourceError> {
        let resource = LogResource::Entries(bundle.index, bundle.width);
        let first = bundle.index * TILE_WIDTH as u64;
        let bytes = read_or_wider(self.source, self.shard, resource)?;
        let Some(entries) = bytes.as_deref().and_then(split_bundle) else {
            let last = first + u64::from(bundle.width) - 1;
            let how = if bytes.is_none() {
                "is missing"
            } else {
                "is damaged: its lengths do not fit its bytes"
            };
            self.find(
                resource.to_string(),
                format!("{how}; it holds entries {first} to {last}"),
            );
            bundle
                .tile
                .unwrap_or_default()
                .iter()
                .for_each(|leaf| self.push(*leaf));
            return Ok(());
        };
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        self.compare_bundle(bundle, &leaves);
        let verified = bundle.tile.filter(|_| bundle.is_verified);
        for (place, (entry, leaf)) in entries
            .iter()
            .zip(&leaves)
            .enumerate()
            .take(bundle.width.into())
        {
            if verified.is_none_or(|tile| tile.get(place) == Some(leaf)) {
                self.visitor.entry(first + place as u64, entry);
            }
        }
        // Checkpoints seen before are compared with the signed leaves.
        let signed = verified.unwrap_or(&leaves);
        signed
            .iter()
            .take(bundle.width.into())
            .for_each(|leaf| self.push(*leaf));
        Ok(())
    }

    /// Reports where the leaves of a bundle, its tile and the tree above do not fit together.
    fn compare_bundle(&mut self, bundle: &Bundle<'_>, leaves: &[Hash]) {
        let &Bundle {
            index,
            width,
            tile,
            is_verified,
            expected,
        } = bundle;
        let resource = LogResource::Entries(index, width);
        let first = index * TILE_WIDTH as u64;
        match tile {
            Some(tile) if is_verified => self.compare_leaves(resource, first, leaves, tile),
            // The tile is not verified: the hash in its parent decides.
            Some(_) if expected.is_some_and(|expected| tree_hash(leaves) == *expected) => {
                let id = TileId { level: 0, index };
                self.find(
                    tile_name(id),
                    "is not the tile of this tree; the entries below it are the logged ones",
                );
            }
            _ if expected.is_some() => {
                let last = first + u64::from(width) - 1;
                let what = "neither the entries nor their tile are those of this tree";
                self.find(
                    resource.to_string(),
                    format!("{what} (entries {first} to {last})"),
                );
            }
            _ if leaves.len() != usize::from(width) => {
                let next = first + leaves.len() as u64;
                let what = format!(
                    "has {} entries where {width} belong: entries from {next} on",
                    leaves.len()
                );
                self.find(resource.to_string(), what);
            }
            _ => {}
        }
    }

    /// Reports how leaves differ from the tile that they belong to.
    fn compare_leaves(
        &mut self,
        resource: LogResource,
        first: u64,
        leaves: &[Hash],
        tile: &[Hash],
    ) {
        if leaves == tile {
            return;
        }
        let shift = leaves.len() != tile.len();
        let differing = (0..tile.len().max(leaves.len()))
            .filter(|place| leaves.get(*place) != tile.get(*place));
        for place in differing.collect::<Vec<_>>() {
            let entry = first + place as u64;
            let (found, wanted) = (leaves.get(place), tile.get(place));
            let logged_at = found.and_then(|found| tile.iter().position(|leaf| leaf == found));
            let what = match (found, wanted) {
                (None, _) => "is missing: the log has it, these files do not".to_owned(),
                (Some(_), None) => "stands here but was never logged".to_owned(),
                (Some(found), Some(_)) if shift && tile.get(place + 1) == Some(found) => {
                    "was removed: the next entry stands in its place".to_owned()
                }
                (Some(_), Some(wanted)) if shift && leaves.get(place + 1) == Some(wanted) => {
                    "was inserted: the entry that belongs here follows it".to_owned()
                }
                (Some(_), Some(_)) if logged_at.is_some() => {
                    format!(
                        "is entry {} of the log: entries were reordered",
                        first + logged_at.unwrap_or(0) as u64
                    )
                }
                (Some(found), Some(wanted)) => {
                    format!(
                        "was changed: it hashes to {}, and {} was logged",
                        shown(found),
                        shown(wanted)
                    )
                }
            };
            self.find(format!("entry {entry} ({resource})"), what);
            // After a missing or an extra entry, every later entry is shifted.
            if shift {
                break;
            }
        }
    }

    fn push(&mut self, leaf: Hash) {
        self.tree.push(leaf, |_, _| {});
        if self.tree.size().is_multiple_of(STEP) {
            self.visitor.progress(self.tree.size());
        }
        self.compare_seen();
    }

    /// Where the walk has reached the size of a checkpoint seen before, the roots must be the same.
    fn compare_seen(&mut self) {
        while let Some(seen) = self
            .seen
            .first()
            .copied()
            .filter(|seen| seen.size == self.tree.size())
        {
            let (size, root) = (seen.size, self.tree.root());
            if root == seen.root {
                self.visitor.contains(size);
            } else {
                self.find(
                    format!("entries before {size}"),
                    format!(
                        "the log was rewritten or forked: a checkpoint kept from before has the root {} over them, the \
                         log now gives {}",
                        shown(&seen.root),
                        shown(&root)
                    ),
                );
            }
            self.seen.remove(0);
        }
    }

    /// Compares entries, edge tiles and checkpoint with one another.
    fn conclude(&mut self, edge: &[Vec<Hash>], is_rooted: bool) {
        let missing = self.head.size.saturating_sub(self.tree.size());
        if missing > 0 {
            self.find(
                format!("entry {}", self.tree.size()),
                format!(
                    "the log ends here: {missing} entries that the checkpoint covers are missing"
                ),
            );
        }
        if is_rooted {
            return;
        }
        if self.tree.size() == self.head.size && self.tree.root() == self.head.root {
            for (id, width) in tree::edge_tiles(self.head.size) {
                let theirs = &edge[usize::from(id.level)];
                if !theirs.is_empty() && self.tree.edge(id.level) != theirs {
                    let name = LogResource::Tile(id, width).to_string();
                    self.find(
                        name,
                        "is not the tile of this tree; the entries below it are the logged ones",
                    );
                }
            }
            return;
        }
        if !self.compare_edge(edge) {
            let what = format!(
                "was signed over other entries: it states the root {}, these {} entries give {}",
                shown(&self.head.root),
                self.tree.size(),
                shown(&self.tree.root())
            );
            self.find("checkpoint".to_owned(), what);
        }
    }

    /// Reports where the edge tiles differ from those of the tree over the entries; returns whether
    /// any does.
    fn compare_edge(&mut self, edge: &[Vec<Hash>]) -> bool {
        let mut tiles_differ = false;
        for (id, width) in tree::edge_tiles(self.head.size) {
            let (ours, theirs) = (
                self.tree.edge(id.level).to_vec(),
                &edge[usize::from(id.level)],
            );
            let Some(place) = (0..ours.len().max(theirs.len()))
                .find(|place| ours.get(*place) != theirs.get(*place))
            else {
                continue;
            };
            tiles_differ = true;
            let span = 1u64 << (tree::TILE_HEIGHT * u32::from(id.level));
            let first = (id.index * TILE_WIDTH as u64 + place as u64) * span;
            let last = (first + span - 1).min(self.head.size.saturating_sub(1));
            let where_to = if first == last {
                format!("entry {first}")
            } else {
                format!("entries {first} to {last}")
            };
            let name = LogResource::Tile(id, width);
            self.find(
                where_to,
                format!("differs from {name}, and the tree does not give the signed root"),
            );
        }
        tiles_differ
    }

    /// A tile's hashes; `None`, with a finding, if it is missing or damaged.
    fn tile(&mut self, id: TileId, width: u16) -> Result<Option<Vec<Hash>>, LogSourceError> {
        let resource = LogResource::Tile(id, width);
        let Some(bytes) = read_or_wider(self.source, self.shard, resource)? else {
            self.find(resource.to_string(), "is missing");
            return Ok(None);
        };
        let hashes = tree::tile_hashes(&bytes).filter(|hashes| hashes.len() == usize::from(width));
        if hashes.is_none() {
            let what = format!(
                "has {} bytes; {width} hashes have {}",
                bytes.len(),
                usize::from(width) * 32
            );
            self.find(resource.to_string(), what);
        }
        Ok(hashes)
    }

    fn find(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.visitor.finding(LogFinding {
            place: place.into(),
            what: what.into(),
        });
    }
}

fn tile_name(id: TileId) -> String {
    LogResource::Tile(id, TILE_WIDTH as u16).to_string()
}

/// A root as people see it.
fn shown(root: &Hash) -> String {
    base64::encode(root)
}
