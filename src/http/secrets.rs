//! Versions of the sector secret, at the vault's control listener, for operators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, answer, answer_to};
use super::{Peer, Problem};
use crate::access;
use crate::epoch::secrets::{self, RetireSecretRequest, RetiredSecret, SecretView};
use crate::vault::Vault;

/// The routes.
pub(super) fn routes() -> Router<Arc<Vault>> {
    Router::new().route("/v1/secrets", get(list).post(rotate)).route("/v1/secrets/retire", post(retire))
}

/// The versions of the sector secret.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Secrets {
    /// By number.
    pub versions: Vec<SecretView>,
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
        (status = 200, description = "The versions", body = Secrets),
        Problem,
    ),
)]
pub(super) async fn list(State(vault): State<Arc<Vault>>, peer: Peer) -> Answer {
    let permit = access::operator(vault.register(), peer.spki);
    answer(vault, peer, "secret-list", permit, |vault, permit| {
        secrets::list(vault, permit).map(|versions| Secrets { versions })
    })
    .await
}

/// Makes a new version of the sector secret, which the next epochs take.
#[utoipa::path(
    post,
    path = "/v1/secrets",
    operation_id = "rotate_secret",
    request_body = RotateNow,
    responses(
        (status = 200, description = "The versions", body = Secrets),
        Problem,
    ),
)]
pub(super) async fn rotate(State(vault): State<Arc<Vault>>, peer: Peer) -> Answer {
    let permit = access::operator(vault.register(), peer.spki);
    answer(vault, peer, "secret-rotate", permit, |vault, permit| {
        secrets::rotate(vault, permit).map(|versions| Secrets { versions })
    })
    .await
}

/// Retires a version of the sector secret that nothing needs: it is destroyed. That takes a statement by two operators.
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
pub(super) async fn retire(State(vault): State<Arc<Vault>>, peer: Peer, request: Request) -> Answer {
    let permit = access::operator(vault.register(), peer.spki);
    answer_to(vault, peer, "secret-retire", permit, request, |vault, permit, asked: RetireSecretRequest| {
        secrets::retire(vault, permit, &asked)
    })
    .await
}
