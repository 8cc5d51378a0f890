//! Checks a log from outside, with nothing but its public key: signatures, tree, every entry,
//! cosignatures, the links between shards, and whether it still contains what an auditor saw
//! before.
//!
//! [`tlog::walk`](crate::tlog::walk) checks each tree; this module checks what an entry must be and
//! how shards follow one another.

use ed25519_dalek::VerifyingKey;

use super::entry_check::EntryCheck;
use super::origin::{TrustedLogKey, owner_and_shard};
pub use super::report::{Cosignature, LogReport, LogsReport, TimeReversal};
use crate::tlog::base64;
use crate::tlog::checkpoint::{Checkpoint, CheckpointError};
use crate::tlog::note::{SignedNote, Verifier};
use crate::tlog::path::LogResource;
use crate::tlog::source::{LogSource, LogSourceError};
use crate::tlog::walk::{LogFinding, walk};
use crate::tlog::witness::KnownLogs as _;

/// What logs are checked against.
#[derive(Debug, Clone, Default)]
pub struct LogExpectations {
    /// Keys of logs.
    pub keys: Vec<TrustedLogKey>,
    /// Keys of cosigners.
    pub cosigners: Vec<Verifier>,
    /// Keys of witnesses as a register states them: by id, under any name they cosign with.
    pub witnesses: Vec<(String, VerifyingKey)>,
    /// How many of both must have cosigned the last checkpoint.
    pub required: usize,
    /// Checkpoints seen before (signed notes).
    pub seen: Vec<Vec<u8>>,
}

impl LogExpectations {
    /// Reads a note and checks that the log that it names signed it.
    fn open<'n>(&self, note: &'n [u8]) -> Result<(Checkpoint, SignedNote<'n>), String> {
        let (claimed, _) = Checkpoint::read(note).map_err(|error| error.to_string())?;
        let Some(key) = self.keys.key_of(&claimed.origin) else {
            return Err(format!(
                "it is of the log {}, for which no key is trusted",
                claimed.origin
            ));
        };
        Checkpoint::open(note, &key).map_err(|error: CheckpointError| error.to_string())
    }
}

/// Called now and then: log, entries checked so far, entries in all.
pub type VerifyProgress<'p> = &'p mut dyn FnMut(&str, u64, u64);

/// The place of findings about a checkpoint that the caller kept.
const KEPT: &str = "the checkpoint kept from before";

/// Checks every shard of a source.
///
/// # Errors
/// [`LogSourceError`] when it cannot be read at all; everything else is a finding in the report.
pub fn all(
    source: &dyn LogSource,
    wanted: &LogExpectations,
    progress: VerifyProgress<'_>,
) -> Result<LogsReport, LogSourceError> {
    let mut report = LogsReport::default();
    let mut find = |what| {
        report.findings.push(LogFinding {
            place: KEPT.to_owned(),
            what,
        });
    };
    let mut seen: Vec<Checkpoint> = vec![];
    for note in &wanted.seen {
        match wanted.open(note) {
            Ok((checkpoint, _)) => seen.push(checkpoint),
            Err(why) => find(why),
        }
    }
    let mut verification = Verification {
        source,
        wanted,
        seen,
        before: None,
        latest: String::new(),
        progress,
    };
    for shard in source.shards()? {
        report.logs.push(verification.shard(&shard)?);
    }
    // Every checkpoint that was seen must belong to a log that is here.
    for kept in verification.seen {
        find(format!(
            "covers {} entries of {}, and no log of that name is here",
            kept.size, kept.origin
        ));
    }
    Ok(report)
}

/// The check of all shards of a source, one after the other.
struct Verification<'v> {
    source: &'v dyn LogSource,
    wanted: &'v LogExpectations,
    /// Checkpoints seen before whose logs were not found yet.
    seen: Vec<Checkpoint>,
    /// The head of the shard before, if it verifies.
    before: Option<Checkpoint>,
    /// The latest time of an entry so far.
    latest: String,
    progress: VerifyProgress<'v>,
}

