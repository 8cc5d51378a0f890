//! What custodians do at an identity source: unseal it, drill, seal it; acknowledge that the vault was
//! restored.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::answer::{HttpAnswer, answer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::identity_door::{IdentityDoor, IdentityRoutes};
use super::node::SealNow;
use super::operations::{self, ControlOperation};
use super::peer::Peer;
use super::problem::{Problem, ProblemBody};
use crate::access::{self, CustodianPermit, ResumePermit, SealPermit};
use crate::code::Code;
use crate::keys::shares::{Share, ShareText};
use crate::resumption::{self, ResumeAcknowledgement, ResumedLogs};
use crate::safe::SharePurpose;
use crate::unseal::{SealStatus, UnsealProgress};

/// Custody, resumes.
pub(super) fn routes() -> OpenApiRouter<IdentityRoutes> {
    let all = OpenApiRouter::default()
        .routes(routes!(status, seal))
        .routes(routes!(unseal))
        .routes(routes!(drill))
        .routes(routes!(resumes, acknowledge_resume));
    with_tag("identity", all)
}

fn custodian(door: &IdentityDoor, peer: &Peer) -> Result<CustodianPermit, Code> {
    let source = &door.source;
    access::identity_custodian(source.register(), &source.registered().id, peer.spki)
}

fn sealer(door: &IdentityDoor, peer: &Peer) -> Result<SealPermit, Code> {
    custodian(door, peer).map(SealPermit::of)
}

fn resumer(door: &IdentityDoor, peer: &Peer) -> Result<ResumePermit, Code> {
    custodian(door, peer).map(ResumePermit::of)
}

/// Takes a custodian's share towards unsealing.
#[utoipa::path(
    post,
    path = "/v1/shares",
    request_body = ShareText,
    responses(
        (status = 200, description = "The share was taken; how many shares there are now", body = UnsealProgress),
        Problem,
    ),
)]
pub(super) async fn unseal(
    State(door): State<Arc<IdentityDoor>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let (purpose, operation) = (SharePurpose::Unseal, operations::UNSEAL);
    bring(door, peer, request, purpose, operation).await
}

/// Takes a custodian's share for a drill, which proves that the shares make the secret, and opens
/// nothing.
#[utoipa::path(
    post,
    path = "/v1/drills",
    request_body = ShareText,
    responses(
        (status = 200, description = "The share was taken; how many shares there are now", body = UnsealProgress),
        Problem,
    ),
)]
pub(super) async fn drill(
    State(door): State<Arc<IdentityDoor>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    bring(door, peer, request, SharePurpose::Drill, operations::DRILL).await
}

async fn bring(
    door: Arc<IdentityDoor>,
    peer: Peer,
    request: Request,
    purpose: SharePurpose,
    operation: ControlOperation,
) -> HttpAnswer {
    let (entity, permit) = (door.entity(), custodian(&door, &peer));
    let work = move |permit: &CustodianPermit, text: ShareText| {
        let share = Share::try_from(text).map_err(|_| Problem::new(Code::ShareInvalid))?;
        crate::unseal::bring(&*door.source, permit, share, purpose).map_err(Problem::from)
    };
    answer_to(entity, peer, operation, permit, request, work).await
}

/// Tells whether the identity secret is sealed, and how many shares custodians have brought.
#[utoipa::path(
    get,
    path = "/v1/seal",
    responses(
        (status = 200, description = "The state of the secret", body = SealStatus),
        Problem,
    ),
)]
pub(super) async fn status(State(door): State<Arc<IdentityDoor>>, peer: Peer) -> HttpAnswer {
    let (entity, permit) = (door.entity(), sealer(&door, &peer));
    let work =
        move |permit: &SealPermit| Ok::<_, Code>(crate::unseal::status(&*door.source, permit));
    answer(entity, peer, operations::SEAL_STATUS, permit, work).await
}

/// Lists the vault's logs that lost entries at a restore, and tells whether the loss was
/// acknowledged here.
#[utoipa::path(
    get,
    path = "/v1/resumes",
    responses(
        (status = 200, description = "The logs, as the vault's log proves them", body = ResumedLogs),
        Problem,
    ),
)]
pub(super) async fn resumes(State(door): State<Arc<IdentityDoor>>, peer: Peer) -> HttpAnswer {
    let (entity, permit) = (door.entity(), resumer(&door, &peer));
    let work = move |_: &ResumePermit| resumption::list(&door.source, &*door.vault);
    answer(entity, peer, operations::RESUME_LIST, permit, work).await
}

/// Acknowledges that a log of the vault lost entries at a restore. From then on the source watches it
/// again.
#[utoipa::path(
    post,
    path = "/v1/resumes",
    request_body = ResumeAcknowledgement,
    responses(
        (status = 200, description = "Acknowledged, durably", body = ResumedLogs),
        Problem,
    ),
)]
pub(super) async fn acknowledge_resume(
    State(door): State<Arc<IdentityDoor>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let (entity, permit) = (door.entity(), resumer(&door, &peer));
    let work = move |permit: &ResumePermit, asked: ResumeAcknowledgement| {
        resumption::acknowledge(&door.source, permit, &asked, &*door.vault)
    };
    answer_to(
        entity,
        peer,
        operations::RESUME_ACKNOWLEDGE,
        permit,
        request,
        work,
    )
    .await
}

/// Seals the source: wipes the identity secret at once.
#[utoipa::path(
    post,
    path = "/v1/seal",
    request_body = SealNow,
    responses(
        (status = 200, description = "The source is sealed", body = SealStatus),
        Problem,
        (
            status = "5XX", description = "The source is sealed, but that could not be logged",
            body = ProblemBody<'static>, content_type = "application/problem+json",
        ),
    ),
)]
pub(super) async fn seal(State(door): State<Arc<IdentityDoor>>, peer: Peer) -> HttpAnswer {
    let (entity, permit) = (door.entity(), sealer(&door, &peer));
    let work = move |permit: &SealPermit| crate::unseal::seal(&*door.source, permit);
    answer(entity, peer, operations::SEAL, permit, work).await
}
