//! Renewal of segments, for nodes and operators at the vault's control listener, and for custodians
//! and officers at the node's.

use axum::extract::Request;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::{NodeCall, VaultCall};
use super::node_door::NodeRoutes;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::entity::InForce;
use crate::renewal::{
    self, DropReport, DropRequest, RecipientsTaken, RenewalRequest, RenewalStep, SegmentAnswer,
    SegmentPage, SegmentQuestion,
};
use crate::vault::Vault;

/// The routes of the vault's control listener.
pub(super) fn vault_routes() -> OpenApiRouter<InForce<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(page))
        .routes(routes!(take))
        .routes(routes!(drop_at_vault));
    with_tag("segments", all)
}

/// The routes of the node's control listener.
pub(super) fn node_routes() -> OpenApiRouter<NodeRoutes> {
    let all = OpenApiRouter::default()
        .routes(routes!(renew))
        .routes(routes!(drop_at_node));
    with_tag("segments", all)
}

/// Hands out a page of segments on which the authority's node has work to do. It contains no
/// mapping.
#[utoipa::path(
    post,
    path = "/v1/segments",
    operation_id = "segment_page",
    request_body = SegmentQuestion,
    responses(
        (status = 200, description = "Sealed data keys, and where to go on", body = SegmentPage),
        Problem,
    ),
)]
pub(super) async fn page(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::node);
    call.answer_to(operations::SEGMENTS, permit, request, renewal::vault::page)
        .await
}

/// Takes what the authority's node did with a page: recipients to add, and which of its own it
/// proved.
#[utoipa::path(
    post,
    path = "/v1/segments/recipients",
    operation_id = "take_recipients",
    request_body = SegmentAnswer,
    responses(
        (status = 200, description = "What is in force now", body = RecipientsTaken),
        Problem,
    ),
)]
pub(super) async fn take(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::node);
    call.answer_to(operations::SEGMENTS, permit, request, renewal::vault::take)
        .await
}

/// Removes recipients that the register no longer lists from a page of segments.
#[utoipa::path(
    post,
    path = "/v1/segments/drop",
    request_body = DropRequest,
    responses(
        (status = 200, description = "What was dropped, and where to go on", body = DropReport),
        Problem,
    ),
)]
pub(super) async fn drop_at_vault(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::dropper);
    call.answer_to(
        operations::SEGMENTS_DROP,
        permit,
        request,
        renewal::vault::drop_old,
    )
    .await
}

/// Renews a page of segments: seals them to keys that they lack, or proves that they open with the
/// authority's own key.
#[utoipa::path(
    post,
    path = "/v1/renewal",
    request_body = RenewalRequest,
    responses(
        (status = 200, description = "What was done, and where to go on", body = RenewalStep),
        Problem,
    ),
)]
pub(super) async fn renew(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::renewer);
    call.answer_to(
        operations::RENEWAL,
        permit,
        request,
        |door, permit, asked: &RenewalRequest| {
            renewal::node::step(&door.node, permit, asked, &*door.vault)
        },
    )
    .await
}

/// Lets the vault remove recipients that the register no longer lists from a page of segments.
#[utoipa::path(
    post,
    path = "/v1/segments/drop",
    request_body = DropRequest,
    responses(
        (status = 200, description = "What was dropped, and where to go on", body = DropReport),
        Problem,
    ),
)]
pub(super) async fn drop_at_node(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::renewer);
    call.answer_to(
        operations::SEGMENTS_DROP,
        permit,
        request,
        |door, permit, asked: &DropRequest| {
            renewal::node::drop_old(&door.node, permit, asked, &*door.vault)
        },
    )
    .await
}
