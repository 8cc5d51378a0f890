//! Either side is killed at every step of a migration, and it goes on.

use cloison::keys::file::{SecretKind, write_secret};
use cloison::order::OrderPayload;
use serde_json::{Value, json};

use super::{check_pairs, fetch, key, order, run, setup, waiting};
use crate::common::{QUORUM, Side, World};
use crate::people::{at_node, at_vault, persons, soon};
use crate::proxy::Wire;

const PERSONS: usize = 12_000;
/// The first page: as many whole chunks as ten thousand mappings hold.
const FIRST: u64 = 39 * 256;

/// Two pages to migrate, over a wire that the test holds.
fn scene() -> (World, Wire, OrderPayload, Vec<String>) {
    let (secret, public) = key();
    let (world, wire) = Wire::world_with(setup(|text| text, public));
    write_secret(
        &world.path("health.migration"),
        SecretKind::Migration,
        &secret,
    )
    .unwrap();
    let old = persons(&world, PERSONS);
    let judicial = world.sign(&world.order("health", &old[..1]), QUORUM);
    world.reidentify(&judicial, "health", &old[..1]).ok();
    world.advance("health", false);
    let payload = order(&world, 20_000);
    world.write("migration.jws", &world.sign(&payload, QUORUM));
    (world, wire, payload, old)
}

fn used(view: Option<Value>) -> Option<u64> {
    view?["life"]["used"].as_u64()
}

/// Asks for a page in the background.
fn asking(world: &World) -> std::thread::JoinHandle<bool> {
    let (officer, order) = (world.client("officer"), world.read("migration.jws"));
    let body = json!({"order": order, "request": world.request(&order, "health", &[]), "sector": "health"});
    std::thread::spawn(move || officer.post_json::<Value>("/v1/migrations", &body).is_ok())
}

/// What is right afterwards: run again, all are migrated, each once; counts and logs agree.
fn goes_on(mut world: World, payload: &OrderPayload, old: &[String], twice: bool) {
    let (code, said) = run(&world);
    assert_eq!(code, 0, "{said}");
    let summary: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(summary["seen"], PERSONS);
    assert_eq!(
        (
            used(at_vault(&world, payload)),
            used(at_node(&world, payload))
        ),
        (Some(12_000), Some(12_000))
    );
    assert_eq!(waiting(&world), PERSONS as u64);
    check_pairs(&world, old, &fetch(&world, "pairs.csv"));
    world.stop();
    assert_eq!(world.mappings(), 2 * PERSONS);
    let (vault, node) = (world.entries(Side::Vault), world.entries(Side::Node));
    let sum = |event: &str, what: &str| {
        let of = vault.iter().filter(|entry| entry["event"] == event);
        of.map(|entry| entry[what].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(
        (sum("migrate", "migrated"), sum("migrate", "skipped")),
        (12_000, 0)
    );
    assert_eq!(
        sum("migration-release", "items"),
        if twice { 12_000 + FIRST } else { 12_000 },
        "handed out again, and logged"
    );
    for entry in node
        .iter()
        .filter(|entry| entry["event"] == "migration-reveal")
    {
        let named = &vault[entry["vault_entry"]["index"].as_u64().unwrap() as usize];
        assert_eq!(named["request"], entry["request"]);
    }
}

#[test]
fn killed_before_the_page_is_handed_out() {
    for side in [Side::Node, Side::Vault] {
        let (mut world, wire, payload, old) = scene();
        wire.waited();
        wire.hold_questions(true);
        let officer = asking(&world);
        soon("a question waits", || wire.waited() > 500);
        world.kill(side);
        wire.cut(true);
        wire.hold_questions(false);
        assert!(!officer.join().unwrap());
        wire.cut(false);
        world.start(side, &[]);
        assert_eq!(
            used(at_vault(&world, &payload)),
            None,
            "nothing was counted"
        );
        goes_on(world, &payload, &old, false);
    }
}

#[test]
fn killed_when_the_page_is_on_its_way() {
    for side in [Side::Node, Side::Vault] {
        let (mut world, wire, payload, old) = scene();
        wire.hold_answers(true);
        let officer = asking(&world);
        soon("handed out", || {
            used(at_vault(&world, &payload)) == Some(FIRST)
        });
        world.kill(side);
        wire.cut(true);
        wire.hold_answers(false);
        assert!(!officer.join().unwrap());
        wire.cut(false);
        world.start(side, &[]);
        assert_eq!(
            used(at_node(&world, &payload)),
            None,
            "the node has opened nothing"
        );
        goes_on(world, &payload, &old, true);
    }
}

/// The identifiers are on their way back: whoever dies, they are not taken, and the page comes
/// again.
#[test]
fn killed_when_the_identifiers_are_on_their_way() {
    for side in [Side::Node, Side::Vault] {
        let (mut world, wire, payload, old) = scene();
        let officer = identifiers_wait(&world, &wire, &payload);
        world.kill(side);
        wire.cut(true);
        wire.hold_questions(false);
        assert!(!officer.join().unwrap());
        wire.cut(false);
        world.start(side, &[]);
        assert_eq!(
            (
                used(at_vault(&world, &payload)),
                used(at_node(&world, &payload))
            ),
            (Some(FIRST), Some(FIRST))
        );
        assert_eq!(waiting(&world), 0, "nothing was taken");
        goes_on(world, &payload, &old, true);
    }
}

/// The vault has taken them, and its answer is on its way: whoever dies, they stay taken.
#[test]
fn killed_when_the_identifiers_were_taken() {
    for side in [Side::Node, Side::Vault] {
        let (mut world, wire, payload, old) = scene();
        let officer = identifiers_wait(&world, &wire, &payload);
        wire.hold_answers(true);
        wire.hold_questions(false);
        soon("taken", || waiting(&world) == FIRST);
        world.kill(side);
        wire.cut(true);
        wire.hold_answers(false);
        assert!(!officer.join().unwrap());
        wire.cut(false);
        world.start(side, &[]);
        goes_on(world, &payload, &old, false);
    }
}

/// Holds the wire when the node has opened a page and hands it back.
fn identifiers_wait(
    world: &World,
    wire: &Wire,
    payload: &OrderPayload,
) -> std::thread::JoinHandle<bool> {
    wire.hold_answers(true);
    let officer = asking(world);
    soon("handed out", || {
        used(at_vault(world, payload)) == Some(FIRST)
    });
    wire.hold_questions(true);
    wire.hold_answers(false);
    soon("opened", || used(at_node(world, payload)) == Some(FIRST));
    wire.waited();
    // Ten thousand identifiers are some hundred kilobytes.
    soon("the identifiers wait", || wire.waited() > 100_000);
    officer
}
