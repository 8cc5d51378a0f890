//! Whether a description is valid OpenAPI 3.1, and whether a value is what a schema says.

use std::collections::BTreeSet;

use serde_json::Value;

/// A Python validator of OpenAPI documents would bring twenty packages; these are the rules of the
/// 3.1 specification that a generator can break.
pub(super) fn valid(api: &Value) {
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
pub(super) fn fits(api: &Value, schema: &Value, value: &Value) -> Result<(), String> {
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
