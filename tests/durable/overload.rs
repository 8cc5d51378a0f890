//! More than can be done: turned away at once, within bounds of memory; and an orderly end.
#![expect(unsafe_code, reason = "a signal to a child")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloison::audit::AuditEvent;
use cloison::code::Code;
use cloison::commit::{Change, Job};
use cloison::tokenize;
use serde_json::json;

use super::load::{Acknowledged, Load, Plan, WAYS, check, send};
use super::world::{self, card, long};
use crate::common::{Door, Setup, Side, World, batch_path, request};

fn resident(pid: u32) -> u64 {
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

/// Many large batches at once, where room for few was configured: who is one too many hears so at
/// once and may come back; memory does not grow with those who ask; nothing acknowledged is lost.
#[test]
fn one_too_many_hears_so_at_once() {
    let mut world = World::with(Setup {
        log: "warn",
        start: false,
        ..Setup::default()
    });
    world.replace("vault.toml", "[data] ", "[data]\nbodies-mib = 17 ");
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let persons: Vec<u32> = (0..100_000).collect();
    let first = send(&world.client("cnss-health"), WAYS[0], &persons).unwrap();
    let pid = world.vault_pid();

    let time = Duration::from_secs(if long() { 60 } else { 6 });
    let (stop, refused, answered) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut peaks = [0; 2];
    std::thread::scope(|scope| {
        for _ in 0..24 {
            let (world, persons, first) = (&world, &persons, &first);
            let (stop, refused, answered) = (&stop, &refused, &answered);
            scope.spawn(move || {
                let client = world.client("cnss-health");
                while !stop.load(Ordering::Relaxed) {
                    match send(&client, WAYS[0], persons) {
                        Ok(answer) => {
                            assert!(answer == *first);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert_eq!(error.code(), Some(Code::Overloaded), "{error}");
                            assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
                            refused.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(Duration::from_millis(100));
                        }
                    }
                }
            });
        }
        let began = Instant::now();
        while began.elapsed() < time {
            std::thread::sleep(Duration::from_millis(50));
            let half = usize::from(began.elapsed() > time / 2);
            peaks[half] = peaks[half].max(resident(pid));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (refused, answered) = (refused.into_inner(), answered.into_inner());
    assert!(
        refused > 0 && answered > 0,
        "{refused} refused, {answered} answered"
    );
    assert!(
        peaks[1] <= peaks[0] * 5 / 4 + 64,
        "memory stays flat: {peaks:?} MiB"
    );
    assert!(peaks[1] < 700, "memory is bounded: {peaks:?} MiB");
    // Afterwards there is room for everybody again.
    assert!(send(&world.client("cnss-health"), WAYS[0], &persons).unwrap() == first);
    world.stop();
    assert_eq!(world.mappings(), 100_000);
}

/// The writer is held up and callers keep coming: what waits for it is bounded, also where callers
/// do not wait.
#[test]
fn what_waits_for_the_writer_is_bounded() {
    let world = world::World::new();
    let vault = world.open();
    let (free, held) = std::sync::mpsc::channel::<()>();
    let refused = |code| AuditEvent::Refuse {
        actor: "nobody".into(),
        operation: "test",
        code,
        count: 1,
    };
    let hold: Change = Box::new(move |_, _| {
        let _ = held.recv();
    });
    let hold = Job::entry(vault.now(), refused(Code::Internal), vec![], vec![hold]);
    drop(vault.committer().submit(hold).unwrap());
    let permit = world::permit(&vault, world::CALLERS[0], "cnie");
    let mut taken = vec![];
    let full = loop {
        let items: Vec<_> = (0..10_000)
            .map(|n| card(n + 10_000 * (taken.len() as u32 % 90)))
            .collect();
        let items: Vec<_> = items.iter().map(|item| Ok(item.as_str())).collect();
        let (_, job) =
            tokenize::prepare(&vault, &permit, &Default::default(), items.into_iter()).unwrap();
        match vault.committer().submit(job) {
            Ok(pending) => taken.push(pending),
            Err(code) => break code,
        }
        assert!(taken.len() < 1_000, "there must be an end to it");
    };
    assert_eq!(full, Code::Overloaded);
    assert!(vault.committer().is_full());
    assert!(taken.len() >= 10, "some may wait: {}", taken.len());
    // A refusal, and what an authority asks, still find a place.
    let small = vault.committer().submit(Job::entry(
        vault.now(),
        refused(Code::Overloaded),
        vec![],
        vec![],
    ));
    drop(free);
    for pending in taken {
        pending.wait().unwrap();
    }
    small.unwrap().wait().unwrap();
    assert!(!vault.committer().is_full());
    world::tokenize(&vault, world::CALLERS[0], &[card(1)]).unwrap();
}

/// SIGTERM: what is under way is answered, nobody new is let in, the exit is clean, and all of it
/// is there afterwards.
#[test]
fn an_orderly_end_answers_what_is_under_way() {
    let mut world = World::with(Setup {
        log: "info",
        ..Setup::default()
    });
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let load = Load::start(
        &world,
        Plan {
            threads: 4,
            batch: 1_000,
            first: 0,
        },
        &acknowledged,
    );
    // One whose body is still on its way.
    let cards: Vec<_> = (0..20_000).map(|n| card(700_000 + n)).collect();
    let body = json!({"scheme": "cnie", "purpose": "billing", "identifiers": cards}).to_string();
    let bytes = request(
        "POST",
        &batch_path("health"),
        &[("content-type", "application/json")],
        body.as_bytes(),
    );
    let mut slow = world.connect(Some("cnss-health"), Door::Data);
    slow.write(&bytes[..bytes.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(300));

    // SAFETY: the child was not waited for yet, so the id is still its own.
    unsafe { libc::kill(world.vault_pid() as libc::pid_t, libc::SIGTERM) };
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        world.is_running(Side::Vault),
        "it waits for the one that is under way"
    );
    let refused = std::net::TcpStream::connect(world.address(Door::Data));
    assert!(refused.is_err(), "nobody new is let in");
    slow.write(&bytes[bytes.len() / 2..]).unwrap();
    let answer = slow.read_one().unwrap().ok();
    assert_eq!(answer["accepted"], 20_000);
    assert!(world.ended(Side::Vault).success());
    load.stop();

    world.start(Side::Vault, &[]);
    let persons: Vec<u32> = (700_000..720_000).collect();
    let answered = crate::common::texts(&answer["pseudonyms"]);
    let mut acknowledged = Arc::into_inner(acknowledged).unwrap().into_inner().unwrap();
    acknowledged.note("health", &persons, (1, answered));
    check(&world, &acknowledged, 300);
    world.stop();
    // Nothing beyond what was answered: an orderly end leaves nothing half done.
    assert_eq!(world.mappings(), acknowledged.mappings());
}
