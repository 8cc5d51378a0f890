//! Migrations: officers at the node's control listener, nodes at the vault's, and sector systems at the data listener, who fetch
//! their pairs and say when an epoch may go.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, Uri};
use axum::routing::{get, post};
use serde::Deserialize;
use uuid::Uuid;

use super::body::SectorName;
use super::control::{blocking, note as note_at_vault, read_json};
use super::node::{NodeDoor, note as note_at_node};
use super::{Peer, Problem, body};
use crate::access;
use crate::code::Code;
use crate::epoch::retire::{self, Retire, Retired};
use crate::migrate::pairs::{self, Acknowledge, Acknowledged, Migrations, SealedPages};
use crate::migrate::{Handed, Migrated, MigrationAsked, Page, PageRequest, Taken, at_node, hand_out, take};
use crate::register::Operation;
use crate::vault::Vault;

/// The routes of the vault's control listener.
pub(super) fn vault_routes() -> Router<Arc<Vault>> {
    Router::new()
        .route("/v1/migrations/pages", post(migration_page))
        .route("/v1/migrations/identifiers", post(hand_back))
}

/// The routes of the vault's data listener.
pub(super) fn data_routes() -> Router<Arc<Vault>> {
    Router::new()
        .route("/v1/sectors/{sector}/migrations", get(list_migrations))
        .route("/v1/sectors/{sector}/migrations/{order}", get(fetch_pairs).post(acknowledge_pairs))
        .route("/v1/sectors/{sector}/epochs/{epoch}/retire", post(retire_epoch))
}

/// The routes of the node's control listener.
pub(super) fn node_routes() -> Router<Arc<NodeDoor>> {
    Router::new().route("/v1/migrations", post(migrate))
}

/// Migrates the next page of an epoch, under an order for continuity.
#[utoipa::path(
    post,
    path = "/v1/migrations",
    request_body = MigrationAsked,
    responses(
        (status = 200, description = "How far it has come; counts and nothing else", body = Migrated),
        Problem,
    ),
)]
pub(super) async fn migrate(
    State(door): State<Arc<NodeDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let migrated = async {
        let permit = access::officer(door.node.register(), &door.node.authority().id, peer.spki)?;
        let asked: MigrationAsked = read_json(request).await?;
        let door = door.clone();
        blocking(move || at_node::ask(&door.node, &permit, &asked, &*door.vault).map_err(Problem::from)).await
    };
    match migrated.await {
        Ok(migrated) => body::json(&migrated),
        Err(problem) => Err(note_at_node(&door.node, peer, "migrate", problem).await),
    }
}

/// Hands the next page of an epoch's mappings to an authority's node, still sealed, under an order for continuity.
#[utoipa::path(
    post,
    path = "/v1/migrations/pages",
    request_body = PageRequest,
    responses(
        (status = 200, description = "Sealed mappings and their segments; none when all is migrated", body = Page),
        Problem,
    ),
)]
pub(super) async fn migration_page(
    State(vault): State<Arc<Vault>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let handed_out = async {
        let permit = access::node(vault.register(), peer.spki)?;
        let asked: PageRequest = read_json(request).await?;
        let vault = vault.clone();
        blocking(move || hand_out::hand_out(&vault, &permit, &asked).map_err(Problem::from)).await
    };
    match handed_out.await {
        Ok(page) => body::json(&page),
        Err(problem) => Err(note_at_vault(&vault, peer, "migration-page", problem).await),
    }
}

/// Takes the identifiers of a page back, and makes the pairs.
#[utoipa::path(
    post,
    path = "/v1/migrations/identifiers",
    request_body = Handed,
    responses(
        (status = 200, description = "New mappings and sealed pairs are stored; how far it has come", body = Taken),
        Problem,
    ),
)]
pub(super) async fn hand_back(
    State(vault): State<Arc<Vault>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let taken = async {
        let permit = access::node(vault.register(), peer.spki)?;
        let handed: Handed = read_json(request).await?;
        let vault = vault.clone();
        blocking(move || take::take(&vault, &permit, &handed).map_err(Problem::from)).await
    };
    match taken.await {
        Ok(taken) => body::json(&taken),
        Err(problem) => Err(note_at_vault(&vault, peer, "migration-take", problem).await),
    }
}

