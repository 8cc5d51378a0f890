//! Holds each opening at an authority's node against its release at the vault.
//!
//! The vault logs a release before it hands sealed mappings out, and the node logs, before it opens
//! them, which entry of the vault's log that was ([`ReidentifyDetails`](super::ReidentifyDetails)).
//! So every opening has a release that says the same, and a release without an opening is an answer
//! that was lost on its way.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;

use super::LogPosition;
use super::origin::{is_vaults, owner_and_shard};
use crate::tlog::tree::leaf_hash;

/// The members that both halves have alike.
const ALIKE: [&str; 13] = [
    "authority",
    "officer",
    "order",
    "order_digest",
    "basis",
    "request",
    "case",
    "sector",
    "items",
    "mappings",
    "from",
    "to",
    "page",
];

/// One half, as a finding names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogHalf {
    /// The log that it is in: the origin of its checkpoints.
    pub log: String,
    /// Its number there.
    pub index: u64,
    /// When it was logged.
    pub time: String,
    /// `release`, `reveal`, or the same of a migration.
    pub event: String,
    /// Who asked.
    pub officer: String,
    /// Under which order.
    pub order: String,
    /// In which request.
    pub request: String,
    /// Pseudonyms asked for.
    pub items: u64,
}

/// A half that has no other, or another one that says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HalfFinding {
    /// The half.
    #[serde(flatten)]
    pub half: LogHalf,
    /// What is wrong.
    pub what: String,
}

/// What the comparison of two logs says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HalvesReport {
    /// The authority whose node it is.
    pub authority: String,
    /// Openings that have their release.
    pub matched: u64,
    /// Openings whose release is missing or says something else.
    pub without_release: Vec<HalfFinding>,
    /// Releases without an opening.
    pub without_reveal: Vec<HalfFinding>,
}

impl HalvesReport {
    /// Whether every half has its other half.
    pub fn is_good(&self) -> bool {
        self.without_release.is_empty() && self.without_reveal.is_empty()
    }
}

/// A release of the vault's log.
#[derive(Debug)]
struct ReleaseHalf {
    half: LogHalf,
    leaf: String,
    alike: [Value; ALIKE.len()],
    uses: u64,
}

/// The releases of a vault's log to one authority, to hold the openings of its node against.
#[derive(Debug)]
pub struct HalvesCheck {
    deployment: String,
    /// Entries of each of the vault's logs, by origin.
    sizes: BTreeMap<String, u64>,
    releases: BTreeMap<(String, u64), ReleaseHalf>,
    report: HalvesReport,
}

impl HalvesCheck {
    /// For the node that writes this log; `None` if it is not a node's.
    pub fn of_node(origin: &str) -> Option<Self> {
        let (owner, _) = owner_and_shard(origin)?;
        let (deployment, authority) = owner.split_once("/node/")?;
        Some(Self {
            deployment: deployment.to_owned(),
            sizes: BTreeMap::new(),
            releases: BTreeMap::new(),
            report: HalvesReport {
                authority: authority.to_owned(),
                ..HalvesReport::default()
            },
        })
    }

    /// Notes that a log has so many entries; whether it is one of this deployment's vault.
    pub fn vault_log(&mut self, origin: &str, size: u64) -> bool {
        let is_ours = is_vaults(origin, &self.deployment);
        self.sizes.insert(origin.to_owned(), size);
        is_ours
    }

    /// Notes an entry of the vault's log, if it is a release to this authority.
    pub fn vault_entry(&mut self, origin: &str, index: u64, entry: &[u8]) {
        let Some((value, half)) = half(origin, index, entry, ["release", "migration-release"])
        else {
            return;
        };
        if value["authority"] != *self.report.authority {
            return;
        }
        let release = ReleaseHalf {
            half,
            leaf: HEXLOWER.encode(&leaf_hash(entry)),
            alike: ALIKE.map(|name| value[name].clone()),
            uses: 0,
        };
        self.releases.insert((origin.to_owned(), index), release);
    }

    /// Holds an entry of the node's log against its release, if it is an opening.
    pub fn node_entry(&mut self, origin: &str, index: u64, entry: &[u8]) {
        let Some((value, half)) = half(origin, index, entry, ["reveal", "migration-reveal"]) else {
            return;
        };
        match self.fault(&value, &half) {
            None => self.report.matched += 1,
            Some(what) => self.report.without_release.push(HalfFinding { half, what }),
        }
    }

    /// Notes an opening that was logged after the vault's log was read, so that its release is not
    /// taken for one without an opening.
    pub fn later_node_entry(&mut self, origin: &str, index: u64, entry: &[u8]) {
        if let Some((value, half)) = half(origin, index, entry, ["reveal", "migration-reveal"]) {
            let _ = self.fault(&value, &half);
        }
    }

