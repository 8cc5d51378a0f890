//! Shuts out a register entry at once: a statement of one holder of a register key (for an officer:
//! or of one approver of their authority) suspends it, and a statement with the quorum of register
//! keys lifts that.
//!
//! A suspension is in force on open connections too from the moment that it is durable, and before
//! the answer. A lift grants, so it is in force once enough places hold it. The decision about each
//! request is [`crate::access::admitted`]. A register in force that has neither the entry nor a key
//! that it had ends the suspension: the entry is gone.
//!
//! One register key must not lock a deployment out, so the last operator and the last auditor who
//! are let in are not suspended: they can bring the statement that lifts the others. A statement
//! lifts only what was signed no later than itself, so that one kept back lifts nothing later.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::SuspensionPermit;
use crate::audit::{AuditEvent, Grant};
use crate::clock::day_of;
use crate::code::Code;
use crate::commit::Change;
use crate::entity::{ActStanding, Entity, EntrySuspension, SuspensionEnd};
use crate::json::JsonObject;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Id, LEAST_BODIES, Register, SpkiDigest};
use crate::statement::{self, Signed, Statement, StatementFault, UnverifiedStatement};

/// How many suspensions one key may sign in a day (UTC): a thief of one key shuts out no more.
pub const MOST_A_DAY: usize = 10;
/// How long a statement may be brought after it was written.
pub const MOST_AGE: SignedDuration = SignedDuration::from_hours(24);
/// How far the writer's clock may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_mins(2);
/// The longest statement, in bytes.
pub const MAX_STATEMENT: usize = 16 << 10;

/// Why an entry is suspended: a closed list.
pub const REASONS: [&str; 5] = [
    "key-stolen",
    "key-lost",
    "misuse",
    "person-left",
    "precaution",
];

/// Suspends a register entry, or lifts its suspension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuspensionPayload {
    /// The deployment's id.
    pub aud: Id,
    /// The statement's id: a random UUID (version 4).
    pub id: Uuid,
    /// `suspend` or `lift`.
    pub act: SuspensionAct,
    /// The id of the register entry.
    pub entry: Id,
    /// One of [`REASONS`].
    pub reason: String,
    /// When it was written; whole seconds.
    pub time: Timestamp,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuspensionAct {
    /// Shuts the entry out.
    Suspend,
    /// Lets it in again.
    Lift,
}

impl SuspensionAct {
    /// The spelling in statements and entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Lift => "lift",
        }
    }
}

impl Statement for SuspensionPayload {
    const TYP: &'static str = "cloison-suspension+json";
    const NAME: &'static str = "the statement";
    const CODE: Code = Code::StatementInvalid;
    const MAX_TEXT: usize = MAX_STATEMENT;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        let act = match members.text("act")?.as_str() {
            "suspend" => SuspensionAct::Suspend,
            "lift" => SuspensionAct::Lift,
            _ => return Err("`act` is not `suspend` or `lift`".into()),
        };
        let payload = Self {
            aud: members.id("aud")?,
            id: members.random_uuid("id")?,
            act,
            entry: members.id("entry")?,
            reason: members.text("reason")?,
            time: members.time("time")?,
        };
        if REASONS.contains(&payload.reason.as_str()) {
            Ok(payload)
        } else {
            Err("`reason` is not one of the list in docs/register.md".into())
        }
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

/// A statement as it is brought.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspensionText {
    /// JWS General JSON, as text.
    pub statement: String,
}

/// What a statement did.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspensionAnswer {
    /// The entries that are suspended now.
    pub suspended: Vec<EntrySuspension>,
}

/// Takes a statement: durable and logged. A suspension is in force then, a lift once enough places
/// hold it, and each before the answer.
///
/// # Errors
/// [`Code::StatementInvalid`], [`Code::RequestReplayed`], [`Code::ActRate`],
/// [`Code::ClockBehind`] for a lift, [`Code::AuditUnavailable`]; [`Code::JournalUnavailable`]: a
/// suspension is in force then, and a lift is not.
pub fn bring(
    entity: &Entity,
    permit: &SuspensionPermit,
    text: &str,
) -> Result<SuspensionAnswer, Refusal> {
    let (now, standing) = match UnverifiedStatement::<SuspensionPayload>::read(text)?
        .says()
        .act
    {
        // What only restricts does not wait for a clock that is behind.
        SuspensionAct::Suspend => (entity.latest_time(), ActStanding::InForce),
        SuspensionAct::Lift => (entity.steady_time()?, ActStanding::Withheld),
    };
    let signed = check(text, entity.register(), now)?;
    if let Some(entry) = entity.unanswered(&signed.digest) {
        entity.answer_act(signed.digest, entry, standing)?;
        return Ok(lasting(entity));
    }
    if is_withheld(entity, &signed.says) {
        entity.wait_for_grant()?;
        return Ok(lasting(entity));
    }
    let one_at_a_time = entity.lock_suspensions();
    let (says, all) = (&signed.says, entity.suspensions_ever());
    let until = says.time.as_second() + MOST_AGE.as_secs();
    let carried_out = entity.store().is_carried_out(until, says.id);
    if carried_out.map_err(fault("suspensions could not be read"))? {
        let why = "this statement was taken already; write a new one";
        return Err(Refusal::new(Code::RequestReplayed, why));
    }
    let changed = match says.act {
        SuspensionAct::Suspend => {
            check_rate(&all, &signed.persons, now)?;
            check_way_back(entity, &says.entry, now)?;
            vec![taken(&signed, entity.register(), now)]
        }
        SuspensionAct::Lift => lifted(&all, entity, says, now)?,
    };
    let (rows, id) = (changed.clone(), says.id);
    let write: Change = Box::new(move |store, batch| {
        store.put_carried_out(batch, until, id);
        for row in rows {
            store.put_suspension(batch, row.id, &row.to_bytes());
        }
    });
    let receipt = entity
        .committer()
        .record(now, event(&signed, permit), vec![], vec![write])
        .map_err(not_logged("nothing is done"))?;
    entity.put_suspensions(changed);
    // Others must not wait for places with this.
    drop(one_at_a_time);
    entity.answer_act(signed.digest, receipt.position(), standing)?;
    Ok(lasting(entity))
}

