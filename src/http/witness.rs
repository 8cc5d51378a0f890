//! A witness's door (C2SP `tlog-witness`): `POST /add-checkpoint`, `GET /<origin hash>/checkpoint`.
//! The log's signature proves the submission, so anybody may bring it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use jiff::Timestamp;

use super::admission::Lane;
use super::answer::blocking;
use super::body;
use super::peer::Peer;
use super::problem::Problem;
use crate::clock::Clock;
use crate::code::Code;
use crate::tlog::note::MAX_NOTE;
use crate::tlog::witness::{CheckpointSubmission, Witness, WitnessRefusal};

/// Most bytes of a submission: a note and 63 hashes in base64.
pub(super) const MAX_BODY: usize = MAX_NOTE + 4 * 1024;

/// The state of the routes.
pub struct WitnessDoor {
    /// The witness.
    pub witness: Arc<Witness>,
    /// The time of its cosignatures.
    pub clock: Arc<dyn Clock>,
}

/// The routes.
pub fn router(door: WitnessDoor) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(last))
        .with_state(Arc::new(door))
}

async fn add_checkpoint(
    State(door): State<Arc<WitnessDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    submit(door.witness.clone(), &peer, request, door.clock.now()).await
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
