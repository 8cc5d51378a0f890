//! Migrations. Officers ask for them at the node's control listener, nodes at the vault's. Sector
//! systems fetch their pairs at the data listener, and retire epochs there.

use axum::extract::{Path, Request};
use axum::http::Uri;
use serde::Deserialize;
use uuid::Uuid;

use super::answer::HttpAnswer;
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::body::{self, SectorPath};
use super::call::{NodeCall, VaultCall};
use super::node_door::NodeRoutes;
use super::operations;
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::entity::InForce;
use crate::epoch::retire::{self, RetireEpochRequest, RetiredEpoch};
use crate::migrate::pairs::{
    self, NamedOrder, PairsAcknowledgement, PairsRemoved, SealedPages, WaitingMigrations,
};
use crate::migrate::{
    EpochPage, EpochPageRequest, MigrateRequest, MigrateResponse, MigrationProgress, OpenedPage,
    at_node, hand_out, take,
};
use crate::register::{Id, Operation};
use crate::vault::Vault;

/// The routes of the vault's control listener.
pub(super) fn vault_routes() -> OpenApiRouter<InForce<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(migration_page))
        .routes(routes!(hand_back));
    with_tag("migrations", all)
}

/// The routes of the vault's data listener.
pub(super) fn data_routes() -> OpenApiRouter<InForce<Vault>> {
    let all = OpenApiRouter::default()
        .routes(routes!(list_migrations))
        .routes(routes!(fetch_pairs, acknowledge_pairs))
        .routes(routes!(retire_epoch));
    with_tag("migrations", all)
}

/// The routes of the node's control listener.
pub(super) fn node_routes() -> OpenApiRouter<NodeRoutes> {
    let all = OpenApiRouter::default().routes(routes!(migrate));
    with_tag("migrations", all)
}

/// Migrates the next page of an epoch, under an order for continuity.
#[utoipa::path(
    post,
    path = "/v1/migrations",
    request_body = MigrateRequest,
    responses(
        (status = 200, description = "How far the migration has come, as counts only", body = MigrateResponse),
        Problem,
    ),
)]
pub(super) async fn migrate(call: NodeCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::officer);
    call.answer_to(
        operations::MIGRATE,
        permit,
        request,
        |door, permit, asked: &MigrateRequest| {
            at_node::ask(&door.node, permit, asked, &*door.vault)
        },
    )
    .await
}

/// Hands the next page of an epoch's mappings to an authority's node, still sealed, under an order
/// for continuity.
#[utoipa::path(
    post,
    path = "/v1/migrations/pages",
    request_body = EpochPageRequest,
    responses(
        (status = 200, description = "Sealed mappings and their segments; none when all is migrated", body = EpochPage),
        Problem,
    ),
)]
pub(super) async fn migration_page(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::node);
    call.answer_to(
        operations::MIGRATION_PAGE,
        permit,
        request,
        hand_out::hand_out,
    )
    .await
}

/// Takes back the identifiers of a page, and makes the pairs.
#[utoipa::path(
    post,
    path = "/v1/migrations/identifiers",
    request_body = OpenedPage,
    responses(
        (status = 200, description = "New mappings and sealed pairs are stored; how far the migration has come", body = MigrationProgress),
        Problem,
    ),
)]
pub(super) async fn hand_back(call: VaultCall, request: Request) -> HttpAnswer {
    let permit = call.permit(access::node);
    call.answer_to(operations::MIGRATION_TAKE, permit, request, take::take)
        .await
}

/// Lists the migrations whose pairs wait for this client.
#[utoipa::path(
    get,
    path = "/v1/sectors/{sector}/migrations",
    params(("sector" = String, Path, description = "Sector name")),
    responses(
        (status = 200, description = "The migrations, by their order's id", body = WaitingMigrations),
        Problem,
    ),
)]
pub(super) async fn list_migrations(call: VaultCall, SectorPath(sector): SectorPath) -> HttpAnswer {
    let permit = access::in_sector(&call.side, call.peer.spki, &sector, Operation::Migrate);
    call.answer(operations::MIGRATION_LIST, permit, pairs::list)
        .await
}

