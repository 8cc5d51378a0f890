//! A request at a control listener: what answers it, and who asks. A handler takes one, gets a
//! permit from the authoriser, and names the use case.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{HttpAnswer, answer, answer_to};
use super::identity_door::IdentityDoor;
use super::node_door::NodeDoor;
use super::operations::ControlOperation;
use super::peer::Peer;
use super::problem::Problem;
use crate::code::Code;
use crate::entity::Entity;
use crate::id::Id;
use crate::register::{Register, SpkiDigest};
use crate::vault::Vault;

/// A request at a control listener.
pub(super) struct ControlCall<T> {
    /// What answers it, under the register that was in force when the request began.
    pub(super) side: Arc<T>,
    /// Who asks.
    pub(super) peer: Peer,
}

/// A request that the vault answers.
pub(super) type VaultCall = ControlCall<Vault>;
/// A request that the authority node answers.
pub(super) type NodeCall = ControlCall<NodeDoor>;
/// A request that the identity source answers.
pub(super) type IdentityCall = ControlCall<IdentityDoor>;
/// A request that any side answers.
pub(super) type EntityCall = ControlCall<Entity>;

/// What answers requests, and logs those that it refuses.
pub(super) trait AnsweringSide: Send + Sync + 'static {
    /// The entity in whose log a refusal stands.
    fn entity(self: &Arc<Self>) -> Arc<Entity>;
}

impl AnsweringSide for Vault {
    fn entity(self: &Arc<Self>) -> Arc<Entity> {
        Vault::entity(self).clone()
    }
}

impl AnsweringSide for NodeDoor {
    fn entity(self: &Arc<Self>) -> Arc<Entity> {
        self.node.entity().clone()
    }
}

impl AnsweringSide for IdentityDoor {
    fn entity(self: &Arc<Self>) -> Arc<Entity> {
        self.source.entity().clone()
    }
}

impl AnsweringSide for Entity {
    fn entity(self: &Arc<Self>) -> Arc<Entity> {
        self.clone()
    }
}

impl<T: AnsweringSide> ControlCall<T> {
    /// Answers a request without a body.
    pub(super) async fn answer<P: Send + 'static, A: Serialize, Denied, Refused>(
        self,
        operation: ControlOperation,
        permit: Result<P, Denied>,
        work: impl FnOnce(&T, &P) -> Result<A, Refused> + Send + 'static,
    ) -> HttpAnswer
    where
        Problem: From<Denied> + From<Refused>,
    {
        let Self { side, peer } = self;
        let work = {
            let side = side.clone();
            move |permit: &P| work(&side, permit)
        };
        answer(side.entity(), peer, operation, permit, work).await
    }

    /// Answers a request with a JSON body, which is read once there is a permit.
    pub(super) async fn answer_to<P, Q, A: Serialize, Denied, Refused>(
        self,
        operation: ControlOperation,
        permit: Result<P, Denied>,
        request: Request,
        work: impl FnOnce(&T, &P, &Q) -> Result<A, Refused> + Send + 'static,
    ) -> HttpAnswer
    where
        P: Send + 'static,
        Q: DeserializeOwned + Send + 'static,
        Problem: From<Denied> + From<Refused>,
    {
        let Self { side, peer } = self;
        let work = {
            let side = side.clone();
            move |permit: &P, asked: Q| work(&side, permit, &asked)
        };
        answer_to(side.entity(), peer, operation, permit, request, work).await
    }
}

impl VaultCall {
    /// What the authoriser says of the caller, by the vault's register.
    pub(super) fn permit<P>(
        &self,
        of: fn(&Register, SpkiDigest) -> Result<P, Code>,
    ) -> Result<P, Code> {
        of(self.side.register(), self.peer.spki)
    }
}

impl NodeCall {
    /// What the authoriser says of the caller, by the node's register and for its authority.
    pub(super) fn permit<P>(
        &self,
        of: fn(&Register, &Id, SpkiDigest) -> Result<P, Code>,
    ) -> Result<P, Code> {
        let node = &self.side.node;
        of(node.register(), &node.authority().id, self.peer.spki)
    }
}

impl IdentityCall {
    /// What the authoriser says of the caller, by the source's register and for this source.
    pub(super) fn permit<P>(
        &self,
        of: fn(&Register, &Id, SpkiDigest) -> Result<P, Code>,
    ) -> Result<P, Code> {
        let source = &self.side.source;
        of(source.register(), &source.registered().id, self.peer.spki)
    }
}

impl EntityCall {
    /// What the authoriser says of the caller, by the register of this side.
    pub(super) fn permit<P>(
        &self,
        of: fn(&Register, SpkiDigest) -> Result<P, Code>,
    ) -> Result<P, Code> {
        of(self.side.register(), self.peer.spki)
    }
}

impl<S: Send + Sync, T> FromRequestParts<S> for ControlCall<T>
where
    Arc<T>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self {
            peer: Peer::from_request_parts(parts, state).await?,
            side: Arc::from_ref(state),
        })
    }
}
