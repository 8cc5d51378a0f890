//! The witness (C2SP `tlog-witness`, `tlog-cosignature`): it cosigns a log's checkpoint after it
//! has checked that the log only grew since the last one, and stores the checkpoint before it
//! answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::base64;
use super::checkpoint::{Checkpoint, CheckpointError};
use super::checkpoint_file::{CheckpointFile, CheckpointFileError};
use super::note::{SignatureKind, Verifier, cosign};
use super::proof::is_consistent;
use super::tree::{Hash, empty_root};

/// The most lines of a consistency proof.
pub const MAX_PROOF: usize = 63;

/// From this many files in the folder on, the witness begins only logs that
/// [`KnownLogs::may_begin`] allows.
const MANY: usize = 1024;

/// The logs that a witness knows.
pub trait KnownLogs: Send + Sync {
    /// The key that verifies a log's checkpoints; `None` if the witness does not watch the log.
    fn key_of(&self, origin: &str) -> Option<VerifyingKey>;

    /// Whether a log of this name may begin now. A witness that remembers many logs refuses others:
    /// a stolen key signs for any name, so what is kept for one key is bounded. A true log can have
    /// such a name, after a clock that ran years ahead.
    fn may_begin(&self, origin: &str, now: Timestamp) -> bool;

    /// Whether a log of this name begins only after people have acknowledged it
    /// ([`Witness::acknowledge`]).
    fn waits_for_people(&self, origin: &str) -> bool {
        let _ = origin;
        false
    }
}

/// What is submitted: a checkpoint, and the proof that it continues the one of `old` entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointSubmission {
    /// The size of the last checkpoint that the witness cosigned.
    pub old: u64,
    /// RFC 6962, section 2.1.2; empty from size 0 on or to the same size.
    pub proof: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub note: String,
}

impl CheckpointSubmission {
    /// The body of the request.
    pub fn text(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            let _ = writeln!(text, "{}", base64::encode(hash));
        }
        text + "\n" + &self.note
    }

    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (head, note) = std::str::from_utf8(body).ok()?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let number = lines.next()?.strip_prefix("old ")?;
        let old: u64 = number.parse().ok()?;
        let proof = lines.map(|line| base64::decode(line)?.try_into().ok());
        let proof = proof.collect::<Option<Vec<Hash>>>()?;
        (old.to_string() == number && proof.len() <= MAX_PROOF).then(|| Self {
            old,
            proof,
            note: note.to_owned(),
        })
    }
}

/// Why a witness does not cosign a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum WitnessRefusal {
    /// It does not have the form of a submission, or its old size is the larger one (400).
    #[error("this is not a submission of a checkpoint")]
    Malformed,
    /// A log that this witness does not watch (404).
    #[error("this witness does not watch the log {0}")]
    UnknownLog(String),
    /// A shard of another time, or of too high a part, while many logs are remembered (404).
    #[error(
        "this witness remembers too many logs to begin {0}, which is of another time or has too many parts"
    )]
    Unlikely(String),
    /// A log that goes on after a loss, which nobody has acknowledged here (403).
    #[error(
        "the log {0} goes on after one that lost entries, and this witness begins it only once its people have acknowledged that"
    )]
    Unacknowledged(String),
    /// Not signed by that log (403).
    #[error(transparent)]
    Unsigned(CheckpointError),
    /// The witness remembers another size (409).
    #[error("the last cosigned checkpoint of this log covers {0} entries")]
    Stale(u64),
    /// The log was changed and not only extended (422).
    #[error(
        "the checkpoint over {new} entries does not continue the one over {old}: the log was rewritten or forked"
    )]
    Inconsistent {
        /// Entries under the checkpoint that was cosigned before.
        old: u64,
        /// Entries under the new one.
        new: u64,
    },
    /// The witness cannot store it (500).
    #[error("the witness cannot keep what it cosigned: {0}")]
    State(#[from] CheckpointFileError),
}

