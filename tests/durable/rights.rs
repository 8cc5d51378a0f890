//! What rights officers leave behind and cannot wipe: tags are evidence for as long as the register
//! says, look-ups are counted, and an index leads to what they find.

use std::time::Instant;

use cloison::access;
use cloison::code::Code;
use cloison::deployment::register_text::AUTHORITY;
use cloison::order::OrderPayload;
use cloison::refusal::Refusal;
use cloison::register::SpkiDigest;
use cloison::rights::resolutions::{MOST_LOOK_UPS, PersonResolutions, ResolutionQuestion, look_up};
use cloison::rights::traces;
use cloison::statement::Statement as _;
use cloison::store::{OrderKey, TagKind};
use cloison::vault::Vault;
use jiff::SignedDuration;
use rocksdb::{DB, IteratorMode, Options};

use super::erase::{self, erase, texts};
use super::world::{CALLERS, World, asked, card, order_for, release_of, tokenize};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// This side's clock alone says what is old: the register states no key of the other side's log.
fn open(world: &World) -> Vault {
    let mut register = erase::register();
    for authority in register.authorities.values_mut() {
        std::sync::Arc::make_mut(authority).checkpoint_key = None;
    }
    world
        .open_with(register, Box::new(|error| panic!("{error}")))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn persons(vault: &Vault, range: std::ops::Range<u32>) -> Vec<String> {
    let cards: Vec<_> = range.map(card).collect();
    texts(
        vault,
        &tokenize(vault, CALLERS[0], &cards).unwrap().pseudonyms,
    )
}

fn ask(
    vault: &Vault,
    officer: u8,
    question: &ResolutionQuestion,
) -> Result<PersonResolutions, Refusal> {
    look_up(
        vault,
        &access::rights_officer(vault.register(), SpkiDigest([officer; 32])).unwrap(),
        question,
    )
}

fn about(pseudonyms: &[String]) -> ResolutionQuestion {
    ResolutionQuestion {
        sector: "health".into(),
        pseudonyms: pseudonyms.to_vec(),
        order: None,
    }
}

fn release(vault: &Vault, pseudonyms: &[String]) -> uuid::Uuid {
    let order = order_for(vault.now(), "health", pseudonyms);
    release_of(vault, &asked(vault.now(), &order, "health", pseudonyms)).unwrap();
    let payload = cloison::jws::parse(&order, OrderPayload::TYP).unwrap();
    cloison::order::OrderPayload::read(payload.payload())
        .unwrap()
        .id
}

/// How many tags of releases and of look-ups the store has, by rows and by index.
fn tags(vault: &Vault, text: &str) -> (usize, usize) {
    let sector = &vault.sector("health").unwrap().sector;
    let secret = World::new().secrets().audit;
    let tag = cloison::keys::AuditKey::new(&secret).tag(
        sector.uuid,
        &sector.parse_pseudonym(text).unwrap().pseudonym,
    );
    let places = |kind| vault.store().tag_places(kind, &tag).unwrap().len();
    (places(TagKind::Resolution), places(TagKind::LookUp))
}

#[test]
fn tags_younger_than_the_evidence_days_are_destroyed_by_nobody() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..2);
    release(&vault, &people);
    assert_eq!(
        ask(&vault, 201, &about(&people[..1])).unwrap().items[0]
            .resolutions
            .len(),
        1
    );
    erase(&vault, people[..1].to_vec());
    // The officer who looked and erased is still found by the tag of the look-up, and the person
    // still learns of the release.
    assert_eq!(tags(&vault, &people[0]), (1, 1));
    assert_eq!(
        ask(&vault, 201, &about(&people[..1])).unwrap().items[0]
            .resolutions
            .len(),
        1
    );

    world.later(DAY * 365 - SignedDuration::from_secs(1));
    assert_eq!(traces::destroy_due(&vault).unwrap(), 0);
    erase(&vault, people[..1].to_vec());
    assert_eq!(
        tags(&vault, &people[0]),
        (1, 2),
        "a second erasure destroys no more than the first"
    );
    // The times of entries may be out of order: it waits a day longer.
    world.later(DAY);
    assert_eq!(traces::destroy_due(&vault).unwrap(), 0);
    world.later(SignedDuration::from_secs(1));
    while traces::destroy_due(&vault).unwrap() > 0 {}
    assert_eq!(
        tags(&vault, &people[0]),
        (0, 0),
        "old enough, and nobody has to ask again"
    );
    assert_eq!(tags(&vault, &people[1]), (1, 0), "nobody else's");
    assert!(vault.store().is_scrub_due().unwrap());
    assert!(
        ask(&vault, 201, &about(&people)).unwrap().items[0]
            .resolutions
            .is_empty()
    );
}

#[test]
fn tags_that_are_old_enough_go_with_the_erasure() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..1);
    release(&vault, &people);
    world.later(DAY * 367);
    erase(&vault, people.clone());
    assert_eq!(tags(&vault, &people[0]), (0, 0));
    assert_eq!(
        vault.store().erasures_due(i64::MAX - 1).unwrap().len(),
        0,
        "there is nothing to come back for"
    );
}

/// Each looks for the pairs of orders before it has the others wait.
#[test]
fn erasures_at_once_leave_an_orders_count_as_it_was() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..2);
    let order = OrderKey::new(AUTHORITY, release(&vault, &people));
    let before = vault.store().order_pairs(&order).unwrap();
    world.later(DAY * 367);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| erase(&vault, people[..1].to_vec()));
        }
    });
    let after = vault.store().order_pairs(&order).unwrap();
    assert_eq!((before.len(), after.len()), (2, 2));
    assert_eq!(
        after.iter().filter(|tag| before.contains(tag)).count(),
        1,
        "the other person's"
    );
}

