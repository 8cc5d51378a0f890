//! Reads the bodies and queries of requests, within bounds of size and time, and writes answers.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, Uri};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::admission::{Lane, overloaded};
use super::budget::Charge;
use super::peer::Peer;
use super::problem::Problem;
use crate::code::Code;

/// How long a body may take to arrive.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long its first byte may take.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// As many bytes must arrive in each [`PIECE_TIME`], until the body ends.
const PIECE: usize = 64 << 10;
/// See [`PIECE`].
const PIECE_TIME: Duration = Duration::from_secs(10);

/// A content type that an operation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `text/plain`, in UTF-8 or a part of it (US-ASCII)
    Text,
}

/// The content type of a request.
///
/// # Errors
/// [`Code::UnsupportedMediaType`]: neither of the two, none at all, another character set, or a
/// compressed body.
pub fn content(headers: &HeaderMap) -> Result<ContentType, Problem> {
    let refused = || Problem::new(Code::UnsupportedMediaType);
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(refused().detail("send the body without a content-encoding"));
    }
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(refused)?;
    let (media, parameters) = value.split_once(';').unwrap_or((value, ""));
    let content = match media.trim() {
        media if media.eq_ignore_ascii_case("application/json") => ContentType::Json,
        media if media.eq_ignore_ascii_case("text/plain") => ContentType::Text,
        _ => return Err(refused()),
    };
    for parameter in parameters.split(';') {
        let (name, value) = parameter
            .trim()
            .split_once('=')
            .unwrap_or((parameter.trim(), ""));
        let value = value.trim_matches('"');
        let readable =
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("us-ascii");
        if name.eq_ignore_ascii_case("charset") && !readable {
            return Err(refused().detail("send the body as UTF-8"));
        }
    }
    Ok(content)
}

/// Reads a body whole, at most `limit` bytes. Its memory is charged to the caller's account as the
/// bytes arrive, whatever size was announced, and given back with the last reference to them.
///
/// # Errors
/// [`Code::TooLarge`], with the limit; [`Code::RequestTimeout`], when it arrives more slowly than
/// `BodyPace` allows; [`Code::Overloaded`], when the caller's share of the listener's memory is
/// used up; [`Code::MalformedBody`] when it breaks off.
pub async fn read(peer: &Peer, lane: Lane, limit: usize, mut body: Body) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut charge = peer.allowance().admit(lane)?;
    let mut pace = BodyPace::start();
    let Some(first) = pace.next_data(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit {
        return Err(too_large(limit));
    }
    // A body that came in one piece is not copied.
    if body.is_end_stream() {
        cover(&mut charge, first.len())?;
        return Ok(charge.hold(first));
    }
    let mut whole = Vec::new();
    let announced = body.size_hint().upper().map_or(limit, |rest| {
        rest.saturating_add(first.len() as u64) as usize
    });
    let most = announced.min(limit);
    append(&mut whole, &first, most, &mut charge)?;
    drop(first);
    while let Some(more) = pace.next_data(&mut body).await? {
        if whole.len() + more.len() > limit {
            return Err(too_large(limit));
        }
        append(&mut whole, &more, most, &mut charge)?;
    }
    Ok(charge.hold(whole))
}

/// Reads the body of a request whose bytes are secret: they lie in one buffer, which is wiped when
/// the last reference to it is dropped. What the HTTP library held of it meanwhile is not.
///
/// # Errors
/// As [`read`]; [`Code::MalformedBody`] when the request does not state the body's length.
pub async fn read_wiped(
    peer: &Peer,
    lane: Lane,
    limit: usize,
    mut body: Body,
) -> Result<Bytes, Problem> {
    let Some(length) = body.size_hint().exact() else {
        return Err(Problem::new(Code::MalformedBody).detail("state the length of the body"));
    };
    if length > limit as u64 {
        return Err(too_large(limit));
    }
    let length = length as usize;
    let mut charge = peer.allowance().admit(lane)?;
    cover(&mut charge, length)?;
    let mut pace = BodyPace::start();
    // Room for all of it, so that no piece stays behind where the buffer was before it grew.
    let mut whole = Zeroizing::new(Vec::with_capacity(length));
    while let Some(more) = pace.next_data(&mut body).await? {
        if whole.len() + more.len() > length {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&more);
    }
    Ok(charge.hold(whole))
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::TooLarge).detail(format!("at most {limit} bytes a request"))
}

fn cover(charge: &mut Charge, bytes: usize) -> Result<(), Problem> {
    if charge.cover(bytes) {
        Ok(())
    } else {
        Err(overloaded())
    }
}

/// Appends a piece. Makes and charges room for twice the bytes that have arrived, and for no more
/// than `most`.
fn append(
    whole: &mut Vec<u8>,
    piece: &[u8],
    most: usize,
    charge: &mut Charge,
) -> Result<(), Problem> {
    let needed = whole.len() + piece.len();
    if needed > whole.capacity() {
        let wanted = (2 * needed).min(most).max(needed);
        cover(charge, wanted)?;
        whole.reserve_exact(wanted - whole.len());
    }
    whole.extend_from_slice(piece);
    Ok(())
}

/// How fast a body has to arrive: the first byte within [`FIRST_BYTE`], then [`PIECE`] in each
/// [`PIECE_TIME`], and all of it within [`PATIENCE`]. A slower body holds memory that others could
/// use.
struct BodyPace {
    end: Instant,
    deadline: Instant,
    /// Bytes since the deadline was last moved.
    arrived_since: usize,
}

