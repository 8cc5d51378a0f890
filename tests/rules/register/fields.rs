//! Fields: their syntax, types, ranges; unknown and missing ones; each is documented.

use super::{GOOD, changed, faults, line, one, with};

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
    let page = include_str!("../../../docs/register.md");
    for line in GOOD.lines().filter(|line| !line.starts_with('#')) {
        let name = match line.split_once(" = ") {
            Some((field, _)) => format!("`{field}`"),
            None if line.starts_with('[') => format!("`{line}`"),
            None => continue,
        };
        assert!(page.contains(&name), "{name} is not in docs/register.md");
    }
}
