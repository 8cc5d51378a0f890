//! Sector systems under way: threads that send batches to a vault in another process and keep what
//! was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cloison::client::{Client, ClientError, JSON};
use cloison::code::Code;
use serde_json::{Value, json};

use super::world::card;
use crate::common::{QUORUM, World, batch_path, texts};

/// A way to ask: client, sector, purpose.
pub type Way = (&'static str, &'static str, &'static str);

/// The ways that the demo's register allows into reversible sectors.
pub const WAYS: [Way; 3] = [
    ("cnss-health", "health", "billing"),
    ("dgi-tax", "tax", "assessment"),
    ("rsu-social", "social", "aid"),
];

/// What was acknowledged: sector and epoch → person → pseudonym.
#[derive(Default)]
pub struct Acknowledged {
    pub pseudonyms: BTreeMap<(&'static str, u64), BTreeMap<u32, String>>,
    pub requests: u64,
    pub items: u64,
}

impl Acknowledged {
    pub fn note(
        &mut self,
        sector: &'static str,
        persons: &[u32],
        (epoch, answered): (u64, Vec<String>),
    ) {
        assert_eq!(persons.len(), answered.len(), "one pseudonym an identifier");
        let known = self.pseudonyms.entry((sector, epoch)).or_default();
        for (person, pseudonym) in persons.iter().zip(answered) {
            let first = known.entry(*person).or_insert_with(|| pseudonym.clone());
            assert_eq!(
                *first, pseudonym,
                "the same person has the same pseudonym, always"
            );
        }
        self.requests += 1;
        self.items += persons.len() as u64;
    }

    /// Adds what was acknowledged later.
    pub fn absorb(&mut self, later: Self) {
        for (place, known) in later.pseudonyms {
            let all = self.pseudonyms.entry(place).or_default();
            for (person, pseudonym) in known {
                let first = all.entry(person).or_insert_with(|| pseudonym.clone());
                assert_eq!(*first, pseudonym, "the same before and after");
            }
        }
        self.requests += later.requests;
        self.items += later.items;
    }

    pub fn mappings(&self) -> usize {
        self.pseudonyms.values().map(BTreeMap::len).sum()
    }
}

/// Loaders at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    #[allow(dead_code)] // how often it was turned away: for a look at it by hand
    pub overloaded: Arc<AtomicU64>,
}

/// How to load.
#[derive(Clone, Copy)]
pub struct Plan {
    pub threads: u32,
    /// Most identifiers a batch.
    pub batch: u32,
    /// Persons are numbered from here on; threads share half of theirs with all others.
    pub first: u32,
}

impl Load {
    /// Starts threads that send until they are stopped or the vault is gone.
    pub fn start(world: &World, plan: Plan, acknowledged: &Arc<Mutex<Acknowledged>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let overloaded = Arc::new(AtomicU64::new(0));
        let threads = (0..plan.threads)
            .map(|thread| {
                let way = WAYS[thread as usize % WAYS.len()];
                let client = world.client(way.0);
                let (stop, acknowledged, overloaded) =
                    (stop.clone(), acknowledged.clone(), overloaded.clone());
                std::thread::spawn(move || {
                    for round in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        // One by one, a few, many; half of them everybody's, half of them nobody
                        // else's.
                        let size = [1, 7, plan.batch / 4, plan.batch]
                            [(round + thread) as usize % 4]
                            .max(1);
                        let own = plan.first + 100_000 + thread * 50_000 + (round * 13) % 40_000;
                        let persons: Vec<u32> = (0..size)
                            .map(|n| {
                                if n % 2 == 0 {
                                    own + n
                                } else {
                                    plan.first + round * 5 + n
                                }
                            })
                            .collect();
                        match send(&client, way, &persons) {
                            Ok(answered) => {
                                acknowledged.lock().unwrap().note(way.1, &persons, answered);
                            }
                            Err(ClientError::Connection { .. }) => return,
                            Err(error) if error.code() == Some(Code::Overloaded) => {
                                assert!(error.retry_after().is_some());
                                overloaded.fetch_add(1, Ordering::Relaxed);
                            }
                            // Its last words, when a write has failed or the disk is nearly full.
                            Err(error) if error.code() == Some(Code::AuditUnavailable) => {
                                std::thread::sleep(std::time::Duration::from_millis(20));
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            threads,
            overloaded,
        }
    }

    /// Lets requests under way end; fails where one met something that it must not meet.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}

/// One batch: the epoch and the pseudonyms.
pub fn send(
    client: &Client,
    (_, sector, purpose): Way,
    persons: &[u32],
) -> Result<(u64, Vec<String>), ClientError> {
    let identifiers: Vec<_> = persons.iter().map(|person| card(*person)).collect();
    let body = json!({"scheme": "cnie", "purpose": purpose, "identifiers": identifiers});
    let mut reply = Vec::new();
    client.post(
        &batch_path(sector),
        JSON,
        body.to_string().as_bytes(),
        &mut reply,
    )?;
    let answer: Value = client.parse(&reply)?;
    assert_eq!(answer["rejected"], 0);
    Ok((
        answer["domain"]["epoch"].as_u64().unwrap(),
        texts(&answer["pseudonyms"]),
    ))
}

/// Asks until the server no longer says "not now", for a minute: a busy machine stalls for seconds.
pub fn patiently<T>(mut ask: impl FnMut() -> T, is_not_now: impl Fn(&T) -> bool) -> T {
    let since = Instant::now();
    loop {
        let answer = ask();
        if !is_not_now(&answer) || since.elapsed() > Duration::from_secs(60) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Everything acknowledged in the present epoch is repeated with the same pseudonym, and `sample`
/// of each sector and epoch (evenly spread) open to the right person.
pub fn check(world: &World, acknowledged: &Acknowledged, sample: usize) {
    for ((sector, epoch), known) in &acknowledged.pseudonyms {
        let way = *WAYS.iter().find(|way| way.1 == *sector).unwrap();
        let client = world.client(way.0);
        let (persons, pseudonyms): (Vec<u32>, Vec<&String>) =
            known.iter().map(|(p, t)| (*p, t)).unzip();
        for (persons, pseudonyms) in persons.chunks(20_000).zip(pseudonyms.chunks(20_000)) {
            let ask = || send(&client, way, persons);
            let busy = |error: &ClientError| error.retry_after().is_some();
            let answered = patiently(ask, |answer| answer.as_ref().is_err_and(busy));
            let (now, again) = answered.unwrap();
            assert!(now >= *epoch, "an acknowledged epoch is not lost");
            assert!(
                now > *epoch || again.iter().eq(pseudonyms.iter().copied()),
                "the same pseudonyms as before the end"
            );
        }
        let step = (known.len() / sample).max(1);
        let chosen: Vec<_> = known.iter().step_by(step).collect();
        for chosen in chosen.chunks(5_000) {
            let texts: Vec<String> = chosen.iter().map(|(_, text)| (*text).clone()).collect();
            let order = world.sign(&world.order(way.1, &texts), QUORUM);
            let ask = || world.reidentify(&order, way.1, &texts);
            let opened = patiently(ask, |reply| reply.status == 503).ok();
            for (item, (person, _)) in opened["items"].as_array().unwrap().iter().zip(chosen) {
                assert_eq!(
                    item["value"],
                    card(**person),
                    "an acknowledged mapping opens to its person: {item}"
                );
            }
        }
    }
}
