//! `/openapi.json`: OpenAPI 3.1, whole in itself, and true of what the doors answer.

use cloison::order::RequestPayload;
use cloison::order::act::ActPayload;
use cloison::statement::{self, Statement as _};
use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::{Door, QUORUM, World};

/// A Python validator of OpenAPI documents would bring twenty packages; these are the rules of the
/// 3.1 specification that a generator can break.
fn valid(api: &Value) {
    assert_eq!(
        api["openapi"]
            .as_str()
            .unwrap()
            .split('.')
            .take(2)
            .collect::<Vec<_>>(),
        ["3", "1"]
    );
    for member in ["title", "version"] {
        assert!(
            api["info"][member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "info.{member}"
        );
    }
    let known = [
        "openapi",
        "info",
        "servers",
        "paths",
        "components",
        "tags",
        "security",
        "webhooks",
        "externalDocs",
        "jsonSchemaDialect",
    ];
    assert!(
        api.as_object()
            .unwrap()
            .keys()
            .all(|key| known.contains(&key.as_str()))
    );
    let mut operations = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        assert!(path.starts_with('/'));
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                ["get", "post"].contains(&method.as_str()),
                "{method} {path}"
            );
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id.to_owned()), "{id} twice");
            let placeholders: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let mut named = BTreeSet::new();
            for parameter in &parameters {
                let (name, place) = (
                    parameter["name"].as_str().unwrap(),
                    parameter["in"].as_str().unwrap(),
                );
                assert!(
                    ["path", "query"].contains(&place) && parameter["schema"].is_object(),
                    "{parameter}"
                );
                assert!(
                    place != "path" || parameter["required"] == true,
                    "{parameter}"
                );
                if place == "path" {
                    named.insert(name);
                }
            }
            assert_eq!(named, placeholders, "{path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.contains_key("200") && responses.contains_key("4XX"),
                "{path}"
            );
            for (status, response) in responses {
                let digits = status.len() == 3 && (b'1'..=b'5').contains(&status.as_bytes()[0]);
                assert!(
                    digits && (status.ends_with("XX") || status.parse::<u16>().is_ok()),
                    "{status}"
                );
                assert!(
                    response["description"].is_string(),
                    "{path} {status} has no description"
                );
                if !status.starts_with('2') {
                    assert!(
                        response["content"]["application/problem+json"]["schema"].is_object(),
                        "{path} {status}"
                    );
                }
            }
            if method == "post" {
                let content = operation["requestBody"]["content"].as_object().unwrap();
                // Followers of a log send and get what has a form of its own.
                let is_json = !path.starts_with("/v1/journal");
                assert_eq!(content.contains_key("application/json"), is_json, "{path}");
                assert!(content.values().all(|media| media["schema"].is_object()));
            }
        }
    }
    references(api, api);
    schemas(api);
}

/// Every reference leads somewhere within the document.
fn references(api: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref") {
                let pointer = reference
                    .as_str()
                    .unwrap()
                    .strip_prefix('#')
                    .expect("within the document");
                assert!(api.pointer(pointer).is_some(), "{pointer} leads nowhere");
            }
            members.values().for_each(|member| references(api, member));
        }
        Value::Array(items) => items.iter().for_each(|item| references(api, item)),
        _ => {}
    }
}

