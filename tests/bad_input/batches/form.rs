//! Bodies, content types and queries that mean nothing.

use super::right;
use crate::common::{World, batch_path};
use crate::watch::{Left, Watch};

#[test]
fn what_is_no_batch() {
    let mut watch = Watch::new(World::new());
    let name = watch.secret("QZ7700011").to_owned();
    let deep = format!(
        r#"{{"scheme":"cnie","identifiers":["{name}"],"purpose":{}1{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let wrong = [
        String::new(),
        " ".to_owned(),
        name.clone(),
        format!("{name}\n"),
        "null".to_owned(),
        "[]".to_owned(),
        format!(r#""{name}""#),
        // Broken off, or with something behind it.
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"]}}}}"#),
        format!(
            r#"{{"scheme":"cnie","identifiers":["{name}"]}}{{"scheme":"cnie","identifiers":["{name}"]}}"#
        ),
        format!("\u{feff}{{\"scheme\":\"cnie\",\"identifiers\":[\"{name}\"]}}"),
        // A list in place of an object: the members would be told by their place.
        format!(r#"["cnie",["{name}"],"billing",null]"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"domain":[1,null]}}"#),
        // Members that are missing, unknown, of another type, or there twice.
        r#"{"scheme":"cnie"}"#.to_owned(),
        format!(r#"{{"identifiers":["{name}"]}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"{name}":1}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"domain":{{"{name}":1}}}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":"{name}"}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":{{"{name}":1}}}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}",nul]}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}",[}}"#),
        format!(r#"{{"scheme":["{name}"],"identifiers":["{name}"]}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"purpose":7}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"domain":{{"epoch":"{name}"}}}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"domain":{{"epoch":-1}}}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"domain":{{"epoch":4294967296}}}}"#),
        format!(r#"{{"scheme":"cnie","scheme":"cnie","identifiers":["{name}"]}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"identifiers":["{name}"]}}"#),
        format!(
            r#"{{"scheme":"cnie","identifiers":["{name}"],"purpose":"billing","purpose":"billing"}}"#
        ),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}"],"domain":{{"epoch":1,"epoch":1}}}}"#),
        // Strings that JSON does not have.
        format!(r#"{{"scheme":"cnie","identifiers":["{name}\ud800"]}}"#),
        format!(r#"{{"scheme":"cnie","identifiers":["{name}\x"]}}"#),
        format!("{{\"scheme\":\"cnie\",\"identifiers\":[\"{name}\n\"]}}"),
        deep,
    ];
    for body in &wrong {
        watch.refuse_json(
            "cnss-health",
            "health",
            body.as_bytes(),
            400,
            "malformed-body",
        );
    }
    let not_utf8 = [
        &br#"{"scheme":"cnie","identifiers":["QZ7700011"#[..],
        b"\xff\"]}",
    ]
    .concat();
    watch.refuse_json("cnss-health", "health", &not_utf8, 400, "malformed-body");
    watch.finish(Left::default());
}

#[test]
fn of_another_content_type() {
    let mut watch = Watch::new(World::new());
    let body = right(watch.secret("QZ7700012"));
    let path = batch_path("health");
    for content_type in [
        "text/html",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/jsonl",
        "text/json",
        "text/plain; charset=iso-8859-1",
        "",
        "QZ7700012",
    ] {
        watch.refuse(
            &path,
            &[("content-type", content_type)],
            &body,
            415,
            "unsupported-media-type",
        );
    }
    watch.refuse(&path, &[], &body, 415, "unsupported-media-type");
    let packed = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    watch.refuse(&path, &packed, &body, 415, "unsupported-media-type");
    watch.finish(Left::default());
}

#[test]
fn with_queries_that_mean_nothing() {
    let mut watch = Watch::new(World::new());
    let name = watch.secret("QZ7700014").to_owned();
    let (json, text) = (
        [("content-type", "application/json")],
        [("content-type", "text/plain")],
    );
    let queries = [
        "?previous",
        "?previous=",
        "?previous=1",
        "?previous=yes",
        "?previous=true&previous=true",
    ];
    for query in queries {
        let path = batch_path("health") + query;
        watch.refuse(&path, &json, &right(&name), 400, "bad-parameter");
    }
    for query in [
        format!("?{name}=1"),
        format!("?previous={name}"),
        "?scheme=cnie".into(),
        format!("?x={name}"),
    ] {
        watch.refuse(
            &(batch_path("health") + &query),
            &json,
            &right(&name),
            400,
            "bad-parameter",
        );
    }
    for query in [
        "".to_owned(),
        "?purpose=billing".to_owned(),
        format!("?scheme=cnie&identifier={name}"),
        "?scheme=cnie&scheme=cnie".to_owned(),
        format!("?scheme=cnie&epoch={name}"),
        "?scheme=cnie&epoch=-1".to_owned(),
        "?scheme=cnie&previous=no".to_owned(),
    ] {
        watch.refuse(
            &(batch_path("health") + &query),
            &text,
            name.as_bytes(),
            400,
            "bad-parameter",
        );
    }
    for (query, status, code) in [
        (format!("?scheme={name}"), 422, "unknown-scheme"),
        (
            format!("?scheme=cnie&purpose={name}"),
            422,
            "unknown-purpose",
        ),
        ("?scheme=cnie&purpose=".into(), 422, "unknown-purpose"),
        ("?scheme=cnie&epoch=2".into(), 409, "domain-closed"),
        (format!("?scheme=cnie&period={name}"), 409, "domain-closed"),
    ] {
        watch.refuse(
            &(batch_path("health") + &query),
            &text,
            name.as_bytes(),
            status,
            code,
        );
    }
    watch.finish(Left::default());
}
