//! Backups of running servers: taken under load, verified without a secret, pruned; and what the
//! commands say of repositories and disks that are not what they should be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloison::backup::manifest::BackupManifest;
use serde_json::{Value, json};

use super::faults::mount;
use super::load::{Acknowledged, Load, Plan, check};
use super::world::card;
pub use crate::common::backups::{good, words};
pub use crate::common::copy_folder;
use crate::common::process::soon;
use crate::common::{Door, Setup, Side, World, plain_get};

/// A world whose vault has `[backup]`.
pub fn backed_up(more: &str) -> World {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    fs::create_dir(world.path("backup")).unwrap();
    let section = format!("\n[backup]\npath = \"backup\"\n{more}\n[secrets]");
    world.replace("vault.toml", "\n[secrets]", &section);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world
}

pub fn tokenize(world: &World, first: u32, count: u32) {
    let cards: Vec<String> = (first..first + count).map(card).collect();
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    world.tokenize("cnss-health", "health", "cnie", Some("billing"), &cards);
}

/// A command that must fail, and say this.
pub fn refused(output: &Output, why: &str) {
    let words = words(output);
    assert!(
        !output.status.success() && words.contains(why),
        "{why}: {words}"
    );
    assert!(words.contains("hint"), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

/// Takes a backup.
pub fn create(world: &World) -> Value {
    good(&world.cloison(&[
        "backup",
        "create",
        "--json",
        "--client",
        "clients/operator.toml",
    ]))
}

fn verify(world: &World, more: &[&str]) -> Output {
    let offline = [
        "backup",
        "verify",
        "--repository",
        "backup",
        "--register",
        "register.toml",
    ];
    world.cloison(&[&offline[..], more].concat())
}

fn list(world: &World) -> Value {
    let offline = ["backup", "list", "--json", "--repository", "backup"];
    good(&world.cloison(&[&offline[..], &["--register", "register.toml"]].concat()))
}

pub fn files(world: &World) -> Vec<PathBuf> {
    let folder = world.path("backup/files");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

pub fn manifests(world: &World) -> Vec<PathBuf> {
    let folder = world.path("backup/manifests");
    // The first backup makes the folder.
    let files = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The entries about backups of the vault, which must be stopped.
fn backups_logged(world: &World) -> Vec<Value> {
    let entries = world.entries(Side::Vault).into_iter();
    entries.filter(|entry| entry["event"] == "backup").collect()
}

pub fn id_of(view: &Value) -> &str {
    view["backup"].as_str().unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_backup_is_taken_under_load_and_found_good_without_a_secret() {
    let mut world = backed_up("");
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let plan = Plan {
        threads: 2,
        batch: 500,
        first: 1_000,
    };
    let load = Load::start(&world, plan, &acknowledged);
    let first = create(&world);
    let second = create(&world);
    load.stop();
    assert!(
        first["copied"].as_u64() > Some(0) && first["state"] == "done",
        "{first}"
    );
    assert!(second["all"].as_u64() >= first["all"].as_u64(), "{second}");

    let said = good(&verify(&world, &["--json"]));
    assert_eq!(said["backup"], second["backup"]);
    assert!(said["entries"].as_u64() > Some(1), "{said}");
    let with_keys = ["backup", "verify", "--json", "--config", "vault.toml"];
    let said = good(&world.cloison(&[&with_keys[..], &["--id", id_of(&first)]].concat()));
    assert!(said["chunks"].is_u64(), "{said}");
    // At the server, and by people.
    let there = world.cloison(&["backup", "verify", "--client", "clients/operator.toml"]);
    assert!(words(&there).contains("is good"), "{}", words(&there));
    let listed = world.cloison(&["backup", "list", "--client", "clients/operator.toml"]);
    let text = words(&listed);
    assert!(
        text.contains(id_of(&first)) && text.contains(id_of(&second)),
        "{text}"
    );

    let text = fs::read_to_string(&manifests(&world)[0]).unwrap();
    let manifest = BackupManifest::read_unverified(&text).unwrap();
    assert_eq!(manifest.owner, "test/vault");
    for path in files(&world).iter().chain(&manifests(&world)) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    for folder in ["files", "manifests", "verified"] {
        assert_eq!(mode(&world.path("backup").join(folder)), 0o700);
    }
    assert!(!world.path("data/vault/snapshot").exists());
    check(&world, &acknowledged.lock().unwrap(), 100);
    world.stop();
    let logged = backups_logged(&world);
    assert_eq!(logged.len(), 2);
    assert_eq!(logged[0]["actor"], "operator");
    assert_eq!(logged[0]["backup"], first["backup"]);
}

#[test]
fn a_node_has_its_own_backups_and_each_side_names_who_may() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        custodians: Some((2, 3)),
        ..Setup::default()
    });
    fs::create_dir(world.path("node-backup")).unwrap();
    let section = "\n[backup]\npath = \"node-backup\"\n[secrets]";
    world.replace("node.toml", "\n[secrets]", section);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let create = |client: &str| world.cloison(&["backup", "create", "--client", client]);
    let done = create("clients/custodian-1.toml");
    assert!(done.status.success(), "{}", words(&done));
    assert!(
        words(&done).contains("kept apart from it"),
        "{}",
        words(&done)
    );
    assert!(create("clients/officer.toml").status.success());
    refused(&create("clients/operator.toml"), "has no [backup]");
    for (who, door) in [
        ("operator", Door::Officers),
        ("auditor", Door::Officers),
        ("auditor", Door::Control),
    ] {
        let reply = world.post_json(who, door, "/v1/backups", &json!({}));
        let said = (reply.status, reply.code());
        assert_eq!(said, (403, "forbidden".into()), "{who} at {door:?}");
    }
    let wrong = [
        "backup",
        "verify",
        "--repository",
        "node-backup",
        "--config",
        "vault.toml",
    ];
    refused(&world.cloison(&wrong), "not of test/vault");
    let right = [
        "backup",
        "verify",
        "--repository",
        "node-backup",
        "--config",
        "node.toml",
    ];
    let found = world.cloison(&right);
    assert!(found.status.success());
    assert!(
        !words(&found).contains("chunks"),
        "a node has none: {}",
        words(&found)
    );
}

#[test]
fn the_timer_takes_backups_and_removes_those_that_no_rule_keeps() {
    let mut world = backed_up("every = \"10s\"\nkeep-last = 1\nkeep-days = 0\n");
    let begun = Instant::now();
    while manifests(&world).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no backup");
        std::thread::sleep(Duration::from_millis(100));
    }
    let metrics = || plain_get(world.health(Side::Vault), "/metrics").unwrap();
    while !metrics().contains("\ncloison_backup_age_seconds ") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", metrics());
        std::thread::sleep(Duration::from_millis(100));
    }
    let first = manifests(&world)[0].clone();
    while first.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is kept");
        std::thread::sleep(Duration::from_millis(100));
    }
    world.stop();
    assert_eq!(good(&verify(&world, &["--json"]))["good"], true);
    assert_eq!(backups_logged(&world)[0]["actor"], "timer");
}

