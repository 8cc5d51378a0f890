//! What the act behind an entry does to others, which decides when it takes effect.
//!
//! | effect | in force | answered |
//! |---|---|---|
//! | [`ActEffect::Restricts`] | at once, with the commit of its entry | once enough places hold the entry |
//! | [`ActEffect::Grants`] | once enough places hold the entry, also after a restart | then |
//! | [`ActEffect::Tells`] | nothing is to be put in force | at once |
//!
//! A machine can be lost before a place holds the last entries of its log. A restored side then
//! knows nothing of them: what they restricted was refused for a while, which does no harm, but
//! what they granted was used, and no log says by what right.
//!
//! The writer reads the effect of each entry that it writes and withholds what it grants
//! ([`Log::withholds`](super::log::Log::withholds)), so that no use case can forget it.

use std::fmt;

use serde::Deserialize;

use super::AuditEvent;

/// What an act does to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActEffect {
    /// Takes something away, or destroys what people asked to have destroyed.
    Restricts,
    /// Lets something happen that was refused before, or destroys what nobody can make again.
    Grants(Grant),
    /// Neither: it answers a request, or says what happened.
    Tells,
}

/// What an act grants, by what its entry names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Grant {
    /// A suspension of a register entry ends: the id of the statement.
    Lift(String),
    /// An order goes on, or its review is closed: SHA-256 of the act's payload, hex.
    OrderAct(String),
    /// An inspection opens: its id.
    Inspection(String),
    /// After a loss a sector is open again: its name. Without one: releases go on.
    Confirmation(Option<String>),
    /// The node goes by a log of the vault's that lost entries: leaf hash of its first entry, hex.
    Acknowledgement(String),
    /// A register comes into force: its version.
    Register(u64),
    /// A sector is at another epoch: its name, and the epoch.
    Epoch(String, u32),
    /// The next epochs may derive from a version of the sector secret.
    Secret(u32),
    /// A version of the sector secret is destroyed.
    Retirement(u32),
}

impl ActEffect {
    /// What it grants, if it does.
    pub fn granted(self) -> Option<Grant> {
        match self {
            Self::Grants(grant) => Some(grant),
            Self::Restricts | Self::Tells => None,
        }
    }
}

impl AuditEvent {
    /// What the act does to others. Every event is named here, so that a new one has to say.
    pub fn effect(&self) -> ActEffect {
        use ActEffect::{Grants, Restricts, Tells};
        match self {
            Self::Suspension { act: "lift", statement, .. } => Grants(Grant::Lift(statement.clone())),
            Self::OrderAct(act) if matches!(act.act, "resume" | "close-review") => {
                Grants(Grant::OrderAct(act.digest.clone()))
            }
            Self::Inspection(inspection) if inspection.action == "enter" => {
                Grants(Grant::Inspection(inspection.inspection.clone()))
            }
            Self::RestoreConfirm { sector, .. } => Grants(Grant::Confirmation(sector.clone())),
            Self::AcknowledgeResume { entry, .. } => Grants(Grant::Acknowledgement(entry.clone())),
            Self::Register { register_version, .. } => Grants(Grant::Register(*register_version)),
            Self::EpochAdvance { sector, epoch, .. } => Grants(Grant::Epoch(sector.clone(), *epoch)),
            Self::SecretRotate { version, sector: None, .. } => Grants(Grant::Secret(*version)),
            Self::SecretRetire { version, .. } => Grants(Grant::Retirement(*version)),
            Self::Suspension { .. }
            | Self::OrderAct(_)
            | Self::Inspection(_)
            | Self::Erase(_)
            | Self::EpochRetire { .. }
            | Self::OrderEnd { .. }
            | Self::Resume { .. }
            | Self::RestoreWithoutPlaces { .. } => Restricts,
            // A version that is made for one epoch, or confirmed, is used by an epoch alone, whose
            // own entry comes later.
            Self::SecretRotate { .. }
            | Self::SecretConfirm { .. }
            // The places may need this side to serve before they can hold anything.
            | Self::Start { .. }
            | Self::Backup { .. }
            | Self::Continue { .. }
            | Self::Journal
            | Self::SecondLost { .. }
            | Self::ClockLower(_)
            | Self::Tokenize(_)
            | Self::Refuse { .. }
            | Self::Release(_)
            | Self::Reveal(_)
            | Self::MigrationRelease(_)
            | Self::MigrationReveal(_)
            | Self::Migrate { .. }
            | Self::MigrationPairs { .. }
            | Self::Custody(_)
            | Self::Segments(_)
            | Self::OrderLodge(_)
            | Self::Access(_)
            | Self::Read { .. }
            | Self::LookUp(_)
            | Self::ReleaseAlarm { .. }
            | Self::Utis(_)
            | Self::UtisAlarm { .. } => Tells,
        }
    }
}

