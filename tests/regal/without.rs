//! A restore where no place is left: two operators sign for it, and the side acts as if the worst
//! had come, until people have confirmed what they know.

use std::fs;

use cloison::deployment::register_text::OPERATORS;
use cloison::epoch::statement::Destruction;
use cloison::order::act::ActKind;
use cloison::suspension::SuspensionAct;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::common::backups::{good, words};
use super::common::{Door, QUORUM, Reply, Side, World, plain_get};
use super::copies::{erase, world};
use super::people::{act, codes, soon, to_vault};
use super::restore::back_up;

/// The id of a side's only backup.
pub fn backup(world: &World, folder: &str) -> String {
    let mut manifests = fs::read_dir(world.path(&format!("{folder}/manifests"))).unwrap();
    let name = manifests.next().unwrap().unwrap().file_name();
    name.to_string_lossy().split('.').next().unwrap().to_owned()
}

/// Writes a statement into a file, signed by those operators.
pub fn write_statement(world: &World, file: &str, destruction: Destruction, by: &[&str]) {
    let text = world.sign_statement(&world.statement(destruction), by);
    world.write(file, &text);
}

pub fn loss(entity: &str, backup: &str) -> Destruction {
    Destruction::RestoreWithoutPlaces {
        entity: entity.to_owned(),
        backup: backup.to_owned(),
        case: "OPS/2026-17".to_owned(),
    }
}

fn confirm(world: &World, door: Door, destruction: Destruction) -> Reply {
    let text = world.sign_statement(&world.statement(destruction), &OPERATORS);
    world.post_json("operator", door, "/v1/restore", &json!({"statement": text}))
}

