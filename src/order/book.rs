//! The book of orders that each side keeps: their lives, and the acts upon them. Vault and node run
//! the same code over their own register, store and clock.
//!
//! An act's row holds its text as it was signed, and its effect. The effect stays in force on the
//! side that took the act, even if a later register no longer has its signers. A side keeps no act
//! that the register does not confirm: neither one whose signature fails nor one of an unknown
//! signer. (Earlier versions kept the latter, as rows without effect. Such a row is replaced when a
//! valid text over the same payload comes.)
//!
//! [`step`] makes both sides hold the same acts.

pub mod step;

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, MutexGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Signer;
use super::act::{ActKind, ActPayload, SignedAct, check_act, may_close};
use super::life::{AppliedAct, OrderLife, OrderView, is_reviewed, stopped};
use crate::access::BearerPermit;
use crate::audit::log::Log;
use crate::audit::{AuditEvent, Grant, OrderActDetails};
use crate::clock::day_of;
use crate::code::Code;
use crate::commit::orders::{ActSet, OrderGate};
use crate::commit::{Change, Committer, Job};
use crate::entity::{Entity, RestoreLoss};
use crate::id::hex;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Id, Register};
use crate::store::{ActRow, OrderKey, Store};

/// The most acts upon one order that a side takes from callers. A revocation is always taken.
const MOST_ACTS: usize = 64;
/// The most acts that a side takes from callers in a day, by signer, upon orders that it never saw.
/// A signer can invent ids, and acts are kept for good.
pub const MOST_UNKNOWN: usize = 100;

/// One side's book, at one instant.
pub struct Book<'a> {
    register: &'a Register,
    store: &'a Store,
    committer: &'a Committer,
    gate: &'a OrderGate,
    log: &'a Log,
    loss: Option<Arc<RestoreLoss>>,
    now: Timestamp,
}

/// The row of an act.
#[derive(Serialize, Deserialize)]
struct StoredAct {
    /// The act as it was signed.
    text: String,
    /// Its effect; absent only in rows of earlier versions, which have none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    done: Option<AppliedAct>,
}

impl<'a, E: Deref<Target = Entity>> From<&'a E> for Book<'a> {
    fn from(side: &'a E) -> Self {
        Self::of(side)
    }
}

/// The context of an internal error in the log.
const FAILED: &str = "the book of orders failed";

fn read_act(row: &ActRow) -> Result<StoredAct, Refusal> {
    serde_json::from_slice(&row.value).map_err(|_| fault(FAILED)("an act does not read back"))
}

/// Whether an order was revoked, by the acts in a store.
///
/// # Errors
/// [`Code::Internal`].
pub(crate) fn was_revoked(store: &Store, order: &OrderKey) -> Result<bool, Refusal> {
    let rows = store.order_acts(&order.authority, Some(order.id));
    let acts = rows.map_err(fault(FAILED))?;
    let acts: Result<Vec<_>, _> = acts
        .iter()
        .filter_map(|row| read_act(row).map(|stored| stored.done).transpose())
        .collect();
    Ok(stopped(&acts?) == Some(Code::OrderRevoked))
}

impl<'a> Book<'a> {
    /// The book of a vault or a node, now.
    pub fn of(entity: &'a Entity) -> Self {
        Self {
            register: entity.register(),
            store: entity.store(),
            committer: entity.committer(),
            gate: entity.orders(),
            log: entity.log(),
            loss: entity.restore_loss(),
            now: entity.now(),
        }
    }

