//! age files (age-encryption.org/v1): secrets encrypted to a passphrase (scrypt), custodians'
//! shares encrypted to a passphrase or to an age recipient (X25519). ASCII armour, so that a file
//! can be printed and typed.

use std::io::{Read as _, Write as _};
use std::iter;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::keys::file::{FileFault, MAX_PRIVATE};
use crate::lines;
use crate::register::AgeRecipient;

/// The least work (scrypt's N = 2^this) that a passphrase may be guarded with: a tenth of a second.
pub const LEAST_WORK: u8 = 15;
/// The most: a minute and four gigabytes.
pub const MOST_WORK: u8 = 22;

/// What an age file is encrypted to.
pub enum AgeLock {
    /// A passphrase. `work`: scrypt's N = 2^work; `None` for about a second on this machine.
    Passphrase {
        /// The passphrase.
        passphrase: SecretString,
        /// scrypt's work factor as a power of two.
        work: Option<u8>,
    },
    /// An age recipient, `age1…`.
    Recipient(age::x25519::Recipient),
}

impl AgeLock {
    /// An age recipient, `age1…`.
    pub fn recipient(text: &str) -> Option<Self> {
        let AgeRecipient(text) = AgeRecipient::parse(text).ok()?;
        text.parse().ok().map(Self::Recipient)
    }
}

/// What opens an age file.
pub enum AgeOpener {
    /// A passphrase.
    Passphrase(SecretString),
    /// Identities, `AGE-SECRET-KEY-1…`.
    Identities(Vec<age::x25519::Identity>),
}

impl AgeOpener {
    /// The identities in an identity file: one a line; empty lines and `#` comments do not count.
    pub fn identities(file: &[u8]) -> Option<Self> {
        let entries = lines::entries(file).ok()?;
        let lines = entries
            .iter()
            .map(|entry| entry.text)
            .filter(|line| !line.starts_with('#'));
        let identities = lines
            .map(|line| line.parse().ok())
            .collect::<Option<Vec<_>>>()?;
        (!identities.is_empty()).then_some(Self::Identities(identities))
    }
}

/// A fresh age identity: the text of its file, and its recipient.
pub fn new_identity() -> (SecretString, String) {
    let identity = age::x25519::Identity::generate();
    (identity.to_string(), identity.to_public().to_string())
}

/// Encrypts.
///
/// # Errors
/// When the library does not; it has no reason to.
pub fn encrypt(plain: &[u8], lock: AgeLock) -> Result<Vec<u8>, FileFault> {
    let failed = |_| FileFault::Form("what age can encrypt");
    let encryptor = match lock {
        AgeLock::Passphrase { passphrase, work } => {
            let mut recipient = age::scrypt::Recipient::new(passphrase);
            if let Some(work) = work {
                recipient.set_work_factor(work.clamp(LEAST_WORK, MOST_WORK));
            }
            Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
        }
        AgeLock::Recipient(recipient) => {
            Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
        }
    };
    let encryptor = encryptor.map_err(failed)?;
    let mut armoured = Vec::new();
    let writer = ArmoredWriter::wrap_output(&mut armoured, Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(writer)?;
    writer.write_all(plain)?;
    writer.finish()?.finish()?;
    Ok(armoured)
}

/// Whether a file is an age file that a passphrase opens (and no identity).
///
/// # Errors
/// When it is not an age file.
pub fn wants_passphrase(file: &[u8]) -> Result<bool, FileFault> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(file))
        .map_err(|_| FileFault::Form("an age file"))?;
    Ok(decryptor.is_scrypt())
}

/// Decrypts an age file, armoured or not.
///
/// # Errors
/// When it is not an age file, was damaged, or does not open with this.
pub fn decrypt(file: &[u8], opener: &AgeOpener) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(file))
        .map_err(|_| FileFault::Form("an age file"))?;
    let opened = match opener {
        AgeOpener::Passphrase(passphrase) => {
            let mut identity = age::scrypt::Identity::new(passphrase.clone());
            identity.set_max_work_factor(MOST_WORK);
            decryptor.decrypt(iter::once(&identity as &dyn age::Identity))
        }
        AgeOpener::Identities(identities) => decryptor.decrypt(
            identities
                .iter()
                .map(|identity| identity as &dyn age::Identity),
        ),
    };
    let mut reader = opened.map_err(|error| match (error, opener) {
        (DecryptError::ExcessiveWork { .. }, _) => {
            FileFault::Form("an age file that this machine can open")
        }
        (_, AgeOpener::Passphrase(_)) => FileFault::Passphrase,
        (_, AgeOpener::Identities(_)) => FileFault::Identity,
    })?;
    // One allocation for all of it, as in `read_private`.
    let mut plain = Zeroizing::new(vec![0; MAX_PRIVATE + 1]);
    let mut length = 0;
    while length < plain.len() {
        match reader.read(&mut plain[length..]) {
            Ok(0) => {
                plain.truncate(length);
                return Ok(plain);
            }
            Ok(more) => length += more,
            // The header opened, so it was the right passphrase: the rest is cut off or changed.
            Err(_) => return Err(FileFault::Form("a whole, unchanged age file")),
        }
    }
    Err(FileFault::TooLong(MAX_PRIVATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(text: &str) -> AgeLock {
        AgeLock::Passphrase {
            passphrase: SecretString::from(text),
            work: Some(LEAST_WORK),
        }
    }

    #[test]
    fn a_passphrase_opens_what_it_closed_and_no_other_does() {
        let file = encrypt(b"a secret", locked("correct horse")).unwrap();
        assert!(file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
        assert!(wants_passphrase(&file).unwrap());
        let opener = |text: &str| AgeOpener::Passphrase(SecretString::from(text));
        assert_eq!(
            **decrypt(&file, &opener("correct horse")).unwrap(),
            *b"a secret"
        );
        assert!(matches!(
            decrypt(&file, &opener("wrong horse")),
            Err(FileFault::Passphrase)
        ));
        let cut = &file[..file.len() - 60];
        assert!(decrypt(cut, &opener("correct horse")).is_err());
        assert!(matches!(
            decrypt(b"nonsense", &opener("x")),
            Err(FileFault::Form(_))
        ));
    }

    #[test]
    fn an_identity_opens_what_was_encrypted_to_its_recipient() {
        use secrecy::ExposeSecret as _;
        let (secret, recipient) = new_identity();
        let text = format!("# made today\n\n{}\n", secret.expose_secret());
        let file = encrypt(b"a share", AgeLock::recipient(&recipient).unwrap()).unwrap();
        assert!(!wants_passphrase(&file).unwrap());
        assert_eq!(
            **decrypt(&file, &AgeOpener::identities(text.as_bytes()).unwrap()).unwrap(),
            *b"a share"
        );
        let (other, _) = new_identity();
        let other = AgeOpener::identities(other.expose_secret().as_bytes()).unwrap();
        assert!(matches!(decrypt(&file, &other), Err(FileFault::Identity)));
        assert!(
            AgeOpener::identities(b"# nothing\n").is_none()
                && AgeOpener::identities(b"nonsense").is_none()
        );
        assert!(AgeLock::recipient("age1nonsense").is_none());
    }
}
