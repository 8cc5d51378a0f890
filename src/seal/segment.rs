//! Segments: short-lived data keys (DEK), sealed to a sector's competent authorities. How one is
//! stored: [`super::record`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::aead;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::SealError;
pub use super::hpke::AuthorityPrivateKey;
use super::record::{SegmentRecipient, SegmentRecord};
use crate::clock::day_of;
use crate::keys::{Key, segment_commitment, segment_opening};
use crate::register::AuthorityKey;

/// Most mappings under one DEK: the counter in the nonce has 32 bits.
pub const MAX_MAPPINGS: u64 = 1 << 32;
/// A segment with traffic lives this long, in seconds.
const BUSY_LIFE: i64 = 3_600;
/// Fewer mappings than this in the first hour make a sector quiet: its segment then lives until the
/// day ends.
const QUIET_MAPPINGS: u64 = 4_096;

/// Identifies a segment.
pub type SegmentId = [u8; 16];

/// A segment that the vault is sealing under: its DEK lives here and nowhere else, and is wiped on
/// drop.
pub struct OpenSegment {
    id: SegmentId,
    opened_at: Timestamp,
    dek: aead::LessSafeKey,
    used: AtomicU64,
    record: Vec<u8>,
    opening: [u8; 32],
    stored: AtomicBool,
}

impl OpenSegment {
    /// Opens a segment for a sector, sealed to each of `authorities`, signed by the vault's segment
    /// key.
    ///
    /// # Errors
    /// [`SealError::PublicKey`] when an authority's key is not one of its suite.
    pub fn create(
        sector: Uuid,
        authorities: &[&AuthorityKey],
        signer: &SigningKey,
        now: Timestamp,
    ) -> Result<Self, SealError> {
        let dek = Key::random();
        let mut record = SegmentRecord {
            id: crate::clock::random(),
            sector,
            opened_at: now.as_second().to_be_bytes(),
            commitment: segment_commitment(&dek),
            recipients: vec![],
        };
        let aad = record.aad();
        for authority in authorities {
            record
                .recipients
                .push(SegmentRecipient::seal(authority, sector, &dek, &aad)?);
        }

        Ok(Self {
            id: record.id,
            opened_at: now,
            dek: cipher(&dek),
            used: AtomicU64::new(0),
            record: record.sign(signer)?,
            opening: Sha256::digest(segment_opening(&dek).expose()).into(),
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

    /// SHA-256 of the value that proves its opening; see [`prove`].
    pub fn opening(&self) -> &[u8; 32] {
        &self.opening
    }

    /// Whether the record is durably in the store.
    pub fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    /// Notes that the record is durably in the store.
    pub fn mark_stored(&self) {
        self.stored.store(true, Ordering::Release);
    }

    /// Reserves `count` nonce counters; `None` when the segment has not that many left.
    pub fn reserve(&self, count: usize) -> Option<u32> {
        let count = count as u64;
        let first = self.used.fetch_add(count, Ordering::Relaxed);
        // A reservation that does not fit leaves `used` past the end for good: the segment is
        // simply over.
        (first + count <= MAX_MAPPINGS).then_some(first as u32)
    }

    /// Whether the segment must be replaced.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let age = now.as_second() - self.opened_at.as_second();
        let used = self.used.load(Ordering::Relaxed);
        // No segment outlives its day (UTC): the first-seen day is sealed with a mapping, and a
        // resumed machine image that repeats a nonce must repeat the whole plaintext.
        let same_day = day_of(now) == day_of(self.opened_at);
        used >= MAX_MAPPINGS || !same_day || age < 0 || (age >= BUSY_LIFE && used >= QUIET_MAPPINGS)
    }

    pub(super) fn dek(&self) -> &aead::LessSafeKey {
        &self.dek
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
    /// [`SealError`]: format, a signature by none of `pinned`, not sealed to `key`, does not open,
    /// wrong commitment.
    pub fn open(
        record: &[u8],
        key: &AuthorityPrivateKey,
        pinned: &[VerifyingKey],
    ) -> Result<Self, SealError> {
        Self::of(&SegmentRecord::read(record, pinned)?, key)
    }

    /// Opens a record whose signature was checked before.
    ///
    /// # Errors
    /// [`SealError`]: not sealed to `key`, does not open, wrong commitment.
    pub fn of(record: &SegmentRecord, key: &AuthorityPrivateKey) -> Result<Self, SealError> {
        let (dek, _) = open_dek(record, key)?;
        Ok(Self {
            id: record.id,
            sector: record.sector,
            dek: cipher(&dek),
        })
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

/// Seals a segment's data key to further keys: opens it with one that it is sealed to, after every
/// check, and wipes it again.
///
/// # Errors
/// As [`OpenedSegment::open`], and [`SealError::PublicKey`] when one of `to` is not of its suite.
pub fn rewrap(
    record: &SegmentRecord,
    key: &AuthorityPrivateKey,
    to: &[&AuthorityKey],
) -> Result<Vec<SegmentRecipient>, SealError> {
    let ((dek, _), aad) = (open_dek(record, key)?, record.aad());
    to.iter()
        .map(|to| SegmentRecipient::seal(to, record.sector, &dek, &aad))
        .collect()
}

/// Opens a segment with a key and keeps only the proof of it: 32 bytes whose SHA-256 the vault
/// knows.
///
/// # Errors
/// As [`OpenedSegment::open`].
pub fn prove(record: &SegmentRecord, key: &AuthorityPrivateKey) -> Result<Key, SealError> {
    open_dek(record, key).map(|(dek, _)| segment_opening(&dek))
}

/// Whether `shown` proves that the segment was opened for which the vault kept `digest`.
pub fn is_opening(shown: &[u8], digest: &[u8; 32]) -> bool {
    Sha256::digest(shown).as_slice() == digest
}

/// The data key, and the recipient entry that it was sealed in.
fn open_dek<'r>(
    record: &'r SegmentRecord,
    key: &AuthorityPrivateKey,
) -> Result<(Key, &'r SegmentRecipient), SealError> {
    let suite = key.suite().number();
    let recipient = record
        .recipients
        .iter()
        .find(|r| r.suite == suite && r.key == key.id());
    let recipient = recipient.ok_or(SealError::NotForThisKey)?;
    let dek = key.open(record.sector, &recipient.enc, &recipient.ct, &record.aad())?;
    if bool::from(segment_commitment(&dek).ct_eq(&record.commitment)) {
        Ok((dek, recipient))
    } else {
        Err(SealError::Commitment)
    }
}

/// When a segment was opened, from its record; nothing of it is verified.
///
/// # Errors
/// [`SealError::Format`]
pub fn opened_at(record: &[u8]) -> Result<Timestamp, SealError> {
    let second = i64::from_be_bytes(SegmentRecord::unverified(record)?.opened_at);
    Timestamp::from_second(second).map_err(|_| SealError::Format)
}

fn cipher(dek: &Key) -> aead::LessSafeKey {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, dek.expose())
        .expect("32 bytes are a ChaCha20 key");
    aead::LessSafeKey::new(key)
}
