//! What holds at a side that was restored without places, at the control listeners of vault and node.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::answer::{HttpAnswer, answer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::operations;
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::entity::{Entity, EntityInForce};
use crate::losses::{self, ConfirmRestore, RestoreState};

/// The routes, at either side.
pub(super) fn routes() -> OpenApiRouter<EntityInForce> {
    with_tag(
        "restore",
        OpenApiRouter::default().routes(routes!(state, confirm)),
    )
}

/// Tells what holds since the last restore without places: closed sectors, releases that wait.
#[utoipa::path(
    get,
    path = "/v1/restore",
    operation_id = "restore_state",
    responses(
        (status = 200, description = "What holds; nothing where there was no such restore", body = RestoreState),
        Problem,
    ),
)]
pub(super) async fn state(State(entity): State<Arc<Entity>>, peer: Peer) -> HttpAnswer {
    let permit = access::restore_reader(&entity, peer.spki);
    answer(
        entity.clone(),
        peer,
        operations::RESTORE_STATE,
        permit,
        move |permit| losses::state(&entity, permit),
    )
    .await
}

/// Confirms a sector's epoch, or that lost erasures were lodged again, after a restore without places.
/// Two operators sign a statement for it.
#[utoipa::path(
    post,
    path = "/v1/restore",
    operation_id = "confirm_restore",
    request_body = ConfirmRestore,
    responses(
        (status = 200, description = "What holds from now on", body = RestoreState),
        Problem,
    ),
)]
pub(super) async fn confirm(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::operator(entity.register(), peer.spki);
    answer_to(
        entity.clone(),
        peer,
        operations::RESTORE_CONFIRM,
        permit,
        request,
        move |permit, asked: ConfirmRestore| losses::confirm(&entity, permit, &asked.statement),
    )
    .await
}
