//! Inspections: at the control listeners of vault and node. The commission's statements are brought by auditors or operators;
//! the auditors whom an inspection names get its report.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audit::Entity;
use super::control::{blocking, read_json};
use super::{Peer, Problem, body};
use crate::access;
use crate::code::Code;
use crate::inspection::InspectionView;
use crate::inspection::report::{self, Document};

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
pub(super) async fn list(State(entity): State<Entity>, peer: Peer) -> Result<Response<Body>, Problem> {
    let listed = async {
        let permit = access::messenger(entity.register(), peer.spki)?;
        let entity = entity.clone();
        blocking(move || Ok(entity.inspections().list(permit.auditor.as_ref())?)).await
    };
    match listed.await {
        Ok(inspections) => body::json(&Listed { inspections }),
        Err(problem) => Err(entity.note(peer, "inspection-list", problem).await),
    }
}

/// Enters a decision of the commission's to inspect.
#[utoipa::path(post, path = "/v1/inspections", operation_id = "enter_inspection", request_body = Statement, responses(
    (status = 200, description = "Entered; how it stands", body = InspectionView),
    Problem,
))]
pub(super) async fn enter(
    State(entity): State<Entity>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let entered = async {
        let permit = access::messenger(entity.register(), peer.spki)?;
        let brought: Statement = read_json(request).await?;
        let entity = entity.clone();
        blocking(move || Ok(entity.inspections().enter(&brought.statement, &permit)?)).await
    };
    match entered.await {
        Ok(view) => body::json(&view),
        Err(problem) => Err(entity.note(peer, "inspection-enter", problem).await),
    }
}

/// Ends an inspection before its time, as the commission says.
#[utoipa::path(post, path = "/v1/inspections/closings", operation_id = "close_inspection", request_body = Statement,
    responses(
        (status = 200, description = "Closed; how it stands", body = InspectionView),
        Problem,
    ),
)]
pub(super) async fn close(
    State(entity): State<Entity>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let closed = async {
        let permit = access::messenger(entity.register(), peer.spki)?;
        let brought: Statement = read_json(request).await?;
        let entity = entity.clone();
        blocking(move || Ok(entity.inspections().close(&brought.statement, &permit)?)).await
    };
    match closed.await {
        Ok(view) => body::json(&view),
        Err(problem) => Err(entity.note(peer, "inspection-close", problem).await),
    }
}

/// The annex of an inspection's minutes, signed, for the auditors that it names.
#[utoipa::path(get, path = "/v1/inspections/{id}/report", operation_id = "inspection_report",
    params(("id" = String, Path, description = "The inspection's id")),
    responses(
        (status = 200, description = "The report and its signature", body = Document),
        Problem,
    ),
)]
pub(super) async fn annex(
    State(entity): State<Entity>,
    Path(id): Path<String>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    let written = async {
        let permit = access::auditor(entity.register(), peer.spki)?;
        let id = Uuid::try_parse(&id).map_err(|_| Code::UnknownInspection)?;
        let entity = entity.clone();
        blocking(move || {
            let mappings = |sector: &str| entity.mappings(sector);
            Ok(report::write(&entity.inspections().counting(&mappings), id, &permit)?)
        })
        .await
    };
    match written.await {
        Ok(document) => body::json(&document),
        Err(problem) => Err(entity.note(peer, "inspection-report", problem).await),
    }
}
