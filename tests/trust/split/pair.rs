//! Two identity sources: one may go at any moment, and while one is there clients are answered.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::common::id;

/// A vault with two live sources.
struct Pair {
    world: World,
    places: [IdentityPlace; 2],
    sources: [Option<Process>; 2],
}

impl Pair {
    fn new() -> Self {
        let mut world = World::asleep();
        let first = IdentityPlace::prepare(&world);
        let second = IdentityPlace::prepare_second(&world);
        let urls = [&first, &second].map(|place| format!("https://{}", place.control));
        split_to(&world, &urls, &["tls/identity.pem", "tls/identity-2.pem"]);
        let sources = [&first, &second].map(|place| Some(place.first_start(&world)));
        world.start(Side::Vault, &[]);
        Self {
            world,
            places: [first, second],
            sources,
        }
    }

    fn kill(&mut self, number: usize) {
        self.sources[number].take().unwrap().kill();
    }

    fn start(&mut self, number: usize) {
        let source = self.places[number].start(&self.world, &[]);
        self.sources[number] = Some(source.unwrap());
        soon("the vault knows that it is back", || {
            !readyz(&self.world).contains("\"identity\"")
        });
    }

    /// What each source derived for clients, by its own log. Ends everything.
    fn derived(mut self) -> (World, [u64; 2]) {
        self.world.stop();
        for source in self.sources.iter_mut().filter_map(Option::take) {
            assert!(source.stop().success());
        }
        let derived = [("identity", "trust"), ("identity-2", "trust-2")].map(|(folder, id)| {
            let owner = format!("{}/identity/{id}", crate::common::DEPLOYMENT);
            let path = self.world.path(&format!("data/{folder}"));
            let store = cloison::store::Store::open(&path, &owner).unwrap();
            let rows = store.audit_from(0, usize::MAX).unwrap();
            rows.iter()
                .map(|(_, entry)| serde_json::from_slice::<Value>(entry).unwrap())
                .filter(|entry| entry["event"] == "utis")
                .flat_map(|entry| entry["derived"].as_array().unwrap().clone())
                .filter(|group| group["kind"] == "tokenize")
                .map(|group| group["items"].as_u64().unwrap())
                .sum()
        });
        (self.world, derived)
    }
}

#[test]
fn while_one_of_two_sources_is_there_every_client_is_answered() {
    let mut pair = Pair::new();
    let cards: Vec<String> = (0..200).map(|number| format!("AB{number:06}")).collect();
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    let right = texts(&ask(&pair.world, &cards).ok()["pseudonyms"]);
    // Under load: batches and single requests, each of which has to be answered, and rightly.
    let stop = AtomicBool::new(false);
    let answered: u64 = std::thread::scope(|scope| {
        let world = &pair.world;
        let load = |step: usize| {
            let (stop, cards, right) = (&stop, &cards, &right);
            scope.spawn(move || {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    let range = answered % 200 / step * step..(answered % 200 / step + 1) * step;
                    let reply = ask(world, &cards[range.clone()]);
                    assert_eq!(texts(&reply.ok()["pseudonyms"]), right[range]);
                    answered += step;
                }
                answered as u64
            })
        };
        let loads = [load(1), load(4), load(100)];
        for number in [0, 1, 0] {
            pair.sources[number].take().unwrap().kill();
            soon("the vault notices", || {
                readyz(world).contains("\"identity\"")
            });
            pair.sources[number] = Some(pair.places[number].start(world, &[]).unwrap());
            soon("the vault knows that it is back", || {
                !readyz(world).contains("\"identity\"")
            });
        }
        stop.store(true, Ordering::Relaxed);
        loads.into_iter().map(|load| load.join().unwrap()).sum()
    });
    let (world, derived) = pair.derived();
    let tokenized: u64 = tokenized(&world).iter().sum();
    assert_eq!(
        tokenized,
        answered + 200,
        "nothing is counted that was not answered"
    );
    assert!(
        derived[0] > 0 && derived[1] > 0,
        "both were asked: {derived:?}"
    );
    assert!(
        derived.iter().sum::<u64>() >= tokenized,
        "nothing was tokenized that no source logged: {derived:?}, {tokenized}"
    );
}

#[test]
fn without_either_nothing_is_done_until_one_is_back() {
    let mut pair = Pair::new();
    let right = pair.world.health_pseudonyms(&CARDS[..1]);
    pair.kill(0);
    assert_eq!(pair.world.health_pseudonyms(&CARDS[..1]), right);
    soon("the vault says that one is gone, and is ready", || {
        let said = readyz(&pair.world);
        said.contains("\"ready\":true") && said.contains("\"identity\"")
    });
    pair.kill(1);
    let refused = ask(&pair.world, &CARDS);
    assert_eq!(
        (refused.status, &*refused.code()),
        (503, "identity-unavailable")
    );
    assert!(refused.header("retry-after").is_some());
    soon("the vault says that none is there", || {
        readyz(&pair.world).contains("no identity source answers")
    });
    // The second one alone is enough again.
    let source = pair.places[1].start(&pair.world, &[]).unwrap();
    pair.sources[1] = Some(source);
    soon("the vault is ready again", || {
        readyz(&pair.world).contains("\"ready\":true")
    });
    assert_eq!(pair.world.health_pseudonyms(&CARDS)[..1], right);
    pair.start(0);
    let (world, derived) = pair.derived();
    assert_eq!(tokenized(&world), [1, 1, 3]);
    assert_eq!(derived, [1, 4]);
}

#[test]
fn a_source_whose_key_the_register_no_longer_has_is_not_believed() {
    let mut pair = Pair::new();
    let right = pair.world.health_pseudonyms(&CARDS[..1]);
    // The register states another key for it, as after a theft of the one that it shows.
    let (stolen, next) = (
        pair.world.register().identities[&id("trust-2")].certificate,
        pair.world.certify("identity-3", 2020, 2120),
    );
    pair.world
        .edit_register(|text| text.replace(&format!("{stolen:?}"), &next));
    pair.world.signal(Side::Vault, libc::SIGHUP);
    soon("the vault says so", || {
        readyz(&pair.world).contains("the register in force has no identity source with its key")
    });
    assert_eq!(pair.world.health_pseudonyms(&CARDS[..1]), right);
    pair.kill(0);
    let refused = ask(&pair.world, &CARDS);
    assert_eq!(
        (refused.status, &*refused.code()),
        (503, "identity-unavailable")
    );
    let (_, derived) = pair.derived();
    assert_eq!(derived[1], 0, "the other one was not asked");
}
