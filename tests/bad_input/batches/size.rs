//! Too much, nothing, or a body that breaks off.

use serde_json::json;

use super::right;
use crate::common::{Door, Side, World, batch_path, request};
use crate::watch::{Left, Watch};

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
