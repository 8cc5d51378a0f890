//! The authority node's side: check, ask the vault, log durably, and only then open.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::{VerifiedRequest, check_seen, enter, notes, step, tail};
use crate::access::OfficerPermit;
use crate::audit::origin::{cosigner_name, owner_and_shard};
use crate::audit::{AuditEvent, AuditReceipt, LogPosition};
use crate::code::Code;
use crate::commit::Change;
use crate::commit::orders::{OrderPlace, OrderQuestion};
use crate::id::hex;
use crate::link::{VaultLink, VaultQuestion};
use crate::node::Node;
use crate::order::book::Book;
use crate::order::{ActiveOrder, OfficerRequest};
use crate::refusal::{Refusal, not_logged};
use crate::register::{Register, Sector};
use crate::store::ItemTag;
use crate::tlog::proof_file::ProofFile;
use crate::tlog::tree::leaf_hash;

/// How long a request waits for a place among those of its authority.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request waits for the vault's cosignature if there is no recent one.
const WATCH_PATIENCE: Duration = Duration::from_secs(5);

/// An officer's request, while it holds one of the authority's places.
pub(crate) struct NodeRequest<'n> {
    node: &'n Node,
    permit: &'n OfficerPermit,
    _place: OrderPlace<'n>,
}

/// The vault's statement about the mappings that it hands out.
pub(crate) struct VaultStatement<'a> {
    /// SHA-256 of its register, hex.
    pub(crate) register: &'a str,
    /// Where the vault's entry stands in its log.
    pub(crate) entry: &'a LogPosition,
    /// That entry, with the proof that it is in the log.
    pub(crate) proof: &'a str,
    /// What the node lacks of that log, if it follows it.
    pub(crate) tail: Option<&'a str>,
    /// Its count under the order.
    pub(crate) used: u64,
}

/// What the node tells the vault of itself.
pub(crate) struct NodeWords {
    /// SHA-256 of its register, hex.
    pub(crate) register: String,
    /// The digest of its acts upon the authority's orders.
    pub(crate) acts: String,
    /// What it holds of the vault's log, if it follows it.
    pub(crate) held: Option<String>,
}

/// An answer of the vault that hands out mappings.
pub(crate) trait VaultHandout {
    fn statement(&self) -> VaultStatement<'_>;
}

impl<'n> NodeRequest<'n> {
    /// Admits a request while the node is unsealed and has room: the vault must not count mappings
    /// that the node will not open. `full` is the answer while the node's disk is nearly full.
    ///
    /// # Errors
    /// [`Code::Sealed`], `full`, [`Code::ErasuresMissing`], [`Code::AuditUnavailable`],
    /// [`Code::Overloaded`].
    pub(crate) fn admit(
        node: &'n Node,
        permit: &'n OfficerPermit,
        full: Refusal,
    ) -> Result<Self, Refusal> {
        if node.safe().is_sealed() {
            return Err(sealed());
        }
        if node.is_short_of_space() {
            return Err(full);
        }
        node.check_erasures()?;
        node.committer().admit().map_err(Refusal::unavailable)?;
        let place = enter(node.orders(), &node.authority().id, PATIENCE)?;
        Ok(Self {
            node,
            permit,
            _place: place,
        })
    }

    /// Verifies signatures, formats and digests, and that the officer who asks has signed.
    ///
    /// # Errors
    /// Those of `verify`; [`Code::RequestInvalid`].
    pub(crate) fn verify(
        &self,
        verify: impl FnOnce(&Book<'_>, i64) -> Result<VerifiedRequest, Refusal>,
    ) -> Result<VerifiedRequest, Refusal> {
        let mark = self.node.committer().clock_mark();
        let verified = verify(&Book::from(self.node), mark)?;
        if verified.request.officer() != &self.permit.officer {
            let why = "the request is signed by another officer than the one who asks";
            return Err(Refusal::new(Code::RequestInvalid, why));
        }
        Ok(verified)
    }

    /// Lets one request under an order at a time ask the vault, so that the node sees the vault's
    /// counts in sequence.
    ///
    /// # Errors
    /// [`Code::Overloaded`] if another request takes longer than [`PATIENCE`].
    pub(crate) fn ask_alone(&self, order: &ActiveOrder) -> Result<OrderQuestion<'n>, Refusal> {
        self.node
            .orders()
            .ask(order.key(), PATIENCE)
            .ok_or_else(|| {
                Refusal::new(
                    Code::Overloaded,
                    "another request under this order is being worked on",
                )
                .come_back_in(1)
            })
    }

