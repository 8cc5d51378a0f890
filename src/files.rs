//! Files that are whole or absent, even after a crash.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

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
