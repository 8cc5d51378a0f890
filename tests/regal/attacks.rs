//! The attacks of docs/threat-model.md upon orders, each tried at both doors: by an officer at the
//! node, and past the node, with its stolen certificate, at the vault. The vault makes every check
//! of its own.

use std::collections::BTreeMap;
use std::sync::Barrier;

use cloison::order::act::ActPayload;
use cloison::order::{LegalBasis, OrderPayload, PseudonymScope};
use cloison::statement::{self, Statement as _};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::common::{QUORUM, Setup, Side, World, now, sign_with};
use super::people::{codes, persons, quiet};

/// The order is refused with this code at both doors.
#[track_caller]
fn refused_with(
    world: &World,
    request: &str,
    order: &str,
    sector: &str,
    asked: &[String],
    code: &str,
) {
    assert_eq!(
        world.reidentify_with(order, request, sector, asked).code(),
        code,
        "at the node"
    );
    assert_eq!(
        world.release_with(order, request, sector, asked).code(),
        code,
        "at the vault"
    );
}

#[track_caller]
fn refused(world: &World, order: &str, asked: &[String], code: &str) {
    // What is no order at all has no digest to ask under, and is refused before anybody looks at
    // the request.
    let well_formed = cloison::order::digest_of(order).is_ok();
    let request = if well_formed {
        world.request(order, "health", asked)
    } else {
        String::new()
    };
    refused_with(world, &request, order, "health", asked, code);
}

fn parts(order: &str) -> Value {
    serde_json::from_str(order).unwrap()
}

fn b64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

#[test]
fn forged_and_stripped_signatures() {
    let world = quiet();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    let good = world.sign(&payload, QUORUM);
    let thief = SigningKey::from_bytes(&[7; 32]);
    let forged = sign_with(
        &payload,
        &[("judge-1", thief.clone()), ("prosecutor-1", thief)],
    );
    refused(&world, &forged, &asked, "order-signature");
    let half = sign_with(
        &payload,
        &[
            ("judge-1", world.key("judge-1")),
            ("prosecutor-1", world.key("judge-1")),
        ],
    );
    refused(&world, &half, &asked, "order-signature");
    for left in [0, 1] {
        let mut stripped = parts(&good);
        stripped["signatures"]
            .as_array_mut()
            .unwrap()
            .truncate(left);
        refused(&world, &stripped.to_string(), &asked, "order-quorum");
    }
    let mut flipped = parts(&good);
    let signature = BASE64URL_NOPAD
        .decode(
            flipped["signatures"][0]["signature"]
                .as_str()
                .unwrap()
                .as_bytes(),
        )
        .unwrap();
    let mut wrong = signature.clone();
    wrong[10] ^= 1;
    flipped["signatures"][0]["signature"] = b64(&wrong).into();
    refused(&world, &flipped.to_string(), &asked, "order-signature");
    // Another form of the same signature (S plus the group's order) is no signature either.
    let mut malleable = parts(&good);
    malleable["signatures"][0]["signature"] = b64(&plus_order(&signature)).into();
    refused(&world, &malleable.to_string(), &asked, "order-signature");
}

