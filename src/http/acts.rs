//! Acts upon orders, and the list of orders: at the vault's control listener and at the authority
//! node's.

use axum::extract::Request;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::{NodeCall, VaultCall};
use super::node_door::NodeRoutes;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::entity::InForce;
use crate::execution::step::{self, ActExchange, ActExchangeAnswer, ActResponse, ActText};
use crate::order::book::Book;
use crate::order::life::Orders;
use crate::reidentify::lodge::{self, LodgedOrder, OrderText};
use crate::vault::Vault;

/// The routes of the vault's control listener.
pub(super) fn vault_routes() -> OpenApiRouter<InForce<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(list_at_vault, lodge_order_at_vault))
        .routes(routes!(lodge_at_vault))
        .routes(routes!(exchange));
    with_tag("acts", all)
}

/// The routes of the node's control listener.
pub(super) fn node_routes() -> OpenApiRouter<NodeRoutes> {
    let routes = OpenApiRouter::default()
        .routes(routes!(list_at_node, lodge_order_at_node))
        .routes(routes!(lodge_at_node));
    with_tag("acts", routes)
}

/// Lists the orders that the vault knows. An authority's node sees its own, an operator sees all.
#[utoipa::path(
    get,
    path = "/v1/orders",
    responses(
        (status = 200, description = "The orders, what is known of them, and the acts upon them", body = Orders),
        Problem,
    ),
)]
pub(super) async fn list_at_vault(call: VaultCall) -> HttpAnswer {
    let permit = call.permit(access::bearer);
    call.answer(operations::ORDER_LIST, permit, |vault, permit| {
        Book::of(vault)
            .list(permit.authority.as_ref())
            .map(Orders::of)
    })
    .await
}

/// Takes an order before it is used, and copies the mappings that it lists. Does not tell which of
/// them exist.
#[utoipa::path(
    post,
    path = "/v1/orders",
    request_body = OrderText,
    responses(
        (status = 200, description = "The order is valid, or will be within thirty days", body = LodgedOrder),
        Problem,
    ),
)]
pub(super) async fn lodge_order_at_vault(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::bearer);
    call.answer_to(
        operations::ORDER_LODGE,
        permit,
        request,
        |vault, permit, brought: &OrderText| lodge::at_vault(vault, permit, &brought.order),
    )
    .await
}

/// Takes an act upon an order from an operator or from the authority's node.
#[utoipa::path(
    post,
    path = "/v1/acts",
    request_body = ActText,
    responses(
        (status = 200, description = "The act is in force; how the order stands now", body = ActResponse),
        Problem,
    ),
)]
pub(super) async fn lodge_at_vault(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::bearer);
    call.answer_to(
        operations::ORDER_ACT,
        permit,
        request,
        |vault, permit, brought: &ActText| step::lodge_at_vault(vault, permit, &brought.act),
    )
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
pub(super) async fn exchange(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::node);
    call.answer_to(operations::EXCHANGE, permit, request, step::exchange)
        .await
}

/// Lists the orders that the node knows.
#[utoipa::path(
    get,
    path = "/v1/orders",
    responses(
        (status = 200, description = "The orders, what is known of them, and the acts upon them", body = Orders),
        Problem,
    ),
)]
pub(super) async fn list_at_node(call: NodeCall) -> HttpAnswer {
    let permit = call.permit(access::officer_bearer);
    call.answer(operations::ORDER_LIST, permit, |door, permit| {
        Book::of(&door.node)
            .list(permit.authority.as_ref())
            .map(Orders::of)
    })
    .await
}

/// Takes an order before it is used, and passes it to the vault, which copies the mappings that it
/// lists.
#[utoipa::path(
    post,
    path = "/v1/orders",
    request_body = OrderText,
    responses(
        (status = 200, description = "The order is valid, or will be within thirty days, and the vault has it", body = LodgedOrder),
        Problem,
    ),
)]
pub(super) async fn lodge_order_at_node(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::officer_bearer);
    call.answer_to(
        operations::ORDER_LODGE,
        permit,
        request,
        |door, permit, brought: &OrderText| {
            lodge::at_node(&door.node, permit, &brought.order, &*door.vault)
        },
    )
    .await
}

/// Takes an act upon an order from an officer, and passes it to the vault.
#[utoipa::path(
    post,
    path = "/v1/acts",
    request_body = ActText,
    responses(
        (status = 200, description = "The act is in force here; `both` says whether the vault has it too", body = ActResponse),
        Problem,
    ),
)]
pub(super) async fn lodge_at_node(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::officer_bearer);
    call.answer_to(
        operations::ORDER_ACT,
        permit,
        request,
        |door, permit, brought: &ActText| {
            step::lodge_at_node(&door.node, permit, &brought.act, &*door.vault)
        },
    )
    .await
}
