//! Files that are whole or absent, even after a crash.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Creates a file. Fails if the name exists, also as a link.
///
/// # Errors
/// Those of the operating system.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Replaces the file at `path` by way of `beside`, a name in the same folder that only the caller
/// uses, one call at a time: a reader sees the old file or the new one, whole. The new one has
/// exactly `mode`, whatever the umask is. Anything at `beside`, even a link, is removed and never
/// written through.
///
/// # Errors
/// Those of the operating system. The old file may then be in place, or the new one without being
/// durable.
pub fn put_in_place(beside: &Path, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let put = || {
        let mut file = create_new(beside, 0o600)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(beside, path)?;
        sync_folder(path)
    };
    put().inspect_err(|_| {
        // We made this file above; it is gone if the rename succeeded.
        let _ = fs::remove_file(beside);
    })
}

/// Gives a file a name that must be free. Where the file system has no hard links, a file that
/// comes there in the same moment would be replaced.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`]; those of the operating system.
pub fn name_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// A private file (0600) that is too long to be held in memory: it grows beside its name and gets
/// the name when all of it is durable. Dropped before that, it is gone; a kill leaves it behind as
/// `NAME.….partial`.
pub struct GrowingFile {
    file: BufWriter<File>,
    beside: PathBuf,
    path: PathBuf,
}

impl GrowingFile {
    /// Begins a file whose name must be free.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]; those of the operating system.
    pub fn begin(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        let chance = u64::from_be_bytes(crate::clock::random());
        name.push(format!(".{chance:016x}.partial"));
        let beside = path.with_file_name(name);
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, create_new(&beside, 0o600)?),
            beside,
            path: path.to_owned(),
        })
    }

    /// Gives it its name, which must still be free. On return it is there after a crash, too.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]; those of the operating system.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        name_new(&self.beside, &self.path)?;
        sync_folder(&self.path)
    }
}

impl Write for GrowingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for GrowingFile {
    fn drop(&mut self) {
        // It is gone already where it got its name.
        let _ = fs::remove_file(&self.beside);
    }
}

/// Makes the name of a file durable.
///
/// # Errors
/// Those of the operating system.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Makes a folder's name durable, and those of the folders that it lies in: each may have just been
/// made with it. It ends at a folder that may not be opened, which is another's.
///
/// # Errors
/// Those of the operating system.
pub fn sync_folders_above(folder: &Path) -> io::Result<()> {
    for path in std::path::absolute(folder)?.ancestors() {
        match sync_folder(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            synced => synced?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_growing_file_is_whole_or_not_there_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let mut given_up = GrowingFile::begin(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        assert_eq!(names(), 1, "beside its name");
        drop(given_up);
        assert_eq!(names(), 0);

        let [mut first, second] = [(); 2].map(|()| GrowingFile::begin(&path).unwrap());
        first.write_all(b"whole").unwrap();
        assert!(!path.exists());
        first.finish().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        for refused in [second.finish(), GrowingFile::begin(&path).map(drop)] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!((fs::read(&path).unwrap(), names()), (b"whole".to_vec(), 1));
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside, victim) = (
            folder.path().join("x"),
            folder.path().join("x.new"),
            folder.path().join("victim"),
        );
        fs::write(&victim, "theirs").unwrap();
        for bytes in [b"one", b"two"] {
            symlink(&victim, &beside).unwrap();
            put_in_place(&beside, &path, bytes, 0o600).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(fs::read(&victim).unwrap(), b"theirs");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left beside"
        );
    }
}
