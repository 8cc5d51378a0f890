//! The annex of an inspection's minutes: what was decided, what was accessed under it, the figures of the sectors concerned, and
//! the head of the log that bears all this out; signed with the key of the log's checkpoints.

use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::decision::invalid;
use super::figures::{Count, Figures};
use super::object::Object;
use super::{FAILED, InspectionView, Inspections, hex, read_unverified};
use crate::access::AuditorPermit;
use crate::audit::shard_reader::ShardReader;
use crate::audit::{AccessDetails, Event};
use crate::code::Code;
use crate::jws::{self, Members};
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Declaration, Granularity};
use crate::store::StoreError;
use crate::tlog::checkpoint::Checkpoint;

/// The `typ` of a report's signature.
pub const REPORT_TYP: &str = "cloison-inspection-report+json";
/// What the member `format` says.
pub const FORMAT: &str = "cloison-inspection-report/1";
/// Accesses that are listed one by one.
const MOST_LISTED: usize = 10_000;
/// How long a report waits for the checkpoint over its own entry.
const PATIENCE: Duration = Duration::from_secs(10);

/// The annex of an inspection's minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
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
    /// What was decided, and how it stands.
    pub inspection: Box<InspectionView>,
    /// Every access under it, as it was logged, oldest first.
    pub accesses: Vec<Accessed>,
    /// How many more there were than are listed.
    pub more_accesses: u64,
    /// What the register says of the sectors concerned.
    pub sectors: Vec<SectorFacts>,
    /// What happened in them.
    pub figures: Figures,
    /// The checkpoint that covers all of it, the entry about this report included: a signed note.
    pub checkpoint: String,
    /// The last checkpoint that others cosigned, with their signatures; absent where nobody did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cosigned: Option<String>,
}

/// An access, where it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accessed {
    /// The log: the origin of its checkpoints.
    pub log: String,
    /// The entry's number in it.
    pub index: u64,
    /// The entry.
    pub entry: Value,
}

/// What the register says of a sector, as art. 27 and 28 ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorFacts {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// What was declared and decided.
    pub declaration: Declaration,
    /// What separates domains inside it.
    pub granularity: Granularity,
    /// How its pseudonyms are written.
    pub text_form: String,
    /// Whether mappings are kept.
    pub reversible: bool,
    /// For how many years.
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
pub struct Document {
    /// The report.
    #[schema(value_type = Object)]
    pub report: Value,
    /// JWS General JSON over the SHA-256 of the report as canonical JSON (members sorted, no white space).
    pub signature: String,
}

/// The payload of the signature.
#[derive(Serialize)]
struct Statement<'a> {
    aud: &'a str,
    inspection: Uuid,
    log: &'a str,
    size: u64,
    sha256: String,
}

/// One at a time: a report goes through the whole log.
static BUSY: Mutex<()> = Mutex::new(());

/// SHA-256 of a report as canonical JSON.
fn digest(report: &Value) -> String {
    // `Value` keeps its members sorted.
    hex(&Sha256::digest(serde_json::to_vec(report).unwrap_or_default()))
}

