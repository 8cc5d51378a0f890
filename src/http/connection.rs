//! One connection, from the accepted socket to its end.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::admission::{Admission, Allowance};
use super::budget::Charge;
use super::counts::ListenerCounts;
use super::gate::{Callers, Gate};
use super::handshakes::{HandshakePlace, Handshakes};
use super::limits::Limits;
use super::peer::Peer;
use super::request::{Activity, Caller, RequestHandler, answer};
use super::socket::{ClientSocket, SocketState};
use super::tls;
use crate::access::{AccountHolder, CallerStanding};
use crate::metrics::Registry;

/// The most bytes of a request's head. Our clients send a few hundred.
const MAX_HEAD: usize = 16 * 1024;
/// How long the socket of a refused handshake is kept, so that the alert arrives.
const FAREWELL: Duration = Duration::from_secs(1);

/// A listener's side of all its connections.
pub(super) struct Door {
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    admission: Admission,
    /// The allowance that all callers without TLS share.
    anybody: Arc<Allowance>,
    handshakes: Arc<Handshakes>,
    handler: Arc<RequestHandler>,
    /// Becomes true when connections are to close.
    draining: watch::Receiver<bool>,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectionEnd {
    /// By itself, or when it was asked to.
    Closed,
    /// In the middle of a request or an answer.
    Cut,
}

impl Door {
    pub(super) fn new(
        name: &'static str,
        router: Router,
        callers: Callers,
        limits: Limits,
        registry: &Registry,
        draining: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let admission = Admission::new(&limits);
        let anybody = admission.new_allowance(&CallerStanding {
            holder: AccountHolder::Anybody,
            stops: true,
            until: None,
        });
        let counts = Arc::new(ListenerCounts::new(registry, name));
        let (entity, asked) = match callers {
            Callers::Anybody => (None, None),
            Callers::Known(tls, check) => (None, Some((tls, check))),
            Callers::Registered(tls, entity) => {
                let check = Gate::of_register(&entity);
                (Some(entity), Some((tls, check)))
            }
        };
        let secured = asked.map(|(tls, check)| {
            let gate = Gate::new(name, check, entity.clone(), Arc::clone(&counts));
            let asked = Arc::clone(&gate);
            (tls.for_clients(move |key| asked.admit(key)), gate)
        });
        let (tls, gate) = secured.unzip();
        Arc::new(Self {
            tls,
            admission,
            anybody: Arc::new(anybody),
            handshakes: Handshakes::new(limits.handshakes),
            limits,
            handler: Arc::new(RequestHandler {
                router,
                entity,
                gate,
                counts,
            }),
            draining,
        })
    }

    /// Serves an accepted socket, or closes it at once. The connection holds `alive` while it
    /// lives, and sends on it if it had to be cut.
    pub(super) fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        from: IpAddr,
        alive: mpsc::UnboundedSender<()>,
    ) {
        // An answer is written whole; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let door = Arc::clone(self);
        let Some(config) = self.tls.clone() else {
            let Some(slot) = self.anybody.connections.charge(1) else {
                return self.handler.counts.refused.one();
            };
            self.handler.counts.accepted.one();
            tokio::spawn(async move { door.note_end(door.plain(stream, slot).await, &alive) });
            return;
        };
        let (place, evicts) = self.handshakes.enter(from);
        self.handler.counts.accepted.one();
        if evicts {
            self.handler.counts.evicted_handshakes.one();
        }
        tokio::spawn(
            async move { door.note_end(door.secure(stream, config, place).await, &alive) },
        );
    }

    fn note_end(&self, how: ConnectionEnd, alive: &mpsc::UnboundedSender<()>) {
        if how == ConnectionEnd::Cut && *self.draining.borrow() {
            let _ = alive.send(());
        }
    }

    /// Serves a connection without TLS.
    async fn plain(self: &Arc<Self>, stream: TcpStream, _slot: Charge) -> ConnectionEnd {
        let socket = ClientSocket::new(stream, self.limits.stall, None);
        let (state, caller) = (
            socket.state(),
            Caller {
                peer: None,
                allowance: Arc::clone(&self.anybody),
            },
        );
        self.converse_http1(TokioIo::new(socket), caller, state)
            .await
    }

