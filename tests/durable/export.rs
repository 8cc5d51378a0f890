//! The way out: what `cloison store export` writes is read by a program that knows nothing but the
//! specification (`tests/independent/open_export.py`), which opens every mapping that is there, and
//! none that was erased or whose epoch was retired.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use cloison::config::VaultConfig;
use cloison::deployment::register_text::{AUTHORITY, AUTHORITY_KEY};
use cloison::keys::AuthoritySecret;
use cloison::keys::file::{SecretKind, read_secret, read_signing_key};
use cloison::register::{Register, Suite};
use cloison::seal::segment::AuthorityPrivateKey;
use cloison::vault::Vault;
use data_encoding::HEXLOWER;
use jiff::SignedDuration;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::world::{CALLERS, Caller, World, advance, card, deployment, id, tokenize};
use super::{erase, retire};
use crate::common::copy_folder;

/// A pseudonym that was answered, and what a reader of the export must find.
struct AnsweredPseudonym {
    sector: &'static str,
    text: String,
    /// The canonical value, or why there is none.
    wanted: Result<String, &'static str>,
}

/// Sends cards and notes what was answered.
fn send(
    vault: &Vault,
    caller: Caller,
    cards: std::ops::Range<u32>,
    answered: &mut Vec<AnsweredPseudonym>,
) {
    let items: Vec<_> = cards.map(card).collect();
    let answer = tokenize(vault, caller, &items).unwrap();
    let texts = answer.pseudonyms.iter().map(|p| answer.writer.text(p));
    answered.extend(texts.zip(items).map(|(text, item)| AnsweredPseudonym {
        sector: caller.sector,
        text,
        wanted: Ok(item),
    }));
}

fn register() -> Register {
    erase::with_officers(retire::register())
}

