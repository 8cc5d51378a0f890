//! Operators lower the clock's high-water mark, at the control listeners of vault and node.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::answer::{HttpAnswer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::operations;
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::entity::{Entity, EntityInForce};
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
pub(super) async fn lower(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::operator(entity.register(), peer.spki);
    answer_to(
        entity.clone(),
        peer,
        operations::CLOCK_LOWER,
        permit,
        request,
        move |permit, asked: LowerClock| clock::lower(&entity, permit, &asked),
    )
    .await
}
