//! Checkpoints (C2SP `tlog-checkpoint`): origin, size and root of a log, as the text of a signed
//! note.

use std::fmt;

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::base64;
use super::note::{NoteError, SignatureKind, SignedNote, Verifier, sign};
use super::tree::Hash;

/// The head of a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Hash,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Checkpoint({} {} {})",
            self.origin,
            self.size,
            base64::encode(&self.root)
        )
    }
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            base64::encode(&self.root)
        )
    }

    /// The signed note, without cosignatures.
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        format!("{text}\n{}", sign(&self.origin, key, &text))
    }

    /// The verifier of this log's signatures, if `key` is its key.
    pub fn verifier(&self, key: VerifyingKey) -> Verifier {
        Verifier::new(self.origin.as_str(), SignatureKind::Log, key)
    }

    /// Reads the text of a note. A log may add lines after the third; cloison's logs add none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let number: u64 = size.parse().ok()?;
        let root = base64::decode(root)?.try_into().ok()?;
        let plain =
            !origin.is_empty() && number.to_string() == size && lines.all(|line| !line.is_empty());
        plain.then(|| Self {
            origin: origin.to_owned(),
            size: number,
            root,
        })
    }

    /// Reads a note and checks that the log's `key` signed it.
    ///
    /// # Errors
    /// [`CheckpointError`]
    pub fn open<'a>(
        note: &'a [u8],
        key: &VerifyingKey,
    ) -> Result<(Self, SignedNote<'a>), CheckpointError> {
        let (checkpoint, note) = Self::read(note)?;
        if note.is_signed_by(&checkpoint.verifier(*key))? {
            return Ok((checkpoint, note));
        }
        let claimed = note.claimed().map(str::to_owned).collect();
        Err(CheckpointError::Unsigned {
            origin: checkpoint.origin,
            claimed,
        })
    }

    /// Reads a note without checking a signature.
    ///
    /// # Errors
    /// [`CheckpointError::SignedNote`], [`CheckpointError::Text`]
    pub fn read(note: &[u8]) -> Result<(Self, SignedNote<'_>), CheckpointError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Self::parse(note.text()).ok_or(CheckpointError::Text)?;
        Ok((checkpoint, note))
    }
}

/// Why a checkpoint does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note, or a forged one.
    #[error(transparent)]
    SignedNote(#[from] NoteError),
    /// The note's text is not a checkpoint.
    #[error("its text is not a checkpoint (origin, size, root)")]
    Text,
    /// The log's key did not sign it.
    #[error("no signature of it is by the key that is trusted for {origin} (it claims: {})", claimed.join(", "))]
    Unsigned {
        /// The log that it names.
        origin: String,
        /// The names in its signature lines.
        claimed: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_and_only_under_its_own_key() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let checkpoint = Checkpoint {
            origin: "cloison/demo/vault/2026".into(),
            size: 7,
            root: [9; 32],
        };
        let note = checkpoint.sign(&key);
        assert!(
            note.starts_with("cloison/demo/vault/2026\n7\nCQkJCQkJ"),
            "{note}"
        );
        assert_eq!(
            Checkpoint::open(note.as_bytes(), &key.verifying_key())
                .unwrap()
                .0,
            checkpoint
        );
        let other = SigningKey::from_bytes(&[4; 32]).verifying_key();
        assert!(matches!(
            Checkpoint::open(note.as_bytes(), &other),
            Err(CheckpointError::Unsigned { .. })
        ));
        let larger = note.replace("\n7\n", "\n8\n");
        let forged = Checkpoint::open(larger.as_bytes(), &key.verifying_key()).unwrap_err();
        assert_eq!(
            forged,
            NoteError::Forged("cloison/demo/vault/2026".into()).into()
        );
    }

    #[test]
    fn texts_that_are_not_checkpoints() {
        let good = "o\n1\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n";
        assert!(Checkpoint::parse(good).is_some());
        assert!(Checkpoint::parse(&format!("{good}extension\n")).is_some());
        for (from, to) in [
            ("o\n", "\n"),
            ("1\n", "01\n"),
            ("1\n", "-1\n"),
            ("1\n", "\n"),
            ("k=", "k"),
            ("CQk", "cQ"),
        ] {
            assert!(
                Checkpoint::parse(&good.replacen(from, to, 1)).is_none(),
                "{from:?} → {to:?}"
            );
        }
        assert!(Checkpoint::parse(&format!("{good}\n")).is_none());
    }
}
