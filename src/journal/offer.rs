//! What the owner of a log and a follower say to one another.
//!
//! ```text
//! offer = "cloison offer 1\n" ‖ u32be(length) ‖ signed note ‖ kept ‖ u8(begins) ‖ start ‖ frame…
//! kept  = u16be(year) ‖ u16be(part) ‖ u64be(index)                the first entry that a backup of the owner's needs
//! start = begins = 0: u64be(index of the first entry)             the follower holds what comes before
//!         begins = 1: u64be(index of the first entry) ‖ edge      it holds nothing yet (edge: as in a segment)
//! frame = leaf hash (32 bytes) ‖ u32be(length) ‖ sealed entry ‖ u32be(length) ‖ sealed record ‖ sum (as in a segment)
//! held  = "cloison held 1\n" ‖ signed note                        nothing behind the line: the follower holds nothing yet
//! ```
//!
//! Below the checkpoint's signature the note of an offer has another one of the owner's, over the
//! SHA-256 of all that comes behind the note ([`accompany`]): what a follower keeps, and may drop,
//! is the owner's word.
//!
//! An offer always reaches its own checkpoint: where more entries are due than one offer takes, the
//! owner signs a checkpoint over those that it holds. So a checkpoint never travels without the
//! entries that the follower lacks, and a follower has nothing to remember but what it holds.
//!
//! What lies before the first entry that a backup of the owner's needs, a follower may drop.
//!
//! In what a follower holds, the note is the owner's checkpoint with the follower's signature below
//! it, of a kind of its own ([`SignatureKind::Keeper`](crate::tlog::note::SignatureKind)): it
//! vouches that everything that the checkpoint covers, since the follower's beginning, is on its
//! disk, and no more. A follower without a key has no signature there, and does not count.

use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::segment::{EntryForm, FieldReader, push_sealed_frame, push_tree};
use crate::store::Shard;
use crate::tlog::note::{MAX_NOTE, SignedNote, accompany};
use crate::tlog::tree::{Hash, MerkleTree};

/// The first line of an offer.
const OFFER: &[u8; 16] = b"cloison offer 1\n";
/// The first line of what a follower holds.
const HELD: &str = "cloison held 1\n";

/// The most bytes of frames in an offer, but for one frame that is longer.
pub const MOST_BYTES: usize = 2 << 20;
/// The most bytes of what a follower says that it holds.
pub const MOST_HELD: usize = MAX_NOTE + HELD.len();

/// Why bytes are not an offer, or not what a follower holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Another form, or another version of it.
    #[error("it is not of the form that this version knows")]
    Form,
    /// It ends before it is whole.
    #[error("it is not whole")]
    Cut,
}

/// Entries of one shard that a follower lacks, up to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalOffer {
    /// The owner's signed checkpoint over the last entry.
    note: String,
    /// The first entry that a kept backup of the owner's needs: its shard, and its index there.
    kept: (Shard, u64),
    /// The index of the first entry in the shard.
    first: u64,
    /// The tree before that entry, for a follower that holds nothing yet.
    before: Option<MerkleTree>,
    /// The frames, one after the other.
    frames: Vec<u8>,
    /// For each frame its leaf hash, and where it ends.
    leaves: Vec<(Hash, usize)>,
}

impl JournalOffer {
    /// An offer without entries yet, of a shard from the entry `first` on.
    pub fn after(first: u64) -> Self {
        Self {
            note: String::new(),
            kept: (Shard { year: 0, part: 0 }, 0),
            first,
            before: None,
            frames: vec![],
            leaves: vec![],
        }
    }

    /// The same for a follower that holds nothing yet: the entries behind a tree.
    pub fn beginning(before: MerkleTree) -> Self {
        Self {
            before: Some(before.clone()),
            ..Self::after(before.size())
        }
    }

    /// Adds the next entry: its leaf hash, the sealed entry, and the sealed record that it names
    /// (empty where it names none).
    pub fn push(&mut self, leaf: Hash, sealed: &[u8], record: &[u8]) {
        push_sealed_frame(&mut self.frames, &leaf, sealed, record);
        self.leaves.push((leaf, self.frames.len()));
    }

    /// The bytes of entries and records that it holds.
    pub(super) fn length(&self) -> usize {
        self.frames.len()
    }

    /// Whether an entry and its record of so many bytes go into it. The first always does.
    pub fn takes(&self, bytes: usize) -> bool {
        self.leaves.is_empty() || self.frames.len() + bytes <= MOST_BYTES
    }

    /// The number of entries of the shard with those that it holds.
    pub fn end(&self) -> u64 {
        self.first + self.leaves.len() as u64
    }

    /// Puts the owner's signed checkpoint there, which covers [`JournalOffer::end`] entries, and
    /// signs the offer by the owner's key. It is the last thing that is done to it.
    #[must_use]
    pub fn under(self, note: &str, key: &SigningKey) -> Self {
        let text = SignedNote::parse(note.as_bytes()).map_or("", |note| note.text());
        let name = text.lines().next().unwrap_or_default();
        let line = accompany(name, key, text, &self.digest());
        let note = format!("{note}{line}");
        Self { note, ..self }
    }

