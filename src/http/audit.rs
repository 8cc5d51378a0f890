//! The log, read-only, for auditors: on the control listeners of vault and node.
//!
//! `/checkpoint` and `/tile/…` are the present shard as C2SP `tlog-tiles` has it, `/log/<shard>/…`
//! is any shard, so that standard clients work with either prefix. They show nothing beyond the
//! last checkpoint. `/v1/audit/entries` answers people's questions, under an inspection and about
//! its object only. Nodes read checkpoints and tiles of hashes of the vault's log, and nothing of
//! other nodes' logs.

pub(super) mod search;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Response;

use super::admission::Lane;
use super::answer::{blocking, note};
use super::api_routes::{OpenApiRouter, route_at, routes, with_tag};
use super::body;
use super::peer::Peer;
use super::problem::Problem;
use crate::access::{self, LogReading};
use crate::audit::log::{Log, PublishedCheckpoint, ShardView, Shards};
use crate::audit::shard_reader::ShardReader;
use crate::code::Code;
use crate::commit::{Job, JobLog};
use crate::entity::{Entity, EntityInForce};
use crate::refusal::fault;
use crate::store::Shard;
use crate::tlog::path::LogResource;

/// The routes, at either side.
pub(super) fn routes() -> OpenApiRouter<EntityInForce> {
    let all = OpenApiRouter::default()
        .routes(routes!(checkpoint))
        .merge(route_at("/tile/{*path}", routes!(tile)))
        .merge(route_at("/log/{shard}/{*path}", routes!(resource)))
        .routes(routes!(shards));
    with_tag("audit", all)
}

/// Reads the checkpoint of the present shard: a signed note.
#[utoipa::path(get, path = "/checkpoint", responses(
    (status = 200, description = "C2SP tlog-checkpoint", body = String, content_type = "text/plain"),
    Problem,
))]
pub(super) async fn checkpoint(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    serve(entity, peer, None, "checkpoint".to_owned()).await
}

/// Reads a tile or entry bundle of the present shard.
#[utoipa::path(get, path = "/tile/{path}", params(("path" = String, Path, description = "`0/x001/067.p/12`, `entries/000`")),
    responses(
        (status = 200, description = "C2SP tlog-tiles", body = Vec<u8>, content_type = "application/octet-stream"),
        Problem,
    ),
)]
pub(super) async fn tile(
    State(entity): State<Arc<Entity>>,
    Path(path): Path<String>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    serve(entity, peer, None, format!("tile/{path}")).await
}

/// Reads a checkpoint, tile or entry bundle of any shard.
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
    State(entity): State<Arc<Entity>>,
    Path((shard, path)): Path<(String, String)>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    serve(entity, peer, Some(shard), path).await
}

/// Lists the shards of the log.
#[utoipa::path(get, path = "/v1/audit/log", responses(
    (status = 200, description = "The shards, oldest first", body = Shards),
    Problem,
))]
pub(super) async fn shards(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    admit(&entity, &peer).await?;
    let log = entity.log();
    let view = |published: &Arc<PublishedCheckpoint>| ShardView {
        shard: published.tree.shard.to_string(),
        origin: published.checkpoint.origin.clone(),
        key: published.checkpoint.verifier(log.key()).to_string(),
        size: published.checkpoint.size,
    };
    body::json(&Shards {
        shards: log.shards().iter().map(view).collect(),
    })
}

async fn serve(
    entity: Arc<Entity>,
    peer: Peer,
    named: Option<String>,
    path: String,
) -> Result<Response<Body>, Problem> {
    let reading = admit(&entity, &peer).await?;
    let _admitted = peer.allowance().admit(Lane::Work)?;
    let resource = LogResource::parse(&path).ok_or(Code::NotFound)?;
    if matches!(resource, LogResource::Entries(..)) && reading == LogReading::Hashes {
        return Err(note(&entity, &peer, "audit", Code::Forbidden.into()).await);
    }
    let published = shard(entity.log(), named.as_deref()).ok_or(Code::NotFound)?;
    if resource == LogResource::Checkpoint {
        return Ok(body::reply(
            "text/plain; charset=utf-8",
            published.note.clone(),
        ));
    }
    if matches!(resource, LogResource::Entries(..)) {
        let read = JobLog::Read {
            time: entity.now(),
            actor: access::actor(entity.register(), peer.spki),
        };
        let pending = entity
            .committer()
            .submit(Job::new(read, vec![]))
            .map_err(|code| Problem::new(code).retry_after(1))?;
        pending.noted().await?;
    }
    let bytes = blocking(&peer, Lane::Work, move || {
        let reader = ShardReader::new(
            entity.log().store(),
            &published.tree,
            published.checkpoint.size,
        );
        let read = reader.read(resource);
        read.map_err(|error| fault("the log cannot be read")(error).code().into())
    });
    Ok(body::reply(
        "application/octet-stream",
        bytes.await?.ok_or(Code::NotFound)?,
    ))
}

fn shard(log: &Log, named: Option<&str>) -> Option<Arc<PublishedCheckpoint>> {
    match named {
        None => log.shown(None),
        Some(name) => log.shown(Some(Shard::parse(name)?)),
    }
}

/// Tells how much of the log the caller may read. Refuses callers who may read nothing of it, and
/// logs that.
async fn admit(entity: &Entity, peer: &Peer) -> Result<LogReading, Problem> {
    match access::reader(entity, peer.spki) {
        Ok(reading) => Ok(reading),
        Err(code) => Err(note(entity, peer, "audit", code.into()).await),
    }
}
