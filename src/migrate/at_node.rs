//! The authority node's step: check, ask the vault, log, open, hand back. What it opens goes to the vault and nowhere else.

use data_encoding::BASE64URL_NOPAD;

use super::hand_out::{entry, epochs};
use super::{Handed, Identifier, Migrated, MigrationAsked, MigrationLink, Page, PageRequest, Run, Taken};
use crate::access::OfficerPermit;
use crate::audit::{AuditReceipt, Event};
use crate::code::Code;
use crate::keys::DomainScope;
use crate::node::Node;
use crate::order::ActiveOrder;
use crate::order::book::Book;
use crate::refusal::{Refusal, not_logged};
use crate::register::Sector;
use crate::reidentify::reveal::{Wiped, check_proof, check_watched, in_step, is_about, open_segment, sealed};
use crate::reidentify::{Checked, NODE_PATIENCE, ask_alone, check_count, check_order, enter, hex, notes, seen};
use crate::seal::mapping::{Location, RecordView};
use crate::seal::segment::OpenedSegment;

/// Migrates the next page, on an officer's request.
///
/// # Errors
/// A [`Refusal`] of the whole. Nothing is lost then: the officer asks again.
pub fn ask(
    node: &Node,
    permit: &OfficerPermit,
    asked: &MigrationAsked,
    vault: &dyn MigrationLink,
) -> Result<Migrated, Refusal> {
    let register = node.register();
    if node.safe().is_sealed() {
        return Err(sealed());
    }
    if node.is_short_of_space() {
        return Err(Refusal::unavailable(Code::AuditUnavailable));
    }
    node.committer().admit().map_err(Refusal::unavailable)?;
    let _place = enter(node.orders(), &node.authority().id, NODE_PATIENCE)?;
    let mark = node.committer().clock_mark();
    let (own, book) = (&node.authority().id, Book::from(node));
    let checked = check_order(&asked.order, &asked.request, &asked.sector, &[], own, &book, mark)?;
    let epochs = epochs(&checked.order)?;
    if checked.request.officer() != &permit.officer {
        let why = "the request is signed by another officer than the one who asks";
        return Err(Refusal::new(Code::RequestInvalid, why));
    }
    let digest = hex(&register.digest);
    let _asking = ask_alone(node, &checked.order)?;
    let page = in_step(node, vault.as_vault(), |acts| {
        vault.migration_page(&PageRequest { register: digest.clone(), acts, asked: asked.clone() })
    })?;
    if page.register != digest {
        return Err(Refusal::new(Code::RegisterMismatch, "the vault holds another register"));
    }
    let items: u64 = page.runs.iter().map(|run| run.records.len() as u64).sum();
    let about = |said: &serde_json::Value| {
        is_about(said, "migration-release", &checked) && said["page"] == page.page && said["items"] == items
    };
    let proof = check_proof(register, &page.proof, &page.entry, about)?;
    check_watched(node)?;

    // From here to the commit nobody else reveals and no act is taken: what came meanwhile counts.
    let orders = Book::from(node).lock_orders();
    let book = Book::from(node);
    seen(&checked, &book)?;
    check_count(&checked.order, &book, page.used)?;
    let notes = notes(&checked, &book, page.used)?;
    let mut entry = entry(&checked, epochs, page.page, items);
    let Checked { order, request, sector } = checked;
    let mut migrated = Migrated {
        order: order.id().to_string(),
        sector: sector.name.clone(),
        from: epochs.from,
        to: epochs.to,
        page: page.page,
        entry: None,
        progress: Taken { migrated: 0, skipped: 0, seen: page.used, total: page.used, done: true },
    };
    if items == 0 {
        return Ok(migrated);
    }
    entry.vault_entry = Some(page.entry.clone());
    entry.vault_path = proof.path.iter().map(|hash| hex(hash)).collect();
    entry.vault_checkpoint = Some(proof.checkpoint);
    let recorded = node.committer().record(book.now(), Event::MigrationReveal(Box::new(entry)), vec![], vec![notes]);
    let receipt = recorded.map_err(not_logged("nothing is opened"))?;
    drop(orders);

    migrated.entry = Some(receipt.index());
    let id = order.id();
    let identifiers = open(node, order, receipt, &sector, epochs.from, &page)?;
    let handed = Handed { register: digest, order: id, request: request.id(), page: page.page, identifiers };
    migrated.progress = vault.hand_back(&handed)?;
    Ok(migrated)
}

/// Opens a page. Takes the order and the receipt by value, as every opening does.
fn open(
    node: &Node,
    _order: ActiveOrder,
    _receipt: AuditReceipt,
    sector: &Sector,
    epoch: u32,
    page: &Page,
) -> Result<Vec<Option<Identifier>>, Refusal> {
    let segments: Option<Vec<_>> = node.safe().open(node.now(), |keys| {
        let open = |text: &String| open_segment(node, keys, sector, text);
        // Somebody may have sealed while the vault was asked.
        (!keys.is_empty()).then(|| page.segments.iter().map(open).collect())
    });
    let segments = segments.ok_or_else(sealed)?;
    let mut identifiers = vec![];
    for run in &page.runs {
        let segment = segments.get(run.segment).and_then(Option::as_ref).filter(|_| run.domain.epoch == epoch);
        let location = location(sector, run);
        identifiers.extend(run.records.iter().map(|record| one(segment?, &location, record)));
    }
    let unopened = identifiers.iter().filter(|identifier| identifier.is_none()).count();
    if unopened > 0 {
        tracing::warn!(unopened, "mappings of an epoch that is migrated do not open");
    }
    Ok(identifiers)
}

fn location(sector: &Sector, run: &Run) -> Location {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (controller, purpose, period) = (&run.domain.controller, &run.domain.purpose, &run.domain.period);
    let scope = DomainScope { controller: text(controller), purpose: text(purpose), period: text(period) };
    Location::new(sector.uuid, run.domain.epoch, &scope)
}

fn one(segment: &OpenedSegment, location: &Location, record: &str) -> Option<Identifier> {
    let bytes = BASE64URL_NOPAD.decode(record.as_bytes()).ok()?;
    let mapping = RecordView::parse(&bytes).ok()?.open(segment, location.clone()).ok()?;
    Some(Identifier { scheme: mapping.scheme, value: Wiped(mapping.value) })
}
