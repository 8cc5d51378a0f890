//! The vault's first step: check, count, log, hand out the next page.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use super::{PAGE, Page, PageRequest, Run, Slice, Way, check_room, pairs};
use crate::access::NodePermit;
use crate::audit::{AuditReceipt, Event, MigrationPage};
use crate::code::Code;
use crate::commit::Change;
use crate::order::book::Book;
use crate::order::{ActiveOrder, Continuity};
use crate::refusal::{Refusal, fault, not_logged};
use crate::reidentify::release::{check_peer, check_step, domain, prove};
use crate::reidentify::{Checked, FAILED, check_clock, check_order, enter, hex, notes, rate, seen};
use crate::seal::SealError;
use crate::store::{MigrationRow, OpenPage};
use crate::vault::Vault;

/// The epochs of an order for continuity.
///
/// # Errors
/// [`Code::OrderRule`] for any other order.
pub(super) fn epochs(order: &ActiveOrder) -> Result<Continuity, Refusal> {
    let other = || Refusal::new(Code::OrderRule, "only an order for continuity migrates");
    order.continuity().ok_or_else(other)
}

/// Hands out the next page of an epoch's mappings, or the last one again where it was not taken.
///
/// # Errors
/// A [`Refusal`] of the whole; nothing was counted then, and nothing is handed out.
pub fn hand_out(vault: &Vault, permit: &NodePermit, asked: &PageRequest) -> Result<Page, Refusal> {
    check_peer(vault, permit, &asked.register)?;
    check_room(vault)?;
    let _place = enter(vault.orders(), &permit.authority.id, Duration::ZERO)?;
    // Signatures, formats and digests are verified before anybody has to wait.
    let book = Book::from(vault);
    check_step(&book, permit, &asked.acts)?;
    let (order, authority, mark) = (&asked.asked, &permit.authority, vault.committer().clock_mark());
    let checked = check_order(&order.order, &order.request, &order.sector, &[], &authority.id, &book, mark)?;
    let epochs = epochs(&checked.order)?;

    let CommittedPage { receipt, progress, runs, alarm } = commit(vault, permit, &asked.acts, &checked, epochs)?;
    if let Some(alarm) = alarm {
        vault.release_alarms.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let recorded = vault.committer().record(vault.now(), alarm, vec![], vec![]);
        recorded.map_err(not_logged("nothing is handed out"))?;
    }
    Ok(Page {
        register: hex(&vault.register().digest),
        proof: prove(vault, &receipt)?,
        entry: receipt.position(),
        used: progress.handed_out,
        page: progress.page,
        runs: runs.runs,
        segments: runs.segments,
    })
}

/// A page that is durable.
struct CommittedPage {
    receipt: AuditReceipt,
    progress: MigrationRow,
    runs: Runs,
    alarm: Option<Event>,
}

/// Counts, reads and commits. From reading how far it has come to committing it nobody else releases or migrates, and no act
/// comes in between.
fn commit(
    vault: &Vault,
    permit: &NodePermit,
    acts: &str,
    checked: &Checked,
    epochs: Continuity,
) -> Result<CommittedPage, Refusal> {
    let _orders = Book::from(vault).lock_orders();
    // Only now: an order may end, and an act may come, while one waits.
    let book = Book::from(vault);
    check_clock(&book, vault.committer().clock_mark())?;
    check_step(&book, permit, acts)?;
    seen(checked, &book)?;
    let way = Way::open(vault, &checked.sector.name, epochs)?;
    // What the writer has begun is over before the first chunk is read; after that nothing is merged.
    vault.index().partition(way.id()).hold();
    vault.committer().settled();

    let (mut progress, slice) = next(vault, &way, checked)?;
    let runs = Runs::of(vault, &way, &slice)?;
    let items = slice.items as u64;
    let rate = rate::take(vault.store(), rate::Counted::Migrations, &permit.authority, items, book.now())?;
    if items == 0 {
        progress.open = None;
    }
    let entry = entry(checked, epochs, progress.page, items);
    let order = checked.order.key();
    let step: Change = Box::new(move |store, batch| store.put_migration(batch, &order, progress));
    let changes = vec![notes(checked, &book, progress.handed_out)?, step, rate.change()];
    let recorded = vault.committer().record(book.now(), Event::MigrationRelease(Box::new(entry)), vec![], changes);
    let receipt = recorded.map_err(not_logged("nothing is handed out"))?;
    Ok(CommittedPage { receipt, progress, runs, alarm: rate.alarm(book.now()) })
}

