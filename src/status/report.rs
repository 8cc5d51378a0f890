//! The answer of `GET /v1/status`. Members that the caller may not know, or that the server does
//! not have, are absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::entity::UnconfirmedRestore;
use crate::identifier::{CheckDigit, LetterCase, SchemeRules};
use crate::quota::QuotaLeft;
use crate::register::{Id, Quota};

/// What a server tells a caller.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusReport {
    /// The server.
    pub server: ServerStatus,
    /// The caller, as the register knows them.
    pub caller: CallerStatus,
    /// Whether the server can be asked at present.
    pub ready: bool,
    /// Thing → why the server is not ready because of it; without words for those who neither run
    /// nor watch it.
    pub reasons: BTreeMap<String, String>,
    /// Thing → what to look into, although the server is ready.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notices: BTreeMap<String, String>,
    /// The register in force.
    pub register: RegisterStatus,
    /// The caller's sectors; for an operator all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<SectorStatus>,
    /// The rules of the schemes that a client's sectors take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemes: Vec<SchemeStatus>,
    /// What still holds since a restore without places, as far as it concerns the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<UnconfirmedRestore>,
    /// What a client's organisation may still send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
    /// The authority's keys, for its officers and custodians.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<CustodyStatus>,
    /// Where the vault's identity secret lies, for those who run or watch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStatus>,
    /// The head of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogStatus>,
    /// Authorities whose node does not hold the same acts upon orders as the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_step: Option<Vec<String>>,
    /// Register entries that are suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Vec<SuspendedEntry>>,
}

/// Where a vault's identity secret lies.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IdentityStatus {
    /// `embedded`: with the vault; `split`: with identity sources.
    #[schema(example = "split")]
    pub form: String,
    /// The identity sources, in the order in which they are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<IdentitySourceStatus>,
}

/// An identity source, as the vault sees it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IdentitySourceStatus {
    /// Its URL.
    pub url: String,
    /// Why it is not asked; absent while it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A register entry that is suspended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SuspendedEntry {
    /// The id of the entry.
    pub entry: String,
    /// Why, as one of the closed list.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// A server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServerStatus {
    /// `vault`, `node` or `identity`.
    #[schema(example = "vault")]
    pub kind: String,
    /// The deployment's id.
    pub deployment: String,
    /// A node's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The version of cloison that it runs.
    pub version: String,
    /// Its clock, RFC 3339.
    pub time: String,
}

/// The caller.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CallerStatus {
    /// Their id in the register.
    pub id: String,
    /// `client`, `operator`, `auditor`, `rights-officer`, `node`, `officer` or `custodian`.
    #[schema(example = "client")]
    pub role: String,
    /// A client's organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// The authority of a node, an officer or a custodian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// What a client may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
}

/// The register in force.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegisterStatus {
    /// Its version.
    pub version: u64,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
}

/// A sector.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SectorStatus {
    /// Its name.
    pub sector: String,
    /// Its identity, which never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub uuid: Option<Uuid>,
    /// The epoch in which it answers; a node does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// The present period, where the sector has periods: `2026` or `2026-11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// Until when the previous epoch is answered too, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_until: Option<String>,
    /// Purposes declared for it.
    pub purposes: Vec<String>,
    /// Schemes that it takes.
    pub schemes: Vec<String>,
}

/// The rules of a scheme, as the register states them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SchemeStatus {
    /// Its id.
    pub scheme: String,
    /// A regular expression that the whole canonical value matches.
    pub pattern: String,
    /// Characters that are removed wherever they stand.
    pub separators: String,
    /// How the check digit is computed; `none` if there is none.
    pub check: String,
    /// `fold` or `keep`: what happens to the case of letters.
    pub case: String,
}

impl SchemeStatus {
    pub(super) fn of(rules: &SchemeRules) -> Self {
        Self {
            scheme: rules.id.to_string(),
            pattern: rules.pattern.clone(),
            separators: rules.separators.clone(),
            check: rules.check.as_str().to_owned(),
            case: rules.case.as_str().to_owned(),
        }
    }

    /// The rules; `None` if this version knows no such rule.
    pub fn rules(&self) -> Option<SchemeRules> {
        Some(SchemeRules {
            id: Id::parse(&self.scheme)?,
            pattern: self.pattern.clone(),
            separators: self.separators.clone(),
            check: CheckDigit::parse(&self.check)?,
            case: LetterCase::parse(&self.case)?,
        })
    }
}

/// What an organisation may still send, over all its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaStatus {
    /// Items a second that the register grants.
    pub items_per_second: u64,
    /// Items a day that the register grants.
    pub items_per_day: u64,
    /// Items that may be sent at once.
    pub at_once: u64,
    /// The most items that may be sent at once, after ten quiet seconds.
    pub at_once_most: u64,
    /// Seconds until that many may be sent again.
    pub full_in: u32,
    /// Items left of the day's.
    pub today: u64,
    /// Seconds until the next day (UTC).
    pub day_ends_in: u32,
}

impl QuotaStatus {
    /// What is left of a quota.
    pub fn of(left: QuotaLeft) -> Self {
        Self {
            items_per_second: left.quota.items_per_second,
            items_per_day: left.quota.items_per_day,
            at_once: left.at_once,
            at_once_most: left.capacity(),
            full_in: left.full_in,
            today: left.today,
            day_ends_in: left.day_ends_in,
        }
    }

    /// The same, as the vault counts.
    pub fn left(&self) -> QuotaLeft {
        QuotaLeft {
            quota: Quota {
                items_per_second: self.items_per_second,
                items_per_day: self.items_per_day,
            },
            at_once: self.at_once,
            full_in: self.full_in,
            today: self.today,
            day_ends_in: self.day_ends_in,
        }
    }
}

/// The keys of an authority at its node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CustodyStatus {
    /// Whether a key is sealed.
    pub sealed: bool,
    /// The ids of those that are.
    pub sealed_keys: Vec<String>,
}

/// The head of a log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogStatus {
    /// The log's name, with its year.
    pub origin: String,
    /// Entries under the last checkpoint that is shown.
    pub entries: u64,
    /// Who cosigns it.
    pub cosigners: Vec<CosignerStatus>,
    /// The places that hold the log off its store, and what they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PlaceStatus>,
    /// What was granted and is not in force, because too few places hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
}

/// A place that holds the log off its store.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlaceStatus {
    /// Its name.
    pub name: String,
    /// Whether it counts among those that must hold an act before it takes effect.
    pub counts: bool,
    /// The log that it holds, as its origin names it; absent until it vouched since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How many entries of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// When it last vouched (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// For how many seconds it has lacked something that is durable; absent if it lacks nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_seconds: Option<u64>,
}

/// One who cosigns a log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CosignerStatus {
    /// Their name.
    pub name: String,
    /// Whether it is a witness; the other is the other side.
    pub witness: bool,
    /// When they last cosigned since the server started, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}
