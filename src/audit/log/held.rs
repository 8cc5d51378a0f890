//! Waiting until enough places hold an entry, and what they do not hold yet.

use std::sync::Arc;
use std::time::Duration;

use super::{Log, PublishedCheckpoint};
use crate::audit::AuditReceipt;
use crate::store::StoreError;

impl Log {
    /// Waits for a checkpoint that covers an entry.
    pub fn covering(
        &self,
        receipt: &AuditReceipt,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        self.published_with(receipt.shard, receipt.index + 1, patience)
    }

    /// Waits until enough places hold all that is durable now. Always, where none is asked for.
    pub fn is_held(&self, patience: Duration) -> bool {
        if !self.asks_for_places() {
            return true;
        }
        let durable = self.state().durable;
        durable.is_some_and(|head| {
            self.published_with(head.shard, head.size, patience)
                .is_some()
        })
    }

    /// Whether places off this machine have to hold what grants before it takes effect.
    pub fn asks_for_places(&self) -> bool {
        self.quorum.needed > 0
    }

    /// Calls `each` with every entry that no checkpoint covers which enough places hold, as far as the
    /// store knows. With none, where no place is asked for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn each_unheld(&self, mut each: impl FnMut(&[u8])) -> Result<(), StoreError> {
        if !self.asks_for_places() {
            return Ok(());
        }
        for tree in self.store.trees()? {
            let published = self.published(tree.shard);
            let held = published.map_or(0, |published| published.checkpoint.size);
            let count = tree.size.saturating_sub(held);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            self.store
                .each_audit(tree.first + held, count, |_, entry| {
                    each(entry);
                    Ok::<_, StoreError>(())
                })?;
        }
        Ok(())
    }
}
