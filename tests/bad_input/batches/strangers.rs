//! Callers whom the register does not know.

use serde_json::json;

use super::right;
use crate::common::{Door, Side, World, batch_path, request, swap};
use crate::watch::{Left, Watch};

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
