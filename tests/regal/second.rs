//! A second authority is added to a sector, gets what was sealed before, and stays when the first
//! one leaves; and segments that the vault signed with a key that it no longer has.

use cloison::register::Suite;
use cloison::store::FirstStart;
use ed25519_dalek::SigningKey;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::common::{Door, QUORUM, Side, World, free_ports, id, sign_with, swap};
use super::people::{codes, persons, quiet};
use super::renew::{complains, keys_of, list_beside, new_key, records, renew, renewed, table};

/// Two sector systems of the demo whose certificates the ministry's node and officer have here.
const NODE: &str = "rsu-social";
const OFFICER: &str = "dgi-tax";
const MINISTRY: [&str; 2] = ["--client", "clients/ministry.toml"];
const COURT: [&str; 2] = ["--client", "clients/officer.toml"];

/// The signing key of one of the ministry's people.
fn key_of(person: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(person).into())
}

/// Cuts a client's table out of the register's text; its certificate.
fn without_client(text: &str, client: &str) -> (String, String) {
    let from = text
        .find(&format!("\n[[client]]\nid = \"{client}\""))
        .unwrap();
    let to = from + 1 + text[from + 1..].find("\n[[").unwrap();
    let certificate = text[from..to]
        .lines()
        .find_map(|line| line.strip_prefix("certificate = "))
        .unwrap();
    (
        format!("{}{}", &text[..from], &text[to..]),
        certificate.to_owned(),
    )
}

/// Enters the ministry in the register, competent for health, and writes its node's configuration;
/// the node's health port.
fn enter_the_ministry(world: &World, key: &str) -> u16 {
    let public = new_key(world, key, Suite::XWing);
    let made = ["audit", "checkpoint"].map(|kind| {
        let output = world.cloison(&[
            "secrets",
            "new",
            kind,
            &format!("file:secrets/ministry-{kind}.secret"),
        ]);
        assert!(output.status.success());
        String::from_utf8(output.stdout)
            .unwrap()
            .split_whitespace()
            .last()
            .unwrap()
            .to_owned()
    });
    let people = |kid: &str| data_encoding::HEXLOWER.encode(key_of(kid).verifying_key().as_bytes());
    world.edit_register(|text| {
        let (text, node) = without_client(&text, NODE);
        let (text, officer) = without_client(&text, OFFICER);
        let text = swap(&text, "authorities = [\"court\"]", "authorities = [\"court\", \"ministry\"]");
        let authority = format!(
            "\n[[authority]]\nid = \"ministry\"\nname = \"Ministry\"\nnode = {node}\n\
             checkpoint-key = \"{}\"\nquorum = 2\nmax-hours = 720\n{}\
             \n[[authority.approver]]\nid = \"minister\"\nname = \"M\"\nbody = \"ministry\"\nkey = \"{}\"\n\
             \n[[authority.approver]]\nid = \"ombudsman\"\nname = \"O\"\nbody = \"ombudsman\"\nkey = \"{}\"\n\
             \n[[authority.officer]]\nid = \"clerk\"\nname = \"C\"\nkey = \"{}\"\ncertificate = {officer}\n",
            made[1],
            table(key, Suite::XWing, &public),
            people("minister"),
            people("ombudsman"),
            people("clerk"),
        );
        text + &authority
    });
    let [control, health] = free_ports();
    let text = world.read("node.toml");
    let (court_control, court_health) = (world.address(Door::Officers), world.health(Side::Node));
    let text = swap(
        &text,
        &court_control.to_string(),
        &format!("127.0.0.1:{control}"),
    );
    let text = swap(
        &text,
        &court_health.to_string(),
        &format!("127.0.0.1:{health}"),
    );
    let text = swap(&text, "authority = \"court\"", "authority = \"ministry\"");
    let text = swap(&text, "data/node", "data/ministry");
    world.write("data/ministry.first-start", FirstStart::NOTE);
    let text = swap(
        &text,
        "secrets/authority/audit.secret",
        "secrets/ministry-audit.secret",
    );
    let text = swap(
        &text,
        "secrets/authority/checkpoint.pem",
        "secrets/ministry-checkpoint.secret",
    );
    let text = swap(
        &text,
        "secrets/authority/court-2026.secret",
        &format!("secrets/authority/{key}.secret"),
    );
    let text = swap(&text, "id = \"court-2026\"", &format!("id = \"{key}\""));
    let (server, vault) = text.split_at(text.find("[vault]").unwrap());
    let vault = vault.replace("tls/node.pem", &format!("tls/{NODE}.pem"));
    let vault = vault.replace("secrets/tls/node.key", &format!("secrets/tls/{NODE}.key"));
    world.write("ministry.toml", &format!("{server}{vault}"));
    let client = world.read(&format!("clients/{OFFICER}.toml"));
    let url = client
        .lines()
        .find(|line| line.starts_with("url = "))
        .unwrap();
    let court = world.read("clients/officer.toml");
    let theirs = court
        .lines()
        .find(|line| line.starts_with("url = "))
        .unwrap();
    let theirs = theirs.replace(
        &format!(":{}", court_control.port()),
        &format!(":{control}"),
    );
    let client = swap(&client, "tls/vault.pem", "tls/node.pem");
    world.write("clients/ministry.toml", &swap(&client, url, &theirs));
    health
}

