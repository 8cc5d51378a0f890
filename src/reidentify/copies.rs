//! An order's own copies. When the vault first sees a valid order that lists pseudonyms, it copies
//! their sealed mappings into the order's rows, in that commit. A pseudonym without a mapping then
//! is copied when it is asked for and has one. An order with a limit and no list gets copies of
//! what is asked for. Releases are made from the copies.
//!
//! So erasures, retired epochs and sweeps need not regard orders: the mapping goes, and the order
//! uses its copy until it is over or revoked ([`end`]). A copy is the mapping as it was sealed,
//! wrapped once more under the present storage key; it names its segment, which stays in the store,
//! and so is renewed with all others ([`crate::renewal`]).

pub mod end;
pub mod start;

use std::collections::{HashMap, HashSet};

use crate::code::Code;
use crate::commit::Change;
use crate::execution::FAILED;
use crate::keys::DomainScope;
use crate::order::OrderScope;
use crate::pseudonym::{ParsedPseudonym, Pseudonym};
use crate::refusal::{Refusal, fault};
use crate::seal::SealError;
use crate::seal::chunk::{Chunk, ChunkBuilder, ChunkCipher};
use crate::seal::segment::SegmentId;
use crate::store::{CopiesRow, CopyRow, OrderKey, copy_location};
use crate::vault::{SectorState, StartError, Vault};

/// A mapping as it is handed out: sealed to the authority, with its place.
pub(super) struct SealedMapping {
    pub(super) epoch: u32,
    pub(super) segment: SegmentId,
    pub(super) scope: DomainScope,
    /// [`RecordView::to_bytes`](crate::seal::mapping::RecordView::to_bytes)
    pub(super) record: Vec<u8>,
}

impl SealedMapping {
    /// The mapping of a pseudonym, if the chunk holds it.
    fn of(chunk: &Chunk, epoch: u32, pseudonym: &Pseudonym) -> Result<Option<Self>, SealError> {
        let record = chunk.find(pseudonym)?.map(|record| record.to_bytes());
        Ok(record.map(|record| Self {
            epoch,
            segment: *chunk.segment(),
            scope: chunk.scope().clone(),
            record,
        }))
    }

    /// The row of an order's copy: a chunk of this one record.
    fn wrap(
        &self,
        cipher: &ChunkCipher,
        order: &OrderKey,
        tag: &[u8; 16],
        pseudonym: Pseudonym,
    ) -> CopyRow {
        let mut chunk = ChunkBuilder::new(&self.segment, &self.scope, 1, self.record.len());
        chunk.push(pseudonym, &self.record);
        CopyRow {
            epoch: self.epoch,
            sealed: cipher.wrap(&copy_location(order, tag, self.epoch), chunk),
        }
    }
}

/// Opens the vault's envelope around a copy.
fn unwrap(
    cipher: &ChunkCipher,
    order: &OrderKey,
    tag: &[u8; 16],
    copy: CopyRow,
) -> Result<Chunk, StartError> {
    cipher
        .unwrap(&copy_location(order, tag, copy.epoch), copy.sealed)
        .map_err(StartError::Copy)
}

/// By pseudonym: its mapping, or why there is none.
pub(super) type MappingsFound = HashMap<ParsedPseudonym, Result<SealedMapping, Code>>;

/// The copies of an order: those that it has, and those that it gets now. To be made and committed
/// under the lock that keeps others from releasing and erasing
/// ([`Book::lock_orders`](crate::order::book::Book::lock_orders)).
pub(super) struct Copies<'v> {
    vault: &'v Vault,
    order: OrderScope<'v>,
    row: CopiesRow,
    new: HashMap<[u8; 16], CopyRow>,
}

impl<'v> Copies<'v> {
    pub(super) fn of(vault: &'v Vault, order: OrderScope<'v>) -> Result<Self, Refusal> {
        let known = vault
            .store()
            .order_copies(&order.key)
            .map_err(fault(FAILED))?;
        let row = CopiesRow {
            until: order.until.as_second(),
            whole: known.is_some_and(|row| row.whole),
        };
        Ok(Self {
            vault,
            order,
            row,
            new: HashMap::new(),
        })
    }

    /// Whether every listed pseudonym was looked up before.
    pub(super) fn are_whole(&self) -> bool {
        self.row.whole
    }

