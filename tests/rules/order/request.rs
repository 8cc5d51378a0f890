//! The officer's signed request.

use cloison::code::Code;
use cloison::jws;
use cloison::order::{ActiveOrder, OfficerRequest, RequestPayload, check_request, list_digest};
use cloison::refusal::Refusal;
use cloison::statement::Statement as _;
use jiff::ToSpan;

use super::active;
use crate::fixture::{at, id, key, now, payload, pseudonym, register};

fn list() -> Vec<String> {
    vec![pseudonym(2), pseudonym(1)]
}

/// A request for [`list`], changed by `change`, signed in the name of `officer` with the key of
/// `signer`.
fn request(
    order: &ActiveOrder,
    officer: &str,
    signer: &str,
    change: impl FnOnce(&mut RequestPayload),
) -> String {
    let mut new = RequestPayload {
        aud: id("vectors"),
        order: *order.digest(),
        request: "5b0f8f5e-3f6f-4d1a-8f0c-2f4f1e9d7c11".parse().unwrap(),
        sector: "health".to_owned(),
        list: list_digest(&list()).unwrap(),
        time: now(),
    };
    change(&mut new);
    // As `sign_request` signs it, also where it is not a request that can be read.
    let draft = jws::draft(&serde_json::to_vec(&new).unwrap());
    jws::add_signature(&draft, RequestPayload::TYP, officer, &key(signer)).unwrap()
}

fn judge(
    text: &str,
    order: &ActiveOrder,
    pseudonyms: &[String],
) -> Result<OfficerRequest, Refusal> {
    check_request(text, order, &register(), "health", pseudonyms, now())
}

#[track_caller]
fn refused(text: &str, order: &ActiveOrder) {
    let refusal = judge(text, order, &list()).expect_err("must be refused");
    assert_eq!(refusal.code(), Code::RequestInvalid, "{refusal}");
}

#[test]
fn a_request_says_who_asks_for_what_under_which_order() {
    let order = active(&payload());
    let request = judge(&request(&order, "driss", "driss", |_| ()), &order, &list()).unwrap();
    assert_eq!(request.officer(), &id("driss"));
    assert_eq!(
        request.id().to_string(),
        "5b0f8f5e-3f6f-4d1a-8f0c-2f4f1e9d7c11"
    );
    assert_eq!(
        (request.sector(), request.order()),
        ("health", order.digest())
    );
    assert_eq!(request.list(), &list_digest(&list()).unwrap());
    assert_eq!(request.time(), now());
}

#[test]
fn only_an_officer_whom_the_order_names_may_ask() {
    let order = active(&payload());
    refused(&request(&order, "driss", "elham", |_| ()), &order); // a forged signature
    refused(&request(&order, "elham", "elham", |_| ()), &order); // an officer, but not of this order
    refused(&request(&order, "amina", "amina", |_| ()), &order); // an approver
    refused(&request(&order, "mallory", "mallory", |_| ()), &order);
    let good = request(&order, "driss", "driss", |_| ());
    refused(
        &jws::add_signature(&good, RequestPayload::TYP, "elham", &key("elham")).unwrap(),
        &order,
    ); // two at once
    refused(
        &jws::draft(jws::parse(&good, RequestPayload::TYP).unwrap().payload()),
        &order,
    ); // nobody
}

#[test]
fn a_request_is_for_one_order_sector_and_list() {
    let order = active(&payload());
    let other = active(&cloison::order::OrderPayload {
        case: "B".into(),
        ..payload()
    });
    refused(&request(&other, "driss", "driss", |_| ()), &order);
    refused(
        &request(&order, "driss", "driss", |r| r.sector = "tax".to_owned()),
        &order,
    );
    refused(
        &request(&order, "driss", "driss", |r| r.request = uuid::Uuid::nil()),
        &order,
    );

    let good = request(&order, "driss", "driss", |_| ());
    for wrong in [
        vec![],
        vec![pseudonym(2)],
        vec![pseudonym(1), pseudonym(2)],
        [list(), list()].concat(),
    ] {
        assert_eq!(
            judge(&good, &order, &wrong).unwrap_err().code(),
            Code::RequestInvalid
        );
    }
    let elsewhere = request(&order, "driss", "driss", |r| r.sector = "tax".to_owned());
    let refusal =
        check_request(&elsewhere, &order, &register(), "tax", &list(), now()).unwrap_err();
    assert_eq!(refusal.code(), Code::OutOfScope);
}

#[test]
fn a_request_is_fresh_for_two_minutes_either_way() {
    let order = active(&payload());
    for (seconds, fresh) in [
        (-121, false),
        (-120, true),
        (0, true),
        (120, true),
        (121, false),
    ] {
        let text = request(&order, "driss", "driss", |r| {
            r.time = now() + seconds.seconds();
        });
        assert_eq!(judge(&text, &order, &list()).is_ok(), fresh, "{seconds} s");
    }
    // The far ends of time are stale, and no overflow.
    for time in ["-009999-01-02T01:59:59Z", "9999-12-30T22:00:00Z"] {
        refused(
            &request(&order, "driss", "driss", |r| r.time = at(time)),
            &order,
        );
    }
}

#[test]
fn an_order_is_no_request_and_a_request_no_order() {
    let order = active(&payload());
    let good = request(&order, "driss", "driss", |_| ());
    refused(
        &crate::fixture::signed(&payload(), &["amina", "chadia"]),
        &order,
    );
    assert_eq!(
        cloison::order::check(&good, &register(), now())
            .unwrap_err()
            .code(),
        Code::OrderMalformed
    );
}

#[test]
fn a_request_has_exactly_its_members() {
    let order = active(&payload());
    let good = request(&order, "driss", "driss", |_| ());
    let text = String::from_utf8(
        jws::parse(&good, RequestPayload::TYP)
            .unwrap()
            .payload()
            .to_vec(),
    )
    .unwrap();
    let resigned = |payload: String| {
        jws::add_signature(
            &jws::draft(payload.as_bytes()),
            RequestPayload::TYP,
            "driss",
            &key("driss"),
        )
        .unwrap()
    };
    assert!(judge(&resigned(text.clone()), &order, &list()).is_ok());
    for (from, to) in [
        (r#""aud":"vectors""#, r#""aud":"demo""#),
        (r#""sector":"health","#, ""),
        (r#""sector""#, r#""x":"y","sector""#),
        (r#""sector":"health""#, r#""sector":["health"]"#),
        ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00.5Z"),
        ("2026-11-22T12:00:00Z", "2026-11-22T13:00:00+01:00"),
        ("5b0f8f5e", "5B0F8F5E"),
    ] {
        assert!(text.contains(from), "{from}");
        refused(&resigned(text.replacen(from, to, 1)), &order);
    }
    let upper = data_encoding::HEXLOWER.encode(order.digest());
    refused(
        &resigned(text.replace(&upper, &upper.to_uppercase())),
        &order,
    );
}

#[test]
fn the_list_digest_is_length_prefixed() {
    assert_ne!(
        list_digest(&["ab", "c"]).unwrap(),
        list_digest(&["a", "bc"]).unwrap()
    );
    // SHA-256 of 00 02 61 62.
    assert_eq!(
        data_encoding::HEXLOWER.encode(&list_digest(&["ab"]).unwrap()),
        "cd599b9a5fb6518a467d85417ddeb0b46363fa1857aba010055a4533f28e978e"
    );
    assert!(list_digest(&["x".repeat(65_536)]).is_err());
}
