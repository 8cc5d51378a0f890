//! The annex of an inspection's minutes: the decision, every access under it, the figures of the
//! sectors concerned, and the head of the log that proves them; signed with the key of the log's
//! checkpoints.

use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::decision::{InspectionDecision, invalid};
use super::figures::{FigureCounter, InspectionFigures};
use super::object::InspectionObject;
use super::{FAILED, InspectionView, Inspections, hex};
use crate::access::AuditorPermit;
use crate::audit::log::PublishedCheckpoint;
use crate::audit::shard_reader::ShardReader;
use crate::audit::{AccessDetails, AuditEvent, AuditReceipt};
use crate::code::Code;
use crate::entity::Entity;
use crate::json::JsonObject;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Declaration, Granularity, Id, Sector};
use crate::statement::members::as_hex;
use crate::statement::{Statement, StatementFault, UnverifiedStatement, read_unverified};
use crate::store::StoreError;
use crate::tlog::checkpoint::Checkpoint;

/// The value of the member `format`.
pub const FORMAT: &str = "cloison-inspection-report/1";
/// The most accesses that are listed one by one.
const MOST_LISTED: usize = 10_000;
/// How long a report waits for the checkpoint over its own entry.
const PATIENCE: Duration = Duration::from_secs(10);

/// The annex of an inspection's minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectionReport {
    /// [`FORMAT`].
    pub format: String,
    /// Deployment and entity, such as `demo/vault`.
    pub owner: String,
    /// Version of the program.
    pub program: String,
    /// The register in force.
    pub register_version: u64,
    /// Its SHA-256, hex.
    pub register_digest: String,
    /// When it was written.
    pub written: Timestamp,
    /// The decision and its state.
    pub inspection: Box<InspectionView>,
    /// Every access under it, as it was logged, oldest first.
    pub accesses: Vec<LoggedAccess>,
    /// How many more accesses there were.
    pub more_accesses: u64,
    /// The register's facts about the sectors concerned.
    pub sectors: Vec<SectorFacts>,
    /// Their figures.
    pub figures: InspectionFigures,
    /// The checkpoint that covers all of this, the entry about this report included: a signed note.
    pub checkpoint: String,
    /// The last checkpoint that others cosigned, with their signatures; absent if nobody did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cosigned: Option<String>,
}

/// An access, with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedAccess {
    /// The log: the origin of its checkpoints.
    pub log: String,
    /// The entry's number in it.
    pub index: u64,
    /// The entry.
    pub entry: Value,
}

/// The register's facts about a sector, as art. 27 and 28 require.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorFacts {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// What was declared and decided.
    pub declaration: Declaration,
    /// The granularity that separates domains inside it.
    pub granularity: Granularity,
    /// How its pseudonyms are written.
    pub text_form: String,
    /// Whether mappings are kept.
    pub reversible: bool,
    /// How many years they are kept.
    pub retention_years: u32,
    /// Competent authorities: id and name.
    pub authorities: Vec<(String, String)>,
    /// Mappings in the store now; absent at the node, which has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mappings: Option<u64>,
}

/// A report with its signature: the file.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedReport {
    /// The report.
    #[schema(value_type = Object)]
    pub report: Value,
    /// JWS General JSON over the SHA-256 of the report as canonical JSON (members sorted, no white
    /// space).
    pub signature: String,
}

/// The payload of the signature, member by member.
#[derive(Serialize)]
pub struct ReportStatement {
    /// The deployment's id.
    pub aud: Id,
    /// The inspection's id.
    pub inspection: Uuid,
    /// The log whose checkpoint the report shows, and whose key signs: the origin of its
    /// checkpoints.
    pub log: String,
    /// The size of that checkpoint.
    pub size: u64,
    /// SHA-256 of the report as canonical JSON.
    #[serde(serialize_with = "as_hex")]
    pub sha256: [u8; 32],
}

impl Statement for ReportStatement {
    const TYP: &'static str = "cloison-inspection-report+json";
    const NAME: &'static str = "the signature";
    const CODE: Code = Code::InspectionInvalid;

    fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
        Ok(Self {
            aud: members.id("aud")?,
            inspection: members.random_uuid("inspection")?,
            log: members.text("log")?,
            size: members.number("size")?,
            sha256: members.digest("sha256")?,
        })
    }

    fn deployment(&self) -> &Id {
        &self.aud
    }
}

/// SHA-256 of a report as canonical JSON.
fn digest(report: &Value) -> [u8; 32] {
    // `Value` keeps its members sorted.
    Sha256::digest(serde_json::to_vec(report).unwrap_or_default()).into()
}

