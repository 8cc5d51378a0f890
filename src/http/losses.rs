//! What holds at a side that was restored without places, at the control listeners of vault and
//! node.

use axum::extract::Request;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::EntityCall;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::entity::EntityInForce;
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
pub(super) async fn state(call: EntityCall) -> HttpAnswer {
    let permit = access::restore_reader(&call.side, call.peer.spki);
    call.answer(operations::RESTORE_STATE, permit, losses::state)
        .await
}

/// Confirms a sector's epoch, or that lost erasures were lodged again, after a restore without
/// places. Two operators sign a statement for it.
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
pub(super) async fn confirm(call: EntityCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer_to(
        operations::RESTORE_CONFIRM,
        permit,
        request,
        |entity, permit, asked: &ConfirmRestore| losses::confirm(entity, permit, &asked.statement),
    )
    .await
}
