//! Acts upon orders, and the list of orders: at the vault's control listener and at the authority node's.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, answer, answer_to};
use super::node::NodeDoor;
use super::{Peer, Problem};
use crate::access;
use crate::execution::step::{self, ActExchange, ActExchangeAnswer, ActResponse};
use crate::order::book::Book;
use crate::order::life::OrderView;
use crate::reidentify::lodge::{self, LodgedOrder, OrderText};
use crate::vault::Vault;

/// An act upon an order that somebody brings.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lodge {
    /// The act: JWS General JSON, as text.
    pub act: String,
}

/// The orders that a side knows.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Those with a review to close first, then the latest used.
    pub orders: Vec<OrderView>,
    /// How many older ones were left out.
    pub more: usize,
}

/// The most orders in one answer.
const MOST_LISTED: usize = 10_000;

impl Orders {
    fn of(mut orders: Vec<OrderView>) -> Self {
        let more = orders.len().saturating_sub(MOST_LISTED);
        orders.truncate(MOST_LISTED);
        Self { orders, more }
    }
}

/// The routes of the vault's control listener.
pub(super) fn vault_routes() -> Router<Arc<Vault>> {
    Router::new()
        .route("/v1/orders", get(list_at_vault).post(lodge_order_at_vault))
        .route("/v1/acts", post(lodge_at_vault))
        .route("/v1/acts/exchange", post(exchange))
}

/// The routes of the node's control listener.
pub(super) fn node_routes() -> Router<Arc<NodeDoor>> {
    Router::new()
        .route("/v1/orders", get(list_at_node).post(lodge_order_at_node))
        .route("/v1/acts", post(lodge_at_node))
}

/// The orders that the vault knows: an authority's node sees its own, an operator all.
#[utoipa::path(
    get,
    path = "/v1/orders",
    responses(
        (status = 200, description = "Orders, what is known of them and what was done upon them", body = Orders),
        Problem,
    ),
)]
pub(super) async fn list_at_vault(State(vault): State<Arc<Vault>>, peer: Peer) -> Answer {
    let permit = access::bearer(vault.register(), peer.spki);
    answer(vault, peer, "order-list", permit, |vault, permit| {
        Book::from(&**vault).list(permit.authority.as_ref()).map(Orders::of)
    })
    .await
}

/// Takes an order before it is used, and copies what it lists. Says nothing of what is there.
#[utoipa::path(
    post,
    path = "/v1/orders",
    request_body = OrderText,
    responses(
        (status = 200, description = "The order is valid, or will be within thirty days", body = LodgedOrder),
        Problem,
    ),
)]
pub(super) async fn lodge_order_at_vault(State(vault): State<Arc<Vault>>, peer: Peer, request: Request) -> Answer {
    let permit = access::bearer(vault.register(), peer.spki);
    answer_to(vault, peer, "order-lodge", permit, request, |vault, permit, brought: OrderText| {
        lodge::at_vault(vault, permit, &brought.order)
    })
    .await
}

/// Takes an act upon an order, brought by an operator or by the authority's node.
#[utoipa::path(
    post,
    path = "/v1/acts",
    request_body = Lodge,
    responses(
        (status = 200, description = "In force; how the order stands now", body = ActResponse),
        Problem,
    ),
)]
pub(super) async fn lodge_at_vault(State(vault): State<Arc<Vault>>, peer: Peer, request: Request) -> Answer {
    let permit = access::bearer(vault.register(), peer.spki);
    answer_to(vault, peer, "order-act", permit, request, |vault, permit, lodge: Lodge| {
        step::lodge_at_vault(vault, permit, &lodge.act)
    })
    .await
}

/// Brings vault and node in step: each gets the acts upon the authority's orders that it lacks.
#[utoipa::path(
    post,
    path = "/v1/acts/exchange",
    request_body = ActExchange,
    responses(
        (status = 200, description = "What the node lacks, and what the vault lacks", body = ActExchangeAnswer),
        Problem,
    ),
)]
pub(super) async fn exchange(State(vault): State<Arc<Vault>>, peer: Peer, request: Request) -> Answer {
    let permit = access::node(vault.register(), peer.spki);
    answer_to(vault, peer, "exchange", permit, request, |vault, permit, asked: ActExchange| {
        step::exchange(vault, permit, &asked)
    })
    .await
}

/// The orders that the node knows.
#[utoipa::path(
    get,
    path = "/v1/orders",
    responses(
        (status = 200, description = "Orders, what is known of them and what was done upon them", body = Orders),
        Problem,
    ),
)]
pub(super) async fn list_at_node(State(door): State<Arc<NodeDoor>>, peer: Peer) -> Answer {
    let permit = access::officer_bearer(door.node.register(), &door.node.authority().id, peer.spki);
    answer(door, peer, "order-list", permit, |door, permit| {
        Book::from(&*door.node).list(permit.authority.as_ref()).map(Orders::of)
    })
    .await
}

/// Takes an order before it is used, and brings it to the vault, which copies what it lists.
#[utoipa::path(
    post,
    path = "/v1/orders",
    request_body = OrderText,
    responses(
        (status = 200, description = "The order is valid, or will be within thirty days, and the vault has it", body = LodgedOrder),
        Problem,
    ),
)]
pub(super) async fn lodge_order_at_node(State(door): State<Arc<NodeDoor>>, peer: Peer, request: Request) -> Answer {
    let permit = access::officer_bearer(door.node.register(), &door.node.authority().id, peer.spki);
    answer_to(door, peer, "order-lodge", permit, request, |door, permit, brought: OrderText| {
        lodge::at_node(&door.node, permit, &brought.order, &*door.vault)
    })
    .await
}

/// Takes an act upon an order, brought by an officer, and brings it to the vault.
#[utoipa::path(
    post,
    path = "/v1/acts",
    request_body = Lodge,
    responses(
        (status = 200, description = "In force here; `both` says whether the vault has it too", body = ActResponse),
        Problem,
    ),
)]
pub(super) async fn lodge_at_node(State(door): State<Arc<NodeDoor>>, peer: Peer, request: Request) -> Answer {
    let permit = access::officer_bearer(door.node.register(), &door.node.authority().id, peer.spki);
    answer_to(door, peer, "order-act", permit, request, |door, permit, lodge: Lodge| {
        step::lodge_at_node(&door.node, permit, &lodge.act, &*door.vault)
    })
    .await
}