impl BodyPace {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            end: now + PATIENCE,
            deadline: now + FIRST_BYTE,
            arrived_since: PIECE,
        }
    }

    /// The next piece of a body.
    async fn next_data(&mut self, body: &mut Body) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = timeout_at(
                self.deadline,
                poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)),
            );
            match frame
                .await
                .map_err(|_| Problem::new(Code::RequestTimeout))?
            {
                None => return Ok(None),
                Some(Err(_)) => {
                    return Err(Problem::new(Code::MalformedBody).detail("the body broke off"));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.note_arrival(data.len());
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    fn note_arrival(&mut self, bytes: usize) {
        self.arrived_since += bytes;
        if bytes > 0 && self.arrived_since >= PIECE {
            self.arrived_since = 0;
            self.deadline = self.end.min(Instant::now() + PIECE_TIME);
        }
    }
}

/// Reads the query of a request; `T` denies unknown fields.
///
/// # Errors
/// [`Code::BadParameter`]
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::<T>::try_from_uri(uri)
        .map(|query| query.0)
        .map_err(|_| Problem::new(Code::BadParameter))
}

/// A sector's name as the path gives it. A name that is not UTF-8 becomes the empty name, which no
/// sector has: so the handler refuses it, in its own form, and logs that.
pub struct SectorPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for SectorPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(name.map_or_else(|_| String::new(), |path| path.0)))
    }
}

/// An answer of status 200.
pub fn reply(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer of status 200 in JSON.
///
/// # Errors
/// [`Code::Internal`] when the value cannot be written as JSON.
pub fn json(value: &impl serde::Serialize) -> Result<Response<Body>, Problem> {
    let json = serde_json::to_vec(value).map_err(|_| Problem::new(Code::Internal))?;
    Ok(reply("application/json", json))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use hyper::body::{Body as HttpBody, Frame};

    use super::*;
    use crate::access::{AccountHolder, CallerStanding};
    use crate::http::Limits;
    use crate::http::admission::Admission;
    use crate::register::SpkiDigest;

    fn of(value: &str) -> Result<ContentType, Code> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, value.parse().unwrap());
        content(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn two_content_types_are_taken() {
        assert_eq!(of("application/json"), Ok(ContentType::Json));
        assert_eq!(
            of("Application/JSON ; Charset=\"UTF-8\""),
            Ok(ContentType::Json)
        );
        assert_eq!(of("text/plain;charset=us-ascii"), Ok(ContentType::Text));
        assert_eq!(
            of("text/plain; format=flowed; charset=utf-8"),
            Ok(ContentType::Text)
        );
        for other in [
            "text/plain; charset=utf-16",
            "application/jsonp",
            "text/html",
            "multipart/form-data",
            "",
        ] {
            assert_eq!(of(other), Err(Code::UnsupportedMediaType), "{other}");
        }
        assert_eq!(
            content(&HeaderMap::new()).unwrap_err().code(),
            Code::UnsupportedMediaType
        );
    }

    fn peer() -> Peer {
        let standing = CallerStanding {
            holder: AccountHolder::Anybody,
            stops: true,
            until: None,
        };
        Peer::new(
            SpkiDigest([0; 32]),
            Arc::new(Admission::new(&Limits::default()).new_allowance(&standing)),
        )
    }

    async fn length(body: Body, limit: usize) -> Result<usize, Code> {
        let read = read(&peer(), Lane::Work, limit, body).await;
        read.map(|bytes| bytes.len())
            .map_err(|problem| problem.code())
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        assert_eq!(length(Body::from(vec![7; 100]), 100).await, Ok(100));
        assert_eq!(
            length(Body::from(vec![7; 101]), 100).await,
            Err(Code::TooLarge)
        );
        assert_eq!(length(Body::empty(), 0).await, Ok(0));
        assert_eq!(
            length(Body::new(Pieces { size: 30, left: 3 }), 90).await,
            Ok(90)
        );
        assert_eq!(
            length(Body::new(Pieces { size: 30, left: 4 }), 90).await,
            Err(Code::TooLarge)
        );
    }

    /// A number of pieces of one size.
    struct Pieces {
        size: usize,
        left: usize,
    }

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            Poll::Ready(Some(Ok(Frame::data(vec![7; self.size].into()))))
        }
    }

    #[tokio::test]
    async fn a_body_has_to_come_at_a_pace() {
        let mut pace = BodyPace::start();
        let began = pace.end - PATIENCE;
        assert_eq!(pace.deadline, began + FIRST_BYTE);
        pace.note_arrival(0);
        assert_eq!(pace.deadline, began + FIRST_BYTE, "nothing came");
        pace.note_arrival(1);
        let first = pace.deadline;
        assert!(first >= began + PIECE_TIME);
        pace.note_arrival(PIECE - 1);
        assert_eq!(pace.deadline, first, "not a piece yet");
        pace.note_arrival(1);
        assert!(pace.deadline > first);
        pace.end = began;
        pace.note_arrival(PIECE);
        assert_eq!(pace.deadline, began, "all of it has an end");
    }

    #[tokio::test]
    async fn memory_is_charged_as_it_arrives_and_given_back_with_the_bytes() {
        let standing = CallerStanding {
            holder: AccountHolder::Certificate(SpkiDigest([0; 32])),
            stops: false,
            until: None,
        };
        let peer = Peer::new(
            SpkiDigest([0; 32]),
            Arc::new(Admission::new(&Limits::default()).new_allowance(&standing)),
        );
        let read = async |size, left| {
            read(&peer, Lane::Work, 4 << 20, Body::new(Pieces { size, left })).await
        };
        // An eighth of 64 MiB is the certificate's.
        let first = read(999, 4_000).await.unwrap();
        let second = read(999, 2_000).await.unwrap();
        let refused = read(999, 4_000).await.unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded);
        drop((first, second));
        assert!(read(999, 4_000).await.is_ok());
    }
}