    /// Asks the vault, with the digests of the node's register and of its acts. If the acts are out
    /// of step, it exchanges acts and asks once more.
    ///
    /// # Errors
    /// The vault's refusal; [`Code::RegisterMismatch`]; those of [`step::get_in_step`].
    pub(crate) fn ask<Q: VaultQuestion<Answer: VaultHandout>>(
        &self,
        vault: &dyn VaultLink,
        question: impl Fn(NodeWords) -> Q,
    ) -> Result<Q::Answer, Refusal> {
        let register = hex(&self.node.register().digest);
        let ask = || {
            let acts = Book::from(self.node).digest(&self.node.authority().id)?;
            let register = register.clone();
            let held = tail::held(self.node);
            vault.ask(&question(NodeWords {
                register,
                acts,
                held,
            }))
        };
        let answer = match ask() {
            Err(refusal) if refusal.code() == Code::OutOfStep => {
                step::get_in_step(self.node, vault)?;
                ask()?
            }
            answered => answered?,
        };
        if answer.statement().register != register {
            return Err(Refusal::new(
                Code::RegisterMismatch,
                "the vault holds another register",
            ));
        }
        Ok(answer)
    }

    /// Checks that the vault has provably logged an `event` about this request, whose other members
    /// `is_it` checks, then waits for the request's turn. Until the turn is committed no other
    /// request reveals and no act is taken. It checks again what may have changed meanwhile.
    ///
    /// # Errors
    /// [`Code::ProofInvalid`], [`Code::JournalUnavailable`], [`Code::CosignatureMissing`]; those of
    /// [`check_seen`]; [`Code::LimitReached`].
    pub(crate) fn turn(
        &self,
        verified: VerifiedRequest,
        statement: &VaultStatement<'_>,
        event: &str,
        is_it: impl FnOnce(&serde_json::Value) -> bool,
    ) -> Result<NodeTurn<'n>, Refusal> {
        let node = self.node;
        let is_about =
            |entry: &serde_json::Value| is_about(entry, event, &verified) && is_it(entry);
        let proof = check_proof(node.register(), statement, is_about)?;
        tail::take(node, statement.tail)?;
        // Checked after the vault's answer, so that a vault that does not answer is reported as
        // such.
        check_watched(node)?;
        let orders = Book::from(node).lock_orders();
        let book = Book::from(node);
        check_seen(&verified, &book)?;
        check_count(&verified.order, &book, statement.used)?;
        let vault_entry = statement.entry.clone();
        Ok(NodeTurn {
            node,
            verified,
            vault_entry,
            proof,
            used: statement.used,
            book,
            orders,
        })
    }
}

/// The refusal of a node that holds no key.
pub(super) fn sealed() -> Refusal {
    Refusal::new(
        Code::Sealed,
        "the node is sealed: its custodians have to unseal it",
    )
}

/// Refuses to open anything while the vault does not watch this node's log.
fn check_watched(node: &Node) -> Result<(), Refusal> {
    let Some(cosigners) = node.cosigners() else {
        return Ok(());
    };
    let name = cosigner_name(&format!("{}/vault", node.register().deployment));
    if cosigners.is_watched_by(&name, WATCH_PATIENCE) {
        Ok(())
    } else {
        let why =
            "the vault has not cosigned the node's log within five minutes, so nothing is opened";
        Err(Refusal::new(Code::CosignatureMissing, why))
    }
}

/// Whether an entry of the vault is about this request.
fn is_about(entry: &serde_json::Value, event: &str, verified: &VerifiedRequest) -> bool {
    let says = |member: &str, wanted: &str| entry[member].as_str() == Some(wanted);
    says("event", event)
        && says("order", &verified.order.id().to_string())
        && says("order_digest", &hex(verified.order.digest()))
        && says("request", &verified.request.id().to_string())
}

