//! Pseudonyms that an officer asks for and should not have, item by item and order by order.

use std::collections::BTreeMap;

use cloison::order::{LegalBasis, OrderPayload, PseudonymScope};
use cloison::pseudonym::{Pseudonym, TextWriter};
use cloison::register::TextForm;
use serde_json::{Value, json};

use crate::common::{QUORUM, Side, World, uuid4};
use crate::watch::{Left, Watch};

const OFFICER: (Side, &str, &str) = (Side::Node, "officer", "reidentify");

/// A statutory order for at most so many pseudonyms of these sectors.
pub fn at_most(world: &World, limit: u64, sectors: &[&str]) -> OrderPayload {
    OrderPayload {
        basis: LegalBasis::Statutory {
            article: "Law 09-08, article 4".to_owned(),
        },
        scope: PseudonymScope::AtMost(limit),
        sectors: sectors.iter().map(|sector| (*sector).to_owned()).collect(),
        ..world.order(sectors[0], &[])
    }
}

fn random() -> Pseudonym {
    Pseudonym::from_bytes(cloison::clock::random())
}

/// The same text with one character of its data changed for another of the alphabet.
fn mistyped(text: &str) -> String {
    let last = text.len() - 9;
    let other = if &text[last..=last] == "q" { "p" } else { "q" };
    format!("{}{other}{}", &text[..last], &text[last + 1..])
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["code"].as_str().unwrap_or("-"))
        .collect()
}

#[test]
fn each_item_has_its_code() {
    let mut watch = Watch::new(World::new());
    watch.secrets(["QP770001", "QP770002", "QP770003"]);
    let health = watch.health_pseudonyms(&["QP770001", "QP770002"]);
    let tax = watch.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["QP770001"]);
    let social = watch.tokenize("rsu-social", "social", "cnie", Some("aid"), &["QP770003"]);
    let unknown_epoch = TextWriter::new(TextForm::Bech32m, "sante", 7).text(&random());
    let nobody = TextWriter::new(TextForm::Bech32m, "sante", 1).text(&random());
    // The same 16 bytes in the other sector's dress.
    let parsed = cloison::pseudonym::parse(TextForm::Bech32m, "sante", &health[0]).unwrap();
    let dressed = TextWriter::new(TextForm::Bech32m, "impot", 1).text(&parsed.pseudonym);
    let redated = TextWriter::new(TextForm::Bech32m, "sante", 2).text(&parsed.pseudonym);
    let upper = health[0].to_ascii_uppercase();
    let asked: Vec<(String, &str)> = vec![
        (health[0].clone(), "-"),
        (mistyped(&health[1]), "pseudonym-checksum"),
        (tax[0].clone(), "pseudonym-other-sector"),
        (dressed, "pseudonym-other-sector"),
        (unknown_epoch, "pseudonym-unknown-epoch"),
        (redated, "pseudonym-unknown-epoch"),
        (social[0].clone(), "pseudonym-malformed"),
        (upper, "pseudonym-malformed"),
        (format!("{} ", health[1]), "pseudonym-malformed"),
        (String::new(), "pseudonym-malformed"),
        ("QP770001".to_owned(), "pseudonym-malformed"),
        ("x".repeat(60_000), "pseudonym-malformed"),
        (nobody, "no-mapping"),
        (health[1].clone(), "-"),
    ];
    watch.secrets(
        asked
            .iter()
            .map(|(text, _)| text.trim())
            .filter(|text| text.len() > 6 && text.len() < 100),
    );
    let list: Vec<String> = asked.iter().map(|(text, _)| text.clone()).collect();
    let order = at_most(&watch, 50, &["health"]);
    let used = order.id;
    let order = watch.sign(&order, QUORUM);
    let answer = watch.reidentify(&order, "health", &list).ok();
    assert_eq!(
        codes(&answer),
        asked.iter().map(|(_, code)| *code).collect::<Vec<_>>()
    );
    assert_eq!(
        (&answer["items"][0]["value"], &answer["items"][13]["value"]),
        (&json!("QP770001"), &json!("QP770002"))
    );
    // Four are pseudonyms of the sector in form, found or not, and count (one comes in two
    // dresses); what is none does not.
    let counted = 4;

    // A sector of UUIDs, which cannot tell by itself whose they are.
    let uuids = [
        social[0].clone(),
        social[0].to_ascii_uppercase(),
        social[0].replace('-', ""),
        uuid4().to_string(),
    ];
    let order = at_most(&watch, 50, &["social"]);
    let used_social = order.id;
    let order = watch.sign(&order, QUORUM);
    let answer = watch.reidentify(&order, "social", &uuids).ok();
    assert_eq!(
        codes(&answer),
        [
            "-",
            "pseudonym-malformed",
            "pseudonym-malformed",
            "pseudonym-malformed"
        ]
    );
    watch.secrets(&uuids);

    // The command line tells the same.
    std::fs::write(watch.path("orders/some.jws"), &order).unwrap();
    let output = watch.cloison(&[
        "reidentify",
        "--order",
        "orders/some.jws",
        "--key",
        "secrets/people/officer.pem",
        "--client",
        "clients/officer.toml",
        &uuids[0],
        &uuids[2],
    ]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said,
        format!("{}\tcnie\tQP770003\n#2\t!pseudonym-malformed\n", uuids[0])
    );

    let quota = [("cnss", 2), ("dgi", 1), ("rsu", 1)];
    watch.finish(Left {
        mappings: 4,
        quota: &quota,
        orders: &[(used, counted), (used_social, 1)],
        unused: &[],
    });
}

