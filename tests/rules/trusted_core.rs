//! `docs/trusted-core.md` says what is so: the files of the core, their sizes, what they import,
//! and where the names that open may stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::house::{Source, sources};

/// The page's tables, row by row, as the cells between the bars.
fn rows() -> Vec<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/trusted-core.md");
    let text = fs::read_to_string(page).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    text.lines()
        .filter(|line| line.starts_with("| "))
        .map(cells)
        .collect()
}

/// The words in back quotes in a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The core: files, and the lines that the page says they have.
fn core() -> Vec<(String, usize)> {
    let file = |row: Vec<String>| Some((quoted(&row[1]).next()?.to_owned(), row[2].parse().ok()?));
    let core: Vec<_> = rows().into_iter().filter_map(file).collect();
    assert!(core.len() > 10, "the page lists no core");
    core
}

/// The page's helpers: files and folders whose names begin so.
fn helpers() -> Vec<String> {
    let is_helper = |name: &&str| name.starts_with("src/") && !name.ends_with(".rs");
    let first = rows().into_iter().map(|row| row[1].clone());
    first
        .flat_map(|cell| {
            quoted(&cell)
                .filter(is_helper)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn source<'s>(sources: &'s [Source], file: &str) -> &'s Source {
    let found = sources
        .iter()
        .find(|source| format!("src/{}", source.path) == file);
    found.unwrap_or_else(|| panic!("there is no {file}"))
}

/// Writes out the paths of a `use`: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn expand(path: &str) -> Vec<String> {
    let Some((head, list)) = path.split_once('{') else {
        return vec![path.trim().to_owned()];
    };
    let list = list.trim_end().strip_suffix('}').unwrap_or(list);
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in list.chars() {
        match c {
            ',' if depth == 0 => items.push(String::new()),
            c => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                items.last_mut().unwrap().push(c);
            }
        }
    }
    items
        .iter()
        .filter(|item| !item.trim().is_empty())
        .flat_map(|item| expand(&format!("{}{}", head.trim(), item.trim())))
        .collect()
}

/// What a file's code names of the crate, by the whole path from its root: after `use`, and in the
/// code itself.
fn imports(source: &Source) -> BTreeSet<String> {
    let code = source.code.split("#[cfg(test)]").next().unwrap();
    let parts: Vec<&str> = source.path.trim_end_matches(".rs").split('/').collect();
    let absolute = |path: &str| {
        let (mut up, mut rest) = (0, path);
        while let Some(behind) = rest.strip_prefix("super::") {
            (up, rest) = (up + 1, behind);
        }
        match (path.strip_prefix("crate::"), up) {
            (Some(path), _) => Some(path.to_owned()),
            (None, 0) => None,
            (None, up) => Some([&parts[..parts.len() - up].join("::"), "::", rest].concat()),
        }
    };
    let mut named = BTreeSet::new();
    for statement in code.split(';') {
        let Some(at) = statement.rfind("use ").filter(|at| {
            let line = statement[..*at].rsplit('\n').next().unwrap();
            line.is_empty() || line.starts_with("pub")
        }) else {
            continue;
        };
        named.extend(
            expand(&statement[at + 4..])
                .iter()
                .filter_map(|path| absolute(path)),
        );
    }
    for (at, _) in code.match_indices("crate::") {
        let path: String = code[at + 7..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
            .collect();
        named.insert(path);
    }
    named
}

/// The file that a path of the crate leads to: that of the longest part that is a module.
fn file_of(path: &str, sources: &[Source]) -> String {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len())
        .rev()
        .map(|count| format!("{}.rs", parts[..count].join("/")))
        .find(|file| sources.iter().any(|source| source.path == *file))
        .map_or_else(
            || panic!("`{path}` leads to no file"),
            |file| format!("src/{file}"),
        )
}

#[test]
fn the_core_is_as_large_as_the_page_says() {
    let (sources, mut wrong) = (sources(), vec![]);
    for (file, stated) in core() {
        let lines = source(&sources, &file).lines;
        if lines.abs_diff(stated) * 10 > stated {
            wrong.push(format!(
                "{file} has {lines} lines, and the page says {stated}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_imports_itself_and_the_helpers_and_nothing_else() {
    let (sources, core, helpers) = (sources(), core(), helpers());
    let mut wrong = vec![];
    for (file, _) in &core {
        for path in imports(source(&sources, file)) {
            let found = file_of(&path, &sources);
            let is_core = core.iter().any(|(file, _)| *file == found);
            let is_helper = helpers.iter().any(|helper| {
                let rest = found.strip_prefix(helper.as_str());
                rest.is_some_and(|rest| rest.starts_with(['.', '/']))
            });
            if !is_core && !is_helper {
                wrong.push(format!("{file} imports `{path}` of {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_opens_is_named_where_the_page_says_and_nowhere_else() {
    let sources = sources();
    let named_in = |word: &str| -> BTreeSet<String> {
        sources
            .iter()
            .filter(|source| source.code.contains(word))
            .map(|source| format!("src/{}", source.path))
            .collect()
    };
    let mut words = 0;
    for row in rows().iter().filter(|row| row.len() == 4) {
        let word = quoted(&row[1])
            .next()
            .filter(|word| !word.starts_with("src/"));
        let Some(word) = word else { continue };
        let stated: BTreeSet<_> = quoted(&row[2]).map(str::to_owned).collect();
        assert_eq!(named_in(word), stated, "`{word}`");
        words += 1;
    }
    assert!(words > 10, "the page lists no words");

    // A private key is named by the core, and by those who make one.
    let makers = rows().into_iter().filter(|row| row.len() == 4);
    let mut may: BTreeSet<String> = makers
        .flat_map(|row| quoted(&row[1]).map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| name.ends_with(".rs"))
        .collect();
    may.extend(core().into_iter().map(|(file, _)| file));
    let other: Vec<_> = named_in("AuthorityPrivateKey")
        .difference(&may)
        .cloned()
        .collect();
    assert!(other.is_empty(), "{other:?} name a private key");
}

#[test]
fn this_test_reads_imports() {
    assert_eq!(
        expand("crate::{a, b::{self, c},\n d}"),
        ["crate::a", "crate::b::self", "crate::b::c", "crate::d"]
    );
    let code =
        "use super::segment::Id;\nuse super::{A, b};\nlet x = crate::keys::lp(1);\n".to_owned();
    let (path, room, lines) = ("seal/hpke.rs".to_owned(), "seal".to_owned(), 3);
    let wanted = ["keys::lp", "seal::A", "seal::b", "seal::segment::Id"];
    let found = imports(&Source {
        path,
        room,
        code,
        lines,
    });
    assert_eq!(found, wanted.map(str::to_owned).into());
}
