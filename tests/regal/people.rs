//! What approvers, officers and operators do upon orders.

use cloison::order::OrderPayload;
use cloison::order::act::{ActKind, ActPayload};
use cloison::statement::{self, Statement as _};
use serde_json::{Value, json};

use super::common::{DEPLOYMENT, Door, Reply, Setup, World, id, now};

/// A world that does not write a trace.
pub fn quiet() -> World {
    World::with(Setup {
        log: "info",
        ..Setup::default()
    })
}

/// Persons' pseudonyms in the sector `health`.
pub fn persons(world: &World, count: usize) -> Vec<String> {
    let cards: Vec<_> = (0..count).map(|n| format!("AB{n:06}")).collect();
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    world.health_pseudonyms(&cards)
}

/// An act upon an order, as its payload.
pub fn act_upon(order: &OrderPayload, kind: ActKind, lifts: Vec<[u8; 32]>) -> ActPayload {
    ActPayload {
        aud: id(DEPLOYMENT),
        act: kind,
        authority: order.authority.clone(),
        order: order.id,
        reason: id("test"),
        time: now(),
        lifts,
    }
}

/// The same, signed.
pub fn signed(world: &World, act: &ActPayload, signers: &[&str]) -> String {
    let draft = act.draft().unwrap();
    signers.iter().fold(draft, |text, kid| {
        statement::sign::<ActPayload>(&text, kid, &world.key(kid)).unwrap()
    })
}

/// A signed act upon an order.
pub fn act(world: &World, order: &OrderPayload, kind: ActKind, signers: &[&str]) -> String {
    signed(world, &act_upon(order, kind, vec![]), signers)
}

/// Asserts that an act waits for places.
pub fn unavailable(reply: &Reply) {
    let said = (reply.status, reply.code());
    let waits = (503, "journal-unavailable".to_owned());
    assert_eq!(said, waits, "{}", reply.text());
}

/// An officer brings an act to the node.
pub fn to_node(world: &World, act: &str) -> Reply {
    world.post_json("officer", Door::Officers, "/v1/acts", &json!({"act": act}))
}

/// An operator brings an act to the vault.
pub fn to_vault(world: &World, act: &str) -> Reply {
    world.post_json("operator", Door::Control, "/v1/acts", &json!({"act": act}))
}

/// The order as the vault lists it for an operator.
pub fn at_vault(world: &World, order: &OrderPayload) -> Option<Value> {
    find(
        &world.get("operator", Door::Control, "/v1/orders").ok(),
        order,
    )
}

/// All orders that the vault knows.
pub fn at_vault_all(world: &World) -> Vec<Value> {
    world.get("operator", Door::Control, "/v1/orders").ok()["orders"]
        .as_array()
        .unwrap()
        .clone()
}

/// The order as the node lists it for an officer.
pub fn at_node(world: &World, order: &OrderPayload) -> Option<Value> {
    find(
        &world.get("officer", Door::Officers, "/v1/orders").ok(),
        order,
    )
}

fn find(list: &Value, order: &OrderPayload) -> Option<Value> {
    let orders = list["orders"].as_array().unwrap();
    orders
        .iter()
        .find(|view| view["id"] == order.id.to_string())
        .cloned()
}

/// The codes of an answer's items; nothing where there is an identifier.
pub fn codes(answer: &Value) -> Vec<Option<String>> {
    let items = answer["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["code"].as_str().map(str::to_owned))
        .collect()
}

/// Waits until something is so, for a minute: machines are busy.
#[track_caller]
pub fn soon(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("not within a minute: {what}");
}
