//! Where a passphrase or a PIN comes from: the terminal, an open file descriptor, a private file or
//! a systemd credential. Never the command line and never the environment, which other processes
//! can read and shells remember.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd as _, RawFd};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::credential;
use crate::keys::file::{FileError, FileFault, at, read_private};
use crate::lines;

/// The longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 1024;

/// Where a passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// Typed at the terminal, not shown.
    Terminal,
    /// A line from a file descriptor that the caller opened.
    Descriptor(RawFd),
    /// The first line of a private file.
    File(PathBuf),
    /// The first line of a credential that systemd hands to the service.
    Credential(String),
}

impl PassphraseSource {
    /// `terminal`, `fd:3`, `file:PATH` or `credential:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => (text == "terminal").then_some(Self::Terminal),
            Some(("fd", number)) => {
                // 0 is standard input and allowed; a sign or a leading zero would be a second
                // spelling.
                let fd: u16 = number
                    .parse()
                    .ok()
                    .filter(|fd: &u16| fd.to_string() == number)?;
                Some(Self::Descriptor(fd.into()))
            }
            Some(("file", path)) => (!path.is_empty()).then(|| Self::File(path.into())),
            Some(("credential", name)) => {
                credential::is_name(name).then(|| Self::Credential(name.to_owned()))
            }
            Some(_) => None,
        }
    }

    /// The same source, with a file's path relative to `folder`.
    pub fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            other => other,
        }
    }

    /// Reads the passphrase; a terminal asks for `what` ("Passphrase of …"). It is the first line
    /// ([`lines::of`]), whole: a space at its end is part of it, a line end is not.
    ///
    /// # Errors
    /// When it is missing, empty, too long or not UTF-8; the error names the source and never a
    /// byte of it.
    pub fn read(&self, what: &str) -> Result<SecretString, FileError> {
        let place = || PathBuf::from(self.to_string());
        self.read_or_none(what)?
            .ok_or_else(|| at(&place())(FileFault::Form("a passphrase: it is empty")))
    }

    /// The same; `None` where the line is empty.
    ///
    /// # Errors
    /// When it is missing, too long or not UTF-8.
    pub fn read_or_none(&self, what: &str) -> Result<Option<SecretString>, FileError> {
        let place = PathBuf::from(self.to_string());
        let text = match self {
            Self::Terminal => {
                let typed = rpassword::prompt_password(format!("{what}: "));
                Zeroizing::new(
                    typed
                        .map_err(|error| at(&place)(error.into()))?
                        .into_bytes(),
                )
            }
            Self::Descriptor(fd) => read_line(*fd).map_err(|error| at(&place)(error.into()))?,
            Self::File(path) => read_private(path)?,
            Self::Credential(name) => credential::read(name)?,
        };
        let line = str::from_utf8(lines::of(&text).next().unwrap_or_default());
        let line = line.map_err(|_| at(&place)(FileFault::Form("UTF-8")))?;
        match line.len() {
            0 => Ok(None),
            1..=MAX_PASSPHRASE => Ok(Some(SecretString::from(line))),
            _ => Err(at(&place)(FileFault::TooLong(MAX_PASSPHRASE))),
        }
    }
}

impl fmt::Display for PassphraseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal => f.write_str("the terminal"),
            Self::Descriptor(fd) => write!(f, "file descriptor {fd}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

/// The longest line with one: a byte order mark and the CR of its end come on top.
const MOST: usize = MAX_PASSPHRASE + lines::BYTE_ORDER_MARK.len() + 1;

/// Reads one line byte by byte, because the next bytes may be the next passphrase.
#[expect(
    unsafe_code,
    reason = "a file over a descriptor that the caller names by number"
)]
fn read_line(fd: RawFd) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // SAFETY: the descriptor is the caller's, who named it; we neither keep nor close it. One that
    // is not open fails.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let mut line = Zeroizing::new(Vec::with_capacity(MOST + 1));
    let mut byte = Zeroizing::new([0]);
    while line.len() <= MOST && file.read(&mut *byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_source_has_one_spelling() {
        assert_eq!(
            PassphraseSource::parse("terminal"),
            Some(PassphraseSource::Terminal)
        );
        assert_eq!(
            PassphraseSource::parse("fd:3"),
            Some(PassphraseSource::Descriptor(3))
        );
        assert_eq!(
            PassphraseSource::parse("file:a/b")
                .unwrap()
                .within(Path::new("/c")),
            PassphraseSource::File("/c/a/b".into())
        );
        assert_eq!(
            PassphraseSource::parse("credential:pin"),
            Some(PassphraseSource::Credential("pin".into()))
        );
        let bad = [
            "",
            "tty",
            "fd:",
            "fd:03",
            "fd:+3",
            "fd:-1",
            "fd:x",
            "file:",
            "credential:",
            "credential:../x",
            "env:X",
        ];
        for text in bad {
            assert_eq!(PassphraseSource::parse(text), None, "{text}");
        }
    }

    #[test]
    fn passphrases_come_line_by_line_from_a_descriptor() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all("first one\nsecond\n\nlast".as_bytes())
            .unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let source = PassphraseSource::Descriptor(file.as_raw_fd());
        assert_eq!(source.read("x").unwrap().expose_secret(), "first one");
        assert_eq!(source.read("x").unwrap().expose_secret(), "second");
        assert!(source.read("x").is_err(), "empty");
        assert_eq!(source.read("x").unwrap().expose_secret(), "last");
        assert!(source.read("x").is_err(), "at its end");
        assert!(
            PassphraseSource::Descriptor(65_000).read("x").is_err(),
            "not open"
        );
    }

    #[test]
    fn a_line_end_or_a_byte_order_mark_is_not_part_of_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let longest = "x".repeat(MAX_PASSPHRASE);
        for (text, wanted) in [
            ("correct horse", "correct horse"),
            ("correct horse\r\n", "correct horse"),
            ("correct horse\r", "correct horse"),
            ("\u{feff}correct horse\n", "correct horse"),
            ("\u{feff}correct horse\r\nstaple\r\n", "correct horse"),
            (" correct\u{a0}horse \n", " correct\u{a0}horse "),
            (&format!("\u{feff}{longest}\r\n"), &longest),
        ] {
            let path = folder.path().join("passphrase");
            let _ = std::fs::remove_file(&path);
            crate::keys::file::write_private(&path, text.as_bytes()).unwrap();
            assert_eq!(
                PassphraseSource::File(path.clone())
                    .read("x")
                    .unwrap()
                    .expose_secret(),
                wanted,
                "{text:?}"
            );
            let file = std::fs::File::open(path).unwrap();
            assert_eq!(
                PassphraseSource::Descriptor(file.as_raw_fd())
                    .read("x")
                    .unwrap()
                    .expose_secret(),
                wanted,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_passphrase_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        std::fs::write(&path, "correct horse\n").unwrap();
        let source = PassphraseSource::File(path.clone());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = source.read("x").unwrap_err();
        assert!(
            refused.to_string().contains("must have 0600")
                && !refused.to_string().contains("horse")
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.read("x").unwrap().expose_secret(), "correct horse");
    }
}