/// Schemas are of JSON Schema 2020-12 as OpenAPI 3.1 has it, and not of OpenAPI 3.0.
fn schemas(api: &Value) {
    let types = [
        "string", "integer", "number", "boolean", "array", "object", "null",
    ];
    fn walk(value: &Value, visit: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
        match value {
            Value::Object(members) => {
                visit(members);
                members
                    .iter()
                    .filter(|(name, _)| *name != "example")
                    .for_each(|(_, member)| walk(member, visit));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
            _ => {}
        }
    }
    walk(&api["components"]["schemas"], &mut |schema| {
        assert!(!schema.contains_key("nullable"), "OpenAPI 3.0: {schema:?}");
        assert!(
            !schema
                .get("exclusiveMinimum")
                .is_some_and(Value::is_boolean),
            "OpenAPI 3.0: {schema:?}"
        );
        match schema.get("type") {
            Some(Value::String(name)) => assert!(types.contains(&name.as_str()), "{schema:?}"),
            Some(Value::Array(names)) => {
                assert!(
                    names
                        .iter()
                        .all(|name| types.contains(&name.as_str().unwrap())),
                    "{schema:?}"
                );
            }
            // A property that is called `type`.
            Some(Value::Object(_)) | None => {}
            Some(other) => panic!("a type is {other}"),
        }
        if let (Some(Value::Array(required)), Some(Value::Object(properties))) =
            (schema.get("required"), schema.get("properties"))
        {
            assert!(
                required
                    .iter()
                    .all(|name| properties.contains_key(name.as_str().unwrap())),
                "{schema:?}"
            );
        }
    });
}

/// Whether a value is what a schema says: the part of JSON Schema that ours use.
fn fits(api: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(api, api.pointer(&reference[1..]).unwrap(), value);
    }
    if let Some(any) = schema["oneOf"]
        .as_array()
        .or_else(|| schema["anyOf"].as_array())
    {
        let fitting = any
            .iter()
            .filter(|one| fits(api, one, value).is_ok())
            .count();
        return if fitting > 0 {
            Ok(())
        } else {
            Err(format!("{value} is none of {schema}"))
        };
    }
    let of = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    };
    let typed = match &schema["type"] {
        Value::String(name) => of(name),
        Value::Array(names) => names.iter().any(|name| of(name.as_str().unwrap())),
        _ => true,
    };
    if !typed {
        return Err(format!("{value} is not {}", schema["type"]));
    }
    if let Some(items) = value.as_array() {
        items
            .iter()
            .try_for_each(|item| fits(api, &schema["items"], item))?;
    }
    if let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for name in schema["required"].as_array().into_iter().flatten() {
            members
                .get(name.as_str().unwrap())
                .ok_or_else(|| format!("{name} is missing in {value}"))?;
        }
        for (name, member) in members {
            let property = properties
                .get(name)
                .ok_or_else(|| format!("{name} is not described: {schema}"))?;
            fits(api, property, member)?;
        }
    }
    Ok(())
}

