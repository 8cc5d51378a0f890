//! Secret and key files.
//!
//! A private file is taken only if no other user could have read or written it: a plain file (no
//! link, no device), owned by that user, without any permission for group or others. The check is
//! made on the opened file, not on its name, so that no other file can take its place in between.
//! Writing never replaces anything: a new file, 0600, on disk (`fsync` of file and folder) before
//! it counts.
//!
//! Three forms: a secret of 32 bytes in one line that says what it is for ([`read_secret`]), an
//! Ed25519 private key as PKCS#8 PEM (RFC 8410, as OpenSSL writes it; [`read_signing_key`]), and
//! the private files of TLS ([`read_private`]).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use ed25519_dalek::{SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KEY_LEN, Key};
use crate::files::{create_new, sync_folder};
use crate::lines;
use crate::system;

/// The most bytes that a secret or private key file may have.
pub const MAX_PRIVATE: usize = 64 * 1024;

/// Why a file was not read or not written. Shows the path and never a byte of the content.
#[derive(Debug, Error)]
#[error("{}: {fault}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: FileFault,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum FileFault {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A symbolic link, folder, pipe or device.
    #[error("is not a plain file (a link does not count)")]
    NotPlain,
    /// Group or others have some permission.
    #[error("has mode {0:04o} and must have 0600: chmod 600")]
    Mode(u32),
    /// It belongs to another user than the one that runs the program.
    #[error("is owned by user {owner} and must be owned by user {user}, who runs this")]
    Owner {
        /// The user id that owns the file.
        owner: u32,
        /// The user id that runs the program.
        user: u32,
    },
    /// The file is too long.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// The file does not have its one form.
    #[error("is not {0}")]
    Form(&'static str),
    /// A secret of another kind.
    #[error("holds a secret of kind `{found}`, wanted is `{wanted}`")]
    Kind {
        /// What the file holds.
        found: SecretKind,
        /// What was asked for.
        wanted: SecretKind,
    },
    /// The file exists already; nothing is overwritten.
    #[error("exists already, and is not overwritten")]
    Exists,
    /// An age file that this passphrase does not open.
    #[error("does not open with this passphrase")]
    Passphrase,
    /// An age file that was encrypted to another recipient.
    #[error("does not open with this identity: it is encrypted to another recipient")]
    Identity,
    /// No source of the passphrase is configured.
    #[error("needs a passphrase, and nothing says where it comes from")]
    NoPassphrase,
    /// No token is configured.
    #[error("needs a token, and there is no section [token]")]
    NoToken,
    /// The token, or its library, refused.
    #[error("the token: {0}")]
    Token(String),
    /// A wrapped secret that this token's key does not open, or not as one of this kind.
    #[error("does not open with this token's key, or was changed")]
    Unopened,
    /// The process was not started by systemd, or has no credentials.
    #[error(
        "is a credential, and there is no $CREDENTIALS_DIRECTORY: systemd sets it for services with LoadCredential="
    )]
    NoCredentials,
    /// A credential is made by `systemd-creds`.
    #[error("is a credential, which cloison reads and does not write: systemd-creds makes them")]
    ReadOnly,
}

/// What a secret is for. It stands in the file, so that two files cannot be confused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// The vault's `identity_secret`; never rotates.
    Identity,
    /// One version of the vault's `sector_secret`.
    Sector,
    /// One version of the secret behind the vault's storage key.
    Store,
    /// The `audit_secret` of a vault or a node.
    Audit,
    /// One version of the secret behind the key that seals a log's side records.
    Journal,
    /// The scalar behind an authority's private key.
    Authority,
    /// The seed of the Ed25519 key that signs segments (RFC 8032, section 5.1.5).
    Segment,
    /// The seed of the Ed25519 key that signs the checkpoints of a log.
    Checkpoint,
    /// The secret from which a sector system's HPKE key pair derives; the pairs of a migration are
    /// sealed to it.
    Migration,
}

impl SecretKind {
    /// All of them.
    pub const ALL: [SecretKind; 9] = [
        Self::Identity,
        Self::Sector,
        Self::Store,
        Self::Audit,
        Self::Journal,
        Self::Authority,
        Self::Segment,
        Self::Checkpoint,
        Self::Migration,
    ];

    /// The kind of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// As written in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Sector => "sector",
            Self::Store => "store",
            Self::Audit => "audit",
            Self::Journal => "journal",
            Self::Authority => "authority",
            Self::Segment => "segment",
            Self::Checkpoint => "checkpoint",
            Self::Migration => "migration",
        }
    }
}

