//! The names of cloison's logs, and the keys that verify them.

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use crate::journal::origin::{origin, owner_and_shard};
use crate::store::Shard;
use crate::tlog::note::Verifier;
use crate::tlog::witness::KnownLogs;

/// The first year that a log can have.
const FIRST_YEAR: i32 = 2020;
/// The most parts that a year's log may have: one, and one more for each restore.
const MOST_PARTS: u16 = 64;

/// Whether this is a log of a deployment's vault.
pub fn is_vaults(origin: &str, deployment: &str) -> bool {
    owner_and_shard(origin).is_some_and(|(owner, _)| owner == format!("{deployment}/vault"))
}

/// The name under which an owner cosigns the other side's checkpoints. It signs with the key of its
/// own checkpoints, but over another text.
pub fn cosigner_name(owner: &str) -> String {
    format!("cloison/{owner}")
}

/// A key that verifies a log's checkpoints.
#[derive(Debug, Clone)]
pub enum TrustedLogKey {
    /// For any log: the auditor checks only one.
    Any(VerifyingKey),
    /// For the logs of an owner, such as `demo/vault`, in every year.
    Owner(String, VerifyingKey),
    /// For one log, by its verifier key.
    Log(Verifier),
}

impl KnownLogs for Vec<TrustedLogKey> {
    fn key_of(&self, origin: &str) -> Option<VerifyingKey> {
        self.iter().find_map(|trusted| match trusted {
            TrustedLogKey::Any(key) => Some(*key),
            TrustedLogKey::Owner(owner, key) => owner_and_shard(origin)
                .is_some_and(|(found, _)| found == owner)
                .then_some(*key),
            TrustedLogKey::Log(verifier) => (verifier.name() == origin).then_some(*verifier.key()),
        })
    }

    fn may_begin(&self, origin: &str, now: Timestamp) -> bool {
        let next_year = i32::from(now.to_zoned(TimeZone::UTC).year()) + 1;
        let may_be = |shard: Shard| {
            (FIRST_YEAR..=next_year).contains(&i32::from(shard.year)) && shard.part < MOST_PARTS
        };
        owner_and_shard(origin).is_none_or(|(_, shard)| may_be(shard))
    }
}

/// The logs that a witness of people watches: a shard that was begun after a restore waits for
/// their acknowledgement.
pub struct AcknowledgedLogs(pub Vec<TrustedLogKey>);

impl KnownLogs for AcknowledgedLogs {
    fn key_of(&self, origin: &str) -> Option<VerifyingKey> {
        self.0.key_of(origin)
    }

    fn may_begin(&self, origin: &str, now: Timestamp) -> bool {
        self.0.may_begin(origin, now)
    }

    fn waits_for_people(&self, origin: &str) -> bool {
        owner_and_shard(origin).is_some_and(|(_, shard)| shard.part > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_names_its_owner_and_its_shard() {
        let origin = origin("demo/vault", Shard::of(2026));
        assert_eq!(origin, "cloison/demo/vault/2026");
        assert_eq!(
            owner_and_shard(&origin),
            Some(("demo/vault", Shard::of(2026)))
        );
        assert_eq!(owner_and_shard("cloison/demo/vault/26"), None);
    }
}
