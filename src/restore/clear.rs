//! What a backup has and the end of the log has not: chunks of retired epochs, erased mappings with
//! their salts and tags, pairs that were acknowledged. It goes before a server opens the store.
//!
//! | what | how it is found |
//! |---|---|
//! | chunks of retired epochs | the rows of retired epochs, which the side records brought |
//! | erased mappings | tombstones that the backup has not: one walk over the chunks of their sectors |
//! | salts over them | by sector, domain and time, as an erasure does |
//! | tags that were destroyed | they had a day in the backup and have none any more: as far as they were old enough on that day |
//! | tags of those erased mappings | noted as due: the start's task destroys those that are old enough |
//! | acknowledged pairs | counted in the log: a sector system takes its pages in order |
//! | copies of orders | by the orders' ends and revocations, which the side records brought |
//!
//! Sequences
//! of chunks begin above all that were ever given out, because migrations remember them.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::RestoreError;
use super::replay::ReplayedLog;
use crate::keys::AuditKey;
use crate::order::book::was_revoked;
use crate::pseudonym::Pseudonym;
use crate::register::Register;
use crate::rights::erase::{MappingDomain, salts};
use crate::rights::resolutions::first_since;
use crate::seal::chunk::{Chunk, ChunkBuilder, ChunkCipher};
use crate::seal::segment;
use crate::store::{ChunkKey, ErasureDue, RowBatch, Store, StoreError, TagKind};

/// Rows in one commit.
const TOGETHER: usize = 256;
/// How far sequences begin above those that may have been given out.
const MARGIN: u64 = 1 << 16;

/// What is needed to find what was destroyed.
pub struct ClearingKeys<'c> {
    /// Makes tags and tombstones.
    pub audit: &'c AuditKey,
    /// Opens and wraps chunks; a node has none.
    pub chunks: Option<&'c ChunkCipher>,
    /// The register in force, for the names of sectors.
    pub register: &'c Register,
}

/// What the backup has that an erasure may have destroyed since.
pub struct ErasureState {
    tombstones: BTreeSet<(Uuid, [u8; 16])>,
    due: Vec<ErasureDue>,
}

/// What was destroyed again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClearedRows {
    /// Retired epochs with chunks.
    pub epochs: u64,
    /// Erased mappings.
    pub mappings: u64,
    /// Salts of entries.
    pub salts: u64,
    /// Pages of pairs that were acknowledged.
    pub pages: u64,
    /// Orders with copies that are over or revoked.
    pub orders: u64,
    /// Tags beside entries about erased persons.
    pub tags: u64,
}

impl ErasureState {
    /// Reads it. Call it before the log is brought.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn of(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            tombstones: store.all_tombstones()?,
            due: store.erasures_due(i64::MAX)?,
        })
    }
}

/// Destroys what was destroyed after the backup, and sets the floors of sequences.
///
/// # Errors
/// [`RestoreError`]; the store is of no use then.
pub fn clear(
    store: &Store,
    before: &ErasureState,
    replayed: &ReplayedLog,
    keys: &ClearingKeys<'_>,
) -> Result<ClearedRows, RestoreError> {
    let mut cleared = ClearedRows {
        epochs: retired(store)?,
        ..ClearedRows::default()
    };
    if let Some(cipher) = keys.chunks {
        let since: Vec<_> = store
            .all_tombstones()?
            .difference(&before.tombstones)
            .copied()
            .collect();
        let mut sectors: HashMap<Uuid, BTreeSet<[u8; 16]>> = HashMap::new();
        for (sector, tombstone) in since {
            sectors.entry(sector).or_default().insert(tombstone);
        }
        for (sector, tombstones) in &sectors {
            let walk = ErasureWalk {
                store,
                cipher,
                keys,
                sector: *sector,
                tombstones,
            };
            let (mappings, salts) = walk.run()?;
            cleared.mappings += mappings;
            cleared.salts += salts;
        }
    }
    cleared.pages = acknowledged(store, replayed)?;
    cleared.orders = over(store)?;
    let mut batch = RowBatch::default();
    let evidence = SignedDuration::from_hours(24 * i64::from(keys.register.evidence_days));
    cleared.tags = tags(store, before, evidence, &mut batch)?;
    let lost = replayed.lost.total().identifiers;
    // There were at most twice as many chunks as identifiers, since small ones are merged into
    // others.
    floors(
        store,
        &mut batch,
        lost.saturating_mul(2).saturating_add(MARGIN),
    )?;
    store.put_scrub_due(&mut batch, crate::clock::random_uuid());
    store.commit(batch)?;
    Ok(cleared)
}