/// Every operation: its listener, method, path and id. Clients are generated from these, so none
/// changes unnoticed.
const OPERATIONS: [(&str, &str, &str, &str); 83] = [
    (
        "data",
        "post",
        "/v1/sectors/{sector}/epochs/{epoch}/retire",
        "retire_epoch",
    ),
    (
        "data",
        "get",
        "/v1/sectors/{sector}/migrations",
        "list_migrations",
    ),
    (
        "data",
        "get",
        "/v1/sectors/{sector}/migrations/{order}",
        "fetch_pairs",
    ),
    (
        "data",
        "post",
        "/v1/sectors/{sector}/migrations/{order}",
        "acknowledge_pairs",
    ),
    (
        "data",
        "post",
        "/v1/sectors/{sector}/pseudonyms",
        "tokenize",
    ),
    ("control", "get", "/checkpoint", "checkpoint"),
    ("control", "get", "/log/{shard}/{path}", "resource"),
    ("control", "get", "/tile/{path}", "tile"),
    ("control", "post", "/v1/acts", "lodge_at_vault"),
    ("control", "post", "/v1/acts/exchange", "exchange"),
    ("control", "get", "/v1/audit/entries", "entries"),
    ("control", "get", "/v1/audit/log", "shards"),
    ("control", "post", "/v1/clock-mark", "lower_clock_mark"),
    ("control", "get", "/v1/inspections", "list_inspections"),
    ("control", "post", "/v1/inspections", "enter_inspection"),
    (
        "control",
        "post",
        "/v1/inspections/closings",
        "close_inspection",
    ),
    (
        "control",
        "get",
        "/v1/inspections/{id}/report",
        "inspection_report",
    ),
    ("control", "post", "/v1/journal", "follow_log"),
    ("control", "post", "/v1/journal/offers", "bring_log"),
    ("control", "post", "/v1/migrations/identifiers", "hand_back"),
    ("control", "post", "/v1/migrations/pages", "migration_page"),
    ("control", "get", "/v1/orders", "list_at_vault"),
    ("control", "post", "/v1/orders", "lodge_order_at_vault"),
    ("control", "post", "/v1/releases", "release_mappings"),
    ("control", "get", "/v1/resumes", "resume_proofs"),
    ("control", "post", "/v1/rights/erasures", "erase_at_vault"),
    ("control", "post", "/v1/rights/resolutions", "look_up"),
    ("control", "get", "/v1/secrets", "list_secrets"),
    ("control", "post", "/v1/secrets", "rotate_secret"),
    ("control", "post", "/v1/secrets/confirm", "confirm_secret"),
    ("control", "post", "/v1/secrets/retire", "retire_secret"),
    (
        "control",
        "get",
        "/v1/sectors/{sector}/epochs",
        "list_epochs",
    ),
    (
        "control",
        "post",
        "/v1/sectors/{sector}/epochs",
        "advance_epoch",
    ),
    ("control", "post", "/v1/segments", "segment_page"),
    ("control", "post", "/v1/segments/drop", "drop_at_vault"),
    (
        "control",
        "post",
        "/v1/segments/recipients",
        "take_recipients",
    ),
    ("control", "get", "/v1/backups", "list_backups"),
    ("control", "post", "/v1/backups", "create_backup"),
    ("control", "post", "/v1/backups/prune", "prune_backups"),
    ("control", "post", "/v1/backups/verify", "verify_backup"),
    ("control", "get", "/v1/register/history", "list_registers"),
    (
        "control",
        "get",
        "/v1/register/history/{version}",
        "read_register",
    ),
    ("control", "post", "/v1/register/reload", "reload_register"),
    ("control", "get", "/v1/suspensions", "list_suspensions"),
    ("control", "post", "/v1/suspensions", "bring_suspension"),
    ("control", "get", "/v1/restore", "restore_state"),
    ("control", "post", "/v1/restore", "confirm_restore"),
    ("node", "get", "/checkpoint", "checkpoint"),
    ("node", "get", "/log/{shard}/{path}", "resource"),
    ("node", "get", "/tile/{path}", "tile"),
    ("node", "post", "/v1/acts", "lodge_at_node"),
    ("node", "get", "/v1/audit/entries", "entries"),
    ("node", "get", "/v1/audit/log", "shards"),
    ("node", "post", "/v1/clock-mark", "lower_clock_mark"),
    ("node", "post", "/v1/drills", "drill"),
    ("node", "get", "/v1/inspections", "list_inspections"),
    ("node", "post", "/v1/inspections", "enter_inspection"),
    (
        "node",
        "post",
        "/v1/inspections/closings",
        "close_inspection",
    ),
    (
        "node",
        "get",
        "/v1/inspections/{id}/report",
        "inspection_report",
    ),
    ("node", "post", "/v1/journal", "follow_log"),
    ("node", "post", "/v1/migrations", "migrate"),
    ("node", "get", "/v1/orders", "list_at_node"),
    ("node", "post", "/v1/orders", "lodge_order_at_node"),
    ("node", "post", "/v1/reidentifications", "reidentify"),
    ("node", "post", "/v1/renewal", "renew"),
    ("node", "get", "/v1/resumes", "resumes"),
    ("node", "post", "/v1/resumes", "acknowledge_resume"),
    ("node", "post", "/v1/rights/erasures", "erase_at_node"),
    ("node", "get", "/v1/seal", "status"),
    ("node", "post", "/v1/seal", "seal"),
    ("node", "post", "/v1/segments/drop", "drop_at_node"),
    ("node", "post", "/v1/shares", "unseal"),
    ("node", "get", "/v1/backups", "list_backups"),
    ("node", "post", "/v1/backups", "create_backup"),
    ("node", "post", "/v1/backups/prune", "prune_backups"),
    ("node", "post", "/v1/backups/verify", "verify_backup"),
    ("node", "get", "/v1/register/history", "list_registers"),
    (
        "node",
        "get",
        "/v1/register/history/{version}",
        "read_register",
    ),
    ("node", "post", "/v1/register/reload", "reload_register"),
    ("node", "get", "/v1/suspensions", "list_suspensions"),
    ("node", "post", "/v1/suspensions", "bring_suspension"),
    ("node", "get", "/v1/restore", "restore_state"),
    ("node", "post", "/v1/restore", "confirm_restore"),
];

