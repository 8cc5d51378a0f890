//! Followers of this side's log, and the other sides' logs that this side follows.
//!
//! A follower says what it holds, and gets what comes next. What it says counts by its signature,
//! no matter who brings it.

use super::Entity;
use crate::audit::AuditReceipt;
use crate::audit::log::{FollowerIdentity, KnownFollower, PublishedCheckpoint, VouchTime};
use crate::audit::origin::cosigner_name;
use crate::audit::seen::SeenCheckpoint;
use crate::code::Code;
use crate::journal::offer::{JournalHeld, JournalOffer};
use crate::refusal::{Refusal, fault};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::{SignatureKind, Verifier};

/// The context of an internal error in the log.
const FAILED: &str = "the log cannot be offered";

/// What a follower holds, as far as its word was checked.
#[derive(Debug, Clone, Default)]
pub struct TakenHeld {
    /// The checkpoint; `None` if it holds nothing yet.
    pub checkpoint: Option<Checkpoint>,
    /// Whether it vouches for that, and counts among the places: it is offered what is not
    /// published yet.
    pub counts: bool,
}

impl Entity {
    /// Notes what a follower holds, as `by` (a name for messages) brings it.
    ///
    /// # Errors
    /// [`Code::MalformedBody`]: it is not what a follower says, no checkpoint of this log, or a
    /// signature in it is forged. [`Code::Internal`].
    pub fn take_held(&self, by: &str, held: &[u8]) -> Result<TakenHeld, Refusal> {
        let taken = self.take_word(by, held, None);
        taken.map(|(taken, _)| taken)
    }

    /// The same; says besides whether the other side that owns the log `peer` vouches for it.
    fn take_word(
        &self,
        by: &str,
        held: &[u8],
        peer: Option<&str>,
    ) -> Result<(TakenHeld, bool), Refusal> {
        let malformed = |why: String| Refusal::new(Code::MalformedBody, why);
        let held = JournalHeld::parse(held).map_err(|error| malformed(error.to_string()))?;
        let Some(text) = held.note else {
            return Ok((TakenHeld::default(), false));
        };
        let key = self.log().key();
        let (checkpoint, note) = Checkpoint::open(text.as_bytes(), &key)
            .map_err(|error| malformed(error.to_string()))?;
        let vouched = |verifier: &Verifier| {
            let time = note.time_of(verifier);
            time.map_err(|error| malformed(error.to_string()))
        };
        let peer = peer.and_then(|owner| self.verifier_of_peer(owner));
        let is_peers = match &peer {
            Some(verifier) => vouched(verifier)?.is_some(),
            None => false,
        };
        let contained = self.log().contained(&checkpoint).map_err(fault(FAILED))?;
        if contained.is_none() {
            self.show_unknown(by, &text);
        }
        // What was lost at a restore is held for nothing. Its holder still counts: it is offered
        // the shard in which the log goes on before that is published, or nobody would ever hold
        // it.
        let goes_on = contained.is_some() || self.owns_up_to(&checkpoint)?;
        let mut counts = false;
        let now = u64::try_from(self.now().as_second()).unwrap_or(0);
        for follower in self.log().followers().iter().filter(|_| goes_on) {
            let verifier = self.verifier_of(follower);
            let Some(said) = verifier.as_ref().map(vouched).transpose()?.flatten() else {
                continue;
            };
            if let Some(contained) = contained.clone() {
                let time = VouchTime { said, now };
                self.log().note_held(&follower.name, contained, time);
            }
            counts = true;
        }
        let checkpoint = Some(checkpoint);
        Ok((TakenHeld { checkpoint, counts }, is_peers))
    }

    /// A checkpoint that this log signed and does not contain: the store was rolled back, unless
    /// the log owns up to the loss.
    fn show_unknown(&self, by: &str, note: &str) {
        let seen = SeenCheckpoint {
            by: by.to_owned(),
            note: note.as_bytes().to_vec(),
        };
        if let Some(cosigners) = self.cosigners() {
            cosigners.shown(self.log(), &seen);
        }
    }

    fn owns_up_to(&self, checkpoint: &Checkpoint) -> Result<bool, Refusal> {
        self.log().owns_up_to(checkpoint).map_err(fault(FAILED))
    }

    /// What a follower lacks; `None` if nothing.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn offer(&self, held: &TakenHeld) -> Result<Option<JournalOffer>, Refusal> {
        let checkpoint = held.checkpoint.as_ref();
        let offer = self.log().offer(self.journal(), checkpoint, held.counts);
        offer.map_err(fault(FAILED))
    }

    /// A checkpoint over an entry, and all that it covers and the other side `peer` lacks, which
    /// says in `held` up to where it holds the log. `None` if it lacks more than an offer takes, or
    /// its word does not count: it is not signed by the key that the register states.
    ///
    /// # Errors
    /// [`Code::MalformedBody`], as [`Entity::take_held`]; [`Code::Internal`].
    pub(crate) fn tail(
        &self,
        peer: &str,
        held: &str,
        receipt: &AuditReceipt,
    ) -> Result<Option<(PublishedCheckpoint, JournalOffer)>, Refusal> {
        let (taken, is_peers) = self.take_word(peer, held.as_bytes(), Some(peer))?;
        let Some(checkpoint) = taken.checkpoint.filter(|_| is_peers) else {
            return Ok(None);
        };
        let tail = self.log().durable_tail(self.journal(), &checkpoint);
        let tail = tail.map_err(fault(FAILED))?;
        Ok(tail.filter(|(signed, _)| signed.covers(receipt)))
    }

    /// The key by which a follower vouches; `None` while the register states none.
    fn verifier_of(&self, follower: &KnownFollower) -> Option<Verifier> {
        match &follower.key {
            FollowerIdentity::Stated(key) => {
                let name = follower.name.clone();
                Some(Verifier::new(name, SignatureKind::Keeper, *key))
            }
            FollowerIdentity::Peer(owner) => self.verifier_of_peer(owner),
        }
    }

    fn verifier_of_peer(&self, owner: &str) -> Option<Verifier> {
        let register = self.register();
        let peers = self.role().peers(register);
        let is_it = |role: &super::Role| role.owner(&register.deployment) == *owner;
        let key = peers.into_iter().find(|(role, _)| is_it(role))?.1;
        let name = cosigner_name(owner);
        Some(Verifier::new(name, SignatureKind::Keeper, key))
    }
}
