//! Requests to the data listener that are refused as a whole.

use serde_json::json;

use crate::common::{Door, Side, World, batch_path, request, swap};
use crate::watch::{Left, Watch};

/// A request that would be right.
fn right(identifier: &str) -> Vec<u8> {
    json!({"scheme": "cnie", "identifiers": [identifier], "purpose": "billing"})
        .to_string()
        .into_bytes()
}

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
fn for_what_the_client_may_not_have() {
    let mut watch = Watch::new(World::new());
    let name = watch.secret("QZ7700013").to_owned();
    let batch = |scheme: &str, purpose: Option<&str>| {
        let mut batch = json!({"scheme": scheme, "identifiers": [name]});
        if let Some(purpose) = purpose {
            batch["purpose"] = purpose.into();
        }
        batch.to_string().into_bytes()
    };
    let known = batch("cnie", Some("billing"));

    // A sector that is somebody else's looks like one that does not exist, to the byte.
    let [others, none] = ["tax", "nowhere"].map(|sector| {
        let reply = watch.post(
            "cnss-health",
            Door::Data,
            &batch_path(sector),
            "application/json",
            &known,
        );
        watch.refused(
            (Side::Vault, "cnss-health", "tokenize"),
            &reply,
            404,
            "unknown-sector",
        );
        (
            reply
                .headers
                .into_iter()
                .filter(|(name, _)| name != "date")
                .collect::<Vec<_>>(),
            reply.body,
        )
    });
    assert_eq!(others, none);
    // A child of the client's sector is not the client's, nor are other spellings.
    let others = [
        "health.chu-rabat",
        "health.chu-rabat.study-42",
        "Health",
        "health.",
        "%68ealth%20",
        "health%00",
        &name,
    ];
    for sector in others {
        watch.refuse_json("cnss-health", sector, &known, 404, "unknown-sector");
    }
    watch.refuse_json(
        "chu-study",
        "health",
        &batch("cnie", Some("care")),
        404,
        "unknown-sector",
    );
    // What is no text at all cannot be a sector's name.
    watch.refuse_json("cnss-health", "%FF%FE", &known, 404, "unknown-sector");

    for scheme in ["", "CNIE", "nonsense", "cnie ", &name] {
        watch.refuse_json(
            "cnss-health",
            "health",
            &batch(scheme, Some("billing")),
            422,
            "unknown-scheme",
        );
    }
    watch.refuse_json(
        "dgi-tax",
        "tax",
        &batch("passport", Some("assessment")),
        422,
        "unknown-scheme",
    );

    for purpose in ["", "nonsense", "Billing", "care", "assessment", &name] {
        watch.refuse_json(
            "cnss-health",
            "health",
            &batch("cnie", Some(purpose)),
            422,
            "unknown-purpose",
        );
    }
    // The client has the purpose, and the sector has not.
    watch.refuse_json(
        "chu-study",
        "health.chu-rabat",
        &batch("cnie", Some("research")),
        422,
        "unknown-purpose",
    );
    // The sector separates purposes, and none is named.
    watch.refuse_json(
        "rsu-social",
        "social",
        &batch("cnie", None),
        422,
        "unknown-purpose",
    );

    let domain = |domain: serde_json::Value| {
        json!({"scheme": "cnie", "identifiers": [name], "domain": domain})
            .to_string()
            .into_bytes()
    };
    for closed in [
        json!({"epoch": 0}),
        json!({"epoch": 2}),
        json!({"epoch": 33}),
        json!({"period": "2026"}),
    ] {
        watch.refuse_json(
            "cnss-health",
            "health",
            &domain(closed),
            409,
            "domain-closed",
        );
    }
    watch.refuse_json(
        "cnss-health",
        "health",
        &domain(json!({"period": name})),
        409,
        "domain-closed",
    );
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

#[test]
fn too_much_or_nothing() {
    const MAX_BODY: usize = 16 << 20;
    let mut watch = Watch::new(World::new());
    let name = watch.secret("QZ7700015").to_owned();
    let (json, text) = (
        [("content-type", "application/json")],
        [("content-type", "text/plain")],
    );
    let text_path = batch_path("health") + "?scheme=cnie&purpose=billing";

    // Nothing.
    watch.refuse(
        &batch_path("health"),
        &json,
        br#"{"scheme":"cnie","identifiers":[]}"#,
        422,
        "empty-batch",
    );
    for empty in [&b""[..], b"\n"] {
        watch.refuse(&text_path, &text, empty, 422, "empty-batch");
    }

    // One item too many; the limit stands in the answer.
    let most = cloison::tokenize::MAX_ITEMS;
    let many = vec![name.as_str(); most + 1];
    let too_many = json!({"scheme": "cnie", "identifiers": many, "purpose": "billing"}).to_string();
    let lines = many.join("\n");
    for (path, headers, body) in [
        (&batch_path("health"), &json, &too_many),
        (&text_path, &text, &lines),
    ] {
        let reply = watch.send(
            "cnss-health",
            Door::Data,
            &request("POST", path, headers, body.as_bytes()),
        );
        watch.refused(
            (Side::Vault, "cnss-health", "tokenize"),
            &reply,
            413,
            "too-large",
        );
        assert!(
            reply.json()["detail"].as_str().unwrap().contains("100000"),
            "{}",
            reply.text()
        );
    }
    // As many as fit into a body cost no more memory than one too many.
    let empty = b"\n".repeat(MAX_BODY);
    watch.refuse(&text_path, &text, &empty, 413, "too-large");
    let hollow = format!(
        r#"{{"scheme":"cnie","identifiers":[{}""]}}"#,
        r#""","#.repeat(MAX_BODY / 3 - 50)
    );
    watch.refuse(
        &batch_path("health"),
        &json,
        hollow.as_bytes(),
        413,
        "too-large",
    );

    // One byte too many: announced, in pieces, or only announced.
    let long = [right(&name), b" ".repeat(MAX_BODY + 1 - right(&name).len())].concat();
    let pieces = chunked(&long);
    for (headers, body) in [
        (&json[..], &long),
        (&[json[0], ("transfer-encoding", "chunked")], &pieces),
    ] {
        let bytes = request("POST", &batch_path("health"), headers, body);
        let reply = watch.send("cnss-health", Door::Data, &bytes);
        watch.refused(
            (Side::Vault, "cnss-health", "tokenize"),
            &reply,
            413,
            "too-large",
        );
        assert!(
            reply.json()["detail"]
                .as_str()
                .unwrap()
                .contains("16777216"),
            "{}",
            reply.text()
        );
    }
    let length = (MAX_BODY + 1).to_string();
    let polite = [
        json[0],
        ("content-length", length.as_str()),
        ("expect", "100-continue"),
    ];
    watch.refuse(&batch_path("health"), &polite, b"", 413, "too-large");
    watch.finish(Left::default());
}

/// A body in pieces (RFC 9112, section 7.1).
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 100);
    for piece in body.chunks(60_000) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[test]
