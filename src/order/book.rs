//! The book that each side keeps of orders: their lives, and the acts upon them. The same code for the vault and for the
//! authority node, over each one's own register, store and clock.
//!
//! **In step.** A side compares the digest over all acts that it holds with that of the other before anything is released: the
//! node sends its digest with every request, and the vault releases nothing under another than its own ([`Book::digest`]).
//! So neither releases before it has the other's revocations, after a start, a lost link or anything else, and without a
//! clock or a session that could be wrong. Who is out of step exchanges what the other lacks ([`Book::lacking`],
//! [`Book::take`]) and asks again.
//!
//! An act that the other side's register no longer bears out (its approver has left) is kept and counted in the digest, and
//! does nothing there; where it was taken it stays in force. Otherwise it would keep both out of step for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::act::{Act, Kind, check_act, may_close, read_act};
use super::life::{Done, Life, OrderView, is_reviewed, stopped};
use super::{Refusal, Signer};
use crate::access::BearerPermit;
use crate::audit::{Entry, Event, OrderAct};
use crate::code::Code;
use crate::commit::{Change, Committer, Job, Logged};
use crate::node::Node;
use crate::register::{Id, Register};
use crate::store::{ActRow, OrderKey, Store};
use crate::vault::Vault;

/// Acts upon one order that are taken at a door. A revocation is always taken.
const MOST_ACTS: usize = 64;
/// Acts of an authority that are kept though the register does not bear them out.
const MOST_VOID: usize = 1_000;
/// Acts in one part of an exchange.
pub const MOST_EXCHANGED: usize = 1_000;

/// One side's book, at one instant.
pub struct Book<'a> {
    register: &'a Register,
    store: &'a Store,
    committer: &'a Committer,
    lock: &'a Mutex<()>,
    now: Timestamp,
}

/// The row of an act.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// The act as it was signed.
    text: String,
    /// What it did; absent where the register did not bear it out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    done: Option<Done>,
}

impl<'a> From<&'a Vault> for Book<'a> {
    fn from(vault: &'a Vault) -> Self {
        Self {
            register: vault.register(),
            store: vault.store(),
            committer: vault.committer(),
            lock: &vault.releases,
            now: vault.now(),
        }
    }
}

impl<'a> From<&'a Node> for Book<'a> {
    fn from(node: &'a Node) -> Self {
        Self {
            register: node.register(),
            store: node.store(),
            committer: node.committer(),
            lock: &node.reveals,
            now: node.now(),
        }
    }
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "the book of orders failed");
    Refusal::new(Code::Internal, "a fault of ours; the log says more")
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn stored(row: &ActRow) -> Result<Stored, Refusal> {
    serde_json::from_slice(&row.value).map_err(|_| internal("an act does not read back"))
}

impl<'a> Book<'a> {
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

    /// Keeps everybody else from releasing, revealing and taking acts until the guard is dropped.
    pub fn alone(&self) -> MutexGuard<'a, ()> {
        // What the lock guards lies in the store and is whole after any panic.
        self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What was done upon an order of an authority.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn acts(&self, authority: &Id, order: Uuid) -> Result<Vec<Done>, Refusal> {
        let rows = self.store.order_acts(authority.as_str(), Some(order)).map_err(internal)?;
        rows.iter().filter_map(|row| stored(row).map(|stored| stored.done).transpose()).collect()
    }

    /// Refuses an order that was revoked or is suspended.
    ///
    /// # Errors
    /// [`Code::OrderRevoked`], [`Code::OrderSuspended`].
    pub fn stands(&self, authority: &Id, order: Uuid) -> Result<(), Refusal> {
        match stopped(&self.acts(authority, order)?) {
            Some(Code::OrderRevoked) => Err(Refusal::new(Code::OrderRevoked, "its authority has revoked the order")),
            Some(code) => Err(Refusal::new(code, "its authority has suspended the order")),
            None => Ok(()),
        }
    }

