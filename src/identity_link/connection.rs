//! One connection to an identity source: HTTP/2 over TLS 1.3.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::body::{PiecesBody, read};
use super::{ANSWER, CONNECT};
use crate::clock;
use crate::http::problem::ProblemBody;
use crate::http::tls::spki_digest;
use crate::keys::IdentityCheck;
use crate::register::SpkiDigest;
use crate::utis::{
    CONTENT, EncodedPart, PATH, PartOutcome, RequestNonce, UtiAnswer, UtisError, request_head,
};

/// How often a connection is asked whether it lives, and how long it may take to say so: together
/// below the second in which the next source has to be asked.
const PING: Duration = Duration::from_millis(300);
const PONG: Duration = Duration::from_millis(600);
/// Bytes that may come before they are read: of one answer, and of all.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The most bytes of a refusal.
const MAX_PROBLEM: usize = 64 << 10;

/// Where a source is, and how it is known.
pub(super) struct SourceAddress {
    /// `https://host:port`
    pub(super) url: String,
    pub(super) tls: Arc<ClientConfig>,
}

/// Why a source was of no use.
#[derive(Debug, Clone)]
pub(super) enum LinkFault {
    /// It cannot be reached, or is not the one.
    Connect(String),
    /// The connection broke.
    Broken(String),
    /// It took too long.
    Slow(Duration),
    /// It refused the request as a whole, with this code.
    Refused(String),
    /// It answered what is not an answer.
    Answer(UtisError),
    /// The register in force does not have its key as an identity source's.
    NotInRegister,
    /// It derives from another secret than this vault's pseudonyms.
    OtherSecret,
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "it cannot be reached: {why}"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Slow(limit) => write!(f, "it gave no answer within {limit:?}"),
            Self::Refused(code) => write!(f, "it refuses every request: {code}"),
            Self::Answer(error) => write!(f, "its answer was not used: {error}"),
            Self::NotInRegister => f.write_str(
                "the register in force has no identity source with its key, or that is suspended; have it entered, \
                 or take it out of `[identity]`",
            ),
            Self::OtherSecret => f.write_str(
                "its identity secret is not the one that this vault's pseudonyms derive from; give it the right \
                 one, or take it out of `[identity]`",
            ),
        }
    }
}

/// A connection whose source has shown that it derives from the right secret.
#[derive(Clone)]
pub(super) struct SourceConnection {
    /// The key that the source has proved to have.
    key: SpkiDigest,
    sender: SendRequest<PiecesBody>,
    uri: Uri,
}

/// An answer, in memory that is wiped.
pub(super) struct ReceivedAnswer {
    bytes: Zeroizing<Vec<u8>>,
    nonce: RequestNonce,
    answers: Vec<usize>,
}

impl ReceivedAnswer {
    /// What became of each part.
    pub(super) fn parts(&self) -> Result<Vec<PartOutcome<'_>>, LinkFault> {
        UtiAnswer::read(&self.bytes, &self.nonce, &self.answers)
            .map(|answer| answer.parts)
            .map_err(LinkFault::Answer)
    }
}

impl SourceConnection {
    /// Connects, and has the source show the check value of its secret.
    pub(super) async fn open(address: &SourceAddress) -> Result<(Self, IdentityCheck), LinkFault> {
        let opening = async {
            let connection = Self::connect(address).await?;
            let check = connection.probe().await?;
            Ok((connection, check))
        };
        timeout(CONNECT, opening)
            .await
            .unwrap_or(Err(LinkFault::Slow(CONNECT)))
    }

    async fn connect(address: &SourceAddress) -> Result<Self, LinkFault> {
        let failed = |error: &dyn fmt::Display| LinkFault::Connect(error.to_string());
        let uri: Uri = format!("{}{PATH}", address.url)
            .parse()
            .map_err(|error| failed(&error))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(443);
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| failed(&error))?;
        // A request is written whole; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let stream = TlsConnector::from(address.tls.clone())
            .connect(name, stream)
            .await
            .map_err(|error| failed(&error))?;
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(|chain| chain.first());
        let key = certificate.and_then(|certificate| spki_digest(certificate).ok());
        let key = key.ok_or_else(|| failed(&"it shows no certificate"))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // Who sends learns how it ended.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { key, sender, uri })
    }

    /// The check value of its secret.
    pub(super) async fn probe(&self) -> Result<IdentityCheck, LinkFault> {
        let part = EncodedPart::probe();
        let answers = vec![part.answers()];
        let piece = Bytes::from_owner(part.into_bytes());
        let answer = self.ask(vec![piece], answers).await?;
        match &answer.parts()?[..] {
            [PartOutcome::Answers([check])] => Ok(IdentityCheck(*check)),
            [PartOutcome::Refused(refusal)] => Err(LinkFault::Refused(refusal.code().to_string())),
            _ => Err(LinkFault::Answer(UtisError::Form)),
        }
    }

    /// The key that the source has proved to have.
    pub(super) fn key(&self) -> SpkiDigest {
        self.key
    }

    /// Whether it can still be used, as far as is known here.
    pub(super) fn lives(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks for the answers of parts, of which `pieces` are the bytes and `answers` the counts.
    pub(super) async fn ask(
        &self,
        pieces: Vec<Bytes>,
        answers: Vec<usize>,
    ) -> Result<ReceivedAnswer, LinkFault> {
        timeout(ANSWER, self.exchange(pieces, answers))
            .await
            .unwrap_or(Err(LinkFault::Slow(ANSWER)))
    }

    async fn exchange(
        &self,
        pieces: Vec<Bytes>,
        answers: Vec<usize>,
    ) -> Result<ReceivedAnswer, LinkFault> {
        let broken = |error: hyper::Error| LinkFault::Broken(error.to_string());
        let nonce: RequestNonce = clock::random();
        let head = Bytes::copy_from_slice(&request_head(&nonce, answers.len()));
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, CONTENT)
            .header(USER_AGENT, concat!("cloison/", env!("CARGO_PKG_VERSION")))
            .body(PiecesBody::new(std::iter::once(head).chain(pieces)))
            .map_err(|error| LinkFault::Broken(error.to_string()))?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let is_answer = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|content| content == CONTENT);
        let most = if status == StatusCode::OK {
            UtiAnswer::most_bytes(&answers)
        } else {
            MAX_PROBLEM
        };
        let body = read(response.into_body(), most).await.map_err(broken)?;
        match body {
            Some(bytes) if status == StatusCode::OK && is_answer => Ok(ReceivedAnswer {
                bytes,
                nonce,
                answers,
            }),
            Some(bytes) if status != StatusCode::OK => Err(refused(status, &bytes)),
            _ => Err(LinkFault::Answer(UtisError::Form)),
        }
    }
}

/// The refusal of a whole request. Only its code is kept, and only if it is one.
fn refused(status: StatusCode, body: &[u8]) -> LinkFault {
    let code = serde_json::from_slice::<ProblemBody<'_>>(body)
        .ok()
        .and_then(|problem| crate::code::Code::parse(&problem.code))
        .map_or_else(|| format!("HTTP status {status}"), |code| code.to_string());
    LinkFault::Refused(code)
}
