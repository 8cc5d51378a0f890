//! Lowers the clock's high-water mark, at the vault or at a node, after two operators have signed
//! that the clock once ran ahead.
//!
//! The statement names the entity and its mark to the second: once the mark has changed, the
//! statement allows nothing. The store remembers for good that it was taken. A statement's age is
//! judged by the very clock that is in doubt, and an operator who sets that clock could otherwise
//! use an old statement again and again.

use serde::{Deserialize, Serialize};

use super::statement::{self, Destruction};
use crate::access::OperatorPermit;
use crate::audit::StatementNote;
use crate::code::Code;
use crate::commit::{LowerMark, LowerMarkError};
use crate::entity::Entity;
use crate::refusal::{Refusal, fault, not_logged};
use crate::statement::Signed;

/// A request to lower the mark.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LowerClock {
    /// The statement that two operators signed, JWS General JSON as text.
    pub statement: String,
}

/// The mark that was lowered.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoweredClock {
    /// The mark before, RFC 3339.
    pub from: String,
    /// The mark now: the time that the clock shows.
    pub to: String,
}

/// Lowers the mark of a vault or a node to what its clock shows, durably and logged.
///
/// # Errors
/// [`Code::StatementInvalid`], also if the clock is not behind its mark; [`Code::RequestReplayed`]
/// for a statement that was taken; [`Code::AuditUnavailable`]; [`Code::Internal`].
pub fn lower(
    entity: &Entity,
    permit: &OperatorPermit,
    asked: &LowerClock,
) -> Result<LoweredClock, Refusal> {
    let (register, committer, store, now) = (
        entity.register(),
        entity.committer(),
        entity.store(),
        entity.now(),
    );
    let invalid = |why: String| Refusal::new(Code::StatementInvalid, why);
    let Signed {
        says: payload,
        persons: signers,
        ..
    } = statement::check(&asked.statement, register, now)?;
    entity.refuse_shut_out(&signers)?;
    let (id, until) = (payload.id, payload.until().as_second());
    let Destruction::ClockMark {
        entity: named,
        mark,
    } = payload.destruction
    else {
        return Err(invalid("the statement is for something else".to_owned()));
    };
    if store.owner().map_err(fault(super::FAILED))? != format!("{}/{named}", register.deployment) {
        return Err(invalid(format!(
            "the statement is about the clock's mark of {named}"
        )));
    }
    let statement = StatementNote {
        statement: id.to_string(),
        signers,
    };
    let said = LowerMark {
        mark,
        id,
        until,
        statement,
        bearer: permit.operator.clone(),
    };
    let from = committer.mark().time();
    committer
        .lower_mark(store, &said, now)
        .map_err(|error| match error {
            LowerMarkError::Log(code) => not_logged("nothing is done")(code),
            LowerMarkError::Taken => Refusal::new(Code::RequestReplayed, error.to_string()),
            LowerMarkError::Store(error) => fault(super::FAILED)(error),
            error => invalid(error.to_string()),
        })?;
    Ok(LoweredClock {
        from: from.to_string(),
        to: now.to_string(),
    })
}
