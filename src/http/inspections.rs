//! Inspections, at the control listeners of vault and node. Auditors or operators bring the
//! commission's statements; the auditors whom an inspection names get its report.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use uuid::Uuid;

use super::answer::{HttpAnswer, answer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::operations;
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::entity::{Entity, EntityInForce};
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
pub(super) async fn list(State(entity): State<Arc<Entity>>, peer: Peer) -> HttpAnswer {
    let permit = access::messenger(entity.register(), peer.spki);
    answer(
        entity.clone(),
        peer,
        operations::INSPECTION_LIST,
        permit,
        move |permit| {
            Inspections::of(&entity)
                .list(permit.auditor.as_ref())
                .map(|inspections| InspectionList { inspections })
        },
    )
    .await
}

/// Enters the commission's decision to inspect.
#[utoipa::path(post, path = "/v1/inspections", operation_id = "enter_inspection", request_body = InspectionText, responses(
    (status = 200, description = "Entered; how the inspection stands", body = InspectionView),
    Problem,
))]
pub(super) async fn enter(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::messenger(entity.register(), peer.spki);
    answer_to(
        entity.clone(),
        peer,
        operations::INSPECTION_ENTER,
        permit,
        request,
        move |permit, brought: InspectionText| {
            Inspections::of(&entity).enter(&brought.statement, permit)
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
pub(super) async fn close(
    State(entity): State<Arc<Entity>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let permit = access::messenger(entity.register(), peer.spki);
    answer_to(
        entity.clone(),
        peer,
        operations::INSPECTION_CLOSE,
        permit,
        request,
        move |permit, brought: InspectionText| {
            Inspections::of(&entity).close(&brought.statement, permit)
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
pub(super) async fn annex(
    State(entity): State<Arc<Entity>>,
    Path(id): Path<String>,
    peer: Peer,
) -> HttpAnswer {
    let asked = access::auditor(entity.register(), peer.spki).and_then(|permit| {
        Ok((
            permit,
            Uuid::try_parse(&id).map_err(|_| Code::UnknownInspection)?,
        ))
    });
    answer(
        entity.clone(),
        peer,
        operations::INSPECTION_REPORT,
        asked,
        move |(permit, id)| report::write(&Inspections::of(&entity), *id, permit),
    )
    .await
}
