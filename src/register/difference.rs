//! What changed between two registers, and what each change means, in words.
//!
//! The texts are compared as TOML, value by value, so that nothing which a server could read is
//! left out; comments, order and layout say nothing. Afterwards the parsed registers are compared
//! as a whole, as a second look at the same question.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::{Table, Value};

use super::{Fault, Register};

/// One change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RegisterChange {
    /// What changed: `client chu-fes: operations ["tokenize"] → ["tokenize", "migrate"]`. Texts of
    /// the register stand in quotes, with everything that a terminal would act upon escaped.
    pub what: String,
    /// What a new entry says, a line for each value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
    /// What follows from it, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
}

/// A register without a fault, and the text that it was read from.
#[derive(Debug)]
pub struct WrittenRegister {
    /// What it says.
    pub register: Register,
    /// The file's text.
    pub text: String,
}

impl WrittenRegister {
    /// Reads a register file's text; says nothing about who signed it.
    ///
    /// # Errors
    /// As [`super::parse`].
    pub fn parse(text: String) -> Result<Self, Vec<Fault>> {
        let register = super::parse(&text)?;
        Ok(Self { register, text })
    }

    /// What `after` changes of this register.
    pub fn difference(&self, after: &Self) -> Vec<RegisterChange> {
        let mut changes = vec![];
        compare(
            &EntryPlace::root(),
            &self.entry(),
            &after.entry(),
            &mut changes,
        );
        frozen(&self.register, &after.register, &mut changes);
        if changes.is_empty() && facts(&self.register) != facts(&after.register) {
            changes.push(RegisterChange {
                what: "something else changed".into(),
                means: Some("compare the two texts line by line before you sign".into()),
                ..RegisterChange::default()
            });
        }
        changes
    }

    fn entry(&self) -> Entry {
        // A register that parsed is TOML. The version is said apart.
        let mut table: Table = self.text.parse().unwrap_or_default();
        table.remove("version");
        Entry::of(table)
    }
}

/// A table of the register: its values by their dotted path, and the lists of tables in it.
#[derive(Default)]
struct Entry {
    values: BTreeMap<String, String>,
    lists: BTreeMap<String, BTreeMap<String, Entry>>,
    /// What people call it: its `name` for a sector, else its id.
    called: String,
}

impl Entry {
    fn of(table: Table) -> Self {
        let mut entry = Self::default();
        let text = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        entry.called = text("id").or_else(|| text("name")).unwrap_or_default();
        entry.read("", table);
        entry
    }

    fn read(&mut self, path: &str, table: Table) {
        for (key, value) in table {
            let path = format!("{path}{key}");
            match value {
                Value::Table(inner) => self.read(&format!("{path}."), inner),
                Value::Array(list) if list.iter().any(Value::is_table) => {
                    let entries = list.into_iter().enumerate().map(|(place, value)| {
                        let Value::Table(table) = value else {
                            return (place.to_string(), Self::default());
                        };
                        (identity(&table, place), Self::of(table))
                    });
                    self.lists.insert(path, entries.collect());
                }
                value => {
                    self.values.insert(path, shown(&value));
                }
            }
        }
    }
}

/// What makes an entry the same one in both registers: a sector's UUID, else the id.
fn identity(table: &Table, place: usize) -> String {
    let known = ["uuid", "id"].into_iter().find_map(|key| table.get(key));
    known.map_or_else(|| place.to_string(), shown)
}

/// A value as TOML writes it, with everything that a terminal would act upon escaped.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(shown).collect();
            format!("[{}]", list.join(", "))
        }
        value => value.to_string().escape_debug().to_string(),
    }
}

/// Where an entry stands.
struct EntryPlace {
    /// `client`, `approver`; empty for the register itself.
    kind: String,
    /// ` of court`, for an entry within another.
    owner: String,
}

impl EntryPlace {
    fn root() -> Self {
        Self {
            kind: String::new(),
            owner: String::new(),
        }
    }

