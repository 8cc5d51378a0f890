//! A whole migration on the command line, and one while chunks are merged.

use cloison::keys::Key;
use cloison::keys::file::{SecretKind, write_secret};
use cloison::seal::pairs::MigrationKey;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::{check_pairs, fetch, order, page, run, waiting, world};
use crate::common::{Door, QUORUM, Side, files};
use crate::people::{at_node, at_vault, persons};

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
