//! The log as it is written: year after year, over restarts, from a store of an older version, and
//! after a restore.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloison::audit::log::{KnownLoss, Log, LogError, LogParts};
use cloison::audit::origin::TrustedLogKey;
use cloison::audit::source::StoreSource;
use cloison::audit::verify::{self, LogExpectations, LogsReport};
use cloison::audit::{AuditEvent, AuditReceipt};
use cloison::clock::{Clock, FixedClock};
use cloison::code::Code;
use cloison::commit::small::SmallChunks;
use cloison::commit::{Committer, WriterSeals};
use cloison::journal::place::JournalPlace;
use cloison::keys::{JournalSecret, Key};
use cloison::seal::journal::JournalCipher;
use cloison::store::index::Index;
use cloison::store::{EntryKeys, RowBatch, Shard, Store};
use cloison::tlog::checkpoint_file::CheckpointFile;
use jiff::Timestamp;

use super::common::copy_folder;
use super::forge::{entries, findings, key};
use super::witnesses::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Writing {
    log: Arc<Log>,
    committer: Committer,
    clock: Arc<FixedClock>,
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

pub fn open(
    store: &Path,
    time: &str,
    second: Option<&Path>,
    resume: bool,
) -> Result<Writing, LogError> {
    open_with(store, time, second, resume, None)
}

fn open_with(
    store: &Path,
    time: &str,
    second: Option<&Path>,
    resume: bool,
    poisoned: Option<Sender<String>>,
) -> Result<Writing, LogError> {
    let second = second.map(|path| JournalPlace::new(path.to_owned()));
    let resume = resume.then_some(KnownLoss::AfterRestore);
    open_parts(
        store,
        time,
        LogParts {
            second,
            resume,
            ..LogParts::new(key())
        },
        poisoned,
    )
}

fn with_second(second: &Path) -> LogParts {
    LogParts {
        second: Some(JournalPlace::new(second.to_owned())),
        ..LogParts::new(key())
    }
}

pub fn open_parts(
    store: &Path,
    time: &str,
    parts: LogParts,
    poisoned: Option<Sender<String>>,
) -> Result<Writing, LogError> {
    let store = Arc::new(Store::open(store, "test/vault")?);
    let clock = Arc::new(FixedClock::at(at(time)));
    let (log, appender) = Log::open(store.clone(), "test/vault", parts, clock.now())?;
    let poisoned = Mutex::new(poisoned);
    let committer = Committer::start(
        store,
        appender,
        Arc::new(Index::default()),
        WriterSeals {
            chunks: None,
            journal: Arc::new(cipher()),
            counts_at_once: false,
        },
        SmallChunks::default(),
        clock.clone(),
        Box::new(move |error| match poisoned.lock().unwrap().take() {
            Some(sender) => sender.send(error.to_string()).unwrap(),
            None => panic!("{error}"),
        }),
    )?;
    Ok(Writing {
        log,
        committer,
        clock,
    })
}

/// Seals side records in these tests.
pub fn cipher() -> JournalCipher {
    JournalCipher::new(&[(1, JournalSecret(Key::take(&mut [7; 32])))])
}

impl Writing {
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Writes an entry and does not wait for a checkpoint.
    pub fn note(&self) -> AuditReceipt {
        self.record("client").unwrap()
    }

    /// Writes state, which side records tell of.
    pub fn write_state(&self, count: u32) {
        for n in 0..count {
            let change = move |store: &Store, batch: &mut RowBatch| {
                store.put_quota_used(batch, "organisation", n, 7);
            };
            self.committer.change_unlogged(Box::new(change)).unwrap();
        }
    }

    /// Writes one entry: a refusal of this actor.
    fn record(&self, actor: &str) -> Result<AuditReceipt, Code> {
        let event = AuditEvent::Refuse {
            actor: actor.to_owned(),
            operation: "tokenize",
            code: Code::Forbidden,
            count: 1,
        };
        self.committer
            .record(self.clock.now(), event, vec![], vec![])
    }

    pub fn write(&self, count: u64) -> Shard {
        let mut last = None;
        for n in 0..count {
            last = Some(self.record(&format!("client-{n}")).unwrap());
        }
        let published = self
            .log
            .covering(&last.unwrap(), PATIENCE)
            .expect("a checkpoint");
        published.tree.shard
    }
}

fn check(store: &Path) -> LogsReport {
    let source = StoreSource::open(store).unwrap();
    let wanted = LogExpectations {
        keys: vec![TrustedLogKey::Owner(
            "test/vault".into(),
            key().verifying_key(),
        )],
        ..LogExpectations::default()
    };
    verify::all(&source, &wanted, &mut |_, _, _| {}).unwrap()
}

#[track_caller]
fn good(store: &Path) -> LogsReport {
    let report = check(store);
    assert!(report.is_good(), "{:#?}", findings(&report));
    report
}

#[test]
fn a_log_goes_on_over_restarts_and_is_whole_at_every_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut size = 0;
    for count in [1, 3, 250, 2, 1, 300, 1] {
        let writing = open(&store, "2026-11-22T12:00:00Z", None, false).unwrap();
        writing.write(count);
        size += count;
        // The store that is being written can be checked beside its writer, up to the checkpoint
        // that it holds.
        assert!(check(&store).logs.len() == 1);
        drop(writing);
        let report = good(&store);
        assert_eq!(
            (
                report.logs[0].size,
                report.logs[0].checked,
                report.logs[0].uncovered
            ),
            (size, size, 0)
        );
        assert_eq!(report.logs[0].origin, "cloison/test/vault/2026");
    }
}

