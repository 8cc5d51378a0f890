//! `kill -9` of either process at every step of a re-identification: whoever asks again is answered
//! rightly, nothing is counted twice, and nothing is opened that the vault's log does not know.

use cloison::order::act::ActKind;
use cloison::order::{LegalBasis, OrderPayload, PseudonymScope};
use serde_json::Value;

use super::common::{QUORUM, Side, World};
use super::people::{act, at_node, at_vault, codes, persons, soon, to_node, to_vault};
use super::proxy::Wire;

/// A world with a wire that was used already, and an order for two pseudonyms of three.
fn scene() -> (World, Wire, OrderPayload, String, Vec<String>) {
    let (world, wire) = Wire::world();
    let asked = persons(&world, 3);
    let mut payload = world.order("health", &asked);
    payload.basis = LegalBasis::Statutory {
        article: "Law 47-06, art. 214".to_owned(),
    };
    payload.scope = PseudonymScope::AtMost(2);
    let order = world.sign(&payload, QUORUM);
    let warm = world.sign(&world.order("health", &asked), QUORUM);
    world.reidentify(&warm, "health", &asked).ok();
    (world, wire, payload, order, asked)
}

fn used(view: Option<Value>) -> Option<u64> {
    view?["life"]["used"].as_u64()
}

/// Asks in the background; `at` says when, and then `side` is killed.
fn killed(world: &mut World, order: &str, asked: &[String], at: impl FnOnce(&World), side: Side) {
    let officer = world.client("officer");
    let request = world.request(order, "health", asked);
    let body = serde_json::json!({"order": order, "request": request, "sector": "health", "pseudonyms": asked});
    let asking = std::thread::spawn(move || {
        officer
            .post_json::<Value>("/v1/reidentifications", &body)
            .is_ok()
    });
    at(world);
    world.kill(side);
    // The node's own death ends it at once; the vault's, when the wire is let go.
    if side == Side::Node {
        assert!(!asking.join().unwrap(), "no answer from a dead node");
    } else {
        std::mem::forget(asking);
    }
}

/// What is right afterwards, whatever happened before: the two open, the third is beyond the limit,
/// and the logs agree.
fn goes_on(mut world: World, payload: &OrderPayload, order: &str, asked: &[String]) {
    let answer = world.reidentify(order, "health", &asked[..2]).ok();
    assert_eq!(
        (&answer["items"][0]["value"], &answer["items"][1]["value"]),
        (&"AB000000".into(), &"AB000001".into())
    );
    let third = world.reidentify(order, "health", &asked[2..]).ok();
    assert_eq!(codes(&third), [Some("limit-reached".to_owned())]);
    assert_eq!(used(at_vault(&world, payload)), Some(2));
    assert_eq!(used(at_node(&world, payload)), Some(2));
    world.stop();
    let (vault, node) = (world.entries(Side::Vault), world.entries(Side::Node));
    let mut revealed = 0;
    for entry in node.iter().filter(|entry| entry["event"] == "reveal") {
        let named = &vault[entry["vault_entry"]["index"].as_u64().unwrap() as usize];
        assert_eq!(
            (&named["event"], &named["request"]),
            (&"release".into(), &entry["request"])
        );
        revealed += 1;
    }
    assert!(
        revealed >= 3
            && vault
                .iter()
                .filter(|entry| entry["event"] == "release")
                .count()
                >= revealed
    );
}

#[test]
fn the_node_before_its_question_reaches_the_vault() {
    let (mut world, wire, payload, order, asked) = scene();
    wire.waited();
    wire.hold_questions(true);
    killed(
        &mut world,
        &order,
        &asked[..2],
        |_| soon("a question waits", || wire.waited() > 0),
        Side::Node,
    );
    wire.cut(true);
    wire.hold_questions(false);
    wire.cut(false);
    assert_eq!(
        used(at_vault(&world, &payload)),
        None,
        "the vault has counted nothing"
    );
    world.start(Side::Node, &[]);
    goes_on(world, &payload, &order, &asked);
}

