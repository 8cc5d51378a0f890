//! Stolen: the authority node. Sealed, that is without `secrets/`; and unsealed, with its keys and
//! its certificate.

use cloison::keys::AuthoritySecret;
use cloison::keys::DomainScope;
use cloison::keys::file::{SecretKind, read_secret};
use cloison::order::{LegalBasis, PseudonymScope};
use cloison::register::Suite;
use cloison::seal::SealError;
use cloison::seal::mapping::{MappingLocation, RecordView};
use cloison::seal::segment::{AuthorityPrivateKey, OpenedSegment};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::canaries::{Canaries, Kind};
use super::common::{Door, QUORUM, Reply, Side, batch_path, now, sign_with};
use super::story::{Loot, PEOPLE, Story, stopped};

#[test]
fn a_sealed_node_holds_nobody() {
    let mut story = Story::told();
    stopped(&mut story);
    let loot = Loot::take(
        &story.world,
        &[
            "data/node",
            "node.toml",
            "register.toml",
            "register.jws",
            "tls/node.pem",
            "logs/node.log",
        ],
    );
    loot.assert_shows_nothing(&story.canaries, "data/node");

    // It does not run without its secrets, nor can it speak to the vault.
    let config = loot.path("node.toml");
    let output = story
        .world
        .cloison(&["authority", "serve", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("court-2026.secret: No such file"), "{said}");
}

/// The thief has the node's certificate and keys, and everything that ever came to it: an order
/// with all its signatures and the officer's request under it. What he lacks is the officer's key.
#[test]
fn a_stolen_node_asks_in_vain_for_what_no_officer_asked() {
    let mut story = Story::told();
    let Story {
        world,
        health: [first, second],
        order,
        canaries,
    } = &story;
    let (first, second) = (std::slice::from_ref(first), std::slice::from_ref(second));
    let both = [first, second].concat();
    let thief = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let genuine = world.request(order, "health", first);
    let old = Timestamp::now() - SignedDuration::from_secs(125);
    let stale = world.request_by(
        "officer",
        &world.key("officer"),
        order,
        "health",
        first,
        old,
    );
    let forged = world.request_by("officer", &thief, order, "health", first, Timestamp::now());
    let as_approver = world.request_by(
        "judge-1",
        &world.key("judge-1"),
        order,
        "health",
        first,
        Timestamp::now(),
    );

    let other = world.order("health", second);
    let own_order = sign_with(
        &other,
        &[("judge-1", thief.clone()), ("prosecutor-1", thief.clone())],
    );
    let half_order = world.sign(&other, &["judge-1"]);
    let whole_order = world.sign(&other, QUORUM);
    let mut over = world.order("health", first);
    (over.not_before, over.not_after) = (
        now() - SignedDuration::from_hours(48),
        now() - SignedDuration::from_hours(24),
    );
    let over = world.sign(&over, QUORUM);
    #[allow(clippy::type_complexity)] // a table: what, order, request, sector, pseudonyms, code
    let attempts: [(&str, &str, &str, &str, &[String], &str); 13] = [
        (
            "no request at all",
            order,
            "",
            "health",
            first,
            "request-invalid",
        ),
        (
            "the order for a request",
            order,
            order,
            "health",
            first,
            "request-invalid",
        ),
        (
            "a request signed by himself",
            order,
            &forged,
            "health",
            first,
            "request-invalid",
        ),
        (
            "a request by an approver",
            order,
            &as_approver,
            "health",
            first,
            "request-invalid",
        ),
        (
            "an old request again",
            order,
            &stale,
            "health",
            first,
            "request-invalid",
        ),
        (
            "a request for another list",
            order,
            &genuine,
            "health",
            second,
            "request-invalid",
        ),
        (
            "a request for a longer list",
            order,
            &genuine,
            "health",
            &both,
            "request-invalid",
        ),
        (
            "a request for nothing",
            order,
            &genuine,
            "health",
            &[],
            "empty-batch",
        ),
        (
            "a request for another sector",
            order,
            &genuine,
            "tax",
            first,
            "out-of-scope",
        ),
        (
            "a request under another order",
            &whole_order,
            &genuine,
            "health",
            first,
            "request-invalid",
        ),
        (
            "an order that he signed",
            &own_order,
            &genuine,
            "health",
            second,
            "order-signature",
        ),
        (
            "an order that one person signed",
            &half_order,
            &genuine,
            "health",
            second,
            "order-quorum",
        ),
        (
            "an order that is over",
            &over,
            &world.request(&over, "health", first),
            "health",
            first,
            "order-expired",
        ),
    ];
    for (what, order, request, sector, pseudonyms, code) in attempts {
        let reply = world.release_with(order, request, sector, pseudonyms);
        assert_eq!(reply.code(), code, "{what}");
        tells_nothing(&reply, canaries, what);
    }

    // The other doors of the vault are not for it.
    let batch = json!({"scheme": "cnie", "identifiers": [PEOPLE[0].2], "purpose": "billing"});
    let reply = world.post_json("node", Door::Data, &batch_path("health"), &batch);
    assert_eq!(reply.code(), "forbidden");
    let reply = world.post_json(
        "node",
        Door::Control,
        "/v1/sectors/health/epochs",
        &json!({"own_secret": true}),
    );
    assert_eq!(reply.code(), "forbidden");

    // Every attempt is in the vault's log, under the name of the authority whose node it is.
    story.world.stop();
    let refused: u64 = [
        "request-invalid",
        "order-signature",
        "order-quorum",
        "order-expired",
        "out-of-scope",
    ]
    .iter()
    .map(|code| story.world.refusals(Side::Vault, "court", "release", code))
    .sum();
    assert!(refused >= 12, "{refused}");
}

/// What an officer did ask for does pass through the node, so its thief sees it go by: that, and
/// not a person more.
#[test]
fn a_stolen_node_sees_what_an_officer_asks_for_and_no_more() {
    let story = Story::told();
    let Story {
        world,
        health: [first, second],
        ..
    } = &story;
    // An order for two, of whom the officer asks for one.
    let order = world.sign(
        &world.order("health", &[first.clone(), second.clone()]),
        QUORUM,
    );
    let asked = std::slice::from_ref(first);
    let release = world
        .release_with(
            &order,
            &world.request(&order, "health", asked),
            "health",
            asked,
        )
        .ok();
    assert_eq!(release["items"].as_array().unwrap().len(), 1);
    let (record, segment) = (
        bytes(&release["items"][0]["record"]),
        bytes(&release["segments"][0]),
    );

    let secret = read_secret(
        &world.path("secrets/authority/court-2026.secret"),
        SecretKind::Authority,
    )
    .unwrap();
    let key = AuthorityPrivateKey::derive(&AuthoritySecret(secret), "court-2026", Suite::X25519);
    let config = cloison::config::NodeConfig::load(&world.path("node.toml")).unwrap();
    let segment = OpenedSegment::open(&segment, &key, &config.segment_keys).unwrap();
    let place = |epoch| MappingLocation::new(segment.sector(), epoch, &DomainScope::default());
    let record = RecordView::parse(&record).unwrap();
    assert_eq!(*record.open(&segment, place(1)).unwrap().value, PEOPLE[0].2);
    assert_eq!(
        record.open(&segment, place(2)).err(),
        Some(SealError::Open),
        "not in another epoch's place"
    );
    let mut moved = record.to_bytes();
    moved[0] ^= 1;
    let moved = RecordView::parse(&moved).unwrap();
    assert_eq!(
        moved.open(&segment, place(1)).err(),
        Some(SealError::Open),
        "not as another's"
    );
}

/// A node cannot stretch an order that has a limit in place of a list: the vault counts.
#[test]
fn a_stolen_node_does_not_exceed_a_limit() {
    let story = Story::told();
    let Story {
        world,
        health: [first, second],
        ..
    } = &story;
    let mut order = world.order("health", &[]);
    order.basis = LegalBasis::Statutory {
        article: "Law 47-06, art. 214".to_owned(),
    };
    order.scope = PseudonymScope::AtMost(1);
    let order = world.sign(&order, QUORUM);
    let ask = |asked: &[String]| {
        world.release_with(
            &order,
            &world.request(&order, "health", asked),
            "health",
            asked,
        )
    };
    assert!(ask(std::slice::from_ref(first)).ok()["items"][0]["record"].is_string());
    assert_eq!(
        ask(std::slice::from_ref(second)).ok()["items"][0]["code"],
        "limit-reached"
    );
    assert!(
        ask(std::slice::from_ref(first)).ok()["items"][0]["record"].is_string(),
        "asked again, counted once"
    );
}

/// A refusal says a code and a sentence; whoever reads it learns of nobody.
pub fn tells_nothing(reply: &Reply, canaries: &Canaries, what: &str) {
    canaries.assert_absent(what, &reply.raw, &[]);
    assert!(!reply.text().contains("\"record\""), "{what}");
}

/// An answer may repeat a pseudonym that was asked for.
pub fn names_nobody(reply: &Reply, canaries: &Canaries, what: &str) {
    canaries.assert_absent(what, &reply.raw, &[Kind::Pseudonym]);
}

fn bytes(text: &Value) -> Vec<u8> {
    BASE64URL_NOPAD
        .decode(text.as_str().unwrap().as_bytes())
        .unwrap()
}
