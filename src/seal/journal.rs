//! The side records of the log, sealed: what a commit changed in the state of vault or node.
//!
//! ```text
//! sealed    = format(1) ‖ journal key version(u32be) ‖ nonce(24, random) ‖ XChaCha20-Poly1305(K_journal, nonce, plaintext, aad)
//! aad       = "cloison/v1/journal" ‖ LP(origin of the log's shard) ‖ u64be(index of the entry that names the record)
//! plaintext = the changes, as `store` writes them
//! ```
//!
//! The origin names deployment, entity and shard. So a record that is moved to another entry, log
//! or deployment does not open. The entry names the SHA-256 of the sealed bytes, so that a place
//! without the key can check it.
//!
//! Entries that leave for a follower are sealed in the same way, with a label of their own
//! (`"cloison/v1/journal-entry"` in place of `"cloison/v1/journal"`): a follower may not read what
//! others did.

use std::collections::BTreeMap;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, aead};
use sha2::{Digest as _, Sha256};

use super::chunk::x_seal;
use super::{SealError, SealReader};
use crate::keys::{JournalKey, JournalSecret, lp};

const FORMAT: u8 = 1;
const HEAD: usize = 1 + 4 + 24;
const TAG: usize = 16;

/// What is sealed for an entry. Neither opens as the other.
#[derive(Debug, Clone, Copy)]
enum SealedKind {
    /// The side record that it names.
    Record,
    /// The entry itself.
    Entry,
}

/// An entry's place in its log: its record opens for no other, and neither does the entry itself.
#[derive(Debug, Clone, Copy)]
pub struct NamingEntry<'e> {
    /// The origin of the shard that the entry is in.
    pub origin: &'e str,
    /// The entry's index in that shard, from 0.
    pub index: u64,
}

impl NamingEntry<'_> {
    fn aad(&self, kind: SealedKind) -> Vec<u8> {
        let label: &[u8] = match kind {
            SealedKind::Record => b"cloison/v1/journal",
            SealedKind::Entry => b"cloison/v1/journal-entry",
        };
        let mut aad = label.to_vec();
        lp(&mut aad, self.origin.as_bytes());
        aad.extend_from_slice(&self.index.to_be_bytes());
        aad
    }
}

/// Seals and opens side records under the versions of the journal key.
pub struct JournalCipher {
    current: u32,
    keys: BTreeMap<u32, JournalKey>,
}

impl JournalCipher {
    /// A cipher over all versions that are here; the highest one seals.
    ///
    /// # Panics
    /// When there is no version; such a configuration is refused earlier.
    pub fn new(secrets: &[(u32, JournalSecret)]) -> Self {
        let keys = secrets.iter();
        let keys: BTreeMap<_, _> = keys
            .map(|(version, secret)| (*version, JournalKey::new(secret)))
            .collect();
        let current = *keys
            .last_key_value()
            .expect("at least one version of the journal secret")
            .0;
        Self { current, keys }
    }

    /// Seals the changes that an entry names.
    pub fn seal(&self, entry: NamingEntry<'_>, changes: &[u8]) -> Vec<u8> {
        self.seal_as(SealedKind::Record, entry, changes)
    }

    /// Seals an entry for a follower.
    pub fn seal_entry(&self, entry: NamingEntry<'_>, bytes: &[u8]) -> Vec<u8> {
        self.seal_as(SealedKind::Entry, entry, bytes)
    }

