//! A client's socket, for a server that cannot trust its clients. It gives up when the other side
//! does not read, records when the other side is heard, and closes so that the last answer is not
//! lost.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::handshakes::LastHeard;

/// How long a socket is still read after its last answer, if the other side may still be sending.
const LINGER: Duration = Duration::from_secs(30);

/// The state of a socket that others see.
#[derive(Default)]
pub(super) struct SocketState {
    /// Bytes sent, by which others see that an answer is still being read.
    pub(super) written: AtomicU64,
    /// Whether what the other side sends after the last answer is still read, and thrown away.
    /// Closing instead would make the kernel reset the connection while the other side still sends,
    /// and it would never see the answer (RFC 9112 §9.6).
    pub(super) lingers: AtomicBool,
}

/// A TCP stream whose writes fail with `TimedOut` once nothing could be written for `patience`. It
/// does not bound how long a client is silent; its users do, who know what they wait for.
pub(super) struct ClientSocket {
    stream: TcpStream,
    patience: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    state: Arc<SocketState>,
    /// Records during the handshake that something was read.
    heard: Option<Arc<LastHeard>>,
    shut: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl ClientSocket {
    pub(super) fn new(
        stream: TcpStream,
        patience: Duration,
        heard: Option<Arc<LastHeard>>,
    ) -> Self {
        let state = Arc::default();
        Self {
            stream,
            patience,
            deadline: None,
            state,
            heard,
            shut: false,
            lingering: None,
        }
    }

    pub(super) fn state(&self) -> Arc<SocketState> {
        Arc::clone(&self.state)
    }

    /// Stops recording when the other side is heard, because the handshake is over.
    pub(super) fn settle(&mut self) {
        self.heard = None;
    }

    fn count(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.state
                .written
                .fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }

    /// Passes on the stream's result, and fails once it has been pending for `patience`.
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            return polled;
        }
        let patience = self.patience;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and throws away what still comes, until the other side closes or [`LINGER`] is over.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self
            .lingering
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut thrown_away = [0; 16 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(heard) = &self.heard
            && buf.filled().len() > before
        {
            heard.now();
        }
        polled
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(&polled);
        self.watch(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(&polled);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.watch(polled, cx))?;
            self.shut = true;
        }
        if self.state.lingers.load(Ordering::Relaxed) {
            ready!(self.linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
