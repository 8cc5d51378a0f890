//! The checkpoints that the log has published: the last of each shard, its cosignatures, and which
//! one is shown.

use std::sync::Arc;

use ed25519_dalek::SigningKey;

use super::Log;
use crate::audit::AuditReceipt;
use crate::audit::origin::{self, owner_and_shard};
use crate::audit::shard_reader::ShardReader;
use crate::store::{Shard, StoreError, TreeRow};
use crate::tlog::checkpoint::Checkpoint;

/// A published checkpoint, and the tree that it covers.
#[derive(Debug, Clone)]
pub struct PublishedCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The tree: shard, first entry, size, root.
    pub tree: TreeRow,
    /// The signed note, with the cosignatures received so far.
    pub note: String,
}

impl PublishedCheckpoint {
    /// The checkpoint over a tree of an owner's log, signed.
    pub(super) fn sign(owner: &str, tree: TreeRow, key: &SigningKey) -> Self {
        let checkpoint = Checkpoint {
            origin: origin::origin(owner, tree.shard),
            size: tree.size,
            root: tree.root,
        };
        let note = checkpoint.sign(key);
        Self {
            checkpoint,
            tree,
            note,
        }
    }

    /// Whether it covers an entry.
    pub fn covers(&self, receipt: &AuditReceipt) -> bool {
        self.tree.shard == receipt.shard && receipt.index < self.checkpoint.size
    }
}

impl Log {
    /// The last checkpoint of a shard.
    pub fn published(&self, shard: Shard) -> Option<Arc<PublishedCheckpoint>> {
        self.state().published.get(&shard).cloned()
    }

    /// The last checkpoint of all.
    pub fn latest(&self) -> Option<Arc<PublishedCheckpoint>> {
        self.state()
            .published
            .last_key_value()
            .map(|(_, published)| published.clone())
    }

    /// The last checkpoint of each shard, the first shard first.
    pub fn shards(&self) -> Vec<Arc<PublishedCheckpoint>> {
        self.state().published.values().cloned().collect()
    }

    /// The last checkpoint of the present shard that has a cosignature.
    pub fn cosigned(&self) -> Option<Arc<PublishedCheckpoint>> {
        self.state()
            .cosigned
            .last_key_value()
            .map(|(_, published)| published.clone())
    }

    /// The checkpoint of a shard (of the present one, unless `shard` names another) that is shown
    /// to others: the last one, or the last cosigned one where cosignatures are required.
    pub fn shown(&self, shard: Option<Shard>) -> Option<Arc<PublishedCheckpoint>> {
        let state = self.state();
        let last = match shard {
            Some(shard) => state.published.get(&shard)?,
            None => state.published.last_key_value()?.1,
        };
        let cosigned = state
            .cosigned
            .get(&last.tree.shard)
            .filter(|_| state.prefer_cosigned);
        Some(cosigned.unwrap_or(last).clone())
    }

    /// Shows cosigned checkpoints rather than newer ones without a cosignature.
    pub fn prefer_cosigned(&self) {
        self.state().prefer_cosigned = true;
    }

    /// The checkpoint as this log publishes it; `None` if it is not of this log, or is beyond
    /// the last one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn restate(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<Option<PublishedCheckpoint>, StoreError> {
        let shard = owner_and_shard(&checkpoint.origin).filter(|(owner, _)| *owner == self.owner);
        let Some(last) = shard.and_then(|(_, shard)| self.published(shard)) else {
            return Ok(None);
        };
        if checkpoint.size > last.checkpoint.size {
            return Ok(None);
        }
        let root = ShardReader::new(&self.store, &last.tree, checkpoint.size)
            .tree()?
            .root();
        let tree = TreeRow {
            size: checkpoint.size,
            root,
            ..last.tree
        };
        let ours = PublishedCheckpoint {
            checkpoint: checkpoint.clone(),
            tree,
            note: checkpoint.sign(&self.key),
        };
        Ok((root == checkpoint.root).then_some(ours))
    }

    /// Adds signature lines (each with its line end) below a checkpoint that was published.
    pub fn add_lines(&self, published: &PublishedCheckpoint, lines: &str) {
        let mut state = self.state();
        let shard = published.tree.shard;
        let known = match state.cosigned.get(&shard) {
            Some(known) if known.checkpoint == published.checkpoint => {
                PublishedCheckpoint::clone(known)
            }
            // A slow witness; others have cosigned a newer one since.
            Some(known) if known.checkpoint.size > published.checkpoint.size => return,
            _ => published.clone(),
        };
        let added = PublishedCheckpoint {
            note: with_lines(&known.note, lines),
            ..known
        };
        let added = Arc::new(added);
        if state
            .published
            .get(&shard)
            .is_some_and(|last| last.checkpoint == added.checkpoint)
        {
            state.published.insert(shard, added.clone());
            state.unstored.insert(shard, added.clone());
        }
        state.cosigned.insert(shard, added);
        self.news.notify_all();
    }
}

/// A note with more signature lines. It keeps the latest line of each name, so that renewed
/// cosignatures do not make it grow.
fn with_lines(note: &str, lines: &str) -> String {
    let name = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let added: Vec<String> = lines.lines().map(name).collect();
    let (text, signatures) = note.rsplit_once("\n\n").unwrap_or((note, ""));
    // The log's own line comes first and stays, even where a cosigner has its name.
    let kept = signatures.split_inclusive('\n').enumerate();
    let kept = kept
        .filter(|(place, line)| *place == 0 || !added.contains(&name(line)))
        .map(|(_, line)| line);
    format!("{text}\n\n{}{lines}", kept.collect::<String>())
}
