//! The log for those who follow it, at the control listeners of every side; and at the vault, the
//! other sides' logs, which they bring because the vault never dials for that.
//!
//! A follower says what it holds and gets what comes next, or waits a while for it. Another side
//! says the same to the vault the other way round. Entries leave sealed under the owner's journal
//! key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::admission::{Lane, overloaded};
use super::answer::{HttpAnswer, blocking, note};
use super::api_routes::{OpenApiRouter, routes, with_tag};
use super::body;
use super::limits::MOST_OFFER;
use super::peer::Peer;
use super::problem::Problem;
use crate::access::{self, SidePermit};
use crate::code::Code;
use crate::entity::{Entity, EntityInForce, TakenHeld};
use crate::journal::followed::FollowFault;
use crate::journal::followed_logs::FollowedLogs;
use crate::journal::offer::{JournalOffer, MOST_HELD};
use crate::refusal::{Refusal, fault};
use crate::register::SpkiDigest;
use crate::system::lock::unpoisoned;

/// The name of both operations in the log.
const NAME: &str = "follow";
/// How long a request waits for something new, in seconds.
const LONGEST_WAIT: u64 = 20;
/// How many requests of one certificate wait at once.
const WAITING: usize = 4;
/// The content type of offers.
const BYTES: &str = "application/octet-stream";

/// What the routes need.
pub struct FollowDoor {
    entity: EntityInForce,
    /// The logs that this side keeps for others.
    followed: Option<Arc<FollowedLogs>>,
    /// Wakes requests that wait.
    news: watch::Sender<OfferNews>,
    /// Certificate → how many of its requests wait.
    waiting: Mutex<BTreeMap<SpkiDigest, usize>>,
}

impl FollowDoor {
    /// The door of an entity, which keeps those logs for others.
    pub fn new(entity: EntityInForce, followed: Option<Arc<FollowedLogs>>) -> Arc<Self> {
        let news = watch::Sender::new(OfferNews::default());
        let waker = news.clone();
        let listener = move |has_ended| {
            waker.send_modify(|news| {
                news.offers += 1;
                news.has_ended |= has_ended;
            });
        };
        entity.get().log().on_offers(Box::new(listener));
        Arc::new(Self {
            entity,
            followed,
            news,
            waiting: Mutex::default(),
        })
    }

    /// Lets a request of a certificate wait, while not too many do.
    fn wait(self: &Arc<Self>, caller: SpkiDigest) -> Result<WaitingRequest, Problem> {
        let mut waiting = unpoisoned(self.waiting.lock());
        let count = waiting.entry(caller).or_default();
        if *count >= WAITING {
            return Err(overloaded());
        }
        *count += 1;
        let door = self.clone();
        Ok(WaitingRequest { door, caller })
    }
}

/// What wakes requests that wait.
#[derive(Default)]
struct OfferNews {
    /// How many checkpoints were offered since the start.
    offers: u64,
    /// Whether the process ends.
    has_ended: bool,
}

/// A request that waits for something new.
struct WaitingRequest {
    door: Arc<FollowDoor>,
    caller: SpkiDigest,
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        let mut waiting = unpoisoned(self.door.waiting.lock());
        if let Some(count) = waiting.get_mut(&self.caller) {
            *count -= 1;
        }
        waiting.retain(|_, count| *count > 0);
    }
}

/// The route at either side.
pub(super) fn routes() -> OpenApiRouter<Arc<FollowDoor>> {
    with_tag("audit", OpenApiRouter::default().routes(routes!(fetch)))
}

/// The further route at the vault.
pub(super) fn vault_routes() -> OpenApiRouter<Arc<FollowDoor>> {
    with_tag("audit", OpenApiRouter::default().routes(routes!(bring)))
}

/// How long to wait.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    wait: Option<u64>,
}

/// Hands out what a follower lacks of the log, sealed, and takes its word for what it holds.
///
/// The body is what it holds: `cloison held 1`, and below it the last checkpoint with its
/// signature, or nothing. The answer is an offer (`cloison offer 1`); 204 where nothing new came
/// while the request waited. For auditors and nodes; at the vault for operators, at a node for the
/// custodians of its authority.
#[utoipa::path(
    post,
    path = "/v1/journal",
    operation_id = "follow_log",
    params(("wait" = Option<u64>, Query, description = "Seconds to wait for something new; 20 at most, and unless stated")),
    request_body(content = String, content_type = "text/plain"),
    responses(
        (status = 200, description = "Entries up to a checkpoint, sealed", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 204, description = "Nothing new came"),
        Problem,
    ),
)]
pub(super) async fn fetch(
    State(door): State<Arc<FollowDoor>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let entity = door.entity.get();
    let fetched = async {
        access::follower(&entity, peer.spki)?;
        let query: WaitQuery = body::query(request.uri())?;
        let wait = Duration::from_secs(query.wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT));
        let bytes = body::read(&peer, Lane::Work, MOST_HELD, request.into_body()).await?;
        let (by, taking) = (access::actor(entity.register(), peer.spki), entity.clone());
        let taken = move || Ok(taking.take_held(&by, &bytes)?);
        let held = blocking(&peer, Lane::Work, taken).await?;
        next_offer(&door, &peer, held, Instant::now() + wait).await
    };
    match fetched.await {
        Ok(answer) => Ok(answer),
        Err(problem) => Err(note(&entity, &peer, NAME, problem).await),
    }
}

