//! Stolen: one key of one person, whoever it is. An order needs several from two bodies, and so
//! does the register.

use cloison::deployment::register_text::{OPERATOR, OPERATORS};
use cloison::epoch::statement::{Destruction, DestructionPayload};
use cloison::register::sign::sign;
use cloison::statement::{self, Statement as _};
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::common::{Door, Side, World, batch_path, confirm_secrets, id, request, sign_with, swap};
use super::node::{names_nobody, tells_nothing};
use super::story::{PEOPLE, Story};

/// Each approver in turn, with an officer who does all that he is told.
#[test]
fn one_approver_makes_no_order() {
    let story = Story::told();
    let Story {
        world,
        health,
        canaries,
        ..
    } = &story;
    let wanted = world.order("health", &health[1..]);
    let thief = SigningKey::from_bytes(&[7; 32]);
    for approver in ["judge-1", "judge-2", "prosecutor-1"] {
        let key = || world.key(approver);
        let others = ["judge-1", "judge-2", "prosecutor-1"]
            .into_iter()
            .filter(|other| *other != approver);
        let mut attempts = vec![
            ("alone", world.sign(&wanted, &[approver]), "order-quorum"),
            (
                "beside the officer",
                sign_with(
                    &wanted,
                    &[(approver, key()), ("officer", world.key("officer"))],
                ),
                "order-signature",
            ),
            (
                "beside an invented person",
                sign_with(&wanted, &[(approver, key()), ("judge-3", thief.clone())]),
                "order-signature",
            ),
        ];
        for other in others {
            attempts.push((
                "twice, as two persons",
                sign_with(&wanted, &[(approver, key()), (other, key())]),
                "order-signature",
            ));
            let forged = sign_with(&wanted, &[(approver, key()), (other, thief.clone())]);
            attempts.push(("beside a forged signature", forged, "order-signature"));
        }
        for (what, order, code) in attempts {
            let what = format!("{approver} {what}");
            let request = world.request(&order, "health", &health[1..]);
            for reply in [
                world.reidentify_with(&order, &request, "health", &health[1..]),
                world.release_with(&order, &request, "health", &health[1..]),
            ] {
                assert_eq!(reply.code(), code, "{what}");
                tells_nothing(&reply, canaries, &what);
            }
        }
    }
    // Not even two persons suffice, if they are of one body.
    let one_body = world.sign(&wanted, &["judge-1", "judge-2"]);
    assert_eq!(
        world.reidentify(&one_body, "health", &health[1..]).code(),
        "order-quorum"
    );
}

/// The officer's key and certificate, and an order that was once given for somebody else.
#[test]
fn an_officer_without_an_order_learns_nothing() {
    let story = Story::told();
    let Story {
        world,
        health: [first, second],
        order,
        canaries,
    } = &story;
    let second = std::slice::from_ref(second);
    let wanted = world.order("health", second);
    let key = || world.key("officer");
    for (kids, code) in [
        (vec![], "order-quorum"),
        (vec!["officer"], "order-signature"),
        (vec!["judge-1", "prosecutor-1"], "order-signature"),
    ] {
        let signers: Vec<_> = kids.iter().map(|kid| (*kid, key())).collect();
        let reply = world.reidentify(&sign_with(&wanted, &signers), "health", second);
        assert_eq!(reply.code(), code, "signed as {kids:?}");
        tells_nothing(&reply, canaries, "an order of his own");
    }
    // A pseudonym that the order does not list is refused beside one that it does.
    let answer = world
        .reidentify(order, "health", &[first.clone(), second[0].clone()])
        .ok();
    assert_eq!(answer["items"][0]["value"], PEOPLE[0].2);
    assert_eq!(answer["items"][1]["code"], "out-of-scope");

    // At the vault he is nobody: it hands records to nodes only.
    let digest = data_encoding::HEXLOWER.encode(&world.register().digest);
    let asked = json!({"order": order, "request": world.request(order, "health", std::slice::from_ref(first)),
        "sector": "health", "pseudonyms": [first]});
    let body = json!({"register": digest, "asked": asked});
    let reply = world.post_json("officer", Door::Control, "/v1/releases", &body);
    assert_eq!(reply.code(), "forbidden");
    tells_nothing(&reply, canaries, "the officer at the vault");
    let batch = json!({"scheme": "cnie", "identifiers": [PEOPLE[0].2], "purpose": "billing"});
    assert_eq!(
        world
            .post_json("officer", Door::Data, &batch_path("health"), &batch)
            .code(),
        "forbidden"
    );
}

