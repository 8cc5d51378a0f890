//! Random histories against a simple model: batches that reach the writer together, epochs,
//! restarts, time going by.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cloison::clock::Clock;
use cloison::code::Code;
use cloison::node::Node;
use cloison::reidentify::reveal::RevealedItem;
use cloison::store::{Store, StoreError};
use cloison::tokenize::{self, TokenizeOptions, TokenizedBatch};
use cloison::vault::Vault;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::Value;

use super::world::{CALLERS, World, advance, card, long, permit, reveal};

#[derive(Debug, Clone)]
enum Step {
    /// Requests that are all prepared before the first is handed to the writer.
    Together(Vec<Request>),
    Advance {
        caller: usize,
        own_secret: bool,
    },
    Restart,
    /// Time goes by: this many minutes.
    Later(u32),
    /// Opens some of what was answered.
    Reveal(usize),
}

#[derive(Debug, Clone)]
struct Request {
    caller: usize,
    persons: Vec<u32>,
    /// Which of the spellings of a card number.
    spelling: u8,
    previous: bool,
}

/// Bytes for the index: all in memory, nothing in memory, and little.
const MEMORY: [u64; 3] = [u64::MAX, 0, 16 << 10];
/// Stands for an identifier that no scheme takes.
const NOBODY: u32 = u32::MAX;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(request(), 1..5).prop_map(Step::Together),
        1 => (0..CALLERS.len(), any::<bool>()).prop_map(|(caller, own_secret)| Step::Advance { caller, own_secret }),
        2 => Just(Step::Restart),
        // Within the hour, past a segment's hour, past its day, into another month, past an epoch's
        // overlap.
        2 => prop::sample::select(vec![1, 61, 24 * 60 + 1, 9 * 24 * 60, 31 * 24 * 60]).prop_map(Step::Later),
        2 => any::<usize>().prop_map(Step::Reveal),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let persons = prop_oneof![
        // Few people, so that they meet again.
        6 => prop::collection::vec(0u32..24, 1..12),
        2 => (0u32..24).prop_map(|person| vec![person]),
        1 => Just(vec![3, NOBODY, 3, 4]),
        1 => Just(vec![NOBODY]),
        // More than one chunk, with a duplicate at the end.
        1 => (100u32..400).prop_map(|first| (first..first + 300).chain([first]).collect::<Vec<u32>>()),
    ];
    (0..CALLERS.len(), persons, 0u8..3, any::<bool>()).prop_map(
        |(caller, persons, spelling, previous)| Request {
            caller,
            persons,
            spelling,
            previous,
        },
    )
}

fn spelled(person: u32, spelling: u8) -> String {
    if person == NOBODY {
        return "?".into();
    }
    let card = card(person);
    match spelling {
        0 => card,
        1 => card.to_lowercase(),
        _ => format!("{} {}-{}", &card[..2], &card[2..5], &card[5..]),
    }
}

/// A domain as the answer names it: sector, epoch, controller, purpose, period.
type Domain = (String, u32, Option<String>, Option<String>, Option<String>);

/// What the vault has acknowledged.
#[derive(Default)]
struct Model {
    /// Domain and person → text, and the day it was first acknowledged.
    known: BTreeMap<(Domain, u32), (String, i64)>,
    /// Text → whose; a text is never two persons' or two domains'.
    owners: HashMap<String, (Domain, u32)>,
    requests: u64,
    accepted: u64,
    rejected: u64,
    starts: u64,
    advances: u64,
    own_secrets: u64,
    releases: u64,
}

impl Model {
    fn note(&mut self, domain: Domain, person: u32, text: String, day: i64) {
        let owner = (domain, person);
        assert_eq!(
            self.owners
                .entry(text.clone())
                .or_insert_with(|| owner.clone()),
            &owner,
            "one owner a pseudonym"
        );
        let known = self
            .known
            .entry(owner)
            .or_insert_with(|| (text.clone(), day));
        assert_eq!(
            known.0, text,
            "the same identifier in the same domain has the same pseudonym, always"
        );
    }

    fn answered(&mut self, request: &Request, answer: &TokenizedBatch, day: i64) {
        self.requests += 1;
        self.accepted += answer.pseudonyms.len() as u64;
        self.rejected += answer.errors.len() as u64;
        let mut place = 0;
        answer.each(|item| {
            let person = request.persons[place];
            place += 1;
            match item {
                Err(code) => assert_eq!((person, code), (NOBODY, Code::IdentifierPattern)),
                Ok(accepted) => {
                    let text = answer.writer.text(&answer.pseudonyms[accepted]);
                    self.note(domain(&answer.sector, &answer.domain), person, text, day);
                    if let Some(previous) = &answer.previous {
                        let text = previous.writer.text(&previous.pseudonyms[accepted]);
                        self.note(domain(&answer.sector, &previous.domain), person, text, day);
                    }
                }
            }
        });
        assert_eq!(place, request.persons.len(), "one answer an item");
    }

