//! The vault's control listener: operators advance epochs, authorities' nodes ask for releases,
//! auditors read the log.

use axum::extract::Request;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::body::SectorPath;
use super::call::VaultCall;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::entity::InForce;
use crate::epoch::{self, AdvanceEpochRequest, EpochList};
use crate::reidentify::{Release, ReleaseRequest, release};
use crate::resumption::{self, ResumeProofs};
use crate::vault::Vault;

/// Epochs, releases, resumes.
pub(super) fn routes() -> OpenApiRouter<InForce<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(list_epochs, advance_epoch))
        .routes(routes!(release_mappings))
        .routes(routes!(resume_proofs));
    with_tag("control", all)
}

/// Lists the epochs of a sector, oldest first.
#[utoipa::path(
    get,
    path = "/v1/sectors/{sector}/epochs",
    params(("sector" = String, Path, description = "Sector name")),
    responses(
        (status = 200, description = "The epochs, oldest first", body = EpochList),
        Problem,
    ),
)]
pub(super) async fn list_epochs(call: VaultCall, SectorPath(sector): SectorPath) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer(operations::EPOCH_LIST, permit, move |vault, permit| {
        epoch::list(vault, permit, &sector)
    })
    .await
}

/// Opens the next epoch of a sector. A repeated request is answered as done.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/epochs",
    params(("sector" = String, Path, description = "Sector name")),
    request_body = AdvanceEpochRequest,
    responses(
        (status = 200, description = "The epochs, oldest first", body = EpochList),
        Problem,
    ),
)]
pub(super) async fn advance_epoch(
    call: VaultCall,
    SectorPath(sector): SectorPath,
    request: Request,
) -> HttpAnswer {
    let permit = call.permit(access::operator);
    call.answer_to(
        operations::EPOCH_ADVANCE,
        permit,
        request,
        move |vault, permit, how: &AdvanceEpochRequest| epoch::advance(vault, permit, &sector, how),
    )
    .await
}

/// Releases sealed mappings to an authority's node, under an order.
#[utoipa::path(
    post,
    path = "/v1/releases",
    request_body = ReleaseRequest,
    responses(
        (status = 200, description = "Sealed mappings and their segments", body = Release),
        Problem,
    ),
)]
pub(super) async fn release_mappings(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::node);
    call.answer_to(operations::RELEASE, permit, request, release::release)
        .await
}

/// Lists the entries with which the vault's log continued after a restore, each with its proof, for
/// an authority's node.
#[utoipa::path(
    get,
    path = "/v1/resumes",
    responses(
        (status = 200, description = "Proof files; none where nothing was restored", body = ResumeProofs),
        Problem,
    ),
)]
pub(super) async fn resume_proofs(call: VaultCall) -> HttpAnswer {
    let permit = call.permit(access::node);
    call.answer(operations::RESUME_PROOFS, permit, resumption::proofs)
        .await
}
