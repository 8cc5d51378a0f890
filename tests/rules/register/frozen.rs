//! Facts that keys derive from, or that keep sectors apart: once used they do not change.

use cloison::register;
use proptest::prelude::*;

use super::{GOOD, id, line, with};

#[test]
fn frozen_facts() {
    let facts = |text: &str| {
        register::parse(text)
            .unwrap_or_else(|faults| panic!("{faults:#?}"))
            .frozen_facts()
    };
    let used = facts(GOOD);
    let against = |text: &str| {
        let used = used.iter().map(|fact| (fact.key.as_str(), &fact.digest));
        register::parse(text)
            .unwrap_or_else(|faults| panic!("{faults:#?}"))
            .changed_facts(used)
    };
    assert!(
        used.iter()
            .all(|fact| (1..=GOOD.lines().count()).contains(&fact.line))
    );
    assert_eq!(against(GOOD), []);

    // What may change: names, titles, quotas, what advances the epoch, and additions.
    let harmless = GOOD
        .replace("\"Banque du Chellah\"", "\"Bank\"")
        .replace("mobility\"\ntag", "moving\"\ntag")
        .replace("sectors = [\"mobility\"]", "sectors = [\"moving\"]")
        .replace("separators = \" -.\"", "separators = \".- \"")
        .replace("text-form = \"uuid\"", "text-form = \"hex\"")
        .replace("version = 1\n", "version = 2\n");
    assert_eq!(against(&harmless), []);

    let uuid = line(GOOD, "name = \"tax\"", "name") - 1;
    let uuid = &GOOD.lines().nth(uuid - 1).unwrap()[8..44];
    for (from, to, what) in [
        ("tag = \"impot\"", "tag = \"taxe\"", "tag of sector"),
        (
            uuid,
            "6b1d1a3e-9f0a-4c7e-8f57-0a8a3b3f1c11",
            "the uuid of the sector with the tag `impot` is in use and was changed",
        ),
        (
            "pattern = '[0-9]{10}'",
            "pattern = '[0-9]{10,11}'",
            "scheme `idcs` is in use and was changed",
        ),
        (
            "check = \"none\"",
            "check = \"luhn\"",
            "scheme `idcs` is in use and was changed",
        ),
        (
            "separators = \" -.\"",
            "separators = \" -\"",
            "scheme `cnie` is in use and was changed",
        ),
        (
            "separators = \" -.\"",
            "separators = \" -.\"\ncase = \"keep\"",
            "scheme `cnie` is in use and was changed",
        ),
    ] {
        let text = with(from, to);
        let faults = against(&text);
        let found = faults
            .iter()
            .find(|fault| fault.what.contains(what))
            .unwrap_or_else(|| panic!("{what}: {faults:#?}"));
        let scheme = what
            .split('`')
            .nth(1)
            .map(|id| format!("id = \"{id}\""))
            .filter(|id| text.contains(id));
        let place = scheme.as_deref().unwrap_or(to);
        assert_eq!(found.line, line(&text, place, place), "{found}");
    }
    let text =
        GOOD.replace("health.chu-rabat", "chu-rabat")
            .replacen("parent = \"health\"\n", "", 1);
    assert!(
        against(&text)
            .iter()
            .any(|fault| fault.what.contains("parent of sector")),
        "moved to the top"
    );
    let text = GOOD
        .replace("\"hcp\"", "\"hcp-2\"")
        .replace("\"care\"", "\"cure\"");
    let gone: Vec<_> = against(&text).into_iter().map(|fault| fault.what).collect();
    assert_eq!(
        gone,
        [
            "organisation `hcp` is in use and is gone",
            "purpose `care` is in use and is gone"
        ]
    );
}

/// Stores hold digests that were made before schemes said anything about case.
#[test]
fn a_scheme_that_folds_case_is_frozen_as_it_was_before_there_was_a_choice() {
    let digest = |case: &str| {
        let register = register::parse(&with(
            "separators = \" -.\"",
            &format!("separators = \" -.\"{case}"),
        ))
        .unwrap();
        let facts = register.frozen_facts();
        data_encoding::HEXLOWER.encode(
            &facts
                .iter()
                .find(|fact| fact.key == "scheme/cnie")
                .unwrap()
                .digest,
        )
    };
    let before = "36da3b5b281b468332902108d9305b5a263a441c05ab6c57bdfa629f860aa8dc";
    assert_eq!(
        (digest(""), digest("\ncase = \"fold\"")),
        (before.to_owned(), before.to_owned())
    );
    assert_eq!(
        digest("\ncase = \"keep\""),
        "09b242f2a95ac4ddbe5b2619ce0bab368bd62a669634a6d7670f35e0f1ec6414"
    );
}

#[test]
fn facts_are_used_where_keys_derive_from_them() {
    let register = register::parse(GOOD).unwrap();
    let known: Vec<String> = register
        .frozen_facts()
        .into_iter()
        .map(|fact| fact.key)
        .collect();
    let used = |sector: &str, purpose: &str| {
        let sector = register.sector(sector).unwrap();
        register.facts_used_by(sector, &id("cnie"), &id("cnss"), Some(&id(purpose)))
    };
    let study = used("health.chu-rabat.study-42", "diabetes-cohort");
    assert_eq!(
        study.len(),
        1 + 3 * 3 + 1,
        "scheme, three sectors, purpose: {study:?}"
    );
    assert_eq!(used("health", "billing").len(), 1 + 3);
    assert!(used("finance", "know-your-customer").contains(&"organisation/cnss".to_owned()));
    assert!(study.iter().all(|key| known.contains(key)));
}

proptest! {
    /// Whatever an editor's slip does to a register, there is an answer, and every fault has a
    /// place and a remedy.
    #[test]
    fn no_slip_is_without_an_answer(lines in prop::collection::vec((0usize..400, 0usize..400, 0u8..4), 1..6)) {
        let mut text: Vec<&str> = GOOD.lines().collect();
        for (one, other, slip) in lines {
            let (one, other) = (one % text.len(), other % text.len());
            match slip {
                0 => drop(text.remove(one)),
                1 => text.swap(one, other),
                2 => text.insert(other, text[one]),
                _ => text[one] = text[one].get(..other % (text[one].len() + 1)).unwrap_or(""),
            }
        }
        if let Err(faults) = register::parse(&text.join("\n")) {
            prop_assert!(!faults.is_empty() && faults.is_sorted());
            for fault in faults {
                prop_assert!((1..=text.len() + 1).contains(&fault.line), "{}", fault);
                prop_assert!(!fault.what.is_empty() && !fault.instead.is_empty(), "{}", fault);
            }
        }
    }

    #[test]
    fn any_text_is_an_answer(text in "(\\[\\[?[a-z.]{0,12}\\]?\\]?|[a-z-]{1,8} ?= ?[\"'\\[{0-9a-z,}\\]-]{0,12}|\\PC{0,9}|\n){0,30}") {
        let _ = register::parse(&text);
    }
}
