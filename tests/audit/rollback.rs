//! An auditor's copy, and the checkpoint that he keeps, are what proves that a log was rolled back: no command replaces either by
//! what does not contain it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::forge::{Log, entries, entry, key};

fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cloison")).arg("audit").args(arguments).output().unwrap()
}

fn copy(log: &Log, to: &Path) -> Output {
    audit(&["copy", log.path().to_str().unwrap(), "--to", to.to_str().unwrap()])
}

#[track_caller]
fn good(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    super::common::files(folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
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
        (Log::new(300), "and the log shows a checkpoint over 300 entries only"),
        (Log::of(&other), "and the log has other entries there"),
        (Log::of(&last), "and the log has other entries there"),
    ] {
        for _ in 0..2 {
            let refused = copy(&log, &to);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(4), "{said}");
            assert!(said.contains("the copy has 600 entries of") && said.contains(why), "{said}");
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
        super::forge::write(&log.join(year), &format!("cloison/test/vault/{year}"), &key(), &entries(20));
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
    let verify =
        |log: &Log| audit(&["verify", log.path().to_str().unwrap(), "--key", &key, "--keep", keep.to_str().unwrap()]);
    good(&verify(&Log::new(600)));
    let kept = fs::read(&keep).unwrap();
    let refused = verify(&Log::new(300));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("a checkpoint kept from before covers 600"));
    assert_eq!(fs::read(&keep).unwrap(), kept, "the proof of the rollback is still there");
    let longer = Log::new(700);
    good(&verify(&longer));
    assert_eq!(fs::read(&keep).unwrap(), longer.checkpoint());
}
