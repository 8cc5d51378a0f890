//! The life of an order: active, exhausted, suspended, resumed, revoked, and who did it.

use cloison::order::act::{ActKind, ActPayload};
use cloison::order::{LegalBasis, PseudonymScope};
use cloison::statement::{self, Statement as _};
use serde_json::json;

use super::common::{QUORUM, Setup, Side, World};
use super::people::{
    act, act_upon, at_node, at_vault, codes, persons, quiet, signed, to_node, to_vault,
};

/// Custodians bring their shares.
fn bring(world: &World, custodians: &[usize]) {
    for n in custodians {
        let (client, share, key) = (
            format!("clients/custodian-{n}.toml"),
            format!("secrets/custodians/custodian-{n}.share"),
            format!("secrets/custodians/custodian-{n}.key"),
        );
        let output = world.cloison(&[
            "authority",
            "unseal",
            "--client",
            &client,
            "--share",
            &share,
            "--identity",
            &key,
        ]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The whole flow: three custodians of five unseal the node, a thousand pseudonyms of two epochs
/// are opened under an order of two bodies; then it is revoked and refused, also by a node that was
/// started and unsealed again.
#[test]
fn unsealed_ordered_a_thousand_of_two_epochs_then_revoked() {
    let mut world = World::with(Setup {
        custodians: Some((3, 5)),
        log: "info",
        ..Setup::default()
    });
    let mut asked = persons(&world, 500);
    world.advance("health", true);
    asked.extend(persons(&world, 500));
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    bring(&world, &[2, 5]);
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "sealed",
        "two of five do not"
    );
    bring(&world, &[3]);
    let alone = world.sign(&payload, &QUORUM[..1]);
    assert_eq!(
        world.reidentify(&alone, "health", &asked).code(),
        "order-quorum"
    );
    let answer = world.reidentify(&order, "health", &asked).ok();
    for (n, item) in answer["items"].as_array().unwrap().iter().enumerate() {
        assert_eq!(item["value"], format!("AB{:06}", n % 500));
    }
    for view in [
        at_vault(&world, &payload).unwrap(),
        at_node(&world, &payload).unwrap(),
    ] {
        assert_eq!(
            (&view["state"], &view["life"]["used"]),
            (&json!("exhausted"), &json!(1_000)),
            "{view}"
        );
        assert_eq!(view["life"]["first"]["officer"], "officer");
        assert_eq!(
            view["life"]["signers"][1],
            json!({"id": "prosecutor-1", "body": "public-prosecutor"})
        );
        assert!(!view.to_string().contains("sante1"), "no pseudonym is kept");
    }
    // What was counted may be asked for again.
    assert!(
        codes(&world.reidentify(&order, "health", &asked[..3]).ok())
            .iter()
            .all(Option::is_none)
    );

    let lodged = to_node(
        &world,
        &act(&world, &payload, ActKind::Revoke, &["judge-2"]),
    )
    .ok();
    assert_eq!(
        (&lodged["both"], &lodged["order"]["state"]),
        (&json!(true), &json!("revoked"))
    );
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-revoked"
    );
    let request = world.request(&order, "health", &asked);
    assert_eq!(
        world
            .release_with(&order, &request, "health", &asked)
            .code(),
        "out-of-step",
        "a thief's node is behind"
    );
    let view = at_vault(&world, &payload).unwrap();
    assert_eq!(
        view["acts"][0]["by"],
        json!([{"id": "judge-2", "body": "court-of-rabat"}])
    );
    world.restart();
    assert_eq!(world.reidentify(&order, "health", &asked).code(), "sealed");
    bring(&world, &[1, 4, 5]);
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-revoked"
    );
    world.stop();
    for (side, bearer) in [(Side::Node, "officer"), (Side::Vault, "court")] {
        let entries = world.entries(side);
        let acts: Vec<_> = entries
            .iter()
            .filter(|entry| entry["event"] == "order-act")
            .collect();
        assert_eq!(acts.len(), 1, "{acts:?}");
        assert_eq!(
            (&acts[0]["act"], &acts[0]["signers"]),
            (&json!("revoke"), &json!(["judge-2"]))
        );
        assert_eq!(
            (&acts[0]["bearer"], &acts[0]["effective"]),
            (&json!(bearer), &json!(true))
        );
    }
}

