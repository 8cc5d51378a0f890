//! The two envelopes.
//!
//! * inner ([`segment`], [`record`], [`mapping`]): to the authority. The vault seals and cannot
//!   open; the authority node opens.
//! * pairs of a migration ([`pairs`]): to the sector system that must follow an epoch.
//! * outer ([`chunk`]): the vault's own, around many mappings, so that the disk shows neither
//!   pseudonyms nor how many sectors saw the same list.
//! * side records of the log ([`journal`]): what a commit changed in the state of vault or node.

pub mod chunk;
mod hpke;
pub mod journal;
pub mod mapping;
pub mod pairs;
pub mod record;
pub mod segment;

/// Why something sealed did not open. It deliberately says little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The bytes are not of the format.
    #[error("sealed bytes are not of the expected format")]
    Format,
    /// The segment's signature is not by a pinned key.
    #[error("the segment is not signed by a pinned key")]
    Signature,
    /// The segment is not sealed to this authority key.
    #[error("the segment is not sealed to this authority key")]
    NotForThisKey,
    /// The segment's commitment does not fit its data key.
    #[error("the segment's commitment does not fit its data key")]
    Commitment,
    /// The authority's public key is not a key of its suite.
    #[error("the authority's public key is not a key of its suite")]
    PublicKey,
    /// The ciphertext does not open under this key at this place.
    #[error("the ciphertext does not open under this key at this place")]
    Open,
    /// The key version that wrapped it is not here.
    #[error("version {0} of the secret that sealed it is not here")]
    KeyVersion(u32),
}

/// Reads fields off the front of a byte string; every read is checked.
pub(crate) struct SealReader<'a>(pub(crate) &'a [u8]);

impl<'a> SealReader<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], SealError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(SealError::Format)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], SealError> {
        Ok(self.take(N)?.try_into().expect("took N bytes"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, SealError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, SealError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A length-prefixed field.
    pub(crate) fn lp(&mut self) -> Result<&'a [u8], SealError> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(len.into())
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, SealError> {
        std::str::from_utf8(self.lp()?).map_err(|_| SealError::Format)
    }

    pub(crate) fn end(&self) -> Result<(), SealError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(SealError::Format)
        }
    }
}
