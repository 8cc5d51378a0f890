//! The vault's side: check, count, log durably, and only then hand out.

use std::sync::MutexGuard;
use std::time::Duration;

use super::rate::{RateKind, ReleaseRate, take_rate};
use super::{FAILED, VerifiedRequest, check_clock, check_register, check_seen, enter, notes, tail};
use crate::access::NodePermit;
use crate::audit::origin::cosigner_name;
use crate::audit::shard_reader::ShardReader;
use crate::audit::{AuditEvent, AuditReceipt, LogPosition};
use crate::code::Code;
use crate::commit::Change;
use crate::commit::orders::OrderPlace;
use crate::order::book::Book;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::Id;
use crate::store::ItemTag;
use crate::tlog::proof::inclusion;
use crate::tlog::proof_file::ProofFile;
use crate::vault::Vault;

/// The register and the acts that the node holds; the vault must hold the same.
pub(crate) struct NodeState<'a> {
    /// SHA-256 of its register, hex.
    pub(crate) register: &'a str,
    /// The digest of its acts upon the authority's orders ([`Book::digest`]).
    pub(crate) acts: &'a str,
    /// What it holds of the vault's log, if it follows it.
    pub(crate) held: Option<&'a str>,
}

/// A request under an order, while it holds one of its authority's places.
pub(crate) struct VaultRequest<'v> {
    vault: &'v Vault,
    permit: &'v NodePermit,
    acts: &'v str,
    held: Option<&'v str>,
    _place: OrderPlace<'v>,
}

impl<'v> VaultRequest<'v> {
    /// Admits a request of a node that holds the same register and watches this log, while
    /// `check_room` finds room for it.
    ///
    /// # Errors
    /// [`Code::RegisterMismatch`], [`Code::CosignatureMissing`], [`Code::ErasuresMissing`], those
    /// of `check_room`, [`Code::Overloaded`].
    pub(crate) fn admit(
        vault: &'v Vault,
        permit: &'v NodePermit,
        node: NodeState<'v>,
        check_room: impl FnOnce(&Vault) -> Result<(), Refusal>,
    ) -> Result<Self, Refusal> {
        check_register(vault, node.register)?;
        check_watched(vault, permit)?;
        vault.check_erasures()?;
        check_room(vault)?;
        let place = enter(vault.orders(), &permit.authority.id, Duration::ZERO)?;
        Ok(Self {
            vault,
            permit,
            acts: node.acts,
            held: node.held,
            _place: place,
        })
    }

    /// Verifies signatures, formats and digests, which takes long, before other requests have to
    /// wait.
    ///
    /// # Errors
    /// [`Code::OutOfStep`]; those of `verify`.
    pub(crate) fn verify(
        &self,
        verify: impl FnOnce(&Book<'_>, i64) -> Result<VerifiedRequest, Refusal>,
    ) -> Result<VerifiedRequest, Refusal> {
        let book = Book::from(self.vault);
        self.check_step(&book)?;
        verify(&book, self.vault.committer().clock_mark())
    }

    /// Waits for the request's turn. Until the turn is committed no other request releases or
    /// migrates, and no act is taken. It checks again what may have changed while it waited: an
    /// order may have ended, an act may have come.
    ///
    /// # Errors
    /// [`Code::ClockBehind`], [`Code::OutOfStep`]; those of [`check_seen`].
    pub(crate) fn turn<'t>(
        &'t self,
        verified: &'t VerifiedRequest,
    ) -> Result<VaultTurn<'t>, Refusal> {
        let orders = Book::from(self.vault).lock_orders();
        let book = Book::from(self.vault);
        check_clock(&book, self.vault.committer().clock_mark())?;
        self.check_step(&book)?;
        check_seen(verified, &book)?;
        let officer = verified.request.officer().clone();
        self.vault.refuse_shut_out(&[officer])?;
        Ok(VaultTurn {
            request: self,
            verified,
            book,
            orders,
        })
    }

    /// Refuses to release to a node that does not hold the same acts.
    fn check_step(&self, book: &Book<'_>) -> Result<(), Refusal> {
        let authority = &self.permit.authority.id;
        if self.acts == book.digest(authority)? {
            return Ok(());
        }
        book.note_step(authority, false);
        Err(Refusal::new(
            Code::OutOfStep,
            "vault and node do not hold the same acts upon orders yet",
        ))
    }
}

