//! Pairs of a migration, sealed to the sector system that must follow: which old pseudonym became
//! which new one.
//!
//! ```text
//! sealed    = head ‖ enc(32) ‖ ct
//! head      = format(1) ‖ sector UUID(16) ‖ order id(16) ‖ from(u32be) ‖ to(u32be) ‖ page(u32be) ‖ pairs(u32be)
//! HPKE      = RFC 9180 base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305,
//!             info "cloison/v1/migration" ‖ LP(sector UUID), aad = head
//! plaintext = a line "old,new" for each pair, in ASCII, each ended by a line feed
//! ```
//!
//! One seal a page and recipient. A page moved to another order, sector or place does not open.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use uuid::Uuid;

use super::{SealError, SealReader};
use crate::keys::locked::Locked;
use crate::keys::{Key, lp};

const FORMAT: u8 = 1;
const HEAD: usize = 1 + 16 + 16 + 4 * 4;
const ENC: usize = 32;

/// The facts of a page of pairs that stand in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairsHead {
    /// The sector.
    pub sector: Uuid,
    /// The order's id.
    pub order: Uuid,
    /// The epoch of the old pseudonyms.
    pub from: u32,
    /// The epoch of the new ones.
    pub to: u32,
    /// Which page of the migration, from 1.
    pub page: u32,
    /// How many pairs.
    pub pairs: u32,
}

impl PairsHead {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(self.sector.as_bytes());
        bytes.extend_from_slice(self.order.as_bytes());
        [self.from, self.to, self.page, self.pairs]
            .iter()
            .for_each(|n| bytes.extend_from_slice(&n.to_be_bytes()));
        bytes
    }

    /// Reads the head of sealed pairs.
    ///
    /// # Errors
    /// [`SealError::Format`].
    pub fn read(sealed: &[u8]) -> Result<Self, SealError> {
        let mut r = SealReader(sealed);
        if r.u8()? != FORMAT {
            return Err(SealError::Format);
        }
        Ok(Self {
            sector: Uuid::from_bytes(r.array()?),
            order: Uuid::from_bytes(r.array()?),
            from: r.u32()?,
            to: r.u32()?,
            page: r.u32()?,
            pairs: r.u32()?,
        })
    }
}

fn info(sector: Uuid) -> Vec<u8> {
    let mut info = b"cloison/v1/migration".to_vec();
    lp(&mut info, sector.as_bytes());
    info
}

/// Seals the lines of a page to a sector system's public key (32 bytes).
///
/// # Errors
/// [`SealError::PublicKey`] when it is not an X25519 key.
pub fn seal(head: PairsHead, to: &[u8; 32], lines: &[u8]) -> Result<Vec<u8>, SealError> {
    let public =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(to).map_err(|_| SealError::PublicKey)?;
    let mut sealed = head.to_bytes();
    let (enc, ct) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        &info(head.sector),
        lines,
        &sealed,
    )
    .map_err(|_| SealError::PublicKey)?;
    sealed.extend_from_slice(&enc.to_bytes());
    sealed.extend_from_slice(&ct);
    Ok(sealed)
}

/// A sector system's private key, ready to open pairs.
pub struct MigrationKey {
    /// In locked memory; wipes itself.
    secret: Locked<<X25519HkdfSha256 as Kem>::PrivateKey>,
    public: [u8; 32],
}

impl MigrationKey {
    /// Derives the key pair (RFC 9180, section 7.1.3) from 32 secret bytes.
    pub fn derive(secret: &Key) -> Self {
        let (secret, public) = X25519HkdfSha256::derive_keypair(secret.expose());
        Self {
            secret: Locked::new(secret),
            public: public.to_bytes().into(),
        }
    }

    /// The public key, as the register has it.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Opens sealed pairs: the head, and the lines.
    ///
    /// # Errors
    /// [`SealError::Format`]; [`SealError::Open`] when they are sealed to another key, or were
    /// changed.
    pub fn open(&self, sealed: &[u8]) -> Result<(PairsHead, String), SealError> {
        let head = PairsHead::read(sealed)?;
        let (aad, rest) = sealed.split_at(HEAD);
        let (enc, ct) = rest.split_at_checked(ENC).ok_or(SealError::Format)?;
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc)
            .map_err(|_| SealError::Format)?;
        let lines = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.secret,
            &enc,
            &info(head.sector),
            ct,
            aad,
        )
        .map_err(|_| SealError::Open)?;
        Ok((
            head,
            String::from_utf8(lines).map_err(|_| SealError::Format)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> PairsHead {
        PairsHead {
            sector: Uuid::from_u128(1),
            order: Uuid::from_u128(2),
            from: 1,
            to: 2,
            page: 3,
            pairs: 1,
        }
    }

    #[test]
    fn only_the_key_opens_and_only_what_was_sealed() {
        let (key, other) = (
            MigrationKey::derive(&Key::random()),
            MigrationKey::derive(&Key::random()),
        );
        let sealed = seal(head(), key.public(), b"old,new\n").unwrap();
        assert_eq!(key.open(&sealed).unwrap(), (head(), "old,new\n".to_owned()));
        assert_eq!(other.open(&sealed).unwrap_err(), SealError::Open);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key.open(&changed).is_err(), "byte {place}");
            assert!(key.open(&sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn the_key_pair_follows_from_the_secret() {
        let key = |byte| *MigrationKey::derive(&Key::take(&mut [byte; 32])).public();
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
    }
}
