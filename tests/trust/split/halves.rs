//! Each half of a split deployment, stolen alone, and both.

use super::*;
use crate::canaries::{Canaries, Kind, Roots};
use crate::common::files;
use crate::story::{SEATS, place};

/// Everything in these folders and files, as a thief takes it.
fn loot(world: &World, paths: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut loot = vec![];
    for path in paths {
        let path = world.path(path);
        let all = if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        };
        for file in all {
            let bytes = std::fs::read(&file).unwrap();
            loot.push((file.display().to_string(), bytes));
        }
    }
    assert!(loot.len() > paths.len(), "there is something to steal");
    loot
}

#[test]
fn either_half_alone_makes_no_pseudonym_and_both_make_every_one() {
    let (mut world, _place, source) = split_world();
    let roots = Roots::of(&world.path("."));
    std::fs::remove_file(world.path("secrets/vault/identity.secret")).unwrap();
    let cards = ["AB123456", "CD7654321"];
    let pseudonyms = world.health_pseudonyms(&cards);
    world.stop();
    assert!(source.stop().success());

    // Both halves: every pseudonym of every card that can be guessed.
    let mut persons = Canaries::none();
    let seat = place(&world, SEATS[0], 1);
    for (card, pseudonym) in cards.iter().zip(&pseudonyms) {
        assert_eq!(persons.person(&roots, "cnie", card, &seat), *pseudonym);
    }

    // The source's half, all that its administrator has, with a trace of all that it did: nobody
    // who was asked for, no UTI, no pseudonym, and of the vault's secrets none.
    persons.secrets_below(&world.path("secrets/vault"));
    let own_secret = data_encoding::HEXLOWER
        .decode(roots.identity.as_bytes())
        .unwrap();
    let of_source = [
        "data/identity",
        "secrets/identity",
        "secrets/tls/identity.key",
        "identity.toml",
        "logs/identity.log",
    ];
    for (file, bytes) in loot(&world, &of_source) {
        persons.assert_absent(&file, &bytes, &[]);
    }

    // The vault's half: no UTI and no identity secret. Its own secrets stand in their files, and
    // its pseudonyms nowhere.
    let is_secret = |file: &str| file.contains("/secrets/");
    for (file, bytes) in loot(
        &world,
        &[
            "data/vault",
            "secrets/vault",
            "vault.toml",
            "logs/vault.log",
        ],
    ) {
        let allowed: &[Kind] = if is_secret(&file) {
            &[Kind::Secret]
        } else {
            &[]
        };
        persons.assert_absent(&file, &bytes, allowed);
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(
            !has(&own_secret) && !has(roots.identity.as_bytes()),
            "{file}"
        );
    }
}
