//! The details of events. They never hold an identifier or a key.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Domain, LogPosition};
use crate::id::Id;

/// The signed statement that allowed something to be destroyed.
#[derive(Debug, Clone, Serialize)]
pub struct StatementNote {
    /// The statement's id.
    pub statement: String,
    /// The operators who signed it.
    pub signers: Vec<Id>,
}

/// What an entry about an authority's private key says. It holds no share and nothing computed from
/// one.
#[derive(Debug, Clone, Serialize)]
pub struct CustodyDetails {
    /// Custodian or officer; the authority's id where the node did it itself.
    pub actor: Id,
    /// What was done.
    pub action: CustodyAction,
    /// The key's id; absent where all keys were meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For a share: how many shares the node then held. For any other action: how many it had
    /// taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// How many shares the key needs.
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
    /// The node wiped its keys on command.
    Seal,
    /// The node wiped its keys, because they had not been used for long.
    SealIdle,
}

/// What an entry about a page of segments says: counts, and ids of keys.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentsDetails {
    /// On the vault, the authority whose node asked, or an operator; on the node, the custodian or
    /// officer.
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
    /// The node will open their data keys and seal these to further keys.
    OpenToRewrap,
    /// The node will open their data keys and forget them at once.
    OpenToProve,
    /// The vault added recipients.
    Rewrap,
    /// An authority's node proved that its keys open them.
    Prove,
    /// The vault removed recipients that their own authority's node could not open.
    Discard,
    /// The vault removed recipients that the register no longer lists.
    Drop,
}

/// An epoch that a start opened.
#[derive(Debug, Clone, Serialize)]
pub struct OpenedEpoch {
    /// Sector name.
    pub sector: String,
    /// The epoch.
    pub epoch: u32,
    /// The version of the sector secret that it derives from.
    pub secret_version: u32,
    /// The earlier epoch whose overlap this ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_overlap: Option<u32>,
}

/// What a tokenization entry says.
#[derive(Debug, Clone, Serialize)]
pub struct TokenizeDetails {
    /// Client id.
    pub client: Id,
    /// Its organisation.
    pub organisation: Id,
    /// Sector name.
    pub sector: String,
    /// The domain, as the answer gives it.
    pub domain: Domain,
    /// The previous epoch, if its pseudonyms were asked for too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<u32>,
    /// Scheme id.
    pub scheme: Id,
    /// Purpose code, if one was named.
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

/// What an entry about UTIs that an identity source derived says.
#[derive(Debug, Clone, Serialize)]
pub struct UtisDetails {
    /// For whom, where, and how many: at most 24.
    pub derived: Vec<UtisGroup>,
    /// HMAC-SHA256 under the entry's erasable salt over the UTIs answered, in order, hex. A digest
    /// of the values could be guessed at by those who have the salt; this one takes the identity
    /// secret, too.
    pub digest: String,
}

/// UTIs that were derived for one purpose of one caller, in one sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UtisGroup {
    /// `tokenize`, `migrate`, `reseal`, `rights`, `link`; `person-key`; `probe`.
    pub kind: &'static str,
    /// Client, authority or officer, as the vault says; absent for a person key and a probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Id>,
    /// The client's organisation, whose quota was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Id>,
    /// Sector name; absent for a probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sector: Option<String>,
    /// Scheme id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Id>,
    /// How many requests of the vault's callers travelled together.
    pub requests: u64,
    /// How many values.
    pub items: u64,
}

/// What an entry about re-identification says.
#[derive(Debug, Clone, Serialize)]
pub struct ReidentifyDetails {
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

/// What an entry about a page of a migration says: counts, because no person was shown a mapping.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationPageDetails {
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
    /// The epoch that is migrated from.
    pub from: u32,
    /// The epoch that is migrated to.
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

/// What an entry about an order that was lodged says. It has no count: how many mappings were
/// copied is secret.
#[derive(Debug, Clone, Serialize)]
pub struct OrderLodgeDetails {
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
pub struct OrderActDetails {
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
    /// Whether the register confirms it. An act that the register does not confirm has no effect;
    /// it is kept so that both sides hold the same acts.
    pub effective: bool,
}

/// What an entry about an inspection says.
#[derive(Debug, Clone, Serialize)]
pub struct InspectionDetails {
    /// `enter` or `close`.
    pub action: &'static str,
    /// The inspection's id.
    pub inspection: String,
    /// The commission's reference.
    pub reference: String,
    /// The auditors to whom it opens the log.
    pub auditors: Vec<Id>,
    /// The sectors that it covers.
    pub sectors: Vec<String>,
    /// The actors that it covers.
    pub actors: Vec<Id>,
    /// When it opens, RFC 3339.
    pub not_before: String,
    /// When it ends; of `close`: when it was closed.
    pub not_after: String,
    /// Of `close`: why, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Id>,
    /// SHA-256 of the statement's payload, hex.
    pub digest: String,
    /// The commission's register keys that signed.
    pub signers: Vec<Id>,
    /// Who brought it: an auditor or an operator.
    pub bearer: String,
}

/// What an entry about an access under an inspection says.
#[derive(Debug, Clone, Serialize)]
pub struct AccessDetails {
    /// The auditor.
    pub actor: Id,
    /// The inspection that opened it.
    pub inspection: String,
    /// `entries` or `report`.
    pub what: &'static str,
    /// The search, as the auditor asked for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<&'static str, String>,
    /// How many entries the auditor got.
    pub given: u64,
}

/// What an entry about the clock's high-water mark says.
#[derive(Debug, Clone, Serialize)]
pub struct ClockLowerDetails {
    /// The statement that two operators signed.
    #[serde(flatten)]
    pub statement: StatementNote,
    /// Who brought it.
    pub bearer: Id,
    /// Where the mark was, RFC 3339.
    pub from: String,
    /// Where it is now.
    pub to: String,
}

/// What an entry about a look-up of resolutions says. It never names the person.
#[derive(Debug, Clone, Serialize)]
pub struct LookUpDetails {
    /// The rights officer.
    pub actor: Id,
    /// Sector name.
    pub sector: String,
    /// The order whose resolutions were asked for, if the request named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Pseudonyms asked about.
    pub items: u64,
    /// Resolutions that were shown.
    pub found: u64,
    /// Merkle root over the items' tags, hex.
    pub tags: String,
}

/// What an entry about an erasure says. It names no person and has no count: a count would reveal
/// orders that are still secret, and anyone may ask for a proof of the entry.
#[derive(Debug, Clone, Serialize)]
pub struct EraseDetails {
    /// The rights officers who signed.
    pub officers: Vec<Id>,
    /// The id of their request.
    pub request: String,
    /// Sector name.
    pub sector: String,
    /// Who brought it.
    pub bearer: Id,
}
