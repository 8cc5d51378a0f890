//! The log, read-only, for auditors: on the control listeners of vault and node.
//!
//! `/checkpoint` and `/tile/…` are the present shard as C2SP `tlog-tiles` has it, `/log/<shard>/…` is any shard, so that
//! standard clients work with either prefix. Nothing beyond the last checkpoint is shown. `/v1/audit/entries` answers people's
//! questions, under an inspection and about its object only. Nodes read checkpoints and tiles of hashes of the vault's log, and
//! nothing of other nodes'.

pub(super) mod search;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Response;
use axum::routing::get;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::admission::Lane;
use super::answer::{blocking, note};
use super::body;
use super::{Peer, Problem, inspections};
use crate::access::{self, LogReading};
use crate::audit::log::{Log, Published};
use crate::audit::path::Resource;
use crate::audit::shelf::Shelf;
use crate::code::Code;
use crate::commit::{Committer, Job, JobLog};
use crate::inspection::Inspections;
use crate::node::Node;
use crate::register::{Register, SpkiDigest};
use crate::store::{Shard, StoreError};
use crate::vault::Vault;

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
    /// Whether what is refused here may have been refused elsewhere: a node passes on what the vault says.
    fn relays(&self) -> bool;
    /// How much of the log somebody may read.
    ///
    /// # Errors
    /// The code of the refusal.
    fn reader(&self, peer: SpkiDigest) -> Result<LogReading, Code>;
}

macro_rules! audited {
    ($($entity:ty, $mappings:expr, $relays:literal, $reader:expr);*) => {$(
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
            fn relays(&self) -> bool {
                $relays
            }
            fn reader(&self, peer: SpkiDigest) -> Result<LogReading, Code> {
                let reader: fn(&Register, SpkiDigest) -> Result<LogReading, Code> = $reader;
                reader(self.register(), peer)
            }
        }
    )*};
}

audited!(
    Vault, Vault::mappings, false, access::reader;
    Node, |_, _| None, true, |register, peer| access::auditor(register, peer).map(|_| LogReading::Entries)
);

/// Whoever has a log, as the routes share it.
pub(super) type Entity = Arc<dyn Audited>;

/// The routes; to be merged into a control listener's router.
pub fn router(entity: Entity) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .route("/log/{shard}/{*path}", get(resource))
        .route("/v1/audit/log", get(shards))
        .route("/v1/audit/entries", get(search::entries))
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

/// The checkpoint of the present shard: a signed note.
#[utoipa::path(get, path = "/checkpoint", responses(
    (status = 200, description = "C2SP tlog-checkpoint", body = String, content_type = "text/plain"),
    Problem,
))]
pub(super) async fn checkpoint(State(entity): State<Entity>, peer: Peer) -> Result<Response<Body>, Problem> {
    serve(entity, peer, None, "checkpoint".to_owned()).await
}

/// A tile or entry bundle of the present shard.
#[utoipa::path(get, path = "/tile/{path}", params(("path" = String, Path, description = "`0/x001/067.p/12`, `entries/000`")),
    responses(
        (status = 200, description = "C2SP tlog-tiles", body = Vec<u8>, content_type = "application/octet-stream"),
        Problem,
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
        Problem,
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
    Problem,
))]
pub(super) async fn shards(State(entity): State<Entity>, peer: Peer) -> Result<Response<Body>, Problem> {
    admit(&entity, &peer).await?;
    let log = entity.log();
    let view = |published: &Arc<Published>| ShardView {
        shard: published.tree.shard.to_string(),
        origin: published.checkpoint.origin.clone(),
        key: published.checkpoint.verifier(log.key()).to_string(),
        size: published.checkpoint.size,
    };
    body::json(&Shards { shards: log.shards().iter().map(view).collect() })
}

async fn serve(entity: Entity, peer: Peer, named: Option<String>, path: String) -> Result<Response<Body>, Problem> {
    let reading = admit(&entity, &peer).await?;
    let _admitted = peer.allowance().admit(Lane::Work)?;
    let resource = Resource::parse(&path).ok_or(Code::NotFound)?;
    if matches!(resource, Resource::Entries(..)) && reading == LogReading::Hashes {
        return Err(note(&*entity, &peer, "audit", Code::Forbidden.into()).await);
    }
    let published = shard(entity.log(), named.as_deref()).ok_or(Code::NotFound)?;
    if resource == Resource::Checkpoint {
        return Ok(body::reply("text/plain; charset=utf-8", published.note.clone()));
    }
    if matches!(resource, Resource::Entries(..)) {
        let read = JobLog::Read { time: entity.now(), actor: access::actor(entity.register(), peer.spki) };
        let pending =
            entity.committer().submit(Job::new(read, vec![])).map_err(|code| Problem::new(code).retry_after(1))?;
        pending.noted().await?;
    }
    let bytes = blocking(&peer, Lane::Work, move || {
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

/// Only those who may read the log, and how much of it; others are refused, and that is logged.
async fn admit(entity: &Entity, peer: &Peer) -> Result<LogReading, Problem> {
    match entity.reader(peer.spki) {
        Ok(reading) => Ok(reading),
        Err(code) => Err(note(&**entity, peer, "audit", code.into()).await),
    }
}
