//! Forged logs of every kind. Each is found, and the message says what is wrong and where.

use std::fs;

use cloison::audit::origin::TrustedLogKey;
use cloison::audit::verify::LogExpectations;
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::note::{SignatureKind, Verifier, cosign};
use cloison::tlog::tree::tree_hash;
use ed25519_dalek::SigningKey;

use super::forge::{Log, ORIGIN, entries, entry, findings, key, verify_folder, write};

/// Sizes around the edges of tiles, of level 0 and of level 1.
const SIZES: [u64; 12] = [
    1, 2, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 66_000,
];

#[track_caller]
fn only(found: &[String], place: &str, what: &str) {
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with(place) && found[0].contains(what),
        "{found:#?}"
    );
}

#[test]
fn true_logs_are_good() {
    for size in SIZES {
        let log = Log::new(size);
        let report = log.verify();
        assert!(report.is_good(), "{size}: {:#?}", findings(&report));
        assert_eq!((report.logs[0].size, report.logs[0].checked), (size, size));
        assert_eq!(report.logs[0].events["refuse"], size);
    }
    let empty = Log::new(0);
    assert!(empty.verify().is_good());
}

#[test]
fn an_edited_entry() {
    for size in SIZES {
        let log = Log::new(size);
        for n in [0, size / 2, size - 1] {
            log.edit(n, |entries| {
                let text = String::from_utf8(entries[n as usize % 256].clone()).unwrap();
                entries[n as usize % 256] = text.replace("forbidden", "permitted").into_bytes();
            });
            only(
                &log.findings(),
                &format!("entry {n} (tile/entries/"),
                "was changed: it hashes to",
            );
            log.edit(n, |_| {});
        }
        assert!(log.verify().is_good());
    }
}

#[test]
fn a_deleted_and_an_inserted_entry() {
    for (size, n) in [(600, 300), (600, 599), (256, 0), (65_537, 65_535)] {
        let log = Log::new(size);
        log.edit(n, |entries| drop(entries.remove(n as usize % 256)));
        let found = log.findings();
        let what = if n % 256 == 255 || n == size - 1 {
            "is missing"
        } else {
            "was removed"
        };
        only(&found, &format!("entry {n} (tile/entries/"), what);
        log.edit(n, |entries| {
            entries.insert(n as usize % 256, entry(1_000_000));
        });
        let found = log.findings();
        let what = if n == size - 1 { "was" } else { "was inserted" };
        only(&found, &format!("entry {n} (tile/entries/"), what);
    }
}

#[test]
fn reordered_entries() {
    let log = Log::new(600);
    log.edit(300, |entries| entries.swap(300 - 256, 400 - 256));
    let found = log.findings();
    assert_eq!(found.len(), 2);
    assert!(
        found[0].starts_with("entry 300 ") && found[0].contains("is entry 400 of the log"),
        "{found:#?}"
    );
    assert!(
        found[1].starts_with("entry 400 ") && found[1].contains("is entry 300 of the log"),
        "{found:#?}"
    );
}

#[test]
fn a_truncated_log() {
    // Whole bundles are gone …
    let log = Log::new(600);
    fs::remove_file(log.file("tile/entries/002.p/88")).unwrap();
    only(
        &log.findings(),
        "tile/entries/002.p/88",
        "is missing; it holds entries 512 to 599",
    );
    // … or with their tiles …
    fs::remove_file(log.file("tile/0/002.p/88")).unwrap();
    let found = log.findings();
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("tile/0/002.p/88: is missing")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("entry 512: the log ends here: 88 entries")),
        "{found:#?}"
    );
    // … or the log is a shorter one, signed by its own key. Only who remembers knows.
    let (long, short) = (Log::new(600), Log::new(500));
    assert!(short.verify().is_good());
    only(
        &short.findings_with(&long.checkpoint()),
        "checkpoint",
        "covers 500 entries, but a checkpoint kept from before covers 600",
    );
}

#[test]
fn a_forked_or_rewritten_log() {
    let mut other = entries(600);
    other[300] = entry(1_000_000);
    let (log, fork) = (Log::new(400), Log::of(&other));
    // By itself it is a good log: its writer has the key.
    assert!(fork.verify().is_good());
    only(
        &fork.findings_with(&log.checkpoint()),
        "entries before 400",
        "rewritten or forked",
    );
    // Seen before the fork: both contain it.
    let early = Log::new(300);
    let report = fork.verify_with(&LogExpectations {
        seen: vec![early.checkpoint()],
        ..LogExpectations::default()
    });
    assert!(report.is_good());
    assert_eq!(report.logs[0].contains, [300]);
    // The same size, other entries.
    other.truncate(400);
    only(
        &Log::of(&other).findings_with(&log.checkpoint()),
        "entries before 400",
        "rewritten or forked",
    );
}

#[test]
fn everything_rewritten_without_the_key() {
    for size in [600, 65_536, 65_600] {
        let log = Log::new(size);
        let signed = log.checkpoint();
        let mut other = entries(size);
        other[10] = entry(1_000_000);
        write(log.path(), ORIGIN, &key(), &other);
        // Entries and tiles agree with each other; the checkpoint is the one that was signed.
        fs::write(log.file("checkpoint"), signed).unwrap();
        only(
            &log.findings(),
            "checkpoint",
            "was signed over other entries",
        );
    }
}

