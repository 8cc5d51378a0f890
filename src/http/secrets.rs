//! Versions of the sector secret, at the vault's control listener, for operators.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::answer::{HttpAnswer, answer, answer_to};
use super::described::{OpenApiRouter, routes, tagged};
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::epoch::secrets::{self, RetireSecretRequest, RetiredSecret, SectorSecrets};
use crate::vault::Vault;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(list, rotate))
        .routes(routes!(retire));
    tagged("secrets", all)
}

/// What a rotation takes: nothing, and whatever is sent is not looked at.
#[derive(Debug, Clone, Copy, utoipa::ToSchema)]
#[allow(dead_code)] // only described
pub struct RotateNow {}

/// The versions of the sector secret, and what needs each. Nothing of the secrets themselves.
#[utoipa::path(
    get,
    path = "/v1/secrets",
    operation_id = "list_secrets",
    responses(
        (status = 200, description = "The versions", body = SectorSecrets),
        Problem,
    ),
)]
pub(super) async fn list(State(vault): State<Arc<Vault>>, peer: Peer) -> HttpAnswer {
    let permit = access::operator(vault.register(), peer.spki);
    answer(
        vault.entity().clone(),
        peer,
        "secret-list",
        permit,
        move |permit| secrets::list(&vault, permit).map(|versions| SectorSecrets { versions }),
    )
    .await
}

/// Makes a new version of the sector secret, which the next epochs take.
#[utoipa::path(
    post,
    path = "/v1/secrets",
    operation_id = "rotate_secret",
    request_body = RotateNow,
    responses(
        (status = 200, description = "The versions", body = SectorSecrets),
        Problem,
    ),
)]
pub(super) async fn rotate(State(vault): State<Arc<Vault>>, peer: Peer) -> HttpAnswer {
    let permit = access::operator(vault.register(), peer.spki);
    answer(
        vault.entity().clone(),
        peer,
        "secret-rotate",
        permit,
        move |permit| secrets::rotate(&vault, permit).map(|versions| SectorSecrets { versions }),
    )
    .await
}

/// Retires a version of the sector secret that nothing needs: it is destroyed. That takes a
/// statement by two operators.
#[utoipa::path(
    post,
    path = "/v1/secrets/retire",
    operation_id = "retire_secret",
    request_body = RetireSecretRequest,
    responses(
        (status = 200, description = "What became of it", body = RetiredSecret),
        Problem,
    ),
)]
pub(super) async fn retire(
    State(vault): State<Arc<Vault>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::operator(vault.register(), peer.spki);
    answer_to(
        vault.entity().clone(),
        peer,
        "secret-retire",
        permit,
        request,
        move |permit, asked: RetireSecretRequest| secrets::retire(&vault, permit, &asked),
    )
    .await
}
