//! Every kind of custody, for the vault's root secrets and the node's: it serves as from plain
//! files, and refuses what is wrong.
#![expect(unsafe_code, reason = "the user")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cloison::deployment::register_text::OPERATORS;
use cloison::epoch::statement::Destruction;

use super::{done, refused};
use crate::common::{Door, QUORUM, Side, World, swap};

/// The vault's root secrets: kind, file, and the line of vault.toml up to the path.
const VAULT: [(&str, &str); 7] = [
    ("identity", "secrets/vault/identity.secret"),
    ("audit", "secrets/vault/audit.secret"),
    ("segment", "secrets/vault/segment.pem"),
    ("checkpoint", "secrets/vault/checkpoint.pem"),
    ("sector", "secrets/vault/sector/1.secret"),
    ("store", "secrets/vault/store/1.secret"),
    ("journal", "secrets/vault/journal/1.secret"),
];

const NODE: [(&str, &str); 3] = [
    ("audit", "secrets/authority/audit.secret"),
    ("journal", "secrets/authority/journal/1.secret"),
    ("authority", "secrets/authority/court-2026.secret"),
];

/// Where a secret lies after it was moved: next to its old place, in a folder of the custody's
/// name.
fn moved(custody: &str, old: &str) -> String {
    let path = old.replace("secrets/", &format!("{custody}/"));
    if custody == "credential" {
        path.rsplit('/').next().unwrap().to_owned()
    } else {
        path
    }
}

/// Moves every secret of both sides from plain files into a custody that the configurations state
/// from then on.
pub fn convert(world: &World, custody: &str, secrets: &str, more: &str) {
    for (config, all) in [("vault.toml", &VAULT[..]), ("node.toml", &NODE[..])] {
        let mut text = world.read(config) + more;
        // A table in place of each path; folders lose their file names.
        for (kind, old) in all {
            let (old, new) = match *kind {
                "sector" | "store" | "journal" => {
                    let folder = old.strip_suffix("/1.secret").unwrap();
                    (folder.to_owned(), moved(custody, folder))
                }
                _ => ((*old).to_owned(), moved(custody, old)),
            };
            let new = match *kind {
                "authority" => format!("\"{new}\"\ncustody = \"{custody}\""),
                _ => format!("{{ custody = \"{custody}\", at = \"{new}\" }}"),
            };
            text = swap(&text, &format!("\"{old}\""), &new);
        }
        let (head, tail) = text.split_once("[secrets]").unwrap();
        let (line, tail) = tail.split_once('\n').unwrap();
        world.write(config, &format!("{head}[secrets]{line}\n{secrets}{tail}"));
        for (kind, old) in all {
            let new = moved(custody, old);
            if custody != "credential" {
                fs::create_dir_all(world.path(&new).parent().unwrap()).unwrap();
                let (from, to) = (format!("file:{old}"), format!("{custody}:{new}"));
                done(&world.cloison(&[
                    "secrets", "move", kind, &from, &to, "--config", config, "--work", "15",
                ]));
                let mode = fs::metadata(world.path(&new)).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o600, "{new}");
            }
            fs::remove_file(world.path(old)).unwrap();
        }
    }
}

/// Asks for pseudonyms and goes back; the pseudonyms.
pub fn use_both(world: &World) -> Vec<String> {
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &pseudonyms).ok()["items"][0]["value"],
        "AB123456"
    );
    pseudonyms
}

/// The same deployment before and after: pseudonyms are the same ones, and what was sealed before
/// opens.
pub fn same_after(world: &mut World, change: impl FnOnce(&mut World)) {
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let before = use_both(world);
    world.stop();
    change(world);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    assert_eq!(use_both(world), before);
}

fn refuses(world: &mut World, side: Side, why: &str) {
    let failed = world.try_start(side, &[]).expect_err("it must not start");
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(
        failed.said.contains(why) && failed.said.contains("hint: "),
        "{why:?} is not in {failed}"
    );
}