    /// This side's register.
    pub fn register(&self) -> &'a Register {
        self.register
    }

    /// This side's store.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// When the book was opened.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// While the guard lives, no other thread releases, reveals or takes an act.
    pub fn lock_orders(&self) -> MutexGuard<'a, ()> {
        self.gate.lock_orders()
    }

    /// The acts upon an order that are in force.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn acts(&self, authority: &Id, order: Uuid) -> Result<Vec<AppliedAct>, Refusal> {
        let rows = self
            .store
            .order_acts(authority.as_str(), Some(order))
            .map_err(fault(FAILED))?;
        rows.iter()
            .filter_map(|row| self.read_in_force(row).transpose())
            .collect()
    }

    /// The effect of a stored act, if it is in force: what lets something go on is so once enough
    /// places hold its entry.
    fn read_in_force(&self, row: &ActRow) -> Result<Option<AppliedAct>, Refusal> {
        let withheld = |done: &AppliedAct| {
            done.act.grants() && self.log.withholds(&Grant::OrderAct(done.digest.clone()))
        };
        Ok(read_act(row)?.done.filter(|done| !withheld(done)))
    }

    /// Refuses an order that was revoked or is suspended.
    ///
    /// # Errors
    /// [`Code::OrderRevoked`], [`Code::OrderSuspended`].
    pub fn check_stands(&self, authority: &Id, order: Uuid) -> Result<(), Refusal> {
        match stopped(&self.acts(authority, order)?) {
            Some(Code::OrderRevoked) => Err(Refusal::new(
                Code::OrderRevoked,
                "its authority has revoked the order",
            )),
            Some(code) => Err(Refusal::new(code, "its authority has suspended the order")),
            None => Ok(()),
        }
    }

    /// Refuses an order of before a restore without places.
    ///
    /// # Errors
    /// [`Code::OrderBeforeRestore`].
    pub fn check_issued(&self, issued: Option<Timestamp>) -> Result<(), Refusal> {
        self.loss
            .as_ref()
            .map_or(Ok(()), |loss| loss.check_order(issued))
    }

    /// The life of an order, if it was used here.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn life(&self, order: &OrderKey) -> Result<Option<OrderLife>, Refusal> {
        let Some(bytes) = self.store.order_life(order).map_err(fault(FAILED))? else {
            return Ok(None);
        };
        OrderLife::from_bytes(&bytes)
            .map(Some)
            .ok_or("an order's life does not read back")
            .map_err(fault(FAILED))
    }

    /// The lives of all orders that were used here.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn lives(&self) -> Result<BTreeMap<OrderKey, OrderLife>, Refusal> {
        let read = |(key, bytes): (OrderKey, Vec<u8>)| {
            Ok((
                key,
                OrderLife::from_bytes(&bytes)
                    .ok_or("an order's life does not read back")
                    .map_err(fault(FAILED))?,
            ))
        };
        self.store
            .order_lives()
            .map_err(fault(FAILED))?
            .into_iter()
            .map(read)
            .collect()
    }

    /// All orders of one authority, or of all authorities; first those with a review to close, then
    /// the latest used.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn list(&self, authority: Option<&Id>) -> Result<Vec<OrderView>, Refusal> {
        let mut lives = self.lives()?;
        let mut acts: BTreeMap<(Id, Uuid), Vec<AppliedAct>> = BTreeMap::new();
        for (key, life) in &lives {
            acts.entry((life.authority.clone(), key.id)).or_default();
        }
        for named in self.register.authorities.keys() {
            for row in self
                .store
                .order_acts(named.as_str(), None)
                .map_err(fault(FAILED))?
            {
                if let Some(done) = self.read_in_force(&row)? {
                    acts.entry((named.clone(), row.order))
                        .or_default()
                        .push(done);
                }
            }
        }
        let wanted = acts
            .into_iter()
            .filter(|((whose, _), _)| authority.is_none_or(|one| one == whose));
        let mut views: Vec<_> = wanted
            .map(|((whose, id), acts)| {
                let life = lives.remove(&OrderKey::new(whose.as_str(), id));
                OrderView::new(id, whose, life, acts, self.now)
            })
            .collect();
        let latest = |view: &OrderView| view.life.as_ref().map(|life| life.last.time);
        views.sort_by_key(|view| std::cmp::Reverse((view.review_due, latest(view))));
        Ok(views)
    }

    /// How many orders wait for their review to be closed.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn reviews_due(&self) -> Result<usize, Refusal> {
        Ok(self
            .list(None)?
            .iter()
            .filter(|view| view.review_due)
            .count())
    }

    /// An order as this side sees it now.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn view(&self, authority: &Id, order: Uuid) -> Result<OrderView, Refusal> {
        let life = self.life(&OrderKey::new(authority.as_str(), order))?;
        Ok(OrderView::new(
            order,
            authority.clone(),
            life,
            self.acts(authority, order)?,
            self.now,
        ))
    }

    /// Takes an act from a caller, durably and logged. Repeating it does nothing. What lets
    /// something go on is not in force before enough places hold it.
    ///
    /// # Errors
    /// Those of [`check_act`]; [`Code::OrderAuthority`] for an act of another authority;
    /// [`Code::OrderRevoked`] for a `resume` of a revoked order; [`Code::UnknownOrder`] and
    /// [`Code::ActInvalid`] for a review that does not exist, that cannot be closed yet, or that
    /// these signers may not close; [`Code::ActRate`]; [`Code::AuditUnavailable`].
    pub fn lodge(&self, text: &str, permit: &BearerPermit) -> Result<ActPayload, Refusal> {
        let act = check_act(text, self.register)?;
        if permit
            .authority
            .as_ref()
            .is_some_and(|own| *own != act.says.authority)
        {
            return Err(Refusal::new(
                Code::OrderAuthority,
                "the act is another authority's",
            ));
        }
        self.committer.admit().map_err(Refusal::unavailable)?;
        let (authority, order) = (act.says.authority.clone(), act.says.order);
        // Verifies the signatures of the stored acts before others have to wait for the lock.
        self.confirmed_acts(&authority)?;
        let orders = self.lock_orders();
        let before = self.view(&authority, order)?;
        let acts = self.confirmed_acts(&authority)?;
        if acts.order(&act.digest).is_some()
            || act.says.act == ActKind::Revoke && is_revoked(&before.acts, &acts)
        {
            return Ok(act.says);
        }
        self.check_allowed(&act, &before)?;
        if !self.was_seen(&OrderKey::new(authority.as_str(), order))? {
            self.acts_today(&authority, |key| Ok(!self.was_seen(key)?))?
                .add(&act, MOST_UNKNOWN)?;
        }
        let says = act.says.clone();
        self.keep(vec![act], &permit.bearer)?;
        drop(orders);
        Ok(says)
    }

    /// Whether the order itself was seen here, used or lodged. Then its id was not invented.
    pub(super) fn was_seen(&self, order: &OrderKey) -> Result<bool, Refusal> {
        let is_pinned = || {
            self.store
                .order_digest(order)
                .map_err(fault(FAILED))
                .map(|digest| digest.is_some())
        };
        Ok(self.life(order)?.is_some() || is_pinned()?)
    }

    fn check_allowed(&self, act: &SignedAct, before: &OrderView) -> Result<(), Refusal> {
        match act.says.act {
            ActKind::Revoke => return Ok(()),
            ActKind::Resume if stopped(&before.acts) == Some(Code::OrderRevoked) => {
                return Err(Refusal::new(
                    Code::OrderRevoked,
                    "a revoked order stays revoked",
                ));
            }
            ActKind::CloseReview => self.check_closable(&act.persons, before)?,
            ActKind::Suspend | ActKind::Resume => {}
        }
        if before.acts.len() >= MOST_ACTS {
            return Err(Refusal::new(
                Code::ActInvalid,
                "there are too many acts upon this order; it can be revoked",
            ));
        }
        Ok(())
    }

    fn check_closable(&self, signers: &[Signer], before: &OrderView) -> Result<(), Refusal> {
        let invalid = |why| Err(Refusal::new(Code::ActInvalid, why));
        let Some(life) = &before.life else {
            return Err(Refusal::new(
                Code::UnknownOrder,
                "no order of this id was used here, so there is no review",
            ));
        };
        if life.review.is_none() {
            return invalid("the order opened no review: it is not of force majeure");
        }
        if is_reviewed(life, &before.acts) {
            return invalid("its review is closed already");
        }
        if self.now < life.not_after && stopped(&before.acts) != Some(Code::OrderRevoked) {
            return invalid(
                "the order may still be used: its review is closed when it is over or revoked",
            );
        }
        if may_close(signers, &life.signers) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::OrderQuorum,
            "a review is closed by a body that did not sign the order, or by two bodies with a person who did not",
        ))
    }

    /// Keeps acts, durably and logged. To be called under [`Book::lock_orders`].
    fn keep(&self, acts: Vec<SignedAct>, bearer: &str) -> Result<(), Refusal> {
        let unavailable = not_logged("the act is not taken");
        let mut waiting = vec![];
        for act in acts {
            let known = (act.says.authority.clone(), act.digest, act.says.order);
            waiting.push((known, self.committer.submit(self.job(act, bearer)?)));
        }
        let mut failed = None;
        for ((authority, digest, order), pending) in waiting {
            match pending.and_then(crate::commit::Pending::wait) {
                Ok(_) => self.gate.add_act(&authority, digest, order),
                Err(code) => failed = Some(unavailable(code)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn job(&self, act: SignedAct, bearer: &str) -> Result<Job, Refusal> {
        let SignedAct {
            says: payload,
            digest,
            text,
            persons: signers,
            ..
        } = act;
        let entry = OrderActDetails {
            authority: payload.authority.clone(),
            order: payload.order.to_string(),
            act: payload.act.as_str(),
            reason: payload.reason.clone(),
            signers: signers.iter().map(|signer| signer.id.clone()).collect(),
            digest: hex(&digest),
            bearer: bearer.to_owned(),
            effective: true,
        };
        let done = AppliedAct {
            act: payload.act,
            reason: payload.reason,
            by: signers,
            time: payload.time,
            received: self.now,
            digest: hex(&digest),
            lifts: payload.lifts.iter().map(|digest| hex(digest)).collect(),
        };
        let value = serde_json::to_vec(&StoredAct {
            text,
            done: Some(done),
        })
        .map_err(fault(FAILED))?;
        let (authority, row) = (
            payload.authority,
            ActRow {
                order: payload.order,
                digest,
                value,
            },
        );
        let change: Change =
            Box::new(move |store, batch| store.put_order_act(batch, authority.as_str(), &row));
        Ok(Job::entry(
            self.now,
            AuditEvent::OrderAct(Box::new(entry)),
            vec![],
            vec![change],
        ))
    }

    /// Counts the acts that each signer brought today, upon orders that `counts` accepts.
    fn acts_today(
        &self,
        authority: &Id,
        counts: impl Fn(&OrderKey) -> Result<bool, Refusal>,
    ) -> Result<ActsOfDay, Refusal> {
        let today = day_of(self.now);
        let mut of_day = ActsOfDay::default();
        for row in self
            .store
            .order_acts(authority.as_str(), None)
            .map_err(fault(FAILED))?
        {
            let done = read_act(&row)?
                .done
                .filter(|done| day_of(done.received) == today);
            let Some(done) = done else { continue };
            if counts(&OrderKey::new(authority.as_str(), row.order))? {
                done.by
                    .iter()
                    .for_each(|signer| *of_day.0.entry(signer.id.clone()).or_default() += 1);
            }
        }
        Ok(of_day)
    }
}

/// The number of acts of one day, by signer.
#[derive(Default)]
struct ActsOfDay(HashMap<Id, usize>);

impl ActsOfDay {
    /// Adds an act.
    ///
    /// # Errors
    /// [`Code::ActRate`] if one of its signers has `most` already.
    fn add(&mut self, act: &SignedAct, most: usize) -> Result<(), Refusal> {
        let has_most = |signer: &Signer| self.0.get(&signer.id).is_some_and(|count| *count >= most);
        if act.persons.iter().any(has_most) {
            let why = format!(
                "a signer has brought {most} such acts today: let another approver sign, or wait"
            );
            return Err(Refusal::new(Code::ActRate, why).come_back_in(3_600));
        }
        act.persons
            .iter()
            .for_each(|signer| *self.0.entry(signer.id.clone()).or_default() += 1);
        Ok(())
    }
}

/// Whether a revocation is among the acts that the register confirms.
fn is_revoked(done: &[AppliedAct], acts: &ActSet) -> bool {
    let digest = |done: &AppliedAct| {
        data_encoding::HEXLOWER
            .decode(done.digest.as_bytes())
            .ok()?
            .try_into()
            .ok()
    };
    let revocations = done.iter().filter(|done| done.act == ActKind::Revoke);
    revocations
        .filter_map(digest)
        .any(|digest| acts.order(&digest).is_some())
}
