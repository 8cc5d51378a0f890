//! Text files that commands read, and files that they replace.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::CommandError;
use crate::files::put_in_place;

/// Reads a text file of at most 2 MiB, without its byte order mark.
///
/// # Errors
/// When it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, CommandError> {
    const MOST: u64 = 2 << 20;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| CommandError::file(path, &error))?;
    file.take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CommandError::file(path, &error))?;
    if bytes.len() as u64 > MOST {
        return Err(CommandError::new(
            format_args!("{}: is longer than 2 MiB", path.display()),
            "check the path",
        ));
    }
    crate::lines::text(bytes).map_err(|fault| {
        CommandError::new(
            format_args!("{}: {fault}", path.display()),
            "save it as UTF-8, or check the path",
        )
    })
}

/// Replaces a file, which keeps its mode, or makes it (0644).
///
/// # Errors
/// As [`put_in_place`].
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let mode = fs::metadata(path).map_or(0o644, |before| before.permissions().mode() & 0o7777);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".{:016x}.new",
        u64::from_be_bytes(crate::clock::random())
    ));
    put_in_place(&path.with_file_name(name), path, bytes, mode)
        .map_err(|error| CommandError::file(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        replace_file(&file, b"one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        replace_file(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(replace_file(&folder.path().join("no/such/folder"), b"x").is_err());
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }
}
