//! The pairs of pseudonyms: which identifiers the vault believes, and who gets which pairs.

use cloison::order::{OrderPayload, RequestPayload};
use cloison::seal::pairs::MigrationKey;
use cloison::statement::Statement as _;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::{hand_back, key, order, page, page_past_the_node, waiting, world, world_with};
use crate::common::{Door, QUORUM, Side, World, swap};
use crate::people::{at_vault, persons};

/// A thief with the node's certificate and a page in hand cannot say who somebody is, nor try
/// twice.
#[test]
fn the_vault_believes_no_identifier() {
    let world = world();
    let old = persons(&world, 2);
    let judicial = world.sign(&world.order("health", &old), QUORUM);
    world.reidentify(&judicial, "health", &old).ok();
    world.advance("health", false);
    let payload = order(&world, 10);
    let signed = world.sign(&payload, QUORUM);
    let request = world.request(&signed, "health", &[]);
    let got = page_past_the_node(&world, &signed, &request, "health").ok();
    assert_eq!(got["runs"][0]["records"].as_array().unwrap().len(), 2);
    let id = cloison::jws::parse(&request, RequestPayload::TYP).unwrap();
    let id: Value = serde_json::from_slice(id.payload()).unwrap();
    let id = id["request"].as_str().unwrap().to_owned();
    let card = |value: &str| json!({"scheme": "cnie", "value": value});
    let other = crate::common::uuid4().to_string();
    let right = json!([card("AB000000"), card("AB000001")]);
    assert_eq!(
        hand_back(&world, &payload, &other, 1, &right).code(),
        "request-invalid"
    );
    assert_eq!(
        hand_back(&world, &payload, &id, 2, &right).code(),
        "request-invalid"
    );
    // One guess, and the page is closed: also to the right answer.
    assert_eq!(
        hand_back(
            &world,
            &payload,
            &id,
            1,
            &json!([card("AB000000"), card("AB000007")])
        )
        .code(),
        "mapping-invalid"
    );
    for identifiers in [
        json!([card("AB000000"), card("AB000001")]),
        json!([card("AB000001"), card("AB000000")]),
    ] {
        assert_eq!(
            hand_back(&world, &payload, &id, 1, &identifiers).code(),
            "request-invalid"
        );
    }
    assert_eq!(waiting(&world), 0);
    // The officer asks again, through the node, and all is well; nothing is counted twice.
    assert_eq!(page(&world, &signed).ok()["progress"]["migrated"], 2);
    assert_eq!(at_vault(&world, &payload).unwrap()["life"]["used"], 2);
}

/// Where a sector separates controllers, each gets the pairs of its own pseudonyms; and all of them
/// must have a key.
#[test]
fn pairs_go_to_the_controller_whose_they_are() {
    let ((dgi, dgi_public), (rsu, rsu_public)) = (key(), key());
    let also = |text: String| {
        swap(
            &text,
            "sectors = [\"social\"]",
            "sectors = [\"social\", \"tax\"]",
        )
    };
    let may = |text: &str, purpose: &str, public: &str| {
        let from = format!("operations = [\"tokenize\"]\npurposes = [\"{purpose}\"]");
        let to = format!(
            "operations = [\"tokenize\", \"migrate\"]\npurposes = [\"{purpose}\"]\nmigration-key = \"{public}\""
        );
        swap(text, &from, &to)
    };
    let mut world = world_with(move |text| may(&also(text), "assessment", &dgi_public));
    let cards = ["AB1", "AB2"];
    let own = world.tokenize("dgi-tax", "tax", "cnie", None, &cards);
    let other = world.tokenize("rsu-social", "tax", "cnie", None, &cards[..1]);
    world.advance("tax", false);
    let payload = OrderPayload {
        sectors: vec!["tax".to_owned()],
        ..order(&world, 10)
    };
    let signed = world.sign(&payload, QUORUM);
    let ask = |world: &World| {
        let request = world.request(&signed, "tax", &[]);
        let body = json!({"order": signed, "request": request, "sector": "tax"});
        world.post_json("officer", Door::Officers, "/v1/migrations", &body)
    };
    let refused = ask(&world);
    assert_eq!(refused.code(), "no-migration-key");
    assert!(
        refused.text().contains("controller rsu"),
        "{}",
        refused.text()
    );
    world.stop();
    world.edit_register(|text| may(&text, "aid", &rsu_public));
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    assert_eq!(ask(&world).ok()["progress"]["migrated"], 3);
    for (client, secret, old) in [("dgi-tax", dgi, own), ("rsu-social", rsu, other)] {
        let path = format!("/v1/sectors/tax/migrations/{}", payload.id);
        let pages = world.get(client, Door::Data, &path).ok();
        let sealed = BASE64URL_NOPAD
            .decode(pages["pages"][0]["sealed"].as_str().unwrap().as_bytes())
            .unwrap();
        let (head, lines) = MigrationKey::derive(&secret).open(&sealed).unwrap();
        assert_eq!(
            (head.from, head.to, head.page, head.pairs as usize),
            (1, 2, 1, old.len())
        );
        let new = world.tokenize(client, "tax", "cnie", None, &cards[..old.len()]);
        let mut wanted: Vec<String> = old
            .iter()
            .zip(&new)
            .map(|(old, new)| format!("{old},{new}"))
            .collect();
        wanted.sort();
        let mut lines: Vec<_> = lines.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, wanted);
    }
}