    /// What is wrong with the release that an opening names.
    fn fault(&mut self, opening: &Value, half: &LogHalf) -> Option<String> {
        let named = serde_json::from_value::<LogPosition>(opening["vault_entry"].clone());
        let Ok(LogPosition { log, index, leaf }) = named else {
            return Some("names no entry of the vault's log".to_owned());
        };
        let place = format!("{log}#{index}");
        let Some(release) = self.releases.get_mut(&(log.clone(), index)) else {
            return Some(match self.sizes.get(&log) {
                None => format!("names {place}, and this vault has no such log"),
                Some(size) if index >= *size => {
                    format!(
                        "names {place}, and the vault's log ends before it, with {size} entries"
                    )
                }
                Some(_) => format!("names {place}, which is no release to this authority"),
            });
        };
        release.uses += 1;
        if release.leaf != leaf {
            return Some(format!(
                "saw another entry as {place} than is there now: the vault's log was rewritten"
            ));
        }
        if release.half.event.replace("release", "reveal") != half.event {
            return Some(format!("names {place}, which is a {}", release.half.event));
        }
        let differs = ALIKE
            .iter()
            .zip(&release.alike)
            .filter(|(name, released)| opening[**name] != **released)
            .map(|(name, _)| *name);
        let differs: Vec<&str> = differs.collect();
        if !differs.is_empty() {
            return Some(format!(
                "differs from its release {place} in: {}",
                differs.join(", ")
            ));
        }
        (release.uses > 1).then(|| format!("names {place}, which another opening names too"))
    }

    /// What was found.
    pub fn finish(mut self) -> HalvesReport {
        let unopened = self.releases.into_values().filter(|r| r.uses == 0);
        self.report.without_reveal = unopened
            .map(|release| HalfFinding {
                half: release.half,
                what: "the node logged no opening of it".to_owned(),
            })
            .collect();
        self.report
    }
}

/// An entry with one of these events.
fn half(origin: &str, index: u64, entry: &[u8], events: [&str; 2]) -> Option<(Value, LogHalf)> {
    // Most entries are batches: only those that may be meant are read whole.
    let may_be = |event: &str| {
        let text = format!("\"event\":\"{event}\"");
        entry
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    if !events.iter().any(|event| may_be(event)) {
        return None;
    }
    let value: Value = serde_json::from_slice(entry).ok()?;
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    if !events.contains(&value["event"].as_str()?) {
        return None;
    }
    let half = LogHalf {
        log: origin.to_owned(),
        index,
        time: text("time"),
        event: text("event"),
        officer: text("officer"),
        order: text("order"),
        request: text("request"),
        items: value["items"].as_u64().unwrap_or_default(),
    };
    Some((value, half))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VAULT: &str = "cloison/d/vault/2026";
    const NODE: &str = "cloison/d/node/court/2026";

    fn bytes(value: &Value) -> Vec<u8> {
        serde_json::to_vec(value).unwrap()
    }

    fn release(request: &str, authority: &str) -> Value {
        json!({"event": "release", "time": "t", "authority": authority, "officer": "o", "order": "1",
            "request": request, "case": "C/1", "sector": "health", "items": 2, "mappings": 2, "tags": "v"})
    }

    /// The opening of a release that stands at this place.
    fn reveal(release: &Value, index: u64) -> Value {
        let mut reveal = release.clone();
        reveal["event"] = "reveal".into();
        reveal["tags"] = "n".into();
        let leaf = HEXLOWER.encode(&leaf_hash(&bytes(release)));
        reveal["vault_entry"] = json!({"log": VAULT, "index": index, "leaf": leaf});
        reveal
    }

    fn check(releases: &[Value], reveals: &[Value]) -> HalvesReport {
        let mut check = HalvesCheck::of_node(NODE).unwrap();
        assert!(check.vault_log(VAULT, releases.len() as u64));
        for (index, entry) in (0..).zip(releases) {
            check.vault_entry(VAULT, index, &bytes(entry));
        }
        for (index, entry) in (0..).zip(reveals) {
            check.node_entry(NODE, index, &bytes(entry));
        }
        check.finish()
    }

    #[test]
    fn each_half_has_its_other_half() {
        let entries = [
            release("a", "court"),
            release("b", "other"),
            release("c", "court"),
        ];
        let report = check(&entries, &[reveal(&entries[0], 0), reveal(&entries[2], 2)]);
        assert!(report.is_good() && report.matched == 2, "{report:?}");
        let report = check(&entries, &[reveal(&entries[0], 0)]);
        assert_eq!(report.without_reveal.len(), 1);
        assert_eq!(report.without_reveal[0].half.request, "c");
    }

    #[test]
    fn an_opening_without_its_release_is_named() {
        let one = release("a", "court");
        let changed = |name: &str, value: Value| {
            let mut opening = reveal(&one, 0);
            opening[name] = value;
            opening
        };
        let entry = |index: u64, log: &str| json!({"log": log, "index": index, "leaf": "00"});
        for (opening, said) in [
            (changed("vault_entry", Value::Null), "names no entry"),
            (changed("vault_entry", entry(0, VAULT)), "was rewritten"),
            (changed("vault_entry", entry(5, VAULT)), "ends before it"),
            (
                changed("vault_entry", entry(0, "cloison/d/vault/2025")),
                "no such log",
            ),
            (changed("items", 3.into()), "in: items"),
            (changed("officer", "x".into()), "in: officer"),
            (
                changed("event", "migration-reveal".into()),
                "which is a release",
            ),
        ] {
            let report = check(std::slice::from_ref(&one), &[opening]);
            let what = &report.without_release[0].what;
            assert!(report.matched == 0 && what.contains(said), "{said}: {what}");
        }
        let twice = [reveal(&one, 0), reveal(&one, 0)];
        let report = check(std::slice::from_ref(&one), &twice);
        assert!(
            report.without_release[0].what.contains("another opening"),
            "{report:?}"
        );
    }

    #[test]
    fn only_a_nodes_log_has_openings() {
        assert!(HalvesCheck::of_node(VAULT).is_none());
        let mut check = HalvesCheck::of_node(NODE).unwrap();
        assert!(!check.vault_log("cloison/other/vault/2026", 1));
    }
}
