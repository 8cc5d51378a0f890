//! Many callers at once with the same new persons; and callers that go away.

use std::collections::HashMap;
use std::sync::{Barrier, Mutex};

use cloison::reidentify::reveal::RevealedItem;
use cloison::tokenize;

use super::world::{CALLERS, World, card, long, permit, reveal, tokenize};

/// All threads send the same new persons at the same instant: one answer, one mapping each.
#[test]
fn the_same_new_persons_from_all_sides() {
    from_all_sides(World::new(), if long() { 200 } else { 20 });
}

/// The same where no entry stays in memory: what one thread looked up in vain another stores, and
/// it is moved, before the first one's mapping comes to the writer.
#[test]
fn the_same_new_persons_and_no_memory() {
    from_all_sides(World::bounded(0), if long() { 40 } else { 3 });
}

fn from_all_sides(world: World, rounds: u32) {
    const THREADS: u32 = 8;
    let vault = world.open();
    let node = world.node();
    let barrier = Barrier::new(THREADS as usize);
    let answers: Mutex<HashMap<u32, String>> = Mutex::default();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (vault, barrier, answers) = (&vault, &barrier, &answers);
            scope.spawn(move || {
                for round in 0..rounds {
                    // The same 300 persons, begun at another place by each thread, half of them
                    // known since the round before, and odd threads send them one by one.
                    let first = round * 150;
                    let persons: Vec<u32> =
                        (0..300).map(|n| first + (n + thread * 37) % 300).collect();
                    barrier.wait();
                    let size = if thread % 2 == 0 { 300 } else { 1 };
                    for batch in persons.chunks(size).take(64) {
                        let items: Vec<_> = batch.iter().map(|person| card(*person)).collect();
                        let answer =
                            tokenize(vault, CALLERS[(thread % 2) as usize], &items).unwrap();
                        let mut answers = answers.lock().unwrap();
                        for (person, pseudonym) in batch.iter().zip(&answer.pseudonyms) {
                            let text = answer.writer.text(pseudonym);
                            assert_eq!(
                                *answers.entry(*person).or_insert_with(|| text.clone()),
                                text
                            );
                        }
                    }
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap();
    assert_eq!(vault.index().len(), answers.len() as u64);
    let (persons, texts): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    for (persons, texts) in persons.chunks(1_000).zip(texts.chunks(1_000)) {
        for (item, person) in reveal(&vault, &node, "health", texts).iter().zip(persons) {
            let RevealedItem::Identifier { value, .. } = item else {
                panic!("{item:?}")
            };
            assert_eq!(*value.0, card(*person));
        }
    }
    drop(vault);
    let vault = world.open();
    assert_eq!(
        vault.index().len(),
        persons.len() as u64,
        "stored once each"
    );
}

/// A request that finds a person on its way to the store must not be answered before that person is
/// there: whatever was answered is found by a reader that looks at the store itself.
#[test]
fn no_answer_overtakes_its_mapping() {
    let world = World::new();
    let vault = world.open();
    let cipher = world.cipher();
    let number = vault.sector("health").unwrap().number;
    let rounds = if long() { 3_000 } else { 200 };
    for round in 0..rounds {
        let items = [card(round)];
        let ask = || {
            tokenize(&vault, CALLERS[0], &items).map(|answer| {
                // At this instant, and not a moment later; but for a merge, which takes its chunk
                // for another.
                let chunk = || {
                    let partition = vault.index().partition((number, 1));
                    let sequence = partition
                        .locate(vault.store(), answer.pseudonyms[0].as_bytes())
                        .unwrap();
                    let sequence = sequence.expect("indexed");
                    let key = cloison::store::ChunkKey {
                        sector: number,
                        epoch: 1,
                        sequence,
                    };
                    (key, vault.store().chunk(key).unwrap())
                };
                let mut found = chunk();
                if found.1.is_none() && vault.committer().settled() {
                    found = chunk();
                }
                let (key, row) = found;
                let row = row.expect("an answered mapping is stored");
                let chunk = cipher.unwrap(&key.to_bytes(), row).unwrap();
                assert!(chunk.find(&answer.pseudonyms[0]).unwrap().is_some());
            })
        };
        std::thread::scope(|scope| {
            (0..4)
                .map(|_| scope.spawn(ask))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|t| t.join().unwrap().unwrap());
        });
    }
}

/// A caller that goes away before its answer leaves nothing half done: its mappings and its entry
/// are there, and the next one who asks gets the same.
#[test]
fn a_caller_that_goes_away() {
    let world = World::new();
    let vault = world.open();
    let permit = permit(&vault, CALLERS[0], "cnie");
    let (gone, job) = tokenize::prepare(
        &vault,
        &permit,
        &Default::default(),
        [Ok("AB1")].into_iter(),
    )
    .unwrap();
    drop(vault.committer().submit(job).unwrap());
    // Never even handed in: no effect at all.
    let (never, job) = tokenize::prepare(
        &vault,
        &permit,
        &Default::default(),
        [Ok("AB2")].into_iter(),
    )
    .unwrap();
    drop(job);
    let answer = tokenize(&vault, CALLERS[0], &["AB1".into(), "AB2".into()]).unwrap();
    assert_eq!(answer.pseudonyms, [gone.pseudonyms[0], never.pseudonyms[0]]);
    assert_eq!(vault.index().len(), 2);
    drop(vault);
    let vault = world.open();
    assert_eq!(vault.index().len(), 2);
    // An entry of the one that went away and one of the one that stayed. The log may hold more: day
    // counts that no record had at the end have an entry of their own.
    let entries = vault.store().audit_from(0, usize::MAX).unwrap();
    let batches = entries.iter().filter(|(_, entry)| {
        let entry: serde_json::Value = serde_json::from_slice(entry).unwrap();
        entry["event"] == "tokenize"
    });
    assert_eq!(batches.count(), 2);
}
