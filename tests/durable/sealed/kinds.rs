//! Repositories that are sealed and those that are not, other recipients, and restores of what is
//! sealed.

use std::fs;

use serde_json::json;

use super::{ask, clear_part, keygen, on_repository, parts, sealed_to, set_recipients, verify};
use crate::backup::{copy_folder, create, files, good, id_of, manifests, refused, tokenize, words};
use crate::common::{Setup, Side, World};

#[test]
fn a_repository_is_sealed_or_not_and_no_backup_of_the_other_kind_counts() {
    let mut world = sealed_to(&["one"]);
    let recipient = keygen(&world, "two");
    tokenize(&world, 1, 200);
    create(&world);
    // Another sealed repository of the same vault.
    fs::rename(world.path("backup"), world.path("first")).unwrap();
    fs::create_dir(world.path("backup")).unwrap();
    assert!(ask(&world, &["--new-repository"]).status.success());
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
    refused(
        &ask(&world, &[]),
        "is a sealed repository, and the configuration names no recipients",
    );
    let doctor = words(&world.cloison(&["doctor", "--config", "vault.toml"]));
    assert!(
        doctor.contains("BAD") && doctor.contains("is a sealed repository"),
        "{doctor}"
    );
    fs::rename(world.path("backup"), world.path("second")).unwrap();
    fs::create_dir(world.path("backup")).unwrap();
    assert!(ask(&world, &["--new-repository"]).status.success());
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
    refused(
        &ask(&world, &[]),
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
    // The next backups go to the same repository, and use what lies there. The store writes its
    // files anew in its own time, which may be before the first of them.
    let (next, again) = (create(&world), create(&world));
    let copied = |one: &serde_json::Value| one["copied"].as_u64() < one["all"].as_u64();
    assert!(copied(&next) || copied(&again), "{next} {again}");
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
        (format!("[\"{weak}\"]"), "is a weak X25519 key"),
        (
            "[\"ssh-ed25519 AAAA\"]".to_owned(),
            "is not an X25519 recipient of age",
        ),
        (format!("\"{one}\""), "is a text, not a list"),
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

/// Where the manifest is sealed, the end that was published when the backup was taken is read with
/// the identity; an old copy of the place is refused all the same.
#[test]
fn a_sealed_backup_is_not_restored_from_an_old_copy_of_a_place() {
    let mut world = sealed_to(&["one"]);
    tokenize(&world, 1, 10);
    world.end(Side::Vault);
    copy_folder(
        &world.path("data/vault.place"),
        &world.path("data/place-old"),
    );
    world.start(Side::Vault, &[]);
    tokenize(&world, 100, 10);
    create(&world);
    tokenize(&world, 200, 10);
    world.stop();
    for lost in ["data/vault", "data/vault.place"] {
        fs::rename(world.path(lost), world.path(&format!("{lost}-now"))).unwrap();
    }
    let restore = |place: &str| {
        let usual = ["restore", "backup", "--config", "vault.toml", "--json"];
        world.cloison(&[&usual[..], &["--identity", "one.age", "--from", place]].concat())
    };
    refused(&restore("data/place-old"), "it is an old copy of a place");
    assert!(!world.path("data/vault").exists(), "nothing was touched");
    let done = good(&restore("data/vault.place-now"));
    assert!(done["entries_after"].as_u64() > Some(0), "{done}");
}

/// What no backup can go to is no good finding, whether it is sealed or not.
#[test]
fn the_doctor_says_where_no_backup_can_go() {
    let mut world = sealed_to(&["one"]);
    create(&world);
    world.stop();
    let doctor = |place: &str| {
        let text = world.read("vault.toml");
        let named = text.replacen("path = \"backup\"", &format!("path = {place:?}"), 1);
        world.write("other.toml", &named);
        let said = words(&world.cloison(&["doctor", "--config", "other.toml"]));
        let line = said.lines().find(|line| line.contains("backups"));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    world.write("file", "");
    fs::create_dir(world.path("empty")).unwrap();
    fs::create_dir(world.path("theirs")).unwrap();
    world.write("theirs/thesis.txt", "theirs");
    copy_folder(&world.path("backup"), &world.path("of-node"));
    world.replace("of-node/repository.json", "test/vault", "test/node/court");
    for (place, level, says) in [
        ("backup", "good", "go sealed to one recipient"),
        (
            "empty",
            "good",
            "the first backup begins a repository there",
        ),
        ("absent", "BAD", "is its disk mounted?"),
        ("file", "BAD", "is not a folder"),
        ("theirs", "BAD", "is not a repository of backups"),
        ("of-node", "BAD", "holds backups of test/node/court"),
    ] {
        let line = doctor(place);
        assert!(
            line.contains(says) && line.contains(level),
            "{place}: {line}"
        );
    }
}
