//! A source that has the right key and the right check value, and does not answer as it should:
//! nothing of what it says is used, and nothing is stored.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use cloison::http::tls::Identity;
use cloison::utis::{CONTENT, PATH, UtiPart, UtiRequest};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::*;
use crate::common::Stream;
use crate::common::identity::{split, tokenized};
use crate::common::process::soon;

/// What it does with an answer of the true source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// It sends nothing more.
    Hangs,
    Short,
    Long,
    /// The answer to the request before.
    AnotherBatch,
    /// The answer to the request before, under the nonce of this one.
    AnotherBatchRenamed,
    /// It refuses with a code that is none.
    NoCode,
    OtherContent,
    OtherStatus,
}

/// Stands between the vault and the true source, with the true source's key.
struct FalseSource {
    address: SocketAddr,
    lie: Arc<Mutex<Lie>>,
    _runtime: tokio::runtime::Runtime,
}

/// How to reach the true source as the vault does.
#[derive(Clone)]
struct TrueSource {
    address: SocketAddr,
    server: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl TrueSource {
    fn ask(&self, body: &[u8]) -> Vec<u8> {
        let files = Some((self.certificate.clone(), self.key.clone()));
        let content = [("content-type", CONTENT)];
        let bytes = crate::common::request("POST", PATH, &content, body);
        let mut stream = Stream::connect(self.address, &self.server, files);
        stream.exchange(&bytes).unwrap().body
    }
}

impl FalseSource {
    fn before(world: &World, place: &IdentityPlace) -> Self {
        let file = |name: &str| world.path(&format!("secrets/tls/{name}.key"));
        let truth = TrueSource {
            address: place.control,
            server: world.certificate("identity"),
            certificate: world.certificate("vault-utis"),
            key: file("vault-utis"),
        };
        let Identity { chain, key, .. } =
            Identity::read(&world.certificate("identity"), &file("identity")).unwrap();
        let provider = cloison::http::tls::provider();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let lie = Arc::new(Mutex::new(Lie::None));
        let (told, last) = (lie.clone(), Arc::new(Mutex::new(vec![])));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, truth) = (acceptor.clone(), truth.clone());
                let (told, last) = (told.clone(), last.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (truth, told, last) = (truth.clone(), told.clone(), last.clone());
                        async move { Ok::<_, Infallible>(answer(request, truth, told, last).await) }
                    });
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            lie,
            _runtime: runtime,
        }
    }

    fn tell(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }
}

async fn answer(
    request: Request<Incoming>,
    truth: TrueSource,
    told: Arc<Mutex<Lie>>,
    last: Arc<Mutex<Vec<u8>>>,
) -> Response<Body> {
    let body = to_bytes(Body::new(request.into_body()), 1 << 20)
        .await
        .unwrap();
    let is_probe =
        UtiRequest::read(&body).is_ok_and(|request| matches!(request.parts[..], [UtiPart::Probe]));
    let asked = body.clone();
    let true_answer = tokio::task::spawn_blocking(move || truth.ask(&asked))
        .await
        .unwrap();
    let lie = if is_probe {
        Lie::None
    } else {
        *told.lock().unwrap()
    };
    let (mut status, mut content, mut answer) = (200, CONTENT, true_answer.clone());
    match lie {
        Lie::None => {}
        Lie::Hangs => tokio::time::sleep(Duration::from_secs(60)).await,
        Lie::Short => drop(answer.pop()),
        Lie::Long => answer.push(0),
        Lie::AnotherBatch => answer = last.lock().unwrap().clone(),
        Lie::AnotherBatchRenamed => {
            answer = last.lock().unwrap().clone();
            answer[1..17].copy_from_slice(&true_answer[1..17]);
        }
        Lie::NoCode => {
            answer.truncate(19);
            answer.extend_from_slice(&[1, 0, 6]);
            answer.extend_from_slice(b"no-one\0\0\0\0");
        }
        Lie::OtherContent => content = "text/plain",
        Lie::OtherStatus => status = 206,
    }
    if lie == Lie::None && !is_probe {
        *last.lock().unwrap() = true_answer;
    }
    Response::builder()
        .status(status)
        .header("content-type", content)
        .body(Body::from(answer))
        .unwrap()
}

#[test]
fn an_answer_that_is_not_the_one_is_not_used_and_nothing_is_stored() {
    let mut world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    let false_source = FalseSource::before(&world, &place);
    split(&world, false_source.address);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    let ask = |world: &World, cards: &[&str]| {
        world.batch("cnss-health", "health", "cnie", Some("billing"), cards)
    };
    let before = world.health_pseudonyms(&["AB123456"]);
    let lies = [
        Lie::Hangs,
        Lie::Short,
        Lie::Long,
        Lie::AnotherBatch,
        Lie::AnotherBatchRenamed,
        Lie::NoCode,
        Lie::OtherContent,
        Lie::OtherStatus,
    ];
    for lie in lies {
        false_source.tell(lie);
        let refused = ask(&world, &["AB123456", "X1"]);
        assert_eq!(
            (refused.status, &*refused.code()),
            (503, "identity-unavailable"),
            "{lie:?}"
        );
        false_source.tell(Lie::None);
        soon("the source is used again", || {
            ask(&world, &["AB123456"]).status == 200
        });
    }
    assert_eq!(world.health_pseudonyms(&["AB123456"]), before);
    world.stop();
    assert!(source.stop().success());
    assert_eq!(world.mappings(), 1, "nothing of what was refused is stored");
    let accepted = tokenized(&world);
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
    let said = world.log(Side::Vault);
    for value in ["AB123456", "\"X1\""] {
        assert!(!said.contains(value));
    }
}
