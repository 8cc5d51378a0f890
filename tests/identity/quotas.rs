//! What the source counts by itself: a thief of the vault gets no more than the clients would.

use super::*;
use crate::common::{HOUR, not_in_the_last};

/// The register with small quotas for the health fund.
pub(super) fn with_quota(second: u64, day: u64) -> (World, IdentityPlace) {
    let world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    world.edit_register(|text| {
        let at = text.find("id = \"cnss\"\n").unwrap();
        let from = at + text[at..].find("quota = ").unwrap();
        let to = from + text[from..].find('\n').unwrap();
        let quota = format!("quota = {{ items-per-second = {second}, items-per-day = {day} }}");
        format!("{}{quota}{}", &text[..from], &text[to..])
    });
    (world, place)
}

fn cards(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("AB{number:06}")).collect()
}

pub(super) fn ask(world: &World, place: &IdentityPlace, count: usize) -> Reply {
    let cards = cards(count);
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    place.ask(world, &body(&[part(health(world), "cnss-health", &cards)]))
}

#[test]
fn a_days_quota_outlives_kills_and_restarts() {
    let (world, place) = with_quota(1_000, 100);
    let source = place.first_start(&world);
    assert!(matches!(
        outcomes(&ask(&world, &place, 60), &[60])[..],
        [PartOutcome::Answers(_)]
    ));
    assert_eq!(refused(&ask(&world, &place, 41), 41), Code::QuotaExceeded);
    source.kill();
    let source = place.start(&world, &[]).unwrap();
    assert_eq!(refused(&ask(&world, &place, 41), 41), Code::QuotaExceeded);
    assert!(matches!(
        outcomes(&ask(&world, &place, 40), &[40])[..],
        [PartOutcome::Answers(_)]
    ));
    assert!(source.stop().success());
    let source = place.start(&world, &[]).unwrap();
    let reply = ask(&world, &place, 1);
    let PartOutcome::Refused(refusal) = &outcomes(&reply, &[1])[0] else {
        panic!("the day's quota is used up")
    };
    assert_eq!(refusal.code(), Code::QuotaExceeded);
    assert!(
        refusal.retry_after().unwrap() > 100,
        "until the day is over"
    );
    assert!(source.stop().success());
}

#[test]
fn every_kind_of_request_is_counted() {
    let (world, place) = with_quota(1_000, 100);
    let certificate = world.certify("rights-1", 2020, 2120);
    let key = ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key();
    let key = cloison::keys::file::public_key_text(&key);
    world.edit_register(|text| {
        text + &format!(
            "\n[[rights-officer]]\nid = \"rights-1\"\nname = \"An officer\"\nkey = \"{key}\"\n\
             certificate = \"{certificate}\"\nsectors = [\"health\"]\n"
        )
    });
    let source = place.first_start(&world);
    let (sector, officer) = (health(&world), "rights-1");
    let cards = cards(50);
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    // Fifty a day, whatever they are for.
    for kind in [UtiKind::Rights, UtiKind::Reseal, UtiKind::Link] {
        let reply = place.ask(
            &world,
            &body(&[part_of(kind, sector, officer, "cnie", &cards)]),
        );
        if kind == UtiKind::Rights {
            assert!(matches!(
                outcomes(&reply, &[50])[..],
                [PartOutcome::Answers(_)]
            ));
        } else {
            assert_eq!(refused(&reply, 50), Code::QuotaExceeded, "{kind:?}");
        }
    }
    // A probe tells nothing of a person, and is counted all the same: twenty a second, and ten
    // seconds' worth at once.
    let probe = body(&[EncodedPart::probe()]);
    let refused_at = (0..1_000).position(|_| {
        let reply = place.ask(&world, &probe);
        matches!(outcomes(&reply, &[1])[0], PartOutcome::Refused(_))
    });
    assert!(
        refused_at.is_some_and(|asked| asked >= 200),
        "{refused_at:?}"
    );
    assert!(source.stop().success());
}

#[test]
fn an_unusual_hour_is_an_entry_and_a_figure() {
    let (world, place) = with_quota(10_000, 100_000);
    let source = place.first_start(&world);
    not_in_the_last(60, HOUR);
    for _ in 0..3 {
        ask(&world, &place, 600);
    }
    crate::common::process::soon("the alarm is counted", || {
        place.metric("cloison_uti_alarms_total").as_deref() == Some("1")
    });
    // The hour outlives a kill: it does not raise the alarm again.
    source.kill();
    let source = place.start(&world, &[]).unwrap();
    ask(&world, &place, 600);
    assert!(source.stop().success());
    let logged = entries(&world);
    let alarms = logged.iter().filter(|entry| entry["event"] == "utis-alarm");
    let alarms: Vec<_> = alarms.collect();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(
        (
            &alarms[0]["holder"],
            &alarms[0]["items"],
            &alarms[0]["threshold"]
        ),
        (&json!("cnss"), &json!(1_200), &json!(1_000))
    );
}
