//! Lowering the clock's high-water mark, at the control listeners of vault and node, for operators.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::answer::{HttpAnswer, answer_to};
use super::described::{OpenApiRouter, routes, tagged};
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::entity::Entity;
use crate::epoch::clock::{self, LowerClock, LoweredClock};

/// The route, at either side.
pub(super) fn routes() -> OpenApiRouter<Arc<Entity>> {
    let all = OpenApiRouter::default().routes(routes!(lower));
    tagged("clock", all)
}

/// Lowers the clock's high-water mark, because the clock once ran ahead. That takes a statement by
/// two operators.
#[utoipa::path(
    post,
    path = "/v1/clock-mark",
    operation_id = "lower_clock_mark",
    request_body = LowerClock,
    responses(
        (status = 200, description = "Where it was, and where it is now", body = LoweredClock),
        Problem,
    ),
)]
pub(super) async fn lower(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::operator(entity.register(), peer.spki);
    answer_to(
        entity.clone(),
        peer,
        "clock-lower",
        permit,
        request,
        move |permit, asked: LowerClock| clock::lower(&entity, permit, &asked),
    )
    .await
}
