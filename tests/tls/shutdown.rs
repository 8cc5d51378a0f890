//! The end: requests under way are answered, and not for ever.

use std::io::Read as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use cloison::http::Limits;

use crate::serving::{Server, eventually, limits};

#[test]
fn requests_under_way_are_answered() {
    let mut server = Server::start(Limits {
        idle: Duration::from_secs(20),
        ..limits()
    });
    server.readiness.clear("starting");
    let mut idle = server.settled("client");
    let client = server.client("client");
    let asking = thread::spawn(move || {
        let mut reply = Vec::new();
        client.get("/slow/4000", &mut reply).map(|()| reply)
    });
    eventually("both are there", || {
        server.metric("cloison_connections_open{listener=\"data\"}") == 2
    });
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.stop();
    // Nobody new is let in, health says so, who has nothing to do is asked to leave at once.
    eventually("the door is closed", || {
        TcpStream::connect(server.address).is_err()
    });
    assert!(!server.readiness.is_ready());
    assert!(TcpStream::connect(server.health).is_ok());
    assert_eq!(idle.read_to_end(&mut vec![]).unwrap(), 0);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(asking.join().unwrap().unwrap(), b"done");
    assert_eq!(server.join(), 0);
    assert!(TcpStream::connect(server.health).is_err());
}

#[test]
fn patience_ends() {
    let mut server = Server::start(Limits {
        drain: Duration::from_millis(300),
        ..limits()
    });
    let client = server.client("client");
    let asking = thread::spawn(move || client.get("/slow/60000", &mut vec![]));
    eventually("it is there", || {
        server.metric("cloison_connections_open{listener=\"data\"}") == 1
    });
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.stop();
    assert_eq!(server.join(), 1);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert!(asking.join().unwrap().is_err());
}

#[test]
fn a_connection_grows_old() {
    let server = Server::start(Limits {
        age: Duration::from_secs(2),
        idle: Duration::from_secs(1),
        ..limits()
    });
    let client = server.client("client");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(4500) {
        server.ask(&client, "/peer").unwrap();
        thread::sleep(Duration::from_millis(200));
    }
    let opened = server.metric("cloison_connections_total{listener=\"data\"}");
    assert!((2..=4).contains(&opened), "{opened}");
}
