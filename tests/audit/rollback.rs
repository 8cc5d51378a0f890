//! An auditor's copy, and the checkpoint that he keeps, are what proves that a log was rolled back:
//! no command replaces either by what does not contain it.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use cloison::audit::origin::TrustedLogKey;
use cloison::audit::source::LogFolder;
use cloison::audit::verify::{self, LogExpectations};
use cloison::tlog::path::LogResource;
use cloison::tlog::source::{LogSource, LogSourceError};

use super::forge::{Log, entries, entry, key};

fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cloison"))
        .arg("audit")
        .args(arguments)
        .output()
        .unwrap()
}

fn copy(log: &Log, to: &Path) -> Output {
    audit(&[
        "copy",
        log.path().to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ])
}

#[track_caller]
fn good(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    super::common::files(folder)
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_copy_is_never_replaced_by_what_does_not_contain_it() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("copy");
    good(&copy(&Log::new(600), &to));
    let kept = files(&to);

    let mut other = entries(700);
    other[10] = entry(9_999);
    let mut last = entries(600);
    last[599] = entry(9_999);
    for (log, why) in [
        (
            Log::new(300),
            "and the log shows a checkpoint over 300 entries only",
        ),
        (Log::of(&other), "and the log has other entries there"),
        (Log::of(&last), "and the log has other entries there"),
    ] {
        for _ in 0..2 {
            let refused = copy(&log, &to);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(4), "{said}");
            assert!(
                said.contains("the copy has 600 entries of") && said.contains(why),
                "{said}"
            );
        }
        // The copy is what it was, and what the log shows lies beside its checkpoint, once.
        let now = files(&to);
        let added: Vec<_> = now.iter().filter(|file| !kept.contains(file)).collect();
        assert_eq!((now.len(), added.len()), (kept.len() + 1, 1));
        assert_eq!(added[0].1, log.checkpoint());
        fs::remove_file(&added[0].0).unwrap();
        assert!(files(&to) == kept);
    }

    // A log that only grew is copied on.
    good(&copy(&Log::new(700), &to));
    let key = data_encoding::HEXLOWER.encode(key().verifying_key().as_bytes());
    good(&audit(&["verify", to.to_str().unwrap(), "--key", &key]));
}

#[test]
fn a_shard_that_is_gone_is_a_contradiction() {
    let place = tempfile::tempdir().unwrap();
    let (log, to) = (place.path().join("log"), place.path().join("copy"));
    for year in ["2025", "2026"] {
        super::forge::write(
            &log.join(year),
            &format!("cloison/test/vault/{year}"),
            &key(),
            &entries(20),
        );
    }
    let copy = || audit(&["copy", log.to_str().unwrap(), "--to", to.to_str().unwrap()]);
    good(&copy());
    let kept = files(&to);
    fs::remove_dir_all(log.join("2025")).unwrap();
    let refused = copy();
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has no such shard any more"));
    assert!(files(&to) == kept);
}

#[test]
fn a_kept_checkpoint_is_replaced_only_by_what_contains_it() {
    let place = tempfile::tempdir().unwrap();
    let keep = place.path().join("last.checkpoint");
    let key = data_encoding::HEXLOWER.encode(key().verifying_key().as_bytes());
    let verify = |log: &Log| {
        audit(&[
            "verify",
            log.path().to_str().unwrap(),
            "--key",
            &key,
            "--keep",
            keep.to_str().unwrap(),
        ])
    };
    good(&verify(&Log::new(600)));
    let kept = fs::read(&keep).unwrap();
    let refused = verify(&Log::new(300));
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stdout)
            .contains("a checkpoint kept from before covers 600")
    );
    assert_eq!(
        fs::read(&keep).unwrap(),
        kept,
        "the proof of the rollback is still there"
    );
    let longer = Log::new(700);
    good(&verify(&longer));
    assert_eq!(fs::read(&keep).unwrap(), longer.checkpoint());
}

