//! Backups, at the control listeners of vault and node. The server's configuration names the place;
//! a caller names no path.

use std::sync::Arc;

use axum::extract::{Request, State};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{HttpAnswer, answer, answer_to};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::operations::{self, ControlOperation};
use super::peer::Peer;
use super::problem::Problem;
use crate::access::{self, BackupPermit};
use crate::backup::keeper::{BackupKeeper, CreateBackup, PruneBackups, VerifyBackup};
use crate::backup::prune::PrunedBackups;
use crate::backup::view::{BackupJobView, BackupList};
use crate::code::Code;
use crate::entity::EntityInForce;
use crate::refusal::Refusal;

/// The state of the routes.
#[derive(Clone)]
pub struct BackupDoor {
    entity: EntityInForce,
    keeper: Option<Arc<BackupKeeper>>,
}

impl BackupDoor {
    /// The door to a server's backups; without a keeper every request is refused.
    pub fn new(entity: EntityInForce, keeper: Option<Arc<BackupKeeper>>) -> Self {
        Self { entity, keeper }
    }

    fn keeper(&self) -> Result<Arc<BackupKeeper>, Refusal> {
        self.keeper.clone().ok_or_else(|| {
            let why = "the server's configuration has no [backup]";
            Refusal::new(Code::BackupUnavailable, why)
        })
    }
}

/// The routes, at either side.
pub(super) fn routes() -> OpenApiRouter<BackupDoor> {
    let all = OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(verify))
        .routes(routes!(prune));
    with_tag("backups", all)
}

/// Has the keeper do what the body of a request asks for.
async fn asked_of_keeper<Q, A>(
    door: BackupDoor,
    peer: Peer,
    operation: ControlOperation,
    request: Request,
    work: impl FnOnce(&BackupKeeper, &BackupPermit, Q) -> Result<A, Refusal> + Send + 'static,
) -> HttpAnswer
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize,
{
    let entity = door.entity.get();
    let permit = access::backup_keeper(&entity, peer.spki);
    let work = move |permit: &BackupPermit, asked| work(&*door.keeper()?, permit, asked);
    answer_to(entity, peer, operation, permit, request, work).await
}

/// Lists the backups and the work on them. Operators may ask for it at the vault, custodians at
/// their node; so for the other operations on backups.
#[utoipa::path(
    get,
    path = "/v1/backups",
    operation_id = "list_backups",
    responses((status = 200, description = "The backups", body = BackupList), Problem),
)]
pub(super) async fn list(State(door): State<BackupDoor>, peer: Peer) -> HttpAnswer {
    let entity = door.entity.get();
    let permit = access::backup_keeper(&entity, peer.spki);
    answer(
        entity,
        peer,
        operations::BACKUP_LIST,
        permit,
        move |permit| Ok::<_, Refusal>(door.keeper()?.list(permit)),
    )
    .await
}

/// Begins to take a backup. The answer comes at once; the list says how far it is.
#[utoipa::path(
    post,
    path = "/v1/backups",
    operation_id = "create_backup",
    request_body = CreateBackup,
    responses((status = 200, description = "The work that began", body = BackupJobView), Problem),
)]
pub(super) async fn create(
    State(door): State<BackupDoor>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    asked_of_keeper(
        door,
        peer,
        operations::BACKUP_CREATE,
        request,
        BackupKeeper::create,
    )
    .await
}

/// Begins to verify a backup: hashes, signature, format, columns, the whole log. The answer comes
/// at once; the list says how far it is.
#[utoipa::path(
    post,
    path = "/v1/backups/verify",
    operation_id = "verify_backup",
    request_body = VerifyBackup,
    responses((status = 200, description = "The work that began", body = BackupJobView), Problem),
)]
pub(super) async fn verify(
    State(door): State<BackupDoor>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    asked_of_keeper(
        door,
        peer,
        operations::BACKUP_VERIFY,
        request,
        BackupKeeper::verify,
    )
    .await
}

/// Removes the backups that no rule of the server's configuration keeps.
#[utoipa::path(
    post,
    path = "/v1/backups/prune",
    operation_id = "prune_backups",
    request_body = PruneBackups,
    responses((status = 200, description = "What was removed", body = PrunedBackups), Problem),
)]
pub(super) async fn prune(
    State(door): State<BackupDoor>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    asked_of_keeper(
        door,
        peer,
        operations::BACKUP_PRUNE,
        request,
        BackupKeeper::prune,
    )
    .await
}
