//! After a restore: compares checkpoints that were published with the store's entries.
//!
//! A log is append-only, and a published entry must stay. A store that lacks published entries
//! therefore never extends their shard again: when told to (`audit resume --after-restore`) it
//! begins another one, whose first entry states the loss. Those who copied the log have the entries
//! themselves.

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::Deserialize;

use super::AuditEvent;
use super::log::{Log, LogError};
use super::seen::SeenCheckpoint;
use super::shard_reader::ShardReader;
use crate::audit::origin::{self, owner_and_shard};
use crate::store::{Shard, Store, StoreError};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::checkpoint_file::{CheckpointFile, CheckpointFileError};
use crate::tlog::proof::inclusion;
use crate::tlog::proof_file::ProofFile;
use crate::tlog::tree::{Hash, leaf_hash};

/// A published checkpoint that the store's log does not contain.
pub(super) struct LostCheckpoint {
    /// Who has it.
    by: String,
    checkpoint: Checkpoint,
    note: String,
    found: String,
    /// Whether the store's log went on without those entries.
    went_on: bool,
    /// Its shard.
    pub(super) shard: Shard,
}

/// How a store differs that has other entries.
const OTHERS: &str = "this store has others in their place";

/// A log as the store of its owner has it.
#[derive(Clone, Copy)]
pub(super) struct OwnLog<'l> {
    pub(super) store: &'l Store,
    /// Such as `demo/vault`.
    pub(super) owner: &'l str,
    /// Verifies its checkpoints.
    pub(super) key: &'l VerifyingKey,
}

impl OwnLog<'_> {
    /// Its shard of that origin; `None` for an origin of another owner.
    pub(super) fn shard(&self, origin: &str) -> Option<Shard> {
        let (owner, shard) = owner_and_shard(origin)?;
        (owner == self.owner).then_some(shard)
    }

    /// Compares a checkpoint that the log's key signed, as `note`, and that `by` has; `None` if the
    /// log contains it.
    fn compare(
        &self,
        by: String,
        (checkpoint, note): (Checkpoint, &[u8]),
        shard: Shard,
    ) -> Result<Option<LostCheckpoint>, StoreError> {
        let found = match self.store.tree(shard)? {
            None => format!("this store has no entry of {shard}"),
            Some(row) if row.size < checkpoint.size => {
                format!("this store has only {} of them", row.size)
            }
            Some(row) if root_at(self.store, &row, checkpoint.size)? == checkpoint.root => {
                return Ok(None);
            }
            Some(_) => OTHERS.to_owned(),
        };
        let last = self.store.trees()?.pop().map(|row| row.shard);
        Ok(Some(LostCheckpoint {
            went_on: found == OTHERS || last > Some(shard),
            by,
            checkpoint,
            note: String::from_utf8_lossy(note).into_owned(),
            found,
            shard,
        }))
    }

    /// The same for what `seen` shows. Nothing is believed that the log's key did not sign; what
    /// the log itself says that it lost, after a restore that was confirmed, is not lost anew.
    pub(super) fn lost(&self, seen: &SeenCheckpoint) -> Result<Option<LostCheckpoint>, StoreError> {
        let opened = Checkpoint::open(&seen.note, self.key);
        let signed = opened.ok().and_then(|(checkpoint, _)| {
            let shard = self.shard(&checkpoint.origin)?;
            Some((checkpoint, shard))
        });
        let Some((checkpoint, shard)) = signed else {
            tracing::warn!(
                by = seen.by,
                "shows a checkpoint of this log that this log's key did not sign: it does not count"
            );
            return Ok(None);
        };
        let lost = self.compare(seen.by.clone(), (checkpoint, &seen.note), shard)?;
        let Some(lost) = lost else { return Ok(None) };
        Ok((!self.owns_up_to(&lost.checkpoint)?).then_some(lost))
    }

    /// Whether an entry of this log says that what a checkpoint covers was lost at a restore.
    pub(super) fn owns_up_to(&self, seen: &Checkpoint) -> Result<bool, StoreError> {
        let Some(shard) = self.shard(&seen.origin) else {
            return Ok(false);
        };
        let now = self.store.tree(shard)?.map(|row| Checkpoint {
            origin: seen.origin.clone(),
            size: row.size,
            root: row.root,
        });
        let resumptions = self.resumptions()?;
        Ok(resumptions
            .iter()
            .any(|resumption| resumption.explains(seen, now.as_ref())))
    }

    /// The end of a shard as what may be lost: after a restore without places nobody knows of more.
    pub(super) fn end_of(
        &self,
        shard: Shard,
        key: &SigningKey,
    ) -> Result<Option<LostCheckpoint>, LogError> {
        let Some(row) = self.store.tree(shard)? else {
            return Ok(None);
        };
        let checkpoint = Checkpoint {
            origin: origin::origin(self.owner, shard),
            size: row.size,
            root: row.root,
        };
        Ok(Some(LostCheckpoint {
            by: "the backup".to_owned(),
            note: checkpoint.sign(key),
            checkpoint,
            found: "what came after it is lost".to_owned(),
            went_on: false,
            shard,
        }))
    }

    /// The entries with which it went on after a restore.
    fn resumptions(&self) -> Result<Vec<Resumption>, StoreError> {
        let mut found = vec![];
        for row in self.store.trees()? {
            let entry = ShardReader::new(self.store, &row, row.size).entry(0)?;
            let log = origin::origin(self.owner, row.shard);
            found.extend(entry.and_then(|entry| Resumption::of_entry(log, &entry, self.key)));
        }
        Ok(found)
    }
}

