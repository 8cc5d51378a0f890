//! The officer's signed request: who asks for which pseudonyms under which order, and when.
//!
//! An order says what may be opened; the request says that a named officer wants it opened now. A node that is stolen or
//! lies cannot ask in his place: the vault checks the same signature.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use ed25519_dalek::SigningKey;

use super::payload::{time, uuid};
use super::{ActiveOrder, Refusal};
use crate::code::Code;
use crate::jws::{self, JwsError, Members};
use crate::register::{Id, Register};

/// The `typ` of a request's signature.
pub const REQUEST_TYP: &str = "cloison-request+json";
/// How far a request's time may lie from ours, either way, in seconds.
pub const FRESH_SECONDS: i64 = 120;

/// What an officer asks for: everything that the request's payload is made of.
#[derive(Debug, Clone, Copy)]
pub struct NewRequest<'a> {
    /// The deployment's id.
    pub deployment: &'a Id,
    /// SHA-256 of the order's payload, from [`super::digest_of`].
    pub order: &'a [u8; 32],
    /// The request's own id, random: UUID version 4.
    pub id: Uuid,
    /// The sector's name.
    pub sector: &'a str,
    /// The pseudonyms' digest, from [`list_digest`].
    pub list: &'a [u8; 32],
    /// When; whole seconds count.
    pub time: Timestamp,
}

/// A request whose signature and contents were checked: a named officer asks, now, for exactly this.
///
/// Neither `Clone` nor constructible outside this room.
#[derive(Debug)]
#[must_use]
pub struct OfficerRequest {
    id: Uuid,
    officer: Id,
    sector: String,
    list: [u8; 32],
    order: [u8; 32],
    time: Timestamp,
}

impl OfficerRequest {
    /// The request's id, for the audit entry and against replays.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Who asks.
    pub fn officer(&self) -> &Id {
        &self.officer
    }

    /// The sector's name.
    pub fn sector(&self) -> &str {
        &self.sector
    }

    /// The digest of the list that was asked for, 32 bytes.
    pub fn list(&self) -> &[u8; 32] {
        &self.list
    }

    /// The digest of the order under which it was asked, 32 bytes.
    pub fn order(&self) -> &[u8; 32] {
        &self.order
    }

    /// When the officer signed.
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

/// The payload, its members in the order in which they are written.
#[derive(Serialize)]
struct Payload<'a> {
    aud: &'a Id,
    order: String,
    request: Uuid,
    sector: &'a str,
    list: String,
    time: Timestamp,
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::new(Code::RequestInvalid, why)
}

fn unreadable(error: JwsError) -> Refusal {
    Refusal::new(Code::RequestInvalid, format!("the officer's request: {error}"))
}

/// SHA-256 over `LP(text)` of each pseudonym in turn, 32 bytes; `LP` is the two-byte big-endian length, then the bytes.
///
/// # Errors
/// [`Code::RequestInvalid`] when a text is longer than 65 535 bytes, which no pseudonym is.
pub fn list_digest<T: AsRef<str>>(pseudonyms: &[T]) -> Result<[u8; 32], Refusal> {
    let mut hash = Sha256::new();
    for text in pseudonyms {
        let text = text.as_ref().as_bytes();
        let length = u16::try_from(text.len()).map_err(|_| invalid("an entry is too long for a pseudonym"))?;
        hash.update(length.to_be_bytes());
        hash.update(text);
    }
    Ok(hash.finalize().into())
}

/// A request signed by `officer`: JWS General JSON with one signature.
///
/// # Errors
/// [`Code::RequestInvalid`] when it would be longer than [`jws::MAX_TEXT`].
pub fn sign_request(request: &NewRequest<'_>, officer: &Id, key: &SigningKey) -> Result<String, Refusal> {
    let payload = Payload {
        aud: request.deployment,
        order: data_encoding::HEXLOWER.encode(request.order),
        request: request.id,
        sector: request.sector,
        list: data_encoding::HEXLOWER.encode(request.list),
        time: Timestamp::from_second(request.time.as_second()).map_err(|_| invalid("the time is out of range"))?,
    };
    let payload = serde_json::to_vec(&payload).map_err(|_| invalid("the request cannot be written as JSON"))?;
    jws::add_signature(&jws::draft(&payload), REQUEST_TYP, officer.as_str(), key).map_err(unreadable)
}

/// Checks an officer's request against the order with which it was sent, the register, the list and the time.
///
/// # Errors
/// [`Code::RequestInvalid`] when it is not of the strict form, not signed by exactly one of the order's officers, not
/// fresh, or for another deployment, order, sector or list; [`Code::OutOfScope`] when the order does not name the sector.
pub fn check_request(
    text: &str,
    order: &ActiveOrder,
    register: &Register,
    sector: &str,
    pseudonyms: &[String],
    now: Timestamp,
) -> Result<OfficerRequest, Refusal> {
    let jws = jws::parse(text, REQUEST_TYP).map_err(unreadable)?;
    let officer = signer(&jws, order, register)?;
    let mut members = Members::parse(jws.payload()).map_err(unreadable)?;
    let mut text = |name| members.text(name).map_err(unreadable);
    let (aud, said_order, said_id) = (text("aud")?, text("order")?, text("request")?);
    let (said_sector, said_list, said_time) = (text("sector")?, text("list")?, text("time")?);
    members.end().map_err(unreadable)?;

    if aud != register.deployment.as_str() {
        return Err(invalid("the officer's request is for another deployment"));
    }
    if said_order != data_encoding::HEXLOWER.encode(order.digest()) {
        return Err(invalid("the officer's request is under another order"));
    }
    let id = uuid(&said_id).filter(|id| id.get_version_num() == 4);
    let id = id.ok_or_else(|| invalid("the officer's request has no random UUID as its id"))?;
    if said_sector != sector {
        return Err(invalid("the officer's request is for another sector"));
    }
    order.sector(sector)?;
    let list = list_digest(pseudonyms)?;
    if said_list != data_encoding::HEXLOWER.encode(&list) {
        return Err(invalid("the officer's request is for another list of pseudonyms"));
    }
    let time =
        time(&said_time).ok_or_else(|| invalid("the officer's request has no time like 2026-11-22T09:00:00Z"))?;
    if time.duration_since(now).abs() > jiff::SignedDuration::from_secs(FRESH_SECONDS) {
        return Err(invalid("the officer's request is older than two minutes, or a clock is wrong"));
    }
    Ok(OfficerRequest { id, officer, sector: said_sector, list, order: *order.digest(), time })
}

/// The one officer who signed, if the order names him and his signature verifies.
fn signer(jws: &jws::Unverified, order: &ActiveOrder, register: &Register) -> Result<Id, Refusal> {
    let mut signers = jws.signers();
    let (Some(kid), None) = (signers.next(), signers.next()) else {
        return Err(invalid("the officer's request has not exactly one signature"));
    };
    let named = order.officers().iter().find(|officer| officer.as_str() == kid);
    let authority = register.authorities.get(order.authority());
    let officer = named.and_then(|id| authority?.officers.get(id));
    match officer {
        Some(officer) if jws.verify(kid, &officer.key) => Ok(officer.id.clone()),
        Some(_) => Err(invalid("the officer's signature does not verify")),
        None => Err(invalid("the order does not name the officer who signed")),
    }
}
