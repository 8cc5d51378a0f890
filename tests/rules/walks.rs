//! `docs/architecture.md` walks through the code: every file that it names exists, and what a row
//! of its tables names stands in the code of the files that the row names.

use std::fs;
use std::path::Path;

use crate::house::sources;

/// Whether a word is a name of Rust, or a path of such names.
fn is_name(word: &str) -> bool {
    word.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}

/// Whether code has a name as a whole word.
fn has(code: &str, name: &str) -> bool {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|word| word == name)
}

#[test]
fn what_a_walk_names_is_in_the_file_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let sources = sources();
    let (mut wrong, mut names) = (vec![], 0);
    for word in page.split('`').skip(1).step_by(2) {
        if word.starts_with("src/") && !root.join(word).exists() {
            wrong.push(format!("there is no {word}"));
        }
    }
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let files = quoted.iter().filter_map(|word| word.strip_prefix("src/"));
        let files: Vec<_> = files
            .filter_map(|file| sources.iter().find(|source| source.path == file))
            .collect();
        if files.is_empty() {
            continue;
        }
        for word in quoted.into_iter().filter(|word| is_name(word)) {
            names += 1;
            let is_there = |part| files.iter().any(|source| has(&source.code, part));
            if !word.split("::").all(is_there) {
                wrong.push(format!("`{word}` is in none of the files of {row}"));
            }
        }
    }
    assert!(names > 50, "only {names} names were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
