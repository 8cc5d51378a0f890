//! One connection, from the accepted socket to its end.

use std::any::Any;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::stall::Stalling;
use super::{Problem, body, tls};
use crate::code::Code;
use crate::metrics::{Counter, Gauge, Registry};
use crate::register::SpkiDigest;

/// The most bytes of a request's head. Ours have a few hundred.
const MAX_HEAD: usize = 16 * 1024;

/// Who is at the other end: a handler's first argument. Taken from the connection's certificate, which descends from the
/// pinned authority and is in date; whether the register knows it is for the handler to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// SHA-256 of the certificate's public key.
    pub spki: SpkiDigest,
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Peer>().copied().ok_or(Problem::new(Code::UnknownClient))
    }
}

/// What a listener grants to those who come.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; one more is closed as it comes.
    pub connections: usize,
    /// Connections at once with one and the same key.
    pub per_peer: usize,
    /// Handshakes at once: more strangers than this are closed as they come, and nobody who is inside feels it.
    pub handshakes: usize,
    /// Time for a handshake.
    pub handshake: Duration,
    /// Time for which a connection may have nothing to do: after one to two of these it is asked to close, and what has
    /// not sent a whole head by then is cut.
    pub idle: Duration,
    /// Time for which an answer may lie unread.
    pub stall: Duration,
    /// Age at which a connection is asked to close, so that a certificate's end is noticed.
    pub age: Duration,
    /// Time that requests under way have once the connection is to close.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            per_peer: 256,
            handshakes: 128,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            age: Duration::from_secs(3600),
            drain: Duration::from_secs(20),
        }
    }
}

/// What happens at a listener, for `/metrics`.
struct Counts {
    open: Arc<Gauge>,
    accepted: Arc<Counter>,
    refused: Arc<Counter>,
    failed_handshakes: Arc<Counter>,
    panics: Arc<Counter>,
    /// By the first digit of the status: 2, 4, 5; whatever else comes is counted with 5.
    answers: [Arc<Counter>; 3],
}

impl Counts {
    fn new(registry: &Registry, listener: &str) -> Self {
        let label = Some(("listener", listener));
        let answers = [
            ("cloison_http_answers_total", "Requests answered with a status of 2xx."),
            ("cloison_http_refusals_total", "Requests answered with a status of 4xx."),
            ("cloison_http_failures_total", "Requests answered with a status of 5xx."),
        ];
        Self {
            open: registry.gauge("cloison_connections_open", "Connections at present.", label),
            accepted: registry.counter("cloison_connections_total", "Connections accepted.", label),
            refused: registry.counter(
                "cloison_connections_refused_total",
                "Connections closed as one too many.",
                label,
            ),
            failed_handshakes: registry.counter(
                "cloison_handshakes_failed_total",
                "TLS handshakes that failed.",
                label,
            ),
            panics: registry.counter("cloison_panics_total", "Requests that met a fault of ours.", label),
            answers: answers.map(|(name, help)| registry.counter(name, help, label)),
        }
    }

    fn answered(&self, status: u16) {
        let class = match status / 100 {
            1..=3 => 0,
            4 => 1,
            _ => 2,
        };
        self.answers[class].one();
    }
}

/// A listener's side of all its connections.
pub(super) struct Door {
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    slots: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    peers: Mutex<HashMap<SpkiDigest, usize>>,
    counts: Counts,
    /// Becomes true when connections are to close.
    draining: watch::Receiver<bool>,
}

/// How a connection came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By itself, or when it was asked to.
    Closed,
    /// In the middle of something.
    Cut,
}

/// What one connection is doing, seen from its watchdog.
#[derive(Default)]
struct Activity {
    under_way: AtomicU32,
    begun: AtomicU64,
    /// Bytes sent: an answer may take its time to be read.
    written: Arc<AtomicU64>,
}

impl Activity {
    /// How much has happened so far. What keeps an idle connection open (pings of HTTP/2) is too little to count.
    fn progress(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed) / 4096)
    }
}

