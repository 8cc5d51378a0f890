//! The Merkle tree of RFC 6962, section 2, kept incrementally and cut into tiles (C2SP
//! `tlog-tiles`, height 8).
//!
//! A [`MerkleTree`] remembers only its right edge: for each tile level the hashes of the tile that
//! is not full yet, and the roots of the perfect subtrees that the leaves fall into (one for each
//! one bit of the size). Appending a leaf costs one node hash on average; computing the root costs
//! one for each of those subtrees.

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 256;
/// Tree levels in a tile.
pub const TILE_HEIGHT: u32 = 8;

/// RFC 6962, section 2.1: `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(entry)
        .finalize()
        .into()
}

/// RFC 6962, section 2.1: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// RFC 6962, section 2.1: the Merkle tree hash over leaves already hashed.
pub fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&tree_hash(left), &tree_hash(right))
        }
    }
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Which tile: the level (0 holds leaf hashes) and its number within the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// From 0 to 7; a tile of level `l` has roots of full tiles of level `l - 1`.
    pub level: u8,
    /// From 0.
    pub index: u64,
}

/// The most tile levels that a tree can have: 256^8 leaves are more than a `u64` counts.
pub const LEVELS: u8 = 8;

/// How many hashes tile `id` has in a tree of `size` leaves; 0 where it does not exist.
pub fn width(id: TileId, size: u64) -> u16 {
    let at_level = size >> (TILE_HEIGHT * u32::from(id.level));
    let before = id.index.saturating_mul(TILE_WIDTH as u64);
    at_level.saturating_sub(before).min(TILE_WIDTH as u64) as u16
}

/// The tiles of a tree of `size` leaves that are not full: at most one a level, lowest level first.
pub fn edge_tiles(size: u64) -> impl Iterator<Item = (TileId, u16)> {
    (0..LEVELS).filter_map(move |level| {
        let at_level = size >> (TILE_HEIGHT * u32::from(level));
        let width = (at_level % TILE_WIDTH as u64) as u16;
        (width > 0).then_some((
            TileId {
                level,
                index: at_level / TILE_WIDTH as u64,
            },
            width,
        ))
    })
}

/// A tile's bytes: its hashes, one after the other.
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes of a tile; `None` if the length is not a multiple of 32.
pub fn tile_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// The right edge of a tree: enough to append to it and to compute its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MerkleTree {
    size: u64,
    /// By tile level: the hashes of the tile that is not full.
    edge: Vec<Vec<Hash>>,
    /// The roots of the perfect subtrees, the largest (leftmost) first.
    peaks: Vec<Hash>,
}

