//! How nearly every request at a control listener is answered: the caller gets a permit before a
//! byte of the body is read; the use case runs on a thread of its lane, outside those that serve
//! connections; a refusal is logged before it is answered.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::admission::Lane;
use super::body::{self, Content};
use super::operations::{OperationBounds, bounds};
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::commit::{Job, JobLog};
use crate::entity::{Entity, Role};

/// What a handler gives back.
pub(super) type HttpAnswer = Result<Response<Body>, Problem>;

/// Answers what is asked without a body. A refusal is logged by `entity`, as one of `operation`.
pub(super) async fn answer<P: Send + 'static, A: Serialize, Denied, Refused>(
    entity: Arc<Entity>,
    peer: Peer,
    operation: &'static str,
    permit: Result<P, Denied>,
    work: impl FnOnce(&P) -> Result<A, Refused> + Send + 'static,
) -> HttpAnswer
where
    Problem: From<Denied> + From<Refused>,
{
    let answered = async {
        let permit = permit.map_err(Problem::from)?;
        let lane = bounds(operation).lane;
        let _admitted = peer.allowance().admit(lane)?;
        blocking(&peer, lane, move || body::json(&work(&permit)?)).await
    };
    let answered = answered.await;
    close(&entity, &peer, operation, answered).await
}

/// Answers what is asked by a JSON body, which is read once there is a permit.
pub(super) async fn answer_to<P, Q, A: Serialize, Denied, Refused>(
    entity: Arc<Entity>,
    peer: Peer,
    operation: &'static str,
    permit: Result<P, Denied>,
    request: Request,
    work: impl FnOnce(&P, Q) -> Result<A, Refused> + Send + 'static,
) -> HttpAnswer
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
        // The bytes are held, and charged, for as long as what was read from them.
        blocking(&peer, lane, move || {
            body::json(&work(&permit, parse(&bytes)?)?)
        })
        .await
    };
    let answered = answered.await;
    close(&entity, &peer, operation, answered).await
}

async fn close(
    entity: &Entity,
    peer: &Peer,
    operation: &'static str,
    answered: HttpAnswer,
) -> HttpAnswer {
    match answered {
        Ok(answer) => Ok(answer),
        Err(problem) => Err(note(entity, peer, operation, problem).await),
    }
}

/// Reads JSON. What is wrong in it is said by place only.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    crate::json::read_object(bytes).map_err(|error| {
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
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem::new(Code::Internal))?
}

/// Logs a refusal before it is answered; where it cannot be logged, that is the answer.
pub(super) async fn note(
    entity: &Entity,
    peer: &Peer,
    operation: &'static str,
    problem: Problem,
) -> Problem {
    // From the vault, these say that nothing can be logged, or that too much waits to be. A node
    // may pass them on from the vault.
    if *entity.role() == Role::Vault
        && matches!(problem.code(), Code::AuditUnavailable | Code::Overloaded)
    {
        return problem;
    }
    let actor = access::actor(entity.register(), peer.spki);
    match entity
        .committer()
        .submit(refused(entity, actor, operation, problem.code()))
    {
        Ok(pending) => match pending.noted().await {
            Ok(()) => problem,
            Err(code) => code.into(),
        },
        Err(code) => Problem::new(code).retry_after(1),
    }
}

/// What a refusal looks like in the log.
pub(super) fn refused(entity: &Entity, actor: String, operation: &'static str, code: Code) -> Job {
    Job::new(
        JobLog::Refused {
            time: entity.now(),
            actor,
            operation,
            code,
        },
        vec![],
    )
}
