//! The one shape of nearly every question at a control listener: who asks gets a permit before a byte of the body is read, the
//! use case runs on a thread of its lane, outside those that serve connections, and a refusal is logged before it is answered.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::admission::Lane;
use super::audit::{Audited, Entity};
use super::body::{self, Content};
use super::node::NodeDoor;
use super::operations::{OperationBounds, bounds};
use super::{Peer, Problem};
use crate::access;
use crate::code::Code;
use crate::commit::{Job, JobLog};
use crate::vault::Vault;

/// What a handler gives back.
pub(super) type Answer = Result<Response<Body>, Problem>;

/// Where questions are put: the state of a listener's routes.
pub(super) trait Desk: Clone + Send + Sync + 'static {
    /// Whose log refusals go to.
    fn audited(&self) -> &dyn Audited;
}

impl Desk for Arc<Vault> {
    fn audited(&self) -> &dyn Audited {
        &**self
    }
}

impl Desk for Arc<NodeDoor> {
    fn audited(&self) -> &dyn Audited {
        &*self.node
    }
}

impl Desk for Entity {
    fn audited(&self) -> &dyn Audited {
        &**self
    }
}

/// Answers what is asked without a body. `operation` is what a refusal is logged as.
pub(super) async fn answer<D: Desk, P: Send + 'static, A: Serialize, Denied, Refused>(
    desk: D,
    peer: Peer,
    operation: &'static str,
    permit: Result<P, Denied>,
    work: impl FnOnce(&D, &P) -> Result<A, Refused> + Send + 'static,
) -> Answer
where
    Problem: From<Denied> + From<Refused>,
{
    let answered = async {
        let permit = permit.map_err(Problem::from)?;
        let lane = bounds(operation).lane;
        let _admitted = peer.allowance().admit(lane)?;
        let desk = desk.clone();
        blocking(&peer, lane, move || body::json(&work(&desk, &permit)?)).await
    };
    let answered = answered.await;
    close(&desk, &peer, operation, answered).await
}

/// Answers what is asked by a JSON body, which is read once there is a permit.
pub(super) async fn answer_to<D: Desk, P, Q, A: Serialize, Denied, Refused>(
    desk: D,
    peer: Peer,
    operation: &'static str,
    permit: Result<P, Denied>,
    request: Request,
    work: impl FnOnce(&D, &P, Q) -> Result<A, Refused> + Send + 'static,
) -> Answer
where
    P: Send + 'static,
    Q: DeserializeOwned + Send + 'static,
    Problem: From<Denied> + From<Refused>,
{
    let answered = async {
        let permit = permit.map_err(Problem::from)?;
        if body::content(request.headers())? != Content::Json {
            return Err(Code::UnsupportedMediaType.into());
        }
        let OperationBounds { body: limit, lane } = bounds(operation);
        let bytes = body::read(&peer, lane, limit, request.into_body()).await?;
        let desk = desk.clone();
        // The bytes are held, and charged, for as long as what was read from them.
        blocking(&peer, lane, move || body::json(&work(&desk, &permit, parse(&bytes)?)?)).await
    };
    let answered = answered.await;
    close(&desk, &peer, operation, answered).await
}

async fn close(desk: &impl Desk, peer: &Peer, operation: &'static str, answered: Answer) -> Answer {
    match answered {
        Ok(answer) => Ok(answer),
        Err(problem) => Err(note(desk.audited(), peer, operation, problem).await),
    }
}

/// Reads JSON. What is wrong in it is said by place only.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    crate::jws::read_object(bytes).map_err(|error| {
        let place = format!("see line {}, column {}", error.line(), error.column());
        Problem::new(Code::MalformedBody).detail(place)
    })
}

/// Runs a synchronous use case on a thread of a lane.
pub(super) async fn blocking<T: Send + 'static>(
    peer: &Peer,
    lane: Lane,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let thread = peer.allowance().thread(lane).await?;
    let work = move || {
        let _thread = thread;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::new(Code::Internal))?
}

/// Logs a refusal before it is answered; where it cannot be logged, that is the answer.
pub(super) async fn note(entity: &dyn Audited, peer: &Peer, operation: &'static str, problem: Problem) -> Problem {
    // Where they are not another's, these say that nothing can be logged, or that too much waits to be.
    if !entity.relays() && matches!(problem.code(), Code::AuditUnavailable | Code::Overloaded) {
        return problem;
    }
    let actor = access::actor(entity.register(), peer.spki);
    match entity.committer().submit(refused(entity, actor, operation, problem.code())) {
        Ok(pending) => match pending.noted().await {
            Ok(()) => problem,
            Err(code) => code.into(),
        },
        Err(code) => Problem::new(code).retry_after(1),
    }
}

/// What a refusal looks like in the log.
pub(super) fn refused(entity: &dyn Audited, actor: String, operation: &'static str, code: Code) -> Job {
    Job::new(JobLog::Refused { time: entity.now(), actor, operation, code }, vec![])
}