impl std::fmt::Display for SecretKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a secret file: one line ([`lines::only`]), `cloison-secret-1:<kind>:<64 lower-case
/// hexadecimal digits>`.
pub fn read_secret(path: &Path, kind: SecretKind) -> Result<Key, FileError> {
    let text = read_private(path)?;
    parse_secret(&text, kind).map_err(at(path))
}

pub(super) fn parse_secret(text: &[u8], wanted: SecretKind) -> Result<Key, FileFault> {
    const FORM: FileFault =
        FileFault::Form("a line `cloison-secret-1:<kind>:<64 hexadecimal digits>`");
    let line = lines::only(text)
        .and_then(|line| line.strip_prefix("cloison-secret-1:"))
        .ok_or(FORM)?;
    let (kind, digits) = line.split_once(':').ok_or(FORM)?;
    let found = SecretKind::parse(kind).ok_or(FORM)?;
    if found != wanted {
        return Err(FileFault::Kind { found, wanted });
    }
    if digits.len() != 64 {
        return Err(FORM);
    }
    let mut readable = true;
    let secret =
        Key::init(|bytes| readable = HEXLOWER.decode_mut(digits.as_bytes(), bytes).is_ok());
    if readable && secret.expose() != &[0; KEY_LEN] {
        Ok(secret)
    } else {
        Err(FORM)
    }
}

/// Writes a new secret file.
pub fn write_secret(path: &Path, kind: SecretKind, secret: &Key) -> Result<(), FileError> {
    write_private(path, &secret_line(kind, secret))
}

/// A secret's one line.
pub(super) fn secret_line(kind: SecretKind, secret: &Key) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(128));
    line.extend_from_slice(b"cloison-secret-1:");
    line.extend_from_slice(kind.as_str().as_bytes());
    line.push(b':');
    let start = line.len();
    line.resize(start + 64, 0);
    HEXLOWER.encode_mut(secret.expose(), &mut line[start..]);
    line.push(b'\n');
    line
}

/// Reads an Ed25519 private key: PKCS#8 PEM (RFC 8410), as `openssl genpkey -algorithm ed25519`
/// writes it.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, FileError> {
    const FORM: FileFault = FileFault::Form("an Ed25519 private key in PKCS#8 PEM");
    let pem = read_private(path)?;
    let text = std::str::from_utf8(&pem).map_err(|_| at(path)(FORM))?;
    SigningKey::from_pkcs8_pem(text).map_err(|_| at(path)(FORM))
}

/// Writes a new Ed25519 private key file. The public key is left out (version 1 of PKCS#8): not
/// every OpenSSL takes it.
pub fn write_signing_key(path: &Path, key: &SigningKey) -> Result<(), FileError> {
    let pair = KeypairBytes {
        secret_key: key.to_bytes(),
        public_key: None,
    };
    let pem = pair
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| at(path)(FileFault::Form("a key that can be encoded")))?;
    write_private(path, pem.as_bytes())
}

/// An Ed25519 public key as the register and configurations write it: 64 lower-case hexadecimal
/// digits.
pub fn public_key_text(key: &VerifyingKey) -> String {
    HEXLOWER.encode(key.as_bytes())
}

/// Reads a private file whole (at most [`MAX_PRIVATE`] bytes), after the checks that this module
/// describes.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let read = || {
        let mut file = open_plain(path)?;
        let facts = file.metadata()?;
        let user = system::user();
        if facts.uid() != user {
            return Err(FileFault::Owner {
                owner: facts.uid(),
                user,
            });
        }
        if facts.mode() & 0o077 != 0 {
            return Err(FileFault::Mode(facts.mode() & 0o7777));
        }
        read_whole(&mut file)
    };
    read().map_err(at(path))
}

/// Checks a private file as [`read_private`] does, without reading it. root may look at other
/// users' files.
///
/// # Errors
/// The fault for which [`read_private`] would refuse it.
pub fn check_private(path: &Path) -> Result<(), FileError> {
    let look = || {
        let facts = std::fs::symlink_metadata(path)?;
        let user = system::user();
        match () {
            () if !facts.is_file() => Err(FileFault::NotPlain),
            () if facts.uid() != user && user != 0 => Err(FileFault::Owner {
                owner: facts.uid(),
                user,
            }),
            () if facts.mode() & 0o077 != 0 => Err(FileFault::Mode(facts.mode() & 0o7777)),
            () => Ok(()),
        }
    };
    look().map_err(at(path))
}

/// Reads an opened file whole, at most [`MAX_PRIVATE`] bytes; without a byte order mark.
pub(super) fn read_whole(file: &mut File) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    // One allocation for all of it: growing would leave unwiped copies behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_PRIVATE + 1]);
    let length = read_up_to(file, &mut bytes)?;
    bytes.truncate(length);
    lines::drop_mark(&mut bytes);
    Ok(bytes)
}

