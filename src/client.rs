//! The blocking HTTP client by which the command line and the authority node talk to servers.
//!
//! It believes servers whose keys its file pins, shows its own certificate, keeps connections open,
//! follows no redirect and uses no proxy. Refusals come back as a [`ProblemReply`].

mod agent;
mod audit;
mod backups;
mod connector;
mod entry_end;
pub mod epochs;
mod follow;
pub mod handshake;
pub mod health;
mod last_words;
pub mod officer;
pub mod peer;
pub mod pins;
mod quota;
mod register;
mod status;
mod vault;
mod witness;

use std::fmt;
use std::io::Read as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::civil::Date;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::{HeaderValue, Response};

use agent::PinnedAgent;
use entry_end::EntryEnd;
use handshake::{HandshakeFault, OwnCertificate};
use quota::QuotaEar;
pub use quota::ToldQuota;

use crate::code::Code;
use crate::config::ClientConfig;
use crate::http::problem::ProblemBody;
use crate::http::tls::TlsError;
use crate::link::wire::{self, WIRE, WIRE_HEADER};
use crate::quota::QuotaLeft;
use crate::refusal::Refusal;
use crate::register::SpkiDigest;

/// The most bytes that an answer may have: 100 000 items with everything around them, and room to
/// spare.
const MAX_REPLY: u64 = 64 * 1024 * 1024;

/// The content type of JSON.
pub const JSON: &str = "application/json";

/// The client of one server, with its connections. Threads and clones share it; each request under
/// way has a connection of its own.
#[derive(Clone)]
pub struct Client(Arc<SharedClient>);

struct SharedClient {
    config: ClientConfig,
    timeouts: Timeouts,
    agent: RwLock<Arc<PinnedAgent>>,
    entry_end: EntryEnd,
    quota: QuotaEar,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base())
            .finish_non_exhaustive()
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until the connection stands, and again until TLS does.
    pub connect: Duration,
    /// Until the request is sent, and again until the answer begins, and again until it has come.
    pub step: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            step: Duration::from_secs(120),
        }
    }
}

/// A refusal, as the server put it (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemReply {
    /// The HTTP status.
    pub status: u16,
    /// The stable code, as sent.
    pub code: String,
    /// What the code means, in a few words.
    pub title: String,
    /// More about this case.
    pub detail: Option<String>,
    /// After how many seconds to try again.
    pub retry_after: Option<u32>,
}

impl ProblemReply {
    /// The code, if this version knows it.
    pub fn known(&self) -> Option<Code> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == self.code)
    }
}

impl fmt::Display for ProblemReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title, self.code)?;
        self.detail
            .iter()
            .try_for_each(|detail| write!(f, ": {detail}"))?;
        self.retry_after
            .iter()
            .try_for_each(|seconds| write!(f, "; try again in {seconds} s"))
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Certificates or key cannot be used.
    #[error(transparent)]
    Setup(#[from] TlsError),
    /// The server refused.
    #[error("the server refused: {0}")]
    Problem(ProblemReply),
    /// TLS did not come about, for a reason that trying again does not change.
    #[error("{}", fault.at(base))]
    Handshake {
        /// The server's URL.
        base: String,
        /// The reason.
        fault: HandshakeFault,
    },
    /// There is no connection, or it broke; the request may or may not have arrived.
    #[error("cannot reach {base}: {why}")]
    Connection {
        /// The server's URL.
        base: String,
        /// What happened.
        why: String,
    },
    /// The answer has not the form that such a server gives.
    #[error("{base} gave no valid answer (status {status})")]
    Answer {
        /// The server's URL.
        base: String,
        /// The HTTP status.
        status: u16,
    },
    /// The vault is of a version that this node would misread.
    #[error("{0}")]
    Wire(Refusal),
    /// The request could not be written as JSON: a bug of cloison.
    #[error("the request has no JSON form")]
    Request,
}

impl ClientError {
    /// After how long to send the same request again, if that may help. For requests that may
    /// arrive twice.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connection { .. } => Some(Duration::from_millis(200)),
            Self::Problem(problem) => match (problem.retry_after, problem.status) {
                (Some(seconds), _) => Some(Duration::from_secs(seconds.into())),
                (None, 502 | 503) => Some(Duration::from_secs(1)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The server's code, if it refused with one that is known.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => problem.known(),
            _ => None,
        }
    }
}

