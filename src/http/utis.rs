//! The door of an identity source at which the vault has UTIs derived. `docs/spec.md` has the form
//! of the bytes.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Response};

use super::admission::Lane;
use super::answer::{blocking, note};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::body;
use super::call::AnsweringSide as _;
use super::identity_door::{IdentityDoor, IdentityRoutes};
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::identity;
use crate::refusal::Refusal;
use crate::utis::{CONTENT, MAX_REQUEST};

/// The name of the operation in the log.
const NAME: &str = "utis";

/// The route.
pub(super) fn routes() -> OpenApiRouter<IdentityRoutes> {
    with_tag("utis", OpenApiRouter::default().routes(routes!(utis)))
}

/// Derives UTIs for the vault.
///
/// The body and the answer are binary; `docs/spec.md`, "The exchange of UTIs", has their form. Each
/// part of a request is answered, or refused by itself, against this source's own register and
/// quotas. The answer goes out once what was derived is logged, durably. For the vault only.
#[utoipa::path(
    post,
    path = "/v1/utis",
    operation_id = "derive_utis",
    request_body(content = Vec<u8>, content_type = "application/vnd.cloison.utis"),
    responses(
        (status = 200, description = "What became of each part", body = Vec<u8>, content_type = "application/vnd.cloison.utis"),
        Problem,
    ),
)]
pub(super) async fn utis(
    State(door): State<Arc<IdentityDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    match answer(&door, &peer, request).await {
        Ok(response) => Ok(response),
        Err(problem) => Err(note(&door.entity(), &peer, NAME, problem).await),
    }
}

async fn answer(
    door: &Arc<IdentityDoor>,
    peer: &Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let source = &door.source;
    // Comes before the body is read, so that a stranger costs nothing more.
    let permit = access::vault(source.register(), peer.spki)?;
    if source.is_short_of_space() {
        return Err(Problem::new(Code::AuditUnavailable).retry_after(30));
    }
    check_content(request.headers())?;
    let body = request.into_body();
    let bytes = body::read_wiped(peer, Lane::Batches, MAX_REQUEST, body).await?;
    // The vault may have been shut out while the body arrived.
    access::admitted(source, peer.spki).map_err(Refusal::from)?;
    let working = source.clone();
    let work = move || {
        working.committer().admit()?;
        Ok(identity::derive(&working, &permit, &bytes)?)
    };
    let prepared = blocking(peer, Lane::Batches, work).await?;
    let busy = |code| Problem::new(code).retry_after(1);
    let answer = prepared.durable().await.map_err(busy)?;
    Ok(body::reply(CONTENT, Bytes::from_owner(answer)))
}

fn check_content(headers: &HeaderMap) -> Result<(), Problem> {
    if headers
        .get(CONTENT_TYPE)
        .is_some_and(|stated| stated == CONTENT)
    {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType).detail(format!("send {CONTENT}")))
    }
}
