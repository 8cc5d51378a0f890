//! Who may order a migration, and how much of it in an hour.

use cloison::order::act::ActKind;
use cloison::order::{Continuity, LegalBasis, OrderPayload, PseudonymScope};
use serde_json::json;

use super::{order, page, page_past_the_node, waiting, world, world_with};
use crate::common::{Door, HOUR, QUORUM, Side, not_in_the_last, swap};
use crate::people::{act, at_vault, codes, persons, to_node};

/// Signatures, bodies, basis, sector, epoch, limit, revocation: at the node, and past it at the
/// vault.
#[test]
fn only_a_quorum_for_continuity_migrates_and_only_what_it_says() {
    let world = world();
    let old = persons(&world, 8);
    let good = order(&world, 5);
    let both = |order: &str, code: &str, what: &str| {
        assert_eq!(page(&world, order).code(), code, "{what}, at the node");
        let request = world.request(order, "health", &[]);
        assert_eq!(
            page_past_the_node(&world, order, &request, "health").code(),
            code,
            "{what}, at the vault"
        );
    };
    // The vault hands out to nobody before its log was watched.
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    world.reidentify(&judicial, "health", &old[..1]).ok();

    let signed = world.sign(&good, QUORUM);
    both(
        &signed,
        "domain-closed",
        "the epoch to go to is not there yet",
    );
    world.advance("health", false);
    both(
        &world.sign(&good, &["judge-1"]),
        "order-quorum",
        "one signature",
    );
    both(
        &world.sign(&good, &["judge-1", "judge-2"]),
        "order-quorum",
        "one body",
    );
    both(&judicial, "order-rule", "a judicial order migrates nobody");
    let statutory = OrderPayload {
        basis: LegalBasis::Statutory {
            article: "Law 47-06, art. 214".to_owned(),
        },
        scope: PseudonymScope::AtMost(5),
        ..order(&world, 5)
    };
    both(
        &world.sign(&statutory, QUORUM),
        "order-rule",
        "a statutory one neither",
    );
    // The other way round: neither what it migrates nor anything else is re-identified under it.
    assert_eq!(
        world.reidentify(&signed, "health", &old).code(),
        "order-rule"
    );
    let request = world.request(&signed, "health", &old);
    assert_eq!(
        world.release_with(&signed, &request, "health", &old).code(),
        "order-rule"
    );
    for (epochs, code) in [((1, 3), "domain-closed"), ((2, 3), "domain-closed")] {
        let basis = LegalBasis::Continuity(Continuity {
            from: epochs.0,
            to: epochs.1,
        });
        both(
            &world.sign(
                &OrderPayload {
                    basis,
                    ..order(&world, 5)
                },
                QUORUM,
            ),
            code,
            "epochs that are not so",
        );
    }
    // Another sector than the order's: the request says so, or does not fit.
    let body = |request: &str, sector: &str| json!({"order": signed, "request": request, "sector": sector});
    let request = world.request(&signed, "tax", &[]);
    let reply = world.post_json(
        "officer",
        Door::Officers,
        "/v1/migrations",
        &body(&request, "tax"),
    );
    assert_eq!(reply.code(), "out-of-scope");
    assert_eq!(
        page_past_the_node(&world, &signed, &request, "tax").code(),
        "out-of-scope"
    );
    let request = world.request(&signed, "health", &[]);
    let reply = world.post_json(
        "officer",
        Door::Officers,
        "/v1/migrations",
        &body(&request, "tax"),
    );
    assert_eq!(reply.code(), "out-of-scope");
    // A request over a list is none for a migration; nobody but an officer asks, and nobody but a
    // node takes part.
    let request = world.request(&signed, "health", &old);
    let reply = world.post_json(
        "officer",
        Door::Officers,
        "/v1/migrations",
        &body(&request, "health"),
    );
    assert_eq!(reply.code(), "request-invalid");
    let asked = json!({"register": "", "acts": "", "asked": body(&request, "health")});
    assert_eq!(
        world
            .post_json("operator", Door::Control, "/v1/migrations/pages", &asked)
            .code(),
        "forbidden"
    );
    assert_eq!(at_vault(&world, &good), None, "nothing was counted");

    // The limit cuts the page; what it allowed stays allowed, and no more.
    let migrated = page(&world, &signed).ok();
    assert_eq!(
        (
            &migrated["progress"]["migrated"],
            &migrated["progress"]["done"]
        ),
        (&json!(5), &json!(false))
    );
    both(&signed, "limit-reached", "beyond the limit");
    assert_eq!(waiting(&world), 5);
    assert_eq!(at_vault(&world, &good).unwrap()["state"], "exhausted");
    // A request is answered once.
    let wide = order(&world, 100);
    let signed = world.sign(&wide, QUORUM);
    let request = world.request(&signed, "health", &[]);
    let send = || {
        world.post_json(
            "officer",
            Door::Officers,
            "/v1/migrations",
            &json!({
                "order": signed, "request": request, "sector": "health",
            }),
        )
    };
    assert_eq!(
        send().ok()["progress"]["migrated"],
        8,
        "another order goes through all again"
    );
    assert_eq!(send().code(), "request-replayed");
    // Revoked, it stops, on both sides.
    to_node(&world, &act(&world, &wide, ActKind::Revoke, &["judge-2"])).ok();
    assert_eq!(page(&world, &signed).code(), "order-revoked");
    let request = world.request(&signed, "health", &[]);
    assert_eq!(
        page_past_the_node(&world, &signed, &request, "health").code(),
        "out-of-step"
    );
}

/// An authority for which the register has no quorum for continuity may not order a migration.
#[test]
fn without_a_quorum_in_the_register_no_migration() {
    let world = world_with(|text| swap(&text, "\ncontinuity-quorum = 2", ""));
    persons(&world, 1);
    world.advance("health", false);
    let reply = page(&world, &world.sign(&order(&world, 5), QUORUM));
    assert_eq!(reply.code(), "order-rule");
    assert!(
        reply.text().contains("continuity-quorum"),
        "{}",
        reply.text()
    );
}

/// An hour's migrations are bounded by a figure of their own, which leaves that of releases alone.
#[test]
fn an_hour_of_migrations_is_bounded_apart() {
    let mut world = world_with(|text| {
        swap(
            &text,
            "max-hours = 720",
            "max-hours = 720\nmigrations-per-hour = 10",
        )
    });
    let old = persons(&world, 8);
    world.advance("health", false);
    not_in_the_last(60, HOUR);
    let signed = || world.sign(&order(&world, 100), QUORUM);
    assert_eq!(page(&world, &signed()).ok()["progress"]["migrated"], 8);
    let refused = page(&world, &signed());
    assert_eq!(
        (refused.code(), refused.status),
        ("release-rate".into(), 429)
    );
    assert!(refused.header("retry-after").is_some());
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    assert!(
        codes(&world.reidentify(&judicial, "health", &old).ok())
            .iter()
            .all(Option::is_none)
    );
    world.stop();
    let entries = world.entries(Side::Vault);
    let alarms: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "release-alarm")
        .collect();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(
        (&alarms[0]["of"], &alarms[0]["items"]),
        (&json!("migrations"), &json!(8))
    );
}
