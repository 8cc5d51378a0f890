//! The vault's control listener: operations advance epochs, authorities' nodes ask for releases, auditors read the log.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::body::{self, Content, SectorName};
use super::{Peer, Problem, acts, audit, data, migrations, openapi, rights, secrets, segments};
use crate::access;
use crate::code::Code;
use crate::epoch::{self, EpochView};
use crate::order::Refusal;
use crate::reidentify::{Release, ReleaseRequest, release};
use crate::vault::Vault;

/// Most bytes of a request's body: an order, an officer's request and 10 000 pseudonyms.
const MAX_BODY: usize = 4 << 20;

/// The control listener's router.
pub fn router(vault: Arc<Vault>) -> Router {
    Router::new()
        .route("/v1/sectors/{sector}/epochs", get(list_epochs).post(advance_epoch))
        .route("/v1/releases", post(release_mappings))
        .merge(acts::vault_routes())
        .merge(migrations::vault_routes())
        .merge(rights::vault_routes())
        .merge(segments::vault_routes())
        .merge(secrets::routes())
        .with_state(vault.clone())
        .route("/openapi.json", get(openapi::vault))
        .merge(audit::router(vault))
}

/// How to advance an epoch.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// Whether the new epoch gets a version of the sector secret of its own, so that it can be destroyed.
    #[serde(default)]
    pub own_secret: bool,
}

/// The epochs of a sector.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Epochs {
    /// Sector name.
    pub sector: String,
    /// Oldest first.
    pub epochs: Vec<EpochView>,
}

/// The epochs of a sector, oldest first.
#[utoipa::path(
    get,
    path = "/v1/sectors/{sector}/epochs",
    params(("sector" = String, Path, description = "Sector name")),
    responses(
        (status = 200, description = "The epochs, oldest first", body = Epochs),
        Problem,
    ),
)]
pub(super) async fn list_epochs(
    State(vault): State<Arc<Vault>>,
    SectorName(sector): SectorName,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    let listed = access::operator(vault.register(), peer.spki)
        .and_then(|permit| epoch::list(&vault, &permit, &sector))
        .map_err(Problem::new);
    match listed {
        Ok(epochs) => body::json(&Epochs { sector, epochs }),
        Err(problem) => Err(note(&vault, peer, "epoch-list", problem).await),
    }
}

/// Opens the next epoch of a sector.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/epochs",
    params(("sector" = String, Path, description = "Sector name")),
    request_body = Advance,
    responses(
        (status = 200, description = "The epochs, oldest first", body = Epochs),
        Problem,
    ),
)]
pub(super) async fn advance_epoch(
    State(vault): State<Arc<Vault>>,
    SectorName(sector): SectorName,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let advanced = async {
        let permit = access::operator(vault.register(), peer.spki)?;
        let advance: Advance = read_json(request).await?;
        let (vault, name) = (vault.clone(), sector.clone());
        blocking(move || epoch::advance(&vault, &permit, &name, advance.own_secret).map_err(Problem::new)).await
    };
    match advanced.await {
        Ok(epochs) => body::json(&Epochs { sector, epochs }),
        Err(problem) => Err(note(&vault, peer, "epoch-advance", problem).await),
    }
}

/// Releases sealed mappings to an authority's node, under an order.
#[utoipa::path(
    post,
    path = "/v1/releases",
    request_body = ReleaseRequest,
    responses(
        (status = 200, description = "Sealed mappings and their segments", body = Release),
        Problem,
    ),
)]
pub(super) async fn release_mappings(
    State(vault): State<Arc<Vault>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let released = async {
        let permit = access::node(vault.register(), peer.spki)?;
        let asked: ReleaseRequest = read_json(request).await?;
        let vault = vault.clone();
        blocking(move || release::release(&vault, &permit, &asked).map_err(Problem::from)).await
    };
    match released.await {
        Ok(release) => body::json(&release),
        Err(problem) => Err(note(&vault, peer, "release", problem).await),
    }
}

/// Reads a JSON body. What is wrong in it is said by place only.
pub(super) async fn read_json<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Problem> {
    if body::content(request.headers())? != Content::Json {
        return Err(Code::UnsupportedMediaType.into());
    }
    let bytes = body::read(request.into_body(), MAX_BODY).await?;
    crate::jws::read_object(&bytes).map_err(|error| {
        let place = format!("see line {}, column {}", error.line(), error.column());
        Problem::new(Code::MalformedBody).detail(place)
    })
}

/// Runs a synchronous use case outside the threads that serve connections.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::new(Code::Internal))?
}

/// Logs a refusal before it is answered; where it cannot be logged, that is the answer.
pub(super) async fn note(vault: &Vault, peer: Peer, operation: &'static str, problem: Problem) -> Problem {
    // These say that nothing can be logged, or that too much waits to be.
    if matches!(problem.code(), Code::AuditUnavailable | Code::Overloaded) {
        return problem;
    }
    let job = data::refused(vault, peer, operation, problem.code());
    match vault.committer().submit(job) {
        Ok(pending) => match pending.noted().await {
            Ok(()) => problem,
            Err(code) => code.into(),
        },
        Err(code) => Problem::new(code).retry_after(1),
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Problem::new(refusal.code()).detail(refusal.why().to_owned());
        match refusal.retry_after() {
            Some(seconds) => problem.retry_after(seconds),
            None => problem,
        }
    }
}
