//! Suspensions of register entries, at the control listeners of vault and node.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::answer::{HttpAnswer, answer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::operations;
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::entity::{Entity, EntityInForce};
use crate::refusal::Refusal;
use crate::suspension::{self, SuspensionAnswer, SuspensionText};

/// The routes, at either side.
pub(super) fn routes() -> OpenApiRouter<EntityInForce> {
    with_tag(
        "suspensions",
        OpenApiRouter::default().routes(routes!(list, bring)),
    )
}

/// Lists the register entries that are suspended now.
#[utoipa::path(
    get,
    path = "/v1/suspensions",
    operation_id = "list_suspensions",
    responses(
        (status = 200, description = "The suspensions that last", body = SuspensionAnswer),
        Problem,
    ),
)]
pub(super) async fn list(State(entity): State<Arc<Entity>>, peer: Peer) -> HttpAnswer {
    let permit = access::suspension_bearer(&entity, peer.spki);
    answer(
        entity.clone(),
        peer,
        operations::SUSPENSION_LIST,
        permit,
        move |_| Ok::<_, Refusal>(suspension::lasting(&entity)),
    )
    .await
}

/// Suspends a register entry at once, or lifts its suspension. Its effect follows from the
/// statement's signatures, not from the caller.
#[utoipa::path(
    post,
    path = "/v1/suspensions",
    operation_id = "bring_suspension",
    request_body = SuspensionText,
    responses(
        (status = 200, description = "The suspensions that last", body = SuspensionAnswer),
        Problem,
    ),
)]
pub(super) async fn bring(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::suspension_bearer(&entity, peer.spki);
    answer_to(
        entity.clone(),
        peer,
        operations::SUSPENSION,
        permit,
        request,
        move |permit, asked: SuspensionText| suspension::bring(&entity, permit, &asked.statement),
    )
    .await
}
