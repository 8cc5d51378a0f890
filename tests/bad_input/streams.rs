//! A hostile client over HTTP/2: many streams at once, each with a body that never ends or an
//! answer that nobody reads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use cloison::http::tls::{Identity, provider, read_certificates};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

use crate::common::{Door, World};

/// The resident memory of a process, in MiB.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

/// The most memory that a process has while something is done.
pub fn peak(pid: u32, done: impl FnOnce()) -> u64 {
    let (peak, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(resident(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let _over = Over(&over);
        done();
    });
    peak.into_inner()
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A body of so many bytes that is then never ended; or ended, where it is whole.
pub struct Drip {
    piece: Bytes,
    left: usize,
    ends: bool,
}

impl Drip {
    pub fn unending(bytes: usize) -> Self {
        Self {
            piece: Bytes::from(vec![b' '; 64 << 10]),
            left: bytes,
            ends: false,
        }
    }

    pub fn whole(piece: Bytes) -> Self {
        Self {
            left: piece.len(),
            piece,
            ends: true,
        }
    }
}

impl Body for Drip {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return if self.ends {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        }
        let piece = self.piece.slice(..self.left.min(self.piece.len()));
        self.left -= piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// How many streams there are, and how many bytes each sends.
pub struct Flood {
    pub connections: usize,
    pub streams: usize,
    pub bytes: usize,
}

impl Flood {
    /// Keeps all of them going until told to stop: a stream that is answered is opened again.
    pub fn run(&self, stop: &AtomicBool, world: &World, who: &str, door: Door, path: &str) {
        runtime().block_on(async {
            let mut tasks = vec![];
            for _ in 0..self.connections {
                let Ok(sender) = connect(world, who, door).await else {
                    continue;
                };
                for _ in 0..self.streams {
                    let (mut sender, path, bytes) = (sender.clone(), path.to_owned(), self.bytes);
                    tasks.push(tokio::spawn(async move {
                        loop {
                            let asked = sender
                                .send_request(post(&path, Drip::unending(bytes)))
                                .await;
                            if asked.is_err() {
                                break;
                            }
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }));
                }
            }
            until(stop).await;
            tasks.iter().for_each(tokio::task::JoinHandle::abort);
        });
    }
}

/// Asks on so many connections with so many streams each, and reads no answer.
pub fn ask_and_never_read(
    stop: &AtomicBool,
    world: &World,
    (who, door): (&str, Door),
    path: &str,
    body: Bytes,
    (connections, streams): (usize, usize),
) {
    runtime().block_on(async {
        let mut tasks = vec![];
        for _ in 0..connections {
            let Ok(sender) = connect(world, who, door).await else {
                continue;
            };
            for _ in 0..streams {
                let (mut sender, path, body) = (sender.clone(), path.to_owned(), body.clone());
                tasks.push(tokio::spawn(async move {
                    while let Ok(answer) = sender
                        .send_request(post(&path, Drip::whole(body.clone())))
                        .await
                    {
                        if answer.status() == 200 {
                            std::future::pending::<()>().await;
                        }
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }));
            }
        }
        until(stop).await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

pub fn post(path: &str, body: Drip) -> hyper::Request<Drip> {
    let request = hyper::Request::post(format!("https://127.0.0.1{path}"));
    request
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn until(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A connection over HTTP/2 with somebody's certificate.
pub async fn connect(world: &World, who: &str, door: Door) -> std::io::Result<SendRequest<Drip>> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(&world.server_certificate(door)).unwrap() {
        roots.add(certificate).unwrap();
    }
    let key = world.path(&format!("secrets/tls/{who}.key"));
    let Identity { chain, key, .. } = Identity::read(&world.certificate(who), &key).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap();
    let mut config = builder
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = world.address(door);
    let socket = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await?;
    // Little is taken off the server's hands.
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(16 << 10)
        .initial_connection_window_size(64 << 10);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
