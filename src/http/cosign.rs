//! The door at which the other sides (authorities' nodes, identity sources) watch the vault: each
//! submits its own checkpoints to be cosigned, and brings its cosignatures on the vault's.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use axum::routing::{get, post};

use super::admission::Lane;
use super::answer::{blocking, note};
use super::body;
use super::peer::Peer;
use super::problem::Problem;
use super::witness::{MAX_BODY, remembered, submit};
use crate::access::{self, SidePermit};
use crate::audit::cosign::Cosigners;
use crate::audit::origin::cosigner_name;
use crate::audit::seen::SeenCheckpoint;
use crate::code::Code;
use crate::entity::{Entity, EntityInForce};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::witness::Witness;

/// The state of the routes.
pub struct CosignDoor {
    /// The vault, as an entity.
    pub entity: EntityInForce,
    /// Cosigns the other sides' checkpoints.
    pub witness: Arc<Witness>,
    /// Takes the other sides' cosignatures.
    pub cosigners: Arc<Cosigners>,
}

/// The routes, at the vault's control listener. The specification of `tlog-witness` describes them.
pub(super) fn router(door: Arc<CosignDoor>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(last))
        .route("/v1/audit/cosignatures", post(take))
        .with_state(door)
}

/// C2SP `tlog-witness`, for the other sides.
async fn add_checkpoint(
    State(door): State<Arc<CosignDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let entity = door.entity.get();
    let submitted = async {
        access::side(entity.register(), peer.spki)?;
        submit(door.witness.clone(), &peer, request, entity.now()).await
    };
    match submitted.await {
        Ok(response) => Ok(response),
        Err(problem) => Err(note(&entity, &peer, "cosign", problem).await),
    }
}

/// C2SP `tlog-witness`: what the vault has seen of another side's log, for the other sides.
async fn last(
    State(door): State<Arc<CosignDoor>>,
    peer: Peer,
    Path(origin): Path<String>,
) -> Result<Response<Body>, Problem> {
    let entity = door.entity.get();
    let read = async {
        access::side(entity.register(), peer.spki)?;
        remembered(door.witness.clone(), &peer, origin).await
    };
    match read.await {
        Err(problem) if problem.code() != Code::NotFound => {
            Err(note(&entity, &peer, "cosign", problem).await)
        }
        answered => answered,
    }
}

/// Takes a note: one of the vault's checkpoints, with the other side's cosignature below it. A side
/// that has seen one which the vault's log does not contain shows it here, too.
async fn take(
    State(door): State<Arc<CosignDoor>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let entity = door.entity.get();
    let taken = async {
        let side = access::side(entity.register(), peer.spki)?;
        let bytes = body::read(&peer, Lane::Work, MAX_BODY, request.into_body()).await?;
        let (cosigners, entity) = (door.cosigners.clone(), entity.clone());
        blocking(&peer, Lane::Work, move || {
            take_cosignature(&cosigners, &entity, &side, &bytes)
        })
        .await
    };
    match taken.await {
        Ok(()) => Ok(body::reply("text/plain; charset=utf-8", "taken\n")),
        Err(problem) => Err(note(&entity, &peer, "cosign", problem).await),
    }
}

/// Takes the cosignature of the side that brings it.
fn take_cosignature(
    cosigners: &Cosigners,
    entity: &Entity,
    side: &SidePermit,
    bytes: &[u8],
) -> Result<(), Problem> {
    let malformed = |why: String| Problem::new(Code::MalformedBody).detail(why);
    let (checkpoint, _) = Checkpoint::read(bytes).map_err(|error| malformed(error.to_string()))?;
    let log = entity.log();
    let published = log.restate(&checkpoint).map_err(|error| {
        tracing::error!(%error, "the log cannot be read");
        Problem::new(Code::Internal)
    })?;
    let Some(published) = published else {
        let by = side.role.called();
        let note = bytes.to_vec();
        cosigners.shown(log, &SeenCheckpoint { by, note });
        return Err(malformed("this is not a checkpoint of this log".into()));
    };
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let lines = text.rsplit_once("\n\n").map_or("", |(_, lines)| lines);
    let name = cosigner_name(&side.role.owner(&entity.register().deployment));
    match cosigners.take(log, &published, lines, &name) {
        Ok(true) => Ok(()),
        Ok(false) => Err(malformed(
            "no line is signed by the side that brings it".into(),
        )),
        Err(why) => Err(malformed(why)),
    }
}
