//! The authority node's control listener: officers re-identify.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::{get, post};

use super::control::{blocking, read_json};
use super::{Peer, Problem, acts, body, openapi};
use crate::access;

use crate::commit::{Job, Logged};
use crate::node::Node;
use crate::reidentify::deliver::{self, Sealed};
use crate::reidentify::reveal::{self, Revealed, VaultLink};
use crate::reidentify::{Asked, Delivery};

/// The node's listener's state.
pub struct NodeDoor {
    /// The node.
    pub node: Arc<Node>,
    /// The way to the vault.
    pub vault: Arc<dyn VaultLink>,
}

/// The node's control listener's router.
pub fn router(door: Arc<NodeDoor>) -> Router {
    Router::new()
        .route("/v1/reidentifications", post(reidentify))
        .merge(acts::node_routes())
        .with_state(door)
        .route("/openapi.json", get(openapi::node))
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
        (
            status = "4XX", description = "Refused; `code` says why",
            body = super::problem::ProblemBody<'static>, content_type = "application/problem+json",
        ),
        (
            status = "5XX", description = "Not now; `code` says why",
            body = super::problem::ProblemBody<'static>, content_type = "application/problem+json",
        ),
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
            None => body::json(&reveal::ask(&door.node, &permit, &asked, &*door.vault)?),
            Some(Delivery::OfficerKey) => body::json(&deliver::ask_sealed(&door.node, &permit, &asked, &*door.vault)?),
        };
        blocking(answer).await
    };
    match revealed.await {
        Ok(answer) => Ok(answer),
        Err(problem) => Err(note(&door.node, peer, "reidentify", problem).await),
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
