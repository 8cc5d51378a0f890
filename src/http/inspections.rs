//! Inspections, at the control listeners of vault and node. Auditors or operators bring the
//! commission's statements; the auditors whom an inspection names get its report.

use axum::extract::{Path, Request};
use uuid::Uuid;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::EntityCall;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::entity::EntityInForce;
use crate::inspection::report::{self, SignedReport};
use crate::inspection::{InspectionList, InspectionText, InspectionView, Inspections};

/// The routes, at either side.
pub(super) fn routes() -> OpenApiRouter<EntityInForce> {
    let all = OpenApiRouter::default()
        .routes(routes!(list, enter))
        .routes(routes!(annex))
        .routes(routes!(close));
    with_tag("inspections", all)
}

/// Lists the inspections that were entered. An operator sees all, an auditor sees those that name
/// them.
#[utoipa::path(get, path = "/v1/inspections", operation_id = "list_inspections", responses(
    (status = 200, description = "Inspections, the last entered first", body = InspectionList),
    Problem,
))]
pub(super) async fn list(call: EntityCall) -> HttpAnswer {
    let permit = call.permit(access::messenger);
    call.answer(operations::INSPECTION_LIST, permit, |entity, permit| {
        Inspections::of(entity)
            .list(permit.auditor.as_ref())
            .map(|inspections| InspectionList { inspections })
    })
    .await
}

/// Enters the commission's decision to inspect.
#[utoipa::path(post, path = "/v1/inspections", operation_id = "enter_inspection", request_body = InspectionText, responses(
    (status = 200, description = "Entered; how the inspection stands", body = InspectionView),
    Problem,
))]
pub(super) async fn enter(call: EntityCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::messenger);
    call.answer_to(
        operations::INSPECTION_ENTER,
        permit,
        request,
        |entity, permit, brought: &InspectionText| {
            Inspections::of(entity).enter(&brought.statement, permit)
        },
    )
    .await
}

/// Ends an inspection before its time, by a statement of the commission.
#[utoipa::path(post, path = "/v1/inspections/closings", operation_id = "close_inspection", request_body = InspectionText,
    responses(
        (status = 200, description = "Closed; how the inspection stands", body = InspectionView),
        Problem,
    ),
)]
pub(super) async fn close(call: EntityCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::messenger);
    call.answer_to(
        operations::INSPECTION_CLOSE,
        permit,
        request,
        |entity, permit, brought: &InspectionText| {
            Inspections::of(entity).close(&brought.statement, permit)
        },
    )
    .await
}

/// Writes and signs the annex of an inspection's minutes, for the auditors whom it names.
#[utoipa::path(get, path = "/v1/inspections/{id}/report", operation_id = "inspection_report",
    params(("id" = String, Path, description = "The inspection's id")),
    responses(
        (status = 200, description = "The report and its signature", body = SignedReport),
        Problem,
    ),
)]
pub(super) async fn annex(call: EntityCall, Path(id): Path<String>) -> HttpAnswer {
    let asked = call.permit(access::auditor).and_then(|permit| {
        Ok((
            permit,
            Uuid::try_parse(&id).map_err(|_| Code::UnknownInspection)?,
        ))
    });
    call.answer(
        operations::INSPECTION_REPORT,
        asked,
        move |entity, (permit, id)| report::write(&Inspections::of(entity), *id, permit),
    )
    .await
}