#[test]
fn an_old_checkpoint_replayed() {
    let (old, new) = (Log::new(300), Log::new(600));
    let seen = new.checkpoint();
    fs::write(new.file("checkpoint"), old.checkpoint()).unwrap();
    let found = new.findings_with(&seen);
    only(&found, "checkpoint", "an old checkpoint is shown again");
}

#[test]
fn another_origin() {
    let log = Log::new(10);
    let of_vault = TrustedLogKey::Owner("test/vault".into(), key().verifying_key());
    let wanted = LogExpectations {
        keys: vec![of_vault],
        ..LogExpectations::default()
    };
    assert!(log.verify_with(&wanted).is_good());
    write(log.path(), "cloison/other/vault/2026", &key(), &entries(10));
    only(
        &findings(&log.verify_with(&wanted)),
        "checkpoint",
        "of the log cloison/other/vault/2026, for which no key is trusted",
    );
    // A year in another's place.
    let years = tempfile::tempdir().unwrap();
    write(&years.path().join("2027"), ORIGIN, &key(), &entries(10));
    only(
        &findings(&verify_folder(years.path(), &wanted)),
        "checkpoint",
        "lies where shard 2027 belongs",
    );
    // A checkpoint kept from a log that is not here.
    let elsewhere = Checkpoint {
        origin: "cloison/test/vault/2025".into(),
        size: 1,
        root: [0; 32],
    }
    .sign(&key());
    let seen = LogExpectations {
        seen: vec![elsewhere.into_bytes()],
        ..wanted
    };
    let found = findings(&Log::new(10).verify_with(&seen));
    only(
        &found,
        "the checkpoint kept from before",
        "no log of that name is here",
    );
}

#[test]
fn another_key_and_a_damaged_signature() {
    let log = Log::new(10);
    let other = SigningKey::from_bytes(&[8; 32]);
    let wanted = LogExpectations {
        keys: vec![TrustedLogKey::Any(other.verifying_key())],
        ..LogExpectations::default()
    };
    only(
        &findings(&log.verify_with(&wanted)),
        "checkpoint",
        "no signature of it is by the key that is trusted for",
    );
    let note = String::from_utf8(log.checkpoint()).unwrap();
    fs::write(log.file("checkpoint"), note.replace("\n10\n", "\n11\n")).unwrap();
    only(
        &log.findings(),
        "checkpoint",
        "does not verify: it is forged, or the text was changed",
    );
    fs::write(log.file("checkpoint"), "hello\n").unwrap();
    only(&log.findings(), "checkpoint", "it is not a signed note");
    fs::write(log.file("checkpoint"), note.replacen(ORIGIN, "x\ny", 1)).unwrap();
    only(
        &log.findings(),
        "checkpoint",
        "its text is not a checkpoint",
    );
}

#[test]
fn tiles_that_are_not_of_the_tree() {
    // Swapped: entries are as logged, tiles are not.
    let log = Log::new(700);
    let (one, two) = (log.file("tile/0/000"), log.file("tile/0/001"));
    let (a, b) = (fs::read(&one).unwrap(), fs::read(&two).unwrap());
    fs::write(&one, &b).unwrap();
    fs::write(&two, &a).unwrap();
    let found = log.findings();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("tile/0/000: is not the tile of this tree; the entries below it are"),
        "{found:#?}"
    );
    assert!(found[1].starts_with("tile/0/001: is not"), "{found:#?}");
    // Swapped with their entries: whole bundles changed places.
    let (c, d) = (log.file("tile/entries/000"), log.file("tile/entries/001"));
    let (x, y) = (fs::read(&c).unwrap(), fs::read(&d).unwrap());
    fs::write(&c, &y).unwrap();
    fs::write(&d, &x).unwrap();
    let found = log.findings();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("tile/entries/000: neither the entries nor their tile"),
        "{found:#?}"
    );
    // At the edge of the tree, where no parent vouches.
    let log = Log::new(700);
    let edge = log.file("tile/1/000.p/2");
    let mut bytes = fs::read(&edge).unwrap();
    bytes[40] ^= 1;
    fs::write(&edge, &bytes).unwrap();
    only(
        &log.findings(),
        "tile/1/000.p/2",
        "is not the tile of this tree; the entries below it are the logged ones",
    );
    bytes.truncate(50);
    fs::write(&edge, bytes).unwrap();
    let found = log.findings();
    assert!(
        found[0].starts_with("tile/1/000.p/2: has 50 bytes; 2 hashes have 64"),
        "{found:#?}"
    );
    // Above level 1.
    let log = Log::new(65_600);
    let tile = log.file("tile/1/000");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[9 * 32] ^= 1;
    fs::write(&tile, bytes).unwrap();
    only(
        &log.findings(),
        "tile/1/000",
        "its hashes do not give the hash that its parent has",
    );
    fs::remove_file(&tile).unwrap();
    only(&log.findings(), "tile/1/000", "is missing");
}

