//! Destruction statements, which two persons sign offline before the vault destroys something for
//! good.
//!
//! A statement is JSON signed as JWS like an order (`docs/orders.md`). It names exactly one
//! [`Destruction`], and is valid for a week and for one call, which carries it. The caller needs
//! the permission as well. So a stolen certificate alone destroys nothing, and neither do two
//! signatures without one.
//!
//! | act | what cannot be undone | who calls | who signs |
//! |---|---|---|---|
//! | `retire-secret` | a version of the sector secret is destroyed, and the pseudonyms of its epochs with it | an operator | two operators |
//! | `own-secret` | a sector without mappings leaves an epoch for one that ends with a secret of its own | an operator | two operators |
//! | `retire-epoch` | an epoch's mappings are deleted | the sector's client | an operator |
//! | `lower-clock-mark` | what the clock's high-water mark had closed is open again | an operator | two operators |
//! | `restore-without-places` | what came after a backup is lost for good | `cloison restore` | two operators |
//! | `resume-from-copy` | what a copy of a store lacks of its log is lost for good | `cloison audit resume` | two operators |
//! | `confirm-epoch` | a sector is answered in an epoch that it may have left | an operator | two operators |
//! | `erasures-lodged` | what an erasure destroyed may be released | an operator | two operators |

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::audit::StatementNote;
use crate::code::Code;
use crate::commit::Change;
use crate::entity::Role;
use crate::json::JsonObject;
use crate::refusal::{Refusal, fault};
use crate::register::{Id, Register};
use crate::statement::members::is_reference;
use crate::statement::{Signed, Statement, StatementFault, UnverifiedStatement};
use crate::vault::Vault;

/// How long a statement is valid, in hours: two persons need time to sign.
pub const VALID_HOURS: i64 = 7 * 24;
/// How far a statement's time may be ahead of this entity's clock, in seconds.
const SKEW_SECONDS: i64 = 120;

/// An act that cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "act")]
pub enum Destruction {
    /// A version of the sector secret is destroyed.
    #[serde(rename = "retire-secret")]
    Secret {
        /// The version.
        version: u32,
    },
    /// A sector that stores no mappings gets an epoch with a secret of its own.
    #[serde(rename = "own-secret")]
    OwnSecret {
        /// Sector name.
        sector: String,
        /// The epoch that it leaves.
        from: u32,
    },
    /// The mappings of a closed epoch are deleted.
    #[serde(rename = "retire-epoch")]
    Epoch {
        /// Sector name.
        sector: String,
        /// The epoch.
        epoch: u32,
    },
    /// The clock's high-water mark is lowered to the present time ([`super::clock`]).
    #[serde(rename = "lower-clock-mark")]
    ClockMark {
        /// Whose mark: `vault`, `node/<authority>` or `identity/<id>`.
        entity: String,
        /// The mark, in whole seconds.
        mark: Timestamp,
    },
    /// A store is restored although no place holds the log after its backup: what came later is
    /// lost ([`crate::restore::without`]).
    #[serde(rename = "restore-without-places")]
    RestoreWithoutPlaces {
        /// Whose store: `vault`, `node/<authority>` or `identity/<id>`.
        entity: String,
        /// The backup's id.
        backup: String,
        /// The reference of the case in which that was decided: `[A-Z0-9/.-]{1,40}`.
        case: String,
    },
    /// A log goes on from a copy of its store, which others have seen longer: what the copy lacks
    /// is lost ([`crate::restore::without`]).
    #[serde(rename = "resume-from-copy")]
    ResumeFromCopy {
        /// Whose log: `vault`, `node/<authority>` or `identity/<id>`.
        entity: String,
        /// Where the copy ends: shard, entries and the root over them, `2026:300:<64 hex digits>`.
        kept: String,
        /// The reference of the case in which that was decided: `[A-Z0-9/.-]{1,40}`.
        case: String,
    },
    /// After such a restore: a sector stands at this epoch, and is answered again
    /// ([`crate::losses`]).
    #[serde(rename = "confirm-epoch")]
    ConfirmEpoch {
        /// Sector name.
        sector: String,
        /// The epoch.
        epoch: u32,
    },
    /// After such a restore: the erasures that are lost were lodged again, and mappings are
    /// released again.
    #[serde(rename = "erasures-lodged")]
    ErasuresLodged {
        /// Where: `vault`, `node/<authority>` or `identity/<id>`.
        entity: String,
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
            Destruction::RestoreWithoutPlaces { .. } => "restore-without-places",
            Destruction::ResumeFromCopy { .. } => "resume-from-copy",
            Destruction::ConfirmEpoch { .. } => "confirm-epoch",
            Destruction::ErasuresLodged { .. } => "erasures-lodged",
        }
    }

    /// The flag by which a statement is brought to the command that acts.
    pub const fn flag(&self) -> &'static str {
        match self {
            Destruction::RestoreWithoutPlaces { .. } => "`cloison restore` --without-places",
            _ => "--statement",
        }
    }

    /// How many operators must sign. For `retire-epoch` the sector's client, who calls, is the
    /// second person.
    pub const fn operators(&self) -> usize {
        match self {
            Destruction::Secret { .. }
            | Destruction::OwnSecret { .. }
            | Destruction::ClockMark { .. }
            | Destruction::RestoreWithoutPlaces { .. }
            | Destruction::ResumeFromCopy { .. }
            | Destruction::ConfirmEpoch { .. }
            | Destruction::ErasuresLodged { .. } => 2,
            Destruction::Epoch { .. } => 1,
        }
    }
}

