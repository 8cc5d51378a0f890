//! The vault's side: check, count, log, hand out.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use super::copies::{Copies, Lookup};
use super::{Asked, Checked, FAILED, Release, ReleaseRequest, Released, check_clock, check_register, enter, hex, rate};
use crate::access::NodePermit;
use crate::audit::checkpoint::cosigner_name;
use crate::audit::proof::inclusion;
use crate::audit::proof_file::ProofFile;
use crate::audit::shelf::Shelf;
use crate::audit::{AuditReceipt, Domain, Event, Reidentified, salted, tags_root};
use crate::code::Code;
use crate::commit::Change;
use crate::keys::DomainScope;
use crate::order::book::Book;
use crate::pseudonym::Parsed;
use crate::refusal::{Refusal, fault, not_logged};
use crate::seal::segment::SegmentId;
use crate::store::{ItemTag, StoreError};
use crate::vault::Vault;

/// Releases the sealed mappings that a node asks for under an order. Signatures, formats and digests are verified before anybody
/// has to wait for it.
///
/// # Errors
/// A [`Refusal`] of the whole; nothing was counted then, and nothing is handed out.
pub fn release(vault: &Vault, permit: &NodePermit, asked: &ReleaseRequest) -> Result<Release, Refusal> {
    check_peer(vault, permit, &asked.register)?;
    vault.committer().admit().map_err(Refusal::unavailable)?;
    let _place = enter(vault.orders(), &permit.authority.id, Duration::ZERO)?;
    let book = Book::from(vault);
    check_step(&book, permit, &asked.acts)?;
    let checked = super::check(&asked.asked, &permit.authority.id, &book, vault.committer().clock_mark())?;
    let items = read(vault, &checked, &asked.asked);

    let CommittedRelease { receipt, handed, used, alarm } = commit(vault, permit, asked, &checked, items)?;
    if let Some(alarm) = alarm {
        vault.release_alarms.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let recorded = vault.committer().record(vault.now(), alarm, vec![], vec![]);
        recorded.map_err(not_logged("nothing is released"))?;
    }
    let proof = prove(vault, &receipt)?;
    vault.released.fetch_add(asked.asked.pseudonyms.len() as u64, std::sync::atomic::Ordering::Relaxed);
    Ok(Release {
        register: hex(&vault.register().digest),
        entry: receipt.position(),
        proof,
        used,
        items: handed.items,
        segments: handed.segments,
    })
}

/// A release that is durable.
struct CommittedRelease {
    receipt: AuditReceipt,
    handed: HandedOut,
    used: u64,
    alarm: Option<Event>,
}

/// Counts, finds and commits. From reading the count to committing it nobody else releases, and no act comes in between.
fn commit(
    vault: &Vault,
    permit: &NodePermit,
    asked: &ReleaseRequest,
    checked: &Checked,
    items: Vec<TaggedItem>,
) -> Result<CommittedRelease, Refusal> {
    let _orders = Book::from(vault).lock_orders();
    // Only now: an order may end, and an act may come, while one waits.
    let book = Book::from(vault);
    check_clock(&book, vault.committer().clock_mark())?;
    check_step(&book, permit, &asked.acts)?;
    super::seen(checked, &book)?;
    let (now, asked) = (book.now(), &asked.asked);
    let rate = rate::take(vault.store(), rate::Counted::Releases, &permit.authority, items.len() as u64, now)?;
    let state =
        vault.sector(&checked.sector.name).ok_or("a sector of the register has no state").map_err(fault(FAILED))?;

    let counted = count(vault, checked, items)?;
    let mut copies = Copies::of(vault, checked.order.scope())?;
    let asked_for = counted.items.iter().filter_map(|item| item.as_ref().ok().copied()).collect();
    let found = copies.look_up(state, asked_for)?;
    copies.complete()?;
    let handed = HandedOut::of(vault, &found, &counted.items).map_err(fault(FAILED))?;
    let mappings = handed.items.iter().filter(|item| matches!(item, Released::Mapping { .. })).count();
    let tags = salted(counted.tags);
    let entry = entry(checked, permit, asked, mappings as u64, &tags);
    let order = checked.order.key();
    let (used, new_pairs) = (counted.used, counted.new_pairs);
    let pairs: Change = Box::new(move |store, batch| {
        new_pairs.iter().for_each(|tag| store.put_order_pair(batch, &order, tag));
    });
    let copies = copies.change();
    let changes = vec![super::notes(checked, &book, used)?, pairs, copies, rate.change()];
    let recorded = vault.committer().record(now, Event::Release(Box::new(entry)), tags, changes);
    let receipt = recorded.map_err(not_logged("nothing is released"))?;
    Ok(CommittedRelease { receipt, handed, used, alarm: rate.alarm(now) })
}

/// Refuses a node that holds another register, or that does not watch this log.
pub(crate) fn check_peer(vault: &Vault, permit: &NodePermit, register: &str) -> Result<(), Refusal> {
    check_register(vault.register(), register)?;
    check_watched(vault, permit)
}

