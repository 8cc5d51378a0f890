//! Hours of load: what vault and node hold. `ops/test-long soak HOURS` runs it.
//!
//! The index of what is stored grows with every new person, by design. So the load has three parts:
//! new persons, then only known ones, then new ones again. Under known persons memory is flat;
//! under new ones it grows by no more than docs/performance.md says of a mapping in the index's
//! tables. In each part the store's write buffers fill, most of them over hours. Descriptors and
//! threads are flat all the time.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloison::client::ClientError;

use super::load::{WAYS, patiently, send};
use super::world::card;
use crate::common::{QUORUM, Setup, Side, World, swap};

/// Identifiers a batch.
const BATCH: u32 = 800;
/// Known persons, who come again.
const KNOWN: u32 = 100_000;
/// New persons in each sector, at most: card numbers have seven digits.
const MOST_NEW: u32 = 8_000_000;
/// Bytes of memory for a mapping in the index's tables, at most (docs/performance.md#memory).
const INDEX_BYTES: u64 = 35;
/// What the store's write buffers take once each is full, KiB (docs/operations.md#disk-and-memory).
const WRITE_BUFFERS: u64 = 264 << 10;
/// What requests under way and caches may take more at one time than at another, KiB.
const SLACK: u64 = 32 << 10;

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

/// A part of the time: whether its persons are new, how many were, and what vault and node held.
struct Part {
    is_new: bool,
    lasts: Duration,
    mappings: u64,
    held: [Vec<(Duration, Held)>; 2],
}

impl Part {
    fn name(&self) -> &'static str {
        if self.is_new {
            "new persons"
        } else {
            "known persons"
        }
    }
}

/// Clients at work.
struct Soak<'w> {
    world: &'w World,
    ends: AtomicBool,
    are_new: AtomicBool,
    /// The next new person of each sector.
    next: [AtomicU32; 3],
    pause: Duration,
    items: AtomicU64,
    opened: AtomicU64,
}

