//! Migration under an order for continuity: the whole flow, who may not, retiring; kills of both
//! sides at every step.

mod flow;
mod kills;
mod limits;
mod pairs;
mod retire;

use std::collections::BTreeMap;

use cloison::keys::Key;
use cloison::keys::file::{SecretKind, write_secret};
use cloison::order::{Continuity, LegalBasis, OrderPayload, PseudonymScope};
use cloison::seal::pairs::MigrationKey;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::common::{Door, Reply, Setup, World, swap};
use super::people::persons;

/// A key pair of a sector system.
fn key() -> (Key, String) {
    let secret = Key::random();
    let public = HEXLOWER.encode(MigrationKey::derive(&secret).public());
    (secret, public)
}

/// The court may order migrations, and the health fund follows them with that key.
fn register(public: String) -> impl FnOnce(String) -> String + 'static {
    move |text| {
        let text = swap(
            &text,
            "force-majeure-quorum = 2",
            "force-majeure-quorum = 2\ncontinuity-quorum = 2",
        );
        let may =
            "operations = [\"tokenize\", \"migrate\", \"retire-epoch\"]\npurposes = [\"billing\"]";
        let may = format!("{may}\nmigration-key = \"{public}\"");
        swap(
            &text,
            "operations = [\"tokenize\"]\npurposes = [\"billing\"]",
            &may,
        )
    }
}

fn setup(edit: impl FnOnce(String) -> String + 'static, public: String) -> Setup {
    let register = move |text| edit(register(public)(text));
    Setup {
        register: Box::new(register),
        log: "info",
        ..Setup::default()
    }
}

/// A world in which health may be migrated; the key lies in `health.migration`.
fn world() -> World {
    world_with(|text| text)
}

fn world_with(edit: impl FnOnce(String) -> String + 'static) -> World {
    let (secret, public) = key();
    let world = World::with(setup(edit, public));
    write_secret(
        &world.path("health.migration"),
        SecretKind::Migration,
        &secret,
    )
    .unwrap();
    world
}

/// An order to migrate health from epoch 1 to 2.
fn order(world: &World, limit: u64) -> OrderPayload {
    let mut payload = world.order("health", &["unused".to_owned()]);
    payload.basis = LegalBasis::Continuity(Continuity { from: 1, to: 2 });
    payload.scope = PseudonymScope::AtMost(limit);
    payload
}

/// One page, asked for by the officer.
fn page(world: &World, order: &str) -> Reply {
    let request = world.request(order, "health", &[]);
    let body = json!({"order": order, "request": request, "sector": "health"});
    world.post_json("officer", Door::Officers, "/v1/migrations", &body)
}

/// The same past the node, as whoever has its certificate.
fn page_past_the_node(world: &World, order: &str, request: &str, sector: &str) -> Reply {
    let digest = HEXLOWER.encode(&world.register().digest);
    let asked = json!({"order": order, "request": request, "sector": sector});
    let body = json!({"register": digest, "acts": super::common::NO_ACTS, "asked": asked});
    world.post_json("node", Door::Control, "/v1/migrations/pages", &body)
}

/// Identifiers handed back past the node.
fn hand_back(
    world: &World,
    order: &OrderPayload,
    request: &str,
    page: u64,
    identifiers: &Value,
) -> Reply {
    let digest = HEXLOWER.encode(&world.register().digest);
    let body = json!({
        "register": digest, "order": order.id, "request": request, "page": page, "identifiers": identifiers,
    });
    world.post_json("node", Door::Control, "/v1/migrations/identifiers", &body)
}

/// What waits for the health fund, pairs in all.
fn waiting(world: &World) -> u64 {
    let list = world
        .get("cnss-health", Door::Data, "/v1/sectors/health/migrations")
        .ok();
    list["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["pairs"].as_u64().unwrap())
        .sum()
}

/// Runs `cloison migrate` for the order in `migration.jws`.
fn run(world: &World) -> (i32, String) {
    let output = world.cloison(&[
        "migrate",
        "--order",
        "migration.jws",
        "--key",
        "secrets/people/officer.pem",
        "--client",
        "clients/officer.toml",
        "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

/// Fetches all pairs on the command line.
fn fetch(world: &World, out: &str) -> BTreeMap<String, String> {
    let output = world.cloison(&[
        "client",
        "migration",
        "fetch",
        "--sector",
        "health",
        "--key",
        "health.migration",
        "--out",
        out,
        "--client",
        "clients/cnss-health.toml",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = world.read(out);
    let pairs: BTreeMap<String, String> = text
        .lines()
        .map(|line| line.split_once(',').unwrap_or_else(|| panic!("{line}")))
        .map(|(old, new)| (old.to_owned(), new.to_owned()))
        .collect();
    assert_eq!(pairs.len(), text.lines().count(), "each old pseudonym once");
    pairs
}

/// Each old pseudonym goes to what the same person gets in the new epoch.
fn check_pairs(world: &World, old: &[String], pairs: &BTreeMap<String, String>) {
    let new = persons(world, old.len());
    assert_eq!(pairs.len(), old.len());
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(pairs.get(old), Some(new));
    }
}
