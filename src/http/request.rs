//! One request, from its head to its answer: refused at once, or handed to its handler.

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use axum::http::{Request, Response, StatusCode, Version};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use tower::Service as _;

use super::admission::{Allowance, overloaded};
use super::answer::note;
use super::budget::Charge;
use super::counts::ListenerCounts;
use super::gate::Gate;
use super::peer::Peer;
use super::problem::Problem;
use super::request_body::lend;
use super::socket::SocketState;
use crate::code::Code;
use crate::entity::EntityInForce;
use crate::link::wire::{self, WIRE, WIRE_HEADER};
use crate::refusal::Refusal;

/// Answers up to this many bytes are not charged separately.
const SMALL_ANSWER: usize = 4 << 10;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The header that tells a caller the last day (UTC) of its entry in the register, where the entry
/// has one: `2027-01-31`.
pub const KEY_UNTIL: HeaderName = HeaderName::from_static("cloison-key-until");

/// The caller behind a connection.
#[derive(Clone)]
pub(super) struct Caller {
    /// None without TLS.
    pub(super) peer: Option<Peer>,
    pub(super) allowance: Arc<Allowance>,
}

/// Answers the requests of a listener, on all its connections.
pub(super) struct RequestHandler {
    pub(super) router: Router,
    /// Its register knows the callers, and its log takes refusals.
    pub(super) entity: Option<EntityInForce>,
    /// Asked about the caller of each request; none without TLS.
    pub(super) gate: Option<Arc<Gate>>,
    pub(super) counts: Arc<ListenerCounts>,
}

/// What one connection is doing, for its watchdog.
pub(super) struct Activity {
    pub(super) under_way: AtomicU32,
    begun: AtomicU64,
    socket: Arc<SocketState>,
}

impl Activity {
    pub(super) fn new(socket: Arc<SocketState>) -> Arc<Self> {
        Arc::new(Self {
            under_way: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            socket,
        })
    }

    /// How much has happened so far. The pings that keep an idle HTTP/2 connection open are too
    /// small to count.
    pub(super) fn progress(&self) -> (u64, u64) {
        (
            self.begun.load(Ordering::Relaxed),
            self.socket.written.load(Ordering::Relaxed) / 4096,
        )
    }
}

/// A request under way.
struct RequestUnderWay(Arc<Activity>);

impl RequestUnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a request, whatever happens.
pub(super) fn answer(
    handler: &Arc<RequestHandler>,
    activity: &Arc<Activity>,
    caller: &Caller,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
    let under_way = RequestUnderWay::begin(activity);
    let http1 = request.version() <= Version::HTTP_11;
    let states_wire = request.headers().contains_key(WIRE_HEADER);
    let (request, rest) = lend(request);
    let (handler, caller) = (Arc::clone(handler), caller.clone());
    async move {
        let one = caller.allowance.requests.charge(1);
        let response = match &one {
            Some(_) => handle(&handler, &caller, request).await,
            None => overloaded().into_response(),
        };
        if let Some(rest) = rest {
            // A client that was too slow with its body gets no more time.
            let is_slow = response.status() == StatusCode::REQUEST_TIMEOUT;
            if (is_slow || !rest.discard().await) && http1 {
                under_way.0.socket.lingers.store(true, Ordering::Relaxed);
            }
        }
        let mut response = charge_answer(response, &caller.allowance, one).await;
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if states_wire {
            response.headers_mut().insert(WIRE_HEADER, WIRE.into());
        }
        handler.counts.count_answer(response.status().as_u16());
        drop(under_way);
        Ok(response)
    }
}

/// Hands a request to its handler, unless a browser sent it or its caller's key is no longer
/// admitted: the connection may be older than the register in force, and outlive an entry.
async fn handle(
    handler: &RequestHandler,
    caller: &Caller,
    request: Request<Body>,
) -> Response<Body> {
    if is_of_a_browser(request.headers()) {
        return refuse(handler, caller, Problem::new(Code::BrowserRefused)).await;
    }
    let asked = caller.peer.as_ref().zip(handler.gate.as_ref());
    let standing = match asked
        .map(|(peer, gate)| gate.standing(peer.spki))
        .transpose()
    {
        Ok(standing) => standing,
        Err(refused) => return refuse(handler, caller, Refusal::from(refused).into()).await,
    };
    let mut response = match speaks(request.headers()) {
        Ok(()) => route(handler, caller, request).await,
        Err(refused) => refuse(handler, caller, refused.into()).await,
    };
    if let Some(until) = standing.and_then(|standing| standing.until)
        && let Ok(day) = HeaderValue::try_from(until.to_string())
    {
        response.headers_mut().insert(KEY_UNTIL, day);
    }
    response
}

/// Refuses a node of a version that this side would misread, or be misread by. Callers who state
/// nothing are no nodes, or nodes of 0.1, whose questions are refused for their form.
fn speaks(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(WIRE_HEADER) {
        Some(stated) => wire::check("node", Some(stated.as_bytes())),
        None => Ok(()),
    }
}

/// Refuses a request as a whole, and logs that.
async fn refuse(handler: &RequestHandler, caller: &Caller, problem: Problem) -> Response<Body> {
    match (&handler.entity, &caller.peer) {
        (Some(entity), Some(peer)) => note(&entity.get(), peer, "request", problem)
            .await
            .into_response(),
        _ => problem.into_response(),
    }
}

/// Calls the handler, and answers for it if it panics.
async fn route(
    handler: &RequestHandler,
    caller: &Caller,
    mut request: Request<Body>,
) -> Response<Body> {
    if let Some(peer) = &caller.peer {
        request.extensions_mut().insert(peer.clone());
    }
    match catch_panic(handler.router.clone().call(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            // The panic hook logged the panic's message. The caller is shown nothing of it.
            handler.counts.panics.one();
            Problem::new(Code::Internal).into_response()
        }
    }
}

/// Whether a web page made this request, in a browser that may hold an officer's certificate.
/// Browsers send `Origin` with each request that could change something, and `Sec-Fetch-Site` with
/// each that did not come from their own address bar. Programs send neither.
fn is_of_a_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        || headers
            .get_all(SEC_FETCH_SITE)
            .iter()
            .any(|site| site != "none")
}

/// Charges an answer to the caller until it is sent. A small one is covered by its request's
/// charge. A large one is counted whatever the limits say, because it is already in memory;
/// requests after it are refused instead.
async fn charge_answer(
    response: Response<Body>,
    allowance: &Allowance,
    one: Option<Charge>,
) -> Response<Body> {
    let (parts, body) = response.into_parts();
    // An answer is one piece of memory from the start.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Problem::new(Code::Internal).into_response();
    };
    let body = match one {
        _ if bytes.is_empty() => Body::empty(),
        Some(one) if bytes.len() <= SMALL_ANSWER => one.hold(bytes).into(),
        _ => allowance.answers.overdraw(bytes.len()).hold(bytes).into(),
    };
    Response::from_parts(parts, body)
}

/// Runs a future and catches its panic, so that other requests on the same connection go on.
async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}