impl Soak<'_> {
    fn tokenize(&self, sector: usize) {
        let way = WAYS[sector];
        let client = self.world.client(way.0);
        for round in 0_u32.. {
            if self.ends.load(Ordering::Relaxed) {
                return;
            }
            let first = if self.are_new.load(Ordering::Relaxed) {
                let next = self.next[sector].fetch_add(BATCH, Ordering::Relaxed);
                assert!(next + BATCH <= 10_000_000, "card numbers are used up");
                next
            } else {
                round.wrapping_mul(BATCH) % KNOWN
            };
            let persons: Vec<u32> = (first..first + BATCH).collect();
            let ask = || send(&client, way, &persons);
            let busy = |error: &ClientError| error.retry_after().is_some();
            patiently(ask, |answer| answer.as_ref().is_err_and(busy)).unwrap();
            self.items.fetch_add(BATCH.into(), Ordering::Relaxed);
            std::thread::sleep(self.pause);
        }
    }

    fn reidentify(&self) {
        let cards: Vec<_> = (0..20).map(card).collect();
        let cards: Vec<_> = cards.iter().map(String::as_str).collect();
        let pseudonyms = self.world.health_pseudonyms(&cards);
        while !self.ends.load(Ordering::Relaxed) {
            let order = self.world.order("health", &pseudonyms);
            let order = self.world.sign(&order, QUORUM);
            // A busy machine says "not now", which is counted nowhere.
            let answer = self.world.reidentify(&order, "health", &pseudonyms);
            if answer.status < 500 {
                answer.ok();
                self.opened.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn known(&self) -> u64 {
        let next = self.next.iter();
        next.map(|next| u64::from(next.load(Ordering::Relaxed)))
            .sum()
    }

    /// Lets a part go by, and looks at both processes meanwhile.
    fn go_through(&self, part: &mut Part, pids: [u32; 2]) {
        self.are_new.store(part.is_new, Ordering::Relaxed);
        let before = self.known();
        let began = Instant::now();
        while began.elapsed() < part.lasts {
            std::thread::sleep((part.lasts / 60).min(Duration::from_secs(60)));
            for (held, pid) in part.held.iter_mut().zip(pids) {
                held.push((began.elapsed(), Held::by(pid)));
            }
        }
        part.mappings = self.known() - before;
    }
}

#[test]
fn memory_descriptors_and_threads_stay_flat() {
    let seconds = std::env::var("CLOISON_TEST_SOAK").ok();
    let Some(seconds) = seconds.and_then(|text| text.parse::<u64>().ok()) else {
        eprintln!("not run: ops/test-long soak HOURS runs it");
        return;
    };
    let all = Duration::from_secs(seconds);
    let rate = "max-hours = 720\nreleases-per-hour = 100000000";
    let mut world = World::with(Setup {
        register: Box::new(|text| swap(&text, "max-hours = 720", rate)),
        log: "warn",
        ..Setup::default()
    });
    let pids = [Side::Vault, Side::Node].map(|side| world.pid(side).unwrap());
    let mut parts =
        [(true, all / 4), (false, all / 2), (true, all / 4)].map(|(is_new, lasts)| Part {
            is_new,
            lasts,
            mappings: 0,
            held: [vec![], vec![]],
        });
    let soak = Soak {
        world: &world,
        ends: AtomicBool::new(false),
        are_new: AtomicBool::new(true),
        next: [const { AtomicU32::new(0) }; 3],
        pause: (all / 2 * BATCH / MOST_NEW).max(Duration::from_millis(100)),
        items: AtomicU64::new(0),
        opened: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let soak = &soak;
        (0..WAYS.len()).for_each(|sector| drop(scope.spawn(move || soak.tokenize(sector))));
        scope.spawn(|| soak.reidentify());
        for part in &mut parts {
            soak.go_through(part, pids);
            eprintln!(
                "{} for {:?}: {} mappings more",
                part.name(),
                part.lasts,
                part.mappings
            );
        }
        soak.ends.store(true, Ordering::Relaxed);
    });
    let (items, opened) = (soak.items.into_inner(), soak.opened.into_inner());
    eprintln!("{seconds} s: {items} identifiers, {opened} re-identifications");
    let mut grown = vec![];
    for (side, name) in ["vault", "node"].into_iter().enumerate() {
        for part in &parts {
            grown.extend(grows(name, part, &part.held[side], side == 0));
        }
    }
    assert!(grown.is_empty(), "{grown:#?}");
    world.stop();
}

/// Compares the end of a part with its beginning, after a fifth of it. Says what has grown.
fn grows(name: &str, part: &Part, held: &[(Duration, Held)], has_index: bool) -> Vec<String> {
    let fifth = held.len() / 5;
    let (early, late) = (&held[fifth..2 * fifth], &held[held.len() - fifth..]);
    let index = if has_index {
        part.mappings * INDEX_BYTES / 1024
    } else {
        0
    };
    type Measure = fn(&Held) -> u64;
    let measures: [(&str, Measure, u64); 3] = [
        (
            "KiB of memory",
            |held| held.memory,
            SLACK + WRITE_BUFFERS + index,
        ),
        ("descriptors", |held| held.descriptors, 16),
        ("threads", |held| held.threads, 8),
    ];
    let mut grown = vec![];
    for (what, measure, room) in measures {
        let most =
            |part: &[(Duration, Held)]| part.iter().map(|(_, held)| measure(held)).max().unwrap();
        let (before, after) = (most(early), most(late));
        let line = format!(
            "{name}, {}: {what}: {} at first, {before} early, {after} at the end, {:+.1} an hour; may grow by {room}",
            part.name(),
            measure(&held[0].1),
            slope(&held[fifth..], measure),
        );
        eprintln!("{line}");
        // The store opens its files while it fills.
        if after > before + room && (part.is_new, what) != (true, "descriptors") {
            grown.push(line);
        }
    }
    grown
}

/// By how much a measure changes in an hour: least squares.
fn slope(held: &[(Duration, Held)], measure: fn(&Held) -> u64) -> f64 {
    let points: Vec<(f64, f64)> = held
        .iter()
        .map(|(time, held)| (time.as_secs_f64() / 3600.0, measure(held) as f64))
        .collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        let off = point.0 - x;
        (above + off * (point.1 - y), below + off * off)
    });
    above / below
}
