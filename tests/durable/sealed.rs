//! Sealed repositories (`[backup] recipients`): what they show and who opens them.

mod harms;
mod kinds;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use cloison::backup::sealed::SealedManifest;
use cloison::store::Store;
use serde_json::{Value, json};

use super::backup::{create, good, id_of, manifests, refused, tokenize, words};
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

/// An operator asks the vault for a backup.
fn ask(world: &World, more: &[&str]) -> Output {
    let usual = ["backup", "create", "--client", "clients/operator.toml"];
    world.cloison(&[&usual[..], more].concat())
}

fn clear_part(path: &Path) -> SealedManifest {
    SealedManifest::read_unverified(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The sealed files that a backup names, its manifest left out.
fn parts(sealed: &SealedManifest) -> BTreeSet<[u8; 32]> {
    sealed.files.iter().map(|file| file.part.sha256).collect()
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
        let files = crate::common::files(&world.path(folder)).into_iter();
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
    for path in crate::common::files(&world.path("backup")) {
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
    let clear = world.path("clear");
    fs::create_dir(&clear).unwrap();
    let folder = clear.display().to_string();
    world.env.push(("TMPDIR".to_owned(), folder));
    let said = good(&world.cloison(&[&all[..], &["--drill"]].concat()));
    world.env.pop();
    assert!(said["chunks"].as_u64() > Some(0), "{said}");
    assert_eq!(said["drill"]["mappings"], 3_050, "{said}");
    assert!(
        !world.path("backup/work").exists(),
        "nothing in clear went there"
    );
    let left = clear.read_dir().unwrap().count();
    assert_eq!(left, 0, "what was opened is gone");
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