#[test]
fn secrets_encrypted_to_a_passphrase() {
    let mut world = World::asleep();
    cloison::keys::file::write_private(&world.path("words"), b"correct horse battery staple\n")
        .unwrap();
    same_after(&mut world, |world| {
        convert(world, "passphrase", "passphrase = \"file:words\"\n", "");
    });
    // A new version of the sector secret comes in the same custody.
    world.advance("health", true);
    let text = world.read("passphrase/vault/sector/2.secret");
    assert!(
        text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"),
        "{text}"
    );
    world.restart();
    world.stop();
    // Nothing of the secrets is in clear on the disk.
    for (_, path) in VAULT {
        let text = world.read(&moved("passphrase", path));
        assert!(
            text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"),
            "{path}"
        );
    }
    fs::write(world.path("words"), "wrong horse battery staple\n").unwrap();
    refuses(
        &mut world,
        Side::Vault,
        "does not open with this passphrase",
    );
    refuses(&mut world, Side::Node, "does not open with this passphrase");
    fs::write(world.path("words"), "\n").unwrap();
    refuses(&mut world, Side::Vault, "it is empty");
    fs::write(world.path("words"), "correct horse battery staple\n").unwrap();
    fs::set_permissions(world.path("words"), Permissions::from_mode(0o640)).unwrap();
    refuses(&mut world, Side::Vault, "has mode 0640 and must have 0600");
    fs::set_permissions(world.path("words"), Permissions::from_mode(0o600)).unwrap();
    // Two files exchanged: each says what it is for.
    let identity = "passphrase/vault/identity.secret";
    world.write(identity, &world.read("passphrase/vault/audit.secret"));
    refuses(&mut world, Side::Vault, "holds a secret of kind `audit`");
    for text in ["", "nonsense", "cloison-secret-1:identity:00\n"] {
        world.write(identity, text);
        refuses(&mut world, Side::Vault, "is not an age file");
    }
    fs::set_permissions(world.path(identity), Permissions::from_mode(0o604)).unwrap();
    refuses(&mut world, Side::Vault, "has mode 0604");
}

/// As systemd does it: a folder in memory, named by the environment, files that root owns and the
/// group reads.
#[test]
fn credentials_of_systemd() {
    let mut world = World::asleep();
    let folder = world.path("credentials");
    fs::create_dir(&folder).unwrap();
    same_after(&mut world, |world| {
        for (old, name) in [
            ("secrets/vault/identity.secret", "identity.secret"),
            ("secrets/vault/audit.secret", "audit.secret"),
            ("secrets/vault/segment.pem", "segment.pem"),
            ("secrets/vault/checkpoint.pem", "checkpoint.pem"),
            ("secrets/vault/sector/1.secret", "sector-1"),
            ("secrets/vault/store/1.secret", "store-1"),
            ("secrets/vault/journal/1.secret", "journal-1"),
            ("secrets/authority/court-2026.secret", "court-2026.secret"),
        ] {
            fs::copy(world.path(old), folder.join(name)).unwrap();
            fs::set_permissions(folder.join(name), Permissions::from_mode(0o440)).unwrap();
        }
        convert(world, "credential", "", "");
        refuses(world, Side::Vault, "there is no $CREDENTIALS_DIRECTORY");
        // Both sides look into one folder here; their audit and journal secrets may be one for
        // this test.
        world
            .env
            .push(("CREDENTIALS_DIRECTORY".into(), folder.display().to_string()));
    });
    // Credentials are systemd's to make.
    let reply = world.post_json(
        "operator",
        Door::Control,
        "/v1/sectors/health/epochs",
        &serde_json::json!({"from": 1, "own_secret": true}),
    );
    assert_eq!(reply.status, 500);
    let rotate = world.post_json(
        "operator",
        Door::Control,
        "/v1/secrets",
        &serde_json::json!({}),
    );
    assert_eq!(rotate.code(), "secret-read-only");
    use_both(&world);
    world.stop();
    // A version made by hand is taken up at a restart; of a retired one the vault can only say that
    // it is still there.
    for (name, byte) in [("sector-2", 0xa2), ("sector-3", 0xa3)] {
        let line = format!(
            "cloison-secret-1:sector:{}\n",
            data_encoding::HEXLOWER.encode(&[byte; 32])
        );
        fs::write(folder.join(name), line).unwrap();
        fs::set_permissions(folder.join(name), Permissions::from_mode(0o440)).unwrap();
    }
    world.start(Side::Vault, &[]);
    let statement = world.statement(Destruction::Secret { version: 2 });
    world.write(
        "statement.jws",
        &world.sign_statement(&statement, &OPERATORS),
    );
    for _ in 0..2 {
        let retire = [
            "secrets",
            "retire",
            "2",
            "--yes",
            "--statement",
            "statement.jws",
            "--client",
            "clients/operator.toml",
        ];
        let output = world.cloison(&retire);
        let (said, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.status.code(), Some(1), "{said}{errors}");
        assert!(
            said.contains("has forgotten it") && errors.contains("cannot destroy sector-2"),
            "{said}{errors}"
        );
        world.end(Side::Vault);
        world.start(Side::Vault, &[]);
    }
    world.end(Side::Vault);
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
    };
    for wrong in [0o444, 0o460, 0o666] {
        mode("identity.secret", wrong);
        refuses(&mut world, Side::Vault, "must have 0600");
    }
    mode("identity.secret", 0o400);
    fs::remove_file(folder.join("store-1")).unwrap();
    refuses(&mut world, Side::Vault, "store");
}

