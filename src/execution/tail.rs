//! The end of the vault's log in its answers. A node that follows the log tells what it holds; the
//! answer carries what it lacks, up to the entry about the answer itself. The node keeps that
//! before it opens anything, so a release waits for no place, and is not lost with the vault.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use crate::audit::AuditReceipt;
use crate::audit::log::PublishedCheckpoint;
use crate::code::Code;
use crate::entity::Role;
use crate::journal::offer::JournalOffer;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::register::Id;
use crate::vault::Vault;

/// How long an answer waits for the checkpoint over its entry.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for places that count.
const PLACES: Duration = Duration::from_secs(5);

/// What the node holds of the vault's log. `None` while it holds nothing: then it does not follow,
/// or the vault is of a version that offers nothing.
pub(super) fn held(node: &Node) -> Option<String> {
    let followed = node.followed().filter(|place| place.held().is_some())?;
    Some(followed.vouch(node.now()).text())
}

/// Keeps what the vault's answer carries, durably.
///
/// # Errors
/// [`Code::ProofInvalid`]: it does not continue what is held. [`Code::JournalUnavailable`]: the
/// folder does not take it.
pub(super) fn take(node: &Node, tail: Option<&str>) -> Result<(), Refusal> {
    let (Some(tail), Some(place)) = (tail, node.followed()) else {
        return Ok(());
    };
    let refused = |why: String| {
        let why = format!("what the vault sends of its log: {why}");
        Refusal::new(Code::ProofInvalid, why)
    };
    let key = node.register().vault_checkpoint_key;
    let key = key.ok_or_else(|| refused("the register states no key of it".into()))?;
    let bytes = BASE64URL_NOPAD.decode(tail.as_bytes());
    let bytes = bytes.map_err(|error| refused(error.to_string()))?;
    let offer = JournalOffer::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    match place.accept(&offer, &key, node.now()) {
        Ok(_) => Ok(()),
        Err(error) if error.may_pass() => {
            tracing::error!(%error, "the vault's log cannot be kept");
            let why = "this node cannot keep the end of the vault's log, so nothing is opened";
            Err(Refusal::new(Code::JournalUnavailable, why).come_back_in(5))
        }
        Err(fault) => {
            tracing::error!(%fault, "the vault's log is not followed");
            Err(refused(fault.to_string()))
        }
    }
}

/// A checkpoint over an entry, and what the node of that authority lacks up to it, which said what
/// it holds. Where it did not, or lacks too much, enough places must hold the entry.
///
/// # Errors
/// [`Code::AuditUnavailable`]: none is signed; [`Code::JournalUnavailable`]: too few places hold
/// it.
/// [`Code::MalformedBody`]: what the node says is not valid.
pub(super) fn covering(
    vault: &Vault,
    receipt: &AuditReceipt,
    (authority, held): (&Id, Option<&str>),
) -> Result<(PublishedCheckpoint, Option<String>), Refusal> {
    if let Some(held) = held {
        let peer = Role::Node(authority.clone()).owner(&vault.register().deployment);
        if let Some((signed, offer)) = vault.tail(&peer, held, receipt)? {
            return Ok((signed, Some(BASE64URL_NOPAD.encode(&offer.to_bytes()))));
        }
    }
    let log = vault.log();
    let patience = if log.places_needed() > 0 {
        PLACES
    } else {
        PATIENCE
    };
    if let Some(published) = log.covering(receipt, patience) {
        return Ok((published.as_ref().clone(), None));
    }
    if log.signed(receipt, Duration::ZERO).is_some() {
        let why = "too few places off this machine hold the log so far, so nothing is released";
        return Err(Refusal::new(Code::JournalUnavailable, why).come_back_in(5));
    }
    let why = "no checkpoint covers the entry, so nothing is released";
    Err(Refusal::new(Code::AuditUnavailable, why))
}
