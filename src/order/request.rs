//! The officer's signed request: who asks for which pseudonyms under which order, and when.
//!
//! An order says what may be opened; the request says that a named officer wants it opened now. A
//! stolen or lying node cannot ask in the officer's place, because the vault checks the same
//! signature.

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::ActiveOrder;
use crate::code::Code;
use crate::json::JsonObject;
use crate::refusal::Refusal;
use crate::register::{Id, Register};
use crate::statement::members::as_hex;
use crate::statement::{self, BadSignature, Statement, StatementFault, UnverifiedStatement};

/// How far a request's time may be from this side's clock, either way, in seconds.
pub const FRESH_SECONDS: i64 = 120;

/// The payload of an officer's request, member by member.
#[derive(Debug, Clone, Serialize)]
pub struct RequestPayload {
    /// The deployment's id.
    pub aud: Id,
    /// SHA-256 of the order's payload, from [`super::digest_of`].
    #[serde(serialize_with = "as_hex")]
    pub order: [u8; 32],
    /// The request's own id, random: UUID version 4.
    pub request: Uuid,
    /// The sector's name.
    pub sector: String,
    /// The pseudonyms' digest, from [`list_digest`].
    #[serde(serialize_with = "as_hex")]
    pub list: [u8; 32],
    /// When it was signed; only whole seconds count.
    pub time: Timestamp,
}

impl Statement for RequestPayload {
    const TYP: &'static str = "cloison-request+json";
    const NAME: &'static str = "the officer's request";
    const CODE: Code = Code::RequestInvalid;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        Ok(Self {
            aud: members.id("aud")?,
            order: members.digest("order")?,
            request: members.random_uuid("request")?,
            sector: members.text("sector")?,
            list: members.digest("list")?,
            time: members.time("time")?,
        })
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

/// A request whose signature and contents were checked: a named officer asks now for exactly this
/// list.
///
/// Neither `Clone` nor constructible outside this room.
#[derive(Debug)]
#[must_use]
pub struct OfficerRequest {
    says: RequestPayload,
    officer: Id,
}

impl OfficerRequest {
    /// The request's id, for the log entry and against replays.
    pub fn id(&self) -> Uuid {
        self.says.request
    }

    /// Who asks.
    pub fn officer(&self) -> &Id {
        &self.officer
    }

    /// The sector's name.
    pub fn sector(&self) -> &str {
        &self.says.sector
    }

    /// The digest of the list that was asked for, 32 bytes.
    pub fn list(&self) -> &[u8; 32] {
        &self.says.list
    }

    /// The digest of the order under which it was asked, 32 bytes.
    pub fn order(&self) -> &[u8; 32] {
        &self.says.order
    }

    /// When the officer signed.
    pub fn time(&self) -> Timestamp {
        self.says.time
    }
}

/// SHA-256 over `LP(text)` of each pseudonym in turn, 32 bytes; `LP` is the two-byte big-endian
/// length, then the bytes.
///
/// # Errors
/// [`Code::RequestInvalid`] if a text is longer than 65 535 bytes, which no pseudonym is.
pub fn list_digest<T: AsRef<str>>(pseudonyms: &[T]) -> Result<[u8; 32], Refusal> {
    let mut hash = Sha256::new();
    for text in pseudonyms {
        let text = text.as_ref().as_bytes();
        let length = u16::try_from(text.len())
            .map_err(|_| RequestPayload::refuse("an entry is too long for a pseudonym"))?;
        hash.update(length.to_be_bytes());
        hash.update(text);
    }
    Ok(hash.finalize().into())
}

/// A request signed by `officer`: JWS General JSON with one signature.
///
/// # Errors
/// [`Code::RequestInvalid`] if it would be longer than [`crate::jws::MAX_TEXT`].
pub fn sign_request(
    request: RequestPayload,
    officer: &Id,
    key: &SigningKey,
) -> Result<String, Refusal> {
    let time = Timestamp::from_second(request.time.as_second());
    let time = time.map_err(|_| RequestPayload::refuse("the time is out of range"))?;
    statement::sign::<RequestPayload>(
        &RequestPayload { time, ..request }.draft()?,
        officer.as_str(),
        key,
    )
}

/// Checks an officer's request against the order with which it was sent, the register, the list and
/// the time.
///
/// # Errors
/// [`Code::RequestInvalid`] if it is not of the strict form, not signed by exactly one of the
/// order's officers, not fresh, or for another deployment, order, sector or list;
/// [`Code::OutOfScope`] if the order does not name the sector.
pub fn check_request(
    text: &str,
    order: &ActiveOrder,
    register: &Register,
    sector: &str,
    pseudonyms: &[String],
    now: Timestamp,
) -> Result<OfficerRequest, Refusal> {
    let invalid = |why: &'static str| Err(RequestPayload::refuse(why));
    let request = UnverifiedStatement::<RequestPayload>::read(text)?;
    let officer = signer(&request, order, register, now)?;
    request.is_for(&register.deployment)?;
    let says = request.into_says();
    if says.order != *order.digest() {
        return invalid("the officer's request is under another order");
    }
    if says.sector != sector {
        return invalid("the officer's request is for another sector");
    }
    order.sector(sector)?;
    if says.list != list_digest(pseudonyms)? {
        return invalid("the officer's request is for another list of pseudonyms");
    }
    if says.time.duration_since(now).abs() > jiff::SignedDuration::from_secs(FRESH_SECONDS) {
        return invalid("the officer's request is older than two minutes, or a clock is wrong");
    }
    Ok(OfficerRequest { says, officer })
}

/// The one officer who signed, if the order names them, the signature verifies, and their entry in
/// the register has not ended.
fn signer(
    request: &UnverifiedStatement<RequestPayload>,
    order: &ActiveOrder,
    register: &Register,
    now: Timestamp,
) -> Result<Id, Refusal> {
    if request.claimed_signers().count() != 1 {
        return Err(RequestPayload::refuse(
            "the officer's request does not have exactly one signature",
        ));
    }
    let authority = register.authorities.get(order.authority());
    let signatures = request.signatures(|kid| {
        let named = order
            .officers()
            .iter()
            .find(|officer| officer.as_str() == kid)?;
        let officer = authority?.officers.get(named)?;
        Some((officer, &officer.key))
    });
    match signatures.all_good() {
        Ok(persons) => match persons.first() {
            None => Err(RequestPayload::refuse("nobody has signed it")),
            Some(officer) if register.ended(officer.certificate, now).is_some() => Err(
                RequestPayload::refuse("the officer's entry in the register has ended"),
            ),
            Some(officer) => Ok(officer.id.clone()),
        },
        Err(BadSignature::Forged(_)) => Err(RequestPayload::refuse(
            "the officer's signature does not verify",
        )),
        Err(BadSignature::Unknown(_)) => Err(RequestPayload::refuse(
            "the order does not name the officer who signed",
        )),
    }
}
