//! The ceremony: shares are brought one at a time; wrong, repeated, foreign and tampered ones do no
//! harm.

use cloison::keys::custody::passphrase::{AgeOpener, decrypt};
use serde_json::{Value, json};

use super::{bring, done, refused, split, unseal};
use crate::common::{Door, QUORUM, Side, World, plain_get};

/// A custodian's share as it is sent.
fn share(world: &World, custodian: usize) -> Value {
    let read = |kind: &str| world.read(&format!("secrets/custodians/custodian-{custodian}.{kind}"));
    let opener = AgeOpener::identities(read("key").as_bytes()).unwrap();
    let plain = decrypt(read("share").as_bytes(), &opener).unwrap();
    serde_json::from_slice::<Value>(&plain).unwrap()["share"].clone()
}

fn send(world: &World, custodian: usize, share: &Value) -> crate::common::Reply {
    world.post_json(
        &format!("custodian-{custodian}"),
        Door::Officers,
        "/v1/shares",
        share,
    )
}

fn shares_of(world: &World) -> u64 {
    world.get("officer", Door::Officers, "/v1/seal").ok()["keys"][0]["shares"]
        .as_u64()
        .unwrap()
}

/// Asks for one pseudonym's identifier.
fn try_reveal(world: &World, pseudonyms: &[String]) -> crate::common::Reply {
    let order = world.sign(&world.order("health", pseudonyms), QUORUM);
    world.reidentify(&order, "health", pseudonyms)
}

fn reveals(world: &World, pseudonyms: &[String]) {
    assert_eq!(
        try_reveal(world, pseudonyms).ok()["items"][0]["value"],
        "AB123456"
    );
}