/// What the vault signed before its segment key was renewed is its own only where its configuration
/// says so.
#[test]
fn segments_of_an_earlier_segment_key() {
    let mut world = quiet();
    let asked = persons(&world, 2);
    let former = cloison::config::NodeConfig::load(&world.path("node.toml"))
        .unwrap()
        .segment_keys[0];
    let former = format!(
        "\n[[segment-key]]\npublic = \"{}\"\n",
        data_encoding::HEXLOWER.encode(former.as_bytes())
    );
    let output = world.cloison(&[
        "secrets",
        "new",
        "segment",
        "file:secrets/vault/segment-2.secret",
    ]);
    let public = String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap()
        .to_owned();
    world.replace(
        "vault.toml",
        "secrets/vault/segment.pem",
        "secrets/vault/segment-2.secret",
    );
    let present = format!("\n[[segment-key]]\npublic = \"{public}\"\n");
    world.write("node.toml", &(world.read("node.toml") + &present));
    list_beside(&mut world, "court-2027", Suite::X25519);
    complains(
        &renew(&world, &[], COURT),
        "not signed by a key that both sides know",
    );
    world.write("vault.toml", &(world.read("vault.toml") + &former));
    world.restart();
    assert_eq!(renewed(&renew(&world, &[], COURT))["added"], 1);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    assert_eq!(
        codes(&world.reidentify(&order, "health", &asked).ok()),
        [None, None]
    );
}

/// Orders are known by authority and id, so that another authority gains nothing by an id that it
/// has read; and a node brings its own cosignatures, nobody else's.
#[test]
fn another_authority_cannot_take_an_orders_id() {
    let mut world = quiet();
    let asked = persons(&world, 2);
    world.stop();
    let health = enter_the_ministry(&world, "ministry-2026");
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let ministry = world.start_node("ministry.toml", health);
    let court = world.order("health", &asked);
    let theirs = cloison::order::OrderPayload {
        authority: id("ministry"),
        officers: vec![id("clerk")],
        ..court.clone()
    };
    let order = sign_with(
        &theirs,
        &["minister", "ombudsman"].map(|kid| (kid, key_of(kid))),
    );
    let request = world.request_by(
        "clerk",
        &key_of("clerk"),
        &order,
        "health",
        &asked,
        jiff::Timestamp::now(),
    );
    let body = json!({"order": order, "request": request, "sector": "health", "pseudonyms": asked});
    let _: serde_json::Value = world
        .client("ministry")
        .post_json("/v1/reidentifications", &body)
        .unwrap();
    // The court's own order of that id is another one, with a count of its own.
    let order = world.sign(&court, QUORUM);
    assert_eq!(
        codes(&world.reidentify(&order, "health", &asked).ok()),
        [None, None]
    );
    let views = super::people::at_vault_all(&world);
    let of = |authority: &str| {
        views
            .iter()
            .find(|view| view["authority"] == authority)
            .unwrap()["life"]["used"]
            .clone()
    };
    assert_eq!((of("court"), of("ministry")), (json!(2), json!(2)));
    // An act of one is none upon the other's.
    let revoke = super::people::act(
        &world,
        &court,
        cloison::order::act::ActKind::Revoke,
        &["judge-1"],
    );
    super::people::to_vault(&world, &revoke).ok();
    let views = super::people::at_vault_all(&world);
    let state = |authority: &str| {
        views
            .iter()
            .find(|view| view["authority"] == authority)
            .unwrap()["state"]
            .clone()
    };
    assert_eq!(
        (state("court"), state("ministry")),
        (json!("revoked"), json!("exhausted"))
    );

    // A checkpoint of the vault's with the court's cosignature, brought by either node.
    let shown = world
        .get("node", Door::Control, "/checkpoint")
        .text()
        .to_owned();
    let (text, _) = shown.split_once("\n\n").unwrap();
    let key =
        cloison::keys::file::read_signing_key(&world.path("secrets/authority/checkpoint.pem"))
            .unwrap();
    let time = jiff::Timestamp::now().as_second() as u64;
    let line =
        cloison::tlog::note::cosign("cloison/test/node/court", &key, &format!("{text}\n"), time);
    let note = format!("{text}\n\n{line}");
    let bring = |name: &str| {
        world
            .post(
                name,
                Door::Control,
                "/v1/audit/cosignatures",
                "text/plain; charset=utf-8",
                note.as_bytes(),
            )
            .status
    };
    assert_eq!(bring("node"), 200, "its own, again: nothing goes back");
    assert_eq!(bring(NODE), 400, "another's");
    ministry.stop();
}

