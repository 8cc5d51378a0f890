//! After a restore: compares the second place's checkpoint with the store's entries.
//!
//! A log is append-only, and a published entry must stay. A store that lacks published entries
//! therefore never extends their shard again: when told to (`audit resume --after-restore`) it
//! begins another one, whose first entry says what was lost. Those who copied the log have the
//! entries themselves.

use ed25519_dalek::VerifyingKey;
use serde::Deserialize;

use super::AuditEvent;
use super::log::{Log, LogError};
use super::shard_reader::ShardReader;
use crate::audit::origin::owner_and_shard;
use crate::store::{Shard, Store, StoreError};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::checkpoint_file::{CheckpointFile, CheckpointFileError};
use crate::tlog::proof::inclusion;
use crate::tlog::proof_file::ProofFile;
use crate::tlog::tree::{Hash, leaf_hash};

/// A published checkpoint that the store's log does not contain.
pub(super) struct LostCheckpoint {
    checkpoint: Checkpoint,
    note: String,
    found: String,
    /// Its shard.
    pub(super) shard: Shard,
}

/// Compares the second place's note with the store; `None` if the store's log contains it.
pub(super) fn compare(
    store: &Store,
    owner: &str,
    key: &VerifyingKey,
    place: &CheckpointFile,
    note: Option<&[u8]>,
) -> Result<Option<LostCheckpoint>, LogError> {
    let Some(note) = note else { return Ok(None) };
    let unusable =
        |why: String| CheckpointFileError::Io(place.path().to_owned(), std::io::Error::other(why));
    let (checkpoint, _) =
        Checkpoint::open(note, key).map_err(|error| unusable(error.to_string()))?;
    let shard = owner_and_shard(&checkpoint.origin)
        .filter(|(found, _)| *found == owner)
        .map(|(_, shard)| shard);
    let shard =
        shard.ok_or_else(|| unusable(format!("it holds a checkpoint of {}", checkpoint.origin)))?;
    let found = match store.tree(shard)? {
        None => format!("this store has no entry of {shard}"),
        Some(row) if row.size < checkpoint.size => {
            format!("this store has only {} of them", row.size)
        }
        Some(row) if root_at(store, &row, checkpoint.size)? == checkpoint.root => return Ok(None),
        Some(_) => "this store has others in their place".to_owned(),
    };
    let note = String::from_utf8(note.to_vec()).map_err(|_| unusable("it is not text".into()))?;
    Ok(Some(LostCheckpoint {
        checkpoint,
        note,
        found,
        shard,
    }))
}

fn root_at(store: &Store, row: &crate::store::TreeRow, size: u64) -> Result<Hash, StoreError> {
    Ok(ShardReader::new(store, row, size).tree()?.root())
}

impl LostCheckpoint {
    pub(super) fn refusal(self, place: &CheckpointFile) -> LogError {
        LogError::Behind {
            place: place.path().display().to_string(),
            origin: self.checkpoint.origin,
            published: self.checkpoint.size,
            found: self.found,
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
        let said = serde_json::from_slice::<ResumeMembers>(&proof.entry)
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
            log: head.origin,
            entry: leaf_hash(&proof.entry),
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
