//! The seal of a repository in a foreign place: each file is an age file (age-encryption.org/v1),
//! so that any age tool opens it. The server has the recipients, and cannot open what it sealed;
//! the identities stay with people.

use std::fmt;
use std::io::{self, BufRead, Read as _, Write};
use std::path::Path;

use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor};

use super::error::RepositoryError;
use crate::keys::custody::passphrase::AgeOpener;
use crate::keys::file::{FileError, FileFault, read_private};
use crate::register::AgeRecipient;

/// Bytes that are opened at once: a chunk of an age file.
const AT_ONCE: usize = 64 << 10;

/// To whom a repository is sealed: one recipient or more, each once, in the order of their texts.
#[derive(Clone, PartialEq, Eq)]
pub struct BackupRecipients(Vec<(String, age::x25519::Recipient)>);

impl BackupRecipients {
    /// At most so many: each takes a line in every file.
    pub const MOST: usize = 16;

    /// Reads recipients (`age1…`).
    ///
    /// # Errors
    /// What is wrong with them, as a clause.
    pub fn read(texts: &[String]) -> Result<Self, String> {
        // First: each that is read costs a multiplication on the curve.
        if texts.len() > Self::MOST {
            return Err(format!("names more than {}", Self::MOST));
        }
        if texts.is_empty() {
            return Err("names nobody".to_owned());
        }
        let mut recipients = vec![];
        for text in texts {
            let AgeRecipient(text) = AgeRecipient::parse(text)?;
            let recipient = text.parse().map_err(str::to_owned)?;
            recipients.push((text, recipient));
        }
        recipients.sort_by(|(one, _), (other, _)| one.cmp(other));
        if recipients.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("names a recipient twice".to_owned());
        }
        Ok(Self(recipients))
    }

    /// Their texts.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|(text, _)| text.clone()).collect()
    }

    /// Begins an age file, under a key of its own. What is written comes out sealed; without
    /// [`StreamWriter::finish`] it is cut.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn begin<W: Write>(&self, out: W) -> io::Result<StreamWriter<W>> {
        let recipients = self.0.iter().map(|(_, key)| key as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        encryptor.wrap_output(out)
    }
}

impl fmt::Debug for BackupRecipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

/// What opens sealed backups: identities of age (`AGE-SECRET-KEY-1…`), wiped on drop.
pub struct BackupIdentities(Vec<age::x25519::Identity>);

/// Why a sealed file did not open.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// It is sealed to others.
    Recipient,
    /// It is not an age file, or cut or changed.
    Damaged,
    /// The caller did not take a piece, and says why.
    Caller(RepositoryError),
}

impl BackupIdentities {
    /// Reads a file of identities, as `age-keygen` or `cloison backup keygen` makes it, which only
    /// its user may read.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = read_private(path)?;
        match AgeOpener::identities(&text) {
            Some(AgeOpener::Identities(identities)) => Ok(Self(identities)),
            _ => Err(FileError {
                path: path.to_owned(),
                fault: FileFault::Form(
                    "an identity file of age: lines `AGE-SECRET-KEY-1…`, and nothing else that opens",
                ),
            }),
        }
    }

    /// Hands on, piece by piece, what is sealed in a file.
    pub(super) fn open(
        &self,
        sealed: impl BufRead,
        mut take: impl FnMut(&[u8]) -> Result<(), RepositoryError>,
    ) -> Result<(), OpenFault> {
        let decryptor = Decryptor::new_buffered(sealed).map_err(|_| OpenFault::Damaged)?;
        let identities = self.0.iter().map(|key| key as &dyn age::Identity);
        let mut plain = decryptor.decrypt(identities).map_err(|error| match error {
            DecryptError::NoMatchingKeys => OpenFault::Recipient,
            _ => OpenFault::Damaged,
        })?;
        let mut piece = vec![0; AT_ONCE];
        loop {
            match plain.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => take(&piece[..count]).map_err(OpenFault::Caller)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(OpenFault::Damaged),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(to: &[&age::x25519::Identity], plain: &[u8]) -> Vec<u8> {
        let texts: Vec<_> = to.iter().map(|key| key.to_public().to_string()).collect();
        let recipients = BackupRecipients::read(&texts).unwrap();
        let mut writer = recipients.begin(vec![]).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn opened(by: &age::x25519::Identity, sealed: &[u8]) -> Result<Vec<u8>, OpenFault> {
        let mut plain = vec![];
        let identities = BackupIdentities(vec![by.clone()]);
        identities.open(sealed, |piece| {
            plain.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(plain)
    }

    #[test]
    fn each_recipient_opens_and_nobody_else() {
        let keys: [_; 3] = std::array::from_fn(|_| age::x25519::Identity::generate());
        for length in [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE] {
            let plain = vec![7; length];
            let file = sealed(&[&keys[0], &keys[1]], &plain);
            assert_eq!(opened(&keys[0], &file).unwrap(), plain);
            assert_eq!(opened(&keys[1], &file).unwrap(), plain);
            let other = opened(&keys[2], &file);
            assert!(matches!(other, Err(OpenFault::Recipient)), "{length}");
        }
    }

    #[test]
    fn a_file_that_is_cut_or_changed_does_not_open() {
        let key = age::x25519::Identity::generate();
        let file = sealed(&[&key], &vec![7; 2 * AT_ONCE + 9]);
        for cut in [0, 1, 30, 200, AT_ONCE, file.len() - 26, file.len() - 1] {
            let read = opened(&key, &file[..cut]);
            assert!(matches!(read, Err(OpenFault::Damaged)), "{cut}");
        }
        for at in [40, 170, 230, AT_ONCE, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&key, &changed).is_err(), "{at}");
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(opened(&key, &longer).is_err());
    }

    #[test]
    fn recipients_are_read_in_one_spelling_and_no_weak_one_is_taken() {
        let one = age::x25519::Identity::generate().to_public().to_string();
        let two = age::x25519::Identity::generate().to_public().to_string();
        let read = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
            BackupRecipients::read(&texts)
        };
        assert_eq!(read(&[&one, &two]), read(&[&two, &one]));
        let weak = |point: &[u8; 32]| {
            let hrp = bech32::Hrp::parse("age").unwrap();
            bech32::encode::<bech32::Bech32>(hrp, point).unwrap()
        };
        let mut order_one = [0; 32];
        order_one[0] = 1;
        for wrong in [
            "",
            "age1",
            "ssh-ed25519 AAAA",
            &one.to_uppercase(),
            &weak(&[0; 32]),
            &weak(&order_one),
        ] {
            assert!(read(&[&two, wrong]).is_err(), "{wrong}");
        }
        assert!(read(&[]).is_err());
        assert!(read(&[&one, &two, &one]).is_err());
        // Too many are refused before any of them is read.
        let many = ["no recipient"; BackupRecipients::MOST + 1];
        assert_eq!(read(&many).unwrap_err(), "names more than 16");
    }
}
