//! Destruction statements: what two persons sign offline before the vault destroys something for good.
//!
//! A statement is JSON signed as JWS like an order (`docs/orders.md`). It names one [`Destruction`] exactly, and is good for a
//! week and for one call, which carries it. Whoever calls needs the right to do so as well: a certificate alone destroys
//! nothing, and neither do two signatures in the hands of a stranger.
//!
//! | act | what cannot be undone | who calls | who signs |
//! |---|---|---|---|
//! | `retire-secret` | a version of the sector secret is destroyed, and the pseudonyms of its epochs with it | an operator | two operators |
//! | `own-secret` | a sector without mappings leaves an epoch for one that ends with a secret of its own | an operator | two operators |
//! | `retire-epoch` | an epoch's mappings are taken away | the sector's client | an operator |
//! | `lower-clock-mark` | what the clock's high-water mark closed is open again | an operator | two operators |

use std::fmt;

use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::audit::StatementNote;
use crate::code::Code;
use crate::commit::Change;
use crate::jws::{self, JwsError, Members};
use crate::refusal::{Refusal, fault};
use crate::register::{Id, Register};
use crate::vault::Vault;

/// The `typ` of a statement's signatures.
pub const DESTRUCTION_TYP: &str = "cloison-destruction+json";
/// The longest statement, in bytes: room for every signature there may be.
pub const MAX_STATEMENT: usize = 16 << 10;
/// How long a statement is good, in hours: two persons need time to sign.
pub const VALID_HOURS: i64 = 7 * 24;
/// How far a statement's time may lie ahead of ours, in seconds.
const SKEW_SECONDS: i64 = 120;

/// What is done for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destruction {
    /// A version of the sector secret is destroyed.
    Secret {
        /// The version.
        version: u32,
    },
    /// A sector that stores no mappings gets an epoch with a secret of its own.
    OwnSecret {
        /// Sector name.
        sector: String,
        /// The epoch that it leaves.
        from: u32,
    },
    /// The mappings of a closed epoch are taken away.
    Epoch {
        /// Sector name.
        sector: String,
        /// The epoch.
        epoch: u32,
    },
    /// The clock's high-water mark is lowered to the present time ([`super::clock`]).
    ClockMark {
        /// Whose mark: `vault` or `node/<authority>`.
        entity: String,
        /// The mark, in whole seconds.
        mark: Timestamp,
    },
}

impl Destruction {
    /// The spelling of the act in the payload.
    pub const fn act(&self) -> &'static str {
        match self {
            Destruction::Secret { .. } => "retire-secret",
            Destruction::OwnSecret { .. } => "own-secret",
            Destruction::Epoch { .. } => "retire-epoch",
            Destruction::ClockMark { .. } => "lower-clock-mark",
        }
    }

    /// How many operators must sign. Where the sector's client calls, it is the other person.
    pub const fn operators(&self) -> usize {
        match self {
            Destruction::Secret { .. } | Destruction::OwnSecret { .. } | Destruction::ClockMark { .. } => 2,
            Destruction::Epoch { .. } => 1,
        }
    }
}

impl fmt::Display for Destruction {
    /// A sector's name comes from a file that anybody may have written: nothing of it moves a reader's cursor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destruction::Secret { version } => write!(f, "destroy version {version} of the sector secret"),
            Destruction::OwnSecret { sector, from } => {
                let sector = sector.escape_debug();
                write!(f, "have sector {sector} leave epoch {from} for one with a secret of its own")
            }
            Destruction::Epoch { sector, epoch } => {
                write!(f, "take away the mappings of epoch {epoch} of sector {}", sector.escape_debug())
            }
            Destruction::ClockMark { entity, mark } => {
                let entity = entity.escape_debug();
                write!(f, "lower the clock's high-water mark of {entity}, now at {mark}: the clock once ran ahead")
            }
        }
    }
}

/// What a statement says: its payload, member by member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestructionPayload {
    /// The deployment's id.
    pub aud: Id,
    /// The statement's own id, random: UUID version 4.
    pub id: Uuid,
    /// What is done.
    pub destruction: Destruction,
    /// When it was written; whole seconds.
    pub time: Timestamp,
}

/// The payload as it is written, its members in this order.
#[derive(Default, Serialize)]
struct Written<'a> {
    aud: &'a str,
    id: Uuid,
    act: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sector: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    time: String,
}

fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::StatementInvalid, why)
}

fn unreadable(error: JwsError) -> Refusal {
    invalid(format!("the statement: {error}"))
}