/// Whether this lift was taken before a restart, and too few places hold it yet.
fn is_withheld(entity: &Entity, says: &SuspensionPayload) -> bool {
    let by = Some(SuspensionEnd::Statement(says.id));
    let ended = |row: &EntrySuspension| row.lifted_by == by && row.entry == says.entry;
    let grant = Grant::Lift(says.id.to_string());
    entity.suspensions_ever().iter().any(ended) && entity.log().withholds(&grant)
}

/// The suspensions that last, as they are answered.
pub(crate) fn lasting(entity: &Entity) -> SuspensionAnswer {
    SuspensionAnswer {
        suspended: entity.suspensions(),
    }
}

fn event(signed: &Signed<SuspensionPayload, Id>, permit: &SuspensionPermit) -> AuditEvent {
    let says = &signed.says;
    AuditEvent::Suspension {
        act: says.act.as_str(),
        bearer: permit.bearer.clone(),
        entry: says.entry.clone(),
        reason: says.reason.clone(),
        signers: signed.persons.clone(),
        statement: says.id.to_string(),
    }
}

/// The suspensions of an entry that were signed no later than the statement which lifts them, as
/// they end now.
fn lifted(
    all: &[EntrySuspension],
    entity: &Entity,
    says: &SuspensionPayload,
    now: Timestamp,
) -> Result<Vec<EntrySuspension>, Refusal> {
    let keys = keys_of(entity.register(), &says.entry);
    let withheld = entity.log().withheld_now();
    let of_entry = |row: &&EntrySuspension| {
        let by_key = keys.iter().any(|key| row.has_key(*key));
        row.lasts(&withheld) && (row.entry == says.entry || by_key)
    };
    let mut lasting = all.iter().filter(of_entry).peekable();
    if lasting.peek().is_none() {
        return Err(SuspensionPayload::refuse("this entry is not suspended"));
    }
    let lifted: Vec<_> = lasting
        .filter(|row| written(row) <= says.time)
        .cloned()
        .map(|known| EntrySuspension {
            lifted: Some(now),
            lifted_by: Some(SuspensionEnd::Statement(says.id)),
            ..known
        })
        .collect();
    if lifted.is_empty() {
        return Err(SuspensionPayload::refuse(
            "the entry was suspended by a statement that is later than this one; write a new one to lift it",
        ));
    }
    Ok(lifted)
}

/// When a suspension's statement was written.
fn written(row: &EntrySuspension) -> Timestamp {
    statement::read_unverified::<SuspensionPayload>(&row.text)
        .map_or(row.received, |says| says.time)
}

/// The certificates' keys of an entry.
fn keys_of(register: &Register, entry: &Id) -> Vec<SpkiDigest> {
    let own = register.callers().filter(|(id, _)| *id == entry);
    own.map(|(_, key)| key).collect()
}

/// Refuses to suspend the last operator or the last auditor who is let in: nobody could bring the
/// statement that lifts what one register key suspended.
fn check_way_back(entity: &Entity, entry: &Id, now: Timestamp) -> Result<(), Refusal> {
    let register = entity.register();
    let operators = register
        .operators
        .iter()
        .map(|(key, known)| (&known.id, *key));
    let auditors = register.auditors.iter().map(|(key, id)| (id, *key));
    let is_last = |mut kind: Vec<(&Id, SpkiDigest)>| {
        kind.retain(|(id, key)| {
            register.ended(*key, now).is_none() && !entity.suspended(id.as_str(), *key)
        });
        kind.iter().all(|(id, _)| *id == entry) && !kind.is_empty()
    };
    for (kind, last) in [
        ("operator", is_last(operators.collect())),
        ("auditor", is_last(auditors.collect())),
    ] {
        if last {
            return Err(SuspensionPayload::refuse(format!(
                "`{entry}` is the last {kind} who is let in, who could bring the statement that lifts a suspension: \
                 give the {kind} another key by a register"
            )));
        }
    }
    Ok(())
}