    fn of(&self, entry: &Entry) -> String {
        if self.kind.is_empty() {
            return "register".into();
        }
        let called = entry.called.escape_debug();
        format!("{} {called}{}", self.kind, self.owner)
    }

    fn within(&self, kind: &str, entry: &Entry) -> Self {
        let owner = if self.kind.is_empty() {
            String::new()
        } else {
            format!(" of {}", entry.called.escape_debug())
        };
        Self {
            kind: kind.to_owned(),
            owner,
        }
    }
}

fn compare(place: &EntryPlace, before: &Entry, after: &Entry, changes: &mut Vec<RegisterChange>) {
    let name = place.of(before);
    for path in union(&before.values, &after.values) {
        let (was, is) = (before.values.get(path), after.values.get(path));
        if was != is {
            let text =
                |value: Option<&String>| value.map_or("(not stated)", String::as_str).to_owned();
            changes.push(RegisterChange {
                what: format!("{name}: {path} {} → {}", text(was), text(is)),
                means: changed(&place.kind, path).map(str::to_owned),
                ..RegisterChange::default()
            });
        }
    }
    let (nothing, no_list) = (Entry::default(), BTreeMap::new());
    for kind in union(&before.lists, &after.lists) {
        let was = before.lists.get(kind).unwrap_or(&no_list);
        let is = after.lists.get(kind).unwrap_or(&no_list);
        let inner = place.within(kind, before);
        for id in union(was, is) {
            match (was.get(id), is.get(id)) {
                (Some(was), Some(is)) => compare(&inner, was, is, changes),
                (None, Some(is)) => {
                    changes.push(RegisterChange {
                        what: format!("{}: new", inner.of(is)),
                        says: is
                            .values
                            .iter()
                            .map(|(k, v)| format!("{k} = {v}"))
                            .collect(),
                        means: added(kind).map(str::to_owned),
                    });
                    // What it has within is new, too.
                    let empty = Entry {
                        values: is.values.clone(),
                        called: is.called.clone(),
                        ..Entry::default()
                    };
                    compare(&inner, &empty, is, changes);
                }
                (was, _) => changes.push(RegisterChange {
                    what: format!("{}: taken out", inner.of(was.unwrap_or(&nothing))),
                    means: removed(kind).map(str::to_owned),
                    ..RegisterChange::default()
                }),
            }
        }
    }
}

fn union<'a, T, U>(
    one: &'a BTreeMap<String, T>,
    other: &'a BTreeMap<String, U>,
) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

const RESEALED: &str =
    "new mappings are sealed to these; those that are stored, after `cloison authority renew`";

/// What a changed value means.
fn changed(kind: &str, path: &str) -> Option<&'static str> {
    match (kind, path) {
        ("", "deployment") => {
            Some("it is a register of another deployment, and every server refuses it")
        }
        ("", "vault.checkpoint-key") | ("authority" | "identity", "checkpoint-key") => Some(
            "take this register with a restart of the vault, of every node and of every identity source",
        ),
        ("identity", "share") => Some(
            "from now on the source lets through that share of every quota; what was used today stays used",
        ),
        ("sector", "text-form" | "reversible") => Some(NEW_EPOCH),
        ("sector", path) if path.starts_with("granularity") => Some(NEW_EPOCH),
        ("sector", "authorities") | ("key", _) => Some(RESEALED),
        (_, "certificate") | ("authority", "node") => {
            Some("the key before is refused from its next request on")
        }
        _ => None,
    }
}

const NEW_EPOCH: &str = "it needs a new epoch, all its pseudonyms change: restart the vault once with --advance and the sector's name";

/// What a new entry means.
fn added(kind: &str) -> Option<&'static str> {
    match kind {
        "sector" => Some(
            "its first epoch opens when the register comes into force; uuid, parent and tag are frozen at first use",
        ),
        "authority" | "identity" => Some("take this register with a restart of the vault"),
        "key" => Some(RESEALED),
        _ => None,
    }
}

