//! Merges blocks into a register's text. Comments and order stay; the version is raised once.

use std::collections::BTreeMap;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};
use uuid::Uuid;

use crate::register::{self, Fault, Register};

/// The kinds of blocks that may be merged in. Authorities and everything that is not a list of
/// entries are changed by editor.
const KINDS: [&str; 7] = [
    "organisation",
    "purpose",
    "scheme",
    "sector",
    "client",
    "operator",
    "auditor",
];

/// A register with blocks merged in.
#[derive(Debug)]
pub struct MergedRegister {
    /// The text before.
    pub before: Register,
    /// Its text.
    pub text: String,
    /// The same, read.
    pub register: Register,
}

/// Why blocks are not merged.
#[derive(Debug, thiserror::Error)]
pub enum JoiningFault {
    /// The register itself has faults.
    #[error("the register has faults: {}", list(.0))]
    Register(Vec<Fault>),
    /// A block is not TOML.
    #[error("{file} is not TOML: {why}")]
    NotToml {
        /// Which file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A block has something that does not belong into one.
    #[error(
        "{file} has `{member}`, which does not belong into a block: only [[{}]] are merged, everything else is changed by editor",
        KINDS.join("]], [[")
    )]
    Foreign {
        /// Which file.
        file: String,
        /// What stands there.
        member: String,
    },
    /// A block is empty.
    #[error("{file} has no block: it should begin with [[client]] or another list")]
    Empty {
        /// Which file.
        file: String,
    },
    /// An entry of that id is there already.
    #[error(
        "{file}: a {kind} with the id `{id}` is in the register already; another id, or change that entry by editor"
    )]
    Exists {
        /// Which file.
        file: String,
        /// `client`, `sector`, …
        kind: &'static str,
        /// Its id, or a sector's name.
        id: String,
    },
    /// The key is another's.
    #[error(
        "{file}: the key of `{id}` is that of `{holder}`, who is in the register already; each entry has a key of its own"
    )]
    OthersKey {
        /// Which file.
        file: String,
        /// The new entry.
        id: String,
        /// Who has the key.
        holder: String,
    },
    /// Merged, the text has faults.
    #[error("merged, the register would have faults: {}", list(.0))]
    Merged(Vec<Fault>),
}

fn list(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(|fault| format!("\n  {}; instead: {}", fault.what, fault.instead))
        .collect()
}

/// Merges the blocks of `files` (name and text) into a register's text.
///
/// # Errors
/// [`JoiningFault`]: the first one of the files, or all faults of the merged text.
pub fn merge(text: &str, files: &[(String, String)]) -> Result<MergedRegister, JoiningFault> {
    let before = register::parse(text).map_err(JoiningFault::Register)?;
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| not_toml("the register", &error))?;
    for (file, block) in files {
        add(&mut document, file, block)?;
    }
    raise_version(&mut document, before.version);
    let text = document.to_string();
    let register = register::parse(&text).map_err(JoiningFault::Merged)?;
    Ok(MergedRegister {
        before,
        text,
        register,
    })
}

fn not_toml(file: &str, error: &toml_edit::TomlError) -> JoiningFault {
    JoiningFault::NotToml {
        file: file.to_owned(),
        why: error.message().to_owned(),
    }
}

fn raise_version(document: &mut DocumentMut, version: u64) {
    let next = i64::try_from(version + 1).unwrap_or(i64::MAX);
    let Some(item) = document.get_mut("version").and_then(Item::as_value_mut) else {
        return;
    };
    // The comment behind it stays.
    let decor = item.decor().clone();
    *item = next.into();
    *item.decor_mut() = decor;
}

fn add(document: &mut DocumentMut, file: &str, block: &str) -> Result<(), JoiningFault> {
    let block: DocumentMut = block.parse().map_err(|error| not_toml(file, &error))?;
    let foreign = |member: &str| JoiningFault::Foreign {
        file: file.to_owned(),
        member: member.to_owned(),
    };
    if block.as_table().is_empty() {
        return Err(JoiningFault::Empty {
            file: file.to_owned(),
        });
    }
    for (name, item) in block.as_table() {
        let kind = KINDS.into_iter().find(|kind| *kind == name);
        let (Some(kind), Some(entries)) = (kind, item.as_array_of_tables()) else {
            return Err(foreign(name));
        };
        for entry in entries {
            check_new(document, file, kind, entry)?;
            let list = document
                .entry(kind)
                .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
            let list = list.as_array_of_tables_mut().ok_or_else(|| foreign(name))?;
            list.push(placed(kind, entry));
        }
    }
    Ok(())
}

/// The entry as it is written: behind the last of its kind, and a sector with a UUID.
fn placed(kind: &str, entry: &Table) -> Table {
    let mut entry = entry.clone();
    if kind == "sector" && !entry.contains_key("uuid") {
        let mut whole = Table::new();
        whole.decor_mut().clone_from(entry.decor());
        whole.insert("uuid", value(crate::clock::random_uuid().to_string()));
        for (key, item) in entry {
            whole.insert(&key, item);
        }
        entry = whole;
    }
    unplace(&mut entry);
    entry
}

/// Without the places that it had in its own file, a table follows the last one of its list.
fn unplace(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        if let Some(inner) = item.as_table_mut() {
            unplace(inner);
        }
    }
}

fn text_of<'a>(entry: &'a Table, member: &str) -> Option<&'a str> {
    entry.get(member).and_then(Item::as_str)
}

/// Refuses an id that exists and a key that is another's.
fn check_new(
    document: &DocumentMut,
    file: &str,
    kind: &'static str,
    entry: &Table,
) -> Result<(), JoiningFault> {
    let named = if kind == "sector" { "name" } else { "id" };
    let id = text_of(entry, named).unwrap_or_default();
    let mut there = document
        .get(kind)
        .and_then(Item::as_array_of_tables)
        .into_iter()
        .flatten();
    let same_uuid = |other: &Table| {
        let uuid =
            |table: &Table| text_of(table, "uuid").and_then(|text| Uuid::parse_str(text).ok());
        uuid(entry).is_some() && uuid(entry) == uuid(other)
    };
    if !id.is_empty() && there.any(|other| text_of(other, named) == Some(id) || same_uuid(other)) {
        return Err(JoiningFault::Exists {
            file: file.to_owned(),
            kind,
            id: id.to_owned(),
        });
    }
    let Some(key) = text_of(entry, "certificate") else {
        return Ok(());
    };
    match holders(document.as_table()).get(&key.to_ascii_lowercase()) {
        Some(holder) => Err(JoiningFault::OthersKey {
            file: file.to_owned(),
            id: id.to_owned(),
            holder: holder.clone(),
        }),
        None => Ok(()),
    }
}

/// Certificate key → the id of its entry, wherever it stands.
fn holders(table: &Table) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for member in ["certificate", "node"] {
        if let Some(key) = text_of(table, member) {
            let id = text_of(table, "id").unwrap_or("another entry");
            found.insert(key.to_ascii_lowercase(), id.to_owned());
        }
    }
    for (_, item) in table {
        let inner = item.as_array_of_tables().into_iter().flatten();
        found.extend(inner.chain(item.as_table()).flat_map(holders));
    }
    found
}
