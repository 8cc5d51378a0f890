//! Keeps vault and node in step: decides whether they hold the same acts, and selects the acts that
//! they exchange.
//!
//! **What is compared.** A side's [`Book::digest`] covers order and digest of every act of the
//! authority that it holds *and that its present register confirms*. The node sends its digest with
//! every request under an order, and the vault releases nothing unless it equals its own. So
//! neither side releases before it has the other's revocations, even after a restart or a lost
//! connection, and this depends on no clock and no session.
//!
//! **Why the present register judges.** An act may have been valid when one side took it, while the
//! other side's register no longer has its signer. It stays in force where it was taken, so that
//! side refuses for both. But the other side cannot verify it any more, so it is neither compared
//! nor sent; otherwise both would stay out of step for good. Judging by the register alone is safe,
//! because a release needs equal registers on both sides anyway. Both sides then judge a text
//! alike. A text that a side cannot confirm is not in its digest, so that side still asks for the
//! valid text over the same payload.
//!
//! **How they exchange.** The node visits the acts in the order of their digests, one window at a
//! time. It names at most [`MOST_NAMED`] acts that it has. The vault answers with at most
//! [`MOST_BYTES`] of texts that the node lacks, and names the acts of the window that it lacks
//! itself. The node repeats a window until neither side lacks an act of it. So no set of acts is
//! too large to be exchanged, and nobody can make one that is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Book, FAILED, hex, is_revoked, read_act};
use crate::code::Code;
use crate::commit::orders::ActSet;
use crate::order::act::{ActKind, ActVerdict, SignedAct, judge_act};
use crate::refusal::{Refusal, fault};
use crate::register::Id;
use crate::store::OrderKey;

/// Most acts that are named in one part of an exchange.
pub const MOST_NAMED: usize = 1_000;
/// Most bytes of acts in one part of an exchange; a single act is sent even if it is longer.
pub const MOST_BYTES: usize = 128 << 10;
/// Acts of one signer that the other side may bring in a day. It is far more than callers can bring
/// there in a day, so that the acts of a week without a connection are exchanged. It bounds the
/// acts that a stolen node with a stolen approver's key leaves here for good. Acts above it are
/// taken on a later day.
const MOST_BROUGHT: usize = 1_000;

/// SHA-256 of an act's payload.
pub type ActDigest = [u8; 32];

/// A part of the acts, in the order of their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActWindow {
    /// It begins after this act; if absent, with the first act.
    pub after: Option<ActDigest>,
    /// It ends with this act; if absent, with the last act.
    pub until: Option<ActDigest>,
}

/// Acts of the other side that were new here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenActs {
    /// How many.
    pub count: usize,
    /// Whether one of them lets something go on: it is not in force before enough places hold it.
    pub grant: bool,
}

