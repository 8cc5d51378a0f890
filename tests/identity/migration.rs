//! A migration whose UTIs come from the source: the whole flow, and one that the organisations'
//! days do not have room for.

use cloison::keys::Key;
use cloison::order::{Continuity, LegalBasis, PseudonymScope};
use cloison::seal::pairs::MigrationKey;
use data_encoding::HEXLOWER;
use serde_json::Value;

use super::*;
use crate::common::backups::words;
use crate::common::{QUORUM, swap};

fn migrate(world: &World) -> std::process::Output {
    let key = "secrets/people/officer.pem";
    let officer = ["--key", key, "--client", "clients/officer.toml", "--json"];
    world.cloison(&[&["migrate", "--order", "migration.jws"], &officer[..]].concat())
}

#[test]
fn a_sector_is_migrated_as_far_as_the_day_has_room_and_later_to_its_end() {
    let mut world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    let public = HEXLOWER.encode(MigrationKey::derive(&Key::random()).public());
    world.edit_register(|text| {
        let text = swap(&text, "max-hours = ", "continuity-quorum = 2\nmax-hours = ");
        let may = "operations = [\"tokenize\"]\npurposes = [\"billing\"]";
        let more = format!(
            "operations = [\"tokenize\", \"migrate\"]\npurposes = [\"billing\"]\nmigration-key = \"{public}\""
        );
        with_quotas(&swap(&text, may, &more), 1_000, 100)
    });
    place.split(&world);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let cards: Vec<String> = (0..40).map(|number| format!("AB{number:06}")).collect();
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    let old = world.health_pseudonyms(&cards);
    world.advance("health", false);
    let mut order = world.order("health", &["unused".to_owned()]);
    order.basis = LegalBasis::Continuity(Continuity { from: 1, to: 2 });
    order.scope = PseudonymScope::AtMost(1_000);
    world.write("migration.jws", &world.sign(&order, QUORUM));

    // Forty of the day's hundred are used, and a migration gets half of a day at most.
    let refused = migrate(&world);
    assert!(!refused.status.success());
    assert!(
        words(&refused).contains("quota-exceeded"),
        "{}",
        words(&refused)
    );
    assert!(!words(&refused).contains("AB0000"));
    world.stop();
    assert!(source.stop().success());
    world.edit_register(|text| with_quotas(&text, 1_000, 1_000));
    let source = place.start(&world, &[]).unwrap();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let done = migrate(&world);
    assert!(done.status.success(), "{}", words(&done));
    let summary: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(summary["migrated"], 40, "{summary}");
    let new = world.health_pseudonyms(&cards);
    assert!(old.iter().zip(&new).all(|(old, new)| old != new));
    world.stop();
    assert!(source.stop().success());
    assert_eq!(world.mappings(), 80, "each in both epochs, once");
    let by = |kind: &str| -> u64 {
        let logged = entries(&world);
        let groups = logged
            .iter()
            .filter_map(|entry| entry["derived"].as_array());
        let of_kind = groups.flatten().filter(|group| group["kind"] == kind);
        of_kind.map(|group| group["items"].as_u64().unwrap()).sum()
    };
    assert_eq!((by("tokenize"), by("migrate")), (80, 40));
}
