//! The authority node's control listener: officers re-identify, custodians unseal, auditors read the log.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use serde::Serialize;

use super::answer::{Answer, answer, answer_to};
use super::{Peer, Problem, acts, audit, clock, migrations, openapi, rights, segments};
use crate::access;
use crate::code::Code;
use crate::keys::shares::{Share, ShareText};
use crate::link::VaultLink;
use crate::node::Node;
use crate::node::safe::Purpose;
use crate::reidentify::deliver::{self, SealedResponse};
use crate::reidentify::resumed::{self, ResumeAcknowledgement, ResumedLogs};
use crate::reidentify::reveal::{self, ReidentifyResponse};
use crate::reidentify::{Delivery, ReidentifyRequest};
use crate::unseal::{SealStatus, UnsealProgress};

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
        .route("/v1/seal", get(status).post(seal))
        .route("/v1/shares", post(unseal))
        .route("/v1/drills", post(drill))
        .route("/v1/resumes", get(resumes).post(acknowledge_resume))
        .merge(acts::node_routes())
        .merge(clock::node_routes())
        .merge(migrations::node_routes())
        .merge(rights::node_routes())
        .merge(segments::node_routes())
        .with_state(door)
        .route("/openapi.json", get(openapi::node))
        .merge(audit::router(node))
}

/// What the node answers.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum ReidentifyAnswer {
    Clear(ReidentifyResponse),
    Sealed(SealedResponse),
}

/// Who is behind these pseudonyms, under an order.
#[utoipa::path(
    post,
    path = "/v1/reidentifications",
    request_body = ReidentifyRequest,
    responses(
        (
            status = 200, description = "An identifier or a code for each pseudonym; with `to` the same, sealed",
            body = inline(ReidentifyAnswer),
        ),
        Problem,
    ),
)]
pub(super) async fn reidentify(State(door): State<Arc<NodeDoor>>, peer: Peer, request: Request) -> Answer {
    let permit = access::officer(door.node.register(), &door.node.authority().id, peer.spki);
    answer_to(door, peer, "reidentify", permit, request, |door, permit, asked: ReidentifyRequest| {
        let vault = &*door.vault;
        match asked.to {
            None => reveal::ask(&door.node, permit, &asked, vault).map(ReidentifyAnswer::Clear),
            Some(Delivery::OfficerKey) => {
                deliver::ask_sealed(&door.node, permit, &asked, vault).map(ReidentifyAnswer::Sealed)
            }
        }
    })
    .await
}

/// Takes a custodian's share towards unsealing.
#[utoipa::path(
    post,
    path = "/v1/shares",
    request_body = ShareText,
    responses(
        (status = 200, description = "The share was taken; how many there are now", body = UnsealProgress),
        Problem,
    ),
)]
pub(super) async fn unseal(State(door): State<Arc<NodeDoor>>, peer: Peer, request: Request) -> Answer {
    bring(door, peer, request, Purpose::Unseal, "unseal").await
}

/// Takes a custodian's share for a drill, which proves that shares make the key and opens nothing.
#[utoipa::path(
    post,
    path = "/v1/drills",
    request_body = ShareText,
    responses(
        (status = 200, description = "The share was taken; how many there are now", body = UnsealProgress),
        Problem,
    ),
)]
pub(super) async fn drill(State(door): State<Arc<NodeDoor>>, peer: Peer, request: Request) -> Answer {
    bring(door, peer, request, Purpose::Drill, "drill").await
}

async fn bring(door: Arc<NodeDoor>, peer: Peer, request: Request, purpose: Purpose, operation: &'static str) -> Answer {
    let permit = access::custodian(door.node.register(), &door.node.authority().id, peer.spki);
    answer_to(door, peer, operation, permit, request, move |door, permit, text: ShareText| {
        let share = Share::try_from(text).map_err(|_| Problem::new(Code::ShareInvalid))?;
        crate::unseal::bring(&door.node, permit, share, purpose).map_err(Problem::from)
    })
    .await
}

/// Whether the node is sealed, and how many shares were brought.
#[utoipa::path(
    get,
    path = "/v1/seal",
    responses(
        (status = 200, description = "How it stands with each key", body = SealStatus),
        Problem,
    ),
)]
pub(super) async fn status(State(door): State<Arc<NodeDoor>>, peer: Peer) -> Answer {
    let permit = access::sealer(door.node.register(), &door.node.authority().id, peer.spki);
    answer(door, peer, "seal-status", permit, |door, permit| Ok::<_, Code>(crate::unseal::status(&door.node, permit)))
        .await
}

/// The logs of the vault that lost entries at a restore, and whether that was acknowledged here.
#[utoipa::path(
    get,
    path = "/v1/resumes",
    responses(
        (status = 200, description = "As the vault's log proves it", body = ResumedLogs),
        Problem,
    ),
)]
pub(super) async fn resumes(State(door): State<Arc<NodeDoor>>, peer: Peer) -> Answer {
    let permit = access::resumer(door.node.register(), &door.node.authority().id, peer.spki);
    answer(door, peer, "resume-list", permit, |door, _| resumed::list(&door.node, &*door.vault)).await
}

/// Acknowledges that a log of the vault lost entries at a restore: from then on the node opens again.
#[utoipa::path(
    post,
    path = "/v1/resumes",
    request_body = ResumeAcknowledgement,
    responses(
        (status = 200, description = "Acknowledged, durably", body = ResumedLogs),
        Problem,
    ),
)]
pub(super) async fn acknowledge_resume(State(door): State<Arc<NodeDoor>>, peer: Peer, request: Request) -> Answer {
    let permit = access::resumer(door.node.register(), &door.node.authority().id, peer.spki);
    answer_to(door, peer, "resume-acknowledge", permit, request, |door, permit, asked: ResumeAcknowledgement| {
        resumed::acknowledge(&door.node, permit, &asked, &*door.vault)
    })
    .await
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
        (status = 200, description = "The node is sealed", body = SealStatus),
        Problem,
        (
            status = "5XX", description = "Sealed, but that could not be logged",
            body = super::problem::ProblemBody<'static>, content_type = "application/problem+json",
        ),
    ),
)]
pub(super) async fn seal(State(door): State<Arc<NodeDoor>>, peer: Peer) -> Answer {
    let permit = access::sealer(door.node.register(), &door.node.authority().id, peer.spki);
    answer(door, peer, "seal", permit, |door, permit| crate::unseal::seal(&door.node, permit)).await
}
