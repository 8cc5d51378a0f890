//! Segments: short-lived data keys (DEK), sealed to a sector's competent authorities.
//!
//! ```text
//! segment   = format(1) ‖ id(16) ‖ sector UUID(16) ‖ opened-at(u64be, Unix seconds) ‖ commitment(32)
//!             ‖ count(1) ‖ [suite(1) ‖ LP(authority key id) ‖ LP(enc) ‖ LP(ct)]… ‖ signature(64)
//! HPKE      = RFC 9180 base mode, info "cloison/v1/segment" ‖ LP(sector UUID) ‖ LP(authority key id), aad = id ‖ opened-at
//! signature = Ed25519 over "cloison/v1/segment-signature" ‖ all that stands before it
//! ```
//!
//! The suite stands beside each recipient, since each authority key chooses its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::aead;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use jiff::Timestamp;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroize;

use super::{Reader, SealError};
use crate::clock::day_of;
use crate::keys::locked::Locked;
use crate::keys::{AuthoritySecret, Key, authority_key_material, lp, segment_commitment};
use crate::register::AuthorityKey;

const FORMAT: u8 = 1;
const SIGNATURE_LABEL: &[u8] = b"cloison/v1/segment-signature";
/// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
pub const SUITE_X25519: u8 = 1;

/// Most mappings under one DEK: the counter in the nonce has 32 bits.
pub const MAX_MAPPINGS: u64 = 1 << 32;
/// A segment with traffic lives this long, in seconds.
const BUSY_LIFE: i64 = 3_600;
/// Fewer mappings than this in the first hour make a sector quiet: its segment then lives until the day ends.
const QUIET_MAPPINGS: u64 = 4_096;

/// Identifies a segment.
pub type SegmentId = [u8; 16];

/// A segment that the vault is sealing under: its DEK lives here and nowhere else, and is wiped on drop.
pub struct OpenSegment {
    id: SegmentId,
    opened_at: Timestamp,
    dek: aead::LessSafeKey,
    used: AtomicU64,
    record: Vec<u8>,
    stored: AtomicBool,
}

impl OpenSegment {
    /// Opens a segment for a sector, sealed to each of `authorities`, signed by the vault's segment key.
    ///
    /// # Errors
    /// [`SealError::PublicKey`] when an authority's key is not one of its suite.
    pub fn create(
        sector: Uuid,
        authorities: &[&AuthorityKey],
        signer: &SigningKey,
        now: Timestamp,
    ) -> Result<Self, SealError> {
        let id: SegmentId = crate::clock::random();
        let dek = Key::random();
        let opened_at = now.as_second().to_be_bytes();

        let mut record = vec![FORMAT];
        record.extend_from_slice(&id);
        record.extend_from_slice(sector.as_bytes());
        record.extend_from_slice(&opened_at);
        record.extend_from_slice(&segment_commitment(&dek));
        record.push(u8::try_from(authorities.len()).map_err(|_| SealError::Format)?);
        let aad = [&id[..], &opened_at[..]].concat();
        for authority in authorities {
            let (enc, ct) = hpke_seal(authority, &hpke_info(sector, authority.id.as_str()), &dek, &aad)?;
            record.push(authority.suite);
            lp(&mut record, authority.id.as_str().as_bytes());
            lp(&mut record, &enc);
            lp(&mut record, &ct);
        }
        let signature = signer.sign(&[SIGNATURE_LABEL, &record].concat());
        record.extend_from_slice(&signature.to_bytes());

        Ok(Self {
            id,
            opened_at: now,
            dek: cipher(&dek),
            used: AtomicU64::new(0),
            record,
            stored: AtomicBool::new(false),
        })
    }

    /// The segment's id.
    pub fn id(&self) -> &SegmentId {
        &self.id
    }

    /// The stored form.
    pub fn record(&self) -> &[u8] {
        &self.record
    }

    /// Whether the record is durably in the store.
    pub fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    /// Says that the record is durably in the store.
    pub fn mark_stored(&self) {
        self.stored.store(true, Ordering::Release);
    }

    /// Reserves `count` nonce counters; `None` when the segment has not that many left.
    pub fn reserve(&self, count: usize) -> Option<u32> {
        let count = count as u64;
        let first = self.used.fetch_add(count, Ordering::Relaxed);
        // A reservation that does not fit leaves `used` past the end for good: the segment is simply over.
        (first + count <= MAX_MAPPINGS).then_some(first as u32)
    }

    /// Whether the segment must be replaced.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let age = now.as_second() - self.opened_at.as_second();
        let used = self.used.load(Ordering::Relaxed);
        // No segment outlives its day (UTC): the first-seen day is sealed with a mapping, and a resumed machine image that
        // repeats a nonce must repeat the whole plaintext.
        let same_day = day_of(now) == day_of(self.opened_at);
        used >= MAX_MAPPINGS || !same_day || age < 0 || (age >= BUSY_LIFE && used >= QUIET_MAPPINGS)
    }

    pub(super) fn dek(&self) -> &aead::LessSafeKey {
        &self.dek
    }
}

/// An authority's private key, ready to open segments.
pub struct AuthorityPrivateKey {
    id: String,
    /// In locked memory; wipes itself.
    secret: Locked<<X25519HkdfSha256 as Kem>::PrivateKey>,
    public: Vec<u8>,
}