fn open(world: &World, register: Register) -> Vault {
    world
        .open_with(register, Box::new(|error| panic!("{error}")))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Sectors of each granularity and text form, three epochs of one of them, the first of which is
/// retired, erased persons in the second, and a sector that stores nothing.
fn lived(world: &World) -> Vec<AnsweredPseudonym> {
    let vault = open(world, register());
    let mut answered = vec![];
    for caller in CALLERS {
        send(&vault, caller, 0..300, &mut answered);
        // A day later the segment is another one.
        world.later(SignedDuration::from_hours(25));
        send(&vault, caller, 300..310, &mut answered);
    }
    advance(&vault, "health", false);
    let second = answered.len();
    send(&vault, CALLERS[0], 200..400, &mut answered);
    world.later(SignedDuration::from_hours(31 * 24));
    let erased = [second, second + 7, second + 150];
    erase::erase(
        &vault,
        erased.iter().map(|n| answered[*n].text.clone()).collect(),
    );
    assert!(retire::retire_first(&vault) > 0);
    advance(&vault, "health", false);
    send(&vault, CALLERS[0], 0..20, &mut answered);
    for (n, answer) in answered.iter_mut().enumerate() {
        if erased.contains(&n) {
            answer.wanted = Err("erased");
        } else if answer.sector == "health" && n < second {
            answer.wanted = Err("retired");
        } else if answer.sector == "study" {
            answer.wanted = Err("no-mapping");
        }
    }
    answered
}

fn cloison(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(["store", "export", "--json"])
        .args(arguments)
        .env_remove("CLOISON_LOG")
        .output()
        .unwrap()
}

/// Exports the store and says what the command printed.
pub fn export(store: &Path, out: &Path) -> Value {
    let output = cloison(&["--store".as_ref(), store, "--out".as_ref(), out]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The Python that `ops/python-env` makes. No Python, no pass.
pub fn interpreter() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new("sh")
        .arg(root.join("ops/python-env"))
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// What the independent reader is given beside the export.
pub struct ReaderKeys {
    pub sector: String,
    pub store_secrets: PathBuf,
    pub authority_secret: PathBuf,
    pub audit_secret: PathBuf,
    /// Public, in hexadecimal digits.
    pub segment_key: String,
}

impl ReaderKeys {
    /// Runs the independent reader.
    pub fn open(&self, export: &Path, texts: &[&str]) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Command::new(interpreter())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(root.join("tests/independent/open_export.py"))
            .arg(export)
            .args(["--sector", &self.sector, "--segment-key", &self.segment_key])
            .arg("--store-secrets")
            .arg(&self.store_secrets)
            .arg("--authority-secret")
            .arg(&self.authority_secret)
            .arg("--audit-secret")
            .arg(&self.audit_secret)
            .args(texts)
            .output()
            .unwrap()
    }
}

fn open_export(export: &Path, sector: &str, texts: &[&str]) -> Output {
    let secrets = VaultConfig::load(&deployment().join("vault.toml"))
        .unwrap()
        .secrets;
    let segment_key = read_signing_key(&secrets.segment.at).unwrap();
    let keys = ReaderKeys {
        sector: register().sector(sector).unwrap().uuid.to_string(),
        store_secrets: secrets.store.at,
        authority_secret: authority_secret(),
        audit_secret: secrets.audit.at,
        segment_key: HEXLOWER.encode(segment_key.verifying_key().as_bytes()),
    };
    keys.open(export, texts)
}

fn authority_secret() -> PathBuf {
    let config = cloison::config::NodeConfig::load(&deployment().join("node.toml")).unwrap();
    let cloison::config::KeyPlace::Own(deposit) = &config.keys[0].place else {
        panic!("the key is a file")
    };
    deposit.at.clone()
}

pub fn results(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let results: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        !results.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    results
}

#[test]
fn an_independent_reader_opens_what_is_stored_and_nothing_else() {
    let world = World::new();
    let answered = lived(&world);
    let out = world.home.path().join("out.jsonl");
    let said = export(&world.store(), &out);
    assert_eq!(said["sectors"], 5, "{said}");
    assert_eq!((&said["epochs"], &said["retired"]), (&7.into(), &1.into()));
    assert_eq!(said["tombstones"], 3);
    assert_eq!(said["owner"], "durable/vault");
    let bytes = fs::read(&out).unwrap();
    assert_eq!(said["bytes"], bytes.len());
    assert_eq!(said["sha256"], HEXLOWER.encode(&Sha256::digest(&bytes)));
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    for sector in ["health", "tax", "social", "school", "study"] {
        let of_sector: Vec<_> = answered.iter().filter(|a| a.sector == sector).collect();
        let texts: Vec<_> = of_sector.iter().map(|a| a.text.as_str()).collect();
        let output = open_export(&out, sector, &texts);
        let results = results(&output);
        let all = of_sector.iter().all(|answer| answer.wanted.is_ok());
        assert_eq!(output.status.code(), Some(if all { 0 } else { 3 }));
        let mut by_text: std::collections::HashMap<&str, &Value> = results
            .iter()
            .map(|r| (r["pseudonym"].as_str().unwrap(), r))
            .collect();
        for answer in of_sector {
            let Some(result) = by_text.remove(answer.text.as_str()) else {
                // Two clients of one domain sent the same card.
                continue;
            };
            match &answer.wanted {
                Ok(value) => assert_eq!(result["value"], *value, "{sector}: {result}"),
                Err(error) => assert_eq!(result["error"], *error, "{sector}: {result}"),
            }
        }
        assert!(by_text.is_empty());
    }
}

#[test]
fn an_export_holds_nothing_unsealed_and_the_store_is_as_it_was() {
    let world = World::new();
    let answered = lived(&world);
    let before = files(&world.store());
    let [out, again] = ["out.jsonl", "again.jsonl"].map(|name| world.home.path().join(name));
    export(&world.store(), &out);
    assert_eq!(files(&world.store()), before);
    let text = fs::read_to_string(&out).unwrap();
    for answer in &answered {
        assert!(!text.contains(&answer.text));
        if let Ok(value) = &answer.wanted {
            assert!(!text.contains(value.as_str()));
        }
    }
    // A copy that lies elsewhere, and the store after another start: the same rows.
    copy_folder(&world.store(), &world.home.path().join("copy"));
    export(&world.home.path().join("copy"), &again);
    let rows = |file: &Path| -> Vec<String> {
        let text = fs::read_to_string(file).unwrap();
        let lines = text
            .lines()
            .skip(1)
            .filter(|line| !line.contains("\"end\""));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(rows(&out), rows(&again));
    drop(open(&world, register()));
    fs::remove_file(&again).unwrap();
    export(&world.store(), &again);
    assert_eq!(rows(&out), rows(&again));

    // Cut short, with a line less, with another byte: nothing is opened.
    let lines: Vec<&str> = text.lines().collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().join("\n") + "\n";
    let tax = answered.iter().find(|a| a.sector == "tax").unwrap();
    let damages = [
        without(lines.len() - 1),
        without(lines.len() - 2),
        text.replacen("\"opened\":1", "\"opened\":2", 1),
    ];
    for damaged in damages {
        fs::write(&again, damaged).unwrap();
        let output = open_export(&again, "tax", &[&tax.text]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cut short or changed"), "{said}");
        assert!(output.stdout.is_empty());
    }
}

/// Every file of a folder with its bytes, but those in which RocksDB logs what it does.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            !path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("LOG")
        })
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_hybrid_key_opens_by_the_same_reader() {
    let world = World::new();
    let mut register = super::world::register();
    let secret = AuthoritySecret(read_secret(&authority_secret(), SecretKind::Authority).unwrap());
    let key = AuthorityPrivateKey::derive(&secret, AUTHORITY_KEY, Suite::XWing);
    let court = register.authorities.get_mut(&id(AUTHORITY)).unwrap();
    let court = Arc::make_mut(court);
    court.keys[0].suite = Suite::XWing;
    court.keys[0].public = key.public().to_vec();
    let vault = open(&world, register);
    let mut answered = vec![];
    send(&vault, CALLERS[4], 0..3, &mut answered);
    drop(vault);
    let out = world.home.path().join("out.jsonl");
    export(&world.store(), &out);
    let texts: Vec<_> = answered.iter().map(|a| a.text.as_str()).collect();
    let opened = results(&open_export(&out, "social", &texts));
    for (opened, answer) in opened.iter().zip(&answered) {
        assert_eq!(opened["value"], *answer.wanted.as_ref().unwrap());
        assert_eq!(opened["purpose"], "aid");
    }
}

#[test]
fn an_export_is_refused_with_a_reason_and_leaves_nothing() {
    let world = World::new();
    let vault = world.open();
    send(&vault, CALLERS[2], 0..3, &mut vec![]);
    let folder = world.home.path().join("outs");
    fs::create_dir(&folder).unwrap();
    let out = folder.join("out.jsonl");
    let refused = |store: &Path, out: &Path| -> String {
        let output = cloison(&["--store".as_ref(), store, "--out".as_ref(), out]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let said: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(!said["hint"].as_str().unwrap().is_empty());
        said["error"].as_str().unwrap().to_owned()
    };
    assert!(refused(&world.store(), &out).contains("in use by another process"));
    drop(vault);
    drop(world.node());
    assert!(refused(&world.home.path().join("none"), &out).contains("there is no store at"));
    assert!(refused(&world.home.path().join("node"), &out).contains("only a vault's"));
    // By a configuration: a vault's, whose store it is.
    let vault_toml = fs::read_to_string(deployment().join("vault.toml")).unwrap();
    let here = format!("path = {:?}", world.store());
    let own = vault_toml.replace("path = \"data/vault\"", &here);
    let foreign = own.replace("deployment = \"durable\"", "deployment = \"other\"");
    assert!(own.contains(&here) && foreign != own);
    let config = world.home.path().join("vault.toml");
    let by_config = |text: &str| {
        fs::write(&config, text).unwrap();
        cloison(&["--config".as_ref(), &config, "--out".as_ref(), &out])
    };
    let said = String::from_utf8(by_config(&foreign).stderr).unwrap();
    assert!(said.contains("belongs to durable/vault"), "{said}");
    assert!(by_config(&own).status.success());
    fs::remove_file(&out).unwrap();
    fs::write(&out, "theirs").unwrap();
    assert!(refused(&world.store(), &out).contains("exists"));
    assert_eq!(fs::read(&out).unwrap(), b"theirs");
    assert!(refused(&world.store(), &folder.join("no/out")).contains("No such file"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left");
}
