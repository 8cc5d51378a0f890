//! Listeners, from binding to the last answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::connection::Door;
use super::gate::Callers;
use super::health::Readiness;
use super::limits::Limits;
use super::problem;
use crate::metrics::Registry;

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: u32 = 1024;

/// A bound socket and what serves it.
pub struct Listener {
    name: &'static str,
    socket: TcpListener,
    callers: Callers,
    router: Router,
    limits: Limits,
}

impl Listener {
    /// Binds. `name` is for the metrics.
    ///
    /// # Errors
    /// The operating system refuses, for example because the address is in use.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(
        name: &'static str,
        address: SocketAddr,
        callers: Callers,
        router: Router,
        limits: Limits,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // A restart need not wait until the old connections time out.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        Ok(Self {
            name,
            socket,
            callers,
            router: problem::with_fallbacks(router),
            limits,
        })
    }

    /// The address it is bound to, with the port that port 0 became.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Serves until `shutdown` is done and the requests under way are answered (or the listeners'
/// `drain` is over).
///
/// `health` is served to the very end, and says "draining" meanwhile. Returns how many connections
/// had to be cut.
pub async fn serve(
    listeners: Vec<Listener>,
    health: Option<Listener>,
    readiness: &Readiness,
    registry: &Registry,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let (drain, draining) = watch::channel(false);
    let (end_health, health_ending) = watch::channel(false);
    let (alive, mut cuts) = mpsc::unbounded_channel::<()>();
    // Connections close themselves after `drain`. A little later they are no longer waited for.
    let patience = listeners
        .iter()
        .map(|listener| listener.limits.drain)
        .max()
        .unwrap_or_default()
        + Duration::from_secs(2);
    let mut accepting = Vec::new();
    for listener in listeners {
        accepting.push(tokio::spawn(accept(
            listener,
            registry,
            draining.clone(),
            alive.clone(),
        )));
    }
    let health = health.map(|listener| {
        let (nobody_waits, _) = mpsc::unbounded_channel();
        tokio::spawn(accept(listener, registry, health_ending, nobody_waits))
    });

    shutdown.await;
    readiness.set("draining", "shutting down");
    drain.send_replace(true);
    for task in accepting {
        let _ = task.await;
    }
    let left = alive.downgrade();
    drop(alive);
    let mut cut = 0;
    let all_gone = async {
        while cuts.recv().await.is_some() {
            cut += 1;
        }
    };
    let _ = timeout(patience, all_gone).await;
    end_health.send_replace(true);
    if let Some(task) = health {
        let _ = task.await;
    }
    cut + left.strong_count()
}

/// Accepts until told to stop, and then stops listening.
fn accept(
    listener: Listener,
    registry: &Registry,
    mut draining: watch::Receiver<bool>,
    alive: mpsc::UnboundedSender<()>,
) -> impl Future<Output = ()> + Send + use<> {
    let Listener {
        name,
        socket,
        callers,
        router,
        limits,
    } = listener;
    let door = Door::new(name, router, callers, limits, registry, draining.clone());
    async move {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => door.admit(stream, from.ip(), alive.clone()),
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: open connections may end and give some
                    // back.
                    tracing::warn!(listener = name, %error, "cannot accept");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Whether an error of `accept` is about one connection that went away, not about the listener.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted
    )
}

/// Completes when the process is told to end, by SIGTERM or SIGINT.
///
/// # Errors
/// The operating system does not let the process listen for signals.
///
/// # Panics
/// Outside a tokio runtime.
pub fn termination() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