#[test]
fn plain_files_that_others_could_have_read() {
    let mut world = World::asleep();
    let check = |world: &World, why: &str| {
        let output = world.cloison(&["check", "vault.toml"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && said.contains(why),
            "{why:?} is not in {said}"
        );
    };
    done(&world.cloison(&["check", "vault.toml", "node.toml"]));
    for (_, file) in VAULT {
        let path = world.path(file);
        for mode in [0o640, 0o604, 0o622] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            refuses(
                &mut world,
                Side::Vault,
                &format!("has mode {mode:04o} and must have 0600"),
            );
            check(&world, &format!("has mode {mode:04o}"));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let identity = world.path("secrets/vault/identity.secret");
    let elsewhere = world.path("elsewhere");
    fs::rename(&identity, &elsewhere).unwrap();
    check(&world, "identity.secret");
    std::os::unix::fs::symlink(&elsewhere, &identity).unwrap();
    refuses(&mut world, Side::Vault, "is not a plain file");
    check(&world, "is not a plain file");
    fs::remove_file(&identity).unwrap();
    fs::copy(&elsewhere, &identity).unwrap();
    // SAFETY: no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        std::os::unix::fs::chown(&identity, Some(12345), None).unwrap();
        refuses(&mut world, Side::Vault, "is owned by user 12345");
    }
}

/// The passphrase is asked for at the terminal, or comes over a file descriptor; it never stands in
/// a command line.
#[test]
fn a_passphrase_over_a_descriptor() {
    let world = World::asleep();
    let words = "correct horse battery staple";
    let script = format!(
        "{bin} authority keygen --id court-2027 --threshold 2 --custodian amina --custodian brahim --work 15 \
         --passphrase fd:3 --out made 3< passphrases && \
         {bin} secrets drill --share made/amina.share --share made/brahim.share --passphrase fd:4 4< passphrases",
        bin = env!("CARGO_BIN_EXE_cloison"),
    );
    world.write(
        "passphrases",
        &format!("{words}\nanother of at least twelve\n"),
    );
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(&script)
        .current_dir(world.path(""))
        .output()
        .unwrap();
    let said = done(&output);
    assert!(
        said.contains("split into 2 shares, 2 of which")
            && said.contains("authority court-2027 recovered"),
        "{said}"
    );
    // Too short, and missing.
    for (lines, why) in [
        ("short\nshort\n", "fewer than 12 characters"),
        (&format!("{words}\n"), "it is empty"),
    ] {
        world.write("passphrases", lines);
        let script = script.replace("--out made", "--out never");
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(&script)
            .current_dir(world.path(""))
            .output()
            .unwrap();
        refused(&output, why);
        assert!(
            !Path::exists(&world.path("never")),
            "nothing is left behind"
        );
    }
}
