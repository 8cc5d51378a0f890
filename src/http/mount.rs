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
use super::follow::{self, FollowDoor};
use super::health::Readiness;
use super::identity_door::IdentityRoutes;
use super::node_door::NodeRoutes;
use super::register::{self, RegisterDoor};
use super::status::StatusDoor;
use super::{
    acts, audit, body, clock, control, identity, inspections, losses, migrations, node, rights,
    secrets, segments, status, suspensions, utis,
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

/// Makes the vault's routers. Each serves the description of its own operations.
pub fn vault(
    door: Arc<DataDoor>,
    cosigning: Arc<CosignDoor>,
    register: RegisterDoor,
    backups: BackupDoor,
    following: Arc<FollowDoor>,
    readiness: Arc<Readiness>,
) -> VaultRouters {
    let vault = door.vault().clone();
    let told = StatusDoor::vault(&vault, readiness);
    let data = DescribedRouter::of(DataInfo::openapi())
        .with(data::routes(), door)
        .with(migrations::data_routes(), vault.clone())
        .with(status::routes(), told.clone());
    let control = DescribedRouter::of(ControlInfo::openapi())
        .with(entity_routes(), vault.entity())
        .with(vault_routes(), vault)
        .with(register::reload_routes(), register)
        .with(backups::routes(), backups)
        .with(follow::routes(), following.clone())
        .with(follow::vault_routes(), following)
        .with(status::routes(), told);
    VaultRouters {
        data: data.into_router(),
        control: control.into_router().merge(cosign::router(cosigning)),
    }
}

/// Makes the router of a node's control listener.
pub fn node(
    routes: NodeRoutes,
    register: RegisterDoor,
    backups: BackupDoor,
    following: Arc<FollowDoor>,
    readiness: Arc<Readiness>,
) -> Router {
    let told = StatusDoor::node(&routes.node, readiness);
    DescribedRouter::of(NodeInfo::openapi())
        .with(entity_routes(), routes.node.entity())
        .with(node_routes(), routes)
        .with(register::reload_routes(), register)
        .with(backups::routes(), backups)
        .with(follow::routes(), following)
        .with(status::routes(), told)
        .into_router()
}

/// Makes the router of an identity source's control listener.
pub fn identity(
    routes: IdentityRoutes,
    register: RegisterDoor,
    backups: BackupDoor,
    following: Arc<FollowDoor>,
    readiness: Arc<Readiness>,
) -> Router {
    let told = StatusDoor::identity(&routes.source, readiness);
    DescribedRouter::of(IdentityInfo::openapi())
        .with(entity_routes(), routes.source.entity())
        .with(utis::routes().merge(identity::routes()), routes)
        .with(register::reload_routes(), register)
        .with(backups::routes(), backups)
        .with(follow::routes(), following)
        .with(status::routes(), told)
        .into_router()
}

/// The routes of one listener, and their description: neither is there without the other.
struct DescribedRouter {
    router: Router,
    api: utoipa::openapi::OpenApi,
}

impl DescribedRouter {
    /// No route yet.
    fn of(info: utoipa::openapi::OpenApi) -> Self {
        Self {
            router: Router::new(),
            api: info,
        }
    }

    /// Adds routes, which share a state.
    fn with<S>(mut self, routes: OpenApiRouter<S>, state: S) -> Self
    where
        S: Clone + Send + Sync + 'static,
    {
        let (router, api) = routes.split_for_parts();
        self.api.merge(api);
        self.router = self.router.merge(router.with_state(state));
        self
    }

    /// Adds the route that serves the description.
    fn into_router(self) -> Router {
        let text = Bytes::from(self.api.to_json().expect("the description is plain data"));
        self.router.route(
            "/openapi.json",
            get(async move || body::reply("application/json", text)),
        )
    }
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

/// The routes that the control listeners of all sides share.
fn entity_routes() -> OpenApiRouter<EntityInForce> {
    audit::routes()
        .merge(audit::search::routes())
        .merge(inspections::routes())
        .merge(clock::routes())
        .merge(register::routes())
        .merge(suspensions::routes())
        .merge(losses::routes())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison vault: data",
        description = "Sector pseudonyms, for sector systems. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
)]
struct DataInfo;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison vault: control",
        description = "Epochs, releases, the audit log, for operators, authorities' nodes and auditors. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
)]
struct ControlInfo;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison authority node",
        description = "Re-identification under a signed order; custody of the key. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
)]
struct NodeInfo;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison identity source",
        description = "UTIs for the vault, counted and logged; custody of the identity secret. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
)]
struct IdentityInfo;
