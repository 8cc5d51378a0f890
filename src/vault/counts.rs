//! Counts for the metrics.

use std::sync::atomic::AtomicU64;

/// What the vault has done since the start.
#[derive(Debug, Default)]
pub struct VaultCounts {
    /// Pseudonyms asked for under orders.
    pub released: AtomicU64,
    /// Alarms about unusual rates of release.
    pub release_alarms: AtomicU64,
    /// Pairs of old and new pseudonyms made.
    pub migrated: AtomicU64,
}
