//! The end of a shard's entries in a place, where more are added.
//!
//! What lies behind the end was never published: a killed process, or a write that failed, left it.
//! It is cut off before anything is added.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::segment::{self, EntryForm, SegmentReader};
use super::{segment_path, segments};
use crate::files::{put_in_place, sync_folder};
use crate::store::Shard;
use crate::tlog::tree::{Hash, MerkleTree};

/// A segment that is longer is not continued.
const LONGEST: u64 = 16 << 20;
/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// The end of a segment.
pub(super) struct SegmentTail {
    pub(super) shard: Shard,
    file: File,
    /// Its length in bytes.
    end: u64,
    /// The tree over all entries of the shard that the place holds.
    pub(super) tree: MerkleTree,
}

/// As many entries of a shard as a checkpoint covers, and the root over them.
#[derive(Debug, Clone, Copy)]
pub(super) struct CoveredEntries {
    pub(super) shard: Shard,
    pub(super) size: u64,
    pub(super) root: Hash,
}

impl SegmentTail {
    /// Finds the end of those entries among the segments of a shard's folder; `None` if they do not
    /// hold them.
    pub(super) fn find(folder: &Path, covered: CoveredEntries) -> io::Result<Option<Self>> {
        let found = segments(folder)?;
        // A kill may have left a segment that begins behind what was published.
        match found.iter().rev().find(|(base, _)| *base <= covered.size) {
            Some((_, path)) => Self::open(path, covered),
            None => Ok(None),
        }
    }

    fn open(path: &Path, covered: CoveredEntries) -> io::Result<Option<Self>> {
        let Some(mut reader) = SegmentReader::open(path)? else {
            return Ok(None);
        };
        let mut tree = std::mem::take(&mut reader.before);
        while tree.size() < covered.size {
            let Some(frame) = reader.next()? else {
                return Ok(None);
            };
            tree.push(frame.leaf, |_, _| {});
        }
        if tree.size() != covered.size || tree.root() != covered.root {
            return Ok(None);
        }
        Ok(Some(Self {
            shard: covered.shard,
            file: open_plain(path)?,
            end: reader.position(),
            tree,
        }))
    }

    /// Begins a segment behind a tree, in a shard's folder, which is made if it is not there.
    pub(super) fn begin(
        folder: &Path,
        (shard, origin): (Shard, &str),
        tree: MerkleTree,
        form: EntryForm,
    ) -> io::Result<Self> {
        if !folder.is_dir() {
            make_folder(folder)?;
        }
        let path = segment_path(folder, tree.size());
        let head = segment::head(form, origin, &tree);
        put_in_place(&folder.join("new"), &path, &head, 0o600)?;
        Ok(Self {
            shard,
            file: open_plain(&path)?,
            end: head.len() as u64,
            tree,
        })
    }

    /// The tail to which the next entries are added: this one, or that of another segment behind it
    /// if it `turns` or is long.
    pub(super) fn next(
        self,
        (folder, origin): (&Path, &str),
        form: EntryForm,
        turns: bool,
    ) -> io::Result<Self> {
        if !turns && self.end <= LONGEST {
            return Ok(self);
        }
        self.close()?;
        Self::begin(folder, (self.shard, origin), self.tree, form)
    }

    /// Cuts off what lies behind the end, where no more is added.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn close(&self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.sync_data()
    }

    /// Adds frames.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn add(&mut self) -> io::Result<FrameWriter<'_>> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        let bytes = vec![];
        Ok(FrameWriter { tail: self, bytes })
    }
}

/// Adds frames behind a tail.
pub(super) struct FrameWriter<'t> {
    tail: &'t mut SegmentTail,
    bytes: Vec<u8>,
}

impl FrameWriter<'_> {
    /// How many entries of the shard the place holds so far.
    pub(super) fn size(&self) -> u64 {
        self.tail.tree.size()
    }

    /// Adds a frame, whose bytes `frame` appends.
    pub(super) fn push(&mut self, leaf: Hash, frame: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        frame(&mut self.bytes);
        self.tail.tree.push(leaf, |_, _| {});
        if self.bytes.len() > BUFFER {
            self.write()?;
        }
        Ok(())
    }

    /// Makes the frames durable, if the place now holds what a checkpoint covers.
    ///
    /// # Errors
    /// Those of the operating system, and where it holds something else.
    pub(super) fn finish(mut self, size: u64, root: Hash) -> io::Result<()> {
        self.write()?;
        let tree = &self.tail.tree;
        if tree.size() != size || tree.root() != root {
            let what = "the entries there are not those that the checkpoint covers";
            return Err(io::Error::other(what));
        }
        self.tail.file.sync_data()
    }

    fn write(&mut self) -> io::Result<()> {
        self.tail.file.write_all(&self.bytes)?;
        self.tail.end += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

fn open_plain(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Makes a folder that only this user may enter.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    sync_folder(folder)
}
