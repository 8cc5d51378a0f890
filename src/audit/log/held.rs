//! Waiting until enough places hold an entry.

use std::sync::Arc;
use std::time::Duration;

use super::{Log, PublishedCheckpoint};
use crate::audit::AuditReceipt;

/// Proof that enough places off this machine hold every entry that was durable when they were waited
/// for; or that none is asked for. Only the log makes one: what grants something is put in force with
/// it.
///
/// ```compile_fail,E0423
/// let held = cloison::audit::log::HeldByPlaces(());
/// ```
#[derive(Debug)]
pub struct HeldByPlaces(());

impl Log {
    /// Waits for a checkpoint that covers an entry.
    pub fn covering(
        &self,
        receipt: &AuditReceipt,
        patience: Duration,
    ) -> Option<Arc<PublishedCheckpoint>> {
        self.published_with(receipt.shard, receipt.index + 1, patience)
    }

    /// Waits until enough places hold all that is durable now. At once, where none is asked for.
    pub fn held(&self, patience: Duration) -> Option<HeldByPlaces> {
        if !self.asks_for_places() {
            return Some(HeldByPlaces(()));
        }
        let head = self.state().durable?;
        self.published_with(head.shard, head.size, patience)
            .map(|_| HeldByPlaces(()))
    }

    /// Whether places off this machine have to hold what grants before it takes effect.
    pub fn asks_for_places(&self) -> bool {
        self.quorum.needed > 0
    }
}
