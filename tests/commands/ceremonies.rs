//! Ceremonies at a terminal: what is asked, what a slip costs, and what the terminal shows.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Runs a command at a terminal of its own and types the answers to its questions; a `null` is the
/// passphrase that was shown.
fn at_terminal(folder: &Path, line: &str, dialogue: &Value) -> Value {
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/units/type.py");
    let mut child = Command::new("python3")
        .args([driver, env!("CARGO_BIN_EXE_cloison")])
        .args(line.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(dialogue.to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["before"], &said["after"]),
        (&true.into(), &true.into())
    );
    let between = said["between"].as_array().unwrap();
    assert!(between.iter().all(|echo| echo == false), "{said}");
    said
}

const KEYGEN: &str =
    "authority keygen --id court-2027 --threshold 2 --shares 3 --work 15 --out made";

#[test]
fn a_slip_is_asked_again_and_an_empty_line_gets_words() {
    let place = tempfile::tempdir().unwrap();
    let said = at_terminal(
        place.path(),
        KEYGEN,
        &json!([
            [
                "custodian-1's share (1 of 3), at least 12 characters",
                "short"
            ],
            [
                "fewer than 12 characters. Again:\r\nPassphrase of custodian-1",
                "a long passphrase"
            ],
            ["The same again", "another passphrase"],
            [
                "differ. Again, from the first:\r\nPassphrase of custodian-1",
                "a long passphrase"
            ],
            ["The same again", "a long passphrase"],
            ["custodian-2's share (2 of 3)", ""],
            ["The same again", null],
            ["custodian-3's share (3 of 3)", "one more passphrase"],
            ["The same again", "one more passphrase"],
        ]),
    );
    assert_eq!(said["code"], 0, "{said}");
    let shown = said["shown"].as_str().unwrap();
    for typed in [
        "a long passphrase",
        "another passphrase",
        "one more",
        "short\r",
    ] {
        assert!(!shown.contains(typed), "{shown}");
    }
    let words = shown.lines().find_map(|line| {
        line.strip_prefix("    ")
            .filter(|l| l.matches('-').count() == 6)
    });
    let words = words
        .unwrap_or_else(|| panic!("seven words are shown: {shown}"))
        .trim();

    // The shares open with what was typed, also at the second try.
    let recover = "secrets drill --share made/custodian-1.share --share made/custodian-2.share";
    let said = at_terminal(
        place.path(),
        recover,
        &json!([
            ["made/custodian-1.share (1 of 2)", "a wrong passphrase"],
            [
                "Again:\r\nPassphrase of made/custodian-1.share",
                "a long passphrase"
            ],
            ["made/custodian-2.share (2 of 2)", words],
        ]),
    );
    assert!(!said["shown"].as_str().unwrap().contains(words), "{said}");
}

#[test]
fn three_slips_end_it_and_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    let question = "custodian-1's share (1 of 3)";
    let slips = json!([[question, "short"], [question, "shorter"], [question, "no"]]);
    let said = at_terminal(place.path(), KEYGEN, &slips);
    let shown = said["shown"].as_str().unwrap();
    assert_eq!(said["code"], 1, "{shown}");
    assert!(
        shown.contains("after 3 tries") && shown.contains("nothing was written"),
        "{shown}"
    );
    assert!(!place.path().join("made").exists());
}
