//! Schemathesis calls every operation of every listener as each role: no answer that the
//! description does not have, and no 5xx but 503 with a code. `ops/test-long schemathesis` runs it.

mod real;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::actors;
use crate::common::{Door, Setup, Side, World, swap};
use real::RealRequest;

/// Who calls at which listener. The node comes before everybody whose acts it would have to know.
const ROLES: [(&str, Door); 14] = [
    ("cnss-health", Door::Data),
    ("node", Door::Control),
    ("auditor", Door::Control),
    ("dpo", Door::Control),
    ("cnss-health", Door::Control),
    ("officer", Door::Officers),
    ("auditor", Door::Officers),
    ("dpo", Door::Officers),
    ("custodian-3", Door::Officers),
    ("dgi-tax", Door::Data),
    ("operator", Door::Control),
    ("operator", Door::Officers),
    ("cnss-health", Door::Officers),
    // The last one, because this one may seal the node, which then refuses everything else.
    ("custodian-1", Door::Officers),
];

/// Checks of schemathesis: statuses, media types, schemas and headers are as described.
const CHECKS: &str = "status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,told_faults";

#[test]
fn answers_are_as_they_are_described() {
    let Ok(program) = std::env::var("CLOISON_TEST_SCHEMATHESIS") else {
        eprintln!("not run: ops/test-long schemathesis runs it");
        return;
    };
    let mut world = described_world();
    let (mut failed, mut sent, mut in_order) = (vec![], 0, 0);
    let mut requests = real::requests(&world);
    for (name, door) in ROLES {
        let role = format!("{name}-{door:?}").to_lowercase();
        let own = requests.take(&role);
        in_order += own.len();
        let output = call_all(&program, &world, (name, door), &own);
        let (said, error) = (&output.stdout, &output.stderr);
        let [said, error] = [said, error].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        eprintln!("=== {role}\n{said}{error}");
        let mut answers = BTreeMap::new();
        for line in world.read(&format!("{role}.answers")).lines() {
            *answers.entry(line.to_owned()).or_insert(0) += 1;
            sent += 1;
        }
        for (line, count) in &answers {
            eprintln!("{role}: {count} x {line}");
        }
        let unlike = own.iter().filter(|real| {
            let answer = format!("real {} {}", real.operation, real.answer);
            let left = answers.get_mut(&answer).filter(|left| **left > 0);
            left.map(|left| *left -= 1).is_none()
        });
        failed.extend(
            unlike.map(|real| format!("{role}: {} was not {}", real.operation, real.answer)),
        );
        if !output.status.success() {
            failed.push(format!("{role}: an answer that is not described"));
        }
    }
    assert!(world.is_running(Side::Vault) && world.is_running(Side::Node));
    for side in [Side::Vault, Side::Node] {
        assert!(!world.log(side).contains("panicked"), "{side:?}");
    }
    eprintln!(
        "{sent} requests in {} roles, {} of them real",
        ROLES.len(),
        in_order
    );
    assert!(failed.is_empty(), "{failed:#?}");
    world.stop();
}

/// A world with everything: custodians, rights officers, keys for migrations and sealed answers,
/// backups of both sides.
fn described_world() -> World {
    let register = |text: String| {
        let text = swap(
            &text,
            "force-majeure-quorum = 2",
            "force-majeure-quorum = 2\ncontinuity-quorum = 2",
        );
        let text = swap(&text, "epoch-overlap-days = 30", "epoch-overlap-days = 0");
        let text = swap(
            &text,
            "max-hours = 720",
            "max-hours = 720\nreleases-per-hour = 100000000",
        );
        ["billing", "assessment"].iter().fold(text, |text, purpose| {
            let key = cloison::seal::pairs::MigrationKey::derive(&cloison::keys::Key::random());
            let public = data_encoding::HEXLOWER.encode(key.public());
            let purposes = format!("purposes = [\"{purpose}\"]");
            let from = format!("operations = [\"tokenize\"]\n{purposes}");
            let to = format!("operations = [\"tokenize\", \"migrate\", \"retire-epoch\"]\n{purposes}\nmigration-key = \"{public}\"");
            swap(&text, &from, &to)
        })
    };
    let mut world = World::with(Setup {
        register: Box::new(register),
        log: "info",
        start: false,
        custodians: Some((2, 3)),
    });
    actors::rights_officers(&world, &[("dpo", &["health"]), ("dpo-2", &["health"])]);
    let made = world.cloison(&["delivery", "keygen", "--json", "officer.age"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["sealing-key"].as_str().unwrap();
    let officer = "id = \"officer\"\nname";
    let sealing = format!("id = \"officer\"\nsealing-key = \"{key}\"\nname");
    world.edit_register(|text| swap(&text, officer, &sealing));
    for side in ["vault", "node"] {
        fs::create_dir(world.path(&format!("{side}-backups"))).unwrap();
        let section = format!("\n[backup]\npath = \"{side}-backups\"\n\n[secrets]");
        world.replace(&format!("{side}.toml"), "\n[secrets]", &section);
    }
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    for custodian in [1, 2] {
        let name = format!("custodian-{custodian}");
        let share = real::share(&world, custodian);
        world
            .post_json(&name, Door::Officers, "/v1/shares", &share)
            .ok();
    }
    world
}

/// Has schemathesis call a listener, and tell each answer in `<role>.answers`.
fn call_all(
    program: &str,
    world: &World,
    (name, door): (&str, Door),
    own: &[RealRequest],
) -> Output {
    let mut api = world.get(name, door, "/openapi.json").ok();
    let paths = api["paths"].as_object_mut().unwrap();
    paths.values_mut().for_each(name_sectors);
    let mut real: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for request in own {
        let known = real.entry(request.operation).or_default();
        known.push(
            json!({"parameters": request.parameters, "query": request.query, "body": request.body}),
        );
    }
    let role = format!("{name}-{door:?}").to_lowercase();
    let file = |end: &str| world.path(&format!("{role}.{end}"));
    fs::write(file("json"), api.to_string()).unwrap();
    fs::write(file("real"), json!(real).to_string()).unwrap();
    let examples = std::env::var("CLOISON_TEST_EXAMPLES").unwrap_or_else(|_| "50".to_owned());
    let server = format!("https://{}", world.address(door));
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(file("json"))
        .args(["--url", &server])
        .env("SERVER", &server)
        .arg("--request-cert")
        .arg(world.certificate(name))
        .arg("--request-cert-key")
        .arg(world.path(&format!("secrets/tls/{name}.key")))
        .args(["--tls-verify", "false", "--checks", CHECKS])
        .args(["--max-examples", &examples])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--continue-on-failure", "--warnings", "off", "--no-color"])
        .env("SCHEMATHESIS_HOOKS", "described")
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent"),
        )
        .env("REAL", file("real"))
        .env("ANSWERS", file("answers"))
        .env("PYTHONWARNINGS", "ignore")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(world.path(""));
    if name != "custodian-1" {
        command.args(["--exclude-path", "/v1/seal"]);
    }
    command.output().unwrap()
}

/// Names sectors that there are, so that requests reach the use cases.
fn name_sectors(item: &mut Value) {
    for operation in item.as_object_mut().unwrap().values_mut() {
        let parameters = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            if parameter["name"] == "sector" && parameter["in"] == "path" {
                parameter["schema"]["enum"] = json!(["health", "tax", "nowhere"]);
            }
        }
    }
}