#[test]
fn an_operator_reads_nobody() {
    let story = Story::told();
    let Story {
        world,
        health,
        order,
        canaries,
    } = &story;
    let digest = data_encoding::HEXLOWER.encode(&world.register().digest);
    let request = world.request(order, "health", &health[..1]);
    let asked =
        json!({"order": order, "request": request, "sector": "health", "pseudonyms": &health[..1]});
    let batch = json!({"scheme": "cnie", "identifiers": [PEOPLE[0].2], "purpose": "billing"});
    for (door, path, body, code) in [
        (
            Door::Control,
            "/v1/releases",
            json!({"register": digest, "asked": asked}),
            "forbidden",
        ),
        (
            Door::Officers,
            "/v1/reidentifications",
            asked.clone(),
            "forbidden",
        ),
        (
            Door::Data,
            "/v1/sectors/health/pseudonyms",
            batch,
            "forbidden",
        ),
    ] {
        let reply = world.post_json(OPERATOR, door, path, &body);
        assert_eq!(reply.code(), code, "{path}");
        tells_nothing(&reply, canaries, path);
    }
    // What he may do shows him numbers and dates.
    let reply = world.get(OPERATOR, Door::Control, "/v1/sectors/health/epochs");
    assert_eq!(reply.status, 200);
    names_nobody(&reply, canaries, "the list of epochs");
    let health = super::common::plain_get(world.health(Side::Vault), "/metrics");
    canaries.assert_absent("the metrics", format!("{health:?}").as_bytes(), &[]);
}

/// Anybody on the vault's machine reads its figures, a sector system's accomplice too. Read before
/// and after one request, they change in the same way whether the person was known.
#[test]
fn a_figure_that_anybody_reads_does_not_tell_known_from_new() {
    let world = super::common::World::with(super::common::Setup {
        log: "info",
        ..Default::default()
    });
    let read = |path: &str| {
        let answer = super::common::plain_get(world.health(Side::Vault), path).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let figures = || -> Vec<(String, f64)> {
        let text = read("/metrics") + &read("/readyz");
        // Connections close when they like, and the node comes to the control listener of its own
        // accord.
        let lines = text
            .lines()
            .filter(|line| !line.contains("connections_open") && !line.contains("\"control\""));
        let figure = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            (name.to_owned(), value.parse().unwrap_or(0.0))
        };
        lines.map(figure).collect()
    };
    let request = |card: &str| {
        let before = figures();
        world.health_pseudonyms(&[card]);
        // Longer than figures of the second take.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let after = figures();
        assert_eq!(before.len(), after.len());
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        moved
            .map(|(before, after)| (after.0.clone(), after.1 - before.1))
            .collect::<Vec<_>>()
    };
    request("AB1");
    let (known, new) = (request("AB1"), request("AB2"));
    assert!(
        known
            .iter()
            .any(|(name, _)| name.contains("identifiers_accepted_total")),
        "{known:?}"
    );
    assert_eq!(known, new);
}

/// A sector system's key is worth its own sector, within its quota: not another, and no way back.
#[test]
fn a_sector_system_stays_in_its_sector() {
    let story = Story::told();
    let Story {
        world,
        health,
        order,
        canaries,
    } = &story;
    let batch = json!({"scheme": "cnie", "identifiers": [PEOPLE[0].2], "purpose": "assessment"});
    for other in [
        "tax",
        "social",
        "health.chu-rabat",
        "health.chu-rabat.study-42",
        "nowhere",
    ] {
        let reply = world.post_json("cnss-health", Door::Data, &batch_path(other), &batch);
        assert_eq!(
            reply.code(),
            "unknown-sector",
            "{other}: as if it did not exist"
        );
        tells_nothing(&reply, canaries, other);
    }
    let request = world.request(order, "health", &health[..1]);
    let asked =
        json!({"order": order, "request": request, "sector": "health", "pseudonyms": &health[..1]});
    for (door, path, body) in [
        (Door::Officers, "/v1/reidentifications", asked.clone()),
        (
            Door::Control,
            "/v1/releases",
            json!({"register": "", "asked": asked}),
        ),
        (
            Door::Control,
            "/v1/sectors/health/epochs",
            json!({"own_secret": false}),
        ),
    ] {
        assert_eq!(
            world.post_json("cnss-health", door, path, &body).code(),
            "forbidden",
            "{path}"
        );
    }
}

