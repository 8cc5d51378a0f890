//! Rows that somebody with access to the vault's store moves about: they open nowhere else.

use cloison::store::{ChunkKey, RowBatch, Store, StoreError};

use super::common::{QUORUM, Side, World};
use super::people::{codes, quiet};

/// Chunks, sealed, by their keys.
type Rows = Vec<(ChunkKey, Vec<u8>)>;

/// Two batches in two segments (a vault forgets its data keys at a restart), and their chunks and
/// segments.
fn two_segments() -> (World, Vec<String>, Rows, Vec<[u8; 16]>) {
    let mut world = quiet();
    let mut asked = world.health_pseudonyms(&["AB000000"]);
    world.end(Side::Vault);
    world.start(Side::Vault, &[]);
    asked.extend(world.health_pseudonyms(&["AB000001"]));
    let order = world.sign(&world.order("health", &asked), QUORUM);
    // The node first: a vault that was started anew has to be watched again before it releases.
    world.reidentify(&order, "health", &asked).ok();
    let release = world
        .release_with(
            &order,
            &world.request(&order, "health", &asked),
            "health",
            &asked,
        )
        .ok();
    let segments: Vec<[u8; 16]> = release["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            let record = data_encoding::BASE64URL_NOPAD
                .decode(record.as_str().unwrap().as_bytes())
                .unwrap();
            record[1..17].try_into().unwrap()
        })
        .collect();
    assert_eq!(segments.len(), 2);
    world.end(Side::Vault);
    let mut chunks = vec![];
    world
        .store(Side::Vault)
        .each_chunk::<StoreError>(|key, row| {
            chunks.push((key, row));
            Ok(())
        })
        .unwrap();
    assert_eq!(chunks.len(), 2);
    (world, asked, chunks, segments)
}

fn write(store: &Store, put: impl FnOnce(&mut RowBatch)) {
    let mut batch = RowBatch::default();
    put(&mut batch);
    store.commit(batch).unwrap();
}

#[test]
fn a_mapping_row_over_another_row() {
    let (mut world, _, chunks, _) = two_segments();
    let store = world.store(Side::Vault);
    write(&store, |batch| {
        store.put_chunk(batch, chunks[0].0, &chunks[1].1);
    });
    drop(store);
    let failed = world
        .try_start(Side::Vault, &[])
        .expect_err("it must not start");
    assert!(failed.said.contains("does not open"), "{failed}");
    // A copy at a place of its own is none either.
    let store = world.store(Side::Vault);
    let elsewhere = ChunkKey {
        sequence: 9,
        ..chunks[0].0
    };
    write(&store, |batch| {
        store.put_chunk(batch, chunks[0].0, &chunks[0].1);
        store.put_chunk(batch, elsewhere, &chunks[1].1);
    });
    drop(store);
    let failed = world
        .try_start(Side::Vault, &[])
        .expect_err("it must not start");
    assert!(failed.said.contains("does not open"), "{failed}");
}

#[test]
fn a_segment_row_for_another_one() {
    let (mut world, asked, _, segments) = two_segments();
    let store = world.store(Side::Vault);
    let records = [
        store.segment(&segments[0]).unwrap().unwrap(),
        store.segment(&segments[1]).unwrap().unwrap(),
    ];
    write(&store, |batch| {
        store.put_segment(batch, &segments[0], &records[1]);
        store.put_segment(batch, &segments[1], &records[0]);
    });
    drop(store);
    world.start(Side::Vault, &[]);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    let ask = |world: &World| codes(&world.reidentify(&order, "health", &asked).ok());
    assert_eq!(
        ask(&world),
        [
            Some("mapping-invalid".to_owned()),
            Some("mapping-invalid".to_owned())
        ]
    );

    // A segment that somebody made up: no signature of the vault's, no opening.
    world.end(Side::Vault);
    let store = world.store(Side::Vault);
    let mut forged = records[0].clone();
    let commitment = 1 + 16 + 16 + 8;
    forged[commitment] ^= 1;
    write(&store, |batch| {
        store.put_segment(batch, &segments[0], &forged);
        store.put_segment(batch, &segments[1], &records[1]);
    });
    drop(store);
    world.start(Side::Vault, &[]);
    assert_eq!(ask(&world), [Some("mapping-invalid".to_owned()), None]);
}