/// Destroys the copies of orders that are over by the latest time that the log knows, or revoked:
/// their server may have ended before it did so.
fn over(store: &Store) -> Result<u64, RestoreError> {
    let (mut batch, mut orders) = (RowBatch::default(), 0);
    let mark = store.clock_mark()? / 1_000;
    for (order, row) in store.copied_orders()? {
        if row.until <= mark || was_revoked(store, &order).map_err(RestoreError::Act)? {
            orders += 1;
            store.delete_order_copies(&mut batch, &order);
        }
    }
    store.commit(batch)?;
    Ok(orders)
}

/// Destroys tags that were destroyed since the backup. Each had its day in the backup and has none
/// any more: so on that day all went that was as old as the register's `evidence-days` then, and
/// goes again. The start's task looks at the rest, which may have become old enough since.
fn tags(
    store: &Store,
    before: &ErasureState,
    evidence: SignedDuration,
    batch: &mut RowBatch,
) -> Result<u64, RestoreError> {
    let (waiting, mut gone) = (store.tags_due()?, 0);
    for due in before.due.iter().filter(|due| !waiting.contains(&due.tag)) {
        let day = Timestamp::from_second(due.time()).unwrap_or(Timestamp::UNIX_EPOCH);
        let old = day.checked_sub(evidence).unwrap_or(Timestamp::UNIX_EPOCH);
        let kept_from = first_since(store, old).map_err(|_| RestoreError::Salts)?;
        for kind in [TagKind::Resolution, TagKind::LookUp] {
            let places = store.tag_places(kind, &due.tag)?.into_iter();
            for place in places.filter(|place| place.entry < kept_from) {
                gone += 1;
                store.delete_tag(batch, kind, &due.tag, place);
            }
        }
        store.put_erasure_due(batch, 0, &due.tag);
    }
    Ok(gone)
}

/// Deletes the rows of epochs that were retired.
fn retired(store: &Store) -> Result<u64, StoreError> {
    let numbers: HashMap<Uuid, u32> = store.sector_numbers()?.into_iter().collect();
    let (mut batch, mut epochs) = (RowBatch::default(), 0);
    for (sector, epoch, time) in store.retired_epochs()? {
        let Some(number) = numbers.get(&sector) else {
            continue;
        };
        if store.has_chunks(*number, epoch)? {
            epochs += 1;
            store.retire_epoch(&mut batch, sector, epoch, time, (*number, epoch));
        }
    }
    store.commit(batch)?;
    Ok(epochs)
}

/// Has sequences of each partition begin this far above those that the store knows, because there
/// were chunks with them that are lost.
///
/// # Errors
/// [`StoreError`]
pub fn floors(store: &Store, batch: &mut RowBatch, above: u64) -> Result<(), StoreError> {
    for (sector, number) in store.sector_numbers()? {
        for row in store.epochs(sector)? {
            let partition = (number, row.epoch);
            let last = u64::from(store.last_sequence(partition)?);
            // A migration has read so far.
            let read = store.migrations()?.into_iter();
            let read = read
                .filter(|migration| (migration.sector, migration.from) == (sector, row.epoch))
                .map(|migration| u64::from(migration.next))
                .max();
            let floor = last.max(read.unwrap_or(0)).saturating_add(above);
            let floor = u32::try_from(floor).unwrap_or(u32::MAX / 2);
            store.put_sequence_floor(batch, partition, floor);
        }
    }
    Ok(())
}

