//! Revoked at either side is revoked: after a start or a lost link neither side releases before it
//! has the other's revocations.

use cloison::order::act::ActKind;

use super::common::QUORUM;
use super::common::Side;
use super::people::{act, at_node, at_vault, persons, soon, to_node, to_vault};
use super::proxy::Wire;

/// The node gets a revocation while it cannot reach the vault: it is in force at the node at once,
/// and reaches the vault when the link is back, though nobody asks for anything.
#[test]
fn revoked_at_the_node_while_the_link_is_lost() {
    let (world, wire) = Wire::world();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    world.reidentify(&order, "health", &asked).ok();
    wire.cut(true);
    let lodged = to_node(
        &world,
        &act(&world, &payload, ActKind::Revoke, &["judge-1"]),
    )
    .ok();
    assert_eq!(
        (lodged["both"].as_bool(), lodged["order"]["state"].as_str()),
        (Some(false), Some("revoked"))
    );
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-revoked"
    );
    assert_eq!(
        at_vault(&world, &payload).unwrap()["state"],
        "exhausted",
        "the vault cannot know yet"
    );
    // Nor is anything else released: no link, no release.
    let other = world.sign(&world.order("health", &asked), QUORUM);
    assert_eq!(
        world.reidentify(&other, "health", &asked).code(),
        "peer-unavailable"
    );
    wire.cut(false);
    soon("the vault has the revocation", || {
        at_vault(&world, &payload).unwrap()["state"] == "revoked"
    });
}

/// The same over a kill of the node: before it releases anything under another order, the vault has
/// the revocation.
#[test]
fn revoked_at_the_node_and_killed() {
    let (mut world, wire) = Wire::world();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    wire.cut(true);
    to_node(
        &world,
        &act(&world, &payload, ActKind::Revoke, &["judge-1"]),
    )
    .ok();
    world.kill(Side::Node);
    wire.cut(false);
    world.start(Side::Node, &[]);
    let other = world.sign(&world.order("health", &asked), QUORUM);
    world.reidentify(&other, "health", &asked).ok();
    assert_eq!(at_vault(&world, &payload).unwrap()["state"], "revoked");
    let order = world.sign(&payload, QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-revoked"
    );
}

/// The vault gets a revocation while the node is down, and is killed: the node learns of it before
/// it opens anything.
#[test]
fn revoked_at_the_vault_while_the_node_is_down() {
    let mut world = super::people::quiet();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    world.kill(Side::Node);
    to_vault(
        &world,
        &act(&world, &payload, ActKind::Revoke, &["prosecutor-1"]),
    )
    .ok();
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let other = world.sign(&world.order("health", &asked), QUORUM);
    world.reidentify(&other, "health", &asked).ok();
    assert_eq!(at_node(&world, &payload).unwrap()["state"], "revoked");
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-revoked"
    );
}

/// Both sides got acts of their own while the link was lost; then both have all of them, also those
/// for which the register no longer has the approver.
#[test]
fn both_had_something_to_say() {
    let (mut world, wire) = Wire::world();
    let asked = persons(&world, 1);
    let orders: Vec<_> = (0..12).map(|_| world.order("health", &asked)).collect();
    let other = world.sign(&world.order("health", &asked), QUORUM);
    wire.cut(true);
    for order in &orders[..5] {
        to_node(&world, &act(&world, order, ActKind::Suspend, &["judge-2"])).ok();
    }
    for order in &orders[5..] {
        to_vault(&world, &act(&world, order, ActKind::Revoke, &["judge-1"])).ok();
    }
    // Meanwhile the second judge leaves.
    world.stop();
    world.edit_register(|text| {
        let begin = text
            .find("[[authority.approver]]\nid = \"judge-2\"")
            .unwrap();
        let end = begin + text[begin + 1..].find("\n[[").unwrap() + 2;
        text[..begin].to_owned() + &text[end..]
    });
    wire.cut(false);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world.reidentify(&other, "health", &asked).ok();
    for (n, order) in orders.iter().enumerate() {
        let signed = world.sign(order, QUORUM);
        let code = if n < 5 {
            "order-suspended"
        } else {
            "order-revoked"
        };
        assert_eq!(
            world.reidentify(&signed, "health", &asked).code(),
            code,
            "{n}: what one side has taken stays in force"
        );
    }
    // Also after a restart of both.
    world.restart();
    world
        .reidentify(
            &world.sign(&world.order("health", &asked), QUORUM),
            "health",
            &asked,
        )
        .ok();
}

/// An act that comes while a release is on its way to the node still stops it.
#[test]
fn revoked_while_the_answer_is_on_its_way() {
    let (world, wire) = Wire::world();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    // A connection stands.
    let warm = world.sign(&world.order("health", &asked), QUORUM);
    world.reidentify(&warm, "health", &asked).ok();
    let revoke = act(&world, &payload, ActKind::Revoke, &["judge-1"]);
    wire.hold_answers(true);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| world.reidentify(&order, "health", &asked));
        soon("the vault has released", || {
            at_vault(&world, &payload).is_some_and(|view| view["life"]["used"] == 1)
        });
        let revoking = scope.spawn(|| to_node(&world, &revoke));
        soon("the node has the act", || {
            at_node(&world, &payload).is_some_and(|view| view["state"] == "revoked")
        });
        wire.hold_answers(false);
        assert_eq!(asking.join().unwrap().code(), "order-revoked");
        assert_eq!(revoking.join().unwrap().ok()["order"]["state"], "revoked");
    });
}
