//! The data listener: sector systems ask for pseudonyms.
//!
//! `POST /v1/sectors/{sector}/pseudonyms`, in JSON or as text, one identifier a line. Bodies are
//! charged as they arrive; a caller with more under way than its share is answered 503 at once.

mod json;
mod niceness;
pub mod quota_fields;
mod text;

pub use json::JsonBatch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;

use super::admission::{Lane, overloaded};
use super::answer::{blocking, note};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::body::{self, ContentType, SectorPath};
use super::limits::MAX_BATCH;
use super::peer::Peer;
use super::problem::Problem;
use crate::access;
use crate::code::Code;
use crate::commit::{Committer, Job, STALL};
use crate::entity::InForce;
use crate::keys::Uti;
use crate::metrics::{Counter, Registry};
use crate::refusal::Refusal;
use crate::register::SpkiDigest;
use crate::tokenize::BegunBatch;
use crate::utis::PendingUtis;
use crate::vault::Vault;

/// Larger bodies are worked on outside the threads that serve connections.
const INLINE: usize = 8 << 10;

/// The data listener's state.
pub struct DataDoor {
    vault: InForce<Vault>,
    accepted: Arc<Counter>,
    rejected: Arc<Counter>,
    refused: Arc<Counter>,
}

impl DataDoor {
    /// A door to a vault.
    pub fn new(vault: InForce<Vault>, registry: &Registry) -> Arc<Self> {
        Arc::new(Self {
            vault,
            accepted: registry.counter(
                "cloison_identifiers_accepted_total",
                "Identifiers answered",
                None,
            ),
            rejected: registry.counter(
                "cloison_identifiers_rejected_total",
                "Identifiers rejected",
                None,
            ),
            refused: registry.counter(
                "cloison_batches_refused_total",
                "Tokenization requests refused",
                None,
            ),
        })
    }

    pub(super) fn vault(&self) -> &InForce<Vault> {
        &self.vault
    }
}

/// The route that needs a [`DataDoor`].
pub(super) fn routes() -> OpenApiRouter<Arc<DataDoor>> {
    with_tag("data", OpenApiRouter::default().routes(routes!(tokenize)))
}

/// Derives pseudonyms for a batch of identifiers.
///
/// The answer keeps the order of the request. A bad identifier is `null` and has an entry in
/// `errors`; it does not fail the others. The answer goes out once everything that it says is
/// durable.
#[utoipa::path(
    post,
    path = "/v1/sectors/{sector}/pseudonyms",
    params(
        ("sector" = String, Path, description = "Sector name"),
        ("scheme" = Option<String>, Query, description = "text/plain only: the identifiers' scheme"),
        ("purpose" = Option<String>, Query, description = "text/plain only: the purpose's code"),
        ("epoch" = Option<u32>, Query, description = "text/plain only: the epoch to answer in"),
        ("period" = Option<String>, Query, description = "text/plain only: the period to answer in"),
        ("previous" = Option<bool>, Query, description = "Also the previous epoch's pseudonyms, while its overlap lasts"),
    ),
    request_body(
        content(
            (json::JsonBatch = "application/json"),
            (String = "text/plain", example = "AB123456\nBE9876\n"),
        ),
    ),
    responses(
        (
            status = 200, description = "The pseudonyms, in the order of the request",
            content((json::Pseudonyms = "application/json"), (String = "text/plain")),
            headers(
                ("ratelimit-policy" = String, description = "What the register grants the organisation: policy `second`, a bucket \
                    of ten seconds' worth, and policy `day`; `q` items in `w` seconds (draft-ietf-httpapi-ratelimit-headers-10)"),
                ("ratelimit" = String, description = "What is left: for each policy `r` items now, and `t` seconds until all of \
                    it is there again. Both depend on how many items were sent, and on nothing else"),
            ),
        ),
        Problem,
    ),
)]
pub(super) async fn tokenize(
    State(door): State<Arc<DataDoor>>,
    SectorPath(sector): SectorPath,
    peer: Peer,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let vault = door.vault.get();
    match answer(&door, &vault, &peer, &sector, request).await {
        Ok(response) => Ok(response),
        Err(problem) => {
            door.refused.one();
            Err(note(&vault, &peer, "tokenize", problem).await)
        }
    }
}

