//! Proof files (C2SP `tlog-proof`): one entry, its inclusion proof and the checkpoint, in one text.
//! With the log's key anyone can check it. The `extra` line holds the entry.

use std::fmt::Write as _;

use ed25519_dalek::VerifyingKey;

use super::base64;
use super::checkpoint::{Checkpoint, CheckpointError};
use super::note::SignedNote;
use super::proof::is_included;
use super::tree::{Hash, leaf_hash};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^63 entries has no longer paths.
const MAX_PATH: usize = 63;

/// Why a proof file does not prove its entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It does not have the form of a proof file.
    #[error("it is not a proof file (c2sp.org/tlog-proof@v1)")]
    Malformed,
    /// The log's key did not sign its checkpoint.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Entry, path and checkpoint do not fit together.
    #[error(
        "entry {index} of {origin} is not the one in the file: the path does not lead to the checkpoint's root"
    )]
    NotIncluded {
        /// The number that the file names.
        index: u64,
        /// The log that it names.
        origin: String,
    },
}

/// A parsed proof file that has not been checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// The entry.
    pub entry: Vec<u8>,
    /// Its number.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub path: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

impl ProofFile {
    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{HEADER}\nextra {}\nindex {}\n",
            base64::encode(&self.entry),
            self.index
        );
        // Writing to a String cannot fail.
        for hash in &self.path {
            let _ = writeln!(text, "{}", base64::encode(hash));
        }
        text + "\n" + &self.checkpoint
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ProofError::Malformed`]; also for a file without the entry in it.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let read = || {
            let (head, checkpoint) = text.split_once("\n\n")?;
            let mut lines = head.split('\n');
            (lines.next()? == HEADER).then_some(())?;
            let entry = base64::decode(lines.next()?.strip_prefix("extra ")?)?;
            let number = lines.next()?.strip_prefix("index ")?;
            let index: u64 = number.parse().ok()?;
            let path = lines.map(|line| base64::decode(line)?.try_into().ok());
            let path = path.collect::<Option<Vec<Hash>>>()?;
            let plain = index.to_string() == number && path.len() <= MAX_PATH;
            plain.then(|| Self {
                entry,
                index,
                path,
                checkpoint: checkpoint.to_owned(),
            })
        };
        read().ok_or(ProofError::Malformed)
    }

    /// What the checkpoint says, before its signature is checked.
    ///
    /// # Errors
    /// [`ProofError::Checkpoint`]
    pub fn claimed(&self) -> Result<Checkpoint, ProofError> {
        Ok(Checkpoint::read(self.checkpoint.as_bytes())?.0)
    }

    /// Checks that the entry is in the log that the checkpoint names and that `key` signed.
    ///
    /// # Errors
    /// [`ProofError`]
    pub fn check(&self, key: &VerifyingKey) -> Result<(Checkpoint, SignedNote<'_>), ProofError> {
        let (checkpoint, note) = Checkpoint::open(self.checkpoint.as_bytes(), key)?;
        if is_included(
            &leaf_hash(&self.entry),
            self.index,
            checkpoint.size,
            &self.path,
            &checkpoint.root,
        ) {
            Ok((checkpoint, note))
        } else {
            Err(ProofError::NotIncluded {
                index: self.index,
                origin: checkpoint.origin,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::tlog::tree::node_hash;

    #[test]
    fn a_file_comes_back_and_proves_only_what_it_says() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let (one, two) = (leaf_hash(b"one"), leaf_hash(b"two"));
        let root = node_hash(&one, &two);
        let checkpoint = Checkpoint {
            origin: "o".into(),
            size: 2,
            root,
        }
        .sign(&key);
        let file = ProofFile {
            entry: b"two".to_vec(),
            index: 1,
            path: vec![one],
            checkpoint,
        };
        let text = file.text();
        assert!(
            text.starts_with("c2sp.org/tlog-proof@v1\nextra dHdv\nindex 1\n"),
            "{text}"
        );
        assert_eq!(ProofFile::parse(&text).unwrap(), file);
        assert_eq!(file.check(&key.verifying_key()).unwrap().0.size, 2);
        let other = SigningKey::from_bytes(&[6; 32]).verifying_key();
        assert!(matches!(file.check(&other), Err(ProofError::Checkpoint(_))));
        for (from, to) in [("extra dHdv", "extra b25l"), ("index 1", "index 0")] {
            let moved = ProofFile::parse(&text.replace(from, to)).unwrap();
            assert!(matches!(
                moved.check(&key.verifying_key()),
                Err(ProofError::NotIncluded { .. })
            ));
        }
        for (from, to) in [
            ("@v1", "@v2"),
            ("extra ", "extra"),
            ("index 1", "index 01"),
            ("\n\n", "\n"),
        ] {
            assert_eq!(
                ProofFile::parse(&text.replacen(from, to, 1)),
                Err(ProofError::Malformed),
                "{from:?}"
            );
        }
    }
}
