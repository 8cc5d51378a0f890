//! The authority node's control listener: officers re-identify, custodians unseal, auditors read the log.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::{get, post};

use super::control::{blocking, read_json};
use super::{Peer, Problem, acts, audit, body, migrations, openapi, rights, segments};
use crate::access;
use crate::code::Code;
use crate::commit::{Job, Logged};
use crate::keys::shares::{Share, ShareText};
use crate::migrate::MigrationLink;
use crate::node::Node;
use crate::node::safe::Purpose;
use crate::reidentify::deliver::{self, Sealed};
use crate::reidentify::reveal::{self, Revealed};
use crate::reidentify::{Asked, Delivery};
use crate::renewal::SegmentsLink;
use crate::unseal::{Progress, Status};

/// The node's listener's state.
pub struct NodeDoor {
    /// The node.
    pub node: Arc<Node>,
    /// The way to the vault.
    pub vault: Arc<dyn MigrationLink>,
    /// The way to the vault's segments.
    pub segments: Arc<dyn SegmentsLink>,
}

/// The node's control listener's router.
pub fn router(door: Arc<NodeDoor>) -> Router {
    let node = door.node.clone();
    Router::new()
        .route("/v1/reidentifications", post(reidentify))
        .route("/v1/seal", get(status).post(seal))
        .route("/v1/shares", post(unseal))
        .route("/v1/drills", post(drill))
        .merge(acts::node_routes())
        .merge(migrations::node_routes())
        .merge(rights::node_routes())
        .merge(segments::node_routes())
        .with_state(door)
        .route("/openapi.json", get(openapi::node))
        .merge(audit::router(node))
}

/// What the node answers, for the description.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // only described
enum Answer {
    Clear(Revealed),
    Sealed(Sealed),
}

/// Who is behind these pseudonyms, under an order.
#[utoipa::path(
    post,
    path = "/v1/reidentifications",
    request_body = Asked,
    responses(
        (
            status = 200, description = "An identifier or a code for each pseudonym; with `to` the same, sealed",
            body = inline(Answer),
        ),
        Problem,
    ),
)]
pub(super) async fn reidentify(
    State(door): State<Arc<NodeDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let revealed = async {
        let permit = access::officer(door.node.register(), &door.node.authority().id, peer.spki)?;
        let asked: Asked = read_json(request).await?;
        let door = door.clone();
        let answer = move || match asked.to {
            None => body::json(&reveal::ask(&door.node, &permit, &asked, door.vault.as_vault())?),
            Some(Delivery::OfficerKey) => {
                body::json(&deliver::ask_sealed(&door.node, &permit, &asked, door.vault.as_vault())?)
            }
        };
        blocking(answer).await
    };
    match revealed.await {
        Ok(answer) => Ok(answer),
        Err(problem) => Err(note(&door.node, peer, "reidentify", problem).await),
    }
}

/// Takes a custodian's share towards unsealing.
#[utoipa::path(
    post,
    path = "/v1/shares",
    request_body = ShareText,
    responses(
        (status = 200, description = "The share was taken; how many there are now", body = Progress),
        Problem,
    ),
)]
pub(super) async fn unseal(
    State(door): State<Arc<NodeDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    bring(&door, peer, request, Purpose::Unseal).await
}

/// Takes a custodian's share for a drill, which proves that shares make the key and opens nothing.
#[utoipa::path(
    post,
    path = "/v1/drills",
    request_body = ShareText,
    responses(
        (status = 200, description = "The share was taken; how many there are now", body = Progress),
        Problem,
    ),
)]
pub(super) async fn drill(
    State(door): State<Arc<NodeDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    bring(&door, peer, request, Purpose::Drill).await
}

async fn bring(
    door: &Arc<NodeDoor>,
    peer: Peer,
    request: Request,
    purpose: Purpose,
) -> Result<Response<Body>, Problem> {
    let brought = async {
        let permit = access::custodian(door.node.register(), &door.node.authority().id, peer.spki)?;
        let text: ShareText = read_json(request).await?;
        let share = Share::try_from(text).map_err(|_| Problem::new(Code::ShareInvalid))?;
        let door = door.clone();
        blocking(move || crate::unseal::bring(&door.node, &permit, share, purpose).map_err(Problem::from)).await
    };
    match brought.await {
        Ok(progress) => body::json(&progress),
        Err(problem) => {
            let operation = if purpose == Purpose::Drill { "drill" } else { "unseal" };
            Err(note(&door.node, peer, operation, problem).await)
        }
    }
}

/// Whether the node is sealed, and how many shares were brought.
#[utoipa::path(
    get,
    path = "/v1/seal",
    responses(
        (status = 200, description = "How it stands with each key", body = Status),
        Problem,
    ),
)]
pub(super) async fn status(State(door): State<Arc<NodeDoor>>, peer: Peer) -> Result<Response<Body>, Problem> {
    let permit = match access::sealer(door.node.register(), &door.node.authority().id, peer.spki) {
        Ok(permit) => permit,
        Err(code) => return Err(note(&door.node, peer, "seal-status", code.into()).await),
    };
    // A ceremony may be held while an entry becomes durable.
    let door = door.clone();
    body::json(&blocking(move || Ok(crate::unseal::status(&door.node, &permit))).await?)
}

/// What sealing takes: nothing, and whatever is sent is not looked at.
#[derive(Debug, Clone, Copy, utoipa::ToSchema)]
#[allow(dead_code)]
pub struct SealNow {}

/// Seals the node: every key is wiped, at once.
#[utoipa::path(
    post,
    path = "/v1/seal",
    request_body = SealNow,
    responses(
        (status = 200, description = "The node is sealed", body = Status),
        Problem,
        (
            status = "5XX", description = "Sealed, but that could not be logged",
            body = super::problem::ProblemBody<'static>, content_type = "application/problem+json",
        ),
    ),
)]
pub(super) async fn seal(State(door): State<Arc<NodeDoor>>, peer: Peer) -> Result<Response<Body>, Problem> {
    let sealed = async {
        let permit = access::sealer(door.node.register(), &door.node.authority().id, peer.spki)?;
        let door = door.clone();
        blocking(move || crate::unseal::seal(&door.node, &permit).map_err(Problem::from)).await
    };
    match sealed.await {
        Ok(status) => body::json(&status),
        Err(problem) => Err(note(&door.node, peer, "seal", problem).await),
    }
}

/// Logs a refusal before it is answered; where it cannot be logged, that is the answer.
pub(super) async fn note(node: &Node, peer: Peer, operation: &'static str, problem: Problem) -> Problem {
    let log = Logged::Refused {
        time: node.now(),
        actor: access::actor(node.register(), peer.spki),
        operation,
        code: problem.code(),
    };
    match node.committer().submit(Job { mappings: vec![], changes: vec![], count: None, log }) {
        Ok(pending) => match pending.noted().await {
            Ok(()) => problem,
            Err(code) => code.into(),
        },
        Err(code) => Problem::new(code).retry_after(1),
    }
}
