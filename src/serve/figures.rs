//! The figures about the vault's mappings on `/metrics`.
//!
//! Everybody on the machine may read them, also a client's accomplice. A figure that changes with
//! one request would tell them whether that request's person was known. So these figures are
//! rounded down to whole steps, and all are updated together, once an hour.

use std::sync::atomic::Ordering;

use crate::metrics::{CoarseCounter, CoarseGauge, MEBIBYTE, PERSONS, Registry};
use crate::vault::Vault;

/// The figures that change with the number of persons.
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
    /// Registers the figures, all zero.
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

    /// Updates all figures. Call it once an hour.
    pub(super) fn show(&self, vault: &Vault) {
        self.mappings.set(vault.index().len());
        self.moved.set(vault.index().moved());
        self.small.set(vault.committer().small().len() as u64);
        self.merged
            .set(vault.keeper_counts().merged.load(Ordering::Relaxed));
        self.index.set(vault.index().bytes());
        self.disk.set(vault.store().moved_bytes());
        self.cache.set(vault.store().cache_bytes());
        let (counts, order) = (vault.counts(), Ordering::Relaxed);
        self.released.advance_to(counts.released.load(order));
        self.migrated.advance_to(counts.migrated.load(order));
    }
}