    /// Mappings that must be stored: those of the reversible sectors.
    fn mappings(&self) -> impl Iterator<Item = (&(Domain, u32), &(String, i64))> {
        self.known
            .iter()
            .filter(|((domain, _), _)| domain.0 != "study")
    }
}

fn domain(sector: &str, domain: &cloison::audit::Domain) -> Domain {
    (
        sector.to_owned(),
        domain.epoch,
        domain.controller.clone(),
        domain.purpose.clone(),
        domain.period.clone(),
    )
}

/// Asks for all of them and compares; each sector under orders of its own.
fn check_opens(vault: &Vault, node: &Node, model: &mut Model, which: impl Fn(usize) -> bool) {
    let mut asked: BTreeMap<&str, Vec<(&str, u32, i64)>> = BTreeMap::new();
    for (n, ((domain, person), (text, day))) in model.mappings().enumerate() {
        if which(n) {
            asked
                .entry(&domain.0)
                .or_default()
                .push((text, *person, *day));
        }
    }
    let mut releases = 0;
    for (sector, items) in asked {
        for items in items.chunks(400) {
            let texts: Vec<String> = items.iter().map(|(text, ..)| (*text).to_owned()).collect();
            let opened = reveal(vault, node, sector, &texts);
            releases += 1;
            assert_eq!(opened.len(), items.len());
            for (item, (text, person, day)) in opened.iter().zip(items) {
                let RevealedItem::Identifier {
                    pseudonym,
                    scheme,
                    value,
                    first_seen,
                } = item
                else {
                    panic!(
                        "an acknowledged pseudonym of person {person} in {sector} does not open: {item:?}"
                    )
                };
                assert_eq!((pseudonym.as_str(), scheme.as_str()), (*text, "cnie"));
                assert_eq!(*value.0, card(*person), "the right person");
                let first = Timestamp::from_second(day * 86_400).unwrap();
                assert_eq!(*first_seen, first.strftime("%F").to_string());
            }
        }
    }
    model.releases += releases;
}

