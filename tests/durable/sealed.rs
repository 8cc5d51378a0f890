//! Sealed repositories (`[backup] recipients`): what they show, who opens them, and what becomes of them
//! in bad hands.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cloison::backup::sealed::SealedManifest;
use cloison::store::Store;
use serde_json::{Value, json};

use super::backup::{
    copy_folder, create, files, good, id_of, largest, manifests, refused, tokenize, words,
};
use super::export::interpreter;
use crate::common::{Setup, Side, World};

/// A world whose vault seals its backups to identities of these names.
pub fn sealed_to(names: &[&str]) -> World {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    fs::create_dir(world.path("backup")).unwrap();
    let recipients: Vec<_> = names.iter().map(|name| keygen(&world, name)).collect();
    let section =
        format!("\n[backup]\npath = \"backup\"\nrecipients = {recipients:?}\n\n[secrets]");
    world.replace("vault.toml", "\n[secrets]", &section);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world
}

/// Makes an identity; returns its recipient.
fn keygen(world: &World, name: &str) -> String {
    let made = good(&world.cloison(&["backup", "keygen", "--json", &format!("{name}.age")]));
    made["recipient"].as_str().unwrap().to_owned()
}

/// Changes the recipients in the configuration; none: the line goes. The vault must be stopped.
fn set_recipients(world: &World, recipients: &[&str]) {
    let text = world.read("vault.toml");
    let line = text.lines().find(|line| line.starts_with("recipients"));
    let new = match recipients {
        [] => String::new(),
        some => format!("recipients = {some:?}"),
    };
    match line {
        Some(line) => world.write("vault.toml", &text.replacen(line, &new, 1)),
        None => {
            let with = format!("path = \"backup\"\n{new}");
            world.replace("vault.toml", "path = \"backup\"", &with);
        }
    }
}

/// `backup verify` on the repository, without any secret but the identity of that name.
fn verify(world: &World, identity: Option<&str>, more: &[&str]) -> Output {
    on_repository(world, "verify", identity, more)
}

fn on_repository(world: &World, verb: &str, identity: Option<&str>, more: &[&str]) -> Output {
    let usual = ["backup", verb, "--repository", "backup"];
    let key = ["--register", "register.toml"];
    let file = identity.map(|name| format!("{name}.age"));
    let identity: Vec<&str> = file.iter().flat_map(|file| ["--identity", file]).collect();
    world.cloison(&[&usual[..], &key, &identity, more].concat())
}

