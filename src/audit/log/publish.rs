//! The thread that signs checkpoints over durable entries. A checkpoint is in the second place,
//! with all that it covers, before it is offered to followers or published.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Log;
use super::second::place_source;
use crate::store::TreeRow;
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
            .state()
            .offered
            .get(&tree.shard)
            .is_some_and(|offered| offered.checkpoint.size >= tree.size)
        {
            return Ok(());
        }
        let signed = self.sign(tree);
        let _publishing = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(second) = &self.second {
            let (old, source) = (
                self.state().second.clone(),
                place_source(&self.store, &self.owner),
            );
            second.publish(source, &tree, (old.as_deref(), signed.note.as_bytes()))?;
        }
        self.put_offer(signed);
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