#[test]
fn a_year_ends_and_the_next_one_begins_with_its_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let writing = open(&store, "2026-12-31T23:59:59Z", None, false).unwrap();
    assert_eq!(writing.write(300), Shard::of(2026));
    writing.clock.set(at("2027-01-01T00:00:00Z"));
    assert_eq!(writing.write(10), Shard::of(2027));
    // A clock that is set back does not bring a year back.
    writing.clock.set(at("2026-12-31T23:59:59Z"));
    assert_eq!(writing.write(1), Shard::of(2027));
    assert_eq!(
        writing
            .log
            .published(Shard::of(2026))
            .unwrap()
            .checkpoint
            .size,
        300
    );
    drop(writing);
    // Years without an entry have no shard. Years that end while nothing runs look like a clock
    // that jumps: it is believed after a month.
    let writing = open(&store, "2030-06-01T00:00:00Z", None, false).unwrap();
    assert_eq!(writing.write(5), Shard::of(2027));
    drop(writing);
    let writing = open(&store, "2030-06-20T00:00:00Z", None, false).unwrap();
    assert_eq!(writing.write(5), Shard::of(2027));
    writing.clock.set(at("2030-07-02T00:00:00Z"));
    assert_eq!(writing.write(5), Shard::of(2030));
    drop(writing);
    let report = good(&store);
    let logs: Vec<_> = report
        .logs
        .iter()
        .map(|log| (&*log.origin, log.size, log.continues.as_deref()))
        .collect();
    assert_eq!(
        logs,
        [
            ("cloison/test/vault/2026", 300, None),
            (
                "cloison/test/vault/2027",
                22,
                Some("cloison/test/vault/2026")
            ),
            (
                "cloison/test/vault/2030",
                6,
                Some("cloison/test/vault/2027")
            ),
        ]
    );
    assert_eq!(report.logs[1].events["continue"], 1);
}

/// A clock that is in 2031 for one start, and for a while of another, ends no year: shards only
/// follow one another, so that all entries until 2031 would lie in that year's.
#[test]
fn a_clock_that_was_years_ahead_does_not_put_the_log_into_a_far_year() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(open(&store, "2026-11-22T12:00:00Z", None, false).map(|writing| writing.write(3)));
    for jump in ["2031-03-01T00:00:00Z", "2031-03-01T00:05:00Z"] {
        let writing = open(&store, jump, None, false).unwrap();
        assert_eq!(writing.write(3), Shard::of(2026));
        drop(writing);
        let writing = open(&store, "2026-11-22T13:00:00Z", None, false).unwrap();
        assert_eq!(writing.write(3), Shard::of(2026));
        writing.clock.set(at("2031-03-01T00:00:00Z"));
        assert_eq!(writing.write(3), Shard::of(2026));
        // And years back.
        writing.clock.set(at("2019-03-01T00:00:00Z"));
        assert_eq!(writing.write(3), Shard::of(2026));
    }
    let writing = open(&store, "2026-12-31T23:59:59Z", None, false).unwrap();
    assert_eq!(writing.write(3), Shard::of(2026));
    writing.clock.set(at("2027-01-01T00:00:00Z"));
    assert_eq!(writing.write(3), Shard::of(2027));
    drop(writing);
    let report = good(&store);
    assert_eq!(report.logs.len(), 2);
}

