//! The index beyond its memory: what was moved to the disk is found, is not stored again, and says
//! nothing to a thief.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloison::keys::{Key, StoreSecret};
use cloison::pseudonym::Pseudonym;
use cloison::reidentify::reveal::RevealedItem;
use cloison::store::StoreError;
use cloison::vault::{StartError, Vault};
use jiff::SignedDuration;

use super::world::{CALLERS, World, advance, card, register, reveal, tokenize};

/// Little enough that most of it has to go.
const LITTLE: u64 = 400 << 10;

fn cards(persons: std::ops::Range<u32>) -> Vec<String> {
    persons.map(card).collect()
}

fn store(vault: &Vault, persons: std::ops::Range<u32>) -> Vec<Pseudonym> {
    let all = cards(persons);
    all.chunks(5_000)
        .flat_map(|items| tokenize(vault, CALLERS[0], items).unwrap().pseudonyms)
        .collect()
}

fn texts(vault: &Vault, pseudonyms: &[Pseudonym], epoch: u32) -> Vec<String> {
    let tag = &vault.sector("health").unwrap().sector.tag;
    let writer =
        cloison::pseudonym::TextWriter::new(cloison::register::TextForm::Bech32m, tag, epoch);
    pseudonyms
        .iter()
        .map(|pseudonym| writer.text(pseudonym))
        .collect()
}

/// Until the tables are within the bound.
fn wait_for_room(vault: &Vault) {
    let begun = Instant::now();
    while vault.index().is_over() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} bytes",
            vault.index().bytes()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn chunks(vault: &Vault) -> usize {
    let mut chunks = 0;
    let count = |_, _| {
        chunks += 1;
        Ok(())
    };
    vault.store().each_chunk::<StoreError>(count).unwrap();
    chunks
}

fn check_opens(world: &World, vault: &Vault, first: u32, texts: &[String]) {
    let node = world.node();
    for (n, items) in (0..).zip(texts.chunks(5_000)) {
        for (place, item) in (0..).zip(reveal(vault, &node, "health", items)) {
            let RevealedItem::Identifier { value, .. } = item else {
                panic!("{item:?}")
            };
            assert_eq!(*value.0, card(first + n * 5_000 + place));
        }
    }
}

#[test]
fn beyond_the_memory_nothing_is_forgotten_and_nothing_stored_twice() {
    let world = World::bounded(LITTLE);
    let vault = world.open();
    let answered = store(&vault, 0..60_000);
    wait_for_room(&vault);
    assert!(vault.index().bytes() <= LITTLE);
    assert!(
        vault.index().moved() > 40_000,
        "{} of 60 000",
        vault.index().moved()
    );
    assert_eq!(vault.index().len(), 60_000);

    let before = chunks(&vault);
    assert_eq!(store(&vault, 0..60_000), answered, "the same answers");
    assert_eq!(
        (vault.index().len(), chunks(&vault)),
        (60_000, before),
        "and nothing stored again"
    );
    // Known and new persons mixed, as often as not on the disk.
    let mixed = store(&vault, 30_000..90_000);
    assert_eq!(mixed[..30_000], answered[30_000..]);
    assert_eq!(vault.index().len(), 90_000);
    let texts = texts(&vault, &[&answered[..], &mixed[30_000..]].concat(), 1);
    check_opens(&world, &vault, 0, &texts);
    drop(vault);

    let vault = world.open();
    assert_eq!(vault.index().len(), 90_000, "the index comes back whole");
    assert!(
        vault.index().moved() > 60_000,
        "without what lies on the disk"
    );
    wait_for_room(&vault);
    assert_eq!(store(&vault, 0..60_000), answered);
    assert_eq!(vault.index().len(), 90_000);
    // The register allows an authority 100 000 an hour.
    check_opens(&world, &vault, 0, &texts[..5_000]);
}

/// A start moves what is too much, and one with more memory leaves on the disk what is there.
#[test]
fn less_and_more_memory() {
    let mut world = World::new();
    let vault = world.open();
    let answered = store(&vault, 0..40_000);
    assert_eq!(vault.index().moved(), 0);
    drop(vault);
    for memory in [LITTLE, 0, LITTLE, u64::MAX, LITTLE / 2] {
        world.memory = memory;
        let vault = world.open();
        assert_eq!(vault.index().len(), 40_000);
        assert!(!vault.index().is_over(), "from the first moment on");
        assert_eq!(store(&vault, 0..40_000), answered);
        assert_eq!(vault.index().len(), 40_000);
        drop(vault);
    }
}