impl AuthorityPrivateKey {
    /// Derives the key pair (RFC 9180, section 7.1.3) from the authority's scalar and the key's id.
    pub fn derive(secret: &AuthoritySecret, key_id: &str) -> Self {
        let (secret, public) = X25519HkdfSha256::derive_keypair(authority_key_material(secret, key_id).expose());
        Self { id: key_id.to_owned(), secret: Locked::new(secret), public: public.to_bytes().to_vec() }
    }

    /// The key's id, as the register has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key, as the register has it.
    pub fn public(&self) -> &[u8] {
        &self.public
    }
}

/// A segment's DEK on the authority's side, after every check.
pub struct OpenedSegment {
    id: SegmentId,
    sector: Uuid,
    dek: aead::LessSafeKey,
}

impl OpenedSegment {
    /// Opens a segment record with an authority's key.
    ///
    /// # Errors
    /// [`SealError`]: format, a signature by none of `pinned`, not sealed to `key`, does not open, wrong commitment.
    pub fn open(record: &[u8], key: &AuthorityPrivateKey, pinned: &[VerifyingKey]) -> Result<Self, SealError> {
        let parsed = Parsed::read(record)?;
        let signed = [SIGNATURE_LABEL, &record[..record.len() - 64]].concat();
        if !pinned.iter().any(|pin| pin.verify_strict(&signed, &parsed.signature).is_ok()) {
            return Err(SealError::Signature);
        }
        let (_, _, enc, ct) =
            *parsed.recipients.iter().find(|r| r.0 == SUITE_X25519 && r.1 == key.id).ok_or(SealError::NotForThisKey)?;
        let aad = [&parsed.id[..], &parsed.opened_at[..]].concat();
        let dek = hpke_open(key, &hpke_info(parsed.sector, &key.id), enc, ct, &aad)?;
        if !bool::from(segment_commitment(&dek).ct_eq(&parsed.commitment)) {
            return Err(SealError::Commitment);
        }
        Ok(Self { id: parsed.id, sector: parsed.sector, dek: cipher(&dek) })
    }

    /// The segment's id.
    pub fn id(&self) -> &SegmentId {
        &self.id
    }

    /// The sector it was opened for.
    pub fn sector(&self) -> Uuid {
        self.sector
    }

    pub(super) fn dek(&self) -> &aead::LessSafeKey {
        &self.dek
    }
}

struct Parsed<'a> {
    id: SegmentId,
    sector: Uuid,
    opened_at: [u8; 8],
    commitment: [u8; 32],
    recipients: Vec<(u8, &'a str, &'a [u8], &'a [u8])>,
    signature: ed25519_dalek::Signature,
}

impl<'a> Parsed<'a> {
    fn read(record: &'a [u8]) -> Result<Self, SealError> {
        let mut r = Reader(record);
        if r.u8()? != FORMAT {
            return Err(SealError::Format);
        }
        let (id, sector, opened_at, commitment) = (r.array()?, Uuid::from_bytes(r.array()?), r.array()?, r.array()?);
        let count = r.u8()?;
        let recipients =
            (0..count).map(|_| Ok((r.u8()?, r.text()?, r.lp()?, r.lp()?))).collect::<Result<_, SealError>>()?;
        let signature = ed25519_dalek::Signature::from_bytes(&r.array()?);
        r.end()?;
        Ok(Self { id, sector, opened_at, commitment, recipients, signature })
    }
}

/// When a segment was opened, from its record; nothing of it is verified.
///
/// # Errors
/// [`SealError::Format`]
pub fn opened_at(record: &[u8]) -> Result<Timestamp, SealError> {
    let second = i64::from_be_bytes(Parsed::read(record)?.opened_at);
    Timestamp::from_second(second).map_err(|_| SealError::Format)
}

fn cipher(dek: &Key) -> aead::LessSafeKey {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, dek.expose()).expect("32 bytes are a ChaCha20 key");
    aead::LessSafeKey::new(key)
}

fn hpke_info(sector: Uuid, key_id: &str) -> Vec<u8> {
    let mut info = b"cloison/v1/segment".to_vec();
    lp(&mut info, sector.as_bytes());
    lp(&mut info, key_id.as_bytes());
    info
}

fn hpke_seal(to: &AuthorityKey, info: &[u8], dek: &Key, aad: &[u8]) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    if to.suite != SUITE_X25519 {
        return Err(SealError::PublicKey);
    }
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.public).map_err(|_| SealError::PublicKey)?;
    let (enc, ct) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        info,
        dek.expose(),
        aad,
    )
    .map_err(|_| SealError::PublicKey)?;
    Ok((enc.to_bytes().to_vec(), ct))
}

fn hpke_open(key: &AuthorityPrivateKey, info: &[u8], enc: &[u8], ct: &[u8], aad: &[u8]) -> Result<Key, SealError> {
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(|_| SealError::Format)?;
    let mut dek = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key.secret,
        &enc,
        info,
        ct,
        aad,
    )
    .map_err(|_| SealError::Open)?;
    let bytes: Result<[u8; 32], _> = dek.as_slice().try_into();
    dek.zeroize();
    Ok(Key::take(&mut bytes.map_err(|_| SealError::Format)?))
}
