//! Signatures that do not count, and texts that are not an order.

use cloison::jws;
use cloison::order::{OrderPayload, PseudonymScope};
use cloison::statement::Statement as _;
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Court, signature};
use crate::common::{QUORUM, sign_with};

#[test]
fn signatures_that_do_not_count() {
    let mut court = Court::new(&["QR770001", "QR770002"]);
    let payload = court.order(|_| {});
    let right = court.watch.sign(&payload, QUORUM);

    // Missing.
    for signers in [&[][..], &["judge-1"], &["prosecutor-1"]] {
        let order = court.watch.sign(&payload, signers);
        court.refuse(&order, 403, "order-quorum");
    }
    // Two judges are two persons of one body.
    let order = court.watch.sign(&payload, &["judge-1", "judge-2"]);
    court.refuse(&order, 403, "order-quorum");

    // Forged: under an approver's name with another key, by strangers, by people of another office,
    // by another authority.
    let judge = ("judge-1", court.watch.key("judge-1"));
    let stranger = SigningKey::from_bytes(&cloison::clock::random());
    for (kid, key) in [
        ("prosecutor-1", stranger.clone()),
        ("prosecutor-1", court.watch.key("judge-2")),
        ("stranger", stranger),
        ("officer", court.watch.key("officer")),
        ("commission", court.watch.register_key("commission")),
        ("clerk", court.others.clerk.clone()),
    ] {
        let order = sign_with(&payload, &[judge.clone(), (kid, key)]);
        court.refuse(&order, 403, "order-signature");
    }
    // One forged beside enough good ones spoils all.
    let spoiled = SigningKey::from_bytes(&cloison::clock::random());
    let order = jws::add_signature(&right, OrderPayload::TYP, "judge-2", &spoiled).unwrap();
    court.refuse(&order, 403, "order-signature");
    // A bit of a signature changed.
    let mut value: Value = serde_json::from_str(&right).unwrap();
    let mut bytes = BASE64URL_NOPAD
        .decode(
            value["signatures"][1]["signature"]
                .as_str()
                .unwrap()
                .as_bytes(),
        )
        .unwrap();
    bytes[40] ^= 4;
    value["signatures"][1]["signature"] = BASE64URL_NOPAD.encode(&bytes).into();
    court.refuse(&value.to_string(), 403, "order-signature");
    // Two signatures changed for one another.
    let mut value: Value = serde_json::from_str(&right).unwrap();
    let [first, second] = [0, 1].map(|n| value["signatures"][n]["signature"].clone());
    (
        value["signatures"][0]["signature"],
        value["signatures"][1]["signature"],
    ) = (second, first);
    court.refuse(&value.to_string(), 403, "order-signature");

    // A payload changed after it was signed: one more pseudonym, one more day.
    for change in [
        |payload: &mut OrderPayload| payload.case.push('1'),
        |payload: &mut OrderPayload| payload.not_after += SignedDuration::from_hours(24),
        |payload: &mut OrderPayload| payload.scope = PseudonymScope::AtMost(100),
    ] {
        let mut changed = payload.clone();
        change(&mut changed);
        let mut value: Value = serde_json::from_str(&right).unwrap();
        value["payload"] = BASE64URL_NOPAD.encode(&changed.write().unwrap()).into();
        court.refuse(&value.to_string(), 403, "order-signature");
    }
    court.finish(&[]);
}

