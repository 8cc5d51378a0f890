//! The files of a place. Each holds the entries of one shard from an index on, each with the side
//! record that it names, and grows at its end only.
//!
//! ```text
//! segment = head ‖ u16be(length) ‖ origin ‖ u64be(index of the first entry) ‖ edge ‖ frame…
//! edge    = 8 × (u16be(count) ‖ count × 32 bytes)      of each tile level, the tile before the first entry that is not full
//! head    = "cloison journal 1\n"                       the second place of the log's own machine:
//! frame   =   u32be(length) ‖ entry ‖ u32be(length) ‖ sealed record
//! head    = "cloison journal 2\n"                       with a follower:
//! frame   =   leaf hash (32 bytes) ‖ u32be(length) ‖ sealed entry ‖ u32be(length) ‖ sealed record ‖ sum
//! sum     =   the first 8 bytes of SHA-256 over the frame before it
//! ```
//!
//! The record is empty where the entry names none. The edge (C2SP `tlog-tiles`) is enough to
//! compute the root over all entries of the shard, so that a checkpoint proves a segment that
//! begins in the middle. The leaf hash lets a follower check a sealed entry against the checkpoint,
//! and a reader with the journal key check the opened entry against the leaf; by the sum it notices
//! without a key that its disk has changed a byte.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::tlog::tree::{Hash, LEVELS, MerkleTree, leaf_hash, tile_bytes, tile_hashes};

/// The bytes of a sealed frame's sum.
const SUM: usize = 8;
/// The longest entry, also sealed.
const MAX_ENTRY: u32 = 65_535 + 256;

/// Whether a segment holds entries as they are, or sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryForm {
    /// As they are.
    Clear,
    /// Sealed under the journal key ([`seal::journal`](crate::seal::journal)), each behind its leaf
    /// hash.
    Sealed,
}

impl EntryForm {
    /// The first line of such a segment.
    const fn line(self) -> &'static [u8; 18] {
        match self {
            Self::Clear => b"cloison journal 1\n",
            Self::Sealed => b"cloison journal 2\n",
        }
    }

    fn of_line(line: &[u8]) -> Option<Self> {
        let forms = [Self::Clear, Self::Sealed];
        forms.into_iter().find(|form| form.line() == line)
    }
}

/// The bytes with which a segment begins. `tree` is the one before its first entry.
pub(super) fn head(form: EntryForm, origin: &str, tree: &MerkleTree) -> Vec<u8> {
    let mut head = form.line().to_vec();
    let length = u16::try_from(origin.len()).expect("an origin is short");
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(origin.as_bytes());
    push_tree(&mut head, tree);
    head
}