/// Writes the report on an inspection for one of its auditors; that it was written is logged first. Not before its time; also
/// after its end: then it counts what was logged until then.
///
/// # Errors
/// [`Code::UnknownInspection`]; [`Code::InspectionRequired`] where it has not begun, or was closed before it did;
/// [`Code::Overloaded`] while another one is written; [`Code::AuditUnavailable`].
pub fn write(inspections: &Inspections<'_>, id: Uuid, permit: &AuditorPermit) -> Result<Document, Refusal> {
    let Inspections { register, store, log, committer, now, .. } = *inspections;
    let view = inspections.one(id, permit)?;
    if !view.has_begun() {
        let why = "the inspection has not begun, or was closed before it did: it opens nothing";
        return Err(Refusal::new(Code::InspectionRequired, why));
    }
    let _alone = match BUSY.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Err(Refusal::new(Code::Overloaded, "another report is being written").come_back_in(5));
        }
    };
    let access = AccessDetails {
        actor: permit.auditor().clone(),
        inspection: id.to_string(),
        what: "report",
        asked: [].into(),
        given: 1,
    };
    let unavailable = not_logged("nothing is reported");
    let recorded = committer.record(now, Event::Access(Box::new(access)), vec![], vec![]);
    let receipt = recorded.map_err(unavailable)?;
    let head = log.covering(&receipt, PATIENCE).ok_or_else(|| unavailable(Code::AuditUnavailable))?;

    let object = Object::of(&view, register);
    let (mut count, mut accesses, mut more) = (Count::default(), vec![], 0);
    let mark = format!("\"inspection\":\"{id}\"");
    // Years before the object's first instant hold nothing of it, and those before the decision came no access under it.
    let first = object.from().map(|from| from.min(view.entered).to_zoned(jiff::tz::TimeZone::UTC).year());
    let may_hold = |year: u16| first.is_none_or(|first| i32::from(year) >= i32::from(first));
    for shard in log.shards().iter().filter(|shard| may_hold(shard.tree.shard.year)) {
        // What came after the checkpoint that the report shows does not belong to it.
        let last = if shard.tree.shard == head.tree.shard { &head } else { shard };
        let shelf = ShardReader::new(store, &last.tree, last.checkpoint.size);
        let each = |index: u64, entry: &[u8]| -> Result<(), StoreError> {
            count.add(&object, entry);
            let text = std::str::from_utf8(entry).unwrap_or_default();
            if text.contains(&mark)
                && let Ok(entry) = serde_json::from_str::<Value>(text)
                && entry["event"] == "access"
            {
                match accesses.len() < MOST_LISTED {
                    true => accesses.push(Accessed { log: last.checkpoint.origin.clone(), index, entry }),
                    false => more += 1,
                }
            }
            Ok(())
        };
        shelf.each::<StoreError>(0, u64::MAX, each).map_err(fault(FAILED))?;
    }
    let figures = count.figures();
    let concerned: Vec<&String> = match view.decision.sectors.is_empty() {
        true => figures.sectors.keys().collect(),
        false => view.decision.sectors.iter().collect(),
    };
    let sectors = concerned.into_iter().filter_map(|name| inspections.facts(name)).collect();
    let report = Report {
        format: FORMAT.to_owned(),
        owner: log.owner().to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        register_version: register.version,
        register_digest: hex(&register.digest),
        written: now,
        inspection: Box::new(view),
        accesses,
        more_accesses: more,
        sectors,
        figures,
        checkpoint: head.note.clone(),
        cosigned: log.cosigned().map(|cosigned| cosigned.note.clone()),
    };
    let report = serde_json::to_value(&report).map_err(fault(FAILED))?;
    let statement = Statement {
        aud: register.deployment.as_str(),
        inspection: id,
        log: &head.checkpoint.origin,
        size: head.checkpoint.size,
        sha256: digest(&report),
    };
    let payload = serde_json::to_vec(&statement).map_err(fault(FAILED))?;
    let signature = log.sign_statement(&payload, REPORT_TYP).map_err(fault(FAILED))?;
    Ok(Document { report, signature })
}

impl Inspections<'_> {
    fn facts(&self, name: &str) -> Option<SectorFacts> {
        let sector = self.register.sector(name)?;
        let called = |id: &crate::register::Id| {
            let authority = self.register.authorities.get(id);
            (id.to_string(), authority.map(|authority| authority.name.clone()).unwrap_or_default())
        };
        Some(SectorFacts {
            name: name.to_owned(),
            uuid: sector.uuid,
            declaration: sector.declaration.clone(),
            granularity: sector.granularity,
            text_form: sector.text_form.as_str().to_owned(),
            reversible: sector.reversible,
            retention_years: sector.retention_years,
            authorities: sector.authorities.iter().map(called).collect(),
            mappings: self.mappings.and_then(|count| count(name)),
        })
    }
}

/// Checks a report: its signature, by the key that `key` believes for its log, its digest, and the checkpoint in it.
///
/// # Errors
/// [`Code::InspectionInvalid`], saying what does not fit.
pub fn check(document: &Document, key: impl Fn(&str) -> Option<VerifyingKey>) -> Result<Report, Refusal> {
    let unreadable = |error: jws::JwsError| invalid(format!("the signature: {error}"));
    let jws = jws::parse(&document.signature, REPORT_TYP).map_err(unreadable)?;
    let mut members = Members::parse(jws.payload()).map_err(unreadable)?;
    let mut text = |name| members.text(name).map_err(unreadable);
    let (aud, inspection, origin, sha256) = (text("aud")?, text("inspection")?, text("log")?, text("sha256")?);
    let size = members.number("size").map_err(unreadable)?;
    members.end().map_err(unreadable)?;
    let believed = key(&origin).ok_or_else(|| invalid(format!("no key is believed for the log {origin}")))?;
    let mut signers = jws.signers();
    match (signers.next(), signers.next()) {
        (Some(kid), None) if jws.verify(kid, &believed) => {}
        _ => return Err(invalid(format!("the signature is not by the key that is believed for the log {origin}"))),
    }
    if digest(&document.report) != sha256 {
        return Err(invalid("the report is not the one that was signed: it was changed"));
    }
    let report: Report = serde_json::from_value(document.report.clone())
        .map_err(|error| invalid(format!("the report does not read: {error}")))?;
    let decision = &report.inspection.decision;
    if report.format != FORMAT || decision.id.to_string() != inspection || decision.aud.as_str() != aud {
        return Err(invalid("the signature is of a report on something else"));
    }
    if read_unverified(&report.inspection.text)? != *decision {
        return Err(invalid("the decision that is shown is not the one that was signed"));
    }
    let opened = Checkpoint::open(report.checkpoint.as_bytes(), &believed);
    let (checkpoint, _) = opened.map_err(|error| invalid(format!("its checkpoint: {error}")))?;
    match checkpoint.origin == origin && checkpoint.size == size {
        true => Ok(report),
        false => Err(invalid("its checkpoint is not the one that was signed with it")),
    }
}
