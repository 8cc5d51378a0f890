//! Backups of the identity source, and what a restore or a rollback gives a thief: no quota.

use cloison::epoch::statement::Destruction;

use super::quotas::{ask, with_quota};
use super::thief::declared;
use super::*;
use crate::common::backups::{good, words};
use crate::common::process::soon;

const DAY: u64 = 100;

/// A source with a repository for backups and a custodian's client file.
fn prepared(place_of_the_log: &str) -> (World, IdentityPlace) {
    let (world, place) = declared(DAY);
    place.client(&world, "keeper-1");
    std::fs::create_dir(world.path("identity-backup")).unwrap();
    let section = format!("\n[backup]\npath = \"identity-backup\"\n{place_of_the_log}[secrets]");
    world.replace("identity.toml", "\n[secrets]", &section);
    (world, place)
}

fn back_up(world: &World) {
    let done = world.cloison(&["backup", "create", "--client", "clients/keeper-1.toml"]);
    assert!(done.status.success(), "{}", words(&done));
}

fn restore(world: &World, more: &[&str]) -> std::process::Output {
    let usual = [
        "restore",
        "identity-backup",
        "--config",
        "identity.toml",
        "--json",
    ];
    world.cloison(&[&usual[..], more].concat())
}

fn is_answered(world: &World, place: &IdentityPlace, count: usize) -> bool {
    match &outcomes(&ask(world, place, count), &[count])[0] {
        PartOutcome::Answers(_) => true,
        PartOutcome::Refused(refusal) => {
            assert_eq!(refusal.code(), Code::QuotaExceeded);
            false
        }
    }
}

/// Waits until the only place holds the start, the backup, and what was asked twice.
fn is_held(world: &World, place: &IdentityPlace) {
    let asked = crate::common::request("GET", "/v1/status", &[], b"");
    soon("the place holds what was used", || {
        let status = place.connect(world, "keeper-1").exchange(&asked);
        let held = status.unwrap().ok()["log"]["places"][0].clone();
        held["entries"].as_u64() >= Some(4) && held["behind_seconds"].is_null()
    });
}

#[test]
fn a_restore_with_a_place_brings_back_what_was_used_since_the_backup() {
    let (world, place) =
        prepared("[audit]\nsecond = \"elsewhere/identity\"\nsecond-elsewhere = true\n");
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    let source = place.first_start(&world);
    assert!(is_answered(&world, &place, 10));
    back_up(&world);
    assert!(is_answered(&world, &place, 60));
    is_held(&world, &place);
    source.kill();
    world.lose("data/identity");
    good(&restore(&world, &[]));
    let source = place.start(&world, &[]).unwrap();
    assert!(!is_answered(&world, &place, 31), "70 are used");
    assert!(is_answered(&world, &place, 30));
    assert!(!is_answered(&world, &place, 1));
    assert!(source.stop().success());
    let verified = [
        "audit",
        "verify",
        "data/identity",
        "--register",
        "register.toml",
    ];
    let verified = world.cloison(&verified);
    assert!(verified.status.success(), "{}", words(&verified));
}

#[test]
fn after_a_restore_without_places_the_day_is_used_up() {
    let (world, place) = prepared("");
    let source = place.first_start(&world);
    assert!(is_answered(&world, &place, 10));
    back_up(&world);
    source.kill();
    world.lose("data/identity");
    let mut manifests = std::fs::read_dir(world.path("identity-backup/manifests")).unwrap();
    let name = manifests.next().unwrap().unwrap().file_name();
    let backup = name.to_string_lossy().split('.').next().unwrap().to_owned();
    let loss = Destruction::RestoreWithoutPlaces {
        entity: "identity/trust".to_owned(),
        backup,
        case: "OPS/2026-17".to_owned(),
    };
    let signed = world.sign_statement(&world.statement(loss), &["operator", "operator-2"]);
    world.write("loss.jws", &signed);
    good(&restore(&world, &["--without-places", "loss.jws"]));
    let source = place.start(&world, &[]).unwrap();
    assert!(
        !is_answered(&world, &place, 1),
        "nobody knows what was used"
    );
    // Nor is there a migration or an officer's act.
    for (kind, by) in [(UtiKind::Migrate, "court"), (UtiKind::Rights, "rights-1")] {
        let asked = part_of(kind, health(&world), by, "cnie", &["AB123456"]);
        let reply = place.ask(&world, &body(&[asked]));
        assert_eq!(refused(&reply, 1), Code::QuotaExceeded, "{kind:?}");
    }
    assert!(source.stop().success());
}

#[test]
fn a_copy_of_the_store_that_is_put_back_serves_nothing() {
    let (mut world, place) = with_quota(1_000, DAY);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    assert!(is_answered(&world, &place, 10));
    assert!(source.stop().success());
    crate::common::copy_folder(
        &world.path("data/identity"),
        &world.path("data/identity-copy"),
    );

    let source = place.start(&world, &[]).unwrap();
    assert!(is_answered(&world, &place, 60));
    let seen = || {
        let folder = world.path("data/vault.cosigned");
        let files = crate::common::files(&folder);
        let notes = files
            .into_iter()
            .filter_map(|path| std::fs::read_to_string(path).ok());
        notes
            .filter(|note| note.starts_with("cloison/test/identity/"))
            .filter_map(|note| note.lines().nth(1)?.parse::<u64>().ok())
            .max()
            .unwrap_or(0)
    };
    let before = seen();
    // Every answer is an entry that the vault comes to see.
    assert!(is_answered(&world, &place, 1));
    soon("the vault has seen what the source logged", || {
        seen() > before.max(3)
    });
    assert!(source.stop().success());
    std::fs::rename(
        world.path("data/identity"),
        world.path("data/identity-later"),
    )
    .unwrap();
    std::fs::rename(
        world.path("data/identity-copy"),
        world.path("data/identity"),
    )
    .unwrap();
    let failed = place.start(&world, &[]).err();
    let failed = failed.expect("it does not start on a store that was put back");
    assert_eq!(failed.code, Some(71), "{failed}");
    assert!(!failed.said.contains("panicked"), "{failed}");
    world.stop();
}

#[test]
fn the_vault_keeps_the_sources_log_and_a_restore_takes_it_from_there() {
    let (mut world, place) =
        prepared("[audit]\n[[audit.follower]]\nname = \"vault\"\npeer = \"vault\"\n");
    let second = "second = \"data/vault.place\"";
    let followed = format!("{second}\nfollowed = \"data/others\"");
    world.replace("vault.toml", second, &followed);
    let source = place.first_start(&world);
    world.start(Side::Vault, &[]);
    assert!(is_answered(&world, &place, 10));
    back_up(&world);
    assert!(is_answered(&world, &place, 60));
    let kept = "data/others/test/identity/trust";
    is_held(&world, &place);
    source.kill();
    world.stop();
    world.lose("data/identity");
    good(&restore(&world, &["--from", kept]));
    let source = place.start(&world, &[]).unwrap();
    assert!(!is_answered(&world, &place, 31), "70 are used");
    assert!(is_answered(&world, &place, 30));
    assert!(source.stop().success());
}
