//! The authority node's side: check, ask the vault, log, open.

use std::collections::HashSet;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::lodge::{LodgedOrder, OrderText};
use super::step::{self, Exchange, Exchanged};
use super::{Asked, Checked, FAILED, NODE_PATIENCE, Release, ReleaseRequest, Released, ask_alone, deliver, enter, hex};
use crate::access::OfficerPermit;
use crate::audit::checkpoint::{cosigner_name, owner_and_shard};
use crate::audit::proof_file::ProofFile;
use crate::audit::{AuditReceipt, Event, LogPosition, Reidentified, leaf_hash, salted, tags_root};
use crate::code::Code;
use crate::commit::Change;
use crate::keys::DomainScope;
use crate::node::Node;
use crate::order::ActiveOrder;
use crate::order::book::Book;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Register, Sector};
use crate::seal::mapping::{Location, Mapping, RecordView};
use crate::seal::record::Record;
use crate::seal::segment::{AuthorityPrivateKey, OpenedSegment};

/// The way to the vault.
pub trait VaultLink: Send + Sync {
    /// Asks for a release.
    ///
    /// # Errors
    /// The vault's refusal, or [`Code::PeerUnavailable`].
    fn release(&self, request: &ReleaseRequest) -> Result<Release, Refusal>;

    /// Exchanges acts upon orders.
    ///
    /// # Errors
    /// As [`VaultLink::release`].
    fn exchange_acts(&self, exchange: &Exchange) -> Result<Exchanged, Refusal>;

    /// Shows an order before it is used.
    ///
    /// # Errors
    /// As [`VaultLink::release`].
    fn lodge_order(&self, order: &OrderText) -> Result<LodgedOrder, Refusal>;
}

/// What an officer gets.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Revealed {
    /// Order id.
    pub order: String,
    /// Sector name.
    pub sector: String,
    /// The node's entry about it.
    pub entry: u64,
    /// One for each pseudonym asked for, in order.
    pub items: Vec<Item>,
}

/// One answer: who, or why not.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Item {
    /// The identifier behind the pseudonym.
    Identifier {
        /// The pseudonym as it was asked for.
        pseudonym: String,
        /// Scheme id.
        scheme: String,
        /// Canonical value.
        #[schema(value_type = String)]
        value: Wiped,
        /// The day the identifier was first seen in this domain, `YYYY-MM-DD`.
        first_seen: String,
    },
    /// Nothing, and why.
    Refused {
        /// The pseudonym as it was asked for.
        pseudonym: String,
        /// The item's code.
        #[schema(value_type = String)]
        code: Code,
    },
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Item::Identifier { .. } => "Identifier(…)",
            Item::Refused { .. } => "Refused(…)",
        })
    }
}

/// An identifier's value: wiped on drop, never printed.
pub struct Wiped(pub Zeroizing<String>);

impl Serialize for Wiped {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Wiped {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Wiped(Zeroizing::new(text)))
    }
}

/// Executes an officer's request: checks, asks the vault, logs, opens.
///
/// # Errors
/// A [`Refusal`] of the whole; nothing was opened then.
pub fn ask(node: &Node, permit: &OfficerPermit, asked: &Asked, vault: &dyn VaultLink) -> Result<Revealed, Refusal> {
    let register = node.register();
    // Before the vault is asked: what it counts is not to be spent on a node that opens nothing.
    if node.safe().is_sealed() {
        return Err(sealed());
    }
    if node.is_short_of_space() {
        let why = "the node's disk is nearly full, so nothing is opened";
        return Err(Refusal::new(Code::AuditUnavailable, why).come_back_in(30));
    }
    node.committer().admit().map_err(Refusal::unavailable)?;
    let _place = enter(node.orders(), &node.authority().id, NODE_PATIENCE)?;
    let mark = node.committer().clock_mark();
    let checked = super::check(asked, &node.authority().id, &Book::from(node), mark)?;
    if checked.request.officer() != &permit.officer {
        return Err(Refusal::new(
            Code::RequestInvalid,
            "the request is signed by another officer than the one who asks",
        ));
    }
    if asked.to.is_some() {
        deliver::key(node, &permit.officer)?;
    }
    let _asking = ask_alone(node, &checked.order)?;
    let release = in_step(node, vault, |acts| {
        let asked = Asked { to: None, ..asked.clone() };
        vault.release(&ReleaseRequest { register: hex(&register.digest), acts, asked })
    })?;
    if release.register != hex(&register.digest) {
        return Err(Refusal::new(Code::RegisterMismatch, "the vault holds another register"));
    }
    if release.items.len() != asked.pseudonyms.len() {
        return Err(Refusal::new(Code::PeerUnavailable, "the vault's answer does not fit the question"));
    }

    let about = |entry: &serde_json::Value| is_about(entry, "release", &checked);
    let proof = check_proof(register, &release.proof, &release.entry, about)?;
    // Only now: where the vault cannot be reached, that is the answer.
    check_watched(node)?;

    // From here to the commit nobody else reveals and no act is taken: what came meanwhile counts.
    let orders = Book::from(node).lock_orders();
    let book = Book::from(node);
    super::seen(&checked, &book)?;
    super::check_count(&checked.order, &book, release.used)?;
    let (tags, pairs) = count(node, &checked, asked, &release)?;
    let changes = vec![super::notes(&checked, &book, release.used)?, pairs];
    let tags = salted(tags);
    let entry = entry(node, &checked, asked, &release, proof, tags_root(&tags));
    let Checked { order, sector, .. } = checked;
    let recorded = node.committer().record(book.now(), Event::Reveal(Box::new(entry)), tags, changes);
    let receipt = recorded.map_err(not_logged("nothing is opened"))?;
    drop(orders);
    reveal(node, order, receipt, asked, &sector, &release)
}

