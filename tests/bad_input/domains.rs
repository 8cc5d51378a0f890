//! Domains: granularity, epochs, text forms. Where a pseudonym is valid, and where it is refused.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::common::{Door, QUORUM, Reply, Side, World, batch_path, swap, texts};
use crate::watch::{Left, Watch};

const CARD: &str = "QD770001";

/// A batch of one card, with its domain named.
fn named(
    world: &World,
    client: &str,
    sector: &str,
    purpose: Option<&str>,
    domain: Value,
    query: &str,
) -> Reply {
    let mut body = json!({"scheme": "cnie", "identifiers": [CARD], "domain": domain});
    if let Some(purpose) = purpose {
        body["purpose"] = purpose.into();
    }
    world.post_json(client, Door::Data, &(batch_path(sector) + query), &body)
}

fn only(reply: &Reply) -> String {
    texts(&reply.ok()["pseudonyms"]).remove(0)
}

/// The text of a sector's section with one line replaced.
fn in_sector(text: &str, name: &str, from: &str, to: &str) -> String {
    let at = text.find(&format!("name = \"{name}\"\n")).unwrap();
    let (head, tail) = text.split_at(at);
    head.to_owned() + &tail.replacen(from, to, 1)
}

#[test]
fn controllers_and_purposes_are_kept_apart() {
    // The hospital may ask for tax as well, for two purposes; the study takes both as well.
    let world = World::on(|text| {
        let text = swap(
            &text,
            "sectors = [\"health.chu-rabat\", \"health.chu-rabat.study-42\"]",
            "sectors = [\"health.chu-rabat\", \"health.chu-rabat.study-42\", \"tax\"]",
        );
        let text = swap(
            &text,
            "purposes = [\"care\", \"research\"]",
            "purposes = [\"care\", \"research\", \"assessment\"]",
        );
        in_sector(
            &text,
            "health.chu-rabat.study-42",
            "purposes = [\"research\"]",
            "purposes = [\"research\", \"care\"]",
        )
    });
    let mut watch = Watch::new(world);
    watch.secret(CARD);
    let ask = |watch: &mut Watch, client: &str, sector: &str, purpose: Option<&str>| {
        let answer = watch.batch(client, sector, "cnie", purpose, &[CARD]).ok();
        let pseudonym = texts(&answer["pseudonyms"]).remove(0);
        (watch.secret(pseudonym), answer["domain"].clone())
    };
    // controller = true: each organisation its own, whatever the purpose.
    let (dgi, domain) = ask(&mut watch, "dgi-tax", "tax", Some("assessment"));
    assert_eq!(domain, json!({"controller": "dgi", "epoch": 1}));
    let (hospital, domain) = ask(&mut watch, "chu-study", "tax", Some("assessment"));
    assert_eq!(domain, json!({"controller": "chu-rabat", "epoch": 1}));
    assert_ne!(dgi, hospital);
    assert_eq!(ask(&mut watch, "dgi-tax", "tax", None).0, dgi);
    // purpose = true: each purpose its own.
    let study = "health.chu-rabat.study-42";
    let (research, domain) = ask(&mut watch, "chu-study", study, Some("research"));
    assert_eq!(domain, json!({"purpose": "research", "epoch": 1}));
    assert_eq!(
        (
            research.len(),
            research.bytes().all(|b| b.is_ascii_hexdigit())
        ),
        (32, true),
        "text form hex"
    );
    let (care, domain) = ask(&mut watch, "chu-study", study, Some("care"));
    assert_eq!(domain, json!({"purpose": "care", "epoch": 1}));
    assert_ne!(research, care);
    // Neither: one for all. The hospital's own sector is another sector than its parent.
    let (ward, domain) = ask(&mut watch, "chu-study", "health.chu-rabat", Some("care"));
    assert_eq!(domain, json!({"epoch": 1}));
    let (health, _) = ask(&mut watch, "cnss-health", "health", Some("billing"));
    assert_ne!(ward[5..], health[6..]);
    // Text form uuid: version 8, variant 10.
    let (social, domain) = ask(&mut watch, "rsu-social", "social", Some("aid"));
    assert_eq!(domain, json!({"purpose": "aid", "epoch": 1}));
    let uuid: uuid::Uuid = social.parse().unwrap();
    assert_eq!(
        (uuid.get_version_num(), uuid.get_variant(), uuid.to_string()),
        (8, uuid::Variant::RFC4122, social.clone())
    );

    // Each resolves, through its own domain; another controller's as well, for the sector is the
    // same.
    for (sector, list) in [
        ("tax", vec![dgi, hospital]),
        ("health.chu-rabat", vec![ward]),
        ("social", vec![social]),
    ] {
        let order = watch.sign(&watch.order(sector, &list), QUORUM);
        let answer = watch.reidentify(&order, sector, &list).ok();
        for item in answer["items"].as_array().unwrap() {
            assert_eq!(item["value"], CARD, "{sector}");
            let today = Timestamp::now().strftime("%F").to_string();
            let yesterday = (Timestamp::now() - jiff::SignedDuration::from_hours(24))
                .strftime("%F")
                .to_string();
            assert!(item["first_seen"] == today || item["first_seen"] == yesterday);
        }
    }
    let world = watch.finish(Left {
        mappings: 5,
        quota: &[("dgi", 2), ("chu-rabat", 4), ("cnss", 1), ("rsu", 1)],
        ..Left::default()
    });
    // The study stores nothing at all: no row under its number.
    let store = world.store(Side::Vault);
    let uuid = world.register().sector(study).unwrap().uuid;
    let number = store
        .sector_numbers()
        .unwrap()
        .into_iter()
        .find(|(sector, _)| *sector == uuid)
        .unwrap()
        .1;
    store
        .each_chunk::<cloison::store::StoreError>(|key, _| {
            assert_ne!(key.sector, number);
            Ok(())
        })
        .unwrap();
}