/// A log that another checkpoint is shown of, each time that it is asked for.
struct Turning {
    log: LogFolder,
    notes: RefCell<Vec<Vec<u8>>>,
}

impl LogSource for Turning {
    fn shards(&self) -> Result<Vec<String>, LogSourceError> {
        self.log.shards()
    }

    fn read(&self, shard: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogSourceError> {
        match resource {
            LogResource::Checkpoint => Ok(self.notes.borrow_mut().pop()),
            _ => self.log.read(shard, resource),
        }
    }
}

#[test]
fn the_checkpoint_that_was_verified_is_the_one_that_is_kept() {
    let (log, shorter) = (Log::new(600), Log::new(300));
    let notes = RefCell::new(vec![
        shorter.checkpoint(),
        shorter.checkpoint(),
        log.checkpoint(),
    ]);
    let source = Turning {
        log: LogFolder(log.path().to_owned()),
        notes,
    };
    let wanted = LogExpectations {
        keys: vec![TrustedLogKey::Any(key().verifying_key())],
        ..LogExpectations::default()
    };
    let report = verify::all(&source, &wanted, &mut |_, _, _| {}).unwrap();
    assert!(report.is_good());
    assert_eq!(
        report.logs[0].note,
        log.checkpoint(),
        "`--keep` writes these bytes and reads nothing again"
    );
}

/// At the turn of a year, and after a restore: another log's checkpoint comes into the place of one
/// that it contains.
#[test]
fn a_kept_checkpoint_gives_way_to_one_of_another_year_that_contains_it() {
    let place = tempfile::tempdir().unwrap();
    let (log, keep) = (
        place.path().join("log"),
        place.path().join("last.checkpoint"),
    );
    let public = data_encoding::HEXLOWER.encode(key().verifying_key().as_bytes());
    let verify = || {
        audit(&[
            "verify",
            log.to_str().unwrap(),
            "--key",
            &public,
            "--keep",
            keep.to_str().unwrap(),
        ])
    };
    let year = |name: &str, entries: &[Vec<u8>]| {
        let _ = fs::remove_dir_all(log.join(name));
        super::forge::write(
            &log.join(name),
            &format!("cloison/test/vault/{name}"),
            &key(),
            entries,
        )
    };
    let last = year("2026", &entries(30));
    good(&verify());
    let kept = fs::read(&keep).unwrap();
    let begins = |field: &str, event: &str| {
        let note = serde_json::to_string(&last.sign(&key())).unwrap();
        let (one, other) = (
            format!("\"event\":\"{event}\""),
            format!("\"{field}\":{note}"),
        );
        let (one, other) = if field < "event" {
            (other, one)
        } else {
            (one, other)
        };
        [
            vec![format!("{{{one},{other},\"time\":\"2027-01-01T00:00:00.000Z\"}}").into_bytes()],
            entries(5),
        ]
        .concat()
    };

    // A log that begins anew contains nothing of the one before.
    year("2027", &begins("lost", "resume"));
    let refused = verify();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("cloison/test/vault/2027 does not begin with the last checkpoint"),
        "{said}"
    );
    assert_eq!(fs::read(&keep).unwrap(), kept);

    // The former year was cut, or is not shown at all.
    year("2027", &begins("checkpoint", "continue"));
    year("2026", &entries(20));
    assert_eq!(verify().status.code(), Some(1));
    fs::remove_dir_all(log.join("2026")).unwrap();
    assert_eq!(verify().status.code(), Some(1));
    assert_eq!(fs::read(&keep).unwrap(), kept);

    year("2026", &entries(30));
    let replaced = verify();
    good(&replaced);
    assert!(
        String::from_utf8_lossy(&replaced.stderr)
            .contains("replaces that of cloison/test/vault/2026, which it contains")
    );
    assert_eq!(
        fs::read(&keep).unwrap(),
        fs::read(log.join("2027/checkpoint")).unwrap()
    );
}
