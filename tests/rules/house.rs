//! The house keeps its order: which room may know which, read from the source.
//!
//! The order of the rooms is the table in `src/lib.rs`, and it is total: a room knows only rooms
//! that stand before it. There are no exceptions to that, tests within the rooms included.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src/`, the room it is part of, its code without comments, and how
/// many lines it has with them.
pub struct Source {
    pub path: String,
    pub room: String,
    pub code: String,
    pub lines: usize,
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub fn sources() -> Vec<Source> {
    let mut sources = vec![];
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path
                .strip_prefix(src())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let room = below
                .split('/')
                .next()
                .unwrap()
                .trim_end_matches(".rs")
                .to_owned();
            let text = fs::read_to_string(&path).unwrap();
            sources.push(Source {
                lines: text.lines().count(),
                code: without_comments(&text),
                path: below,
                room,
            });
        }
    }
    // `main.rs` calls the command line and `lib.rs` is the house itself.
    sources.retain(|source| !matches!(source.path.as_str(), "lib.rs" | "main.rs"));
    assert!(
        sources.len() > 50,
        "the source is not where this test looks for it"
    );
    sources
}

fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.find("//") {
        Some(0) => String::new(),
        // Not the two slashes of a URL.
        Some(at) if line[..at].ends_with(' ') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(|line| code(line) + "\n").collect()
}

/// The rooms in their order: the names in brackets in the table of `src/lib.rs`.
fn rooms() -> Vec<String> {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"))
        .filter_map(|row| row.split(" |").next());
    rows.flat_map(|row| {
        row.split(['[', '`', ']', ',', ' '])
            .filter(|name| !name.is_empty())
    })
    .map(str::to_owned)
    .collect()
}

/// The rooms that a piece of code names: `crate::room…` and `crate::{room…, room…}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at]
            .ends_with(|before: char| before == '$' || before == '_' || before.is_alphanumeric())
        {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => named.extend(heads(list)),
            None => named.extend([head(rest)]),
        }
    }
    named
}

