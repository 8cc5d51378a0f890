//! What custodians do at an identity source: unseal it, drill, seal it; acknowledge that the vault
//! was restored.

use axum::extract::Request;

use super::answer::{HttpAnswer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::{AnsweringSide as _, IdentityCall};
use super::identity_door::IdentityRoutes;
use super::node::SealNow;
use super::operations::{self, ControlOperation};
use super::problem::{Problem, ProblemBody};
use crate::access::{self, ResumePermit, SealPermit};
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
pub(super) async fn unseal(call: IdentityCall, request: Request) -> HttpAnswer {
    bring(call, request, SharePurpose::Unseal, operations::UNSEAL).await
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
pub(super) async fn drill(call: IdentityCall, request: Request) -> HttpAnswer {
    bring(call, request, SharePurpose::Drill, operations::DRILL).await
}

async fn bring(
    call: IdentityCall,
    request: Request,
    purpose: SharePurpose,
    operation: ControlOperation,
) -> HttpAnswer {
    let permit = call.permit(access::identity_custodian);
    let IdentityCall { side: door, peer } = call;
    answer_to(
        door.entity(),
        peer,
        operation,
        permit,
        request,
        move |permit, text: ShareText| {
            let share = Share::try_from(text).map_err(|_| Problem::new(Code::ShareInvalid))?;
            crate::unseal::bring(&*door.source, permit, share, purpose).map_err(Problem::from)
        },
    )
    .await
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
pub(super) async fn status(call: IdentityCall) -> HttpAnswer {
    let permit = call.permit(access::identity_custodian);
    let permit = permit.map(SealPermit::of);
    call.answer(operations::SEAL_STATUS, permit, |door, permit| {
        Ok::<_, Code>(crate::unseal::status(&*door.source, permit))
    })
    .await
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
pub(super) async fn resumes(call: IdentityCall) -> HttpAnswer {
    let permit = call.permit(access::identity_custodian);
    call.answer(operations::RESUME_LIST, permit, |door, _| {
        resumption::list(&door.source, &*door.vault)
    })
    .await
}

/// Acknowledges that a log of the vault lost entries at a restore. From then on the source watches
/// it again.
#[utoipa::path(
    post,
    path = "/v1/resumes",
    request_body = ResumeAcknowledgement,
    responses(
        (status = 200, description = "Acknowledged, durably", body = ResumedLogs),
        Problem,
    ),
)]
pub(super) async fn acknowledge_resume(call: IdentityCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::identity_custodian);
    call.answer_to(
        operations::RESUME_ACKNOWLEDGE,
        permit.map(ResumePermit::of),
        request,
        |door, permit, asked: &ResumeAcknowledgement| {
            resumption::acknowledge(&door.source, permit, asked, &*door.vault)
        },
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
pub(super) async fn seal(call: IdentityCall) -> HttpAnswer {
    let permit = call.permit(access::identity_custodian);
    let permit = permit.map(SealPermit::of);
    call.answer(operations::SEAL, permit, |door, permit| {
        crate::unseal::seal(&*door.source, permit)
    })
    .await
}