/// The members of an entry that grants something.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum GrantMembers {
    Suspension {
        act: String,
        statement: String,
    },
    OrderAct {
        act: String,
        digest: String,
    },
    Inspection {
        action: String,
        inspection: String,
    },
    RestoreConfirm {
        #[serde(default)]
        sector: Option<String>,
    },
    AcknowledgeResume {
        entry: String,
    },
    Register {
        register_version: u64,
    },
    EpochAdvance {
        sector: String,
        epoch: u32,
    },
    SecretRotate {
        version: u32,
        #[serde(default)]
        sector: Option<String>,
    },
    SecretRetire {
        version: u32,
    },
    #[serde(other)]
    Other,
}

/// For people who ask what waits for places.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lift(statement) => write!(f, "the lift of a suspension (statement {statement})"),
            Self::OrderAct(digest) => {
                write!(f, "an act that lets an order go on (payload {digest})")
            }
            Self::Inspection(id) => write!(f, "inspection {id}"),
            Self::Confirmation(Some(sector)) => write!(f, "the confirmed epoch of {sector}"),
            Self::Confirmation(None) => f.write_str("that erasures were lodged again"),
            Self::Acknowledgement(_) => f.write_str("the acknowledged loss of the vault's log"),
            Self::Register(version) => write!(f, "register version {version}"),
            Self::Epoch(sector, epoch) => write!(f, "epoch {epoch} of {sector}"),
            Self::Secret(version) => write!(f, "version {version} of the sector secret"),
            Self::Retirement(version) => {
                write!(
                    f,
                    "the destruction of version {version} of the sector secret"
                )
            }
        }
    }
}

