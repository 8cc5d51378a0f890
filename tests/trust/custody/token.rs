//! PKCS#11, with a real SoftHSM2: secrets wrapped by a key that never leaves the token.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cloison::epoch::statement::Destruction;

use super::kinds::{convert, same_after, use_both};
use super::{done, refused};
use crate::common::{Side, World, swap};

/// Debian's place for SoftHSM2's library; `ops/prepare tests` installs it.
fn module() -> PathBuf {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/lib/pkcs11/libsofthsm2.so",
    ];
    let found = places
        .iter()
        .map(PathBuf::from)
        .find(|place| place.exists());
    found.expect("SoftHSM2 is not here: run the tests with ops/test, which installs it or says how")
}

/// A new token in the deployment's folder, for processes of this world; `[token]` of a
/// configuration.
fn token(world: &mut World, mechanism: &str) -> String {
    let tokens = world.path("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = world.path("softhsm2.conf");
    fs::write(
        &conf,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\n",
            tokens.display()
        ),
    )
    .unwrap();
    world
        .env
        .push(("SOFTHSM2_CONF".into(), conf.display().to_string()));
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "regal",
            "--so-pin",
            "so-pin-123",
            "--pin",
            "user-pin-456",
        ])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .expect("softhsm2-util is not here: run the tests with ops/test");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    cloison::keys::file::write_private(&world.path("pin"), b"user-pin-456\n").unwrap();
    format!(
        "\n[token]\nmodule = {:?}\nlabel = \"regal\"\nkey = \"wrap-2026\"\npin = \"file:pin\"\nmechanism = {mechanism:?}\n",
        module()
    )
}

fn serves_with_secrets_in_a_token(mechanism: &str) {
    let mut world = World::asleep();
    let section = token(&mut world, mechanism);
    let plain = world.read("secrets/vault/identity.secret");
    same_after(&mut world, |world| {
        let vault = world.read("vault.toml");
        world.write("vault.toml", &(vault.clone() + &section));
        // Without its key the token wraps nothing.
        let early = [
            "secrets",
            "move",
            "audit",
            "file:secrets/vault/audit.secret",
            "token:x",
            "--config",
            "vault.toml",
        ];
        refused(
            &world.cloison(&early),
            "has no AES key with the label `wrap-2026`",
        );
        assert!(!world.path("x").exists());
        done(&world.cloison(&["secrets", "token-key", "--config", "vault.toml"]));
        refused(
            &world.cloison(&["secrets", "token-key", "--config", "vault.toml"]),
            "exists already",
        );
        world.write("vault.toml", &vault);
        convert(world, "token", "", &section);
    });
    let wrapped = world.read("token/vault/identity.secret");
    assert!(
        wrapped.starts_with(&format!("cloison-wrapped-1:identity:{mechanism}:")),
        "{wrapped}"
    );
    let digits = plain.trim_end().rsplit(':').next().unwrap();
    assert!(!wrapped.contains(&digits[..16]));
    world.advance("health", true);
    let own = world.read("token/vault/sector/2.secret");
    assert!(
        own.starts_with(&format!("cloison-wrapped-1:sector:{mechanism}:")),
        "{own}"
    );
    // A version that is rotated in is wrapped, too; of one that is retired nothing is left.
    let operator = |words: &[&str]| {
        done(
            &world.cloison(&[&["secrets"], words, &["--client", "clients/operator.toml"]].concat()),
        )
    };
    operator(&["rotate"]);
    operator(&["rotate"]);
    let rotated = world.read("token/vault/sector/3.secret");
    assert!(
        rotated.starts_with(&format!("cloison-wrapped-1:sector:{mechanism}:")),
        "{rotated}"
    );
    let statement = world.statement(Destruction::Secret { version: 3 });
    world.write(
        "statement.jws",
        &world.sign_statement(&statement, &["operator", "operator-2"]),
    );
    let retire = ["retire", "3", "--yes", "--statement", "statement.jws"];
    assert!(operator(&retire).contains("retired and destroyed"));
    assert!(!world.path("token/vault/sector/3.secret").exists());
    world.restart();
    use_both(&world);
    world.stop();

    let refuses = |world: &mut World, why: &str| {
        let failed = world
            .try_start(Side::Vault, &[])
            .expect_err("it must not start");
        assert!(
            failed.code == Some(1) && failed.said.contains(why),
            "{why:?} is not in {failed}"
        );
        assert!(!failed.said.contains("user-pin"), "{failed}");
    };
    // A wrapped secret that was changed; another one in its place; nonsense.
    let identity = "token/vault/identity.secret";
    let last = wrapped.trim_end().chars().last().unwrap();
    let changed = wrapped.trim_end().strip_suffix(last).unwrap().to_owned()
        + if last == '0' { "1\n" } else { "0\n" };
    world.write(identity, &changed);
    refuses(
        &mut world,
        "does not open with this token's key, or was changed",
    );
    let audit = world.read("token/vault/audit.secret");
    world.write(identity, &audit);
    refuses(&mut world, "holds a secret of kind `audit`");
    if mechanism == "aes-gcm" {
        // AES-GCM binds the kind, whatever the first line says.
        world.write(identity, &audit.replacen(":audit:", ":identity:", 1));
        refuses(
            &mut world,
            "does not open with this token's key, or was changed",
        );
    }
    for nonsense in ["", "cloison-wrapped-1:identity:rot13:00\n", &plain] {
        world.write(identity, nonsense);
        refuses(&mut world, "is not a line `cloison-wrapped-1:");
    }
    // As an editor of Windows leaves it, the last line's end gone; the PIN likewise. What follows
    // starts on these.
    world.write(identity, &format!("\u{feff}{}\r", wrapped.trim_end()));
    // The wrong PIN; no such token, key, library.
    let config = world.read("vault.toml");
    world.write("pin", "user-pin-457\n");
    refuses(&mut world, "the PIN is wrong");
    world.write("pin", "\u{feff}user-pin-456\r\n");
    for (from, to, why) in [
        (
            "label = \"regal\"",
            "label = \"other\"",
            "there is no token with the label `other`",
        ),
        (
            "key = \"wrap-2026\"",
            "key = \"wrap-2027\"",
            "has no AES key with the label `wrap-2027`",
        ),
        (
            "libsofthsm2.so",
            "libnothing.so",
            "the module does not load",
        ),
    ] {
        world.write("vault.toml", &swap(&config, from, to));
        refuses(&mut world, why);
    }
    world.write("vault.toml", &config);
    world.start(Side::Vault, &[]);
}

#[test]
fn secrets_wrapped_with_aes_gcm() {
    serves_with_secrets_in_a_token("aes-gcm");
}

#[test]
fn secrets_wrapped_with_aes_key_wrap() {
    serves_with_secrets_in_a_token("aes-key-wrap");
}