/// A late name among the manifests that is no backup's: in a foreign place others can put one
/// there.
#[test]
fn what_is_no_backup_makes_none_due() {
    let mut world = backed_up("every = \"300d\"\n");
    let begun = Instant::now();
    while manifests(&world).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no backup");
        std::thread::sleep(Duration::from_millis(100));
    }
    world.end(Side::Vault);
    world.write("backup/manifests/99991231T000000Z-00000000.jws", "nonsense");
    world.start(Side::Vault, &[]);
    // The timer does nothing before those were heard who watch the log; then it looks each second,
    // and shows the age behind each look.
    let heard = |world: &World| {
        let log = world.log(Side::Vault);
        log.matches("all who watch this log were heard").count()
    };
    soon("the timer may act", || heard(&world) == 2);
    let looked = Instant::now() + Duration::from_secs(3);
    let begun = Instant::now();
    let age = loop {
        let metrics = plain_get(world.health(Side::Vault), "/metrics").unwrap();
        let line = metrics.lines();
        let age = line
            .filter_map(|line| line.strip_prefix("cloison_backup_age_seconds "))
            .find(|age| *age != "0");
        if let Some(age) = age.filter(|_| Instant::now() > looked) {
            break age.to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{metrics}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(age.len() < 9, "not since 1970: {age}");
    let list = ["backup", "list", "--json", "--client"];
    let list = good(&world.cloison(&[&list[..], &["clients/operator.toml"]].concat()));
    assert_eq!(
        (&list["running"], &list["ended"]),
        (&Value::Null, &Value::Null)
    );
    world.stop();
    assert_eq!(backups_logged(&world).len(), 1);
}

#[test]
fn pruning_keeps_the_last_good_backup_and_only_what_backups_need() {
    let mut world = backed_up("");
    tokenize(&world, 1, 50);
    create(&world);
    tokenize(&world, 100, 50);
    let second = create(&world);
    world.stop();
    fs::write(world.path("backup/files").join("a".repeat(64)), "an orphan").unwrap();
    let prune = |more: &[&str]| {
        let offline = ["backup", "prune", "--json", "--repository", "backup"];
        let key = ["--register", "register.toml", "--keep-last", "1"];
        world.cloison(&[&offline[..], &key, more].concat())
    };
    let before = (manifests(&world).len(), files(&world).len());
    let said = good(&prune(&["--dry-run"]));
    assert_eq!(said["removed"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!((manifests(&world).len(), files(&world).len()), before);
    let said = good(&prune(&[]));
    assert_eq!(said["kept"], json!([second["backup"]]), "{said}");
    assert!(manifests(&world).len() == 1 && files(&world).len() < before.1);
    good(&verify(&world, &["--json"]));
    // The last good one stays, whatever the rules say.
    let said = good(&world.cloison(&[
        "backup",
        "prune",
        "--json",
        "--repository",
        "backup",
        "--register",
        "register.toml",
        "--keep-last",
        "0",
    ]));
    assert_eq!(said["kept"], json!([second["backup"]]), "{said}");
}

#[test]
fn a_damaged_file_that_is_moved_aside_is_copied_anew() {
    let world = backed_up("");
    tokenize(&world, 1, 50);
    create(&world);
    let mut largest = files(&world);
    largest.sort_by_key(|file| fs::metadata(file).unwrap().len());
    let damaged = largest.pop().unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[0] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let at_server = ["backup", "verify", "--client", "clients/operator.toml"];
    let name = damaged.file_name().unwrap().to_str().unwrap();
    for found in [verify(&world, &[]), world.cloison(&at_server)] {
        refused(&found, name);
        refused(&found, "move the named file aside");
    }
    fs::rename(&damaged, world.path("aside")).unwrap();
    create(&world);
    good(&verify(&world, &["--json"]));
}

/// What is done to a repository, and what `verify` says of it.
type Harm = (&'static str, fn(&World), &'static str);

#[test]
fn a_repository_that_is_not_what_it_should_be_is_named_in_a_sentence() {
    let mut world = backed_up("");
    tokenize(&world, 1, 50);
    create(&world);
    world.stop();
    let kept = world.path("kept");
    copy_folder(&world.path("backup"), &kept);
    let harms: [Harm; 12] = [
        (
            "a file is missing",
            |world| fs::remove_file(largest(world)).unwrap(),
            "is missing",
        ),
        (
            "a file is cut",
            |world| {
                let path = largest(world);
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            },
            "is damaged",
        ),
        (
            "a file has another byte",
            |world| {
                let path = largest(world);
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, &bytes).unwrap();
            },
            "is damaged",
        ),
        (
            "a file is a link",
            |world| {
                let path = largest(world);
                let beside = world.path("elsewhere");
                fs::rename(&path, &beside).unwrap();
                symlink(beside, path).unwrap();
            },
            "is a link",
        ),
        (
            "the manifest is cut",
            |world| {
                let path = &manifests(world)[0];
                let text = fs::read(path).unwrap();
                fs::write(path, &text[..text.len() / 2]).unwrap();
            },
            "it is not a manifest",
        ),
        (
            "the manifest is another's",
            |world| {
                let path = &manifests(world)[0];
                let text = fs::read_to_string(path).unwrap();
                fs::write(path, forged(world, &text)).unwrap();
            },
            "its signature is not by the key",
        ),
        (
            "the manifest has another name",
            |world| {
                let path = &manifests(world)[0];
                let other = path.with_file_name("20990101T000000Z-00000000.jws");
                fs::copy(path, other).unwrap();
            },
            "a copy under another name is no backup",
        ),
        (
            "the manifest is gone",
            |world| fs::remove_file(&manifests(world)[0]).unwrap(),
            "there is no backup in",
        ),
        (
            "the folder of files is a link",
            |world| {
                let (path, beside) = (world.path("backup/files"), world.path("elsewhere"));
                fs::rename(&path, &beside).unwrap();
                symlink(beside, path).unwrap();
            },
            "is a link",
        ),
        (
            "nothing says what it is",
            |world| fs::remove_file(world.path("backup/repository.json")).unwrap(),
            "is not a repository of backups",
        ),
        (
            "it is empty",
            |world| {
                fs::remove_dir_all(world.path("backup")).unwrap();
                fs::create_dir(world.path("backup")).unwrap();
            },
            "is empty: is its disk mounted?",
        ),
        (
            "it is gone",
            |world| fs::remove_dir_all(world.path("backup")).unwrap(),
            "is its disk mounted?",
        ),
    ];
    for (name, harm, why) in harms {
        let _ = fs::remove_dir_all(world.path("backup"));
        let _ = fs::remove_dir_all(world.path("elsewhere"));
        let _ = fs::remove_file(world.path("elsewhere"));
        copy_folder(&kept, &world.path("backup"));
        harm(&world);
        eprintln!("{name}");
        refused(&verify(&world, &[]), why);
    }
    // Foreign files beside are told, and change nothing.
    let _ = fs::remove_dir_all(world.path("backup"));
    copy_folder(&kept, &world.path("backup"));
    fs::write(world.path("backup/manifests/notes.txt"), "mine").unwrap();
    assert_eq!(list(&world)["foreign"], json!(["notes.txt"]));
    good(&verify(&world, &["--json"]));
    refused(
        &verify(&world, &["--id", "20200101T000000Z-00000000"]),
        "there is no backup",
    );
    let other = ["backup", "verify", "--repository", "backup", "--key"];
    let stranger = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    refused(
        &world.cloison(&[&other[..], &[stranger]].concat()),
        "its signature is not by the key",
    );
    refused(
        &world.cloison(&["backup", "list", "--repository", "backup"]),
        "no key is named",
    );
}

#[test]
fn a_server_says_why_it_takes_no_backup_and_goes_on() {
    let world = backed_up("");
    let create = |more: &[&str]| {
        let usual = ["backup", "create", "--client", "clients/operator.toml"];
        world.cloison(&[&usual[..], more].concat())
    };
    assert!(create(&[]).status.success());
    // Its disk is not mounted: an empty folder is left.
    fs::rename(world.path("backup"), world.path("away")).unwrap();
    refused(&create(&[]), "is its disk mounted?");
    fs::create_dir(world.path("backup")).unwrap();
    refused(&create(&[]), "went to a repository before");
    let listed = world.cloison(&["backup", "list", "--client", "clients/operator.toml"]);
    refused(&listed, "is empty: is its disk mounted?");
    // Another repository, on purpose only.
    assert!(create(&["--new-repository"]).status.success());
    fs::rename(world.path("backup"), world.path("new")).unwrap();
    fs::rename(world.path("away"), world.path("backup")).unwrap();
    refused(&create(&[]), "is another repository");
    fs::remove_dir_all(world.path("backup")).unwrap();
    fs::create_dir(world.path("backup")).unwrap();
    fs::write(world.path("backup/thesis.txt"), "theirs").unwrap();
    refused(
        &create(&[]),
        "is not a repository of backups, and not empty",
    );
    assert_eq!(fs::read_dir(world.path("backup")).unwrap().count(), 1);
    // Over HTTP each is one code.
    let reply = world.post_json("operator", Door::Control, "/v1/backups", &json!({}));
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["code"], "backup-unavailable");
    let unknown = json!({"backup": "20200101T000000Z-00000000"});
    fs::remove_dir_all(world.path("backup")).unwrap();
    fs::rename(world.path("new"), world.path("backup")).unwrap();
    let reply = world.post_json("operator", Door::Control, "/v1/backups/verify", &unknown);
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (404, &json!("unknown-backup"))
    );
    let reply = world.post_json(
        "operator",
        Door::Control,
        "/v1/backups",
        &json!({"path": "/etc"}),
    );
    assert_eq!(reply.json()["code"], "malformed-body");
    tokenize(&world, 1, 10);
}

