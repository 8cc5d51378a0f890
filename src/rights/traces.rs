//! The traces of a person beside the log: the tags of entries about them, and the tags by which
//! orders count.
//!
//! They are evidence of who looked at whom, rights officers among them, and so nobody destroys one
//! before it is as old as the register's `evidence-days` say. An erasure destroys those that are
//! old enough and notes the day for the others; what is due is destroyed beside the requests
//! ([`destroy_due`]).

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::FAILED;
use super::resolutions::first_since;
use crate::commit::{Change, Committer};
use crate::entity::Entity;
use crate::order::book::Book;
use crate::refusal::{Refusal, fault};
use crate::store::{OrderKey, RowBatch, Store, TagKind, TagPlace};

/// How much longer a young trace waits: the times of entries may be out of order by an hour, and
/// what is not old enough then would wait for as long again.
const MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// An order and a tag that it counts.
pub(super) type CountedPair = (OrderKey, [u8; 16]);

/// One side, as far as traces lie there.
pub(super) struct TraceSide<'a> {
    pub(super) book: Book<'a>,
    pub(super) committer: &'a Committer,
    /// The time that both sides have reached.
    proven: Timestamp,
    evidence: SignedDuration,
}

impl<'a> TraceSide<'a> {
    /// That of a vault or a node, now.
    pub(super) fn of(entity: &'a Entity) -> Self {
        let evidence = SignedDuration::from_hours(24 * i64::from(entity.register().evidence_days));
        Self {
            book: Book::of(entity),
            committer: entity.committer(),
            proven: entity.proven_time(),
            evidence,
        }
    }

    /// The orders that count some of these tags, each with the tag. It goes through all pairs there
    /// are, so ask before [`Book::lock_orders`] has anybody wait. A pair that comes later is of an
    /// order that is live, which keeps it; and the tag beside the entry, which comes with it, is
    /// young: so it is looked at again.
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

    /// The traces of tags, of which these are the pairs: which of them are old enough to be
    /// destroyed, and which tags have younger ones. It holds only under [`Book::lock_orders`].
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
            // Another erasure may have replaced it since, and the count must not rise.
            if !store.has_order_pair(&order, &tag).map_err(fault(FAILED))? {
                continue;
            }
            let ended = self
                .book
                .life(&order)?
                .map_or(Timestamp::MAX, |life| life.not_after);
            match ended < before {
                true => traces.pairs.push((order, tag)),
                false => traces.keep(&tag, true),
            }
        }
        // Whatever is there now is old enough then, but for what an order still counts by: that is
        // looked at again.
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
    /// When those are looked at again (Unix seconds).
    due: i64,
}

impl PersonTraces {
    fn keep(&mut self, tag: &[u8; 16], is_young: bool) {
        if is_young {
            self.young.insert(*tag);
        }
    }

    /// Destroys those that are old enough, and notes when to look at the others.
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

/// Destroys the traces of persons erased at a vault or a node that have grown old enough since; how
/// many tags were looked at.
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
    // The erasure itself was logged, and that this follows is the law's.
    side.committer
        .change_unlogged(change)
        .map_err(Refusal::unavailable)?;
    Ok(count)
}
