//! Inspections: at the control listeners of vault and node. The commission's statements are brought by auditors or operators;
//! the auditors whom an inspection names get its report.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::answer::{Answer, answer, answer_to};
use super::audit::Entity;
use super::{Peer, Problem};
use crate::access;
use crate::code::Code;
use crate::inspection::InspectionView;
use crate::inspection::report::{self, SignedReport};

/// A statement of the commission's that somebody brings.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The decision, or the end of an inspection: JWS General JSON, as text.
    pub statement: String,
}

/// Inspections.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The last entered first.
    pub inspections: Vec<InspectionView>,
}

/// The routes; state is whoever has a log.
pub(super) fn routes() -> Router<Entity> {
    Router::new()
        .route("/v1/inspections", get(list).post(enter))
        .route("/v1/inspections/{id}/report", get(annex))
        .route("/v1/inspections/closings", post(close))
}

/// The inspections that were entered: an operator sees all, an auditor those that name him.
#[utoipa::path(get, path = "/v1/inspections", operation_id = "list_inspections", responses(
    (status = 200, description = "Inspections, the last entered first", body = Listed),
    Problem,
))]
pub(super) async fn list(State(entity): State<Entity>, peer: Peer) -> Answer {
    let permit = access::messenger(entity.register(), peer.spki);
    answer(entity, peer, "inspection-list", permit, |entity, permit| {
        entity.inspections().list(permit.auditor.as_ref()).map(|inspections| Listed { inspections })
    })
    .await
}

/// Enters a decision of the commission's to inspect.
#[utoipa::path(post, path = "/v1/inspections", operation_id = "enter_inspection", request_body = Statement, responses(
    (status = 200, description = "Entered; how it stands", body = InspectionView),
    Problem,
))]
pub(super) async fn enter(State(entity): State<Entity>, peer: Peer, request: Request) -> Answer {
    let permit = access::messenger(entity.register(), peer.spki);
    answer_to(entity, peer, "inspection-enter", permit, request, |entity, permit, brought: Statement| {
        entity.inspections().enter(&brought.statement, permit)
    })
    .await
}

/// Ends an inspection before its time, as the commission says.
#[utoipa::path(post, path = "/v1/inspections/closings", operation_id = "close_inspection", request_body = Statement,
    responses(
        (status = 200, description = "Closed; how it stands", body = InspectionView),
        Problem,
    ),
)]
pub(super) async fn close(State(entity): State<Entity>, peer: Peer, request: Request) -> Answer {
    let permit = access::messenger(entity.register(), peer.spki);
    answer_to(entity, peer, "inspection-close", permit, request, |entity, permit, brought: Statement| {
        entity.inspections().close(&brought.statement, permit)
    })
    .await
}

/// The annex of an inspection's minutes, signed, for the auditors that it names.
#[utoipa::path(get, path = "/v1/inspections/{id}/report", operation_id = "inspection_report",
    params(("id" = String, Path, description = "The inspection's id")),
    responses(
        (status = 200, description = "The report and its signature", body = SignedReport),
        Problem,
    ),
)]
pub(super) async fn annex(State(entity): State<Entity>, Path(id): Path<String>, peer: Peer) -> Answer {
    let asked = access::auditor(entity.register(), peer.spki)
        .and_then(|permit| Ok((permit, Uuid::try_parse(&id).map_err(|_| Code::UnknownInspection)?)));
    answer(entity, peer, "inspection-report", asked, |entity, (permit, id)| {
        let mappings = |sector: &str| entity.mappings(sector);
        report::write(&entity.inspections().counting(&mappings), *id, permit)
    })
    .await
}
