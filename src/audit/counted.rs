//! The members of entries from which figures are counted.

use serde::Deserialize;

/// The members of an entry that are counted; those that it lacks are empty or 0.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CountedMembers {
    /// When it was logged, RFC 3339.
    pub time: String,
    /// What happened.
    pub event: String,
    /// Sector name.
    pub sector: String,
    /// Client id.
    pub client: String,
    /// Requests of a client that the entry stands for.
    pub requests: u64,
    /// Identifiers accepted.
    pub accepted: u64,
    /// Identifiers rejected.
    pub rejected: u64,
    /// Authority id.
    pub authority: String,
    /// Order id.
    pub order: Option<String>,
    /// Legal basis; empty in entries of versions that did not log it.
    pub basis: String,
    /// Case reference.
    pub case: String,
    /// Pseudonyms asked for, or mappings of a page of a migration.
    pub items: u64,
    /// Mappings handed out (vault) or received (node).
    pub mappings: u64,
    /// Who was refused.
    pub actor: String,
    /// What for.
    pub operation: String,
    /// Why.
    pub code: String,
    /// How many requests were refused.
    pub count: u64,
}

impl CountedMembers {
    /// Reads them; `None` for a text that is not an entry, or whose members are of other types.
    pub fn read(entry: &[u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }
}
