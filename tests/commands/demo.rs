//! The demo shows what it says, leaves nothing behind, and leaks nothing on the way.
#![expect(unsafe_code, reason = "signals to a child")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn demo(arguments: &[&str], temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
    command
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", temporary)
        .env("CLOISON_LOG", "trace")
        .stdin(Stdio::null());
    command
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// Processes whose command line names `dir`.
fn processes_on(dir: &Path) -> usize {
    let needle = dir.to_str().unwrap().as_bytes().to_vec();
    let lines = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    // The demo itself may name the folder, too; only the two servers name a file in it.
    lines
        .filter(|line| contains(line, &[&needle[..], b"/"].concat()))
        .count()
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn it_shows_what_it_says_and_leaks_nothing() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("kept");
    let output = demo(
        &[
            "--persons",
            "3000",
            "--json",
            "--keep",
            dir.to_str().unwrap(),
        ],
        place.path(),
    )
    .output()
    .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["persons"], 3000);
    assert_eq!(outcome["sectors"], 3);
    assert_eq!(outcome["tokens"], 9000);
    assert_eq!(outcome["repeat_identical"], true);
    assert_eq!(outcome["cross_sector_collisions"], 0);
    assert_eq!(outcome["reidentified"], true);
    assert_eq!(
        outcome["refused"],
        serde_json::json!(["order-quorum", "order-expired"])
    );
    assert_eq!(
        outcome["epoch_after"].as_u64(),
        outcome["epoch_before"].as_u64().map(|epoch| epoch + 1)
    );
    assert_eq!(outcome["old_epoch_resolved"], true);
    let rate = outcome["tokens"].as_f64().unwrap() / outcome["seconds"].as_f64().unwrap();
    assert!((outcome["tokens_per_second"].as_f64().unwrap() - rate).abs() < 1.0);
    assert_eq!(processes_on(&dir), 0, "both processes have ended");
    nothing_leaked(&dir);
}

/// No identifier outside `input/`, no secret outside `secrets/`, no pseudonym in a store or a log,
/// in any of its forms.
fn nothing_leaked(dir: &Path) {
    let words = |path: &str| -> Vec<String> {
        fs::read_to_string(dir.join(path))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let identifiers: HashSet<Vec<u8>> = words("input/cards.txt")
        .into_iter()
        .map(String::into_bytes)
        .collect();
    let secrets: Vec<Vec<u8>> = files(&dir.join("secrets"))
        .iter()
        .flat_map(|path| secrets_in(path))
        .collect();
    assert!(secrets.len() > 20);
    let register =
        cloison::register::parse(&fs::read_to_string(dir.join("register.toml")).unwrap()).unwrap();
    let (mut texts, mut raw) = (HashSet::new(), HashSet::new());
    for (output, name) in [
        ("health", "health"),
        ("tax", "tax"),
        ("social", "social"),
        ("renewed", "health"),
    ] {
        let sector = register.sector(name).unwrap();
        for line in words(&format!("output/{output}.txt")) {
            let parsed = cloison::pseudonym::parse(sector.text_form, &sector.tag, &line).unwrap();
            raw.insert(*parsed.pseudonym.as_bytes());
            texts.insert(line.into_bytes());
        }
    }
    assert_eq!(
        (identifiers.len(), texts.len(), raw.len()),
        (3_000, 9_001, 9_001)
    );

    let mut searched = 0;
    for path in files(dir) {
        let inside = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        if !inside.starts_with("input/") {
            // Every made-up card has seven or eight characters.
            let found = [7, 8]
                .iter()
                .any(|n| bytes.windows(*n).any(|window| identifiers.contains(window)));
            assert!(!found, "an identifier in {inside}");
        }
        if !inside.starts_with("secrets/") {
            assert!(
                !secrets.iter().any(|secret| contains(&bytes, secret)),
                "a secret in {inside}"
            );
        }
        if inside.starts_with("data/") || inside.starts_with("logs/") {
            searched += bytes.len();
            assert!(
                !bytes.windows(16).any(|window| raw.contains(window)),
                "a raw pseudonym in {inside}"
            );
            let lengths: HashSet<usize> = texts.iter().map(Vec::len).collect();
            let found = lengths
                .iter()
                .any(|n| bytes.windows(*n).any(|window| texts.contains(window)));
            assert!(!found, "a pseudonym in {inside}");
        }
    }
    assert!(
        searched > 100_000,
        "there is a store with something in it, and logs"
    );
}

/// The secret bytes of a file, as text and raw.
fn secrets_in(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap();
    match text.strip_prefix("cloison-secret-1:") {
        Some(line) => {
            let digits = line.trim_end().rsplit(':').next().unwrap();
            vec![
                digits.as_bytes().to_vec(),
                data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap(),
            ]
        }
        None => {
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('-')).collect();
            let der = data_encoding::BASE64
                .decode(lines.concat().as_bytes())
                .unwrap();
            // The last 32 bytes of an Ed25519 key are its seed; of a P-256 key this is the public
            // half's end, so the whole.
            let raw = if der.len() == 48 {
                der[16..].to_vec()
            } else {
                der
            };
            vec![lines[0].as_bytes().to_vec(), raw]
        }
    }
}

#[test]
fn it_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let output = demo(&["--persons", "50"], place.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("150 pseudonyms") && said.contains("order-quorum"),
        "{said}"
    );
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
    assert_eq!(processes_on(place.path()), 0);
}

#[test]
fn split_it_shows_the_same_with_a_process_more() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("kept");
    let kept = dir.to_str().unwrap();
    let output = demo(
        &["--persons", "3000", "--json", "--split", "--keep", kept],
        place.path(),
    )
    .output()
    .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&outcome["repeat_identical"], &outcome["reidentified"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!(processes_on(&dir), 0, "all three processes have ended");
    assert!(dir.join("secrets/identity/identity.secret").exists());
    assert!(!dir.join("secrets/vault/identity.secret").exists());
    nothing_leaked(&dir);
}

#[test]
fn interrupted_it_leaves_nothing_behind_either() {
    let place = tempfile::tempdir().unwrap();
    let mut child = demo(&["--persons", "2000000"], place.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while processes_on(place.path()) < 2 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it did not start"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: a number and a signal; the child was not waited for, so the id is its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
    assert_eq!(processes_on(place.path()), 0);
}

#[test]
fn a_folder_with_something_in_it_is_not_taken() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("mine.txt"), "mine").unwrap();
    let output = demo(
        &["--persons", "10", "--keep", place.path().to_str().unwrap()],
        place.path(),
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not empty"));
    assert_eq!(
        fs::read_to_string(place.path().join("mine.txt")).unwrap(),
        "mine"
    );
    assert_eq!(place.path().read_dir().unwrap().count(), 1);
}