/// The migrations whose pairs wait for this client.
#[utoipa::path(
    get,
    path = "/v1/sectors/{sector}/migrations",
    params(("sector" = String, Path, description = "Sector name")),
    responses(
        (status = 200, description = "By the order's id", body = Migrations),
        Problem,
    ),
)]
pub(super) async fn list_migrations(
    State(vault): State<Arc<Vault>>,
    SectorName(sector): SectorName,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    let listed = async {
        let permit = access::in_sector(&vault, peer.spki, &sector, Operation::Migrate)?;
        let vault = vault.clone();
        blocking(move || pairs::list(&vault, &permit).map_err(Problem::from)).await
    };
    match listed.await {
        Ok(migrations) => body::json(&migrations),
        Err(problem) => Err(note_at_vault(&vault, peer, "migration-list", problem).await),
    }
}

/// Where to go on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u32,
}

/// Sealed pairs of an order, some pages of them.
#[utoipa::path(
    get,
    path = "/v1/sectors/{sector}/migrations/{order}",
    params(
        ("sector" = String, Path, description = "Sector name"),
        ("order" = String, Path, description = "The order's id"),
        ("after" = Option<u32>, Query, description = "Only pages behind this one"),
    ),
    responses(
        (status = 200, description = "Pages of pairs, sealed to the client's `migration-key`", body = SealedPages),
        Problem,
    ),
)]
pub(super) async fn fetch_pairs(
    State(vault): State<Arc<Vault>>,
    Path((sector, order)): Path<(String, String)>,
    peer: Peer,
    uri: Uri,
) -> Result<Response<Body>, Problem> {
    let fetched = async {
        let permit = access::in_sector(&vault, peer.spki, &sector, Operation::Migrate)?;
        let (order, After { after }) = (order_id(&order)?, body::query(&uri)?);
        let vault = vault.clone();
        blocking(move || pairs::fetch(&vault, &permit, order, after).map_err(Problem::from)).await
    };
    match fetched.await {
        Ok(pages) => body::json(&pages),
        Err(problem) => Err(note_at_vault(&vault, peer, "migration-fetch", problem).await),
    }
}

/// Says that the client has an order's pairs, up to a page; they are taken away.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/migrations/{order}",
    params(
        ("sector" = String, Path, description = "Sector name"),
        ("order" = String, Path, description = "The order's id"),
    ),
    request_body = Acknowledge,
    responses(
        (status = 200, description = "What was taken away", body = Acknowledged),
        Problem,
    ),
)]
pub(super) async fn acknowledge_pairs(
    State(vault): State<Arc<Vault>>,
    Path((sector, order)): Path<(String, String)>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let acknowledged = async {
        let permit = access::in_sector(&vault, peer.spki, &sector, Operation::Migrate)?;
        let (order, has): (_, Acknowledge) = (order_id(&order)?, read_json(request).await?);
        let vault = vault.clone();
        blocking(move || pairs::acknowledge(&vault, &permit, order, has.page).map_err(Problem::from)).await
    };
    match acknowledged.await {
        Ok(acknowledged) => body::json(&acknowledged),
        Err(problem) => Err(note_at_vault(&vault, peer, "migration-acknowledge", problem).await),
    }
}

/// Retires a closed epoch: its mappings are taken away, for good.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/epochs/{epoch}/retire",
    params(
        ("sector" = String, Path, description = "Sector name"),
        ("epoch" = u32, Path, description = "The epoch"),
    ),
    request_body = Retire,
    responses(
        (status = 200, description = "What went, or with `dry_run` would go", body = Retired),
        Problem,
    ),
)]
pub(super) async fn retire_epoch(
    State(vault): State<Arc<Vault>>,
    Path((sector, epoch)): Path<(String, String)>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let retired = async {
        let permit = access::in_sector(&vault, peer.spki, &sector, Operation::RetireEpoch)?;
        let epoch: u32 = epoch.parse().map_err(|_| Problem::new(Code::DomainClosed))?;
        let how: Retire = read_json(request).await?;
        let vault = vault.clone();
        blocking(move || retire::retire(&vault, &permit, epoch, how).map_err(Problem::new)).await
    };
    match retired.await {
        Ok(retired) => body::json(&retired),
        Err(problem) => Err(note_at_vault(&vault, peer, "epoch-retire", problem).await),
    }
}

/// An order's id in a path. What is none is an order that nobody knows.
fn order_id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::new(Code::UnknownOrder))
}
