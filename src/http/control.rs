//! The vault's control listener: operations advance epochs, authorities' nodes ask for releases, auditors read the log.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, answer, answer_to};
use super::body::SectorName;
use super::{Peer, Problem, acts, audit, clock, migrations, openapi, rights, secrets, segments};
use crate::access;
use crate::epoch::{self, AdvanceEpochRequest, EpochView};
use crate::reidentify::resumed::{self, ResumeProofs};
use crate::reidentify::{Release, ReleaseRequest, release};
use crate::vault::Vault;

/// The control listener's router.
pub fn router(vault: Arc<Vault>) -> Router {
    Router::new()
        .route("/v1/sectors/{sector}/epochs", get(list_epochs).post(advance_epoch))
        .route("/v1/releases", post(release_mappings))
        .route("/v1/resumes", get(resume_proofs))
        .merge(acts::vault_routes())
        .merge(clock::vault_routes())
        .merge(migrations::vault_routes())
        .merge(rights::vault_routes())
        .merge(segments::vault_routes())
        .merge(secrets::routes())
        .with_state(vault.clone())
        .route("/openapi.json", get(openapi::vault))
        .merge(audit::router(vault))
}

/// The epochs of a sector.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Epochs {
    /// Sector name.
    pub sector: String,
    /// Oldest first.
    pub epochs: Vec<EpochView>,
}

/// The epochs of a sector, oldest first.
#[utoipa::path(
    get,
    path = "/v1/sectors/{sector}/epochs",
    params(("sector" = String, Path, description = "Sector name")),
    responses(
        (status = 200, description = "The epochs, oldest first", body = Epochs),
        Problem,
    ),
)]
pub(super) async fn list_epochs(State(vault): State<Arc<Vault>>, SectorName(sector): SectorName, peer: Peer) -> Answer {
    let permit = access::operator(vault.register(), peer.spki);
    answer(vault, peer, "epoch-list", permit, move |vault, permit| {
        epoch::list(vault, permit, &sector).map(|epochs| Epochs { sector, epochs })
    })
    .await
}

/// Opens the next epoch of a sector. The same again is answered as done.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/epochs",
    params(("sector" = String, Path, description = "Sector name")),
    request_body = AdvanceEpochRequest,
    responses(
        (status = 200, description = "The epochs, oldest first", body = Epochs),
        Problem,
    ),
)]
pub(super) async fn advance_epoch(
    State(vault): State<Arc<Vault>>,
    SectorName(sector): SectorName,
    peer: Peer,
    request: Request,
) -> Answer {
    let permit = access::operator(vault.register(), peer.spki);
    answer_to(vault, peer, "epoch-advance", permit, request, move |vault, permit, how: AdvanceEpochRequest| {
        epoch::advance(vault, permit, &sector, &how).map(|epochs| Epochs { sector, epochs })
    })
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
pub(super) async fn release_mappings(State(vault): State<Arc<Vault>>, peer: Peer, request: Request) -> Answer {
    let permit = access::node(vault.register(), peer.spki);
    answer_to(vault, peer, "release", permit, request, |vault, permit, asked: ReleaseRequest| {
        release::release(vault, permit, &asked)
    })
    .await
}

/// The entries with which the vault's log went on after a restore, each with its proof, for an authority's node.
#[utoipa::path(
    get,
    path = "/v1/resumes",
    responses(
        (status = 200, description = "Proof files; none where nothing was restored", body = ResumeProofs),
        Problem,
    ),
)]
pub(super) async fn resume_proofs(State(vault): State<Arc<Vault>>, peer: Peer) -> Answer {
    let permit = access::node(vault.register(), peer.spki);
    answer(vault, peer, "resume-proofs", permit, |vault, permit| resumed::proofs(vault, permit)).await
}