#[test]
fn what_is_not_listed_is_out_of_scope() {
    let mut watch = Watch::new(World::new());
    let cards = ["QP660001", "QP660002", "QP660003"];
    watch.secrets(cards);
    let health = watch.health_pseudonyms(&cards);
    let tax = watch.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &cards);
    watch.secrets(&health);
    watch.secrets(&tax);

    let used = watch.order("health", &health[..2]);
    let order = watch.sign(&used, QUORUM);
    let answer = watch.reidentify(&order, "health", &health).ok();
    assert_eq!(codes(&answer), ["-", "-", "out-of-scope"]);
    assert!(answer["items"][2].get("value").is_none());
    // A sector that the order does not name.
    for (sector, list) in [
        ("tax", &tax),
        ("health.chu-rabat", &health),
        ("nowhere", &health),
    ] {
        let reply = watch.reidentify(&order, sector, list);
        watch.refused(OFFICER, &reply, 403, "out-of-scope");
    }

    // An order that lists what is no pseudonym of the sector is refused whole.
    let mut unused = Vec::new();
    for (listed, code) in [
        (mistyped(&health[2]), "pseudonym-checksum"),
        (tax[0].clone(), "pseudonym-other-sector"),
        ("QP660003".to_owned(), "pseudonym-malformed"),
    ] {
        watch.secret(&listed);
        let payload = watch.order("health", &[health[0].clone(), listed.clone()]);
        unused.push(payload.id);
        let order = watch.sign(&payload, QUORUM);
        for list in [&[health[0].clone()][..], &[listed]] {
            let reply = watch.reidentify(&order, "health", list);
            watch.refused(OFFICER, &reply, 422, code);
        }
    }
    // One of an epoch that is not there is a pseudonym in form, and nobody's.
    let future = TextWriter::new(TextForm::Bech32m, "sante", 9).text(&random());
    watch.secret(&future);
    let epochs = watch.order("health", std::slice::from_ref(&future));
    let order = watch.sign(&epochs, QUORUM);
    assert_eq!(
        codes(&watch.reidentify(&order, "health", &[future]).ok()),
        ["pseudonym-unknown-epoch"]
    );

    // A sector without mappings has no way back.
    let study = watch.tokenize(
        "chu-study",
        "health.chu-rabat.study-42",
        "cnie",
        Some("research"),
        &cards,
    );
    watch.secrets(&study);
    let payload = watch.order("health.chu-rabat.study-42", &study);
    unused.push(payload.id);
    let order = watch.sign(&payload, QUORUM);
    let reply = watch.reidentify(&order, "health.chu-rabat.study-42", &study);
    watch.refused(OFFICER, &reply, 409, "irreversible");

    let orders = [(used.id, 2), (epochs.id, 1)];
    let quota = [("cnss", 3), ("dgi", 3), ("chu-rabat", 3)];
    watch.finish(Left {
        mappings: 6,
        quota: &quota,
        orders: &orders,
        unused: &unused,
    });
}

