//! A thief with the vault's stolen secrets and its certificate: guesses are real, counted, bounded
//! by the declared clients' quotas, and seen.

use std::collections::BTreeMap;

use cloison::suspension::SuspensionAct;
use cloison::utis::MAX_VALUES;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::*;
use crate::canaries::Roots;
use crate::common::process::soon;
use crate::common::{HOUR, not_in_the_last, request};

/// What each organisation may have in a day, in these tests.
const DAY: u64 = 1_500;

/// A deployment with this quota a day for each organisation, a rights officer, and an authority
/// that may order migrations.
pub(super) fn declared(day: u64) -> (World, IdentityPlace) {
    let world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    let certificate = world.certify("rights-1", 2020, 2120);
    let key = ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key();
    let key = cloison::keys::file::public_key_text(&key);
    world.edit_register(|text| {
        let text = with_quotas(&text, 100_000, day);
        let text = text.replacen("max-hours = ", "continuity-quorum = 2\nmax-hours = ", 1);
        text + &format!(
            "\n[[rights-officer]]\nid = \"rights-1\"\nname = \"An officer\"\nkey = \"{key}\"\n\
             certificate = \"{certificate}\"\nsectors = [\"health\"]\n"
        )
    });
    (world, place)
}

/// Who may ask for what in which sector, with which scheme, as the register says: a thief of the
/// vault reads it there.
fn ways(world: &World) -> Vec<(UtiKind, Uuid, String, String)> {
    let register = world.register();
    let mut ways = vec![];
    for client in register.clients.values() {
        for name in &client.sectors {
            let sector = register.sector(name).unwrap();
            let scheme = sector.schemes[0].to_string();
            ways.push((
                UtiKind::Tokenize,
                sector.uuid,
                client.id.to_string(),
                scheme,
            ));
        }
    }
    for sector in register.sectors.values() {
        let scheme = sector.schemes[0].to_string();
        for authority in register.authorities.keys() {
            let way = (UtiKind::Migrate, sector.uuid, authority.to_string());
            ways.push((way.0, way.1, way.2, scheme.clone()));
        }
        for officer in register.rights_officers.keys() {
            for kind in [UtiKind::Reseal, UtiKind::Rights, UtiKind::Link] {
                ways.push((kind, sector.uuid, officer.to_string(), scheme.clone()));
            }
        }
    }
    ways
}

/// Guesses at identifiers of a scheme of the demo's.
fn guesses(scheme: &str, count: usize) -> Vec<String> {
    let guess = |number: usize| match scheme {
        "cnie" => format!("AB{number:06}"),
        _ => format!("{number:010}"),
    };
    (0..count).map(guess).collect()
}

/// Takes all that a thief gets: guesses in every way, in ever smaller requests. How many were
/// answered, and the longest time after which to come back.
fn enumerate(world: &World, place: &IdentityPlace) -> (u64, u32) {
    let (mut answered, mut wait) = (0, 0);
    for (kind, sector, by, scheme) in ways(world) {
        for size in [MAX_VALUES, 1_000, 100, 25, 5, 1] {
            loop {
                let cards = guesses(&scheme, size);
                let cards: Vec<_> = cards.iter().map(String::as_str).collect();
                let part = part_of(kind, sector, &by, &scheme, &cards);
                let reply = place.ask(world, &body(&[part]));
                match &outcomes(&reply, &[size])[0] {
                    PartOutcome::Answers(utis) => answered += utis.len() as u64,
                    PartOutcome::Refused(refusal) => {
                        wait = wait.max(refusal.retry_after().unwrap_or(0));
                        break;
                    }
                }
            }
        }
    }
    (answered, wait)
}

#[test]
fn a_day_of_guesses_is_the_declared_quotas_and_leaves_entries_and_alarms() {
    let (world, place) = declared(DAY);
    let source = place.first_start(&world);
    let register = world.register();
    let organisations: std::collections::BTreeSet<_> = register
        .clients
        .values()
        .map(|client| client.organisation.clone())
        .collect();
    // An officer's acts: 50 a day, of which the bucket of a second holds ten at first, and a larger
    // request leaves a debt.
    let most = organisations.len() as u64 * DAY + 50;
    // Each hour may raise an alarm of its own.
    not_in_the_last(60, HOUR);
    let (answered, wait) = enumerate(&world, &place);
    assert!(
        (organisations.len() as u64 * DAY..=most).contains(&answered),
        "{answered} guesses, and {most} are declared"
    );
    assert!(wait > 100, "until the day is over");
    // Nor do kills, restarts, or the claims of a migration bring more.
    source.kill();
    let source = place.start(&world, &[]).unwrap();
    let (more, _) = enumerate(&world, &place);
    assert!(answered + more <= most, "{more} more");
    // The counters begin anew with the process.
    soon("what was derived is counted", || {
        place.metric("cloison_utis_derived_total") == Some(more.to_string())
    });
    assert!(source.stop().success());

    let logged = entries(&world);
    let mut by_holder: BTreeMap<&str, u64> = BTreeMap::new();
    for alarm in logged.iter().filter(|entry| entry["event"] == "utis-alarm") {
        *by_holder
            .entry(alarm["holder"].as_str().unwrap())
            .or_default() += 1;
    }
    let expected: BTreeMap<_, _> = organisations.iter().map(|id| (id.as_str(), 1)).collect();
    assert_eq!(by_holder, expected, "an alarm for each organisation");
    assert_eq!(crate::common::identity::derived(&world), answered + more);
    eprintln!(
        "a thief with the vault's secrets and certificate: {} guesses in a day of {} declared for {} organisations and an officer; \
         {} alarms",
        answered + more,
        most,
        organisations.len(),
        by_holder.len()
    );
}