impl Door {
    pub(super) fn new(
        name: &str,
        router: Router,
        tls: Option<Arc<ServerConfig>>,
        limits: Limits,
        registry: &Registry,
        draining: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            router,
            tls,
            slots: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            peers: Mutex::default(),
            limits,
            counts: Counts::new(registry, name),
            draining,
        })
    }

    /// Takes in an accepted socket, or closes it at once. `alive` is held for as long as the connection lives, and told
    /// if it had to be cut at the end.
    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream, alive: mpsc::UnboundedSender<()>) {
        let free = if self.tls.is_some() { &self.handshakes } else { &self.slots };
        let permit = match Arc::clone(free).try_acquire_owned() {
            Ok(permit) if self.slots.available_permits() > 0 || self.tls.is_none() => permit,
            _ => return self.counts.refused.one(),
        };
        self.counts.accepted.one();
        // An answer is written whole; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let door = Arc::clone(self);
        tokio::spawn(async move {
            let written = Arc::default();
            let stream = Stalling::new(stream, door.limits.stall, Arc::clone(&written));
            let ended = match &door.tls {
                Some(config) => door.secure(stream, config, permit, written).await,
                None => {
                    let _slot = permit;
                    door.converse_http1(TokioIo::new(stream), None, written).await
                }
            };
            if ended == Ended::Cut && *door.draining.borrow() {
                let _ = alive.send(());
            }
        });
    }

    /// The handshake, and what follows it.
    async fn secure(
        self: &Arc<Self>,
        stream: Stalling,
        config: &Arc<ServerConfig>,
        handshake: OwnedSemaphorePermit,
        written: Arc<AtomicU64>,
    ) -> Ended {
        let accepting = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let mut draining = self.draining.clone();
        let accepted = tokio::select! {
            accepted = timeout(self.limits.handshake, accepting) => accepted,
            _ = draining.wait_for(|draining| *draining) => return Ended::Closed,
        };
        drop(handshake);
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "handshake failed");
                self.counts.failed_handshakes.one();
                return Ended::Closed;
            }
            Err(_) => {
                self.counts.failed_handshakes.one();
                return Ended::Closed;
            }
        };
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let Some(spki) = certificate.and_then(|certificate| tls::spki_digest(certificate).ok()) else {
            self.counts.failed_handshakes.one();
            return Ended::Closed;
        };
        let http2 = session.alpn_protocol() == Some(b"h2");
        let (Ok(_slot), Some(_of_peer)) = (self.slots.try_acquire(), self.count_peer(spki)) else {
            self.counts.refused.one();
            return Ended::Closed;
        };
        let peer = Some(Peer { spki });
        match http2 {
            true => self.converse_http2(TokioIo::new(stream), peer, written).await,
            false => self.converse_http1(TokioIo::new(stream), peer, written).await,
        }
    }

    async fn converse_http1<I>(self: &Arc<Self>, io: I, peer: Option<Peer>, written: Arc<AtomicU64>) -> Ended
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity { written, ..Activity::default() });
        let (door, seen) = (Arc::clone(self), Arc::clone(&activity));
        let service = service_fn(move |request| answer(&door, &seen, peer, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Also runs while nothing is sent at all; the watchdog is a little earlier, and politer.
            .header_read_timeout(2 * self.limits.idle + Duration::from_millis(200))
            .max_header_size(MAX_HEAD)
            .serve_connection(io, service);
        self.drive(connection, &activity).await
    }

    async fn converse_http2<I>(self: &Arc<Self>, io: I, peer: Option<Peer>, written: Arc<AtomicU64>) -> Ended
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity { written, ..Activity::default() });
        let (door, seen) = (Arc::clone(self), Arc::clone(&activity));
        let service = service_fn(move |request| answer(&door, &seen, peer, request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(64)
            .max_header_list_size(MAX_HEAD as u32)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .keep_alive_interval(self.limits.idle)
            .keep_alive_timeout(self.limits.stall)
            .serve_connection(io, service);
        self.drive(connection, &activity).await
    }

    /// Runs a connection to its end: its own, that of its time, or ours.
    async fn drive<C: GracefulConnection>(&self, connection: C, activity: &Activity) -> Ended {
        let _open = self.counts.open.hold();
        let mut connection = pin!(connection);
        let mut draining = self.draining.clone();
        let born = Instant::now();
        let mut watchdog = interval_at(born + self.limits.idle, self.limits.idle);
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = activity.progress();
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => return Ended::Closed,
                _ = draining.wait_for(|draining| *draining) => break,
                _ = watchdog.tick() => {
                    let now = activity.progress();
                    let idle = now == before && activity.under_way.load(Ordering::Relaxed) == 0;
                    if idle || born.elapsed() >= self.limits.age {
                        break;
                    }
                    before = now;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        match timeout(self.limits.drain, connection).await {
            Ok(_) => Ended::Closed,
            Err(_) => Ended::Cut,
        }
    }

    /// One more connection of this key, if it may have one; until the guard is dropped.
    fn count_peer(&self, spki: SpkiDigest) -> Option<OfPeer<'_>> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(spki).or_insert(0);
        if *count >= self.limits.per_peer {
            return None;
        }
        *count += 1;
        Some(OfPeer(self, spki))
    }
}

/// What [`Door::count_peer`] counts.
struct OfPeer<'a>(&'a Door, SpkiDigest);

impl Drop for OfPeer<'_> {
    fn drop(&mut self) {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get_mut(&self.1) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(peers.remove(&self.1)),
        }
    }
}

/// A request under way.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(
    door: &Arc<Door>,
    activity: &Arc<Activity>,
    peer: Option<Peer>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
    let under_way = UnderWay::begin(activity);
    let (mut request, rest) = body::lend(request);
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    let handling = door.router.clone().call(request);
    let door = Arc::clone(door);
    async move {
        let mut response = match caught(handling).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                // The panic's own message went through the panic hook; here nothing of it is shown to the caller.
                door.counts.panics.one();
                Problem::new(Code::Internal).into_response()
            }
        };
        if let Some(rest) = rest {
            rest.discard().await;
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        door.counts.answered(response.status().as_u16());
        drop(under_way);
        Ok(response)
    }
}

/// Runs a future and catches its panic: one request's fault is not its neighbours' on the same connection.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
