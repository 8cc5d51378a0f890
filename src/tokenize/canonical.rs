//! The canonical values of a batch, in memory that is wiped.

use zeroize::Zeroize as _;

use super::yield_after;
use crate::access::TokenizePermit;
use crate::code::Code;
use crate::register::Id;
use crate::utis::{PendingUtis, UtiBatch, UtiContext};
use crate::vault::Vault;

/// The canonical values of a batch in one arena, and why the other items were rejected.
pub(crate) struct CanonicalBatch {
    values: IdentifierArena,
    /// Where each value ends in the arena.
    ends: Vec<u32>,
    /// Rejected items in order: place in the request, and why.
    pub(super) errors: Vec<(u32, Code)>,
}

/// Identifiers, one after the other; wiped on drop. The unused part of the memory is never touched.
struct IdentifierArena(Vec<u8>);

impl IdentifierArena {
    /// Bytes that a rejected last value may have left after the accepted ones.
    const REJECTED: usize = 18 * crate::identifier::MAX_RAW;

    /// Room for `count` values. It never grows, because a reallocation would leave identifiers in
    /// freed memory.
    fn for_values(count: usize) -> Self {
        Self(Vec::with_capacity(
            count * crate::identifier::MAX_CANONICAL + Self::REJECTED,
        ))
    }
}

impl Drop for IdentifierArena {
    fn drop(&mut self) {
        let used = self.0.len() + Self::REJECTED;
        self.0.resize(used.min(self.0.capacity()), 0);
        self.0.as_mut_slice().zeroize();
    }
}

impl CanonicalBatch {
    fn with_room(count: usize) -> Self {
        Self {
            values: IdentifierArena::for_values(count),
            ends: Vec::with_capacity(count),
            errors: vec![],
        }
    }

    /// Brings each item to its canonical form; those that have none are rejected.
    pub(super) fn read<'a>(
        permit: &TokenizePermit,
        items: impl ExactSizeIterator<Item = Result<&'a str, Code>>,
    ) -> Self {
        let mut batch = Self::with_room(items.len());
        for (place, item) in items.enumerate() {
            match item.and_then(|raw| permit.scheme.canonical(raw, &mut batch.values.0)) {
                Ok(()) => batch.ends.push(batch.values.0.len() as u32),
                Err(code) => batch.errors.push((place as u32, code)),
            }
            yield_after(place + 1);
        }
        batch
    }

    /// A batch of canonical values that come from sealed mappings.
    pub(crate) fn of<'a>(values: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let mut batch = Self::with_room(values.len());
        for value in values {
            batch.values.0.extend_from_slice(value.as_bytes());
            batch.ends.push(batch.values.0.len() as u32);
        }
        batch
    }

    /// Derives the UTIs of the values, in order, or sends for them.
    pub(crate) fn utis(&self, vault: &Vault, context: UtiContext<'_>, scheme: &Id) -> PendingUtis {
        if self.ends.is_empty() {
            return Vec::new().into();
        }
        let batch = UtiBatch {
            scheme: scheme.as_str(),
            values: &self.values.0,
            ends: &self.ends,
        };
        vault.utis().derive(context, batch)
    }

    /// Bytes of a value, on average. The batch must have one.
    pub(super) fn mean_length(&self) -> usize {
        self.values.0.len() / self.ends.len()
    }

    /// The value at a place among the accepted ones.
    pub(super) fn value(&self, place: usize) -> &[u8] {
        &self.values.0[self.start(place)..self.ends[place] as usize]
    }

    fn start(&self, place: usize) -> usize {
        if place == 0 {
            0
        } else {
            self.ends[place - 1] as usize
        }
    }
}
