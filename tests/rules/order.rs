//! Orders and officers' requests: what must be found valid, and much more that must not.

mod request;

use std::sync::Arc;

use cloison::code::Code;
use cloison::order::{
    ActiveOrder, LegalBasis, OrderPayload, PseudonymScope, SecuritySide, check, examine,
};
use cloison::register::{Authority, Register};
use cloison::statement::Statement as _;
use proptest::prelude::*;
use serde::Deserialize;

use crate::fixture::{at, id, key, now, payload, pseudonym, register, signed, vector};

/// The register with its court bent.
fn register_with(change: impl FnOnce(&mut Authority)) -> Register {
    let mut register = register();
    let court = Arc::make_mut(register.authorities.get_mut(&id("court")).unwrap());
    change(court);
    register
}

fn active(payload: &OrderPayload) -> ActiveOrder {
    check(
        &signed(payload, &["amina", "brahim", "chadia"]),
        &register(),
        now(),
    )
    .unwrap()
}

#[derive(Deserialize)]
struct Vectors {
    now: jiff::Timestamp,
    orders: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    code: Option<Code>,
    jws: String,
}

fn vectors(name: &str) -> Vectors {
    serde_json::from_str(&std::fs::read_to_string(vector(name)).unwrap()).unwrap()
}

/// Code that `examine` finds first, after every step that it lists.
fn first_finding(text: &str, now: jiff::Timestamp) -> Option<Code> {
    let findings = examine(text, &register(), now);
    assert_eq!(findings.len(), 11);
    let first = findings
        .iter()
        .find_map(|finding| finding.result.as_ref()?.as_ref().err());
    assert!(
        first.is_some()
            || findings
                .iter()
                .all(|finding| finding.result == Some(Ok(())))
    );
    first.map(cloison::refusal::Refusal::code)
}

#[test]
fn orders_that_must_pass() {
    let Vectors { now, orders } = vectors("order-must-pass.json");
    assert!(orders.len() >= 14);
    for Vector { name, jws, .. } in orders {
        let order = check(&jws, &register(), now)
            .unwrap_or_else(|refusal| panic!("{name}: {}: {refusal}", refusal.code()));
        assert_eq!(order.case(), "RABAT/2026-17.A", "{name}");
        assert_eq!(first_finding(&jws, now), None, "{name}");
    }
}

