//! Orders and a JOSE library in another language (`joserfc`, Python) understand each other, in both
//! directions.

use std::io::Write;
use std::process::{Command, Stdio};

use cloison::code::Code;
use cloison::order::{OrderPayload, check};
use cloison::statement::Statement as _;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::fixture::{id, key, now, payload, register, signed, vector};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The pinned Python. Where it is missing and cannot be made, the test fails: agreement is a
/// promise, not an extra.
fn python() -> String {
    let made = Command::new(format!("{ROOT}/ops/python-env"))
        .output()
        .expect("ops/python-env must run");
    assert!(
        made.status.success(),
        "ops/python-env: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn jose(command: &Value) -> Value {
    let mut child = Command::new(python())
        .arg(format!("{ROOT}/tests/jose/jose.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python must run");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(command.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "jose.py failed");
    serde_json::from_slice(&output.stdout).expect("jose.py answers with JSON")
}

/// What joserfc says to each text: the payload, or nothing.
fn verified(texts: &[String]) -> Vec<Option<String>> {
    let people = ["amina", "brahim", "chadia", "fatima", "ghali"];
    let keys: serde_json::Map<String, Value> = people
        .iter()
        .map(|person| {
            (
                person.to_string(),
                HEXLOWER
                    .encode(&key(person).verifying_key().to_bytes())
                    .into(),
            )
        })
        .collect();
    serde_json::from_value(
        jose(&json!({"do": "verify", "jws": texts, "keys": keys}))["verified"].take(),
    )
    .unwrap()
}

#[test]
fn an_order_signed_here_verifies_there() {
    let written = String::from_utf8(payload().write().unwrap()).unwrap();
    let two = signed(&payload(), &["amina", "chadia"]);
    let three = signed(&payload(), &["chadia", "brahim", "amina"]);
    let forged = signed(&payload(), &["amina"]);
    let forged =
        cloison::jws::add_signature(&forged, OrderPayload::TYP, "chadia", &key("mallory")).unwrap();
    let changed = cloison::order::OrderPayload {
        case: "B".into(),
        ..payload()
    };
    let swapped = two.replacen(&encoded(&two), &encoded(&signed(&changed, &[])), 1);
    assert_eq!(
        verified(&[two, three, forged, swapped]),
        [Some(written.clone()), Some(written), None, None]
    );
}

/// The payload as it stands in the text.
fn encoded(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap()["payload"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn an_order_signed_there_verifies_here() {
    let written = String::from_utf8(payload().write().unwrap()).unwrap();
    for alg in ["EdDSA", "Ed25519"] {
        let signer = |kid: &str, person: &str| json!({"kid": kid, "alg": alg, "seed": HEXLOWER.encode(&key(person).to_bytes())});
        let sign = |signers: Vec<Value>| {
            let answer = jose(
                &json!({"do": "sign", "payload": written, "typ": OrderPayload::TYP, "signers": signers}),
            );
            answer["jws"].as_str().expect("a JWS").to_owned()
        };
        let text = sign(vec![signer("chadia", "chadia"), signer("amina", "amina")]);
        let order =
            check(&text, &register(), now()).unwrap_or_else(|refusal| panic!("{alg}: {refusal}"));
        assert_eq!(order.signers(), [id("chadia"), id("amina")]);
        // And what was begun there can be gone on with here.
        let text = cloison::jws::add_signature(&text, OrderPayload::TYP, "brahim", &key("brahim"))
            .unwrap();
        assert_eq!(check(&text, &register(), now()).unwrap().signers().len(), 3);

        let forged = sign(vec![signer("chadia", "chadia"), signer("amina", "mallory")]);
        assert_eq!(
            check(&forged, &register(), now()).unwrap_err().code(),
            Code::OrderSignature
        );
    }
}

#[test]
fn both_agree_on_the_orders_that_must_pass() {
    let vectors: Value =
        serde_json::from_str(&std::fs::read_to_string(vector("order-must-pass.json")).unwrap())
            .unwrap();
    let orders = vectors["orders"].as_array().unwrap();
    let texts: Vec<String> = orders
        .iter()
        .map(|order| order["jws"].as_str().unwrap().to_owned())
        .collect();
    for (order, payload) in orders.iter().zip(verified(&texts)) {
        assert!(payload.is_some(), "{}", order["name"]);
    }
}

#[test]
fn the_vectors_are_what_their_script_makes() {
    let script = format!("{ROOT}/tests/jose/make_vectors.py");
    let status = Command::new(python())
        .args([&script, "--check", &vector("")])
        .status()
        .expect("python must run");
    assert!(status.success());
}