#[test]
fn an_entry_changed_together_with_its_tiles() {
    let log = Log::new(65_600);
    let other = tempfile::tempdir().unwrap();
    let mut forged = entries(65_600);
    forged[1_000] = entry(1_000_000);
    write(other.path(), ORIGIN, &key(), &forged);
    for name in ["tile/entries/003", "tile/0/003", "tile/1/000"] {
        fs::copy(other.path().join(name), log.file(name)).unwrap();
    }
    let found = log.findings();
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("tile/1/000: is not the tile of this tree")),
        "{found:#?}"
    );
}

#[test]
fn logged_bytes_that_are_not_an_entry() {
    let mut odd = entries(300);
    odd[7] = br#"{"time":"2026-11-22T10:00:00.000Z","event":"refuse"}"#.to_vec();
    odd[8] = b"hello".to_vec();
    let found = Log::of(&odd).findings();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("entry 7: is logged and is not an entry"),
        "{found:#?}"
    );
}

#[test]
fn cosignatures_that_are_required() {
    let log = Log::new(10);
    let (witness, other) = (
        SigningKey::from_bytes(&[1; 32]),
        SigningKey::from_bytes(&[2; 32]),
    );
    let verifier = |name: &str, key: &SigningKey| {
        Verifier::new(name, SignatureKind::Cosigner, key.verifying_key())
    };
    let note = String::from_utf8(log.checkpoint()).unwrap();
    let text = Checkpoint::read(note.as_bytes()).unwrap().0.text();
    let cosigned = note + &cosign("cndp", &witness, &text, 1_800_000_000);
    fs::write(log.file("checkpoint"), &cosigned).unwrap();
    let mut wanted = LogExpectations {
        cosigners: vec![verifier("cndp", &witness)],
        required: 1,
        ..LogExpectations::default()
    };
    let report = log.verify_with(&wanted);
    assert!(report.is_good());
    assert_eq!(
        (
            &*report.logs[0].cosigned[0].name,
            report.logs[0].cosigned[0].time
        ),
        ("cndp", 1_800_000_000)
    );
    wanted.cosigners.push(verifier("court", &other));
    wanted.required = 2;
    only(
        &findings(&log.verify_with(&wanted)),
        "checkpoint",
        "is cosigned by 1 of the 2 known cosigners, and 2 are required. A checkpoint of the last seconds may not be cosigned yet",
    );
    // A cosignature over another text.
    let elsewhere = format!(
        "{}{}",
        log_note(&log),
        cosign("cndp", &witness, "other\n", 1_800_000_000)
    );
    fs::write(log.file("checkpoint"), elsewhere).unwrap();
    let found = findings(&log.verify_with(&wanted));
    assert!(
        found[0].contains("the signature by cndp does not verify"),
        "{found:#?}"
    );
}

fn log_note(log: &Log) -> String {
    let checkpoint = Checkpoint::read(&log.checkpoint()).unwrap().0;
    checkpoint.sign(&key())
}

#[test]
fn shards_hang_together() {
    let two = |last: &Checkpoint| {
        let event = format!(
            "{{\"checkpoint\":{},\"event\":\"continue\",\"time\":\"2027-01-01T00:00:00.000Z\"}}",
            serde_json::to_string(&last.sign(&key())).unwrap()
        );
        [vec![event.into_bytes()], entries(20)].concat()
    };
    let folder = tempfile::tempdir().unwrap();
    let last = write(&folder.path().join("2026"), ORIGIN, &key(), &entries(300));
    let next = "cloison/test/vault/2027";
    write(&folder.path().join("2027"), next, &key(), &two(&last));
    let report = verify_folder(folder.path(), &LogExpectations::default());
    assert!(report.is_good(), "{:#?}", findings(&report));
    assert_eq!(report.logs[1].continues.as_deref(), Some(ORIGIN));
    // Entries of the old year are added after its end, and signed.
    write(&folder.path().join("2026"), ORIGIN, &key(), &entries(301));
    let found = findings(&verify_folder(folder.path(), &LogExpectations::default()));
    only(&found, "entry 0", "which is not the last one of that log");
    // The new year knows nothing of the old one.
    fs::remove_dir_all(folder.path().join("2027")).unwrap();
    write(&folder.path().join("2027"), next, &key(), &entries(20));
    let found = findings(&verify_folder(folder.path(), &LogExpectations::default()));
    only(&found, "entry 0", "does not hold the last checkpoint of");
    // It names one that nobody signed.
    let forged = Checkpoint {
        origin: ORIGIN.into(),
        size: 301,
        root: tree_hash(&[]),
    };
    let text = String::from_utf8(two(&forged)[0].clone())
        .unwrap()
        .replace("\\n301\\n", "\\n302\\n");
    fs::remove_dir_all(folder.path().join("2027")).unwrap();
    write(
        &folder.path().join("2027"),
        next,
        &key(),
        &[vec![text.into_bytes()], entries(5)].concat(),
    );
    let found = findings(&verify_folder(folder.path(), &LogExpectations::default()));
    only(&found, "entry 0", "the checkpoint in it: the signature by");
}
