//! The register: what a good one says, and what is said about every bad one.

mod frozen;

use cloison::identifier::CheckDigit;
use cloison::keys::{AuthoritySecret, Key};
use cloison::register::{self, Fault, Id, Operation, PeriodLength, Suite, TextForm};
use cloison::seal::segment::AuthorityPrivateKey;
use proptest::prelude::*;

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

#[test]
fn every_fault_is_reported_and_not_the_first() {
    let text = with("tag = \"sante\"", "tag = \"Santé\"")
        .replace("max-hours = 168", "max-hours = 0")
        .replace(
            "id = \"cnie\"\npattern",
            "colour = \"red\"\nid = \"cnie\"\npattern",
        );
    let faults = faults(&text);
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults.is_sorted(), "in the order of the file");
    let shown = faults[0].in_file("conf/register.toml".as_ref()).to_string();
    let place = format!("conf/register.toml:{}: ", line(&text, "colour", "colour"));
    assert!(
        shown.starts_with(&place) && shown.contains("\n    write instead: "),
        "{shown}"
    );
}

#[test]
fn syntax() {
    changed("version = 1\n", "version = \n", "not TOML", "TOML");
    changed("tag = \"sante\"", "tag = \"sante", "not TOML", "TOML");
    let text = with("tag = \"sante\"", "tag = \"sante\"\ntag = \"health\"");
    one(
        &text,
        line(&text, "tag = \"health\"", "tag"),
        "duplicate key",
        "TOML",
    );
    for text in ["", "\u{feff}", "[[sector", "\0", "a = 1\nb"] {
        assert!(!faults(text).is_empty(), "{text:?}");
    }
}

#[test]
fn unknown_and_missing_fields_and_wrong_types() {
    changed(
        "version = 1",
        "versio = 2\nversion = 1",
        "`versio`",
        "version",
    );
    for (from, to, what, instead) in [
        (
            "text-form = \"uuid\"",
            "text_form = \"uuid\"",
            "finance`: unknown field `text_form`",
            "text-form = …",
        ),
        (
            "[[operator]]\nid = \"operator\"",
            "[[operator]]\nrole = \"all\"\nid = \"operator\"",
            "unknown field",
            "one of: certificate, id",
        ),
    ] {
        let text = with(from, to);
        let unknown = to
            .lines()
            .find(|line| line.starts_with("text_form") || line.starts_with("role"))
            .unwrap();
        one(&text, line(&text, unknown, unknown), what, instead);
    }
    let text = format!("{GOOD}\n[[inspector]]\nid = \"inspector\"\n");
    one(
        &text,
        line(&text, "[[inspector]]", "inspector"),
        "unknown field `inspector`",
        "authority",
    );
    let text = with(
        "granularity = { controller = true }",
        "granularity = { controller = true, year = true }",
    );
    one(
        &text,
        line(&text, "year = true", "year"),
        "unknown field `year`",
        "controller, period, purpose",
    );

    let text = with("deployment = \"demo\"\n", "");
    one(&text, 1, "has no `deployment`", "deployment = ");
    let text = with("tag = \"sante\"\n", "");
    one(
        &text,
        line(&text, "name = \"health\"", "name") - 2,
        "sector `health` has no `tag`",
        "letters a to z",
    );
    let text = with("retention-years = 1\n", "");
    one(
        &text,
        line(&text, "name = \"mobility\"", "name") - 2,
        "has no `retention-years`",
        "a whole number",
    );
    let text = with(
        "quota = { items-per-second = 2000, items-per-day = 1000000 }\n",
        "",
    );
    one(
        &text,
        line(&text, "id = \"chu-rabat\"", "id") - 1,
        "organisation `chu-rabat` has no `quota`",
        "items-per-day",
    );

    changed(
        "version = 1",
        "version = \"1\"",
        "is a text, not a whole number",
        "a whole number",
    );
    changed(
        "version = 1",
        "version = 1.5",
        "is a fraction",
        "a whole number",
    );
    changed(
        "version = 1",
        "version = 99999999999999999999",
        "is not a number from 0",
        "a whole number",
    );
    changed(
        "tag = \"sante\"",
        "tag = [\"sante\"]",
        "is a list, not a text",
        "letters",
    );
    changed(
        "granularity = { controller = true }",
        "granularity = \"controller\"",
        "is a text, not a table",
        "{ … }",
    );
    changed(
        "sectors = [\"tax\"]",
        "sectors = \"tax\"",
        "is a text, not a list",
        "sectors = [",
    );
    changed(
        "sectors = [\"tax\"]",
        "sectors = []",
        "has no `sectors`",
        "sectors = [",
    );
    changed(
        "operations = [\"tokenize\"]\npurposes = [\"assessment\"]",
        "operations = [\"reveal\"]\npurposes = [\"assessment\"]",
        "is not one of: \"tokenize\"",
        "tokenize",
    );
    let tax = "operations = [\"tokenize\"]\npurposes = [\"assessment\"]";
    let may = "operations = [\"migrate\"]\npurposes = [\"assessment\"]";
    changed(
        tax,
        may,
        "may `migrate` and has no `migration-key`",
        "client keygen",
    );
    let good = "f8d61becdf0973b1b1f8b965ab0d791cf02acf0b5c471d7e0e552f63c74a0e3b";
    let key = |key: &str| format!("migration-key = \"{key}\"\n{tax}");
    changed(
        &format!("migration-key = \"{good}\""),
        "migration-key = \"7\"",
        "is not 64 hexadecimal digits",
        "keygen",
    );
    let text = with(tax, &key(&good.replace("f8", "0b")));
    one(
        &text,
        line(&text, "id = \"dgi-tax\"", "migration-key"),
        "may not `migrate`",
        "or no key",
    );
    let text = format!(
        "operator = 7\n{}",
        GOOD.replace("[[operator]]", "[[client]]")
    );
    assert!(
        faults(&text)
            .iter()
            .any(|fault| fault.line == 1
                && fault.what.contains("`operator` is a number, not a table"))
    );
}

