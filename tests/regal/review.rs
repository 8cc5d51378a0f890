//! Force majeure opens a review, which a second body closes.

use cloison::order::act::ActKind;
use cloison::order::{LegalBasis, SecuritySide};
use jiff::SignedDuration;

use super::common::{QUORUM, now};
use super::people::{act, act_upon, at_node, at_vault, persons, quiet, signed, to_node, to_vault};

#[test]
fn a_review_is_due_until_a_second_body_closes_it() {
    let mut world = quiet();
    let asked = persons(&world, 2);
    let mut payload = world.order("health", &asked);
    payload.basis = LegalBasis::ForceMajeure {
        security: SecuritySide::Internal,
    };
    payload.not_after = now() + SignedDuration::from_hours(71);
    let order = world.sign(&payload, QUORUM);
    let due = |world: &super::common::World| {
        let output = world.cloison(&[
            "order",
            "list",
            "--review-due",
            "--json",
            "--client",
            "clients/officer.toml",
        ]);
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        list["orders"].as_array().unwrap().len()
    };
    assert_eq!(due(&world), 0, "not used, nothing to review");
    let close = act(
        &world,
        &payload,
        ActKind::CloseReview,
        &["judge-2", "prosecutor-1"],
    );
    assert_eq!(to_node(&world, &close).code(), "unknown-order");
    world.reidentify(&order, "health", &asked).ok();
    assert_eq!(due(&world), 1);
    assert_eq!(at_vault(&world, &payload).unwrap()["review_due"], true);

    // While it may still be used there would be something left to review.
    assert_eq!(to_node(&world, &close).code(), "act-invalid");
    to_node(
        &world,
        &act(&world, &payload, ActKind::Revoke, &["judge-1"]),
    )
    .ok();
    for (what, signers) in [
        ("one who ordered", &["judge-1"][..]),
        ("those who ordered", QUORUM),
        ("another of a body that ordered", &["judge-2"]),
        ("two of one body", &["judge-1", "judge-2"]),
    ] {
        let close = signed(
            &world,
            &act_upon(&payload, ActKind::CloseReview, vec![]),
            signers,
        );
        assert_eq!(to_node(&world, &close).code(), "order-quorum", "{what}");
        assert_eq!(to_vault(&world, &close).code(), "order-quorum", "{what}");
    }
    assert_eq!(due(&world), 1);
    world.restart();
    assert_eq!(due(&world), 1, "kept");
    to_node(&world, &close).ok();
    for view in [
        at_vault(&world, &payload).unwrap(),
        at_node(&world, &payload).unwrap(),
    ] {
        assert_eq!(view["review_due"], false, "{view}");
        assert_eq!(view["state"], "revoked");
    }
    assert_eq!(due(&world), 0);

    // Another order of another basis opens none.
    world
        .reidentify(
            &world.sign(&world.order("health", &asked), QUORUM),
            "health",
            &asked,
        )
        .ok();
    assert_eq!(due(&world), 0);
}