impl Client {
    /// Reads the certificates and the key; connects only when there is something to ask.
    ///
    /// # Errors
    /// [`ClientError::Setup`]
    pub fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        Self::with_timeouts(config, Timeouts::default())
    }

    /// The same, with other timeouts.
    ///
    /// # Errors
    /// [`ClientError::Setup`]
    pub fn with_timeouts(config: &ClientConfig, timeouts: Timeouts) -> Result<Self, ClientError> {
        let agent = PinnedAgent::read(config, timeouts)?;
        Ok(Self(Arc::new(SharedClient {
            config: config.clone(),
            timeouts,
            agent: RwLock::new(Arc::new(agent)),
            entry_end: EntryEnd::default(),
            quota: QuotaEar::default(),
        })))
    }

    /// Reads the files again. If they are good, the next request goes over a new connection that is
    /// set up from them; requests under way end on the old ones. Returns the keys that the server
    /// may have from now on if they are others than before.
    ///
    /// # Errors
    /// [`ClientError::Setup`]; nothing changes then.
    pub fn reload(&self) -> Result<Option<Vec<SpkiDigest>>, ClientError> {
        let read = PinnedAgent::read(&self.0.config, self.0.timeouts)?;
        let mut agent = self.0.agent.write().unwrap_or_else(PoisonError::into_inner);
        let others = (agent.pins != read.pins).then(|| read.pins.clone());
        *agent = Arc::new(read);
        Ok(others)
    }

    /// The files and the server.
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// The certificate that it shows.
    pub fn own_certificate(&self) -> Arc<OwnCertificate> {
        Arc::clone(&self.agent().own)
    }

    /// The last day (UTC) of the own entry in the server's register, once an answer has told one.
    pub fn entry_end(&self) -> Option<Date> {
        self.0.entry_end.day()
    }

    /// Has `listener` told of that day when an answer tells it first, or another one.
    pub fn on_entry_end(&self, listener: impl Fn(Date) + Send + 'static) {
        self.0.entry_end.tell(Box::new(listener));
    }

    fn agent(&self) -> Arc<PinnedAgent> {
        let agent = self.0.agent.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&agent)
    }

    /// The server's URL.
    pub fn base(&self) -> &str {
        &self.0.config.url
    }

    /// What is left of the quota, once an answer has told it.
    pub fn quota(&self) -> Option<ToldQuota> {
        self.0.quota.told()
    }

    fn learn_quota(&self, left: QuotaLeft) {
        self.0.quota.learn(left);
    }

    /// Posts a body; the answer's body replaces what is in `reply`.
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    pub fn post(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
        reply: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let PinnedAgent { agent, own, .. } = &*self.agent();
        let request = agent
            .post(format!("{}{path}", self.base()))
            .content_type(content_type);
        self.finish(own, request.send(body), reply)
    }

    /// Posts a node's question, in JSON, and states the version of what is said to the vault, as
    /// the answer has to.
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    fn ask_as_node(&self, path: &str, body: &[u8], reply: &mut Vec<u8>) -> Result<(), ClientError> {
        let PinnedAgent { agent, own, .. } = &*self.agent();
        let request = agent
            .post(format!("{}{path}", self.base()))
            .header(WIRE_HEADER, WIRE.to_string())
            .content_type(JSON);
        let sent = request.send(body);
        if let Ok(response) = &sent {
            let stated = response.headers().get(WIRE_HEADER);
            wire::check("vault", stated.map(HeaderValue::as_bytes)).map_err(ClientError::Wire)?;
        }
        self.finish(own, sent, reply)
    }

    /// As [`Client::post`], but any status is an answer and comes back.
    ///
    /// # Errors
    /// [`ClientError::Connection`]
    pub fn post_any(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
        reply: &mut Vec<u8>,
    ) -> Result<u16, ClientError> {
        let PinnedAgent { agent, own, .. } = &*self.agent();
        let sent = agent
            .post(format!("{}{path}", self.base()))
            .content_type(content_type)
            .send(body);
        let mut response = sent.map_err(|error| self.broken(own, error))?;
        self.0.entry_end.hear(response.headers());
        reply.clear();
        let mut reader = response.body_mut().with_config().limit(MAX_REPLY).reader();
        reader
            .read_to_end(reply)
            .map_err(|error| self.broken(own, error.into()))?;
        Ok(response.status().as_u16())
    }

    /// Gets what is at `path`; the answer's body replaces what is in `reply`.
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    pub fn get(&self, path: &str, reply: &mut Vec<u8>) -> Result<(), ClientError> {
        let PinnedAgent { agent, own, .. } = &*self.agent();
        let sent = agent.get(format!("{}{path}", self.base())).call();
        self.finish(own, sent, reply)
    }

    /// As [`Client::post`], from and to JSON. (Callers with large batches keep the buffer and
    /// borrow from it instead.)
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    pub fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|_| ClientError::Request)?;
        let mut reply = Vec::new();
        self.post(path, JSON, &body, &mut reply)?;
        self.parse(&reply)
    }

    /// As [`Client::get`], to JSON.
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let mut reply = Vec::new();
        self.get(path, &mut reply)?;
        self.parse(&reply)
    }

    /// Reads the JSON of an answer; it may borrow from it.
    ///
    /// # Errors
    /// [`ClientError::Answer`]
    pub fn parse<'r, T: serde::Deserialize<'r>>(&self, reply: &'r [u8]) -> Result<T, ClientError> {
        serde_json::from_slice(reply).map_err(|_| self.senseless(200))
    }

    fn finish(
        &self,
        own: &Arc<OwnCertificate>,
        sent: Result<Response<Body>, ureq::Error>,
        reply: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let mut response = sent.map_err(|error| self.broken(own, error))?;
        self.0.entry_end.hear(response.headers());
        self.0.quota.hear(response.headers());
        reply.clear();
        let length = response.body().content_length().unwrap_or(0);
        reply.reserve_exact(length.min(MAX_REPLY) as usize);
        let mut reader = response.body_mut().with_config().limit(MAX_REPLY).reader();
        reader
            .read_to_end(reply)
            .map_err(|error| self.broken(own, error.into()))?;
        let status = response.status().as_u16();
        match status {
            200..=299 => Ok(()),
            _ => Err(self
                .refusal(own, &response, reply)
                .map_or_else(|| self.senseless(status), ClientError::Problem)),
        }
    }

    fn refusal(
        &self,
        own: &OwnCertificate,
        response: &Response<Body>,
        reply: &[u8],
    ) -> Option<ProblemReply> {
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let body: ProblemBody<'_> =
            if text("content-type")?.starts_with(crate::http::problem::CONTENT) {
                serde_json::from_slice(reply).ok()?
            } else {
                return None;
            };
        let code = body.code.into_owned();
        Some(ProblemReply {
            status: response.status().as_u16(),
            title: body.title.into_owned(),
            detail: body
                .detail
                .map(Into::into)
                .or_else(|| who_is_unknown(own, &code)),
            code,
            retry_after: text("retry-after").and_then(|seconds| seconds.parse().ok()),
        })
    }

    fn senseless(&self, status: u16) -> ClientError {
        ClientError::Answer {
            base: self.base().to_owned(),
            status,
        }
    }

    fn broken(&self, own: &Arc<OwnCertificate>, error: ureq::Error) -> ClientError {
        let base = self.base().to_owned();
        match HandshakeFault::of(&error, own) {
            Some(fault) => ClientError::Handshake { base, fault },
            None => ClientError::Connection {
                base,
                why: error.to_string(),
            },
        }
    }
}

/// The detail for an unknown client: the digest to enter in the register.
fn who_is_unknown(own: &OwnCertificate, code: &str) -> Option<String> {
    (code == Code::UnknownClient.as_str())
        .then(|| format!("the digest of {own} is {}", own.digest_text()))
}

/// A path from its parts, in which every character but the unreserved ones (RFC 3986 §2.3) is
/// percent-encoded.
pub fn path(parts: &[&str]) -> String {
    let mut path = String::new();
    for part in parts {
        path.push('/');
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(byte.into());
                }
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_parts_apart() {
        assert_eq!(
            path(&["v1", "sectors", "health.chu-rabat", "pseudonyms"]),
            "/v1/sectors/health.chu-rabat/pseudonyms"
        );
        assert_eq!(path(&["a/../b?c#d", "é"]), "/a%2F..%2Fb%3Fc%23d/%C3%A9");
    }
}