/// RFC 8032's L added to S.
fn plus_order(signature: &[u8]) -> Vec<u8> {
    let order: [u8; 32] = data_encoding::HEXLOWER
        .decode(b"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        .unwrap()
        .try_into()
        .unwrap();
    let mut out = signature.to_vec();
    let mut carry = 0;
    for (byte, add) in out[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    out
}

#[test]
fn algorithm_confusion() {
    let world = quiet();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked).write().unwrap();
    let entry = |alg: &str, kid: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let protected = b64(format!(
            r#"{{"alg":"{alg}","kid":"{kid}","typ":"{}"}}"#,
            OrderPayload::TYP
        )
        .as_bytes());
        let signature = sign(format!("{protected}.{}", b64(&payload)).as_bytes());
        json!({"protected": protected, "signature": b64(&signature)})
    };
    let order =
        |entries: Vec<Value>| json!({"payload": b64(&payload), "signatures": entries}).to_string();
    let nothing = |_: &[u8]| vec![];
    refused(
        &world,
        &order(
            QUORUM
                .iter()
                .map(|kid| entry("none", kid, &nothing))
                .collect(),
        ),
        &asked,
        "order-malformed",
    );
    // HMAC under what everybody has: the approvers' public keys.
    let hmac = |kid: &str| {
        let public = world.key(kid).verifying_key().to_bytes();
        move |input: &[u8]| {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&public).unwrap();
            mac.update(input);
            mac.finalize().into_bytes().to_vec()
        }
    };
    for alg in ["HS256", "HS512", "EdDSA"] {
        let entries = QUORUM
            .iter()
            .map(|kid| entry(alg, kid, &hmac(kid)))
            .collect();
        refused(&world, &order(entries), &asked, "order-malformed");
    }
    // A true signature, called something else.
    for alg in ["none", "HS256", "ES256", "Ed448", "eddsa"] {
        let entries = QUORUM
            .iter()
            .map(|kid| entry(alg, kid, &|input| world.key(kid).sign(input).to_vec()))
            .collect();
        refused(&world, &order(entries), &asked, "order-malformed");
    }
}

#[test]
fn one_person_or_one_body_is_not_two() {
    let world = quiet();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    // The same signer twice: the same signature again, and one under another name.
    let one = world.sign(&payload, &["judge-1"]);
    let mut twice = parts(&one);
    let entry = twice["signatures"][0].clone();
    twice["signatures"].as_array_mut().unwrap().push(entry);
    refused(&world, &twice.to_string(), &asked, "order-malformed");
    let judge = || world.key("judge-1");
    refused(
        &world,
        &sign_with(&payload, &[("judge-1", judge()), ("judge-2", judge())]),
        &asked,
        "order-signature",
    );
    // Two persons of one body.
    refused(
        &world,
        &world.sign(&payload, &["judge-1", "judge-2"]),
        &asked,
        "order-quorum",
    );
    // An officer is no approver.
    refused(
        &world,
        &world.sign(&payload, &["judge-1", "officer"]),
        &asked,
        "order-signature",
    );
}

#[test]
fn a_payload_swapped_under_valid_signatures() {
    let world = quiet();
    let asked = persons(&world, 2);
    let good = world.sign(&world.order("health", &asked[..1]), QUORUM);
    let other = world.sign(&world.order("health", &asked), QUORUM);
    let mut swapped = parts(&good);
    swapped["payload"] = parts(&other)["payload"].clone();
    refused(&world, &swapped.to_string(), &asked, "order-signature");
    // The same id, properly signed: the first payload seen under it stays.
    let first = world.order("health", &asked[..1]);
    let order = world.sign(&first, QUORUM);
    world.reidentify(&order, "health", &asked[..1]).ok();
    let wider = OrderPayload {
        scope: PseudonymScope::Listed(BTreeMap::from([("health".to_owned(), asked.clone())])),
        ..first
    };
    refused(
        &world,
        &world.sign(&wider, QUORUM),
        &asked,
        "order-conflict",
    );
}

#[test]
fn expired_and_not_yet_valid() {
    let world = quiet();
    let asked = persons(&world, 1);
    let hours = SignedDuration::from_hours;
    for (from, to, code) in [
        (now() - hours(48), now() - hours(24), "order-expired"),
        (
            now() - hours(1),
            now() - SignedDuration::from_secs(1),
            "order-expired",
        ),
        (
            now() + SignedDuration::from_mins(1),
            now() + hours(1),
            "order-not-yet-valid",
        ),
        (now() - hours(1), now() + hours(720), "order-rule"),
    ] {
        let order = OrderPayload {
            not_before: from,
            not_after: to,
            ..world.order("health", &asked)
        };
        refused(&world, &world.sign(&order, QUORUM), &asked, code);
    }
    let long = OrderPayload {
        basis: LegalBasis::ForceMajeure {
            security: cloison::order::SecuritySide::External,
        },
        not_after: now() + hours(73),
        ..world.order("health", &asked)
    };
    refused(&world, &world.sign(&long, QUORUM), &asked, "order-rule");
}