#[test]
fn the_tree() {
    // A cycle cannot be named rightly; it is reported as what it is, once.
    let text = with(
        "name = \"health\"\n",
        "name = \"health\"\nparent = \"health.chu-rabat.study-42\"\n",
    );
    let at = line(&text, "parent = \"health.chu-rabat.study-42\"", "parent");
    one(
        &text,
        at,
        "cycle: `health` → `health.chu-rabat.study-42` → `health.chu-rabat` → `health`",
        "no parent",
    );
    let text = with("name = \"tax\"\n", "name = \"tax\"\nparent = \"tax\"\n");
    one(
        &text,
        line(&text, "parent = \"tax\"", "parent"),
        "cycle: `tax` → `tax`",
        "no parent",
    );

    changed(
        "parent = \"health\"\n",
        "parent = \"helth\"\n",
        "unknown parent `helth`",
        "health",
    );
    let text = with("parent = \"health\"\n", "parent = \"tax\"\n");
    let at = line(&text, "name = \"health.chu-rabat\"", "name");
    one(
        &text,
        at,
        "`health.chu-rabat` is not named after its parent `tax`",
        "tax.chu-rabat",
    );
    let text = with("parent = \"health.chu-rabat\"\n", "parent = \"health\"\n");
    let at = line(&text, "name = \"health.chu-rabat.study-42\"", "name");
    one(
        &text,
        at,
        "not named after its parent",
        "name = \"health.study-42\"",
    );
    let text = with("parent = \"health\"\n", "");
    let at = line(&text, "name = \"health.chu-rabat\"", "name");
    one(
        &text,
        at,
        "a dot in its name and no parent",
        "parent = \"health\"",
    );

    for bad in [
        "Health", "he alth", "", "health.", ".health", "héalth", "a..b",
    ] {
        let text = with("name = \"mobility\"", &format!("name = \"{bad}\""));
        assert!(
            faults(&text)
                .iter()
                .any(|fault| fault.what.contains("is not a sector's name")),
            "{bad:?}"
        );
    }
}

