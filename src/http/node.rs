//! The authority node's control listener: officers re-identify, custodians unseal, auditors read
//! the log.

use axum::extract::Request;
use serde::Serialize;

use super::answer::{HttpAnswer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::{AnsweringSide as _, NodeCall};
use super::node_door::NodeRoutes;
use super::operations::{self, ControlOperation};
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::keys::shares::{Share, ShareText};
use crate::reidentify::deliver::{self, SealedResponse};
use crate::reidentify::reveal::{self, ReidentifyResponse};
use crate::reidentify::{Delivery, ReidentifyRequest};
use crate::resumption::{self, ResumeAcknowledgement, ResumedLogs};
use crate::safe::SharePurpose;
use crate::unseal::{SealStatus, UnsealProgress};

/// Re-identification, custody, resumes.
pub(super) fn routes() -> OpenApiRouter<NodeRoutes> {
    let all = OpenApiRouter::default()
        .routes(routes!(reidentify))
        .routes(routes!(status, seal))
        .routes(routes!(unseal))
        .routes(routes!(drill))
        .routes(routes!(resumes, acknowledge_resume));
    with_tag("node", all)
}

/// The answer to a re-identification.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum ReidentifyAnswer {
    Clear(ReidentifyResponse),
    Sealed(SealedResponse),
}

/// Re-identifies the persons behind these pseudonyms, under an order.
#[utoipa::path(
    post,
    path = "/v1/reidentifications",
    request_body = ReidentifyRequest,
    responses(
        (
            status = 200, description = "An identifier or a code for each pseudonym; sealed if the request has `to`",
            body = inline(ReidentifyAnswer),
        ),
        Problem,
    ),
)]
pub(super) async fn reidentify(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::officer);
    call.answer_to(
        operations::REIDENTIFY,
        permit,
        request,
        |door, permit, asked: &ReidentifyRequest| {
            let vault = &*door.vault;
            match asked.to {
                None => reveal::ask(&door.node, permit, asked, vault).map(ReidentifyAnswer::Clear),
                Some(Delivery::OfficerKey) => deliver::ask_sealed(&door.node, permit, asked, vault)
                    .map(ReidentifyAnswer::Sealed),
            }
        },
    )
    .await
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
pub(super) async fn unseal(call: NodeCall, request: Request) -> HttpAnswer {
    bring(call, request, SharePurpose::Unseal, operations::UNSEAL).await
}

/// Takes a custodian's share for a drill, which proves that the shares make the key, and opens
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
pub(super) async fn drill(call: NodeCall, request: Request) -> HttpAnswer {
    bring(call, request, SharePurpose::Drill, operations::DRILL).await
}

async fn bring(
    call: NodeCall,
    request: Request,
    purpose: SharePurpose,
    operation: ControlOperation,
) -> HttpAnswer {
    let permit = call.permit(access::custodian);
    let NodeCall { side: door, peer } = call;
    answer_to(
        door.entity(),
        peer,
        operation,
        permit,
        request,
        move |permit, text: ShareText| {
            let share = Share::try_from(text).map_err(|_| Problem::new(Code::ShareInvalid))?;
            crate::unseal::bring(&*door.node, permit, share, purpose).map_err(Problem::from)
        },
    )
    .await
}

/// Tells whether the node is sealed, and how many shares custodians have brought.
#[utoipa::path(
    get,
    path = "/v1/seal",
    responses(
        (status = 200, description = "The state of each key", body = SealStatus),
        Problem,
    ),
)]
pub(super) async fn status(call: NodeCall) -> HttpAnswer {
    let permit = call.permit(access::sealer);
    call.answer(operations::SEAL_STATUS, permit, |door, permit| {
        Ok::<_, Code>(crate::unseal::status(&*door.node, permit))
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
pub(super) async fn resumes(call: NodeCall) -> HttpAnswer {
    let permit = call.permit(access::resumer);
    call.answer(operations::RESUME_LIST, permit, |door, _| {
        resumption::list(&door.node, &*door.vault)
    })
    .await
}

/// Acknowledges that a log of the vault lost entries at a restore. From then on the node opens
/// mappings again.
#[utoipa::path(
    post,
    path = "/v1/resumes",
    request_body = ResumeAcknowledgement,
    responses(
        (status = 200, description = "Acknowledged, durably", body = ResumedLogs),
        Problem,
    ),
)]
pub(super) async fn acknowledge_resume(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::resumer);
    call.answer_to(
        operations::RESUME_ACKNOWLEDGE,
        permit,
        request,
        |door, permit, asked: &ResumeAcknowledgement| {
            resumption::acknowledge(&door.node, permit, asked, &*door.vault)
        },
    )
    .await
}

/// The body of a request to seal. It has no members, and the node does not read it.
#[derive(Debug, Clone, Copy, utoipa::ToSchema)]
#[allow(dead_code)]
pub struct SealNow {}

/// Seals the node: wipes every key at once.
#[utoipa::path(
    post,
    path = "/v1/seal",
    request_body = SealNow,
    responses(
        (status = 200, description = "The node is sealed", body = SealStatus),
        Problem,
        (
            status = "5XX", description = "The node is sealed, but that could not be logged",
            body = super::problem::ProblemBody<'static>, content_type = "application/problem+json",
        ),
    ),
)]
pub(super) async fn seal(call: NodeCall) -> HttpAnswer {
    let permit = call.permit(access::sealer);
    call.answer(operations::SEAL, permit, |door, permit| {
        crate::unseal::seal(&*door.node, permit)
    })
    .await
}