/// The repository's disk is full, read-only, gone: the server says so and goes on, and the next
/// backup uses what was copied.
#[test]
fn a_repository_whose_disk_fails_is_named_and_the_next_backup_is_whole() {
    let mut world = backed_up("");
    let place = world.path("backup");
    let Some(mounted) = mount(&place, 1) else {
        eprintln!("not tested: this user may not mount a file system of limited size");
        return;
    };
    let create = || world.cloison(&["backup", "create", "--client", "clients/operator.toml"]);
    assert!(create().status.success());
    tokenize(&world, 1, 20_000);
    refused(&create(), "No space left on device");
    let listed = world.cloison(&["backup", "list", "--client", "clients/operator.toml"]);
    assert!(
        words(&listed).contains("the last work failed: "),
        "{}",
        words(&listed)
    );
    good(&verify(&world, &["--json"]));
    remount(&place, "size=64m");
    assert!(create().status.success());
    assert!(
        files(&world).iter().all(|path| path.extension().is_none()),
        "no leftovers"
    );
    good(&verify(&world, &["--json"]));

    remount(&place, "ro");
    refused(&create(), "Read-only file system");
    // Where nothing can be written, a backup can be verified all the same.
    good(&verify(&world, &["--json"]));
    assert_eq!(list(&world)["backups"].as_array().unwrap().len(), 2);
    drop(mounted);
    refused(&create(), "went to a repository before");
    tokenize(&world, 1, 10);
    world.stop();
}

