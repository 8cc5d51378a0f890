//! The vault's side: check, count, log, hand out.

use std::collections::{BTreeMap, HashSet};

use data_encoding::BASE64URL_NOPAD;

use super::copies::{Copies, MappingsFound};
use super::{ReidentifyRequest, Release, ReleaseRequest, ReleasedItem, entry, mappings, verify};
use crate::access::NodePermit;
use crate::audit::{AuditEvent, Domain, salted};
use crate::code::Code;
use crate::commit::Change;
use crate::execution::at_vault::{HandoutRecord, NodeState, ProvenEntry, VaultRequest};
use crate::execution::rate::RateKind;
use crate::execution::{FAILED, VerifiedRequest};
use crate::id::hex;
use crate::pseudonym::ParsedPseudonym;
use crate::refusal::{Refusal, fault};
use crate::seal::segment::SegmentId;
use crate::store::StoreError;
use crate::vault::Vault;

/// Releases the sealed mappings that a node asks for under an order.
///
/// # Errors
/// A [`Refusal`] of the whole request. Nothing was counted then, and nothing is handed out.
pub fn release(
    vault: &Vault,
    permit: &NodePermit,
    asked: &ReleaseRequest,
) -> Result<Release, Refusal> {
    let ReleaseRequest {
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
    let check_room = |vault: &Vault| vault.committer().admit().map_err(Refusal::unavailable);
    let request = VaultRequest::admit(vault, permit, node, check_room)?;
    let verified = request.verify(|book, mark| verify(asked, &permit.authority.id, book, mark))?;
    let items = read(vault, &verified, asked);

    let turn = request.turn(&verified)?;
    let rate = turn.take_rate(RateKind::Releases, items.len() as u64)?;
    let state = vault
        .sector(&verified.sector.name)
        .ok_or_else(|| fault(FAILED)("a sector of the register has no state"))?;
    let CountedItems {
        items,
        tags,
        new_pairs,
        used,
    } = count(vault, &verified, items)?;
    let mut copies = Copies::of(vault, verified.order.scope())?;
    let found = copies.look_up(
        state,
        items
            .iter()
            .filter_map(|item| item.as_ref().ok().copied())
            .collect(),
    )?;
    copies.complete()?;
    let ReleasedMappings { items, segments } =
        ReleasedMappings::of(vault, &found, &items).map_err(fault(FAILED))?;
    let tags = salted(tags);
    let event = AuditEvent::Release(Box::new(entry(&verified, asked, mappings(&items), &tags)));
    let order = verified.order.key();
    let pairs: Change = Box::new(move |store, batch| {
        new_pairs
            .iter()
            .for_each(|tag| store.put_order_pair(batch, &order, tag));
    });
    let record = HandoutRecord {
        event,
        tags,
        changes: vec![pairs, copies.change()],
        used,
        rate,
    };
    let ProvenEntry {
        position,
        proof,
        tail,
    } = turn.commit(record, "nothing is released")?;
    let released = asked.pseudonyms.len() as u64;
    vault
        .counts()
        .released
        .fetch_add(released, std::sync::atomic::Ordering::Relaxed);
    Ok(Release {
        register: hex(&vault.register().digest),
        entry: position,
        proof,
        used,
        items,
        segments,
        tail,
    })
}

/// A pseudonym that the order opens, with its tag; or why it does not.
type TaggedItem = Result<(ParsedPseudonym, [u8; 16]), Code>;

/// Reads the pseudonyms that are asked for.
fn read(vault: &Vault, verified: &VerifiedRequest, asked: &ReidentifyRequest) -> Vec<TaggedItem> {
    let tagged = |parsed: ParsedPseudonym| {
        (
            parsed,
            vault
                .audit_key()
                .tag(verified.sector.uuid, &parsed.pseudonym),
        )
    };
    asked
        .pseudonyms
        .iter()
        .map(|text| verified.order.admit(&asked.sector, text).map(tagged))
        .collect()
}

/// The items after the checks of scope and limit, and what they add to the count.
struct CountedItems {
    items: Vec<Result<ParsedPseudonym, Code>>,
    tags: Vec<[u8; 16]>,
    new_pairs: Vec<[u8; 16]>,
    /// Distinct pairs of the order so far.
    used: u64,
}

/// Counts distinct (order, pseudonym) pairs, whatever the answer will be. A repeated pseudonym is
/// not counted again.
fn count(
    vault: &Vault,
    verified: &VerifiedRequest,
    items: Vec<TaggedItem>,
) -> Result<CountedItems, Refusal> {
    let order = &verified.order;
    let mut seen: HashSet<[u8; 16]> = vault
        .store()
        .order_pairs(&order.key())
        .map_err(fault(FAILED))?
        .into_iter()
        .collect();
    let mut counted = CountedItems {
        items: vec![],
        tags: vec![],
        new_pairs: vec![],
        used: 0,
    };
    for item in items {
        let item = item.and_then(|(parsed, tag)| {
            counted.tags.push(tag);
            if !seen.contains(&tag) {
                if seen.len() as u64 >= order.limit() {
                    return Err(Code::LimitReached);
                }
                seen.insert(tag);
                counted.new_pairs.push(tag);
            }
            Ok(parsed)
        });
        counted.items.push(item);
    }
    counted.used = seen.len() as u64;
    Ok(counted)
}

/// The items to hand out, one for each pseudonym asked for, and the segments that they are sealed
/// under.
struct ReleasedMappings {
    items: Vec<ReleasedItem>,
    segments: Vec<String>,
}

impl ReleasedMappings {
    fn of(
        vault: &Vault,
        found: &MappingsFound,
        asked: &[Result<ParsedPseudonym, Code>],
    ) -> Result<Self, StoreError> {
        let (mut items, mut segments) = (Vec::with_capacity(asked.len()), vec![]);
        let mut places: BTreeMap<SegmentId, usize> = BTreeMap::new();
        for item in asked {
            let found = match item {
                Ok(parsed) => found.get(parsed).map_or(Err(Code::NoMapping), |found| {
                    found.as_ref().map_err(|code| *code)
                }),
                Err(code) => Err(*code),
            };
            let mapping = match found {
                Ok(mapping) => mapping,
                Err(code) => {
                    items.push(ReleasedItem::Refused { code });
                    continue;
                }
            };
            let next = places.len();
            let segment = *places.entry(mapping.segment).or_insert(next);
            if segment == segments.len() {
                let record = vault.store().segment(&mapping.segment)?.unwrap_or_default();
                segments.push(BASE64URL_NOPAD.encode(&record));
            }
            let record = BASE64URL_NOPAD.encode(&mapping.record);
            items.push(ReleasedItem::Mapping {
                record,
                domain: Domain::of(&mapping.scope, mapping.epoch),
                segment,
            });
        }
        Ok(Self { items, segments })
    }
}