#[test]
fn a_limit_counts_what_was_asked_for() {
    let mut watch = Watch::new(World::new());
    let cards: Vec<String> = (0..20).map(|n| format!("QP5500{n:02}")).collect();
    watch.secrets(&cards);
    let all: Vec<&str> = cards.iter().map(String::as_str).collect();
    let health = watch.health_pseudonyms(&all);
    let tax = watch.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &all);
    watch.secrets(&health);
    watch.secrets(&tax);
    let nobody = TextWriter::new(TextForm::Bech32m, "sante", 1).text(&random());
    watch.secret(&nobody);

    let payload = at_most(&watch, 5, &["health", "tax"]);
    let order = watch.sign(&payload, QUORUM);
    let ask = |watch: &Watch, sector: &str, list: &[String]| {
        let answer = watch.reidentify(&order, sector, list).ok();
        codes(&answer)
            .iter()
            .map(|code| (*code).to_owned())
            .collect::<Vec<_>>()
    };
    // Twice in one request counts once; a question without an answer counts as well.
    let twice = [health[0].clone(), health[0].clone(), nobody.clone()];
    assert_eq!(ask(&watch, "health", &twice), ["-", "-", "no-mapping"]);
    // Asking again is answered again and not counted again.
    assert_eq!(ask(&watch, "health", &health[..1]), ["-"]);
    // All sectors of the order together.
    assert_eq!(ask(&watch, "tax", &tax[..2]), ["-", "-"]);
    assert_eq!(
        ask(&watch, "health", &health[..4]),
        ["-", "-", "limit-reached", "limit-reached"]
    );
    // What was counted before stays open when the limit is reached, also after a restart.
    watch.restart();
    assert_eq!(ask(&watch, "tax", &tax[..3]), ["-", "-", "limit-reached"]);
    assert_eq!(ask(&watch, "health", &[nobody]), ["no-mapping"]);

    // Many at once do not get more than the limit together.
    let race = at_most(&watch, 7, &["health"]);
    let raced = watch.sign(&race, QUORUM);
    let opened: usize = std::thread::scope(|scope| {
        let world: &World = &watch;
        let raced = &raced;
        let asking: Vec<_> = health
            .chunks(2)
            .map(|pair| {
                scope.spawn(move || {
                    let answer = world.reidentify(raced, "health", pair).ok();
                    codes(&answer).iter().filter(|code| **code == "-").count()
                })
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).sum()
    });
    assert_eq!(opened, 7);
    let orders = [(payload.id, 5), (race.id, 7)];
    let quota = [("cnss", 20), ("dgi", 20)];
    watch.finish(Left {
        mappings: 40,
        quota: &quota,
        orders: &orders,
        unused: &[],
    });
}

#[test]
fn an_order_may_name_several_sectors() {
    let world = World::new();
    let health = world.tokenize("cnss-health", "health", "cnie", None, &["QP440001"]);
    let tax = world.tokenize("dgi-tax", "tax", "cnie", None, &["QP440001"]);
    let mut payload = world.order("health", &health);
    payload.sectors.push("tax".to_owned());
    payload.scope = PseudonymScope::Listed(BTreeMap::from([
        ("health".to_owned(), health.clone()),
        ("tax".to_owned(), tax.clone()),
    ]));
    let order = world.sign(&payload, QUORUM);
    for (sector, list) in [("health", &health), ("tax", &tax)] {
        let answer = world.reidentify(&order, sector, list).ok();
        assert_eq!(answer["items"][0]["value"], "QP440001");
        assert_eq!(answer["items"][0]["pseudonym"], list[0]);
    }
}
