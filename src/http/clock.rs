//! Lowering the clock's high-water mark, at the control listeners of vault and node, for operators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;

use super::answer::{Answer, answer_to};
use super::node::NodeDoor;
use super::{Peer, Problem};
use crate::access;
use crate::epoch::clock::{LowerClock, LoweredClock, lower};
use crate::vault::Vault;

/// The vault's route.
pub(super) fn vault_routes() -> Router<Arc<Vault>> {
    Router::new().route("/v1/clock-mark", post(lower_at_vault))
}

/// The node's route.
pub(super) fn node_routes() -> Router<Arc<NodeDoor>> {
    Router::new().route("/v1/clock-mark", post(lower_at_node))
}

/// Lowers the clock's high-water mark, because the clock once ran ahead. That takes a statement by two operators.
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
pub(super) async fn lower_at_vault(State(vault): State<Arc<Vault>>, peer: Peer, request: Request) -> Answer {
    let permit = access::operator(vault.register(), peer.spki);
    answer_to(vault, peer, "clock-lower", permit, request, |vault, permit, asked: LowerClock| {
        lower(vault.register(), vault.committer(), vault.store(), vault.now(), permit, &asked)
    })
    .await
}

/// Lowers the clock's high-water mark, because the clock once ran ahead. That takes a statement by two operators.
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
pub(super) async fn lower_at_node(State(door): State<Arc<NodeDoor>>, peer: Peer, request: Request) -> Answer {
    let permit = access::operator(door.node.register(), peer.spki);
    answer_to(door, peer, "clock-lower", permit, request, |door, permit, asked: LowerClock| {
        lower(door.node.register(), door.node.committer(), door.node.store(), door.node.now(), permit, &asked)
    })
    .await
}
