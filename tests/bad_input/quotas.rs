//! Quotas: identifier spaces are small, and who may ask without end can enumerate a sector.

use std::time::{Duration, Instant};

use crate::common::{Side, World, swap};
use crate::watch::{Left, Watch};

/// The items a second and a day of an organisation replaced.
fn quota(text: &str, organisation: &str, second: u64, day: u64) -> String {
    let at = text
        .find(&format!("[[organisation]]\nid = \"{organisation}\""))
        .unwrap();
    let from = at + text[at..].find("quota = ").unwrap();
    let end = from + text[from..].find('\n').unwrap();
    let quota = format!("quota = {{ items-per-second = {second}, items-per-day = {day} }}");
    text[..from].to_owned() + &quota + &text[end..]
}

fn cards(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("QQ77{n:04}")).collect()
}

#[test]
fn seconds_and_days_have_an_end() {
    // A bucket of ten seconds' worth: 20 items. The tax client belongs to the same organisation.
    let world = World::on(|text| {
        let text = quota(&text, "cnss", 2, 1_000);
        let text = quota(&text, "rsu", 1_000, 30);
        let at = text.find("[[client]]\nid = \"dgi-tax\"").unwrap();
        text[..at].to_owned()
            + &swap(
                &text[at..],
                "organisation = \"dgi\"",
                "organisation = \"cnss\"",
            )
    });
    let mut watch = Watch::new(world);
    let cards = cards(0..100);
    watch.secrets(&cards);
    let all: Vec<&str> = cards.iter().map(String::as_str).collect();
    let ask = |watch: &Watch, count: usize| {
        watch.batch(
            "cnss-health",
            "health",
            "cnie",
            Some("billing"),
            &all[..count],
        )
    };
    let wait = |reply: &crate::common::Reply| -> u64 {
        reply.header("retry-after").unwrap().parse().unwrap()
    };
    let health = (Side::Vault, "cnss-health", "tokenize");

    let begun = Instant::now();
    assert_eq!(ask(&watch, 18).status, 200);
    let reply = ask(&watch, 12);
    watch.refused(health, &reply, 429, "quota-exceeded");
    assert!((1..=6).contains(&wait(&reply)), "{}", wait(&reply));
    // All certificates of an organisation share its quota.
    let reply = watch.batch("dgi-tax", "tax", "cnie", Some("assessment"), &all[..12]);
    watch.refused(
        (Side::Vault, "dgi-tax", "tokenize"),
        &reply,
        429,
        "quota-exceeded",
    );
    // Whoever comes back when told is served. Bad items count as well: guessing is what is to be
    // slow.
    std::thread::sleep(Duration::from_secs(wait(&reply)));
    let nonsense = vec!["nonsense"; 12];
    assert_eq!(
        watch
            .batch("cnss-health", "health", "cnie", Some("billing"), &nonsense)
            .ok()["rejected"],
        12
    );
    let refilled = 18 + 12 - 20;
    assert!(
        begun.elapsed() >= Duration::from_millis(refilled * 1_000 / 2 - 500),
        "it filled too fast"
    );

    // A day.
    let social = (Side::Vault, "rsu-social", "tokenize");
    let ask = |watch: &Watch, count: usize| {
        watch.batch("rsu-social", "social", "cnie", Some("aid"), &all[..count])
    };
    assert_eq!(ask(&watch, 28).status, 200);
    let reply = ask(&watch, 3);
    watch.refused(social, &reply, 429, "quota-exceeded");
    assert!((1..=86_400).contains(&wait(&reply)));
    assert_eq!(ask(&watch, 2).status, 200);
    // It is remembered, also when nobody had the time to say goodbye.
    watch.kill(Side::Vault);
    watch.start(Side::Vault, &[]);
    let reply = ask(&watch, 1);
    watch.refused(social, &reply, 429, "quota-exceeded");
    watch.finish(Left {
        mappings: 18 + 28,
        quota: &[("cnss", 30), ("rsu", 30)],
        ..Left::default()
    });
}

#[test]
fn refusals_are_counted_and_not_each_written() {
    let mut watch = Watch::new(World::new());
    for _ in 0..150 {
        let reply = watch.batch("cnss-health", "nowhere", "cnie", None, &["QQ880001"]);
        watch.refused(
            (Side::Vault, "cnss-health", "tokenize"),
            &reply,
            404,
            "unknown-sector",
        );
    }
    let world = watch.finish(Left::default());
    let entries = world
        .entries(Side::Vault)
        .iter()
        .filter(|entry| entry["event"] == "refuse")
        .count();
    assert!(
        (1..75).contains(&entries),
        "{entries} entries for 150 refusals"
    );
}