#[test]
fn another_authority_another_sector() {
    let world = quiet();
    let asked = persons(&world, 1);
    let tax = world.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["AB000000"]);
    let foreign = OrderPayload {
        authority: super::common::id("ministry"),
        ..world.order("health", &asked)
    };
    refused(
        &world,
        &world.sign(&foreign, QUORUM),
        &asked,
        "order-authority",
    );
    let elsewhere = OrderPayload {
        aud: super::common::id("elsewhere"),
        ..world.order("health", &asked)
    };
    let elsewhere = world.sign(&elsewhere, QUORUM);
    refused(&world, &elsewhere, &asked, "order-audience");
    // An order for health opens nothing of tax: neither under tax's name nor as health's.
    let order = world.sign(&world.order("health", &asked), QUORUM);
    refused_with(
        &world,
        &world.request(&order, "tax", &tax),
        &order,
        "tax",
        &tax,
        "out-of-scope",
    );
    let answer = world.reidentify(&order, "health", &tax).ok();
    assert_eq!(codes(&answer), [Some("pseudonym-other-sector".to_owned())]);
    let unlisted = world.health_pseudonyms(&["AB000009"]);
    let answer = world
        .release_with(
            &order,
            &world.request(&order, "health", &unlisted),
            "health",
            &unlisted,
        )
        .ok();
    assert_eq!(codes(&answer), [Some("out-of-scope".to_owned())]);
}

/// Ten at once, through the node and past it, in windows that overlap: the limit is exact.
#[test]
fn a_limit_under_parallel_requests() {
    const LIMIT: usize = 12;
    let world = quiet();
    let asked = persons(&world, 40);
    let mut payload = world.order("health", &[]);
    payload.basis = LegalBasis::Statutory {
        article: "Law 47-06, art. 214".to_owned(),
    };
    payload.scope = PseudonymScope::AtMost(LIMIT as u64);
    let order = world.sign(&payload, QUORUM);
    // The vault releases to nobody before its log was watched.
    let warm = world.sign(&world.order("health", &asked[..1]), QUORUM);
    world.reidentify(&warm, "health", &asked[..1]).ok();
    let barrier = Barrier::new(10);
    let released: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let (world, asked, order, barrier) = (&world, &asked, &order, &barrier);
        let threads: Vec<_> = (0..10)
            .map(|thread| {
                scope.spawn(move || {
                    let window: Vec<_> = (0..8)
                        .map(|n| asked[(thread * 4 + n) % 40].clone())
                        .collect();
                    barrier.wait();
                    let answer = match thread % 2 {
                        0 => world.reidentify(order, "health", &window).ok(),
                        _ => world
                            .release_with(
                                order,
                                &world.request(order, "health", &window),
                                "health",
                                &window,
                            )
                            .ok(),
                    };
                    let open = codes(&answer)
                        .into_iter()
                        .zip(window)
                        .filter(|(code, _)| code.is_none());
                    open.map(|(_, text)| text).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(released.len(), LIMIT);
}

/// The same signed request again: at the node, at the vault, after a restart. Asked anew it is
/// answered, and counted once.
#[test]
fn a_replayed_request() {
    let mut world = quiet();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    let request = world.request(&order, "health", &asked);
    world
        .reidentify_with(&order, &request, "health", &asked)
        .ok();
    refused_with(
        &world,
        &request,
        &order,
        "health",
        &asked,
        "request-replayed",
    );
    world.restart();
    refused_with(
        &world,
        &request,
        &order,
        "health",
        &asked,
        "request-replayed",
    );
    world.reidentify(&order, "health", &asked).ok();
    assert_eq!(
        super::people::at_vault(&world, &payload).unwrap()["life"]["used"],
        1
    );
    // Two at once with one request: one of them is answered.
    let request = world.request(&order, "health", &asked);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            scope.spawn(|| {
                world
                    .reidentify_with(&order, &request, "health", &asked)
                    .status
            })
        };
        [ask(), ask(), ask()]
            .map(|thread| thread.join().unwrap())
            .into()
    });
    assert_eq!(
        answers.iter().filter(|status| **status == 200).count(),
        1,
        "{answers:?}"
    );
    // A release that somebody kept is not taken for an answer: what is opened was asked for by this
    // request alone.
    world.stop();
    let entries = world.entries(Side::Vault);
    let requests: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "release")
        .map(|e| &e["request"])
        .collect();
    let distinct: std::collections::BTreeSet<_> = requests
        .iter()
        .map(std::string::ToString::to_string)
        .collect();
    assert_eq!(
        distinct.len(),
        requests.len(),
        "each request was released once"
    );
}

