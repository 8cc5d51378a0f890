//! The authority node's side: check, ask the vault, log, open.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{ReidentifyRequest, Release, ReleaseRequest, ReleasedItem, entry, mappings, verify};
use crate::access::OfficerPermit;
use crate::audit::{AuditEvent, salted};
use crate::code::Code;
use crate::commit::Change;
use crate::execution::at_node::{NodeRequest, VaultHandout as _};
use crate::execution::opening::{MappingOpener, WipedText};
use crate::execution::{FAILED, VerifiedRequest};
use crate::link::VaultLink;
use crate::node::Node;
use crate::refusal::{Refusal, fault};
use crate::seal::mapping::{Mapping, RecordView};

/// The answer to an officer.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReidentifyResponse {
    /// Order id.
    pub order: String,
    /// Sector name.
    pub sector: String,
    /// The number of the node's log entry about it.
    pub entry: u64,
    /// One for each pseudonym asked for, in order.
    pub items: Vec<RevealedItem>,
}

/// The answer for one pseudonym: the identifier, or why there is none.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum RevealedItem {
    /// The identifier behind the pseudonym.
    Identifier {
        /// The pseudonym as it was asked for.
        pseudonym: String,
        /// Scheme id.
        scheme: String,
        /// Canonical value.
        #[schema(value_type = String)]
        value: WipedText,
        /// The day the identifier was first seen in this domain, `YYYY-MM-DD`.
        first_seen: String,
    },
    /// No identifier, and why.
    Refused {
        /// The pseudonym as it was asked for.
        pseudonym: String,
        /// The item's code.
        #[schema(value_type = String)]
        code: Code,
    },
}

impl std::fmt::Debug for RevealedItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RevealedItem::Identifier { .. } => "Identifier(…)",
            RevealedItem::Refused { .. } => "Refused(…)",
        })
    }
}

/// Executes an officer's request: checks, asks the vault, logs, opens.
///
/// # Errors
/// A [`Refusal`] of the whole request. Nothing was opened then.
pub fn ask(
    node: &Node,
    permit: &OfficerPermit,
    asked: &ReidentifyRequest,
    vault: &dyn VaultLink,
) -> Result<ReidentifyResponse, Refusal> {
    let why = "the node's disk is nearly full, so nothing is opened";
    let full = Refusal::new(Code::AuditUnavailable, why).come_back_in(30);
    let request = NodeRequest::admit(node, permit, full)?;
    let verified = request.verify(|book, mark| verify(asked, &node.authority().id, book, mark))?;
    let _asking = request.ask_alone(&verified.order)?;
    let release = request.ask(vault, |words| {
        let asked = ReidentifyRequest {
            to: None,
            ..asked.clone()
        };
        ReleaseRequest {
            register: words.register,
            acts: words.acts,
            held: words.held,
            asked,
        }
    })?;
    if release.items.len() != asked.pseudonyms.len() {
        return Err(Refusal::new(
            Code::PeerUnavailable,
            "the vault's answer does not fit the question",
        ));
    }
    let turn = request.turn(verified, &release.statement(), "release", |_| true)?;
    let (tags, pairs) = count(node, &turn.verified, asked, &release)?;
    let tags = salted(tags);
    let mut entry = entry(&turn.verified, asked, mappings(&release.items), &tags);
    let (vault_entry, path, checkpoint) = turn.vault_entry();
    (entry.vault_entry, entry.vault_path, entry.vault_checkpoint) =
        (Some(vault_entry), path, Some(checkpoint));
    let logged = turn.commit(AuditEvent::Reveal(Box::new(entry)), tags, vec![pairs])?;
    let opener = MappingOpener::new(
        node,
        logged.order,
        logged.receipt,
        logged.sector,
        &release.segments,
    )?;
    Ok(reveal(&opener, asked, &release))
}

/// The tags of the pseudonyms, and what this reveal adds to the node's own count under the order.
/// With its own count the node refuses to open beyond the limit even if the vault was rolled back.
///
/// # Errors
/// [`Code::LimitReached`].
fn count(
    node: &Node,
    verified: &VerifiedRequest,
    asked: &ReidentifyRequest,
    release: &Release,
) -> Result<(Vec<[u8; 16]>, Change), Refusal> {
    let key = verified.order.key();
    let mut own: HashSet<[u8; 16]> = node
        .store()
        .order_pairs(&key)
        .map_err(fault(FAILED))?
        .into_iter()
        .collect();
    let (mut tags, mut new) = (vec![], vec![]);
    for (text, item) in asked.pseudonyms.iter().zip(&release.items) {
        let Ok(parsed) = verified.order.admit(&asked.sector, text) else {
            continue;
        };
        let tag = node
            .audit_key()
            .tag(verified.sector.uuid, &parsed.pseudonym);
        tags.push(tag);
        // The node counts only what the vault counted.
        if !matches!(
            item,
            ReleasedItem::Refused {
                code: Code::LimitReached
            }
        ) && own.insert(tag)
        {
            new.push(tag);
        }
    }
    if own.len() as u64 > verified.order.limit() {
        tracing::error!(order = %verified.order.id(), "the vault hands out more under an order than this node has seen used");
        let why = "this node has opened as many pseudonyms as the order allows, and the vault has forgotten some of them";
        return Err(Refusal::new(Code::LimitReached, why));
    }
    Ok((
        tags,
        Box::new(move |store, batch| {
            new.iter()
                .for_each(|tag| store.put_order_pair(batch, &key, tag));
        }),
    ))
}

/// Opens what the vault released, item by item.
fn reveal(
    opener: &MappingOpener,
    asked: &ReidentifyRequest,
    release: &Release,
) -> ReidentifyResponse {
    let items = asked
        .pseudonyms
        .iter()
        .zip(&release.items)
        .map(|(text, item)| match open(opener, text, item) {
            Ok(mapping) => RevealedItem::Identifier {
                pseudonym: text.clone(),
                scheme: mapping.scheme.clone(),
                first_seen: day(mapping.first_seen),
                value: WipedText(mapping.value),
            },
            Err(code) => RevealedItem::Refused {
                pseudonym: text.clone(),
                code,
            },
        });
    ReidentifyResponse {
        order: opener.order().id().to_string(),
        sector: opener.sector().name.clone(),
        entry: opener.entry(),
        items: items.collect(),
    }
}

fn open(opener: &MappingOpener, text: &str, item: &ReleasedItem) -> Result<Mapping, Code> {
    let parsed = opener.order().admit(&opener.sector().name, text)?;
    let (record, domain, segment) = match item {
        ReleasedItem::Mapping {
            record,
            domain,
            segment,
        } => (record, domain, *segment),
        ReleasedItem::Refused { code } => return Err(*code),
    };
    let epoch_fits = parsed
        .epoch_mod_32
        .is_none_or(|named| u32::from(named) == domain.epoch % 32);
    let is_asked = |record: &RecordView<'_>| record.pseudonym == parsed.pseudonym && epoch_fits;
    opener
        .mapping(segment, domain, record, is_asked)
        .ok_or(Code::MappingInvalid)
}

fn day(days: u32) -> String {
    let second = i64::from(days) * 86_400;
    match jiff::Timestamp::from_second(second) {
        Ok(time) => time.strftime("%F").to_string(),
        Err(error) => fault(FAILED)(error).to_string(),
    }
}
