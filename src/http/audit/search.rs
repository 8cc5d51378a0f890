//! Entries for people, by time, actor, sector, order and event: under an inspection, and about its
//! object only.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{shard, unreadable};
use crate::access;
use crate::audit::log::Log;
use crate::audit::search::{EntryFilter, instant};
use crate::audit::shard_reader::ShardReader;
use crate::audit::{AccessDetails, AuditEvent};
use crate::code::Code;
use crate::entity::Entity;
use crate::http::admission::Lane;
use crate::http::answer::{blocking, note};
use crate::http::body::{self, query};
use crate::http::described::{OpenApiRouter, routes, tagged};
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::inspection::Inspections;
use crate::inspection::object::InspectionObject;
use crate::register::Register;
use crate::store::{Shard, StoreError};

/// Entries that one request looks at; the answer says where to go on.
const SCAN: u64 = 100_000;
/// Entries that one answer has, unless asked otherwise, and at most.
const LIMIT: u64 = 100;
const MOST: u64 = 1_000;

/// The route, at either side.
pub(in crate::http) fn routes() -> OpenApiRouter<Arc<Entity>> {
    tagged(
        "audit::search",
        OpenApiRouter::default().routes(routes!(entries)),
    )
}

/// What to look for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Not before this instant (RFC 3339) or day.
    from: Option<String>,
    /// Before this instant (RFC 3339) or day.
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
    /// The inspection that opens this, by its id; the only one that is open unless named.
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
    /// Where to go on, if not everything was looked at.
    pub next: Option<u64>,
}

/// Entries for people, by time, actor, sector, order and event: under an inspection, and about its
/// object only.
#[utoipa::path(get, path = "/v1/audit/entries", params(Search), responses(
    (status = 200, description = "The entries that match", body = FoundEntries),
    (status = "4XX", description = "Refused; `code` says why",
     body = crate::http::problem::ProblemBody<'static>, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn entries(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
    uri: Uri,
) -> Result<Response<Body>, Problem> {
    let found = async {
        let permit = access::auditor(entity.register(), peer.spki)?;
        let search: Search = query(&uri)?;
        let entity = entity.clone();
        let _admitted = peer.allowance().admit(Lane::Work)?;
        blocking(&peer, Lane::Work, move || {
            let view = Inspections::of(&entity).open(search.inspection, &permit)?;
            let (asked, id) = (search.asked(entity.register()), view.decision.id);
            let found = find(
                entity.log(),
                search,
                id,
                &InspectionObject::of(&view, entity.register()),
            )?;
            let given = found.entries.len() as u64;
            let actor = permit.auditor().clone();
            let access = AccessDetails {
                actor,
                inspection: id.to_string(),
                what: "entries",
                asked,
                given,
            };
            // Durable before anything is shown.
            let recorded = entity.committer().record(
                entity.now(),
                AuditEvent::Access(Box::new(access)),
                vec![],
                vec![],
            );
            recorded.map_err(|code| Problem::new(code).retry_after(1))?;
            Ok(found)
        })
        .await
    };
    match found.await {
        Ok(found) => body::json(&found),
        Err(problem) => Err(note(&entity, &peer, "audit", problem).await),
    }
}

/// What of a text is written into the log, if it is what it should be.
type Form<'f> = &'f dyn Fn(&String) -> Option<String>;

impl Search {
    /// What was asked, for the entry about it. What an auditor writes is his, and what is logged
    /// stays: only names that the register knows, and texts that cannot be anything else than what
    /// they should be.
    fn asked(&self, register: &Register) -> BTreeMap<&'static str, String> {
        let time = |text: &String| instant(text).map(|time| time.to_string());
        let event = |text: &String| {
            let plain =
                text.len() <= 24 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            plain.then(|| text.clone())
        };
        let members: [(_, &Option<String>, Form<'_>); 7] = [
            ("from", &self.from, &time),
            ("to", &self.to, &time),
            ("actor", &self.actor, &|text| {
                access::names(register, text).then(|| text.clone())
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

fn find(
    log: &Log,
    search: Search,
    inspection: Uuid,
    object: &InspectionObject,
) -> Result<FoundEntries, Problem> {
    let wrong =
        |name: &str| Problem::new(Code::BadParameter).detail(format!("`{name}` has no such value"));
    let time = |name: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => instant(&text).map(Some).ok_or_else(|| wrong(name)),
    };
    let filter = EntryFilter {
        from: time("from", search.from)?,
        to: time("to", search.to)?,
        actor: search.actor,
        sector: search.sector,
        order: search.order,
        event: search.event,
    };
    let limit = search.limit.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(wrong("limit"));
    }
    let published = shard(log, search.shard.as_deref()).ok_or_else(|| wrong("shard"))?;
    let shelf = ShardReader::new(log.store(), &published.tree, published.checkpoint.size);
    let start = search.start.unwrap_or(0);
    let (log, size) = (published.checkpoint.origin.clone(), shelf.size());
    let mut found = FoundEntries {
        inspection,
        log,
        size,
        entries: vec![],
        next: None,
    };
    let end = start.saturating_add(SCAN).min(shelf.size());
    let mut next = start;
    let scanned = shelf.each::<ScanEnd>(start, SCAN, |index, entry| {
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
        Err(ScanEnd::Store(error)) => return Err(unreadable(&error)),
    }
    found.next = (next < shelf.size()).then_some(next);
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
