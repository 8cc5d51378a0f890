//! Authorities, persons, and the last day of an entry that has a certificate.

use cloison::register;

use super::{GOOD, changed, faults, line, one, with, with_nth};

#[test]
fn authorities_and_persons() {
    let statutory = "quorum = 2\nstatutory-limit = 50";
    for (to, what, instead) in [
        (
            "quorum = 1\nstatutory-limit = 50",
            "`quorum` is 1, and nobody may approve alone",
            "quorum = 2",
        ),
        (
            "quorum = 0\nstatutory-limit = 50",
            "`quorum` is 0",
            "quorum = 2",
        ),
        (
            "quorum = 4\nstatutory-limit = 50",
            "`quorum` is 4, and there are 3 approvers",
            "quorum = 3",
        ),
    ] {
        changed(statutory, to, what, instead);
    }
    changed(
        "force-majeure-quorum = 2",
        "force-majeure-quorum = 1",
        "`force-majeure-quorum` is 1",
        "= 2",
    );
    changed(
        "force-majeure-quorum = 2",
        "force-majeure-quorum = 9",
        "`force-majeure-quorum` is 9",
        "= 3",
    );
    changed(
        "continuity-quorum = 3",
        "continuity-quorum = 1",
        "`continuity-quorum` is 1",
        "= 2",
    );
    changed(
        "continuity-quorum = 3",
        "continuity-quorum = 4",
        "`continuity-quorum` is 4",
        "= 3",
    );
    changed(
        "max-hours = 168",
        "migrations-per-hour = 0\nmax-hours = 168",
        "`migrations-per-hour` is 0",
        "at least 1",
    );
    changed(
        "statutory-limit = 50",
        "statutory-limit = 0",
        "`statutory-limit` is 0",
        "at least 1",
    );
    changed(
        "max-hours = 168",
        "max-hours = 0",
        "`max-hours` is 0",
        "at least 1",
    );
    changed(
        "max-hours = 168",
        "releases-per-hour = 0\nmax-hours = 168",
        "`releases-per-hour` is 0",
        "at least 1",
    );
    let officer = "id = \"officer-daoudi\"";
    let sealing = |key: &str| format!("sealing-key = \"{key}\"\n{officer}");
    changed(
        officer,
        &sealing("age1qqqq"),
        "is not an X25519 recipient of age",
        "age-keygen",
    );
    let key = age::x25519::Identity::generate().to_public().to_string();
    changed(
        officer,
        &sealing(&key.to_uppercase()),
        "is not an X25519 recipient of age",
        "age-keygen",
    );
    assert!(register::parse(&with(officer, &sealing(&key))).is_ok());
    changed(
        "max-hours = 168",
        "max-hours = 8785",
        "`max-hours` is 8785",
        "at most 8784",
    );
    let text = with("body = \"cndp\"", "body = \"anrf\"");
    let at = line(&text, "id = \"anrf\"", "id") - 1;
    one(
        &text,
        at,
        "all approvers of authority `anrf` are of one body",
        "two bodies",
    );
    let at = GOOD
        .find("[[authority.officer]]\nid = \"officer-idrissi\"")
        .unwrap();
    one(
        &GOOD[..at],
        line(GOOD, "id = \"anrf\"", "id") - 1,
        "authority `anrf` has no officer",
        "[[authority.officer]]",
    );
    let text = GOOD.replace(
        "[[authority.key]]\nid = \"anrf",
        "[[authority.clef]]\nid = \"anrf",
    );
    assert!(
        faults(&text)
            .iter()
            .any(|fault| fault.what.contains("authority `anrf` has no key"))
    );
    let text = with_nth("suite = 1", 1, "suite = 2");
    one(
        &text,
        line(&text, "suite = 2", "suite"),
        "2 (x-wing), and its `public` is of the other",
        "suite = 1",
    );
    let text = with_nth("suite = 1", 1, "suite = 3");
    one(
        &text,
        line(&text, "suite = 3", "suite"),
        "`suite` of an authority's key is 3",
        "2 (X-Wing)",
    );
}

/// Every entry that has a certificate may have a last day; it is in force to the end of that day.
#[test]
fn an_entry_that_has_a_certificate_may_have_a_last_day() {
    let certificates = GOOD.matches("\ncertificate = ").count() + GOOD.matches("\nnode = ").count();
    let mut text = String::new();
    for line in GOOD.lines() {
        text += &format!("{line}\n");
        if line.starts_with("certificate = ") {
            text += "until = 2027-01-31\n";
        } else if line.starts_with("node = ") {
            text += "node-until = \"2027-01-31\"\n";
        }
    }
    let register = register::parse(&text).unwrap();
    assert_eq!(register.key_terms.len(), certificates);
    let day = "2027-01-31".parse().unwrap();
    for (key, until) in &register.key_terms {
        assert_eq!(*until, day);
        let at = |time: &str| register.ended(*key, time.parse().unwrap());
        assert_eq!(at("2027-01-31T23:59:59.999Z"), None);
        assert_eq!(at("2027-02-01T00:00:00Z"), Some(day));
    }
    let without = register::parse(GOOD).unwrap();
    assert!(without.key_terms.is_empty());
    let client = *without.clients.keys().next().unwrap();
    assert_eq!(
        without.ended(client, "9999-12-30T00:00:00Z".parse().unwrap()),
        None
    );
}

#[test]
fn a_last_day_is_a_day_and_stands_where_a_certificate_stands() {
    let line_of = |text: &str| line(text, "until = ", "until = ");
    for (day, why) in [
        ("\"2027-02-30\"", "is not a day of the calendar"),
        (
            "2027-01-31T12:00:00Z",
            "is a date or time, not a day without a time",
        ),
        ("\"for ever\"", "is not a day of the calendar"),
        ("3", "is a number, not a day"),
    ] {
        let text = with_nth(
            "\ncertificate = ",
            0,
            &format!("\nuntil = {day}\ncertificate = "),
        );
        one(&text, line_of(&text), why, "until = a day as 2026-01-31");
    }
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let witness =
        format!("{GOOD}\n[[witness]]\nid = \"cndp\"\nkey = \"{key}\"\nuntil = 2027-01-31\n");
    one(
        &witness,
        line_of(&witness),
        "unknown field `until`",
        "nothing, or one of: id, key",
    );
}