#[test]
fn three_of_five_open_the_node_and_fewer_do_not() {
    let mut world = split(true);
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    let sealed = world.reidentify(&order, "health", &pseudonyms);
    assert_eq!((sealed.status, sealed.code().as_str()), (503, "sealed"));
    let ready = plain_get(world.health(Side::Node), "/readyz").unwrap();
    assert!(
        ready.starts_with("HTTP/1.1 503")
            && ready.contains("\"sealed\"")
            && ready.contains("court-2026"),
        "{ready}"
    );

    let status = done(&world.cloison(&[
        "authority",
        "status",
        "--client",
        "clients/custodian-4.toml",
    ]));
    assert!(
        status.contains("court-2026") && status.contains("sealed") && status.contains("0 of 3"),
        "{status}"
    );
    for (custodian, shares) in [(5, 1), (2, 2)] {
        let said: Value = serde_json::from_str(&done(&bring(&world, "unseal", custodian))).unwrap();
        assert_eq!(
            said,
            json!({"key": "court-2026", "shares": shares, "threshold": 3, "done": false})
        );
        assert_eq!(
            world.reidentify(&order, "health", &pseudonyms).code(),
            "sealed"
        );
    }
    // The same one again counts once.
    let again: Value = serde_json::from_str(&done(&bring(&world, "unseal", 2))).unwrap();
    assert_eq!(again["shares"], 2);
    let last: Value = serde_json::from_str(&done(&bring(&world, "unseal", 4))).unwrap();
    assert_eq!(
        last,
        json!({"key": "court-2026", "shares": 0, "threshold": 3, "done": true})
    );
    reveals(&world, &pseudonyms);
    // A fourth one finds the work done.
    let more: Value = serde_json::from_str(&done(&bring(&world, "unseal", 1))).unwrap();
    assert_eq!(more["done"], true);
    let mut ready = String::new();
    for _ in 0..100 {
        ready = plain_get(world.health(Side::Node), "/readyz").unwrap();
        if ready.starts_with("HTTP/1.1 200") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(
        plain_get(world.health(Side::Node), "/metrics")
            .unwrap()
            .contains("cloison_sealed_keys 0")
    );

    world.stop();
    // Nothing of the two refused while sealed reached the vault.
    assert_eq!(
        world
            .entries(Side::Vault)
            .iter()
            .filter(|entry| entry["event"] == "release")
            .count(),
        1
    );
    let custody: Vec<_> = world
        .entries(Side::Node)
        .into_iter()
        .filter(|entry| entry["event"] == "custody")
        .collect();
    let seen: Vec<_> = custody
        .iter()
        .map(|entry| {
            (
                entry["actor"].as_str().unwrap(),
                entry["action"].as_str().unwrap(),
                entry["shares"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("custodian-5", "share", Some(1)),
            ("custodian-2", "share", Some(2)),
            ("custodian-4", "share", Some(3)),
            ("custodian-4", "unseal", Some(3)),
        ]
    );
    assert_eq!(
        world.refusals(Side::Node, "officer", "reidentify", "sealed"),
        3
    );
    // Neither log nor store has a share in it.
    for custodian in 1..=5 {
        let share = share(&world, custodian);
        for secret in ["value", "blinder"] {
            let secret = share["values"][0][secret].as_str().unwrap();
            assert!(
                !world.log(Side::Node).contains(secret) && !format!("{custody:?}").contains(secret)
            );
        }
    }
}

#[test]
fn wrong_foreign_and_tampered_shares_change_nothing() {
    let mut world = split(true);
    let other = split(false);
    done(&bring(&world, "unseal", 1));
    let own = share(&world, 2);
    let change = |path: &[&str], to: Value| {
        let mut changed = own.clone();
        let mut at = &mut changed;
        for step in path {
            at = match step.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[*step],
            };
        }
        *at = to;
        changed
    };
    let flipped = |secret: &str| {
        let digits = own["values"][0][secret].as_str().unwrap();
        let first = if digits.starts_with('0') { "1" } else { "0" };
        change(
            &["values", "0", secret],
            format!("{first}{}", &digits[1..]).into(),
        )
    };
    let zeros = "0".repeat(64);
    for (name, wrong, code) in [
        ("another custodian's", share(&world, 3), "share-invalid"),
        ("another deployment's", share(&other, 2), "share-foreign"),
        ("value changed", flipped("value"), "share-invalid"),
        ("blinder changed", flipped("blinder"), "share-invalid"),
        (
            "value zero",
            change(&["values", "0", "value"], zeros.clone().into()),
            "share-invalid",
        ),
        (
            "value beyond the field",
            change(&["values", "0", "value"], "f".repeat(64).into()),
            "share-invalid",
        ),
        (
            "index of another",
            change(&["index"], 3.into()),
            "share-invalid",
        ),
        (
            "index beyond",
            change(&["index"], 4_000_000_000_u64.into()),
            "share-invalid",
        ),
        (
            "renamed",
            change(&["custodian"], "custodian-3".into()),
            "share-invalid",
        ),
        (
            "set renamed",
            change(&["set"], zeros.into()),
            "share-foreign",
        ),
        ("no values", change(&["values"], json!([])), "share-invalid"),
        (
            "of another format",
            change(&["format"], "cloison-share-2".into()),
            "share-invalid",
        ),
        (
            "with more in it",
            change(&["more"], 1.into()),
            "malformed-body",
        ),
        (
            "not hexadecimal",
            change(&["values", "0", "value"], "x".repeat(64).into()),
            "malformed-body",
        ),
        ("nothing", json!({}), "malformed-body"),
    ] {
        let reply = send(&world, 2, &wrong);
        assert_eq!(reply.code(), code, "{name}");
        assert!(
            !reply
                .text()
                .contains(own["values"][0]["value"].as_str().unwrap()),
            "{name}"
        );
        assert_eq!(shares_of(&world), 1, "{name}");
    }
    // Who is no custodian brings nothing, and nobody but custodians and officers sees or seals.
    for (client, code) in [
        ("officer", "forbidden"),
        ("operator", "forbidden"),
        ("cnss-health", "forbidden"),
    ] {
        assert_eq!(
            world
                .post_json(client, Door::Officers, "/v1/shares", &own)
                .code(),
            code
        );
        assert_eq!(
            world
                .post_json(client, Door::Officers, "/v1/drills", &own)
                .code(),
            code
        );
    }
    for client in ["operator", "node", "cnss-health"] {
        assert!(
            ["forbidden", "unknown-client"].contains(
                &world
                    .get(client, Door::Officers, "/v1/seal")
                    .code()
                    .as_str()
            )
        );
        assert!(
            world
                .post_json(client, Door::Officers, "/v1/seal", &json!({}))
                .status
                >= 400
        );
    }
    assert_eq!(shares_of(&world), 1);
    // The right ones go on where it stood.
    done(&bring(&world, "unseal", 2));
    done(&bring(&world, "unseal", 3));
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    reveals(&world, &pseudonyms);
    world.stop();
    assert!(world.refusals(Side::Node, "custodian-2", "unseal", "share-invalid") >= 9);
    assert_eq!(
        world.refusals(Side::Node, "custodian-2", "unseal", "share-foreign"),
        2
    );
    assert!(world.refusals(Side::Node, "officer", "unseal", "forbidden") == 1);
}

#[test]
fn a_damaged_share_file_is_named_before_anything_is_sent() {
    let mut world = split(true);
    let path = "secrets/custodians/custodian-1.share";
    let right = world.read(path);
    let changed = right.replacen("\n", "\nAAAA", 2);
    world.write(path, &changed);
    refused(&bring(&world, "unseal", 1), "custodian-1.share");
    world.write(path, &right[..right.len() / 2]);
    refused(&bring(&world, "unseal", 1), "custodian-1.share");
    // Another's share over one's own certificate, and one's own with another's identity.
    world.write(path, &world.read("secrets/custodians/custodian-2.share"));
    refused(
        &bring(&world, "unseal", 1),
        "does not open with this identity",
    );
    world.write(path, &right);
    done(&bring(&world, "unseal", 1));
    world.stop();
}

#[test]
fn shares_are_forgotten_when_the_others_do_not_come() {
    let mut world = split(false);
    world.write(
        "node.toml",
        &(world.read("node.toml") + "\n[seal]\nforget-seconds = 1\n"),
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    done(&bring(&world, "unseal", 1));
    done(&bring(&world, "drill", 2));
    let mut left = 1;
    for _ in 0..100 {
        left = shares_of(&world);
        if left == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(left, 0, "the share was not forgotten");
    // Quickly enough it opens all the same.
    unseal(&world);
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    reveals(&world, &pseudonyms);
    world.stop();
    let forgotten: Vec<_> = world
        .entries(Side::Node)
        .into_iter()
        .filter(|entry| entry["action"] == "forget")
        .collect();
    assert!(
        !forgotten.is_empty() && forgotten.iter().all(|entry| entry["actor"] == "court"),
        "{forgotten:?}"
    );
}

#[test]
fn a_drill_proves_the_key_and_opens_nothing() {
    let mut world = split(true);
    let pseudonyms = world.health_pseudonyms(&["AB123456"]);
    // Shares for a drill do not count towards unsealing, nor the other way round.
    done(&bring(&world, "unseal", 4));
    for custodian in [1, 2] {
        let said: Value = serde_json::from_str(&done(&bring(&world, "drill", custodian))).unwrap();
        assert_eq!(said["done"], false);
    }
    assert_eq!(shares_of(&world), 1);
    let said: Value = serde_json::from_str(&done(&bring(&world, "drill", 3))).unwrap();
    assert_eq!(
        said,
        json!({"key": "court-2026", "shares": 0, "threshold": 3, "done": true})
    );
    assert_eq!(try_reveal(&world, &pseudonyms).code(), "sealed");

    // All of it on one machine, without the node.
    let try_here = |custodians: &[usize]| {
        let mut arguments = vec![
            "authority".to_owned(),
            "drill".into(),
            "--config".into(),
            "node.toml".into(),
        ];
        for custodian in custodians {
            for (flag, kind) in [("--share", "share"), ("--identity", "key")] {
                arguments.push(flag.into());
                arguments.push(format!("secrets/custodians/custodian-{custodian}.{kind}"));
            }
        }
        world.cloison(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let said = done(&try_here(&[5, 4, 2]));
    assert!(
        said.contains("proved") && said.contains("custodian-5, custodian-4, custodian-2"),
        "{said}"
    );
    refused(&try_here(&[5, 4]), "2 shares are given and 3 are needed");
    refused(&try_here(&[5, 4, 5]), "is given twice");
    let other = split(false);
    world.write(
        "secrets/custodians/custodian-2.share",
        &other.read("secrets/custodians/custodian-2.share"),
    );
    world.write(
        "secrets/custodians/custodian-2.key",
        &other.read("secrets/custodians/custodian-2.key"),
    );
    refused(&try_here(&[5, 4, 2]), "the share is of another set");
    assert_eq!(bring(&world, "unseal", 2).status.code(), Some(1));
    world.stop();
    let drilled = world.entries(Side::Node);
    assert!(
        drilled
            .iter()
            .any(|entry| entry["action"] == "drill" && entry["actor"] == "custodian-3")
    );
}
