//! Answers of the doors, each held against its description.

use cloison::order::act::ActPayload;
use cloison::statement::{self, Statement as _};
use serde_json::Value;

use super::validity::{fits, valid};
use crate::common::{Door, QUORUM, World};

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