    fn seal_as(&self, kind: SealedKind, entry: NamingEntry<'_>, changes: &[u8]) -> Vec<u8> {
        let nonce: [u8; 24] = crate::clock::random();
        let mut sealed = Vec::with_capacity(HEAD + changes.len() + TAG);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.current.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(changes);
        let key = self.keys[&self.current].expose();
        let tag = x_seal(key, &nonce, &entry.aad(kind), &mut sealed[HEAD..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// The marks of a file in a sealed repository of backups, under each version that is here: the
    /// newest first, by which a file is marked from now on.
    pub fn backup_marks(
        &self,
        repository: &[u8; 16],
        sha256: &[u8; 32],
    ) -> impl Iterator<Item = [u8; 32]> {
        let keys = self.keys.values().rev();
        keys.map(|key| key.backup_mark(repository, sha256))
    }

    /// Opens the record that an entry names.
    ///
    /// # Errors
    /// [`SealError`]: format, an absent key version, or a record of another entry.
    pub fn open(&self, entry: NamingEntry<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.open_as(SealedKind::Record, entry, sealed)
    }

    /// Opens an entry that was sealed for a follower.
    ///
    /// # Errors
    /// [`SealError`]: format, an absent key version, or another entry.
    pub fn open_entry(&self, entry: NamingEntry<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.open_as(SealedKind::Entry, entry, sealed)
    }

    fn open_as(
        &self,
        kind: SealedKind,
        entry: NamingEntry<'_>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut r = SealReader(sealed);
        if r.u8()? != FORMAT {
            return Err(SealError::Format);
        }
        let version = r.u32()?;
        let nonce: [u8; 24] = r.array()?;
        let key = self
            .keys
            .get(&version)
            .ok_or(SealError::KeyVersion(version))?;
        let end = r.0.len().checked_sub(TAG).ok_or(SealError::Format)?;
        let (sealed, tag) = r.0.split_at(end);
        let tag = Tag::try_from(tag).map_err(|_| SealError::Format)?;
        let mut changes = sealed.to_vec();
        let opened: Result<(), aead::Error> = XChaCha20Poly1305::new(key.expose().into())
            .decrypt_inout_detached(
                &nonce.into(),
                &entry.aad(kind),
                changes.as_mut_slice().into(),
                &tag,
            );
        opened.map_err(|_| SealError::Open)?;
        Ok(changes)
    }
}

/// The version of the journal secret under which a record is sealed; `None` if it is not one.
pub fn sealed_version(sealed: &[u8]) -> Option<u32> {
    let mut r = SealReader(sealed);
    (r.u8().ok()? == FORMAT).then(|| r.u32().ok()).flatten()
}

/// What an entry names a record by: the SHA-256 of its sealed bytes.
pub fn record_digest(sealed: &[u8]) -> [u8; 32] {
    Sha256::digest(sealed).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;

    fn secret(version: u32) -> (u32, JournalSecret) {
        (version, JournalSecret(Key::take(&mut [version as u8; 32])))
    }

    const ENTRY: NamingEntry<'_> = NamingEntry {
        origin: "cloison/demo/vault/2026",
        index: 7,
    };

    #[test]
    fn a_record_opens_for_its_entry_and_for_no_other() {
        let cipher = JournalCipher::new(&[secret(1)]);
        let sealed = cipher.seal(ENTRY, b"changes");
        assert_eq!(cipher.open(ENTRY, &sealed).unwrap(), b"changes");
        let others = [
            NamingEntry { index: 8, ..ENTRY },
            NamingEntry {
                origin: "cloison/demo/vault/2026-1",
                ..ENTRY
            },
        ];
        for other in others {
            assert_eq!(cipher.open(other, &sealed), Err(SealError::Open));
        }
        for cut in 0..sealed.len() {
            assert!(cipher.open(ENTRY, &sealed[..cut]).is_err(), "{cut}");
        }
        let as_entry = cipher.seal_entry(ENTRY, b"changes");
        assert_eq!(cipher.open_entry(ENTRY, &as_entry).unwrap(), b"changes");
        assert_eq!(cipher.open(ENTRY, &as_entry), Err(SealError::Open));
        assert_eq!(cipher.open_entry(ENTRY, &sealed), Err(SealError::Open));
        let other = JournalCipher::new(&[(1, JournalSecret(Key::take(&mut [9; 32])))]);
        assert_eq!(other.open(ENTRY, &sealed), Err(SealError::Open));
    }

    #[test]
    fn marks_of_a_file_differ_by_repository_and_version() {
        let old = JournalCipher::new(&[secret(1)]);
        let both = JournalCipher::new(&[secret(2), secret(1)]);
        let marks = |cipher: &JournalCipher, repository, file| -> Vec<[u8; 32]> {
            cipher
                .backup_marks(&[repository; 16], &[file; 32])
                .collect()
        };
        let [new, before] = marks(&both, 1, 1)[..] else {
            panic!("one for each version");
        };
        assert_eq!(marks(&old, 1, 1), [before]);
        let all = [new, before, marks(&old, 2, 1)[0], marks(&old, 1, 2)[0]];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn the_newest_version_seals_and_the_older_ones_still_open() {
        let old = JournalCipher::new(&[secret(1)]);
        let both = JournalCipher::new(&[secret(2), secret(1)]);
        let sealed = old.seal(ENTRY, b"old");
        assert_eq!(both.open(ENTRY, &sealed).unwrap(), b"old");
        let sealed = both.seal(ENTRY, b"new");
        assert_eq!(old.open(ENTRY, &sealed), Err(SealError::KeyVersion(2)));
    }
}
