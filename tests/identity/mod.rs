//! The identity source: the vault gets UTIs from it, counted and logged, and nobody else gets any.

use cloison::code::Code;
use cloison::keys::custody::{Deposit, Keyring};
use cloison::keys::file::SecretKind;
use cloison::keys::{IdentityKeys, IdentitySecret};
use cloison::utis::{EncodedPart, PartOutcome, UtiAnswer, UtiKind};
use serde_json::json;
use uuid::Uuid;

use crate::common::identity::{IdentityPlace, NONCE, body, entries, part, part_of};
use crate::common::process::{Process, soon};
use crate::common::{Reply, Side, World};

mod custody;
mod false_source;
mod faults;
mod kills;
mod migration;
mod quotas;
mod restore;
mod thief;

/// A world in which nothing but an identity source runs.
fn alone() -> (World, IdentityPlace, Process) {
    let world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    let source = place.first_start(&world);
    (world, place, source)
}

fn health(world: &World) -> Uuid {
    world.register().sector("health").unwrap().uuid
}

/// A register's text with this quota for every organisation.
fn with_quotas(text: &str, second: u64, day: u64) -> String {
    let quota = format!("quota = {{ items-per-second = {second}, items-per-day = {day} }}");
    let swap = |line: &str| {
        let is_quota = line.starts_with("quota = ");
        format!("{}\n", if is_quota { &quota } else { line })
    };
    text.lines().map(swap).collect()
}

/// What became of each part.
fn outcomes<'a>(reply: &'a Reply, answers: &[usize]) -> Vec<PartOutcome<'a>> {
    assert_eq!(reply.status, 200, "{reply:?}");
    UtiAnswer::read(&reply.body, &NONCE, answers).unwrap().parts
}

/// The code with which the only part was refused.
fn refused(reply: &Reply, answers: usize) -> Code {
    match &outcomes(reply, &[answers])[..] {
        [PartOutcome::Refused(refusal)] => refusal.code(),
        _ => panic!("it was answered"),
    }
}

/// The code of a request that was refused whole.
fn problem(reply: &Reply) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

fn identity_keys(world: &World) -> IdentityKeys {
    let place = Deposit::file(world.path("secrets/identity/identity.secret"));
    let secret = Keyring::default().read(&place, SecretKind::Identity);
    IdentityKeys::new(&IdentitySecret(secret.unwrap()))
}

#[test]
fn the_vault_gets_the_utis_that_the_secret_makes_and_the_log_says_so() {
    let (world, place, source) = alone();
    let cards = ["AB123456", "BE9876"];
    let parts = [
        part(health(&world), "cnss-health", &cards),
        EncodedPart::probe(),
        EncodedPart::person_key(health(&world)),
        part(health(&world), "cnss-health", &cards[..1]),
    ];
    let reply = place.ask(&world, &body(&parts));
    let mut utis = vec![];
    let keys = identity_keys(&world);
    keys.append_utis("cnie", cards.iter().map(|card| card.as_bytes()), &mut utis);
    let answered = |outcome: &PartOutcome<'_>| match outcome {
        PartOutcome::Answers(answers) => answers.to_vec(),
        PartOutcome::Refused(refusal) => panic!("{}", refusal.code()),
    };
    let got: Vec<_> = outcomes(&reply, &[2, 1, 1, 1])
        .iter()
        .map(answered)
        .collect();
    // UTIs are no public bytes: what they make is compared.
    let key = keys.person_key_of(health(&world));
    assert_eq!(got[1], [keys.check_value().0]);
    assert_eq!(got[2][0], *key.expose());
    assert_eq!(got[0][0], got[3][0]);
    assert_ne!(got[0][0], got[0][1]);
    assert_eq!(utis.len(), 2);
    assert!(source.stop().success());

    let logged = entries(&world);
    let [start, derived, ..] = &logged[..] else {
        panic!("{logged:?}")
    };
    assert_eq!(
        (&start["event"], &start["entity"]),
        (&json!("start"), &json!("identity"))
    );
    assert_eq!(derived["event"], "utis");
    assert_eq!(
        derived["derived"],
        json!([
            {"kind": "tokenize", "by": "cnss-health", "organisation": "cnss", "sector": "health", "scheme": "cnie",
             "requests": 2, "items": 3},
            {"kind": "probe", "requests": 1, "items": 0},
            {"kind": "person-key", "sector": "health", "requests": 1, "items": 0},
        ])
    );
    let everything = serde_json::to_string(&logged).unwrap() + &world.read("logs/identity.log");
    for card in cards {
        assert!(!everything.contains(card));
    }
}