#[test]
fn a_store_without_a_tree_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::open(&path, "test/vault").unwrap();
    let mut batch = RowBatch::default();
    for (n, entry) in entries(700).iter().enumerate() {
        store.put_audit(&mut batch, n as u64, entry, None, &[], EntryKeys::default());
    }
    store.put_clock_mark(&mut batch, at("2026-11-22T12:00:00Z").as_millisecond());
    store.commit(batch).unwrap();
    drop(store);
    // It becomes the tree of the year in which it was written last.
    let writing = open(&path, "2027-02-01T00:00:00Z", None, false).unwrap();
    assert_eq!(writing.write(3), Shard::of(2027));
    drop(writing);
    let report = good(&path);
    let sizes: Vec<_> = report.logs.iter().map(|log| log.size).collect();
    assert_eq!(sizes, [700, 4]);
}

#[test]
fn a_damaged_tree_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    open(&path, "2026-11-22T12:00:00Z", None, false)
        .unwrap()
        .write(300);
    let store = Store::open(&path, "test/vault").unwrap();
    let mut batch = RowBatch::default();
    store.put_audit(&mut batch, 290, b"{}", None, &[], EntryKeys::default());
    store.commit(batch).unwrap();
    drop(store);
    let Err(refused) = open(&path, "2026-11-22T12:00:00Z", None, false) else {
        panic!("it opened")
    };
    assert!(
        refused
            .to_string()
            .contains("a row of column audit-tree is not what cloison writes"),
        "{refused}"
    );
    // And a check says which entry it is about.
    let found = findings(&check(&path));
    assert!(
        found
            .iter()
            .any(|f| f.contains("checkpoint: was signed over other entries")),
        "{found:#?}"
    );
}

#[test]
fn a_restored_store_notices_and_goes_on_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let (store, second, backup) = (
        folder.path().join("store"),
        folder.path().join("second"),
        folder.path().join("backup"),
    );
    let time = "2026-11-22T12:00:00Z";
    open(&store, time, Some(&second), false).unwrap().write(300);
    copy_folder(&store, &backup);
    open(&store, time, Some(&second), false).unwrap().write(50);
    let published = String::from_utf8(std::fs::read(second.join("checkpoint")).unwrap()).unwrap();
    assert!(
        published.starts_with("cloison/test/vault/2026\n350\n"),
        "{published}"
    );

    // The newest store continues; the backup does not.
    open(&store, time, Some(&second), false).unwrap();
    let Err(refused) = open(&backup, time, Some(&second), false) else {
        panic!("it opened")
    };
    let why = refused.to_string();
    assert!(
        why.contains("over 350 entries of cloison/test/vault/2026, and this store has only 300"),
        "{why}"
    );
    // It does not either with 350 other entries.
    let other = folder.path().join("other");
    copy_folder(&backup, &other);
    open(&other, "2026-11-22T13:00:00Z", None, false)
        .unwrap()
        .write(50);
    let Err(refused) = open(&other, time, Some(&second), false) else {
        panic!("it opened")
    };
    assert!(
        refused.to_string().contains("others in their place"),
        "{refused}"
    );

    let writing = open(&backup, time, Some(&second), true).unwrap();
    assert_eq!(
        writing.write(5),
        Shard {
            year: 2026,
            part: 1
        }
    );
    drop(writing);
    // Told once is enough.
    let writing = open(&backup, time, Some(&second), false).unwrap();
    assert_eq!(
        writing.write(5),
        Shard {
            year: 2026,
            part: 1
        }
    );
    drop(writing);
    let report = good(&backup);
    assert_eq!(
        (
            report.logs[0].size,
            report.logs[1].size,
            report.logs[1].resumed
        ),
        (300, 11, true)
    );
    let rows = Store::open(&backup, "test/vault")
        .unwrap()
        .audit_from(300, 1)
        .unwrap();
    let entry: serde_json::Value = serde_json::from_slice(&rows[0].1).unwrap();
    assert_eq!(
        (entry["event"].as_str(), entry["kept"].as_str()),
        (Some("resume"), Some("2026"))
    );
    assert_eq!(
        (entry["kept_entries"].as_u64(), entry["lost"].as_str()),
        (Some(300), Some(&*published))
    );
}

