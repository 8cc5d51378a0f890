//! What a start reads from the store: trees and checkpoints, or entries that an older version wrote
//! without a tree.

use jiff::Timestamp;

use super::PublishedCheckpoint;
use super::append::year_of;
use crate::audit::shard_reader::ShardReader;
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

/// The last shard's tree as the store has it. Entries that an older version wrote without a tree
/// get one here.
pub(super) fn last_tree(
    store: &Store,
    last: Option<&TreeRow>,
    now: Timestamp,
) -> Result<(TreeRow, MerkleTree), StoreError> {
    let next = store.last_audit()?.map_or(0, |(number, _)| number + 1);
    if let Some(row) = last {
        let tree = ShardReader::new(store, row, row.size).tree()?;
        if tree.root() != row.root || row.first + row.size != next {
            return Err(StoreError::Corrupt("audit-tree"));
        }
        return Ok((*row, tree));
    }
    // Entries that older versions wrote in several years stay together in one shard.
    let marked = Timestamp::from_millisecond(store.clock_mark()?).unwrap_or(Timestamp::UNIX_EPOCH);
    let shard = Shard::of(year_of(if next > 0 { marked } else { now }));
    let tree = rebuild(store, shard)?;
    Ok((
        TreeRow {
            shard,
            first: 0,
            size: tree.size(),
            root: tree.root(),
        },
        tree,
    ))
}

/// Builds the tree of a log that was written without one.
fn rebuild(store: &Store, shard: Shard) -> Result<MerkleTree, StoreError> {
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
