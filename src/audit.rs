//! Audit entries: who asked what, in which sector and domain, with what outcome. Never an identifier, a UTI, a key, or an
//! unkeyed digest of one.
//!
//! An entry is canonical JSON (sorted keys, no spaces, integers only). Entries are numbered from 0 without gaps, in the
//! order in which they became durable, each in the same commit as the effect it describes.
//!
//! Over the entries of each year stands a Merkle tree (RFC 6962), served and copied as C2SP `tlog-tiles`:
//!
//! | module | what it does |
//! |---|---|
//! | [`tree`], [`proof`], [`path`] | the tree's right edge, tiles, proofs, the names of its resources |
//! | [`note`], [`checkpoint`] | signed notes, and the heads of a log as such |
//! | [`log`], [`second`] | writing: entries into the tree, trees under checkpoints, checkpoints into a second place |
//! | [`shelf`], [`source`] | reading: from a store, from a copied folder |
//! | [`verify`], [`proof_file`] | checking a whole log, and one entry with a proof file |
//! | [`witness`], [`cosign`] | cosigning others' logs, and having ours cosigned |
//! | [`search`] | finding entries for people |

use std::sync::Arc;

use jiff::Timestamp;
use rand_core::Rng as _;
use serde::Serialize;

use crate::code::Code;
use crate::keys::DomainScope;
use crate::register::Id;
use crate::store::{ItemTag, Shard};

pub mod checkpoint;
pub mod cosign;
mod indexed;
pub mod log;
pub mod note;
pub mod path;
pub mod proof;
pub mod proof_file;
pub mod resume;
pub mod search;
pub mod second;
pub mod shelf;
pub mod source;
pub mod tree;
pub mod verify;
mod watched;
pub mod witness;

pub use tree::{leaf_hash, tree_hash};
pub use watched::{Access, ClockLowered, Erased, InspectionNoted, LookUp};

/// One audit entry.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// When the request arrived, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// An entry of that moment.
    pub fn new(now: Timestamp, event: Event) -> Self {
        Self { time: format!("{now:.3}"), event }
    }

    /// Canonical JSON (RFC 8785 for the strings and integers that entries have).
    pub fn to_bytes(&self) -> Vec<u8> {
        // `Value` keeps its members sorted.
        let value = serde_json::to_value(self).expect("an entry is plain data");
        serde_json::to_vec(&value).expect("a value is plain data")
    }
}