/// Clocks: a request from two minutes off either way is refused, an order is judged by each side's
/// own clock.
#[test]
fn clock_skew() {
    let world = quiet();
    let asked = persons(&world, 1);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    let by = |seconds: i64| {
        let time = Timestamp::now() + SignedDuration::from_secs(seconds);
        world.request_by(
            "officer",
            &world.key("officer"),
            &order,
            "health",
            &asked,
            time,
        )
    };
    for seconds in [-125, 125] {
        refused_with(
            &world,
            &by(seconds),
            &order,
            "health",
            &asked,
            "request-invalid",
        );
    }
    for seconds in [-110, 110] {
        world
            .reidentify_with(&order, &by(seconds), "health", &asked)
            .ok();
    }
}

/// Two officers at once under one order: both are answered, and the order counts pseudonyms, not
/// officers. The request of the one is not the other's to bring.
#[test]
fn two_officers_at_once() {
    let second = SigningKey::from_bytes(&[9; 32]);
    let public = data_encoding::HEXLOWER.encode(second.verifying_key().as_bytes());
    // The second officer has the operator's certificate in this world, which the register then
    // knows as his.
    let register = move |text: String| {
        let operator = text.find("[[operator]]").unwrap();
        let end = operator + text[operator..].find("\n\n").unwrap();
        let certificate = text[operator..end]
            .lines()
            .find(|line| line.starts_with("certificate = "))
            .unwrap();
        let without = text[..operator].to_owned() + &text[end..];
        without
            + &format!(
                "\n[[authority.officer]]\nid = \"second\"\nname = \"Second\"\nkey = \"{public}\"\n{certificate}\n"
            )
    };
    let world = World::with(Setup {
        register: Box::new(register),
        log: "info",
        ..Setup::default()
    });
    let asked = persons(&world, 4);
    let mut payload = world.order("health", &asked);
    payload.officers.push(super::common::id("second"));
    let order = world.sign(&payload, QUORUM);
    let own = world.request_by(
        "second",
        &second,
        &order,
        "health",
        &asked,
        Timestamp::now(),
    );
    let body = json!({"order": order, "request": own, "sector": "health", "pseudonyms": asked});
    assert_eq!(
        world.reidentify_with(&order, &own, "health", &asked).code(),
        "request-invalid",
        "not his to bring"
    );
    std::thread::scope(|scope| {
        let one = scope.spawn(|| world.reidentify(&order, "health", &asked).ok());
        let two = scope.spawn(|| {
            world
                .post_json(
                    "operator",
                    super::common::Door::Officers,
                    "/v1/reidentifications",
                    &body,
                )
                .ok()
        });
        assert!(
            codes(&one.join().unwrap())
                .iter()
                .chain(&codes(&two.join().unwrap()))
                .all(Option::is_none)
        );
    });
}