/// The page that is next, and how far it has come with it.
fn next(vault: &Vault, way: &Way, checked: &Checked) -> Result<(MigrationRow, Slice), Refusal> {
    let (order, request) = (&checked.order, checked.request.id());
    let begin = || MigrationRow {
        sector: checked.sector.uuid,
        from: way.from.row.epoch,
        to: way.to.row.epoch,
        next: 1,
        page: 0,
        handed_out: 0,
        migrated: 0,
        skipped: 0,
        open: None,
    };
    let mut progress = vault.store().migration(&order.key()).map_err(fault(FAILED))?.unwrap_or_else(begin);
    if let Some(open) = progress.open {
        // Killed, or lost, in between: the same again, which was counted already.
        let slice = way.read(vault, progress.next, Some(open.until), open.items as usize)?;
        if slice.items > 0 {
            progress.open = Some(OpenPage { request, items: slice.items as u32, ..open });
            return Ok((progress, slice));
        }
    }
    let left = order.limit().saturating_sub(progress.handed_out);
    let most = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
    let slice = way.read(vault, progress.next, None, most.max(1))?;
    if left == 0 && slice.items > 0 {
        return Err(Refusal::new(Code::LimitReached, "as many mappings as the order allows were handed out"));
    }
    if slice.items > 0 {
        progress.page += 1;
        progress.handed_out += slice.items as u64;
        progress.open = Some(OpenPage { request, until: slice.until, items: slice.items as u32 });
    }
    Ok((progress, slice))
}

/// A page as the node gets it.
struct Runs {
    runs: Vec<Run>,
    segments: Vec<String>,
}

impl Runs {
    /// # Errors
    /// [`Code::NoMigrationKey`] where there is nobody whom the pairs could be sealed to: better before than after.
    fn of(vault: &Vault, way: &Way, slice: &Slice) -> Result<Self, Refusal> {
        let mut runs = Self { runs: vec![], segments: vec![] };
        let mut places = BTreeMap::new();
        for (chunk, count) in &slice.chunks {
            pairs::recipients(vault.register(), &way.state.sector.name, chunk.scope())?;
            let next = places.len();
            let segment = *places.entry(*chunk.segment()).or_insert(next);
            if segment == runs.segments.len() {
                let record = vault.store().segment(chunk.segment()).map_err(fault(FAILED))?.unwrap_or_default();
                runs.segments.push(BASE64URL_NOPAD.encode(&record));
            }
            let records = chunk.records().take(*count).map(|record| Ok(BASE64URL_NOPAD.encode(&record?.to_bytes())));
            let records = records.collect::<Result<_, SealError>>().map_err(fault(FAILED))?;
            runs.runs.push(Run { domain: domain(chunk.scope(), way.from.row.epoch), segment, records });
        }
        Ok(runs)
    }
}

/// What both sides write down of a page.
pub(super) fn entry(checked: &Checked, epochs: Continuity, page: u32, items: u64) -> MigrationPage {
    MigrationPage {
        authority: checked.order.authority().clone(),
        officer: checked.request.officer().clone(),
        order: checked.order.id().to_string(),
        order_digest: hex(checked.order.digest()),
        request: checked.request.id().to_string(),
        case: checked.order.case().to_owned(),
        sector: checked.sector.name.clone(),
        from: epochs.from,
        to: epochs.to,
        page,
        items,
        vault_entry: None,
        vault_path: vec![],
        vault_checkpoint: None,
    }
}
