//! The route for an auditor's questions about entries.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, Uri};

use crate::access;
use crate::entity::{Entity, EntityInForce};
use crate::http::admission::Lane;
use crate::http::answer::{blocking, note};
use crate::http::api_routes::{OpenApiRouter, routes, with_tag};
use crate::http::body::{self, query};
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::inspection::search::{EntrySearch, FoundEntries, search};

/// The route, at either side.
pub(in crate::http) fn routes() -> OpenApiRouter<EntityInForce> {
    with_tag(
        "audit::search",
        OpenApiRouter::default().routes(routes!(entries)),
    )
}

/// Finds entries by time, actor, sector, order and event: under an inspection, and about its object
/// only.
#[utoipa::path(get, path = "/v1/audit/entries", params(EntrySearch), responses(
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
        let asked: EntrySearch = query(&uri)?;
        let entity = entity.clone();
        let _admitted = peer.allowance().admit(Lane::Work)?;
        blocking(&peer, Lane::Work, move || {
            Ok(search(&entity, &permit, asked)?)
        })
        .await
    };
    match found.await {
        Ok(found) => body::json(&found),
        Err(problem) => Err(note(&entity, &peer, "audit", problem).await),
    }
}
