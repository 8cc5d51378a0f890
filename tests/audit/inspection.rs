//! Inspections with real processes: only the commission enters one, it opens exactly its object for
//! its time, every access is logged, and its report proves itself.

use std::process::Output;

use cloison::inspection::decision::{InspectionClosing, InspectionDecision};
use cloison::jws;
use cloison::statement::Statement as _;
use serde_json::{Value, json};

use super::actors;
use super::common::{Door, QUORUM, Reply, Setup, Side, World, now, uuid4};

fn world() -> World {
    World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    })
}

fn run(world: &World, arguments: &[&str]) -> Output {
    world.cloison(&[&["audit"], arguments].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (status, Some(code)),
        "{}",
        reply.json()
    );
}

/// What `inspection new` takes everywhere here.
const DECIDED: [&str; 18] = [
    "inspection",
    "new",
    "--json",
    "--register",
    "register.toml",
    "--reference",
    "D-118/2026",
    "--controller",
    "Caisse nationale <b>de</b> sécurité sociale",
    "--address",
    "Casablanca",
    "--agent",
    "A. Agent",
    "--object",
    "Who was re-identified",
    "--days",
    "30",
    "--auditor=auditor",
];
const COMMISSION: [&str; 4] = [
    "--key",
    "secrets/register/commission.pem",
    "--kid",
    "commission",
];

pub fn enter(world: &World, more: &[&str]) -> Value {
    json_of(&run(world, &[&DECIDED[..], &COMMISSION, more].concat()))
}

