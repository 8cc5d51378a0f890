//! Vault and node release nothing while they hold different registers.

use crate::code::Code;
use crate::entity::{Entity, Role};
use crate::id::{from_hex, hex};
use crate::refusal::Refusal;

/// Refuses to go on while vault and node hold different registers; `other` is the digest of the
/// other side's, hex. Says which of them is newer, as far as this side can know.
///
/// # Errors
/// [`Code::RegisterMismatch`].
pub(crate) fn check_register(entity: &Entity, other: &str) -> Result<(), Refusal> {
    if other == hex(&entity.register().digest) {
        return Ok(());
    }
    let (own, others) = match entity.role() {
        Role::Vault => ("the vault", "the node"),
        Role::Node(_) | Role::Identity(_) => ("this side", "the vault"),
    };
    let version = entity.register().version;
    let was = from_hex(other).and_then(|digest| entity.store().version_of(&digest).ok().flatten());
    let why = match was {
        Some(was) => format!(
            "{own} holds version {version} of the register, and {others} still version {was}: \
             `cloison register reload` there"
        ),
        None => format!(
            "{own} holds version {version} of the register, and {others} one that was never in force here, \
             probably a newer one: `cloison register reload` here"
        ),
    };
    Err(Refusal::new(Code::RegisterMismatch, why))
}