impl DestructionPayload {
    /// Reads a payload, strictly.
    ///
    /// # Errors
    /// [`Code::StatementInvalid`], saying which member is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        Members::parse(bytes).and_then(Self::take).map_err(unreadable)
    }

    fn take(mut members: Members) -> Result<Self, JwsError> {
        let sector = |members: &mut Members| members.text("sector");
        let destruction = match members.text("act")?.as_str() {
            "retire-secret" => Destruction::Secret { version: members.small("version")? },
            "own-secret" => Destruction::OwnSecret { sector: sector(&mut members)?, from: members.small("from")? },
            "retire-epoch" => Destruction::Epoch { sector: sector(&mut members)?, epoch: members.small("epoch")? },
            "lower-clock-mark" => Destruction::ClockMark { entity: entity(&mut members)?, mark: members.time("mark")? },
            _ => {
                return Err(JwsError::Member {
                    name: "act",
                    fault: "is none of retire-secret, own-secret, retire-epoch, lower-clock-mark",
                });
            }
        };
        let payload =
            Self { aud: members.id("aud")?, id: members.random_uuid("id")?, destruction, time: members.time("time")? };
        members.end()?;
        Ok(payload)
    }

    /// The payload as compact JSON.
    ///
    /// # Errors
    /// [`Code::StatementInvalid`] when it is not one that can be read.
    pub fn write(&self) -> Result<Vec<u8>, Refusal> {
        let (aud, act) = (self.aud.as_str(), self.destruction.act());
        let written = Written { aud, id: self.id, act, time: self.time.to_string(), ..Written::default() };
        let written = match &self.destruction {
            Destruction::Secret { version } => Written { version: Some(*version), ..written },
            Destruction::OwnSecret { sector, from } => Written { sector: Some(sector), from: Some(*from), ..written },
            Destruction::Epoch { sector, epoch } => Written { sector: Some(sector), epoch: Some(*epoch), ..written },
            Destruction::ClockMark { entity, mark } => {
                Written { entity: Some(entity), mark: Some(mark.to_string()), ..written }
            }
        };
        let bytes = serde_json::to_vec(&written).map_err(|_| invalid("the statement cannot be written as JSON"))?;
        Self::read(&bytes)?;
        Ok(bytes)
    }

    /// The last second in which it is good.
    pub fn until(&self) -> Timestamp {
        self.time.saturating_add(SignedDuration::from_hours(VALID_HOURS)).unwrap_or(Timestamp::MAX)
    }
}

/// The entity whose clock's mark is meant.
fn entity(members: &mut Members) -> Result<String, JwsError> {
    let entity = members.text("entity")?;
    match entity == "vault" || entity.strip_prefix("node/").is_some_and(|authority| Id::parse(authority).is_some()) {
        true => Ok(entity),
        false => Err(JwsError::Member { name: "entity", fault: "is neither vault nor node/ and an authority's id" }),
    }
}

/// Reads the envelope of a statement, at most [`MAX_STATEMENT`] bytes of it.
fn parse(text: &str) -> Result<jws::Unverified, Refusal> {
    if text.len() > MAX_STATEMENT {
        return Err(invalid("a statement has at most 16 KiB"));
    }
    jws::parse(text, DESTRUCTION_TYP).map_err(unreadable)
}

/// A statement without a signature, to be signed with [`sign`].
///
/// # Errors
/// As [`DestructionPayload::write`].
pub fn draft(payload: &DestructionPayload) -> Result<String, Refusal> {
    Ok(jws::draft(&payload.write()?))
}

/// The statement with one more signature.
///
/// # Errors
/// [`Code::StatementInvalid`] when the text is no statement, or `kid` signed it already.
pub fn sign(text: &str, kid: &str, key: &SigningKey) -> Result<String, Refusal> {
    read(text)?;
    jws::add_signature(text, DESTRUCTION_TYP, kid, key).map_err(unreadable)
}

/// What a statement says and who is said to have signed it, verifying nothing.
///
/// # Errors
/// [`Code::StatementInvalid`] when it is not of the strict form.
pub fn read(text: &str) -> Result<(DestructionPayload, Vec<String>), Refusal> {
    let jws = parse(text)?;
    let payload = DestructionPayload::read(jws.payload())?;
    Ok((payload, jws.signers().map(str::to_owned).collect()))
}

/// Checks a statement against the register and the time: form, deployment, signatures, how many persons signed. Who signed
/// comes back. One bad signature spoils it, even where the others would do.
///
/// # Errors
/// [`Code::StatementInvalid`], saying what does not fit.
pub fn check(text: &str, register: &Register, now: Timestamp) -> Result<(DestructionPayload, Vec<Id>), Refusal> {
    let jws = parse(text)?;
    let payload = DestructionPayload::read(jws.payload())?;
    if payload.aud != register.deployment {
        return Err(invalid("the statement is for another deployment"));
    }
    let operator_of = |kid: &str| {
        let operator = register.operators.values().find(|operator| operator.id.as_str() == kid)?;
        Some((operator.id.clone(), operator.key.as_ref()?))
    };
    let bad = |_| invalid("a signature does not verify, or its signer is no operator with a key");
    let signers = jws.signatures(operator_of).all_good().map_err(bad)?;
    let (have, need) = (signers.len(), payload.destruction.operators());
    if have < need {
        return Err(invalid(format!("{have} of {need} operators have signed")));
    }
    if payload.time.duration_since(now) > SignedDuration::from_secs(SKEW_SECONDS) {
        return Err(invalid("the statement's time is still to come, or a clock is wrong"));
    }
    if now > payload.until() {
        return Err(invalid("the statement is older than seven days: sign another one"));
    }
    Ok((payload, signers))
}

