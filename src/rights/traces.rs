//! The traces of a person beside the log: the tags of entries about them, and the tags that orders
//! count.
//!
//! They prove who looked at whom, rights officers included, so no trace is destroyed before it is
//! `evidence-days` of the register old. An erasure destroys those that are old enough and stores
//! the day for the others; a background task destroys them when they are due ([`destroy_due`]).

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::FAILED;
use super::resolutions::first_since;
use crate::commit::{Change, Committer};
use crate::entity::Entity;
use crate::order::book::Book;
use crate::refusal::{Refusal, fault};
use crate::store::{OrderKey, RowBatch, Store, TagKind, TagPlace};

/// How much longer a young trace waits: the times of entries may be out of order by an hour, and a
/// trace that is too young at its day would wait for the whole time again.
const MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// An order and a tag that it counts.
pub(super) type CountedPair = (OrderKey, [u8; 16]);

/// The parts of a vault or a node that hold traces.
pub(super) struct TraceSide<'a> {
    pub(super) book: Book<'a>,
    pub(super) committer: &'a Committer,
    /// The time that both sides have reached.
    proven: Timestamp,
    evidence: SignedDuration,
}

impl<'a> TraceSide<'a> {
    /// The parts of a vault or a node, now.
    pub(super) fn of(entity: &'a Entity) -> Self {
        let evidence = SignedDuration::from_hours(24 * i64::from(entity.register().evidence_days));
        Self {
            book: Book::of(entity),
            committer: entity.committer(),
            proven: entity.proven_time(),
            evidence,
        }
    }

    /// The orders that count some of these tags, each with the tag. This reads all pairs, so call
    /// it before [`Book::lock_orders`] makes others wait. A pair that comes later belongs to a live
    /// order, which keeps it. The tag beside its entry is young then, so the pair is examined again
    /// later.
    pub(super) fn pairs(&self, wanted: &HashSet<[u8; 16]>) -> Result<Vec<CountedPair>, Refusal> {
        let mut pairs = vec![];
        let each = |order, tag| {
            if wanted.contains(&tag) {
                pairs.push((order, tag));
            }
        };
        self.book
            .store()
            .each_order_pair(each)
            .map_err(fault(FAILED))?;
        Ok(pairs)
    }

    /// The traces of tags, given their pairs: which of them are old enough to be destroyed, and
    /// which tags have younger ones. The result holds only under [`Book::lock_orders`].
    pub(super) fn traces(
        &self,
        wanted: &HashSet<[u8; 16]>,
        pairs: Vec<CountedPair>,
    ) -> Result<PersonTraces, Refusal> {
        let store = self.book.store();
        let before = self
            .proven
            .checked_sub(self.evidence)
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let kept_from = first_since(store, before)?;
        let mut traces = PersonTraces::default();
        for tag in wanted {
            for kind in [TagKind::Resolution, TagKind::LookUp] {
                let places = store.tag_places(kind, tag).map_err(fault(FAILED))?;
                let (old, young): (Vec<_>, Vec<_>) = places
                    .into_iter()
                    .partition(|place| place.entry < kept_from);
                traces
                    .tags
                    .extend(old.into_iter().map(|place| (kind, *tag, place)));
                traces.keep(tag, !young.is_empty());
            }
        }
        for (order, tag) in pairs {
            // Another erasure may have replaced the pair since, and the count must not rise.
            if !store.has_order_pair(&order, &tag).map_err(fault(FAILED))? {
                continue;
            }
            let ended = self
                .book
                .life(&order)?
                .map_or(Timestamp::MAX, |life| life.not_after);
            if ended < before {
                traces.pairs.push((order, tag));
            } else {
                traces.keep(&tag, true);
            }
        }
        // By then all present traces are old enough, except those that an order still counts by:
        // the next pass looks at these again.
        traces.due = (self.book.now() + self.evidence + MARGIN).as_second();
        Ok(traces)
    }
}

/// Traces of some tags.
#[derive(Default)]
pub(super) struct PersonTraces {
    tags: Vec<(TagKind, [u8; 16], TagPlace)>,
    pairs: Vec<CountedPair>,
    /// Tags with traces that are not old enough.
    young: HashSet<[u8; 16]>,
    /// When those are examined again (Unix seconds).
    due: i64,
}

impl PersonTraces {
    fn keep(&mut self, tag: &[u8; 16], is_young: bool) {
        if is_young {
            self.young.insert(*tag);
        }
    }

    /// Destroys those that are old enough, and stores when to examine the others.
    pub(super) fn destroy(&self, store: &Store, batch: &mut RowBatch) {
        self.tags
            .iter()
            .for_each(|(kind, tag, place)| store.delete_tag(batch, *kind, tag, *place));
        for (order, tag) in &self.pairs {
            store.replace_order_pair(batch, order, tag, &crate::clock::random());
        }
        self.young
            .iter()
            .for_each(|tag| store.put_erasure_due(batch, self.due, tag));
    }
}

/// Destroys the traces of erased persons that have become old enough, at a vault or a node. Returns
/// how many tags it examined.
///
/// # Errors
/// [`Code::Internal`](crate::code::Code::Internal),
/// [`Code::AuditUnavailable`](crate::code::Code::AuditUnavailable).
pub fn destroy_due(entity: &Entity) -> Result<usize, Refusal> {
    let side = &TraceSide::of(entity);
    let due = side
        .book
        .store()
        .erasures_due(side.proven.as_second())
        .map_err(fault(FAILED))?;
    if due.is_empty() {
        return Ok(0);
    }
    let tags = due.iter().map(|due| due.tag).collect();
    let pairs = side.pairs(&tags)?;
    let _orders = side.book.lock_orders();
    let traces = side.traces(&tags, pairs)?;
    let (count, id) = (due.len(), crate::clock::random_uuid());
    let change: Change = Box::new(move |store, batch| {
        due.iter()
            .for_each(|due| store.delete_erasure_due(batch, due));
        traces.destroy(store, batch);
        store.put_scrub_due(batch, id);
    });
    // The erasure itself was logged, and this follows from it by law.
    side.committer
        .change_unlogged(change)
        .map_err(Refusal::unavailable)?;
    Ok(count)
}
