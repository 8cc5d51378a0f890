//! Custody: where a secret is kept and what opens it. Four kinds, one interface, chosen in
//! configuration for every root secret and for an authority's key:
//!
//! | kind | what is on the disk | what opens it |
//! |---|---|---|
//! | `file` | the secret in clear, 0600, the running user's | nothing more |
//! | `passphrase` | an age file | a passphrase: terminal, file descriptor, private file, credential |
//! | `credential` | nothing of ours: systemd keeps it, perhaps encrypted to the machine's TPM | systemd, for this service |
//! | `token` | the secret wrapped by a key in a PKCS#11 token | the token and its PIN |
//!
//! In a fifth kind, custodians hold shares of an authority's key and hand them to the node, which
//! then reads no secret: [`super::shares`].

mod credential;
pub mod passphrase;
mod source;
pub mod token;
pub mod words;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::Key;
use super::file::{self, FileError, FileFault, SecretKind, at, parse_secret, secret_line};
pub use credential::is_name as is_credential_name;
use passphrase::{AgeLock, AgeOpener};
pub use source::PassphraseSource;
use token::{Token, TokenConfig};

/// The kinds of custody that a secret can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Custody {
    /// A plain file.
    #[default]
    File,
    /// A file encrypted to a passphrase.
    Passphrase,
    /// A credential of systemd's.
    Credential,
    /// A file wrapped by a PKCS#11 token.
    Token,
}

impl Custody {
    /// All of them.
    pub const ALL: [Custody; 4] = [Self::File, Self::Passphrase, Self::Credential, Self::Token];

    /// As configurations spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Passphrase => "passphrase",
            Self::Credential => "credential",
            Self::Token => "token",
        }
    }

    /// The custody of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|custody| custody.as_str() == text)
    }
}

/// Where a secret, or a folder of its versions, is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// The kind of custody.
    pub custody: Custody,
    /// The file or folder; a credential's name.
    pub at: PathBuf,
}

impl Deposit {
    /// A plain file, or a folder of them.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            custody: Custody::File,
            at: path.into(),
        }
    }

    /// The deposit of one version, in the folder that this one is; of a credential,
    /// `<name>-<version>`.
    pub fn version(&self, version: u32) -> Self {
        let at = match self.custody {
            Custody::Credential => format!("{}-{version}", self.at.display()).into(),
            _ => self.at.join(format!("{version}.secret")),
        };
        Self {
            custody: self.custody,
            at,
        }
    }

    fn name(&self) -> Result<&str, FileError> {
        self.at
            .to_str()
            .ok_or_else(|| at(&self.at)(FileFault::Form("the name of a credential")))
    }
}

/// Opens deposits that are more than a plain file. It asks for the passphrase, and logs into the
/// token, once, when first needed.
#[derive(Default)]
pub struct Keyring {
    passphrase: Option<PassphraseSource>,
    token: Option<TokenConfig>,
    work: Option<u8>,
    typed: OnceLock<SecretString>,
    opened: OnceLock<Token>,
}

impl Keyring {
    /// A keyring that takes the passphrase from `passphrase` and uses `token`.
    pub fn new(passphrase: Option<PassphraseSource>, token: Option<TokenConfig>) -> Self {
        Self {
            passphrase,
            token,
            ..Self::default()
        }
    }

