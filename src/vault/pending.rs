//! Acts that grant something: durable at once, and in force once enough places hold them.

use super::Vault;
use crate::refusal::Refusal;
use crate::system::lock::unpoisoned;

/// What stands of such an act while too few places hold it.
const WAITS: &str = "the act is stored here, and takes effect once the same call finds enough";

/// An act that is durable and not yet in force.
pub(crate) struct PendingAct {
    /// What it does, so that the same call is known again.
    pub(crate) what: String,
    /// Puts it in force.
    pub(crate) effect: Box<dyn FnOnce(&Vault) + Send>,
}

impl Vault {
    /// Puts an act in force once enough places hold it. Call it under the lock of the epochs.
    ///
    /// # Errors
    /// [`Code::JournalUnavailable`](crate::code::Code::JournalUnavailable): the act waits, and is
    /// put in force before anything else that takes the lock.
    pub(crate) fn take_effect(&self, act: PendingAct) -> Result<(), Refusal> {
        *unpoisoned(self.core.pending.lock()) = Some(act);
        self.settle().map(drop)
    }

    /// Puts the act in force that waits, if there is one; its name.
    pub(super) fn settle(&self) -> Result<Option<String>, Refusal> {
        let mut pending = unpoisoned(self.core.pending.lock());
        if pending.is_none() {
            return Ok(None);
        }
        self.wait_for_places(WAITS)?;
        Ok(pending.take().map(|act| {
            (act.effect)(self);
            act.what
        }))
    }
}