#[test]
fn twice_is_once_too_often() {
    let value = |after: &str, field: &str| {
        let from = GOOD.find(after).unwrap();
        let from = from + GOOD[from..].find(&format!("{field} = \"")).unwrap() + field.len() + 4;
        GOOD[from..].split('"').next().unwrap()
    };
    // In each: the second of two values becomes the first.
    let uuid = |nth: usize| {
        let (at, _) = GOOD.match_indices("\nuuid = \"").nth(nth).unwrap();
        &GOOD[at + 9..at + 9 + 36]
    };
    let key = |person: &str| value(&format!("id = \"{person}\""), "key");
    let certificate = |owner: &str| value(&format!("id = \"{owner}\""), "certificate");
    let node = |authority: &str| value(&format!("[[authority]]\nid = \"{authority}\""), "node");
    for (second, first, what) in [
        (
            uuid(4),
            uuid(0),
            "same sector uuid for sector `social` and for sector `health`",
        ),
        (
            key("prosecutor-chraibi"),
            key("judge-amrani"),
            "same key twice for an approver",
        ),
        (
            key("officer-daoudi"),
            key("judge-bennis"),
            "same key for an officer and for an approver",
        ),
        (
            key("officer-idrissi"),
            key("judge-bennis"),
            "same key for an officer and for an approver",
        ),
        (
            key("officer-el-fassi"),
            key("officer-daoudi"),
            "same key twice for an officer",
        ),
        (
            key("judge-amrani"),
            key("operator"),
            "same key for an approver and for an operator",
        ),
        (
            key("officer-daoudi"),
            key("operator"),
            "same key for an officer and for an operator",
        ),
        (
            certificate("dgi-tax"),
            certificate("cnss-health"),
            "same certificate twice for a client",
        ),
        (
            certificate("operator"),
            certificate("cnss-health"),
            "same certificate for an operator and for a client",
        ),
        (
            certificate("officer-daoudi"),
            certificate("operator"),
            "same certificate for an officer and for an operator",
        ),
        (
            node("court"),
            certificate("dgi-tax"),
            "same certificate for an authority's node and for a client",
        ),
        (
            node("anrf"),
            node("court"),
            "same certificate twice for an authority's node",
        ),
        (
            certificate("officer-idrissi"),
            node("anrf"),
            "same certificate for an officer and for an authority's node",
        ),
        (
            value("id = \"anrf-2025\"", "public"),
            value("id = \"court-2026\"", "public"),
            "same authority key twice",
        ),
    ] {
        let text = with(second, first);
        let (at, _) = text.match_indices(first).nth(1).unwrap();
        one(&text, text[..at].matches('\n').count() + 1, what, "another");
    }
    for (from, to, what) in [
        (
            "tag = \"impot\"",
            "tag = \"sante\"",
            "same sector tag for sector `tax` and for sector `health`",
        ),
        (
            "id = \"anrf-2026\"",
            "id = \"court-2026\"",
            "same authority key id",
        ),
        (
            "id = \"judge-bennis\"",
            "id = \"judge-amrani\"",
            "same id twice for an approver",
        ),
        (
            "id = \"officer-daoudi\"",
            "id = \"judge-amrani\"",
            "same id for an officer and for an approver",
        ),
        (
            "id = \"operator-standby\"",
            "id = \"operator\"",
            "same id twice for an operator",
        ),
        (
            "id = \"dgi-tax\"",
            "id = \"cnss-health\"",
            "same id twice for a client",
        ),
        ("id = \"hcp\"", "id = \"cnss\"", "same organisation id"),
        ("id = \"care\"", "id = \"billing\"", "same purpose id"),
        ("id = \"passport\"", "id = \"cnie\"", "same scheme id"),
        (
            "id = \"anrf\"",
            "id = \"court\"",
            "same id twice for an authority",
        ),
        (
            "id = \"dgi-tax\"",
            "id = \"court\"",
            "same id for an authority and for a client",
        ),
        ("name = \"social\"", "name = \"tax\"", "same sector name"),
    ] {
        let text = with(from, to);
        let (at, _) = text.match_indices(to).last().unwrap();
        let at = text[..at].matches('\n').count() + 1;
        let faults = faults(&text); // and whoever referred to the lost name says so too
        assert!(
            faults
                .iter()
                .any(|fault| fault.what.contains(what) && fault.line == at),
            "{what} on {at}: {faults:#?}"
        );
    }
    changed(
        "schemes = [\"cnie\", \"idcs\", \"passport\"]",
        "schemes = [\"cnie\", \"idcs\", \"cnie\"]",
        "same scheme twice",
        "another",
    );
    changed(
        "sectors = [\"tax\"]",
        "sectors = [\"tax\", \"tax\"]",
        "same sector twice",
        "another",
    );
}

