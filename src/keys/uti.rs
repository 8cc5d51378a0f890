//! The unique technical identifier, and the proof that two sides derive it alike.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The unique technical identifier of a person: 32 bytes that never leave the vault and the
/// identity source, are never logged and never stored.
///
/// ```compile_fail,E0277
/// fn show(uti: &cloison::keys::Uti) -> String {
///     format!("{uti:?}")
/// }
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Uti(pub(super) [u8; 32]);

impl Uti {
    /// A UTI as the identity source answers it.
    pub(crate) fn from_wire(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The bytes, for the conformance kit and for the identity source's answer.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Proof that two sides derive from the same identity secret: 32 bytes that reveal nothing of it,
/// nor of any UTI. The store keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityCheck(pub [u8; 32]);