/// A statement that was checked, for the one act that it allows. To be remembered in the commit of that act.
pub(super) struct Mandate {
    id: Uuid,
    /// When it is too old (Unix seconds).
    until: i64,
    signers: Vec<Id>,
}

impl Mandate {
    /// Checks that a statement allows exactly this, and was not taken before. The latter holds under
    /// [`Vault::epoch_changes`].
    ///
    /// # Errors
    /// [`Code::StatementRequired`], [`Code::StatementInvalid`], [`Code::RequestReplayed`].
    pub(super) fn of(vault: &Vault, statement: Option<&str>, wanted: &Destruction) -> Result<Self, Refusal> {
        let Some(text) = statement else {
            let why = match wanted.operators() {
                1 => "an operator must sign a statement for it",
                _ => "two operators must sign a statement for it",
            };
            return Err(Refusal::new(Code::StatementRequired, why));
        };
        // A statement that is too old is not good again because the clock was set back.
        let (payload, signers) = check(text, vault.register(), vault.steady_time()?)?;
        if payload.destruction != *wanted {
            return Err(invalid("the statement is for something else"));
        }
        let (id, until) = (payload.id, payload.until().as_second());
        match vault.store().is_carried_out(until, id).map_err(fault(super::FAILED))? {
            false => Ok(Self { id, until, signers }),
            true => Err(Refusal::new(Code::RequestReplayed, "the statement was taken already: sign another one")),
        }
    }

    /// What the entry says of it.
    pub(super) fn note(&self) -> StatementNote {
        StatementNote { statement: self.id.to_string(), signers: self.signers.clone() }
    }

    /// What the commit remembers, so that it is taken once.
    pub(super) fn change(&self) -> Change {
        let (id, until) = (self.id, self.until);
        Box::new(move |store, batch| store.put_carried_out(batch, until, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(destruction: Destruction) -> DestructionPayload {
        DestructionPayload {
            aud: Id::parse("demo").unwrap(),
            id: "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d".parse().unwrap(),
            destruction,
            time: "2026-11-22T09:00:00Z".parse().unwrap(),
        }
    }

    fn all() -> [Destruction; 4] {
        let sector = || "health".to_owned();
        [
            Destruction::Secret { version: 1 },
            Destruction::OwnSecret { sector: sector(), from: 2 },
            Destruction::Epoch { sector: sector(), epoch: 3 },
            Destruction::ClockMark {
                entity: "node/authority".to_owned(),
                mark: "2036-11-20T12:00:00Z".parse().unwrap(),
            },
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        for destruction in all() {
            let payload = payload(destruction);
            assert_eq!(DestructionPayload::read(&payload.write().unwrap()).unwrap(), payload);
        }
        let written = payload(all()[1].clone()).write().unwrap();
        let wanted = r#"{"aud":"demo","id":"7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d","act":"own-secret","sector":"health","from":2,"time":"2026-11-22T09:00:00Z"}"#;
        assert_eq!(String::from_utf8(written).unwrap(), wanted);
    }

    #[test]
    fn a_statement_about_a_mark_names_a_vault_or_a_node() {
        let good = String::from_utf8(payload(all()[3].clone()).write().unwrap()).unwrap();
        let named = |entity: &str| DestructionPayload::read(good.replace("node/authority", entity).as_bytes());
        assert!(named("vault").is_ok());
        for wrong in ["", "node", "node/", "node/a b", "demo/vault", "Vault"] {
            assert_eq!(named(wrong).expect_err(wrong).code(), Code::StatementInvalid, "{wrong}");
        }
        let nobody = good.replace(r#""entity":"node/authority","#, "");
        assert_eq!(DestructionPayload::read(nobody.as_bytes()).unwrap_err().code(), Code::StatementInvalid);
    }

    #[test]
    fn every_departure_is_refused() {
        let good = String::from_utf8(payload(all()[2].clone()).write().unwrap()).unwrap();
        for (from, to) in [
            (r#""aud":"demo","#, ""),
            (r#""aud":"demo""#, r#""aud":"demo","more":1"#),
            (r#""aud":"demo""#, r#""aud":"de mo""#),
            ("retire-epoch", "Retire-epoch"),
            ("retire-epoch", "own-secret"),
            ("retire-epoch", "retire-secret"),
            ("7f4df9b1", "7F4DF9B1"),
            ("-4fb6-", "-1fb6-"),
            (r#""epoch":3"#, r#""epoch":"3""#),
            (r#""epoch":3"#, r#""epoch":4294967296"#),
            (r#""epoch":3"#, r#""epoch":3,"version":1"#),
            (r#""sector":"health","#, ""),
            ("09:00:00Z", "09:00:00.5Z"),
            ("09:00:00Z", "09:00:00+00:00"),
        ] {
            assert!(good.contains(from), "{from}");
            let text = good.replacen(from, to, 1);
            assert_eq!(
                DestructionPayload::read(text.as_bytes()).expect_err(&text).code(),
                Code::StatementInvalid,
                "{text}"
            );
        }
    }
}
