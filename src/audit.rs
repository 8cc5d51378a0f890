//! Audit entries: who asked what, in which sector and domain, with what outcome. Never an
//! identifier, a UTI, a key, or an unkeyed digest of one.
//!
//! An entry is canonical JSON (sorted keys, no spaces, integers only). Entries are numbered from 0
//! without gaps, in the order in which they became durable, each in the same commit as the effect
//! it describes.
//!
//! The entries of each year form a Merkle tree ([`tlog`](crate::tlog)), which is served and copied
//! as C2SP `tlog-tiles`:
//!
//! | module | what it does |
//! |---|---|
//! | [`origin`] | the names of cloison's logs, and the keys that verify them |
//! | [`log`], [`resume`] | writing: adds entries to the tree and signs checkpoints over it; continues after a restore |
//! | [`shard_reader`], [`source`] | reading: from a store, from a copied folder |
//! | [`verify`] | checking whole logs |
//! | [`cosign`] | gets our checkpoints cosigned |
//! | [`search`] | finds entries by time, actor, sector, order and event |
//! | [`counted`], [`summary`] | the members that figures are counted from; what was done, by authority, client or sector |
//! | [`halves`] | holds each opening at a node against its release at the vault |

use std::sync::Arc;

use jiff::Timestamp;
use rand_core::Rng as _;
use serde::Serialize;

use crate::keys::DomainScope;
use crate::store::{ItemTag, Shard};
use crate::tlog::tree::{Hash, leaf_hash, tree_hash};

pub mod cosign;
pub mod counted;
pub mod derivations;
mod details;
mod effect;
mod entry_check;
mod event;
pub mod halves;
mod indexed;
pub mod log;
pub mod origin;
mod report;
pub mod resume;
pub mod search;
pub mod seen;
pub mod shard_reader;
pub mod source;
pub mod summary;
pub mod verify;

pub use details::*;
pub use effect::{ActEffect, Grant};
pub use event::AuditEvent;
pub(crate) use indexed::keys_of as index_keys;

/// One audit entry.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEntry {
    /// When the request arrived, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// SHA-256 of the sealed side record of the commit, hex. Only the last entry of a commit that
    /// changed state has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
}

impl AuditEntry {
    /// An entry with this time.
    pub fn new(now: Timestamp, event: AuditEvent) -> Self {
        Self {
            time: format!("{now:.3}"),
            event,
            journal: None,
        }
    }

    /// Canonical JSON (RFC 8785 for the strings and integers that entries have).
    pub fn to_bytes(&self) -> Vec<u8> {
        // `Value` keeps its members sorted.
        let value = serde_json::to_value(self).expect("an entry is plain data");
        serde_json::to_vec(&value).expect("a value is plain data")
    }
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
    /// The domain of these granularity values in an epoch; an empty value is one that the sector
    /// does not separate.
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
        DomainScope {
            controller: value(&self.controller),
            purpose: value(&self.purpose),
            period: value(&self.period),
        }
    }
}

/// Proof that an entry is durable. Only the writer makes one; an action that must follow an entry
/// takes the receipt by value.
///
/// ```compile_fail,E0451
/// let receipt = cloison::audit::AuditReceipt { origin: "".into(), shard: cloison::store::Shard::of(2026), index: 0, leaf: [0; 32] };
/// ```
#[derive(Debug)]
pub struct AuditReceipt {
    origin: Arc<str>,
    shard: Shard,
    index: u64,
    leaf: Hash,
}

impl AuditReceipt {
    /// The entry's place in its log.
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
        Self {
            origin: self.origin.clone(),
            ..*self
        }
    }
}

/// Gives each tag a random salt. Once a tag's row is destroyed, no guess can be tested against the
/// entry, not even with the audit secret.
pub fn salted(tags: impl IntoIterator<Item = [u8; 16]>) -> Vec<ItemTag> {
    let tags: Vec<[u8; 16]> = tags.into_iter().collect();
    // One system call fills all salts.
    let mut salts = vec![[0; 16]; tags.len()];
    crate::clock::dice().fill_bytes(salts.as_flattened_mut());
    tags.into_iter()
        .zip(salts)
        .map(|(tag, salt)| ItemTag { tag, salt })
        .collect()
}

/// The Merkle root over per-item tags: each leaf is a tag and its salt.
pub fn tags_root(tags: &[ItemTag]) -> String {
    let leaves: Vec<_> = tags
        .iter()
        .map(|item| leaf_hash(&[item.tag, item.salt].concat()))
        .collect();
    data_encoding::HEXLOWER.encode(&tree_hash(&leaves))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;

    #[test]
    fn entries_are_canonical() {
        let event = AuditEvent::Refuse {
            actor: "unknown".into(),
            operation: "tokenize",
            code: Code::UnknownClient,
            count: 2,
        };
        let entry = AuditEntry::new(Timestamp::from_second(1_800_000_000).unwrap(), event);
        assert_eq!(
            String::from_utf8(entry.to_bytes()).unwrap(),
            r#"{"actor":"unknown","code":"unknown-client","count":2,"event":"refuse","operation":"tokenize","time":"2027-01-15T08:00:00.000Z"}"#
        );
    }
}
