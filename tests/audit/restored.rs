//! A restore brings back nothing that was ended: every row of the table ([`acts`]) is in force
//! after the vault alone, the node alone and both were restored from a backup of before, with their
//! second places; and after a store that is behind was brought to the present in place.

use std::fs;

use super::acts::{self, Acts, refuses_the_old_register};
use super::common::backups::{good, words};
use super::common::{Side, World, copy_folder};

/// Backups of both sides, then one act for each row; both have stopped.
fn lived() -> (World, Acts) {
    let mut world = acts::world();
    world.with_repositories();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let acts = Acts::prepare(&world);
    world.back_up();
    world.stop();
    for side in [Side::Vault, Side::Node] {
        copy_folder(
            &world.path(side.folder()),
            &world.path(&format!("{}-image", side.folder())),
        );
    }
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    acts.act(&world);
    world.stop();
    (world, acts)
}

/// Both start under the present register only, and every row is in force.
fn check(mut world: World, acts: &Acts, sides: &[Side], used: u64, present: [String; 2]) {
    for side in sides {
        refuses_the_old_register(&mut world, *side);
    }
    for (file, text) in ["register.toml", "register.jws"].into_iter().zip(present) {
        world.write(file, &text);
    }
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    acts.are_in_force(&world);
    world.stop();
    assert!(acts.used(&world) >= used, "the day's quota");
    for side in [Side::Vault, Side::Node] {
        world.verify_log(side);
    }
}

fn nothing_comes_back_by_restore(sides: &[Side]) {
    let (world, acts) = lived();
    let used = acts.used(&world);
    let present = acts.bring_old_files_back(&world);
    for side in sides {
        world.lose(side.folder());
        let done = good(&world.restore(*side, &[]));
        assert!(done["records_after"].as_u64() > Some(0), "{done}");
        if *side == Side::Vault {
            assert!(!acts.has_copies(&world), "the revoked order's copies");
        }
    }
    check(world, &acts, sides, used, present);
}

#[test]
fn nothing_comes_back_with_a_vault_that_is_restored() {
    nothing_comes_back_by_restore(&[Side::Vault]);
}

#[test]
fn nothing_comes_back_with_a_node_that_is_restored() {
    nothing_comes_back_by_restore(&[Side::Node]);
}

#[test]
fn nothing_comes_back_with_both_sides_restored() {
    nothing_comes_back_by_restore(&[Side::Vault, Side::Node]);
}

/// A machine's image without its second place, which lies elsewhere.
#[test]
fn nothing_comes_back_with_images_that_are_brought_to_the_present_in_place() {
    let (mut world, acts) = lived();
    let used = acts.used(&world);
    let sides = [Side::Vault, Side::Node];
    for side in sides {
        let refused = world.restore_in_place(side, &[]);
        assert!(
            words(&refused).contains("no place has more of the log"),
            "{}",
            words(&refused)
        );
        world.lose(side.folder());
        copy_folder(
            &world.path(&format!("{}-image", side.folder())),
            &world.path(side.folder()),
        );
    }
    let failed = world.try_start(Side::Vault, &[]).unwrap_err();
    assert_eq!(failed.code, Some(71), "{failed}");
    assert!(
        failed.said.contains("cloison restore --in-place"),
        "{failed}"
    );
    let present = acts.bring_old_files_back(&world);

    // A place that lies changes nothing.
    let place = world.path("data/vault.place/checkpoint");
    let note = fs::read(&place).unwrap();
    let mut forged = note.clone();
    let size = forged.iter().position(u8::is_ascii_digit).unwrap();
    forged[size] ^= 1;
    fs::write(&place, forged).unwrap();
    let before = fs::read(world.path("data/vault/CURRENT")).unwrap();
    let refused = world.restore_in_place(Side::Vault, &[]);
    assert!(!refused.status.success(), "{}", words(&refused));
    assert_eq!(fs::read(world.path("data/vault/CURRENT")).unwrap(), before);
    assert!(!world.path("data/vault.restoring").exists());
    fs::write(&place, note).unwrap();

    for side in sides {
        let done = good(&world.restore_in_place(side, &[]));
        assert!(done["records_after"].as_u64() > Some(0), "{done}");
        assert!(!world.path(&format!("{}.restoring", side.folder())).exists());
    }
    check(world, &acts, &sides, used, present);
}