#[test]
fn nobody_but_the_vault_is_answered() {
    let (world, place, source) = alone();
    let asked = body(&[part(health(&world), "cnss-health", &["AB123456"])]);
    for name in [
        "cnss-health",
        "operator",
        "auditor",
        "identity",
        "keeper-1",
        "node",
    ] {
        let reply = place.ask_as(&world, name, &asked);
        assert_eq!(
            (reply.status, &*problem(&reply)),
            (403, "forbidden"),
            "{name}"
        );
    }
    // Another deployment's vault shows a key that this register does not have, and the vault's
    // server key is not the key with which it calls.
    world.certify("stranger", 2020, 2120);
    for name in ["stranger", "vault"] {
        let content = [("content-type", cloison::utis::CONTENT)];
        let bytes = crate::common::request("POST", cloison::utis::PATH, &content, &asked);
        let sent = place.connect(&world, name).exchange(&bytes);
        assert!(
            sent.is_err() || sent.is_ok_and(|reply| reply.status == 401),
            "{name}"
        );
    }
    assert!(source.stop().success());
    let logged = entries(&world);
    let of = |actor: &str| {
        let is_it = |entry: &&serde_json::Value| {
            entry["event"] == "refuse" && entry["actor"] == actor && entry["code"] == "forbidden"
        };
        logged.iter().filter(is_it).count()
    };
    assert_eq!((of("cnss-health"), of("keeper-1")), (1, 1), "{logged:?}");
    assert!(logged.iter().all(|entry| entry["event"] != "utis"));
}

#[test]
fn what_the_register_does_not_allow_is_refused_by_itself_and_logged() {
    let (world, place, source) = alone();
    let (sector, card) = (health(&world), &["AB123456"][..]);
    let tax = world.register().sector("tax").unwrap().uuid;
    let good = || part(sector, "cnss-health", card);
    let bad = [
        (
            part(Uuid::from_bytes([9; 16]), "cnss-health", card),
            Code::UnknownSector,
        ),
        (part(tax, "cnss-health", card), Code::Forbidden),
        (part(sector, "cnss-nobody", card), Code::UnknownClient),
        (
            part_of(UtiKind::Tokenize, sector, "cnss-health", "passport-x", card),
            Code::UnknownScheme,
        ),
        (
            part(sector, "cnss-health", &["ab123456"]),
            Code::MalformedBody,
        ),
        (
            part(sector, "cnss-health", &["AB 123456"]),
            Code::MalformedBody,
        ),
        (
            part(sector, "cnss-health", &["AB123456", "nonsense"]),
            Code::MalformedBody,
        ),
        // The demo's authority may not order a migration of another's sector, and no client may.
        (
            part_of(UtiKind::Migrate, sector, "cnss-health", "cnie", card),
            Code::UnknownClient,
        ),
        (
            part_of(UtiKind::Rights, sector, "court", "cnie", card),
            Code::UnknownClient,
        ),
        (
            EncodedPart::person_key(Uuid::from_bytes([9; 16])),
            Code::UnknownSector,
        ),
    ];
    let count = bad.len();
    for (bad, code) in bad {
        let answers = [1, bad.answers(), 1];
        let reply = place.ask(&world, &body(&[good(), bad, good()]));
        let parts = outcomes(&reply, &answers);
        let PartOutcome::Refused(refusal) = &parts[1] else {
            panic!("{code} was answered")
        };
        assert_eq!(refusal.code(), code);
        for other in [&parts[0], &parts[2]] {
            assert!(
                matches!(other, PartOutcome::Answers(_)),
                "{code} refuses its neighbours"
            );
        }
    }
    soon("each refused part is counted", || {
        place.metric("cloison_uti_parts_refused_total") == Some(count.to_string())
    });
    assert!(source.stop().success());
    let logged = entries(&world);
    let refusals = logged.iter().filter(|entry| entry["event"] == "refuse");
    let refusals: u64 = refusals.map(|entry| entry["count"].as_u64().unwrap()).sum();
    assert_eq!(refusals, count as u64, "{logged:?}");
    let everything = serde_json::to_string(&logged).unwrap() + &world.read("logs/identity.log");
    for value in [
        "AB123456",
        "ab123456",
        "nonsense",
        "cnss-nobody",
        "passport-x",
    ] {
        assert!(!everything.contains(value), "{value}");
    }
}

