//! Headers that decide before a request is read: those of web pages of other origins, in a browser
//! that holds somebody's certificate and shows it to whatever asks; and the version that a node
//! states.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use cloison::link::wire::{OLDEST_WIRE, WIRE, WIRE_HEADER};

use crate::common::{Door, Side, World, batch_path, request};

/// What a browser adds to a request that a page makes.
const PAGES: [(&str, &str); 6] = [
    ("origin", "https://elsewhere.example"),
    ("origin", "null"),
    ("origin", ""),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("sec-fetch-site", "same-origin"),
];

#[test]
fn a_page_in_a_browser_does_nothing_and_is_in_the_log() {
    let mut world = World::new();
    let text = format!("{}?scheme=cnie&purpose=billing", batch_path("health"));
    let asked = [
        (
            "cnss-health",
            Door::Data,
            text.as_str(),
            "text/plain",
            "AB123456\n",
        ),
        (
            "operator",
            Door::Control,
            "/v1/sectors/health/epochs",
            "text/plain",
            "{}",
        ),
        ("officer", Door::Officers, "/v1/seal", "text/plain", ""),
        ("officer", Door::Officers, "/nowhere", "text/plain", ""),
    ];
    for (who, door, path, content, body) in asked {
        for header in PAGES {
            let bytes = request(
                "POST",
                path,
                &[("content-type", content), header],
                body.as_bytes(),
            );
            let reply = world.send(who, door, &bytes);
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (403, "browser-refused"),
                "{path} {header:?}"
            );
        }
    }
    let status = world.get("officer", Door::Officers, "/v1/seal").ok();
    assert_eq!(status["sealed"], false, "{status}");
    // What somebody typed into the address bar is their own doing.
    let typed = request("GET", "/v1/seal", &[("sec-fetch-site", "none")], b"");
    assert_eq!(
        world.send("officer", Door::Officers, &typed).ok()["sealed"],
        false
    );
    for side in [Side::Vault, Side::Node] {
        for (header, value) in PAGES {
            let mut socket = TcpStream::connect(world.health(side)).unwrap();
            write!(
                socket,
                "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}: {value}\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 403") && answer.contains("browser-refused"),
                "{answer}"
            );
        }
    }
    assert_eq!(
        world
            .post_json("officer", Door::Officers, "/v1/seal", &json!({}))
            .ok()["sealed"],
        true
    );
    world.stop();
    assert_eq!(world.mappings(), 0);
    for (side, who, times) in [
        (Side::Vault, "cnss-health", 6),
        (Side::Vault, "operator", 6),
        (Side::Node, "officer", 12),
    ] {
        assert_eq!(
            world.refusals(side, who, "request", "browser-refused"),
            times,
            "{who}"
        );
    }
}

#[test]
fn a_node_of_a_version_too_far_apart_is_refused_by_name_and_told_ours() {
    let mut world = World::new();
    let ask = |wire: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], wire].concat();
        let bytes = request("POST", "/v1/releases", &headers, b"{}");
        let reply = world.send("node", Door::Control, &bytes);
        let told = reply.headers.iter().find(|(name, _)| name == WIRE_HEADER);
        let told = told.map(|(_, value)| value.clone());
        (
            reply.status,
            reply.code(),
            told,
            reply.json()["detail"].to_string(),
        )
    };
    let ours = Some(WIRE.to_string());
    let later = (WIRE + 1).to_string();
    for (stated, remedy) in [
        ("1", "upgrade the node"),
        (&later, "upgrade this side"),
        ("", "is no version"),
        ("2, 2", "is no version"),
    ] {
        let (status, code, told, detail) = ask(&[(WIRE_HEADER, stated)]);
        assert_eq!((status, code.as_str()), (409, "wire-version"), "{stated}");
        assert_eq!(told, ours);
        assert!(detail.contains(remedy), "{stated}: {detail}");
    }
    // Ours, and the oldest that we speak too, go on to the question.
    for stated in [WIRE, OLDEST_WIRE] {
        let (_, code, told, _) = ask(&[(WIRE_HEADER, &stated.to_string())]);
        assert_eq!((code.as_str(), told), ("malformed-body", ours.clone()));
    }
    assert_eq!(ask(&[]).2, None, "those who state nothing are told nothing");
    world.stop();
    assert!(world.refusals(Side::Vault, "court", "request", "wire-version") > 0);
}
