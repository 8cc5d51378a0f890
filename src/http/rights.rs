//! People's rights: rights officers ask who resolved a pseudonym (at the vault), and have a
//! person's traces destroyed (at the vault, and at each authority's node).

use std::sync::Arc;

use axum::extract::{Request, State};

use super::answer::{HttpAnswer, answer_to};
use super::described::{OpenApiRouter, routes, tagged};
use super::node_door::NodeDoor;
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::refusal::Refusal;
use crate::rights::erase::{self, ErasureReceipt, ErasureText};
use crate::rights::resolutions::{self, PersonResolutions, ResolutionQuestion};
use crate::store::Store;
use crate::vault::Vault;

/// The routes of the vault's control listener.
pub(super) fn vault_routes() -> OpenApiRouter<Arc<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(look_up))
        .routes(routes!(erase_at_vault));
    tagged("rights", all)
}

/// The routes of the node's control listener.
pub(super) fn node_routes() -> OpenApiRouter<Arc<NodeDoor>> {
    let all = OpenApiRouter::default().routes(routes!(erase_at_node));
    tagged("rights", all)
}

/// Who resolved these pseudonyms, or what was resolved under this order.
#[utoipa::path(
    post,
    path = "/v1/rights/resolutions",
    request_body = ResolutionQuestion,
    responses(
        (status = 200, description = "For each pseudonym its resolutions, oldest first", body = PersonResolutions),
        Problem,
    ),
)]
pub(super) async fn look_up(
    State(vault): State<Arc<Vault>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::rights_officer(vault.register(), peer.spki);
    answer_to(
        vault.entity().clone(),
        peer,
        "look-up",
        permit,
        request,
        move |permit, asked: ResolutionQuestion| resolutions::look_up(&vault, permit, &asked),
    )
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
pub(super) async fn erase_at_vault(
    State(vault): State<Arc<Vault>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::rights_officer(vault.register(), peer.spki);
    answer_to(
        vault.entity().clone(),
        peer,
        "erase",
        permit,
        request,
        move |permit, brought: ErasureText| {
            let done = erase::at_vault(&vault, permit, &brought.request)?;
            scrub(vault.store().clone());
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
pub(super) async fn erase_at_node(
    State(door): State<Arc<NodeDoor>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::rights_officer(door.node.register(), peer.spki);
    answer_to(
        door.entity(),
        peer,
        "erase",
        permit,
        request,
        move |permit, brought: ErasureText| {
            let done = erase::at_node(&door.node, permit, &brought.request)?;
            scrub(door.node.store().clone());
            Ok::<_, Refusal>(done)
        },
    )
    .await
}

/// Clears the destroyed bytes out of the store's files where that is due, beside the requests: in a
/// large store it takes its time. To be called after an erasure, at a start, and by the hour: the
/// last one may not have come to its end.
pub(crate) fn scrub(store: Arc<Store>) {
    tokio::task::spawn_blocking(move || match store.scrub_due() {
        Ok(true) => tracing::info!("what was erased is gone from the store's files"),
        // Another scrub has seen to it.
        Ok(false) => {}
        Err(error) => {
            tracing::error!(%error, "what was erased may still stand in the store's files")
        }
    });
}