/// Adds the size of a tree and its edge.
pub(super) fn push_tree(bytes: &mut Vec<u8>, tree: &MerkleTree) {
    bytes.extend_from_slice(&tree.size().to_be_bytes());
    for level in 0..LEVELS {
        let hashes = tree.edge(level);
        bytes.extend_from_slice(&(hashes.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&tile_bytes(hashes));
    }
}

/// Adds an entry as it is, and the record that it names.
pub(super) fn push_frame(bytes: &mut Vec<u8>, entry: &[u8], record: &[u8]) {
    for field in [entry, record] {
        let length = u32::try_from(field.len()).expect("a record is shorter than 4 GiB");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
}

/// Adds a sealed entry behind its leaf hash, and the record that it names.
pub(super) fn push_sealed_frame(bytes: &mut Vec<u8>, leaf: &Hash, sealed: &[u8], record: &[u8]) {
    let start = bytes.len();
    bytes.extend_from_slice(leaf);
    push_frame(bytes, sealed, record);
    let sum: Hash = Sha256::digest(&bytes[start..]).into();
    bytes.extend_from_slice(&sum[..SUM]);
}

/// An entry in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// The entry's leaf hash: computed of an entry in clear, as stated for a sealed one.
    pub(super) leaf: Hash,
    /// The entry's bytes, in the segment's form.
    pub(super) entry: Vec<u8>,
    /// The sealed record; empty where the entry names none.
    pub(super) record: Vec<u8>,
}

/// Reads fields of segments and offers, and counts bytes. No length that is stated makes it take
/// more memory than there are bytes.
pub(super) struct FieldReader<R> {
    source: R,
    /// Bytes that were not read yet.
    left: u64,
    /// Bytes that were read.
    read: u64,
}

impl<R: Read> FieldReader<R> {
    /// Reads `left` bytes of a source.
    pub(super) fn new(source: R, left: u64) -> Self {
        let read = 0;
        Self { source, left, read }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> u64 {
        self.read
    }

    /// How many were not.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next frame; `None` at the end, also where the last one is not whole, or not what its sum
    /// is of.
    ///
    /// # Errors
    /// Those of the source.
    pub(super) fn frame(&mut self, form: EntryForm) -> io::Result<Option<Frame>> {
        let stated = match form {
            EntryForm::Clear => None,
            EntryForm::Sealed => match self.take(32)? {
                Some(leaf) => leaf.try_into().ok(),
                None => return Ok(None),
            },
        };
        let Some(entry) = self.field(MAX_ENTRY)? else {
            return Ok(None);
        };
        let Some(record) = self.field(u32::MAX)? else {
            return Ok(None);
        };
        if let Some(leaf) = &stated {
            let mut frame = vec![];
            push_sealed_frame(&mut frame, leaf, &entry, &record);
            if self.take(SUM)?.as_deref() != Some(&frame[frame.len() - SUM..]) {
                return Ok(None);
            }
        }
        Ok(Some(Frame {
            leaf: stated.unwrap_or_else(|| leaf_hash(&entry)),
            entry,
            record,
        }))
    }

    /// A tree as [`push_tree`] writes it; `None` if it is not one.
    ///
    /// # Errors
    /// Those of the source.
    pub(super) fn tree(&mut self) -> io::Result<Option<MerkleTree>> {
        let Some(size) = self.number::<8>()? else {
            return Ok(None);
        };
        let mut edge: Vec<Vec<Hash>> = vec![];
        for _ in 0..LEVELS {
            let Some(count) = self.number::<2>()? else {
                return Ok(None);
            };
            let hashes = self.take(count as usize * 32)?;
            let Some(hashes) = hashes.and_then(|bytes| tile_hashes(&bytes)) else {
                return Ok(None);
            };
            edge.push(hashes);
        }
        Ok(MerkleTree::from_edge(size, edge))
    }

    /// A field of at most so many bytes behind its length; `None` if it is longer, or not whole.
    fn field(&mut self, longest: u32) -> io::Result<Option<Vec<u8>>> {
        match self.number::<4>()? {
            Some(length) if length <= u64::from(longest) => self.take(length as usize),
            _ => Ok(None),
        }
    }

    /// A number of so many bytes, the highest first; `None` where the source ends before.
    pub(super) fn number<const N: usize>(&mut self) -> io::Result<Option<u64>> {
        let bytes = self.take(N)?;
        Ok(bytes.map(|bytes| {
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        }))
    }

    /// The next bytes; `None` where the source ends before.
    pub(super) fn take(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(left) = self.left.checked_sub(length as u64) else {
            return Ok(None);
        };
        let mut bytes = vec![0; length];
        self.source.read_exact(&mut bytes)?;
        self.left = left;
        self.read += length as u64;
        Ok(Some(bytes))
    }
}

/// Reads a segment from its beginning.
pub(super) struct SegmentReader {
    fields: FieldReader<BufReader<File>>,
    /// The form of its entries.
    pub(super) form: EntryForm,
    /// The origin that it names.
    pub(super) origin: String,
    /// The tree before its first entry.
    pub(super) before: MerkleTree,
    /// Its length in bytes.
    length: u64,
    /// Where the last whole entry that was read ends.
    position: u64,
}

impl SegmentReader {
    /// Opens a segment and reads its head. `None` if the head is not one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut fields = FieldReader::new(BufReader::with_capacity(1 << 16, file), length);
        let line = fields.take(EntryForm::Clear.line().len())?;
        let Some(form) = line.and_then(|line| EntryForm::of_line(&line)) else {
            return Ok(None);
        };
        let Some(origin) = fields.number::<2>()? else {
            return Ok(None);
        };
        let origin = fields.take(origin as usize)?;
        let origin = origin.and_then(|origin| String::from_utf8(origin).ok());
        let (Some(origin), Some(before)) = (origin, fields.tree()?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            position: fields.position(),
            fields,
            form,
            origin,
            before,
            length,
        }))
    }

    /// The next entry; `None` at the end, also where the last one is not whole.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let frame = self.fields.frame(self.form)?;
        if frame.is_some() {
            self.position = self.fields.position();
        }
        Ok(frame)
    }

    /// Where the last whole entry that was read ends, in bytes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the file ends there.
    pub(super) fn is_at_end(&self) -> bool {
        self.position == self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::tree::leaf_hash;

    fn tree(size: u64) -> MerkleTree {
        let mut tree = MerkleTree::default();
        (0..size).for_each(|n| tree.push(leaf_hash(&n.to_be_bytes()), |_, _| {}));
        tree
    }

    #[test]
    fn a_segment_reads_back_and_ends_before_a_frame_that_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        for size in [0, 1, 255, 256, 70_000] {
            let before = tree(size);
            let mut bytes = head(EntryForm::Clear, "cloison/demo/vault/2026", &before);
            let start = bytes.len();
            push_frame(&mut bytes, b"one", b"");
            let one = bytes.len();
            push_frame(&mut bytes, b"two", b"record");
            for length in start..=bytes.len() {
                std::fs::write(&path, &bytes[..length]).unwrap();
                let mut reader = SegmentReader::open(&path).unwrap().unwrap();
                assert_eq!(reader.origin, "cloison/demo/vault/2026");
                assert_eq!(reader.before, before);
                let mut frames = vec![];
                while let Some(frame) = reader.next().unwrap() {
                    frames.push(frame.entry);
                }
                let whole = usize::from(length >= one) + usize::from(length == bytes.len());
                assert_eq!(frames.len(), whole, "{length}");
            }
        }
    }

    #[test]
    fn what_is_no_segment_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let whole = head(EntryForm::Clear, "cloison/demo/vault/2026", &tree(3));
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(SegmentReader::open(&path).unwrap().is_none(), "{length}");
        }
        let mut other = whole.clone();
        other[8] ^= 1;
        std::fs::write(&path, &other).unwrap();
        assert!(SegmentReader::open(&path).unwrap().is_none());
        let mut short = whole;
        // One entry more than the edge has hashes for.
        let at = EntryForm::Clear.line().len() + 2 + 23 + 7;
        short[at] += 1;
        std::fs::write(&path, &short).unwrap();
        assert!(SegmentReader::open(&path).unwrap().is_none());
    }
}