/// What an entry says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The process began to serve.
    Start {
        /// `vault` or `node`.
        entity: &'static str,
        /// Version of the program.
        program: &'static str,
        /// Version of the register in force.
        register_version: u64,
        /// SHA-256 of the register in force, hex.
        register_digest: String,
        /// Epochs that this start opened: the first ones of new sectors, and those that a changed register needed.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        opened: Vec<Opened>,
    },
    /// The first entry of a shard that follows another one.
    Continue {
        /// The last checkpoint of the shard before, signed.
        checkpoint: String,
    },
    /// The first entry of a shard with which the log goes on after a restore that lost entries.
    Resume {
        /// The last checkpoint that was published before, signed: it covers entries that are lost.
        lost: String,
        /// The shard that the restored store ended with.
        kept: String,
        /// How many entries of it there are.
        kept_entries: u64,
        /// The Merkle root over them, hex.
        kept_root: String,
    },
    /// The second place had nothing, though checkpoints of this log were published, and the log goes on all the same.
    SecondLost {
        /// The last checkpoint that the store has, signed: whether a later one was published nobody here can tell.
        checkpoint: String,
    },
    /// Two operators had the clock's high-water mark lowered: the clock once ran ahead.
    ClockLower(Box<ClockLowered>),
    /// Somebody at a node has acknowledged that the vault's log went on after a restore that lost entries.
    AcknowledgeResume {
        /// The officer or custodian.
        actor: Id,
        /// The log that goes on.
        log: String,
        /// Leaf hash of its first entry, hex.
        entry: String,
        /// The log that lost entries.
        lost_log: String,
        /// How many it had.
        lost_entries: u64,
        /// How many are left.
        kept_entries: u64,
    },
    /// A batch, or the single-item requests of one client within one commit.
    Tokenize(Box<Tokenized>),
    /// Requests that were refused as a whole.
    Refuse {
        /// Client, operator, authority or officer id; `unknown` for a certificate that the register does not know.
        actor: String,
        /// What was asked for, e.g. `tokenize`.
        operation: &'static str,
        /// Why it was refused.
        code: Code,
        /// How many requests within one second.
        count: u64,
    },
    /// A sector's epoch was advanced.
    EpochAdvance {
        /// Who did it.
        operator: Id,
        /// Sector name.
        sector: String,
        /// The new epoch.
        epoch: u32,
        /// The version of the sector secret that it derives from.
        secret_version: u32,
        /// Whether no other epoch uses that version.
        own_secret: bool,
        /// The epoch that was still answered beside the one before, and is no more.
        #[serde(skip_serializing_if = "Option::is_none")]
        ended_overlap: Option<u32>,
        /// The statement that allowed it, where it took one.
        #[serde(flatten)]
        statement: Option<StatementNote>,
    },
    /// A new version of the sector secret was made, for the next epochs.
    SecretRotate {
        /// Who had it made.
        operator: Id,
        /// The new version.
        version: u32,
    },
    /// A version of the sector secret, which no epoch needed, was retired: it is destroyed after this entry.
    SecretRetire {
        /// Who had it retired.
        operator: Id,
        /// The version.
        version: u32,
        /// The statement that allowed it.
        #[serde(flatten)]
        statement: StatementNote,
    },
    /// The vault released sealed mappings to an authority's node.
    Release(Box<Reidentified>),
    /// The authority node opened mappings for an officer.
    Reveal(Box<Reidentified>),
    /// The vault handed a page of an epoch's mappings, still sealed, to an authority's node, under an order for continuity.
    MigrationRelease(Box<MigrationPage>),
    /// The authority node opened such a page, for the vault alone.
    MigrationReveal(Box<MigrationPage>),
    /// The vault derived the new pseudonyms of such a page, stored their mappings and sealed the pairs to the sector.
    Migrate {
        /// Authority id.
        authority: Id,
        /// Order id.
        order: String,
        /// The request under which the page was handed out.
        request: String,
        /// Sector name.
        sector: String,
        /// The epoch that is left.
        from: u32,
        /// The epoch that is gone to.
        to: u32,
        /// The page.
        page: u32,
        /// Pairs that were made.
        migrated: u64,
        /// Mappings that the node could not open.
        skipped: u64,
    },
    /// A sector system fetched pairs, or said that it has them.
    MigrationPairs {
        /// Client id.
        client: Id,
        /// Sector name.
        sector: String,
        /// Order id.
        order: String,
        /// `fetch` or `acknowledge`.
        action: &'static str,
        /// How many pages.
        pages: u64,
        /// How many pairs.
        pairs: u64,
    },
    /// A sector retired an epoch: its mappings are gone.
    EpochRetire {
        /// Client id.
        client: Id,
        /// Sector name.
        sector: String,
        /// The epoch.
        epoch: u32,
        /// How many mappings it had.
        mappings: u64,
        /// How many of them were never migrated.
        unmigrated: u64,
        /// The statement that allowed it.
        #[serde(flatten)]
        statement: StatementNote,
    },
    /// Something happened to a private key of the authority's node.
    Custody(Custody),
    /// Segments were sealed to other keys of authorities, or proved to open with them.
    Segments(Box<Segments>),
    /// An act upon an order came in: a revocation, a suspension, its lifting, the closing of a review.
    OrderAct(Box<OrderAct>),
    /// An order was shown to the vault before it was used, which copied what it lists.
    OrderLodge(Box<OrderLodged>),
    /// The copies that the vault kept for an order were destroyed.
    OrderEnd {
        /// Authority id.
        authority: String,
        /// Order id.
        order: String,
        /// `over` or `revoked`.
        why: &'static str,
    },
    /// An inspection was entered, or closed before its time.
    Inspection(Box<InspectionNoted>),
    /// Somebody read under an inspection.
    Access(Box<Access>),
    /// Somebody read bundles of entries, as whoever verifies the log does.
    Read {
        /// Id of the auditor.
        actor: String,
        /// How many bundles within one minute.
        count: u64,
    },
    /// A rights officer looked up who resolved somebody's pseudonym.
    LookUp(Box<LookUp>),
    /// Two rights officers had a person's traces in a sector destroyed, as far as they are old enough.
    Erase(Box<Erased>),
    /// An authority asks for far more than it used to, or for half of what it may.
    ReleaseAlarm {
        /// Authority id.
        authority: Id,
        /// `migrations` where mappings handed out for continuity were counted; absent for pseudonyms asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<&'static str>,
        /// The hour, RFC 3339.
        hour: String,
        /// Pseudonyms asked for in that hour so far.
        items: u64,
        /// What made it an alarm: so many were reached.
        threshold: u64,
        /// What the register allows in an hour.
        limit: u64,
    },
}

/// The statement by which two persons wanted something destroyed.
#[derive(Debug, Clone, Serialize)]
pub struct StatementNote {
    /// The statement's id.
    pub statement: String,
    /// The operators who signed it.
    pub signers: Vec<Id>,
}

/// What an entry about an authority's private key says. Never a share, nor anything computed from one.
#[derive(Debug, Clone, Serialize)]
pub struct Custody {
    /// Custodian or officer; the authority's id where the node did it itself.
    pub actor: Id,
    /// What was done.
    pub action: CustodyAction,
    /// The key's id; absent where all keys were meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many shares the node held after it, for a share; how many it had taken, for what came of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// How many it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u64>,
}

