//! Answers an auditor's questions about entries, by time, actor, sector, order and event: under an
//! inspection, and about its object only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Inspections;
use super::object::InspectionObject;
use crate::access::AuditorPermit;
use crate::audit::log::Log;
use crate::audit::search::{EntryFilter, NamedTime};
use crate::audit::shard_reader::ShardReader;
use crate::audit::{AccessDetails, AuditEvent};
use crate::code::Code;
use crate::entity::Entity;
use crate::refusal::{Refusal, fault};
use crate::register::Register;
use crate::store::{Shard, StoreError};

/// Entries that one request looks at. The answer says where to continue.
const SCAN: u64 = 100_000;
/// Entries in one answer, unless the search says otherwise; and at most.
const LIMIT: u64 = 100;
const MOST: u64 = 1_000;

/// What an auditor looks for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EntrySearch {
    /// Not before this instant (RFC 3339), day or month.
    from: Option<String>,
    /// Before this instant (RFC 3339), day or month.
    to: Option<String>,
    /// Id of a client, operator, officer, authority or organisation.
    actor: Option<String>,
    /// Sector name.
    sector: Option<String>,
    /// Order id.
    order: Option<String>,
    /// What happened, such as `release`.
    event: Option<String>,
    /// The shard, such as `2026`; the present one unless named.
    shard: Option<String>,
    /// The id of the inspection that permits this search; the only open one unless named.
    #[param(value_type = Option<String>)]
    inspection: Option<Uuid>,
    /// The first entry to look at; `next` of the answer before.
    start: Option<u64>,
    /// Most entries in the answer, up to 1000; 100 unless named.
    limit: Option<u64>,
}

/// An entry found.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FoundEntry {
    /// Its number in the log.
    pub index: u64,
    /// The entry, as it was logged.
    #[schema(value_type = Object)]
    pub entry: Box<RawValue>,
}

/// Entries found.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FoundEntries {
    /// The inspection under which they were given.
    #[schema(value_type = String)]
    pub inspection: Uuid,
    /// The log: the origin of its checkpoints.
    pub log: String,
    /// Entries that it has.
    pub size: u64,
    /// Those that match, oldest first.
    pub entries: Vec<FoundEntry>,
    /// Where to continue, if not everything was looked at.
    pub next: Option<u64>,
}

/// Finds the entries that match and that the inspection's object covers. Records the access
/// durably before it gives them.
///
/// # Errors
/// As [`Inspections::open`]; [`Code::BadParameter`]; [`Code::AuditUnavailable`] and
/// [`Code::Overloaded`] when the access cannot be logged.
pub fn search(
    entity: &Entity,
    permit: &AuditorPermit,
    search: EntrySearch,
) -> Result<FoundEntries, Refusal> {
    let view = Inspections::of(entity).open(search.inspection, permit)?;
    let (asked, id) = (search.asked(entity.register()), view.decision.id);
    let object = InspectionObject::of(&view, entity.register());
    let found = find(entity.log(), &search, id, &object)?;
    let access = AccessDetails {
        actor: permit.auditor().clone(),
        inspection: id.to_string(),
        what: "entries",
        asked,
        given: found.entries.len() as u64,
    };
    let event = AuditEvent::Access(Box::new(access));
    let recorded = entity
        .committer()
        .record(entity.now(), event, vec![], vec![]);
    recorded.map_err(|code| Refusal::from(code).come_back_in(1))?;
    Ok(found)
}

/// Gives the text that is written into the log, if it has the form that it should have.
type Form<'f> = &'f dyn Fn(&String) -> Option<String>;

impl EntrySearch {
    fn filter(&self) -> Result<EntryFilter, Refusal> {
        let time = |name: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => match NamedTime::parse(text) {
                Some(time) => Ok(Some(time.begin)),
                None => Err(wrong(name)),
            },
        };
        Ok(EntryFilter {
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            actor: self.actor.clone(),
            sector: self.sector.clone(),
            order: self.order.clone(),
            event: self.event.clone(),
        })
    }

    /// What was asked, for the entry about it. What is logged stays, and auditors could write
    /// anything into a search. So only names that the register knows are logged, and texts whose
    /// form leaves no room for anything else.
    fn asked(&self, register: &Register) -> BTreeMap<&'static str, String> {
        let time = |text: &String| NamedTime::parse(text).map(|time| time.begin.to_string());
        let event = |text: &String| {
            let plain =
                text.len() <= 24 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            plain.then(|| text.clone())
        };
        let members: [(_, &Option<String>, Form<'_>); 7] = [
            ("from", &self.from, &time),
            ("to", &self.to, &time),
            ("actor", &self.actor, &|text| {
                register.names(text).then(|| text.clone())
            }),
            ("sector", &self.sector, &|text| {
                register.sector(text).map(|sector| sector.name.clone())
            }),
            ("order", &self.order, &|text| {
                Uuid::try_parse(text).ok().map(|id| id.to_string())
            }),
            ("event", &self.event, &event),
            ("shard", &self.shard, &|text| {
                Shard::parse(text).map(|shard| shard.to_string())
            }),
        ];
        let said = |(name, text, form): (_, &Option<String>, Form<'_>)| {
            Some((name, form(text.as_ref()?).unwrap_or_else(|| "…".to_owned())))
        };
        let numbers = [("start", self.start), ("limit", self.limit)];
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, number)| Some((name, number?.to_string())));
        members
            .into_iter()
            .filter_map(said)
            .chain(numbers)
            .collect()
    }
}

fn wrong(parameter: &str) -> Refusal {
    Refusal::new(
        Code::BadParameter,
        format!("`{parameter}` has no such value"),
    )
}

fn find(
    log: &Log,
    search: &EntrySearch,
    inspection: Uuid,
    object: &InspectionObject,
) -> Result<FoundEntries, Refusal> {
    let filter = search.filter()?;
    let limit = search.limit.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(wrong("limit"));
    }
    let shard = match &search.shard {
        None => None,
        Some(name) => Some(Shard::parse(name).ok_or_else(|| wrong("shard"))?),
    };
    let published = log.shown(shard).ok_or_else(|| wrong("shard"))?;
    let reader = ShardReader::new(log.store(), &published.tree, published.checkpoint.size);
    let start = search.start.unwrap_or(0);
    let (log, size) = (published.checkpoint.origin.clone(), reader.size());
    let mut found = FoundEntries {
        inspection,
        log,
        size,
        entries: vec![],
        next: None,
    };
    let end = start.saturating_add(SCAN).min(reader.size());
    let mut next = start;
    let scanned = reader.each::<ScanEnd>(start, SCAN, |index, entry| {
        if found.entries.len() as u64 == limit {
            return Err(ScanEnd::Full);
        }
        next = index + 1;
        if object.covers(entry) && filter.matches(entry) {
            let text = std::str::from_utf8(entry).map_err(|_| StoreError::Corrupt("audit"))?;
            let entry =
                RawValue::from_string(text.to_owned()).map_err(|_| StoreError::Corrupt("audit"))?;
            found.entries.push(FoundEntry { index, entry });
        }
        Ok(())
    });
    match scanned {
        Ok(()) => next = next.max(end),
        Err(ScanEnd::Full) => {}
        Err(ScanEnd::Store(error)) => {
            return Err(fault("the log cannot be read")(error).code().into());
        }
    }
    found.next = (next < reader.size()).then_some(next);
    Ok(found)
}

/// Why a scan ends early.
enum ScanEnd {
    Full,
    Store(StoreError),
}

impl From<StoreError> for ScanEnd {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
