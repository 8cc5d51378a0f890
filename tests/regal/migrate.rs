//! Migration under an order for continuity: the whole flow, who may not, retiring; kills of both
//! sides at every step.

#[path = "migrate/kills.rs"]
mod kills;

use std::collections::BTreeMap;

use cloison::epoch::statement::Destruction;
use cloison::keys::Key;
use cloison::keys::file::{SecretKind, write_secret};
use cloison::order::act::ActKind;
use cloison::order::{Continuity, LegalBasis, OrderPayload, PseudonymScope, RequestPayload};
use cloison::seal::pairs::MigrationKey;
use cloison::statement::Statement as _;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use super::common::{Door, HOUR, QUORUM, Reply, Setup, Side, World, files, not_in_the_last, swap};
use super::people::{act, at_node, at_vault, codes, persons, soon, to_node};
use super::proxy::Wire;

/// A key pair of a sector system.
fn key() -> (Key, String) {
    let secret = Key::random();
    let public = HEXLOWER.encode(MigrationKey::derive(&secret).public());
    (secret, public)
}

/// The court may order migrations, and the health fund follows them with that key.
fn register(public: String) -> impl FnOnce(String) -> String + 'static {
    move |text| {
        let text = swap(
            &text,
            "force-majeure-quorum = 2",
            "force-majeure-quorum = 2\ncontinuity-quorum = 2",
        );
        let may =
            "operations = [\"tokenize\", \"migrate\", \"retire-epoch\"]\npurposes = [\"billing\"]";
        let may = format!("{may}\nmigration-key = \"{public}\"");
        swap(
            &text,
            "operations = [\"tokenize\"]\npurposes = [\"billing\"]",
            &may,
        )
    }
}

fn setup(edit: impl FnOnce(String) -> String + 'static, public: String) -> Setup {
    let register = move |text| edit(register(public)(text));
    Setup {
        register: Box::new(register),
        log: "info",
        ..Setup::default()
    }
}

/// A world in which health may be migrated; the key lies in `health.migration`.
fn world() -> World {
    world_with(|text| text)
}

fn world_with(edit: impl FnOnce(String) -> String + 'static) -> World {
    let (secret, public) = key();
    let world = World::with(setup(edit, public));
    write_secret(
        &world.path("health.migration"),
        SecretKind::Migration,
        &secret,
    )
    .unwrap();
    world
}

/// An order to migrate health from epoch 1 to 2.
fn order(world: &World, limit: u64) -> OrderPayload {
    let mut payload = world.order("health", &["unused".to_owned()]);
    payload.basis = LegalBasis::Continuity(Continuity { from: 1, to: 2 });
    payload.scope = PseudonymScope::AtMost(limit);
    payload
}

/// One page, asked for by the officer.
fn page(world: &World, order: &str) -> Reply {
    let request = world.request(order, "health", &[]);
    let body = json!({"order": order, "request": request, "sector": "health"});
    world.post_json("officer", Door::Officers, "/v1/migrations", &body)
}

/// The same past the node, as whoever has its certificate.
fn page_past_the_node(world: &World, order: &str, request: &str, sector: &str) -> Reply {
    let digest = HEXLOWER.encode(&world.register().digest);
    let asked = json!({"order": order, "request": request, "sector": sector});
    let body = json!({"register": digest, "acts": super::common::NO_ACTS, "asked": asked});
    world.post_json("node", Door::Control, "/v1/migrations/pages", &body)
}

/// Identifiers handed back past the node.
fn hand_back(
    world: &World,
    order: &OrderPayload,
    request: &str,
    page: u64,
    identifiers: &Value,
) -> Reply {
    let digest = HEXLOWER.encode(&world.register().digest);
    let body = json!({
        "register": digest, "order": order.id, "request": request, "page": page, "identifiers": identifiers,
    });
    world.post_json("node", Door::Control, "/v1/migrations/identifiers", &body)
}