/// The query for a page of pairs: where to continue, and whose order it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    #[serde(default)]
    after: u32,
    authority: Option<Id>,
}

/// The query of an acknowledgement: whose order it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityQuery {
    authority: Option<Id>,
}

/// Fetches some pages of an order's sealed pairs.
#[utoipa::path(
    get,
    path = "/v1/sectors/{sector}/migrations/{order}",
    params(
        ("sector" = String, Path, description = "Sector name"),
        ("order" = String, Path, description = "The order's id"),
        ("after" = Option<u32>, Query, description = "Only pages after this one"),
        ("authority" = Option<String>, Query, description = "The order's authority, if two have an order of this id"),
    ),
    responses(
        (status = 200, description = "Pages of pairs, sealed to the client's `migration-key`", body = SealedPages),
        Problem,
    ),
)]
pub(super) async fn fetch_pairs(
    call: VaultCall,
    Path((sector, order)): Path<(String, String)>,
    uri: Uri,
) -> HttpAnswer {
    let permit = access::in_sector(&call.side, call.peer.spki, &sector, Operation::Migrate)
        .map_err(Problem::from);
    let asked = permit.and_then(|permit| {
        let PageQuery { after, authority } = body::query(&uri)?;
        Ok((
            permit,
            NamedOrder {
                id: order_id(&order)?,
                authority,
            },
            after,
        ))
    });
    call.answer(
        operations::MIGRATION_FETCH,
        asked,
        move |vault, (permit, order, after)| pairs::fetch(vault, permit, order, *after),
    )
    .await
}

/// Acknowledges an order's pairs, up to a page. The vault deletes them.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/migrations/{order}",
    params(
        ("sector" = String, Path, description = "Sector name"),
        ("order" = String, Path, description = "The order's id"),
        ("authority" = Option<String>, Query, description = "The order's authority, if two have an order of this id"),
    ),
    request_body = PairsAcknowledgement,
    responses(
        (status = 200, description = "What was deleted", body = PairsRemoved),
        Problem,
    ),
)]
pub(super) async fn acknowledge_pairs(
    call: VaultCall,
    Path((sector, order)): Path<(String, String)>,
    uri: Uri,
    request: Request,
) -> HttpAnswer {
    let permit = access::in_sector(&call.side, call.peer.spki, &sector, Operation::Migrate)
        .map_err(Problem::from);
    let asked = permit.and_then(|permit| {
        let AuthorityQuery { authority } = body::query(&uri)?;
        Ok((
            permit,
            NamedOrder {
                id: order_id(&order)?,
                authority,
            },
        ))
    });
    call.answer_to(
        operations::MIGRATION_ACKNOWLEDGE,
        asked,
        request,
        move |vault, (permit, order), has: &PairsAcknowledgement| {
            pairs::acknowledge(vault, permit, order, has.page)
        },
    )
    .await
}

/// Retires a closed epoch: deletes its mappings for good. An operator signs a statement for it.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/epochs/{epoch}/retire",
    params(
        ("sector" = String, Path, description = "Sector name"),
        ("epoch" = u32, Path, description = "The epoch"),
    ),
    request_body = RetireEpochRequest,
    responses(
        (status = 200, description = "What was deleted, or would be with `dry_run`", body = RetiredEpoch),
        Problem,
    ),
)]
pub(super) async fn retire_epoch(
    call: VaultCall,
    Path((sector, epoch)): Path<(String, String)>,
    request: Request,
) -> HttpAnswer {
    let asked = access::in_sector(&call.side, call.peer.spki, &sector, Operation::RetireEpoch)
        .and_then(|permit| Ok((permit, epoch.parse().map_err(|_| Code::DomainClosed)?)));
    call.answer_to(
        operations::EPOCH_RETIRE,
        asked,
        request,
        move |vault, (permit, epoch), how: &RetireEpochRequest| {
            retire::retire(vault, permit, *epoch, how)
        },
    )
    .await
}

/// Reads an order's id from a path. Text that is not an id names no order.
fn order_id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::new(Code::UnknownOrder))
}
