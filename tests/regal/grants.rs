//! An act that grants something is in force only when a place has it, also after a restart; one
//! that restricts something is in force at once.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use cloison::deployment::register_text::OPERATORS;
use cloison::entity::RestoreLoss;
use cloison::epoch::statement::Destruction;
use cloison::order::act::{ActKind, ActPayload};
use cloison::statement;
use cloison::store::{RowBatch, Store};
use cloison::suspension::SuspensionAct;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::common::{Door, QUORUM, Reply, Side, World, now};
use super::followers;
use super::people::{act, act_upon, at_vault, signed, soon, to_vault, unavailable};

fn bring(world: &World, statement: &Value) -> Reply {
    world.post_json("operator", Door::Control, "/v1/suspensions", statement)
}

fn is_listed(world: &World) -> bool {
    let listed = world.get("operator", Door::Control, "/v1/suspensions").ok();
    let rows = listed["suspended"].as_array().unwrap();
    rows.iter().any(|row| row["entry"] == "dgi-tax")
}

fn is_shut_out(world: &World) -> bool {
    let mut stream = world.connect(Some("dgi-tax"), Door::Data);
    let is_refused = stream
        .exchange(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .is_err();
    assert_eq!(is_listed(world), is_refused);
    is_refused
}

/// Decides an inspection at the vault.
fn inspect(world: &World) -> String {
    let arguments = "audit inspection new --register register.toml --reference D-1/2026 --controller A --address B \
                     --agent C --object D --days 30 --auditor auditor --sector health \
                     --key secrets/register/commission.pem --kid commission --client clients/auditor.toml";
    let output = world.cloison(&arguments.split_whitespace().collect::<Vec<_>>());
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn is_open(world: &World) -> bool {
    world
        .get("auditor", Door::Control, "/v1/audit/entries")
        .status
        == 200
}

#[test]
fn what_lets_something_go_on_waits_for_a_place_also_over_a_restart() {
    let mut world = followers::world(1);
    let asked = world.health_pseudonyms(&["AB1"]);
    let (order, other) = (world.order("health", &asked), world.order("health", &asked));
    let signed_order = world.sign(&order, QUORUM);
    world.reidentify(&signed_order, "health", &asked).ok();
    let stop = act_upon(&order, ActKind::Suspend, vec![]);
    let stop = signed(&world, &stop, &["judge-1"]);
    to_vault(&world, &stop).ok();
    bring(
        &world,
        &world.suspension("dgi-tax", SuspensionAct::Suspend, &["operations"]),
    )
    .ok();
    assert!(is_shut_out(&world) && !is_open(&world));

    // The only place that counts goes away.
    world.end(Side::Node);
    let resume = act_upon(
        &order,
        ActKind::Resume,
        vec![statement::digest_of::<ActPayload>(&stop).unwrap()],
    );
    let resume = signed(&world, &resume, QUORUM);
    let lift = world.suspension(
        "dgi-tax",
        SuspensionAct::Lift,
        &["operations", "commission"],
    );
    let revoke = act(&world, &other, ActKind::Revoke, &["judge-1"]);
    let state = |world: &World, order| at_vault(world, order).unwrap()["state"].clone();
    thread::scope(|scope| {
        let lifted = scope.spawn(|| bring(&world, &lift));
        let inspected = scope.spawn(|| inspect(&world));
        let revoked = scope.spawn(|| to_vault(&world, &revoke));
        unavailable(&to_vault(&world, &resume));
        unavailable(&lifted.join().unwrap());
        unavailable(&revoked.join().unwrap());
        let said = inspected.join().unwrap();
        assert!(said.contains("journal-unavailable"), "{said}");
    });
    let waiting = |world: &World| {
        let status = world.get("operator", Door::Control, "/v1/status").ok();
        let waiting = status["log"]["waiting"].as_array();
        waiting.map_or(0, Vec::len)
    };
    for restarted in [false, true] {
        if restarted {
            world.kill(Side::Vault);
            world.start(Side::Vault, &[]);
        }
        assert_eq!(waiting(&world), 3, "the status names what waits");
        assert_eq!(state(&world, &order), "suspended", "{restarted}");
        assert_eq!(state(&world, &other), "revoked", "{restarted}");
        assert!(is_shut_out(&world) && !is_open(&world), "{restarted}");
    }

    // The same calls wait again, and are answered once the place has what they did.
    thread::scope(|scope| {
        let lifted = scope.spawn(|| bring(&world, &lift));
        unavailable(&to_vault(&world, &resume));
        unavailable(&lifted.join().unwrap());
    });
    world.start(Side::Node, &[]);
    soon("a place has the lift", || !is_listed(&world));
    assert!(!is_shut_out(&world));
    soon("a place has the order's resume", || {
        state(&world, &order) == "exhausted"
    });
    soon("a place has the inspection", || is_open(&world));
    assert_eq!(
        to_vault(&world, &resume).ok()["order"]["state"],
        "exhausted"
    );
    assert_eq!(waiting(&world), 0);
    // The node has it from the vault, and its own place is the vault.
    soon("the vault has the node's log", || {
        world.reidentify(&signed_order, "health", &asked).status == 200
    });

    // What a place has is in force after a kill, whether the place answers or not.
    world.end(Side::Node);
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    assert_eq!(state(&world, &order), "exhausted");
    assert!(!is_shut_out(&world) && is_open(&world));
    world.stop();
    let entries = world.entries(Side::Vault);
    let of = |event: &str| entries.iter().filter(|e| e["event"] == event).count();
    assert_eq!(
        (of("suspension"), of("order-act"), of("inspection")),
        (2, 3, 1)
    );
}

fn in_force(world: &World) -> Value {
    let status = world.get("operator", Door::Control, "/v1/status").ok();
    status["register"]["version"].clone()
}

/// A register with one auditor more.
fn next_register(world: &World, auditor: &str) {
    let certificate = world.certify(auditor, 2000, 4000);
    world.edit_register(|text| {
        text + &format!("\n[[auditor]]\nid = \"{auditor}\"\ncertificate = \"{certificate}\"\n")
    });
}

/// Puts the vault in the state in which a restore without places leaves it.
fn lose_without_places(world: &World) {
    let store = Store::open(&world.path("data/vault"), "test/vault").unwrap();
    let loss = RestoreLoss {
        backup: None,
        restored: now() - SignedDuration::from_mins(1),
        epochs: BTreeMap::new(),
        confirmed: BTreeSet::new(),
        erased_again: false,
        suspended: vec![],
        more_suspended: false,
        other_side: false,
    };
    let mut batch = RowBatch::default();
    store.put_restore_loss(&mut batch, &loss.to_bytes());
    store.commit(batch).unwrap();
}

#[test]
fn a_register_and_a_confirmation_after_a_loss_wait_for_a_place_also_over_a_restart() {
    let mut world = followers::world(1);
    world.stop();
    lose_without_places(&world);
    world.start(Side::Vault, &[]);
    let confirm = world.statement(Destruction::ConfirmEpoch {
        sector: "health".to_owned(),
        epoch: 1,
    });
    let confirm = json!({"statement": world.sign_statement(&confirm, &OPERATORS)});
    let confirm =
        |world: &World| world.post_json("operator", Door::Control, "/v1/restore", &confirm);
    let reload = |world: &World| {
        world.post_json("operator", Door::Control, "/v1/register/reload", &json!({}))
    };
    let tokenize = |world: &World| {
        let purpose = Some("billing");
        world.batch("cnss-health", "health", "cnie", purpose, &["AB1"])
    };
    next_register(&world, "auditor-2");
    thread::scope(|scope| {
        let confirmed = scope.spawn(|| confirm(&world));
        unavailable(&reload(&world));
        unavailable(&confirmed.join().unwrap());
    });
    for restarted in [false, true] {
        if restarted {
            world.kill(Side::Vault);
            world.start(Side::Vault, &[]);
        }
        assert_eq!(in_force(&world), 1, "{restarted}");
        assert_eq!(tokenize(&world).code(), "epoch-unconfirmed", "{restarted}");
    }
    unavailable(&confirm(&world));
    world.start(Side::Node, &[]);
    soon("a place has the register", || in_force(&world) == 2);
    soon("a place has the confirmation", || {
        tokenize(&world).status == 200
    });
    confirm(&world).ok();

    // A register that was only put in the file waits, too.
    world.stop();
    next_register(&world, "auditor-3");
    world.start(Side::Vault, &[]);
    assert_eq!(in_force(&world), 2);
    assert_eq!(tokenize(&world).status, 200, "batches wait for no place");
    world.start(Side::Node, &[]);
    soon("a place has the next register", || in_force(&world) == 3);
    world.stop();
    let entries = world.entries(Side::Vault);
    let of = |event: &str| entries.iter().filter(|e| e["event"] == event).count();
    assert_eq!((of("register"), of("restore-confirm")), (2, 1));
}

#[test]
fn an_operator_sees_at_the_node_what_waits_there() {
    let mut world = followers::world(1);
    let bring = |world: &World, act, keys: &[&str]| {
        let statement = world.suspension("dgi-tax", act, keys);
        world.post_json("operator", Door::Officers, "/v1/suspensions", &statement)
    };
    bring(&world, SuspensionAct::Suspend, &["operations"]).ok();
    world.end(Side::Vault);
    let keys = ["operations", "commission"];
    unavailable(&bring(&world, SuspensionAct::Lift, &keys));
    let status = world.get("operator", Door::Officers, "/v1/status").ok();
    let waiting = status["log"]["waiting"].as_array().unwrap();
    assert_eq!(waiting.len(), 1, "{status}");
    world.end(Side::Node);
}

/// What a command of an operator prints.
fn listed(world: &World, command: &str) -> String {
    let arguments = format!("{command} --client clients/operator.toml");
    let output = world.cloison(&arguments.split_whitespace().collect::<Vec<_>>());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The member `waiting` of what it prints as JSON.
fn waiting_in(world: &World, command: &str) -> Vec<String> {
    let printed = listed(world, &format!("{command} --json"));
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let waiting = printed["waiting"].as_array().cloned().unwrap_or_default();
    let words = |what: &Value| what.as_str().unwrap().to_owned();
    waiting.iter().map(words).collect()
}

/// Nobody calls again: a follower that comes back is enough.
#[test]
fn an_epoch_a_register_and_a_secret_take_effect_by_themselves_once_a_follower_holds_them() {
    let mut world = followers::world(1);
    let asked = world.health_pseudonyms(&["AB1"]);
    let post = |world: &World, path, body: &Value| {
        let reply = world.post_json("operator", Door::Control, path, body);
        unavailable(&reply);
        reply.text().to_owned()
    };
    let none = json!({});
    let (epochs, history, versions) = (
        "epoch list --sector health",
        "register history",
        "secrets versions",
    );
    world.end(Side::Node);
    let said = post(&world, "/v1/sectors/health/epochs", &json!({"from": 1}));
    assert!(said.contains("takes effect as soon as"), "{said}");
    assert_eq!(waiting_in(&world, epochs), ["epoch 2 of health"]);
    let printed = listed(&world, epochs);
    assert!(printed.contains("Waits for places") && printed.contains("epoch 2 of health"));
    assert!(waiting_in(&world, versions).is_empty());
    // It comes behind the epoch, and is not dropped.
    next_register(&world, "auditor-2");
    post(&world, "/v1/register/reload", &none);
    assert_eq!(world.health_pseudonyms(&["AB1"]), asked);
    assert_eq!(in_force(&world), 1);
    world.start(Side::Node, &[]);
    soon("the register is in force", || in_force(&world) == 2);
    assert_ne!(world.health_pseudonyms(&["AB1"]), asked);
    assert!(waiting_in(&world, epochs).is_empty());

    world.end(Side::Node);
    post(&world, "/v1/secrets", &none);
    next_register(&world, "auditor-3");
    assert_eq!(
        waiting_in(&world, versions),
        ["version 2 of the sector secret"]
    );
    assert!(listed(&world, versions).contains("Waits for places"));
    world.start(Side::Node, &[]);
    soon("the version is there", || {
        waiting_in(&world, versions).is_empty()
    });
    world.end(Side::Node);
    post(&world, "/v1/register/reload", &none);
    assert_eq!(waiting_in(&world, history), ["register version 3"]);
    let printed = listed(&world, history);
    assert!(
        !printed.lines().any(|line| line.starts_with("3 ")),
        "{printed}"
    );
    world.start(Side::Node, &[]);
    soon("the register is in force", || in_force(&world) == 3);
    let printed = listed(&world, history);
    assert!(
        printed.lines().any(|line| line.starts_with("3 ")),
        "{printed}"
    );
    world.stop();
    let entries = world.entries(Side::Vault);
    let of = |event: &str| entries.iter().filter(|e| e["event"] == event).count();
    assert_eq!(
        (of("epoch-advance"), of("secret-rotate"), of("register")),
        (1, 1, 2)
    );
}
