//! Reading a log out of a store: the resources of each shard as C2SP `tlog-tiles` names them.

use std::rc::Rc;

use crate::store::{Shard, Store, StoreError, TreeRow};
use crate::tlog::path::LogResource;
use crate::tlog::proof::TileReader;
use crate::tlog::tree::{self, Hash, MerkleTree, TILE_WIDTH, TileId};

/// One shard of a log in a store, up to a size. Entries beyond that size are treated as absent.
pub struct ShardReader<'s> {
    store: &'s Store,
    shard: Shard,
    first: u64,
    size: u64,
}

impl<'s> ShardReader<'s> {
    /// The first `size` entries of a shard.
    pub fn new(store: &'s Store, row: &TreeRow, size: u64) -> Self {
        Self {
            store,
            shard: row.shard,
            first: row.first,
            size: size.min(row.size),
        }
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of a tile or an entry bundle; `None` where none of that width exists (yet).
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn read(&self, resource: LogResource) -> Result<Option<Vec<u8>>, StoreError> {
        match resource {
            LogResource::Checkpoint => Ok(None),
            LogResource::Tile(id, width) => {
                let there = width <= tree::width(id, self.size);
                there
                    .then(|| {
                        self.tile(id, width.into())
                            .map(|hashes| tree::tile_bytes(&hashes))
                    })
                    .transpose()
            }
            LogResource::Entries(index, width) => {
                let there = width <= tree::width(TileId { level: 0, index }, self.size);
                there.then(|| self.bundle(index, width.into())).transpose()
            }
        }
    }

    /// An entry's bytes.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if index >= self.size {
            return Ok(None);
        }
        let found = self.store.audit_from(self.first + index, 1)?.pop();
        Ok(found
            .filter(|(number, _)| *number == self.first + index)
            .map(|(_, entry)| entry))
    }

    /// Goes through entries from `from` on, at most `count`: number within the shard, and bytes.
    ///
    /// # Errors
    /// The first error of the store or of `each`; [`StoreError::Corrupt`] where one is missing.
    pub fn each<E: From<StoreError>>(
        &self,
        from: u64,
        count: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = from.saturating_add(count).min(self.size);
        let mut next = from;
        let count = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        self.store
            .each_audit::<E>(self.first + from, count, |number, entry| {
                if number != self.first + next {
                    return Err(StoreError::Corrupt("audit").into());
                }
                next += 1;
                each(number - self.first, entry)
            })?;
        if next < end {
            Err(StoreError::Corrupt("audit").into())
        } else {
            Ok(())
        }
    }

    fn bundle(&self, index: u64, width: usize) -> Result<Vec<u8>, StoreError> {
        let mut bundle = vec![];
        self.each::<StoreError>(index * TILE_WIDTH as u64, width as u64, |_, entry| {
            let length = u16::try_from(entry.len()).map_err(|_| StoreError::Corrupt("audit"))?;
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend_from_slice(entry);
            Ok(())
        })?;
        Ok(bundle)
    }

    /// The first hashes of a tile. A full tile has a row; any other is computed from the level
    /// below.
    fn tile(&self, id: TileId, width: usize) -> Result<Vec<Hash>, StoreError> {
        if let Some(bytes) = self.store.tile(self.shard, id.level, id.index)? {
            let mut hashes = tree::tile_hashes(&bytes).ok_or(StoreError::Corrupt("audit-tile"))?;
            hashes.truncate(width);
            return Ok(hashes);
        }
        let first = id.index * TILE_WIDTH as u64;
        let mut hashes = Vec::with_capacity(width);
        match id.level.checked_sub(1) {
            None => self.each::<StoreError>(first, width as u64, |_, entry| {
                hashes.push(tree::leaf_hash(entry));
                Ok(())
            })?,
            Some(level) => {
                for index in first..first + width as u64 {
                    let below = self.store.tile(self.shard, level, index)?;
                    let below = below.and_then(|bytes| tree::tile_hashes(&bytes));
                    hashes.push(tree::tree_hash(
                        &below.ok_or(StoreError::Corrupt("audit-tile"))?,
                    ));
                }
            }
        }
        Ok(hashes)
    }

    /// The tree over the entries.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn tree(&self) -> Result<MerkleTree, StoreError> {
        let mut edge = vec![vec![]; tree::LEVELS.into()];
        for (id, width) in tree::edge_tiles(self.size) {
            edge[usize::from(id.level)] = self.tile(id, width.into())?;
        }
        MerkleTree::from_edge(self.size, edge).ok_or(StoreError::Corrupt("audit-tile"))
    }
}

impl TileReader for ShardReader<'_> {
    type Error = StoreError;

    fn tile(&mut self, id: TileId, count: usize) -> Result<Rc<Vec<Hash>>, StoreError> {
        ShardReader::tile(self, id, count.max(tree::width(id, self.size).into())).map(Rc::new)
    }
}
