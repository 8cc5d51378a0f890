//! HTTP/1.1 over TLS 1.3, byte by byte, so that a test can also say what no client library would.

use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cloison::http::tls::{Identity, provider, read_certificates};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// How long an answer may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A TLS connection to a listener.
pub struct Stream(StreamOwned<ClientConnection, TcpStream>);

impl Stream {
    /// Connects to the server that shows the certificate `server`, with a certificate and its key
    /// or with none. The handshake happens with the first write.
    pub fn connect(
        address: SocketAddr,
        server: &Path,
        identity: Option<(PathBuf, PathBuf)>,
    ) -> Self {
        Self::try_connect(address, server, identity).unwrap()
    }

    /// The same, where the server may be gone.
    pub fn try_connect(
        address: SocketAddr,
        server: &Path,
        identity: Option<(PathBuf, PathBuf)>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(server).unwrap() {
            roots.add(certificate).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let Identity { chain, key, .. } = Identity::read(&certificate, &key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::IpAddress(address.ip().into());
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Ok(Self(StreamOwned::new(tls, socket)))
    }

    /// Sends these very bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Reads until the other side closes. An answer that broke off is an error.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends a request that asks to close afterwards, and reads the answer.
    pub fn exchange(&mut self, bytes: &[u8]) -> io::Result<Reply> {
        // Whoever is refused early may find the other side closed; the answer still counts.
        let written = self.write(bytes);
        match self.read_to_end() {
            Ok(answer) if !answer.is_empty() => Ok(Reply::parse(&answer)),
            Ok(_) => Err(written
                .err()
                .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(error),
        }
    }

    /// Reads one answer off a connection that stays open: a head and a body of announced length.
    pub fn read_one(&mut self) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            bytes.push(byte[0]);
        }
        let length: usize = Reply::parse(&bytes)
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        let head = bytes.len();
        bytes.resize(head + length, 0);
        self.0.read_exact(&mut bytes[head..])?;
        Ok(Reply::parse(&bytes))
    }
}

/// The bytes of a request that asks to close the connection after the answer.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n")
        .into_bytes();
    for (name, value) in headers {
        write!(bytes, "{name}: {value}\r\n").unwrap();
    }
    if !headers
        .iter()
        .any(|(name, _)| *name == "content-length" || *name == "transfer-encoding")
        && method != "GET"
    {
        write!(bytes, "content-length: {}\r\n", body.len()).unwrap();
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Everything as it came over the wire.
    pub raw: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("an answer has a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        assert!(
            !headers.iter().any(|(name, _)| name == "transfer-encoding"),
            "answers have a length"
        );
        Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
            raw: bytes.to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The JSON of an answer that must be 200.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The code of a refusal, which must be whole (RFC 9457).
    #[track_caller]
    pub fn code(&self) -> String {
        assert!(self.status >= 400, "not refused: {}", self.status);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}",
            self.text()
        );
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let problem = self.json();
        let code = problem["code"]
            .as_str()
            .expect("a problem has a code")
            .to_owned();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], format!("urn:cloison:problem:{code}"));
        assert!(
            problem["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        code
    }
}
