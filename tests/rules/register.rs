//! The register: what a good one says, and what is said about every bad one.

mod fields;
mod frozen;
mod keys;
mod persons;
mod references;
mod sectors;

use cloison::identifier::CheckDigit;
use cloison::register::{self, Fault, Id, Operation, PeriodLength, TextForm};

const GOOD: &str = include_str!("../data/register.toml");

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

/// The example with one place changed; the place must be there exactly once.
fn with(from: &str, to: &str) -> String {
    assert_eq!(
        GOOD.matches(from).count(),
        1,
        "{from:?} stands once in the example"
    );
    GOOD.replacen(from, to, 1)
}

/// The example with its `nth` place (from 0) changed.
fn with_nth(from: &str, nth: usize, to: &str) -> String {
    let (place, _) = GOOD
        .match_indices(from)
        .nth(nth)
        .unwrap_or_else(|| panic!("{from:?} is there"));
    format!("{}{to}{}", &GOOD[..place], &GOOD[place + from.len()..])
}

/// The line of the first of `needle` after the first of `after`.
fn line(text: &str, after: &str, needle: &str) -> usize {
    let from = text
        .find(after)
        .unwrap_or_else(|| panic!("{after:?} is there"));
    let at = from
        + text[from..]
            .find(needle)
            .unwrap_or_else(|| panic!("{needle:?} is there"));
    text[..at].matches('\n').count() + 1
}

fn faults(text: &str) -> Vec<Fault> {
    register::parse(text)
        .map(drop)
        .expect_err("the register has a fault")
}

/// One fault and no other: on that line, saying this, proposing that.
#[track_caller]
fn one(text: &str, line: usize, what: &str, instead: &str) {
    let faults = faults(text);
    let all: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    assert_eq!(faults.len(), 1, "{all}");
    assert!(faults[0].what.contains(what), "{what:?} in {all}");
    assert!(faults[0].instead.contains(instead), "{instead:?} in {all}");
    assert_eq!(faults[0].line, line, "{all}");
}

/// The same where the fault is on the line that was changed.
#[track_caller]
fn changed(from: &str, to: &str, what: &str, instead: &str) {
    let text = with(from, to);
    one(&text, line(&text, to, to), what, instead);
}

#[test]
fn the_example_says_what_it_says() {
    let register = register::parse(GOOD).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(
        (
            register.deployment.as_str(),
            register.version,
            register.evidence_days
        ),
        ("demo", 1, 365)
    );
    assert_eq!(register.digest, register::sign::digest_of(GOOD.as_bytes()));

    let study = register.sector("health.chu-rabat.study-42").unwrap();
    let above = register.sector("health.chu-rabat").unwrap();
    let top = register.sector("health").unwrap();
    assert_eq!(study.path, [top.uuid, above.uuid, study.uuid]);
    assert_eq!(top.path, [top.uuid]);
    assert!(!study.reversible && study.authorities.is_empty() && study.retention_years == 0);
    assert!(
        study.granularity.purpose
            && !study.granularity.controller
            && study.granularity.period.is_none()
    );
    assert_eq!(study.declaration.transfers, ["FRA"]);
    assert_eq!(
        above.declaration.extended.unwrap().to_string(),
        "2026-05-20"
    );

    let finance = register.sector("finance").unwrap();
    assert!(finance.granularity.controller && finance.text_form == TextForm::Uuid);
    assert_eq!(finance.authorities, [id("court"), id("anrf")]);
    let mobility = register.sector("mobility").unwrap();
    assert_eq!(mobility.granularity.period, Some(PeriodLength::Month));
    assert_eq!(
        (mobility.text_form, mobility.period_grace_days),
        (TextForm::Hex, 5)
    );
    assert_eq!(
        (top.text_form, top.epoch_overlap_days, top.period_grace_days),
        (TextForm::Bech32m, 90, 0)
    );

    let cnie = register.schemes[&id("cnie")].rules();
    assert_eq!(
        (cnie.separators.as_str(), cnie.check),
        (" -.", CheckDigit::None)
    );
    let client = register
        .clients
        .values()
        .find(|client| client.id == id("cnss-health"))
        .unwrap();
    assert_eq!(
        (&client.organisation, client.sectors.as_slice()),
        (&id("cnss"), ["health".to_owned()].as_slice())
    );
    assert_eq!(
        client.operations,
        [
            Operation::Tokenize,
            Operation::Migrate,
            Operation::RetireEpoch
        ]
    );
    assert!(client.migration_key.is_some());
    assert_eq!(
        register.organisations[&id("cnss")].quota.items_per_second,
        20_000
    );
    let signs: Vec<_> = register
        .operators
        .values()
        .map(|it| (it.id.as_str(), it.key.is_some()))
        .collect();
    assert_eq!(signs.len(), 2);
    assert!(
        signs.contains(&("operator", true)) && signs.contains(&("operator-standby", false)),
        "{signs:?}"
    );

    let court = &register.authorities[&id("court")];
    assert_eq!(
        (
            court.quorum,
            court.force_majeure_quorum,
            court.statutory_limit
        ),
        (2, Some(2), None)
    );
    assert_eq!(
        (court.continuity_quorum, court.migrations_per_hour),
        (Some(3), 10_000_000)
    );
    assert_eq!((court.approvers.len(), court.officers.len()), (3, 2));
    let anrf = &register.authorities[&id("anrf")];
    assert_eq!((anrf.statutory_limit, anrf.max_hours), (Some(50), 168));
    assert_eq!(anrf.keys.last().unwrap().id, id("anrf-2026"));
}

#[test]
fn canonical_forms_of_the_example() {
    let register = register::parse(GOOD).unwrap();
    for (scheme, raw, canonical) in [
        ("cnie", "ab-123456", Some("AB123456")),
        ("cnie", "A1", Some("A1")),
        ("cnie", "BE0000007", Some("BE0000007")),
        ("cnie", "BE00000071", None),
        ("cnie", "ABC1234", None),
        ("idcs", "01234 56789", Some("0123456789")),
        ("idcs", "123456789", None),
        ("passport", "mar AB1234567", Some("MARAB1234567")),
        ("passport", "MA12", None),
        ("record", "aB/001234", Some("aB001234")),
        ("record", "AB001234", Some("AB001234")),
    ] {
        let mut out = Vec::new();
        let done = register.schemes[&id(scheme)].canonical(raw, &mut out);
        assert_eq!(
            done.ok()
                .map(|()| String::from_utf8(out).unwrap())
                .as_deref(),
            canonical,
            "{scheme} {raw}"
        );
    }
}
