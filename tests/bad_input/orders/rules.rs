//! Orders that the register, the clock or an earlier order forbids.

use cloison::jws;
use cloison::order::{LegalBasis, OrderPayload, PseudonymScope, SecuritySide};
use cloison::statement::Statement as _;
use jiff::SignedDuration;

use super::{Court, NODE, VAULT, tax_pseudonym};
use crate::common::{QUORUM, Side, id, now, sign_with, swap};

#[test]
fn orders_against_the_rules() {
    let mut court = Court::new(&["QR550001", "QR550002"]);
    let (hour, clerk, minister) = (
        SignedDuration::from_hours(1),
        court.others.clerk.clone(),
        court.others.minister.clone(),
    );
    type Bend = Box<dyn FnOnce(&mut OrderPayload)>;
    let bent: Vec<(Bend, u16, &str)> = vec![
        (
            Box::new(|order| order.aud = id("elsewhere")),
            403,
            "order-audience",
        ),
        (
            Box::new(|order| order.authority = id("nobody")),
            403,
            "order-authority",
        ),
        (
            Box::new(move |order| order.not_before = now() + hour),
            403,
            "order-not-yet-valid",
        ),
        (
            Box::new(move |order| {
                (order.not_before, order.not_after) = (now() - hour * 2, now() - hour);
            }),
            403,
            "order-expired",
        ),
        (
            Box::new(|order| order.not_after = now()),
            403,
            "order-expired",
        ),
        (
            Box::new(move |order| order.not_after = order.not_before + hour * 721),
            403,
            "order-rule",
        ),
        (
            Box::new(move |order| {
                order.basis = LegalBasis::ForceMajeure {
                    security: SecuritySide::Internal,
                };
                order.not_after = order.not_before + hour * 73;
            }),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| order.scope = PseudonymScope::AtMost(1)),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| {
                order.basis = LegalBasis::Statutory {
                    article: "Law 1, article 2".into(),
                };
                order.scope = PseudonymScope::AtMost(101);
            }),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| order.officers = vec![id("officer"), id("usher")]),
            403,
            "order-rule",
        ),
        (
            Box::new(|order| order.officers = vec![id("judge-1")]),
            403,
            "order-rule",
        ),
    ];
    for (bend, status, code) in bent {
        let payload = court.order(bend);
        let order = court.watch.sign(&payload, QUORUM);
        court.refuse(&order, status, code);
    }
    let without_list = |court: &mut Court, sector: &str| {
        let sector = sector.to_owned();
        court.order(move |order| {
            order.basis = LegalBasis::Statutory {
                article: "Law 1, article 2".into(),
            };
            order.scope = PseudonymScope::AtMost(5);
            order.sectors = vec!["health".into(), sector];
        })
    };
    // A sector that nobody knows, and one for which the court is not competent.
    for (sector, status, code) in [
        ("nowhere", 404, "unknown-sector"),
        ("social", 403, "order-authority"),
    ] {
        let payload = without_list(&mut court, sector);
        let order = court.watch.sign(&payload, QUORUM);
        court.refuse(&order, status, code);
    }
    // A right order of another authority, at the court's node and with the court's certificate.
    let payload = court.order(|order| {
        order.authority = id("tribunal");
        order.officers = vec![id("usher")];
        order.not_after = order.not_before + SignedDuration::from_hours(24);
        order.sectors = vec!["tax".into()];
        order.scope = PseudonymScope::Listed([("tax".to_owned(), vec![])].into());
    });
    let payload = OrderPayload {
        scope: PseudonymScope::Listed([("tax".to_owned(), tax_pseudonym(&mut court))].into()),
        ..payload
    };
    let order = sign_with(&payload, &[("clerk", clerk), ("minister", minister)]);
    court.refuse(&order, 403, "order-authority");

    // Nothing asked for, and too much.
    let payload = court.order(|_| {});
    let order = court.watch.sign(&payload, QUORUM);
    for (list, status, code) in [
        (vec![], 422, "empty-batch"),
        (vec![String::new(); 10_001], 413, "too-large"),
    ] {
        let request = court.watch.request(&order, "health", &list);
        let reply = court
            .watch
            .reidentify_with(&order, &request, "health", &list);
        court.watch.refused(NODE, &reply, status, code);
        let reply = court.watch.release_with(&order, &request, "health", &list);
        court.watch.refused(VAULT, &reply, status, code);
    }
    court.finish(&[]);
}

#[test]
fn another_payload_under_a_used_id() {
    let mut court = Court::new(&["QR330001", "QR330002"]);
    let first = court.watch.order("health", &court.pseudonyms[..1]);
    let order = court.watch.sign(&first, QUORUM);
    let answer = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms[..1])
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR330001");

    let other = OrderPayload {
        id: first.id,
        ..court.watch.order("health", &court.pseudonyms)
    };
    let forked = court.watch.sign(&other, QUORUM);
    court.refuse(&forked, 409, "order-conflict");
    // Also after a restart: the store remembers, on both sides.
    court.watch.restart();
    court.refuse(&forked, 409, "order-conflict");
    // More signatures on the same payload are the same order.
    let more = jws::add_signature(
        &order,
        OrderPayload::TYP,
        "judge-2",
        &court.watch.key("judge-2"),
    )
    .unwrap();
    let answer = court
        .watch
        .reidentify(&more, "health", &court.pseudonyms[..1])
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR330001");
    court.finish(&[(first.id, 1)]);
}

#[test]
fn vault_and_node_with_different_registers() {
    let mut court = Court::new(&["QR220001"]);
    // The node gets a newer register, well signed, and the vault does not.
    let kept = ["register.toml", "register.jws"].map(|file| (file, court.watch.read(file)));
    court.watch.end(Side::Node);
    court
        .watch
        .edit_register(|text| text + "\n# A remark that changes nothing but the digest.\n");
    for (file, text) in &kept {
        court
            .watch
            .write(&format!("node-{file}"), &court.watch.read(file));
        court.watch.write(file, text);
    }
    let config = swap(
        &court.watch.read("node.toml"),
        "\"register.toml\"",
        "\"node-register.toml\"",
    );
    court.watch.write(
        "node.toml",
        &swap(&config, "\"register.jws\"", "\"node-register.jws\""),
    );
    court.watch.start(Side::Node, &[]);

    let payload = court.order(|_| {});
    let order = court.watch.sign(&payload, QUORUM);
    let reply = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms.clone());
    court.watch.refused(NODE, &reply, 409, "register-mismatch");
    court
        .watch
        .entry(VAULT.0, VAULT.1, VAULT.2, "register-mismatch");

    // The vault follows, and all is well.
    court.watch.end(Side::Vault);
    for (file, _) in &kept {
        court
            .watch
            .write(file, &court.watch.read(&format!("node-{file}")));
    }
    // While it is away, the node says so and opens nothing.
    let reply = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms.clone());
    court.watch.refused(NODE, &reply, 502, "peer-unavailable");
    court.watch.start(Side::Vault, &[]);
    let answer = court
        .watch
        .reidentify(&order, "health", &court.pseudonyms.clone())
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR220001");
    court.unused.clear();
    court.finish(&[(payload.id, 1)]);
}