    /// The life of an order, if it was used here.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn life(&self, order: &OrderKey) -> Result<Option<Life>, Refusal> {
        let Some(bytes) = self.store.order_life(order).map_err(internal)? else { return Ok(None) };
        Life::from_bytes(&bytes).map(Some).ok_or_else(|| internal("an order's life does not read back"))
    }

    /// The lives of all orders that were used here.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn lives(&self) -> Result<BTreeMap<OrderKey, Life>, Refusal> {
        let read = |(key, bytes): (OrderKey, Vec<u8>)| {
            Ok((key, Life::from_bytes(&bytes).ok_or_else(|| internal("an order's life does not read back"))?))
        };
        self.store.order_lives().map_err(internal)?.into_iter().map(read).collect()
    }

    /// All orders of one authority, or of all; those with a review to close first, then the latest used.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn list(&self, authority: Option<&Id>) -> Result<Vec<OrderView>, Refusal> {
        let mut lives = self.lives()?;
        let mut acts: BTreeMap<(Id, Uuid), Vec<Done>> = BTreeMap::new();
        for (key, life) in &lives {
            acts.entry((life.authority.clone(), key.id)).or_default();
        }
        for named in self.register.authorities.keys() {
            for row in self.store.order_acts(named.as_str(), None).map_err(internal)? {
                if let Some(done) = stored(&row)?.done {
                    acts.entry((named.clone(), row.order)).or_default().push(done);
                }
            }
        }
        let wanted = acts.into_iter().filter(|((whose, _), _)| authority.is_none_or(|one| one == whose));
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
        Ok(self.list(None)?.iter().filter(|view| view.review_due).count())
    }

    fn view(&self, authority: &Id, order: Uuid) -> Result<OrderView, Refusal> {
        let life = self.life(&OrderKey::new(authority.as_str(), order))?;
        Ok(OrderView::new(order, authority.clone(), life, self.acts(authority, order)?, self.now))
    }

    /// Takes an act that somebody brought to this side, durably and logged. Bringing it again does nothing.
    ///
    /// # Errors
    /// Those of [`check_act`]; [`Code::OrderAuthority`] for an order of another authority; [`Code::OrderRevoked`] for a `resume`
    /// of a revoked order; [`Code::UnknownOrder`] and [`Code::ActInvalid`] for a review that is not there, not yet over,
    /// or not these signers' to close; [`Code::AuditUnavailable`].
    pub fn lodge(&self, text: &str, permit: &BearerPermit) -> Result<OrderView, Refusal> {
        let act = check_act(text, self.register)?;
        self.committer.admit().map_err(Refusal::unavailable)?;
        if permit.authority.as_ref().is_some_and(|own| *own != act.payload.authority) {
            return Err(Refusal::new(Code::OrderAuthority, "the act is another authority's"));
        }
        let (authority, order) = (&act.payload.authority, act.payload.order);
        let alone = self.alone();
        let before = self.view(authority, order)?;
        let known = before.acts.iter().any(|done| done.digest == hex(&act.digest));
        let needless = act.payload.act == Kind::Revoke && stopped(&before.acts) == Some(Code::OrderRevoked);
        if known || needless {
            return Ok(before);
        }
        self.allowed(&act, &before)?;
        let (row, entry) = self.row(&act, text, &permit.bearer)?;
        let job = self.job(authority, row, entry);
        self.wait(vec![job])?;
        drop(alone);
        self.view(authority, order)
    }

    fn allowed(&self, act: &Act, before: &OrderView) -> Result<(), Refusal> {
        match act.payload.act {
            Kind::Revoke => return Ok(()),
            Kind::Resume if stopped(&before.acts) == Some(Code::OrderRevoked) => {
                return Err(Refusal::new(Code::OrderRevoked, "a revoked order stays revoked"));
            }
            Kind::CloseReview => self.closable(&act.signers, before)?,
            Kind::Suspend | Kind::Resume => {}
        }
        if before.acts.len() >= MOST_ACTS {
            return Err(Refusal::new(Code::ActInvalid, "there are too many acts upon this order; it can be revoked"));
        }
        Ok(())
    }

    fn closable(&self, signers: &[Signer], before: &OrderView) -> Result<(), Refusal> {
        let invalid = |why| Err(Refusal::new(Code::ActInvalid, why));
        let Some(life) = &before.life else {
            return Err(Refusal::new(Code::UnknownOrder, "no order of this id was used here, so there is no review"));
        };
        if life.review.is_none() {
            return invalid("the order opened no review: it is not of force majeure");
        }
        if is_reviewed(life, &before.acts) {
            return invalid("its review is closed already");
        }
        if self.now < life.not_after && stopped(&before.acts) != Some(Code::OrderRevoked) {
            return invalid("the order may still be used: its review is closed when it is over or revoked");
        }
        match may_close(signers, &life.signers) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::OrderQuorum,
                "a review is closed by a body that did not sign the order, or by two bodies with somebody who did not",
            )),
        }
    }

    // --- in step with the other side ----------------------------------------------------------------------------------

    /// SHA-256 over order id and digest of every act of an authority that this side holds, sorted, hex.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn digest(&self, authority: &Id) -> Result<String, Refusal> {
        let rows = self.store.order_acts(authority.as_str(), None).map_err(internal)?;
        let hash = rows.iter().fold(Sha256::new(), |hash, row| hash.chain_update(row.order).chain_update(row.digest));
        Ok(hex(&hash.finalize()))
    }

    /// The digests of all acts of an authority that this side holds, hex.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn known(&self, authority: &Id) -> Result<Vec<String>, Refusal> {
        let rows = self.store.order_acts(authority.as_str(), None).map_err(internal)?;
        Ok(rows.iter().map(|row| hex(&row.digest)).collect())
    }

    /// The acts that somebody lacks who knows `known`, as they were signed; at most [`MOST_EXCHANGED`].
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn lacking(&self, authority: &Id, known: &[String]) -> Result<Vec<String>, Refusal> {
        let known: BTreeSet<&String> = known.iter().collect();
        let rows = self.store.order_acts(authority.as_str(), None).map_err(internal)?;
        let lacking = rows.iter().filter(|row| !known.contains(&hex(&row.digest))).take(MOST_EXCHANGED);
        lacking.map(|row| stored(row).map(|stored| stored.text)).collect()
    }

    /// Takes acts from the other side, durably and logged.
    ///
    /// # Errors
    /// [`Code::ActInvalid`] for a text that is no act, or not one upon an order of that authority; [`Code::AuditUnavailable`].
    pub fn take(&self, authority: &Id, texts: &[String], bearer: &str) -> Result<(), Refusal> {
        let _alone = self.alone();
        let rows = self.store.order_acts(authority.as_str(), None).map_err(internal)?;
        let mut known: BTreeSet<[u8; 32]> = rows.iter().map(|row| row.digest).collect();
        let void = rows.iter().map(stored).filter(|row| row.as_ref().is_ok_and(|row| row.done.is_none()));
        let mut void = void.count();
        let mut jobs = vec![];
        for text in texts {
            let (payload, digest) = read_act(text)?;
            if payload.authority != *authority {
                return Err(Refusal::new(Code::ActInvalid, "the act is upon an order of another authority"));
            }
            if !known.insert(digest) {
                continue;
            }
            let (row, entry) = match check_act(text, self.register) {
                Ok(act) => self.row(&act, text, bearer)?,
                Err(refusal) if void < MOST_VOID => {
                    tracing::warn!(why = refusal.why(), "an act of the other side does nothing here");
                    void += 1;
                    let act = Act { payload, digest, signers: vec![] };
                    let row = Stored { text: text.clone(), done: None };
                    self.row_of(&act, &row, bearer, false)?
                }
                Err(refusal) => return Err(refusal),
            };
            jobs.push(self.job(authority, row, entry));
        }
        self.wait(jobs)
    }

    // --- writing ------------------------------------------------------------------------------------------------------

    fn row(&self, act: &Act, text: &str, bearer: &str) -> Result<(ActRow, OrderAct), Refusal> {
        let done = Done {
            act: act.payload.act,
            reason: act.payload.reason.clone(),
            by: act.signers.clone(),
            time: act.payload.time,
            received: self.now,
            digest: hex(&act.digest),
            lifts: act.payload.lifts.iter().map(|digest| hex(digest)).collect(),
        };
        self.row_of(act, &Stored { text: text.to_owned(), done: Some(done) }, bearer, true)
    }

    fn row_of(&self, act: &Act, row: &Stored, bearer: &str, effective: bool) -> Result<(ActRow, OrderAct), Refusal> {
        let value = serde_json::to_vec(row).map_err(internal)?;
        let entry = OrderAct {
            authority: act.payload.authority.clone(),
            order: act.payload.order.to_string(),
            act: act.payload.act.as_str(),
            reason: act.payload.reason.clone(),
            signers: act.signers.iter().map(|signer| signer.id.clone()).collect(),
            digest: hex(&act.digest),
            bearer: bearer.to_owned(),
            effective,
        };
        Ok((ActRow { order: act.payload.order, digest: act.digest, value }, entry))
    }

    fn job(&self, authority: &Id, row: ActRow, entry: OrderAct) -> Job {
        let authority = authority.clone();
        let change: Change = Box::new(move |store, batch| store.put_order_act(batch, authority.as_str(), &row));
        Job {
            mappings: vec![],
            changes: vec![change],
            count: None,
            log: Logged::Entry(Entry::new(self.now, Event::OrderAct(Box::new(entry))), vec![]),
        }
    }

    /// Waits until all of them are durable.
    fn wait(&self, jobs: Vec<Job>) -> Result<(), Refusal> {
        let unavailable = |code| Refusal::new(code, "the audit log takes no entry, so the act is not taken");
        let waiting: Vec<_> = jobs.into_iter().map(|job| self.committer.submit(job)).collect();
        for pending in waiting {
            pending.and_then(crate::commit::Pending::wait).map_err(unavailable)?;
        }
        Ok(())
    }
}