/// Compares the second place's note with the store; `None` if the store's log contains it.
pub(super) fn compare(
    own: OwnLog<'_>,
    place: &CheckpointFile,
    note: Option<&[u8]>,
) -> Result<Option<LostCheckpoint>, LogError> {
    let Some(note) = note else { return Ok(None) };
    let unusable =
        |why: String| CheckpointFileError::Io(place.path().to_owned(), std::io::Error::other(why));
    let (checkpoint, _) =
        Checkpoint::open(note, own.key).map_err(|error| unusable(error.to_string()))?;
    let shard = own.shard(&checkpoint.origin);
    let shard =
        shard.ok_or_else(|| unusable(format!("it holds a checkpoint of {}", checkpoint.origin)))?;
    let folder = place.path().parent().unwrap_or(place.path());
    let by = format!("the second place {}", folder.display());
    Ok(own.compare(by, (checkpoint, note), shard)?)
}

fn root_at(store: &Store, row: &crate::store::TreeRow, size: u64) -> Result<Hash, StoreError> {
    Ok(ShardReader::new(store, row, size).tree()?.root())
}

impl LostCheckpoint {
    /// Shard and entries: how far it reaches.
    pub(super) fn reach(&self) -> (Shard, u64) {
        (self.shard, self.checkpoint.size)
    }

    /// Why a log does not open.
    pub(super) fn refusal(self) -> LogError {
        LogError::Behind {
            by: self.by,
            origin: self.checkpoint.origin,
            published: self.checkpoint.size,
            found: self.found,
            went_on: self.went_on,
        }
    }

    /// Why a log that is open must not go on.
    pub(super) fn fault(self) -> StoreError {
        StoreError::RolledBack {
            by: self.by,
            origin: self.checkpoint.origin,
            published: self.checkpoint.size,
            found: self.found,
            went_on: self.went_on,
        }
    }

    /// The first entry of the shard in which the log continues.
    pub(super) fn event(self, kept_shard: Shard, kept: u64, root: Hash) -> AuditEvent {
        AuditEvent::Resume {
            lost: self.note,
            kept: kept_shard.to_string(),
            kept_entries: kept,
            kept_root: data_encoding::HEXLOWER.encode(&root),
        }
    }
}

/// The entry with which a log continues after a restore, proved to be the first of its shard. The
/// other side remembers more entries than there are now; this proof lets it tell a declared restore
/// from a truncated log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumption {
    /// The log that it begins.
    pub log: String,
    /// The entry's leaf hash (RFC 6962).
    pub entry: Hash,
    /// When, as the entry says.
    pub time: String,
    /// The checkpoint that covers entries that are lost.
    pub lost: Checkpoint,
    /// The shard that the restored store ended with, and its tree.
    kept: String,
    /// How many entries of it there are.
    pub kept_entries: u64,
    kept_root: String,
}

/// The event of such an entry.
const RESUME: &str = "resume";

/// For each shard of a log that begins with such an entry, the proof of it (C2SP `tlog-proof`).
///
/// # Errors
/// [`StoreError`]
pub fn proofs(log: &Log) -> Result<Vec<String>, StoreError> {
    #[derive(Deserialize)]
    struct EntryEvent {
        event: String,
    }
    let mut proofs = vec![];
    for published in log
        .shards()
        .iter()
        .filter(|published| published.checkpoint.size > 0)
    {
        let size = published.checkpoint.size;
        let mut reader = ShardReader::new(log.store(), &published.tree, size);
        let Some(entry) = reader.entry(0)? else {
            continue;
        };
        if serde_json::from_slice::<EntryEvent>(&entry).is_ok_and(|named| named.event == RESUME) {
            let path = inclusion(&mut reader, 0, size)?;
            proofs.push(
                ProofFile {
                    entry,
                    index: 0,
                    path,
                    checkpoint: published.note.clone(),
                }
                .text(),
            );
        }
    }
    Ok(proofs)
}