/// One order at two nodes of its authority: a second node with a store of its own would fork the
/// log of the first, and does not start over what was published. Whoever takes over takes the
/// store; the vault has counted meanwhile.
#[test]
fn one_order_at_two_nodes() {
    let mut world = quiet();
    let asked = persons(&world, 4);
    let mut payload = world.order("health", &asked);
    payload.basis = LegalBasis::Statutory {
        article: "Law 47-06, art. 214".to_owned(),
    };
    payload.scope = PseudonymScope::AtMost(3);
    let order = world.sign(&payload, QUORUM);
    assert!(
        codes(&world.reidentify(&order, "health", &asked[..2]).ok())
            .iter()
            .all(Option::is_none)
    );
    world.end(Side::Node);
    let (store, first) = (world.path("data/node"), world.path("data/node-1"));
    std::fs::rename(&store, &first).unwrap();
    for more in [&[][..], &["--first-start"]] {
        let failed = world.try_start(Side::Node, more).expect_err("no store");
        assert_eq!(failed.code, Some(75), "{failed}");
        assert!(
            failed.said.contains("there is no store at ") && !store.exists(),
            "{failed}"
        );
    }
    // Past any node: the vault counts, whoever asks.
    let asks = &asked[2..];
    let reply = world
        .release_with(
            &order,
            &world.request(&order, "health", asks),
            "health",
            asks,
        )
        .ok();
    assert_eq!(codes(&reply), [None, Some("limit-reached".to_owned())]);
    std::fs::rename(&first, &store).unwrap();
    world.start(Side::Node, &[]);
    let answer = codes(&world.reidentify(&order, "health", &asked).ok());
    assert_eq!(answer, [None, None, None, Some("limit-reached".to_owned())]);
}

/// A node that lies about what it holds gains nothing: what was revoked at the vault is refused by
/// the vault.
#[test]
fn a_stolen_node_that_claims_to_be_in_step() {
    let world = quiet();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    let revoke = super::people::act(
        &world,
        &payload,
        cloison::order::act::ActKind::Revoke,
        &["judge-1"],
    );
    super::people::to_vault(&world, &revoke).ok();
    let register = data_encoding::HEXLOWER.encode(&world.register().digest);
    // It can compute the very digest that the vault expects.
    let digest = statement::digest_of::<ActPayload>(&revoke).unwrap();
    let acts =
        <sha2::Sha256 as sha2::Digest>::digest([payload.id.as_bytes(), &digest[..]].concat());
    let request = world.request(&order, "health", &asked);
    let asked =
        json!({"order": order, "request": request, "sector": "health", "pseudonyms": asked});
    let body = json!({"register": register, "acts": data_encoding::HEXLOWER.encode(&acts), "asked": asked});
    let reply = world.post_json("node", super::common::Door::Control, "/v1/releases", &body);
    assert_eq!(reply.code(), "order-revoked");
}

/// Two approvers sign one order file at the same moment, many times: no signature is lost.
#[test]
fn two_approvers_sign_at_once() {
    let world = quiet();
    let asked = persons(&world, 1);
    for round in 0..10 {
        let file = format!("order-{round}.jws");
        world.write(&file, &world.sign(&world.order("health", &asked), &[]));
        let sign = |kid: &str| {
            let key = format!("secrets/people/{kid}.pem");
            world
                .cloison(&["order", "sign", "--key", &key, "--kid", kid, &file])
                .status
                .success()
        };
        std::thread::scope(|scope| {
            let threads =
                ["judge-1", "judge-2", "prosecutor-1"].map(|kid| scope.spawn(move || sign(kid)));
            threads
                .into_iter()
                .for_each(|thread| assert!(thread.join().unwrap()));
        });
        assert_eq!(
            parts(&world.read(&file))["signatures"]
                .as_array()
                .unwrap()
                .len(),
            3,
            "round {round}"
        );
    }
}