/// This month and the one before, this year and the one before.
fn periods() -> [String; 4] {
    let now = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let before = now.first_of_month().yesterday().unwrap();
    let month = |date: jiff::civil::Date| format!("{:04}-{:02}", date.year(), date.month());
    [
        month(now),
        month(before),
        format!("{:04}", now.year()),
        format!("{:04}", now.year() - 1),
    ]
}

#[test]
fn periods_open_and_close() {
    // Months in health, with four weeks of grace; years in tax, without any.
    let world = World::on(|text| {
        let text = in_sector(
            &text,
            "health",
            "granularity = {}",
            "granularity = { period = \"month\" }\nperiod-grace-days = 28",
        );
        in_sector(
            &text,
            "tax",
            "granularity = { controller = true }",
            "granularity = { controller = true, period = \"year\" }",
        )
    });
    let mut watch = Watch::new(world);
    watch.secret(CARD);
    let [month, last_month, year, last_year] = periods();
    let health = |watch: &Watch, domain: Value| {
        named(watch, "cnss-health", "health", Some("billing"), domain, "")
    };

    let answer = watch
        .batch("cnss-health", "health", "cnie", Some("billing"), &[CARD])
        .ok();
    assert_eq!(answer["domain"], json!({"period": month, "epoch": 1}));
    let present = texts(&answer["pseudonyms"]).remove(0);
    assert_eq!(only(&health(&watch, json!({"period": month}))), present);
    // The month before is open while its grace lasts, in JSON and as text with the period in the
    // query.
    let open = Timestamp::now().to_zoned(TimeZone::UTC).day() <= 28;
    let path = batch_path("health") + "?scheme=cnie&purpose=billing&period=" + &last_month;
    let replies = [
        health(&watch, json!({"period": last_month, "epoch": 1})),
        watch.post(
            "cnss-health",
            Door::Data,
            &path,
            "text/plain",
            CARD.as_bytes(),
        ),
    ];
    let mut all = vec![present.clone()];
    if open {
        all.push(only(&replies[0]));
        assert_eq!(replies[1].text(), format!("{}\n", all[1]));
        assert_ne!(all[0], all[1]);
    } else {
        for reply in &replies {
            watch.refused(
                (Side::Vault, "cnss-health", "tokenize"),
                reply,
                409,
                "domain-closed",
            );
        }
    }

    let tax = |watch: &Watch, domain: Value| named(watch, "dgi-tax", "tax", None, domain, "");
    let answer = tax(&watch, json!({"period": year})).ok();
    assert_eq!(
        answer["domain"],
        json!({"controller": "dgi", "period": year, "epoch": 1})
    );
    let yearly = texts(&answer["pseudonyms"]).remove(0);
    watch.secrets(&all);
    watch.secret(&yearly);

    for closed in [
        "1999-01", "2199-01", &year, "", "2026-13", "2026-1", " ", CARD,
    ] {
        let reply = health(&watch, json!({"period": closed}));
        watch.refused(
            (Side::Vault, "cnss-health", "tokenize"),
            &reply,
            409,
            "domain-closed",
        );
    }
    for closed in [&last_year, &month, "1999", ""] {
        let reply = tax(&watch, json!({"period": closed}));
        watch.refused(
            (Side::Vault, "dgi-tax", "tokenize"),
            &reply,
            409,
            "domain-closed",
        );
    }
    let order = watch.sign(&watch.order("health", &all), QUORUM);
    let answer = watch.reidentify(&order, "health", &all).ok();
    assert!(
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["value"] == CARD),
        "{answer}"
    );
    let items = if open { 4 } else { 2 };
    watch.finish(Left {
        mappings: all.len() + 1,
        quota: &[("cnss", items), ("dgi", 1)],
        ..Left::default()
    });
}

