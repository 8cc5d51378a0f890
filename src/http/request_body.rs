//! Lends a request's body to its handler. What the handler leaves unread is read and thrown away,
//! so that the connection can be used again.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::http::header::EXPECT;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

/// The most bytes of a refused request that are read before it is answered.
const MAX_UNREAD: u64 = 64 * 1024 * 1024;

/// How long reading them may take.
const UNREAD_PATIENCE: Duration = Duration::from_secs(10);

/// The part of a request's body that its handler did not read, once the handler is done.
#[derive(Default)]
pub(super) struct UnreadBody(Arc<Mutex<Option<Incoming>>>);

/// A body lent to a handler: what it leaves unread goes back to [`UnreadBody`].
struct LentBody {
    body: Option<Incoming>,
    rest: Arc<Mutex<Option<Incoming>>>,
    /// Whether the client still waits for `100 Continue`. It sends no body if it gets its answer
    /// first.
    waits: bool,
}

/// Lends the body of a request to the handler, and gets back what the handler leaves.
///
/// The rest is read and thrown away before the answer, within bounds, so that the connection can be
/// used again. When more is left, the answer goes out first, and the socket lingers
/// ([`super::socket`]).
pub(super) fn lend(request: Request<Incoming>) -> (Request<Body>, Option<UnreadBody>) {
    if request.body().is_end_stream() {
        return (request.map(Body::new), None);
    }
    let waits = request.headers().contains_key(EXPECT);
    let rest = UnreadBody::default();
    let lent = |body| LentBody {
        body: Some(body),
        rest: Arc::clone(&rest.0),
        waits,
    };
    (request.map(|body| Body::new(lent(body))), Some(rest))
}

impl UnreadBody {
    /// Reads what is left and throws it away. Returns whether it read everything.
    pub(super) async fn discard(self) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return true };
        if body.size_hint().lower() > MAX_UNREAD {
            return false;
        }
        let mut discarded = 0;
        let throw_away = async {
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
                if discarded > MAX_UNREAD {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(UNREAD_PATIENCE, throw_away)
            .await
            .unwrap_or(false)
    }
}

impl HttpBody for LentBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(axum::body::HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), axum::body::HttpBody::size_hint)
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if !self.waits && !self.is_end_stream() {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}
