//! Checking a log from outside, with nothing but its public key: signatures, tree, every entry, cosignatures, the links
//! between shards, and that it still contains what an auditor saw before.
//!
//! The walk goes from the root down to each entry, so that what does not fit is found where it is: every tile is held against
//! the hash that its parent has of it, every entry against its leaf. Memory stays flat: one tile for each level, one bundle.

mod report;
mod walk;

use ed25519_dalek::VerifyingKey;

use super::checkpoint::{Checkpoint, CheckpointError, owner_and_shard};
use super::note::{Note, Verifier};
use super::path::Resource;
use super::source::{Source, SourceError};
use super::tree;
pub use report::{Backwards, Cosigned, Finding, LogReport, Report};
use walk::Walk;

/// A key that a log's checkpoints are believed by.
#[derive(Debug, Clone)]
pub enum Trusted {
    /// Of any log: the auditor looks at one only.
    Any(VerifyingKey),
    /// Of the logs of an owner, such as `demo/vault`, in every year.
    Owner(String, VerifyingKey),
    /// Of one log, by its verifier key.
    Log(Verifier),
}

/// What a log is held against.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Keys of logs.
    pub keys: Vec<Trusted>,
    /// Keys of those who cosign.
    pub cosigners: Vec<Verifier>,
    /// Keys of witnesses as a register states them: by id, under whatever name they cosign.
    pub witnesses: Vec<(String, VerifyingKey)>,
    /// How many of both must have cosigned the last checkpoint.
    pub required: usize,
    /// Checkpoints seen before (signed notes).
    pub seen: Vec<Vec<u8>>,
}

impl Wanted {
    /// The key that is believed for a log.
    pub fn key(&self, origin: &str) -> Option<VerifyingKey> {
        self.keys.iter().find_map(|trusted| match trusted {
            Trusted::Any(key) => Some(*key),
            Trusted::Owner(owner, key) => {
                owner_and_shard(origin).is_some_and(|(found, _)| found == owner).then_some(*key)
            }
            Trusted::Log(verifier) => (verifier.name() == origin).then_some(*verifier.key()),
        })
    }

    /// Reads a note and checks that the log that it names signed it.
    fn open<'n>(&self, note: &'n [u8]) -> Result<(Checkpoint, Note<'n>), String> {
        let (claimed, _) = Checkpoint::read(note).map_err(|error| error.to_string())?;
        let Some(key) = self.key(&claimed.origin) else {
            return Err(format!("it is of the log {}, for which no key is believed", claimed.origin));
        };
        Checkpoint::open(note, &key).map_err(|error: CheckpointError| error.to_string())
    }
}

/// Called now and then: log, entries checked so far, entries in all.
pub type Progress<'p> = &'p mut dyn FnMut(&str, u64, u64);

/// Checks every shard of a source.
///
/// # Errors
/// [`SourceError`] when it cannot be read at all; everything else is a finding in the report.
pub fn all(source: &dyn Source, wanted: &Wanted, progress: Progress<'_>) -> Result<Report, SourceError> {
    let mut report = Report::default();
    let mut seen: Vec<_> = vec![];
    for note in &wanted.seen {
        match wanted.open(note) {
            Ok((checkpoint, _)) => seen.push(checkpoint),
            Err(why) => report.findings.push(Finding::new("the checkpoint kept from before", why)),
        }
    }
    let mut before: Option<Checkpoint> = None;
    let mut latest = String::new();
    for shard in source.shards()? {
        let (log, head) = one(source, &shard, wanted, &seen, before.as_ref(), &mut latest, progress)?;
        seen.retain(|kept| kept.origin != log.origin);
        report.logs.push(log);
        before = head;
    }
    // What was seen must be somewhere.
    for kept in seen {
        let what = format!("covers {} entries of {}, and no log of that name is here", kept.size, kept.origin);
        report.findings.push(Finding::new("the checkpoint kept from before", what));
    }
    Ok(report)
}