#[test]
fn epochs_overlap_and_close() {
    let mut watch = Watch::new(World::new());
    watch.secret(CARD);
    let (client, sector, purpose) = ("cnss-health", "health", Some("billing"));
    let ask = |watch: &Watch, domain: Value, query: &str| {
        named(watch, client, sector, purpose, domain, query)
    };
    let first = only(&ask(&watch, json!({}), ""));
    assert!(first.starts_with("sante1p"));
    // No epoch before the first.
    let answer = ask(&watch, json!({}), "?previous=true").ok();
    assert!(answer.get("previous").is_none(), "{answer}");

    assert_eq!(watch.advance("health", false), 2);
    let answer = ask(&watch, json!({}), "?previous=true").ok();
    assert_eq!(answer["domain"], json!({"epoch": 2}));
    assert_eq!(
        answer["previous"],
        json!({"domain": {"epoch": 1}, "pseudonyms": [first]})
    );
    let second = texts(&answer["pseudonyms"]).remove(0);
    assert!(
        second.starts_with("sante1z") && second[7..] != first[7..],
        "{second}"
    );
    assert_eq!(
        only(&ask(&watch, json!({"epoch": 1}), "")),
        first,
        "the previous epoch can be named"
    );
    assert_eq!(only(&ask(&watch, json!({"epoch": 2}), "")), second);
    // Naming the previous one and asking for it as well gives it once.
    assert!(
        ask(&watch, json!({"epoch": 1}), "?previous=true")
            .ok()
            .get("previous")
            .is_none()
    );
    // Bad items have no previous pseudonym, either; in text, two columns.
    let body = json!({"scheme": "cnie", "identifiers": ["nonsense", CARD], "purpose": "billing"});
    let answer = watch
        .post_json(
            client,
            Door::Data,
            &(batch_path(sector) + "?previous=true"),
            &body,
        )
        .ok();
    assert_eq!(answer["previous"]["pseudonyms"], json!([null, first]));
    let path = batch_path(sector) + "?scheme=cnie&purpose=billing&previous=true";
    let text = watch.post(
        client,
        Door::Data,
        &path,
        "text/plain",
        format!("nonsense\n{CARD}\n").as_bytes(),
    );
    assert_eq!(
        text.text(),
        format!("!identifier-pattern\n{second}\t{first}\n")
    );
    let output = watch.cloison_with(
        &[
            "client",
            "tokenize",
            "--client",
            "clients/cnss-health.toml",
            "--sector",
            "health",
            "--scheme",
            "cnie",
            "--previous",
        ],
        format!("{CARD}\n").as_bytes(),
    );
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{second}\t{first}\n")
    );

    // An epoch later, the first is closed to clients and open to orders.
    assert_eq!(watch.advance("health", false), 3);
    let third = only(&ask(&watch, json!({}), ""));
    watch.secrets([&first, &second, &third]);
    let reply = ask(&watch, json!({"epoch": 1}), "");
    watch.refused(
        (Side::Vault, client, "tokenize"),
        &reply,
        409,
        "domain-closed",
    );
    let answer = ask(&watch, json!({}), "?previous=true").ok();
    assert_eq!(
        answer["previous"],
        json!({"domain": {"epoch": 2}, "pseudonyms": [second]})
    );
    watch.restart();
    assert_eq!(
        only(&ask(&watch, json!({}), "")),
        third,
        "epochs survive a restart"
    );
    let all = [first, second, third];
    let order = watch.sign(&watch.order("health", &all), QUORUM);
    let answer = watch.reidentify(&order, "health", &all).ok();
    assert!(
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["value"] == CARD),
        "{answer}"
    );

    // The command line tells the states. Other sectors have not moved.
    let output = watch.cloison(&[
        "epoch",
        "list",
        "--client",
        "clients/operator.toml",
        "--sector",
        "health",
        "--json",
    ]);
    let listed: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let states: Vec<&str> = listed["epochs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["closed", "overlap", "current"]);
    let answer = watch.batch("dgi-tax", "tax", "cnie", None, &[CARD]).ok();
    assert_eq!(answer["domain"]["epoch"], 1);
    watch.secrets(texts(&answer["pseudonyms"]));

    // Who may not, and what is no advance.
    for (body, status, code) in [
        ("", 400, "malformed-body"),
        ("[]", 400, "malformed-body"),
        ("[true]", 400, "malformed-body"),
        ("{}", 400, "malformed-body"),
        (r#"{"from":"3"}"#, 400, "malformed-body"),
        (r#"{"from":3,"own_secret":"yes"}"#, 400, "malformed-body"),
        (
            r#"{"from":3,"own_secret":true,"own_secret":true}"#,
            400,
            "malformed-body",
        ),
        (r#"{"from":3,"ownsecret":true}"#, 400, "malformed-body"),
        (r#"{"from":1}"#, 409, "epoch-not-current"),
        (r#"{"from":4}"#, 409, "epoch-not-current"),
        (r#"{"from":2,"own_secret":true}"#, 409, "epoch-not-current"),
        (r#"{"from":3}"#, 409, "epoch-overlaps"),
        (r#"{"from":3,"end_overlap":1}"#, 409, "epoch-overlaps"),
    ] {
        let reply = watch.post(
            "operator",
            Door::Control,
            "/v1/sectors/health/epochs",
            "application/json",
            body.as_bytes(),
        );
        watch.refused(
            (Side::Vault, "operator", "epoch-advance"),
            &reply,
            status,
            code,
        );
    }
    for sector in ["nowhere", CARD, "%FF"] {
        let path = format!("/v1/sectors/{sector}/epochs");
        let reply = watch.post_json("operator", Door::Control, &path, &json!({"from": 1}));
        watch.refused(
            (Side::Vault, "operator", "epoch-advance"),
            &reply,
            404,
            "unknown-sector",
        );
        let reply = watch.get("operator", Door::Control, &path);
        watch.refused(
            (Side::Vault, "operator", "epoch-list"),
            &reply,
            404,
            "unknown-sector",
        );
    }
    let advance = [
        "epoch", "advance", "--sector", "health", "--from", "3", "--yes",
    ];
    let output = watch.cloison(&[&advance[..], &["--client", "clients/cnss-health.toml"]].concat());
    assert_eq!(output.status.code(), Some(1));

    // first: 1, previous: 1; after the advance: 1, 1, 1, 1, 2, 2, 1; third: 1, 1, 1.
    let world = watch.finish(Left {
        mappings: 4,
        quota: &[("cnss", 14), ("dgi", 1)],
        ..Left::default()
    });
    let uuid = world.register().sector("health").unwrap().uuid;
    assert_eq!(
        world.store(Side::Vault).epochs(uuid).unwrap().len(),
        3,
        "what was refused advanced nothing"
    );
    let entries = world.entries(Side::Vault);
    let epochs: Vec<_> = entries
        .iter()
        .filter(|e| e["event"] == "epoch-advance")
        .map(|e| e["epoch"].clone())
        .collect();
    assert_eq!(epochs, [2, 3]);
}

#[test]
fn without_an_overlap_the_previous_epoch_is_closed_at_once() {
    let world = World::on(|text| {
        in_sector(
            &text,
            "health",
            "epoch-overlap-days = 30",
            "epoch-overlap-days = 0",
        )
    });
    let mut watch = Watch::new(world);
    watch.secret(CARD);
    let ask = |watch: &Watch, domain: Value, query: &str| {
        named(watch, "cnss-health", "health", None, domain, query)
    };
    let first = only(&ask(&watch, json!({}), ""));
    watch.advance("health", false);
    let answer = ask(&watch, json!({}), "?previous=true").ok();
    assert!(answer.get("previous").is_none(), "{answer}");
    watch.secrets(texts(&answer["pseudonyms"]));
    watch.secret(first);
    let reply = ask(&watch, json!({"epoch": 1}), "");
    watch.refused(
        (Side::Vault, "cnss-health", "tokenize"),
        &reply,
        409,
        "domain-closed",
    );
    watch.finish(Left {
        mappings: 2,
        quota: &[("cnss", 2)],
        ..Left::default()
    });
}

#[test]
fn an_epoch_of_its_own_can_be_destroyed() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut watch = Watch::new(World::new());
    watch.secret(CARD);
    let (client, sector, purpose) = ("cnss-health", "health", Some("billing"));
    let ask = |watch: &Watch, domain: Value, query: &str| {
        named(watch, client, sector, purpose, domain, query)
    };
    let first = only(&ask(&watch, json!({}), ""));
    assert_eq!(watch.advance_on_own_secret("health"), 2);
    let second = only(&ask(&watch, json!({}), ""));
    let secret = watch.path("secrets/vault/sector/2.secret");
    assert_eq!(
        secret.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Another sector's own secret is another version; the next shared epoch goes back to the first
    // one.
    assert_eq!(watch.advance_on_own_secret("tax"), 2);
    assert_eq!(watch.advance("health", false), 3);
    let third = only(&ask(&watch, json!({}), ""));
    watch.secrets([&first, &second, &third]);
    let listed = watch
        .get("operator", Door::Control, "/v1/sectors/health/epochs")
        .ok();
    let versions: Vec<_> = listed["epochs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (&e["secret_version"], &e["own_secret"]))
        .collect();
    assert_eq!(
        versions,
        [
            (&json!(1), &json!(false)),
            (&json!(2), &json!(true)),
            (&json!(1), &json!(false))
        ]
    );
    assert!(watch.path("secrets/vault/sector/3.secret").exists());

    // A current epoch whose secret is gone cannot be served, and nothing else is put in its place.
    watch.end(Side::Vault);
    let kept = std::fs::read(watch.path("secrets/vault/sector/3.secret")).unwrap();
    std::fs::remove_file(watch.path("secrets/vault/sector/3.secret")).unwrap();
    let failed = watch
        .try_start(Side::Vault, &[])
        .expect_err("it must not start");
    assert!(
        failed.said.contains("sector secret version 3") && failed.said.contains("tax"),
        "{failed}"
    );
    cloison::keys::file::write_private(&watch.path("secrets/vault/sector/3.secret"), &kept)
        .unwrap();

    // The second epoch is destroyed: nobody computes its pseudonyms any more; everything else goes
    // on.
    std::fs::remove_file(&secret).unwrap();
    watch.start(Side::Vault, &[]);
    assert_eq!(only(&ask(&watch, json!({}), "")), third);
    let answer = ask(&watch, json!({}), "?previous=true").ok();
    assert!(answer.get("previous").is_none(), "{answer}");
    let reply = ask(&watch, json!({"epoch": 2}), "");
    watch.refused(
        (Side::Vault, client, "tokenize"),
        &reply,
        409,
        "domain-closed",
    );
    // Its mappings are the authority's, under the authority's key: an order still opens them.
    let all = [first, second, third];
    let order = watch.sign(&watch.order("health", &all), QUORUM);
    let answer = watch.reidentify(&order, "health", &all).ok();
    assert!(
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["value"] == CARD),
        "{answer}"
    );
    // A new secret never takes the number of one that was destroyed.
    assert_eq!(watch.advance_on_own_secret("health"), 4);
    assert!(watch.path("secrets/vault/sector/4.secret").exists() && !secret.exists());
    watch.finish(Left {
        mappings: 3,
        quota: &[("cnss", 5)],
        ..Left::default()
    });
}
