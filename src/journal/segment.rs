//! The files of a place. Each holds the entries of one shard from an index on, each with the side
//! record that it names, and grows at its end only.
//!
//! ```text
//! segment = "cloison journal 1\n" ‖ u16be(length) ‖ origin ‖ u64be(index of the first entry) ‖ edge ‖ frame…
//! edge    = 8 × (u16be(count) ‖ count × 32 bytes)      of each tile level, the tile before the first entry that is not full
//! frame   = u32be(length) ‖ entry ‖ u32be(length) ‖ sealed record      the record is empty where the entry names none
//! ```
//!
//! The edge (C2SP `tlog-tiles`) is enough to compute the root over all entries of the shard, so
//! that a checkpoint proves a segment that begins in the middle.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::tlog::tree::{Hash, LEVELS, MerkleTree, tile_bytes, tile_hashes};

/// The first line of every segment.
const HEAD: &[u8] = b"cloison journal 1\n";
/// The longest entry.
const MAX_ENTRY: u32 = 65_535;

/// The bytes with which a segment begins. `tree` is the one before its first entry.
pub(super) fn head(origin: &str, tree: &MerkleTree) -> Vec<u8> {
    let mut head = HEAD.to_vec();
    let length = u16::try_from(origin.len()).expect("an origin is short");
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(origin.as_bytes());
    head.extend_from_slice(&tree.size().to_be_bytes());
    for level in 0..LEVELS {
        let hashes = tree.edge(level);
        head.extend_from_slice(&(hashes.len() as u16).to_be_bytes());
        head.extend_from_slice(&tile_bytes(hashes));
    }
    head
}

/// Adds an entry, and the record that it names.
pub(super) fn push_frame(bytes: &mut Vec<u8>, entry: &[u8], record: &[u8]) {
    for field in [entry, record] {
        let length = u32::try_from(field.len()).expect("a record is shorter than 4 GiB");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
}

/// An entry in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// The entry's bytes.
    pub(super) entry: Vec<u8>,
    /// The sealed record; empty where the entry names none.
    pub(super) record: Vec<u8>,
}

/// Reads a segment from its beginning.
pub(super) struct SegmentReader {
    file: BufReader<File>,
    /// Bytes that were not read yet.
    left: u64,
    /// Bytes that were read.
    read: u64,
    /// The origin that it names.
    pub(super) origin: String,
    /// The tree before its first entry.
    pub(super) before: MerkleTree,
}

impl SegmentReader {
    /// Opens a segment and reads its head. `None` if the head is not one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        let mut reader = Self {
            file: BufReader::with_capacity(1 << 16, file),
            left,
            read: 0,
            origin: String::new(),
            before: MerkleTree::default(),
        };
        Ok(reader.read_head()?.map(|(origin, before)| Self {
            origin,
            before,
            ..reader
        }))
    }

    fn read_head(&mut self) -> io::Result<Option<(String, MerkleTree)>> {
        let Some(head) = self.take(HEAD.len())? else {
            return Ok(None);
        };
        let Some(length) = self.number::<2>()? else {
            return Ok(None);
        };
        let origin = self.take(length as usize)?;
        let (Some(origin), Some(size)) = (origin, self.number::<8>()?) else {
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
        let read = String::from_utf8(origin)
            .ok()
            .zip(MerkleTree::from_edge(size, edge));
        Ok(read.filter(|_| head == HEAD))
    }

    /// The next entry; `None` at the end, also where the last one is not whole.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some(entry) = self.field(MAX_ENTRY)? else {
            return Ok(None);
        };
        let record = self.field(u32::MAX)?;
        Ok(record.map(|record| Frame { entry, record }))
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> u64 {
        self.read
    }

    fn field(&mut self, longest: u32) -> io::Result<Option<Vec<u8>>> {
        match self.number::<4>()? {
            Some(length) if length <= u64::from(longest) => self.take(length as usize),
            _ => Ok(None),
        }
    }

    fn number<const N: usize>(&mut self) -> io::Result<Option<u64>> {
        let bytes = self.take(N)?;
        Ok(bytes.map(|bytes| {
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        }))
    }

    /// The next bytes; `None` where the file ends before.
    fn take(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(left) = self.left.checked_sub(length as u64) else {
            return Ok(None);
        };
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes)?;
        self.left = left;
        self.read += length as u64;
        Ok(Some(bytes))
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
            let mut bytes = head("cloison/demo/vault/2026", &before);
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
        let whole = head("cloison/demo/vault/2026", &tree(3));
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
        let at = HEAD.len() + 2 + 23 + 7;
        short[at] += 1;
        std::fs::write(&path, &short).unwrap();
        assert!(SegmentReader::open(&path).unwrap().is_none());
    }
}
