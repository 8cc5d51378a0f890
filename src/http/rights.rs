//! People's rights: rights officers ask who resolved a pseudonym (at the vault), and have a
//! person's traces destroyed (at the vault, and at each authority's node).

use axum::extract::Request;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::{NodeCall, VaultCall};
use super::node_door::NodeRoutes;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::entity::InForce;
use crate::refusal::Refusal;
use crate::rights::erase::{self, ErasureReceipt, ErasureText};
use crate::rights::resolutions::{self, PersonResolutions, ResolutionQuestion};
use crate::vault::Vault;

/// The routes of the vault's control listener.
pub(super) fn vault_routes() -> OpenApiRouter<InForce<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(look_up))
        .routes(routes!(erase_at_vault));
    with_tag("rights", all)
}

/// The routes of the node's control listener.
pub(super) fn node_routes() -> OpenApiRouter<NodeRoutes> {
    let all = OpenApiRouter::default().routes(routes!(erase_at_node));
    with_tag("rights", all)
}

/// Tells who resolved these pseudonyms, or what was resolved under this order.
#[utoipa::path(
    post,
    path = "/v1/rights/resolutions",
    request_body = ResolutionQuestion,
    responses(
        (status = 200, description = "For each pseudonym its resolutions, oldest first", body = PersonResolutions),
        Problem,
    ),
)]
pub(super) async fn look_up(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::rights_officer);
    call.answer_to(operations::LOOK_UP, permit, request, resolutions::look_up)
        .await
}

/// Destroys what the vault keeps of a person in a sector.
#[utoipa::path(
    post,
    path = "/v1/rights/erasures",
    request_body = ErasureText,
    responses(
        (status = 200, description = "Carried out, durably; where the entry about it stands", body = ErasureReceipt),
        Problem,
    ),
)]
pub(super) async fn erase_at_vault(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::rights_officer);
    call.answer_to(
        operations::ERASE,
        permit,
        request,
        |vault, permit, brought: &ErasureText| {
            let done = erase::at_vault(vault, permit, &brought.request)?;
            let store = vault.store().clone();
            tokio::task::spawn_blocking(move || erase::scrub(&store));
            Ok::<_, Refusal>(done)
        },
    )
    .await
}

/// Destroys the tags that the node keeps of a person in a sector.
#[utoipa::path(
    post,
    path = "/v1/rights/erasures",
    request_body = ErasureText,
    responses(
        (status = 200, description = "Carried out, durably; where the entry about it stands", body = ErasureReceipt),
        Problem,
    ),
)]
pub(super) async fn erase_at_node(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = access::rights_officer(call.side.node.register(), call.peer.spki);
    call.answer_to(
        operations::ERASE,
        permit,
        request,
        |door, permit, brought: &ErasureText| {
            let done = erase::at_node(&door.node, permit, &brought.request)?;
            let store = door.node.store().clone();
            tokio::task::spawn_blocking(move || erase::scrub(&store));
            Ok::<_, Refusal>(done)
        },
    )
    .await
}
