//! The walk from the root of one log down to each of its entries.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::report::{Backwards, Finding, LogReport};
use super::{Progress, shown};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::path::Resource;
use crate::audit::source::{Source, SourceError, read_or_wider, split_bundle};
use crate::audit::tree::{self, Hash, TILE_WIDTH, TileId, Tree, leaf_hash, tree_hash};
use crate::clock::ClockBehind;

/// Findings that are listed one by one.
const MOST_FINDINGS: usize = 20;
/// Entries between two reports of progress.
const STEP: u64 = 4_096;

pub(super) struct Walk<'w, 'p> {
    source: &'w dyn Source,
    shard: &'w str,
    head: &'w Checkpoint,
    /// Checkpoints seen before, by size.
    kept: Vec<&'w Checkpoint>,
    /// The tree over the entries as they are.
    tree: Tree,
    log: &'w mut LogReport,
    progress: Progress<'p>,
    /// The first entry.
    pub(super) first: Option<Vec<u8>>,
    /// The latest time of an entry so far, also of the logs before; empty before there is one.
    pub(super) latest: String,
    /// Whether the last entry was behind that by more than clocks are.
    is_behind: bool,
}

/// What every entry has.
#[derive(Deserialize)]
struct Common<'e> {
    #[serde(borrow)]
    time: Cow<'e, str>,
    #[serde(borrow)]
    event: Cow<'e, str>,
}

