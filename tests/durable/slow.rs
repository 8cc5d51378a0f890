//! A disk that does not come back, and one that comes back late: nobody is let in who would wait
//! for it without end, nothing is half done, and service goes on by itself. On real processes,
//! whose writer is stopped in its tracks as by a write that hangs.
#![expect(
    unsafe_code,
    reason = "a child that is stopped and a file that fills the disk"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloison::code::Code;
use cloison::commit::{Change, Job, JobLog, STALL};

use super::faults::free;
use super::world;
use crate::common::{QUORUM, Setup, Side, World, plain_get};

const NONE: *mut libc::c_void = std::ptr::null_mut();

/// A thread of another process, stopped until this is dropped. Only the thread that stopped it can
/// let it go.
struct Stopped(libc::pid_t);

impl Stopped {
    /// Stops the thread of that name; nothing where this user may not.
    fn thread(pid: u32, name: &str) -> Option<Self> {
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let named = |path: &std::path::PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let thread = threads
            .into_iter()
            .find(named)
            .expect("there is such a thread");
        let id: libc::pid_t = thread
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        // SAFETY: plain numbers; the thread lives, and so does its process, which is ours.
        unsafe {
            if libc::ptrace(libc::PTRACE_SEIZE, id, NONE, NONE) != 0 {
                return None;
            }
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, id, NONE, NONE), 0);
            let mut status = 0;
            assert_eq!(libc::waitpid(id, &raw mut status, libc::__WALL), id);
        }
        Some(Self(id))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: a thread that we stopped.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, NONE, NONE) };
    }
}

#[test]
fn a_disk_that_does_not_come_back() {
    let mut world = World::with(Setup {
        log: "info",
        ..Setup::default()
    });
    let before = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &before), QUORUM);
    world.reidentify(&order, "health", &before).ok();
    let Some(stopped) = Stopped::thread(world.vault_pid(), "writer") else {
        eprintln!("not tested: this user may not stop threads of other processes");
        return;
    };
    let ask = |card: &str| world.batch("cnss-health", "health", "cnie", Some("billing"), &[card]);
    std::thread::scope(|scope| {
        // Let in before anybody could know: it waits, and is answered in the end.
        let early = scope.spawn(|| ask("AB2"));
        std::thread::sleep(STALL + Duration::from_millis(500));
        // Who comes now waits for a bounded time, and hears why.
        for card in ["AB1", "AB3"] {
            let since = Instant::now();
            let refused = ask(card);
            assert_eq!(
                (refused.status, refused.json()["code"].as_str()),
                (503, Some("audit-unavailable"))
            );
            assert!(refused.header("retry-after").is_some());
            assert!(
                since.elapsed() < STALL + Duration::from_secs(15),
                "{:?}",
                since.elapsed()
            );
        }
        let ready = plain_get(world.health(Side::Vault), "/readyz").unwrap();
        assert!(
            ready.starts_with("HTTP/1.1 503") && ready.contains("\"disk\""),
            "{ready}"
        );
        // An authority hears the same: nothing is released that is not logged.
        let late = world.sign(&world.order("health", &before), QUORUM);
        assert_eq!(
            world.reidentify(&late, "health", &before).json()["code"],
            "audit-unavailable"
        );
        drop(stopped);
        assert_eq!(early.join().unwrap().ok()["accepted"], 1);
    });
    // It goes on by itself.
    assert_eq!(ask("AB1").ok()["pseudonyms"][0], before[0].as_str());
    world.reidentify(&order, "health", &before).ok();
    let since = Instant::now();
    while !plain_get(world.health(Side::Vault), "/readyz")
        .unwrap()
        .starts_with("HTTP/1.1 200")
    {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    world.stop();
    // AB1 and AB2; what was refused left nothing behind, neither a mapping nor an entry.
    assert_eq!(world.mappings(), 2);
    let entries = world.entries(Side::Vault);
    let accepted: u64 = entries
        .iter()
        .filter_map(|entry| entry["accepted"].as_u64())
        .sum();
    assert_eq!(accepted, 3);
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["event"] == "release")
            .count(),
        2
    );
}

/// The node opens nothing while its own disk does not take an entry.
#[test]
fn a_node_whose_disk_does_not_come_back_opens_nothing() {
    let mut world = World::with(Setup {
        log: "info",
        ..Setup::default()
    });
    let before = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &before), QUORUM);
    world.reidentify(&order, "health", &before).ok();
    let Some(stopped) = Stopped::thread(world.pid(Side::Node).unwrap(), "writer") else {
        eprintln!("not tested: this user may not stop threads of other processes");
        return;
    };
    std::thread::scope(|scope| {
        let early = scope.spawn(|| world.reidentify(&order, "health", &before));
        std::thread::sleep(2 * STALL + Duration::from_secs(1));
        let refused = world.reidentify(&order, "health", &before);
        assert_eq!(
            (refused.status, refused.json()["code"].as_str()),
            (503, Some("audit-unavailable"))
        );
        drop(stopped);
        assert_eq!(early.join().unwrap().ok()["items"][0]["value"], "AB1");
    });
    assert_eq!(
        world.reidentify(&order, "health", &before).ok()["items"][0]["value"],
        "AB1"
    );
    world.stop();
    assert_eq!(
        world
            .entries(Side::Node)
            .iter()
            .filter(|entry| entry["event"] == "reveal")
            .count(),
        3
    );
}

