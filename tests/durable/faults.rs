//! Disks that fail or fill up: what was acknowledged is not lost, and nobody is left in doubt.
#![expect(unsafe_code, reason = "limits of a child, signals to it, a full disk")]

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloison::audit::AuditEvent;
use cloison::code::Code;
use cloison::commit::Change;
use cloison::store::StoreError;

use super::load::{Acknowledged, Load, Plan, check};
use super::world;
use crate::common::{Setup, Side, World, plain_get};

/// What `sysexits.h` calls an internal software error; the service's manager sees it.
const POISONED: Option<i32> = Some(70);

fn quiet(start: bool) -> World {
    World::with(Setup {
        log: "info",
        start,
        ..Setup::default()
    })
}

/// From now on, no file of the process may become longer than so many bytes: its writes fail.
fn limit_files(pid: u32, bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: `limit` outlives the call, and no old limits are asked for.
    let set = unsafe {
        libc::prlimit(
            pid as libc::pid_t,
            libc::RLIMIT_FSIZE,
            &raw const limit,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// A write fails under load: the process says so and ends; the next one has all that was
/// acknowledged.
#[test]
fn a_failed_write_ends_the_vault() {
    let mut world = quiet(true);
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..if world::long() { 10 } else { 2 } {
        let plan = Plan {
            threads: 4,
            batch: 2_000,
            first: 5_000 * round,
        };
        let load = Load::start(&world, plan, &acknowledged);
        std::thread::sleep(Duration::from_millis(300));
        limit_files(world.vault_pid(), 64 << 10);
        let status = world.ended(Side::Vault);
        load.stop();
        assert_eq!(status.code(), POISONED, "{status}");
        let said = world.log(Side::Vault);
        assert!(
            said.contains("a write failed") && said.contains("File too large"),
            "{said}"
        );
        world.start(Side::Vault, &[]);
        check(&world, &acknowledged.lock().unwrap(), 300);
    }
    assert!(acknowledged.lock().unwrap().items > 1_000);
    world.stop();
    assert!(world.mappings() >= acknowledged.lock().unwrap().mappings());
    world.entries(Side::Vault);
}

/// The same of the node: nothing is opened that it cannot log.
#[test]
fn a_failed_write_ends_the_node() {
    let mut world = quiet(true);
    let pseudonyms = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &pseudonyms), crate::common::QUORUM);
    limit_files(world.pid(Side::Node).unwrap(), 1);
    let body = serde_json::json!({
        "order": order,
        "request": world.request(&order, "health", &pseudonyms),
        "sector": "health",
        "pseudonyms": pseudonyms,
    });
    let answer = world
        .client("officer")
        .post_json::<serde_json::Value>("/v1/reidentifications", &body);
    assert!(answer.is_err(), "nothing was opened");
    assert_eq!(world.ended(Side::Node).code(), POISONED);
    world.start(Side::Node, &[]);
    assert_eq!(
        world.reidentify(&order, "health", &pseudonyms).ok()["items"][0]["value"],
        "AB1"
    );
    world.stop();
    let revealed = world
        .entries(Side::Node)
        .iter()
        .filter(|entry| entry["event"] == "reveal")
        .count();
    assert_eq!(revealed, 1);
}

/// What is done to a store, or to its second place, while its process runs.
type Harm = fn(&World, &str);

/// The path of the store, or of the second place, no longer leads to what the process has open: it
/// would acknowledge what is lost, so it ends, without being asked for anything.
#[test]
fn a_store_that_is_deleted_or_replaced_ends_its_process() {
    let harms: [(&str, Harm); 4] = [
        ("was deleted, moved or replaced", |world, side| {
            fs::remove_dir_all(world.path(&format!("data/{side}"))).unwrap();
        }),
        ("was deleted, moved or replaced", |world, side| {
            let store = world.path(&format!("data/{side}"));
            fs::rename(&store, world.path("away")).unwrap();
            fs::create_dir(&store).unwrap();
        }),
        (
            "no longer holds what this log last put there",
            |world, side| {
                fs::remove_file(world.path(&format!("data/{side}.place/checkpoint"))).unwrap();
            },
        ),
        (
            "no longer holds what this log last put there",
            |world, side| {
                world.write(&format!("data/{side}.place/checkpoint"), "another log's\n");
            },
        ),
    ];
    for (words, harm) in harms {
        let mut world = quiet(true);
        world.health_pseudonyms(&["AB1"]);
        for (side, name) in [(Side::Node, "node"), (Side::Vault, "vault")] {
            harm(&world, name);
            assert_eq!(world.ended(side).code(), POISONED, "{name}");
            let said = world.log(side);
            assert!(
                said.contains("files were taken from under") && said.contains(words),
                "{name}: {said}"
            );
            let _ = fs::remove_dir_all(world.path("away"));
        }
    }
}

/// What was moved away while its process ran is whole, and goes on when it is back.
#[test]
fn a_store_that_was_moved_goes_on_when_it_is_back() {
    let mut world = quiet(true);
    let before = world.health_pseudonyms(&["AB1", "AB2"]);
    fs::rename(world.path("data/vault"), world.path("data/away")).unwrap();
    assert_eq!(world.ended(Side::Vault).code(), POISONED);
    fs::rename(world.path("data/away"), world.path("data/vault")).unwrap();
    world.start(Side::Vault, &[]);
    assert_eq!(world.health_pseudonyms(&["AB1", "AB2"]), before);
    world.stop();
    assert_eq!(world.mappings(), 2);
}

/// SIGHUP has the TLS files and what else can be read again read again: it ends nothing, and a node
/// stays unsealed.
#[test]
fn a_hangup_ends_neither_vault_nor_node() {
    let mut world = World::with(Setup {
        log: "info",
        custodians: None,
        ..Setup::default()
    });
    let health = world.health_pseudonyms(&["AB1"]);
    for side in [Side::Vault, Side::Node] {
        let pid = world.pid(side).unwrap() as libc::pid_t;
        // SAFETY: the process is a child that was not waited for yet, so the id is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGHUP) }, 0);
        let since = Instant::now();
        while !world.log(side).contains("SIGHUP: reading again") {
            assert!(world.is_running(side), "{side:?} ended");
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "{side:?} says nothing"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let order = world.sign(&world.order("health", &health), crate::common::QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &health).ok()["items"][0]["value"],
        "AB1"
    );
    world.stop();
}

/// Ends what it mounted.
pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A file system of `mib` in memory, where this user may mount one.
pub fn mount(at: &Path, mib: u32) -> Option<Mounted> {
    let mut mount = Command::new("mount");
    mount
        .args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={mib}m,mode=0700"),
            "tmpfs",
        ])
        .arg(at);
    let mounted = mount
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    mounted.then(|| Mounted(at.to_owned()))
}

