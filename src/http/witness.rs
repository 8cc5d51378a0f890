//! A witness's door (C2SP `tlog-witness`): `POST /add-checkpoint`, `GET /<origin hash>/checkpoint`.
//! The log's signature proves the submission, so anybody may bring it.
//!
//! A witness that follows the logs also takes `POST /v1/journal/offers?log=OWNER`, as the vault
//! does from nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::Deserialize;

use super::admission::Lane;
use super::answer::blocking;
use super::body;
use super::follow::take_offer_of;
use super::limits::MOST_OFFER;
use super::peer::Peer;
use super::problem::Problem;
use crate::clock::Clock;
use crate::code::Code;
use crate::journal::followed_logs::FollowedLogs;
use crate::tlog::note::MAX_NOTE;
use crate::tlog::witness::{CheckpointSubmission, Witness, WitnessRefusal};

/// Most bytes of a submission: a note and 63 hashes in base64.
pub(super) const MAX_BODY: usize = MAX_NOTE + 4 * 1024;

/// The state of the routes.
pub struct WitnessDoor {
    /// The witness.
    pub witness: Arc<Witness>,
    /// The logs that it keeps, if it follows any.
    pub kept: Option<KeptLogs>,
    /// The time of its cosignatures.
    pub clock: Arc<dyn Clock>,
}

/// The logs that a witness keeps.
pub struct KeptLogs {
    /// The key that signs each owner's checkpoints.
    pub keys: BTreeMap<String, VerifyingKey>,
    /// Their folders.
    pub folders: Arc<FollowedLogs>,
}

/// The routes.
pub fn router(door: WitnessDoor) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(last))
        .route("/v1/journal/offers", post(bring))
        .with_state(Arc::new(door))
}

async fn add_checkpoint(
    State(door): State<Arc<WitnessDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    submit(door.witness.clone(), &peer, request, door.clock.now()).await
}

/// Whose log is brought.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BroughtLogQuery {
    log: String,
}

/// Takes entries of a log that this witness watches, sealed, and answers with what it holds of it.
/// The body is an offer, or empty: then it only answers what it holds.
async fn bring(
    State(door): State<Arc<WitnessDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let kept = door.kept.as_ref().ok_or(Code::NotFound)?;
    let BroughtLogQuery { log: owner } = body::query(request.uri())?;
    let key = *kept.keys.get(&owner).ok_or(Code::NotFound)?;
    let folders = kept.folders.clone();
    let bytes = body::read(&peer, Lane::Offers, MOST_OFFER, request.into_body()).await?;
    let now = door.clock.now();
    let take = move || Ok(take_offer_of((&owner, &key), &folders, &bytes, now)?);
    let held = blocking(&peer, Lane::Offers, take).await;
    if let Err(problem) = &held {
        tracing::warn!(code = %problem.code(), "a log is not kept");
    }
    Ok(body::reply("text/plain; charset=utf-8", held?))
}

/// Checks a submission, cosigns it at the time `now`, and answers as the specification says.
pub(super) async fn submit(
    witness: Arc<Witness>,
    peer: &Peer,
    request: Request,
    now: Timestamp,
) -> Result<Response<Body>, Problem> {
    let bytes = body::read(peer, Lane::Work, MAX_BODY, request.into_body()).await?;
    let work = move || {
        let submission = CheckpointSubmission::parse(&bytes).ok_or(WitnessRefusal::Malformed);
        Ok(submission.and_then(|submission| witness.add_checkpoint(&submission, now)))
    };
    let refused = match blocking(peer, Lane::Work, work).await? {
        Ok(lines) => return Ok(body::reply("text/plain; charset=utf-8", lines)),
        Err(refused) => refused,
    };
    match &refused {
        WitnessRefusal::State(_) | WitnessRefusal::Inconsistent { .. } => {
            tracing::error!(%refused, "a checkpoint is not cosigned");
        }
        // The log asks again from the size that it is told. This happens after every start.
        WitnessRefusal::Stale(_) => tracing::debug!(%refused, "a checkpoint is not cosigned"),
        _ => tracing::warn!(%refused, "a checkpoint is not cosigned"),
    }
    let (status, text) = match &refused {
        WitnessRefusal::Malformed => (StatusCode::BAD_REQUEST, refused.to_string()),
        WitnessRefusal::UnknownLog(_) | WitnessRefusal::Unlikely(_) => {
            (StatusCode::NOT_FOUND, refused.to_string())
        }
        WitnessRefusal::Unsigned(_) | WitnessRefusal::Unacknowledged(_) => {
            (StatusCode::FORBIDDEN, refused.to_string())
        }
        WitnessRefusal::Stale(size) => (StatusCode::CONFLICT, size.to_string()),
        WitnessRefusal::Inconsistent { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, refused.to_string())
        }
        WitnessRefusal::State(_) => return Err(Code::Internal.into()),
    };
    let mut response = body::reply("text/plain; charset=utf-8", text + "\n");
    *response.status_mut() = status;
    if status == StatusCode::CONFLICT {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/x.tlog.size"));
    }
    Ok(response)
}

async fn last(
    State(door): State<Arc<WitnessDoor>>,
    peer: Peer,
    Path(origin): Path<String>,
) -> Result<Response<Body>, Problem> {
    remembered(door.witness.clone(), &peer, origin).await
}

/// Answers with the last cosigned checkpoint of the log whose origin has that SHA-256 (hex).
pub(super) async fn remembered(
    witness: Arc<Witness>,
    peer: &Peer,
    origin_hash: String,
) -> Result<Response<Body>, Problem> {
    let _admitted = peer.allowance().admit(Lane::Work)?;
    let work = move || {
        witness
            .last(&origin_hash)
            .map_err(|_| Problem::new(Code::Internal))
    };
    let note = blocking(peer, Lane::Work, work).await?;
    Ok(body::reply(
        "text/plain; charset=utf-8",
        note.ok_or(Code::NotFound)?,
    ))
}
