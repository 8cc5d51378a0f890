//! A small store of every format that a release wrote opens in this version, with its mappings
//! answered alike: `tests/data/stores/format-N.tar.gz`.
//!
//! An archive has the files of a vault's `store` and `known.txt`: a line for each mapping with its
//! epoch, its identifier and the pseudonym that was answered. Format 1 was written by cloison 0.1
//! (commit b3d30a1, the last one with that format). When a version with a new format is released,
//! its store comes beside them, written by `CLOISON_PIN_FORMAT=1 ops/test --test durable stores`;
//! those that are there are never written again.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cloison::access;
use cloison::pseudonym::{Pseudonym, TextWriter};
use cloison::register::{SpkiDigest, TextForm};
use cloison::reidentify::ReleasedItem;
use cloison::reidentify::release::release;
use cloison::store::Store;
use cloison::tokenize;
use cloison::vault::Vault;
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;

use super::export::{ReaderKeys, export, results};
use super::fixed_vault::{self, fixed_register, node_permit, question};
use super::format;

/// A mapping of an archive.
struct KnownMapping {
    epoch: u32,
    value: String,
    text: String,
}

fn archive(format: u32) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stores");
    folder.join(format!("format-{format}.tar.gz"))
}

/// Unpacks an archive: the store lies in `store` then.
fn unpack(format: u32, folder: &Path) -> Vec<KnownMapping> {
    let archive = archive(format);
    let done = Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(folder)
        .status();
    assert!(done.unwrap().success(), "{}", archive.display());
    let known = fs::read_to_string(folder.join("known.txt")).unwrap();
    let mapping = |line: &str| {
        let [epoch, value, text] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        KnownMapping {
            epoch: epoch.parse().unwrap(),
            value: value.into(),
            text: text.into(),
        }
    };
    known.lines().map(mapping).collect()
}

/// What each card is answered.
fn tokenize_all(vault: &Vault, cards: &[String]) -> Vec<String> {
    let client = SpkiDigest([0x11; 32]);
    let permit = access::tokenize(vault, client, "health", "cnie", Some("billing")).unwrap();
    let items = cards.iter().map(|card| Ok(card.as_str()));
    let (answer, job) = tokenize::prepare(vault, &permit, &Default::default(), items).unwrap();
    vault.committer().submit(job).unwrap().wait().unwrap();
    let texts = answer.pseudonyms.iter().map(|p| answer.writer.text(p));
    texts.collect()
}

/// Asks the vault for mappings, under an order for these pseudonyms: whether it has each.
fn released(vault: &Vault, texts: Vec<String>) -> Vec<bool> {
    let ids = [(); 2].map(|()| cloison::clock::random_uuid());
    let question = question(vault, ids, "RABAT/2026/2", texts);
    let released = release(vault, &node_permit(vault), &question);
    let released = released.unwrap_or_else(|refusal| panic!("{refusal}"));
    let items = released.items.iter();
    items
        .map(|item| matches!(item, ReleasedItem::Mapping { .. }))
        .collect()
}

/// Exports the store and lets the independent reader open everything that is known.
fn check_export(folder: &Path, known: &[KnownMapping], name: &str) {
    let write = |path: &str, kind: &str, byte: u8| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let digits = HEXLOWER.encode(&[byte; 32]);
        fs::write(&path, format!("cloison-secret-1:{kind}:{digits}\n")).unwrap();
        path
    };
    write("secrets/1.secret", "store", 5);
    let segment_key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let keys = ReaderKeys {
        sector: fixed_register(7).sector("health").unwrap().uuid.to_string(),
        store_secrets: folder.join("secrets"),
        authority_secret: write("court.secret", "authority", 6),
        audit_secret: write("audit.secret", "audit", 2),
        segment_key: HEXLOWER.encode(segment_key.as_bytes()),
    };
    let out = folder.join(name);
    export(&folder.join("store"), &out);
    let texts: Vec<_> = known.iter().map(|known| known.text.as_str()).collect();
    let opened = results(&keys.open(&out, &texts));
    assert_eq!(opened.len(), known.len());
    for (opened, known) in opened.iter().zip(known) {
        assert_eq!(opened["value"], known.value, "{opened}");
        assert_eq!(opened["epoch"], known.epoch, "{opened}");
    }
}

