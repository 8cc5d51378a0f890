//! What entries say of those who watch and of people's rights: inspections, what was read, look-ups, erasures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::StatementNote;
use crate::register::Id;

/// What an entry about an inspection says.
#[derive(Debug, Clone, Serialize)]
pub struct InspectionNoted {
    /// `enter` or `close`.
    pub action: &'static str,
    /// The inspection's id.
    pub inspection: String,
    /// The commission's reference.
    pub reference: String,
    /// The auditors to whom it opens.
    pub auditors: Vec<Id>,
    /// Its object: sectors …
    pub sectors: Vec<String>,
    /// … and actors.
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
pub struct Access {
    /// The auditor.
    pub actor: Id,
    /// The inspection that opened it.
    pub inspection: String,
    /// `entries` or `report`.
    pub what: &'static str,
    /// What was looked for, as it was asked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<&'static str, String>,
    /// How many entries were given.
    pub given: u64,
}

/// What an entry about the clock's high-water mark says.
#[derive(Debug, Clone, Serialize)]
pub struct ClockLowered {
    /// What two operators signed.
    #[serde(flatten)]
    pub statement: StatementNote,
    /// Who brought it.
    pub bearer: Id,
    /// Where the mark was, RFC 3339.
    pub from: String,
    /// Where it is now.
    pub to: String,
}

/// What an entry about a look-up of resolutions says: never whose.
#[derive(Debug, Clone, Serialize)]
pub struct LookUp {
    /// The rights officer.
    pub actor: Id,
    /// Sector name.
    pub sector: String,
    /// The order whose resolutions were asked for, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Pseudonyms asked about.
    pub items: u64,
    /// Resolutions that were shown.
    pub found: u64,
    /// Merkle root over the items' tags, hex.
    pub tags: String,
}

/// What an entry about an erasure says: never whose, and no count. What was there to destroy tells of orders that may not be told
/// yet, and the entry is proved to whoever asks.
#[derive(Debug, Clone, Serialize)]
pub struct Erased {
    /// The rights officers who signed.
    pub officers: Vec<Id>,
    /// The id of their request.
    pub request: String,
    /// Sector name.
    pub sector: String,
    /// Who brought it.
    pub bearer: Id,
}
