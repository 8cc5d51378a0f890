//! The vault's first step: check, count, log, hand out the next page.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;

use super::{
    EpochPage, EpochPageRequest, EpochPair, EpochSlice, PAGE, RecordRun, check_room, entry, epochs,
    pairs, verify,
};
use crate::access::NodePermit;
use crate::audit::{AuditEvent, Domain};
use crate::code::Code;
use crate::commit::Change;
use crate::execution::at_vault::{HandoutRecord, NodeState, ProvenEntry, VaultRequest};
use crate::execution::rate::RateKind;
use crate::execution::{FAILED, VerifiedRequest};
use crate::id::hex;
use crate::refusal::{Refusal, fault};
use crate::seal::SealError;
use crate::store::{MigrationRow, OpenPage};
use crate::vault::Vault;

/// Hands out the next page of an epoch's mappings, or the last one again if it was not taken.
///
/// # Errors
/// A [`Refusal`] of the page. Nothing was counted then, and nothing is handed out.
pub fn hand_out(
    vault: &Vault,
    permit: &NodePermit,
    asked: &EpochPageRequest,
) -> Result<EpochPage, Refusal> {
    let EpochPageRequest {
        register,
        acts,
        held,
        asked,
    } = asked;
    let held = held.as_deref();
    let node = NodeState {
        register,
        acts,
        held,
    };
    let request = VaultRequest::admit(vault, permit, node, check_room)?;
    let verified = request.verify(|book, mark| verify(asked, &permit.authority.id, book, mark))?;
    let epochs = epochs(&verified.order)?;

    let turn = request.turn(&verified)?;
    let pair = EpochPair::open(vault, &verified.sector.name, epochs)?;
    // Merges stop and the writer finishes what it has begun before the first chunk is read.
    vault.index().partition(pair.id()).hold();
    vault.committer().settled();
    let (mut progress, slice) = next(vault, &pair, &verified)?;
    let PageContent { runs, segments } = PageContent::of(vault, &pair, &slice)?;
    let items = slice.items as u64;
    let rate = turn.take_rate(RateKind::Migrations, items)?;
    if items == 0 {
        progress.open = None;
    }
    let (page, used, order) = (progress.page, progress.handed_out, verified.order.key());
    let step: Change = Box::new(move |store, batch| store.put_migration(batch, &order, progress));
    let event = AuditEvent::MigrationRelease(Box::new(entry(&verified, epochs, page, items)));
    let record = HandoutRecord {
        event,
        tags: vec![],
        changes: vec![step],
        used,
        rate,
    };
    let ProvenEntry {
        position,
        proof,
        tail,
    } = turn.commit(record, "nothing is handed out")?;
    Ok(EpochPage {
        register: hex(&vault.register().digest),
        entry: position,
        proof,
        used,
        page,
        runs,
        segments,
        tail,
    })
}

/// The next page, and the order's progress with it.
fn next(
    vault: &Vault,
    pair: &EpochPair,
    verified: &VerifiedRequest,
) -> Result<(MigrationRow, EpochSlice), Refusal> {
    let (order, request) = (&verified.order, verified.request.id());
    let begin = || MigrationRow {
        sector: verified.sector.uuid,
        from: pair.from.row.epoch,
        to: pair.to.row.epoch,
        next: 1,
        page: 0,
        handed_out: 0,
        migrated: 0,
        skipped: 0,
        open: None,
    };
    let mut progress = vault
        .store()
        .migration(&order.key())
        .map_err(fault(FAILED))?
        .unwrap_or_else(begin);
    if let Some(open) = progress.open {
        // The page was lost or a side was killed: hand out the same records again, which are
        // counted already.
        let slice = pair.read(vault, progress.next, Some(open.until), open.items as usize)?;
        if slice.items > 0 {
            progress.open = Some(OpenPage {
                request,
                items: slice.items as u32,
                ..open
            });
            return Ok((progress, slice));
        }
    }
    let left = order.limit().saturating_sub(progress.handed_out);
    let most = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
    let slice = pair.read(vault, progress.next, None, most.max(1))?;
    if left == 0 && slice.items > 0 {
        return Err(Refusal::new(
            Code::LimitReached,
            "as many mappings as the order allows were handed out",
        ));
    }
    if slice.items > 0 {
        progress.page += 1;
        progress.handed_out += slice.items as u64;
        progress.open = Some(OpenPage {
            request,
            until: slice.until,
            items: slice.items as u32,
        });
    }
    Ok((progress, slice))
}

/// The records of a page as the node gets them, with their segments.
struct PageContent {
    runs: Vec<RecordRun>,
    segments: Vec<String>,
}

impl PageContent {
    /// # Errors
    /// [`Code::NoMigrationKey`] if the pairs could be sealed to no client: the page must not be
    /// counted then.
    fn of(vault: &Vault, pair: &EpochPair, slice: &EpochSlice) -> Result<Self, Refusal> {
        let mut runs = Self {
            runs: vec![],
            segments: vec![],
        };
        let mut places = BTreeMap::new();
        for (chunk, count) in &slice.chunks {
            pairs::recipients(vault.register(), &pair.state.sector.name, chunk.scope())?;
            let next = places.len();
            let segment = *places.entry(*chunk.segment()).or_insert(next);
            if segment == runs.segments.len() {
                let record = vault
                    .store()
                    .segment(chunk.segment())
                    .map_err(fault(FAILED))?
                    .unwrap_or_default();
                runs.segments.push(BASE64URL_NOPAD.encode(&record));
            }
            let records = chunk
                .records()
                .take(*count)
                .map(|record| Ok(BASE64URL_NOPAD.encode(&record?.to_bytes())));
            let records = records
                .collect::<Result<_, SealError>>()
                .map_err(fault(FAILED))?;
            runs.runs.push(RecordRun {
                domain: Domain::of(chunk.scope(), pair.from.row.epoch),
                segment,
                records,
            });
        }
        Ok(runs)
    }
}