/// What waits for the health fund, pairs in all.
fn waiting(world: &World) -> u64 {
    let list = world
        .get("cnss-health", Door::Data, "/v1/sectors/health/migrations")
        .ok();
    list["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["pairs"].as_u64().unwrap())
        .sum()
}

/// Runs `cloison migrate` for the order in `migration.jws`.
fn run(world: &World) -> (i32, String) {
    let output = world.cloison(&[
        "migrate",
        "--order",
        "migration.jws",
        "--key",
        "secrets/people/officer.pem",
        "--client",
        "clients/officer.toml",
        "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

/// Fetches all pairs on the command line.
fn fetch(world: &World, out: &str) -> BTreeMap<String, String> {
    let output = world.cloison(&[
        "client",
        "migration",
        "fetch",
        "--sector",
        "health",
        "--key",
        "health.migration",
        "--out",
        out,
        "--client",
        "clients/cnss-health.toml",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = world.read(out);
    let pairs: BTreeMap<String, String> = text
        .lines()
        .map(|line| line.split_once(',').unwrap_or_else(|| panic!("{line}")))
        .map(|(old, new)| (old.to_owned(), new.to_owned()))
        .collect();
    assert_eq!(pairs.len(), text.lines().count(), "each old pseudonym once");
    pairs
}

/// Each old pseudonym goes to what the same person gets in the new epoch.
fn check_pairs(world: &World, old: &[String], pairs: &BTreeMap<String, String>) {
    let new = persons(world, old.len());
    assert_eq!(pairs.len(), old.len());
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(pairs.get(old), Some(new));
    }
}

/// The whole flow on the command line, in three pages; and nobody but the sector learns anything.
#[test]
fn a_sector_follows_its_epoch_and_nobody_is_shown_an_identifier() {
    const PERSONS: usize = 20_500;
    let mut world = world();
    let old = persons(&world, PERSONS);
    world.advance("health", true);
    let payload = order(&world, 50_000);
    world.write("migration.jws", &world.sign(&payload, QUORUM));
    let (code, said) = run(&world);
    assert_eq!(code, 0, "{said}");
    let summary: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&summary["migrated"], &summary["skipped"]),
        (&json!(PERSONS), &json!(0)),
        "{summary}"
    );
    assert_eq!(
        (&summary["pages"], &summary["seen"]),
        (&json!(3), &json!(PERSONS))
    );
    assert!(
        !said.contains("AB0") && !said.contains("sante1"),
        "the officer is shown counts: {said}"
    );
    // Again: there is nothing left, and nothing changes.
    let (code, said) = run(&world);
    assert_eq!(code, 0, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["migrated"], 0);
    assert_eq!(
        at_vault(&world, &payload).unwrap()["life"]["used"],
        json!(PERSONS)
    );
    assert_eq!(
        at_node(&world, &payload).unwrap()["life"]["basis"],
        "continuity"
    );

    // No other key opens, and then nothing is taken away; neither does another client see any.
    let list = format!("/v1/sectors/health/migrations/{}", payload.id);
    let pages = world.get("cnss-health", Door::Data, &list).ok();
    let sealed = BASE64URL_NOPAD
        .decode(pages["pages"][0]["sealed"].as_str().unwrap().as_bytes())
        .unwrap();
    assert!(MigrationKey::derive(&Key::random()).open(&sealed).is_err());
    assert!(!contains(&sealed, b"sante1"));
    write_secret(
        &world.path("other.migration"),
        SecretKind::Migration,
        &Key::random(),
    )
    .unwrap();
    let output = world.cloison(&[
        "client",
        "migration",
        "fetch",
        "--sector",
        "health",
        "--key",
        "other.migration",
        "--client",
        "clients/cnss-health.toml",
    ]);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty());
    assert_eq!(world.get("dgi-tax", Door::Data, &list).code(), "forbidden");
    assert_eq!(waiting(&world), PERSONS as u64);

    let pairs = fetch(&world, "pairs.csv");
    check_pairs(&world, &old, &pairs);
    assert_eq!(waiting(&world), 0, "what the sector has is taken away");
    assert_eq!(
        world.get("cnss-health", Door::Data, &list).code(),
        "unknown-order"
    );

    // The new mappings are there, once each, and open to the court like any other.
    let some: Vec<String> = old[..5].iter().map(|old| pairs[old].clone()).collect();
    let judicial = world.sign(&world.order("health", &some), QUORUM);
    let answer = world.reidentify(&judicial, "health", &some).ok();
    assert_eq!(answer["items"][4]["value"], "AB000004");
    world.stop();
    assert_eq!(world.mappings(), 2 * PERSONS);

    let (vault, node) = (world.entries(Side::Vault), world.entries(Side::Node));
    let of = |entries: &[Value], event: &str| -> Vec<Value> {
        entries
            .iter()
            .filter(|entry| entry["event"] == event)
            .cloned()
            .collect()
    };
    let sum = |entries: &[Value], what: &str| {
        entries
            .iter()
            .map(|entry| entry[what].as_u64().unwrap())
            .sum::<u64>()
    };
    let (released, revealed, taken) = (
        of(&vault, "migration-release"),
        of(&node, "migration-reveal"),
        of(&vault, "migrate"),
    );
    assert_eq!(
        (released.len(), revealed.len(), taken.len()),
        (4, 3, 3),
        "the fourth found nothing left"
    );
    assert_eq!(
        (sum(&released, "items"), sum(&taken, "migrated")),
        (PERSONS as u64, PERSONS as u64)
    );
    for entry in &revealed {
        let named = &vault[entry["vault_entry"]["index"].as_u64().unwrap() as usize];
        assert_eq!(
            (&named["event"], &named["request"]),
            (&json!("migration-release"), &entry["request"])
        );
        assert!(
            entry["items"].as_u64().unwrap() <= 10_000 && entry.get("tags").is_none(),
            "counts only"
        );
    }
    let moved = of(&vault, "migration-pairs");
    assert_eq!(sum(&moved[moved.len() - 1..], "pairs"), PERSONS as u64);
    assert_eq!(moved.last().unwrap()["action"], "acknowledge");
    // No identifier and no pseudonym lies in clear, anywhere.
    let folders = ["data/node", "data/vault", "logs"].map(|folder| files(&world.path(folder)));
    for file in folders.into_iter().flatten() {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !contains(&bytes, b"AB0000") && !contains(&bytes, b"sante1"),
            "{}",
            file.display()
        );
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Small chunks are merged at all times; whoever goes through an epoch meets each mapping once all
/// the same.
#[test]
fn merges_do_not_make_anybody_come_twice() {
    let world = world();
    let mut old = vec![];
    for batch in 0..140 {
        let cards: Vec<_> = (0..100)
            .map(|n| format!("AB{:06}", batch * 100 + n))
            .collect();
        let cards: Vec<_> = cards.iter().map(String::as_str).collect();
        old.extend(world.health_pseudonyms(&cards));
    }
    world.advance("health", false);
    let signed = world.sign(&order(&world, 20_000), QUORUM);
    world.write("migration.jws", &signed);
    // More wait to be merged than can be in so short a time: were they, those of the first page
    // would come again.
    let first = page(&world, &signed).ok();
    assert!(
        first["progress"]["migrated"].as_u64().unwrap() > 9_000,
        "{first}"
    );
    std::thread::sleep(std::time::Duration::from_secs(2));
    let (code, said) = run(&world);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        serde_json::from_str::<Value>(&said).unwrap()["seen"],
        14_000
    );
    check_pairs(&world, &old, &fetch(&world, "pairs.csv"));
    // Whoever comes to the old epoch while its overlap lasts, the same order still takes along.
    let body = json!({
        "scheme": "cnie", "purpose": "billing", "identifiers": ["ZZ1"], "domain": {"epoch": 1},
    });
    world
        .post_json(
            "cnss-health",
            Door::Data,
            "/v1/sectors/health/pseudonyms",
            &body,
        )
        .ok();
    let (code, said) = run(&world);
    assert_eq!(
        (
            code,
            &serde_json::from_str::<Value>(&said).unwrap()["migrated"]
        ),
        (0, &json!(1)),
        "{said}"
    );
}

/// Signatures, bodies, basis, sector, epoch, limit, revocation: at the node, and past it at the
/// vault.
#[test]
fn only_a_quorum_for_continuity_migrates_and_only_what_it_says() {
    let world = world();
    let old = persons(&world, 8);
    let good = order(&world, 5);
    let both = |order: &str, code: &str, what: &str| {
        assert_eq!(page(&world, order).code(), code, "{what}, at the node");
        let request = world.request(order, "health", &[]);
        assert_eq!(
            page_past_the_node(&world, order, &request, "health").code(),
            code,
            "{what}, at the vault"
        );
    };
    // The vault hands out to nobody before its log was watched.
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    world.reidentify(&judicial, "health", &old[..1]).ok();

    let signed = world.sign(&good, QUORUM);
    both(
        &signed,
        "domain-closed",
        "the epoch to go to is not there yet",
    );
    world.advance("health", false);
    both(
        &world.sign(&good, &["judge-1"]),
        "order-quorum",
        "one signature",
    );
    both(
        &world.sign(&good, &["judge-1", "judge-2"]),
        "order-quorum",
        "one body",
    );
    both(&judicial, "order-rule", "a judicial order migrates nobody");
    let statutory = OrderPayload {
        basis: LegalBasis::Statutory {
            article: "Law 47-06, art. 214".to_owned(),
        },
        scope: PseudonymScope::AtMost(5),
        ..order(&world, 5)
    };
    both(
        &world.sign(&statutory, QUORUM),
        "order-rule",
        "a statutory one neither",
    );
    // The other way round: neither what it migrates nor anything else is re-identified under it.
    assert_eq!(
        world.reidentify(&signed, "health", &old).code(),
        "order-rule"
    );
    let request = world.request(&signed, "health", &old);
    assert_eq!(
        world.release_with(&signed, &request, "health", &old).code(),
        "order-rule"
    );
    for (epochs, code) in [((1, 3), "domain-closed"), ((2, 3), "domain-closed")] {
        let basis = LegalBasis::Continuity(Continuity {
            from: epochs.0,
            to: epochs.1,
        });
        both(
            &world.sign(
                &OrderPayload {
                    basis,
                    ..order(&world, 5)
                },
                QUORUM,
            ),
            code,
            "epochs that are not so",
        );
    }
    // Another sector than the order's: the request says so, or does not fit.
    let body = |request: &str, sector: &str| json!({"order": signed, "request": request, "sector": sector});
    let request = world.request(&signed, "tax", &[]);
    let reply = world.post_json(
        "officer",
        Door::Officers,
        "/v1/migrations",
        &body(&request, "tax"),
    );
    assert_eq!(reply.code(), "out-of-scope");
    assert_eq!(
        page_past_the_node(&world, &signed, &request, "tax").code(),
        "out-of-scope"
    );
    let request = world.request(&signed, "health", &[]);
    let reply = world.post_json(
        "officer",
        Door::Officers,
        "/v1/migrations",
        &body(&request, "tax"),
    );
    assert_eq!(reply.code(), "out-of-scope");
    // A request over a list is none for a migration; nobody but an officer asks, and nobody but a
    // node takes part.
    let request = world.request(&signed, "health", &old);
    let reply = world.post_json(
        "officer",
        Door::Officers,
        "/v1/migrations",
        &body(&request, "health"),
    );
    assert_eq!(reply.code(), "request-invalid");
    let asked = json!({"register": "", "acts": "", "asked": body(&request, "health")});
    assert_eq!(
        world
            .post_json("operator", Door::Control, "/v1/migrations/pages", &asked)
            .code(),
        "forbidden"
    );
    assert_eq!(at_vault(&world, &good), None, "nothing was counted");

    // The limit cuts the page; what it allowed stays allowed, and no more.
    let migrated = page(&world, &signed).ok();
    assert_eq!(
        (
            &migrated["progress"]["migrated"],
            &migrated["progress"]["done"]
        ),
        (&json!(5), &json!(false))
    );
    both(&signed, "limit-reached", "beyond the limit");
    assert_eq!(waiting(&world), 5);
    assert_eq!(at_vault(&world, &good).unwrap()["state"], "exhausted");
    // A request is answered once.
    let wide = order(&world, 100);
    let signed = world.sign(&wide, QUORUM);
    let request = world.request(&signed, "health", &[]);
    let send = || {
        world.post_json(
            "officer",
            Door::Officers,
            "/v1/migrations",
            &json!({
                "order": signed, "request": request, "sector": "health",
            }),
        )
    };
    assert_eq!(
        send().ok()["progress"]["migrated"],
        8,
        "another order goes through all again"
    );
    assert_eq!(send().code(), "request-replayed");
    // Revoked, it stops, on both sides.
    to_node(&world, &act(&world, &wide, ActKind::Revoke, &["judge-2"])).ok();
    assert_eq!(page(&world, &signed).code(), "order-revoked");
    let request = world.request(&signed, "health", &[]);
    assert_eq!(
        page_past_the_node(&world, &signed, &request, "health").code(),
        "out-of-step"
    );
}

/// An authority for which the register has no quorum for continuity may not order a migration.
#[test]
fn without_a_quorum_in_the_register_no_migration() {
    let world = world_with(|text| swap(&text, "\ncontinuity-quorum = 2", ""));
    persons(&world, 1);
    world.advance("health", false);
    let reply = page(&world, &world.sign(&order(&world, 5), QUORUM));
    assert_eq!(reply.code(), "order-rule");
    assert!(
        reply.text().contains("continuity-quorum"),
        "{}",
        reply.text()
    );
}

/// An hour's migrations are bounded by a figure of their own, which leaves that of releases alone.
#[test]
fn an_hour_of_migrations_is_bounded_apart() {
    let mut world = world_with(|text| {
        swap(
            &text,
            "max-hours = 720",
            "max-hours = 720\nmigrations-per-hour = 10",
        )
    });
    let old = persons(&world, 8);
    world.advance("health", false);
    not_in_the_last(60, HOUR);
    let signed = || world.sign(&order(&world, 100), QUORUM);
    assert_eq!(page(&world, &signed()).ok()["progress"]["migrated"], 8);
    let refused = page(&world, &signed());
    assert_eq!(
        (refused.code(), refused.status),
        ("release-rate".into(), 429)
    );
    assert!(refused.header("retry-after").is_some());
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    assert!(
        codes(&world.reidentify(&judicial, "health", &old).ok())
            .iter()
            .all(Option::is_none)
    );
    world.stop();
    let entries = world.entries(Side::Vault);
    let alarms: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "release-alarm")
        .collect();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(
        (&alarms[0]["of"], &alarms[0]["items"]),
        (&json!("migrations"), &json!(8))
    );
}

/// A thief with the node's certificate and a page in hand cannot say who somebody is, nor try
/// twice.
#[test]
fn the_vault_believes_no_identifier() {
    let world = world();
    let old = persons(&world, 2);
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    world.reidentify(&judicial, "health", &old).ok();
    world.advance("health", false);
    let payload = order(&world, 10);
    let signed = world.sign(&payload, QUORUM);
    let request = world.request(&signed, "health", &[]);
    let got = page_past_the_node(&world, &signed, &request, "health").ok();
    assert_eq!(got["runs"][0]["records"].as_array().unwrap().len(), 2);
    let id = cloison::jws::parse(&request, RequestPayload::TYP).unwrap();
    let id: Value = serde_json::from_slice(id.payload()).unwrap();
    let id = id["request"].as_str().unwrap().to_owned();
    let card = |value: &str| json!({"scheme": "cnie", "value": value});
    let other = super::common::uuid4().to_string();
    let right = json!([card("AB000000"), card("AB000001")]);
    assert_eq!(
        hand_back(&world, &payload, &other, 1, &right).code(),
        "request-invalid"
    );
    assert_eq!(
        hand_back(&world, &payload, &id, 2, &right).code(),
        "request-invalid"
    );
    // One guess, and the page is closed: also to the right answer.
    assert_eq!(
        hand_back(
            &world,
            &payload,
            &id,
            1,
            &json!([card("AB000000"), card("AB000007")])
        )
        .code(),
        "mapping-invalid"
    );
    for identifiers in [
        json!([card("AB000000"), card("AB000001")]),
        json!([card("AB000001"), card("AB000000")]),
    ] {
        assert_eq!(
            hand_back(&world, &payload, &id, 1, &identifiers).code(),
            "request-invalid"
        );
    }
    assert_eq!(waiting(&world), 0);
    // The officer asks again, through the node, and all is well; nothing is counted twice.
    assert_eq!(page(&world, &signed).ok()["progress"]["migrated"], 2);
    assert_eq!(at_vault(&world, &payload).unwrap()["life"]["used"], 2);
}

/// Where a sector separates controllers, each gets the pairs of its own pseudonyms; and all of them
/// must have a key.
#[test]
fn pairs_go_to_the_controller_whose_they_are() {
    let ((dgi, dgi_public), (rsu, rsu_public)) = (key(), key());
    let also = |text: String| {
        swap(
            &text,
            "sectors = [\"social\"]",
            "sectors = [\"social\", \"tax\"]",
        )
    };
    let may = |text: &str, purpose: &str, public: &str| {
        let from = format!("operations = [\"tokenize\"]\npurposes = [\"{purpose}\"]");
        let to = format!(
            "operations = [\"tokenize\", \"migrate\"]\npurposes = [\"{purpose}\"]\nmigration-key = \"{public}\""
        );
        swap(text, &from, &to)
    };
    let mut world = world_with(move |text| may(&also(text), "assessment", &dgi_public));
    let cards = ["AB1", "AB2"];
    let own = world.tokenize("dgi-tax", "tax", "cnie", None, &cards);
    let other = world.tokenize("rsu-social", "tax", "cnie", None, &cards[..1]);
    world.advance("tax", false);
    let payload = OrderPayload {
        sectors: vec!["tax".to_owned()],
        ..order(&world, 10)
    };
    let signed = world.sign(&payload, QUORUM);
    let ask = |world: &World| {
        let request = world.request(&signed, "tax", &[]);
        let body = json!({"order": signed, "request": request, "sector": "tax"});
        world.post_json("officer", Door::Officers, "/v1/migrations", &body)
    };
    let refused = ask(&world);
    assert_eq!(refused.code(), "no-migration-key");
    assert!(
        refused.text().contains("controller rsu"),
        "{}",
        refused.text()
    );
    world.stop();
    world.edit_register(|text| may(&text, "aid", &rsu_public));
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    assert_eq!(ask(&world).ok()["progress"]["migrated"], 3);
    for (client, secret, old) in [("dgi-tax", dgi, own), ("rsu-social", rsu, other)] {
        let path = format!("/v1/sectors/tax/migrations/{}", payload.id);
        let pages = world.get(client, Door::Data, &path).ok();
        let sealed = BASE64URL_NOPAD
            .decode(pages["pages"][0]["sealed"].as_str().unwrap().as_bytes())
            .unwrap();
        let (head, lines) = MigrationKey::derive(&secret).open(&sealed).unwrap();
        assert_eq!(
            (head.from, head.to, head.page, head.pairs as usize),
            (1, 2, 1, old.len())
        );
        let new = world.tokenize(client, "tax", "cnie", None, &cards[..old.len()]);
        let mut wanted: Vec<String> = old
            .iter()
            .zip(&new)
            .map(|(old, new)| format!("{old},{new}"))
            .collect();
        wanted.sort();
        let mut lines: Vec<_> = lines.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, wanted);
    }
}

