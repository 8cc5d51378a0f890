//! Small chunks become few: nothing is lost, nothing is there twice, and nobody who looks meanwhile
//! misses anything.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloison::reidentify::reveal::RevealedItem;
use cloison::seal::chunk::MAX_RECORDS;
use cloison::store::StoreError;
use cloison::vault::Vault;

use super::world::{CALLERS, World, card, long, reveal, tokenize};

/// One request for each person, from eight sides; their pseudonyms.
fn one_by_one(vault: &Vault, persons: u32) -> Vec<String> {
    const THREADS: u32 = 8;
    let mut parts: Vec<Vec<(u32, String)>> = std::thread::scope(|scope| {
        let ask = |thread| {
            move || {
                let mine = (0..persons).filter(|person| person % THREADS == thread);
                mine.map(|person| {
                    let answer = tokenize(vault, CALLERS[0], &[card(person)]).unwrap();
                    (person, answer.writer.text(&answer.pseudonyms[0]))
                })
                .collect()
            }
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(ask(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut all: Vec<_> = parts.drain(..).flatten().collect();
    all.sort();
    all.into_iter().map(|(_, text)| text).collect()
}

/// Chunks, and records in them: each sorted, no pseudonym twice.
fn look(world: &World, vault: &Vault) -> (usize, usize) {
    let cipher = world.cipher();
    let (mut chunks, mut seen) = (0, BTreeSet::new());
    vault
        .store()
        .each_chunk::<StoreError>(|key, row| {
            let chunk = cipher.unwrap(&key.to_bytes(), row).unwrap();
            let of: Vec<_> = chunk
                .records()
                .map(|record| *record.unwrap().pseudonym.as_bytes())
                .collect();
            assert!(of.is_sorted() && of.len() <= MAX_RECORDS);
            of.into_iter().for_each(|pseudonym| {
                assert!(
                    seen.insert((key.sector, key.epoch, pseudonym)),
                    "stored once"
                );
            });
            chunks += 1;
            Ok(())
        })
        .unwrap();
    (chunks, seen.len())
}

/// Until there is hardly a small chunk left.
fn wait(vault: &Vault) {
    let begun = Instant::now();
    while vault.committer().small().len() >= 32 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} small chunks",
            vault.committer().small().len()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // The last ones may be on their way.
    std::thread::sleep(Duration::from_millis(200));
}

fn check_opens(world: &World, vault: &Vault, texts: &[String]) {
    let node = world.node();
    for (person, item) in (0..).zip(reveal(vault, &node, "health", texts)) {
        let RevealedItem::Identifier { value, .. } = item else {
            panic!("{item:?}")
        };
        assert_eq!(*value.0, card(person));
    }
}

fn become_few(memory: u64, persons: u32) {
    let world = World::bounded(memory);
    let vault = world.open();
    let texts = one_by_one(&vault, persons);
    wait(&vault);
    let (chunks, records) = look(&world, &vault);
    assert_eq!(
        (records, vault.index().len()),
        (persons as usize, u64::from(persons))
    );
    // Each full but for small ones that wait for more, and merged ones that do not fit together.
    let most = 2 * persons as usize / MAX_RECORDS + 32 + 2;
    assert!(
        chunks <= most,
        "{chunks} chunks of {persons} records, {most} at most"
    );
    check_opens(&world, &vault, &texts);
    drop(vault);
    let vault = world.open();
    assert_eq!(vault.index().len(), u64::from(persons));
    assert_eq!(one_by_one(&vault, persons), texts);
    assert_eq!(look(&world, &vault).1, persons as usize);
    check_opens(&world, &vault, &texts);
}

#[test]
fn thousands_of_requests_make_few_chunks() {
    become_few(u64::MAX, 4_000);
}

/// The same where entries are on the disk by the time their chunks are merged.
#[test]
fn merged_while_the_index_is_on_the_disk() {
    become_few(0, 700);
}

/// Small chunks of an earlier life are merged as well.
#[test]
fn merged_after_a_restart() {
    let world = World::new();
    let mut texts = vec![];
    let mut vault = world.open();
    // No life makes enough of them to be merged.
    for life in 0..40u32 {
        let answer = tokenize(&vault, CALLERS[0], &[card(life)]).unwrap();
        texts.push(answer.writer.text(&answer.pseudonyms[0]));
        drop(vault);
        vault = world.open();
    }
    // Each life has a segment of its own, so that nothing can be merged.
    assert_eq!(vault.committer().small().len(), 40);
    assert_eq!(look(&world, &vault), (40, 40));
    check_opens(&world, &vault, &texts);
    let more = one_by_one(&vault, 600);
    drop(vault);
    let vault = world.open();
    wait_for_many(&vault, 40 + 32);
    let (chunks, records) = look(&world, &vault);
    assert!(
        records == 600 && chunks < 40 + 32 + 8,
        "{chunks} chunks of {records} records"
    );
    check_opens(&world, &vault, &more);
}

fn wait_for_many(vault: &Vault, most: usize) {
    let begun = Instant::now();
    while vault.committer().small().len() > most {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} small chunks",
            vault.committer().small().len()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
}

/// Who releases while chunks are merged finds every mapping.
#[test]
fn a_release_meets_a_merge() {
    let persons = if long() { 20_000 } else { 2_500 };
    for memory in [u64::MAX, 32 << 10] {
        let world = World::bounded(memory);
        let vault = world.open();
        let known = one_by_one(&vault, 100);
        let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let (vault, world, known, stop, asked) = (&vault, &world, &known, &stop, &asked);
            scope.spawn(move || {
                let node = world.node();
                while !stop.load(Ordering::Relaxed) {
                    for item in reveal(vault, &node, "health", known) {
                        assert!(matches!(item, RevealedItem::Identifier { .. }), "{item:?}");
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
            let persons = if memory == u64::MAX {
                persons
            } else {
                persons / 5
            };
            one_by_one(vault, persons);
            wait(vault);
            stop.store(true, Ordering::Relaxed);
        });
        assert!(
            vault.keeper_counts().merged.load(Ordering::Relaxed) > 30 && asked.into_inner() > 3
        );
    }
}

/// With nothing to do the vault does nothing: the threads in the background sleep.
#[test]
fn an_idle_vault_is_idle() {
    let world = World::new();
    let vault = world.open();
    one_by_one(&vault, 40);
    wait(&vault);
    // Hundredths of a second that the idlest keeper took: those of other tests may be at work
    // beside it.
    let cpu = || {
        let keepers = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .flatten()
            .filter_map(|task| {
                let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
                let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
                let times = stat
                    .rsplit(')')
                    .next()?
                    .split(' ')
                    .skip(12)
                    .take(2)
                    .map(|ticks| ticks.parse::<u64>().unwrap());
                (name.trim() == "keeper").then(|| times.sum::<u64>())
            });
        keepers.min()
    };
    let before = cpu().expect("there is a keeper");
    std::thread::sleep(Duration::from_secs(1));
    let after = cpu().expect("there is a keeper");
    assert!(
        after.saturating_sub(before) < 10,
        "{before} before, {after} after a second of rest"
    );
}