/// Writes the report on an inspection for one of its auditors, and logs that first. It refuses
/// before the inspection has begun. After the end it counts what was logged until then.
///
/// # Errors
/// [`Code::UnknownInspection`]; [`Code::InspectionRequired`] if it has not begun, or was closed
/// before it did; [`Code::Overloaded`] while another report is being written;
/// [`Code::AuditUnavailable`].
pub fn write(
    inspections: &Inspections<'_>,
    id: Uuid,
    permit: &AuditorPermit,
) -> Result<SignedReport, Refusal> {
    let view = inspections.inspection(id, permit)?;
    if !view.has_begun() {
        let why = "the inspection has not begun, or was closed before it did: it opens nothing";
        return Err(Refusal::new(Code::InspectionRequired, why));
    }
    let Some(_alone) = inspections.entity.lock_reports() else {
        let why = "another report is being written";
        return Err(Refusal::new(Code::Overloaded, why).come_back_in(5));
    };
    let unavailable = not_logged("nothing is reported");
    let receipt = inspections.log_report(id, permit).map_err(unavailable)?;
    let head = inspections.entity.log().covering(&receipt, PATIENCE);
    let head = head.ok_or_else(|| unavailable(Code::AuditUnavailable))?;
    let entries = ReportEntries::read(inspections, &view, &head)?;
    inspections.signed(inspections.compose(view, entries, &head)?, &head)
}

/// The log's entries about an inspection, up to a checkpoint.
#[derive(Default)]
struct ReportEntries {
    count: FigureCounter,
    accesses: Vec<LoggedAccess>,
    more_accesses: u64,
}

impl ReportEntries {
    /// Reads the log.
    fn read(
        inspections: &Inspections<'_>,
        view: &InspectionView,
        head: &PublishedCheckpoint,
    ) -> Result<Self, Refusal> {
        let object = InspectionObject::of(view, inspections.entity.register());
        let mark = format!("\"inspection\":\"{}\"", view.decision.id);
        // Years before the object's first instant hold no entry of it, and years before the
        // decision no access under it.
        let first = object.from().map(|from| {
            from.min(view.entered)
                .to_zoned(jiff::tz::TimeZone::UTC)
                .year()
        });
        let may_hold = |year: u16| first.is_none_or(|first| i32::from(year) >= i32::from(first));
        let mut entries = Self::default();
        for shard in inspections
            .entity
            .log()
            .shards()
            .iter()
            .filter(|shard| may_hold(shard.tree.shard.year))
        {
            // Entries after the checkpoint that the report shows do not belong to it.
            let last = if shard.tree.shard == head.tree.shard {
                head
            } else {
                shard
            };
            let shelf =
                ShardReader::new(inspections.entity.store(), &last.tree, last.checkpoint.size);
            let each = |index: u64, entry: &[u8]| -> Result<(), StoreError> {
                entries.count.add(&object, entry);
                entries.note_access(&last.checkpoint.origin, index, entry, &mark);
                Ok(())
            };
            shelf
                .each::<StoreError>(0, u64::MAX, each)
                .map_err(fault(FAILED))?;
        }
        Ok(entries)
    }

    /// Lists an entry if it is an access under the inspection; `mark` is a piece of every such
    /// entry.
    fn note_access(&mut self, log: &str, index: u64, entry: &[u8], mark: &str) {
        let text = std::str::from_utf8(entry).unwrap_or_default();
        if text.contains(mark)
            && let Ok(entry) = serde_json::from_str::<Value>(text)
            && entry["event"] == "access"
        {
            if self.accesses.len() < MOST_LISTED {
                self.accesses.push(LoggedAccess {
                    log: log.to_owned(),
                    index,
                    entry,
                });
            } else {
                self.more_accesses += 1;
            }
        }
    }
}