fn from_strangers() {
    // The hospital's entry is taken out of the register; its certificate is still good.
    let world = World::on(|text| {
        let at = text.find("\n[[client]]\nid = \"chu-study\"").unwrap();
        let end = at + text[at..].find("\n[[operator]]").unwrap();
        swap(&text, &text[at..end], "")
    });
    let elsewhere = World::asleep();
    let mut watch = Watch::new(world);
    let name = watch.secret("QZ7700016").to_owned();
    let bytes = request(
        "POST",
        &batch_path("health"),
        &[("content-type", "application/json")],
        &right(&name),
    );

    let (vault, node) = (Side::Vault, Side::Node);
    // Refused within the handshake: nothing is asked, nobody is told anything but that the key is
    // not known.
    for (door, side) in [
        (Door::Data, vault),
        (Door::Control, vault),
        (Door::Officers, node),
    ] {
        let error = watch
            .connect(Some("chu-study"), door)
            .exchange(&bytes)
            .unwrap_err();
        let alert = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let denied = rustls::Error::AlertReceived(rustls::AlertDescription::AccessDenied);
        assert_eq!(alert, Some(&denied), "{door:?}: {error}");
        watch.entry(side, "unknown", "connect", "unknown-client");
    }
    let epochs = "/v1/sectors/health/epochs";
    let asked = json!({"order": "", "request": "", "sector": "health", "pseudonyms": [name]});
    let release = json!({"register": "", "asked": asked});
    let none = json!({});
    for (who, door, path, body, side, actor, operation, status, code) in [
        // Known, at the wrong door.
        (
            "operator",
            Door::Data,
            batch_path("health").as_str(),
            &none,
            vault,
            "operator",
            "tokenize",
            403,
            "forbidden",
        ),
        (
            "node",
            Door::Data,
            &batch_path("health"),
            &none,
            vault,
            "court",
            "tokenize",
            403,
            "forbidden",
        ),
        (
            "officer",
            Door::Data,
            &batch_path("health"),
            &none,
            vault,
            "officer",
            "tokenize",
            403,
            "forbidden",
        ),
        (
            "cnss-health",
            Door::Control,
            epochs,
            &none,
            vault,
            "cnss-health",
            "epoch-advance",
            403,
            "forbidden",
        ),
        (
            "node",
            Door::Control,
            epochs,
            &none,
            vault,
            "court",
            "epoch-advance",
            403,
            "forbidden",
        ),
        (
            "cnss-health",
            Door::Control,
            "/v1/releases",
            &release,
            vault,
            "cnss-health",
            "release",
            403,
            "forbidden",
        ),
        (
            "operator",
            Door::Control,
            "/v1/releases",
            &release,
            vault,
            "operator",
            "release",
            403,
            "forbidden",
        ),
        (
            "officer",
            Door::Control,
            "/v1/releases",
            &release,
            vault,
            "officer",
            "release",
            403,
            "forbidden",
        ),
        (
            "cnss-health",
            Door::Officers,
            "/v1/reidentifications",
            &asked,
            node,
            "cnss-health",
            "reidentify",
            403,
            "forbidden",
        ),
        (
            "operator",
            Door::Officers,
            "/v1/reidentifications",
            &asked,
            node,
            "operator",
            "reidentify",
            403,
            "forbidden",
        ),
        (
            "node",
            Door::Officers,
            "/v1/reidentifications",
            &asked,
            node,
            "court",
            "reidentify",
            403,
            "forbidden",
        ),
    ] {
        let reply = watch.post_json(who, door, path, body);
        watch.refused((side, actor, operation), &reply, status, code);
    }
    let reply = watch.get("dgi-tax", Door::Control, epochs);
    watch.refused((vault, "dgi-tax", "epoch-list"), &reply, 403, "forbidden");

    // No certificate, or one of another deployment: the handshake fails, and nobody reads a word.
    for (door, side) in [
        (Door::Data, vault),
        (Door::Control, vault),
        (Door::Officers, node),
    ] {
        assert!(
            watch.connect(None, door).exchange(&bytes).is_err(),
            "{door:?} lets in whoever shows nothing"
        );
        let identity = (
            elsewhere.certificate("cnss-health"),
            elsewhere.path("secrets/tls/cnss-health.key"),
        );
        let mut foreign = crate::common::Stream::connect(
            watch.address(door),
            &watch.server_certificate(door),
            Some(identity),
        );
        assert!(
            foreign.exchange(&bytes).is_err(),
            "{door:?} lets in whoever has a certificate of another deployment"
        );
        watch.entry(side, "unknown", "connect", "unknown-client");
    }

    // Paths and methods that are none.
    for (method, path, status, code) in [
        ("GET", batch_path("health"), 405, "method-not-allowed"),
        ("PUT", batch_path("health"), 405, "method-not-allowed"),
        ("POST", format!("/v1/sectors/{name}"), 404, "not-found"),
        ("POST", format!("/{name}"), 404, "not-found"),
        ("POST", "/v1/releases".to_owned(), 404, "not-found"),
        ("GET", epochs.to_owned(), 404, "not-found"),
        ("GET", "/metrics".to_owned(), 404, "not-found"),
    ] {
        let reply = watch.send("cnss-health", Door::Data, &request(method, &path, &[], b""));
        watch.unlogged(&reply, status, code);
    }
    watch.finish(Left::default());
}