/// Checks the proof that the vault has logged the entry: under a checkpoint signed with the key
/// that the register states.
fn check_proof(
    register: &Register,
    statement: &VaultStatement<'_>,
    is_about: impl FnOnce(&serde_json::Value) -> bool,
) -> Result<ProofFile, Refusal> {
    let refused = |why: String| {
        Refusal::new(
            Code::ProofInvalid,
            format!("the vault's proof of its log entry: {why}"),
        )
    };
    let key = register.vault_checkpoint_key;
    let key = key.ok_or_else(|| refused("the register states no key of the vault's log".into()))?;
    let proof = ProofFile::parse(statement.proof).map_err(|error| refused(error.to_string()))?;
    let (checkpoint, _) = proof
        .check(&key)
        .map_err(|error| refused(error.to_string()))?;
    let owner = format!("{}/vault", register.deployment);
    let is_vaults = owner_and_shard(&checkpoint.origin).is_some_and(|(found, _)| found == owner);
    let position = LogPosition {
        log: checkpoint.origin,
        index: proof.index,
        leaf: hex(&leaf_hash(&proof.entry)),
    };
    if !is_vaults || position != *statement.entry {
        return Err(refused("it is of another entry".into()));
    }
    if is_about(&serde_json::from_slice(&proof.entry).unwrap_or_default()) {
        Ok(proof)
    } else {
        Err(refused("the entry is about something else".into()))
    }
}

/// Compares the vault's count under an order with the count that this node remembers: a vault that
/// was rolled back would let officers use up the same limit twice.
///
/// # Errors
/// [`Code::ProofInvalid`] if the count went down; [`Code::LimitReached`] if it is above the limit.
fn check_count(order: &ActiveOrder, book: &Book<'_>, used: u64) -> Result<(), Refusal> {
    let before = book.life(&order.key())?.map_or(0, |life| life.used);
    if used < before {
        tracing::error!(order = %order.id(), used, before, "the vault counts less under an order than it did");
        let why = format!(
            "the vault counts {used} under this order and counted {before} before: was it rolled back?"
        );
        return Err(Refusal::new(Code::ProofInvalid, why));
    }
    if used <= order.limit() {
        Ok(())
    } else {
        Err(Refusal::new(
            Code::LimitReached,
            "the vault has handed out more than the order allows",
        ))
    }
}

/// A request in its turn.
pub(crate) struct NodeTurn<'n> {
    node: &'n Node,
    pub(crate) verified: VerifiedRequest,
    vault_entry: LogPosition,
    proof: ProofFile,
    used: u64,
    book: Book<'n>,
    orders: MutexGuard<'n, ()>,
}

/// A request whose log entry is durable: order and receipt open mappings.
pub(crate) struct LoggedRequest {
    pub(crate) order: ActiveOrder,
    pub(crate) request: OfficerRequest,
    pub(crate) sector: Arc<Sector>,
    pub(crate) receipt: AuditReceipt,
}

impl NodeTurn<'_> {
    /// Where the vault's entry stands, the path of its proof, and the proof's checkpoint, for the
    /// node's own entry.
    pub(crate) fn vault_entry(&self) -> (LogPosition, Vec<String>, String) {
        let proof = &self.proof;
        (
            self.vault_entry.clone(),
            proof.path.iter().map(|hash| hex(hash)).collect(),
            proof.checkpoint.clone(),
        )
    }

    /// Commits the node's entry, the notes that every use writes, and `own_changes` of this use.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`], [`Code::Overloaded`], [`Code::Internal`].
    pub(crate) fn commit(
        self,
        event: AuditEvent,
        tags: Vec<ItemTag>,
        own_changes: Vec<Change>,
    ) -> Result<LoggedRequest, Refusal> {
        let Self {
            node,
            verified,
            used,
            book,
            orders,
            ..
        } = self;
        let mut changes = vec![notes(&verified, &book, used)?];
        changes.extend(own_changes);
        let unavailable = not_logged("nothing is opened");
        let receipt = node
            .committer()
            .record(book.now(), event, tags, changes)
            .map_err(unavailable)?;
        drop(orders);
        let VerifiedRequest {
            order,
            request,
            sector,
        } = verified;
        Ok(LoggedRequest {
            order,
            request,
            sector,
            receipt,
        })
    }
}
