//! The log, read-only, for auditors: on the control listeners of vault and node.
//!
//! `/checkpoint` and `/tile/…` are the present shard as C2SP `tlog-tiles` has it, `/log/<shard>/…` is any shard, so that
//! standard clients work with either prefix. Nothing beyond the last checkpoint is shown. `/v1/audit/entries` answers people's
//! questions, under an inspection and about its object only.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Response;
use axum::routing::get;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::body::{self, query};
use super::control::blocking;
use super::{Peer, Problem, inspections};
use crate::access;
use crate::audit::log::{Log, Published};
use crate::audit::path::Resource;
use crate::audit::search::{Filter, instant};
use crate::audit::shelf::Shelf;
use crate::audit::{Access, Event};
use crate::code::Code;
use crate::commit::{Committer, Job, Logged, Pending};
use crate::inspection::Inspections;
use crate::inspection::object::Object;
use crate::node::Node;
use crate::register::Register;
use crate::store::{Shard, StoreError};
use crate::vault::Vault;

/// Entries that one request looks at; the answer says where to go on.
const SCAN: u64 = 100_000;
/// Entries that one answer has, unless asked otherwise, and at most.
const LIMIT: u64 = 100;
const MOST: u64 = 1_000;

/// Whoever has a log.
pub trait Audited: Send + Sync {
    /// The register in force.
    fn register(&self) -> &Register;
    /// The log.
    fn log(&self) -> &Arc<Log>;
    /// The writer, for refusals.
    fn committer(&self) -> &Committer;
    /// The time.
    fn now(&self) -> Timestamp;
    /// The inspections that were entered here.
    fn inspections(&self) -> Inspections<'_>;
    /// Mappings that a sector has in the store.
    fn mappings(&self, sector: &str) -> Option<u64>;
}

impl dyn Audited {
    /// Logs a refusal before it is answered; where it cannot be logged, that is the answer.
    pub(super) async fn note(&self, peer: Peer, operation: &'static str, problem: Problem) -> Problem {
        // These say that nothing can be logged, or that too much waits to be.
        if matches!(problem.code(), Code::AuditUnavailable | Code::Overloaded) {
            return problem;
        }
        let actor = access::actor(self.register(), peer.spki);
        let log = Logged::Refused { time: self.now(), actor, operation, code: problem.code() };
        match self.committer().submit(Job { mappings: vec![], changes: vec![], count: None, log }) {
            Ok(pending) => match pending.noted().await {
                Ok(()) => problem,
                Err(code) => code.into(),
            },
            Err(code) => Problem::new(code).retry_after(1),
        }
    }
}

macro_rules! audited {
    ($($entity:ty, $mappings:expr);*) => {$(
        impl Audited for $entity {
            fn register(&self) -> &Register {
                self.register()
            }
            fn log(&self) -> &Arc<Log> {
                self.log()
            }
            fn committer(&self) -> &Committer {
                self.committer()
            }
            fn now(&self) -> Timestamp {
                self.now()
            }
            fn inspections(&self) -> Inspections<'_> {
                Inspections::from(self)
            }
            fn mappings(&self, sector: &str) -> Option<u64> {
                let count: fn(&$entity, &str) -> Option<u64> = $mappings;
                count(self, sector)
            }
        }
    )*};
}

audited!(Vault, Vault::mappings; Node, |_, _| None);

/// Whoever has a log, as the routes share it.
pub(super) type Entity = Arc<dyn Audited>;

/// The routes; to be merged into a control listener's router.
pub fn router(entity: Entity) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .route("/log/{shard}/{*path}", get(resource))
        .route("/v1/audit/log", get(shards))
        .route("/v1/audit/entries", get(entries))
        .merge(inspections::routes())
        .with_state(entity)
}

/// A shard of the log.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShardView {
    /// `2026`; its resources are below `/log/2026/`.
    pub shard: String,
    /// The origin of its checkpoints.
    pub origin: String,
    /// The verifier key (C2SP `signed-note`) of its checkpoints.
    pub key: String,
    /// Entries under its last checkpoint.
    pub size: u64,
}

/// The log's shards.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Shards {
    /// Oldest first.
    pub shards: Vec<ShardView>,
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

