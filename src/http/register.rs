//! The register, at the control listeners of vault and node: have it read again, and see which ones
//! were in force.

use std::sync::Arc;

use axum::extract::{Path, State};

use super::answer::{HttpAnswer, answer};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::call::EntityCall;
use super::operations;
use super::peer::Peer;
use super::problem::Problem;
use crate::access::{self, RegisterPermit};
use crate::entity::{EntityInForce, UnderRegister};
use crate::refusal::Refusal;
use crate::reload::{self, PastRegisterFiles, RegisterHistory, RegisterReload, RegisterReloaded};

type Reload = dyn Fn(&RegisterPermit) -> Result<RegisterReloaded, Refusal> + Send + Sync;

/// The state of the route that reloads: of a vault or of a node.
#[derive(Clone)]
pub struct RegisterDoor {
    entity: EntityInForce,
    reload: Arc<Reload>,
}

impl RegisterDoor {
    /// The door to a side's register.
    #[expect(
        private_bounds,
        reason = "vault and node alone can be made anew under another register"
    )]
    pub fn new<T: UnderRegister>(reload: Arc<RegisterReload<T>>) -> Self {
        Self {
            entity: reload.in_force().entity(),
            reload: Arc::new(move |permit| reload.reload(permit)),
        }
    }
}

/// The route that reloads.
pub(super) fn reload_routes() -> OpenApiRouter<RegisterDoor> {
    with_tag(
        "register",
        OpenApiRouter::default().routes(routes!(reload_register)),
    )
}

/// The routes that only read.
pub(super) fn routes() -> OpenApiRouter<EntityInForce> {
    let all = OpenApiRouter::default()
        .routes(routes!(history))
        .routes(routes!(past));
    with_tag("register", all)
}

/// The body of a request to reload. It has no members, and the server does not read it.
#[derive(Debug, Clone, Copy, utoipa::ToSchema)]
#[allow(dead_code)] // only described
pub struct ReloadNow {}

/// Reads the configured register and its signatures again, and puts them in force.
///
/// They are checked as at a start. After any fault the register before stays in force, and `detail`
/// has a line for each fault, which begins with its stable code. Operators may ask for it at the
/// vault, custodians and officers at their node: what is signed decides, not the caller.
#[utoipa::path(
    post,
    path = "/v1/register/reload",
    operation_id = "reload_register",
    request_body = ReloadNow,
    responses(
        (status = 200, description = "The register in force", body = RegisterReloaded),
        Problem,
    ),
)]
pub(super) async fn reload_register(State(door): State<RegisterDoor>, peer: Peer) -> HttpAnswer {
    let entity = door.entity.get();
    let permit = access::register_keeper(&entity, peer.spki);
    answer(
        entity,
        peer,
        operations::REGISTER_RELOAD,
        permit,
        move |permit| (door.reload)(permit),
    )
    .await
}

/// Lists every register that was in force here.
#[utoipa::path(
    get,
    path = "/v1/register/history",
    operation_id = "list_registers",
    responses(
        (status = 200, description = "The registers, the latest last", body = RegisterHistory),
        Problem,
    ),
)]
pub(super) async fn history(call: EntityCall) -> HttpAnswer {
    let permit = access::register_reader(&call.side, call.peer.spki);
    call.answer(operations::REGISTER_HISTORY, permit, reload::history)
        .await
}

/// Hands out a register that was in force here, with its signatures.
#[utoipa::path(
    get,
    path = "/v1/register/history/{version}",
    operation_id = "read_register",
    params(("version" = u64, Path, description = "Its version")),
    responses(
        (status = 200, description = "The register", body = PastRegisterFiles),
        Problem,
    ),
)]
pub(super) async fn past(call: EntityCall, Path(version): Path<String>) -> HttpAnswer {
    let permit = access::register_reader(&call.side, call.peer.spki);
    call.answer(
        operations::REGISTER_HISTORY,
        permit,
        move |entity, permit| reload::past(entity, permit, &version),
    )
    .await
}