fn code(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

fn restored(world: &World, side: Side, more: &[&str]) -> Value {
    let with = ["--without-places", "loss.jws", "--lost", "second"];
    good(&world.restore(side, &[&with, more].concat()))
}

fn tokenize(world: &World, card: &str) -> Reply {
    let body = json!({"scheme": "cnie", "identifiers": [card], "purpose": "billing"});
    let path = "/v1/sectors/health/pseudonyms";
    world.post_json("cnss-health", Door::Data, path, &body)
}

fn order_for(world: &World, asked: &[String]) -> String {
    world.sign(&world.order("health", asked), QUORUM)
}

/// The same, issued in a later second than the restore of that side.
fn order_after_restore(world: &World, door: Door, asked: &[String]) -> String {
    let state = world.get("operator", door, "/v1/restore").ok();
    let restored = state["loss"]["restored"].as_str().unwrap();
    let restored: Timestamp = restored.parse().unwrap();
    let mut payload = world.order("health", asked);
    let later = restored + SignedDuration::from_secs(1);
    payload.issued = payload.issued.map(|issued| issued.max(later));
    world.sign(&payload, QUORUM)
}

/// Every officer acknowledges what the vault's log lost, once the node has seen it.
fn acknowledge(world: &World) {
    let resumes = || world.get("officer", Door::Officers, "/v1/resumes").ok()["resumed"].clone();
    soon("the node sees the restore", || {
        resumes().as_array().is_some_and(|all| !all.is_empty())
    });
    for log in resumes().as_array().unwrap() {
        let asked = json!({"entry": log["entry"]});
        world
            .post_json("officer", Door::Officers, "/v1/resumes", &asked)
            .ok();
    }
}

/// What the node remembers of the vault's log: the file that reaches furthest.
pub fn remembered(world: &World) -> String {
    let files = fs::read_dir(world.path("data/node.cosigned")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let last = files.max_by_key(|file| fs::read(file).map_or(0, |note| note.len()));
    last.unwrap().display().to_string()
}

fn refused(world: &World, side: Side, more: &[&str], why: &str) {
    let output = world.restore(side, more);
    let said = words(&output);
    assert!(
        !output.status.success() && said.contains(why),
        "{why}: {said}"
    );
    let folder = world.path(if side == Side::Vault {
        "data/vault"
    } else {
        "data/node"
    });
    assert_eq!(fs::read_dir(folder).map_or(0, Iterator::count), 0, "{why}");
}

#[test]
fn a_vault_without_places_acts_as_if_the_worst_had_come() {
    let mut world = world();
    back_up(&mut world);
    let asked = world.health_pseudonyms(&["AB000001", "AB000002"]);
    let payload = world.order("health", &asked);
    let old = world.sign(&payload, QUORUM);
    world.reidentify(&old, "health", &asked).ok();
    let mut timeless = world.order("health", &asked);
    timeless.issued = None;
    let timeless = world.sign(&timeless, QUORUM);
    world.back_up();
    let id = backup(&world, "vault-backup");
    // What nobody will know of afterwards, but the node of the erasure.
    to_vault(
        &world,
        &act(&world, &payload, ActKind::Revoke, &["judge-1"]),
    )
    .ok();
    world.advance("health", false);
    erase(&world, "erase.jws", &asked[0]);
    let suspend = world.suspension("dgi-tax", SuspensionAct::Suspend, &["operations"]);
    let shut_out = |name, door| world.post_json(name, door, "/v1/suspensions", &suspend);
    shut_out("officer", Door::Officers).ok();
    shut_out("operator", Door::Control).ok();
    let late = order_for(&world, &asked[1..]);
    world.reidentify(&late, "health", &asked[1..]).ok();
    world.stop();
    let seen = remembered(&world);
    world.lose("data/vault");
    world.lose("data/vault.place");

    // Nothing is restored without the statement, or with one that allows something else.
    refused(
        &world,
        Side::Vault,
        &[],
        "no place is there that holds the log",
    );
    let with = ["--without-places", "loss.jws", "--lost", "second"];
    for (allowed, by, why) in [
        (loss("vault", &id), &OPERATORS[..1], "1 of 2 signatures"),
        (
            loss("node/court", &id),
            &OPERATORS,
            "about the store of node/court",
        ),
        (
            loss("vault", "20200101T000000Z-00000000"),
            &OPERATORS,
            "about the backup 2020",
        ),
        (
            Destruction::Secret { version: 1 },
            &OPERATORS,
            "for something else",
        ),
    ] {
        write_statement(&world, "loss.jws", allowed, by);
        refused(&world, Side::Vault, &with, why);
    }
    write_statement(&world, "loss.jws", loss("vault", &id), &OPERATORS);
    let report = [
        "restore",
        "report",
        "vault-backup",
        "--config",
        "vault.toml",
    ];
    let report = world.cloison(&[&report[..], &["--other-log", "data/node", "--json"]].concat());
    let report = good(&report);
    assert_eq!(report["erasures"].as_array().unwrap().len(), 1, "{report}");
    let plain = [
        "restore",
        "report",
        "vault-backup",
        "--config",
        "vault.toml",
        "--other-log",
        "data/node",
    ];
    let said = words(&world.cloison(&plain));
    assert!(
        said.contains("clients send again all that was answered since"),
        "{said}"
    );
    restored(
        &world,
        Side::Vault,
        &["--other-log", "data/node", "--seen", &seen],
    );

    // It starts, and peers take its log only after an acknowledgement of their own.
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let refusal = world.reidentify(&late, "health", &asked[1..]);
    assert_eq!(
        code(&refusal),
        (502, "proof-invalid".into()),
        "{}",
        refusal.text()
    );
    acknowledge(&world);
    let waits = |order: &str| code(&world.reidentify(order, "health", &asked[1..]));
    soon("the node watches the vault again", || {
        waits(&late).1 != "proof-invalid"
    });
    assert_eq!(waits(&late), (503, "erasures-missing".into()));
    assert_eq!(
        code(&tokenize(&world, "AB000002")),
        (503, "epoch-unconfirmed".into())
    );

    // Everybody whom it concerns is told, before they are refused and without asking for it.
    let ready = plain_get(world.health(Side::Vault), "/readyz").unwrap();
    assert!(
        ready.contains("\"restored\":\"without places at") && ready.contains("releases wait"),
        "{ready}"
    );
    for client in ["operator", "cnss-health"] {
        let file = format!("clients/{client}.toml");
        let said = words(&world.cloison(&["status", "--client", &file]));
        assert!(
            said.contains("\nrestored    WARNING: without places at"),
            "{said}"
        );
        assert!(
            said.contains("closed until its epoch is confirmed"),
            "{said}"
        );
    }
    let usual = [
        "client",
        "tokenize",
        "--client",
        "clients/cnss-health.toml",
        "--sector",
        "health",
    ];
    let batch = [&usual[..], &["--scheme", "cnie", "--purpose", "billing"]].concat();
    let said = words(&world.cloison_with(&batch, b"AB000002\n"));
    assert!(
        said.contains("nothing was sent: the vault was restored without places"),
        "{said}"
    );

    let state = world.get("operator", Door::Control, "/v1/restore").ok();
    assert_eq!(state["loss"]["backup"], id, "{state}");
    assert!(
        state["loss"]["closed"].as_array().unwrap().len() > 1,
        "{state}"
    );

    // A restore suspends nobody again: the state lists whom people still have to suspend.
    let said = words(&world.cloison(&["restore", "state", "--client", "clients/operator.toml"]));
    for what in [
        "suspend      dgi-tax again",
        "register     put the newest",
        "erasures     lodge",
        "quotas       count as used: no client gets a pseudonym before",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let suspend = world.suspension("dgi-tax", SuspensionAct::Suspend, &["operations"]);
    world
        .post_json("operator", Door::Control, "/v1/suspensions", &suspend)
        .ok();
    let said = words(&world.cloison(&["restore", "state", "--client", "clients/operator.toml"]));
    assert!(!said.contains("dgi-tax"), "{said}");

    // Erasures are lodged again; then releases go on, but under no order of before.
    erase(&world, "again.jws", &asked[0]);
    let lodged = |entity: &str| Destruction::ErasuresLodged {
        entity: entity.to_owned(),
    };
    let other = confirm(&world, Door::Control, lodged("node/court"));
    assert_eq!(code(&other), (403, "statement-invalid".into()));
    let open = confirm(&world, Door::Control, lodged("vault")).ok();
    assert_eq!(open["loss"]["erasures_missing"], false, "{open}");
    for order in [&late, &timeless] {
        assert_eq!(waits(order), (403, "order-before-restore".into()));
    }
    let known = waits(&old);
    assert_eq!(known, (403, "order-revoked".into()), "the node brought it");
    let again = order_after_restore(&world, Door::Control, &asked);
    let items = world.reidentify(&again, "health", &asked).ok();
    assert_eq!(
        codes(&items),
        [Some("no-mapping".to_owned()), None],
        "{items}"
    );

    // The sector stands at an epoch that it had left: advanced first, then confirmed.
    let epoch = |epoch| Destruction::ConfirmEpoch {
        sector: "health".to_owned(),
        epoch,
    };
    let ahead = confirm(&world, Door::Control, epoch(2));
    assert_eq!(code(&ahead), (409, "epoch-not-current".into()));
    world.advance("health", false);
    confirm(&world, Door::Control, epoch(2)).ok();
    let exceeded = tokenize(&world, "AB000002");
    assert_eq!(
        code(&exceeded),
        (429, "quota-exceeded".into()),
        "the day counts as used"
    );
    assert!(
        exceeded.text().contains("the vault was restored"),
        "{}",
        exceeded.text()
    );

    // It is in force after a restart, and the log says all of it.
    world.stop();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    assert_eq!(
        code(&tokenize(&world, "AB000002")),
        (429, "quota-exceeded".into())
    );
    soon("the node watches the vault again", || {
        code(&world.reidentify(&old, "health", &asked[1..])).1 == "order-revoked"
    });
    world.stop();
    let entries = world.entries(Side::Vault);
    let of = |event: &str| entries.iter().filter(|e| e["event"] == event).count();
    assert_eq!(
        (
            of("resume"),
            of("restore-without-places"),
            of("restore-confirm")
        ),
        (1, 1, 2)
    );
    world.verify_log(Side::Vault);
}

#[test]
fn a_node_without_places_opens_nothing_until_erasures_were_lodged_again() {
    let mut world = world();
    back_up(&mut world);
    let asked = world.health_pseudonyms(&["AB000001"]);
    let mut payload = world.order("health", &asked);
    payload.issued = payload
        .issued
        .map(|time| time - SignedDuration::from_mins(1));
    let old = world.sign(&payload, QUORUM);
    world.back_up();
    let id = backup(&world, "node-backup");
    world.reidentify(&old, "health", &asked).ok();
    world.end(Side::Node);
    world.lose("data/node");
    world.lose("data/node.place");
    write_statement(&world, "loss.jws", loss("node/court", &id), &OPERATORS);
    restored(&world, Side::Node, &[]);
    world.start(Side::Node, &[]);
    // By the client file that `init` makes for operators at the node.
    let state = ["restore", "state", "--client", "clients/operator-node.toml"];
    let said = words(&world.cloison(&state));
    assert!(said.contains("releases     wait"), "{said}");
    let again = order_after_restore(&world, Door::Officers, &asked);
    let open = |order: &str| world.reidentify(order, "health", &asked);
    assert_eq!(code(&open(&again)), (503, "erasures-missing".into()));
    let lodged = Destruction::ErasuresLodged {
        entity: "node/court".to_owned(),
    };
    confirm(&world, Door::Officers, lodged).ok();
    let mut said = String::new();
    for _ in 0..600 {
        let reply = open(&again);
        said = reply.text().to_owned();
        if reply.status == 200 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(
        said.contains("items"),
        "vault and node watch one another: {said}"
    );
    assert_eq!(code(&open(&old)), (403, "order-before-restore".into()));
    world.stop();
}

/// The set-up that operations.md recommends: the node is the only place that counts. It holds more
/// than the backup, and is passed over: people named it as lost.
#[test]
fn a_follower_that_holds_what_was_lost_takes_the_log_that_goes_on() {
    let mut world = super::followers::prepared(1);
    world.with_repositories();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world.health_pseudonyms(&["AB000001"]);
    world.back_up();
    let id = backup(&world, "vault-backup");
    world.advance("health", false);
    soon("the node has cosigned all that it holds", || {
        let held = fs::read_to_string(world.path("data/node.followed/checkpoint"));
        let seen = fs::read_to_string(remembered(&world));
        held.is_ok_and(|held| seen.is_ok_and(|seen| seen.lines().take(3).eq(held.lines().take(3))))
    });
    world.stop();
    let seen = remembered(&world);
    world.lose("data/vault");
    world.lose("elsewhere/place");
    write_statement(&world, "loss.jws", loss("vault", &id), &OPERATORS);

    // What may be passed over is decided by the configuration, not by what --from happens to name.
    let with = ["--without-places", "loss.jws", "--seen", &seen];
    refused(&world, Side::Vault, &[], "second, court");
    for (lost, why) in [
        (
            &[][..],
            "may hold what came after the backup: second, court",
        ),
        (
            &["--lost", "second"],
            "may hold what came after the backup: court",
        ),
        (&["--lost", "cort"], "states no place cort"),
    ] {
        refused(&world, Side::Vault, &[&with, lost].concat(), why);
    }
    let lost = ["--lost", "second", "--lost", "court"];
    good(&world.restore(Side::Vault, &[&with[..], &lost].concat()));
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);

    // The node takes the new shard, so that acts count again; its people still have to acknowledge.
    acknowledge(&world);
    let lodged = Destruction::ErasuresLodged {
        entity: "vault".to_owned(),
    };
    let text = world.sign_statement(&world.statement(lodged), &OPERATORS);
    let body = json!({"statement": text});
    soon("an act counts again", || {
        world
            .post_json("operator", Door::Control, "/v1/restore", &body)
            .status
            == 200
    });
    world.stop();
}
