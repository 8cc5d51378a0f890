//! The blocking HTTP client by which the command line and the authority node talk to servers.
//!
//! It trusts servers of one certificate authority only, shows its own certificate, keeps connections
//! open, follows no redirect and uses no proxy. Refusals come back as a [`ProblemReply`].

mod audit;
mod batches;
pub mod epochs;
pub mod handshake;
mod last_words;
pub mod lines;
pub mod officer;
pub mod peer;
mod vault;
mod witness;

use std::fmt;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, RustlsConnector, TcpConnector};
use ureq::{Agent, Body};

use handshake::{HandshakeFault, OwnCertificate};
use last_words::HearLastWords;

use crate::code::Code;
use crate::config::ClientConfig;
use crate::http::problem::ProblemBody;
use crate::http::tls::{self, Identity, TlsError};

/// The most bytes that an answer may have: 100 000 items with everything around them, and room to
/// spare.
const MAX_REPLY: u64 = 64 * 1024 * 1024;

/// The content type of JSON.
pub const JSON: &str = "application/json";

/// The client of one server, with its connections. Threads can share it; each uses connections of its
/// own.
pub struct Client {
    agent: Agent,
    base: String,
    own: Arc<OwnCertificate>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until the connection stands, handshake included.
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
    #[error("{base}: {fault}")]
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
    /// The request could not be written as JSON: a bug of cloison.
    #[error("the request has no JSON form")]
    Request,
}

impl ClientError {
    /// After how long to send the same request again, if that may help. For requests that may arrive
    /// twice.
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
        let identity = Identity::read(&config.certificate, &config.key)?;
        let roots = tls::read_certificates(&config.ca)?;
        let chain: Vec<Certificate<'static>> = identity
            .chain
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        let key = PrivateKey::from_pem(&identity.pem).map_err(|_| TlsError::Pem {
            path: config.key.clone(),
            wanted: "private key",
        })?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(
                roots
                    .iter()
                    .map(|root| Certificate::from_der(root).to_owned()),
            ))
            .client_cert(Some(ClientCert::new_with_certs(&chain, key)))
            .unversioned_rustls_crypto_provider(tls::provider())
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("cloison/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            // Below the server's own idle time, so that it is rarely the server that closes.
            .max_idle_age(Duration::from_secs(15))
            .timeout_connect(Some(timeouts.connect))
            .timeout_send_request(Some(timeouts.step))
            .timeout_send_body(Some(timeouts.step))
            .timeout_recv_response(Some(timeouts.step))
            .timeout_recv_body(Some(timeouts.step))
            .build();
        let connector =
            ().chain(TcpConnector::default())
                .chain(HearLastWords)
                .chain(RustlsConnector::default());
        let agent = Agent::with_parts(agent, connector, DefaultResolver::default());
        Ok(Self {
            agent,
            base: config.url.clone(),
            own: Arc::new(OwnCertificate::of(config, &identity)),
        })
    }

    /// The certificate that it shows.
    pub fn own_certificate(&self) -> &OwnCertificate {
        &self.own
    }

    /// The server's URL.
    pub fn base(&self) -> &str {
        &self.base
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
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .content_type(content_type);
        self.finish(request.send(body), reply)
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
        let sent = self
            .agent
            .post(format!("{}{path}", self.base))
            .content_type(content_type)
            .send(body);
        let mut response = sent.map_err(|error| self.broken(error))?;
        reply.clear();
        let mut reader = response.body_mut().with_config().limit(MAX_REPLY).reader();
        reader
            .read_to_end(reply)
            .map_err(|error| self.broken(error.into()))?;
        Ok(response.status().as_u16())
    }

    /// Gets what is at `path`; the answer's body replaces what is in `reply`.
    ///
    /// # Errors
    /// All but [`ClientError::Setup`].
    pub fn get(&self, path: &str, reply: &mut Vec<u8>) -> Result<(), ClientError> {
        self.finish(self.agent.get(format!("{}{path}", self.base)).call(), reply)
    }

    /// As [`Client::post`], from and to JSON. (Callers with large batches keep the buffer and borrow
    /// from it instead.)
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
        sent: Result<Response<Body>, ureq::Error>,
        reply: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let mut response = sent.map_err(|error| self.broken(error))?;
        reply.clear();
        let length = response.body().content_length().unwrap_or(0);
        reply.reserve_exact(length.min(MAX_REPLY) as usize);
        let mut reader = response.body_mut().with_config().limit(MAX_REPLY).reader();
        reader
            .read_to_end(reply)
            .map_err(|error| self.broken(error.into()))?;
        let status = response.status().as_u16();
        match status {
            200..=299 => Ok(()),
            _ => Err(self
                .refusal(&response, reply)
                .map_or_else(|| self.senseless(status), ClientError::Problem)),
        }
    }

    fn refusal(&self, response: &Response<Body>, reply: &[u8]) -> Option<ProblemReply> {
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
                .or_else(|| self.who_is_unknown(&code)),
            code,
            retry_after: text("retry-after").and_then(|seconds| seconds.parse().ok()),
        })
    }

    /// The detail for an unknown client: the digest to enter in the register.
    fn who_is_unknown(&self, code: &str) -> Option<String> {
        let own = &self.own;
        (code == Code::UnknownClient.as_str())
            .then(|| format!("the digest of {own} is {}", own.digest_text()))
    }

    fn senseless(&self, status: u16) -> ClientError {
        ClientError::Answer {
            base: self.base.clone(),
            status,
        }
    }

    fn broken(&self, error: ureq::Error) -> ClientError {
        let base = self.base.clone();
        match HandshakeFault::of(&error, &self.own) {
            Some(fault) => ClientError::Handshake { base, fault },
            None => ClientError::Connection {
                base,
                why: error.to_string(),
            },
        }
    }
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
