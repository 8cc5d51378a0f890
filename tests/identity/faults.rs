//! Faults of the machine and of people: registers of two versions, a clock that was set back, a
//! full disk.

use std::process::{Child, Command, Stdio};

use cloison::epoch::statement::Destruction;

use super::quotas::{ask, with_quota};
use super::*;
use crate::common::backups::words;
use crate::common::identity::{derived, tokenized};
use crate::common::process::{get, soon};
use crate::common::shim::shim;

/// A source that is not ready, and is ended whichever way the test ends.
struct Unready(Child);

impl Drop for Unready {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a source and waits until `/readyz` says so.
fn unready(world: &World, place: &IdentityPlace, reason: &str) -> Unready {
    let child = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(["identity", "serve", "--config"])
        .arg(world.path("identity.toml"))
        .env("CLOISON_LOG", "error")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(world.path("logs/unready.log")).unwrap())
        .spawn();
    let child = Unready(child.unwrap());
    soon(reason, || {
        get(place.health, "/readyz").is_some_and(|said| said.contains(reason))
    });
    child
}

fn vaults_batch(world: &World, cards: &[&str]) -> Reply {
    world.batch("cnss-health", "health", "cnie", Some("billing"), cards)
}

#[test]
fn a_source_with_an_older_register_refuses_what_that_does_not_have() {
    let mut world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    place.split(&world);
    place.client(&world, "keeper-1");
    let source = place.first_start(&world);
    // The vault's copy of the register calls the client otherwise.
    world.edit_register(|text| text.replace("\"cnss-health\"", "\"cnss-health-2\""));
    world.start(Side::Vault, &[]);
    let refused = vaults_batch(&world, &["AB123456"]);
    assert_eq!(
        (refused.status, &*refused.code()),
        (503, "identity-unavailable")
    );
    soon("the vault's log says why", || {
        world.log(Side::Vault).contains("unknown-client")
    });
    let reload = ["register", "reload", "--client", "clients/keeper-1.toml"];
    let reloaded = world.cloison(&reload);
    assert!(reloaded.status.success(), "{}", words(&reloaded));
    soon("both have the same one", || {
        vaults_batch(&world, &["AB123456"]).status == 200
    });
    world.stop();
    assert!(source.stop().success());
    assert_eq!((world.mappings(), derived(&world)), (1, 1));
    assert!(tokenized(&world).iter().all(|accepted| *accepted > 0));
}

#[test]
fn a_clock_that_is_set_back_renews_no_quota() {
    let (mut world, place) = with_quota(1_000, 100);
    // It begins two days ahead, and then is right: as right as this program's own, which may be
    // moved.
    let already = std::env::var("SKEW").ok();
    let already: i64 = already.map_or(0, |seconds| seconds.parse().unwrap());
    world.env = vec![
        ("LD_PRELOAD".into(), shim("skew").display().to_string()),
        ("SKEW".into(), (already + 2 * 86_400).to_string()),
    ];
    let source = place.first_start(&world);
    let reply = ask(&world, &place, 60);
    assert!(matches!(
        outcomes(&reply, &[60])[0],
        PartOutcome::Answers(_)
    ));
    assert!(source.stop().success());
    world.env.clear();
    let source = unready(&world, &place, "\"clock\"");
    assert_eq!(refused(&ask(&world, &place, 41), 41), Code::QuotaExceeded);
    let reply = ask(&world, &place, 40);
    assert!(matches!(
        outcomes(&reply, &[40])[0],
        PartOutcome::Answers(_)
    ));
    assert_eq!(refused(&ask(&world, &place, 1), 1), Code::QuotaExceeded);
    // Two operators have the mark lowered: what was used stays used.
    place.client(&world, "operator");
    let ready = get(place.health, "/readyz").unwrap();
    let mark = ready.split(", and ").nth(1).unwrap();
    let mark = mark.split(' ').next().unwrap().parse().unwrap();
    let entity = "identity/trust".to_owned();
    let lower = world.statement(Destruction::ClockMark { entity, mark });
    let signed = world.sign_statement(&lower, &["operator", "operator-2"]);
    world.write("lower.jws", &signed);
    let client = ["--client", "clients/operator.toml"];
    let lower = ["clock", "lower", "--statement", "lower.jws", "--yes"];
    let lowered = world.cloison(&[&lower[..], &client].concat());
    assert!(lowered.status.success(), "{}", words(&lowered));
    soon("the clock is no longer behind", || {
        get(place.health, "/readyz").is_some_and(|said| said.contains("\"ready\":true"))
    });
    assert_eq!(refused(&ask(&world, &place, 1), 1), Code::QuotaExceeded);
    drop(source);
    assert_eq!(derived(&world), 100);
}

#[test]
fn a_disk_that_is_nearly_full_derives_nothing() {
    let (world, place) = with_quota(1_000, 100);
    let source = place.first_start(&world);
    assert!(source.stop().success());
    world.replace(
        "identity.toml",
        "reserve-mib = 1\n",
        "reserve-mib = 1000000\n",
    );
    let source = unready(&world, &place, "\"space\"");
    let reply = ask(&world, &place, 1);
    assert_eq!(
        (reply.status, &*problem(&reply)),
        (503, "audit-unavailable")
    );
    assert!(reply.header("retry-after").is_some());
    drop(source);
    assert_eq!(derived(&world), 0);
}

/// A write that fails ends the source: what is not durable is not answered.
#[test]
fn a_write_that_fails_answers_nothing_that_is_not_logged() {
    let (world, place) = with_quota(100_000, 1_000_000_000);
    let source = place.first_start(&world);
    let whole = ask(&world, &place, 60);
    assert!(matches!(
        outcomes(&whole, &[60])[0],
        PartOutcome::Answers(_)
    ));
    source.limit_files(1);
    let cards = ["AB123456"];
    let asked = body(&[part(health(&world), "cnss-health", &cards)]);
    let content = [("content-type", cloison::utis::CONTENT)];
    let bytes = crate::common::request("POST", cloison::utis::PATH, &content, &asked);
    let sent = place.connect(&world, "vault-utis").exchange(&bytes);
    assert!(
        sent.is_err() || sent.is_ok_and(|reply| problem(&reply) == "audit-unavailable"),
        "nothing is answered"
    );
    assert_eq!(source.wait().code(), Some(70), "it ends");
    // There is room again.
    let source = place.start(&world, &[]).unwrap();
    let reply = ask(&world, &place, 1);
    assert!(matches!(outcomes(&reply, &[1])[0], PartOutcome::Answers(_)));
    assert!(source.stop().success());
    assert_eq!(derived(&world), 61);
}

#[test]
fn what_a_source_cannot_do_is_a_fault_of_its_configuration() {
    let world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    world.replace(
        "identity.toml",
        "\n[secrets]",
        "\n[audit]\nfollowed = \"data/vault.followed\"\n[secrets]",
    );
    let failed = place.start(&world, &["--first-start"]).err().unwrap();
    assert!(
        failed.said.contains("`followed` would hold nothing"),
        "{failed}"
    );
    assert!(!world.path("data/identity").exists());
}