fn opens_and_answers_alike(format: u32) {
    let folder = tempfile::tempdir().unwrap();
    let known = unpack(format, folder.path());
    assert!(known.len() > 30);
    let store = folder.path().join("store");
    // As it is: the way out needs no upgrade.
    check_export(folder.path(), &known, "before.jsonl");
    assert!(Store::upgrade_copies(&store).is_empty());

    let vault = fixed_vault::open(&store, 2, fixed_register(8));
    let stored = vault.index().len();
    let current: Vec<_> = known.iter().filter(|known| known.epoch == 2).collect();
    let cards: Vec<_> = current.iter().map(|known| known.value.clone()).collect();
    let answered = tokenize_all(&vault, &cards);
    assert!(answered.iter().eq(current.iter().map(|known| &known.text)));
    assert_eq!(vault.index().len(), stored, "nobody is stored twice");
    let texts: Vec<_> = known.iter().map(|known| known.text.clone()).collect();
    assert_eq!(released(&vault, texts), vec![true; known.len()]);
    drop(vault);
    check_export(folder.path(), &known, "after.jsonl");
    let copies = Store::upgrade_copies(&store);
    let present = Store::open_offline(&store).unwrap().format().unwrap();
    assert_eq!(copies.len(), usize::from(format < present), "{copies:?}");

    let log_key = SigningKey::from_bytes(&[8; 32]).verifying_key();
    let verified = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(["audit", "verify"])
        .arg(&store)
        .args(["--key", &HEXLOWER.encode(log_key.as_bytes())])
        .output()
        .unwrap();
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

#[test]
fn a_store_of_every_released_format_opens_with_its_mappings_answered_alike() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = Store::open(&folder.path().join("store"), "format/vault").unwrap();
    let present = fresh.format().unwrap();
    if std::env::var_os("CLOISON_PIN_FORMAT").is_some() && !archive(present).exists() {
        write_archive(present);
    }
    (1..=present).for_each(opens_and_answers_alike);
}

/// Writes the archive of the present format.
fn write_archive(format: u32) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let first = format::write(&store);
    let mut known = String::new();
    let writer = TextWriter::new(TextForm::Bech32m, "sante", 1);
    let pseudonyms = first.chunks(16).map(|bytes| bytes.try_into().unwrap());
    for (card, pseudonym) in ["BE9876", "AB123456"].iter().zip(pseudonyms) {
        let text = writer.text(&Pseudonym::from_bytes(pseudonym));
        writeln!(known, "1 {card} {text}").unwrap();
    }
    let vault = fixed_vault::open(&store, 2, fixed_register(7));
    for cards in [1..21u32, 21..22, 22..41] {
        let cards: Vec<_> = cards.map(|n| format!("CD{n:04}")).collect();
        for (card, text) in cards.iter().zip(tokenize_all(&vault, &cards)) {
            writeln!(known, "2 {card} {text}").unwrap();
        }
    }
    drop(vault);
    fs::write(folder.path().join("known.txt"), known).unwrap();
    let done = Command::new("tar")
        .args(["--exclude=LOG*", "--exclude=OPTIONS*", "--exclude=LOCK"])
        .args([
            "--owner=0",
            "--group=0",
            "--mtime=2026-11-22",
            "--sort=name",
        ])
        .arg("-czf")
        .arg(archive(format))
        .arg("-C")
        .arg(folder.path())
        .args(["known.txt", "store"])
        .status();
    assert!(done.unwrap().success());
}
