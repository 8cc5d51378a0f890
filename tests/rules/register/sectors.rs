//! Sectors, and the processings that are declared in them.

use cloison::register::{self, TextForm};

use super::{GOOD, changed, faults, line, one, with, with_nth};

#[test]
fn sectors() {
    let text = with_nth("authorities = [\"court\"]\n", 0, "");
    one(
        &text,
        line(&text, "name = \"health\"", "name") - 2,
        "reversible and names no authority",
        "reversible = false",
    );
    let text = with("purposes = [\"mobility\"]\nauthorities", "authorities");
    assert!(faults(&text).iter().any(|fault| {
        fault
            .what
            .contains("granularity `purpose` and declares no purpose")
    }));
    for bad in [
        "s",
        "Sante",
        "sant1",
        "abcdefghijklm",
        "san-te",
        "",
        "santé",
    ] {
        changed(
            "tag = \"sante\"",
            &format!("tag = \"{bad}\""),
            "is not a tag",
            "2 to 12 letters",
        );
    }
    let uuid = GOOD
        .lines()
        .find_map(|line| line.strip_prefix("uuid = "))
        .unwrap();
    for (bad, what) in [
        ("\"00000000-0000-0000-0000-000000000000\"", "reserved"),
        ("\"ffffffff-ffff-ffff-ffff-ffffffffffff\"", "reserved"),
        (&uuid.to_uppercase(), "is not a UUID"),
        (&uuid.replace('-', ""), "is not a UUID"),
        ("\"health\"", "is not a UUID"),
    ] {
        changed(uuid, bad, what, "uuidgen");
    }
    changed(
        "period-grace-days = 5",
        "period-grace-days = 29",
        "`period-grace-days` is 29",
        "at most 28",
    );
    let text = with("period-grace-days = 5", "period-grace-days = 366")
        .replace("period = \"month\"", "period = \"year\"");
    one(
        &text,
        line(&text, "period-grace", "period-grace"),
        "`period-grace-days` is 366",
        "at most 365",
    );
    changed(
        "text-form = \"uuid\"",
        "period-grace-days = 1\ntext-form = \"uuid\"",
        "no `period`",
        "month",
    );
    changed(
        "period = \"month\"",
        "period = \"week\"",
        "not one of: \"year\" \"month\"",
        "month",
    );
    changed(
        "text-form = \"hex\"",
        "text-form = \"base64\"",
        "not one of: \"bech32m\"",
        "hex",
    );
    let forms = |list: &str| format!("former-text-forms = {list}\ntext-form = \"hex\"");
    changed(
        "text-form = \"hex\"",
        &forms("[\"hex\"]"),
        "present text form among the former",
        "former-text-forms",
    );
    changed(
        "text-form = \"hex\"",
        &forms("[\"uuid\", \"uuid\"]"),
        "the same text form twice",
        "another text form",
    );
    let known = register::parse(&with(
        "text-form = \"hex\"",
        &forms("[\"uuid\", \"bech32m\"]"),
    ))
    .unwrap();
    assert!(
        known
            .sectors
            .values()
            .any(|sector| sector.former_text_forms == [TextForm::Uuid, TextForm::Bech32m])
    );
    changed(
        "retention-years = 1\n",
        "retention-years = 0\n",
        "`retention-years` is 0",
        "at least 1",
    );
    changed(
        "retention-years = 1\n",
        "retention-years = 101\n",
        "`retention-years` is 101",
        "at most 100",
    );
}

#[test]
fn declarations() {
    changed(
        "extended = 2026-05-20",
        "extended = 2026-01-19",
        "`extended` is before `received`",
        "from 2026-01-20 on",
    );
    changed(
        "decided = 2026-04-14",
        "decided = 2025-04-14",
        "`decided` is before `received`",
        "from 2026-01-20 on",
    );
    changed(
        "decided = 2026-04-14",
        "decided = \"2026-02-30\"",
        "not a day",
        "2026-01-31",
    );
    changed(
        "decided = 2026-04-14",
        "decided = 2026-04-14T10:00:00Z",
        "is a date or time, not a day",
        "2026-01-31",
    );
    changed(
        "transfers = [\"FRA\"]",
        "transfers = [\"fr\"]",
        "not a State",
        "FRA",
    );
    changed(
        "decision = \"tacit\"",
        "decision = \"silent\"",
        "not one of: \"explicit\" \"tacit\"",
        "tacit",
    );
    let text = with("decided = 2026-04-14", "decided = \"2026-04-14\"");
    assert!(register::parse(&text).is_ok(), "a day may stand in quotes");
    let at = GOOD
        .find("[sector.declaration]\ncontroller = \"Direction")
        .unwrap();
    let end = at + GOOD[at..].find("[[").unwrap();
    let text = format!("{}{}", &GOOD[..at], &GOOD[end..]);
    one(
        &text,
        line(&text, "name = \"tax\"", "name") - 2,
        "no declaration (decree 2-09-165, art. 27)",
        "[sector.declaration]",
    );
    changed(
        "persons = \"Taxpayers\"",
        "persons = \" \"",
        "`persons` is empty",
        "persons = ",
    );
    changed(
        "persons = \"Taxpayers\"",
        "persons = \"Tax\\u001bpayers\"",
        "control character",
        "persons = ",
    );
}
