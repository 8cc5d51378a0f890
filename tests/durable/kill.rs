//! `kill -9` at any moment: whatever was answered is there afterwards.
#![expect(unsafe_code, reason = "a signal to a child")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::load::{Acknowledged, Load, Plan, check};
use super::world::{card, rounds};
use crate::common::seeded::{SeededRandom, seed};
use crate::common::{Door, QUORUM, Setup, Side, World, request, swap};

fn quiet() -> World {
    // What these tests open by the tens of thousands, no court asks for in an hour.
    let register = |text: String| {
        swap(
            &text,
            "max-hours = 720",
            "max-hours = 720\nreleases-per-hour = 100000000",
        )
    };
    World::with(Setup {
        register: Box::new(register),
        log: "info",
        ..Setup::default()
    })
}

/// When to kill: after 20 milliseconds at least.
fn moment(random: &mut SeededRandom, most: usize) -> Duration {
    Duration::from_millis(20 + random.below(most) as u64)
}

#[test]
fn killed_under_load() {
    killed_in(quiet(), "killed under load");
}

/// The same with so little memory that the index moves to the disk all the time.
#[test]
fn killed_under_load_with_little_memory() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    world.replace(
        "vault.toml",
        "\n[secrets]",
        "\n[index]\nmemory-mib = 1\n\n[secrets]",
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    killed_in(world, "killed under load with little memory");
}

fn killed_in(mut world: World, test: &str) {
    let mut random = SeededRandom::new(seed(test));
    let latest = Arc::new(Mutex::new(Acknowledged::default()));
    let mut acknowledged = Acknowledged::default();
    let rounds = rounds(4, 60);
    for round in 0..rounds {
        let plan = Plan {
            threads: 6,
            batch: 1_500,
            first: 1_000 + round * 700,
        };
        let load = Load::start(&world, plan, &latest);
        std::thread::sleep(moment(&mut random, 500));
        // An epoch is advanced under the load, perhaps at the very moment of the kill.
        let operator = world.client("operator");
        let is_advanced = random.percent(if rounds > 100 { 10 } else { 100 });
        let own_secret = random.percent(50);
        let advancing = std::thread::spawn(move || {
            let path = "/v1/sectors/tax/epochs";
            let listed: serde_json::Value = operator.get_json(path).ok()?;
            let from = listed["epochs"].as_array()?.last()?["epoch"].as_u64()?;
            let how = json!({"from": from, "end_overlap": from - 1, "own_secret": own_secret});
            is_advanced.then(|| crate::common::advance(&operator, path, &how).ok())?
        });
        std::thread::sleep(moment(&mut random, 60));
        world.kill(Side::Vault);
        load.stop();
        let _ = advancing.join().unwrap();
        world.start(Side::Vault, &[]);
        let latest = std::mem::take(&mut *latest.lock().unwrap());
        check(&world, &latest, 200);
        acknowledged.absorb(latest);
        if round % 50 == 49 {
            eprintln!(
                "{test}: {} kills, {} identifiers acknowledged",
                round + 1,
                acknowledged.items
            );
        }
    }
    assert!(
        acknowledged.requests > 4 * u64::from(rounds),
        "the load was one: {}",
        acknowledged.requests
    );
    check(&world, &acknowledged, usize::MAX);
    eprintln!(
        "{test}: {rounds} kills; acknowledged: {} identifiers in {} requests, {} mappings; lost: 0",
        acknowledged.items,
        acknowledged.requests,
        acknowledged.mappings()
    );
    world.stop();

    // What nobody was told about may be there too; nothing is there twice, and every request has
    // its entry.
    assert!(world.mappings() >= acknowledged.mappings());
    let logged = world.entries(Side::Vault);
    let sum = |member: &str| {
        logged
            .iter()
            .filter_map(|entry| entry[member].as_u64())
            .sum::<u64>()
    };
    assert!(sum("accepted") >= acknowledged.items);
    assert!(sum("requests") >= acknowledged.requests);
    assert_eq!(
        logged
            .iter()
            .filter(|entry| entry["event"] == "start")
            .count() as u32,
        rounds + 1
    );
    let mut seen = std::collections::HashSet::new();
    each_record(&world, |place| assert!(seen.insert(place), "stored once"));
}