#[test]
fn each_listener_has_the_operations_that_are_listed_and_no_other() {
    let world = World::new();
    // Callers who may do nothing there: they are refused, but not with `not-found`.
    let listeners = [
        ("data", Door::Data, "auditor"),
        ("control", Door::Control, "cnss-health"),
        ("node", Door::Officers, "cnss-health"),
    ];
    for (listener, door, caller) in listeners {
        let api = world.get(caller, door, "/openapi.json").ok();
        let described: BTreeSet<(String, String, String)> = api["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let operations = item.as_object().unwrap().iter();
                operations.map(|(method, operation)| {
                    let id = operation["operationId"].as_str().unwrap().to_owned();
                    (method.clone(), path.clone(), id)
                })
            })
            .collect();
        let here = OPERATIONS
            .iter()
            .filter(|(at, ..)| *at == listener)
            .map(|(_, method, path, id)| (*method, *path, *id));
        // Every listener has this one, and every registered caller may ask it.
        let everywhere = ("get", "/v1/status", "server_status");
        let listed = here
            .chain([everywhere])
            .map(|(method, path, id)| (method.into(), path.into(), id.into()))
            .collect();
        let told = world.get(caller, door, "/v1/status").ok();
        let schema = &api["paths"]["/v1/status"]["get"]["responses"]["200"]["content"];
        fits(&api, &schema["application/json"]["schema"], &told)
            .unwrap_or_else(|why| panic!("status at {listener}: {why}"));
        assert_eq!(described, listed, "{listener}");
        for (_, method, path, id) in OPERATIONS {
            let is_described = api["paths"][path][method].is_object();
            let path = path.replace(['{', '}'], "");
            let reply = if method == "get" {
                world.get(caller, door, &path)
            } else {
                world.post_json(caller, door, &path, &serde_json::json!({}))
            };
            let is_there = !["not-found", "method-not-allowed"].contains(&reply.code().as_str());
            assert_eq!(
                is_there,
                is_described,
                "{id} at {listener}: {}",
                reply.code()
            );
        }
    }
}

