//! Reading what a request carries, within bounds of size and time, and answering.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, Response, Uri};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use serde::de::DeserializeOwned;

use super::Problem;
use crate::code::Code;

/// How long a body may take to arrive.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What of a refused request is still read, so that its sender comes to read the answer.
const MAX_REST: u64 = 64 * 1024 * 1024;

/// How long that may take.
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// A content type that an operation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// `application/json`
    Json,
    /// `text/plain`, in UTF-8 or a part of it (US-ASCII)
    Text,
}

/// The content type of a request.
///
/// # Errors
/// [`Code::UnsupportedMediaType`]: neither of the two, none at all, another character set, or a compressed body.
pub fn content(headers: &HeaderMap) -> Result<Content, Problem> {
    let refused = || Problem::new(Code::UnsupportedMediaType);
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(refused().detail("send the body without a content-encoding"));
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).ok_or_else(refused)?;
    let (media, parameters) = value.split_once(';').unwrap_or((value, ""));
    let content = match media.trim() {
        media if media.eq_ignore_ascii_case("application/json") => Content::Json,
        media if media.eq_ignore_ascii_case("text/plain") => Content::Text,
        _ => return Err(refused()),
    };
    for parameter in parameters.split(';') {
        let (name, value) = parameter.trim().split_once('=').unwrap_or((parameter.trim(), ""));
        let value = value.trim_matches('"');
        let readable = value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("us-ascii");
        if name.eq_ignore_ascii_case("charset") && !readable {
            return Err(refused().detail("send the body as UTF-8"));
        }
    }
    Ok(content)
}

/// Reads a body whole, at most `limit` bytes, within [`PATIENCE`]. A body that came in one piece is not copied.
///
/// # Errors
/// [`Code::TooLarge`], with the limit; [`Code::RequestTimeout`]; [`Code::MalformedBody`] when it breaks off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(PATIENCE, collect(body, limit)).await {
        Ok(collected) => collected,
        Err(_) => Err(Problem::new(Code::RequestTimeout)),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::TooLarge).detail(format!("at most {limit} bytes a request"))
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let Some(first) = next_data(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(too_large(limit));
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    // What a client announces, it must also send: memory follows the bytes, not the promise.
    let announced = body.size_hint().lower().min(1024 * 1024) as usize;
    let mut whole = Vec::with_capacity(first.len() + announced);
    whole.extend_from_slice(&first);
    while let Some(more) = next_data(&mut body).await? {
        if whole.len() + more.len() > limit {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&more);
    }
    Ok(whole.into())
}

async fn next_data(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(_)) => return Err(Problem::new(Code::MalformedBody).detail("the body broke off")),
        }
    }
}

/// Reads the query of a request; `T` denies unknown fields.
///
/// # Errors
/// [`Code::BadParameter`]
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::<T>::try_from_uri(uri).map(|query| query.0).map_err(|_| Problem::new(Code::BadParameter))
}

/// A sector's name as the path gives it. What is not UTF-8 is a name that no sector has: it is for the handler to refuse,
/// in its own form and on the record.
pub struct SectorName(pub String);

impl<S: Send + Sync> FromRequestParts<S> for SectorName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(name.map_or_else(|_| String::new(), |path| path.0)))
    }
}

/// An answer of status 200.
pub fn reply(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer of status 200 in JSON.
///
/// # Errors
/// [`Code::Internal`] when the value has no JSON, which is a fault of ours.
pub fn json(value: &impl serde::Serialize) -> Result<Response<Body>, Problem> {
    let json = serde_json::to_vec(value).map_err(|_| Problem::new(Code::Internal))?;
    Ok(reply("application/json", json))
}

/// Where a request's body comes back to when its handler did not want all of it.
#[derive(Default)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

/// A body lent to a handler: what it leaves unread goes to [`Rest`].
struct Lent {
    body: Option<Incoming>,
    rest: Arc<Mutex<Option<Incoming>>>,
    /// A client that waits for `100 Continue` sends nothing if it gets its answer first.
    waits: bool,
}

/// Hands the body of a request to the handler, and keeps hold of what it leaves.
///
/// A server that answers and closes while the client still sends makes the kernel reset the connection, and the client
/// never sees the answer. So the rest is read and thrown away first, within bounds.
pub(super) fn lend(request: Request<Incoming>) -> (Request<Body>, Option<Rest>) {
    if request.body().is_end_stream() {
        return (request.map(Body::new), None);
    }
    let waits = request.headers().contains_key(EXPECT);
    let rest = Rest::default();
    let lent = |body| Lent { body: Some(body), rest: Arc::clone(&rest.0), waits };
    (request.map(|body| Body::new(lent(body))), Some(rest))
}

impl Rest {
    /// Reads what is left and throws it away.
    pub(super) async fn discard(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return };
        if body.size_hint().lower() > MAX_REST {
            return;
        }
        let mut discarded = 0;
        let throw_away = async {
            while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
                if discarded > MAX_REST {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(REST_PATIENCE, throw_away).await;
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), |body| body.size_hint())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.waits && !self.is_end_stream() {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Result<Content, Code> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, value.parse().unwrap());
        content(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn two_content_types_are_taken() {
        assert_eq!(of("application/json"), Ok(Content::Json));
        assert_eq!(of("Application/JSON ; Charset=\"UTF-8\""), Ok(Content::Json));
        assert_eq!(of("text/plain;charset=us-ascii"), Ok(Content::Text));
        assert_eq!(of("text/plain; format=flowed; charset=utf-8"), Ok(Content::Text));
        for other in ["text/plain; charset=utf-16", "application/jsonp", "text/html", "multipart/form-data", ""] {
            assert_eq!(of(other), Err(Code::UnsupportedMediaType), "{other}");
        }
        assert_eq!(content(&HeaderMap::new()).unwrap_err().code(), Code::UnsupportedMediaType);
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        assert_eq!(read(Body::from(vec![7; 100]), 100).await.unwrap().len(), 100);
        assert_eq!(read(Body::from(vec![7; 101]), 100).await.unwrap_err().code(), Code::TooLarge);
        assert!(read(Body::empty(), 0).await.unwrap().is_empty());
    }
}