    /// The same keyring, which protects what it writes with that much work (scrypt's N = 2^work).
    pub fn with_work(self, work: Option<u8>) -> Self {
        Self { work, ..self }
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// When it cannot be read or is not of that kind. The error names the place, never the content.
    pub fn read(&self, deposit: &Deposit, kind: SecretKind) -> Result<Key, FileError> {
        match deposit.custody {
            Custody::Token => {
                let line = file::read_private(&deposit.at)?;
                self.token()
                    .and_then(|token| token.unwrap(&line, kind))
                    .map_err(at(&deposit.at))
            }
            _ => parse_secret(&self.plain(deposit)?, kind).map_err(at(&deposit.at)),
        }
    }

    /// Reads an Ed25519 key of that kind, which outside a token may also be PKCS#8 PEM (RFC 8410).
    ///
    /// # Errors
    /// As [`Keyring::read`].
    pub fn read_signing_key(
        &self,
        deposit: &Deposit,
        kind: SecretKind,
    ) -> Result<SigningKey, FileError> {
        if deposit.custody != Custody::Token {
            let plain = self.plain(deposit)?;
            if !plain.starts_with(b"cloison-secret-1:") {
                let key = str::from_utf8(&plain)
                    .ok()
                    .and_then(|pem| SigningKey::from_pkcs8_pem(pem).ok());
                let form = FileFault::Form("an Ed25519 private key in PKCS#8 PEM");
                return key.ok_or_else(|| at(&deposit.at)(form));
            }
        }
        Ok(SigningKey::from_bytes(self.read(deposit, kind)?.expose()))
    }

    /// Writes a new secret.
    ///
    /// # Errors
    /// When something is there already, or it cannot be written, as a credential never can.
    pub fn write(
        &self,
        deposit: &Deposit,
        kind: SecretKind,
        secret: &Key,
    ) -> Result<(), FileError> {
        let bytes = match deposit.custody {
            Custody::File => secret_line(kind, secret),
            Custody::Passphrase => {
                let lock = AgeLock::Passphrase {
                    passphrase: self.passphrase(&deposit.at)?.clone(),
                    work: self.work,
                };
                let file = passphrase::encrypt(&secret_line(kind, secret), lock);
                Zeroizing::new(file.map_err(at(&deposit.at))?)
            }
            Custody::Token => {
                let line = self.token().and_then(|token| token.wrap(kind, secret));
                Zeroizing::new(line.map_err(at(&deposit.at))?.into_bytes())
            }
            Custody::Credential => return Err(at(&deposit.at)(FileFault::ReadOnly)),
        };
        file::write_private(&deposit.at, &bytes)
    }

    /// Destroys what a deposit holds. For a secret that a token wrapped, this is the wrapped form,
    /// its only copy.
    ///
    /// # Errors
    /// When there is nothing, or it cannot be destroyed, as a credential never can.
    pub fn destroy(&self, deposit: &Deposit) -> Result<(), FileError> {
        match deposit.custody {
            Custody::Credential => Err(at(&deposit.at)(FileFault::ReadOnly)),
            Custody::File | Custody::Passphrase | Custody::Token => {
                file::destroy_private(&deposit.at).map_err(at(&deposit.at))
            }
        }
    }

    /// The numbers of all versions of a secret that are here, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn versions(&self, deposit: &Deposit) -> Result<Vec<u32>, FileError> {
        match deposit.custody {
            Custody::Credential => credential::versions(deposit.name()?),
            _ => file_versions(&deposit.at),
        }
    }

    /// All versions of a secret, by number; at least one.
    ///
    /// # Errors
    /// When one cannot be read, or there is none.
    pub fn read_versions(
        &self,
        deposit: &Deposit,
        kind: SecretKind,
    ) -> Result<Vec<(u32, Key)>, FileError> {
        let found = self.versions(deposit)?;
        if found.is_empty() {
            return Err(at(&deposit.at)(FileFault::Form(
                "a folder with at least one version, `1.secret`",
            )));
        }
        found
            .into_iter()
            .map(|version| Ok((version, self.read(&deposit.version(version), kind)?)))
            .collect()
    }

    /// Makes the token's wrapping key.
    ///
    /// # Errors
    /// When there is no token, the token has such a key already, or it refuses to make one.
    pub fn make_token_key(&self) -> Result<(), FileError> {
        let module = self
            .token
            .as_ref()
            .map(|token| token.module.clone())
            .unwrap_or_default();
        self.token().and_then(Token::make_key).map_err(at(&module))
    }

    /// The plain text of a deposit: a secret's line, or PEM. A token has none: it gives only keys.
    fn plain(&self, deposit: &Deposit) -> Result<Zeroizing<Vec<u8>>, FileError> {
        match deposit.custody {
            Custody::File => file::read_private(&deposit.at),
            Custody::Credential => credential::read(deposit.name()?),
            Custody::Passphrase => {
                let file = file::read_private(&deposit.at)?;
                let opener = AgeOpener::Passphrase(self.passphrase(&deposit.at)?.clone());
                passphrase::decrypt(&file, &opener).map_err(at(&deposit.at))
            }
            Custody::Token => Err(at(&deposit.at)(FileFault::Form(
                "a secret that a token would show",
            ))),
        }
    }

    fn passphrase(&self, path: &Path) -> Result<&SecretString, FileError> {
        if let Some(typed) = self.typed.get() {
            return Ok(typed);
        }
        let source = self
            .passphrase
            .as_ref()
            .ok_or_else(|| at(path)(FileFault::NoPassphrase))?;
        let read = source.read("Passphrase of the secrets")?;
        Ok(self.typed.get_or_init(|| read))
    }

    fn token(&self) -> Result<&Token, FileFault> {
        if let Some(token) = self.opened.get() {
            return Ok(token);
        }
        let opened = Token::open(self.token.as_ref().ok_or(FileFault::NoToken)?)?;
        Ok(self.opened.get_or_init(|| opened))
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// Numbers of the files `<version>.secret` in a folder, in order.
fn file_versions(folder: &Path) -> Result<Vec<u32>, FileError> {
    let failed = |error: std::io::Error| at(folder)(error.into());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let version = name
            .strip_suffix(".secret")
            .and_then(|number| number.parse::<u32>().ok());
        // `01.secret` would be a second spelling of version 1.
        found.extend(version.filter(|version| *version > 0 && name == format!("{version}.secret")));
    }
    found.sort_unstable();
    Ok(found)
}