/// A cosigner of other logs.
pub struct Witness {
    name: String,
    key: SigningKey,
    logs: Box<dyn KnownLogs>,
    /// A file for each log, with its last cosigned checkpoint.
    folder: PathBuf,
    /// What this process wrote to each file, by origin, so that an emptied folder is noticed; and
    /// what it last tried to write, as a write can fail after its rename. Locked for a whole
    /// submission: comparing and storing are one step.
    kept: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Witness {
    /// A witness that signs as `name`, watches `logs`, and remembers in `folder`, which exists.
    pub fn new(
        name: impl Into<String>,
        key: SigningKey,
        logs: impl KnownLogs + 'static,
        folder: PathBuf,
    ) -> Self {
        Self {
            name: name.into(),
            key,
            logs: Box::new(logs),
            folder,
            kept: Mutex::default(),
        }
    }

    /// The key that verifies its cosignatures.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(
            self.name.as_str(),
            SignatureKind::Cosigner,
            self.key.verifying_key(),
        )
    }

    /// Checks a submission and cosigns it; returns the signature lines.
    ///
    /// # Errors
    /// [`WitnessRefusal`]; in that case nothing was cosigned or remembered.
    pub fn add_checkpoint(
        &self,
        submission: &CheckpointSubmission,
        now: Timestamp,
    ) -> Result<String, WitnessRefusal> {
        let (claimed, _) =
            Checkpoint::read(submission.note.as_bytes()).map_err(|_| WitnessRefusal::Malformed)?;
        let key = self
            .logs
            .key_of(&claimed.origin)
            .ok_or_else(|| WitnessRefusal::UnknownLog(claimed.origin.clone()))?;
        let opened = Checkpoint::open(submission.note.as_bytes(), &key);
        let (new, note) = opened.map_err(WitnessRefusal::Unsigned)?;
        if submission.old > new.size {
            return Err(WitnessRefusal::Malformed);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.place(&new.origin);
        let remembered = place.load()?;
        let is_ours = |kept: &Vec<String>| {
            let mut kept = kept.iter();
            kept.any(|kept| Some(kept.as_bytes()) == remembered.as_deref())
        };
        if !kept.get(&new.origin).is_none_or(is_ours) {
            return Err(CheckpointFileError::Changed(place.path().to_owned()).into());
        }
        if remembered.is_none() && !self.logs.may_begin(&new.origin, now) && self.has_many()? {
            return Err(WitnessRefusal::Unlikely(new.origin));
        }
        if remembered.is_none()
            && self.logs.waits_for_people(&new.origin)
            && self.acknowledgement(&new.origin).load()?.is_none()
        {
            return Err(WitnessRefusal::Unacknowledged(new.origin));
        }
        let before = remembered
            .as_deref()
            .and_then(|note| Checkpoint::read(note).ok());
        let before = before.map_or((0, empty_root()), |(checkpoint, _)| {
            (checkpoint.size, checkpoint.root)
        });
        if before.0 != submission.old {
            return Err(WitnessRefusal::Stale(before.0));
        }
        let empty_is_empty = new.size > 0 || new.root == empty_root();
        if !empty_is_empty || !is_consistent(before, (new.size, new.root), &submission.proof) {
            return Err(WitnessRefusal::Inconsistent {
                old: before.0,
                new: new.size,
            });
        }
        let time = u64::try_from(now.as_second()).unwrap_or(0);
        let line = cosign(&self.name, &self.key, note.text(), time);
        // Only what was verified is kept beside our own signature.
        let log_line = note
            .line_of(&new.verifier(key))
            .map_err(|error| WitnessRefusal::Unsigned(error.into()))?;
        let remember = format!("{}\n{}\n{line}", note.text(), log_line.unwrap_or_default());
        let known = kept.entry(new.origin).or_default();
        if let Some(before) = remembered
            .clone()
            .and_then(|note| String::from_utf8(note).ok())
        {
            *known = vec![before, remember.clone()];
        }
        place.swap(remembered.as_deref(), remember.as_bytes())?;
        *known = vec![remember];
        Ok(line)
    }

    /// The key that is trusted for a log.
    pub fn key_of(&self, origin: &str) -> Option<VerifyingKey> {
        self.logs.key_of(origin)
    }

    /// The last cosigned checkpoint of a log.
    ///
    /// # Errors
    /// [`CheckpointFileError`]
    pub fn remembered(&self, origin: &str) -> Result<Option<Checkpoint>, CheckpointFileError> {
        let note = self.place(origin).load()?;
        Ok(note
            .as_deref()
            .and_then(|note| Checkpoint::read(note).ok())
            .map(|(checkpoint, _)| checkpoint))
    }

    /// The last cosigned checkpoint of every log that is still watched.
    ///
    /// # Errors
    /// [`CheckpointFileError`], also if a checkpoint that this process stored is gone.
    pub fn all_remembered(&self) -> Result<Vec<Checkpoint>, CheckpointFileError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let unusable = |error: io::Error| CheckpointFileError::Io(self.folder.clone(), error);
        let mut all = BTreeMap::new();
        for file in self.folder.read_dir().map_err(unusable)? {
            let name = file.map_err(unusable)?.file_name();
            let Some(note) = name
                .to_str()
                .map(|name| self.last(name))
                .transpose()?
                .flatten()
            else {
                continue;
            };
            let (checkpoint, _) = Checkpoint::read(&note)
                .map_err(|error| unusable(io::Error::other(error.to_string())))?;
            all.insert(checkpoint.origin.clone(), checkpoint);
        }
        match kept.keys().find(|origin| !all.contains_key(*origin)) {
            Some(gone) => Err(CheckpointFileError::Changed(
                self.place(gone).path().to_owned(),
            )),
            None => Ok(all
                .into_values()
                .filter(|checkpoint| self.key_of(&checkpoint.origin).is_some())
                .collect()),
        }
    }

    /// How many entries the last cosigned checkpoint of a log covers; 0 where there is none.
    ///
    /// # Errors
    /// [`CheckpointFileError`]
    pub fn size(&self, origin: &str) -> Result<u64, CheckpointFileError> {
        Ok(self
            .remembered(origin)?
            .map_or(0, |checkpoint| checkpoint.size))
    }

    /// The last cosigned checkpoint of the log whose origin has that SHA-256 (hex).
    ///
    /// # Errors
    /// [`CheckpointFileError`]
    pub fn last(&self, origin_hash: &str) -> Result<Option<Vec<u8>>, CheckpointFileError> {
        let is_hash = origin_hash.len() == 64
            && origin_hash
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hash {
            CheckpointFile::new(self.folder.join(origin_hash)).load()
        } else {
            Ok(None)
        }
    }

    /// Notes that people have acknowledged a log that goes on after one that lost entries: it may
    /// begin here. Another process may serve from the same folder meanwhile.
    ///
    /// # Errors
    /// [`CheckpointFileError`]
    pub fn acknowledge(&self, origin: &str) -> Result<(), CheckpointFileError> {
        let file = self.acknowledgement(origin);
        match file.load()? {
            Some(_) => Ok(()),
            None => file.swap(None, format!("{origin}\n").as_bytes()),
        }
    }

    fn acknowledgement(&self, origin: &str) -> CheckpointFile {
        let name = format!("{}.acknowledged", origin_hash(origin));
        CheckpointFile::new(self.folder.join(name))
    }

    fn has_many(&self) -> Result<bool, CheckpointFileError> {
        let files = std::fs::read_dir(&self.folder)
            .map_err(|error| CheckpointFileError::Io(self.folder.clone(), error))?;
        Ok(files.take(MANY).count() == MANY)
    }

    fn place(&self, origin: &str) -> CheckpointFile {
        CheckpointFile::new(self.folder.join(origin_hash(origin)))
    }
}

/// The name of a log in the paths of a witness: SHA-256 of its origin, hex.
pub fn origin_hash(origin: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(origin))
}
