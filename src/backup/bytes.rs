//! Reading and writing the files of a repository: no link is followed, each byte is hashed on the
//! way, and what is written is durable but for its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::RepositoryError;
use crate::files::{create_new, put_in_place};
use crate::system;

/// Bytes that are read at once.
const AT_ONCE: usize = 1 << 20;
/// Bytes after which what was written goes to the disk, so that the disk never gets so much at once
/// that a commit waits for it.
const WRITE_EVERY: u64 = 2 << 20;

/// Told about bytes as they are read.
pub type BytesDone<'p> = &'p mut dyn FnMut(u64) -> Result<(), RepositoryError>;

/// Length and SHA-256 of what was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentDigest {
    pub(super) length: u64,
    pub(super) sha256: [u8; 32],
}

/// A new file, which is written to the disk in small portions.
pub(super) struct PortionWriter {
    path: PathBuf,
    file: File,
    written: u64,
    unwritten: u64,
}

impl PortionWriter {
    /// Makes a file anew; what had that name before is removed.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub(super) fn create(path: &Path) -> Result<Self, RepositoryError> {
        let at = |error| RepositoryError::io(path, error);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        Ok(Self {
            path: path.to_owned(),
            file: create_new(path, 0o600).map_err(at)?,
            written: 0,
            unwritten: 0,
        })
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]
    pub(super) fn finish(self) -> Result<(), RepositoryError> {
        let synced = self.file.sync_all();
        synced.map_err(|error| RepositoryError::io(&self.path, error))
    }
}

impl Write for PortionWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.unwritten += count as u64;
        if self.unwritten >= WRITE_EVERY {
            system::write_back(&self.file, self.written, self.unwritten)
                .or_else(|_| self.file.sync_data())?;
            self.written += std::mem::take(&mut self.unwritten);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts and hashes what passes through, read or written.
pub(super) struct DigestPipe<T> {
    inner: T,
    length: u64,
    sha256: Sha256,
    /// The first error of a read.
    fault: Option<io::Error>,
}

impl<T> DigestPipe<T> {
    /// Around a reader or writer.
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            length: 0,
            sha256: Sha256::new(),
            fault: None,
        }
    }

    /// The first error of a read, also where its reader took it for something else.
    pub(super) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// The reader or writer, and what passed.
    pub(super) fn finish(self) -> (T, ContentDigest) {
        let (length, sha256) = (self.length, self.sha256.finalize().into());
        (self.inner, ContentDigest { length, sha256 })
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.sha256.update(bytes);
    }
}

impl<R: Read> Read for DigestPipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        if let Err(error) = &read
            && error.kind() != io::ErrorKind::Interrupted
        {
            let same = error.raw_os_error().map(io::Error::from_raw_os_error);
            let same = same.unwrap_or_else(|| error.kind().into());
            self.fault.get_or_insert(same);
        }
        let count = read?;
        self.pass(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for DigestPipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.pass(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Length and SHA-256 of a file, which must not be a link.
///
/// # Errors
/// [`RepositoryError::Link`], [`RepositoryError::Io`], and what `done` returns.
pub(super) fn hash(path: &Path, done: BytesDone<'_>) -> Result<ContentDigest, RepositoryError> {
    each_part(path, done, |_| Ok(()))
}

/// Copies a file; returns what was copied.
///
/// # Errors
/// As [`hash`].
pub(super) fn copy(
    source: &Path,
    to: &Path,
    done: BytesDone<'_>,
) -> Result<ContentDigest, RepositoryError> {
    let mut file = PortionWriter::create(to)?;
    let copied = each_part(source, done, |part| {
        let written = file.write_all(part);
        written.map_err(|error| RepositoryError::io(to, error))
    })?;
    file.finish()?;
    Ok(copied)
}

/// Hands a file's bytes on; returns their number and SHA-256.
///
/// # Errors
/// As [`hash`], and what `take` returns.
pub(super) fn each_part(
    path: &Path,
    done: BytesDone<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), RepositoryError>,
) -> Result<ContentDigest, RepositoryError> {
    let mut file = DigestPipe::new(open_regular(path)?);
    let mut buffer = vec![0; AT_ONCE];
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| RepositoryError::io(path, error))?,
        };
        if read == 0 {
            return Ok(file.finish().1);
        }
        take(&buffer[..read])?;
        done(read as u64)?;
    }
}

/// Opens a file that is no link, no folder and no device.
pub(super) fn open_regular(path: &Path) -> Result<File, RepositoryError> {
    let at = |error| RepositoryError::io(path, error);
    // Looked at before: opening a pipe would wait for a writer.
    if !fs::symlink_metadata(path).map_err(at)?.is_file() {
        return Err(RepositoryError::Link(path.to_owned()));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    file.map_err(at)
}

/// Reads a text, and a byte more than `longest` of one that is longer: its reader refuses it.
pub(super) fn read_small(path: &Path, longest: usize) -> Result<String, RepositoryError> {
    let mut text = String::new();
    let file = open_regular(path)?;
    let read = file.take(longest as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| RepositoryError::io(path, error))?;
    Ok(text)
}

/// Puts a small file in place, whole and durable.
///
/// # Errors
/// [`RepositoryError::Io`]
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    put_in_place(Path::new(&beside), path, bytes, 0o600)
        .map_err(|error| RepositoryError::io(path, error))
}

/// The names in a folder, sorted.
///
/// # Errors
/// [`RepositoryError::Io`]
pub(super) fn names(folder: &Path) -> Result<Vec<String>, RepositoryError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = vec![];
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    };
    list().map_err(|error| RepositoryError::io(folder, error))
}