/// Older epochs go first, and are found.
#[test]
fn older_epochs_go_first() {
    let world = World::bounded(LITTLE);
    let vault = world.open();
    let number = vault.sector("health").unwrap().number;
    let first = store(&vault, 0..8_000);
    advance(&vault, "health", false);
    let second = store(&vault, 0..4_000);
    wait_for_room(&vault);
    let moved = |epoch| vault.index().partition((number, epoch)).has_below();
    assert!(moved(1) && !moved(2));
    check_opens(&world, &vault, 0, &texts(&vault, &first, 1));
    check_opens(&world, &vault, 0, &texts(&vault, &second, 2));
}

/// Another version of the storage secret: what lies on the disk under the old one is made anew.
#[test]
fn a_new_storage_secret() {
    let world = World::bounded(LITTLE);
    let vault = world.open();
    let answered = store(&vault, 0..30_000);
    drop(vault);
    let open = |secrets| {
        let home = cloison::vault::VaultHome {
            store: world.store(),
            index_memory: world.memory,
        };
        Vault::open(
            &home,
            register(),
            secrets,
            &[],
            world.clock.clone(),
            &|_| {},
            Box::new(|error| panic!("{error}")),
        )
    };
    let with = |version, byte| {
        let mut secrets = world.secrets();
        secrets.store.retain(|(known, _)| *known != version);
        secrets
            .store
            .push((version, StoreSecret(Key::take(&mut [byte; 32]))));
        secrets
    };
    for _ in 0..2 {
        let vault = open(with(2, 9)).unwrap();
        assert_eq!(vault.index().len(), 30_000);
        assert!(vault.index().moved() > 10_000);
        assert_eq!(store(&vault, 0..30_000), answered);
        assert_eq!(vault.index().len(), 30_000);
    }
    // A wrong one is found out even where no chunk would have to be read.
    match open(with(2, 8)) {
        Err(StartError::Store(StoreError::OtherIndexKey(2))) => {}
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(open(with(2, 9)).unwrap().index().len(), 30_000);
}

/// What lies on the disk shows no pseudonym, not even a good part of one.
#[test]
fn the_disk_shows_no_pseudonym() {
    let world = World::bounded(0);
    let vault = world.open();
    let answered = store(&vault, 0..2_000);
    wait_for_room(&vault);
    drop(vault);
    // Once more, so that all is in files and not in the write-ahead log only.
    drop(world.open());
    let mut files = vec![];
    collect(&world.store(), &mut files);
    let whole = files.concat();
    assert!(whole.len() > 2_000 * 25);
    let seen: std::collections::HashSet<&[u8]> = whole.windows(6).collect();
    for pseudonym in &answered {
        // Six bytes meet by chance once in 10^8 here.
        let bytes = pseudonym.as_bytes();
        assert!(
            !bytes.windows(6).any(|part| seen.contains(part)),
            "a part of a pseudonym lies on the disk"
        );
    }
}

fn collect(folder: &Path, files: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(fs::read(path).unwrap());
        }
    }
}

/// While tables move all the time, nobody who is known is taken for new, and nobody's mapping is
/// missing.
#[test]
fn nobody_slips_through_while_tables_move() {
    let world = World::bounded(64 << 10);
    let vault = world.open();
    let answered = store(&vault, 0..3_000);
    let texts = texts(&vault, &answered, 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (vault, world, stop, answered, texts) = (&vault, &world, &stop, &answered, &texts);
        for reader in 0..2 {
            scope.spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let first = (round * 613 + reader * 1_500) % 2_500;
                    assert_eq!(
                        store(vault, first..first + 500),
                        answered[first as usize..][..500]
                    );
                }
            });
        }
        scope.spawn(move || {
            let node = world.node();
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let first = (round * 127) % 2_900;
                for item in reveal(vault, &node, "health", &texts[first..first + 100]) {
                    assert!(matches!(item, RevealedItem::Identifier { .. }), "{item:?}");
                }
            }
        });
        for round in 0..40 {
            store(vault, 10_000 + round * 700..10_000 + round * 700 + 700);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(vault.index().len(), 3_000 + 40 * 700);
    world.later(SignedDuration::from_secs(1));
    drop(vault);
    assert_eq!(world.open().index().len(), 3_000 + 40 * 700);
}