/// Only the sector retires, only a closed epoch, and then nothing in it is migrated, or released
/// but to orders with copies.
#[test]
fn an_epoch_is_retired_when_its_sector_says_so() {
    let mut world =
        world_with(|text| swap(&text, "epoch-overlap-days = 30", "epoch-overlap-days = 0"));
    let old = persons(&world, 700);
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    world.reidentify(&judicial, "health", &old).ok();
    let retire = |world: &World, client: &str, epoch: &str, dry_run: bool| {
        let path = format!("/v1/sectors/health/epochs/{epoch}/retire");
        world.post_json(
            client,
            Door::Data,
            &path,
            &json!({"dry_run": dry_run, "unmigrated": true}),
        )
    };
    assert_eq!(
        retire(&world, "cnss-health", "1", false).code(),
        "epoch-open"
    );
    world.advance("health", false);
    assert_eq!(
        retire(&world, "cnss-health", "2", true).code(),
        "epoch-open"
    );
    assert_eq!(
        retire(&world, "cnss-health", "7", true).code(),
        "domain-closed"
    );
    assert_eq!(
        retire(&world, "cnss-health", "x", true).code(),
        "domain-closed"
    );
    for stranger in ["dgi-tax", "operator", "node"] {
        assert_eq!(retire(&world, stranger, "1", false).code(), "forbidden");
    }
    let new = persons(&world, 300);
    let args = [
        "client",
        "retire-epoch",
        "--sector",
        "health",
        "--epoch",
        "1",
        "--client",
        "clients/cnss-health.toml",
    ];
    let output = world.cloison(&[&args[..], &["--dry-run"]].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("700 mappings would go"), "{said}");
    assert!(
        codes(&world.reidentify(&judicial, "health", &old[..3]).ok())
            .iter()
            .all(Option::is_none),
        "nothing was done"
    );

    let statement = world.statement(Destruction::Epoch {
        sector: "health".to_owned(),
        epoch: 1,
    });
    world.write(
        "statement.jws",
        &world.sign_statement(&statement, &["operator-2"]),
    );
    let output = world.cloison(
        &[
            &args[..],
            &["--unmigrated", "--statement", "statement.jws", "--yes"],
        ]
        .concat(),
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("700 mappings are gone"), "{said}");
    let migration = world.sign(&order(&world, 1_000), QUORUM);
    let gone = |world: &World| {
        let answer = world.reidentify(&judicial, "health", &old[..3]).ok();
        assert!(
            codes(&answer).iter().all(Option::is_none),
            "the order goes on with its own copies: {answer}"
        );
        let late = world.sign(&world.order("health", &old[..3]), QUORUM);
        let answer = world.reidentify(&late, "health", &old[..3]).ok();
        assert!(
            codes(&answer)
                .iter()
                .all(|code| code.as_deref() == Some("epoch-retired")),
            "{answer}"
        );
        assert_eq!(page(world, &migration).code(), "epoch-retired");
        let again = retire(world, "cnss-health", "1", false).ok();
        assert_eq!(
            (&again["retired"], &again["mappings"]),
            (&json!(true), &json!(0)),
            "answered as done"
        );
        let of_now = world.sign(&world.order("health", &new), QUORUM);
        assert!(
            codes(&world.reidentify(&of_now, "health", &new).ok())
                .iter()
                .all(Option::is_none)
        );
        let epochs = world
            .get("operator", Door::Control, "/v1/sectors/health/epochs")
            .ok();
        assert_eq!(
            (&epochs["epochs"][0]["state"], &epochs["epochs"][1]["state"]),
            (&json!("retired"), &json!("current"))
        );
    };
    gone(&world);
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    gone(&world);
    world.stop();
    assert_eq!(world.mappings(), 300);
    let entries = world.entries(Side::Vault);
    let retired: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "epoch-retire")
        .collect();
    assert_eq!(retired.len(), 1, "a dry run is no effect");
    assert_eq!(
        (&retired[0]["client"], &retired[0]["mappings"]),
        (&json!("cnss-health"), &json!(700))
    );
    assert_eq!(retired[0]["unmigrated"], 700);
    assert_eq!(
        (&retired[0]["statement"], &retired[0]["signers"]),
        (&json!(statement.id), &json!(["operator-2"]))
    );
}

