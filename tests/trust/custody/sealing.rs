//! Sealing: the panic button, idle time, kill -9; and nodes that cannot be unsealed do not start.

use std::time::Duration;

use serde_json::Value;

use super::{done, refused, split, unseal};
use crate::common::{QUORUM, Side, World, plain_get, swap};

fn reveal(world: &World, pseudonyms: &[String]) -> crate::common::Reply {
    let order = world.sign(&world.order("health", pseudonyms), QUORUM);
    world.reidentify(&order, "health", pseudonyms)
}

#[test]
fn the_panic_button_seals_at_once_and_shares_brought_before_are_gone() {
    let mut world = split(true);
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    unseal(&world);
    assert_eq!(reveal(&world, &pseudonyms).status, 200);
    let said: Value = serde_json::from_str(&done(&world.cloison(&[
        "authority",
        "seal",
        "--client",
        "clients/officer.toml",
        "--json",
    ])))
    .unwrap();
    assert_eq!(
        (&said["sealed"], &said["keys"][0]["sealed"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!(reveal(&world, &pseudonyms).code(), "sealed");
    // Two of three brought, then the button: the third one alone is not enough.
    done(&super::bring(&world, "unseal", 1));
    done(&super::bring(&world, "unseal", 2));
    done(&world.cloison(&["authority", "seal", "--client", "clients/custodian-5.toml"]));
    let third: Value = serde_json::from_str(&done(&super::bring(&world, "unseal", 3))).unwrap();
    assert_eq!(
        (third["shares"].as_u64(), third["done"].as_bool()),
        (Some(1), Some(false))
    );
    done(&super::bring(&world, "unseal", 4));
    done(&super::bring(&world, "unseal", 5));
    assert_eq!(reveal(&world, &pseudonyms).status, 200);
    world.stop();
    let seals: Vec<_> = world
        .entries(Side::Node)
        .into_iter()
        .filter(|entry| entry["action"] == "seal")
        .collect();
    assert_eq!(seals.len(), 2);
    assert_eq!(
        (&seals[0]["actor"], &seals[1]["actor"]),
        (&"officer".into(), &"custodian-5".into())
    );
}

#[test]
fn a_key_in_a_file_is_sealed_by_the_button_too_and_comes_back_by_a_restart() {
    let mut world = World::new();
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    assert_eq!(reveal(&world, &pseudonyms).status, 200);
    done(&world.cloison(&["authority", "seal", "--client", "clients/officer.toml"]));
    assert_eq!(reveal(&world, &pseudonyms).code(), "sealed");
    world.end(Side::Node);
    world.start(Side::Node, &[]);
    assert_eq!(reveal(&world, &pseudonyms).status, 200);
}

#[test]
fn an_idle_node_seals_itself_and_use_keeps_it_open() {
    let mut world = split(false);
    world.write(
        "node.toml",
        &(world.read("node.toml") + "\n[seal]\nidle-seconds = 3\n"),
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    unseal(&world);
    // Longer than the idle time in all, never so long at once.
    for _ in 0..8 {
        assert_eq!(reveal(&world, &pseudonyms).status, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    let mut sealed = false;
    for _ in 0..120 {
        sealed = plain_get(world.health(Side::Node), "/readyz")
            .unwrap()
            .contains("\"sealed\"");
        if sealed {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(sealed, "the node did not seal itself");
    assert_eq!(reveal(&world, &pseudonyms).code(), "sealed");
    unseal(&world);
    assert_eq!(reveal(&world, &pseudonyms).status, 200);
    world.stop();
    assert!(
        world
            .entries(Side::Node)
            .iter()
            .any(|entry| entry["action"] == "seal-idle" && entry["actor"] == "court")
    );
}

#[test]
fn killed_it_comes_back_sealed_and_can_be_unsealed_again() {
    let mut world = split(true);
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    unseal(&world);
    assert_eq!(reveal(&world, &pseudonyms).status, 200);
    world.kill(Side::Node);
    world.start(Side::Node, &[]);
    assert_eq!(reveal(&world, &pseudonyms).code(), "sealed");
    // Killed with two of three shares brought: they are gone.
    done(&super::bring(&world, "unseal", 1));
    done(&super::bring(&world, "unseal", 2));
    world.kill(Side::Node);
    world.start(Side::Node, &[]);
    let said: Value = serde_json::from_str(&done(&super::bring(&world, "unseal", 3))).unwrap();
    assert_eq!(said["shares"], 1);
    unseal(&world);
    assert_eq!(reveal(&world, &pseudonyms).status, 200);
    world.stop();
    let entries = world.entries(Side::Node);
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["action"] == "unseal")
            .count(),
        2
    );
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["event"] == "start")
            .count(),
        3
    );
}

#[test]
fn a_node_that_nobody_could_unseal_does_not_start() {
    let mut world = split(false);
    let node = |world: &mut World, why: &str| {
        let failed = world
            .try_start(Side::Node, &[])
            .expect_err("it must not start");
        assert!(failed.said.contains(why), "{why:?} is not in {failed}");
    };
    let set = world.read("court-2026.set");
    // Another key's set.
    let other = split(false);
    world.write("court-2026.set", &other.read("court-2026.set"));
    node(&mut world, "is not one that the register states");
    for nonsense in ["", "{}", "[]"] {
        world.write("court-2026.set", nonsense);
        node(&mut world, "court-2026.set");
    }
    world.write(
        "court-2026.set",
        &swap(&set, "\"name\":\"court-2026\"", "\"name\":\"court-2025\""),
    );
    node(&mut world, "is not one that the register states");
    world.write("court-2026.set", &set);
    // Fewer custodians in the register than it takes.
    world.edit_register(|text| {
        let head = text
            .find("\n[[authority.custodian]]\nid = \"custodian-3\"")
            .unwrap();
        text[..head].to_owned() + "\n"
    });
    node(
        &mut world,
        "2 custodians of the key court-2026 are in the register, and it takes 3 of them",
    );
    refused(
        &world.cloison(&["check", "clients/nothing.toml"]),
        "nothing.toml",
    );
}
