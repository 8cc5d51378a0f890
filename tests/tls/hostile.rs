//! Clients that mean harm, or know no better.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cloison::http::Limits;

use crate::serving::{Server, eventually, exchange, limits};

const REQUEST: &str = "GET /peer HTTP/1.1\r\nhost: x\r\n\r\n";

fn open(server: &Server) -> u64 {
    server.metric("cloison_connections_open{listener=\"data\"}")
}

/// Waits for the other side to close.
fn assert_closed(socket: &mut TcpStream, within: Duration) {
    let start = Instant::now();
    socket.set_read_timeout(Some(within)).unwrap();
    let mut sink = Vec::new();
    match socket.read_to_end(&mut sink) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed after {:?}: {error}", start.elapsed()),
    }
}

#[test]
fn strangers_who_say_nothing_give_way_to_whoever_comes() {
    let patient = Duration::from_secs(20);
    let server = Server::start(Limits {
        handshakes: 3,
        handshake: patient,
        idle: patient,
        ..limits()
    });
    let mut inside = server.settled("client");
    let mut silent: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(server.address).unwrap())
        .collect();
    eventually("three handshakes wait", || {
        server.metric("cloison_connections_total{listener=\"data\"}") == 4
    });
    // Each newcomer is served, and takes the place of the one that has been silent for longest.
    server.settled("client");
    assert_closed(&mut silent[0], Duration::from_secs(30));
    assert_eq!(
        server.metric("cloison_handshakes_evicted_total{listener=\"data\"}"),
        1
    );
    assert_eq!(exchange(&mut inside, REQUEST).unwrap().0, 200);
    server.assert_alive();
}

#[test]
fn a_handshake_that_takes_too_long_is_cut() {
    let server = Server::start(limits());
    assert_closed(
        &mut TcpStream::connect(server.address).unwrap(),
        Duration::from_secs(30),
    );
    server.assert_alive();
}

#[test]
fn connections_are_bounded_in_all_and_by_key() {
    // An eighth for one certificate.
    let server = Server::start(Limits {
        connections: 24,
        idle: Duration::from_secs(20),
        ..limits()
    });
    let names: Vec<String> = (0..9).map(|n| format!("client-{n}")).collect();
    for name in &names {
        server.pki.client(name);
    }
    let mut held: Vec<_> = (0..3).map(|_| server.settled(&names[0])).collect();
    assert!(exchange(&mut server.connect(server.tls(Some(&names[0]))), REQUEST).is_err());
    held.extend(
        names[1..8]
            .iter()
            .flat_map(|name| (0..3).map(|_| server.settled(name))),
    );
    assert!(exchange(&mut server.connect(server.tls(Some(&names[8]))), REQUEST).is_err());
    eventually("two were refused", || {
        server.metric("cloison_connections_refused_total{listener=\"data\"}") == 2
    });
    assert_eq!(open(&server), 24);
    for stream in &mut held {
        assert_eq!(exchange(stream, REQUEST).unwrap().0, 200);
    }
    held.pop();
    eventually("one has gone", || open(&server) == 23);
    server.settled(&names[8]);
}

#[test]
fn a_head_that_comes_in_drops_is_cut() {
    let server = Server::start(limits());
    let mut stream = server.settled("client");
    let mut cut = false;
    for byte in b"GET /peer HTTP/1.1\r\nhost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" {
        std::thread::sleep(Duration::from_millis(60));
        if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() || open(&server) == 0 {
            cut = true;
            break;
        }
    }
    assert!(cut);
    server.assert_alive();
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Server::start(limits());
    let mut stream = server.settled("client");
    let mut rest = Vec::new();
    assert_eq!(
        stream.read_to_end(&mut rest).unwrap(),
        0,
        "closed in good order"
    );
    eventually("closed", || open(&server) == 0);
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let server = Server::start(Limits {
        stall: Duration::from_millis(500),
        idle: Duration::from_secs(60),
        ..limits()
    });
    let mut stream = server.settled("client");
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    stream.flush().unwrap();
    eventually("given up", || open(&server) == 0);
    server.assert_alive();
}

#[test]
fn a_slow_reader_who_reads_is_served() {
    let server = Server::start(Limits {
        stall: Duration::from_millis(800),
        idle: Duration::from_secs(60),
        ..limits()
    });
    let mut stream = server.settled("client");
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let (mut total, mut piece) = (0, vec![0; 1 << 20]);
    while total < 64 << 20 {
        total += stream.read(&mut piece).unwrap();
        if total % (8 << 20) < 16 << 10 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn garbage_and_giants_are_refused() {
    let server = Server::start(limits());
    let long = "x".repeat(20_000);
    let many: String = (0..200).map(|n| format!("h{n}: v\r\n")).collect();
    let bad = [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET /peer\r\n\r\n".to_owned(),
        "GET /peer HTTP/9.9\r\nhost: x\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /peer HTTP/1.1\r\nhost: x\r\nh: {long}\r\n\r\n"),
        format!("GET /peer HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n".to_owned(),
        "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nxxxxx"
            .to_owned(),
    ];
    for request in &bad {
        let mut stream = server.settled("client");
        match exchange(&mut stream, request) {
            Ok((status, _)) => {
                assert!(
                    (400..=499).contains(&status),
                    "{status}: {}",
                    &request[..40.min(request.len())]
                );
            }
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{request:?}"),
        }
    }
    let mut noise = TcpStream::connect(server.address).unwrap();
    let _ = noise.write_all(&[0x5a; 100_000]);
    assert_closed(&mut noise, Duration::from_secs(3));
    server.assert_alive();
}

#[test]
fn connections_that_break_off_leave_nothing_behind() {
    let server = Server::start(limits());
    for _ in 0..50 {
        let mut stream = server.settled("client");
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf")
            .unwrap();
        stream.flush().unwrap();
    }
    eventually("all are gone", || open(&server) == 0);
    server.assert_alive();
}