/// What a restore without places, or going on from a copy, costs at the vault, as two operators
/// sign it.
const COST_AT_VAULT: &str = "from then on every earlier order is over, every sector is closed until two operators confirm \
    its epoch, nothing is released until they say that erasures were lodged again, and the quotas and look-ups of that day \
    count as used up: no client gets a pseudonym before the next 00:00 UTC, and nothing lifts that";
/// The same at a node.
const COST_AT_NODE: &str = "from then on every earlier order is over, and nothing is opened until two operators say that \
    erasures were lodged again";

fn cost_at(entity: &str) -> &'static str {
    if entity == "vault" {
        COST_AT_VAULT
    } else {
        COST_AT_NODE
    }
}

impl fmt::Display for Destruction {
    /// Escapes a sector's name, which may come from an untrusted file, so that it cannot move the
    /// reader's cursor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destruction::Secret { version } => {
                write!(f, "destroy version {version} of the sector secret")
            }
            Destruction::OwnSecret { sector, from } => {
                let sector = sector.escape_debug();
                write!(
                    f,
                    "have sector {sector} leave epoch {from} for one with a secret of its own"
                )
            }
            Destruction::Epoch { sector, epoch } => {
                write!(
                    f,
                    "take away the mappings of epoch {epoch} of sector {}",
                    sector.escape_debug()
                )
            }
            Destruction::ClockMark { entity, mark } => {
                let entity = entity.escape_debug();
                write!(
                    f,
                    "lower the clock's high-water mark of {entity}, now at {mark}: the clock once ran ahead"
                )
            }
            Destruction::RestoreWithoutPlaces {
                entity,
                backup,
                case,
            } => {
                let cost = cost_at(entity);
                let [entity, backup, case] =
                    [entity, backup, case].map(|text| text.escape_debug().to_string());
                write!(
                    f,
                    "restore the store of {entity} from backup {backup} and lose all that came after it (case {case}); {cost}"
                )
            }
            Destruction::ResumeFromCopy { entity, kept, case } => {
                let cost = cost_at(entity);
                let [entity, kept, case] =
                    [entity, kept, case].map(|text| text.escape_debug().to_string());
                write!(
                    f,
                    "let the log of {entity} go on from a copy of its store that ends at {kept}, and lose all that came after it \
                     (case {case}); {cost}"
                )
            }
            Destruction::ConfirmEpoch { sector, epoch } => {
                let sector = sector.escape_debug();
                write!(
                    f,
                    "answer sector {sector} in epoch {epoch} again: after the restore nobody knows of a later one"
                )
            }
            Destruction::ErasuresLodged { entity } => {
                let entity = entity.escape_debug();
                write!(
                    f,
                    "release mappings at {entity} again: every erasure that the restore lost was lodged again"
                )
            }
        }
    }
}

/// The payload of a statement, member by member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestructionPayload {
    /// The deployment's id.
    pub aud: Id,
    /// The statement's own id, random: UUID version 4.
    pub id: Uuid,
    /// The act.
    #[serde(flatten)]
    pub destruction: Destruction,
    /// When it was written; whole seconds.
    pub time: Timestamp,
}