/// Whoever holds one register key can write what he likes, and neither side believes it.
#[test]
fn one_register_key_changes_no_register() {
    let mut world = World::asleep();
    let good = world.read("register.toml");
    let thief = SigningKey::from_bytes(&[7; 32]);
    // He makes himself an approver twice over, in place of people of two bodies.
    let mine = |seed: u8| {
        data_encoding::HEXLOWER.encode(
            SigningKey::from_bytes(&[seed; 32])
                .verifying_key()
                .as_bytes(),
        )
    };
    let of =
        |person: &str| data_encoding::HEXLOWER.encode(world.key(person).verifying_key().as_bytes());
    let bad = swap(
        &swap(&good, &of("judge-1"), &mine(7)),
        &of("prosecutor-1"),
        &mine(8),
    );
    let bad = swap(&bad, "\nversion = 1\n", "\nversion = 2\n");

    for (own, other) in [("operations", "commission"), ("commission", "operations")] {
        let key = world.register_key(own);
        let alone = sign(&bad, None, &id(own), &key).unwrap();
        let twice = sign(&bad, Some(&alone), &id(other), &key).unwrap();
        let beside_a_stranger = sign(&bad, Some(&alone), &id("stranger"), &thief).unwrap();
        let forged = sign(&bad, Some(&alone), &id(other), &thief).unwrap();
        let genuine_of_another_text = world_signatures(&mut world, &good);
        for (what, signatures) in [
            ("alone", alone),
            ("twice", twice),
            ("beside a stranger", beside_a_stranger),
            ("beside a forged one", forged),
            (
                "not at all, under the old signatures",
                genuine_of_another_text,
            ),
            ("not at all", String::new()),
        ] {
            world.write("register.toml", &bad);
            world.write("register.jws", &signatures);
            for side in [Side::Vault, Side::Node] {
                let failed = world.try_start(side, &[]).expect_err(what);
                assert_eq!(failed.code, Some(1), "{own} {what}: {}", failed.said);
                assert!(
                    failed.said.contains("sign"),
                    "{own} {what}: {}",
                    failed.said
                );
            }
        }
    }
    // The true register still opens, so it was the signatures.
    world.write_register(&good, &["operations", "commission"]);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
}

fn world_signatures(world: &mut World, text: &str) -> String {
    world.write_register(text, &["operations", "commission"]);
    world.read("register.jws")
}

/// Anybody can make a certificate with any name in it; the register knows none of their keys.
#[test]
fn a_certificate_with_a_clients_name_opens_no_door() {
    let world = World::new();
    world.certify("thief", 2000, 4000);

    let batch = json!({"scheme": "cnie", "identifiers": [PEOPLE[0].2], "purpose": "billing"});
    for (door, path, body) in [
        (Door::Data, "/v1/sectors/health/pseudonyms", batch),
        (
            Door::Control,
            "/v1/sectors/health/epochs",
            json!({"own_secret": false}),
        ),
        (Door::Control, "/v1/releases", json!({})),
        (Door::Officers, "/v1/reidentifications", json!({})),
    ] {
        let bytes = request(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        );
        let error = world
            .connect(Some("thief"), door)
            .exchange(&bytes)
            .unwrap_err();
        let alert = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let denied = rustls::Error::AlertReceived(rustls::AlertDescription::AccessDenied);
        assert_eq!(alert, Some(&denied), "{path}: {error}");
    }
}

