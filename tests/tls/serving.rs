//! A server for a test, and raw connections to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use cloison::access::{AccountHolder, CallerStanding};
use cloison::client::Client;
use cloison::code::Code;
use cloison::config::TlsFiles;
use cloison::http::tls::{self, Identity, ServerTls};
use cloison::http::{
    Callers, KeyCheck, Lane, Limits, Listener, Peer, Problem, Readiness, body, health, serve,
};
use cloison::metrics::Registry;
use data_encoding::HEXLOWER;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::pki::Pki;

/// The most bytes that `/echo` takes.
pub const LIMIT: usize = 1024 * 1024;

fn router() -> Router {
    Router::new()
        .route(
            "/peer",
            get(async |peer: Peer| HEXLOWER.encode(&peer.spki.0)),
        )
        .route("/echo", post(echo))
        .route("/slow/{milliseconds}", get(slow))
        .route("/large", get(async || vec![b'x'; 64 * 1024 * 1024]))
        .route("/panic", get(panics))
        .route(
            "/refuse",
            post(async || {
                Problem::new(Code::QuotaExceeded)
                    .detail("of today")
                    .retry_after(7)
            }),
        )
}

/// Anybody who holds a key, each with an account of their own.
fn anybody(tls: ServerTls) -> Callers {
    let check: KeyCheck = Arc::new(|key| {
        Ok(CallerStanding {
            holder: AccountHolder::Certificate(key),
            stops: false,
            until: None,
        })
    });
    Callers::Known(tls, check)
}

async fn echo(peer: Peer, request: Request) -> Result<axum::body::Bytes, Problem> {
    body::read(&peer, Lane::Work, LIMIT, request.into_body()).await
}

async fn panics() {
    panic!("a fault of ours, on purpose");
}

async fn slow(axum::extract::Path(milliseconds): axum::extract::Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "done"
}

/// Limits short enough for a test.
pub fn limits() -> Limits {
    Limits {
        idle: Duration::from_millis(1_500),
        handshake: Duration::from_millis(1_500),
        ..Limits::default()
    }
}

pub struct Server {
    pub pki: Pki,
    pub address: SocketAddr,
    pub health: SocketAddr,
    pub registry: Arc<Registry>,
    pub readiness: Arc<Readiness>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<usize>>,
}

impl Server {
    pub fn start(limits: Limits) -> Self {
        let pki = Pki::new();
        let files = pki.server_files();
        Self::start_with(pki, &files, limits)
    }

    pub fn start_with(pki: Pki, files: &TlsFiles, limits: Limits) -> Self {
        let tls = ServerTls::read(files).unwrap();
        let (registry, readiness) = (Arc::new(Registry::new()), Readiness::starting());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (registry, readiness) = (Arc::clone(&registry), Arc::clone(&readiness));
            move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let any = "127.0.0.1:0".parse().unwrap();
                    let data = Listener::bind("data", any, anybody(tls), router(), limits).unwrap();
                    let pages = health::router(Arc::clone(&readiness), Arc::clone(&registry));
                    let health =
                        Listener::bind("health", any, Callers::Anybody, pages, Limits::default())
                            .unwrap();
                    tell.send((data.address().unwrap(), health.address().unwrap()))
                        .unwrap();
                    let shutdown = async {
                        let _ = stopped.await;
                    };
                    serve(vec![data], Some(health), &readiness, &registry, shutdown).await
                })
            }
        });
        let (address, health) = told.recv().unwrap();
        Self {
            pki,
            address,
            health,
            registry,
            readiness,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.address.port())
    }

    pub fn client(&self, name: &str) -> Client {
        Client::new(&self.pki.client_config(name, self.url())).unwrap()
    }

    /// A request with a client's certificate on a connection of its own: the body as text.
    pub fn ask(&self, client: &Client, path: &str) -> Result<String, cloison::client::ClientError> {
        let mut reply = Vec::new();
        client.get(path, &mut reply)?;
        Ok(String::from_utf8(reply).unwrap())
    }

    /// Tells it to stop, without waiting.
    pub fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until it has stopped: how many connections it had to cut.
    pub fn join(&mut self) -> usize {
        self.thread.take().unwrap().join().unwrap()
    }

    /// The value of a metric, labels included in its name. It may have to be waited for: the
    /// listener makes its metrics in the thread that serves.
    pub fn metric(&self, name: &str) -> u64 {
        let since = std::time::Instant::now();
        loop {
            let text = self.registry.render();
            let line = text.lines().find(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(' '))
            });
            match line {
                Some(line) => return line.rsplit_once(' ').unwrap().1.parse().unwrap(),
                None => assert!(since.elapsed().as_secs() < 10, "no {name} in\n{text}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// What a client's rustls is set up with, by hand. (A server's certificate that an authority
    /// issued is judged by that.)
    pub fn tls(&self, name: Option<&str>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for root in tls::read_certificates(&self.pki.path("ca.pem")).unwrap() {
            roots.add(root).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap();
        let builder = builder.with_root_certificates(roots);
        match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let config = self.pki.client_config(name, String::new());
                let identity = Identity::read(&config.certificate, &config.key).unwrap();
                builder
                    .with_client_auth_cert(identity.chain, identity.key)
                    .unwrap()
            }
        }
    }

    /// A TLS connection by hand. With TLS 1.3, whether the server takes it shows only when one
    /// reads.
    pub fn connect(&self, config: ClientConfig) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        StreamOwned::new(
            ClientConnection::new(Arc::new(config), name).unwrap(),
            socket,
        )
    }

    /// A connection on which a request was answered.
    pub fn settled(&self, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let mut stream = self.connect(self.tls(Some(name)));
        assert_eq!(
            exchange(&mut stream, "GET /peer HTTP/1.1\r\nhost: x\r\n\r\n")
                .unwrap()
                .0,
            200
        );
        stream
    }

    /// That the server still serves as if nothing had been.
    pub fn assert_alive(&self) {
        assert_eq!(self.ask(&self.client("client"), "/slow/0").unwrap(), "done");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends a request and reads the answer: its status and its head.
pub fn exchange(stream: &mut (impl Read + Write), request: &str) -> std::io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    read_answer(stream)
}

/// Reads one answer with a `content-length`: its status and its head, in lower case.
pub fn read_answer(stream: &mut impl Read) -> std::io::Result<(u16, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .unwrap_or("0");
    std::io::copy(
        &mut stream.take(length.parse().unwrap()),
        &mut std::io::sink(),
    )?;
    Ok((head[9..12].parse().unwrap(), head))
}

/// Waits until something is so, at most five seconds.
pub fn eventually(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