#[test]
fn the_description_is_valid_and_true() {
    let world = World::new();
    let [data, control, officers] = [
        ("cnss-health", Door::Data),
        ("operator", Door::Control),
        ("officer", Door::Officers),
    ]
    .map(|(name, door)| {
        let reply = world.get(name, door, "/openapi.json");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        reply.ok()
    });
    valid(&data);
    valid(&control);
    valid(&officers);
    let check = |api: &Value, path: &str, method: &str, status: &str, answer: &Value| {
        let content = &api["paths"][path][method]["responses"][status]["content"];
        let media = if status == "200" {
            "application/json"
        } else {
            "application/problem+json"
        };
        fits(api, &content[media]["schema"], answer)
            .unwrap_or_else(|why| panic!("{method} {path} {status}: {why}"));
    };
    let (tokenize, epochs, ask) = (
        "/v1/sectors/{sector}/pseudonyms",
        "/v1/sectors/{sector}/epochs",
        "/v1/reidentifications",
    );
    let batch = |query: &str| {
        let body = serde_json::json!({"scheme": "cnie", "identifiers": ["QO770001", "nonsense"], "purpose": "billing"});
        world.post_json(
            "cnss-health",
            Door::Data,
            &(crate::common::batch_path("health") + query),
            &body,
        )
    };
    check(&data, tokenize, "post", "200", &batch("").ok());
    world.advance("health", false);
    let answer = batch("?previous=true").ok();
    check(&data, tokenize, "post", "200", &answer);
    check(&data, tokenize, "post", "4XX", &batch("?x=1").json());
    check(
        &control,
        epochs,
        "get",
        "200",
        &world
            .get("operator", Door::Control, "/v1/sectors/health/epochs")
            .ok(),
    );
    check(
        &control,
        epochs,
        "get",
        "4XX",
        &world
            .get("officer", Door::Control, "/v1/sectors/health/epochs")
            .json(),
    );
    let known = answer["pseudonyms"][0].as_str().unwrap().to_owned();
    let order = world.sign(&world.order("health", std::slice::from_ref(&known)), QUORUM);
    let list = [known, "nonsense".to_owned()];
    let request = world.request(&order, "health", &list);
    check(
        &control,
        "/v1/releases",
        "post",
        "200",
        &world.release_with(&order, &request, "health", &list).ok(),
    );
    check(
        &officers,
        ask,
        "post",
        "200",
        &world.reidentify(&order, "health", &list).ok(),
    );
    check(
        &officers,
        ask,
        "post",
        "4XX",
        &world.reidentify_with(&order, "", "health", &list).json(),
    );
    // Acts upon that order, and what the sides know of it.
    check(
        &control,
        "/v1/orders",
        "get",
        "200",
        &world.get("operator", Door::Control, "/v1/orders").ok(),
    );
    check(
        &officers,
        "/v1/orders",
        "get",
        "200",
        &world.get("officer", Door::Officers, "/v1/orders").ok(),
    );
    let lodge = |name: &str, door| {
        world.post_json(
            name,
            door,
            "/v1/orders",
            &serde_json::json!({"order": order}),
        )
    };
    check(
        &officers,
        "/v1/orders",
        "post",
        "200",
        &lodge("officer", Door::Officers).ok(),
    );
    check(
        &control,
        "/v1/orders",
        "post",
        "200",
        &lodge("operator", Door::Control).ok(),
    );
    check(
        &control,
        "/v1/orders",
        "post",
        "4XX",
        &lodge("officer", Door::Control).json(),
    );
    let payload = world.order("health", &list[..1]);
    let act = cloison::order::act::ActPayload {
        aud: payload.aud,
        act: cloison::order::act::ActKind::Revoke,
        authority: payload.authority,
        order: payload.id,
        reason: crate::common::id("test"),
        time: crate::common::now(),
        lifts: vec![],
    };
    let act = act.draft().unwrap();
    let act = serde_json::json!({"act": statement::sign::<ActPayload>(&act, "judge-1", &world.key("judge-1")).unwrap()});
    check(
        &officers,
        "/v1/acts",
        "post",
        "200",
        &world
            .post_json("officer", Door::Officers, "/v1/acts", &act)
            .ok(),
    );
    check(
        &control,
        "/v1/acts",
        "post",
        "200",
        &world
            .post_json("operator", Door::Control, "/v1/acts", &act)
            .ok(),
    );
    check(
        &control,
        "/v1/acts",
        "post",
        "4XX",
        &world
            .post_json("officer", Door::Control, "/v1/acts", &act)
            .json(),
    );
    // An inspection, what it opens, and its report.
    let new = "audit inspection new --register register.toml --key secrets/register/commission.pem --kid commission \
               --reference D-1 --controller A --address B --agent C --auditor auditor --object D --sector health --days 1 \
               --client clients/auditor.toml --json";
    let entered = world.cloison(&new.split_whitespace().collect::<Vec<_>>());
    let entered: Value = serde_json::from_slice(&entered.stdout).unwrap();
    check(&control, "/v1/inspections", "post", "200", &entered);
    let get = |path: &str| world.get("auditor", Door::Control, path);
    check(
        &control,
        "/v1/inspections",
        "get",
        "200",
        &get("/v1/inspections").ok(),
    );
    check(
        &control,
        "/v1/audit/entries",
        "get",
        "200",
        &get("/v1/audit/entries").ok(),
    );
    let report = format!(
        "/v1/inspections/{}/report",
        entered["decision"]["id"].as_str().unwrap()
    );
    check(
        &control,
        "/v1/inspections/{id}/report",
        "get",
        "200",
        &get(&report).ok(),
    );
    for path in [
        "/v1/rights/resolutions",
        "/v1/rights/erasures",
        "/v1/inspections/closings",
    ] {
        check(
            &control,
            path,
            "post",
            "4XX",
            &world.post_json("officer", Door::Control, path, &act).json(),
        );
    }
    let digest = data_encoding::HEXLOWER.encode(&world.register().digest);
    let exchange = serde_json::json!({"register": digest, "digest": "", "known": [], "acts": []});
    let path = "/v1/acts/exchange";
    check(
        &control,
        path,
        "post",
        "200",
        &world.post_json("node", Door::Control, path, &exchange).ok(),
    );
    check(
        &control,
        "/v1/resumes",
        "get",
        "200",
        &world.get("node", Door::Control, "/v1/resumes").ok(),
    );
    check(
        &officers,
        "/v1/resumes",
        "get",
        "200",
        &world.get("officer", Door::Officers, "/v1/resumes").ok(),
    );
    let unknown = serde_json::json!({"entry": "00"});
    let refused = world
        .post_json("officer", Door::Officers, "/v1/resumes", &unknown)
        .json();
    check(&officers, "/v1/resumes", "post", "4XX", &refused);
    // Renewal, at both doors, and versions of the sector secret.
    let post = |name: &str, door, path: &str, body: Value| world.post_json(name, door, path, &body);
    for task in ["rewrap", "prove"] {
        let body = serde_json::json!({"register": digest, "task": task});
        check(
            &control,
            "/v1/segments",
            "post",
            "200",
            &post("node", Door::Control, "/v1/segments", body).ok(),
        );
        let body = serde_json::json!({"task": task});
        check(
            &officers,
            "/v1/renewal",
            "post",
            "200",
            &post("officer", Door::Officers, "/v1/renewal", body).ok(),
        );
    }
    let body = serde_json::json!({"task": "rewrap", "after": "nowhere"});
    check(
        &officers,
        "/v1/renewal",
        "post",
        "4XX",
        &post("officer", Door::Officers, "/v1/renewal", body).json(),
    );
    let (path, none) = ("/v1/segments/recipients", serde_json::json!([]));
    let body =
        serde_json::json!({"register": digest, "added": none, "proved": none, "broken": none});
    check(
        &control,
        path,
        "post",
        "200",
        &post("node", Door::Control, path, body).ok(),
    );
    let (path, body) = ("/v1/segments/drop", serde_json::json!({}));
    check(
        &control,
        path,
        "post",
        "200",
        &post("operator", Door::Control, path, body.clone()).ok(),
    );
    check(
        &officers,
        path,
        "post",
        "200",
        &post("officer", Door::Officers, path, body.clone()).ok(),
    );
    check(
        &control,
        "/v1/secrets",
        "get",
        "200",
        &world.get("operator", Door::Control, "/v1/secrets").ok(),
    );
    check(
        &control,
        "/v1/secrets",
        "post",
        "200",
        &post("operator", Door::Control, "/v1/secrets", body).ok(),
    );
    let (path, body) = ("/v1/secrets/confirm", serde_json::json!({"version": 2}));
    check(
        &control,
        path,
        "post",
        "200",
        &post("operator", Door::Control, path, body).ok(),
    );
    let (path, body) = (
        "/v1/secrets/retire",
        serde_json::json!({"version": 1, "dry_run": true}),
    );
    check(
        &control,
        path,
        "post",
        "4XX",
        &post("operator", Door::Control, path, body).json(),
    );
    let body = serde_json::json!({"version": 2});
    check(
        &control,
        path,
        "post",
        "4XX",
        &post("operator", Door::Control, path, body).json(),
    );
    let (path, body) = ("/v1/clock-mark", serde_json::json!({"statement": "none"}));
    check(
        &control,
        path,
        "post",
        "4XX",
        &post("operator", Door::Control, path, body.clone()).json(),
    );
    check(
        &officers,
        path,
        "post",
        "4XX",
        &post("operator", Door::Officers, path, body).json(),
    );
}

