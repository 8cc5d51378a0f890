//! What `/metrics` says of the vault's mappings.
//!
//! Everybody on the machine may read it, a client's accomplice too. A figure that one request moves
//! would tell them what the request did: whether a person was known. So all of this is shown in
//! whole steps and brought up to date once an hour, at once.

use std::sync::atomic::Ordering;

use crate::metrics::{CoarseCounter, CoarseGauge, MEBIBYTE, PERSONS, Registry};
use crate::vault::Vault;

/// The figures that move with persons.
pub(super) struct PersonFigures {
    mappings: CoarseGauge,
    moved: CoarseGauge,
    small: CoarseGauge,
    merged: CoarseGauge,
    index: CoarseGauge,
    disk: CoarseGauge,
    cache: CoarseGauge,
    released: CoarseCounter,
    migrated: CoarseCounter,
}

impl PersonFigures {
    /// Nothing is shown yet.
    pub(super) fn new(registry: &Registry) -> Self {
        let persons = |name, help| registry.coarse_gauge(name, help, PERSONS);
        let bytes = |name, help| registry.coarse_gauge(name, help, MEBIBYTE);
        let counter = |name, help| registry.coarse_counter(name, help, PERSONS);
        Self {
            mappings: persons(
                "cloison_mappings",
                "Mappings that the index knows, in thousands, by the hour",
            ),
            moved: persons(
                "cloison_mappings_moved",
                "Mappings whose index entry is on the disk, not in memory",
            ),
            small: persons(
                "cloison_chunks_small",
                "Chunks that are to be merged with others",
            ),
            merged: persons(
                "cloison_chunks_merged",
                "Chunks that were merged into others since the start",
            ),
            index: bytes("cloison_index_bytes", "Memory of the index"),
            disk: bytes("cloison_index_disk_bytes", "Index entries on the disk"),
            cache: bytes(
                "cloison_index_cache_bytes",
                "Memory of what was read of the index on the disk",
            ),
            released: counter(
                "cloison_released_pseudonyms_total",
                "Pseudonyms asked for under orders",
            ),
            migrated: counter(
                "cloison_migrated_mappings_total",
                "Mappings migrated to a later epoch",
            ),
        }
    }

    /// Brings all of them up to date; to be called by the hour.
    pub(super) fn show(&self, vault: &Vault) {
        self.mappings.set(vault.index().len());
        self.moved.set(vault.index().moved());
        self.small.set(vault.committer().small().len() as u64);
        self.merged.set(vault.kept().merged.load(Ordering::Relaxed));
        self.index.set(vault.index().bytes());
        self.disk.set(vault.store().moved_bytes());
        self.cache.set(vault.store().cache_bytes());
        self.released.advance_to(vault.release_counts().0);
        self.migrated.advance_to(vault.migrated());
    }
}