impl Statement for DestructionPayload {
    const TYP: &'static str = "cloison-destruction+json";
    const NAME: &'static str = "the statement";
    const CODE: Code = Code::StatementInvalid;
    /// Room for every signature that there may be.
    const MAX_TEXT: usize = 16 << 10;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        let sector = |members: &mut JsonObject| members.text("sector");
        let destruction = match members.text("act")?.as_str() {
            "retire-secret" => Destruction::Secret {
                version: members.small("version")?,
            },
            "own-secret" => Destruction::OwnSecret {
                sector: sector(members)?,
                from: members.small("from")?,
            },
            "retire-epoch" => Destruction::Epoch {
                sector: sector(members)?,
                epoch: members.small("epoch")?,
            },
            "lower-clock-mark" => Destruction::ClockMark {
                entity: entity(members)?,
                mark: members.time("mark")?,
            },
            "restore-without-places" => Destruction::RestoreWithoutPlaces {
                entity: entity(members)?,
                backup: members.text("backup")?,
                case: case(members)?,
            },
            "resume-from-copy" => Destruction::ResumeFromCopy {
                entity: entity(members)?,
                kept: members.text("kept")?,
                case: case(members)?,
            },
            "confirm-epoch" => Destruction::ConfirmEpoch {
                sector: sector(members)?,
                epoch: members.small("epoch")?,
            },
            "erasures-lodged" => Destruction::ErasuresLodged {
                entity: entity(members)?,
            },
            _ => {
                return Err(
                    "`act` is none of retire-secret, own-secret, retire-epoch, lower-clock-mark, \
                     restore-without-places, resume-from-copy, confirm-epoch, erasures-lodged"
                        .into(),
                );
            }
        };
        Ok(Self {
            aud: members.id("aud")?,
            id: members.random_uuid("id")?,
            destruction,
            time: members.time("time")?,
        })
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

impl DestructionPayload {
    /// The last second in which it is valid.
    pub fn until(&self) -> Timestamp {
        self.time
            .saturating_add(SignedDuration::from_hours(VALID_HOURS))
            .unwrap_or(Timestamp::MAX)
    }
}

/// The entity that the statement is about.
fn entity(members: &mut JsonObject) -> Result<String, StatementFault> {
    let entity = members.text("entity")?;
    if Role::of_local_name(&entity).is_some() {
        Ok(entity)
    } else {
        let what = "`entity` is neither vault nor node/ and an authority's id nor identity/ and an identity source's";
        Err(what.into())
    }
}

fn case(members: &mut JsonObject) -> Result<String, StatementFault> {
    let case = members.text("case")?;
    if is_reference(&case) {
        Ok(case)
    } else {
        Err("`case` is not 1 to 40 of A-Z, 0-9, '/', '.' and '-'".into())
    }
}

/// Checks a statement against the register and the time: form, deployment, signatures, and how many
/// persons signed. `persons` holds the operators who signed.
///
/// # Errors
/// [`Code::StatementInvalid`], saying what does not fit.
pub fn check(
    text: &str,
    register: &Register,
    now: Timestamp,
) -> Result<Signed<DestructionPayload, Id>, Refusal> {
    let operator_of = |kid: &str| {
        let mut operators = register.operators.iter();
        let (certificate, operator) = operators.find(|(_, one)| one.id.as_str() == kid)?;
        if register.ended(*certificate, now).is_some() {
            return None;
        }
        Some((operator.id.clone(), operator.key.as_ref()?))
    };
    let statement = UnverifiedStatement::<DestructionPayload>::read(text)?;
    let need = statement.says().destruction.operators();
    let signed = statement.verify(
        &register.deployment,
        need,
        "an operator with a key whose entry is in force",
        operator_of,
    )?;
    if signed.says.time.duration_since(now) > SignedDuration::from_secs(SKEW_SECONDS) {
        return Err(invalid(
            "the statement's time is still to come, or a clock is wrong",
        ));
    }
    if now > signed.says.until() {
        return Err(invalid(
            "the statement is older than seven days: sign another one",
        ));
    }
    Ok(signed)
}

fn invalid(why: &'static str) -> Refusal {
    DestructionPayload::refuse(why)
}

/// A checked statement, for the one act that it allows. That act's commit must remember it
/// ([`Mandate::change`]).
pub(super) struct Mandate {
    id: Uuid,
    /// When it is too old (Unix seconds).
    until: i64,
    signers: Vec<Id>,
}

impl Mandate {
    /// Checks that a statement allows exactly this act and was not taken before. The latter holds
    /// only under [`Vault::lock_epochs`].
    ///
    /// # Errors
    /// [`Code::StatementRequired`], [`Code::StatementInvalid`], [`Code::RequestReplayed`].
    pub(super) fn of(
        vault: &Vault,
        statement: Option<&str>,
        wanted: &Destruction,
    ) -> Result<Self, Refusal> {
        let Some(text) = statement else {
            let why = match wanted.operators() {
                1 => "an operator must sign a statement for it",
                _ => "two operators must sign a statement for it",
            };
            return Err(Refusal::new(Code::StatementRequired, why));
        };
        // An expired statement must not become valid again because the clock was set back.
        let Signed {
            says: payload,
            persons: signers,
            ..
        } = check(text, vault.register(), vault.steady_time()?)?;
        vault.refuse_shut_out(&signers)?;
        if payload.destruction != *wanted {
            return Err(invalid("the statement is for something else"));
        }
        let (id, until) = (payload.id, payload.until().as_second());
        if vault
            .store()
            .is_carried_out(until, id)
            .map_err(fault(super::FAILED))?
        {
            return Err(Refusal::new(
                Code::RequestReplayed,
                "the statement was taken already: sign another one",
            ));
        }
        Ok(Self { id, until, signers })
    }