impl Grant {
    /// What a stored entry grants: the same as [`AuditEvent::effect`] of its event.
    pub fn of_entry(entry: &[u8]) -> Option<Self> {
        match serde_json::from_slice(entry).ok()? {
            GrantMembers::Suspension { act, statement } if act == "lift" => {
                Some(Self::Lift(statement))
            }
            GrantMembers::OrderAct { act, digest } if act == "resume" || act == "close-review" => {
                Some(Self::OrderAct(digest))
            }
            GrantMembers::Inspection { action, inspection } if action == "enter" => {
                Some(Self::Inspection(inspection))
            }
            GrantMembers::RestoreConfirm { sector } => Some(Self::Confirmation(sector)),
            GrantMembers::AcknowledgeResume { entry } => Some(Self::Acknowledgement(entry)),
            GrantMembers::Register { register_version } => Some(Self::Register(register_version)),
            GrantMembers::EpochAdvance { sector, epoch } => Some(Self::Epoch(sector, epoch)),
            GrantMembers::SecretRotate {
                version,
                sector: None,
            } => Some(Self::Secret(version)),
            GrantMembers::SecretRetire { version } => Some(Self::Retirement(version)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditEntry, InspectionDetails, OrderActDetails, StatementNote};
    use crate::register::Id;

    #[test]
    fn a_stored_entry_grants_what_its_event_does() {
        let id = || Id::parse("operator").unwrap();
        let statement = || StatementNote {
            statement: "0b0b6b0e-6d0c-4c51-8a57-3f0a6f6b8a4e".to_owned(),
            signers: vec![id()],
        };
        let suspension = |act| AuditEvent::Suspension {
            act,
            bearer: "operator".to_owned(),
            entry: id(),
            reason: "misuse".to_owned(),
            signers: vec![],
            statement: "1".to_owned(),
        };
        let confirm = |sector: Option<&str>| AuditEvent::RestoreConfirm {
            operator: id(),
            what: "epoch",
            sector: sector.map(str::to_owned),
            epoch: None,
            statement: statement(),
        };
        let rotate = |sector: Option<&str>| AuditEvent::SecretRotate {
            operator: id(),
            version: 2,
            sector: sector.map(str::to_owned),
        };
        let advance = AuditEvent::EpochAdvance {
            operator: id(),
            sector: "health".to_owned(),
            epoch: 2,
            secret_version: 1,
            own_secret: false,
            ended_overlap: None,
            statement: None,
        };
        let retire = AuditEvent::SecretRetire {
            operator: id(),
            version: 1,
            statement: statement(),
        };
        let order_act = |act| {
            AuditEvent::OrderAct(Box::new(OrderActDetails {
                authority: id(),
                order: "2".to_owned(),
                act,
                reason: id(),
                signers: vec![],
                digest: "ab".to_owned(),
                bearer: "operator".to_owned(),
                effective: true,
            }))
        };
        let inspection = |action| {
            AuditEvent::Inspection(Box::new(InspectionDetails {
                action,
                inspection: "3".to_owned(),
                reference: "CNDP-1".to_owned(),
                auditors: vec![],
                sectors: vec![],
                actors: vec![],
                not_before: String::new(),
                not_after: String::new(),
                reason: None,
                digest: "cd".to_owned(),
                signers: vec![],
                bearer: "operator".to_owned(),
            }))
        };
        let acknowledge = AuditEvent::AcknowledgeResume {
            actor: id(),
            log: "cloison/demo/vault/2026-1".to_owned(),
            entry: "ef".to_owned(),
            lost_log: "cloison/demo/vault/2026".to_owned(),
            lost_entries: 2,
            kept_entries: 1,
        };
        let register = AuditEvent::Register {
            actor: "signal".to_owned(),
            register_version: 7,
            register_digest: String::new(),
            before_version: 6,
            before_digest: String::new(),
            opened: vec![],
        };
        for (event, grants) in [
            (order_act("revoke"), None),
            (order_act("suspend"), None),
            (order_act("resume"), Some(Grant::OrderAct("ab".to_owned()))),
            (
                order_act("close-review"),
                Some(Grant::OrderAct("ab".to_owned())),
            ),
            (inspection("enter"), Some(Grant::Inspection("3".to_owned()))),
            (inspection("close"), None),
            (acknowledge, Some(Grant::Acknowledgement("ef".to_owned()))),
            (register, Some(Grant::Register(7))),
            (suspension("suspend"), None),
            (suspension("lift"), Some(Grant::Lift("1".to_owned()))),
            (confirm(None), Some(Grant::Confirmation(None))),
            (
                confirm(Some("tax")),
                Some(Grant::Confirmation(Some("tax".to_owned()))),
            ),
            (rotate(None), Some(Grant::Secret(2))),
            (rotate(Some("health")), None),
            (advance, Some(Grant::Epoch("health".to_owned(), 2))),
            (retire, Some(Grant::Retirement(1))),
        ] {
            let effect = event.effect();
            let entry = AuditEntry::new(jiff::Timestamp::UNIX_EPOCH, event).to_bytes();
            assert_eq!(Grant::of_entry(&entry), grants);
            assert_eq!(effect.granted(), grants);
        }
    }
}
