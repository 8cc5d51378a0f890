//! Stolen: a copy of the store and the authority's key, with all else that the authority's node
//! has.

use cloison::keys::DomainScope;
use cloison::keys::file::{SecretKind, read_secret};
use cloison::keys::{AuthoritySecret, StoreKey, StoreSecret};
use cloison::register::Suite;
use cloison::seal::SealError;
use cloison::seal::chunk::ChunkCipher;
use cloison::seal::mapping::{MappingLocation, RecordView};
use cloison::seal::segment::{AuthorityPrivateKey, OpenedSegment};

use super::story::{Loot, Story, rows, stopped};

#[test]
fn the_store_and_the_authoritys_key_open_nothing() {
    let mut story = Story::told();
    stopped(&mut story);
    let loot = Loot::take(
        &story.world,
        &[
            "data/vault",
            "data/node",
            "secrets/authority",
            "node.toml",
            "register.toml",
        ],
    );
    let rows = rows(&loot.path("data/vault"));

    // The key is the right one: segments open, and the thief holds the data keys of all mappings.
    let scalar = || {
        read_secret(
            &loot.path("secrets/authority/court-2026.secret"),
            SecretKind::Authority,
        )
        .unwrap()
    };
    let key = AuthorityPrivateKey::derive(&AuthoritySecret(scalar()), "court-2026", Suite::X25519);
    let config = cloison::config::NodeConfig::load(&loot.path("node.toml")).unwrap();
    let segments: Vec<_> = rows
        .iter()
        .filter(|row| row.0 == "segment")
        .map(|(_, _, record)| OpenedSegment::open(record, &key, &config.segment_keys).unwrap())
        .collect();
    assert!(
        segments.len() >= 4,
        "at least one for each sector that keeps mappings"
    );

    // And yet: no secret that he holds opens a chunk, ...
    let audit = || {
        read_secret(
            &loot.path("secrets/authority/audit.secret"),
            SecretKind::Audit,
        )
        .unwrap()
    };
    let chunks: Vec<_> = rows.iter().filter(|row| row.0 == "chunk").collect();
    assert!(chunks.len() >= 7, "{}", chunks.len());
    for secret in [scalar(), audit()] {
        let cipher = ChunkCipher::new([(1, StoreKey::new(&StoreSecret(secret)))]);
        for (_, key, row) in &chunks {
            assert_eq!(cipher.unwrap(key, row.clone()).err(), Some(SealError::Open));
        }
    }
    // ... and no stretch of a closed chunk is a record that opens under a data key at the place
    // where it belongs.
    let register =
        cloison::register::parse(&std::fs::read_to_string(loot.path("register.toml")).unwrap())
            .unwrap();
    let mut tried = 0;
    for (_, _, row) in &chunks {
        // P ‖ nonce ‖ LP(scheme ‖ value ‖ day, and a tag), as long as the first person's record is.
        let length = 16 + 12 + 2 + 2 + "cnie".len() + 2 + "QK7730914".len() + 4 + 16;
        for at in 0..row.len().saturating_sub(length).min(2_000) {
            let mut record = row[at..at + length].to_vec();
            // The length is in clear in a record, so the thief may write it.
            record[28..30].copy_from_slice(&((length - 30) as u16).to_be_bytes());
            let record = RecordView::parse(&record).unwrap();
            for segment in &segments {
                let place = MappingLocation::new(segment.sector(), 1, &DomainScope::default());
                assert_eq!(record.open(segment, place).err(), Some(SealError::Open));
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000 && register.sectors.len() >= 5);
    loot_shows_nothing_else(&story, &loot);
}

/// The rest of the loot, byte by byte: only the authority's own secrets stand in it.
fn loot_shows_nothing_else(story: &Story, loot: &Loot) {
    for file in loot.files() {
        let own = file.starts_with(loot.path("secrets"));
        let allowed: &[_] = if own {
            &[super::canaries::Kind::Secret]
        } else {
            &[]
        };
        story.canaries.assert_absent(
            &file.display().to_string(),
            &std::fs::read(&file).unwrap(),
            allowed,
        );
    }
}
