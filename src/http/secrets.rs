//! Versions of the sector secret, at the vault's control listener, for operators.

use axum::extract::Request;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::VaultCall;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::entity::InForce;
use crate::epoch::confirm::{self, ConfirmSecretRequest};
use crate::epoch::secrets::{self, RetireSecretRequest, RetiredSecret, SectorSecrets};
use crate::vault::Vault;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<InForce<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(list, rotate))
        .routes(routes!(confirm))
        .routes(routes!(retire));
    with_tag("secrets", all)
}

/// The body of a request to rotate. It has no members, and the vault does not read it.
#[derive(Debug, Clone, Copy, utoipa::ToSchema)]
#[allow(dead_code)] // only described
pub struct RotateNow {}

/// Lists the versions of the sector secret, and what needs each. Shows nothing of the secrets
/// themselves.
#[utoipa::path(
    get,
    path = "/v1/secrets",
    operation_id = "list_secrets",
    responses(
        (status = 200, description = "The versions", body = SectorSecrets),
        Problem,
    ),
)]
pub(super) async fn list(call: VaultCall) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer(operations::SECRET_LIST, permit, secrets::list)
        .await
}

/// Makes a new version of the sector secret, for the next epochs.
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
pub(super) async fn rotate(call: VaultCall) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer(operations::SECRET_ROTATE, permit, secrets::rotate)
        .await
}

/// Confirms that the custody of a version of the sector secret holds it off the vault's machine.
/// Epochs name it only then.
#[utoipa::path(
    post,
    path = "/v1/secrets/confirm",
    operation_id = "confirm_secret",
    request_body = ConfirmSecretRequest,
    responses(
        (status = 200, description = "The versions", body = SectorSecrets),
        Problem,
    ),
)]
pub(super) async fn confirm(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer_to(
        operations::SECRET_CONFIRM,
        permit,
        request,
        confirm::confirm,
    )
    .await
}

/// Retires a version of the sector secret that nothing needs: destroys it. Two operators sign a
/// statement for it.
#[utoipa::path(
    post,
    path = "/v1/secrets/retire",
    operation_id = "retire_secret",
    request_body = RetireSecretRequest,
    responses(
        (status = 200, description = "What became of the version", body = RetiredSecret),
        Problem,
    ),
)]
pub(super) async fn retire(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer_to(operations::SECRET_RETIRE, permit, request, secrets::retire)
        .await
}