/// What it means that an entry is gone.
fn removed(kind: &str) -> Option<&'static str> {
    match kind {
        "sector" => Some("nobody is answered there any more; what is stored stays"),
        "client" | "operator" | "auditor" | "rights-officer" => {
            Some("it is refused from its next request on, on open connections too")
        }
        "authority" => {
            Some("its orders are refused, and nothing is sealed to it; restart the vault")
        }
        "identity" => Some("the vault is answered there no more; restart the vault"),
        "key" => Some(RESEALED),
        _ => None,
    }
}

fn frozen(before: &Register, after: &Register, changes: &mut Vec<RegisterChange>) {
    let stated: BTreeMap<_, _> = after
        .frozen_facts()
        .into_iter()
        .map(|fact| (fact.key, fact.digest))
        .collect();
    for fact in before.frozen_facts() {
        if stated.get(&fact.key) != Some(&fact.digest) {
            changes.push(RegisterChange {
                what: format!("{}: changed", fact.key.escape_debug()),
                means: Some(
                    "frozen at first use: where it was used, every server refuses this register"
                        .into(),
                ),
                ..RegisterChange::default()
            });
        }
    }
}

/// Everything that a register says but its version, its text and what a configuration adds.
fn facts(register: &Register) -> String {
    let Register {
        deployment,
        version: _,
        digest: _,
        organisations,
        purposes,
        schemes,
        sectors,
        clients,
        authorities,
        operators,
        auditors,
        rights_officers,
        witnesses,
        evidence_days,
        vault_checkpoint_key,
        vault,
        identities,
        commission: _,
        pins: _,
        key_terms,
        signed: _,
        frozen,
    } = register;
    let rules = (
        deployment,
        organisations,
        purposes,
        schemes,
        sectors,
        evidence_days,
    );
    let people = (
        clients,
        authorities,
        operators,
        auditors,
        rights_officers,
        witnesses,
    );
    let split = (vault, identities);
    format!("{rules:?} {people:?} {vault_checkpoint_key:?} {split:?} {key_terms:?} {frozen:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &str, after: &str) -> Vec<RegisterChange> {
        let entry = |text: &str| Entry::of(text.parse().unwrap());
        let mut changes = vec![];
        compare(
            &EntryPlace::root(),
            &entry(before),
            &entry(after),
            &mut changes,
        );
        changes
    }

    #[test]
    fn every_value_is_told_with_what_it_was() {
        let before = "evidence-days = 90\n[[sector]]\nuuid = \"1\"\nname = \"health\"\nschemes = [\"cnie\"]\n\
            [[authority]]\nid = \"court\"\nmax-hours = 72\nquorum = 3\n\
            [[authority.officer]]\nid = \"amina\"\nkey = \"aa\"\n";
        let after = "evidence-days = 1\n[[sector]]\nuuid = \"1\"\nname = \"care\"\nschemes = [\"cnie\", \"ppr\"]\n\
            [[authority]]\nid = \"court\"\nmax-hours = 720\nquorum = 3\n\
            [[authority.officer]]\nid = \"amina\"\nkey = \"aa\"\nuntil = \"2030-01-01\"\n\
            [[authority.approver]]\nid = \"judge\"\nkey = \"b\u{202e}b\\u001B\"\n";
        let changes = of(before, after);
        let said: Vec<_> = changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(
            said,
            [
                "register: evidence-days 90 → 1",
                "authority court: max-hours 72 → 720",
                "approver judge of court: new",
                "officer amina of court: until (not stated) → \"2030-01-01\"",
                "sector health: name \"health\" → \"care\"",
                "sector health: schemes [\"cnie\"] → [\"cnie\", \"ppr\"]",
            ]
        );
        assert_eq!(
            changes[2].says,
            ["id = \"judge\"", "key = \"b\\u{202e}b\\u{1b}\""]
        );
        assert_eq!(of(before, &format!("# a remark\n{before}")), []);
        let gone = of(after, before);
        assert!(
            gone.iter()
                .any(|change| change.what == "approver judge of court: taken out")
        );
    }
}