#[test]
fn a_second_authority_comes_and_the_first_one_goes() {
    let mut world = quiet();
    let asked = persons(&world, 3);
    world.stop();
    let health = enter_the_ministry(&world, "ministry-2026");
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let ministry = world.start_node("ministry.toml", health);

    let payload = cloison::order::OrderPayload {
        authority: id("ministry"),
        officers: vec![id("clerk")],
        ..world.order("health", &asked)
    };
    let ask = |world: &World| {
        let order = sign_with(
            &payload,
            &["minister", "ombudsman"].map(|kid| (kid, key_of(kid))),
        );
        let request = world.request_by(
            "clerk",
            &key_of("clerk"),
            &order,
            "health",
            &asked,
            jiff::Timestamp::now(),
        );
        let body =
            json!({"order": order, "request": request, "sector": "health", "pseudonyms": asked});
        let clerk = world.client("ministry");
        let answer: serde_json::Value = clerk.post_json("/v1/reidentifications", &body).unwrap();
        codes(&answer)
    };
    let invalid = vec![Some("mapping-invalid".to_owned()); 3];
    assert_eq!(
        ask(&world),
        invalid,
        "what was sealed before is not sealed to it"
    );
    // It cannot help itself; the first one can help it.
    complains(
        &renew(&world, &[], MINISTRY),
        "sealed to none of this authority",
    );
    let done = renewed(&renew(&world, &[], COURT));
    assert_eq!(
        (&done["added"], &done["proved"]),
        (&json!(1), &json!(1)),
        "each proves its own"
    );
    assert_eq!(ask(&world), [None, None, None]);

    // The first one leaves: nothing is dropped before the second one has proved.
    ministry.stop();
    world.edit_register(|text| {
        swap(
            &text,
            "authorities = [\"court\", \"ministry\"]",
            "authorities = [\"ministry\"]",
        )
    });
    world.restart();
    let ministry = world.start_node("ministry.toml", health);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &asked).code(),
        "order-authority",
        "from now on"
    );
    complains(&renew(&world, &["--drop-old"], MINISTRY), "keep an old key");
    assert_eq!(renewed(&renew(&world, &[], MINISTRY))["proved"], 1);
    let court = renewed(&renew(&world, &["--drop-old"], COURT));
    assert_eq!(
        court["dropped"], 0,
        "a node drops nothing where its authority is not competent"
    );
    assert_eq!(
        renewed(&renew(&world, &["--drop-old"], MINISTRY))["dropped"],
        1
    );
    assert_eq!(ask(&world), [None, None, None]);
    assert_eq!(persons(&world, 3), asked);
    ministry.stop();
    world.stop();
    let store = world.store(Side::Vault);
    for record in records(&store, &world) {
        assert_eq!(keys_of(&record), ["ministry-2026"]);
    }
}