/// Mappings of which no migration made a pair are given up only where the sector says so.
#[test]
fn an_epoch_whose_mappings_were_never_migrated_is_retired_only_when_they_are_given_up() {
    let world = world_with(|text| swap(&text, "epoch-overlap-days = 30", "epoch-overlap-days = 0"));
    let old = persons(&world, 3);
    world
        .reidentify(
            &world.sign(&world.order("health", &old), QUORUM),
            "health",
            &old,
        )
        .ok();
    world.advance("health", false);
    let retire = |how: Value| {
        let statement = world.statement(Destruction::Epoch {
            sector: "health".to_owned(),
            epoch: 1,
        });
        let mut body = json!({"statement": world.sign_statement(&statement, &["operator"])});
        body.as_object_mut()
            .unwrap()
            .extend(how.as_object().unwrap().clone());
        world.post_json(
            "cnss-health",
            Door::Data,
            "/v1/sectors/health/epochs/1/retire",
            &body,
        )
    };
    let left = || retire(json!({"dry_run": true})).ok()["unmigrated"].clone();
    assert_eq!(left(), 3);
    assert_eq!(retire(json!({})).code(), "epoch-unmigrated");
    // A migration that an order's limit stopped has left one.
    let signed = world.sign(&order(&world, 2), QUORUM);
    assert_eq!(page(&world, &signed).ok()["progress"]["migrated"], 2);
    assert_eq!(left(), 1);
    assert_eq!(retire(json!({})).code(), "epoch-unmigrated");
    let signed = world.sign(&order(&world, 10), QUORUM);
    assert_eq!(page(&world, &signed).ok()["progress"]["migrated"], 3);
    assert_eq!(left(), 0);
    let retired = retire(json!({})).ok();
    assert_eq!(
        (&retired["retired"], &retired["mappings"]),
        (&json!(true), &json!(3))
    );
}