    /// Whether the owner of that log signed all of it.
    pub(super) fn is_signed_by(&self, origin: &str, key: &VerifyingKey) -> bool {
        let note = SignedNote::parse(self.note.as_bytes());
        note.and_then(|note| note.is_accompanied_by((origin, key), &self.digest()))
            .unwrap_or(false)
    }

    /// SHA-256 of what comes behind the note.
    fn digest(&self) -> Hash {
        let head = Sha256::new_with_prefix(self.head());
        head.chain_update(&self.frames).finalize().into()
    }

    /// What comes between note and frames.
    fn head(&self) -> Vec<u8> {
        let mut bytes = vec![];
        let (Shard { year, part }, index) = self.kept;
        bytes.extend_from_slice(&year.to_be_bytes());
        bytes.extend_from_slice(&part.to_be_bytes());
        bytes.extend_from_slice(&index.to_be_bytes());
        bytes.push(self.before.is_some().into());
        match &self.before {
            Some(tree) => push_tree(&mut bytes, tree),
            None => bytes.extend_from_slice(&self.first.to_be_bytes()),
        }
        bytes
    }

    /// States the first entry that a kept backup of the owner's needs.
    #[must_use]
    pub fn keeping(self, kept: (Shard, u64)) -> Self {
        Self { kept, ..self }
    }

    /// The first entry that a kept backup of the owner's needs: its shard, and its index there.
    pub fn kept(&self) -> (Shard, u64) {
        self.kept
    }

    /// The owner's signed checkpoint.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The index of the first entry.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The tree before it, if the offer is for a follower that holds nothing yet.
    pub fn before(&self) -> Option<&MerkleTree> {
        self.before.as_ref()
    }

    /// The leaf hashes and frames from the entry `index` on; none if it is beyond the last.
    pub(super) fn frames_from(&self, index: u64) -> impl Iterator<Item = (Hash, &[u8])> {
        let skipped = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut start = match skipped.checked_sub(1) {
            None => 0,
            Some(last) => self.leaves.get(last).map_or(0, |(_, end)| *end),
        };
        self.leaves.iter().skip(skipped).map(move |(leaf, end)| {
            let frame = &self.frames[start..*end];
            start = *end;
            (*leaf, frame)
        })
    }

    /// The bytes that are sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = OFFER.to_vec();
        let length = u32::try_from(self.note.len()).expect("a note is short");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(self.note.as_bytes());
        bytes.extend_from_slice(&self.head());
        bytes.extend_from_slice(&self.frames);
        bytes
    }

    /// Reads an offer. Signature and leaves are unchecked.
    ///
    /// # Errors
    /// [`OfferError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, OfferError> {
        // Reading from memory does not fail.
        let read = Self::read(bytes).map_err(|_| OfferError::Cut)?;
        read.ok_or(OfferError::Cut)?
    }

    fn read(bytes: &[u8]) -> std::io::Result<Option<Result<Self, OfferError>>> {
        let mut fields = FieldReader::new(bytes, bytes.len() as u64);
        let Some(line) = fields.take(OFFER.len())? else {
            return Ok(None);
        };
        if line != OFFER {
            return Ok(Some(Err(OfferError::Form)));
        }
        let Some(length) = fields.number::<4>()? else {
            return Ok(None);
        };
        if length > MAX_NOTE as u64 {
            return Ok(Some(Err(OfferError::Form)));
        }
        let note = fields.take(length as usize)?;
        let year = fields.number::<2>()?.unwrap_or_default() as u16;
        let part = fields.number::<2>()?.unwrap_or_default() as u16;
        let index = fields.number::<8>()?.unwrap_or_default();
        let (Some(note), Some(begins)) = (note, fields.number::<1>()?) else {
            return Ok(None);
        };
        let offer = match begins {
            0 => fields.number::<8>()?.map(Self::after),
            1 => fields.tree()?.map(Self::beginning),
            _ => return Ok(Some(Err(OfferError::Form))),
        };
        let (Some(mut offer), Ok(note)) = (offer, String::from_utf8(note)) else {
            return Ok(Some(Err(OfferError::Form)));
        };
        offer.note = note;
        offer.kept = (Shard { year, part }, index);
        let start = fields.position() as usize;
        while fields.left() > 0 {
            let Some(frame) = fields.frame(EntryForm::Sealed)? else {
                return Ok(None);
            };
            let end = fields.position() as usize - start;
            offer.leaves.push((frame.leaf, end));
        }
        offer.frames = bytes[start..].to_vec();
        Ok(Some(Ok(offer)))
    }
}

/// What a follower holds, as it says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalHeld {
    /// The owner's checkpoint, with the follower's signature; `None`: nothing yet.
    pub note: Option<String>,
}