    /// Does the handshake, and then serves the connection.
    async fn secure(
        self: &Arc<Self>,
        stream: TcpStream,
        config: Arc<ServerConfig>,
        place: HandshakePlace,
    ) -> ConnectionEnd {
        let Some(mut stream) = self.handshake(stream, config, &place).await else {
            return ConnectionEnd::Closed;
        };
        drop(place);
        stream.get_mut().0.settle();
        let (socket, session) = stream.get_ref();
        let state = socket.state();
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let spki = certificate.and_then(|certificate| tls::spki_digest(certificate).ok());
        let Some((spki, standing)) =
            spki.and_then(|spki| Some((spki, self.handler.gate.as_ref()?.standing(spki).ok()?)))
        else {
            self.handler.counts.failed_handshakes.one();
            return ConnectionEnd::Closed;
        };
        let http2 = session.alpn_protocol() == Some(b"h2");
        let allowance = self.admission.allowance(spki, &standing);
        let Some(_slot) = allowance.connections.charge(1) else {
            self.handler.counts.refused.one();
            return ConnectionEnd::Closed;
        };
        let caller = Caller {
            peer: Some(Peer::new(spki, Arc::clone(&allowance))),
            allowance,
        };
        if http2 {
            self.converse_http2(TokioIo::new(stream), caller, state)
                .await
        } else {
            self.converse_http1(TokioIo::new(stream), caller, state)
                .await
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        config: Arc<ServerConfig>,
        place: &HandshakePlace,
    ) -> Option<TlsStream<ClientSocket>> {
        let socket = ClientSocket::new(stream, self.limits.stall, Some(place.heard()));
        let accepting = TlsAcceptor::from(config).accept(socket).into_fallible();
        let mut draining = self.draining.clone();
        let accepted = tokio::select! {
            accepted = timeout(self.limits.handshake, accepting) => accepted,
            _ = draining.wait_for(|draining| *draining) => return None,
            () = place.wait_for_eviction() => return None,
        };
        match accepted {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err((error, mut socket))) => {
                tracing::debug!(%error, "handshake failed");
                self.handler.counts.failed_handshakes.one();
                socket.state().lingers.store(true, Ordering::Relaxed);
                tokio::select! {
                    _ = timeout(FAREWELL, socket.shutdown()) => {}
                    () = place.wait_for_eviction() => {}
                }
            }
            Err(_) => self.handler.counts.failed_handshakes.one(),
        }
        None
    }

    async fn converse_http1<I>(
        &self,
        io: I,
        caller: Caller,
        socket: Arc<SocketState>,
    ) -> ConnectionEnd
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let activity = Activity::new(socket);
        let (handler, seen) = (Arc::clone(&self.handler), Arc::clone(&activity));
        let service = service_fn(move |request| answer(&handler, &seen, &caller, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // This also runs while nothing is sent at all. The watchdog comes a little earlier, and
            // asks before it cuts.
            .header_read_timeout(2 * self.limits.idle + Duration::from_millis(200))
            .max_header_size(MAX_HEAD)
            // Nobody is charged for bytes that lie unread on a connection.
            .max_buf_size(64 * 1024)
            .serve_connection(io, service);
        self.drive(connection, &activity).await
    }

    async fn converse_http2<I>(
        &self,
        io: I,
        caller: Caller,
        socket: Arc<SocketState>,
    ) -> ConnectionEnd
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let activity = Activity::new(socket);
        let (handler, seen) = (Arc::clone(&self.handler), Arc::clone(&activity));
        let service = service_fn(move |request| answer(&handler, &seen, &caller, request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(64)
            .max_header_list_size(MAX_HEAD as u32)
            // As with HTTP/1.1, nobody is charged for unread bytes.
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .keep_alive_interval(self.limits.idle)
            .keep_alive_timeout(self.limits.stall)
            .serve_connection(io, service);
        self.drive(connection, &activity).await
    }

    /// Runs a connection until it ends by itself, has been idle or open for too long, or has to
    /// close because the listener drains.
    async fn drive<C: GracefulConnection>(
        &self,
        connection: C,
        activity: &Activity,
    ) -> ConnectionEnd {
        let _open = self.handler.counts.open.hold();
        let mut connection = pin!(connection);
        let mut draining = self.draining.clone();
        let born = Instant::now();
        let mut watchdog = interval_at(born + self.limits.idle, self.limits.idle);
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = activity.progress();
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => return ConnectionEnd::Closed,
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
            Ok(_) => ConnectionEnd::Closed,
            Err(_) => ConnectionEnd::Cut,
        }
    }
}