/// After the vault has gone: what lies in the store.
fn check_store(world: &World, model: &Model) {
    let store = Store::open(&world.store(), "durable/vault").unwrap();
    let cipher = world.cipher();
    let mut stored = 0;
    let mut seen = BTreeSet::new();
    store
        .each_chunk::<StoreError>(|key, row| {
            let chunk = cipher.unwrap(&key.to_bytes(), row).unwrap();
            assert!(
                store.segment(chunk.segment())?.is_some(),
                "a chunk's segment is stored with it or before it"
            );
            let mut last = None;
            for record in chunk.records() {
                let pseudonym = *record.unwrap().pseudonym.as_bytes();
                assert!(last < Some(pseudonym), "records are sorted");
                last = Some(pseudonym);
                assert!(
                    seen.insert((key.sector, key.epoch, pseudonym)),
                    "stored once"
                );
                stored += 1;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(
        stored,
        model.mappings().count(),
        "exactly what was acknowledged is stored"
    );

    let entries = store.audit_from(0, usize::MAX).unwrap();
    let mut counted = BTreeMap::<String, u64>::new();
    let (mut accepted, mut rejected) = (0, 0);
    for (place, (index, entry)) in entries.iter().enumerate() {
        assert_eq!(*index, place as u64, "no gap in the log");
        let entry: Value = serde_json::from_slice(entry).unwrap();
        let requests = entry["requests"].as_u64().unwrap_or(1);
        *counted
            .entry(entry["event"].as_str().unwrap().to_owned())
            .or_default() += requests;
        accepted += entry["accepted"].as_u64().unwrap_or(0);
        rejected += entry["rejected"].as_u64().unwrap_or(0);
        if requests > 1 {
            let items = entry["accepted"].as_u64().unwrap() + entry["rejected"].as_u64().unwrap();
            assert_eq!(items, requests, "only single-item requests share an entry");
        }
    }
    // How much is unusual is tested where rates are.
    counted.remove("release-alarm");
    // So is the new log that a new year begins.
    counted.remove("continue");
    // And the entries that only name a side record: of day counts, a second later.
    counted.remove("journal");
    let mut expected = BTreeMap::from([("start".to_owned(), model.starts)]);
    for (event, n) in [
        ("tokenize", model.requests),
        ("epoch-advance", model.advances),
        ("secret-rotate", model.own_secrets),
        ("secret-confirm", model.own_secrets),
        ("release", model.releases),
    ] {
        if n > 0 {
            expected.insert(event.to_owned(), n);
        }
    }
    assert_eq!(
        counted, expected,
        "every request has its entry, and nothing else has"
    );
    assert_eq!((accepted, rejected), (model.accepted, model.rejected));
}

fn history(steps: &[Step], memory: u64) {
    let world = World::bounded(memory);
    let mut model = Model {
        starts: 1,
        ..Model::default()
    };
    let mut vault = world.open();
    let node = world.node();
    for step in steps {
        match step {
            Step::Together(requests) => {
                let prepared: Vec<_> = requests
                    .iter()
                    .map(|request| {
                        let permit = permit(&vault, CALLERS[request.caller], "cnie");
                        let wish = TokenizeOptions {
                            previous: request.previous,
                            ..TokenizeOptions::default()
                        };
                        let items: Vec<_> = request
                            .persons
                            .iter()
                            .map(|person| spelled(*person, request.spelling))
                            .collect();
                        let items: Vec<_> = items.iter().map(|item| Ok(item.as_str())).collect();
                        tokenize::prepare(&vault, &permit, &wish, items.into_iter()).unwrap()
                    })
                    .collect();
                let day = i64::from(cloison::clock::day_of(world.clock.now()));
                let waiting: Vec<_> = prepared
                    .into_iter()
                    .map(|(answer, job)| (answer, vault.committer().submit(job).unwrap()))
                    .collect();
                for (request, (answer, pending)) in requests.iter().zip(waiting) {
                    pending.wait().unwrap();
                    model.answered(request, &answer, day);
                }
            }
            Step::Advance { caller, own_secret } => {
                let sector = CALLERS[*caller].sector;
                let before = vault.sector(sector).unwrap().current().row.epoch;
                let epochs = advance(&vault, sector, *own_secret);
                assert_eq!(epochs.last().unwrap().epoch, before + 1);
                model.advances += 1;
                // Made, confirmed, and named then.
                model.own_secrets += u64::from(*own_secret);
            }
            Step::Restart => {
                drop(vault);
                vault = world.open();
                model.starts += 1;
            }
            Step::Later(minutes) => world.later(SignedDuration::from_mins((*minutes).into())),
            Step::Reveal(seed) => check_opens(&vault, &node, &mut model, |n| {
                n.wrapping_add(*seed) % 5 == 0
            }),
        }
        assert_eq!(vault.index().len(), model.mappings().count() as u64);
    }
    drop(vault);
    let vault = world.open();
    model.starts += 1;
    assert_eq!(
        vault.index().len(),
        model.mappings().count() as u64,
        "the index comes back whole"
    );
    check_opens(&vault, &node, &mut model, |_| true);
    drop(vault);
    check_store(&world, &model);
}

/// The same person at the same time in one batch, twice in one request and once a second request:
/// stored once.
#[test]
fn one_history_by_hand() {
    let request = |caller, persons: &[u32]| Request {
        caller,
        persons: persons.to_vec(),
        spelling: 0,
        previous: true,
    };
    let steps = [
        Step::Together(vec![
            request(0, &[1, 1, 2]),
            request(1, &[2, 1]),
            request(0, &[1]),
            request(0, &[1]),
        ]),
        Step::Restart,
        Step::Together(vec![
            request(0, &[1, 3]),
            request(2, &[1]),
            request(3, &[1]),
        ]),
        Step::Advance {
            caller: 0,
            own_secret: true,
        },
        Step::Together(vec![request(0, &[1, 4]), request(1, &[4])]),
        Step::Restart,
        Step::Advance {
            caller: 0,
            own_secret: false,
        },
        Step::Together(vec![request(0, &[1, 4])]),
        Step::Later(61),
        Step::Together(vec![request(0, &[5]), request(6, &[5, NOBODY])]),
        Step::Later(31 * 24 * 60),
        Step::Together(vec![request(0, &[1, 4]), request(6, &[5])]),
    ];
    MEMORY
        .into_iter()
        .for_each(|memory| history(&steps, memory));
}

#[test]
fn random_histories() {
    let cases = if long() { 400 } else { 24 };
    let config = Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let memory = prop::sample::select(MEMORY.to_vec());
    proptest!(config, |(steps in prop::collection::vec(step(), 1..24), memory in memory)| history(&steps, memory));
}