#[test]
fn that_break_off() {
    let mut watch = Watch::new(World::new());
    let name = watch.secret("QZ7700017").to_owned();
    let body = right(&name);
    let head = |length: usize| {
        let length = length.to_string();
        request(
            "POST",
            &batch_path("health"),
            &[
                ("content-type", "application/json"),
                ("content-length", &length),
            ],
            b"",
        )
    };
    // Whoever goes away in the middle of a body gets no answer and leaves nothing.
    let mut stream = watch.connect(Some("cnss-health"), Door::Data);
    stream.write(&head(body.len() + 10)).unwrap();
    stream.write(&body).unwrap();
    drop(stream);
    // A second request behind a shorter length than the body's is no request, and the first one is
    // read as announced.
    let mut stream = watch.connect(Some("cnss-health"), Door::Data);
    let reply = stream
        .exchange(&[head(body.len() - 1), body.clone()].concat())
        .unwrap();
    watch.refused(
        (Side::Vault, "cnss-health", "tokenize"),
        &reply,
        400,
        "malformed-body",
    );
    // Length and pieces at once, two lengths, and a head without an end: refused by the parser,
    // whoever wrote it.
    for lines in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: QZ7700017\r\n",
        "transfer-encoding: chunked, QZ7700017\r\n",
    ] {
        let bytes = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{lines}\r\n0\r\n\r\n",
            batch_path("health")
        );
        let answer = watch
            .connect(Some("cnss-health"), Door::Data)
            .exchange(bytes.as_bytes());
        let Ok(reply) = answer else { continue };
        assert_eq!(reply.status, 400, "{lines}");
        assert!(!reply.text().contains(&name));
        if reply.header("content-type").is_some() {
            // It got as far as the handler, as an empty body.
            watch.refused(
                (Side::Vault, "cnss-health", "tokenize"),
                &reply,
                400,
                "malformed-body",
            );
        }
    }
    let endless = [
        request("POST", &batch_path("health"), &[], b""),
        b"x-fill: QZ7700017\r\n".repeat(4_000),
    ]
    .concat();
    let endless = String::from_utf8(endless)
        .unwrap()
        .replace("\r\n\r\n", "\r\n");
    if let Ok(reply) = watch
        .connect(Some("cnss-health"), Door::Data)
        .exchange(endless.as_bytes())
    {
        assert_eq!(reply.status, 431);
        assert!(!reply.text().contains(&name));
    }
    // The vault still serves, and serves the very same body.
    let answer = watch
        .post(
            "cnss-health",
            Door::Data,
            &batch_path("health"),
            "application/json",
            &body,
        )
        .ok();
    watch.secrets(crate::common::texts(&answer["pseudonyms"]));
    assert!(watch.is_running(Side::Vault));
    // The broken body was refused as well, unless the vault first noticed that nobody would hear
    // it.
    watch.perhaps(Side::Vault, "cnss-health", "tokenize", "malformed-body");
    watch.finish(Left {
        mappings: 1,
        quota: &[("cnss", 1)],
        ..Left::default()
    });
}
