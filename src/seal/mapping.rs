//! Sealed mappings: the inner envelope around one identifier.
//!
//! ```text
//! plaintext = LP(scheme) ‖ LP(canonical value) ‖ first-seen day(u32be, days since 1970-01-01)
//! location  = "cloison/v1/mapping" ‖ LP(sector UUID) ‖ LP(controller) ‖ LP(purpose) ‖ LP(period) ‖ LP(u32be epoch) ‖ LP(P)
//! nonce     = PRF[16..24] ‖ u32be(counter)
//! record    = P(16) ‖ nonce(12) ‖ LP(ChaCha20-Poly1305(DEK, nonce, plaintext, aad = location))
//! ```
//!
//! The nonce never repeats under one DEK: the counter counts within the segment, and where a
//! resumed machine image counts again, it does so for other persons, whose PRF differs, or for the
//! same person on the same day (no segment outlives its day), whose plaintext is the same.

use aws_lc_rs::aead::{Aad, Nonce};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::chunk::ChunkBuilder;
use super::segment::{OpenSegment, OpenedSegment};
use super::{SealError, SealReader};
use crate::keys::{DomainScope, NoncePart, lp};
use crate::pseudonym::Pseudonym;

/// Bytes of a record before its length-prefixed ciphertext.
const HEAD: usize = 16 + 12;
const TAG: usize = 16;

/// Where a mapping belongs, without the pseudonym: the same for a whole batch.
#[derive(Debug, Clone)]
pub struct Location(Vec<u8>);

impl Location {
    /// The place of one domain.
    pub fn new(sector: Uuid, epoch: u32, scope: &DomainScope) -> Self {
        let mut place = b"cloison/v1/mapping".to_vec();
        lp(&mut place, sector.as_bytes());
        lp(&mut place, scope.controller.as_bytes());
        lp(&mut place, scope.purpose.as_bytes());
        lp(&mut place, scope.period.as_bytes());
        lp(&mut place, &epoch.to_be_bytes());
        // Room for LP(P), which differs per record.
        place.extend_from_slice(&[0, 16]);
        place.extend_from_slice(&[0; 16]);
        Self(place)
    }

    fn of(&mut self, pseudonym: &Pseudonym) -> &[u8] {
        let at = self.0.len() - 16;
        self.0[at..].copy_from_slice(pseudonym.as_bytes());
        &self.0
    }
}

/// Seals the mappings of one batch under one segment.
pub struct Sealer<'a> {
    segment: &'a OpenSegment,
    location: Location,
    scheme: Vec<u8>,
    day: [u8; 4],
    counter: u32,
    left: usize,
}

impl<'a> Sealer<'a> {
    /// A sealer for at most `count` mappings; `None` when the segment has not that many counters
    /// left.
    pub fn new(
        segment: &'a OpenSegment,
        location: Location,
        scheme: &str,
        day: u32,
        count: usize,
    ) -> Option<Self> {
        let counter = segment.reserve(count)?;
        let mut prefix = Vec::with_capacity(2 + scheme.len());
        lp(&mut prefix, scheme.as_bytes());
        Some(Self {
            segment,
            location,
            scheme: prefix,
            day: day.to_be_bytes(),
            counter,
            left: count,
        })
    }

    /// Bytes of a record whose canonical value has `value` bytes.
    pub fn record_size(&self, value: usize) -> usize {
        HEAD + 2 + self.scheme.len() + 2 + value + 4 + TAG
    }

    /// Seals one mapping and appends its record to a chunk.
    ///
    /// # Panics
    /// When more mappings are sealed than were reserved: the nonce would repeat.
    pub fn seal(
        &mut self,
        pseudonym: Pseudonym,
        part: NoncePart,
        value: &[u8],
        chunk: &mut ChunkBuilder,
    ) {
        self.left = self
            .left
            .checked_sub(1)
            .expect("no more mappings than were reserved");
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(part.as_bytes());
        nonce[8..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);

        let (segment, scheme, day) = (self.segment, &self.scheme, &self.day);
        let location = self.location.of(&pseudonym);
        chunk.append(pseudonym, |out| {
            out.extend_from_slice(pseudonym.as_bytes());
            out.extend_from_slice(&nonce);
            let plain_len = scheme.len() + 2 + value.len() + 4;
            out.extend_from_slice(&((plain_len + TAG) as u16).to_be_bytes());
            let plain = out.len();
            out.extend_from_slice(scheme);
            lp(out, value);
            out.extend_from_slice(day);
            let tag = segment
                .dek()
                .seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(location),
                    &mut out[plain..],
                )
                .expect("a short message seals");
            out.extend_from_slice(tag.as_ref());
        });
    }
}

/// One record as it lies in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Whose mapping it is.
    pub pseudonym: Pseudonym,
    nonce: [u8; 12],
    ciphertext: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Reads one record off the front.
    pub(super) fn read(r: &mut SealReader<'a>) -> Result<Self, SealError> {
        Ok(Self {
            pseudonym: Pseudonym::from_bytes(r.array()?),
            nonce: r.array()?,
            ciphertext: r.lp()?,
        })
    }

    /// Reads a record that stands alone.
    ///
    /// # Errors
    /// [`SealError::Format`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SealError> {
        let mut r = SealReader(bytes);
        let record = Self::read(&mut r)?;
        r.end()?;
        Ok(record)
    }

    /// The record's bytes, standing alone.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + 2 + self.ciphertext.len());
        out.extend_from_slice(self.pseudonym.as_bytes());
        out.extend_from_slice(&self.nonce);
        lp(&mut out, self.ciphertext);
        out
    }

    /// Opens the mapping at the place where it is stored.
    ///
    /// # Errors
    /// [`SealError::Open`] when it does not open there; [`SealError::Format`] when the plaintext is
    /// not a mapping.
    pub fn open(
        &self,
        segment: &OpenedSegment,
        mut location: Location,
    ) -> Result<Mapping, SealError> {
        let mut buffer = Zeroizing::new(self.ciphertext.to_vec());
        let plain = segment
            .dek()
            .open_in_place(
                Nonce::assume_unique_for_key(self.nonce),
                Aad::from(location.of(&self.pseudonym)),
                &mut buffer,
            )
            .map_err(|_| SealError::Open)?;
        let mut r = SealReader(plain);
        let scheme = r.text()?.to_owned();
        let value = Zeroizing::new(r.text()?.to_owned());
        let first_seen = r.u32()?;
        r.end()?;
        Ok(Mapping {
            scheme,
            value,
            first_seen,
        })
    }
}

/// An opened mapping: the identifier behind a pseudonym. Wiped on drop, never printed.
pub struct Mapping {
    /// The scheme's id.
    pub scheme: String,
    /// The canonical value.
    pub value: Zeroizing<String>,
    /// The day it was first seen: days since 1970-01-01.
    pub first_seen: u32,
}