impl Book<'_> {
    /// The acts of an authority that this side holds and its register confirms.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn confirmed_acts(&self, authority: &Id) -> Result<Arc<ActSet>, Refusal> {
        self.gate.acts(authority, || {
            let mut acts = ActSet::default();
            for row in self
                .store
                .order_acts(authority.as_str(), None)
                .map_err(fault(FAILED))?
            {
                let kept = read_act(&row)?;
                let is_good = || {
                    matches!(
                        judge_act(&kept.text, self.register),
                        Ok(ActVerdict::Good(_))
                    )
                };
                // A row without effect does not count: the valid text over its payload may still
                // come.
                if kept.done.is_some() && is_good() {
                    acts.insert(row.digest, row.order);
                }
            }
            Ok(acts)
        })
    }

    /// The digest that this side compares with the other: SHA-256 over order id and digest of each
    /// act that its register confirms, hex.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn digest(&self, authority: &Id) -> Result<String, Refusal> {
        Ok(hex(&self.confirmed_acts(authority)?.digest()))
    }

    /// Notes whether the other side holds the same acts.
    pub fn note_step(&self, authority: &Id, is_in_step: bool) {
        self.gate.note_step(authority, is_in_step, self.now);
    }

    /// The next window after `after`, and the acts in it that this side holds.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn window(
        &self,
        authority: &Id,
        after: Option<ActDigest>,
    ) -> Result<(ActWindow, Vec<ActDigest>), Refusal> {
        let acts = self.confirmed_acts(authority)?;
        let mut known: Vec<_> = acts
            .behind(after)
            .map(|(digest, _)| digest)
            .take(MOST_NAMED + 1)
            .collect();
        let is_last = known.len() <= MOST_NAMED;
        known.truncate(MOST_NAMED);
        let until = known.last().copied().filter(|_| !is_last);
        Ok((ActWindow { after, until }, known))
    }

    /// The texts of the acts in a window that are not in `known`, as many as [`MOST_BYTES`] hold.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn lacking(
        &self,
        authority: &Id,
        window: ActWindow,
        known: &[ActDigest],
    ) -> Result<Vec<String>, Refusal> {
        let known: BTreeSet<_> = known.iter().collect();
        let acts = self.confirmed_acts(authority)?;
        let inside = acts
            .behind(window.after)
            .take_while(|(digest, _)| window.until.is_none_or(|end| *digest <= end));
        self.texts(
            authority,
            inside
                .map(|(digest, _)| digest)
                .filter(|digest| !known.contains(digest)),
            &acts,
        )
    }

    /// The texts of these acts, as many as [`MOST_BYTES`] hold.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn texts_of(&self, authority: &Id, wanted: &[ActDigest]) -> Result<Vec<String>, Refusal> {
        let acts = self.confirmed_acts(authority)?;
        self.texts(authority, wanted.iter().copied(), &acts)
    }

    fn texts(
        &self,
        authority: &Id,
        wanted: impl Iterator<Item = ActDigest>,
        acts: &ActSet,
    ) -> Result<Vec<String>, Refusal> {
        let (mut texts, mut bytes) = (vec![], 0);
        for digest in wanted {
            let Some(order) = acts.order(&digest) else {
                continue;
            };
            let row = self
                .store
                .order_act(authority.as_str(), order, &digest)
                .map_err(fault(FAILED))?;
            let text = read_act(&row.ok_or("an act is gone").map_err(fault(FAILED))?)?.text;
            // Rows of earlier versions may hold white space.
            let ActVerdict::Good(SignedAct { text, .. }) = judge_act(&text, self.register)? else {
                continue;
            };
            bytes += text.len();
            if bytes > MOST_BYTES && !texts.is_empty() {
                break;
            }
            texts.push(text);
        }
        Ok(texts)
    }

    /// Takes acts from the other side, durably and logged: those that are valid and new, within the
    /// bounds of a day. Returns those that were new.
    ///
    /// # Errors
    /// [`Code::ActInvalid`] for a text that is not an act, is another authority's, or whose
    /// signature fails under a key of the register: then none of them is taken.
    /// [`Code::AuditUnavailable`].
    pub fn take(
        &self,
        authority: &Id,
        texts: &[String],
        bearer: &str,
    ) -> Result<TakenActs, Refusal> {
        let mut good = vec![];
        for text in texts {
            match judge_act(text, self.register)? {
                ActVerdict::Good(act) if act.says.authority == *authority => good.push(act),
                ActVerdict::Good(_) => {
                    return Err(Refusal::new(
                        Code::ActInvalid,
                        "the act is upon an order of another authority",
                    ));
                }
                ActVerdict::Unproven(refusal) => {
                    tracing::warn!(
                        why = refusal.why(),
                        "an act of the other side is not borne out by the register"
                    );
                }
            }
        }
        let _orders = self.lock_orders();
        let acts = self.confirmed_acts(authority)?;
        let mut seen = BTreeSet::new();
        good.retain(|act| acts.order(&act.digest).is_none() && seen.insert(act.digest));
        if good.is_empty() {
            return Ok(TakenActs::default());
        }
        let mut of_day = self.acts_today(authority, |_| Ok(true))?;
        let (mut taken, mut ended) = (vec![], BTreeSet::new());
        for act in good {
            let order = act.says.order;
            let is_revocation = act.says.act == ActKind::Revoke;
            match of_day.add(&act, MOST_BROUGHT) {
                Ok(()) => taken.push(act),
                // One revocation is enough to end an order, however many come at once.
                Err(_) if !ended.contains(&order) && self.ends_a_seen_order(&act, &acts)? => {
                    taken.push(act);
                }
                Err(refusal) => {
                    tracing::warn!(
                        why = refusal.why(),
                        "an act of the other side is left for another day"
                    );
                    continue;
                }
            }
            if is_revocation {
                ended.insert(order);
            }
        }
        let of_exchange = TakenActs {
            count: taken.len(),
            grant: taken.iter().any(|act| act.says.act.grants()),
        };
        self.keep(taken, bearer)?;
        Ok(of_exchange)
    }

    /// Whether an act revokes an order that was seen here and is not revoked yet: such an act is
    /// always taken, once.
    fn ends_a_seen_order(&self, act: &SignedAct, acts: &ActSet) -> Result<bool, Refusal> {
        if act.says.act != ActKind::Revoke {
            return Ok(false);
        }
        let (authority, order) = (&act.says.authority, act.says.order);
        let was_seen = self.was_seen(&OrderKey::new(authority.as_str(), order))?;
        Ok(was_seen && !is_revoked(&self.acts(authority, order)?, acts))
    }
}
