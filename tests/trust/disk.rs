//! Stolen: the vault's disk, or a backup of its store. Not its secrets, which lie elsewhere.

use super::canaries::Kind;
use super::common::Side;
use super::story::{Loot, Story, rows, stopped};

#[test]
fn the_vaults_disk_shows_nobody() {
    let mut story = Story::told();

    // The machine as it lies there when the power goes, and after the next start and stop.
    story.world.kill(Side::Vault);
    let crashed = Loot::take(
        &story.world,
        &[
            "data/vault",
            "vault.toml",
            "register.toml",
            "register.jws",
            "tls",
        ],
    );
    story.world.start(Side::Vault, &[]);
    stopped(&mut story);
    let whole = Loot::take(
        &story.world,
        &[
            "data/vault",
            "vault.toml",
            "register.toml",
            "register.jws",
            "tls",
        ],
    );
    for loot in [&crashed, &whole] {
        loot.assert_shows_nothing(&story.canaries, "data/vault");
    }
    let kinds: Vec<_> = ["sst", "blob"]
        .into_iter()
        .filter(|kind| has(&whole, kind))
        .collect();
    assert_eq!(
        kinds,
        ["sst", "blob"],
        "both kinds of file were looked at, and the write-ahead log before"
    );

    // The search finds what is there: with the vault's store secret, which no disk of the store
    // holds, the pseudonyms come out; and what clients sent is found where it was sent from.
    let unwrapped = super::vaults_chunks(&story.world.path(""), &whole.path("data/vault"));
    let pseudonyms: usize = unwrapped
        .iter()
        .map(|plain| story.canaries.count(plain, Kind::Pseudonym))
        .sum();
    assert!(pseudonyms > 600, "{pseudonyms}");
    for plain in &unwrapped {
        story.canaries.assert_absent(
            "a chunk without its outer envelope",
            plain,
            &[Kind::Pseudonym],
        );
    }
    assert!(!story.canaries.find(b"...QK7730914...").is_empty());
}

/// What the disk shows all the same, so that docs/threat-model.md stays true: columns, sector
/// numbers, counts.
#[test]
fn the_disk_shows_counts_by_sector_number_and_no_more() {
    let mut story = Story::told();
    stopped(&mut story);
    let loot = Loot::take(&story.world, &["data/vault"]);
    let rows = rows(&loot.path("data/vault"));
    let chunks: Vec<_> = rows.iter().filter(|row| row.0 == "chunk").collect();
    assert!(chunks.iter().all(|(_, key, _)| key.len() == 16));
    let sectors: std::collections::BTreeSet<_> =
        chunks.iter().map(|(_, key, _)| key[..4].to_vec()).collect();
    assert_eq!(
        sectors.len(),
        4,
        "five sectors were used, and the study keeps no mapping"
    );
    // No two rows share their first bytes beyond format and key version: a nonce is never used
    // twice.
    let nonces: std::collections::BTreeSet<_> = chunks
        .iter()
        .map(|(.., value)| value[5..29].to_vec())
        .collect();
    assert_eq!(nonces.len(), chunks.len());
}

fn has(loot: &Loot, extension: &str) -> bool {
    loot.files()
        .iter()
        .any(|file| file.extension().is_some_and(|found| found == extension))
}