/// Reads a file that is not secret (certificates, a configuration, a share set) whole, at most
/// `limit` bytes; without a byte order mark.
pub fn read_public(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let read = || {
        // A public file may be a link (`current.pem`); its content is checked instead.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(FileFault::NotPlain);
        }
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(FileFault::TooLong(limit));
        }
        lines::drop_mark(&mut bytes);
        Ok(bytes)
    };
    read().map_err(at(path))
}

/// Writes a new private file: mode 0600, never over an existing one, durable on return. Nothing is
/// left after an error.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_new(path, bytes, 0o600).map_err(at(path))
}

/// Writes a new public file: mode 0644, never over an existing one, durable on return. Nothing is
/// left after an error.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_new(path, bytes, 0o644).map_err(at(path))
}

pub(super) fn at(path: &Path) -> impl FnOnce(FileFault) -> FileError {
    move |fault| FileError {
        path: path.to_owned(),
        fault,
    }
}

/// Opens without following a link at the end and without waiting on a pipe.
pub(super) fn open_plain(path: &Path) -> Result<File, FileFault> {
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
    {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(FileFault::NotPlain),
        opened => opened?,
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(FileFault::NotPlain)
    }
}

/// Fills `buffer` from the file. It is one byte longer than a file may be.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> Result<usize, FileFault> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => return Ok(length),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(FileFault::TooLong(buffer.len() - 1))
}

/// Gives the file its name only when all of it is on disk: a kill half-way leaves a hidden file
/// that is never read, instead of half a key at which the next start would fail.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileFault> {
    let name = path
        .file_name()
        .ok_or(FileFault::NotPlain)?
        .to_string_lossy();
    let hidden = path.with_file_name(format!(
        ".{name}.{}",
        HEXLOWER.encode(&crate::clock::random::<8>())
    ));
    let mut file = create_new(&hidden, mode)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // A link, unlike a new name, never replaces anything.
    let named = written.and_then(|()| std::fs::hard_link(&hidden, path));
    let _ = std::fs::remove_file(&hidden);
    match named {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileFault::Exists);
        }
        named => named?,
    }
    sync_folder(path).map_err(|error| {
        // We made this file above; a file that might not survive a crash must not be used.
        let _ = std::fs::remove_file(path);
        error.into()
    })
}