/// The disk is full between two looks at it: a write fails for want of space, the process ends, and
/// with more room the next one has all that was acknowledged.
#[test]
fn a_full_disk_ends_the_vault() {
    let mut world = quiet(false);
    let store = world.path("data/vault");
    let Some(_mounted) = mount(&store, 32) else {
        eprintln!("not tested: this user may not mount a file system of limited size");
        return;
    };
    world.replace(
        "vault.toml",
        "path = \"data/vault\"",
        "path = \"data/vault\"\nreserve-mib = 1",
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let load = Load::start(
        &world,
        Plan {
            threads: 4,
            batch: 9_000,
            first: 0,
        },
        &acknowledged,
    );
    // Another process takes the rest when the store comes near its end: more than the vault's look
    // once a second can foresee.
    let began = Instant::now();
    let mut looks = 0;
    let filler = store.join("filler");
    while world.is_running(Side::Vault) && began.elapsed() < Duration::from_secs(300) {
        std::thread::sleep(Duration::from_millis(20));
        looks += 1;
        if looks % 75 == 0 {
            // The vault looked just in time and refuses batches: there is room again, and the next
            // try.
            let _ = fs::remove_file(&filler);
        } else if free(&store) < 3 << 20 && !filler.exists() {
            let _ = fs::write(&filler, vec![0; 4 << 20]);
        }
    }
    let status = world.ended(Side::Vault);
    load.stop();
    assert_eq!(status.code(), POISONED, "{status}");
    let said = world.log(Side::Vault);
    assert!(
        said.contains("a write failed") && said.contains("No space left"),
        "{said}"
    );
    let mut more = Command::new("mount");
    assert!(
        more.args(["-o", "remount,size=200m"])
            .arg(&store)
            .status()
            .unwrap()
            .success()
    );
    world.start(Side::Vault, &[]);
    let acknowledged = acknowledged.lock().unwrap();
    assert!(acknowledged.items > 1_000);
    check(&world, &acknowledged, 300);
    world.stop();
    assert!(world.mappings() >= acknowledged.mappings());
}

/// Bytes free where a file lies.
pub fn free(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt as _;
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut facts = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` ends with a zero byte and `facts` has room for what statvfs writes.
    let facts = unsafe {
        assert_eq!(libc::statvfs(path.as_ptr(), facts.as_mut_ptr()), 0);
        facts.assume_init()
    };
    facts.f_bavail * facts.f_frsize
}

/// Below the reserve, batches are refused with `audit-unavailable`, what an authority asks is still
/// answered, and service resumes when there is room, without a restart.
#[test]
fn below_the_reserve_batches_wait_for_room() {
    let mut world = quiet(false);
    // In memory where there is such a place: other programs fill and free disks while this runs.
    let place = if Path::new("/dev/shm").is_dir() {
        PathBuf::from("/dev/shm")
    } else {
        std::env::temp_dir()
    };
    let folder = tempfile::Builder::new()
        .prefix("cloison-test-")
        .tempdir_in(place)
        .unwrap();
    // RocksDB sets room for its log aside as it starts: tens of MiB.
    let reserve = (free(folder.path()) >> 20) - 256;
    world.replace(
        "vault.toml",
        "path = \"data/vault\"",
        &format!(
            "path = {:?}\nreserve-mib = {reserve}",
            folder.path().join("store")
        ),
    );
    world.start(Side::Vault, &["--first-start"]);
    world.start(Side::Node, &[]);
    let ask = |world: &World, card: &str| {
        world.batch("cnss-health", "health", "cnie", Some("billing"), &[card])
    };
    let before = world.health_pseudonyms(&["AB1"]);

    let filler = folder.path().join("filler");
    let file = File::create(&filler).unwrap();
    // SAFETY: the descriptor is open for as long as the call lasts.
    let full =
        unsafe { libc::posix_fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), 0, 512 << 20) };
    assert_eq!(full, 0);
    let wait_for = |status: u16| {
        let since = Instant::now();
        loop {
            let reply = ask(&world, "AB2");
            if reply.status == status {
                return reply;
            }
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "still {}",
                reply.status
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let refused = wait_for(503);
    assert_eq!(refused.json()["code"], "audit-unavailable");
    assert!(refused.header("retry-after").is_some());
    let ready = plain_get(world.health(Side::Vault), "/readyz").unwrap();
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"space\""),
        "{ready}"
    );
    // The reserve is for this.
    let order = world.sign(&world.order("health", &before), crate::common::QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &before).ok()["items"][0]["value"],
        "AB1"
    );

    drop(file);
    fs::remove_file(&filler).unwrap();
    wait_for(200);
    assert_eq!(ask(&world, "AB1").ok()["pseudonyms"][0], before[0].as_str());
    assert!(
        plain_get(world.health(Side::Vault), "/readyz")
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    world.stop();
}

/// A fault of ours in the writer is a failed write: the process is told to end, and nothing more is
/// taken.
#[test]
fn a_fault_in_the_writer_is_heard() {
    let world = world::World::new();
    let (heard, hearing) = std::sync::mpsc::channel();
    let poisoned = Box::new(move |error: &StoreError| heard.send(error.to_string()).unwrap());
    let vault = world.open_with(world::register(), poisoned).unwrap();
    world::tokenize(&vault, world::CALLERS[0], &["AB1".into()]).unwrap();
    let fault: Change = Box::new(|_, _| panic!("a fault of ours, on purpose"));
    let recorded = vault
        .committer()
        .record(vault.now(), start_event(), vec![], vec![fault]);
    assert_eq!(recorded.unwrap_err(), Code::AuditUnavailable);
    let said = hearing
        .recv_timeout(Duration::from_secs(60))
        .expect("it is heard");
    assert!(said.contains("writer"), "{said}");
    assert_eq!(
        world::tokenize(&vault, world::CALLERS[0], &["AB1".into()]).err(),
        Some(Code::AuditUnavailable),
        "known or not, nothing is answered any more"
    );
    drop(vault);
    let vault = world.open();
    assert_eq!(vault.index().len(), 1);
}

fn start_event() -> AuditEvent {
    AuditEvent::Refuse {
        actor: "nobody".into(),
        operation: "test",
        code: Code::Internal,
        count: 1,
    }
}