impl Inspections<'_> {
    /// Logs, durably, that a report is written for an auditor.
    fn log_report(&self, id: Uuid, permit: &AuditorPermit) -> Result<AuditReceipt, Code> {
        let access = AccessDetails {
            actor: permit.auditor().clone(),
            inspection: id.to_string(),
            what: "report",
            asked: [].into(),
            given: 1,
        };
        self.entity.committer().record(
            self.now,
            AuditEvent::Access(Box::new(access)),
            vec![],
            vec![],
        )
    }

    fn compose(
        &self,
        view: InspectionView,
        entries: ReportEntries,
        head: &PublishedCheckpoint,
    ) -> Result<InspectionReport, Refusal> {
        let (register, log) = (self.entity.register(), self.entity.log());
        let ReportEntries {
            count,
            accesses,
            more_accesses,
        } = entries;
        let figures = count.figures();
        let concerned: Vec<&String> = if view.decision.sectors.is_empty() {
            figures.sectors.keys().collect()
        } else {
            view.decision.sectors.iter().collect()
        };
        let sectors = concerned
            .into_iter()
            .filter_map(|name| register.sector(name));
        let sectors = sectors
            .map(|sector| facts(self.entity, sector))
            .collect::<Result<_, _>>()
            .map_err(fault(FAILED))?;
        Ok(InspectionReport {
            format: FORMAT.to_owned(),
            owner: log.owner().to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            register_version: register.version,
            register_digest: hex(&register.digest),
            written: self.now,
            inspection: Box::new(view),
            accesses,
            more_accesses,
            sectors,
            figures,
            checkpoint: head.note.clone(),
            cosigned: log.cosigned().map(|cosigned| cosigned.note.clone()),
        })
    }

    fn signed(
        &self,
        report: InspectionReport,
        head: &PublishedCheckpoint,
    ) -> Result<SignedReport, Refusal> {
        let inspection = report.inspection.decision.id;
        let report = serde_json::to_value(&report).map_err(fault(FAILED))?;
        let statement = ReportStatement {
            aud: self.entity.register().deployment.clone(),
            inspection,
            log: head.checkpoint.origin.clone(),
            size: head.checkpoint.size,
            sha256: digest(&report),
        };
        let signature = self
            .entity
            .log()
            .sign_statement(&statement.write()?, ReportStatement::TYP)
            .map_err(fault(FAILED))?;
        Ok(SignedReport { report, signature })
    }
}

/// The facts of register and store about a sector.
fn facts(entity: &Entity, sector: &Sector) -> Result<SectorFacts, StoreError> {
    let called = |id: &Id| {
        let authority = entity.register().authorities.get(id);
        (
            id.to_string(),
            authority
                .map(|authority| authority.name.clone())
                .unwrap_or_default(),
        )
    };
    Ok(SectorFacts {
        name: sector.name.clone(),
        uuid: sector.uuid,
        declaration: sector.declaration.clone(),
        granularity: sector.granularity,
        text_form: sector.text_form.as_str().to_owned(),
        reversible: sector.reversible,
        retention_years: sector.retention_years,
        authorities: sector.authorities.iter().map(called).collect(),
        mappings: entity.mappings(&sector.name)?,
    })
}

/// Checks a report: its signature under the trusted key of its log, which `key` returns; its
/// digest; and the checkpoint in it.
///
/// # Errors
/// [`Code::InspectionInvalid`], saying what does not fit.
pub fn check(
    document: &SignedReport,
    key: impl Fn(&str) -> Option<VerifyingKey>,
) -> Result<InspectionReport, Refusal> {
    let signature = UnverifiedStatement::<ReportStatement>::read(&document.signature)?;
    let ReportStatement {
        aud,
        inspection,
        log: origin,
        size,
        sha256,
    } = signature.says();
    let believed =
        key(origin).ok_or_else(|| invalid(format!("no key is trusted for the log {origin}")))?;
    let signatures = signature.signatures(|_| Some(((), &believed)));
    if signature.claimed_signers().count() != 1 || signatures.all_good().is_err() {
        return Err(invalid(format!(
            "the signature is not by the key that is trusted for the log {origin}"
        )));
    }
    if digest(&document.report) != *sha256 {
        return Err(invalid(
            "the report is not the one that was signed: it was changed",
        ));
    }
    let report: InspectionReport = serde_json::from_value(document.report.clone())
        .map_err(|error| invalid(format!("the report does not read: {error}")))?;
    let decision = &report.inspection.decision;
    if report.format != FORMAT || decision.id != *inspection || decision.aud != *aud {
        return Err(invalid("the signature is of a report on something else"));
    }
    if read_unverified::<InspectionDecision>(&report.inspection.text)? != *decision {
        return Err(invalid(
            "the decision that is shown is not the one that was signed",
        ));
    }
    let opened = Checkpoint::open(report.checkpoint.as_bytes(), &believed);
    let (checkpoint, _) = opened.map_err(|error| invalid(format!("its checkpoint: {error}")))?;
    if checkpoint.origin != *origin || checkpoint.size != *size {
        return Err(invalid(
            "its checkpoint is not the one that was signed with it",
        ));
    }
    Ok(report)
}
