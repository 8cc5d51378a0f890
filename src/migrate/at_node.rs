//! The authority node's step: check, ask the vault, log, open, send back. The opened identifiers go
//! to the vault and nowhere else.

use super::{
    EpochPage, EpochPageRequest, MigrateRequest, MigrateResponse, MigratedIdentifier,
    MigrationProgress, OpenedPage, entry, epochs, verify,
};
use crate::access::OfficerPermit;
use crate::audit::AuditEvent;
use crate::code::Code;
use crate::execution::at_node::{NodeRequest, VaultHandout as _};
use crate::execution::opening::{MappingOpener, WipedText};
use crate::id::hex;
use crate::link::VaultLink;
use crate::node::Node;
use crate::order::Continuity;
use crate::refusal::Refusal;

/// Migrates the next page, on an officer's request.
///
/// # Errors
/// A [`Refusal`] of the page. Nothing is lost then: the officer asks again.
pub fn ask(
    node: &Node,
    permit: &OfficerPermit,
    asked: &MigrateRequest,
    vault: &dyn VaultLink,
) -> Result<MigrateResponse, Refusal> {
    let request = NodeRequest::admit(node, permit, Refusal::unavailable(Code::AuditUnavailable))?;
    let verified = request.verify(|book, mark| verify(asked, &node.authority().id, book, mark))?;
    let epochs = epochs(&verified.order)?;
    let _asking = request.ask_alone(&verified.order)?;
    let page = request.ask(vault, |words| EpochPageRequest {
        register: words.register,
        acts: words.acts,
        held: words.held,
        asked: asked.clone(),
    })?;
    let items: u64 = page.runs.iter().map(|run| run.records.len() as u64).sum();
    let is_it = |entry: &serde_json::Value| entry["page"] == page.page && entry["items"] == items;
    let turn = request.turn(verified, &page.statement(), "migration-release", is_it)?;
    let mut migrated = MigrateResponse {
        order: turn.verified.order.id().to_string(),
        sector: turn.verified.sector.name.clone(),
        from: epochs.from,
        to: epochs.to,
        page: page.page,
        entry: None,
        progress: MigrationProgress {
            migrated: 0,
            skipped: 0,
            seen: page.used,
            total: page.used,
            done: true,
        },
    };
    if items == 0 {
        return Ok(migrated);
    }
    let mut entry = entry(&turn.verified, epochs, page.page, items);
    let (vault_entry, path, checkpoint) = turn.vault_entry();
    (entry.vault_entry, entry.vault_path, entry.vault_checkpoint) =
        (Some(vault_entry), path, Some(checkpoint));
    let logged = turn.commit(AuditEvent::MigrationReveal(Box::new(entry)), vec![], vec![])?;
    let (order, request_id) = (logged.order.id(), logged.request.id());
    let opener = MappingOpener::new(
        node,
        logged.order,
        logged.receipt,
        logged.sector,
        &page.segments,
    )?;
    migrated.entry = Some(opener.entry());
    let opened = OpenedPage {
        register: hex(&node.register().digest),
        order,
        request: request_id,
        page: page.page,
        identifiers: open(&opener, epochs, &page),
    };
    migrated.progress = vault.ask(&opened)?;
    Ok(migrated)
}

/// Opens a page, record by record.
fn open(
    opener: &MappingOpener,
    epochs: Continuity,
    page: &EpochPage,
) -> Vec<Option<MigratedIdentifier>> {
    let mut identifiers = vec![];
    for run in &page.runs {
        let is_asked = run.domain.epoch == epochs.from;
        identifiers.extend(run.records.iter().map(|record| {
            let mapping = opener.mapping(run.segment, &run.domain, record, |_| is_asked)?;
            Some(MigratedIdentifier {
                scheme: mapping.scheme,
                value: WipedText(mapping.value),
            })
        }));
    }
    let unopened = identifiers
        .iter()
        .filter(|identifier| identifier.is_none())
        .count();
    if unopened > 0 {
        tracing::warn!(
            unopened,
            "mappings of an epoch that is migrated do not open"
        );
    }
    identifiers
}
