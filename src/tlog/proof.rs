//! Inclusion and consistency proofs (RFC 6962, sections 2.1.1 and 2.1.2; verified as RFC 9162,
//! sections 2.1.3.2 and 2.1.4.2, spells it out).

use super::tree::{Hash, TILE_HEIGHT, TileId, node_hash, tree_hash};

/// Where the tiles of a tree come from.
pub trait TileReader {
    /// Why a tile cannot be read.
    type Error;

    /// The first `count` hashes at least of a tile that exists in the tree.
    ///
    /// # Errors
    /// When it cannot be read.
    fn tile(&mut self, id: TileId, count: usize) -> Result<std::rc::Rc<Vec<Hash>>, Self::Error>;
}

/// The path from leaf `index` to the root of a tree of `size` leaves, the leaf's sibling first.
///
/// # Errors
/// Those of [`TileReader::tile`].
///
/// # Panics
/// When the tree has no such leaf.
pub fn inclusion<T: TileReader>(
    tiles: &mut T,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, T::Error> {
    assert!(index < size, "a leaf of the tree");
    let mut path = vec![];
    let (mut low, mut high) = (0, size);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(range(tiles, middle, high)?);
            high = middle;
        } else {
            path.push(range(tiles, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `old` leaves is the beginning of that of `new` leaves. Empty where
/// one is empty or both are the same.
///
/// # Errors
/// Those of [`TileReader::tile`].
///
/// # Panics
/// When the old tree is the larger one.
pub fn consistency<T: TileReader>(
    tiles: &mut T,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, T::Error> {
    assert!(old <= new, "a tree only grows");
    let mut proof = vec![];
    if old == 0 || old == new {
        return Ok(proof);
    }
    // Down to the subtree that ends where the old tree ends; `whole` while that is the old tree
    // itself.
    let (mut low, mut high, mut whole) = (0, new, true);
    while old != high {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range(tiles, middle, high)?);
            high = middle;
        } else {
            proof.push(range(tiles, low, middle)?);
            low = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range(tiles, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below `n`.
fn split(n: u64) -> u64 {
    n.next_power_of_two() / 2
}

/// The hash over the leaves from `low` to `high`; `low` is a multiple of a power of two that is at
/// least their number.
fn range<T: TileReader>(tiles: &mut T, low: u64, high: u64) -> Result<Hash, T::Error> {
    let count = high - low;
    if count.is_power_of_two() {
        return perfect(tiles, count.trailing_zeros(), low / count);
    }
    let middle = low + split(count);
    let left = range(tiles, low, middle)?;
    Ok(node_hash(&left, &range(tiles, middle, high)?))
}

/// The root of the perfect subtree of height `level` that is the `index`-th of its kind.
fn perfect<T: TileReader>(tiles: &mut T, level: u32, index: u64) -> Result<Hash, T::Error> {
    let within = level % TILE_HEIGHT;
    let first = index << within;
    let id = TileId {
        level: (level / TILE_HEIGHT) as u8,
        index: first >> TILE_HEIGHT,
    };
    let start = (first % (1 << TILE_HEIGHT)) as usize;
    let end = start + (1 << within);
    let tile = tiles.tile(id, end)?;
    Ok(tree_hash(&tile[start..end]))
}

/// Whether the proof shows that `leaf` is entry `index` of the tree of `size` leaves with that
/// root.
pub fn is_included(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// A tree as a checkpoint states it: size and root.
pub type TreeHead = (u64, Hash);

/// Whether the proof shows that the old tree is the beginning of the new one.
pub fn is_consistent((old, old_root): TreeHead, (new, new_root): TreeHead, proof: &[Hash]) -> bool {
    if old > new || old == 0 || old == new {
        let same = old == 0 || old_root == new_root;
        return old <= new
            && proof.is_empty()
            && same
            && (old > 0 || old_root == super::tree::empty_root());
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // Where the old tree is perfect, its root is the first node of the path, and is not sent.
    let (first, path) = match (old.is_power_of_two(), proof.split_first()) {
        (true, _) => (old_root, proof),
        (false, Some((first, path))) => (*first, path),
        (false, None) => return false,
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == old_root && new_hash == new_root
}
