//! Retiring an epoch: who may, when, and what is left of it.

use cloison::epoch::statement::Destruction;
use serde_json::{Value, json};

use super::{order, page, world_with};
use crate::common::{Door, QUORUM, Side, World, swap};
use crate::people::{codes, persons};

/// Only the sector retires, only a closed epoch, and then nothing in it is migrated, or released
/// but to orders with copies.
#[test]
fn an_epoch_is_retired_when_its_sector_says_so() {
    let mut world =
        world_with(|text| swap(&text, "epoch-overlap-days = 30", "epoch-overlap-days = 0"));
    let old = persons(&world, 700);
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    world.reidentify(&judicial, "health", &old).ok();
    let retire = |world: &World, client: &str, epoch: &str, dry_run: bool| {
        let path = format!("/v1/sectors/health/epochs/{epoch}/retire");
        world.post_json(
            client,
            Door::Data,
            &path,
            &json!({"dry_run": dry_run, "unmigrated": true}),
        )
    };
    assert_eq!(
        retire(&world, "cnss-health", "1", false).code(),
        "epoch-open"
    );
    world.advance("health", false);
    assert_eq!(
        retire(&world, "cnss-health", "2", true).code(),
        "epoch-open"
    );
    assert_eq!(
        retire(&world, "cnss-health", "7", true).code(),
        "domain-closed"
    );
    assert_eq!(
        retire(&world, "cnss-health", "x", true).code(),
        "domain-closed"
    );
    for stranger in ["dgi-tax", "operator", "node"] {
        assert_eq!(retire(&world, stranger, "1", false).code(), "forbidden");
    }
    let new = persons(&world, 300);
    let args = [
        "client",
        "retire-epoch",
        "--sector",
        "health",
        "--epoch",
        "1",
        "--client",
        "clients/cnss-health.toml",
    ];
    let output = world.cloison(&[&args[..], &["--dry-run"]].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("700 mappings would go"), "{said}");
    assert!(
        codes(&world.reidentify(&judicial, "health", &old[..3]).ok())
            .iter()
            .all(Option::is_none),
        "nothing was done"
    );

    let statement = world.statement(Destruction::Epoch {
        sector: "health".to_owned(),
        epoch: 1,
    });
    world.write(
        "statement.jws",
        &world.sign_statement(&statement, &["operator-2"]),
    );
    let output = world.cloison(
        &[
            &args[..],
            &["--unmigrated", "--statement", "statement.jws", "--yes"],
        ]
        .concat(),
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("700 mappings are gone"), "{said}");
    let migration = world.sign(&order(&world, 1_000), QUORUM);
    let gone = |world: &World| {
        let answer = world.reidentify(&judicial, "health", &old[..3]).ok();
        assert!(
            codes(&answer).iter().all(Option::is_none),
            "the order goes on with its own copies: {answer}"
        );
        let late = world.sign(&world.order("health", &old[..3]), QUORUM);
        let answer = world.reidentify(&late, "health", &old[..3]).ok();
        assert!(
            codes(&answer)
                .iter()
                .all(|code| code.as_deref() == Some("epoch-retired")),
            "{answer}"
        );
        assert_eq!(page(world, &migration).code(), "epoch-retired");
        let again = retire(world, "cnss-health", "1", false).ok();
        assert_eq!(
            (&again["retired"], &again["mappings"]),
            (&json!(true), &json!(0)),
            "answered as done"
        );
        let of_now = world.sign(&world.order("health", &new), QUORUM);
        assert!(
            codes(&world.reidentify(&of_now, "health", &new).ok())
                .iter()
                .all(Option::is_none)
        );
        let epochs = world
            .get("operator", Door::Control, "/v1/sectors/health/epochs")
            .ok();
        assert_eq!(
            (&epochs["epochs"][0]["state"], &epochs["epochs"][1]["state"]),
            (&json!("retired"), &json!("current"))
        );
    };
    gone(&world);
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    gone(&world);
    world.stop();
    assert_eq!(world.mappings(), 300);
    let entries = world.entries(Side::Vault);
    let retired: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "epoch-retire")
        .collect();
    assert_eq!(retired.len(), 1, "a dry run is no effect");
    assert_eq!(
        (&retired[0]["client"], &retired[0]["mappings"]),
        (&json!("cnss-health"), &json!(700))
    );
    assert_eq!(retired[0]["unmigrated"], 700);
    assert_eq!(
        (&retired[0]["statement"], &retired[0]["signers"]),
        (&json!(statement.id), &json!(["operator-2"]))
    );
}

/// Mappings of which no migration made a pair are given up only where the sector says so.
#[test]
fn an_epoch_whose_mappings_were_never_migrated_is_retired_only_when_they_are_given_up() {
    let world = world_with(|text| swap(&text, "epoch-overlap-days = 30", "epoch-overlap-days = 0"));
    let old = persons(&world, 3);
    world
        .reidentify(
            &world.sign(&world.order("health", &old), QUORUM),
            "health",
            &old,
        )
        .ok();
    world.advance("health", false);
    let retire = |how: Value| {
        let statement = world.statement(Destruction::Epoch {
            sector: "health".to_owned(),
            epoch: 1,
        });
        let mut body = json!({"statement": world.sign_statement(&statement, &["operator"])});
        body.as_object_mut()
            .unwrap()
            .extend(how.as_object().unwrap().clone());
        world.post_json(
            "cnss-health",
            Door::Data,
            "/v1/sectors/health/epochs/1/retire",
            &body,
        )
    };
    let left = || retire(json!({"dry_run": true})).ok()["unmigrated"].clone();
    assert_eq!(left(), 3);
    assert_eq!(retire(json!({})).code(), "epoch-unmigrated");
    // A migration that an order's limit stopped has left one.
    let signed = world.sign(&order(&world, 2), QUORUM);
    assert_eq!(page(&world, &signed).ok()["progress"]["migrated"], 2);
    assert_eq!(left(), 1);
    assert_eq!(retire(json!({})).code(), "epoch-unmigrated");
    let signed = world.sign(&order(&world, 10), QUORUM);
    assert_eq!(page(&world, &signed).ok()["progress"]["migrated"], 3);
    assert_eq!(left(), 0);
    let retired = retire(json!({})).ok();
    assert_eq!(
        (&retired["retired"], &retired["mappings"]),
        (&json!(true), &json!(3))
    );
}