impl<'w, 'p> Walk<'w, 'p> {
    pub(super) fn new(
        source: &'w dyn Source,
        shard: &'w str,
        head: &'w Checkpoint,
        kept: &[&'w Checkpoint],
        log: &'w mut LogReport,
        progress: Progress<'p>,
    ) -> Self {
        let mut kept = kept.to_vec();
        kept.sort_by_key(|checkpoint| checkpoint.size);
        let (tree, first, latest) = (Tree::default(), None, String::new());
        Self { source, shard, head, kept, tree, log, progress, first, latest, is_behind: false }
    }

    pub(super) fn run(&mut self) -> Result<(), SourceError> {
        let mut edge = vec![vec![]; tree::LEVELS.into()];
        for (id, width) in tree::edge_tiles(self.head.size) {
            if let Some(hashes) = self.tile(id, width)? {
                edge[usize::from(id.level)] = hashes;
            }
        }
        let top = Tree::from_edge(self.head.size, edge.clone());
        let is_rooted = top.is_some_and(|tree| tree.root() == self.head.root);
        self.compare_kept();
        // The highest level covers the first entries.
        for (id, width) in tree::edge_tiles(self.head.size).collect::<Vec<_>>().into_iter().rev() {
            let hashes = &edge[usize::from(id.level)];
            match id.level.checked_sub(1) {
                None => self.entries(
                    id.index,
                    width,
                    Some(&hashes[..]).filter(|hashes| !hashes.is_empty()),
                    is_rooted,
                    None,
                )?,
                Some(level) => {
                    for place in 0..u64::from(width) {
                        let below = TileId { level, index: id.index * TILE_WIDTH as u64 + place };
                        self.below(below, hashes.get(place as usize).filter(|_| is_rooted))?;
                    }
                }
            }
        }
        self.conclude(&edge, is_rooted);
        (self.progress)(&self.head.origin, self.head.size, self.head.size);
        Ok(())
    }

    /// A full tile and all that is below it; `expected` is what its parent has of it, where the parent is believed.
    fn below(&mut self, id: TileId, expected: Option<&Hash>) -> Result<(), SourceError> {
        let tile = self.tile(id, TILE_WIDTH as u16)?;
        let is_believed = match (&tile, expected) {
            (Some(tile), Some(expected)) => tree_hash(tile) == *expected,
            _ => false,
        };
        let Some(level) = id.level.checked_sub(1) else {
            return self.entries(id.index, TILE_WIDTH as u16, tile.as_deref(), is_believed, expected);
        };
        if expected.is_some() && tile.is_some() && !is_believed {
            self.find(
                tile_name(id),
                "is not the tile of this tree: its hashes do not give the hash that its parent has",
            );
        }
        for place in 0..TILE_WIDTH {
            let below = TileId { level, index: id.index * TILE_WIDTH as u64 + place as u64 };
            self.below(below, tile.as_ref().filter(|_| is_believed).map(|tile| &tile[place]))?;
        }
        Ok(())
    }

    /// A bundle of entries against their tile.
    fn entries(
        &mut self,
        index: u64,
        width: u16,
        tile: Option<&[Hash]>,
        is_believed: bool,
        expected: Option<&Hash>,
    ) -> Result<(), SourceError> {
        let resource = Resource::Entries(index, width);
        let first = index * TILE_WIDTH as u64;
        let bundle = read_or_wider(self.source, self.shard, resource)?;
        let entries = bundle.as_deref().and_then(split_bundle);
        let Some(entries) = entries else {
            let last = first + u64::from(width) - 1;
            let how = if bundle.is_none() { "is missing" } else { "is damaged: its lengths do not fit its bytes" };
            self.find(resource.to_string(), format!("{how}; it holds entries {first} to {last}"));
            tile.unwrap_or_default().iter().for_each(|leaf| self.push(*leaf));
            return Ok(());
        };
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        match tile {
            Some(tile) if is_believed => self.compare(resource, first, &leaves, tile),
            // Entries and tile against what is above both.
            _ if expected.is_some_and(|expected| tree_hash(&leaves) == *expected) && tile.is_some() => {
                let id = TileId { level: 0, index };
                self.find(tile_name(id), "is not the tile of this tree; the entries below it are the logged ones");
            }
            _ if expected.is_some() => {
                let last = first + u64::from(width) - 1;
                let what =
                    format!("neither the entries nor their tile are those of this tree (entries {first} to {last})");
                self.find(resource.to_string(), what);
            }
            _ if leaves.len() != usize::from(width) => self.find(
                resource.to_string(),
                format!(
                    "has {} entries where {width} belong: entries from {} on",
                    leaves.len(),
                    first + leaves.len() as u64
                ),
            ),
            _ => {}
        }
        for (place, (entry, leaf)) in entries.iter().zip(&leaves).enumerate().take(width.into()) {
            let logged = match tile.filter(|_| is_believed) {
                Some(tile) => tile.get(place) == Some(leaf),
                None => true,
            };
            if logged {
                self.examine(first + place as u64, entry);
            }
        }
        // What is signed is what checkpoints kept from before are held against.
        let signed = tile.filter(|_| is_believed).unwrap_or(&leaves);
        signed.iter().take(width.into()).for_each(|leaf| self.push(*leaf));
        Ok(())
    }

    /// Says how leaves differ from the tile that they belong to.
    fn compare(&mut self, resource: Resource, first: u64, leaves: &[Hash], tile: &[Hash]) {
        if leaves == tile {
            return;
        }
        let shift = leaves.len() != tile.len();
        let differing = (0..tile.len().max(leaves.len())).filter(|place| leaves.get(*place) != tile.get(*place));
        for place in differing.collect::<Vec<_>>() {
            let entry = first + place as u64;
            let (found, wanted) = (leaves.get(place), tile.get(place));
            let logged_at = found.and_then(|found| tile.iter().position(|leaf| leaf == found));
            let what = match (found, wanted) {
                (None, _) => "is missing: the log has it, these files do not".to_owned(),
                (Some(_), None) => "stands here and was never logged".to_owned(),
                (Some(found), Some(_)) if shift && tile.get(place + 1) == Some(found) => {
                    "was taken out: what followed it stands in its place".to_owned()
                }
                (Some(_), Some(wanted)) if shift && leaves.get(place + 1) == Some(wanted) => {
                    "was put in: what stood here follows it".to_owned()
                }
                (Some(_), Some(_)) if logged_at.is_some() => {
                    format!("is entry {} of the log: entries were reordered", first + logged_at.unwrap_or(0) as u64)
                }
                (Some(found), Some(wanted)) => {
                    format!("was changed: it hashes to {}, and {} was logged", shown(found), shown(wanted))
                }
            };
            self.find(format!("entry {entry} ({resource})"), what);
            // Behind an entry that is gone or too many everything is out of step.
            if shift {
                break;
            }
        }
    }

    /// What any entry must be, whoever wrote it.
    fn examine(&mut self, index: u64, entry: &[u8]) {
        if index == 0 {
            self.first = Some(entry.to_vec());
        }
        self.log.checked += 1;
        let canonical = serde_json::from_slice::<serde_json::Value>(entry)
            .is_ok_and(|value| serde_json::to_vec(&value).is_ok_and(|bytes| bytes == entry));
        let common = serde_json::from_slice::<Common<'_>>(entry);
        match common {
            Ok(common) if canonical => {
                self.compare_times(index, &common.time);
                match self.log.events.get_mut(&*common.event) {
                    Some(count) => *count += 1,
                    None => drop(self.log.events.insert(common.event.into_owned(), 1)),
                }
                if self.log.earliest.as_deref().is_none_or(|earliest| &*common.time < earliest) {
                    self.log.earliest = Some(common.time.to_string());
                }
                if self.log.latest.as_deref().is_none_or(|latest| &*common.time > latest) {
                    self.log.latest = Some(common.time.into_owned());
                }
            }
            _ => self.find(
                format!("entry {index}"),
                "is logged and yet is no entry: not canonical JSON with time and event",
            ),
        }
    }

    /// Notes where times begin to run backwards. Requests that wait a little become durable behind younger ones, so that only
    /// what clocks do not do by themselves counts.
    fn compare_times(&mut self, index: u64, time: &str) {
        // Nearly always later, and in one spelling: compared as text.
        if *time >= *self.latest {
            self.latest.clear();
            self.latest.push_str(time);
            self.is_behind = false;
            return;
        }
        let (now, mark) = (time.parse::<Timestamp>(), self.latest.parse::<Timestamp>());
        let (Ok(now), Ok(mark)) = (now, mark) else { return };
        let is_behind = now < ClockBehind { now, mark }.until();
        if is_behind && !self.is_behind && self.log.backwards.len() < MOST_FINDINGS {
            self.log.backwards.push(Backwards { entry: index, time: time.to_owned(), after: self.latest.clone() });
        }
        self.is_behind = is_behind;
    }

    fn push(&mut self, leaf: Hash) {
        self.tree.push(leaf, |_, _| {});
        if self.tree.size().is_multiple_of(STEP) {
            (self.progress)(&self.head.origin, self.tree.size(), self.head.size);
        }
        self.compare_kept();
    }

    /// Where the walk stands at the size of a checkpoint seen before, the roots must be the same.
    fn compare_kept(&mut self) {
        while let Some(kept) = self.kept.first().filter(|kept| kept.size == self.tree.size()) {
            let (size, root) = (kept.size, self.tree.root());
            match root == kept.root {
                true => self.log.contains.push(size),
                false => self.find(
                    format!("entries before {size}"),
                    format!(
                        "the log was rewritten or forked: a checkpoint kept from before has the root {} over them, the \
                         log now gives {}",
                        shown(&kept.root),
                        shown(&root)
                    ),
                ),
            }
            self.kept.remove(0);
        }
    }

    /// Entries, edge tiles and checkpoint against one another.
    fn conclude(&mut self, edge: &[Vec<Hash>], is_rooted: bool) {
        let missing = self.head.size.saturating_sub(self.tree.size());
        if missing > 0 {
            self.find(
                format!("entry {}", self.tree.size()),
                format!("the log ends here: {missing} entries that the checkpoint covers are missing"),
            );
        }
        if is_rooted {
            return;
        }
        if self.tree.size() == self.head.size && self.tree.root() == self.head.root {
            for (id, width) in tree::edge_tiles(self.head.size) {
                let theirs = &edge[usize::from(id.level)];
                if !theirs.is_empty() && self.tree.edge(id.level) != theirs {
                    let name = Resource::Tile(id, width).to_string();
                    self.find(name, "is not the tile of this tree; the entries below it are the logged ones");
                }
            }
            return;
        }
        let mut tiles_differ = false;
        for (id, width) in tree::edge_tiles(self.head.size) {
            let (ours, theirs) = (self.tree.edge(id.level).to_vec(), &edge[usize::from(id.level)]);
            let Some(place) = (0..ours.len().max(theirs.len())).find(|place| ours.get(*place) != theirs.get(*place))
            else {
                continue;
            };
            tiles_differ = true;
            let span = 1u64 << (tree::TILE_HEIGHT * u32::from(id.level));
            let first = (id.index * TILE_WIDTH as u64 + place as u64) * span;
            let last = (first + span - 1).min(self.head.size.saturating_sub(1));
            let where_to = if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") };
            let name = Resource::Tile(id, width);
            self.find(where_to, format!("differs from {name}, and the tree gives not the root that was signed"));
        }
        if !tiles_differ {
            let what = format!(
                "was signed over other entries: it states the root {}, these {} entries give {}",
                shown(&self.head.root),
                self.tree.size(),
                shown(&self.tree.root())
            );
            self.find("checkpoint".to_owned(), what);
        }
    }

    /// A tile's hashes; where it is missing or damaged, that is found.
    fn tile(&mut self, id: TileId, width: u16) -> Result<Option<Vec<Hash>>, SourceError> {
        let resource = Resource::Tile(id, width);
        let Some(bytes) = read_or_wider(self.source, self.shard, resource)? else {
            self.find(resource.to_string(), "is missing");
            return Ok(None);
        };
        let hashes = tree::tile_hashes(&bytes).filter(|hashes| hashes.len() == usize::from(width));
        if hashes.is_none() {
            let what = format!("has {} bytes; {width} hashes have {}", bytes.len(), usize::from(width) * 32);
            self.find(resource.to_string(), what);
        }
        Ok(hashes)
    }

    fn find(&mut self, place: impl Into<String>, what: impl Into<String>) {
        match self.log.findings.len() < MOST_FINDINGS {
            true => self.log.findings.push(Finding::new(place, what)),
            false => self.log.more_findings = true,
        }
    }
}

fn tile_name(id: TileId) -> String {
    Resource::Tile(id, TILE_WIDTH as u16).to_string()
}