/// The identifier at the beginning of a path.
fn head(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first identifiers of the paths in a list, up to the brace that closes it.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut at_start, mut heads) = (0, true, vec![]);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                heads.push(head(&list[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn the_table_names_every_room_and_nothing_else() {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let modules = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let (rooms, modules): (Vec<_>, BTreeSet<_>) = (rooms(), modules.map(str::to_owned).collect());
    assert_eq!(rooms.iter().cloned().collect::<BTreeSet<_>>(), modules);
    assert_eq!(
        rooms.len(),
        modules.len(),
        "a room stands in the table twice"
    );
}

#[test]
fn no_arrow_points_back() {
    let order: BTreeMap<String, usize> = rooms()
        .into_iter()
        .enumerate()
        .map(|(place, room)| (room, place))
        .collect();
    let mut wrong = vec![];
    for source in sources() {
        let own = order[&source.room];
        for room in named(&source.code) {
            match order.get(&room) {
                Some(place) if *place > own => {
                    wrong.push(format!("src/{} knows `{room}`", source.path));
                }
                Some(_) => {}
                None => wrong.push(format!(
                    "src/{} names `crate::{room}`, which is no room",
                    source.path
                )),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point back:\n  {}",
        wrong.join("\n  ")
    );
}

/// The modules of a room that a module of it names, by `super::module…`, `crate::room::module…` or,
/// in the room's own file, `module::…`.
fn siblings(source: &Source, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let crate_path = format!("crate::{}::", source.room);
    let heads_behind = |path: &str| -> Vec<String> {
        let ends = source
            .code
            .match_indices(path)
            .map(|(at, path)| &source.code[at + path.len()..]);
        ends.flat_map(|rest| {
            rest.strip_prefix('{')
                .map_or_else(|| vec![head(rest)], heads)
        })
        .collect()
    };
    found.extend(heads_behind("super::"));
    found.extend(heads_behind(&crate_path));
    if !source.path.contains('/') {
        let is_named = |module: &&String| source.code.contains(&format!(" {module}::"));
        found.extend(modules.iter().filter(is_named).cloned());
    }
    // `super::*` names no module.
    found.retain(|module| {
        !module.is_empty() && modules.contains(module) && *module != module_of(source)
    });
    found
}

/// The module directly below its room that a file is part of; empty for the room's own file.
fn module_of(source: &Source) -> String {
    source
        .path
        .split('/')
        .nth(1)
        .unwrap_or_default()
        .trim_end_matches(".rs")
        .to_owned()
}

/// Within these rooms, too, arrows point one way: no two modules know each other, however far
/// around.
#[test]
fn modules_of_a_room_know_one_another_in_one_direction() {
    let sources = sources();
    for room in ["execution", "reidentify", "migrate", "renewal", "http"] {
        let own: Vec<&Source> = sources
            .iter()
            .filter(|source| source.room == room)
            .collect();
        let modules: BTreeSet<String> = own.iter().map(|source| module_of(source)).collect();
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in own {
            known
                .entry(module_of(source))
                .or_default()
                .extend(siblings(source, &modules));
        }
        // Takes away, again and again, the modules that know none of those that are left.
        while let Some(free) = known
            .iter()
            .find(|(_, others)| others.is_empty())
            .map(|(module, _)| module.clone())
        {
            known.remove(&free);
            known
                .values_mut()
                .for_each(|others| others.retain(|other| *other != free));
        }
        assert!(known.is_empty(), "a circle in `{room}`: {known:?}");
    }
}

/// `super::` must not lead out of a room, past the check above.
#[test]
fn nobody_leaves_a_room_by_the_back_door() {
    for source in sources() {
        let depth = source.path.split('/').count();
        let tests = source.code.find("mod tests {").unwrap_or(source.code.len());
        for (at, _) in source.code.match_indices("super::") {
            let before = &source.code[..at];
            if before.ends_with("super::") {
                continue;
            }
            let steps = 1 + source.code[at + 7..]
                .split("super::")
                .take_while(|between| between.is_empty())
                .count();
            let inside = depth + usize::from(at > tests);
            assert!(
                steps < inside,
                "src/{}: {}",
                source.path,
                source.code[at..].lines().next().unwrap()
            );
        }
    }
}

/// A fault in the store cannot leak what the store never holds.
#[test]
fn the_store_knows_no_key_and_only_its_engine_knows_rocksdb() {
    for source in sources() {
        if source.room == "store" {
            let known: BTreeSet<_> = ["store", "code", "clock", "files", "system"]
                .map(str::to_owned)
                .into();
            let other: Vec<_> = named(&source.code).difference(&known).cloned().collect();
            assert!(other.is_empty(), "src/{} knows {other:?}", source.path);
        }
        let behind_the_rows = source.path.starts_with("store/rocks");
        assert!(
            behind_the_rows || !source.code.contains("rocksdb::"),
            "src/{} knows RocksDB",
            source.path
        );
    }
}

/// The transparency log is a library: it knows no entry, no store and no register, so that it can
/// be read, and taken, alone.
#[test]
fn the_transparency_log_knows_nothing_of_cloison() {
    let known: BTreeSet<_> = ["tlog", "files", "system"].map(str::to_owned).into();
    for source in sources().iter().filter(|source| source.room == "tlog") {
        let other: Vec<_> = named(&source.code).difference(&known).cloned().collect();
        assert!(other.is_empty(), "src/{} knows {other:?}", source.path);
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    let libraries: [(&[&str], &[&str]); 11] = [
        (
            &["hyper", "hyper_util", "tower", "tokio_rustls", "rustls"],
            &["http", "client", "identity_link", "load", "cli"],
        ),
        // A configuration has URLs in it, which axum reads.
        (&["axum"], &["http", "serve", "config"]),
        (&["ureq"], &["client"]),
        (&["vsss_rs", "k256", "cryptoki", "rpassword"], &["keys"]),
        // Secrets under a passphrase, answers sealed to an officer, whose recipient stands in the
        // register, and backups sealed for a foreign place.
        (
            &["age"],
            &["keys", "register", "reidentify", "backup", "cli"],
        ),
        (&["clap"], &["load", "cli"]),
        (&["indicatif"], &["terminal", "load", "cli"]),
        (&["rcgen"], &["deployment"]),
        (&["tracing_subscriber"], &["terminal"]),
        (&["minijinja"], &["cli"]),
        // Use cases are plain and synchronous; the writer hands its receipt, and an identity source
        // its UTIs, to whoever waits, on a thread or in a task.
        (
            &["tokio"],
            &["http", "identity_link", "serve", "load", "commit", "utis"],
        ),
    ];
    for source in sources() {
        for (names, rooms) in libraries {
            for name in names {
                let path = format!("{name}::");
                let known = source.code.match_indices(&path).any(|(at, _)| {
                    !source.code[..at]
                        .ends_with(|c: char| c == '_' || c == ':' || c.is_alphanumeric())
                });
                assert!(
                    !known || rooms.contains(&source.room.as_str()),
                    "src/{} knows {name}",
                    source.path
                );
            }
        }
    }
}

/// System calls are safe functions of one room. What else is unsafe says why with
/// `#[expect(unsafe_code)]`, which the compiler demands.
#[test]
fn system_calls_are_in_one_room() {
    for source in sources()
        .iter()
        .filter(|source| !["system", "keys"].contains(&source.room.as_str()))
    {
        let calls = source
            .code
            .match_indices("libc::")
            .map(|(at, _)| &source.code[at + "libc::".len()..]);
        let functions: Vec<String> = calls
            .map(head)
            .filter(|name| !name.starts_with("O_"))
            .collect();
        assert!(
            functions.is_empty(),
            "src/{} calls {functions:?}",
            source.path
        );
    }
}

/// Time and randomness are parameters; the real ones are called in one place.
#[test]
fn the_real_clock_and_the_real_dice_are_in_one_room() {
    for source in sources().iter().filter(|source| source.room != "clock") {
        for call in [
            "Timestamp::now",
            "SystemTime::now",
            "Zoned::now",
            "getrandom::",
            "OsRng",
            "thread_rng",
            "Uuid::new_v4",
        ] {
            assert!(
                !source.code.contains(call),
                "src/{} calls {call}",
                source.path
            );
        }
    }
    // The rooms that run a process hand its clock in; every other room is given one.
    let running = ["clock", "terminal", "deployment", "serve", "load", "cli"];
    for source in sources()
        .iter()
        .filter(|source| !running.contains(&source.room.as_str()))
    {
        assert!(
            !source.code.contains("SystemClock"),
            "src/{} takes the time by itself",
            source.path
        );
    }
}

/// A type is known by its name alone, so that a reader who meets it need not look at its path.
///
/// This holds for structs, enums, unions, traits and aliases at the level of a module. Modules of
/// tests are left out: no other module can name their types.
#[test]
fn a_types_name_is_unique_in_the_crate() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        let code = source.code.split("mod tests {").next().unwrap();
        for name in code.lines().filter_map(defined_type) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    assert!(
        places.len() > 500,
        "the types are not where this test looks"
    );
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "defined more than once: {places:?}");
}

/// The type that a line at the level of a module begins to define.
fn defined_type(line: &str) -> Option<String> {
    let visible = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let line = visible.strip_prefix("unsafe ").unwrap_or(visible);
    ["struct ", "enum ", "union ", "trait ", "type "]
        .iter()
        .find_map(|kind| line.strip_prefix(kind))
        .map(head)
}

/// A string that goes on in the next line without `\` has that line's indentation in it.
#[test]
fn no_message_has_the_indentation_of_its_source_in_it() {
    for source in sources() {
        for (at, _) in source.code.match_indices("#[error(") {
            let message = &source.code[at..];
            let message = &message[..message.find(")]").expect("an attribute ends")];
            let Some((first, last)) = message.find('"').zip(message.rfind('"')) else {
                continue;
            };
            // A `\` at the end of a line swallows what the next one begins with.
            let words: String = message[first..last]
                .split("\\\n")
                .map(str::trim_start)
                .collect();
            assert!(!words.contains("  "), "src/{}: {words}", source.path);
        }
    }
}

/// A page that was pasted into itself says everything twice.
#[test]
fn no_page_says_a_thing_twice() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for page in docs.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if page.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = fs::read_to_string(&page).unwrap();
        let mut seen = BTreeSet::new();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        for block in lines.windows(6) {
            assert!(
                seen.insert(block),
                "{} has these lines twice:\n{}",
                page.display(),
                block.join("\n")
            );
        }
    }
}

#[test]
fn this_test_can_fail() {
    let code = without_comments(
        "use crate::store::Store; // crate::cli\nlet x = crate::keys::lp(1);\nuse crate::{audit, seal::{chunk, mapping},\n    \
         http::Problem};\n/// [`crate::tokenize`]\nlet url = \"https://a\"; crate::vault::x();",
    );
    let wanted: BTreeSet<_> = ["store", "keys", "audit", "seal", "http", "vault"]
        .map(str::to_owned)
        .into();
    assert_eq!(named(&code), wanted);
    for line in [
        "pub struct Row<T> {",
        "enum Row {",
        "pub(in crate::store) type Row = [u8; 2];",
        "pub(super) unsafe trait Row: Send {",
    ] {
        assert_eq!(defined_type(line).as_deref(), Some("Row"));
    }
    assert_eq!(defined_type("    type Item = Row;"), None);
}