#[test]
fn an_inspection_opens_its_object_and_nothing_else() {
    let mut world = world();
    actors::auditor(&world, "auditor-2");
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let health = world.health_pseudonyms(&["AB000001", "AB000002"]);
    world.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["AB000001"]);
    assert_eq!(
        world
            .batch("cnss-health", "tax", "cnie", None, &["AB000001"])
            .status,
        404
    );
    assert_eq!(
        world
            .batch("dgi-tax", "health", "cnie", None, &["AB000001"])
            .status,
        404
    );
    let order = world.sign(&world.order("health", &health), QUORUM);
    world.reidentify(&order, "health", &health).ok();

    // Without one: the tiles, by which the log is verified, and no answers.
    for door in [Door::Control, Door::Officers] {
        refused(
            &world.get("auditor", door, "/v1/audit/entries"),
            403,
            "inspection-required",
        );
    }
    assert_eq!(
        world
            .get("auditor", Door::Control, "/tile/entries/000.p/1")
            .status,
        200
    );
    let verified = run(
        &world,
        &[
            "verify",
            "--client",
            "clients/auditor.toml",
            "--register",
            "register.toml",
        ],
    );
    assert!(verified.status.success(), "{}", said(&verified));

    // Only the commission's own key makes one, no matter who brings it.
    let bring = ["--client", "clients/auditor.toml", "--sector", "health"];
    for key in [
        ["secrets/register/operations.pem", "commission"],
        ["secrets/register/operations.pem", "operations"],
    ] {
        let key = ["--key", key[0], "--kid", key[1]];
        let forged = run(&world, &[&DECIDED[..], &key, &bring].concat());
        assert!(
            said(&forged).contains("inspection-invalid"),
            "{}",
            said(&forged)
        );
    }
    let body = |text: &str| json!({"statement": text});
    let unsigned = cloison::jws::draft(b"{}");
    refused(
        &world.post_json(
            "operator",
            Door::Control,
            "/v1/inspections",
            &body(&unsigned),
        ),
        403,
        "inspection-invalid",
    );
    refused(
        &world.post_json(
            "cnss-health",
            Door::Control,
            "/v1/inspections",
            &body(&unsigned),
        ),
        403,
        "forbidden",
    );
    refused(
        &world.get("auditor", Door::Control, "/v1/audit/entries"),
        403,
        "inspection-required",
    );
    let entered = enter(&world, &bring);
    assert_eq!(entered["state"], "open");
    let id = entered["decision"]["id"].as_str().unwrap().to_owned();
    // Again is once.
    let text = entered["text"].as_str().unwrap();
    world
        .post_json("operator", Door::Control, "/v1/inspections", &body(text))
        .ok();
    let listed = world.get("operator", Door::Control, "/v1/inspections").ok();
    assert_eq!(listed["inspections"].as_array().unwrap().len(), 1);

    // Exactly its object, for exactly its auditor, at exactly this side.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let found = world
        .get("auditor", Door::Control, "/v1/audit/entries")
        .ok();
    assert_eq!(found["inspection"], id.as_str());
    let entries: Vec<&Value> = found["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| &found["entry"])
        .collect();
    let events: Vec<&str> = entries
        .iter()
        .map(|entry| entry["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        ["tokenize", "refuse", "release", "refuse"],
        "without a sector: by the sector's own clients"
    );
    assert_eq!(
        (&entries[0]["sector"], &entries[1]["actor"]),
        (&json!("health"), &json!("cnss-health"))
    );
    assert_eq!(
        world
            .get("auditor", Door::Control, "/v1/audit/entries?sector=tax")
            .ok()["entries"],
        json!([])
    );
    refused(
        &world.get("auditor-2", Door::Control, "/v1/audit/entries"),
        403,
        "inspection-required",
    );
    refused(
        &world.get("auditor", Door::Officers, "/v1/audit/entries"),
        403,
        "inspection-required",
    );
    refused(
        &world.get(
            "auditor-2",
            Door::Control,
            &format!("/v1/inspections/{id}/report"),
        ),
        404,
        "unknown-inspection",
    );
    assert_eq!(
        world
            .get("auditor-2", Door::Control, "/v1/inspections")
            .ok()["inspections"],
        json!([])
    );
    refused(
        &world.get(
            "operator",
            Door::Control,
            &format!("/v1/inspections/{id}/report"),
        ),
        403,
        "forbidden",
    );
    // What an auditor types is not written into the log.
    world
        .get(
            "auditor",
            Door::Control,
            "/v1/audit/entries?actor=ab000001&order=AB000001&sector=AB000001",
        )
        .ok();

    // Two at once have to be told apart.
    let other = enter(
        &world,
        &["--client", "clients/auditor.toml", "--actor", "dgi"],
    );
    refused(
        &world.get("auditor", Door::Control, "/v1/audit/entries"),
        400,
        "bad-parameter",
    );
    let other = other["decision"]["id"].as_str().unwrap();
    let by_actor = world
        .get(
            "auditor",
            Door::Control,
            &format!("/v1/audit/entries?inspection={other}"),
        )
        .ok();
    assert_eq!(by_actor["entries"].as_array().unwrap().len(), 1);
    assert_eq!(by_actor["entries"][0]["entry"]["organisation"], "dgi");

    // The annex, its page, and what a changed one is worth.
    let client = [
        "report",
        "--client",
        "clients/auditor.toml",
        "--inspection",
        &id,
    ];
    let written = run(
        &world,
        &[&client[..], &["--output", "minutes", "--language", "fr"]].concat(),
    );
    assert!(written.status.success(), "{}", said(&written));
    let document: Value = serde_json::from_str(&world.read("minutes.json")).unwrap();
    let report = &document["report"];
    let figures = &report["figures"]["sectors"]["health"];
    assert_eq!(
        (figures["batches"].as_u64(), figures["items"].as_u64()),
        (Some(1), Some(2))
    );
    let orders: Vec<&Value> = figures["orders"].as_object().unwrap().values().collect();
    assert_eq!(
        (&orders[0]["basis"], &orders[0]["mappings"]),
        (&json!("judicial"), &json!(2))
    );
    assert_eq!(report["figures"]["sectors"].as_object().unwrap().len(), 1);
    assert_eq!(report["sectors"][0]["mappings"], 2);
    let accesses = report["accesses"].as_array().unwrap();
    assert_eq!(
        accesses
            .iter()
            .filter(|access| access["entry"]["what"] == "entries")
            .count(),
        3
    );
    assert!(
        accesses
            .iter()
            .all(|access| access["entry"]["inspection"] == id.as_str())
    );
    assert_eq!(accesses.last().unwrap()["entry"]["what"], "report");
    let page = world.read("minutes.html");
    assert!(
        page.contains("&lt;b&gt;de&lt;") && !page.contains("<b>de"),
        "texts are escaped"
    );
    assert!(page.contains("Rapport d’inspection") && page.contains("@media print"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    let check = [
        "report",
        "--check",
        "minutes.json",
        "--register",
        "register.toml",
    ];
    assert_eq!(
        json_of(&run(&world, &[&check[..], &["--json"]].concat()))["good"],
        true
    );
    assert!(
        run(
            &world,
            &["copy", "--client", "clients/auditor.toml", "--to", "copy"]
        )
        .status
        .success()
    );
    let again = json_of(&run(&world, &[&check[..], &["--json", "copy"]].concat()));
    assert_eq!(again["counted"], report["figures"]["entries"]);
    assert!(
        !run(&world, &[&client[..], &["--output", "minutes"]].concat())
            .status
            .success(),
        "nothing is overwritten"
    );
    world.replace("minutes.json", "\"mappings\": 2", "\"mappings\": 1");
    assert!(said(&run(&world, &check)).contains("it was changed"));
    let other_key = [
        "report",
        "--check",
        "minutes.json",
        "--key",
        super::live::OTHER_KEY,
    ];
    assert!(said(&run(&world, &other_key)).contains("is not by the key that is trusted"));

    // Closed by the commission alone; then nothing more opens, and the annex is there still.
    let close = [
        "inspection",
        "close",
        "--yes",
        &id,
        "--reason",
        "done",
        "--register",
        "register.toml",
    ];
    let operations = [
        "--key",
        "secrets/register/operations.pem",
        "--kid",
        "operations",
        "--client",
        "clients/auditor.toml",
    ];
    assert!(said(&run(&world, &[&close[..], &operations].concat())).contains("inspection-invalid"));
    let client_file = ["--client", "clients/operator.toml", "--json"];
    assert_eq!(
        json_of(&run(
            &world,
            &[&close[..], &COMMISSION, &client_file].concat()
        ))["state"],
        "closed"
    );
    let path = format!("/v1/audit/entries?inspection={id}");
    refused(
        &world.get("auditor", Door::Control, &path),
        403,
        "inspection-required",
    );
    // It counts what was logged until the end, and no more.
    world.health_pseudonyms(&["AB000003"]);
    let after = world
        .get(
            "auditor",
            Door::Control,
            &format!("/v1/inspections/{id}/report"),
        )
        .ok();
    assert_eq!(after["report"]["figures"]["sectors"]["health"]["items"], 2);
    assert_eq!(after["report"]["inspection"]["state"], "closed");

    // The node has its own; an inspection that was entered survives a kill.
    enter(
        &world,
        &[
            "--client",
            "clients/auditor-node.toml",
            "--sector",
            "health",
        ],
    );
    std::thread::sleep(std::time::Duration::from_millis(600));
    let at_node = world
        .get("auditor", Door::Officers, "/v1/audit/entries?event=reveal")
        .ok();
    assert_eq!(at_node["entries"].as_array().unwrap().len(), 1);
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    let path = format!("/v1/audit/entries?inspection={other}");
    world.get("auditor", Door::Control, &path).ok();
    let listed = run(
        &world,
        &["inspection", "list", "--client", "clients/auditor.toml"],
    );
    assert!(
        said(&listed).contains("(closed)") && said(&listed).contains("(open)"),
        "{}",
        said(&listed)
    );

    world.stop();
    let entries = world.entries(Side::Vault);
    let of = |event: &str| {
        entries
            .iter()
            .filter(|entry| entry["event"] == event)
            .count()
    };
    assert_eq!((of("inspection"), of("access")), (3, 7));
    assert!(of("read") >= 1, "who read entry bundles");
    let asked: Vec<&Value> = entries
        .iter()
        .map(|entry| &entry["asked"])
        .filter(|asked| asked["order"] != json!(null))
        .collect();
    assert_eq!(asked, [&json!({"actor": "…", "order": "…", "sector": "…"})]);
    assert_eq!(
        world.refusals(Side::Vault, "auditor", "audit", "inspection-required"),
        3
    );
}

#[test]
fn a_decision_is_for_one_deployment_and_for_auditors_and_sectors_that_are_there() {
    let mut world = world();
    world.start(Side::Vault, &[]);
    let good = json_of(&run(
        &world,
        &[
            &DECIDED[..],
            &COMMISSION,
            &["--client", "clients/auditor.toml", "--sector", "health"],
        ]
        .concat(),
    ));
    let decision = good["decision"].clone();
    let key = world.register_key("commission");
    let new_id = uuid4().to_string();
    for (member, value) in [
        ("aud", json!("other")),
        ("auditors", json!(["nobody"])),
        ("sectors", json!(["nowhere"])),
        ("not_after", json!("2020-01-02T00:00:00Z")),
        // The same id with another object.
        ("object", json!("Something else")),
    ] {
        let mut changed = decision.clone();
        changed[member] = value;
        if member != "object" {
            changed["id"] = json!(new_id);
        }
        if member == "not_after" {
            changed["not_before"] = json!("2020-01-01T00:00:00Z");
        }
        let text = jws::add_signature(
            &jws::draft(changed.to_string().as_bytes()),
            InspectionDecision::TYP,
            "commission",
            &key,
        )
        .unwrap();
        let reply = world.post_json(
            "auditor",
            Door::Control,
            "/v1/inspections",
            &json!({"statement": text}),
        );
        refused(&reply, 403, "inspection-invalid");
    }
    world.stop();
}

#[test]
fn what_has_not_begun_is_not_reported_and_an_end_that_comes_first_counts() {
    let mut world = world();
    world.start(Side::Vault, &[]);
    let later = [
        "--client",
        "clients/auditor.toml",
        "--sector",
        "health",
        "--not-before",
        "2099-01-01",
    ];
    let pending = enter(&world, &later);
    assert_eq!(pending["state"], "pending");
    let report = |id: &Value| {
        let path = format!("/v1/inspections/{}/report", id.as_str().unwrap());
        world.get("auditor", Door::Control, &path)
    };
    refused(
        &report(&pending["decision"]["id"]),
        403,
        "inspection-required",
    );

    let key = world.register_key("commission");
    let bring = |path: &str, says: &Value, typ: &str| {
        let text = jws::add_signature(
            &jws::draft(says.to_string().as_bytes()),
            typ,
            "commission",
            &key,
        )
        .unwrap();
        world.post_json("auditor", Door::Control, path, &json!({"statement": text}))
    };
    let end = |id: &Value| {
        let (aud, time) = (&pending["decision"]["aud"], "2026-01-01T00:00:00Z");
        let says = json!({"aud": aud, "inspection": id, "reason": "done", "time": time});
        bring("/v1/inspections/closings", &says, InspectionClosing::TYP)
    };
    assert_eq!(end(&pending["decision"]["id"]).ok()["state"], "closed");
    refused(
        &report(&pending["decision"]["id"]),
        403,
        "inspection-required",
    );

    // The end before the decision: it is kept, shows nothing, and the decision is closed when it
    // comes.
    let mut decision = pending["decision"].clone();
    decision["id"] = json!(uuid4().to_string());
    decision["not_before"] = json!(now().to_string());
    decision["not_after"] = json!((now() + jiff::SignedDuration::from_hours(24)).to_string());
    refused(&end(&decision["id"]), 404, "unknown-inspection");
    refused(&end(&decision["id"]), 404, "unknown-inspection");
    refused(&report(&decision["id"]), 404, "unknown-inspection");
    let listed = || {
        let listed = world.get("operator", Door::Control, "/v1/inspections").ok();
        listed["inspections"].as_array().unwrap().len()
    };
    assert_eq!(listed(), 1);
    for _ in 0..2 {
        let entered = bring("/v1/inspections", &decision, InspectionDecision::TYP).ok();
        assert_eq!(
            (&entered["state"], &entered["closed"]["reason"]),
            (&json!("closed"), &json!("done"))
        );
    }
    assert_eq!(listed(), 2);
    refused(
        &world.get("auditor", Door::Control, "/v1/audit/entries"),
        403,
        "inspection-required",
    );
    refused(&report(&decision["id"]), 403, "inspection-required");
    world.stop();
    let entries = world.entries(Side::Vault);
    let actions: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["event"] == "inspection")
        .map(|entry| &entry["action"])
        .collect();
    assert_eq!(actions, ["enter", "close", "close", "enter"]);
}