#[test]
fn orders_that_must_fail_each_with_its_code() {
    let Vectors { now, orders } = vectors("order-must-fail.json");
    assert!(orders.len() >= 200);
    let mut wrong = Vec::new();
    for Vector { name, code, jws } in orders {
        let expected = code.expect("a code");
        match check(&jws, &register(), now) {
            Ok(_) => wrong.push(format!("{name}: found valid")),
            Err(refusal) if refusal.code() != expected => {
                wrong.push(format!(
                    "{name}: {} ({refusal}) and not {expected}",
                    refusal.code()
                ));
            }
            Err(refusal) => {
                assert!(
                    !format!("{refusal} {refusal:?}").contains("sante1"),
                    "{name}: repeats a pseudonym"
                );
                assert_eq!(
                    first_finding(&jws, now),
                    Some(expected),
                    "{name}: `order check` says otherwise"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_order_opens_what_it_lists_and_nothing_else() {
    let order = active(&payload());
    assert!(order.allows("health", &pseudonym(1)) && order.allows("health", &pseudonym(2)));
    assert_eq!(
        order.admit("health", &pseudonym(3)).unwrap_err(),
        Code::OutOfScope
    );
    assert_eq!(
        order
            .admit("health", &pseudonym(1).to_uppercase())
            .unwrap_err(),
        Code::PseudonymMalformed
    );
    let other_epoch =
        cloison::pseudonym::TextWriter::new(cloison::register::TextForm::Bech32m, "sante", 4)
            .text(&cloison::pseudonym::Pseudonym::from_bytes([1; 16]));
    assert_eq!(
        order.admit("health", &other_epoch).unwrap_err(),
        Code::OutOfScope
    );
    // Exactly as written: neither a descendant nor another sector, not even with bytes that are
    // listed elsewhere.
    assert_eq!(
        order.admit("health.chu", &"01".repeat(16)).unwrap_err(),
        Code::OutOfScope
    );
    assert_eq!(
        order.admit("tax", &pseudonym(1)).unwrap_err(),
        Code::OutOfScope
    );
    assert_eq!(
        order.sector("health.chu").unwrap_err().code(),
        Code::OutOfScope
    );
    assert_eq!(order.limit(), 2);
    assert!(!order.opens_review());
    assert_eq!(order.signers(), [id("amina"), id("brahim"), id("chadia")]);
    assert!(!format!("{order:?}").contains("sante1"));
}

#[test]
fn a_statutory_order_with_a_limit_opens_any_pseudonym_of_its_sectors() {
    let basis = LegalBasis::Statutory {
        article: "Loi n° 43-05, art. 19".into(),
    };
    let order = active(&OrderPayload {
        basis,
        scope: PseudonymScope::AtMost(7),
        ..payload()
    });
    assert!(order.allows("health", &pseudonym(200)));
    assert_eq!(
        order.admit("tax", &pseudonym(1)).unwrap_err(),
        Code::OutOfScope
    );
    assert_eq!(order.limit(), 7);
}

#[test]
fn the_floor_is_two_persons_of_two_bodies_whatever_the_register_says() {
    let lax = register_with(|court| court.quorum = 1);
    let code = |signers: &[&str]| {
        check(&signed(&payload(), signers), &lax, now())
            .map(|_| ())
            .map_err(|e| e.code())
    };
    assert_eq!(code(&[]), Err(Code::OrderQuorum));
    assert_eq!(code(&["chadia"]), Err(Code::OrderQuorum));
    assert_eq!(code(&["amina", "brahim"]), Err(Code::OrderQuorum));
    assert_eq!(code(&["amina", "chadia"]), Ok(()));

    // One key under two names is one person, even where they claim two bodies.
    let doubled = register_with(|court| {
        let amina = court.approvers[&id("amina")].key;
        court.approvers.get_mut(&id("chadia")).unwrap().key = amina;
    });
    let text = signed(&payload(), &["amina"]);
    let text =
        cloison::jws::add_signature(&text, OrderPayload::TYP, "chadia", &key("amina")).unwrap();
    assert_eq!(
        check(&text, &doubled, now()).unwrap_err().code(),
        Code::OrderQuorum
    );
}

#[test]
fn force_majeure_has_its_own_quorum_and_72_hours_and_opens_a_review() {
    let basis = LegalBasis::ForceMajeure {
        security: SecuritySide::External,
    };
    let urgent = OrderPayload { basis, ..payload() };
    assert!(active(&urgent).opens_review());
    let two = signed(&urgent, &["amina", "chadia"]);
    assert_eq!(
        check(&two, &register(), now()).unwrap_err().code(),
        Code::OrderQuorum
    );
    // Without one of its own the ordinary quorum holds; and a smaller one of its own is allowed.
    assert!(
        check(
            &two,
            &register_with(|court| court.force_majeure_quorum = None),
            now()
        )
        .is_ok()
    );
    let strict = register_with(|court| (court.quorum, court.force_majeure_quorum) = (3, Some(2)));
    assert!(check(&two, &strict, now()).is_ok());
    // Where the authority's orders are shorter anyway, so is this one.
    let short = register_with(|court| court.max_hours = 24);
    let text = signed(&urgent, &["amina", "brahim", "chadia"]);
    assert_eq!(
        check(&text, &short, now()).unwrap_err().code(),
        Code::OrderRule
    );
}

#[test]
fn an_order_begins_and_ends_on_the_second() {
    let text = signed(&payload(), &["amina", "chadia"]);
    for (now, expected) in [
        ("2026-11-22T08:59:59.999Z", Err(Code::OrderNotYetValid)),
        ("2026-11-22T09:00:00Z", Ok(())),
        ("2026-11-25T08:59:59.999Z", Ok(())),
        ("2026-11-25T09:00:00Z", Err(Code::OrderExpired)),
    ] {
        assert_eq!(
            check(&text, &register(), at(now))
                .map(|_| ())
                .map_err(|e| e.code()),
            expected,
            "{now}"
        );
    }
}

#[test]
fn the_digest_is_that_of_the_payload_whoever_signed() {
    let two = signed(&payload(), &["amina", "chadia"]);
    let order = check(&two, &register(), now()).unwrap();
    assert_eq!(order.digest(), active(&payload()).digest());
    assert_eq!(*order.digest(), cloison::order::digest_of(&two).unwrap());
    let other = OrderPayload {
        case: "B".into(),
        ..payload()
    };
    assert_ne!(order.digest(), active(&other).digest());
}

#[test]
fn no_change_of_one_byte_leaves_an_order_valid() {
    let register = register();
    let text = signed(&payload(), &["amina", "chadia"]);
    assert!(check(&text, &register, now()).is_ok());
    let mut bytes = text.into_bytes();
    for at in 0..bytes.len() {
        let good = bytes[at];
        for changed in (0..=255).filter(|byte| *byte != good) {
            bytes[at] = changed;
            if let Ok(text) = std::str::from_utf8(&bytes) {
                assert!(
                    check(text, &register, now()).is_err(),
                    "byte {at}: {good} → {changed}"
                );
            }
        }
        bytes[at] = good;
    }
}

#[test]
fn no_piece_cut_out_or_said_twice_leaves_an_order_valid() {
    let register = register();
    let text = signed(&payload(), &["amina", "chadia"]);
    for from in 0..text.len() {
        for to in (from + 1..=text.len()).filter(|to| to - from < 40 || (to - from) % 61 == 0) {
            let cut = [&text[..from], &text[to..]].concat();
            let twice = [&text[..to], &text[from..]].concat();
            assert!(
                check(&cut, &register, now()).is_err(),
                "without {from}..{to}"
            );
            assert!(
                check(&twice, &register, now()).is_err(),
                "with {from}..{to} twice"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        prop_assert!(check(&text, &register(), now()).is_err());
    }

    /// Anything that looks like JSON in the payload's place, under signatures that verify.
    #[test]
    fn no_payload_makes_it_panic(text in r#"(\{|\}|\[|\]|"|:|,|[a-z0-9\\ .-]|"aud"|"id"|"basis"|"limit"|\{"kind":)*"#) {
        let text = cloison::jws::draft(text.as_bytes());
        prop_assert!(check(&text, &register(), now()).is_err());
    }

    /// Any change of a few bytes anywhere is refused, or says the same (white space between
    /// members).
    #[test]
    fn a_damaged_order_is_refused_or_the_same(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4)) {
        let good = signed(&payload(), &["amina", "chadia"]);
        let mut bytes = good.clone().into_bytes();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(order) = check(&text, &register(), now())
        {
            let squeezed: String = text.split([' ', '\n', '\t', '\r']).collect();
            prop_assert_eq!(squeezed, good);
            prop_assert_eq!(order.signers(), [id("amina"), id("chadia")]);
        }
    }
}

/// The page for other implementers shows a real order, and its digest.
#[test]
fn the_example_in_the_documentation_is_valid() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/orders.md")).unwrap();
    let text = page
        .lines()
        .find(|line| line.starts_with(r#"{"payload":"ey"#))
        .expect("an example");
    let order = check(text, &register(), now()).unwrap();
    assert!(page.contains(&data_encoding::HEXLOWER.encode(order.digest())));
    let payload = page
        .split("```json\n")
        .find(|block| block.starts_with(r#"{"aud""#))
        .expect("its payload");
    let payload: String = payload
        .split("```")
        .next()
        .unwrap()
        .lines()
        .map(str::trim)
        .collect();
    assert_eq!(
        cloison::order::OrderPayload::read(payload.as_bytes())
            .unwrap()
            .write()
            .unwrap(),
        payload.as_bytes()
    );
    assert_eq!(
        cloison::jws::parse(text, OrderPayload::TYP)
            .unwrap()
            .payload(),
        payload.as_bytes()
    );
}