/// Deletes the pages of pairs that their sector systems acknowledged.
fn acknowledged(store: &Store, replayed: &ReplayedLog) -> Result<u64, StoreError> {
    let (mut batch, mut gone) = (RowBatch::default(), 0);
    for ((client, order), count) in &replayed.acknowledged {
        let orders = store.pairs_orders(client)?.into_iter();
        let named: Vec<_> = orders.filter(|key| key.id.to_string() == *order).collect();
        // Two authorities may use one id; then nobody knows whose pages these were.
        let [key] = named.as_slice() else { continue };
        let mut pages = vec![];
        store.each_pairs(client, Some((key, 0)), |_, page, _| {
            pages.push(page);
            (pages.len() as u64) < *count
        })?;
        gone += pages.len() as u64;
        pages
            .iter()
            .for_each(|page| store.delete_pairs(&mut batch, client, key, *page));
    }
    store.commit(batch)?;
    Ok(gone)
}

/// One walk over the chunks of a sector.
struct ErasureWalk<'w> {
    store: &'w Store,
    cipher: &'w ChunkCipher,
    keys: &'w ClearingKeys<'w>,
    sector: Uuid,
    tombstones: &'w BTreeSet<[u8; 16]>,
}

impl ErasureWalk<'_> {
    /// Removes the erased mappings; returns how many, and how many salts went with them.
    fn run(&self) -> Result<(u64, u64), RestoreError> {
        let numbers = self.store.sector_numbers()?;
        let Some((_, number)) = numbers.iter().find(|(uuid, _)| *uuid == self.sector) else {
            return Ok((0, 0));
        };
        let (mut mappings, mut domains, mut tags) = (0, vec![], vec![]);
        for row in self.store.epochs(self.sector)? {
            let first = ChunkKey {
                sector: *number,
                epoch: row.epoch,
                sequence: 0,
            };
            let mut affected = vec![];
            self.store.chunks_from::<RestoreError>(first, |key, row| {
                let chunk = self.open(key, row)?;
                let erased = self.erased(&chunk);
                if !erased.is_empty() {
                    affected.push((key, chunk, erased));
                }
                Ok(true)
            })?;
            for part in affected.chunks(TOGETHER) {
                let mut batch = RowBatch::default();
                for (key, chunk, erased) in part {
                    mappings += erased.len() as u64;
                    domains.push(self.domain(*key, chunk)?);
                    let tag = |pseudonym| self.keys.audit.tag(self.sector, pseudonym);
                    tags.extend(erased.iter().map(tag));
                    self.rewrite(&mut batch, *key, chunk, erased);
                }
                self.store.commit(batch)?;
            }
        }
        if mappings == 0 {
            return Ok((0, 0));
        }
        let name = self.keys.register.sectors.values();
        let name = name.into_iter().find(|sector| sector.uuid == self.sector);
        let salts = match name {
            Some(sector) => {
                let found = salts(self.store, &sector.name, &domains, None);
                found.map_err(|_| RestoreError::Salts)?.0
            }
            None => vec![],
        };
        let mut batch = RowBatch::default();
        salts
            .iter()
            .for_each(|entry| self.store.delete_salt(&mut batch, *entry));
        tags.iter()
            .for_each(|tag| self.store.put_erasure_due(&mut batch, 0, tag));
        // Moved entries name pseudonyms that are gone.
        self.store.forget_index(&mut batch);
        self.store.commit(batch)?;
        Ok((mappings, salts.len() as u64))
    }

    fn open(&self, key: ChunkKey, row: Vec<u8>) -> Result<Chunk, RestoreError> {
        let opened = self.cipher.unwrap(&key.to_bytes(), row);
        opened.map_err(|error| RestoreError::Chunk { error })
    }

    fn erased(&self, chunk: &Chunk) -> Vec<Pseudonym> {
        let is_erased = |pseudonym: &Pseudonym| {
            let tombstone = self.keys.audit.tombstone(self.sector, pseudonym);
            self.tombstones.contains(&tombstone)
        };
        let records = chunk.records().filter_map(Result::ok);
        let pseudonyms = records.map(|record| record.pseudonym);
        pseudonyms.filter(is_erased).collect()
    }

    fn domain(&self, key: ChunkKey, chunk: &Chunk) -> Result<MappingDomain, RestoreError> {
        let record = self.store.segment(chunk.segment())?.unwrap_or_default();
        let opened = segment::opened_at(&record);
        Ok(MappingDomain {
            epoch: key.epoch,
            scope: chunk.scope().clone(),
            opened: opened.map_err(|error| RestoreError::Chunk { error })?,
        })
    }

    /// Writes a chunk anew without the erased mappings, under its own key.
    fn rewrite(&self, batch: &mut RowBatch, key: ChunkKey, chunk: &Chunk, erased: &[Pseudonym]) {
        let records = chunk.records().filter_map(Result::ok);
        let kept: Vec<_> = records
            .filter(|record| !erased.contains(&record.pseudonym))
            .map(|record| (record.pseudonym, record.to_bytes()))
            .collect();
        if kept.is_empty() {
            return self.store.delete_chunk(batch, key);
        }
        let size = kept.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut plain = ChunkBuilder::new(chunk.segment(), chunk.scope(), kept.len(), size);
        kept.iter()
            .for_each(|(pseudonym, bytes)| plain.push(*pseudonym, bytes));
        let row = self.cipher.wrap(&key.to_bytes(), plain);
        self.store.put_chunk(batch, key, &row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{EntryKeys, ItemTag, OrderKey, PairsRow};

    fn opened() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "test/vault").unwrap();
        (folder, store)
    }

    #[test]
    fn tags_that_were_destroyed_go_again_as_far_as_they_were_old_enough_on_their_day() {
        let (_folder, store) = opened();
        let (gone, waits) = ([7; 16], [8; 16]);
        let day = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let mut batch = RowBatch::default();
        for (number, time) in [(0, "2020-01-01T00:00:00Z"), (1, "2026-01-01T00:00:00Z")] {
            let entry = format!(r#"{{"event":"release","time":"{time}"}}"#);
            let tags = [gone, waits].map(|tag| ItemTag { tag, salt: [1; 16] });
            let keys = EntryKeys::default();
            store.put_audit(&mut batch, number, entry.as_bytes(), None, &tags, keys);
        }
        store.put_erasure_due(&mut batch, day("2026-06-01T00:00:00Z"), &gone);
        store.put_erasure_due(&mut batch, day("2036-06-01T00:00:00Z"), &waits);
        store.commit(batch).unwrap();
        let before = ErasureState::of(&store).unwrap();
        let mut batch = RowBatch::default();
        store.delete_erasure_due(&mut batch, &before.due[0]);
        store.commit(batch).unwrap();

        let mut batch = RowBatch::default();
        let year = SignedDuration::from_hours(24 * 365);
        assert_eq!(tags(&store, &before, year, &mut batch).unwrap(), 1);
        store.commit(batch).unwrap();
        let entries = |tag| -> Vec<u64> {
            let places = store.tag_places(TagKind::Resolution, tag).unwrap();
            places.iter().map(|place| place.entry).collect()
        };
        assert_eq!(entries(&gone), [1], "the young one has its time");
        assert_eq!(entries(&waits), [0, 1], "its day has not come");
        assert!(store.tags_due().unwrap().contains(&gone), "looked at again");
    }

    #[test]
    fn pages_of_pairs_that_were_acknowledged_go_again_and_no_others() {
        let (_folder, store) = opened();
        let order = OrderKey::new("court", uuid::Uuid::from_u128(5));
        let mut batch = RowBatch::default();
        for page in 1..=3 {
            let row = PairsRow {
                order: order.clone(),
                page,
                sealed: b"sealed".to_vec(),
            };
            store.put_pairs(&mut batch, "clinic", &row);
            store.put_pairs(&mut batch, "other", &row);
        }
        store.commit(batch).unwrap();
        let mut replayed = ReplayedLog::default();
        let of = ("clinic".to_owned(), order.id.to_string());
        replayed.acknowledged.insert(of, 2);
        assert_eq!(acknowledged(&store, &replayed).unwrap(), 2);
        let left = |client: &str| {
            let mut pages = vec![];
            let each = |_, page, _: &[u8]| {
                pages.push(page);
                true
            };
            store.each_pairs(client, None, each).unwrap();
            pages
        };
        assert_eq!((left("clinic"), left("other")), (vec![3], vec![1, 2, 3]));
    }
}