/// What was done to an authority's private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CustodyAction {
    /// A custodian's share was taken, towards unsealing.
    Share,
    /// The last share was taken: from now on the node opens with this key.
    Unseal,
    /// The shares taken did not make the key that the register states; they were forgotten.
    Mismatch,
    /// A share was taken for a drill.
    DrillShare,
    /// The shares of a drill made the key that the register states; it was forgotten at once.
    Drill,
    /// Shares taken were forgotten, because the others did not come in time.
    Forget,
    /// The node wiped its keys, because somebody said so.
    Seal,
    /// The node wiped its keys, because nobody had used them for long.
    SealIdle,
}

/// What an entry about a page of segments says: counts, and ids of keys.
#[derive(Debug, Clone, Serialize)]
pub struct Segments {
    /// The authority whose node asked, an operator; on the node the custodian or officer.
    pub actor: Id,
    /// What was done.
    pub action: SegmentAction,
    /// The ids of the authorities' keys that it is about.
    pub keys: Vec<String>,
    /// How many segments.
    pub segments: u64,
    /// Recipients that were added, proved, or taken out.
    pub recipients: u64,
}

/// What was done with a page of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentAction {
    /// The vault handed their records out, to be sealed to further keys.
    HandOutToRewrap,
    /// The vault handed their records out, to be proved.
    HandOutToProve,
    /// The node is to open their data keys and to seal these to further keys.
    OpenToRewrap,
    /// The node is to open their data keys, and to forget them.
    OpenToProve,
    /// The vault added recipients.
    Rewrap,
    /// An authority's node proved that its keys open them.
    Prove,
    /// The vault took recipients out that their own authority's node could not open.
    Discard,
    /// The vault took recipients out that the register no longer lists.
    Drop,
}

/// An epoch that a start opened.
#[derive(Debug, Clone, Serialize)]
pub struct Opened {
    /// Sector name.
    pub sector: String,
    /// The epoch.
    pub epoch: u32,
    /// The version of the sector secret that it derives from.
    pub secret_version: u32,
    /// The epoch that was still answered beside the one before, and is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_overlap: Option<u32>,
}

/// What a tokenization entry says.
#[derive(Debug, Clone, Serialize)]
pub struct Tokenized {
    /// Client id.
    pub client: Id,
    /// Its organisation.
    pub organisation: Id,
    /// Sector name.
    pub sector: String,
    /// The domain, as the answer gives it.
    pub domain: Domain,
    /// The previous epoch, where its pseudonyms were asked for too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<u32>,
    /// Scheme id.
    pub scheme: Id,
    /// Purpose code, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Id>,
    /// How many requests this entry stands for.
    pub requests: u64,
    /// Identifiers accepted.
    pub accepted: u64,
    /// Identifiers rejected.
    pub rejected: u64,
    /// HMAC-SHA256 under the entry's erasable salt over the pseudonyms answered, in order, hex.
    pub digest: String,
}

/// What an entry about re-identification says.
#[derive(Debug, Clone, Serialize)]
pub struct Reidentified {
    /// Authority id.
    pub authority: Id,
    /// Officer id.
    pub officer: Id,
    /// Order id.
    pub order: String,
    /// SHA-256 of the order's payload, hex.
    pub order_digest: String,
    /// The order's legal basis: `judicial`, `statutory` or `force-majeure`.
    pub basis: &'static str,
    /// Request id.
    pub request: String,
    /// Case reference.
    pub case: String,
    /// Sector name.
    pub sector: String,
    /// Pseudonyms asked for.
    pub items: u64,
    /// Mappings handed out (vault) or received (node).
    pub mappings: u64,
    /// Merkle root over the items' tags, hex.
    pub tags: String,
    /// On the node: log, number and leaf hash of the vault's entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_entry: Option<LogPosition>,
    /// On the node: the proof that this entry is in the vault's log, hashes in hex.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vault_path: Vec<String>,
    /// On the node: the vault's checkpoint that the proof leads to, signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_checkpoint: Option<String>,
}

/// What an entry about a page of a migration says. Counts only: nobody was shown anything.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationPage {
    /// Authority id.
    pub authority: Id,
    /// Officer id.
    pub officer: Id,
    /// Order id.
    pub order: String,
    /// SHA-256 of the order's payload, hex.
    pub order_digest: String,
    /// Request id.
    pub request: String,
    /// Case reference.
    pub case: String,
    /// Sector name.
    pub sector: String,
    /// The epoch that is left.
    pub from: u32,
    /// The epoch that is gone to.
    pub to: u32,
    /// The page, from 1.
    pub page: u32,
    /// Mappings in it.
    pub items: u64,
    /// On the node: log, number and leaf hash of the vault's entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_entry: Option<LogPosition>,
    /// On the node: the proof that this entry is in the vault's log, hashes in hex.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vault_path: Vec<String>,
    /// On the node: the vault's checkpoint that the proof leads to, signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_checkpoint: Option<String>,
}

