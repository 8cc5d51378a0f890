//! Requests that are not the officer's.

use cloison::jws;
use cloison::order::OrderPayload;
use cloison::statement::Statement as _;
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Court, NODE, VAULT};
use crate::common::{DEPLOYMENT, Door, QUORUM, Side, id};

#[test]
fn requests_that_are_not_the_officers() {
    let mut court = Court::new(&["QR440001", "QR440002"]);
    let both = court.order(|order| order.officers = vec![id("officer"), id("officer-2")]);
    let one = court.order(|_| {});
    let [both_signed, order] = [&both, &one].map(|payload| court.watch.sign(payload, QUORUM));
    let list = court.pseudonyms.clone();
    let (officer, second) = (court.watch.key("officer"), court.others.second.clone());
    let by = |court: &Court, kid: &str, key: &SigningKey, seconds: i64| {
        let time = Timestamp::now() + SignedDuration::from_secs(seconds);
        court
            .watch
            .request_by(kid, key, &order, "health", &list, time)
    };
    let right = by(&court, "officer", &officer, 0);
    let other_order = court.watch.request(&both_signed, "health", &list);
    let other_list = court.watch.request(&order, "health", &list[..1]);
    let turned: Vec<String> = list.iter().rev().cloned().collect();
    let other_turn = court.watch.request(&order, "health", &turned);
    let other_sector = court.watch.request(&order, "tax", &list);
    let payload = jws::parse(&right, "cloison-request+json")
        .unwrap()
        .payload()
        .to_vec();
    let elsewhere = String::from_utf8(payload.clone())
        .unwrap()
        .replace(DEPLOYMENT, "elsewhere");
    let sign = |payload: &[u8], typ: &str| {
        jws::add_signature(&jws::draft(payload), typ, "officer", &officer).unwrap()
    };
    let wrong = [
        // Stale, or from the future.
        by(&court, "officer", &officer, -125),
        by(&court, "officer", &officer, 125),
        // Another person's: a stranger under the officer's name, an officer whom the order does not
        // name, an approver.
        by(
            &court,
            "officer",
            &SigningKey::from_bytes(&cloison::clock::random()),
            0,
        ),
        by(&court, "officer", &second, 0),
        by(&court, "officer-2", &second, 0),
        by(&court, "judge-1", &court.watch.key("judge-1"), 0),
        // For something else.
        other_order,
        other_list,
        other_turn,
        other_sector,
        sign(elsewhere.as_bytes(), "cloison-request+json"),
        // Nobody's, two persons', or none at all.
        jws::draft(&payload),
        jws::add_signature(&right, "cloison-request+json", "officer-2", &second).unwrap(),
        sign(&payload, OrderPayload::TYP),
        sign(b"{}", "cloison-request+json"),
        order.clone(),
        String::new(),
        list[0].clone(),
    ];
    for request in &wrong {
        court.refuse_with(&order, request, 403, "request-invalid");
    }

    // The second officer brings the first one's request: the node knows who stands at its door.
    let request = court.watch.request(&both_signed, "health", &list);
    let body =
        json!({"order": both_signed, "request": request, "sector": "health", "pseudonyms": list});
    let reply = court
        .watch
        .post_json("chu-study", Door::Officers, "/v1/reidentifications", &body);
    court.watch.refused(
        (Side::Node, "officer-2", "reidentify"),
        &reply,
        403,
        "request-invalid",
    );

    // What is no such request at all.
    let right = json!({"order": order, "request": right, "sector": "health", "pseudonyms": list});
    let with = |member: &str, value: Value| {
        let mut body = right.clone();
        body[member] = value;
        body.to_string()
    };
    let malformed = [
        String::new(),
        "[]".to_owned(),
        json!([order, right["request"], "health", list]).to_string(),
        with("extra", json!(list[0])),
        with("pseudonyms", json!(list[0])),
        with("pseudonyms", json!([7])),
        with("sector", json!(null)),
        right.to_string().replacen('{', r#"{"sector":"tax","#, 1),
        format!("{right}{right}"),
    ];
    for body in malformed {
        let reply = court.watch.post(
            "officer",
            Door::Officers,
            "/v1/reidentifications",
            "application/json",
            body.as_bytes(),
        );
        court.watch.refused(NODE, &reply, 400, "malformed-body");
    }
    let digest = HEXLOWER.encode(&court.watch.register().digest);
    for body in [
        json!([digest, right]),
        json!({"asked": right}),
        json!({"register": digest, "asked": [order, "", "health", list]}),
    ] {
        let reply = court
            .watch
            .post_json("node", Door::Control, "/v1/releases", &body);
        court.watch.refused(VAULT, &reply, 400, "malformed-body");
    }
    for (name, door, path, book) in [
        ("officer", Door::Officers, "/v1/reidentifications", NODE),
        ("node", Door::Control, "/v1/releases", VAULT),
    ] {
        let reply = court
            .watch
            .post(name, door, path, "text/plain", right.to_string().as_bytes());
        court
            .watch
            .refused(book, &reply, 415, "unsupported-media-type");
        let reply = court.watch.post(
            name,
            door,
            path,
            "application/json",
            &b" ".repeat((4 << 20) + 1),
        );
        court.watch.refused(book, &reply, 413, "too-large");
    }
    court.finish(&[]);
}
