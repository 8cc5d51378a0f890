//! Waiting until enough places hold an entry.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Log, PublishedCheckpoint};
use crate::audit::AuditReceipt;
use crate::journal::prune::LogPlace;

/// Proof that enough places off this machine hold every entry that was durable when they were
/// waited for; or that none is asked for. Only the log makes one: what grants something is put in
/// force with it.
///
/// ```compile_fail,E0423
/// let held = cloison::audit::log::HeldByPlaces(());
/// ```
#[derive(Debug)]
pub struct HeldByPlaces(());

/// Where the entry stands.
impl From<&AuditReceipt> for LogPlace {
    fn from(receipt: &AuditReceipt) -> Self {
        let (shard, index) = (receipt.shard, receipt.index);
        Self { shard, index }
    }
}

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

    /// The same of one entry, without waiting.
    pub fn holds(&self, entry: LogPlace) -> Option<HeldByPlaces> {
        (!self.asks_for_places() || self.is_held(entry)).then_some(HeldByPlaces(()))
    }

    /// Waits for that as long as the process runs; `None` once it ends.
    pub fn until_held(&self, entry: LogPlace) -> Option<HeldByPlaces> {
        let covers = |published: &Arc<PublishedCheckpoint>| entry.index < published.checkpoint.size;
        let mut state = self.state();
        // Nothing is signed sooner because of this thread, so that it costs the writer nothing.
        while !state.offers_end {
            let published = state.published.get(&entry.shard);
            if !self.asks_for_places() || published.is_some_and(covers) {
                return Some(HeldByPlaces(()));
            }
            let woken = self.news.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Where the last durable entry stands; `None` before this process wrote one.
    pub fn last_entry(&self) -> Option<LogPlace> {
        let head = self.state().durable?;
        let index = head.size.checked_sub(1)?;
        let shard = head.shard;
        Some(LogPlace { shard, index })
    }

    /// Whether places off this machine have to hold what grants before it takes effect.
    pub fn asks_for_places(&self) -> bool {
        self.quorum.needed > 0
    }
}
