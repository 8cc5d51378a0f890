//! Operators lower the clock's high-water mark, at the control listeners of vault and node.

use axum::extract::Request;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::EntityCall;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::entity::EntityInForce;
use crate::epoch::clock::{self, LowerClock, LoweredClock};

/// The route, at either side.
pub(super) fn routes() -> OpenApiRouter<EntityInForce> {
    let all = OpenApiRouter::default().routes(routes!(lower));
    with_tag("clock", all)
}

/// Lowers the clock's high-water mark after the clock ran ahead. Two operators sign a statement for
/// it.
#[utoipa::path(
    post,
    path = "/v1/clock-mark",
    operation_id = "lower_clock_mark",
    request_body = LowerClock,
    responses(
        (status = 200, description = "The mark before and after", body = LoweredClock),
        Problem,
    ),
)]
pub(super) async fn lower(call: EntityCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer_to(operations::CLOCK_LOWER, permit, request, clock::lower)
        .await
}
