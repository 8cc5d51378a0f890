//! One kept-alive connection, HTTP/1.1 over mutual TLS, as cheap as possible, because the load
//! shares the cores with the server.
//!
//! Not a general client: it reads only what these servers answer to well-formed requests.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::client::pins;
use crate::config;
use crate::http::tls::Identity;
use crate::terminal::CommandError;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server that connections go to, and the certificate that they show.
pub struct LoadTarget {
    tls: Arc<ClientConfig>,
    host: String,
    port: u16,
    /// The request's head without the length of its body.
    head: String,
}

impl LoadTarget {
    /// `POST path` at the server of a client file; `headers` are complete lines with line ends.
    ///
    /// # Errors
    /// When the certificates or the key cannot be used, or the URL is not `https://host:port`.
    pub fn new(
        client: &config::ClientConfig,
        path: &str,
        headers: &str,
    ) -> Result<Self, CommandError> {
        let fault = |error: &dyn std::fmt::Display| {
            CommandError::new(error, "check the client file and what it names")
        };
        let identity =
            Identity::read(&client.certificate, &client.key).map_err(|error| fault(&error))?;
        let (tls, _) = pins::tls_config(client, identity).map_err(|error| fault(&error))?;
        let authority = client.url.strip_prefix("https://").unwrap_or_default();
        let (host, port) = authority
            .rsplit_once(':')
            .ok_or_else(|| fault(&"the URL is not https://host:port"))?;
        let port = port
            .parse()
            .map_err(|_| fault(&"the URL is not https://host:port"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n{headers}"
        );
        Ok(Self {
            tls: Arc::new(tls),
            host,
            port,
            head,
        })
    }

    /// Connects, handshake included.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the certificate.
    pub fn connect(&self) -> io::Result<LoadConnection<'_>> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let address = (self.host.as_str(), self.port).to_socket_addrs()?.next();
        let mut socket = TcpStream::connect(address.ok_or(io::ErrorKind::AddrNotAvailable)?)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut session =
            ClientConnection::new(self.tls.clone(), name).map_err(io::Error::other)?;
        session.set_buffer_limit(None);
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let stream = BufReader::with_capacity(64 << 10, StreamOwned::new(session, socket));
        Ok(LoadConnection {
            target: self,
            stream,
            request: Vec::new(),
            line: Vec::new(),
        })
    }
}

/// A connection that one thread uses.
pub struct LoadConnection<'t> {
    target: &'t LoadTarget,
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    request: Vec<u8>,
    line: Vec<u8>,
}

impl LoadConnection<'_> {
    /// Sends `body` and returns the status; the answer's body replaces what is in `reply`.
    ///
    /// # Errors
    /// When the connection broke or the answer is not HTTP.
    pub fn post(&mut self, body: &[u8], reply: &mut Vec<u8>) -> io::Result<u16> {
        self.request.clear();
        self.request.extend_from_slice(self.target.head.as_bytes());
        write!(self.request, "content-length: {}\r\n\r\n", body.len())?;
        self.request.extend_from_slice(body);
        let stream = self.stream.get_mut();
        stream.write_all(&self.request)?;
        stream.flush()?;
        self.receive(reply)
    }

    fn receive(&mut self, reply: &mut Vec<u8>) -> io::Result<u16> {
        reply.clear();
        self.next_line()?;
        let status = std::str::from_utf8(&self.line)
            .ok()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let (mut length, mut chunked) = (0, false);
        loop {
            self.next_line()?;
            if self.line.is_empty() {
                break;
            }
            let line = std::str::from_utf8(&self.line).map_err(io::Error::other)?;
            let Some((name, value)) = line.split_once(':') else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        if !chunked {
            self.take(length, reply)?;
            return Ok(status);
        }
        loop {
            self.next_line()?;
            let size = std::str::from_utf8(&self.line)
                .ok()
                .and_then(|line| u64::from_str_radix(line, 16).ok());
            let size = size.ok_or(io::ErrorKind::InvalidData)?;
            self.take(size, reply)?;
            self.next_line()?;
            if size == 0 {
                return Ok(status);
            }
        }
    }

    fn take(&mut self, length: u64, reply: &mut Vec<u8>) -> io::Result<()> {
        let taken = (&mut self.stream).take(length).read_to_end(reply)?;
        if taken as u64 == length {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Reads a line, without its end.
    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        if self.line.pop() != Some(b'\n') || self.line.pop() != Some(b'\r') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
