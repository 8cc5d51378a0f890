//! Answers nearly every request at a control listener. The caller gets a permit before a byte of
//! the body is read; the use case runs on a thread of its lane, not on one that serves connections;
//! a refusal is logged before it is answered.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::admission::Lane;
use super::body::{self, ContentType};
use super::operations::ControlOperation;
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::commit::{Job, JobLog};
use crate::entity::{Entity, Role};
use crate::refusal::Refusal;

/// What a handler returns.
pub(super) type HttpAnswer = Result<Response<Body>, Problem>;

/// Answers a request without a body. `entity` logs a refusal, as one of `operation`.
pub(super) async fn answer<P: Send + 'static, A: Serialize, Denied, Refused>(
    entity: Arc<Entity>,
    peer: Peer,
    operation: ControlOperation,
    permit: Result<P, Denied>,
    work: impl FnOnce(&P) -> Result<A, Refused> + Send + 'static,
) -> HttpAnswer
where
    Problem: From<Denied> + From<Refused>,
{
    let answered = async {
        let permit = permit.map_err(Problem::from)?;
        let _admitted = peer.allowance().admit(operation.lane)?;
        blocking(&peer, operation.lane, move || body::json(&work(&permit)?)).await
    };
    let answered = answered.await;
    close(&entity, &peer, operation, answered).await
}

/// Answers a request with a JSON body, which is read once there is a permit.
pub(super) async fn answer_to<P, Q, A: Serialize, Denied, Refused>(
    entity: Arc<Entity>,
    peer: Peer,
    operation: ControlOperation,
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
        if body::content(request.headers())? != ContentType::Json {
            return Err(Code::UnsupportedMediaType.into());
        }
        let ControlOperation {
            body: limit, lane, ..
        } = operation;
        let bytes = body::read(&peer, lane, limit, request.into_body()).await?;
        // The caller may have been shut out while the body arrived.
        access::admitted(&entity, peer.spki).map_err(Refusal::from)?;
        // The bytes are held, and charged, until the use case is done.
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
    operation: ControlOperation,
    answered: HttpAnswer,
) -> HttpAnswer {
    match answered {
        Ok(answer) => Ok(answer),
        Err(problem) => Err(note(entity, peer, operation.name, problem).await),
    }
}

/// Reads JSON. A refusal names only the place of the error, not the text there.
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

/// Logs a refusal before it is answered. If it cannot be logged, the answer says that instead.
pub(super) async fn note(
    entity: &Entity,
    peer: &Peer,
    operation: &'static str,
    problem: Problem,
) -> Problem {
    // These two say that nothing can be logged, or that too much waits for it. At a node they may
    // come from the vault, and the node can log them.
    if !matches!(entity.role(), Role::Node(_))
        && matches!(problem.code(), Code::AuditUnavailable | Code::Overloaded)
    {
        return problem;
    }
    let actor = access::actor(entity.register(), peer.spki);
    match entity
        .committer()
        .submit(refusal_job(entity, actor, operation, problem.code()))
    {
        Ok(pending) => match pending.noted().await {
            Ok(()) => problem,
            Err(code) => code.into(),
        },
        Err(code) => Problem::new(code).retry_after(1),
    }
}

/// The job that logs a refusal.
pub(super) fn refusal_job(
    entity: &Entity,
    actor: String,
    operation: &'static str,
    code: Code,
) -> Job {
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
