//! What a request gets for an answer.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use cloison::client::{ClientError, JSON, ProblemReply};
use cloison::code::Code;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;

use crate::serving::{LIMIT, Server, exchange, limits, read_answer};

fn problem(result: Result<(), ClientError>) -> ProblemReply {
    match result {
        Err(ClientError::Problem(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_gets_problems_as_such() {
    let server = Server::start(limits());
    let client = server.client("client");
    let refused = problem(client.post("/refuse", JSON, b"{}", &mut vec![]));
    let wanted = ProblemReply {
        status: 429,
        code: "quota-exceeded".into(),
        title: "The organisation's quota of items is used up".into(),
        detail: Some("of today".into()),
        retry_after: Some(7),
    };
    assert_eq!(refused, wanted);
    assert_eq!(refused.known(), Some(Code::QuotaExceeded));
    let missing = problem(client.get("/nothing", &mut vec![]));
    assert_eq!(
        (missing.status, missing.known()),
        (404, Some(Code::NotFound))
    );
    let method = problem(client.get("/echo", &mut vec![]));
    assert_eq!(
        (method.status, method.known()),
        (405, Some(Code::MethodNotAllowed))
    );
}

#[test]
fn every_answer_is_not_to_be_kept() {
    let server = Server::start(limits());
    let mut stream = server.settled("client");
    for request in [
        "GET /peer",
        "GET /nothing",
        "GET /echo",
        "GET /panic",
        "HEAD /peer",
    ] {
        let (status, head) = {
            stream
                .write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
                .unwrap();
            if request.starts_with("HEAD") {
                read_head(&mut stream)
            } else {
                read_answer(&mut stream).unwrap()
            }
        };
        assert!(
            head.contains("cache-control: no-store\r\n"),
            "{request}: {head}"
        );
        assert_eq!(
            head.contains("application/problem+json"),
            status >= 400,
            "{request}: {head}"
        );
        assert_eq!(
            head.contains("\r\nallow: post\r\n"),
            status == 405,
            "{request}: {head}"
        );
    }
}

fn read_head(stream: &mut impl std::io::Read) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    (head[9..12].parse().unwrap(), head)
}

#[test]
fn connections_are_kept() {
    let server = Server::start(limits());
    let client = server.client("client");
    for length in [0, 1, 100, 10_000, 200_000, LIMIT] {
        let (body, mut reply) = (vec![b'7'; length], Vec::new());
        client
            .post("/echo", "application/octet-stream", &body, &mut reply)
            .unwrap();
        assert_eq!(reply, body);
    }
    // Refusals do not cost the connection either, even with a body that nobody wanted.
    problem(client.post("/refuse", JSON, &vec![b' '; LIMIT], &mut vec![]));
    problem(client.post("/nothing", JSON, &vec![b' '; LIMIT], &mut vec![]));
    problem(client.get("/panic", &mut vec![]));
    server.ask(&client, "/peer").unwrap();
    assert_eq!(
        server.metric("cloison_connections_total{listener=\"data\"}"),
        1
    );
    assert_eq!(server.metric("cloison_panics_total{listener=\"data\"}"), 1);
}

#[test]
fn what_is_too_large_is_told_so() {
    let server = Server::start(limits());
    let client = server.client("client");
    for length in [LIMIT + 1, 17 * LIMIT] {
        let refused = problem(client.post("/echo", JSON, &vec![b' '; length], &mut vec![]));
        assert_eq!(
            (refused.status, refused.known()),
            (413, Some(Code::TooLarge))
        );
        assert!(refused.detail.unwrap().contains("1048576"));
    }
    // Without an announced length it is counted as it comes.
    let mut stream = server.settled("client");
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..33 {
        stream.write_all(b"8000\r\n").unwrap();
        stream.write_all(&[b' '; 0x8000]).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().0, 413);
    // Who waits for leave to send is told without sending anything.
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        20 * LIMIT
    );
    assert_eq!(
        exchange(&mut server.settled("client"), &head).unwrap().0,
        413
    );
}

#[test]
fn health_is_plain_and_truthful() {
    let server = Server::start(limits());
    let get = |path: &str| {
        let mut socket = TcpStream::connect(server.health).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    let starting = get("/readyz");
    assert!(starting.starts_with("HTTP/1.1 503"), "{starting}");
    assert!(
        starting.ends_with(r#"{"ready":false,"reasons":{"starting":"not serving yet"}}"#),
        "{starting}"
    );
    server.readiness.clear("starting");
    assert!(get("/readyz").ends_with(r#"{"ready":true,"reasons":{}}"#));
    server.readiness.set("audit", "no room");
    assert!(get("/readyz").contains(r#""audit":"no room""#));
    server.assert_alive();
    let metrics = get("/metrics");
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(
        metrics.contains("cloison_http_answers_total{listener=\"data\"} 1\n"),
        "{metrics}"
    );
    assert!(get("/other").contains("application/problem+json"));
}

/// Who announces more than is ever read, or does not end, sees the answer all the same, also who
/// reads only after sending a lot.
#[test]
fn what_is_too_large_is_told_so_whatever_is_sent() {
    let server = Server::start(limits());
    let announced = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        1_u64 << 40
    );
    let mut stream = server.settled("client");
    stream.write_all(announced.as_bytes()).unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..150 {
        stream.write_all(&piece).unwrap();
    }
    assert_eq!(read_answer(&mut stream).unwrap().0, 413);

    let mut stream = server.settled("client");
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..150 {
        stream.write_all(b"100000\r\n").unwrap();
        stream.write_all(&piece).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    assert_eq!(read_answer(&mut stream).unwrap().0, 413);

    over_http2(&server, "client", async |mut sender| {
        for (announced, sent) in [
            (Some(17 << 20), 17),
            (Some(100 << 20), 100),
            (None, 2),
            (None, 100),
            (None, u64::MAX),
        ] {
            let mut request = hyper::Request::post("https://localhost/echo");
            if let Some(length) = announced {
                request = request.header("content-length", length);
            }
            let request = request
                .body(axum::body::Body::new(Megabytes(sent)))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), 413, "{announced:?}, {sent}");
            let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1_000)
                .await
                .unwrap();
            assert!(std::str::from_utf8(&body).unwrap().contains("too-large"));
        }
        // And the connection is good for more.
        let ask = hyper::Request::get("https://localhost/peer")
            .body(axum::body::Body::empty())
            .unwrap();
        assert_eq!(
            sender.send_request(ask).await.unwrap().status().as_u16(),
            200
        );
    });
}

/// A body of so many mebibytes.
struct Megabytes(u64);

impl hyper::body::Body for Megabytes {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        static PIECE: [u8; 1 << 20] = [b' '; 1 << 20];
        if self.0 == 0 {
            return std::task::Poll::Ready(None);
        }
        self.0 -= 1;
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(
            axum::body::Bytes::from_static(&PIECE),
        ))))
    }
}

/// What is done over one connection of HTTP/2.
fn over_http2(
    server: &Server,
    name: &str,
    done: impl AsyncFnOnce(hyper::client::conn::http2::SendRequest<axum::body::Body>),
) {
    let mut config = server.tls(Some(name));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let socket = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        let stream = connector
            .connect(ServerName::try_from("localhost").unwrap(), socket)
            .await
            .unwrap();
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        done(sender).await;
    });
}

#[test]
fn http2_is_spoken_too() {
    let server = Server::start(limits());
    let digest = server.pki.client("two");
    let mut config = server.tls(Some("two"));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let socket = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        let stream = connector
            .connect(ServerName::try_from("localhost").unwrap(), socket)
            .await
            .unwrap();
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let ask = |path| {
            hyper::Request::get(format!("https://localhost{path}"))
                .body(axum::body::Body::empty())
                .unwrap()
        };
        let answer = sender.send_request(ask("/peer")).await.unwrap();
        assert_eq!(
            (answer.version(), answer.status().as_u16()),
            (hyper::Version::HTTP_2, 200)
        );
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 100)
            .await
            .unwrap();
        assert_eq!(body, data_encoding::HEXLOWER.encode(&digest));
        let panicked = sender.send_request(ask("/panic")).await.unwrap();
        assert_eq!(panicked.status().as_u16(), 500);
        assert_eq!(
            sender
                .send_request(ask("/nothing"))
                .await
                .unwrap()
                .status()
                .as_u16(),
            404
        );
        // Kept open for nothing, it is closed in good order.
        tokio::time::timeout(std::time::Duration::from_secs(60), connection)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    });
}
