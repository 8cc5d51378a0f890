//! Files that several people sign: orders, acts, requests, statements, the register's signatures.
//! No signature is lost when two people sign at once, also after a crash.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::assent::Assent;
use crate::statement::{self, Statement};
use crate::terminal::files::{read_text, replace_file};
use crate::terminal::{CommandError, print_beside};

/// A locked file: no other process replaces it while this is held.
pub(super) struct SignedFile {
    path: PathBuf,
    text: String,
    _lock: File,
}

impl SignedFile {
    /// Waits for the lock, and reads the file.
    ///
    /// # Errors
    /// When it cannot be read or locked.
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        let failed = |error: std::io::Error| CommandError::file(path, &error);
        let path = fs::canonicalize(path).map_err(failed)?;
        loop {
            let file = File::open(&path).map_err(failed)?;
            if let Err(error) = crate::system::wait_for_lock(&file) {
                if error.kind() == std::io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(CommandError::new(
                    format_args!("{}: cannot be locked: {error}", path.display()),
                    "sign a copy on a local disk; people can sign one after the other on different machines",
                ));
            }
            // If the last holder put a new file in its place, this lock is on the old one.
            let (ours, now) = (
                file.metadata().map_err(failed)?,
                fs::metadata(&path).map_err(failed)?,
            );
            if (ours.dev(), ours.ino()) == (now.dev(), now.ino()) {
                return Ok(Self {
                    text: read_text(&path)?,
                    path,
                    _lock: file,
                });
            }
        }
    }

    /// The file's content.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the file's content with a text and a line end: a reader sees the old file or the
    /// new one, also after a crash.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn replace(self, text: &str) -> Result<(), CommandError> {
        replace_file(&self.path, format!("{text}\n").as_bytes())
    }
}

/// Shows what a file says, asks at a terminal, adds a signature to the file, and returns its new
/// text.
///
/// The file is not locked while the person reads. A signature that came meanwhile stays; if the
/// content is no longer `shown`, nothing is signed.
///
/// # Errors
/// When the person does not agree, the content has changed, `sign` refuses, or the folder cannot be
/// written.
pub(super) fn countersign<S: Statement>(
    path: &Path,
    shown: &str,
    summary: &str,
    assent: Assent,
    sign: impl FnOnce(&str) -> Result<String, CommandError>,
) -> Result<String, CommandError> {
    print_beside(summary)?;
    assent.obtain_at_terminal("Sign this?")?;
    let file = SignedFile::open(path)?;
    if statement::digest_of::<S>(file.text()) != statement::digest_of::<S>(shown) {
        return Err(CommandError::new(
            format_args!("{}: the file says something else by now", path.display()),
            "nothing was signed: run the command again and read what it shows",
        ));
    }
    let signed = sign(file.text())?;
    file.replace(&signed)?;
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::jws;
    use crate::keys::file::write_private;
    use crate::order::OrderPayload;

    #[test]
    fn who_waited_for_a_file_reads_what_the_other_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("order.jws");
        write_private(&path, b"none\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let first = SignedFile::open(&path).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| SignedFile::open(&path).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
            first.replace("one").unwrap();
            let second = second.join().unwrap();
            assert_eq!(second.text(), "one\n");
            second.replace("two").unwrap();
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_file_that_says_something_else_by_now_is_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("order.jws");
        write_private(&path, jws::draft(br#"{"a":"other"}"#).as_bytes()).unwrap();
        let before = fs::read(&path).unwrap();
        let shown = jws::draft(br#"{"a":"shown"}"#);
        let signed = countersign::<OrderPayload>(&path, &shown, "", Assent::default(), |_| {
            panic!("it is not signed")
        });
        assert!(
            signed
                .unwrap_err()
                .message()
                .contains("says something else")
        );
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