#[test]
fn the_vault_before_the_question_reaches_it() {
    let (mut world, wire, payload, order, asked) = scene();
    wire.waited();
    wire.hold_questions(true);
    killed(
        &mut world,
        &order,
        &asked[..2],
        |_| soon("a question waits", || wire.waited() > 0),
        Side::Vault,
    );
    wire.hold_questions(false);
    world.start(Side::Vault, &[]);
    assert_eq!(used(at_vault(&world, &payload)), None);
    goes_on(world, &payload, &order, &asked);
}

#[test]
fn the_node_after_the_vault_has_released() {
    let (mut world, wire, payload, order, asked) = scene();
    wire.hold_answers(true);
    let released = |world: &World| soon("released", || used(at_vault(world, &payload)) == Some(2));
    killed(&mut world, &order, &asked[..2], released, Side::Node);
    wire.cut(true);
    wire.hold_answers(false);
    wire.cut(false);
    world.start(Side::Node, &[]);
    assert_eq!(
        used(at_node(&world, &payload)),
        None,
        "the node has opened nothing"
    );
    goes_on(world, &payload, &order, &asked);
}

/// The vault dies when it has counted and logged, and perhaps before its answer has left: it waits
/// for the checkpoint over the entry in between, for the proof. What it released stays counted,
/// whether or not there is an answer to open.
#[test]
fn the_vault_after_it_has_released() {
    let (mut world, wire, payload, order, asked) = scene();
    wire.hold_answers(true);
    let released = |world: &World| soon("released", || used(at_vault(world, &payload)) == Some(2));
    killed(&mut world, &order, &asked[..2], released, Side::Vault);
    wire.hold_answers(false);
    world.start(Side::Vault, &[]);
    assert_eq!(
        used(at_vault(&world, &payload)),
        Some(2),
        "counted before it was handed out"
    );
    goes_on(world, &payload, &order, &asked);
}

/// The vault dies when its whole answer is on its way: the node opens it. It has the proof that the
/// vault's log names it, and that log was cosigned of late; that the vault is gone changes neither.
#[test]
fn the_vault_after_its_answer_has_left() {
    let (mut world, wire, payload, order, asked) = scene();
    wire.hold_answers(true);
    wire.waited();
    // Records, segment and proof are some kilobytes; what else passes here is some hundred bytes.
    let left = |_: &World| soon("the answer waits", || wire.waited() > 1_500);
    killed(&mut world, &order, &asked[..2], left, Side::Vault);
    wire.hold_answers(false);
    soon("the node has opened what came", || {
        used(at_node(&world, &payload)) == Some(2)
    });
    world.start(Side::Vault, &[]);
    assert_eq!(
        used(at_vault(&world, &payload)),
        Some(2),
        "counted before it was handed out"
    );
    goes_on(world, &payload, &order, &asked);
}

#[test]
fn either_after_the_answer() {
    for side in [Side::Node, Side::Vault] {
        let (mut world, _wire, payload, order, asked) = scene();
        world.reidentify(&order, "health", &asked[..2]).ok();
        world.kill(side);
        world.start(side, &[]);
        assert_eq!(used(at_node(&world, &payload)), Some(2));
        assert_eq!(used(at_vault(&world, &payload)), Some(2));
        goes_on(world, &payload, &order, &asked);
    }
}

/// A revocation that was acknowledged stands, whoever is killed right after it.
#[test]
fn either_after_a_revocation() {
    for (taker, victim) in [
        (Side::Node, Side::Node),
        (Side::Node, Side::Vault),
        (Side::Vault, Side::Node),
        (Side::Vault, Side::Vault),
    ] {
        let (mut world, _wire, payload, order, asked) = scene();
        world.reidentify(&order, "health", &asked[..1]).ok();
        let revoke = act(&world, &payload, ActKind::Revoke, &["judge-1"]);
        match taker {
            Side::Node => to_node(&world, &revoke).ok(),
            Side::Vault => to_vault(&world, &revoke).ok(),
        };
        world.kill(victim);
        world.start(victim, &[]);
        assert_eq!(
            world.reidentify(&order, "health", &asked[..1]).code(),
            "order-revoked",
            "{taker:?} {victim:?}"
        );
        assert_eq!(at_vault(&world, &payload).unwrap()["state"], "revoked");
        soon("the node, too", || {
            at_node(&world, &payload).unwrap()["state"] == "revoked"
        });
    }
}
