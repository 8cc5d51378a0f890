//! How much an authority may ask for in an hour, and the alarm before that.

use super::common::{HOUR, QUORUM, Setup, Side, World, not_in_the_last, plain_get, swap};
use super::people::{persons, soon};

fn metric(world: &World, name: &str) -> Option<String> {
    let text = plain_get(world.health(Side::Vault), "/metrics").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(str::to_owned)
}

#[test]
fn an_hour_is_bounded_and_half_of_it_is_an_alarm() {
    let register = |text: String| {
        swap(
            &text,
            "max-hours = 720",
            "max-hours = 720\nreleases-per-hour = 20",
        )
    };
    let mut world = World::with(Setup {
        register: Box::new(register),
        log: "info",
        ..Setup::default()
    });
    let asked = persons(&world, 15);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    not_in_the_last(60, HOUR);
    world.reidentify(&order, "health", &asked[..9]).ok();
    assert_eq!(
        metric(&world, "cloison_release_alarms_total").as_deref(),
        Some("0")
    );
    world.reidentify(&order, "health", &asked[..1]).ok();
    soon("an alarm", || {
        metric(&world, "cloison_release_alarms_total").as_deref() == Some("1")
    });
    world.reidentify(&order, "health", &asked[..9]).ok();
    // Nineteen; a restart forgets nothing.
    world.restart();
    let refused = world.reidentify(&order, "health", &asked[..2]);
    assert_eq!(
        (refused.code(), refused.status),
        ("release-rate".into(), 429)
    );
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "{seconds}");
    world.reidentify(&order, "health", &asked[..1]).ok();
    assert_eq!(
        world.reidentify(&order, "health", &asked[..1]).code(),
        "release-rate"
    );
    world.stop();
    let entries = world.entries(Side::Vault);
    let alarms: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "release-alarm")
        .collect();
    assert_eq!(alarms.len(), 1, "one an hour: {alarms:?}");
    let asked_for = entries
        .iter()
        .filter(|entry| entry["event"] == "release")
        .map(|entry| entry["items"].as_u64());
    assert_eq!(asked_for.collect::<Option<Vec<_>>>().unwrap(), [9, 1, 9, 1]);
    assert_eq!(
        (alarms[0]["items"].as_u64(), alarms[0]["limit"].as_u64()),
        (Some(10), Some(20))
    );
    assert_eq!(
        world.refusals(Side::Vault, "court", "release", "release-rate"),
        2
    );
}