/// The same for migrations and retired epochs, which need another register.
#[test]
fn migrations_are_described_as_they_are() {
    use cloison::order::{Continuity, LegalBasis, PseudonymScope};
    let public = cloison::seal::pairs::MigrationKey::derive(&cloison::keys::Key::random());
    let public = data_encoding::HEXLOWER.encode(public.public());
    let world = World::on(move |text| {
        let swap = crate::common::swap;
        let text = swap(
            &text,
            "force-majeure-quorum = 2",
            "force-majeure-quorum = 2\ncontinuity-quorum = 2",
        );
        let text = swap(&text, "epoch-overlap-days = 30", "epoch-overlap-days = 0");
        let may =
            "operations = [\"tokenize\", \"migrate\", \"retire-epoch\"]\npurposes = [\"billing\"]";
        let from = "operations = [\"tokenize\"]\npurposes = [\"billing\"]";
        swap(&text, from, &format!("{may}\nmigration-key = \"{public}\""))
    });
    let vault = world.get("cnss-health", Door::Data, "/openapi.json").ok();
    let node = world.get("officer", Door::Officers, "/openapi.json").ok();
    let check = |api: &Value, path: &str, method: &str, status: &str, answer: &Value| {
        let content = &api["paths"][path][method]["responses"][status]["content"];
        let media = if status == "200" {
            "application/json"
        } else {
            "application/problem+json"
        };
        fits(api, &content[media]["schema"], answer)
            .unwrap_or_else(|why| panic!("{method} {path} {status}: {why}"));
    };
    let card = "QO770001";
    let known = world.health_pseudonyms(&[card]);
    // The vault hands out to nobody before its log was watched.
    world
        .reidentify(
            &world.sign(&world.order("health", &known), QUORUM),
            "health",
            &known,
        )
        .ok();
    world.advance("health", false);
    let order = || {
        let mut order = world.order("health", &known);
        order.basis = LegalBasis::Continuity(Continuity { from: 1, to: 2 });
        order.scope = PseudonymScope::AtMost(5);
        order
    };
    // Past the node, in its two steps.
    let payload = order();
    let signed = world.sign(&payload, QUORUM);
    let digest = data_encoding::HEXLOWER.encode(&world.register().digest);
    let request = world.request(&signed, "health", &[]);
    let asked = serde_json::json!({"order": signed, "request": request, "sector": "health"});
    let page =
        serde_json::json!({"register": digest, "acts": crate::common::NO_ACTS, "asked": asked});
    let path = "/v1/migrations/pages";
    check(
        &vault,
        path,
        "post",
        "200",
        &world.post_json("node", Door::Control, path, &page).ok(),
    );
    check(
        &vault,
        path,
        "post",
        "4XX",
        &world.post_json("node", Door::Control, path, &page).json(),
    );
    let request = cloison::jws::parse(&request, RequestPayload::TYP).unwrap();
    let request: Value = serde_json::from_slice(request.payload()).unwrap();
    let handed = serde_json::json!({
        "register": digest, "order": payload.id, "request": request["request"], "page": 1,
        "identifiers": [{"scheme": "cnie", "value": card}],
    });
    let path = "/v1/migrations/identifiers";
    check(
        &vault,
        path,
        "post",
        "200",
        &world.post_json("node", Door::Control, path, &handed).ok(),
    );
    check(
        &vault,
        path,
        "post",
        "4XX",
        &world.post_json("node", Door::Control, path, &handed).json(),
    );
    // Through the node.
    let signed = world.sign(&order(), QUORUM);
    let asked = serde_json::json!({"order": signed, "request": world.request(&signed, "health", &[]), "sector": "health"});
    let path = "/v1/migrations";
    check(
        &node,
        path,
        "post",
        "200",
        &world
            .post_json("officer", Door::Officers, path, &asked)
            .ok(),
    );
    check(
        &node,
        path,
        "post",
        "4XX",
        &world
            .post_json("officer", Door::Officers, path, &asked)
            .json(),
    );
    // The sector.
    let list = world.get("cnss-health", Door::Data, "/v1/sectors/health/migrations");
    check(
        &vault,
        "/v1/sectors/{sector}/migrations",
        "get",
        "200",
        &list.ok(),
    );
    assert_eq!(list.ok()["migrations"].as_array().unwrap().len(), 2);
    let (path, own) = (
        "/v1/sectors/{sector}/migrations/{order}",
        format!("/v1/sectors/health/migrations/{}", payload.id),
    );
    check(
        &vault,
        path,
        "get",
        "200",
        &world.get("cnss-health", Door::Data, &own).ok(),
    );
    check(
        &vault,
        path,
        "get",
        "4XX",
        &world
            .get("cnss-health", Door::Data, &format!("{own}?before=1"))
            .json(),
    );
    assert_eq!(
        world
            .get("cnss-health", Door::Data, "/v1/sectors/health/migrations/7")
            .code(),
        "unknown-order"
    );
    let has = serde_json::json!({"page": 1});
    check(
        &vault,
        path,
        "post",
        "200",
        &world.post_json("cnss-health", Door::Data, &own, &has).ok(),
    );
    check(
        &vault,
        path,
        "post",
        "4XX",
        &world.post_json("dgi-tax", Door::Data, &own, &has).json(),
    );
    let path = "/v1/sectors/{sector}/epochs/{epoch}/retire";
    let retire = |epoch: u32| {
        let path = format!("/v1/sectors/health/epochs/{epoch}/retire");
        world.post_json(
            "cnss-health",
            Door::Data,
            &path,
            &serde_json::json!({"dry_run": true}),
        )
    };
    check(&vault, path, "post", "200", &retire(1).ok());
    check(&vault, path, "post", "4XX", &retire(2).json());
}