/// Destroys a private file: overwrites it, removes it, and returns when both are durable. This does
/// not reach other copies, nor old blocks that a disk keeps.
pub(super) fn destroy_private(path: &Path) -> Result<(), FileFault> {
    let length = usize::try_from(open_plain(path)?.metadata()?.len())
        .map_or(MAX_PRIVATE, |len| len.min(MAX_PRIVATE));
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()?;
    std::fs::remove_file(path)?;
    Ok(sync_folder(path)?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_secret_comes_back() {
        let folder = folder();
        let path = folder.path().join("identity.secret");
        write_secret(&path, SecretKind::Identity, &Key::take(&mut [0xa7; 32])).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("cloison-secret-1:identity:{}\n", "a7".repeat(32))
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            read_secret(&path, SecretKind::Identity).unwrap().expose(),
            &[0xa7; 32]
        );
        let other = read_secret(&path, SecretKind::Store).unwrap_err();
        assert!(matches!(
            other.fault,
            FileFault::Kind {
                found: SecretKind::Identity,
                wanted: SecretKind::Store
            }
        ));
        assert!(!other.to_string().contains("a7a7"));
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = folder();
        let path = folder.path().join("x");
        write_private(&path, b"first").unwrap();
        assert!(matches!(
            write_private(&path, b"second").unwrap_err().fault,
            FileFault::Exists
        ));
        assert!(matches!(
            write_public(&path, b"second").unwrap_err().fault,
            FileFault::Exists
        ));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        // Not even through a link that points nowhere yet.
        symlink(folder.path().join("elsewhere"), folder.path().join("link")).unwrap();
        assert!(write_private(&folder.path().join("link"), b"x").is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn what_others_could_read_is_refused() {
        let folder = folder();
        let path = folder.path().join("s");
        write_secret(&path, SecretKind::Audit, &Key::take(&mut [1; 32])).unwrap();
        for mode in [0o640, 0o604, 0o610, 0o601, 0o620, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(read_private(&path).unwrap_err().fault, FileFault::Mode(found) if found == mode)
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        read_private(&path).unwrap();
    }

    #[test]
    fn another_users_file_is_refused() {
        if system::user() != 0 {
            return; // only root can give a file away
        }
        let folder = folder();
        let path = folder.path().join("s");
        write_private(&path, b"x").unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(matches!(
            read_private(&path).unwrap_err().fault,
            FileFault::Owner { owner: 12345, .. }
        ));
    }

    #[test]
    #[expect(
        unsafe_code,
        reason = "the standard library makes no pipes with a name"
    )]
    fn links_folders_pipes_and_giants_are_refused() {
        let folder = folder();
        let path = folder.path().join("s");
        write_private(&path, &[b'x'; MAX_PRIVATE]).unwrap();
        read_private(&path).unwrap();
        symlink(&path, folder.path().join("link")).unwrap();
        assert!(matches!(
            read_private(&folder.path().join("link")).unwrap_err().fault,
            FileFault::NotPlain
        ));
        assert!(matches!(
            read_private(folder.path()).unwrap_err().fault,
            FileFault::NotPlain
        ));
        let pipe = folder.path().join("pipe");
        let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
        // SAFETY: `name` is a valid C string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(matches!(
            read_private(&pipe).unwrap_err().fault,
            FileFault::NotPlain
        ));
        assert!(matches!(
            read_public(&pipe, 10).unwrap_err().fault,
            FileFault::NotPlain
        ));
        let giant = folder.path().join("giant");
        write_private(&giant, &[b'x'; MAX_PRIVATE + 1]).unwrap();
        assert!(matches!(
            read_private(&giant).unwrap_err().fault,
            FileFault::TooLong(MAX_PRIVATE)
        ));
        assert!(matches!(
            read_public(&giant, 9).unwrap_err().fault,
            FileFault::TooLong(9)
        ));
    }

    #[test]
    fn a_secret_is_one_line_as_any_editor_leaves_it() {
        let folder = folder();
        let line = format!("cloison-secret-1:audit:{}", "0a".repeat(32));
        let spellings = [
            "{}\n",
            "{}",
            "{}\r\n",
            "\u{feff}{}\r\n",
            "\n{}\n\n",
            " {}\u{a0}\n",
        ]
        .map(|form| form.replace("{}", &line));
        for (number, text) in spellings.iter().enumerate() {
            let path = folder.path().join(number.to_string());
            write_private(&path, text.as_bytes()).unwrap();
            assert_eq!(
                read_secret(&path, SecretKind::Audit).unwrap().expose(),
                &[0x0a; 32],
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_file_is_read_without_its_byte_order_mark() {
        let folder = folder();
        let path = folder.path().join("key.pem");
        write_signing_key(&path, &SigningKey::from_bytes(&[9; 32])).unwrap();
        let marked = folder.path().join("marked.pem");
        let text = fs::read_to_string(&path).unwrap().replace('\n', "\r\n");
        write_private(&marked, format!("\u{feff}{text}").as_bytes()).unwrap();
        assert_eq!(read_signing_key(&marked).unwrap().to_bytes(), [9; 32]);
        assert_eq!(read_public(&marked, 1000).unwrap(), text.as_bytes());
    }

    #[test]
    fn a_secret_has_one_spelling() {
        let good = format!("cloison-secret-1:audit:{}\n", "0a".repeat(32));
        parse_secret(good.as_bytes(), SecretKind::Audit).unwrap();
        let bad = [
            format!("{good}{good}"),
            good.replace("audit:", "audit: "),
            good.replace("0a", "0A"),
            good.replacen("0a", "", 1),
            good.replacen("0a", "0a0a", 1),
            good.replace("-1:", "-2:"),
            good.replace(":audit:", ":Audit:"),
            good.replace(":audit:", ":other:"),
            good.replace("0a", "00"),
            String::new(),
        ];
        for text in bad {
            let refused = parse_secret(text.as_bytes(), SecretKind::Audit);
            assert!(matches!(refused, Err(FileFault::Form(_))), "{text:?}");
        }
    }

    #[test]
    fn a_signing_key_comes_back_and_is_version_1() {
        let folder = folder();
        let path = folder.path().join("key.pem");
        let key = SigningKey::from_bytes(&[9; 32]);
        write_signing_key(&path, &key).unwrap();
        assert_eq!(read_signing_key(&path).unwrap().to_bytes(), key.to_bytes());
        // RFC 8410, section 7: 48 bytes, thus 64 characters, when the public key is absent.
        let pem = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = pem.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            (lines[0], lines[1].len()),
            ("-----BEGIN PRIVATE KEY-----", 64)
        );
        let wrong = folder.path().join("wrong.pem");
        write_private(
            &wrong,
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        )
        .unwrap();
        assert!(matches!(
            read_signing_key(&wrong).unwrap_err().fault,
            FileFault::Form(_)
        ));
    }
}
