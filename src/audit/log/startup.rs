//! What a start reads from the store: trees and checkpoints, or entries that an older version wrote
//! without a tree.

use super::PublishedCheckpoint;
use crate::store::{RowBatch, Shard, Store, StoreError, TreeRow};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::tree::{MerkleTree, leaf_hash, tile_bytes};

/// How many full tiles one commit writes while the tree of an older store is built.
const REBUILD_TILES: usize = 512;

/// A shard's checkpoint as the store has it.
pub(super) fn stored_checkpoint(
    store: &Store,
    tree: TreeRow,
) -> Result<Option<PublishedCheckpoint>, StoreError> {
    let Some(note) = store.checkpoint(tree.shard)? else {
        return Ok(None);
    };
    let corrupt = || StoreError::Corrupt("audit-checkpoint");
    let checkpoint = Checkpoint::read(&note).map_err(|_| corrupt())?.0;
    if checkpoint.size > tree.size {
        return Err(corrupt());
    }
    let tree = TreeRow {
        size: checkpoint.size,
        root: checkpoint.root,
        ..tree
    };
    Ok(Some(PublishedCheckpoint {
        checkpoint,
        tree,
        note: String::from_utf8(note).map_err(|_| corrupt())?,
    }))
}

/// Builds the tree of a log that was written without one.
pub(super) fn rebuild(store: &Store, shard: Shard) -> Result<MerkleTree, StoreError> {
    let (mut tree, mut batch, mut tiles) = (MerkleTree::default(), RowBatch::default(), 0);
    store.each_audit::<StoreError>(0, usize::MAX, |number, entry| {
        if number != tree.size() {
            return Err(StoreError::Corrupt("audit"));
        }
        tree.push(leaf_hash(entry), |id, hashes| {
            store.put_tile(&mut batch, shard, id.level, id.index, &tile_bytes(hashes));
            tiles += 1;
        });
        if tiles >= REBUILD_TILES {
            tiles = 0;
            store.commit(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    if tree.size() > 0 {
        // The row that declares the tree is written last.
        store.put_tree(
            &mut batch,
            TreeRow {
                shard,
                first: 0,
                size: tree.size(),
                root: tree.root(),
            },
        );
        store.commit(batch)?;
        tracing::info!(entries = tree.size(), "made the tree over the audit log");
    }
    Ok(tree)
}