/// What the node writes down of a reveal.
fn entry(
    node: &Node,
    checked: &Checked,
    asked: &Asked,
    release: &Release,
    proof: ProofFile,
    tags: String,
) -> Reidentified {
    let Checked { order, request, .. } = checked;
    Reidentified {
        authority: node.authority().id.clone(),
        officer: request.officer().clone(),
        order: order.id().to_string(),
        order_digest: hex(order.digest()),
        basis: order.basis().kind(),
        request: request.id().to_string(),
        case: order.case().to_owned(),
        sector: asked.sector.clone(),
        items: asked.pseudonyms.len() as u64,
        mappings: release.items.iter().filter(|item| matches!(item, Released::Mapping { .. })).count() as u64,
        tags,
        vault_entry: Some(release.entry.clone()),
        vault_path: proof.path.iter().map(|hash| hex(hash)).collect(),
        vault_checkpoint: Some(proof.checkpoint),
    }
}

/// The tags of what is asked for, and what this reveal adds to the node's own count under the order: so a vault that was rolled
/// back does not have the node open beyond a limit that it knows is used up.
///
/// # Errors
/// [`Code::LimitReached`].
fn count(node: &Node, checked: &Checked, asked: &Asked, release: &Release) -> Result<(Vec<[u8; 16]>, Change), Refusal> {
    let key = checked.order.key();
    let mut own: HashSet<[u8; 16]> = node.store().order_pairs(&key).map_err(fault(FAILED))?.into_iter().collect();
    let (mut tags, mut new) = (vec![], vec![]);
    for (text, item) in asked.pseudonyms.iter().zip(&release.items) {
        let Ok(parsed) = checked.order.admit(&asked.sector, text) else { continue };
        let tag = node.audit_key().tag(checked.sector.uuid, &parsed.pseudonym);
        tags.push(tag);
        // What the vault did not count is not counted here.
        if !matches!(item, Released::Refused { code: Code::LimitReached }) && own.insert(tag) {
            new.push(tag);
        }
    }
    if own.len() as u64 > checked.order.limit() {
        tracing::error!(order = %checked.order.id(), "the vault hands out more under an order than this node has seen used");
        let why =
            "this node has opened as many pseudonyms as the order allows, and the vault has forgotten some of them";
        return Err(Refusal::new(Code::LimitReached, why));
    }
    Ok((tags, Box::new(move |store, batch| new.iter().for_each(|tag| store.put_order_pair(batch, &key, tag)))))
}

/// Asks the vault something with the digest of the acts that the node holds; where they are out of step, once more in step.
pub(crate) fn in_step<T>(
    node: &Node,
    vault: &dyn VaultLink,
    ask: impl Fn(String) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let acts = || Book::from(node).digest(&node.authority().id);
    match ask(acts()?) {
        Err(refusal) if refusal.code() == Code::OutOfStep => {
            step::get_in_step(node, vault)?;
            ask(acts()?)
        }
        answered => answered,
    }
}

/// How long a request waits for the vault's cosignature where there is none of late.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Nothing is opened while nobody watches this log.
pub(crate) fn check_watched(node: &Node) -> Result<(), Refusal> {
    let Some(cosigners) = node.cosigners() else { return Ok(()) };
    let name = cosigner_name(&format!("{}/vault", node.register().deployment));
    match cosigners.is_watched_by(&name, PATIENCE) {
        true => Ok(()),
        false => {
            let why = "the vault has not cosigned the node's log within five minutes, so nothing is opened";
            Err(Refusal::new(Code::CosignatureMissing, why))
        }
    }
}

/// Whether an entry of the vault's is the one about this very request.
pub(crate) fn is_about(entry: &serde_json::Value, event: &str, checked: &Checked) -> bool {
    let says = |member: &str, wanted: &str| entry[member].as_str() == Some(wanted);
    says("event", event)
        && says("order", &checked.order.id().to_string())
        && says("order_digest", &hex(checked.order.digest()))
        && says("request", &checked.request.id().to_string())
}