#[test]
fn what_is_no_order() {
    let mut court = Court::new(&["QR660001"]);
    let payload = court.order(|_| {});
    let right: Value = serde_json::from_str(&court.watch.sign(&payload, QUORUM)).unwrap();
    let request = court
        .watch
        .request(&right.to_string(), "health", &court.pseudonyms);
    let body = right["payload"].as_str().unwrap().to_owned();
    let [judge, prosecutor] = ["judge-1", "prosecutor-1"].map(|person| court.watch.key(person));
    let with = |member: &str, value: Value| {
        let mut order = right.clone();
        order[member] = value;
        order.to_string()
    };
    let signed = |payload: &[u8]| {
        let payload = BASE64URL_NOPAD.encode(payload);
        let header = |kid: &str| {
            format!(
                r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{}"}}"#,
                OrderPayload::TYP
            )
        };
        let signatures = [
            signature(&judge, &header("judge-1"), &payload),
            signature(&prosecutor, &header("prosecutor-1"), &payload),
        ];
        json!({"payload": payload, "signatures": signatures}).to_string()
    };
    let header = |protected: &str| {
        let second = signature(&prosecutor, protected, &body);
        with("signatures", json!([right["signatures"][0], second]))
    };
    let text = String::from_utf8(payload.write().unwrap()).unwrap();
    let name = court.pseudonyms[0].clone();
    let wrong = [
        String::new(),
        "{}".to_owned(),
        name.clone(),
        "null".to_owned(),
        format!(
            "{}.{}.x",
            right["signatures"][0]["protected"].as_str().unwrap(),
            body
        ),
        // Members that are not there, not known, or there twice: a signature by the same judge
        // twice among them.
        json!({"payload": body}).to_string(),
        with("header", json!({})),
        with("extra", json!(name)),
        with("payload", json!(body.clone() + "=")),
        with(
            "signatures",
            json!([right["signatures"][0], right["signatures"][0]]),
        ),
        with(
            "signatures",
            json!([
                right["signatures"][0],
                signature(
                    &judge,
                    r#"{"kid":"judge-1","alg":"EdDSA","typ":"cloison-order+json"}"#,
                    &body
                )
            ]),
        ),
        with("signatures", json!({})),
        right
            .to_string()
            .replacen('{', &format!("{{\"payload\":\"{body}\","), 1),
        // Headers that mean something else.
        header(r#"{"alg":"none","kid":"prosecutor-1","typ":"cloison-order+json"}"#),
        header(r#"{"alg":"HS256","kid":"prosecutor-1","typ":"cloison-order+json"}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1","typ":"cloison-request+json"}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1"}"#),
        header(r#"{"alg":"EdDSA","typ":"cloison-order+json"}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1","typ":"cloison-order+json","crit":["exp"]}"#),
        header(r#"{"alg":"EdDSA","kid":"prosecutor-1","typ":"cloison-order+json","b64":true}"#),
        header(
            r#"{"alg":"EdDSA","kid":"prosecutor-1","kid":"judge-2","typ":"cloison-order+json"}"#,
        ),
        // Payloads, well signed, that are none.
        signed(b""),
        signed(b"[]"),
        signed(name.as_bytes()),
        signed(text.replacen('{', r#"{"note":"QR660001","#, 1).as_bytes()),
        signed(text.replacen('{', r#"{"aud":"test","#, 1).as_bytes()),
        signed(text.replace("RABAT/2026/1", "RABAT 2026").as_bytes()),
        signed(text.replace("RABAT/2026/1", "").as_bytes()),
        signed(text.replace(r#""judicial""#, r#""gut-feeling""#).as_bytes()),
        signed(text.replace(r#"["officer"]"#, "[]").as_bytes()),
        signed(
            text.replace(r#"["health"]"#, r#"["health","health"]"#)
                .as_bytes(),
        ),
        signed(
            text.replace(r#"["health"]"#, r#"["health","tax"]"#)
                .as_bytes(),
        ),
        signed(text.replace(&format!("[\"{name}\"]"), "[]").as_bytes()),
        signed(
            text.replace(
                &format!("[\"{name}\"]"),
                &format!("[\"{name}\",\"{name}\"]"),
            )
            .as_bytes(),
        ),
        signed(text.replace("Z\"", ".5Z\"").as_bytes()),
        signed(text.replace("Z\"", "+00:00\"").as_bytes()),
    ];
    for order in &wrong {
        court.refuse_with(order, &request, 400, "order-malformed");
    }
    // The whole of the same, untouched, opens: it is the changes that were refused.
    let answer = court
        .watch
        .reidentify_with(&right.to_string(), &request, "health", &court.pseudonyms)
        .ok();
    assert_eq!(answer["items"][0]["value"], "QR660001");
    court.unused.clear();
    court.finish(&[(payload.id, 1)]);
}
