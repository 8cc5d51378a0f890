//! The signed request to erase: two rights officers of the sector say, over their names, whose traces are to be destroyed.

use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::code::Code;
use crate::jws::{self, JwsError, Members};
use crate::refusal::Refusal;
use crate::register::{Id, Register};

/// The `typ` of its signatures.
pub const ERASURE_TYP: &str = "cloison-erasure+json";
/// Pseudonyms in one request, at most.
pub const MOST_ERASED: usize = 100;
/// How old a request may be, in hours: two persons need time to sign.
pub const MOST_AGE_HOURS: i64 = 30 * 24;
/// Officers who must sign.
pub const SIGNERS: usize = 2;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// The deployment's id.
    pub aud: Id,
    /// The request's own id, random: UUID version 4.
    pub id: Uuid,
    /// Sector name.
    pub sector: String,
    /// Pseudonyms in the sector's text form, or in one that it had; at least one, each once.
    pub pseudonyms: Vec<String>,
    /// Why, as a code that names nobody.
    pub reason: Id,
    /// When it was written; whole seconds.
    pub time: Timestamp,
}

impl std::fmt::Debug for Erasure {
    /// Counts only: a pseudonym has no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Erasure").field("id", &self.id).field("items", &self.pseudonyms.len()).finish_non_exhaustive()
    }
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::new(Code::RightsInvalid, why)
}

fn unreadable(error: JwsError) -> Refusal {
    Refusal::new(Code::RightsInvalid, format!("the request: {error}"))
}

impl Erasure {
    /// Reads a payload, strictly.
    ///
    /// # Errors
    /// [`Code::RightsInvalid`], saying which member is wrong, never what stands in it.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut members = Members::parse(bytes).map_err(unreadable)?;
        let pseudonyms = members.texts("pseudonyms").map_err(unreadable)?;
        let mut text = |name| members.text(name).map_err(unreadable);
        let id = text("id")?;
        let uuid = Uuid::try_parse(&id).ok().filter(|uuid| uuid.hyphenated().to_string() == id);
        let time = text("time")?;
        let read = time.parse::<Timestamp>().ok().filter(|t| t.subsec_nanosecond() == 0 && t.to_string() == time);
        let erasure = Erasure {
            aud: Id::parse(&text("aud")?).ok_or_else(|| invalid("`aud` is no id"))?,
            id: uuid
                .filter(|uuid| uuid.get_version_num() == 4)
                .ok_or_else(|| invalid("`id` is not a random UUID in lower case with hyphens"))?,
            sector: text("sector")?,
            pseudonyms,
            reason: Id::parse(&text("reason")?).ok_or_else(|| invalid("`reason` is not a code of a-z, 0-9 and '-'"))?,
            time: read.ok_or_else(|| invalid("`time` is not written like 2026-11-22T09:00:00Z"))?,
        };
        members.end().map_err(unreadable)?;
        let distinct: std::collections::BTreeSet<_> = erasure.pseudonyms.iter().collect();
        match (1..=MOST_ERASED).contains(&erasure.pseudonyms.len()) && distinct.len() == erasure.pseudonyms.len() {
            true => Ok(erasure),
            false => Err(invalid("`pseudonyms` does not name 1 to 100, each once")),
        }
    }

    /// From when on it is too old to be carried out (Unix seconds): until then it must be remembered that it was.
    pub(super) fn until(&self) -> i64 {
        self.time.as_second() + MOST_AGE_HOURS * 3_600
    }

    /// An unsigned request: JWS General JSON without a signature.
    ///
    /// # Errors
    /// [`Code::RightsInvalid`] when it is not one that can be read.
    pub fn draft(&self) -> Result<String, Refusal> {
        let bytes = serde_json::to_vec(self).map_err(|_| invalid("the request cannot be written as JSON"))?;
        Self::read(&bytes)?;
        Ok(jws::draft(&bytes))
    }
}

/// The request with one more signature.
///
/// # Errors
/// [`Code::RightsInvalid`] when the text is no request, or `kid` signed it already.
pub fn sign(text: &str, kid: &str, key: &SigningKey) -> Result<String, Refusal> {
    Erasure::read(jws::parse(text, ERASURE_TYP).map_err(unreadable)?.payload())?;
    jws::add_signature(text, ERASURE_TYP, kid, key).map_err(unreadable)
}

/// Checks a request: two rights officers of its sector signed it, for this deployment, and not long ago. Who signed comes back.
///
/// # Errors
/// [`Code::RightsInvalid`], saying what does not fit; [`Code::UnknownSector`].
pub(super) fn check(text: &str, register: &Register, now: Timestamp) -> Result<(Erasure, Vec<Id>), Refusal> {
    let jws = jws::parse(text, ERASURE_TYP).map_err(unreadable)?;
    let erasure = Erasure::read(jws.payload())?;
    if erasure.aud != register.deployment {
        return Err(invalid("the request is for another deployment"));
    }
    let officer_of = |kid: &str| {
        let officer = register.rights_officers.get(&Id::parse(kid)?)?;
        officer.sectors.contains(&erasure.sector).then_some((officer.id.clone(), &officer.key))
    };
    let bad = |_| invalid("a signature does not verify, or its signer is no rights officer of the sector");
    let officers = jws.signatures(officer_of).all_good().map_err(bad)?;
    if officers.len() < SIGNERS {
        return Err(invalid("two rights officers of the sector must have signed"));
    }
    if register.sector(&erasure.sector).is_none() {
        return Err(Refusal::new(Code::UnknownSector, "the register has no such sector"));
    }
    let age = now.duration_since(erasure.time);
    match age <= SignedDuration::from_hours(MOST_AGE_HOURS) && age >= SignedDuration::from_secs(-120) {
        true => Ok((erasure, officers)),
        false => Err(invalid("the request is older than thirty days, or a clock is wrong")),
    }
}