/// Nothing is opened that the vault has not provably logged: the entry about this very request, under a checkpoint by the
/// key that the register states.
pub(crate) fn check_proof(
    register: &Register,
    proof: &str,
    entry: &LogPosition,
    is_about: impl FnOnce(&serde_json::Value) -> bool,
) -> Result<ProofFile, Refusal> {
    let refused = |why: String| Refusal::new(Code::ProofInvalid, format!("the vault's proof of its log entry: {why}"));
    let key = register.vault_checkpoint_key;
    let key = key.ok_or_else(|| refused("the register states no key of the vault's log".into()))?;
    let proof = ProofFile::parse(proof).map_err(|error| refused(error.to_string()))?;
    let (checkpoint, _) = proof.check(&key).map_err(|error| refused(error.to_string()))?;
    let owner = format!("{}/vault", register.deployment);
    let is_vaults = owner_and_shard(&checkpoint.origin).is_some_and(|(found, _)| found == owner);
    let position = LogPosition { log: checkpoint.origin, index: proof.index, leaf: hex(&leaf_hash(&proof.entry)) };
    if !is_vaults || position != *entry {
        return Err(refused("it is of another entry".into()));
    }
    match is_about(&serde_json::from_slice(&proof.entry).unwrap_or_default()) {
        true => Ok(proof),
        false => Err(refused("the entry is about something else".into())),
    }
}

/// Opens what the vault released. Takes the order and the receipt by value: without a valid order and a durable entry this
/// cannot be called, and with one of each only once.
fn reveal(
    node: &Node,
    order: ActiveOrder,
    receipt: AuditReceipt,
    asked: &Asked,
    sector: &Sector,
    release: &Release,
) -> Result<Revealed, Refusal> {
    let segments: Option<Vec<_>> = node.safe().open(node.now(), |keys| {
        // Somebody may have sealed while the vault was asked.
        let open = |text: &String| open_segment(node, keys, sector, text);
        (!keys.is_empty()).then(|| release.segments.iter().map(open).collect())
    });
    let segments = segments.ok_or_else(sealed)?;
    let items = asked
        .pseudonyms
        .iter()
        .zip(&release.items)
        .map(|(text, item)| match open(&order, sector, &segments, text, item) {
            Ok(mapping) => Item::Identifier {
                pseudonym: text.clone(),
                scheme: mapping.scheme.clone(),
                first_seen: day(mapping.first_seen),
                value: Wiped(mapping.value),
            },
            Err(code) => Item::Refused { pseudonym: text.clone(), code },
        })
        .collect();
    Ok(Revealed { order: order.id().to_string(), sector: sector.name.clone(), entry: receipt.index(), items })
}

pub(crate) fn sealed() -> Refusal {
    Refusal::new(Code::Sealed, "the node is sealed: its custodians have to unseal it")
}

/// A segment that is signed by a pinned key, committed, sealed to this authority, and this sector's.
pub(crate) fn open_segment(
    node: &Node,
    keys: &[&AuthorityPrivateKey],
    sector: &Sector,
    text: &str,
) -> Option<OpenedSegment> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let record = Record::read(&bytes, node.segment_keys()).ok();
    let opened = record.and_then(|record| keys.iter().find_map(|key| OpenedSegment::of(&record, key).ok()));
    if opened.is_none() {
        tracing::warn!("a released segment did not open");
    }
    opened.filter(|segment| segment.sector() == sector.uuid)
}

fn open(
    order: &ActiveOrder,
    sector: &Sector,
    segments: &[Option<OpenedSegment>],
    text: &str,
    item: &Released,
) -> Result<Mapping, Code> {
    let parsed = order.admit(&sector.name, text)?;
    let (record, domain, segment) = match item {
        Released::Mapping { record, domain, segment } => (record, domain, *segment),
        Released::Refused { code } => return Err(*code),
    };
    let segment = segments.get(segment).and_then(Option::as_ref).ok_or(Code::MappingInvalid)?;
    let bytes = BASE64URL_NOPAD.decode(record.as_bytes()).map_err(|_| Code::MappingInvalid)?;
    let record = RecordView::parse(&bytes).map_err(|_| Code::MappingInvalid)?;
    let epoch_fits = parsed.epoch_mod_32.is_none_or(|named| u32::from(named) == domain.epoch % 32);
    if record.pseudonym != parsed.pseudonym || !epoch_fits {
        return Err(Code::MappingInvalid);
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let scope = DomainScope {
        controller: text(&domain.controller),
        purpose: text(&domain.purpose),
        period: text(&domain.period),
    };
    record.open(segment, Location::new(sector.uuid, domain.epoch, &scope)).map_err(|_| Code::MappingInvalid)
}

fn day(days: u32) -> String {
    let second = i64::from(days) * 86_400;
    match jiff::Timestamp::from_second(second) {
        Ok(time) => time.strftime("%F").to_string(),
        Err(error) => fault(FAILED)(error).to_string(),
    }
}
