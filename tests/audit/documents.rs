//! `docs/audit.md` has every event with every member and an example: told from the entries that a
//! process wrote and from the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cloison::audit::{AuditEvent, Grant};
use serde_json::Value;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md")).unwrap()
}

/// The part of the page below the heading that names an event, up to the next heading.
fn section<'p>(page: &'p str, event: &str) -> &'p str {
    let name = format!("`{event}`");
    let heading = page
        .lines()
        .find(|line| line.starts_with("### ") && line.contains(&name));
    let heading = heading.unwrap_or_else(|| panic!("docs/audit.md has no section about {event}"));
    let from = page.find(heading).unwrap() + heading.len();
    let rest = &page[from..];
    &rest[..rest
        .find("\n### ")
        .or_else(|| rest.find("\n## "))
        .unwrap_or(rest.len())]
}

/// The events of the source: the variants of `audit::AuditEvent`, as they are written.
fn events() -> BTreeSet<String> {
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/event.rs"))
            .unwrap();
    let body = &source[source.find("pub enum AuditEvent {").unwrap()..];
    let body = &body[..body.find("\n}").unwrap()];
    let variants = body
        .lines()
        .filter(|line| line.starts_with("    ") && line.as_bytes()[4].is_ascii_uppercase());
    let kebab = |name: &str| {
        let mut text = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() && !text.is_empty() {
                text.push('-');
            }
            text.push(c.to_ascii_lowercase());
        }
        text
    };
    variants
        .map(|line| kebab(line.trim().split(['(', ' ', ',', '{']).next().unwrap()))
        .collect()
}

#[test]
fn every_event_is_in_the_list_of_names() {
    let names = AuditEvent::NAMES.iter().map(|name| (*name).to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), events());
}

#[test]
fn every_event_is_described_with_an_example() {
    let (page, events) = (page(), events());
    assert!(
        events.len() >= 16 && events.contains("order-act") && events.contains("look-up"),
        "{events:?}"
    );
    for event in &events {
        let section = section(&page, event);
        let examples: Vec<Value> = section
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let example = examples
            .iter()
            .find(|example| example["event"] == event.as_str());
        let example = example.unwrap_or_else(|| panic!("docs/audit.md has no example of {event}"));
        // Canonical: sorted members and no white space, as entries are.
        let line = section
            .lines()
            .find(|line| *line == serde_json::to_string(example).unwrap());
        assert!(line.is_some(), "the example of {event} is not canonical");
        for member in example
            .as_object()
            .unwrap()
            .keys()
            .filter(|member| !["event", "time", "journal"].contains(&member.as_str()))
        {
            assert!(
                section.contains(&format!("`{member}`")),
                "docs/audit.md does not say what `{member}` of {event} is"
            );
        }
    }
}

/// The rows of the table of effects: events, acts, effect.
fn effects(page: &str) -> Vec<(Vec<String>, String, String)> {
    let table = &page[page.find("| entry | act | effect |").unwrap()..];
    let mut rows: Vec<(Vec<String>, String, String)> = vec![];
    for row in table.lines().skip(2).take_while(|row| row.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let named = cells[1].split('`').skip(1).step_by(2).map(str::to_owned);
        let mut events: Vec<_> = named.collect();
        if events.is_empty() {
            events = rows.last().unwrap().0.clone();
        }
        rows.push((events, cells[2].to_owned(), cells[3].to_owned()));
    }
    rows
}

/// The effect of an entry by the table of effects.
fn effect(page: &str, entry: &Value) -> String {
    let event = entry["event"].as_str().unwrap();
    let mut rows = effects(page);
    rows.retain(|(events, ..)| events.iter().any(|name| name == event));
    let act = match (&entry["act"], &entry["action"]) {
        (Value::String(act), _) | (_, Value::String(act)) => act.as_str(),
        _ if entry["sector"].is_string() => "sector",
        _ => "",
    };
    if rows.len() > 1 {
        let named = format!("`{act}`");
        let fits = |acts: &str| acts.contains(&named) || act.is_empty() && !acts.contains('`');
        rows.retain(|(_, acts, _)| fits(acts));
    }
    assert_eq!(rows.len(), 1, "the table of effects about {entry}");
    rows.remove(0).2
}

#[test]
fn every_event_says_when_it_takes_effect() {
    let page = page();
    let named = effects(&page).into_iter().flat_map(|(events, ..)| events);
    assert_eq!(named.collect::<BTreeSet<_>>(), events());
    let examples = page
        .lines()
        .filter(|line| line.starts_with("{\""))
        .filter_map(|line| {
            let example: Value = serde_json::from_str(line).ok()?;
            example["event"].is_string().then_some((line, example))
        });
    let mut grants = 0;
    for (line, example) in examples {
        let granted = Grant::of_entry(line.as_bytes());
        let told = effect(&page, &example);
        assert!(
            ["restricts", "grants", "none"].contains(&told.as_str()),
            "{told}"
        );
        assert_eq!(granted.is_some(), told == "grants", "{line}");
        grants += usize::from(granted.is_some());
    }
    assert!(grants >= 7, "{grants} examples grant something");
}

/// The members of entries that processes wrote stand in their sections.
pub fn describe(entries: &[Value]) {
    let page = page();
    for entry in entries {
        let event = entry["event"].as_str().unwrap();
        let section = section(&page, event);
        let written = serde_json::to_vec(entry).unwrap();
        let granted = Grant::of_entry(&written).is_some();
        assert_eq!(granted, effect(&page, entry) == "grants", "{entry}");
        for member in entry
            .as_object()
            .unwrap()
            .keys()
            .filter(|member| !["event", "time", "journal"].contains(&member.as_str()))
        {
            assert!(
                section.contains(&format!("`{member}`")),
                "docs/audit.md does not say what `{member}` of {event} is"
            );
        }
    }
}
