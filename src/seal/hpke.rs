//! HPKE (RFC 9180, mode base) in both suites: a data key sealed to an authority's public key, and
//! opened with the private one.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use uuid::Uuid;
use zeroize::Zeroize;

use super::SealError;
use crate::keys::locked::Locked;
use crate::keys::{AuthoritySecret, Key, authority_key_material, lp};
use crate::register::{AuthorityKey, Suite};

/// The private half, in locked memory; wipes itself.
enum HpkePrivateKey {
    X25519(Locked<<X25519HkdfSha256 as Kem>::PrivateKey>),
    XWing(Locked<<XWing as Kem>::PrivateKey>),
}

/// An authority's private key, of either suite, ready to open segments.
pub struct AuthorityPrivateKey {
    id: String,
    private: HpkePrivateKey,
    public: Vec<u8>,
}

impl AuthorityPrivateKey {
    /// Derives the key pair (RFC 9180, section 7.1.3) from the authority's scalar, the key's id and
    /// its suite. The same scalar makes unrelated keys in the two suites.
    pub fn derive(secret: &AuthoritySecret, key_id: &str, suite: Suite) -> Self {
        let material = authority_key_material(secret, key_id, suite);
        let (private, public) = match suite {
            Suite::X25519 => {
                let (private, public) = X25519HkdfSha256::derive_keypair(material.expose());
                (
                    HpkePrivateKey::X25519(Locked::new(private)),
                    public.to_bytes().to_vec(),
                )
            }
            Suite::XWing => {
                let (private, public) = XWing::derive_keypair(material.expose());
                (
                    HpkePrivateKey::XWing(Locked::new(private)),
                    public.to_bytes().to_vec(),
                )
            }
        };
        Self {
            id: key_id.to_owned(),
            private,
            public,
        }
    }

    /// The key's id, as the register has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its suite.
    pub fn suite(&self) -> Suite {
        match self.private {
            HpkePrivateKey::X25519(_) => Suite::X25519,
            HpkePrivateKey::XWing(_) => Suite::XWing,
        }
    }

    /// The public key, as the register has it.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens a data key that was sealed to this key.
    pub(super) fn open(
        &self,
        sector: Uuid,
        enc: &[u8],
        ct: &[u8],
        aad: &[u8],
    ) -> Result<Key, SealError> {
        let info = info(sector, &self.id);
        let mut dek = match &self.private {
            HpkePrivateKey::X25519(key) => open_with::<X25519HkdfSha256>(key, enc, &info, ct, aad)?,
            HpkePrivateKey::XWing(key) => open_with::<XWing>(key, enc, &info, ct, aad)?,
        };
        // One copy, which `take` wipes.
        let mut bytes = [0; 32];
        let fits = dek.len() == bytes.len();
        if fits {
            bytes.copy_from_slice(&dek);
        }
        dek.zeroize();
        let key = Key::take(&mut bytes);
        if fits {
            Ok(key)
        } else {
            Err(SealError::Format)
        }
    }
}

fn open_with<K: Kem>(
    key: &K::PrivateKey,
    enc: &[u8],
    info: &[u8],
    ct: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, SealError> {
    let enc = K::EncappedKey::from_bytes(enc).map_err(|_| SealError::Format)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        key,
        &enc,
        info,
        ct,
        aad,
    )
    .map_err(|_| SealError::Open)
}

/// Seals a data key to an authority's public key: `enc` and ciphertext.
pub(super) fn seal(
    to: &AuthorityKey,
    sector: Uuid,
    dek: &Key,
    aad: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    let info = info(sector, to.id.as_str());
    match to.suite {
        Suite::X25519 => seal_with::<X25519HkdfSha256>(&to.public, &info, dek, aad),
        Suite::XWing => seal_with::<XWing>(&to.public, &info, dek, aad),
    }
}

fn seal_with<K: Kem>(
    public: &[u8],
    info: &[u8],
    dek: &Key,
    aad: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    let public = K::PublicKey::from_bytes(public).map_err(|_| SealError::PublicKey)?;
    let sealed = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        &public,
        info,
        dek.expose(),
        aad,
    );
    let (enc, ct) = sealed.map_err(|_| SealError::PublicKey)?;
    Ok((enc.to_bytes().to_vec(), ct))
}

fn info(sector: Uuid, key_id: &str) -> Vec<u8> {
    let mut info = b"cloison/v1/segment".to_vec();
    lp(&mut info, sector.as_bytes());
    lp(&mut info, key_id.as_bytes());
    info
}