/// The checkpoint of the present shard: a signed note.
#[utoipa::path(get, path = "/checkpoint", responses(
    (status = 200, description = "C2SP tlog-checkpoint", body = String, content_type = "text/plain"),
    (status = "4XX", description = "Refused; `code` says why",
     body = super::problem::ProblemBody<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn checkpoint(State(entity): State<Entity>, peer: Peer) -> Result<Response<Body>, Problem> {
    serve(entity, peer, None, "checkpoint".to_owned()).await
}

/// A tile or entry bundle of the present shard.
#[utoipa::path(get, path = "/tile/{path}", params(("path" = String, Path, description = "`0/x001/067.p/12`, `entries/000`")),
    responses(
        (status = 200, description = "C2SP tlog-tiles", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", description = "Refused; `code` says why",
         body = super::problem::ProblemBody<'static>, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tile(
    State(entity): State<Entity>,
    Path(path): Path<String>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    serve(entity, peer, None, format!("tile/{path}")).await
}

/// A checkpoint, tile or entry bundle of any shard.
#[utoipa::path(get, path = "/log/{shard}/{path}",
    params(
        ("shard" = String, Path, description = "`2026`"),
        ("path" = String, Path, description = "`checkpoint`, `tile/0/000.p/12`, `tile/entries/000`"),
    ),
    responses(
        (status = 200, description = "C2SP tlog-tiles", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", description = "Refused; `code` says why",
         body = super::problem::ProblemBody<'static>, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resource(
    State(entity): State<Entity>,
    Path((shard, path)): Path<(String, String)>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    serve(entity, peer, Some(shard), path).await
}

/// The shards of the log.
#[utoipa::path(get, path = "/v1/audit/log", responses(
    (status = 200, description = "The shards, oldest first", body = Shards),
    (status = "4XX", description = "Refused; `code` says why",
     body = super::problem::ProblemBody<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn shards(State(entity): State<Entity>, peer: Peer) -> Result<Response<Body>, Problem> {
    admit(&entity, peer).await?;
    let log = entity.log();
    let view = |published: &Arc<Published>| ShardView {
        shard: published.tree.shard.to_string(),
        origin: published.checkpoint.origin.clone(),
        key: published.checkpoint.verifier(log.key()).to_string(),
        size: published.checkpoint.size,
    };
    body::json(&Shards { shards: log.shards().iter().map(view).collect() })
}

/// Entries for people, by time, actor, sector, order and event: under an inspection, and about its object only.
#[utoipa::path(get, path = "/v1/audit/entries", params(Search), responses(
    (status = 200, description = "The entries that match", body = FoundEntries),
    (status = "4XX", description = "Refused; `code` says why",
     body = super::problem::ProblemBody<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn entries(
    State(entity): State<Entity>,
    peer: Peer,
    uri: axum::http::Uri,
) -> Result<Response<Body>, Problem> {
    let found = async {
        let permit = access::auditor(entity.register(), peer.spki)?;
        let search: Search = query(&uri)?;
        let entity = entity.clone();
        blocking(move || {
            let view = entity.inspections().open(search.inspection, &permit)?;
            let (asked, id) = (search.asked(entity.register()), view.decision.id);
            let found = find(entity.log(), search, id, &Object::of(&view, entity.register()))?;
            let given = found.entries.len() as u64;
            let actor = permit.auditor().clone();
            let access = Access { actor, inspection: id.to_string(), what: "entries", asked, given };
            // Durable before anything is shown.
            let logged = entity.committer().log(entity.now(), Event::Access(Box::new(access)));
            logged.and_then(Pending::wait).map_err(|code| Problem::new(code).retry_after(1))?;
            Ok(found)
        })
        .await
    };
    match found.await {
        Ok(found) => body::json(&found),
        Err(problem) => Err(entity.note(peer, "audit", problem).await),
    }
}

impl Search {
    /// What was asked, for the entry about it. What an auditor writes is his, and what is logged stays: only names that the
    /// register knows, and texts that cannot be anything else than what they should be.
    fn asked(&self, register: &Register) -> BTreeMap<&'static str, String> {
        let time = |text: &String| instant(text).map(|time| time.to_string());
        let event = |text: &String| {
            let plain = text.len() <= 24 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            plain.then(|| text.clone())
        };
        let members: [(_, &Option<String>, &dyn Fn(&String) -> Option<String>); 7] = [
            ("from", &self.from, &time),
            ("to", &self.to, &time),
            ("actor", &self.actor, &|text| access::names(register, text).then(|| text.clone())),
            ("sector", &self.sector, &|text| register.sector(text).map(|sector| sector.name.clone())),
            ("order", &self.order, &|text| Uuid::try_parse(text).ok().map(|id| id.to_string())),
            ("event", &self.event, &event),
            ("shard", &self.shard, &|text| Shard::parse(text).map(|shard| shard.to_string())),
        ];
        let said = |(name, text, form): (_, &Option<String>, &dyn Fn(&String) -> Option<String>)| {
            Some((name, form(text.as_ref()?).unwrap_or_else(|| "…".to_owned())))
        };
        let numbers = [("start", self.start), ("limit", self.limit)];
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string())));
        members.into_iter().filter_map(said).chain(numbers).collect()
    }
}

fn find(log: &Log, search: Search, inspection: Uuid, object: &Object) -> Result<FoundEntries, Problem> {
    let wrong = |name: &str| Problem::new(Code::BadParameter).detail(format!("`{name}` has no such value"));
    let time = |name: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => instant(&text).map(Some).ok_or_else(|| wrong(name)),
    };
    let filter = Filter {
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
    let shelf = Shelf::new(log.store(), &published.tree, published.checkpoint.size);
    let start = search.start.unwrap_or(0);
    let (log, size) = (published.checkpoint.origin.clone(), shelf.size());
    let mut found = FoundEntries { inspection, log, size, entries: vec![], next: None };
    let end = start.saturating_add(SCAN).min(shelf.size());
    let mut next = start;
    let scanned = shelf.each::<Stop>(start, SCAN, |index, entry| {
        if found.entries.len() as u64 == limit {
            return Err(Stop::Full);
        }
        next = index + 1;
        if object.covers(entry) && filter.matches(entry) {
            let text = std::str::from_utf8(entry).map_err(|_| StoreError::Corrupt("audit"))?;
            let entry = RawValue::from_string(text.to_owned()).map_err(|_| StoreError::Corrupt("audit"))?;
            found.entries.push(FoundEntry { index, entry });
        }
        Ok(())
    });
    match scanned {
        Ok(()) => next = next.max(end),
        Err(Stop::Full) => {}
        Err(Stop::Store(error)) => return Err(internal(&error)),
    }
    found.next = (next < shelf.size()).then_some(next);
    Ok(found)
}

/// Why a search ends early.
enum Stop {
    Full,
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn serve(entity: Entity, peer: Peer, named: Option<String>, path: String) -> Result<Response<Body>, Problem> {
    admit(&entity, peer).await?;
    let resource = Resource::parse(&path).ok_or(Code::NotFound)?;
    let published = shard(entity.log(), named.as_deref()).ok_or(Code::NotFound)?;
    if resource == Resource::Checkpoint {
        return Ok(body::reply("text/plain; charset=utf-8", published.note.clone()));
    }
    if matches!(resource, Resource::Entries(..)) {
        let read = Logged::Read { time: entity.now(), actor: access::actor(entity.register(), peer.spki) };
        let job = Job { mappings: vec![], changes: vec![], count: None, log: read };
        let pending = entity.committer().submit(job).map_err(|code| Problem::new(code).retry_after(1))?;
        pending.noted().await?;
    }
    let bytes = blocking(move || {
        let shelf = Shelf::new(entity.log().store(), &published.tree, published.checkpoint.size);
        shelf.read(resource).map_err(|error| internal(&error))
    });
    Ok(body::reply("application/octet-stream", bytes.await?.ok_or(Code::NotFound)?))
}

fn shard(log: &Log, named: Option<&str>) -> Option<Arc<Published>> {
    match named {
        None => log.shown(None),
        Some(name) => log.shown(Some(Shard::parse(name)?)),
    }
}

fn internal(error: &StoreError) -> Problem {
    tracing::error!(%error, "the log cannot be read");
    Problem::new(Code::Internal)
}

/// Only auditors; others are refused, and that is logged.
async fn admit(entity: &Entity, peer: Peer) -> Result<(), Problem> {
    match access::reader(entity.register(), peer.spki) {
        Ok(()) => Ok(()),
        Err(code) => Err(entity.note(peer, "audit", code.into()).await),
    }
}
