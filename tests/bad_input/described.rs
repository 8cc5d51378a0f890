//! Schemathesis calls every operation of every listener as each role: no answer that the description
//! does not have, and no 5xx but 503 with a code. `ops/test-long schemathesis` runs it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::actors;
use crate::common::{Door, QUORUM, Side, World};

/// Who calls at which listener. The officer comes first at the node, with an order that nobody used.
const ROLES: [(&str, Door); 10] = [
    ("cnss-health", Door::Data),
    ("operator", Door::Control),
    ("node", Door::Control),
    ("auditor", Door::Control),
    ("dpo", Door::Control),
    ("cnss-health", Door::Control),
    ("officer", Door::Officers),
    ("auditor", Door::Officers),
    ("dpo", Door::Officers),
    ("operator", Door::Officers),
];

/// Checks of schemathesis: statuses, media types, schemas and headers are as described.
const CHECKS: &str = "status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,told_faults";

/// What must have been answered with the real body, so that not only refusals are tried.
const REACHED: [(&str, &str); 3] = [
    ("cnss-health-data", "/v1/sectors/{sector}/pseudonyms"),
    ("node-control", "/v1/releases"),
    ("officer-officers", "/v1/reidentifications"),
];

#[test]
fn answers_are_as_they_are_described() {
    let Ok(program) = std::env::var("CLOISON_TEST_SCHEMATHESIS") else {
        eprintln!("not run: ops/test-long schemathesis runs it");
        return;
    };
    let examples = std::env::var("CLOISON_TEST_EXAMPLES").unwrap_or_else(|_| "50".to_owned());
    let mut world = World::new();
    actors::rights_officers(&world, &[("dpo", &["health"])]);
    world.restart();
    let real = real_bodies(&world);
    let mut failed = vec![];
    for (name, door) in ROLES {
        let mut api = world.get(name, door, "/openapi.json").ok();
        exemplify(&mut api, &real);
        let role = format!("{name}-{door:?}").to_lowercase();
        world.write(&format!("{role}.json"), &api.to_string());
        let output = Command::new(&program)
            .arg("run")
            .arg(world.path(&format!("{role}.json")))
            .args(["--url", &format!("https://{}", world.address(door))])
            .arg("--request-cert")
            .arg(world.certificate(name))
            .arg("--request-cert-key")
            .arg(world.path(&format!("secrets/tls/{name}.key")))
            .args([
                "--tls-verify",
                "false",
                "--checks",
                CHECKS,
                "--max-examples",
                &examples,
            ])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--continue-on-failure",
            ])
            // A sealed node refuses everything else.
            .args([
                "--exclude-path",
                "/v1/seal",
                "--warnings",
                "off",
                "--no-color",
            ])
            .env("SCHEMATHESIS_HOOKS", "described")
            .env(
                "PYTHONPATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent"),
            )
            .env("ANSWERS", world.path(&format!("{role}.answers")))
            .env("PYTHONWARNINGS", "ignore")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(world.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        eprintln!(
            "=== {role}\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let answers = world.read(&format!("{role}.answers"));
        let mut counts = BTreeMap::new();
        for line in answers.lines() {
            *counts.entry(line).or_insert(0) += 1;
        }
        counts
            .iter()
            .for_each(|(line, count)| eprintln!("{role}: {count} x {line}"));
        for (reached, path) in REACHED {
            let line = format!("POST {path} 200 -");
            assert!(
                reached != role || counts.contains_key(&*line),
                "{role}: no {line}"
            );
        }
        if !output.status.success() {
            failed.push(role);
        }
        assert!(world.is_running(Side::Vault) && world.is_running(Side::Node));
    }
    for side in [Side::Vault, Side::Node] {
        assert!(!world.log(side).contains("panicked"), "{side:?}");
    }
    assert!(
        failed.is_empty(),
        "answers that are not described: {failed:?}"
    );
}

/// Bodies that are in order: path and JSON.
fn real_bodies(world: &World) -> Vec<(&'static str, Value)> {
    let pseudonyms = world.health_pseudonyms(&["AB1", "AB2"]);
    let order = world.sign(&world.order("health", &pseudonyms), QUORUM);
    let asked = |request: String| json!({"order": order, "request": request, "sector": "health", "pseudonyms": pseudonyms});
    let request = || world.request(&order, "health", &pseudonyms);
    let digest = data_encoding::HEXLOWER.encode(&world.register().digest);
    vec![
        (
            "/v1/sectors/{sector}/pseudonyms",
            json!({"scheme": "cnie", "purpose": "billing", "identifiers": ["AB1", "no number"]}),
        ),
        ("/v1/reidentifications", asked(request())),
        (
            "/v1/releases",
            json!({"register": digest, "acts": crate::common::NO_ACTS, "asked": asked(request())}),
        ),
        ("/v1/orders", json!({"order": order})),
        (
            "/v1/sectors/{sector}/epochs",
            json!({"from": 1, "own_secret": false}),
        ),
    ]
}

/// Puts real bodies and a real sector beside the schemas, so that requests reach the use cases.
fn exemplify(api: &mut Value, real: &[(&str, Value)]) {
    for (path, body) in real {
        if let Some(content) = api["paths"]
            .get_mut(*path)
            .and_then(|item| item.pointer_mut("/post/requestBody/content/application~1json"))
        {
            content["example"] = body.clone();
        }
    }
    for item in api["paths"].as_object_mut().unwrap().values_mut() {
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
}
