//! A vault whose identity secret lies with an identity source: the same pseudonyms, and nothing
//! without the source.

mod halves;
mod pair;

use cloison::keys::Key;
use cloison::keys::file::{SecretKind, write_secret};
use serde_json::Value;

use crate::common::identity::{IdentityPlace, entries};
use crate::common::process::{Process, free_ports, get, soon};
use crate::common::{Side, World, texts};

const CARDS: [&str; 3] = ["AB123456", "BE9876", "X1"];
const SECRET: &str = "identity = \"secrets/vault/identity.secret\"\n";

/// `[identity]` of the vault's configuration.
fn section(urls: &[String], pins: &[&str]) -> String {
    format!(
        "\n[identity]\nurl = {urls:?}\nserver = {pins:?}\n\
         certificate = \"tls/vault-utis.pem\"\nkey = \"secrets/tls/vault-utis.key\"\n"
    )
}

/// Moves the identity secret from the vault to the source.
fn split(world: &World, place: &IdentityPlace) {
    split_to(
        world,
        &[format!("https://{}", place.control)],
        &["tls/identity.pem"],
    );
}

fn split_to(world: &World, urls: &[String], pins: &[&str]) {
    let vault = world.read("vault.toml");
    assert!(vault.contains(SECRET));
    world.write(
        "vault.toml",
        &(vault.replace(SECRET, "") + &section(urls, pins)),
    );
}

/// A vault that has never had the secret, its source, and what both run as.
fn split_world() -> (World, IdentityPlace, Process) {
    let mut world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    split(&world, &place);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    (world, place, source)
}

fn readyz(world: &World) -> String {
    get(world.health(Side::Vault), "/readyz").unwrap_or_default()
}

fn ask(world: &World, cards: &[&str]) -> crate::common::Reply {
    world.batch("cnss-health", "health", "cnie", Some("billing"), cards)
}

#[test]
fn a_store_made_embedded_opens_split_and_the_other_way_round() {
    let mut world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    world.start(Side::Vault, &[]);
    let embedded = world.health_pseudonyms(&CARDS[..2]);
    world.stop();

    let before = world.read("vault.toml");
    split(&world, &place);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    let split = world.health_pseudonyms(&CARDS);
    assert_eq!(split[..2], embedded);
    world.stop();
    assert!(source.stop().success());

    world.write("vault.toml", &before);
    world.start(Side::Vault, &[]);
    assert_eq!(world.health_pseudonyms(&CARDS), split);
    world.stop();
    // What the source logged: who asked for how many, and no card.
    let logged = entries(&world);
    let utis = logged.iter().filter(|entry| entry["event"] == "utis");
    let items: u64 = utis
        .flat_map(|entry| entry["derived"].as_array().unwrap())
        .filter(|group| group["by"] == "cnss-health" && group["kind"] == "tokenize")
        .map(|group| group["items"].as_u64().unwrap())
        .sum();
    assert_eq!(items, 3, "{logged:?}");
}

#[test]
fn without_a_source_nothing_is_done_and_it_is_found_again() {
    let (mut world, place, source) = split_world();
    let before = world.health_pseudonyms(&CARDS[..1]);
    source.kill();
    let refused = ask(&world, &CARDS);
    assert_eq!(
        (refused.status, &*refused.code()),
        (503, "identity-unavailable")
    );
    assert!(refused.header("retry-after").is_some());
    soon("the vault says so", || {
        readyz(&world).contains("\"identity\"")
    });

    let source = place.start(&world, &[]).unwrap();
    soon("the vault is ready again", || {
        readyz(&world).contains("\"ready\":true")
    });
    assert_eq!(world.health_pseudonyms(&CARDS)[..1], before);
    world.stop();
    assert!(source.stop().success());
    // Of the refused batch the vault counted nothing: one card, and then three.
    assert_eq!(tokenized(&world), [1, 3]);
}

#[test]
fn a_source_that_hangs_is_given_up_and_found_again() {
    let (mut world, _place, source) = split_world();
    let before = world.health_pseudonyms(&CARDS[..1]);
    source.signal(libc::SIGSTOP);
    let refused = ask(&world, &CARDS);
    assert_eq!(
        (refused.status, &*refused.code()),
        (503, "identity-unavailable")
    );
    soon("the vault says so", || {
        readyz(&world).contains("\"identity\"")
    });
    source.signal(libc::SIGCONT);
    soon("the vault is ready again", || {
        readyz(&world).contains("\"ready\":true")
    });
    assert_eq!(world.health_pseudonyms(&CARDS)[..1], before);
    world.stop();
    assert!(source.stop().success());
    assert_eq!(tokenized(&world), [1, 3]);
}

