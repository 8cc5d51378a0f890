//! The authority node's control listener: officers re-identify, auditors read the log.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::{get, post};

use super::control::{blocking, read_json};
use super::{Peer, Problem, audit, body, openapi};
use crate::access;

use crate::commit::{Job, Logged};
use crate::node::Node;
use crate::reidentify::Asked;
use crate::reidentify::reveal::{self, Revealed, VaultLink};

/// The node's listener's state.
pub struct NodeDoor {
    /// The node.
    pub node: Arc<Node>,
    /// The way to the vault.
    pub vault: Arc<dyn VaultLink>,
}

/// The node's control listener's router.
pub fn router(door: Arc<NodeDoor>) -> Router {
    let node = door.node.clone();
    Router::new()
        .route("/v1/reidentifications", post(reidentify))
        .with_state(door)
        .route("/openapi.json", get(openapi::node))
        .merge(audit::router(node))
}

/// Who is behind these pseudonyms, under an order.
#[utoipa::path(
    post,
    path = "/v1/reidentifications",
    request_body = Asked,
    responses(
        (status = 200, description = "An identifier or a code for each pseudonym", body = Revealed),
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
        blocking(move || reveal::ask(&door.node, &permit, &asked, &*door.vault).map_err(Problem::from)).await
    };
    match revealed.await {
        Ok(revealed) => body::json(&revealed),
        Err(problem) => Err(note(&door.node, peer, problem).await),
    }
}

async fn note(node: &Node, peer: Peer, problem: Problem) -> Problem {
    let log = Logged::Refused {
        time: node.now(),
        actor: access::actor(node.register(), peer.spki),
        operation: "reidentify",
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
