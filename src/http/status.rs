//! Every registered caller asks a server how it is, and what the caller may do there.

use std::sync::Arc;

use axum::extract::State;

use super::answer::{HttpAnswer, answer};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::health::Readiness;
use super::operations;
use super::peer::Peer;
use super::problem::Problem;
use crate::access::{self, MemberPermit};
use crate::code::Code;
use crate::entity::{Entity, InForce};
use crate::identity::IdentitySource;
use crate::node::Node;
use crate::status::{self, ServerCondition, StatusReport};
use crate::vault::Vault;

/// What the route needs.
pub(super) struct StatusDoor {
    side: StatusSide,
    readiness: Arc<Readiness>,
}

enum StatusSide {
    Vault(InForce<Vault>),
    Node(InForce<Node>),
    Identity(InForce<IdentitySource>),
}

impl StatusDoor {
    pub(super) fn vault(vault: &InForce<Vault>, readiness: Arc<Readiness>) -> Arc<Self> {
        Arc::new(Self {
            side: StatusSide::Vault(vault.clone()),
            readiness,
        })
    }

    pub(super) fn node(node: &InForce<Node>, readiness: Arc<Readiness>) -> Arc<Self> {
        Arc::new(Self {
            side: StatusSide::Node(node.clone()),
            readiness,
        })
    }

    pub(super) fn identity(
        source: &InForce<IdentitySource>,
        readiness: Arc<Readiness>,
    ) -> Arc<Self> {
        Arc::new(Self {
            side: StatusSide::Identity(source.clone()),
            readiness,
        })
    }

    fn condition(&self) -> ServerCondition {
        let report = self.readiness.report();
        let words = |all: std::collections::BTreeMap<&'static str, String>| {
            let owned = all.into_iter().map(|(about, why)| (about.to_owned(), why));
            owned.collect()
        };
        ServerCondition {
            reasons: words(report.reasons),
            notices: words(report.notices),
        }
    }
}

/// The route, on every listener with TLS.
pub(super) fn routes() -> OpenApiRouter<Arc<StatusDoor>> {
    with_tag(
        "status",
        OpenApiRouter::default().routes(routes!(server_status)),
    )
}

/// Tells a registered caller who they are here, what they may do, and how the server is.
///
/// What is told depends on the caller's role: a sector system learns about its own sectors, schemes
/// and quota, and which reasons keep the server from being ready; those who run or watch the server
/// also learn these reasons in words, the head of the log and its cosigners, and whether vault and
/// node are in step.
#[utoipa::path(
    get,
    path = "/v1/status",
    responses(
        (status = 200, description = "What this caller may know", body = StatusReport),
        Problem,
    ),
)]
pub(super) async fn server_status(State(door): State<Arc<StatusDoor>>, peer: Peer) -> HttpAnswer {
    match &door.side {
        StatusSide::Vault(vault) => {
            let vault = vault.get();
            answer_with(
                door,
                vault.entity().clone(),
                peer,
                move |member, condition| status::of_vault(&vault, member, condition),
            )
            .await
        }
        StatusSide::Node(node) => {
            let node = node.get();
            answer_with(
                door,
                node.entity().clone(),
                peer,
                move |member, condition| status::of_node(&node, member, condition),
            )
            .await
        }
        StatusSide::Identity(source) => {
            let source = source.get();
            answer_with(
                door,
                source.entity().clone(),
                peer,
                move |member, condition| status::of_identity(&source, member, condition),
            )
            .await
        }
    }
}

/// Answers under the register that was in force when the request began.
async fn answer_with(
    door: Arc<StatusDoor>,
    entity: Arc<Entity>,
    peer: Peer,
    report: impl FnOnce(&MemberPermit, ServerCondition) -> StatusReport + Send + 'static,
) -> HttpAnswer {
    let permit = access::member(entity.register(), peer.spki);
    answer(entity, peer, operations::STATUS, permit, move |member| {
        Ok::<_, Code>(report(member, door.condition()))
    })
    .await
}