impl Verification<'_> {
    /// Checks one shard.
    fn shard(&mut self, shard: &str) -> Result<LogReport, LogSourceError> {
        let mut log = LogReport {
            origin: shard.to_owned(),
            ..LogReport::default()
        };
        let head = self.head(shard, &mut log)?;
        if let Some(head) = &head {
            let first = self.walk(shard, head, &mut log)?;
            self.link(first.as_deref(), head, &mut log);
            if let Some(entries) = self.source.entries(shard)? {
                log.uncovered = entries.saturating_sub(head.size);
            }
        }
        self.seen.retain(|seen| seen.origin != log.origin);
        self.before = head;
        Ok(log)
    }

    /// The checkpoint of a shard, if it verifies.
    fn head(&self, shard: &str, log: &mut LogReport) -> Result<Option<Checkpoint>, LogSourceError> {
        let Some(note) = self.source.read(shard, LogResource::Checkpoint)? else {
            log.find("checkpoint", "is missing");
            return Ok(None);
        };
        let (head, opened) = match self.wanted.open(&note) {
            Ok(opened) => opened,
            Err(why) => {
                log.find("checkpoint", why);
                return Ok(None);
            }
        };
        log.note.clone_from(&note);
        log.origin.clone_from(&head.origin);
        log.size = head.size;
        log.root = base64::encode(&head.root);
        let own = owner_and_shard(&head.origin).map(|(_, shard)| shard.to_string());
        if !shard.is_empty() && own.as_deref() != Some(shard) {
            log.find(
                "checkpoint",
                format!(
                    "is of {}, and lies where shard {shard} belongs",
                    head.origin
                ),
            );
        }
        cosignatures(&opened, self.wanted, log);
        Ok(Some(head))
    }

    /// Checks the tree and the entries of a shard; returns its first entry.
    fn walk(
        &mut self,
        shard: &str,
        head: &Checkpoint,
        log: &mut LogReport,
    ) -> Result<Option<Vec<u8>>, LogSourceError> {
        let seen: Vec<&Checkpoint> = self
            .seen
            .iter()
            .filter(|seen| seen.origin == head.origin)
            .collect();
        for seen in seen.iter().filter(|seen| seen.size > head.size) {
            log.find(
                "checkpoint",
                format!(
                    "covers {} entries, but a checkpoint kept from before covers {}: the log was truncated, or an old \
                     checkpoint is shown again",
                    head.size, seen.size
                ),
            );
        }
        let mut check = EntryCheck::new(log, &mut self.latest, self.progress);
        walk(self.source, shard, head, &seen, &mut check)?;
        Ok(check.first)
    }

    /// The first entry of a shard must hold the last checkpoint of the shard before.
    fn link(&self, first: Option<&[u8]>, head: &Checkpoint, log: &mut LogReport) {
        let value: serde_json::Value = first
            .and_then(|entry| serde_json::from_slice(entry).ok())
            .unwrap_or_default();
        let note = match (
            value["event"].as_str(),
            value["checkpoint"].as_str(),
            value["lost"].as_str(),
        ) {
            (Some("continue"), Some(note), _) => note,
            (Some("resume"), _, Some(note)) => {
                if let Err(why) = self.wanted.open(note.as_bytes()) {
                    log.find("entry 0", format!("the checkpoint in it: {why}"));
                }
                log.resumed = true;
                return;
            }
            _ => {
                if let Some(before) = self.before.as_ref().filter(|_| head.size > 0) {
                    log.find(
                        "entry 0",
                        format!("does not hold the last checkpoint of {}", before.origin),
                    );
                }
                return;
            }
        };
        match self.wanted.open(note.as_bytes()) {
            Err(why) => log.find("entry 0", format!("the checkpoint in it: {why}")),
            Ok((last, _)) => {
                log.continues = Some(last.origin.clone());
                if self.before.as_ref().is_some_and(|before| *before != last) {
                    let what = format!(
                        "holds a checkpoint of {} over {} entries, which is not the last one of that log",
                        last.origin, last.size
                    );
                    log.find("entry 0", what);
                }
            }
        }
    }
}

/// Which cosigners cosigned a checkpoint, and whether enough did.
fn cosignatures(note: &SignedNote<'_>, wanted: &LogExpectations, log: &mut LogReport) {
    let registered: Vec<Verifier> = wanted
        .witnesses
        .iter()
        .filter_map(|(_, key)| note.cosigner(key))
        .collect();
    let of_register = registered.iter().filter(|found| {
        wanted
            .cosigners
            .iter()
            .all(|known| known.key() != found.key())
    });
    for cosigner in wanted.cosigners.iter().chain(of_register) {
        match note.time_of(cosigner) {
            Ok(Some(time)) => log.cosigned.push(Cosignature {
                name: cosigner.name().to_owned(),
                time,
            }),
            Ok(None) => {}
            Err(forged) => log.find("checkpoint", forged.to_string()),
        }
    }
    if log.cosigned.len() < wanted.required {
        let only_registered =
            |key: &VerifyingKey| wanted.cosigners.iter().all(|known| known.key() != key);
        let registered = wanted
            .witnesses
            .iter()
            .filter(|(_, key)| only_registered(key))
            .count();
        let what = format!(
            "is cosigned by {} of the {} known cosigners, and {} are required. A checkpoint of the last seconds may \
             not be cosigned yet: read the log again before you believe that it is wrong",
            log.cosigned.len(),
            wanted.cosigners.len() + registered,
            wanted.required
        );
        log.find("checkpoint", what);
    }
}
