//! Chunks: the outer envelope around the mappings of one batch in one domain.
//!
//! ```text
//! plaintext = format(1) ‖ segment id(16) ‖ LP(controller) ‖ LP(purpose) ‖ LP(period) ‖ count(u32be) ‖ record…
//! row       = format(1) ‖ store key version(u32be) ‖ nonce(24, random) ‖ XChaCha20-Poly1305(K_store, nonce, plaintext, aad = row key)
//! ```
//!
//! Records are sorted by pseudonym, so that the row does not reveal the order in which a list was
//! sent.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::{R20, hchacha};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305};
use zeroize::Zeroizing;

use super::mapping::RecordView;
use super::segment::SegmentId;
use super::{SealError, SealReader};
use crate::keys::{DomainScope, KEY_LEN, StoreKey, lp};
use crate::pseudonym::Pseudonym;

const FORMAT: u8 = 1;
const HEAD: usize = 1 + 4 + 24;
const TAG: usize = 16;

/// Most records in one chunk: small enough that finding one mapping costs microseconds, large
/// enough that a row costs nothing per mapping.
pub const MAX_RECORDS: usize = 256;

/// Wraps and unwraps chunks under the versions of the storage key.
pub struct ChunkCipher {
    current: u32,
    keys: BTreeMap<u32, StoreKey>,
}

impl ChunkCipher {
    /// A cipher over all versions that are here; the highest one wraps.
    ///
    /// # Panics
    /// When there is no version; such a configuration is refused earlier.
    pub fn new(keys: impl IntoIterator<Item = (u32, StoreKey)>) -> Self {
        let keys: BTreeMap<_, _> = keys.into_iter().collect();
        let current = *keys
            .last_key_value()
            .expect("at least one store key version")
            .0;
        Self { current, keys }
    }

    /// Wraps a chunk for the row `row_key`. `plain` is the chunk's plaintext behind `HEAD` bytes of
    /// room; the row is made in place.
    pub fn wrap(&self, row_key: &[u8], plain: ChunkBuilder) -> Vec<u8> {
        let mut row = plain.bytes;
        row[plain.records_at - 4..plain.records_at]
            .copy_from_slice(&(plain.records.len() as u32).to_be_bytes());
        let nonce: [u8; 24] = crate::clock::random();
        row[0] = FORMAT;
        row[1..5].copy_from_slice(&self.current.to_be_bytes());
        row[5..HEAD].copy_from_slice(&nonce);
        let tag = x_seal(
            self.keys[&self.current].expose(),
            &nonce,
            row_key,
            &mut row[HEAD..],
        );
        row.extend_from_slice(&tag);
        row
    }

    /// Whether a row is wrapped under the present version of the key.
    pub fn is_current(&self, row: &[u8]) -> bool {
        row.get(1..5) == Some(&self.current.to_be_bytes())
    }

    /// Unwraps the row that was stored under `row_key`.
    ///
    /// # Errors
    /// [`SealError`]: format, an absent key version, or a row that does not open there.
    pub fn unwrap(&self, row_key: &[u8], row: Vec<u8>) -> Result<Chunk, SealError> {
        let mut plain = row;
        let mut r = SealReader(&plain);
        if r.u8()? != FORMAT {
            return Err(SealError::Format);
        }
        let version = r.u32()?;
        let nonce: [u8; 24] = r.array()?;
        let key = self
            .keys
            .get(&version)
            .ok_or(SealError::KeyVersion(version))?;
        let end = plain
            .len()
            .checked_sub(TAG)
            .filter(|end| *end >= HEAD)
            .ok_or(SealError::Format)?;
        let tag = Tag::try_from(&plain[end..]).map_err(|_| SealError::Format)?;
        plain.truncate(end);
        XChaCha20Poly1305::new(key.expose().into())
            .decrypt_inout_detached(&nonce.into(), row_key, (&mut plain[HEAD..]).into(), &tag)
            .map_err(|_| SealError::Open)?;
        Chunk::read(plain)
    }
}

/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, section 2.3) by the faster of our two libraries,
/// which does not offer it by name: ChaCha20-Poly1305 under the key that HChaCha20 makes of the
/// nonce's first 16 bytes. The other library unwraps.
pub(super) fn x_seal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; 24],
    aad: &[u8],
    message: &mut [u8],
) -> [u8; TAG] {
    let (first, last) = nonce.split_first_chunk::<16>().expect("16 of 24");
    let subkey = Zeroizing::new(hchacha::<R20>(key.into(), first.into()));
    let mut rest = [0; 12];
    rest[4..].copy_from_slice(last);
    let tag =
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &subkey).expect("32 bytes are a key"))
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(rest), Aad::from(aad), message)
            .expect("a message is far below the cipher's limit");
    tag.as_ref().try_into().expect("a tag has 16 bytes")
}