async fn answer(
    door: &DataDoor,
    vault: &Arc<Vault>,
    peer: &Peer,
    sector: &str,
    request: Request,
) -> Result<Response<Body>, Problem> {
    if vault.is_short_of_space() {
        return Err(Problem::new(Code::AuditUnavailable).retry_after(30));
    }
    // While the disk hangs, an admitted request would wait forever.
    if !responds(vault.committer()).await {
        return Err(Problem::new(Code::AuditUnavailable).retry_after(5));
    }
    // Comes before the body is read, so that an unknown caller costs nothing more.
    access::client(vault.register(), peer.spki)?;
    let content = body::content(request.headers())?;
    // Comes before any work and before the quota, so that what waits for the writer is bounded too.
    if vault.committer().is_full() {
        return Err(overloaded());
    }
    let (parts, body) = request.into_parts();
    let bytes = body::read(peer, Lane::Batches, MAX_BATCH, body).await?;
    // The caller may have been shut out while the body arrived.
    access::admitted(vault, peer.spki).map_err(Refusal::from)?;

    let prepared = if bytes.len() <= INLINE {
        // Where an identity source derives, the thread serves other connections meanwhile.
        let (begun, utis) = begin(vault, peer.spki, sector, &parts.uri, content, &bytes)?;
        finish(vault, begun, content, utis.arrived().await)?
    } else {
        let (vault, sector, spki, bytes) =
            (vault.clone(), sector.to_owned(), peer.spki, bytes.clone());
        let work = move || {
            niceness::step_back();
            let (begun, utis) = begin(&vault, spki, &sector, &parts.uri, content, &bytes)?;
            finish(&vault, begun, content, utis.wait())
        };
        blocking(peer, Lane::Batches, work).await?
    };
    // The body stays charged until now, because what waits for the writer came from it.
    let answer = commit_and_reply(door, vault, prepared).await;
    drop(bytes);
    answer
}

/// Whether the writer commits. If it is stalled, waits for it to commit again for up to [`STALL`],
/// the time in which a stall is noticed.
async fn responds(committer: &Committer) -> bool {
    let began = Instant::now();
    while committer.stalled().is_some() {
        if began.elapsed() > STALL {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

/// An answer that goes out once its job is durable.
struct PreparedAnswer {
    job: Job,
    accepted: u64,
    rejected: u64,
    reply: Response<Body>,
}

/// A batch of a client.
type ClientBatch = BegunBatch<access::TokenizePermit>;

fn begin(
    vault: &Vault,
    peer: SpkiDigest,
    sector: &str,
    uri: &axum::http::Uri,
    content: ContentType,
    bytes: &Bytes,
) -> Result<(ClientBatch, PendingUtis), Problem> {
    match content {
        ContentType::Json => json::begin(vault, peer, sector, uri, bytes),
        ContentType::Text => text::begin(vault, peer, sector, uri, bytes),
    }
}

fn finish(
    vault: &Vault,
    begun: ClientBatch,
    content: ContentType,
    utis: Result<Vec<Uti>, Refusal>,
) -> Result<PreparedAnswer, Problem> {
    let (answer, job) = begun.finish(vault, utis)?;
    let mut reply = match content {
        ContentType::Json => body::reply("application/json", json::write(&answer)),
        ContentType::Text => body::reply("text/plain; charset=utf-8", text::write(&answer)),
    };
    quota_fields::tell(reply.headers_mut(), &answer.left);
    Ok(PreparedAnswer {
        job,
        accepted: answer.pseudonyms.len() as u64,
        rejected: answer.errors.len() as u64,
        reply,
    })
}

/// Waits for the writer, and only then answers.
async fn commit_and_reply(
    door: &DataDoor,
    vault: &Vault,
    prepared: PreparedAnswer,
) -> Result<Response<Body>, Problem> {
    let busy = |code| Problem::new(code).retry_after(1);
    vault
        .committer()
        .submit(prepared.job)
        .map_err(busy)?
        .durable()
        .await
        .map_err(busy)?;
    door.accepted.add(prepared.accepted);
    door.rejected.add(prepared.rejected);
    Ok(prepared.reply)
}

/// Gets the permit for a batch.
fn permit(
    vault: &Vault,
    peer: SpkiDigest,
    sector: &str,
    scheme: &str,
    purpose: Option<&str>,
) -> Result<access::TokenizePermit, Problem> {
    access::tokenize(vault, peer, sector, scheme, purpose).map_err(Problem::new)
}
