//! Where an authority's node watches the vault: it submits its own checkpoints to be cosigned, and brings its cosignatures on
//! the vault's.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::post;

use super::admission::Lane;
use super::answer::{blocking, note};
use super::witness::{MAX_BODY, submit};
use super::{Peer, Problem, body};
use crate::access::{self, NodePermit};
use crate::audit::cosign::Cosigners;
use crate::audit::origin::cosigner_name;
use crate::code::Code;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::witness::Witness;
use crate::vault::Vault;

/// What the routes work on.
pub struct Watching {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Cosigns the nodes' checkpoints.
    pub witness: Arc<Witness>,
    /// Takes the nodes' cosignatures.
    pub cosigners: Arc<Cosigners>,
}

/// The routes; to be merged into the vault's control listener's router.
pub fn router(watching: Arc<Watching>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/v1/audit/cosignatures", post(take))
        .with_state(watching)
}

/// C2SP `tlog-witness`, for nodes.
async fn add_checkpoint(
    State(watching): State<Arc<Watching>>,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let submitted = async {
        access::node(watching.vault.register(), peer.spki)?;
        submit(watching.witness.clone(), &peer, request, watching.vault.now()).await
    };
    match submitted.await {
        Ok(response) => Ok(response),
        Err(problem) => Err(note(&*watching.vault, &peer, "cosign", problem).await),
    }
}

/// A note: a checkpoint of the vault's, and below it the node's cosignature.
async fn take(State(watching): State<Arc<Watching>>, peer: Peer, request: Request) -> Result<Response<Body>, Problem> {
    let taken = async {
        let node = access::node(watching.vault.register(), peer.spki)?;
        let bytes = body::read(&peer, Lane::Work, MAX_BODY, request.into_body()).await?;
        let watching = watching.clone();
        blocking(&peer, Lane::Work, move || cosigned(&watching, &node, &bytes)).await
    };
    match taken.await {
        Ok(()) => Ok(body::reply("text/plain; charset=utf-8", "taken\n")),
        Err(problem) => Err(note(&*watching.vault, &peer, "cosign", problem).await),
    }
}

/// Takes a node's own cosignature.
fn cosigned(watching: &Watching, node: &NodePermit, bytes: &[u8]) -> Result<(), Problem> {
    let malformed = |why: String| Problem::new(Code::MalformedBody).detail(why);
    let (checkpoint, _) = Checkpoint::read(bytes).map_err(|error| malformed(error.to_string()))?;
    let log = watching.vault.log();
    let published = log.restate(&checkpoint).map_err(|error| {
        tracing::error!(%error, "the log cannot be read");
        Problem::new(Code::Internal)
    })?;
    let published = published.ok_or_else(|| malformed("this is no checkpoint of this log".into()))?;
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let lines = text.rsplit_once("\n\n").map_or("", |(_, lines)| lines);
    let name = cosigner_name(&format!("{}/node/{}", watching.vault.register().deployment, node.authority.id));
    match watching.cosigners.take(log, &published, lines, &name) {
        Ok(true) => Ok(()),
        Ok(false) => Err(malformed("no line is by the node that brings it".into())),
        Err(why) => Err(malformed(why)),
    }
}