pub fn remount(at: &Path, how: &str) {
    let mut mount = std::process::Command::new("mount");
    mount.args(["-o", &format!("remount,{how}")]).arg(at);
    assert!(mount.status().unwrap().success());
}

/// Another process holds the repository: whoever comes second is told so.
#[test]
fn two_do_not_work_on_one_repository_at_once() {
    let world = backed_up("");
    create(&world);
    let repository =
        cloison::backup::repository::BackupRepository::open(&world.path("backup")).unwrap();
    let lock = repository.lock().unwrap();
    let usual = ["backup", "create", "--client", "clients/operator.toml"];
    refused(
        &world.cloison(&usual),
        "another process takes, verifies or prunes",
    );
    refused(
        &verify(&world, &[]),
        "another process takes, verifies or prunes",
    );
    let reply = world.post_json("operator", Door::Control, "/v1/backups", &json!({}));
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (409, &json!("backup-running"))
    );
    drop(lock);
    create(&world);
}

#[test]
fn killed_while_backups_are_taken() {
    let mut world = backed_up("");
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let rounds = if super::world::long() { 50 } else { 4 };
    for round in 0..rounds {
        let plan = Plan {
            threads: 2,
            batch: 800,
            first: 1_000 + round * 2_000,
        };
        let load = Load::start(&world, plan, &acknowledged);
        let operator = world.client("operator");
        let asking = std::thread::spawn(move || {
            while operator.create_backup(&Default::default()).is_ok() || operator.backups().is_ok()
            {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let moment = u64::from_be_bytes(cloison::clock::random()) % 900;
        std::thread::sleep(Duration::from_millis(100 + moment));
        world.kill(Side::Vault);
        load.stop();
        asking.join().unwrap();
        // Whatever has a manifest is good.
        for backup in list(&world)["backups"].as_array().unwrap() {
            good(&verify(&world, &["--json", "--id", id_of(backup)]));
        }
        world.start(Side::Vault, &[]);
        assert!(!world.path("data/vault/snapshot").exists());
    }
    create(&world);
    good(&verify(&world, &["--json"]));
    check(&world, &acknowledged.lock().unwrap(), 200);
}

pub fn largest(world: &World) -> PathBuf {
    let length = |path: &PathBuf| path.metadata().unwrap().len();
    files(world).into_iter().max_by_key(length).unwrap()
}

/// The manifest signed by another key.
fn forged(world: &World, text: &str) -> String {
    use cloison::backup::manifest::TYP;
    let payload = BackupManifest::read_unverified(text).unwrap().payload();
    let key = world.register_key("operations");
    let draft = cloison::jws::draft(&payload);
    cloison::jws::add_signature(&draft, TYP, "vault", &key).unwrap()
}

/// However many are taken in one second, and wherever to: the last name is the last backup's.
#[test]
fn the_ids_of_a_servers_backups_are_in_the_order_in_which_they_were_taken() {
    let mut world = backed_up("");
    let ids: Vec<_> = (0..8).map(|_| id_of(&create(&world)).to_owned()).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    fs::rename(world.path("backup"), world.path("before")).unwrap();
    fs::create_dir(world.path("backup")).unwrap();
    let anew = world.cloison(&[
        "backup",
        "create",
        "--client",
        "clients/operator.toml",
        "--new-repository",
        "--json",
    ]);
    assert!(id_of(&good(&anew)) > ids[7].as_str());
    world.stop();
}