impl JournalHeld {
    /// The text that is sent.
    pub fn text(&self) -> String {
        format!("{HELD}{}", self.note.as_deref().unwrap_or_default())
    }

    /// Reads it. Signatures are unchecked.
    ///
    /// # Errors
    /// [`OfferError::Form`]
    pub fn parse(bytes: &[u8]) -> Result<Self, OfferError> {
        let text = std::str::from_utf8(bytes).map_err(|_| OfferError::Form)?;
        let note = text.strip_prefix(HELD).ok_or(OfferError::Form)?;
        let note = (!note.is_empty()).then(|| note.to_owned());
        Ok(Self { note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::note::sign;

    fn offer(before: Option<u64>) -> JournalOffer {
        let mut offer = match before {
            Some(size) => {
                let mut tree = MerkleTree::default();
                (0..size).for_each(|n| tree.push([n as u8; 32], |_, _| {}));
                JournalOffer::beginning(tree)
            }
            None => JournalOffer::after(7),
        };
        offer.push([1; 32], b"sealed", b"");
        offer.push([2; 32], b"sealed too", b"record");
        let kept = (
            Shard {
                year: 2026,
                part: 1,
            },
            5,
        );
        let offer = offer.keeping(kept);
        let key = SigningKey::from_bytes(&[3; 32]);
        let text = "origin\n9\nroot\n";
        offer.under(&format!("{text}\n{}", sign("origin", &key, text)), &key)
    }

    #[test]
    fn the_owner_signs_all_that_an_offer_says() {
        let key = SigningKey::from_bytes(&[3; 32]).verifying_key();
        for before in [None, Some(3)] {
            let bytes = offer(before).to_bytes();
            let whole = JournalOffer::parse(&bytes).unwrap();
            assert!(whole.is_signed_by("origin", &key));
            assert!(!whole.is_signed_by("other", &key));
            let head = OFFER.len() + 4 + whole.note.len();
            let mut unlike = 0;
            for place in head..bytes.len() {
                let mut other = bytes.clone();
                other[place] ^= 1;
                if let Ok(other) = JournalOffer::parse(&other) {
                    assert!(!other.is_signed_by("origin", &key), "{place}");
                    unlike += 1;
                }
            }
            assert!(unlike > 10, "{unlike}");
        }
    }

    #[test]
    fn an_offer_reads_back_whole_and_no_part_of_it_does() {
        for before in [None, Some(0), Some(300)] {
            let offer = offer(before);
            let bytes = offer.to_bytes();
            assert_eq!(JournalOffer::parse(&bytes).unwrap(), offer);
            let frames: usize = offer.frames.len();
            for length in 0..bytes.len() {
                let cut = JournalOffer::parse(&bytes[..length]);
                // Whole frames may be missing at the end: the checkpoint tells that.
                let is_whole_frame = length == bytes.len() - frames
                    || offer
                        .leaves
                        .iter()
                        .any(|(_, end)| length == bytes.len() - frames + end);
                assert_eq!(cut.is_ok(), is_whole_frame, "{length}");
            }
        }
    }

    #[test]
    fn frames_are_those_from_an_index_on() {
        let offer = offer(None);
        let from = |index| {
            let frames = offer.frames_from(index);
            frames.map(|(leaf, _)| leaf[0]).collect::<Vec<_>>()
        };
        assert_eq!(from(0), [1, 2]);
        assert_eq!(from(7), [1, 2]);
        assert_eq!(from(8), [2]);
        assert_eq!(from(9), [0; 0]);
        assert_eq!(from(u64::MAX), [0; 0]);
        let bytes: Vec<u8> = offer.frames_from(8).flat_map(|(_, f)| f.to_vec()).collect();
        assert!(bytes.starts_with(&[2; 32]) && bytes[..bytes.len() - 8].ends_with(b"record"));
    }

    #[test]
    fn stated_lengths_are_not_believed() {
        let bytes = offer(None).to_bytes();
        let start = OFFER.len();
        let mut long = bytes.clone();
        long[start..start + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(JournalOffer::parse(&long), Err(OfferError::Form));
        let frames = bytes.len() - offer(None).frames.len();
        let mut long = bytes.clone();
        long[frames + 32..frames + 36].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(JournalOffer::parse(&long), Err(OfferError::Cut));
        let mut other = bytes;
        other[14] = b'2';
        assert_eq!(JournalOffer::parse(&other), Err(OfferError::Form));
    }

    #[test]
    fn what_is_held_reads_back() {
        for note in [None, Some("note\n".to_owned())] {
            let held = JournalHeld { note };
            assert_eq!(JournalHeld::parse(held.text().as_bytes()), Ok(held));
        }
        for other in [&b""[..], b"cloison held 2\n", b"note\n", b"\xff"] {
            assert_eq!(JournalHeld::parse(other), Err(OfferError::Form));
        }
    }
}