fn clear_part(path: &Path) -> SealedManifest {
    SealedManifest::read_unverified(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The sealed files that a backup names, its manifest left out.
fn parts(sealed: &SealedManifest) -> BTreeSet<[u8; 32]> {
    sealed.files.iter().map(|file| file.part.sha256).collect()
}

/// Every file below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|part| part == word.as_bytes())
}

#[test]
fn a_sealed_backup_opens_for_each_recipient_and_shows_others_nothing() {
    let mut world = sealed_to(&["one", "two"]);
    keygen(&world, "stranger");
    tokenize(&world, 1, 3_000);
    let first = create(&world);
    tokenize(&world, 5_000, 50);
    let second = create(&world);

    // Only what is new was sealed again, although nothing here opens what was sealed before.
    let [before, after] = &manifests(&world)[..] else {
        panic!("two backups")
    };
    let (before, after) = (clear_part(before), clear_part(after));
    let common = parts(&before).intersection(&parts(&after)).count();
    assert!(common > 0, "nothing was used again");
    assert!(
        second["copied"].as_u64() < second["all"].as_u64(),
        "{second}"
    );
    assert_eq!(after.recipients.len(), 2);

    // What it shows: no word of the store, its log or its files' names.
    let shows = |folder: &str, word: &str| {
        let files = below(&world.path(folder)).into_iter();
        files
            .filter(|path| contains(&fs::read(path).unwrap(), word))
            .count()
    };
    for word in [
        "cnss-health",
        "billing",
        "MANIFEST-",
        "CURRENT",
        "rocksdb",
        "operator",
    ] {
        assert!(shows("data/vault", word) > 0, "{word} is in the store");
        assert_eq!(shows("backup", word), 0, "{word} is in the repository");
    }
    for path in below(&world.path("backup")) {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    // Without an identity, at the server and on the repository.
    let there = world.cloison(&["backup", "verify", "--client", "clients/operator.toml"]);
    assert!(
        words(&there).contains("is whole, and sealed"),
        "{}",
        words(&there)
    );
    let said = good(&verify(&world, None, &["--json"]));
    assert_eq!(
        (&said["opened"], &said["whole"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(said["good"], Value::Null);
    assert_eq!(
        fs::read_dir(world.path("backup/verified")).unwrap().count(),
        0
    );
    let listed = good(&on_repository(&world, "list", None, &["--json"]));
    let last = &listed["backups"][1];
    assert_eq!(last["recipients"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(
        (&last["program"], &last["fault"]),
        (&Value::Null, &Value::Null)
    );

    // With one of either recipient.
    for name in ["one", "two"] {
        let said = good(&verify(
            &world,
            Some(name),
            &["--json", "--id", id_of(&first)],
        ));
        assert_eq!(said["good"], true, "{said}");
    }
    let all = [
        "backup",
        "verify",
        "--json",
        "--config",
        "vault.toml",
        "--identity",
        "two.age",
    ];
    let said = good(&world.cloison(&[&all[..], &["--drill"]].concat()));
    assert!(said["chunks"].as_u64() > Some(0), "{said}");
    assert_eq!(said["drill"]["mappings"], 3_050, "{said}");
    assert!(
        !world.path("backup/work").exists(),
        "nothing in clear went there"
    );
    let listed = good(&on_repository(&world, "list", Some("one"), &["--json"]));
    assert!(listed["backups"][1]["program"].is_string(), "{listed}");
    assert!(listed["backups"][1]["verified"].is_string(), "{listed}");

    // With none that counts.
    refused(
        &verify(&world, Some("stranger"), &[]),
        "it is sealed to age1",
    );
    let drill = ["backup", "verify", "--config", "vault.toml", "--drill"];
    refused(&world.cloison(&drill), "no identity is named");
    world.write("nonsense.age", "AGE-SECRET-KEY-1NONSENSE\n");
    fs::set_permissions(
        world.path("nonsense.age"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    refused(
        &verify(&world, Some("nonsense"), &[]),
        "is not an identity file of age",
    );
    fs::set_permissions(world.path("one.age"), fs::Permissions::from_mode(0o644)).unwrap();
    refused(&verify(&world, Some("one"), &[]), "must have 0600");
    let server = ["--client", "clients/operator.toml", "--identity", "two.age"];
    for verb in ["list", "verify"] {
        let asked = world.cloison(&[&["backup", verb][..], &server].concat());
        refused(&asked, "an identity goes to no server");
    }
    let checked = words(&world.cloison(&["check", "vault.toml"]));
    assert!(
        checked.contains("backups sealed to 2 recipients"),
        "{checked}"
    );
    let doctor = words(&world.cloison(&["doctor", "--config", "vault.toml"]));
    assert!(doctor.contains("go sealed to 2 recipients"), "{doctor}");
    world.stop();
}

#[test]
fn another_program_opens_a_sealed_backup_by_the_specification() {
    let mut world = sealed_to(&["one", "two"]);
    tokenize(&world, 1, 3_000);
    let taken = create(&world);
    world.stop();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent/open_backup.py");
    let open = |identity: &str, to: &str| {
        Command::new(interpreter())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(&script)
            .arg(world.path("backup"))
            .arg(id_of(&taken))
            .args([world.path(identity), world.path(to)])
            .output()
            .unwrap()
    };
    for (identity, to) in [("one.age", "by-one"), ("two.age", "by-two")] {
        let opened = open(identity, to);
        assert!(opened.status.success(), "{}", words(&opened));
        let store = Store::open_for_audit(&world.path(to)).unwrap();
        assert_eq!(store.owner().unwrap(), "test/vault");
    }
    keygen(&world, "stranger");
    assert!(words(&open("stranger.age", "by-stranger")).contains("no identity opens it"));
}

/// What is done to a sealed repository; what `verify` says of it without an identity, and with one.
type SealedHarm = (&'static str, fn(&World), [&'static str; 2]);

const DAMAGED: [&str; 2] = ["is damaged"; 2];
const HARMS: [SealedHarm; 11] = [
    (
        "a file is missing",
        |world| fs::remove_file(largest(world)).unwrap(),
        ["is missing"; 2],
    ),
    (
        "a file is cut",
        |world| change(&largest(world), |bytes| bytes.truncate(bytes.len() / 2)),
        DAMAGED,
    ),
    (
        "a file is longer",
        |world| change(&largest(world), |bytes| bytes.push(0)),
        DAMAGED,
    ),
    (
        "a file is empty",
        |world| change(&largest(world), Vec::clear),
        DAMAGED,
    ),
    (
        "a file has another byte",
        |world| {
            change(&largest(world), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        },
        DAMAGED,
    ),
    (
        "a file has another byte in its header",
        |world| change(&largest(world), |bytes| bytes[60] ^= 1),
        DAMAGED,
    ),
    (
        "two files were exchanged",
        |world| {
            let (one, other) = two(world);
            let beside = world.path("elsewhere");
            fs::rename(&one, &beside).unwrap();
            fs::rename(&other, &one).unwrap();
            fs::rename(beside, other).unwrap();
        },
        DAMAGED,
    ),
    (
        "a file lies there twice, once under another's name",
        |world| {
            let (one, other) = two(world);
            fs::copy(one, other).unwrap();
        },
        DAMAGED,
    ),
    (
        "a file is a link",
        |world| {
            let (path, beside) = (largest(world), world.path("elsewhere"));
            fs::rename(&path, &beside).unwrap();
            symlink(beside, path).unwrap();
        },
        ["is a link"; 2],
    ),
    (
        "the clear part was changed",
        |world| change(&manifests(world)[0], |bytes| bytes[40] ^= 1),
        ["the manifest of the backup"; 2],
    ),
    (
        "the folder says that it is not sealed",
        |world| {
            world.replace("backup/repository.json", ",\"sealed\":\"age\"", "");
        },
        ["is sealed, and the repository"; 2],
    ),
];

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Two files of a repository that have different bytes.
fn two(world: &World) -> (PathBuf, PathBuf) {
    let files = files(world);
    (files[0].clone(), files[1].clone())
}

#[test]
fn a_sealed_repository_in_bad_hands_is_named_in_a_sentence() {
    let mut world = sealed_to(&["one"]);
    tokenize(&world, 1, 2_000);
    create(&world);
    world.stop();
    let kept = world.path("kept");
    copy_folder(&world.path("backup"), &kept);
    for (name, harm, [without, with]) in HARMS {
        let _ = fs::remove_dir_all(world.path("backup"));
        let _ = fs::remove_file(world.path("elsewhere"));
        copy_folder(&kept, &world.path("backup"));
        harm(&world);
        eprintln!("{name}");
        refused(&verify(&world, None, &[]), without);
        refused(&verify(&world, Some("one"), &[]), with);
    }
    let restore = [
        "restore",
        "backup",
        "--config",
        "vault.toml",
        "--identity",
        "one.age",
    ];
    fs::rename(world.path("data/vault"), world.path("lost")).unwrap();
    for (name, harm, [_, with]) in HARMS {
        fs::remove_dir_all(world.path("backup")).unwrap();
        let _ = fs::remove_file(world.path("elsewhere"));
        copy_folder(&kept, &world.path("backup"));
        harm(&world);
        eprintln!("{name}");
        refused(&world.cloison(&restore), with);
        let left = fs::read_dir(world.path("data/vault")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{name}");
    }
}

#[test]
fn a_repository_is_sealed_or_not_and_no_backup_of_the_other_kind_counts() {
    let mut world = sealed_to(&["one"]);
    let recipient = keygen(&world, "two");
    tokenize(&world, 1, 200);
    create(&world);
    let ask = |more: &[&str]| {
        let usual = ["backup", "create", "--client", "clients/operator.toml"];
        world.cloison(&[&usual[..], more].concat())
    };
    // Another sealed repository of the same vault.
    fs::rename(world.path("backup"), world.path("first")).unwrap();
    fs::create_dir(world.path("backup")).unwrap();
    assert!(ask(&["--new-repository"]).status.success());
    let foreign = manifests(&world)[0].clone();
    let moved = world
        .path("first/manifests")
        .join(foreign.file_name().unwrap());
    fs::copy(&foreign, &moved).unwrap();
    let usual = [
        "backup",
        "verify",
        "--repository",
        "first",
        "--register",
        "register.toml",
    ];
    refused(&world.cloison(&usual), "was written for another repository");
    fs::remove_file(moved).unwrap();

    // The configuration no longer names recipients, and the repository is sealed.
    world.stop();
    set_recipients(&world, &[]);
    world.start(Side::Vault, &[]);
    let ask = |more: &[&str]| {
        let usual = ["backup", "create", "--client", "clients/operator.toml"];
        world.cloison(&[&usual[..], more].concat())
    };
    refused(
        &ask(&[]),
        "is a sealed repository, and the configuration names no recipients",
    );
    let doctor = words(&world.cloison(&["doctor", "--config", "vault.toml"]));
    assert!(
        doctor.contains("BAD") && doctor.contains("is a sealed repository"),
        "{doctor}"
    );
    fs::rename(world.path("backup"), world.path("second")).unwrap();
    fs::create_dir(world.path("backup")).unwrap();
    assert!(ask(&["--new-repository"]).status.success());
    assert_eq!(good(&verify(&world, None, &["--json"]))["good"], true);

    // A clear manifest among the sealed ones.
    let clear = manifests(&world)[0].clone();
    let beside = world
        .path("second/manifests")
        .join(clear.file_name().unwrap());
    fs::copy(&clear, beside).unwrap();
    let mixed = [
        "backup",
        "verify",
        "--repository",
        "second",
        "--register",
        "register.toml",
    ];
    refused(&world.cloison(&mixed), "is not sealed, and the repository");
    let prune = [
        "backup",
        "prune",
        "--keep-last",
        "1",
        "--repository",
        "second",
    ];
    let prune = [&prune[..], &["--register", "register.toml"]].concat();
    refused(&world.cloison(&prune), "is not sealed, and the repository");

    // And the other way round.
    world.end(Side::Vault);
    set_recipients(&world, &[&recipient]);
    world.start(Side::Vault, &[]);
    let usual = ["backup", "create", "--client", "clients/operator.toml"];
    refused(
        &world.cloison(&usual),
        "is a repository that is not sealed, and the configuration names recipients",
    );
    world.end(Side::Vault);
}

#[test]
fn other_recipients_get_files_of_their_own_and_the_old_ones_open_what_was_theirs() {
    let mut world = sealed_to(&["one"]);
    let recipient = keygen(&world, "two");
    tokenize(&world, 1, 2_000);
    let first = create(&world);
    world.end(Side::Vault);
    set_recipients(&world, &[&recipient]);
    world.start(Side::Vault, &[]);
    let second = create(&world);
    assert_eq!(second["copied"], second["all"], "all of it is sealed anew");
    let [before, after] = &manifests(&world)[..] else {
        panic!("two backups")
    };
    assert!(parts(&clear_part(before)).is_disjoint(&parts(&clear_part(after))));
    for (name, opens, not) in [("one", &first, &second), ("two", &second, &first)] {
        good(&verify(
            &world,
            Some(name),
            &["--json", "--id", id_of(opens)],
        ));
        let other = verify(&world, Some(name), &["--id", id_of(not)]);
        refused(&other, "no identity that is named opens");
        let listed = good(&on_repository(&world, "list", Some(name), &["--json"]));
        let listed = listed["backups"].as_array().unwrap().iter();
        assert!(listed.clone().all(|backup| backup["fault"].is_null()));
        assert_eq!(
            listed
                .filter(|backup| backup["program"].is_string())
                .count(),
            1
        );
    }
    // The server prunes what it cannot open, and only what no backup needs.
    world.end(Side::Vault);
    world.replace(
        "vault.toml",
        "path = \"backup\"",
        "path = \"backup\"\nkeep-last = 1\nkeep-days = 0",
    );
    world.start(Side::Vault, &[]);
    fs::write(
        world.path("backup/files").join("a".repeat(64) + ".age"),
        "an orphan",
    )
    .unwrap();
    let prune = [
        "backup",
        "prune",
        "--json",
        "--client",
        "clients/operator.toml",
    ];
    let said = good(&world.cloison(&prune));
    // The last one that was verified and the last whole one are the same here.
    assert_eq!(said["kept"], json!([second["backup"]]), "{said}");
    let left = clear_part(&manifests(&world)[0]);
    assert_eq!(files(&world).len(), parts(&left).len() + 1);
    good(&verify(&world, Some("two"), &["--json"]));
    world.stop();
}

#[test]
fn a_sealed_backup_is_restored_with_an_identity_and_without_one_nothing_is_touched() {
    let mut world = sealed_to(&["one"]);
    keygen(&world, "stranger");
    tokenize(&world, 1, 2_000);
    let taken = create(&world);
    tokenize(&world, 5_000, 30);
    world.advance("health", false);
    world.stop();
    let store = world.path("data/vault");
    fs::rename(&store, world.path("lost")).unwrap();
    let report = [
        "restore",
        "report",
        "backup",
        "--config",
        "vault.toml",
        "--json",
    ];
    assert_eq!(good(&world.cloison(&report))["backup"], taken["backup"]);
    let restore = |more: &[&str]| {
        let usual = ["restore", "backup", "--config", "vault.toml", "--json"];
        world.cloison(&[&usual[..], more].concat())
    };
    refused(&restore(&[]), "no identity is named that opens it");
    refused(
        &restore(&["--identity", "stranger.age"]),
        "it is sealed to age1",
    );
    assert!(!store.exists(), "nothing was touched");
    let done = good(&restore(&["--identity", "one.age"]));
    assert!(done["entries_after"].as_u64() > Some(0), "{done}");
    world.start(Side::Vault, &[]);
    // The next backup goes to the same repository, and uses what lies there.
    let next = create(&world);
    assert!(next["copied"].as_u64() < next["all"].as_u64(), "{next}");
    good(&verify(&world, Some("one"), &["--json"]));
    world.stop();
    assert_eq!(world.mappings(), 2_000);
}

#[test]
fn recipients_that_nobody_should_use_are_faults_of_the_configuration() {
    let world = World::with(Setup {
        start: false,
        ..Setup::default()
    });
    let one = keygen(&world, "one");
    // The point 0 of X25519: what is sealed to it opens for everybody.
    let weak = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z";
    let section = |recipients: &str| {
        format!("\n[backup]\npath = \"backup\"\nrecipients = {recipients}\n\n[secrets]")
    };
    let text = world.read("vault.toml");
    for (recipients, why) in [
        ("[]".to_owned(), "names nobody"),
        (format!("[\"{one}\", \"{one}\"]"), "names a recipient twice"),
        (format!("[\"{weak}\"]"), "an element of `recipients` is"),
        (
            "[\"ssh-ed25519 AAAA\"]".to_owned(),
            "is not an X25519 recipient of age",
        ),
        (format!("\"{one}\""), "`recipients` "),
        (
            format!("{:?}", vec!["age1"; 2]),
            "is not an X25519 recipient of age",
        ),
    ] {
        world.write(
            "vault.toml",
            &text.replacen("\n[secrets]", &section(&recipients), 1),
        );
        let checked = world.cloison(&["check", "vault.toml"]);
        let words = words(&checked);
        assert!(
            !checked.status.success() && words.contains(why),
            "{recipients}: {words}"
        );
        assert!(!words.contains("panicked"), "{words}");
    }
    world.write(
        "vault.toml",
        &text.replacen("\n[secrets]", &section(&format!("[\"{one}\"]")), 1),
    );
    let checked = words(&world.cloison(&["check", "vault.toml"]));
    assert!(
        checked.contains("backups sealed to one recipient"),
        "{checked}"
    );
}