#[test]
fn a_claimed_migration_is_taken_out_of_the_organisations_days() {
    let (world, place) = declared(DAY);
    let source = place.first_start(&world);
    let sector = health(&world);
    let ask = |kind, by: &str, count: usize| {
        let cards = guesses("cnie", count);
        let cards: Vec<_> = cards.iter().map(String::as_str).collect();
        let reply = place.ask(&world, &body(&[part_of(kind, sector, by, "cnie", &cards)]));
        match &outcomes(&reply, &[count])[0] {
            PartOutcome::Answers(_) => None,
            PartOutcome::Refused(refusal) => Some(refusal.code()),
        }
    };
    let quota = Some(Code::QuotaExceeded);
    let half = DAY as usize / 2;
    assert_eq!(ask(UtiKind::Migrate, "court", half + 1), quota);
    assert_eq!(ask(UtiKind::Migrate, "court", half), None);
    assert_eq!(ask(UtiKind::Migrate, "court", 1), quota);
    // The other half is the clients'.
    assert_eq!(ask(UtiKind::Tokenize, "cnss-health", half + 1), quota);
    assert_eq!(ask(UtiKind::Tokenize, "cnss-health", half), None);
    assert!(source.stop().success());
}

/// What a derivation with these roots says of a card in the sector `health`.
fn derivation(identity: &str, sector: &str, place: &crate::canaries::Place<'_>) -> Value {
    let input = json!({"identity_secret": identity, "sector_secret": sector, "path": place.path,
        "epoch": place.epoch, "controller": place.controller, "purpose": place.purpose, "period": "",
        "scheme": "cnie", "value": "AB123456", "tag": place.tag});
    let output = cloison::cli::spec::derive(input.to_string().as_bytes()).unwrap();
    serde_json::from_str(&output).unwrap()
}

#[test]
fn the_vaults_secrets_make_pseudonyms_with_the_sources_utis_and_none_without() {
    let (mut world, place) = declared(DAY);
    let roots = Roots::of(&world.path("."));
    place.split(&world);
    std::fs::remove_file(world.path("secrets/vault/identity.secret")).unwrap();
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    let pseudonym = world.health_pseudonyms(&["AB123456"]).remove(0);

    // The thief has the sector's secret, and no identity secret: the domain's key can be made …
    let seat = crate::story::place(&world, crate::story::SEATS[0], 1);
    let made_up = derivation(&"00".repeat(32), &roots.sector, &seat);
    let true_one = derivation(&roots.identity, &roots.sector, &seat);
    assert_eq!(made_up["k_domain"], true_one["k_domain"]);
    assert_eq!(true_one["text"]["bech32m"], *pseudonym);
    // … and no pseudonym with it, …
    assert_ne!(made_up["pseudonym"], true_one["pseudonym"]);
    // … but for a guess at a time, at the source.
    let reply = place.ask(
        &world,
        &body(&[part(health(&world), "cnss-health", &["AB123456"])]),
    );
    let PartOutcome::Answers(utis) = &outcomes(&reply, &[1])[0] else {
        panic!("within the quota")
    };
    let key = HEXLOWER
        .decode(true_one["k_domain"].as_str().unwrap().as_bytes())
        .unwrap();
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(&key).unwrap();
    mac.update(&utis[0]);
    let guessed = HEXLOWER.encode(&mac.finalize().into_bytes()[..16]);
    assert_eq!(true_one["pseudonym"], *guessed);
    world.stop();
    assert!(source.stop().success());
}

#[test]
fn what_the_vault_never_tokenized_is_named() {
    let (mut world, place) = declared(DAY);
    place.split(&world);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    world.health_pseudonyms(&["AB123456", "BE9876"]);
    let matched = || {
        let logs = ["audit", "match", "data/vault", "data/identity", "--json"];
        let output = world.cloison(&logs);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report)
    };
    soon("what was tokenized is under a checkpoint of both", || {
        let (code, report) = matched();
        code == Some(0) && report["hours"][0]["tokenized"] == 2
    });
    // The thief asks for one card more.
    place.ask(
        &world,
        &body(&[part(health(&world), "cnss-health", &["X1"])]),
    );
    soon("it is named", || {
        let (code, report) = matched();
        let hours = report["hours"].as_array().unwrap();
        let unexplained: u64 = hours
            .iter()
            .map(|hour| hour["unexplained"].as_u64().unwrap())
            .sum();
        code == Some(1) && unexplained == 1
    });
    world.stop();
    assert!(source.stop().success());
}

#[test]
fn one_register_key_shuts_a_stolen_certificate_out_at_once() {
    let (world, place) = declared(DAY);
    let source = place.first_start(&world);
    let asked = body(&[part(health(&world), "cnss-health", &["AB123456"])]);
    assert_eq!(place.ask(&world, &asked).status, 200);
    let act = world.suspension("vault", SuspensionAct::Suspend, &["commission"]);
    let act = act.to_string();
    let content = [("content-type", "application/json")];
    let act = request("POST", "/v1/suspensions", &content, act.as_bytes());
    let taken = place.connect(&world, "operator").exchange(&act).unwrap();
    assert_eq!(taken.status, 200, "{taken:?}");
    let content = [("content-type", cloison::utis::CONTENT)];
    let asked = request("POST", cloison::utis::PATH, &content, &asked);
    let sent = place.connect(&world, "vault-utis").exchange(&asked);
    assert!(sent.is_err(), "{sent:?}");
    assert!(source.stop().success());
    assert_eq!(crate::common::identity::derived(&world), 1);
}