/// Sector, epoch and pseudonym of every record in the store.
fn each_record(world: &World, mut each: impl FnMut((u32, u32, [u8; 16]))) {
    use cloison::keys::file::SecretKind;
    use cloison::keys::sector_secrets::read_versions;
    use cloison::keys::{StoreKey, StoreSecret};
    let secrets = read_versions(&world.path("secrets/vault/store"), SecretKind::Store).unwrap();
    let keys = secrets
        .into_iter()
        .map(|(version, secret)| (version, StoreKey::new(&StoreSecret(secret))));
    let cipher = cloison::seal::chunk::ChunkCipher::new(keys);
    let walked = world
        .store(Side::Vault)
        .each_chunk::<cloison::store::StoreError>(|key, row| {
            for record in cipher.unwrap(&key.to_bytes(), row).unwrap().records() {
                each((key.sector, key.epoch, *record.unwrap().pseudonym.as_bytes()));
            }
            Ok(())
        });
    walked.unwrap();
}

/// Killed again and again while it starts: a start is no less durable than a batch.
#[test]
fn killed_while_it_starts() {
    let mut world = quiet();
    let identifiers: Vec<_> = (0..3_000).map(card).collect();
    let identifiers: Vec<_> = identifiers.iter().map(String::as_str).collect();
    let ask = |world: &World| world.health_pseudonyms(&identifiers);
    let before = ask(&world);
    world.kill(Side::Vault);
    let mut random = SeededRandom::new(seed("killed while it starts"));
    for _ in 0..rounds(6, 60) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cloison"));
        command
            .args(["serve", "--config"])
            .arg(world.path("vault.toml"))
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(moment(&mut random, 150));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    world.start(Side::Vault, &[]);
    assert_eq!(ask(&world), before);
    world.stop();
    assert_eq!(world.mappings(), 3_000);
    world.entries(Side::Vault);
}

/// The first start of all, killed: there is a store or there is none, and the next start serves.
#[test]
fn killed_while_the_store_is_made() {
    let mut random = SeededRandom::new(seed("killed while the store is made"));
    for _ in 0..rounds(5, 40) {
        let mut world = World::with(Setup {
            log: "info",
            start: false,
            ..Setup::default()
        });
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cloison"));
        command
            .args(["serve", "--config"])
            .arg(world.path("vault.toml"))
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.below(80) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        world.start(Side::Vault, &[]);
        world.health_pseudonyms(&["AB1"]);
        world.end(Side::Vault);
    }
}