#[test]
fn a_lost_second_place_is_not_taken_for_a_first_use() {
    let folder = tempfile::tempdir().unwrap();
    let (store, second) = (folder.path().join("store"), folder.path().join("second"));
    let time = "2026-11-22T12:00:00Z";
    open(&store, time, Some(&second), false).unwrap().write(30);
    std::fs::remove_dir_all(&second).unwrap();
    let Err(refused) = open(&store, time, Some(&second), false) else {
        panic!("it opened")
    };
    let why = refused.to_string();
    assert!(
        why.contains(
            "is empty, but this log has published at least 30 entries of cloison/test/vault/2026"
        ),
        "{why}"
    );
    assert!(
        open(&store, time, Some(&second), true).is_err(),
        "that a restore lost entries is another thing"
    );
    assert!(!second.exists(), "nothing was put there");

    let known = LogParts {
        resume: Some(KnownLoss::SecondLost),
        ..with_second(&second)
    };
    open_parts(&store, time, known, None).unwrap().write(1);
    // Told once is enough.
    open(&store, time, Some(&second), false).unwrap().write(1);
    good(&store);
    // A store that never had one gets one in the same way, and a new store of itself.
    let other = folder.path().join("other");
    open(&other, time, None, false).unwrap().write(1);
    assert!(matches!(
        open(&other, time, Some(&folder.path().join("new")), false),
        Err(LogError::SecondLost { .. })
    ));
    open(
        &folder.path().join("third"),
        time,
        Some(&folder.path().join("new")),
        false,
    )
    .unwrap()
    .write(1);
}

#[test]
fn a_second_place_that_is_gone_or_holds_another_checkpoint_is_noticed_without_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("elsewhere"));
    std::fs::create_dir(&place).unwrap();
    let writing = open(&store, "2026-11-22T12:00:00Z", Some(&place), false).unwrap();
    let second = place.join("checkpoint");
    writing.log.look_at_second().unwrap();
    writing.write(2);
    writing.log.look_at_second().unwrap();
    let held = std::fs::read(&second).unwrap();
    std::fs::write(&second, "another").unwrap();
    eventually("another checkpoint is noticed", || {
        writing.log.look_at_second().is_err()
    });
    std::fs::remove_file(&second).unwrap();
    assert!(
        writing
            .log
            .look_at_second()
            .unwrap_err()
            .to_string()
            .contains("no longer holds")
    );
    // A disk that is away for a while is not one that forgot.
    std::fs::rename(&place, folder.path().join("away")).unwrap();
    writing.log.look_at_second().unwrap();
    std::fs::rename(folder.path().join("away"), &place).unwrap();
    std::fs::write(&second, held).unwrap();
    writing.log.look_at_second().unwrap();
    writing.write(1);
}

/// A disk is unmounted: what is left is an empty folder of the disk below. (A link that leads to
/// another disk stands for the mount point here.)
#[test]
fn an_empty_mount_point_is_a_disk_that_is_away_and_not_one_that_forgot() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(disk) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let device =
        |path: &Path| std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).unwrap());
    if device(disk.path()) == device(folder.path()) {
        return;
    }
    let (store, mounted) = (folder.path().join("store"), folder.path().join("mnt"));
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let lead_to = |place: &Path| {
        let _ = std::fs::remove_file(&mounted);
        std::os::unix::fs::symlink(place, &mounted).unwrap();
    };
    lead_to(disk.path());
    let time = "2026-11-22T12:00:00Z";
    let writing = open(&store, time, Some(&mounted.join("checkpoint")), false).unwrap();
    writing.write(2);
    lead_to(&empty);
    // The log does not look while it publishes, and it may not be done with the entries above.
    eventually("the log sees that the disk is away", || {
        writing.log.look_at_second().unwrap();
        let trouble = writing.log.trouble();
        trouble.is_some_and(|why| why.contains("the disk that it was on is not mounted"))
    });
    // Nothing is published, and nothing is made in the empty folder; this is not a fork.
    let receipt = writing.record("x").unwrap();
    assert!(
        writing
            .log
            .covering(&receipt, Duration::from_secs(1))
            .is_none()
    );
    assert!(!writing.log.is_forked());
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    lead_to(disk.path());
    writing.log.look_at_second().unwrap();
    assert!(writing.log.covering(&receipt, PATIENCE).is_some());
    assert_eq!(writing.log.trouble(), None);
    drop(writing);
    lead_to(&empty);
    let Err(refused) = open(&store, time, Some(&mounted.join("checkpoint")), false) else {
        panic!("it opened")
    };
    assert!(
        refused
            .to_string()
            .contains("First see that its disk is mounted"),
        "{refused}"
    );
}

