//! Answers about migrations and retired epochs, held against their description.

use cloison::order::RequestPayload;
use cloison::statement::Statement as _;
use serde_json::Value;

use super::validity::fits;
use crate::common::{Door, QUORUM, World};

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
