//! The thread that signs checkpoints over durable entries. A checkpoint is in the second place, with
//! all that it covers, before it is published.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Log, PublishedCheckpoint, place_source};
use crate::audit::origin;
use crate::store::TreeRow;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::checkpoint_file::CheckpointFileError;

/// How often a checkpoint is signed while there are new entries.
pub const EVERY: Duration = Duration::from_millis(500);

impl Log {
    /// The thread that signs.
    pub(super) fn publish_until_the_end(&self) {
        let mut last: Option<Instant> = None;
        loop {
            let (heads, ending) = {
                let mut state = self.state();
                while !state.ending {
                    let due = state.wanted || last.is_none_or(|last| last.elapsed() >= EVERY);
                    if due && !state.heads.is_empty() {
                        break;
                    }
                    state = self
                        .work
                        .wait_timeout(state, EVERY)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                state.wanted = false;
                (std::mem::take(&mut state.heads), state.ending)
            };
            last = Some(Instant::now());
            for (place, head) in heads.iter().enumerate() {
                if let Err(error) = self.publish(*head) {
                    self.put_off(&heads[place..], &error);
                    break;
                }
            }
            if ending {
                return;
            }
        }
    }

    fn publish(&self, tree: TreeRow) -> Result<(), CheckpointFileError> {
        // Signing the same head again would only lose its cosignatures.
        if self
            .published(tree.shard)
            .is_some_and(|published| published.checkpoint.size >= tree.size)
        {
            return Ok(());
        }
        let origin = origin::origin(&self.owner, tree.shard);
        let checkpoint = Checkpoint {
            origin,
            size: tree.size,
            root: tree.root,
        };
        let note = checkpoint.sign(&self.key);
        let _publishing = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(second) = &self.second {
            let (old, source) = (
                self.state().second.clone(),
                place_source(&self.store, &self.owner),
            );
            second.publish(source, &tree, (old.as_deref(), note.as_bytes()))?;
        }
        let published = Arc::new(PublishedCheckpoint {
            checkpoint,
            tree,
            note,
        });
        let mut state = self.state();
        state.second = Some(published.note.clone().into_bytes());
        state.trouble = None;
        if state.durable.is_none_or(|durable| durable == tree) {
            state.behind = None;
        } else {
            state.behind = Some(Instant::now());
        }
        state.unstored.insert(tree.shard, published.clone());
        state.published.insert(tree.shard, published);
        self.news.notify_all();
        Ok(())
    }

    /// Keeps the heads that could not be published for the next round.
    fn put_off(&self, heads: &[TreeRow], error: &CheckpointFileError) {
        let mut state = self.state();
        state.forked |= matches!(error, CheckpointFileError::Changed(_));
        if state.trouble.is_none() {
            tracing::error!(%error, "no checkpoint can be published");
        }
        state.trouble = Some(format!("the second place of the last checkpoint: {error}"));
        let mut kept = heads.to_vec();
        kept.retain(|head| state.heads.iter().all(|newer| newer.shard != head.shard));
        kept.append(&mut state.heads);
        state.heads = kept;
    }
}