/// Everything that one operator has: certificate and signing key, and a sector's client that does
/// all that it is told.
#[test]
fn one_operator_destroys_nothing() {
    let may = |text: String| {
        swap(
            &text,
            "operations = [\"tokenize\"]",
            "operations = [\"tokenize\", \"retire-epoch\"]",
        )
    };
    let world = World::on(move |text| {
        swap(
            &may(text),
            "epoch-overlap-days = 30",
            "epoch-overlap-days = 0",
        )
    });
    let card = world.health_pseudonyms(&[PEOPLE[0].2]);
    // Versions 2 and 3 that nothing needs, and an epoch that is closed.
    for _ in 0..3 {
        world
            .post_json(OPERATOR, Door::Control, "/v1/secrets", &json!({}))
            .ok();
    }
    confirm_secrets(&world.client(OPERATOR)).unwrap();
    world.advance("health", false);
    const STUDY: &str = "health.chu-rabat.study-42";
    let secret = Destruction::Secret { version: 2 };
    let own = Destruction::OwnSecret {
        sector: STUDY.to_owned(),
        from: 1,
    };
    let epoch = Destruction::Epoch {
        sector: "health".to_owned(),
        epoch: 1,
    };
    let call = |wanted: &Destruction, statement: Option<&str>| match wanted {
        Destruction::Secret { version } => {
            let body = json!({"version": version, "statement": statement});
            world.post_json(OPERATOR, Door::Control, "/v1/secrets/retire", &body)
        }
        Destruction::OwnSecret { sector, from } => {
            let body = json!({"from": from, "own_secret": true, "statement": statement});
            world.post_json(
                OPERATOR,
                Door::Control,
                &format!("/v1/sectors/{sector}/epochs"),
                &body,
            )
        }
        Destruction::Epoch { sector, epoch } => {
            let body = json!({"unmigrated": true, "statement": statement});
            let path = format!("/v1/sectors/{sector}/epochs/{epoch}/retire");
            world.post_json("cnss-health", Door::Data, &path, &body)
        }
        Destruction::ClockMark { .. } => world.post_json(
            OPERATOR,
            Door::Control,
            "/v1/clock-mark",
            &json!({"statement": statement}),
        ),
        Destruction::RestoreWithoutPlaces { .. }
        | Destruction::ResumeFromCopy { .. }
        | Destruction::ConfirmEpoch { .. }
        | Destruction::ErasuresLodged { .. } => world.post_json(
            OPERATOR,
            Door::Control,
            "/v1/restore",
            &json!({"statement": statement}),
        ),
    };
    let thief = SigningKey::from_bytes(&[7; 32]);
    let sign = |payload: &DestructionPayload, signers: &[(&str, SigningKey)]| {
        let draft = payload.draft().unwrap();
        signers.iter().fold(draft, |text, (kid, key)| {
            statement::sign::<DestructionPayload>(&text, kid, key).unwrap()
        })
    };
    let key = || world.key(OPERATOR);
    for wanted in [&secret, &own, &epoch] {
        assert_eq!(call(wanted, None).code(), "statement-required", "{wanted}");
        let payload = world.statement(wanted.clone());
        let mut attempts = vec![
            ("by nobody", sign(&payload, &[])),
            (
                "twice, as two operators",
                sign(&payload, &[(OPERATOR, key()), ("operator-2", key())]),
            ),
            (
                "beside an invented person",
                sign(
                    &payload,
                    &[(OPERATOR, key()), ("operator-3", thief.clone())],
                ),
            ),
            (
                "beside a forged signature",
                sign(
                    &payload,
                    &[(OPERATOR, key()), ("operator-2", thief.clone())],
                ),
            ),
            (
                "beside a judge",
                sign(
                    &payload,
                    &[(OPERATOR, key()), ("judge-1", world.key("judge-1"))],
                ),
            ),
            (
                "by the client itself",
                sign(&payload, &[("cnss-health", thief.clone())]),
            ),
        ];
        if wanted.operators() == 2 {
            attempts.push(("by one operator", sign(&payload, &[(OPERATOR, key())])));
        }
        let foreign = DestructionPayload {
            aud: id("another"),
            ..payload.clone()
        };
        attempts.push((
            "for another deployment",
            world.sign_statement(&foreign, &OPERATORS),
        ));
        for (days, when) in [(-8, "old"), (1, "to come")] {
            let time = payload.time + jiff::SignedDuration::from_hours(24 * days);
            let other = DestructionPayload {
                time,
                ..payload.clone()
            };
            attempts.push((when, world.sign_statement(&other, &OPERATORS)));
        }
        for other in [&secret, &own, &epoch, &Destruction::Secret { version: 3 }]
            .into_iter()
            .filter(|it| it != &wanted)
        {
            attempts.push((
                "for something else",
                world.sign_statement(&world.statement(other.clone()), &OPERATORS),
            ));
        }
        for (what, statement) in attempts {
            assert_eq!(
                call(wanted, Some(&statement)).code(),
                "statement-invalid",
                "{wanted}: {what}"
            );
        }
    }
    // Nothing went: the person still opens, and nobody has taken a version away.
    let order = world.sign(&world.order("health", &card), super::common::QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &card).ok()["items"][0]["value"],
        PEOPLE[0].2
    );
    let versions = world.get(OPERATOR, Door::Control, "/v1/secrets").ok();
    assert!(
        versions["versions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|version| version["state"] == "here"),
        "{versions}"
    );

    // Two of them do; the same call again is answered as done.
    for (wanted, signers) in [
        (&secret, &OPERATORS[..]),
        (&own, &OPERATORS),
        (&epoch, &OPERATORS[1..]),
    ] {
        let payload = world.statement(wanted.clone());
        let statement = world.sign_statement(&payload, signers);
        if matches!(wanted, Destruction::OwnSecret { .. }) {
            let made = call(wanted, Some(&statement));
            assert_eq!(made.code(), "secret-unconfirmed");
            confirm_secrets(&world.client(OPERATOR)).unwrap();
        }
        call(wanted, Some(&statement)).ok();
        call(wanted, Some(&statement)).ok();
        // An id is taken once, whatever is signed under it.
        let next = Destruction::Secret { version: 3 };
        let again = DestructionPayload {
            destruction: next.clone(),
            ..payload
        };
        assert_eq!(
            call(&next, Some(&world.sign_statement(&again, &OPERATORS))).code(),
            "request-replayed",
            "{wanted}"
        );
    }
    let late = world.sign(&world.order("health", &card), super::common::QUORUM);
    assert_eq!(
        world.reidentify(&late, "health", &card).ok()["items"][0]["code"],
        "epoch-retired"
    );
    let answer = world.reidentify(&order, "health", &card).ok();
    assert_eq!(
        answer["items"][0]["value"], PEOPLE[0].2,
        "an order that was used before goes on with its copies"
    );
}