/// One approver stops; only a quorum of two bodies lets go on, and only what it names.
#[test]
fn one_stops_and_a_quorum_resumes() {
    let world = quiet();
    let asked = persons(&world, 2);
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    let suspend = act(&world, &payload, ActKind::Suspend, &["prosecutor-1"]);
    let digest = statement::digest_of::<ActPayload>(&suspend).unwrap();
    assert_eq!(
        to_vault(&world, &suspend).ok()["order"]["state"],
        "suspended"
    );
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-suspended"
    );

    let resume = act_upon(&payload, ActKind::Resume, vec![digest]);
    for too_few in [&["judge-1"][..], &["judge-1", "judge-2"]] {
        assert_eq!(
            to_node(&world, &signed(&world, &resume, too_few)).code(),
            "order-quorum"
        );
        assert_eq!(
            to_vault(&world, &signed(&world, &resume, too_few)).code(),
            "order-quorum"
        );
    }
    let resumed = signed(&world, &resume, QUORUM);
    assert_eq!(to_node(&world, &resumed).ok()["order"]["state"], "active");
    assert!(
        codes(&world.reidentify(&order, "health", &asked).ok())
            .iter()
            .all(Option::is_none)
    );

    // The old lifting again lifts no new suspension.
    let again = super::people::act_upon(&payload, ActKind::Suspend, vec![]);
    let again = cloison::order::act::ActPayload {
        reason: super::common::id("appeal"),
        ..again
    };
    assert_eq!(
        to_node(&world, &signed(&world, &again, &["judge-1"])).ok()["order"]["state"],
        "suspended"
    );
    assert_eq!(
        to_node(&world, &resumed).ok()["order"]["state"],
        "suspended"
    );
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-suspended"
    );

    // Revoked is for good, also for a quorum.
    to_node(
        &world,
        &act(&world, &payload, ActKind::Revoke, &["judge-1"]),
    )
    .ok();
    let lift = act_upon(&payload, ActKind::Resume, vec![[7; 32]]);
    assert_eq!(
        to_node(&world, &signed(&world, &lift, QUORUM)).code(),
        "order-revoked"
    );
}

/// An order can be stopped before anybody has used it, and by nobody who is not its authority's
/// approver.
#[test]
fn stopped_before_it_was_used() {
    let world = quiet();
    let asked = persons(&world, 1);
    let payload = world.order("health", &asked);
    let order = world.sign(&payload, QUORUM);
    let revoke = act_upon(&payload, ActKind::Revoke, vec![]);
    let officer =
        statement::sign::<ActPayload>(&revoke.draft().unwrap(), "officer", &world.key("officer"));
    let forged =
        statement::sign::<ActPayload>(&revoke.draft().unwrap(), "judge-1", &world.key("officer"));
    for (what, text) in [
        ("an officer's", officer.unwrap()),
        ("a forged one", forged.unwrap()),
        ("the order itself", order.clone()),
        ("for elsewhere", {
            let other = cloison::order::act::ActPayload {
                aud: super::common::id("elsewhere"),
                ..revoke.clone()
            };
            signed(&world, &other, &["judge-1"])
        }),
    ] {
        assert_eq!(to_vault(&world, &text).code(), "act-invalid", "{what}");
        assert_eq!(to_node(&world, &text).code(), "act-invalid", "{what}");
    }
    let unsigned = revoke.draft().unwrap();
    assert_eq!(to_vault(&world, &unsigned).code(), "order-quorum");

    let revoked = signed(&world, &revoke, &["prosecutor-1"]);
    assert_eq!(to_vault(&world, &revoked).ok()["order"]["state"], "revoked");
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-revoked"
    );
    assert_eq!(
        at_node(&world, &payload).unwrap()["state"],
        "revoked",
        "the node has learned it"
    );
    // Sector systems have no say, and see no orders.
    let reply = world.post_json(
        "cnss-health",
        super::common::Door::Control,
        "/v1/acts",
        &json!({"act": revoked}),
    );
    assert_eq!(reply.code(), "forbidden");
    assert_eq!(
        world
            .get("cnss-health", super::common::Door::Control, "/v1/orders")
            .code(),
        "forbidden"
    );
}

