//! What is refused, how, and that nothing is left of it.

mod common;

use common::{QUORUM, Side, World};

#[test]
fn the_whole_way_works() {
    let mut world = World::new();
    let pseudonyms = world.tokenize("cnss-health", "health", "cnie", Some("billing"), &["AB123456", "BE9876"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    let answer = world.reidentify(&order, "health", &pseudonyms).ok();
    assert_eq!(answer["items"][0]["value"], "AB123456");
    assert_eq!(answer["items"][1]["value"], "BE9876");
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    world.restart();
    world.stop();
    assert_eq!(world.mappings(), 2);
    assert!(world.entries(Side::Vault).iter().any(|entry| entry["event"] == "release"));
    assert!(world.entries(Side::Node).iter().any(|entry| entry["event"] == "reveal"));
}
