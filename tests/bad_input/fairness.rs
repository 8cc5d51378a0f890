//! An honest client beside a hostile one: whatever one address, certificate or organisation does,
//! every request of everybody else is answered within seconds, and memory stays flat. Latencies are
//! printed (`--nocapture`), and judged by those seconds only.
#![expect(unsafe_code, reason = "signals to a child")]

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Door, QUORUM, Reply, Setup, Side, Stream, World, batch_path, swap};
use crate::streams::{self, Flood};

/// Within this an honest client is served, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(15);
/// By how much a process may grow under an attack, in MiB: what a listener grants to one
/// certificate, and slack.
const GROWTH: u64 = 200;

/// Asks for something again and again, which must be granted each time, and prints how long it
/// took.
fn honest(what: &str, times: usize, ask: impl Fn() -> Reply) {
    let asked = |_| {
        let since = Instant::now();
        (ask().status, since.elapsed())
    };
    let answers: Vec<_> = (0..times).map(asked).collect();
    let mut took: Vec<_> = answers.iter().map(|answer| answer.1).collect();
    took.sort();
    println!(
        "{what}: p50 {:.1?}, p99 {:.1?} of {times}",
        took[times / 2],
        took[times * 99 / 100]
    );
    let refused: Vec<_> = answers
        .iter()
        .map(|answer| answer.0)
        .filter(|status| *status != 200)
        .collect();
    assert!(
        refused.is_empty(),
        "{what}: {} of {times} were refused: {refused:?}",
        refused.len()
    );
    assert!(took[times - 1] < PATIENCE, "{what}: {:?}", took[times - 1]);
}

fn tokenize(world: &World) -> Reply {
    world.batch("dgi-tax", "tax", "cnie", Some("assessment"), &["AB123456"])
}

fn seal(world: &World) -> Reply {
    world.post_json("officer", Door::Officers, "/v1/seal", &json!({}))
}

/// Runs an honest client alone, and then beside the attack, which is told when to stop.
fn beside(
    name: &str,
    times: usize,
    act: impl Fn() -> Reply,
    attack: impl FnOnce(&AtomicBool) + Send,
) {
    honest(&format!("{name}, alone"), times, &act);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| attack(&stop));
        // Also when an assertion fails: the attacker is waited for.
        let _stop = Raise(&stop);
        std::thread::sleep(Duration::from_millis(1_500));
        honest(&format!("{name}, attacked"), times, &act);
    });
}

struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps so many connections open until told to stop: who is closed comes again.
fn keep_open(stop: &AtomicBool, count: usize, open: impl Fn() -> Option<TcpStream>) {
    let mut held = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        held.retain(is_open);
        while held.len() < count && !stop.load(Ordering::Relaxed) {
            let Some(socket) = open() else { break };
            held.push_back(socket);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_open(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let read = (&mut &*socket).read(&mut [0; 4096]);
    matches!(read, Ok(1..))
        || matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

fn silent(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()
}

#[test]
fn silent_connections_from_one_address_keep_nobody_out() {
    let world = World::with(Setup {
        log: "warn",
        custodians: Some((2, 3)),
        ..Setup::default()
    });
    for (name, door, act) in [
        (
            "authority seal beside 200 silent connections",
            Door::Officers,
            seal as fn(&World) -> Reply,
        ),
        (
            "tokenization beside 200 silent connections",
            Door::Data,
            tokenize,
        ),
    ] {
        let address = world.address(door);
        beside(
            name,
            20,
            || act(&world),
            |stop| keep_open(stop, 200, || silent(address)),
        );
    }
}

#[test]
fn announced_bodies_take_no_room() {
    let world = World::with(Setup {
        log: "warn",
        ..Setup::default()
    });
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        batch_path("health"),
        (16 << 20) - 1,
    );
    let attack = |stop: &AtomicBool| {
        let announce = || {
            let mut stream = world.connect(Some("cnss-health"), Door::Data);
            stream.write(head.as_bytes()).ok().map(|()| stream)
        };
        let _held: Vec<Stream> = (0..8).filter_map(|_| announce()).collect();
        wait_for(stop);
    };
    beside(
        "tokenization beside eight announced bodies",
        100,
        || tokenize(&world),
        attack,
    );
}

fn wait_for(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_one_certificate_sends_is_bounded_whatever_it_asks_for() {
    let may_retire = |text: String| {
        let at = text.find("\n[[client]]\nid = \"cnss-health\"").unwrap();
        let tail = text[at..].replacen(
            "operations = [\"tokenize\"]",
            "operations = [\"tokenize\", \"retire-epoch\"]",
            1,
        );
        text[..at].to_owned() + &tail
    };
    let setup = Setup {
        log: "warn",
        register: Box::new(may_retire),
        custodians: Some((2, 3)),
        ..Setup::default()
    };
    let mut world = World::with(setup);
    for (who, door, path, side) in [
        ("auditor", Door::Control, "/v1/inspections", Side::Vault),
        (
            "cnss-health",
            Door::Data,
            "/v1/sectors/health/epochs/1/retire",
            Side::Vault,
        ),
        ("custodian-1", Door::Officers, "/v1/shares", Side::Node),
    ] {
        let pid = world.pid(side).unwrap();
        let before = streams::resident(pid);
        let flood = Flood {
            connections: 4,
            streams: 64,
            bytes: (4 << 20) - 1,
        };
        let peak = streams::peak(pid, || {
            let act = || {
                if side == Side::Node {
                    seal(&world)
                } else {
                    tokenize(&world)
                }
            };
            let attack = |stop: &AtomicBool| flood.run(stop, &world, who, door, path);
            beside(&format!("256 streams of 4 MiB by {who}"), 50, act, attack);
        });
        println!("256 streams of 4 MiB by {who}: {before} MiB before, {peak} MiB at most");
        assert!(
            peak < before + GROWTH,
            "{who}: {before} MiB, then {peak} MiB"
        );
    }
}

#[test]
fn each_operation_has_a_limit_of_its_own() {
    let world = World::with(Setup {
        log: "warn",
        custodians: Some((2, 3)),
        ..Setup::default()
    });
    for (who, door, path, limit) in [
        ("custodian-1", Door::Officers, "/v1/shares", 8 << 10),
        ("custodian-1", Door::Officers, "/v1/drills", 8 << 10),
        ("officer", Door::Officers, "/v1/acts", 24 << 10),
        ("operator", Door::Control, "/v1/acts", 24 << 10),
        (
            "operator",
            Door::Control,
            "/v1/sectors/health/epochs",
            64 << 10,
        ),
        ("auditor", Door::Control, "/v1/inspections", 128 << 10),
        ("officer", Door::Officers, "/v1/reidentifications", 2 << 20),
        ("node", Door::Control, "/v1/releases", 2 << 20),
        (
            "cnss-health",
            Door::Data,
            "/v1/sectors/health/pseudonyms",
            16 << 20,
        ),
    ] {
        let spaces =
            |length: usize| world.post(who, door, path, "application/json", &vec![b' '; length]);
        assert_eq!(spaces(limit).code(), "malformed-body", "{path}");
        let reply = spaces(limit + 1);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (413, "too-large"),
            "{path}"
        );
        assert!(
            reply.text().contains(&format!("at most {limit} bytes")),
            "{}",
            reply.text()
        );
    }
}

/// A vault whose listeners hold 64 connections.
fn narrow() -> World {
    let mut world = World::with(Setup {
        log: "warn",
        start: false,
        ..Setup::default()
    });
    let config = world.read("vault.toml");
    let narrow = if config.contains("[limits]") {
        swap(&config, "[limits]", "[limits]\nconnections = 64")
    } else {
        config + "\n[limits]\nconnections = 64\n"
    };
    world.write("vault.toml", &narrow);
    world.start(Side::Vault, &[]);
    world
}

/// Holds connections with certificates, each after a handshake and half a request.
fn hold(stop: &AtomicBool, world: &World, names: &[&str], each: usize) {
    let mut held = vec![];
    while !stop.load(Ordering::Relaxed) {
        for name in names.iter().cycle().take(names.len() * each) {
            let mut stream = world.connect(Some(name), Door::Data);
            if stream.write(b"GET / HTTP/1.1\r\nhost: x\r\n").is_ok() && held.len() < 1_000 {
                held.push(stream);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn certificates_of_strangers_hold_no_connection() {
    let world = narrow();
    let names = ["stranger-1", "stranger-2", "stranger-3", "stranger-4"];
    for name in &names {
        world.certify(name, 2000, 4000);
    }
    let attack = |stop: &AtomicBool| hold(stop, &world, &names, 32);
    beside(
        "tokenization beside strangers' connections",
        40,
        || tokenize(&world),
        attack,
    );
}

#[test]
fn one_certificate_does_not_hold_all_connections() {
    let world = narrow();
    let attack = |stop: &AtomicBool| hold(stop, &world, &["cnss-health"], 96);
    beside(
        "tokenization beside one client's connections",
        40,
        || tokenize(&world),
        attack,
    );
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    let mut world = World::with(Setup {
        log: "warn",
        ..Setup::default()
    });
    let cards: Vec<String> = (0..50_000).map(|n| format!("QQ{n:06}")).collect();
    let body = json!({"scheme": "cnie", "purpose": "billing", "identifiers": cards}).to_string();
    let content = "application/json";
    assert_eq!(
        world
            .post(
                "cnss-health",
                Door::Data,
                &batch_path("health"),
                content,
                body.as_bytes()
            )
            .status,
        200
    );
    let pid = world.pid(Side::Vault).unwrap();
    let before = streams::resident(pid);
    let peak = streams::peak(pid, || {
        let attack = |stop: &AtomicBool| {
            let (who, path) = (("cnss-health", Door::Data), batch_path("health"));
            streams::ask_and_never_read(stop, &world, who, &path, body.clone().into(), (4, 60));
        };
        beside(
            "240 answers of 2 MB that nobody reads",
            600,
            || tokenize(&world),
            attack,
        );
    });
    println!("240 answers of 2 MB that nobody reads: {before} MiB before, {peak} MiB at most");
    assert!(peak < before + GROWTH, "{before} MiB, then {peak} MiB");
}

/// Suspends a process until it is dropped.
struct Suspended(libc::pid_t);

impl Suspended {
    fn new(pid: u32) -> Self {
        let pid = libc::pid_t::try_from(pid).unwrap();
        // SAFETY: the child was not waited for yet, so the id is still its own.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        Self(pid)
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::kill(self.0, libc::SIGCONT) };
    }
}

/// More requests wait for a vault that does not answer than there are threads for all; sealing has
/// threads of its own.
#[test]
fn sealing_waits_for_no_other_work() {
    let mut world = World::with(Setup {
        log: "warn",
        ..Setup::default()
    });
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    let request = world.request(&order, "health", &pseudonyms);
    let asked =
        json!({"order": order, "request": request, "sector": "health", "pseudonyms": pseudonyms})
            .to_string();
    let _suspended = Suspended::new(world.pid(Side::Vault).unwrap());
    let status = || world.get("officer", Door::Officers, "/v1/seal");
    let is_sealed = || status().ok()["sealed"] == true;
    let attack = |stop: &AtomicBool| {
        let officer = ("officer", Door::Officers);
        streams::ask_and_never_read(
            stop,
            &world,
            officer,
            "/v1/reidentifications",
            asked.into(),
            (10, 64),
        );
    };
    beside(
        "authority status beside 640 waiting requests",
        20,
        status,
        attack,
    );
    assert!(!is_sealed());
    // Those on their threads still wait.
    honest("authority seal beside waiting threads", 1, || seal(&world));
    assert!(is_sealed());
}