#[test]
fn references_lead_somewhere() {
    for (from, to, what, instead) in [
        (
            "organisation = \"dgi\"",
            "organisation = \"dgj\"",
            "client `dgi-tax` names the unknown organisation `dgj`",
            "dgi",
        ),
        (
            "sectors = [\"tax\"]",
            "sectors = [\"taxes\"]\n",
            "unknown sector `taxes`",
            "tax",
        ),
        (
            "purposes = [\"billing\", \"care\"]",
            "purposes = [\"billing\", \"care\", \"cure\"]",
            "sector `health` names the unknown purpose `cure`",
            "care",
        ),
        (
            "schemes = [\"cnie\", \"idcs\", \"passport\"]",
            "schemes = [\"cnie\", \"nif\"]",
            "unknown scheme `nif`",
            "[[scheme]]",
        ),
    ] {
        let text = with(from, to);
        let faults = faults(&text);
        let at = line(&text, to.trim_end(), to.trim_end());
        let found = faults
            .iter()
            .find(|fault| fault.what.contains(what))
            .unwrap_or_else(|| panic!("{what}: {faults:#?}"));
        assert!(
            found.line == at && found.instead.contains(instead),
            "{found}"
        );
    }
    let text = with_nth("authorities = [\"court\"]", 0, "authorities = [\"kourt\"]");
    one(
        &text,
        line(&text, "kourt", "kourt"),
        "unknown authority `kourt`",
        "anrf, court",
    );
    let text = with(
        "purposes = [\"allowances\"]\n\n",
        "purposes = [\"allowances\", \"mobility\"]\n\n",
    );
    one(
        &text,
        line(&text, "id = \"cnss-social\"", "purposes"),
        "which none of its sectors declares",
        "one of its sectors",
    );
    let text = with(
        "purposes = [\"diabetes-cohort\", \"diabetes-quality\"]\n\n",
        "\n",
    );
    let at = line(&text, "id = \"chu-study\"", "id") - 1;
    one(
        &text,
        at,
        "has no purpose of sector `health.chu-rabat.study-42`",
        "diabetes-cohort",
    );
}

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

/// Keys that anybody could sign for, or that anybody could open with.
#[test]
fn weak_keys() {
    let key = GOOD
        .lines()
        .find(|line| line.starts_with("key = "))
        .unwrap();
    for (bad, what) in [
        // The points of small order, and encodings of them that are not canonical (y = p, p + 1).
        (
            "0100000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "0000000000000000000000000000000000000000000000000000000000000080",
            "weak",
        ),
        (
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "weak",
        ),
        (
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "weak",
        ),
        (
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        (
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        // y = p + 3: a good point, written in a way in which it is not written.
        (
            "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "canonical",
        ),
        // No point has y = 2.
        (
            "0200000000000000000000000000000000000000000000000000000000000000",
            "not a point",
        ),
        ("ABCD", "64 hexadecimal"),
        ("", "64 hexadecimal"),
    ] {
        changed(key, &format!("key = \"{bad}\""), what, "Ed25519 public key");
    }
    changed(
        key,
        &key.to_uppercase().replace("KEY", "key"),
        "lower case",
        "Ed25519 public key",
    );

    let public = GOOD
        .lines()
        .find(|line| line.starts_with("public = "))
        .unwrap();
    for (bad, what) in [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "0100000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        (
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "weak",
        ),
        (
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "weak",
        ),
        (
            "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "canonical",
        ),
        (
            "09000000000000000000000000000000000000000000000000000000000000",
            "64 or 2432 hexadecimal",
        ),
    ] {
        changed(
            public,
            &format!("public = \"{bad}\""),
            what,
            "64 (X25519) or 2432 (X-Wing)",
        );
    }
    let genuine = AuthorityPrivateKey::derive(&AuthoritySecret(Key::random()), "k", Suite::XWing)
        .public()
        .to_vec();
    let spoiled = |spoil: fn(&mut Vec<u8>)| {
        let mut key = genuine.clone();
        spoil(&mut key);
        format!("public = \"{}\"", data_encoding::HEXLOWER.encode(&key))
    };
    let suited = |text: &str| text.replacen("suite = 1", "suite = 2", 1);
    assert!(
        register::parse(&suited(&with(public, &spoiled(|_| ())))).is_ok(),
        "a key of suite 2"
    );
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(Spoil, &str); 4] = [
        // A coefficient of 4095, which is not below 3329: the first, and the second half of a
        // triple.
        (
            |key| (key[0], key[1]) = (0xff, key[1] | 0x0f),
            "not an encapsulation key",
        ),
        (
            |key| (key[1150], key[1151]) = (key[1150] | 0xf0, 0xff),
            "not an encapsulation key",
        ),
        (|key| key[1184..].fill(0), "weak X25519"),
        (|key| key.truncate(1215), "64 or 2432"),
    ];
    for (spoil, what) in cases {
        let text = suited(&with(public, &spoiled(spoil)));
        one(
            &text,
            line(&text, "public = ", "public"),
            what,
            "64 (X25519) or 2432 (X-Wing)",
        );
    }
    let certificate = GOOD
        .lines()
        .find(|line| line.starts_with("certificate = "))
        .unwrap();
    changed(
        certificate,
        &format!("certificate = \"{}\"", "0".repeat(64)),
        "all zeroes",
        "SHA-256",
    );
}