impl MerkleTree {
    /// Makes the tree of `size` leaves from its tiles that are not full, by level. `None` if they
    /// do not fit the size.
    pub fn from_edge(size: u64, mut edge: Vec<Vec<Hash>>) -> Option<Self> {
        edge.resize(edge.len().max(LEVELS.into()), vec![]);
        for (level, hashes) in edge.iter().enumerate() {
            let at_level = size.checked_shr(TILE_HEIGHT * level as u32).unwrap_or(0);
            if hashes.len() as u64 != at_level % TILE_WIDTH as u64 {
                return None;
            }
        }
        let mut peaks = vec![];
        for mut hashes in edge.iter().rev().map(Vec::as_slice) {
            while !hashes.is_empty() {
                let (perfect, rest) = hashes.split_at((hashes.len() + 1).next_power_of_two() / 2);
                peaks.push(tree_hash(perfect));
                hashes = rest;
            }
        }
        // As appending leaves it: levels that have nothing yet are not there.
        while edge.last().is_some_and(Vec::is_empty) {
            edge.pop();
        }
        Some(Self { size, edge, peaks })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        match self.peaks.split_last() {
            None => empty_root(),
            Some((last, larger)) => larger
                .iter()
                .rev()
                .fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// Appends a leaf (its hash). `full` is called with each tile that this completes.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(TileId, &[Hash])) {
        self.enter(0, leaf);
        let (mut hash, mut ones, mut level) = (leaf, self.size, 0);
        while ones & 1 == 1 {
            let left = self
                .peaks
                .pop()
                .expect("a peak for each one bit of the size");
            hash = node_hash(&left, &hash);
            ones >>= 1;
            level += 1;
            if level % TILE_HEIGHT == 0 {
                let tile = level / TILE_HEIGHT - 1;
                full(
                    TileId {
                        level: tile as u8,
                        index: self.size >> level,
                    },
                    &self.edge[tile as usize],
                );
                self.edge[tile as usize].clear();
                self.enter(tile as usize + 1, hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    fn enter(&mut self, level: usize, hash: Hash) {
        if self.edge.len() <= level {
            self.edge.resize(level + 1, vec![]);
        }
        self.edge[level].push(hash);
    }

    /// The hashes of the tile of that level that is not full.
    pub fn edge(&self, level: u8) -> &[Hash] {
        self.edge.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(n: u64) -> Hash {
        leaf_hash(&n.to_be_bytes())
    }

    /// Known answers of RFC 6962's reference implementation (the empty tree, one empty leaf, two
    /// leaves).
    #[test]
    fn tree_hashes() {
        let hex = |h: Hash| data_encoding::HEXLOWER.encode(&h);
        assert_eq!(
            hex(tree_hash(&[])),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let a = leaf_hash(b"");
        assert_eq!(
            hex(tree_hash(&[a])),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        let b = leaf_hash(&[0]);
        assert_eq!(
            hex(tree_hash(&[a, b])),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn the_edge_tells_the_root_that_all_leaves_tell() {
        let leaves: Vec<Hash> = (0..1_000).map(leaf).collect();
        let mut tree = MerkleTree::default();
        for (n, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), tree_hash(&leaves[..n]), "{n} leaves");
            tree.push(*leaf, |_, _| {});
        }
    }

    #[test]
    fn tiles_are_full_when_they_come_and_an_edge_makes_the_same_tree() {
        let mut tree = MerkleTree::default();
        let mut tiles = std::collections::BTreeMap::new();
        for n in 0..66_000 {
            tree.push(leaf(n), |id, hashes| {
                assert_eq!(hashes.len(), TILE_WIDTH);
                assert!(tiles.insert(id, tree_hash(hashes)).is_none());
            });
            if [255, 256, 257, 65_535, 65_536, 65_537].contains(&tree.size()) {
                let edge = (0..LEVELS).map(|level| tree.edge(level).to_vec()).collect();
                let again = MerkleTree::from_edge(tree.size(), edge).unwrap();
                assert_eq!(
                    (again.root(), again.peaks),
                    (tree.root(), tree.peaks.clone())
                );
            }
        }
        assert_eq!(
            tiles.keys().filter(|id| id.level == 0).count(),
            66_000 / 256
        );
        assert_eq!(tiles.keys().filter(|id| id.level == 1).count(), 1);
        let under: Vec<Hash> = (0..256)
            .map(|index| tiles[&TileId { level: 0, index }])
            .collect();
        assert_eq!(tiles[&TileId { level: 1, index: 0 }], tree_hash(&under));
        assert!(MerkleTree::from_edge(3, vec![vec![leaf(0)]]).is_none());
    }

    /// The examples of `tlog-tiles`: 70 000 leaves and 256.
    #[test]
    fn widths() {
        let edge = |size| {
            edge_tiles(size)
                .map(|(id, width)| (id.level, id.index, width))
                .collect::<Vec<_>>()
        };
        assert_eq!(edge(70_000), [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
        assert_eq!(edge(256), [(1, 0, 1)]);
        assert_eq!(
            width(
                TileId {
                    level: 0,
                    index: 272
                },
                70_000
            ),
            256
        );
        assert_eq!(
            width(
                TileId {
                    level: 0,
                    index: 273
                },
                70_000
            ),
            112
        );
        assert_eq!(
            width(
                TileId {
                    level: 0,
                    index: 274
                },
                70_000
            ),
            0
        );
    }
}
