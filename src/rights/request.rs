//! The signed request to erase: two rights officers of the sector name the pseudonyms whose traces
//! have to be destroyed.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::code::Code;
use crate::json::JsonObject;
use crate::refusal::Refusal;
use crate::register::{Id, Register};
use crate::statement::members::repeats;
use crate::statement::{Signed, Statement, StatementFault, UnverifiedStatement};

/// Pseudonyms in one request, at most.
pub const MOST_ERASED: usize = 100;
/// How old a request may be, in hours: two persons need time to sign.
pub const MOST_AGE_HOURS: i64 = 30 * 24;
/// Officers who must sign.
pub const SIGNERS: usize = 2;

/// The payload of a request to erase, member by member.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ErasureRequest {
    /// The deployment's id.
    pub aud: Id,
    /// The request's own id, random: UUID version 4.
    pub id: Uuid,
    /// Sector name.
    pub sector: String,
    /// Pseudonyms in the sector's text form, or in one that it had; at least one, each once.
    pub pseudonyms: Vec<String>,
    /// Why, as a code that names no person.
    pub reason: Id,
    /// When it was written; whole seconds.
    pub time: Timestamp,
}

impl std::fmt::Debug for ErasureRequest {
    /// Counts only: a pseudonym has no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErasureRequest")
            .field("id", &self.id)
            .field("items", &self.pseudonyms.len())
            .finish_non_exhaustive()
    }
}

impl Statement for ErasureRequest {
    const TYP: &'static str = "cloison-erasure+json";
    const NAME: &'static str = "the request";
    const CODE: Code = Code::RightsInvalid;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        let erasure = Self {
            aud: members.id("aud")?,
            id: members.random_uuid("id")?,
            sector: members.text("sector")?,
            pseudonyms: members.texts("pseudonyms")?,
            reason: members.reason("reason")?,
            time: members.time("time")?,
        };
        if !(1..=MOST_ERASED).contains(&erasure.pseudonyms.len()) || repeats(&erasure.pseudonyms) {
            return Err("`pseudonyms` does not name 1 to 100, each once".into());
        }
        Ok(erasure)
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

impl ErasureRequest {
    /// When it becomes too old to be carried out (Unix seconds); until then a side must remember
    /// that it was carried out.
    pub(super) fn until(&self) -> i64 {
        self.time.as_second() + MOST_AGE_HOURS * 3_600
    }
}

/// Checks a request: two rights officers of its sector signed it, for this deployment, and not long
/// ago. `persons` holds those who signed.
///
/// # Errors
/// [`Code::RightsInvalid`], saying what does not fit; [`Code::UnknownSector`].
pub(super) fn check(
    text: &str,
    register: &Register,
    now: Timestamp,
) -> Result<Signed<ErasureRequest, Id>, Refusal> {
    let request = UnverifiedStatement::<ErasureRequest>::read(text)?;
    let sector = request.says().sector.clone();
    let officer_of = |kid: &str| {
        let officer = register.rights_officers.get(&Id::parse(kid)?)?;
        let may =
            officer.sectors.contains(&sector) && register.ended(officer.certificate, now).is_none();
        may.then_some((officer.id.clone(), &officer.key))
    };
    let signed = request.verify(
        &register.deployment,
        SIGNERS,
        "a rights officer of the sector whose entry is in force",
        officer_of,
    )?;
    if register.sector(&sector).is_none() {
        return Err(Refusal::new(
            Code::UnknownSector,
            "the register has no such sector",
        ));
    }
    let age = now.duration_since(signed.says.time);
    if age > SignedDuration::from_hours(MOST_AGE_HOURS) || age < SignedDuration::from_secs(-120) {
        return Err(ErasureRequest::refuse(
            "the request is older than thirty days, or a clock is wrong",
        ));
    }
    Ok(signed)
}