#[test]
fn a_clock_that_ran_ahead_destroys_no_tag() {
    let world = World::new();
    // Its register states the key of the node's log, and no node has cosigned.
    let vault = erase::open(&world);
    let people = persons(&vault, 0..1);
    release(&vault, &people);
    world.later(DAY * 4_000);
    erase(&vault, people.clone());
    assert_eq!(
        (
            traces::destroy_due(&vault).unwrap(),
            tags(&vault, &people[0])
        ),
        (0, (1, 0))
    );
}

#[test]
fn an_officer_makes_fifty_look_ups_a_day() {
    let world = World::new();
    let mut vault = open(&world);
    let people = persons(&vault, 0..1);
    for n in 0..MOST_LOOK_UPS {
        if n == MOST_LOOK_UPS / 2 {
            // A restart forgets none.
            drop(vault);
            vault = open(&world);
        }
        ask(&vault, 201, &about(&people)).unwrap();
    }
    let refused = ask(&vault, 201, &about(&people)).err().unwrap();
    assert_eq!(
        (refused.code(), refused.retry_after()),
        (Code::LookUpLimit, Some(12 * 3_600)),
        "until midnight, UTC"
    );
    assert_eq!(
        ask(
            &vault,
            201,
            &ResolutionQuestion {
                pseudonyms: vec![],
                ..about(&people)
            }
        )
        .err()
        .unwrap()
        .code(),
        Code::EmptyBatch
    );
    ask(&vault, 202, &about(&people)).unwrap();
    world.later(SignedDuration::from_hours(12));
    ask(&vault, 201, &about(&people)).unwrap();
    assert_eq!(
        vault.store().look_ups("rights-201", 20_779).unwrap(),
        0,
        "the day before is forgotten"
    );
}

/// Neither by days nor by the two minutes that are tolerated.
#[test]
fn look_ups_of_a_day_are_not_given_twice_by_a_clock_set_back() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..1);
    let code = || {
        ask(&vault, 201, &about(&people))
            .err()
            .map(|refused| refused.code())
    };
    assert_eq!(code(), None);
    // At midnight.
    world.later(SignedDuration::from_hours(12));
    for _ in 0..MOST_LOOK_UPS {
        assert_eq!(code(), None);
    }
    let midnight = vault.now();
    world.clock.set(midnight - SignedDuration::from_secs(60));
    assert_eq!(code(), Some(Code::LookUpLimit));
    world.clock.set(midnight - DAY);
    assert_eq!(code(), Some(Code::ClockBehind));
    world.clock.set(midnight);
    assert_eq!(code(), Some(Code::LookUpLimit));
}

/// A store that an earlier version wrote has no index: the first start makes it, and finds what was
/// found before.
#[test]
fn entries_of_earlier_versions_are_indexed_at_the_first_start() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..3);
    let order = release(&vault, &people[..2]);
    release(&vault, &people[1..]);
    ask(&vault, 201, &about(&people)).unwrap();
    let by_order = ResolutionQuestion {
        pseudonyms: vec![],
        order: Some(order),
        ..about(&[])
    };
    let found = |vault: &Vault| {
        let of = |question| serde_json::to_value(ask(vault, 201, question).unwrap()).unwrap();
        (
            of(&about(&people)),
            of(&by_order),
            tags(vault, &people[1]).0,
        )
    };
    let before = found(&vault);
    assert_eq!(
        (
            before.0["items"][1]["resolutions"]
                .as_array()
                .unwrap()
                .len(),
            before.2
        ),
        (2, 2)
    );
    assert_eq!(
        before.1["items"][0]["resolutions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    drop(vault);
    {
        let columns = DB::list_cf(&Options::default(), world.store()).unwrap();
        let db = DB::open_cf(&Options::default(), world.store(), &columns).unwrap();
        let index = db.cf_handle("entry-index").unwrap();
        let keys: Vec<_> = db
            .iterator_cf(index, IteratorMode::Start)
            .map(|row| row.unwrap().0)
            .collect();
        assert!(keys.len() > 6);
        keys.iter()
            .for_each(|key| db.delete_cf(index, key).unwrap());
        db.delete_cf(db.cf_handle("state-meta").unwrap(), b"entry-index")
            .unwrap();
    }
    let vault = open(&world);
    assert_eq!(found(&vault), before);
}

/// What a look-up costs beside many tags; `CLOISON_TEST_LONG=1` measures it with as many as three
/// hundred large look-ups leave.
#[test]
fn a_look_up_finds_its_own_among_many() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..1_000);
    release(&vault, &people);
    let rounds = if super::world::long() { 300 } else { 3 };
    for round in 0..rounds {
        world.later(if round % 49 == 48 {
            DAY
        } else {
            SignedDuration::ZERO
        });
        ask(&vault, 201, &about(&people)).unwrap();
    }
    world.later(DAY);
    let mut times = vec![];
    for _ in 0..20 {
        let begun = Instant::now();
        let found = ask(&vault, 201, &about(&people[..1])).unwrap();
        times.push(begun.elapsed());
        assert_eq!(found.items[0].resolutions.len(), 1);
    }
    times.sort();
    let rows = rounds * 1_000 + 1_000;
    eprintln!(
        "a look-up beside {rows} tags: median {:?}, least {:?}, most {:?}",
        times[10], times[0], times[19]
    );
}
