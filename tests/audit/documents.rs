//! `docs/audit.md` has every event with every member and an example: told from the entries that a
//! process wrote and from the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cloison::audit::AuditEvent;
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

/// The members of entries that processes wrote stand in their sections.
pub fn describe(entries: &[Value]) {
    let page = page();
    for entry in entries {
        let event = entry["event"].as_str().unwrap();
        let section = section(&page, event);
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
