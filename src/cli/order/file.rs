//! Order and act files that several people sign: nobody's signature is lost when two sign at once, also after a crash.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cli::{Error, read_text};
use crate::keys::file::write_private;

/// A file that nobody else replaces as long as this is held.
pub(super) struct Held {
    path: PathBuf,
    text: String,
    _file: File,
}

impl Held {
    /// Waits until nobody else holds the file, and reads it.
    ///
    /// # Errors
    /// When it cannot be read or locked.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::file(path, &error);
        let path = fs::canonicalize(path).map_err(failed)?;
        loop {
            let file = File::open(&path).map_err(failed)?;
            // SAFETY: the descriptor is open as long as `file` is.
            if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
                let error = std::io::Error::last_os_error();
                if error.kind() == std::io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(Error::new(
                    format_args!("{}: cannot be locked: {error}", path.display()),
                    "sign a copy on a local disk; signatures can be added one after the other on different machines",
                ));
            }
            // Whoever held it has put a new file in its place: the lock is on the old one then.
            let (ours, now) = (file.metadata().map_err(failed)?, fs::metadata(&path).map_err(failed)?);
            if (ours.dev(), ours.ino()) == (now.dev(), now.ino()) {
                return Ok(Self { text: read_text(&path)?, path, _file: file });
            }
        }
    }

    /// What stands in it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Puts the file's new content in its place at once: who reads it sees the old one or the new one, also after a crash.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn replace(self, content: &[u8]) -> Result<(), Error> {
        let path = &self.path;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}.new", u64::from_be_bytes(crate::clock::random())));
        let beside = path.with_file_name(name);
        write_private(&beside, content).map_err(|error| Error::new(error, "the order's folder must be writable"))?;
        let put = || {
            fs::set_permissions(&beside, fs::metadata(path)?.permissions())?;
            fs::rename(&beside, path)?;
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        put().map_err(|error| {
            // Ours, made a moment ago; it is gone if the rename came through.
            let _ = fs::remove_file(&beside);
            Error::file(path, &error)
        })
    }
}
