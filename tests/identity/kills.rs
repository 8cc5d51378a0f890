//! `kill -9` of either side at any moment under load: no answer is lost, none is wrong, and nothing
//! is answered that was not logged on both sides.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::common::identity::{derived, tokenized};
use crate::common::seeded::{SeededRandom, seed};
use crate::common::{Door, Setup, Stream, batch_path, request, texts};

/// Kills in the suite; `CLOISON_TEST_ROUNDS` says otherwise (`ops/test-long identity-kills`).
fn rounds() -> u32 {
    let told = std::env::var("CLOISON_TEST_ROUNDS").ok();
    told.map_or(4, |text| {
        text.parse().expect("CLOISON_TEST_ROUNDS is a number")
    })
}

/// What was answered: card → pseudonym.
#[derive(Default)]
struct Answered {
    pseudonyms: Mutex<BTreeMap<String, String>>,
    items: AtomicU64,
    refused: AtomicU64,
}

/// A client's connection that may break at any time.
fn ask(world: &World, cards: &[String]) -> Option<Reply> {
    let body = json!({"scheme": "cnie", "identifiers": cards, "purpose": "billing"}).to_string();
    let content = [("content-type", "application/json")];
    let bytes = request("POST", &batch_path("health"), &content, body.as_bytes());
    let address = world.address(Door::Data);
    let files = (
        world.certificate("cnss-health"),
        world.path("secrets/tls/cnss-health.key"),
    );
    let server = world.server_certificate(Door::Data);
    let mut stream = Stream::try_connect(address, &server, Some(files)).ok()?;
    stream.exchange(&bytes).ok()
}

/// Sends batches of known and new cards until told to stop, and keeps what was answered.
fn load(world: &World, thread: u32, next: &AtomicU32, stop: &AtomicBool, answered: &Answered) {
    while !stop.load(Ordering::Relaxed) {
        let first = next.fetch_add(20, Ordering::Relaxed);
        let size = if thread.is_multiple_of(2) { 40 } else { 1 };
        let numbers = first.saturating_sub(20)..first.saturating_sub(20) + size;
        let cards: Vec<String> = numbers.map(|number| format!("AB{number:06}")).collect();
        let Some(reply) = ask(world, &cards) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        if reply.status != 200 {
            assert_eq!(reply.status, 503, "{reply:?}");
            answered.refused.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        answered.items.fetch_add(u64::from(size), Ordering::Relaxed);
        let mut known = answered.pseudonyms.lock().unwrap();
        for (card, pseudonym) in cards.into_iter().zip(texts(&reply.json()["pseudonyms"])) {
            if let Some(before) = known.insert(card, pseudonym.clone()) {
                assert_eq!(before, pseudonym, "a person has one pseudonym");
            }
        }
    }
}

#[test]
fn either_side_killed_under_load() {
    let mut world = World::with(Setup {
        log: "warn",
        start: false,
        ..Setup::default()
    });
    let place = IdentityPlace::prepare(&world);
    // What the embedded form answers is the truth.
    world.start(Side::Vault, &[]);
    let truth = world.health_pseudonyms(&["AB000000", "AB000001", "AB000002"]);
    world.stop();
    place.split(&world);
    let mut source = Some(place.first_start(&world));
    world.start(Side::Vault, &[]);

    let (answered, next) = (Answered::default(), AtomicU32::new(20));
    let mut random = SeededRandom::new(seed("either side killed under load"));
    for round in 0..rounds() {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (world, answered, next, stop) = (&world, &answered, &next, &stop);
            for thread in 0..4 {
                scope.spawn(move || load(world, thread, next, stop, answered));
            }
            std::thread::sleep(Duration::from_millis(30 + random.below(400) as u64));
            if round.is_multiple_of(2) {
                source.take().unwrap().kill();
            } else {
                world.signal(Side::Vault, libc::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20 + random.below(60) as u64));
            stop.store(true, Ordering::Relaxed);
        });
        if round.is_multiple_of(2) {
            source = Some(place.start(&world, &[]).unwrap());
            crate::common::process::soon("the vault finds its source again", || {
                ask(&world, &["AB000000".to_owned()]).is_some_and(|reply| reply.status == 200)
            });
        } else {
            world.ended(Side::Vault);
            world.start(Side::Vault, &[]);
        }
        if round % 50 == 49 {
            eprintln!("{} kills", round + 1);
        }
    }

    let known = answered.pseudonyms.lock().unwrap();
    assert!(known.len() > 40, "the load was one: {}", known.len());
    let cards: Vec<&str> = known.keys().map(String::as_str).collect();
    for some in cards.chunks(10_000) {
        let again = world.health_pseudonyms(some);
        for (card, pseudonym) in some.iter().zip(again) {
            assert_eq!(
                known[*card], pseudonym,
                "what was answered is what is there"
            );
        }
    }
    assert_eq!(
        world.health_pseudonyms(&["AB000000", "AB000001", "AB000002"]),
        truth
    );
    world.stop();
    assert!(source.unwrap().stop().success());
    let accepted: u64 = tokenized(&world).iter().sum();
    let (told, derived) = (answered.items.load(Ordering::Relaxed), derived(&world));
    assert!(
        told <= accepted,
        "{told} were answered, {accepted} are in the vault's log"
    );
    // The three of before were the embedded form's.
    assert!(
        accepted <= derived + 3,
        "{accepted} at the vault, {derived} at the source"
    );
    assert!(world.mappings() >= known.len());
    eprintln!(
        "{} kills of either side under load: {told} identifiers answered, {} refused requests; lost: 0, wrong: 0; \
         {accepted} in the vault's log, {derived} in the source's",
        rounds(),
        answered.refused.load(Ordering::Relaxed)
    );
}
