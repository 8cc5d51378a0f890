//! Lowering the clock's high-water mark after a clock once ran ahead.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Change, Committer};
use crate::audit::{AuditEvent, AuditReceipt, ClockLowerDetails, StatementNote};
use crate::code::Code;
use crate::register::Id;
use crate::store::{Store, StoreError};
use crate::system::lock::unpoisoned;

/// A verified statement of two operators: the clock once ran ahead to `mark`.
#[derive(Debug, Clone)]
pub struct LowerMark {
    /// The mark as they saw it, to the second. Once the mark is another one, the statement allows
    /// nothing.
    pub mark: Timestamp,
    /// The statement's id: it is carried out once.
    pub id: Uuid,
    /// When the statement is too old (Unix seconds).
    pub until: i64,
    /// The statement, and who signed it.
    pub statement: StatementNote,
    /// The officer who brought it.
    pub bearer: Id,
}

/// Why the mark stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum LowerMarkError {
    /// It was lowered by this statement before.
    #[error("the statement was taken already: sign another one")]
    Taken,
    /// The clock is not behind it.
    #[error("the clock is not behind its high-water mark: there is nothing to lower")]
    NotBehind,
    /// The statement names another mark.
    #[error("the high-water mark is {0:.3}, and the statement is about another one")]
    OtherMark(Timestamp),
    /// No entry can be written.
    #[error("the audit log takes no entry, so nothing is done ({0})")]
    Log(Code),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Committer {
    /// Lowers the mark to `now`, durably and logged. What was refused because of it is answered
    /// from then on. `store` is the one that this writes to.
    ///
    /// # Errors
    /// [`LowerMarkError`]; the mark stays where it was then.
    pub fn lower_mark(
        &self,
        store: &Store,
        said: &LowerMark,
        now: Timestamp,
    ) -> Result<AuditReceipt, LowerMarkError> {
        // Reading whether the statement was used and noting that it was are one step.
        let _one = unpoisoned(self.lowering.lock());
        if store.is_carried_out(said.until, said.id)? {
            return Err(LowerMarkError::Taken);
        }
        if self.mark.steady(now).is_ok() {
            return Err(LowerMarkError::NotBehind);
        }
        let from = self.mark.time();
        if from.as_second() != said.mark.as_second() {
            return Err(LowerMarkError::OtherMark(from));
        }
        let event = AuditEvent::ClockLower(Box::new(ClockLowerDetails {
            statement: said.statement.clone(),
            bearer: said.bearer.clone(),
            from: format!("{from:.3}"),
            to: format!("{now:.3}"),
        }));
        let (mark, until, id) = (Arc::clone(&self.mark), said.until, said.id);
        // The writer reads the mark for its row after this change. A request that the lowered mark
        // admits commits after this one.
        let lower: Change = Box::new(move |store, batch| {
            store.put_carried_out(batch, until, id);
            mark.lower(from, now);
        });
        self.record(now, event, vec![], vec![lower])
            .map_err(LowerMarkError::Log)
    }
}