/// Refuses a node that does not hold the same acts.
pub(crate) fn check_step(book: &Book<'_>, permit: &NodePermit, acts: &str) -> Result<(), Refusal> {
    match acts == book.digest(&permit.authority.id)? {
        true => Ok(()),
        false => {
            book.note_step(&permit.authority.id, false);
            Err(Refusal::new(Code::OutOfStep, "vault and node do not hold the same acts upon orders yet"))
        }
    }
}

/// Nothing is released to a node that does not watch this log.
fn check_watched(vault: &Vault, permit: &NodePermit) -> Result<(), Refusal> {
    let Some(cosigners) = vault.cosigners().filter(|_| permit.authority.checkpoint_key.is_some()) else {
        return Ok(());
    };
    let name = cosigner_name(&format!("{}/node/{}", vault.register().deployment, permit.authority.id));
    match cosigners.is_watched_by(&name, Duration::ZERO) {
        true => Ok(()),
        false => {
            let why = "the node has not cosigned the vault's log within five minutes, so nothing is released";
            Err(Refusal::new(Code::CosignatureMissing, why))
        }
    }
}

/// How long a release waits for the checkpoint over its entry.
const PATIENCE: Duration = Duration::from_secs(10);

/// The proof that the entry of a release is in the log: nothing is handed out without.
pub(crate) fn prove(vault: &Vault, receipt: &AuditReceipt) -> Result<String, Refusal> {
    let unavailable = || Refusal::new(Code::AuditUnavailable, "no checkpoint covers the entry, so nothing is released");
    let published = vault.log().covering(receipt, PATIENCE).ok_or_else(unavailable)?;
    let mut shelf = Shelf::new(vault.store(), &published.tree, published.checkpoint.size);
    let entry = shelf.entry(receipt.index()).map_err(fault(FAILED))?.ok_or_else(unavailable)?;
    let path = inclusion(&mut shelf, receipt.index(), published.checkpoint.size).map_err(fault(FAILED))?;
    Ok(ProofFile { entry, index: receipt.index(), path, checkpoint: published.note.clone() }.text())
}

/// An item that the order opens, with its tag; or why it does not.
type TaggedItem = Result<(Parsed, [u8; 16]), Code>;

/// Reads the pseudonyms that are asked for.
fn read(vault: &Vault, checked: &Checked, asked: &Asked) -> Vec<TaggedItem> {
    let tagged = |parsed: Parsed| (parsed, vault.audit_key().tag(checked.sector.uuid, &parsed.pseudonym));
    asked.pseudonyms.iter().map(|text| checked.order.admit(&asked.sector, text).map(tagged)).collect()
}

/// The items after scope and limit, and what must be counted for them.
struct Counted {
    items: Vec<Result<Parsed, Code>>,
    tags: Vec<[u8; 16]>,
    new_pairs: Vec<[u8; 16]>,
    /// Distinct pairs of the order by now.
    used: u64,
}

/// Counts distinct (order, pseudonym) pairs, whatever the answer will be; asking again is not counted again.
fn count(vault: &Vault, checked: &Checked, items: Vec<TaggedItem>) -> Result<Counted, Refusal> {
    let order = &checked.order;
    let mut seen: HashSet<[u8; 16]> =
        vault.store().order_pairs(&order.key()).map_err(fault(FAILED))?.into_iter().collect();
    let mut counted = Counted { items: vec![], tags: vec![], new_pairs: vec![], used: 0 };
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

/// What is handed out, one for each item asked for, and the segments that it is sealed under.
struct HandedOut {
    items: Vec<Released>,
    segments: Vec<String>,
}

impl HandedOut {
    fn of(vault: &Vault, found: &Lookup, asked: &[Result<Parsed, Code>]) -> Result<Self, StoreError> {
        let (mut items, mut segments) = (Vec::with_capacity(asked.len()), vec![]);
        let mut places: BTreeMap<SegmentId, usize> = BTreeMap::new();
        for item in asked {
            let found = match item {
                Ok(parsed) => {
                    found.get(parsed).map_or(Err(Code::NoMapping), |found| found.as_ref().map_err(|code| *code))
                }
                Err(code) => Err(*code),
            };
            let mapping = match found {
                Ok(mapping) => mapping,
                Err(code) => {
                    items.push(Released::Refused { code });
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
            items.push(Released::Mapping { record, domain: domain(&mapping.scope, mapping.epoch), segment });
        }
        Ok(Self { items, segments })
    }
}

pub(crate) fn domain(scope: &DomainScope, epoch: u32) -> Domain {
    let named = |text: &String| (!text.is_empty()).then(|| text.clone());
    Domain { controller: named(&scope.controller), purpose: named(&scope.purpose), period: named(&scope.period), epoch }
}

fn entry(checked: &Checked, permit: &NodePermit, asked: &Asked, mappings: u64, tags: &[ItemTag]) -> Reidentified {
    Reidentified {
        authority: permit.authority.id.clone(),
        officer: checked.request.officer().clone(),
        order: checked.order.id().to_string(),
        order_digest: hex(checked.order.digest()),
        basis: checked.order.basis().kind(),
        request: checked.request.id().to_string(),
        case: checked.order.case().to_owned(),
        sector: asked.sector.clone(),
        items: asked.pseudonyms.len() as u64,
        mappings,
        tags: tags_root(tags),
        vault_entry: None,
        vault_path: vec![],
        vault_checkpoint: None,
    }
}