/// How many identifiers the vault's entries say that it accepted.
fn tokenized(world: &World) -> Vec<u64> {
    let store = cloison::store::Store::open(&world.path("data/vault"), "test/vault");
    let rows = store.unwrap().audit_from(0, usize::MAX).unwrap();
    rows.iter()
        .map(|(_, entry)| serde_json::from_slice::<Value>(entry).unwrap())
        .filter(|entry| entry["event"] == "tokenize")
        .map(|entry| entry["accepted"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_source_with_another_secret_is_never_asked() {
    let (mut world, place, source) = split_world();
    let before = world.health_pseudonyms(&CARDS);
    assert!(source.stop().success());
    let secret = world.path("secrets/identity/identity.secret");
    let right = std::fs::read(&secret).unwrap();
    std::fs::remove_file(&secret).unwrap();
    write_secret(&secret, SecretKind::Identity, &Key::random()).unwrap();
    let source = place.start(&world, &[]).unwrap();
    soon("the vault sees it", || {
        readyz(&world).contains("its identity secret is not the one")
    });
    let refused = ask(&world, &CARDS);
    assert_eq!(
        (refused.status, &*refused.code()),
        (503, "identity-unavailable")
    );
    world.stop();
    assert!(
        world.try_start(Side::Vault, &[]).is_err(),
        "it does not start on it"
    );
    assert!(
        world
            .log(Side::Vault)
            .contains("identity secret is not the one")
    );
    assert!(source.stop().success());

    // It derived nothing, and the vault sent it no card.
    let logged = entries(&world);
    let utis = logged.iter().filter(|entry| entry["event"] == "utis");
    let derived = utis.flat_map(|entry| entry["derived"].as_array().unwrap());
    let tokenized: u64 = derived
        .filter(|group| group["kind"] == "tokenize")
        .map(|group| group["items"].as_u64().unwrap())
        .sum();
    assert_eq!(tokenized, CARDS.len() as u64, "only those of before");

    // Nor does the embedded form start on another secret.
    let split = world.read("vault.toml");
    let (embedded, _) = split.split_once("\n[identity]\n").unwrap();
    let own = world.path("secrets/vault/identity.secret");
    let _ = std::fs::remove_file(&own);
    write_secret(&own, SecretKind::Identity, &Key::random()).unwrap();
    let embedded = embedded.replacen("\naudit = ", &format!("\n{SECRET}audit = "), 1);
    world.write("vault.toml", &embedded);
    let failed = world
        .try_start(Side::Vault, &[])
        .expect_err("another secret");
    assert!(failed.said.contains("identity secret"), "{failed}");

    // With the right one there all is as before.
    world.write("vault.toml", &split);
    std::fs::write(&secret, right).unwrap();
    let source = place.start(&world, &[]).unwrap();
    world.start(Side::Vault, &[]);
    assert_eq!(world.health_pseudonyms(&CARDS), before);
    world.stop();
    assert!(source.stop().success());
}

#[test]
fn the_next_source_is_asked_where_the_first_is_gone() {
    let mut world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    let [nobody] = free_ports();
    let urls = [
        format!("https://127.0.0.1:{nobody}"),
        format!("https://{}", place.control),
    ];
    split_to(&world, &urls, &["tls/identity.pem"]);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    assert_eq!(world.health_pseudonyms(&CARDS).len(), 3);
    soon("the vault names the one that is gone", || {
        readyz(&world).contains(&format!("127.0.0.1:{nobody}"))
    });
    world.stop();
    assert!(source.stop().success());
}

#[test]
fn single_requests_that_travel_together_get_their_own_answers() {
    let (mut world, _place, source) = split_world();
    let cards: Vec<String> = (0..64).map(|number| format!("AB{number:06}")).collect();
    let alone: Vec<String> = {
        let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
        texts(&ask(&world, &cards).ok()["pseudonyms"])
    };
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (world, cards, alone) = (&world, &cards, &alone);
            scope.spawn(move || {
                for number in (thread..64).step_by(8) {
                    let got = world.health_pseudonyms(&[&cards[number]]);
                    assert_eq!(got, alone[number..=number]);
                }
            });
        }
    });
    world.stop();
    assert!(source.stop().success());
}

#[test]
fn what_the_source_refuses_as_too_much_the_vault_refuses_as_too_much() {
    let mut world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    split(&world, &place);
    // The source's own register has a smaller share of the quota.
    world.edit_register(|text| {
        text.replace("id = \"trust\"\n", "id = \"trust\"\nshare = 0.00001\n")
    });
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    let register = world.register();
    let fund = register
        .organisations
        .values()
        .find(|one| one.id.as_str() == "cnss");
    let count = fund.unwrap().quota.items_per_second.min(20_000);
    let cards: Vec<String> = (0..count).map(|number| format!("AB{number:06}")).collect();
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    // The first batch is larger than what the source holds for a moment, and leaves a debt.
    assert_eq!(ask(&world, &cards).status, 200);
    let refused = ask(&world, &cards);
    assert_eq!((refused.status, &*refused.code()), (429, "quota-exceeded"));
    assert!(refused.header("retry-after").is_some());
    world.stop();
    assert!(source.stop().success());
}
