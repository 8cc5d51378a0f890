//! How a manifest is read, whole or as the clear part of a sealed one: a JWS with one signature, by
//! the key that signs the checkpoints of the log.

use ed25519_dalek::VerifyingKey;

use super::manifest::{LONGEST, ManifestError};
use crate::jws::{self, UnverifiedJws};

/// What such a text holds.
pub(super) trait ManifestPayload: Sized {
    /// The `typ` of its JWS.
    const TYP: &'static str;

    /// Reads a payload, which must be in its one spelling.
    ///
    /// # Errors
    /// [`ManifestError::Text`]
    fn of_payload(payload: &[u8]) -> Result<Self, ManifestError>;
}

/// Reads one without checking its signature.
///
/// # Errors
/// [`ManifestError::Text`]
pub(super) fn read_unverified<M: ManifestPayload>(text: &str) -> Result<M, ManifestError> {
    M::of_payload(jws::parse_within(text, M::TYP, LONGEST)?.payload())
}

/// Reads one that `key` must have signed.
///
/// # Errors
/// [`ManifestError::Text`], [`ManifestError::Signature`].
pub(super) fn read<M: ManifestPayload>(text: &str, key: &VerifyingKey) -> Result<M, ManifestError> {
    let jws = jws::parse_within(text, M::TYP, LONGEST)?;
    // What nobody signed costs no more than this.
    if is_signed_by_one(&jws, key) {
        M::of_payload(jws.payload())
    } else {
        Err(ManifestError::Signature)
    }
}

/// Whether a text has one signature, and it is by that key.
fn is_signed_by_one(jws: &UnverifiedJws, key: &VerifyingKey) -> bool {
    let signers: Vec<&str> = jws.signers().collect();
    matches!(signers.as_slice(), [kid] if jws.verify(kid, key))
}
