//! A retired epoch leaves nothing behind: neither chunks nor index entries, wherever these lie, and
//! a restart brings nothing back.

use std::time::{Duration, Instant};

use cloison::access;
use cloison::epoch::retire::{RetireEpochRequest, retire};
use cloison::epoch::statement::Destruction;
use cloison::register::{self, Operation, Register};
use cloison::reidentify::ReleasedItem;
use cloison::vault::Vault;
use jiff::SignedDuration;
use rocksdb::{DB, IteratorMode, Options};

use super::world::{
    CALLERS, World, advance, asked, card, client_key, deployment, order_for, release_of, statement,
    tokenize,
};

/// The world's register, in which the health fund may retire epochs.
pub fn register() -> Register {
    let text = std::fs::read_to_string(deployment().join("register.toml")).unwrap();
    let text = text.replace(
        "operations = [\"tokenize\"]",
        "operations = [\"tokenize\", \"retire-epoch\"]",
    );
    register::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn open(world: &World) -> Vault {
    world
        .open_with(register(), Box::new(|error| panic!("{error}")))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn store(vault: &Vault, persons: std::ops::Range<u32>) -> Vec<String> {
    let cards: Vec<_> = persons.map(card).collect();
    let answers = cards
        .chunks(5_000)
        .map(|items| tokenize(vault, CALLERS[0], items).unwrap());
    answers
        .flat_map(|a| {
            a.pseudonyms
                .iter()
                .map(|p| a.writer.text(p))
                .collect::<Vec<_>>()
        })
        .collect()
}

pub fn retire_first(vault: &Vault) -> u64 {
    let peer = client_key(vault.register(), "cnss-health");
    let permit = access::in_sector(vault, peer, "health", Operation::RetireEpoch).unwrap();
    let dry = retire(
        vault,
        &permit,
        1,
        &RetireEpochRequest {
            dry_run: true,
            ..RetireEpochRequest::default()
        },
    )
    .unwrap();
    let statement = statement(
        vault,
        Destruction::Epoch {
            sector: "health".into(),
            epoch: 1,
        },
    );
    let how = RetireEpochRequest {
        unmigrated: true,
        statement: Some(statement),
        ..RetireEpochRequest::default()
    };
    let retired = retire(vault, &permit, 1, &how).unwrap();
    assert_eq!(
        (dry.mappings, dry.retired, retired.retired),
        (retired.mappings, false, true)
    );
    retired.mappings
}

/// Rows by column whose key begins with the first sector's number and an epoch.
fn rows(world: &World, sector: u32, epoch: u32) -> [usize; 3] {
    let columns = DB::list_cf(&Options::default(), world.store()).unwrap();
    let db = DB::open_cf(&Options::default(), world.store(), &columns).unwrap();
    let prefix = [sector.to_be_bytes(), epoch.to_be_bytes()].concat();
    ["chunk", "index", "index-mark"].map(|column| {
        let rows = db.iterator_cf(db.cf_handle(column).unwrap(), IteratorMode::Start);
        rows.filter(|row| row.as_ref().unwrap().0.starts_with(&prefix))
            .count()
    })
}

fn codes(vault: &Vault, texts: &[String]) -> Vec<Option<&'static str>> {
    let now = vault.now();
    let released = release_of(
        vault,
        &asked(now, &order_for(now, "health", texts), "health", texts),
    )
    .unwrap();
    let code = |item: &ReleasedItem| match item {
        ReleasedItem::Mapping { .. } => None,
        ReleasedItem::Refused { code } => Some(code.as_str()),
    };
    released.items.iter().map(code).collect()
}

#[test]
fn nothing_is_left_wherever_the_index_lies() {
    for memory in [u64::MAX, 200 << 10, 0] {
        let world = World::bounded(memory);
        let vault = open(&world);
        let old = store(&vault, 0..20_000);
        // Small chunks wait to be merged.
        for n in 20_000..20_010 {
            store(&vault, n..n + 1);
        }
        advance(&vault, "health", false);
        let new = store(&vault, 0..3_000);
        world.later(SignedDuration::from_hours(31 * 24));
        let number = vault.sector("health").unwrap().number;
        assert_eq!(retire_first(&vault), 20_010);
        assert_eq!(vault.index().len(), 3_000);
        // The thread that moves and merges goes on, and writes nothing of what is gone.
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(codes(&vault, &old[..3]), [Some("epoch-retired"); 3]);
        assert_eq!(codes(&vault, &new[..3]), [None; 3]);
        drop(vault);
        assert_eq!(rows(&world, number, 1), [0; 3], "with {memory} bytes");
        assert!(rows(&world, number, 2)[0] > 0);

        let vault = open(&world);
        assert_eq!(vault.index().len(), 3_000);
        assert_eq!(codes(&vault, &old[..3]), [Some("epoch-retired"); 3]);
        assert_eq!(codes(&vault, &new[..3]), [None; 3]);
        // The next epoch is the next: a number is never given again.
        assert_eq!(advance(&vault, "health", false).last().unwrap().epoch, 3);
    }
}

/// Retiring meets the thread that moves tables to the disk, and the writer that waits for it.
#[test]
fn beside_a_busy_writer() {
    let world = World::bounded(300 << 10);
    let vault = open(&world);
    store(&vault, 0..30_000);
    advance(&vault, "health", false);
    world.later(SignedDuration::from_hours(31 * 24));
    let number = vault.sector("health").unwrap().number;
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| store(&vault, 0..60_000));
        std::thread::sleep(Duration::from_millis(30));
        let begun = Instant::now();
        assert_eq!(retire_first(&vault), 30_000);
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_eq!(busy.join().unwrap().len(), 60_000);
    });
    assert_eq!(vault.index().len(), 60_000);
    drop(vault);
    assert_eq!(rows(&world, number, 1), [0; 3]);
    assert_eq!(open(&world).index().len(), 60_000);
}