/// The members of such an entry.
#[derive(Deserialize)]
struct ResumeMembers {
    event: String,
    time: String,
    lost: String,
    kept: String,
    kept_entries: u64,
    kept_root: String,
}

impl Resumption {
    /// Reads a proof file; `None` if its entry is not a resumption, or is not proved under the
    /// log's `key`.
    pub fn of(proof: &str, key: &VerifyingKey) -> Option<Self> {
        let proof = ProofFile::parse(proof)
            .ok()
            .filter(|proof| proof.index == 0)?;
        let (head, _) = proof.check(key).ok()?;
        Self::of_entry(head.origin, &proof.entry, key)
    }

    /// Reads the first entry of the log `log`; `None` if it is not a resumption.
    fn of_entry(log: String, entry: &[u8], key: &VerifyingKey) -> Option<Self> {
        let said = serde_json::from_slice::<ResumeMembers>(entry)
            .ok()
            .filter(|said| said.event == RESUME)?;
        let (lost, _) = Checkpoint::open(said.lost.as_bytes(), key).ok()?;
        let ResumeMembers {
            time,
            kept,
            kept_entries,
            kept_root,
            ..
        } = said;
        Some(Self {
            log,
            entry: leaf_hash(entry),
            time,
            lost,
            kept,
            kept_entries,
            kept_root,
        })
    }

    /// Whether it explains that the log of the cosigned checkpoint `seen` now ends with `now`, or
    /// is gone. A restored store may go back by several shards: from the shard of the last
    /// published checkpoint to the one that it ends with.
    pub fn explains(&self, seen: &Checkpoint, now: Option<&Checkpoint>) -> bool {
        let (Some((owner, shard)), Some((lost_owner, lost_shard)), Some(kept_shard)) = (
            owner_and_shard(&seen.origin),
            owner_and_shard(&self.lost.origin),
            Shard::parse(&self.kept),
        ) else {
            return false;
        };
        let reaches = shard < lost_shard
            || shard == lost_shard && (seen.size < self.lost.size || *seen == self.lost);
        let is_kept = match now {
            Some(now) => {
                now.origin == seen.origin
                    && shard == kept_shard
                    && now.size == self.kept_entries
                    && data_encoding::HEXLOWER.encode(&now.root) == self.kept_root
            }
            None => shard > kept_shard,
        };
        owner == lost_owner && reaches && is_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(shard: &str, size: u64) -> Checkpoint {
        Checkpoint {
            origin: format!("cloison/demo/vault/{shard}"),
            size,
            root: [1; 32],
        }
    }

    #[test]
    fn a_restore_over_the_turn_of_a_year_is_explained_shard_by_shard() {
        let resumption = Resumption {
            log: "cloison/demo/vault/2027-1".to_owned(),
            entry: [3; 32],
            time: String::new(),
            lost: head("2027", 40),
            kept: "2026".to_owned(),
            kept_entries: 300,
            kept_root: data_encoding::HEXLOWER.encode(&[1; 32]),
        };
        let explains =
            |seen: Checkpoint, now: Option<Checkpoint>| resumption.explains(&seen, now.as_ref());
        assert!(
            explains(head("2026", 350), Some(head("2026", 300))),
            "cut where the store was"
        );
        assert!(
            explains(head("2027", 40), None) && explains(head("2027", 39), None),
            "gone with what came after"
        );
        assert!(
            !explains(head("2027", 41), None),
            "more was seen than it owns up to"
        );
        assert!(
            !explains(head("2026", 350), Some(head("2026", 299))),
            "less is left than it says"
        );
        assert!(
            !explains(head("2026", 350), None),
            "what was kept is not to be left out"
        );
        assert!(
            !explains(head("2025", 350), None),
            "what is before it was not lost"
        );
        assert!(!explains(head("2027-1", 2), None), "nor what came after");
        let other = Checkpoint {
            origin: "cloison/demo/node/court/2027".to_owned(),
            ..head("2027", 9)
        };
        assert!(!explains(other, None), "another's log");
    }
}