#[test]
fn bytes_that_are_no_request_are_refused_whole() {
    let (world, place, source) = alone();
    let whole = body(&[part(health(&world), "cnss-health", &["AB123456"])]);
    let mut other = whole.clone();
    other[0] = 2;
    // The card is the last field: its length, doubled; and the number of values before it, one
    // more.
    let (mut doubled, mut more) = (whole.clone(), whole.clone());
    doubled[whole.len() - 9] = 16;
    more[whole.len() - 11] = 2;
    for (bytes, code) in [
        (&doubled[..], "malformed-body"),
        (&more[..], "malformed-body"),
        (&whole[..whole.len() - 1], "malformed-body"),
        (&[&whole[..], b"x"].concat()[..], "malformed-body"),
        (b"", "malformed-body"),
        (&vec![1; 100_000][..], "too-large"),
        (&other[..], "wire-version"),
    ] {
        let reply = place.ask(&world, bytes);
        assert_eq!(problem(&reply), code);
        assert!(!String::from_utf8_lossy(&reply.raw).contains("AB123456"));
    }
    let json = crate::common::request(
        "POST",
        "/v1/utis",
        &[("content-type", "application/json")],
        b"{}",
    );
    let reply = place.connect(&world, "vault-utis").exchange(&json).unwrap();
    assert_eq!(problem(&reply), "unsupported-media-type");
    let huge = [
        ("content-type", cloison::utis::CONTENT),
        ("content-length", "99999999"),
    ];
    let huge = crate::common::request("POST", "/v1/utis", &huge, b"");
    let reply = place.connect(&world, "vault-utis").exchange(&huge).unwrap();
    assert_eq!(problem(&reply), "too-large");
    assert!(source.stop().success());
    assert!(entries(&world).iter().all(|entry| entry["event"] != "utis"));
}

#[test]
fn vault_and_source_cosign_each_other_and_the_log_is_verified() {
    let (mut world, place, source) = alone();
    world.start(Side::Vault, &[]);
    place.ask(
        &world,
        &body(&[part(health(&world), "cnss-health", &["AB123456"])]),
    );
    let cosigned = || {
        let shown = world.get("auditor", crate::common::Door::Control, "/v1/status");
        let status = shown.ok();
        let cosigners = status["log"]["cosigners"].as_array().cloned();
        let mut cosigners = cosigners.into_iter().flatten();
        cosigners.any(|one| one["name"] == "cloison/test/identity/trust" && one["last"].is_string())
    };
    crate::common::process::soon("the source cosigned the vault's log", cosigned);
    assert!(source.stop().success());
    world.stop();
    let verified = world.cloison(&[
        "audit",
        "verify",
        "data/identity",
        "--register",
        "register.toml",
    ]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn what_a_source_writes_lies_apart() {
    let world = World::asleep();
    let _place = IdentityPlace::prepare(&world);
    let section = "\n[backup]\npath = \"data/identity/backup\"\n[secrets]";
    world.replace("identity.toml", "\n[secrets]", section);
    let checked = world.cloison(&["check", "identity.toml"]);
    assert!(!checked.status.success());
    let said = crate::common::backups::words(&checked);
    assert!(
        said.contains("`[backup] path` lies in `[store] path`"),
        "{said}"
    );
}
