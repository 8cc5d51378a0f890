//! Mounts the routes of each listener and serves their description: OpenAPI 3.1 at `/openapi.json`.
//! Both come from one list ([`utoipa_axum`]), so every route is described, except those of C2SP
//! `tlog-witness`, which its own specification describes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::backups::{self, BackupDoor};
use super::cosign::{self, CosignDoor};
use super::data::{self, DataDoor};
use super::health::Readiness;
use super::node_door::NodeRoutes;
use super::register::{self, RegisterDoor};
use super::status::StatusDoor;
use super::{
    acts, audit, body, clock, control, inspections, migrations, node, rights, secrets, segments,
    status, suspensions,
};
use crate::entity::{EntityInForce, InForce};
use crate::vault::Vault;

/// The routers of the vault's listeners.
pub struct VaultRouters {
    /// For sector systems.
    pub data: Router,
    /// For operations, authorities' nodes and auditors.
    pub control: Router,
}

/// Makes the vault's routers. Both serve the description of all operations.
pub fn vault(
    door: Arc<DataDoor>,
    cosigning: Arc<CosignDoor>,
    register: RegisterDoor,
    backups: BackupDoor,
    readiness: Arc<Readiness>,
) -> VaultRouters {
    let (vault, description) = (door.vault().clone(), description(&vault_api()));
    let told = Router::from(status::routes()).with_state(StatusDoor::vault(&vault, readiness));
    let pairs = Router::from(migrations::data_routes()).with_state(vault.clone());
    let data = Router::from(data::routes())
        .with_state(door)
        .merge(pairs)
        .merge(told.clone())
        .merge(description.clone());
    let audit = Router::from(entity_routes()).with_state(vault.entity());
    let control = Router::from(vault_routes())
        .with_state(vault)
        .merge(audit)
        .merge(Router::from(register::reload_routes()).with_state(register))
        .merge(Router::from(backups::routes()).with_state(backups))
        .merge(told)
        .merge(cosign::router(cosigning));
    VaultRouters {
        data,
        control: control.merge(description),
    }
}

/// Makes the router of a node's control listener.
pub fn node(
    routes: NodeRoutes,
    register: RegisterDoor,
    backups: BackupDoor,
    readiness: Arc<Readiness>,
) -> Router {
    let told = Router::from(status::routes()).with_state(StatusDoor::node(&routes.node, readiness));
    let audit = Router::from(entity_routes()).with_state(routes.node.entity());
    Router::from(node_routes())
        .with_state(routes)
        .merge(audit)
        .merge(Router::from(register::reload_routes()).with_state(register))
        .merge(Router::from(backups::routes()).with_state(backups))
        .merge(told)
        .merge(description(&node_api()))
}

/// The routes of the vault's control listener, without [`entity_routes`].
fn vault_routes() -> OpenApiRouter<InForce<Vault>> {
    control::routes()
        .merge(acts::vault_routes())
        .merge(migrations::vault_routes())
        .merge(rights::vault_routes())
        .merge(segments::vault_routes())
        .merge(secrets::routes())
}

/// The routes of the node's control listener, without [`entity_routes`].
fn node_routes() -> OpenApiRouter<NodeRoutes> {
    node::routes()
        .merge(acts::node_routes())
        .merge(migrations::node_routes())
        .merge(rights::node_routes())
        .merge(segments::node_routes())
}

/// The routes that the control listeners of vault and node share.
fn entity_routes() -> OpenApiRouter<EntityInForce> {
    audit::routes()
        .merge(audit::search::routes())
        .merge(inspections::routes())
        .merge(clock::routes())
        .merge(register::routes())
        .merge(suspensions::routes())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison vault",
        description = "Sector pseudonyms, epochs, releases. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
)]
struct VaultInfo;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison authority node",
        description = "Re-identification under a signed order; custody of the key. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
)]
struct NodeInfo;

/// Describes the vault's operations, on the data and control listeners.
fn vault_api() -> utoipa::openapi::OpenApi {
    let mut api = VaultInfo::openapi();
    api.merge(data::routes().into_openapi());
    api.merge(migrations::data_routes().into_openapi());
    api.merge(vault_routes().into_openapi());
    api.merge(register::reload_routes().into_openapi());
    api.merge(backups::routes().into_openapi());
    api.merge(entity_routes().into_openapi());
    api.merge(status::routes().into_openapi());
    api
}

/// Describes the authority node's operations.
fn node_api() -> utoipa::openapi::OpenApi {
    let mut api = NodeInfo::openapi();
    api.merge(node_routes().into_openapi());
    api.merge(register::reload_routes().into_openapi());
    api.merge(backups::routes().into_openapi());
    api.merge(entity_routes().into_openapi());
    api.merge(status::routes().into_openapi());
    api
}

/// The route that serves a description.
fn description(api: &utoipa::openapi::OpenApi) -> Router {
    let text = Bytes::from(api.to_json().expect("the description is plain data"));
    Router::new().route(
        "/openapi.json",
        get(async move || body::reply("application/json", text)),
    )
}