/// Checks one shard; its head, where it is believed.
fn one(
    source: &dyn Source,
    shard: &str,
    wanted: &Wanted,
    seen: &[Checkpoint],
    before: Option<&Checkpoint>,
    latest: &mut String,
    progress: Progress<'_>,
) -> Result<(LogReport, Option<Checkpoint>), SourceError> {
    let mut log = LogReport { origin: shard.to_owned(), ..LogReport::default() };
    let finding = |what: String| Finding::new("checkpoint", what);
    let Some(note) = source.read(shard, Resource::Checkpoint)? else {
        log.findings.push(finding("is missing".into()));
        return Ok((log, None));
    };
    let (head, opened) = match wanted.open(&note) {
        Ok(opened) => opened,
        Err(why) => {
            log.findings.push(finding(why));
            return Ok((log, None));
        }
    };
    log.note.clone_from(&note);
    log.origin = head.origin.clone();
    log.size = head.size;
    log.root = data_encoding::BASE64.encode(&head.root);
    let own = owner_and_shard(&head.origin).map(|(_, shard)| shard.to_string());
    if !shard.is_empty() && own.as_deref() != Some(shard) {
        log.findings.push(finding(format!("is of {}, and lies where shard {shard} belongs", head.origin)));
    }
    cosignatures(&opened, wanted, &mut log);

    let kept: Vec<&Checkpoint> = seen.iter().filter(|kept| kept.origin == head.origin).collect();
    for kept in &kept {
        if kept.size > head.size {
            log.findings.push(finding(format!(
                "covers {} entries, but a checkpoint kept from before covers {}: the log was truncated, or an old \
                 checkpoint is shown again",
                head.size, kept.size
            )));
        }
    }
    let mut walk = Walk::new(source, shard, &head, &kept, &mut log, progress);
    walk.latest = std::mem::take(latest);
    walk.run()?;
    *latest = std::mem::take(&mut walk.latest);
    let first = walk.first.take();
    link(first.as_deref(), &head, before, wanted, &mut log);
    if let Some(entries) = source.entries(shard)? {
        log.uncovered = entries.saturating_sub(head.size);
    }
    Ok((log, Some(head)))
}

fn cosignatures(note: &Note<'_>, wanted: &Wanted, log: &mut LogReport) {
    let registered: Vec<Verifier> = wanted.witnesses.iter().filter_map(|(_, key)| note.cosigner(key)).collect();
    let of_register = registered.iter().filter(|found| wanted.cosigners.iter().all(|known| known.key() != found.key()));
    for cosigner in wanted.cosigners.iter().chain(of_register) {
        match note.time_of(cosigner) {
            Ok(Some(time)) => log.cosigned.push(Cosigned { name: cosigner.name().to_owned(), time }),
            Ok(None) => {}
            Err(forged) => log.findings.push(Finding::new("checkpoint", forged.to_string())),
        }
    }
    if log.cosigned.len() < wanted.required {
        let only_registered = |key: &VerifyingKey| wanted.cosigners.iter().all(|known| known.key() != key);
        let registered = wanted.witnesses.iter().filter(|(_, key)| only_registered(key)).count();
        let what = format!(
            "is cosigned by {} of the {} known cosigners, and {} are required",
            log.cosigned.len(),
            wanted.cosigners.len() + registered,
            wanted.required
        );
        log.findings.push(Finding::new("checkpoint", what));
    }
}

/// The first entry of a shard must hold the last checkpoint of the shard before.
fn link(first: Option<&[u8]>, head: &Checkpoint, before: Option<&Checkpoint>, wanted: &Wanted, log: &mut LogReport) {
    let value: serde_json::Value = first.and_then(|entry| serde_json::from_slice(entry).ok()).unwrap_or_default();
    let note = match (value["event"].as_str(), value["checkpoint"].as_str(), value["lost"].as_str()) {
        (Some("continue"), Some(note), _) => note,
        (Some("resume"), _, Some(note)) => {
            if let Err(why) = wanted.open(note.as_bytes()) {
                log.findings.push(Finding::new("entry 0", format!("the checkpoint in it: {why}")));
            }
            log.resumed = true;
            return;
        }
        _ => {
            if let Some(before) = before
                && head.size > 0
            {
                let what = format!("does not hold the last checkpoint of {}", before.origin);
                log.findings.push(Finding::new("entry 0", what));
            }
            return;
        }
    };
    match wanted.open(note.as_bytes()) {
        Err(why) => log.findings.push(Finding::new("entry 0", format!("the checkpoint in it: {why}"))),
        Ok((last, _)) => {
            log.continues = Some(last.origin.clone());
            if before.is_some_and(|before| *before != last) {
                let what = format!(
                    "holds a checkpoint of {} over {} entries, which is not the last one of that log",
                    last.origin, last.size
                );
                log.findings.push(Finding::new("entry 0", what));
            }
        }
    }
}

/// What a root looks like to people.
fn shown(root: &tree::Hash) -> String {
    data_encoding::BASE64.encode(root)
}