/// The node is killed at some moment of a re-identification: the officer asks again and is
/// answered; whatever was counted before is not counted again.
#[test]
fn the_node_is_killed_between_the_steps() {
    let mut world = quiet();
    let pseudonyms = world.health_pseudonyms(&["AB1", "AB2", "AB3"]);
    let mut order = world.order("health", &pseudonyms);
    order.scope = cloison::order::PseudonymScope::AtMost(2);
    order.basis = cloison::order::LegalBasis::Statutory {
        article: "Loi 43-05, art. 19".to_owned(),
    };
    let order = world.sign(&order, QUORUM);
    let mut random = SeededRandom::new(seed("the node is killed"));
    for _ in 0..rounds(6, 40) {
        let asked = &pseudonyms[..2];
        let body = json!({
            "order": order, "request": world.request(&order, "health", asked), "sector": "health", "pseudonyms": asked,
        });
        let bytes = request(
            "POST",
            "/v1/reidentifications",
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        );
        let stream = world.connect(Some("officer"), Door::Officers);
        let asking = std::thread::spawn(move || {
            let mut stream = stream;
            stream.exchange(&bytes).is_ok()
        });
        std::thread::sleep(Duration::from_micros(random.below(12_000) as u64));
        world.kill(Side::Node);
        let _ = asking.join().unwrap();
        world.start(Side::Node, &[]);
    }
    let opened = world.reidentify(&order, "health", &pseudonyms[..2]).ok();
    assert_eq!(
        (&opened["items"][0]["value"], &opened["items"][1]["value"]),
        (&json!("AB1"), &json!("AB2"))
    );
    // The two are used up, however often the node died over them.
    let third = world.reidentify(&order, "health", &pseudonyms[2..]).ok();
    assert_eq!(third["items"][0]["code"], "limit-reached");
    world.stop();
    // Nothing was opened that the vault's log does not know, and the node's entries name the
    // vault's.
    let vault = world.entries(Side::Vault);
    let node = world.entries(Side::Node);
    let released = vault
        .iter()
        .filter(|entry| entry["event"] == "release")
        .count();
    let revealed: Vec<_> = node
        .iter()
        .filter(|entry| entry["event"] == "reveal")
        .collect();
    assert!(revealed.len() <= released);
    for entry in revealed {
        let named = entry["vault_entry"]["index"].as_u64().unwrap() as usize;
        assert_eq!(vault[named]["event"], "release");
        assert_eq!(vault[named]["request"], entry["request"]);
    }
}

/// The vault is killed while it counts releases: what was handed out is counted, whatever else is.
#[test]
fn the_vault_is_killed_while_it_counts() {
    let mut world = quiet();
    let cards: Vec<_> = (0..40).map(card).collect();
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    let pseudonyms = world.health_pseudonyms(&cards);
    let mut order = world.order("health", &pseudonyms);
    order.scope = cloison::order::PseudonymScope::AtMost(12);
    order.basis = cloison::order::LegalBasis::Statutory {
        article: "Loi 43-05, art. 19".to_owned(),
    };
    let order = world.sign(&order, QUORUM);
    let opened = Mutex::new(std::collections::BTreeSet::new());
    let mut random = SeededRandom::new(seed("the vault is killed while it counts"));
    for round in 0..rounds(3, 30) as usize {
        std::thread::scope(|scope| {
            let (world, order, pseudonyms, opened) = (&world, &order, &pseudonyms, &opened);
            for thread in 0..4 {
                scope.spawn(move || {
                    for n in 0..10 {
                        let asked =
                            vec![pseudonyms[(round * 7 + thread * 11 + n * 3) % 40].clone()];
                        let body = json!({
                            "order": order,
                            "request": world.request(order, "health", &asked),
                            "sector": "health",
                            "pseudonyms": asked,
                        });
                        let client = world.client("officer");
                        let answer =
                            client.post_json::<serde_json::Value>("/v1/reidentifications", &body);
                        let Ok(answer) = answer else { return };
                        if answer["items"][0]["value"].is_string() {
                            opened.lock().unwrap().insert(asked[0].clone());
                        }
                    }
                });
            }
            std::thread::sleep(moment(&mut random, 150));
            // SAFETY: the child was not waited for yet, so the id is still its own.
            unsafe { libc::kill(world.vault_pid() as libc::pid_t, libc::SIGKILL) };
        });
        world.ended(Side::Vault);
        world.start(Side::Vault, &[]);
    }
    let all = world.reidentify(&order, "health", &pseudonyms).ok();
    let items = all["items"].as_array().unwrap();
    let open: Vec<_> = items
        .iter()
        .filter(|item| item["value"].is_string())
        .collect();
    assert_eq!(open.len(), 12, "the limit, exactly");
    for item in &open {
        opened
            .lock()
            .unwrap()
            .insert(item["pseudonym"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        opened.lock().unwrap().len(),
        12,
        "over all lives of the vault"
    );
}