#[test]
fn numbers_schemes_and_ids() {
    changed("version = 1", "version = 0", "`version` is 0", "at least 1");
    changed(
        "version = 1",
        "evidence-days = 29\nversion = 1",
        "`evidence-days` is 29",
        "at least 30",
    );
    changed(
        "version = 1",
        "evidence-days = 3651\nversion = 1",
        "`evidence-days` is 3651",
        "at most 3650",
    );
    changed(
        "items-per-second = 2000,",
        "items-per-second = 0,",
        "`items-per-second` is 0",
        "at least 1",
    );
    changed(
        "items-per-day = 1000000 ",
        "items-per-day = 0 ",
        "`items-per-day` is 0",
        "at least 1",
    );
    changed(
        "items-per-day = 1000000 ",
        "items-per-day = 1000000000001 ",
        "`items-per-day` is",
        "at most",
    );
    for bad in ["CNSS", "cn ss", "", "ünion", &"a".repeat(65)] {
        let text = with(
            "[[organisation]]\nid = \"hcp\"",
            &format!("[[organisation]]\nid = \"{bad}\""),
        );
        assert!(
            faults(&text)
                .iter()
                .any(|fault| fault.what.contains("is not an id")),
            "{bad}"
        );
    }
    for (bad, what) in [
        ("'[0-9]{10'", "not a regular expression"),
        ("'[0-9]*'", "matches the empty value"),
        ("'[a-z]{10}'", "matches no canonical value"),
        ("'[0-9]{5}-[0-9]{5}'", "matches no canonical value"),
        ("'(?<!0)[0-9]{10}'", "not a regular expression"),
        ("'(([0-9]{1,60}){1,60}){1,60}'", "too large"),
        ("'[٠-٩]{10}'", "not ASCII"),
    ] {
        changed(
            "pattern = '[0-9]{10}'",
            &format!("pattern = {bad}"),
            what,
            "pattern = ",
        );
    }
    changed(
        "separators = \" -.\"",
        "separators = \" -A\"",
        "neither a space nor ASCII punctuation",
        "separators = ",
    );
    changed(
        "check = \"none\"",
        "check = \"mod97\"",
        "not one of: \"none\" \"luhn\"",
        "verhoeff",
    );
    changed(
        "case = \"keep\"",
        "case = \"upper\"",
        "not one of: \"fold\" \"keep\"",
        "keep",
    );
    let text = with(
        "pattern = '[A-Z]{3}[A-Z0-9]{6,9}'",
        "check = \"luhn\"\npattern = '[A-Z]{3}[A-Z0-9]{6,9}'",
    );
    one(
        &text,
        line(&text, "pattern = '[A-Z]{3}", "pattern"),
        "the check digit luhn is for values of digits",
        "pattern",
    );
}

/// `docs/register.md` names every field that stands in the example.
#[test]
fn every_field_is_documented() {
    let page = include_str!("../../docs/register.md");
    for line in GOOD.lines().filter(|line| !line.starts_with('#')) {
        let name = match line.split_once(" = ") {
            Some((field, _)) => format!("`{field}`"),
            None if line.starts_with('[') => format!("`{line}`"),
            None => continue,
        };
        assert!(page.contains(&name), "{name} is not in docs/register.md");
    }
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