/// What comes behind `held`, or an empty answer if nothing has come until `end`.
async fn next_offer(
    door: &Arc<FollowDoor>,
    peer: &Peer,
    held: TakenHeld,
    end: Instant,
) -> HttpAnswer {
    let mut news = door.news.subscribe();
    let mut waiting = None;
    loop {
        let has_ended = news.borrow_and_update().has_ended;
        let entity = door.entity.get();
        // The caller may have been shut out while the request waited.
        access::follower(&entity, peer.spki)?;
        access::admitted(&entity, peer.spki).map_err(Refusal::from)?;
        let held = held.clone();
        let find = move || Ok(entity.offer(&held)?);
        if let Some(offer) = blocking(peer, Lane::Work, find).await? {
            return Ok(body::reply(BYTES, offer.to_bytes()));
        }
        if has_ended || Instant::now() >= end {
            let mut nothing = Response::new(Body::empty());
            *nothing.status_mut() = StatusCode::NO_CONTENT;
            return Ok(nothing);
        }
        if waiting.is_none() {
            waiting = Some(door.wait(peer.spki)?);
        }
        tokio::select! {
            _ = news.changed() => {}
            () = sleep_until(end) => {}
        }
    }
}

/// Takes entries of the caller's own log, sealed, and answers with what the vault holds of it.
///
/// The body is an offer, or empty: then the vault only answers what it holds.
#[utoipa::path(
    post,
    path = "/v1/journal/offers",
    operation_id = "bring_log",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "What is held: the last checkpoint, and the vault's word for it", body = String, content_type = "text/plain"),
        Problem,
    ),
)]
pub(super) async fn bring(
    State(door): State<Arc<FollowDoor>>,
    peer: Peer,
    request: Request,
) -> HttpAnswer {
    let entity = door.entity.get();
    let brought = async {
        let permit = access::side(entity.register(), peer.spki)?;
        let followed = door.followed.clone().ok_or(Code::NotFound)?;
        let bytes = body::read(&peer, Lane::Offers, MOST_OFFER, request.into_body()).await?;
        access::admitted(&entity, peer.spki).map_err(Refusal::from)?;
        let entity = entity.clone();
        let take = move || Ok(take_offer(&entity, &followed, &permit, &bytes)?);
        blocking(&peer, Lane::Offers, take).await
    };
    match brought.await {
        Ok(held) => Ok(body::reply("text/plain; charset=utf-8", held)),
        // A vault that keeps no log for others is asked again and again.
        Err(problem) if problem.code() == Code::NotFound => Err(problem),
        Err(problem) => Err(note(&entity, &peer, NAME, problem).await),
    }
}

/// Takes an offer of the log of that side.
fn take_offer(
    entity: &Entity,
    followed: &FollowedLogs,
    permit: &SidePermit,
    bytes: &[u8],
) -> Result<String, Refusal> {
    let (register, role) = (entity.register(), &permit.role);
    let Some(key) = role.checkpoint_key(register) else {
        let why = "the register states no key of this side's log";
        return Err(Refusal::new(Code::Forbidden, why));
    };
    let owner = role.owner(&register.deployment);
    take_offer_of((&owner, &key), followed, bytes, entity.now())
}

/// Takes an offer of the log of an owner, whose checkpoints the key beside it signs, and answers
/// with what is held then. Empty bytes only ask.
pub(super) fn take_offer_of(
    log: (&str, &VerifyingKey),
    followed: &FollowedLogs,
    bytes: &[u8],
    now: Timestamp,
) -> Result<String, Refusal> {
    let offer = (!bytes.is_empty()).then(|| JournalOffer::parse(bytes));
    let offer = offer.transpose();
    let offer = offer.map_err(|error| Refusal::new(Code::MalformedBody, error.to_string()))?;
    let held = followed.take(log, offer.as_ref(), now);
    held.map(|held| held.text())
        .map_err(|fault| refusal(&fault))
}

fn refusal(found: &FollowFault) -> Refusal {
    match found {
        FollowFault::Full(_) => {
            tracing::warn!(%found, "another's log is not kept");
            Refusal::unavailable(Code::AuditUnavailable).come_back_in(30)
        }
        FollowFault::Surfeit { .. } => {
            tracing::warn!(%found, "another's log is not kept");
            let why = "no more of this log is taken today (UTC)";
            Refusal::new(Code::LogLimit, why).come_back_in(600)
        }
        FollowFault::Folder(_)
        | FollowFault::Damaged(_)
        | FollowFault::Unreadable { .. }
        | FollowFault::Away(_) => fault("another's log cannot be kept")(found),
        FollowFault::Forked { .. } => {
            tracing::error!(%found, "another's log is not the one that was followed");
            let why = "the checkpoint does not continue what is held of this log";
            Refusal::new(Code::ProofInvalid, why)
        }
        FollowFault::Foreign(_) | FollowFault::Unfit(_) => {
            Refusal::new(Code::MalformedBody, found.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn who_brought_all_that_a_day_takes_is_told_when_to_come_back() {
        let place = "place".to_owned();
        let surfeit = FollowFault::Surfeit { place, bytes: 9 };
        let answer = Problem::from(refusal(&surfeit)).into_response();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()[RETRY_AFTER], "600");
    }
}
