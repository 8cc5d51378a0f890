//! The record of a segment: its stored form, signed by the vault.
//!
//! ```text
//! segment   = format(1) ‖ id(16) ‖ sector UUID(16) ‖ opened-at(u64be, Unix seconds) ‖ commitment(32)
//!             ‖ count(1) ‖ [suite(1) ‖ LP(authority key id) ‖ LP(enc) ‖ LP(ct)]… ‖ signature(64)
//! HPKE      = RFC 9180 base mode, info "cloison/v1/segment" ‖ LP(sector UUID) ‖ LP(authority key id), aad = id ‖ opened-at
//! signature = Ed25519 over "cloison/v1/segment-signature" ‖ all that stands before it
//! ```
//!
//! The suite stands beside each recipient, since each authority key chooses its own. Recipients
//! come and go (an authority's key is renewed, an authority is added to a sector or leaves it);
//! everything else in a record stays as it was made.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::segment::SegmentId;
use super::{SealError, SealReader, hpke};
use crate::keys::{Key, lp};
use crate::register::AuthorityKey;

const FORMAT: u8 = 1;
const SIGNATURE_LABEL: &[u8] = b"cloison/v1/segment-signature";
/// Bytes of a sealed data key: 32 and a tag.
const SEALED_DEK: usize = 48;

/// A data key sealed to one authority's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The suite's number.
    pub suite: u8,
    /// The authority key's id.
    pub key: String,
    /// HPKE's `enc`.
    pub enc: Vec<u8>,
    /// The sealed data key: 48 bytes.
    pub ct: Vec<u8>,
}

impl Recipient {
    /// Seals a data key.
    pub(super) fn seal(
        to: &AuthorityKey,
        sector: Uuid,
        dek: &Key,
        aad: &[u8],
    ) -> Result<Self, SealError> {
        let (enc, ct) = hpke::seal(to, sector, dek, aad)?;
        Ok(Self {
            suite: to.suite.number(),
            key: to.id.to_string(),
            enc,
            ct,
        })
    }

    /// Whether it has the lengths that something sealed to that key has.
    pub fn fits(&self, key: &AuthorityKey) -> bool {
        (self.suite, self.key.as_str()) == (key.suite.number(), key.id.as_str())
            && self.enc.len() == key.suite.enc_len()
            && self.ct.len() == SEALED_DEK
    }

    /// SHA-256 of its bytes in a record: a proof that the recipient opens refers to this.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = vec![];
        self.write(&mut bytes);
        Sha256::digest(&bytes).into()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.suite);
        lp(out, self.key.as_bytes());
        lp(out, &self.enc);
        lp(out, &self.ct);
    }
}

/// A record's fields, before its signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The segment's id.
    pub id: SegmentId,
    /// The sector it was opened for.
    pub sector: Uuid,
    /// When it was opened: u64be, Unix seconds.
    pub opened_at: [u8; 8],
    /// The commitment to its data key.
    pub commitment: [u8; 32],
    /// The recipients of its data key, in the order in which they came.
    pub recipients: Vec<Recipient>,
}

impl Record {
    /// Reads a record that one of `pinned` signed.
    ///
    /// # Errors
    /// [`SealError::Format`], [`SealError::Signature`].
    pub fn read(bytes: &[u8], pinned: &[VerifyingKey]) -> Result<Self, SealError> {
        let (record, signature) = Self::parse(bytes)?;
        let signed = [SIGNATURE_LABEL, &bytes[..bytes.len() - 64]].concat();
        if pinned
            .iter()
            .any(|pin| pin.verify_strict(&signed, &signature).is_ok())
        {
            Ok(record)
        } else {
            Err(SealError::Signature)
        }
    }

    /// Reads a record without checking its signature: for counting, not for opening or signing.
    ///
    /// # Errors
    /// [`SealError::Format`].
    pub fn unverified(bytes: &[u8]) -> Result<Self, SealError> {
        Self::parse(bytes).map(|(record, _)| record)
    }

    fn parse(bytes: &[u8]) -> Result<(Self, Signature), SealError> {
        let mut r = SealReader(bytes);
        if r.u8()? != FORMAT {
            return Err(SealError::Format);
        }
        let (id, sector, opened_at, commitment) = (
            r.array()?,
            Uuid::from_bytes(r.array()?),
            r.array()?,
            r.array()?,
        );
        let count = r.u8()?;
        let mut recipient = || {
            let (suite, key) = (r.u8()?, r.text()?.to_owned());
            Ok(Recipient {
                suite,
                key,
                enc: r.lp()?.to_vec(),
                ct: r.lp()?.to_vec(),
            })
        };
        let recipients = (0..count)
            .map(|_| recipient())
            .collect::<Result<_, SealError>>()?;
        let signature = Signature::from_bytes(&r.array()?);
        r.end()?;
        Ok((
            Self {
                id,
                sector,
                opened_at,
                commitment,
                recipients,
            },
            signature,
        ))
    }

    /// The record's bytes, signed.
    ///
    /// # Errors
    /// [`SealError::Format`] when there are more than 255 recipients.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, SealError> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(self.sector.as_bytes());
        bytes.extend_from_slice(&self.opened_at);
        bytes.extend_from_slice(&self.commitment);
        bytes.push(u8::try_from(self.recipients.len()).map_err(|_| SealError::Format)?);
        self.recipients
            .iter()
            .for_each(|recipient| recipient.write(&mut bytes));
        let signature = signer.sign(&[SIGNATURE_LABEL, &bytes].concat());
        bytes.extend_from_slice(&signature.to_bytes());
        Ok(bytes)
    }

    /// The recipient under that key id.
    pub fn recipient(&self, key: &str) -> Option<&Recipient> {
        self.recipients
            .iter()
            .find(|recipient| recipient.key == key)
    }

    /// HPKE's associated data.
    pub(super) fn aad(&self) -> Vec<u8> {
        [&self.id[..], &self.opened_at[..]].concat()
    }
}