fn taken(
    signed: &Signed<SuspensionPayload, Id>,
    register: &Register,
    now: Timestamp,
) -> EntrySuspension {
    let keys = keys_of(register, &signed.says.entry);
    EntrySuspension {
        id: signed.says.id,
        entry: signed.says.entry.clone(),
        reason: signed.says.reason.clone(),
        signers: signed.persons.clone(),
        received: now,
        text: signed.text.clone(),
        keys: keys.iter().map(|key| HEXLOWER.encode(&key.0)).collect(),
        lifted: None,
        lifted_by: None,
    }
}

/// Checks form, signatures and age of a statement by a register.
///
/// # Errors
/// [`Code::StatementInvalid`].
pub fn check(
    text: &str,
    register: &Register,
    now: Timestamp,
) -> Result<Signed<SuspensionPayload, Id>, Refusal> {
    let claimed = UnverifiedStatement::<SuspensionPayload>::read(text)?;
    let age = now.duration_since(claimed.says().time);
    if age > MOST_AGE || age < -AHEAD {
        return Err(SuspensionPayload::refuse(
            "the statement was not written within the last 24 hours; write a new one",
        ));
    }
    let entry = claimed.says().entry.clone();
    if !register.has_caller(&entry) {
        return Err(SuspensionPayload::refuse(
            "the register has no entry with a certificate's key under this id: organisations and approvers are not suspended, \
             but their clients, and the officers and the node of their authority",
        ));
    }
    match claimed.says().act {
        SuspensionAct::Suspend => {
            let office = "the holder of a register key, or an approver of this officer's authority";
            claimed.verify(&register.deployment, 1, office, |kid| {
                signer(register, &entry, kid)
            })
        }
        SuspensionAct::Lift => {
            let Some(pins) = &register.pins else {
                return Err(SuspensionPayload::refuse("no register key is pinned here"));
            };
            let office = "the holder of a register key";
            let signed = claimed.verify(&register.deployment, pins.quorum, office, |kid| {
                register_key(register, kid)
            })?;
            check_bodies(register, &signed.persons)?;
            Ok(signed)
        }
    }
}

fn register_key<'r>(register: &'r Register, kid: &str) -> Option<(Id, &'r VerifyingKey)> {
    let keys = register.pins.iter().flat_map(|pins| &pins.keys);
    let mut keys = keys.filter(|pinned| pinned.id.as_str() == kid);
    keys.next().map(|pinned| (pinned.id.clone(), &pinned.key))
}

/// The key of a person who may suspend an entry.
fn signer<'r>(register: &'r Register, entry: &Id, kid: &str) -> Option<(Id, &'r VerifyingKey)> {
    register_key(register, kid).or_else(|| {
        let own = |authority: &&std::sync::Arc<crate::register::Authority>| {
            authority.officers.contains_key(entry) || authority.custodians.contains_key(entry)
        };
        let authorities = register.authorities.values().filter(own);
        let mut approvers = authorities.flat_map(|authority| authority.approvers.values());
        approvers
            .find(|approver| approver.id.as_str() == kid)
            .map(|approver| (approver.id.clone(), &approver.key))
    })
}

/// The rule of a register's own signatures: two bodies, one of them the commission.
fn check_bodies(register: &Register, persons: &[Id]) -> Result<(), Refusal> {
    let Some(pins) = &register.pins else {
        return Err(SuspensionPayload::refuse("no register key is pinned here"));
    };
    let signed = pins
        .keys
        .iter()
        .filter(|pinned| persons.contains(&pinned.id));
    let bodies: BTreeSet<_> = signed.map(|pinned| &pinned.body).collect();
    if bodies.len() >= LEAST_BODIES && bodies.contains(&pins.commission) {
        Ok(())
    } else {
        Err(SuspensionPayload::refuse(
            "a suspension is lifted by register keys of two bodies, one of them the commission",
        ))
    }
}

fn check_rate(all: &[EntrySuspension], signers: &[Id], now: Timestamp) -> Result<(), Refusal> {
    let today = |known: &&EntrySuspension| day_of(known.received) == day_of(now);
    for signer in signers {
        let signed = all.iter().filter(today);
        if signed
            .filter(|known| known.signers.contains(signer))
            .count()
            >= MOST_A_DAY
        {
            let why = format!("one key suspends at most {MOST_A_DAY} entries a day");
            let tomorrow = (i64::from(day_of(now)) + 1) * 86_400 - now.as_second();
            let seconds = u32::try_from(tomorrow).unwrap_or(86_400);
            return Err(Refusal::new(Code::ActRate, why).come_back_in(seconds));
        }
    }
    Ok(())
}
