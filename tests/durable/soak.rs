//! Hours of mixed load: memory, descriptors and threads of vault and node stay flat.
//! `ops/test-long soak HOURS` runs it.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::load::{Acknowledged, Load, Plan};
use super::world::card;
use crate::common::{QUORUM, Setup, Side, World, swap};

/// What one process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Resident memory, KiB.
    memory: u64,
    descriptors: u64,
    threads: u64,
}

impl Held {
    fn by(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.unwrap().split_whitespace().next().unwrap();
            number.parse().unwrap()
        };
        Self {
            memory: field("VmRSS:"),
            threads: field("Threads:"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64,
        }
    }
}

#[test]
fn memory_descriptors_and_threads_stay_flat() {
    let seconds = std::env::var("CLOISON_TEST_SOAK").ok();
    let Some(seconds) = seconds.and_then(|text| text.parse::<u64>().ok()) else {
        eprintln!("not run: ops/test-long soak HOURS runs it");
        return;
    };
    let register = |text: String| {
        swap(
            &text,
            "max-hours = 720",
            "max-hours = 720\nreleases-per-hour = 100000000",
        )
    };
    let mut world = World::with(Setup {
        register: Box::new(register),
        log: "warn",
        ..Setup::default()
    });
    let cards: Vec<_> = (0..20).map(card).collect();
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    let pseudonyms = world.health_pseudonyms(&cards);
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let plan = Plan {
        threads: 3,
        batch: 800,
        first: 0,
    };
    let pids = [Side::Vault, Side::Node].map(|side| world.pid(side).unwrap());
    let load = Load::start(&world, plan, &acknowledged);
    let (ends, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut samples = [vec![], vec![]];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
                let answer = world.reidentify(&order, "health", &pseudonyms);
                if answer.status == 200 {
                    opened.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_secs((seconds / 60).clamp(1, 60)));
            for (samples, pid) in samples.iter_mut().zip(pids) {
                samples.push(Held::by(pid));
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    load.stop();
    let acknowledged = acknowledged.lock().unwrap();
    eprintln!(
        "{seconds} s: {} identifiers in {} requests, {} re-identifications",
        acknowledged.items,
        acknowledged.requests,
        opened.load(Ordering::Relaxed)
    );
    for (name, samples) in ["vault", "node"].into_iter().zip(&samples) {
        flat(name, samples);
    }
    world.stop();
}

/// Compares the second quarter of the time with the last.
fn flat(name: &str, samples: &[Held]) {
    let quarter = samples.len() / 4;
    let (early, late) = (
        &samples[quarter..2 * quarter],
        &samples[samples.len() - quarter..],
    );
    type Measure = fn(&Held) -> u64;
    let measures: [(&str, Measure, u64); 3] = [
        ("KiB of memory", |held| held.memory, 65_536),
        ("descriptors", |held| held.descriptors, 16),
        ("threads", |held| held.threads, 8),
    ];
    let mut grown = vec![];
    for (what, measure, slack) in measures {
        let most = |part: &[Held]| part.iter().map(measure).max().unwrap();
        let (before, after) = (most(early), most(late));
        eprintln!(
            "{name}: {what}: {} at first, at most {before} in the second quarter, {after} in the last",
            measure(&samples[0])
        );
        if after > before + slack {
            grown.push(what);
        }
    }
    assert!(grown.is_empty(), "{name} grows: {grown:?}");
}