    /// The statement, as the log entry states it.
    pub(super) fn note(&self) -> StatementNote {
        StatementNote {
            statement: self.id.to_string(),
            signers: self.signers.clone(),
        }
    }

    /// Remembers in the commit that the statement was taken.
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

    fn all() -> [Destruction; 8] {
        let sector = || "health".to_owned();
        [
            Destruction::Secret { version: 1 },
            Destruction::OwnSecret {
                sector: sector(),
                from: 2,
            },
            Destruction::Epoch {
                sector: sector(),
                epoch: 3,
            },
            Destruction::ClockMark {
                entity: "node/authority".to_owned(),
                mark: "2036-11-20T12:00:00Z".parse().unwrap(),
            },
            Destruction::RestoreWithoutPlaces {
                entity: "vault".to_owned(),
                backup: "20261128T081500Z-1f3a9c07".to_owned(),
                case: "OPS/2026-17".to_owned(),
            },
            Destruction::ResumeFromCopy {
                entity: "node/court".to_owned(),
                kept: format!("2026:300:{}", "01".repeat(32)),
                case: "OPS/2026-17".to_owned(),
            },
            Destruction::ConfirmEpoch {
                sector: sector(),
                epoch: 3,
            },
            Destruction::ErasuresLodged {
                entity: "vault".to_owned(),
            },
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        for destruction in all() {
            let payload = payload(destruction);
            assert_eq!(
                DestructionPayload::read(&payload.write().unwrap()).unwrap(),
                payload
            );
        }
        let written = payload(all()[1].clone()).write().unwrap();
        let wanted = r#"{"aud":"demo","id":"7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d","act":"own-secret","sector":"health","from":2,"time":"2026-11-22T09:00:00Z"}"#;
        assert_eq!(String::from_utf8(written).unwrap(), wanted);
    }

    #[test]
    fn a_statement_about_a_mark_names_one_of_the_sides() {
        let good = String::from_utf8(payload(all()[3].clone()).write().unwrap()).unwrap();
        let named = |entity: &str| {
            DestructionPayload::read(good.replace("node/authority", entity).as_bytes())
        };
        assert!(named("vault").is_ok() && named("identity/trust").is_ok());
        for wrong in [
            "",
            "node",
            "node/",
            "node/a b",
            "identity/",
            "demo/vault",
            "Vault",
        ] {
            assert_eq!(
                named(wrong).expect_err(wrong).code(),
                Code::StatementInvalid,
                "{wrong}"
            );
        }
        let nobody = good.replace(r#""entity":"node/authority","#, "");
        assert_eq!(
            DestructionPayload::read(nobody.as_bytes())
                .unwrap_err()
                .code(),
            Code::StatementInvalid
        );
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
                DestructionPayload::read(text.as_bytes())
                    .expect_err(&text)
                    .code(),
                Code::StatementInvalid,
                "{text}"
            );
        }
    }
}