/// On the command line: list, suspend, resume with two signatures, revoke.
#[test]
fn on_the_command_line() {
    let world = quiet();
    let asked = persons(&world, 3);
    let mut payload = world.order("health", &asked);
    payload.basis = LegalBasis::Statutory {
        article: "Law 47-06, art. 214".to_owned(),
    };
    payload.scope = PseudonymScope::AtMost(5);
    let order = world.sign(&payload, QUORUM);
    std::fs::create_dir_all(world.path("orders")).unwrap();
    world.write("orders/17.jws", &order);
    let run = |arguments: &[&str]| {
        let output = world.cloison(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), said)
    };
    let officer = ["--client", "clients/officer.toml"];
    let operator = ["--client", "clients/operator.toml"];
    let (code, said) = run(&[&["order", "list", "--folder", "orders"], &officer[..]].concat());
    assert!(code == 0 && said.contains("drafted"), "{said}");
    world.reidentify(&order, "health", &asked).ok();
    let (_, said) = run(&[&["order", "list"], &operator[..]].concat());
    assert!(
        said.contains("active") && said.contains("3 of 5 pseudonyms in health"),
        "{said}"
    );

    let judge = [
        "--key",
        "secrets/people/judge-1.pem",
        "--kid",
        "judge-1",
        "--reason",
        "appeal",
    ];
    let (code, said) = run(&[
        &["order", "suspend"],
        &judge[..],
        &officer,
        &["orders/17.jws"],
    ]
    .concat());
    assert!(
        code == 0 && said.contains("suspended") && said.contains("both have it"),
        "{said}"
    );
    let (code, said) = run(&[
        &["order", "resume"],
        &judge[..],
        &officer,
        &["orders/17.jws"],
    ]
    .concat());
    assert!(code == 1 && said.contains("1 of 2 signatures"), "{said}");
    // Without --client the suspension has to be named; with it, it is found. The file is for the
    // second signer.
    let (code, said) = run(&[&["order", "list", "--json"], &officer[..]].concat());
    assert_eq!(code, 0);
    let list: serde_json::Value = serde_json::from_str(&said).unwrap();
    let digest = list["orders"][0]["acts"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let (code, said) = run(&[
        &["order", "resume"],
        &judge[..],
        &["--lift", &digest, "--out", "resume.jws", "orders/17.jws"],
    ]
    .concat());
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&[
        "order",
        "sign",
        "--key",
        "secrets/people/prosecutor-1.pem",
        "--kid",
        "prosecutor-1",
        "resume.jws",
    ]);
    assert!(code == 0 && said.contains(&digest), "{said}");
    let (code, said) = run(&[&["order", "lodge", "resume.jws"], &officer[..]].concat());
    assert!(code == 0 && said.contains("active"), "{said}");
    assert!(world.reidentify(&order, "health", &asked[..1]).ok()["items"][0]["value"].is_string());

    // By its id, to the vault.
    let id = payload.id.to_string();
    let (code, said) = run(&[
        &["order", "revoke", "--yes", "--register", "register.toml"],
        &judge[..],
        &operator,
        &["--json", &id],
    ]
    .concat());
    assert!(
        code == 0 && said.contains("\"state\": \"revoked\""),
        "{said}"
    );
    let (code, said) = run(&[
        "reidentify",
        "--order",
        "orders/17.jws",
        "--key",
        "secrets/people/officer.pem",
        officer[0],
        officer[1],
        &asked[0],
    ]);
    assert!(
        code == 1 && said.contains("order-revoked") && said.contains("hint"),
        "{said}"
    );
}