/// Below the node's reserve nothing is opened, an order can still be revoked, and service resumes
/// when there is room.
#[test]
fn below_its_reserve_a_node_opens_nothing() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    let place = if Path::new("/dev/shm").is_dir() {
        PathBuf::from("/dev/shm")
    } else {
        std::env::temp_dir()
    };
    let folder = tempfile::Builder::new()
        .prefix("cloison-test-")
        .tempdir_in(place)
        .unwrap();
    let reserve = (free(folder.path()) >> 20) - 256;
    let store = format!(
        "path = {:?}\nreserve-mib = {reserve}",
        folder.path().join("store")
    );
    world.replace("node.toml", "path = \"data/node\"", &store);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &["--first-start"]);
    let before = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &before), QUORUM);
    world.reidentify(&order, "health", &before).ok();
    let filler = folder.path().join("filler");
    let file = fs::File::create(&filler).unwrap();
    // SAFETY: the descriptor is open for as long as the call lasts.
    assert_eq!(
        unsafe { libc::posix_fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), 0, 512 << 20) },
        0
    );
    let wait_for = |world: &World, status: u16| {
        let since = Instant::now();
        loop {
            let reply = world.reidentify(&order, "health", &before);
            if reply.status == status {
                return reply;
            }
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "{}",
                reply.status
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert_eq!(wait_for(&world, 503).json()["code"], "audit-unavailable");
    let ready = plain_get(world.health(Side::Node), "/readyz").unwrap();
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"space\""),
        "{ready}"
    );
    // The reserve is for this.
    let other = world.order("health", &before).id.to_string();
    let key = [
        "--key",
        "secrets/people/judge-1.pem",
        "--kid",
        "judge-1",
        "--client",
        "clients/officer.toml",
    ];
    let revoke = [
        "order",
        "revoke",
        &other,
        "--register",
        "register.toml",
        "--reason",
        "test",
        "--yes",
    ];
    let revoked = world.cloison(&[&revoke[..], &key].concat());
    assert!(
        revoked.status.success(),
        "{}",
        String::from_utf8_lossy(&revoked.stderr)
    );
    drop(file);
    fs::remove_file(&filler).unwrap();
    assert_eq!(wait_for(&world, 200).ok()["items"][0]["value"], "AB1");
    world.stop();
}

/// The second place cannot be written: batches go on, nothing is released, and both again by
/// themselves when it can.
#[test]
fn a_second_place_that_cannot_be_written() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    fs::create_dir(world.path("elsewhere")).unwrap();
    world.replace("vault.toml", "data/vault.place", "elsewhere/vault.place");
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let health = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &health), QUORUM);
    world.reidentify(&order, "health", &health).ok();
    fs::rename(world.path("elsewhere"), world.path("gone")).unwrap();
    world.health_pseudonyms(&["AB2"]);
    assert_eq!(
        world.reidentify(&order, "health", &health).json()["code"],
        "audit-unavailable"
    );
    world.health_pseudonyms(&["AB3"]);
    let ready = plain_get(world.health(Side::Vault), "/readyz").unwrap();
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("no checkpoint can be published"),
        "{ready}"
    );
    fs::rename(world.path("gone"), world.path("elsewhere")).unwrap();
    world.reidentify(&order, "health", &health).ok();
    world.stop();
    let kept = world.read("elsewhere/vault.place/checkpoint");
    assert_eq!(
        kept.lines().nth(1).unwrap(),
        world.entries(Side::Vault).len().to_string(),
        "it has the last one"
    );
}

/// In one process: the writer held up by a job, for the codes and for what is left behind.
#[test]
fn who_submits_to_a_writer_that_hangs_is_told() {
    let world = world::World::new();
    let vault = world.open();
    assert_eq!(vault.committer().stalled(), None);
    let (free, held) = std::sync::mpsc::channel::<()>();
    let hold: Change = Box::new(move |_, _| {
        let _ = held.recv();
    });
    drop(
        vault
            .committer()
            .submit(Job::new(JobLog::Nothing, vec![hold]))
            .unwrap(),
    );
    std::thread::sleep(2 * STALL + Duration::from_millis(200));
    assert!(vault.committer().stalled().is_some());
    assert_eq!(
        world::tokenize(&vault, world::CALLERS[0], &["AB1".into()]).err(),
        Some(Code::AuditUnavailable)
    );
    drop(free);
    let since = Instant::now();
    while vault.committer().stalled().is_some() {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    world::tokenize(&vault, world::CALLERS[0], &["AB1".into()]).unwrap();
}