    /// Looks up pseudonyms of a sector in the order's copies, then in the store. Mappings found in
    /// the store are copied.
    pub(super) fn look_up(
        &mut self,
        state: &SectorState,
        asked: HashSet<ParsedPseudonym>,
    ) -> Result<MappingsFound, Refusal> {
        let (mut found, mut lacking) = (MappingsFound::new(), vec![]);
        for parsed in asked {
            match self.own(state, &parsed).map_err(fault(FAILED))? {
                Some(mapping) => drop(found.insert(parsed, Ok(mapping))),
                None => lacking.push(parsed),
            }
        }
        let each = |parsed, mapping| drop(found.insert(parsed, Ok(mapping)));
        let absent = self.copy(state, lacking, each).map_err(fault(FAILED))?;
        found.extend(absent.into_iter().map(|(parsed, code)| (parsed, Err(code))));
        Ok(found)
    }

    /// Copies the mappings of all listed pseudonyms that have no copy yet, unless that was done
    /// before.
    pub(super) fn complete(&mut self) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.row.whole, true) {
            return Ok(());
        }
        for (sector, listed) in self.order.listed {
            let state = self
                .vault
                .sector(sector)
                .ok_or("a sector of the register has no state")
                .map_err(fault(FAILED))?;
            let mut lacking = vec![];
            for parsed in listed {
                let tag = self.tag(state, parsed);
                let has = self.new.contains_key(&tag)
                    || self
                        .vault
                        .store()
                        .order_copy(&self.order.key, &tag)
                        .map_err(fault(FAILED))?
                        .is_some();
                if !has {
                    lacking.push(*parsed);
                }
            }
            self.copy(state, lacking, |_, _| {})
                .map_err(fault(FAILED))?;
        }
        Ok(())
    }

    /// What the commit writes.
    pub(super) fn change(self) -> Change {
        let Self {
            order: OrderScope { key: order, .. },
            row,
            new,
            ..
        } = self;
        Box::new(move |store, batch| {
            store.put_order_copies(batch, &order, row);
            new.iter()
                .for_each(|(tag, copy)| store.put_order_copy(batch, &order, tag, copy));
        })
    }

    fn tag(&self, state: &SectorState, parsed: &ParsedPseudonym) -> [u8; 16] {
        self.vault
            .audit_key()
            .tag(state.sector.uuid, &parsed.pseudonym)
    }

    /// The order's own copy, even if the mapping or its epoch is gone.
    fn own(
        &self,
        state: &SectorState,
        parsed: &ParsedPseudonym,
    ) -> Result<Option<SealedMapping>, StartError> {
        let tag = self.tag(state, parsed);
        let Some(copy) = self.vault.store().order_copy(&self.order.key, &tag)? else {
            return Ok(None);
        };
        let epoch = copy.epoch;
        if !state.epoch(epoch).is_some_and(|epoch| epoch.writes(parsed)) {
            return Ok(None);
        }
        let chunk = unwrap(self.vault.cipher(), &self.order.key, &tag, copy)?;
        SealedMapping::of(&chunk, epoch, &parsed.pseudonym).map_err(StartError::Copy)
    }

    /// Copies the mappings that are stored and hands them to `each`; returns why the others have
    /// none.
    fn copy(
        &mut self,
        state: &SectorState,
        lacking: Vec<ParsedPseudonym>,
        mut each: impl FnMut(ParsedPseudonym, SealedMapping),
    ) -> Result<HashMap<ParsedPseudonym, Code>, StartError> {
        let mut damaged = None;
        let mut absent = self.vault.each_stored(state, lacking, |key, chunk, held| {
            for parsed in held {
                match SealedMapping::of(&chunk, key.epoch, &parsed.pseudonym) {
                    Ok(Some(mapping)) => {
                        let tag = self
                            .vault
                            .audit_key()
                            .tag(state.sector.uuid, &parsed.pseudonym);
                        let row = mapping.wrap(
                            self.vault.cipher(),
                            &self.order.key,
                            &tag,
                            parsed.pseudonym,
                        );
                        self.new.insert(tag, row);
                        each(parsed, mapping);
                    }
                    // The chunk was found to hold it.
                    Ok(None) => {}
                    Err(error) => damaged = Some(error),
                }
            }
        })?;
        absent.codes.extend(
            absent
                .missing
                .into_iter()
                .map(|parsed| (parsed, Code::NoMapping)),
        );
        match damaged {
            Some(error) => Err(StartError::Copy(error)),
            None => Ok(absent.codes),
        }
    }
}