/// A chunk's plaintext in the making, behind room for the head of its row.
pub struct ChunkBuilder {
    bytes: Vec<u8>,
    records_at: usize,
    records: Vec<RecordRef>,
}

/// One record of a [`ChunkBuilder`].
#[derive(Debug, Clone, Copy)]
pub struct RecordRef {
    /// Whose mapping it is.
    pub pseudonym: Pseudonym,
    offset: u32,
    len: u16,
}

impl ChunkBuilder {
    /// An empty chunk of one segment and domain, with room for `records` records of `bytes` bytes
    /// in all.
    pub fn new(segment: &SegmentId, scope: &DomainScope, records: usize, bytes: usize) -> Self {
        let head = HEAD
            + 1
            + segment.len()
            + 6
            + scope.controller.len()
            + scope.purpose.len()
            + scope.period.len()
            + 4;
        let mut plain = Vec::with_capacity(head + bytes + TAG);
        plain.resize(HEAD, 0);
        plain.push(FORMAT);
        plain.extend_from_slice(segment);
        lp(&mut plain, scope.controller.as_bytes());
        lp(&mut plain, scope.purpose.as_bytes());
        lp(&mut plain, scope.period.as_bytes());
        plain.extend_from_slice(&[0; 4]);
        Self {
            records_at: plain.len(),
            bytes: plain,
            records: Vec::with_capacity(records),
        }
    }

    /// Appends the record that `write` appends to the bytes; the caller brings records sorted by
    /// pseudonym.
    pub(super) fn append(&mut self, pseudonym: Pseudonym, write: impl FnOnce(&mut Vec<u8>)) {
        let offset = self.bytes.len();
        write(&mut self.bytes);
        let len = (self.bytes.len() - offset) as u16;
        self.records.push(RecordRef {
            pseudonym,
            offset: offset as u32,
            len,
        });
    }

    /// Appends a record of another chunk.
    pub fn push(&mut self, pseudonym: Pseudonym, record: &[u8]) {
        self.append(pseudonym, |bytes| bytes.extend_from_slice(record));
    }

    /// Its records, in order.
    pub fn records(&self) -> &[RecordRef] {
        &self.records
    }

    /// The bytes of one of its records.
    pub fn record(&self, record: &RecordRef) -> &[u8] {
        &self.bytes[record.offset as usize..][..record.len.into()]
    }

    /// Removes the records for which `keep` returns false; it is called in order.
    pub fn retain(&mut self, mut keep: impl FnMut(&Pseudonym) -> bool) {
        let mut end = self.records_at;
        let bytes = &mut self.bytes;
        self.records.retain_mut(|record| {
            if !keep(&record.pseudonym) {
                return false;
            }
            let (start, len) = (record.offset as usize, usize::from(record.len));
            if start != end {
                bytes.copy_within(start..start + len, end);
                record.offset = end as u32;
            }
            end += len;
            true
        });
        bytes.truncate(end);
    }
}

/// A chunk, unwrapped: inner envelopes still closed.
pub struct Chunk {
    plain: Vec<u8>,
    segment: SegmentId,
    scope: DomainScope,
    records_at: usize,
    count: u32,
}

impl Chunk {
    fn read(plain: Vec<u8>) -> Result<Self, SealError> {
        let mut r = SealReader(&plain[HEAD..]);
        if r.u8()? != FORMAT {
            return Err(SealError::Format);
        }
        let segment = r.array()?;
        let scope = DomainScope {
            controller: r.text()?.to_owned(),
            purpose: r.text()?.to_owned(),
            period: r.text()?.to_owned(),
        };
        let count = r.u32()?;
        let records_at = plain.len() - r.0.len();
        Ok(Self {
            plain,
            segment,
            scope,
            records_at,
            count,
        })
    }

    /// The segment under which its mappings are sealed.
    pub fn segment(&self) -> &SegmentId {
        &self.segment
    }

    /// The granularity values of its domain.
    pub fn scope(&self) -> &DomainScope {
        &self.scope
    }

    /// How many records it has.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = Result<RecordView<'_>, SealError>> {
        let mut r = SealReader(&self.plain[self.records_at..]);
        (0..self.count).map(move |_| RecordView::read(&mut r))
    }

    /// The record of one pseudonym.
    ///
    /// # Errors
    /// [`SealError::Format`] for a chunk whose records do not parse.
    pub fn find(&self, pseudonym: &Pseudonym) -> Result<Option<RecordView<'_>>, SealError> {
        for record in self.records() {
            let record = record?;
            if record.pseudonym == *pseudonym {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}