/// What an entry about an order that was lodged says: no count, for what there was to copy is nobody's to know.
#[derive(Debug, Clone, Serialize)]
pub struct OrderLodged {
    /// Authority id.
    pub authority: Id,
    /// Order id.
    pub order: String,
    /// SHA-256 of the order's payload, hex.
    pub order_digest: String,
    /// Who brought it.
    pub bearer: String,
}

/// What an entry about an act upon an order says.
#[derive(Debug, Clone, Serialize)]
pub struct OrderAct {
    /// The order's authority.
    pub authority: Id,
    /// Order id.
    pub order: String,
    /// `revoke`, `suspend`, `resume` or `close-review`.
    pub act: &'static str,
    /// Why, as a code.
    pub reason: Id,
    /// The approvers who signed.
    pub signers: Vec<Id>,
    /// SHA-256 of the act's payload, hex.
    pub digest: String,
    /// Who brought it: an operator, an officer, the other side.
    pub bearer: String,
    /// Whether the register bears it out. If not, it is only kept, so that both sides hold the same.
    pub effective: bool,
}

/// A place in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// The log: the origin of its checkpoints.
    pub log: String,
    /// The entry's number in it, from 0.
    pub index: u64,
    /// The entry's leaf hash (RFC 6962, section 2.1), hex.
    pub leaf: String,
}

/// A domain, as answers and entries give it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Organisation id, where the sector separates controllers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub controller: Option<String>,
    /// Purpose code, where it separates purposes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purpose: Option<String>,
    /// `2026` or `2026-11`, where it separates periods.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub period: Option<String>,
    /// The sector's epoch.
    pub epoch: u32,
}

impl Domain {
    /// The domain of these granularity values in an epoch; an empty value is one that the sector does not separate.
    pub fn of(scope: &DomainScope, epoch: u32) -> Self {
        let named = |value: &String| (!value.is_empty()).then(|| value.clone());
        Self {
            controller: named(&scope.controller),
            purpose: named(&scope.purpose),
            period: named(&scope.period),
            epoch,
        }
    }

    /// The granularity values.
    pub fn scope(&self) -> DomainScope {
        let value = |named: &Option<String>| named.clone().unwrap_or_default();
        DomainScope { controller: value(&self.controller), purpose: value(&self.purpose), period: value(&self.period) }
    }
}

/// Proof that an entry is durable. Only the writer makes one; what may happen only after an entry takes it by value.
#[derive(Debug)]
pub struct AuditReceipt {
    origin: Arc<str>,
    shard: Shard,
    index: u64,
    leaf: tree::Hash,
}

impl AuditReceipt {
    /// Where the entry stands.
    pub fn position(&self) -> LogPosition {
        LogPosition {
            log: self.origin.to_string(),
            index: self.index,
            leaf: data_encoding::HEXLOWER.encode(&self.leaf),
        }
    }

    /// The entry's number in its log, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The receipt of another request with the same entry.
    pub(crate) fn shared(&self) -> Self {
        Self { origin: self.origin.clone(), ..*self }
    }
}

/// Tags, each with a random salt: whoever destroys a tag's row leaves nothing in the entry that a guess could be held
/// against, not even by the holder of the audit secret.
pub fn salted(tags: impl IntoIterator<Item = [u8; 16]>) -> Vec<ItemTag> {
    let tags: Vec<[u8; 16]> = tags.into_iter().collect();
    // One call of the operating system for all.
    let mut salts = vec![[0; 16]; tags.len()];
    crate::clock::dice().fill_bytes(salts.as_flattened_mut());
    tags.into_iter().zip(salts).map(|(tag, salt)| ItemTag { tag, salt }).collect()
}

/// The Merkle root over per-item tags: each leaf is a tag and its salt.
pub fn tags_root(tags: &[ItemTag]) -> String {
    let leaves: Vec<_> = tags.iter().map(|item| leaf_hash(&[item.tag, item.salt].concat())).collect();
    data_encoding::HEXLOWER.encode(&tree_hash(&leaves))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_canonical() {
        let event =
            Event::Refuse { actor: "unknown".into(), operation: "tokenize", code: Code::UnknownClient, count: 2 };
        let entry = Entry::new(Timestamp::from_second(1_800_000_000).unwrap(), event);
        assert_eq!(
            String::from_utf8(entry.to_bytes()).unwrap(),
            r#"{"actor":"unknown","code":"unknown-client","count":2,"event":"refuse","operation":"tokenize","time":"2027-01-15T08:00:00.000Z"}"#
        );
    }
}