/// Refuses to release to a node that does not watch this log.
fn check_watched(vault: &Vault, permit: &NodePermit) -> Result<(), Refusal> {
    let Some(cosigners) = vault
        .cosigners()
        .filter(|_| permit.authority.checkpoint_key.is_some())
    else {
        return Ok(());
    };
    let name = cosigner_name(&format!(
        "{}/node/{}",
        vault.register().deployment,
        permit.authority.id
    ));
    if cosigners.is_watched_by(&name, Duration::ZERO) {
        Ok(())
    } else {
        let why =
            "the node has not cosigned the vault's log within five minutes, so nothing is released";
        Err(Refusal::new(Code::CosignatureMissing, why))
    }
}

/// A request in its turn.
pub(crate) struct VaultTurn<'t> {
    request: &'t VaultRequest<'t>,
    verified: &'t VerifiedRequest,
    book: Book<'t>,
    orders: MutexGuard<'t, ()>,
}

/// What the vault commits before it hands out mappings.
pub(crate) struct HandoutRecord {
    pub(crate) event: AuditEvent,
    pub(crate) tags: Vec<ItemTag>,
    /// What this use writes beside the notes that every use writes.
    pub(crate) changes: Vec<Change>,
    /// The order's count so far.
    pub(crate) used: u64,
    pub(crate) rate: ReleaseRate,
}

/// Where the entry stands in the log, and the proof that it does.
pub(crate) struct ProvenEntry {
    pub(crate) position: LogPosition,
    pub(crate) proof: String,
    /// What the node lacks of the log up to the proof's checkpoint, if it follows it.
    pub(crate) tail: Option<String>,
}

impl VaultTurn<'_> {
    /// Adds `items` to the authority's present hour.
    ///
    /// # Errors
    /// [`Code::ReleaseRate`].
    pub(crate) fn take_rate(&self, kind: RateKind, items: u64) -> Result<ReleaseRate, Refusal> {
        take_rate(
            self.book.store(),
            kind,
            &self.request.permit.authority,
            items,
            self.book.now(),
        )
    }

    /// Commits, raises the alarm if the rate is unusual, and proves the entry. The vault hands out
    /// nothing without that proof; `therefore` says what is not done if nothing can be logged.
    ///
    /// # Errors
    /// [`Code::AuditUnavailable`], [`Code::Overloaded`], [`Code::Internal`]; those of
    /// [`tail::covering`].
    pub(crate) fn commit(
        self,
        record: HandoutRecord,
        therefore: &'static str,
    ) -> Result<ProvenEntry, Refusal> {
        let Self {
            request:
                VaultRequest {
                    vault,
                    permit,
                    held,
                    ..
                },
            verified,
            book,
            orders,
        } = self;
        let unavailable = not_logged(therefore);
        let mut changes = vec![notes(verified, &book, record.used)?];
        changes.extend(record.changes);
        changes.push(record.rate.change());
        let receipt = vault
            .committer()
            .record(book.now(), record.event, record.tags, changes)
            .map_err(unavailable)?;
        let alarm = record.rate.alarm(book.now());
        drop(orders);
        if let Some(alarm) = alarm {
            vault
                .counts()
                .release_alarms
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            vault
                .committer()
                .record(vault.now(), alarm, vec![], vec![])
                .map_err(unavailable)?;
        }
        prove(vault, &receipt, (&permit.authority.id, *held))
    }
}

/// The proof that the entry of a release is in the log.
fn prove(
    vault: &Vault,
    receipt: &AuditReceipt,
    node: (&Id, Option<&str>),
) -> Result<ProvenEntry, Refusal> {
    let (signed, tail) = tail::covering(vault, receipt, node)?;
    let (index, size) = (receipt.index(), signed.checkpoint.size);
    let mut shelf = ShardReader::new(vault.store(), &signed.tree, size);
    let entry = shelf.entry(index).map_err(fault(FAILED))?;
    let entry = entry.ok_or_else(|| fault(FAILED)("an entry that is durable is not there"))?;
    let path = inclusion(&mut shelf, index, size).map_err(fault(FAILED))?;
    let proof = ProofFile {
        entry,
        index,
        path,
        checkpoint: signed.note,
    };
    Ok(ProvenEntry {
        position: receipt.position(),
        proof: proof.text(),
        tail,
    })
}
