//! The pages do as they say: the shell blocks of README.md and docs/*.md are pasted, in their
//! order, into one shell a page.
//!
//! Comments, which a page's reader does not see, say what a block needs beyond what stands before
//! it, on the line above it:
//!
//! | comment | |
//! |---|---|
//! | `<!-- not run: WHY -->` | the block is left out; the test prints that, and why |
//! | `<!-- before: COMMANDS -->` | runs first: what the prose says that people do by hand, or did. The commands are in `docs/shell.sh` |
//! | `<!-- no block of this page is run: WHY -->` | once, anywhere on the page |
//!
//! A command that fails fails the test, which names its page and line.

#[allow(dead_code, reason = "tests/audit needs more of it")]
mod page;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{Door, Setup, Side, World};
use page::Page;

/// Pages of which blocks run, each by the test of its name below.
const RUN: [&str; 7] = [
    "README",
    "audit",
    "clients",
    "keys",
    "operations",
    "orders",
    "register",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn path_of(name: &str) -> PathBuf {
    match name {
        "README" => root().join("README.md"),
        name => root().join(format!("docs/{name}.md")),
    }
}

fn read(name: &str) -> Page {
    Page::read(
        &format!("{name}.md"),
        &fs::read_to_string(path_of(name)).unwrap(),
    )
}

#[test]
fn every_block_of_every_page_runs_or_says_why_not() {
    let docs = root()
        .join("docs")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut names: Vec<String> = docs
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.push("README".to_owned());
    names.sort();
    let mut run = 0;
    for name in names {
        let page = read(&name);
        println!(
            "{name}: {} blocks run, {} left out",
            page.run.len(),
            page.left.len()
        );
        page.left
            .iter()
            .for_each(|(line, why)| println!("  line {line}: {why}"));
        assert!(page.faults.is_empty(), "{}", page.faults.join("\n"));
        // A reason may say which test does the same with what the block lacks.
        let named = page
            .left
            .iter()
            .flat_map(|(_, why)| why.split([' ', ';']))
            .filter(|word| word.ends_with(".rs"));
        named.for_each(|test| assert!(root().join(test).exists(), "{name}: there is no {test}"));
        assert_eq!(
            RUN.contains(&name.as_str()),
            !page.run.is_empty(),
            "{name}: has blocks to run, or is in RUN"
        );
        run += page.run.len();
    }
    assert!(run >= 19, "only {run} blocks were found");
}

/// The pages of the repository, each with its text.
fn pages() -> Vec<(String, String)> {
    let docs = root().join("docs").read_dir().unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let tops = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    let named = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), text)
    };
    docs.chain(tops).map(named).collect()
}

#[test]
fn every_file_that_a_page_names_exists() {
    let exists =
        |path: &str| root().join(path).exists() || root().join(format!("{path}.rs")).exists();
    let mut wrong = vec![];
    for (page, text) in pages() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        for word in text.split(|c| !is_part(c)) {
            let path = word.trim_end_matches(['.', '/']);
            let of_ours = ["src/", "tests/", "docs/", "ops/", "benches/"];
            // What ends so goes on with a `*` or a brace.
            let is_whole = !path.ends_with('-');
            if of_ours.iter().any(|folder| path.starts_with(folder)) && is_whole && !exists(path) {
                wrong.push(format!("{page}: {path}"));
            }
        }
        // In testing.md a heading has the folders that its table is about.
        let mut folders: Vec<&str> = vec![];
        for line in text.lines() {
            let mut quoted = line.split('`').skip(1).step_by(2);
            if line.starts_with('#') {
                folders = quoted.filter(|word| word.starts_with("tests/")).collect();
            } else if line.starts_with("| `") && !folders.is_empty() {
                let first = line.split('|').nth(1).unwrap();
                quoted = first.split('`').skip(1).step_by(2);
                let lacks = |file: &&str| {
                    file.ends_with(".rs")
                        && !folders
                            .iter()
                            .any(|folder| exists(&format!("{folder}/{file}")))
                };
                wrong.extend(quoted.filter(lacks).map(|file| format!("{page}: {file}")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "pages name what is not there:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_readme_runs_as_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let said = paste("README", folder.path(), "");
    assert_eq!(
        said.matches("\tcnie\tAB123456\n").count(),
        1,
        "the pseudonym is re-identified: {said}"
    );
}

#[test]
fn audit_runs_as_pasted() {
    in_a_deployment("audit", None);
}

#[test]
fn clients_runs_as_pasted() {
    in_a_deployment("clients", None);
}

#[test]
fn keys_runs_as_pasted() {
    in_a_deployment("keys", Some((3, 5)));
}

#[test]
fn operations_runs_as_pasted() {
    in_a_deployment("operations", None);
}

#[test]
fn orders_runs_as_pasted() {
    in_a_deployment("orders", None);
}

#[test]
fn register_runs_as_pasted() {
    in_a_deployment("register", None);
}

/// Pastes a page in the folder of a deployment of its own, with two rights officers, whose vault
/// and node its shell has started.
fn in_a_deployment(name: &str, custodians: Option<(usize, usize)>) {
    let world = World::with(Setup {
        start: false,
        custodians,
        ..Setup::default()
    });
    crate::actors::rights_officers(
        &world,
        &[("rights-1", &["health"]), ("rights-2", &["health"])],
    );
    let doors = [Door::Data, Door::Control, Door::Officers].map(|door| world.address(door));
    let doors = doors.map(|address| address.port().to_string()).join(" ");
    paste(name, &world.path(""), &format!("doors='{doors}'\nstart\n"));
    for side in [Side::Vault, Side::Node] {
        assert!(!world.log(side).contains("panicked"), "{side:?}");
    }
}

/// Runs a page's blocks in a folder; what they print.
fn paste(name: &str, folder: &Path, before: &str) -> String {
    let page = read(name);
    let output = tempfile::NamedTempFile::new().unwrap();
    let script = tempfile::NamedTempFile::new().unwrap();
    let shell = fs::read_to_string(root().join("tests/docs/shell.sh")).unwrap();
    fs::write(script.path(), [&shell, before, &page.script()].concat()).unwrap();
    let status = shell_of_its_own(script.path())
        .current_dir(folder)
        .env(
            "PATH",
            format!(
                "{}:{}",
                program_folder().display(),
                std::env::var("PATH").unwrap()
            ),
        )
        .env_remove("CLOISON_CLIENT")
        .stdin(Stdio::null())
        .stdout(File::create(output.path()).unwrap())
        .stderr(File::options().append(true).open(output.path()).unwrap())
        .status()
        .unwrap();
    let said = String::from_utf8_lossy(&fs::read(output.path()).unwrap()).into_owned();
    assert!(
        status.success(),
        "{name} does not run as pasted; {status}:\n{said}"
    );
    said
}

fn program_folder() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cloison")).parent().unwrap()
}

/// A shell with a loopback of its own, where that may be had (root may): the ports of the README's
/// tour are fixed.
fn shell_of_its_own(script: &Path) -> Command {
    let up = "ip link set lo up";
    let apart = Command::new("unshare")
        .args(["--net", "sh", "-c", up])
        .stderr(Stdio::null())
        .status();
    if !apart.is_ok_and(|status| status.success()) {
        let mut command = Command::new("bash");
        command.arg(script);
        return command;
    }
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", &format!("{up} && exec bash \"$0\"")])
        .arg(script);
    command
}
