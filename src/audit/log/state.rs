//! The part of a log that changes while it runs: what is durable, offered, published and cosigned.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use super::PublishedCheckpoint;
use super::places::PlaceState;
use super::startup::stored_checkpoint;
use crate::store::{Shard, Store, StoreError, TreeRow};

/// The part of a log that changes.
#[derive(Default)]
pub(super) struct LogState {
    /// The tree of the last commit, once there was one.
    pub(super) durable: Option<TreeRow>,
    /// The places, with what they hold.
    pub(super) places: Vec<PlaceState>,
    /// A shard and how many entries of it places were to hold, where that was last waited for in
    /// vain.
    pub(super) unmet: Option<(Shard, u64)>,
    /// Whether nobody waits for offers any more.
    pub(super) offers_end: bool,
    /// By shard: the last checkpoint that is signed and in the second place.
    pub(super) offered: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// Durable trees that no checkpoint covers yet, at most one a shard, older shards first.
    pub(super) heads: Vec<TreeRow>,
    /// By shard: the last checkpoint that enough places hold.
    pub(super) published: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// By shard: the last checkpoint that has a cosignature.
    pub(super) cosigned: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// Whether the cosigned one is shown where the last one is not cosigned yet.
    pub(super) prefer_cosigned: bool,
    /// Checkpoints that the store does not have yet.
    pub(super) unstored: BTreeMap<Shard, Arc<PublishedCheckpoint>>,
    /// The content of the second place.
    pub(super) second: Option<Vec<u8>>,
    /// Whether a thread waits for a checkpoint.
    pub(super) wanted: bool,
    pub(super) ending: bool,
    pub(super) trouble: Option<String>,
    /// Why the second place could not be reached when it was last looked at.
    pub(super) away: Option<String>,
    pub(super) forked: bool,
}

impl LogState {
    /// What the store has: the last checkpoint of each shard.
    pub(super) fn stored(store: &Store, trees: &[TreeRow]) -> Result<Self, StoreError> {
        let mut state = Self::default();
        for tree in trees {
            if let Some(published) = stored_checkpoint(store, *tree)? {
                state.published.insert(tree.shard, Arc::new(published));
            }
        }
        Ok(state)
    }

    /// Publishes all that a shard has before the log leaves it for another one: a kill may have
    /// come before its last checkpoint, and others compare what is kept with that.
    pub(super) fn publish_kept(&mut self, owner: &str, tree: TreeRow, key: &SigningKey) {
        let last = self.published.get(&tree.shard);
        if tree.size == 0 || last.is_some_and(|last| last.checkpoint.size >= tree.size) {
            return;
        }
        let kept = Arc::new(PublishedCheckpoint::sign(owner, tree, key));
        self.published.insert(tree.shard, kept.clone());
        self.unstored.insert(tree.shard, kept);
    }
}