/// The clock is set back, and had run ahead: the log is whole, and a check says where.
#[test]
fn times_that_run_backwards_are_a_warning_and_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let writing = open(&store, "2026-12-31T12:00:00Z", None, false).unwrap();
    for time in [
        "2026-12-31T12:00:00Z",
        "2026-12-31T11:58:00Z",
        "2026-12-31T12:00:01Z",
    ] {
        writing.clock.set(at(time));
        writing.write(2);
    }
    assert!(
        good(&store).all_warnings().next().is_none(),
        "two minutes are within what clocks do"
    );
    for time in [
        "2026-12-31T11:00:00Z",
        "2027-01-01T00:00:01Z",
        "2026-12-31T12:00:00Z",
    ] {
        writing.clock.set(at(time));
        writing.write(2);
    }
    drop(writing);
    let report = good(&store);
    let found: Vec<_> = report
        .all_warnings()
        .map(|(log, place)| (log, place.entry, &*place.after))
        .collect();
    let year = "cloison/test/vault";
    let wanted = [
        (format!("{year}/2026"), 6, "2026-12-31T12:00:01.000Z"),
        // Also where the year has ended meanwhile: behind its first entry and two of its own.
        (format!("{year}/2027"), 3, "2027-01-01T00:00:01.000Z"),
    ];
    assert_eq!(
        found,
        wanted
            .each_ref()
            .map(|(log, entry, after)| (log.as_str(), *entry, *after))
    );
}

#[test]
fn two_writers_of_one_log_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, second) = (
        folder.path().join("one"),
        folder.path().join("two"),
        folder.path().join("second"),
    );
    let time = "2026-11-22T12:00:00Z";
    open(&one, time, Some(&second), false).unwrap().write(10);
    copy_folder(&one, &two);
    let (sender, receiver) = channel();
    let first = open_with(&one, time, Some(&second), false, Some(sender)).unwrap();
    first.write(1);
    let second = second.join("checkpoint");
    let last = std::fs::read(&second).unwrap();
    // A clone that is one entry behind is stopped at its start; one that began before runs into the
    // other's checkpoint.
    assert!(open(&two, time, second.parent(), false).is_err());
    CheckpointFile::new(second)
        .swap(Some(&last), b"another writer's")
        .unwrap();
    let receipt = first.record("x").unwrap();
    assert!(
        first
            .log
            .covering(&receipt, Duration::from_secs(2))
            .is_none()
    );
    assert!(
        first
            .log
            .trouble()
            .unwrap()
            .contains("another process writes to it")
    );
    assert!(first.record("x").is_err());
    let why = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(why.contains("the log would fork"), "{why}");
}

#[test]
fn an_unwritable_second_place_holds_checkpoints_back_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("elsewhere"));
    std::fs::create_dir(&place).unwrap();
    let second = place.join("checkpoint");
    let writing = open(&store, "2026-11-22T12:00:00Z", Some(&second), false).unwrap();
    writing.write(2);
    std::fs::rename(&place, folder.path().join("gone")).unwrap();
    let receipt = writing.record("x").unwrap();
    assert!(
        writing
            .log
            .covering(&receipt, Duration::from_millis(1_500))
            .is_none()
    );
    assert!(writing.log.trouble().is_some());
    std::fs::rename(folder.path().join("gone"), &place).unwrap();
    assert_eq!(
        writing
            .log
            .covering(&receipt, PATIENCE)
            .unwrap()
            .checkpoint
            .size,
        3
    );
    assert_eq!(writing.log.trouble(), None);
    drop(writing);
    good(&store);
}
