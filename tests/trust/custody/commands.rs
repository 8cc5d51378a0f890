//! `authority keygen`, `secrets split`, `drill` and `recover`, `init --custodians`: what they make,
//! and what they refuse.

use std::fs;

use cloison::keys::custody::passphrase::new_identity;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{done, refused, split};
use crate::common::{Side, World, swap};

/// Custodians with an age identity each, in the world's folder; the arguments that name them.
fn custodians(world: &World, names: &[&str]) -> Vec<String> {
    let mut arguments = vec![];
    for name in names {
        let (identity, recipient) = new_identity();
        let path = world.path(&format!("{name}.key"));
        cloison::keys::file::write_private(
            &path,
            format!("{}\n", identity.expose_secret()).as_bytes(),
        )
        .unwrap();
        arguments.extend(["--custodian".to_owned(), format!("{name}={recipient}")]);
    }
    arguments
}

fn with<'a>(head: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    head.iter()
        .copied()
        .chain(more.iter().map(String::as_str))
        .collect()
}

/// A new key from a ceremony, of the other suite, stands beside the first one: what is sealed from
/// then on is sealed to both, and opens with either.
#[test]
fn a_key_from_keygen_serves_after_register_and_node_name_it() {
    let mut world = split(false);
    let names = ["custodian-1", "custodian-2", "custodian-3"];
    let more = custodians(&world, &names);
    let keygen = [
        "authority",
        "keygen",
        "--id",
        "court-2027",
        "--suite",
        "x-wing",
        "--threshold",
        "2",
        "--out",
        "made",
    ];
    let keygen = [&keygen[..], &["--json"]].concat();
    let made: Value = serde_json::from_str(&done(&world.cloison(&with(&keygen, &more)))).unwrap();
    assert_eq!(made["shares"].as_array().unwrap().len(), 3);
    refused(&world.cloison(&with(&keygen, &more)), "is not empty");
    let public = made["public"].as_str().unwrap().to_owned();
    world.edit_register(|text| {
        let key =
            format!("\n[[authority.key]]\nid = \"court-2027\"\nsuite = 2\npublic = \"{public}\"\n");
        swap(
            &text,
            "\n[[authority.approver]]\nid = \"judge-1\"",
            &format!("{key}\n[[authority.approver]]\nid = \"judge-1\""),
        )
    });
    let key =
        "\n[[key]]\nid = \"court-2027\"\ncustody = \"shares\"\nfile = \"made/court-2027.set\"\n";
    world.write(
        "node.toml",
        &swap(
            &world.read("node.toml"),
            "\n[[segment-key]]",
            &format!("{key}\n[[segment-key]]"),
        ),
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    for name in &names[..2] {
        for verb in ["drill", "unseal"] {
            let (client, share, key) = (
                format!("clients/{name}.toml"),
                format!("made/{name}.share"),
                format!("{name}.key"),
            );
            let arguments = [
                "authority",
                verb,
                "--client",
                &client,
                "--share",
                &share,
                "--identity",
                &key,
            ];
            let said = done(&world.cloison(&arguments));
            assert!(said.starts_with("court-2027: "), "{said}");
        }
    }
    super::kinds::use_both(&world);
    let status = done(&world.cloison(&["authority", "status", "--client", "clients/officer.toml"]));
    let state = |id: &str| {
        status
            .lines()
            .find(|line| line.starts_with(id))
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (state("court-2026"), state("court-2027")),
        ("sealed".to_owned(), "open".to_owned())
    );
}

#[test]
fn the_vaults_root_secrets_in_shares() {
    let mut world = World::asleep();
    world.start(Side::Vault, &[]);
    let before = world.health_pseudonyms(&["AB123456"]);
    world.advance("tax", true);
    world.end(Side::Vault);
    let names = ["amina", "brahim", "chaimae", "driss"];
    let more = custodians(&world, &names);
    let split = [
        "secrets",
        "split",
        "--config",
        "vault.toml",
        "--threshold",
        "3",
        "--out",
        "shares",
    ];
    let said = done(&world.cloison(&with(&split, &more)));
    assert!(
        said.contains("checkpoint, sector 1, sector 2, store 1, journal 1 are split into 4 shares"),
        "{said}"
    );
    let try_shares = |world: &World, verb: &[&str], who: &[&str]| {
        let mut arguments: Vec<String> = ["secrets"]
            .iter()
            .chain(verb)
            .map(|text| (*text).to_owned())
            .collect();
        for name in who {
            let files = [format!("shares/{name}.share"), format!("{name}.key")];
            arguments.extend([
                "--share".into(),
                files[0].clone(),
                "--identity".into(),
                files[1].clone(),
            ]);
        }
        world.cloison(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let said = done(&try_shares(
        &world,
        &["drill"],
        &["driss", "amina", "brahim"],
    ));
    assert_eq!(
        said.lines()
            .filter(|line| line.ends_with(" recovered"))
            .count(),
        8,
        "{said}"
    );
    let said = done(&try_shares(
        &world,
        &["drill", "--config", "vault.toml"],
        &["driss", "amina", "chaimae"],
    ));
    assert_eq!(
        said.matches("recovered; the vault runs on it").count(),
        8,
        "{said}"
    );
    refused(
        &try_shares(&world, &["drill"], &["driss", "amina"]),
        "2 shares are given and 3 are needed",
    );
    let none = try_shares(&world, &["recover", "--out", "never"], &["driss", "amina"]);
    refused(&none, "2 shares are given and 3 are needed");
    assert!(!world.path("never").exists());

    // Everything is lost but the shares; and it all comes back.
    let kept: Vec<String> = ["identity", "audit"]
        .iter()
        .map(|kind| world.read(&format!("secrets/vault/{kind}.secret")))
        .collect();
    fs::remove_dir_all(world.path("secrets/vault")).unwrap();
    // Under the names that `init` wrote into the configuration, which stays as it is.
    done(&try_shares(
        &world,
        &["recover", "--out", "secrets/vault"],
        &["chaimae", "brahim", "driss"],
    ));
    assert_eq!(world.read("secrets/vault/identity.secret"), kept[0]);
    assert_eq!(world.read("secrets/vault/audit.secret"), kept[1]);
    world.start(Side::Vault, &[]);
    assert_eq!(world.health_pseudonyms(&["AB123456"]), before);
    world.start(Side::Node, &[]);
    super::kinds::use_both(&world);
    // A version that the shares lack is missed.
    world.advance("social", true);
    let missing = try_shares(
        &world,
        &["drill", "--config", "vault.toml"],
        &["driss", "amina", "chaimae"],
    );
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no shares were made of sector 3"));
}

#[test]
fn shares_that_cannot_be_are_refused_and_nothing_is_left() {
    let world = World::asleep();
    let recipient = new_identity().1;
    let one = format!("amina={recipient}");
    let other = format!("brahim={recipient}");
    let base = [
        "authority",
        "keygen",
        "--id",
        "court-2027",
        "--out",
        "never",
    ];
    for (more, why) in [
        (
            &[
                "--threshold",
                "3",
                "--custodian",
                &one,
                "--custodian",
                &other,
            ][..],
            "3 of 2 shares cannot be",
        ),
        (
            &[
                "--threshold",
                "1",
                "--custodian",
                &one,
                "--custodian",
                &other,
            ],
            "1 of 2 shares cannot be",
        ),
        (&["--threshold", "2"], "no custodian is named"),
        (
            &[
                "--threshold",
                "2",
                "--shares",
                "3",
                "--custodian",
                &one,
                "--custodian",
                &other,
            ],
            "--shares is 3",
        ),
        (
            &["--threshold", "2", "--custodian", &one, "--custodian", &one],
            "amina is named as custodian twice",
        ),
        (
            &["--threshold", "2", "--shares", "33"],
            "2 of 33 shares cannot be",
        ),
    ] {
        refused(&world.cloison(&[&base[..], more].concat()), why);
        assert!(!world.path("never").exists(), "{more:?}");
    }
    let usage = world.cloison(&[
        "authority",
        "keygen",
        "--id",
        "x",
        "--threshold",
        "2",
        "--custodian",
        "amina=ssh-ed25519",
    ]);
    assert_eq!(usage.status.code(), Some(2));
    // A secret is never overwritten, and credentials are systemd's.
    refused(
        &world.cloison(&[
            "secrets",
            "new",
            "identity",
            "file:secrets/vault/identity.secret",
        ]),
        "exists already",
    );
    refused(
        &world.cloison(&["secrets", "new", "identity", "credential:x"]),
        "systemd-creds makes them",
    );
    refused(
        &world.cloison(&["secrets", "new", "identity", "passphrase:x"]),
        "nothing says where it comes from",
    );
    refused(
        &world.cloison(&["secrets", "new", "identity", "token:x"]),
        "there is no section [token]",
    );
    done(&world.cloison(&[
        "secrets",
        "new",
        "authority",
        "file:fresh",
        "--id",
        "court-2028",
    ]));
}

#[test]
fn init_with_custodians_says_who_holds_what() {
    let world = World::asleep();
    let said = done(&world.cloison(&["init", "pilot", "--custodians", "3", "--threshold", "2"]));
    assert!(
        said.contains("custodian-3  custodian")
            && said.contains("secrets/custodians/custodian-3.share"),
        "{said}"
    );
    done(&world.cloison(&["check", "pilot/vault.toml", "pilot/node.toml"]));
    assert!(
        !world
            .path("pilot/secrets/authority/court-2026.secret")
            .exists()
    );
    let more = world.cloison(&["init", "other", "--custodians", "2", "--threshold", "3"]);
    refused(&more, "3 of 2 shares cannot be");
    assert!(!world.path("other").exists());
    assert_eq!(
        world
            .cloison(&["init", "other", "--custodians", "3"])
            .status
            .code(),
        Some(2)
    );
}
