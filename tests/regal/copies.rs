//! An order's own copies with real processes: through erasures, kills and a renewed key, until
//! nothing of them is left.

use std::time::Duration;

use cloison::order::act::ActKind;
use cloison::register::Suite;
use jiff::SignedDuration;
use rocksdb::{DB, IteratorMode, Options};
use serde_json::{Value, json};

use super::actors;
use super::common::{Door, QUORUM, Setup, Side, World, files, now};
use super::people::{act, codes, persons, soon, to_vault};
use super::renew::{list_beside, list_without_first, renew, renewed};

const OFFICER: [&str; 2] = ["--client", "clients/officer.toml"];

pub(super) fn world() -> World {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    actors::rights_officers(
        &world,
        &[("rights-1", &["health"]), ("rights-2", &["health"])],
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world
}

#[track_caller]
pub(super) fn run(world: &World, arguments: &[&str]) -> Value {
    let output = world.cloison(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Lodges an order's file, as an officer at the node.
pub(super) fn lodge(world: &World, file: &str, order: &str) -> Value {
    world.write(file, order);
    run(
        world,
        &[&["order", "lodge", "--json", "--order", file], &OFFICER[..]].concat(),
    )
}

/// Has two rights officers sign that a pseudonym is erased, into a file.
pub(super) fn sign_erasure(world: &World, file: &str, pseudonym: &str) {
    let by = |id: &str| {
        [
            format!("--key=secrets/people/{id}.pem"),
            format!("--kid={id}"),
        ]
    };
    let what = [
        "--register",
        "register.toml",
        "--sector",
        "health",
        "--pseudonym",
        pseudonym,
        "--reason",
        "request",
    ];
    let [key, kid] = by("rights-1");
    run(
        world,
        &[
            &["rights", "erase"],
            &what[..],
            &[&key, &kid, "--out", file],
        ]
        .concat(),
    );
    let [key, kid] = by("rights-2");
    run(world, &["rights", "sign", "--yes", file, &key, &kid]);
}

/// Two rights officers have a pseudonym erased at both sides; the two answers.
pub(super) fn erase(world: &World, file: &str, pseudonym: &str) -> [Value; 2] {
    sign_erasure(world, file, pseudonym);
    ["clients/rights-1.toml", "clients/rights-1-node.toml"].map(|client| {
        run(
            world,
            &[
                "rights", "lodge", "--yes", file, "--json", "--client", client,
            ],
        )
    })
}

/// The rows of orders' copies, of a vault that has stopped.
fn copies(world: &World) -> Vec<(Vec<u8>, Vec<u8>)> {
    let path = world.path("data/vault");
    let columns = DB::list_cf(&Options::default(), &path).unwrap();
    let mut options = Options::default();
    // As the vault opens it: otherwise RocksDB ends the process over the write-ahead log of a vault
    // that was killed.
    options.set_track_and_verify_wals_in_manifest(true);
    let db = DB::open_cf_for_read_only(&options, &path, &columns, false).unwrap();
    let of = |column| {
        db.iterator_cf(db.cf_handle(column).unwrap(), IteratorMode::Start)
            .collect::<Vec<_>>()
    };
    let rows = ["state-order-copy", "state-order-copies"]
        .into_iter()
        .flat_map(of);
    rows.map(|row| {
        row.map(|(key, value)| (key.into_vec(), value.into_vec()))
            .unwrap()
    })
    .collect()
}

#[test]
fn an_order_survives_erasures_and_kills_and_says_nothing_of_itself() {
    let mut world = world();
    let asked = persons(&world, 3);
    let order = world.sign(&world.order("health", &asked[..2]), QUORUM);
    lodge(&world, "orders/1.jws", &order);
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    // The first is under a live order, the third under none.
    let (under, without) = (
        erase(&world, "1.jws", &asked[0]),
        erase(&world, "3.jws", &asked[2]),
    );
    for (one, other) in under.iter().zip(&without) {
        let members = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (members(one), members(one)),
            (
                members(other),
                vec!["entry".to_owned(), "request".to_owned()]
            )
        );
    }
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    let answer = world.reidentify(&order, "health", &asked[..2]).ok();
    assert_eq!(
        (&answer["items"][0]["value"], &answer["items"][1]["value"]),
        (&json!("AB000000"), &json!("AB000001"))
    );
    let late = world.sign(&world.order("health", &asked), QUORUM);
    let missing = Some("no-mapping".to_owned());
    assert_eq!(
        codes(&world.reidentify(&late, "health", &asked).ok()),
        [missing.clone(), None, missing]
    );
    world.stop();
    for side in [Side::Vault, Side::Node] {
        let erased: Vec<_> = world
            .entries(side)
            .into_iter()
            .filter(|entry| entry["event"] == "erase")
            .collect();
        assert_eq!(erased.len(), 2);
        let said = |entry: &Value| {
            entry
                .as_object()
                .unwrap()
                .keys()
                // The digest of a sealed record, which every change of state has.
                .filter(|member| *member != "journal")
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            said(&erased[0]),
            ["bearer", "event", "officers", "request", "sector", "time"]
        );
        let lodged = world
            .entries(side)
            .into_iter()
            .filter(|entry| entry["event"] == "order-lodge")
            .count();
        assert_eq!(lodged, 1);
    }
}

#[test]
fn a_vault_killed_while_an_order_is_lodged_has_all_its_copies_or_none() {
    let mut world = world();
    let asked = persons(&world, 200);
    for round in 0..if std::env::var_os("CLOISON_TEST_LONG").is_some() {
        20
    } else {
        3
    } {
        let order = world.sign(&world.order("health", &asked), QUORUM);
        let before = {
            world.end(Side::Vault);
            let count = copies(&world).len();
            world.start(Side::Vault, &[]);
            count
        };
        let operator = world.client("operator");
        let body = json!({"order": order});
        let lodging =
            std::thread::spawn(move || operator.post_json::<Value>("/v1/orders", &body).is_ok());
        std::thread::sleep(Duration::from_micros(
            u64::from_be_bytes(cloison::clock::random()) % 30_000,
        ));
        world.kill(Side::Vault);
        let lodged = lodging.join().unwrap();
        let made = copies(&world).len() - before;
        assert!(
            made == 201 || made == 0 && !lodged,
            "round {round}: {made} rows"
        );
        world.start(Side::Vault, &[]);
        lodge(&world, &format!("orders/{round}.jws"), &order);
    }
    let order = world.sign(&world.order("health", &asked), QUORUM);
    assert_eq!(
        codes(&world.reidentify(&order, "health", &asked).ok()),
        vec![None; 200]
    );
}

#[test]
fn copies_open_with_a_renewed_key_when_the_old_one_is_dropped() {
    let mut world = world();
    let asked = persons(&world, 2);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    lodge(&world, "orders/1.jws", &order);
    for (n, pseudonym) in asked.iter().enumerate() {
        erase(&world, &format!("{n}.jws"), pseudonym);
    }
    list_beside(&mut world, "court-2027", Suite::XWing);
    renewed(&renew(&world, &[], OFFICER));
    list_without_first(&mut world);
    assert_eq!(
        renewed(&renew(&world, &["--drop-old"], OFFICER))["unproved"],
        0
    );
    let answer = world.reidentify(&order, "health", &asked).ok();
    assert_eq!(
        (&answer["items"][0]["value"], &answer["items"][1]["value"]),
        (&json!("AB000000"), &json!("AB000001"))
    );
}

/// One order is revoked, the other one runs out: of neither a byte is left on the disk.
#[test]
fn nothing_is_on_the_disk_after_an_orders_end() {
    let mut world = world();
    let asked = persons(&world, 3);
    let mut short = world.order("health", &asked);
    let long = world.order("health", &asked);
    short.not_after = now() + SignedDuration::from_secs(8);
    for (n, payload) in [&short, &long].into_iter().enumerate() {
        lodge(
            &world,
            &format!("orders/{n}.jws"),
            &world.sign(payload, QUORUM),
        );
    }
    erase(&world, "1.jws", &asked[0]);
    world.end(Side::Vault);
    let before = copies(&world);
    assert_eq!(before.len(), 8);
    world.start(Side::Vault, &[]);
    to_vault(&world, &act(&world, &long, ActKind::Revoke, &["judge-1"])).ok();
    while now() < short.not_after {
        std::thread::sleep(Duration::from_millis(200));
    }
    // The node cosigns the vault's log when it starts, and so says that the time has come on its
    // side as well.
    world.end(Side::Node);
    world.start(Side::Node, &[]);
    soon("both orders' copies are gone", || {
        let log = world.log(Side::Vault);
        let said = log
            .matches("copies of orders that are over or revoked were destroyed")
            .count();
        said == 2 || log.contains("were destroyed count=2")
    });
    // Files are cleared at a start, and from then on at most once a minute.
    world.end(Side::Vault);
    world.start(Side::Vault, &[]);
    let stands = |bytes: &[u8]| {
        // A file may go while it is looked for.
        let read = |file: &std::path::PathBuf| std::fs::read(file).unwrap_or_default();
        files(&world.path("data/vault")).iter().any(|file| {
            read(file)
                .windows(bytes.len())
                .any(|window| window == bytes)
        })
    };
    let sealed = || {
        before
            .iter()
            .filter(|(_, value)| value.len() > 9)
            .map(|(_, value)| &value[4..])
    };
    soon("no byte of them is in a file", || !sealed().any(stands));
    world.stop();
    assert_eq!(copies(&world), []);
    let mut ends: Vec<Value> = world
        .entries(Side::Vault)
        .into_iter()
        .filter(|entry| entry["event"] == "order-end")
        .collect();
    ends.sort_by_key(|entry| entry["why"].to_string());
    assert_eq!(
        (&ends[0]["why"], &ends[0]["order"]),
        (&json!("over"), &json!(short.id.to_string()))
    );
    assert_eq!(
        (&ends[1]["why"], &ends[1]["order"]),
        (&json!("revoked"), &json!(long.id.to_string()))
    );
}

#[test]
fn only_those_who_may_bring_an_order_lodge_one() {
    let mut world = world();
    let asked = persons(&world, 1);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    let body = json!({"order": order});
    for other in ["cnss-health", "auditor", "rights-1", "officer"] {
        assert_eq!(
            world
                .post_json(other, Door::Control, "/v1/orders", &body)
                .status,
            403,
            "{other}"
        );
    }
    let draft = json!({"order": world.sign(&world.order("health", &asked), &["judge-1"])});
    for (client, door) in [("operator", Door::Control), ("officer", Door::Officers)] {
        assert_eq!(
            world.post_json(client, door, "/v1/orders", &draft).code(),
            "order-quorum"
        );
        assert_eq!(
            world.post_json(client, door, "/v1/orders", &body).status,
            200
        );
    }
    world.stop();
    assert_eq!(
        world.refusals(Side::Vault, "auditor", "order-lodge", "forbidden"),
        1
    );
}
