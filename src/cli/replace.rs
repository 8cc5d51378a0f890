//! Files that a command replaces: at any instant, and after a crash, such a file is the old one or the new one, whole.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Error;
use crate::keys::file::write_private;

/// Puts new bytes in the place of a file, which keeps its mode, or makes it (0644). Never follows a link beside it.
///
/// # Errors
/// When the folder cannot be written; the file is as it was then.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", u64::from_be_bytes(crate::clock::random())));
    let beside = path.with_file_name(name);
    write_private(&beside, bytes).map_err(|error| Error::new(error, "check the path and the disk"))?;
    let put = || {
        let mode = fs::metadata(path).map_or(fs::Permissions::from_mode(0o644), |before| before.permissions());
        fs::set_permissions(&beside, mode)?;
        fs::rename(&beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    put().map_err(|error| {
        // Ours, made a moment ago; it is gone if the rename came through.
        let _ = fs::remove_file(&beside);
        Error::file(path, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        replace(&file, b"one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(replace(&folder.path().join("no/such/folder"), b"x").is_err());
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing is left beside it");
    }
}
