//! Erasure in the store, wherever the index has its entries, while others write: who was erased is
//! nowhere and does not come back, and everybody else is where they were.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloison::access;
use cloison::audit::StatementNote;
use cloison::code::Code;
use cloison::commit::LowerMark;
use cloison::pseudonym::Pseudonym;
use cloison::refusal::Refusal;
use cloison::register::{Register, RightsOfficer, SpkiDigest};
use cloison::reidentify::reveal::RevealedItem;
use cloison::rights::erase::{ErasureReceipt, at_vault};
use cloison::rights::request::ErasureRequest;
use cloison::statement::{self, Statement as _};
use cloison::store::{RowBatch, StoreError};
use cloison::vault::Vault;
use ed25519_dalek::SigningKey;

use super::world::{
    self, CALLERS, World, asked, card, id, order_for, release_of, reveal, tokenize,
};

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// The register with two rights officers for the sector `health`.
pub fn register() -> Register {
    with_officers(world::register())
}

/// A register, and two rights officers for the sector `health`.
pub fn with_officers(mut register: Register) -> Register {
    for number in [201, 202] {
        let officer = RightsOfficer {
            id: id(&format!("rights-{number}")),
            name: "An officer".into(),
            key: key(number).verifying_key(),
            certificate: SpkiDigest([number; 32]),
            sectors: vec!["health".into()],
        };
        register
            .rights_officers
            .insert(officer.id.clone(), Arc::new(officer));
    }
    register
}

pub fn open(world: &World) -> Vault {
    world
        .open_with(register(), Box::new(|error| panic!("{error}")))
        .unwrap_or_else(|error| panic!("{error}"))
}

pub fn texts(vault: &Vault, pseudonyms: &[Pseudonym]) -> Vec<String> {
    let tag = &vault.sector("health").unwrap().sector.tag;
    let writer = cloison::pseudonym::TextWriter::new(cloison::register::TextForm::Bech32m, tag, 1);
    pseudonyms
        .iter()
        .map(|pseudonym| writer.text(pseudonym))
        .collect()
}

/// A request that both officers signed.
pub fn request(vault: &Vault, pseudonyms: Vec<String>) -> String {
    let erasure = ErasureRequest {
        aud: vault.register().deployment.clone(),
        id: cloison::clock::random_uuid(),
        sector: "health".into(),
        pseudonyms,
        reason: id("request"),
        time: vault.now(),
    };
    [201, 202]
        .iter()
        .fold(erasure.draft().unwrap(), |text, number| {
            statement::sign::<ErasureRequest>(&text, &format!("rights-{number}"), &key(*number))
                .unwrap()
        })
}

pub fn lodge(vault: &Vault, signed: &str) -> Result<ErasureReceipt, Refusal> {
    let permit = access::rights_officer(vault.register(), SpkiDigest([201; 32])).unwrap();
    at_vault(vault, &permit, signed)
}

pub fn erase(vault: &Vault, pseudonyms: Vec<String>) -> ErasureReceipt {
    lodge(vault, &request(vault, pseudonyms)).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// A request that is too old is not brought again with a clock that was set back.
#[test]
fn an_erasure_is_not_lodged_by_a_clock_behind_its_mark() {
    let world = World::new();
    let vault = open(&world);
    let pseudonyms = tokenize(&vault, CALLERS[0], &[card(1)]).unwrap().pseudonyms;
    let old = request(&vault, texts(&vault, &pseudonyms));
    world.later(jiff::SignedDuration::from_hours(24 * 31));
    tokenize(&vault, CALLERS[0], &[card(1)]).unwrap();
    assert_eq!(lodge(&vault, &old).unwrap_err().code(), Code::RightsInvalid);
    world.clock.set(world::dawn());
    assert_eq!(lodge(&vault, &old).unwrap_err().code(), Code::ClockBehind);
}

/// A release forgets the requests of officers that are old by its clock, and nothing else.
#[test]
fn an_erasure_is_not_carried_out_again_after_a_clock_that_ran_ahead() {
    let world = World::new();
    let vault = open(&world);
    let pseudonyms = tokenize(&vault, CALLERS[0], &[card(1), card(2)])
        .unwrap()
        .pseudonyms;
    let named = texts(&vault, &pseudonyms);
    let signed = request(&vault, named[..1].to_vec());
    lodge(&vault, &signed).unwrap();
    world.later(jiff::SignedDuration::from_hours(24 * 40));
    let order = order_for(vault.now(), "health", &named[1..]);
    release_of(&vault, &asked(vault.now(), &order, "health", &named[1..])).unwrap();
    let statement = StatementNote {
        statement: "a".into(),
        signers: vec![id("one"), id("two")],
    };
    let lower = LowerMark {
        mark: vault.now(),
        id: uuid::Uuid::from_u128(1),
        until: 0,
        statement,
        bearer: id("one"),
    };
    world.clock.set(world::dawn());
    vault
        .committer()
        .lower_mark(vault.store(), &lower, vault.now())
        .unwrap();
    assert_eq!(
        lodge(&vault, &signed).unwrap_err().code(),
        Code::RequestReplayed
    );
}

#[test]
fn what_older_versions_noted_as_carried_out_is_still_found() {
    let world = World::new();
    let vault = open(&world);
    let (store, id, until) = (
        vault.store(),
        uuid::Uuid::from_bytes([7; 16]),
        vault.now().as_second(),
    );
    assert!(!store.is_carried_out(until, id).unwrap());
    let mut batch = RowBatch::default();
    store.put_request(&mut batch, until, id, 0).unwrap();
    store.commit(batch).unwrap();
    assert!(store.is_carried_out(until, id).unwrap());
}

/// Everybody whose mapping lies in a chunk, each once.
fn stored(world: &World, vault: &Vault) -> BTreeSet<[u8; 16]> {
    let (cipher, mut found, mut records) = (world.cipher(), BTreeSet::new(), 0);
    let each = |key: cloison::store::ChunkKey, row| {
        for record in cipher.unwrap(&key.to_bytes(), row).unwrap().records() {
            found.insert(*record.unwrap().pseudonym.as_bytes());
            records += 1;
        }
        Ok(())
    };
    vault.store().each_chunk::<StoreError>(each).unwrap();
    assert_eq!(records, found.len(), "nobody is stored twice");
    found
}

const PERSONS: u32 = 3_000;

fn erased_for_good(memory: u64) {
    let world = World::bounded(memory);
    let mut vault = open(&world);
    let all: Vec<String> = (0..PERSONS).map(card).collect();
    let mut pseudonyms = vec![];
    for items in all.chunks(700) {
        pseudonyms.extend(tokenize(&vault, CALLERS[0], items).unwrap().pseudonyms);
    }
    for n in 0..100 {
        pseudonyms.extend(
            tokenize(&vault, CALLERS[0], &[card(PERSONS + n)])
                .unwrap()
                .pseudonyms,
        );
    }
    let all: Vec<String> = (0..PERSONS + 100).map(card).collect();
    let begun = Instant::now();
    while vault.index().is_over() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let victims: Vec<usize> = vec![0, 5, 699, 1_500, 2_999, 3_000, 3_050];
    let erased: BTreeSet<[u8; 16]> = victims.iter().map(|n| *pseudonyms[*n].as_bytes()).collect();
    let named = texts(
        &vault,
        &victims.iter().map(|n| pseudonyms[*n]).collect::<Vec<_>>(),
    );

    // Batches with everybody in them are answered all the while.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(tokenize(&vault, CALLERS[0], &all).unwrap().pseudonyms == pseudonyms);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(100));
        let (first, rest) = named.split_at(3);
        erase(&vault, first.to_vec());
        assert_eq!(vault.index().len(), pseudonyms.len() as u64 - 3);
        erase(&vault, rest.to_vec());
        assert_eq!(vault.index().len(), pseudonyms.len() as u64 - 7);
        erase(&vault, named.clone());
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });

    for round in 0..2 {
        // It was asked for again, and comes back neither at once nor after a restart.
        assert!(tokenize(&vault, CALLERS[0], &all).unwrap().pseudonyms == pseudonyms);
        let found = stored(&world, &vault);
        assert_eq!(
            found.len(),
            pseudonyms.len() - victims.len(),
            "round {round}"
        );
        assert!(found.is_disjoint(&erased));
        let partition = vault
            .index()
            .partition((vault.sector("health").unwrap().number, 1));
        for pseudonym in &pseudonyms {
            let place = partition
                .locate(vault.store(), pseudonym.as_bytes())
                .unwrap();
            assert_eq!(place.is_none(), erased.contains(pseudonym.as_bytes()));
        }
        vault.store().scrub().unwrap();
        drop(vault);
        vault = open(&world);
    }
    // Everybody else opens, and to the right person.
    let node = world.node();
    for (place, item) in reveal(&vault, &node, "health", &texts(&vault, &pseudonyms))
        .into_iter()
        .enumerate()
    {
        match item {
            RevealedItem::Identifier { value, .. } => assert_eq!(*value.0, card(place as u32)),
            RevealedItem::Refused { code, .. } => {
                assert!(
                    code == Code::NoMapping && victims.contains(&place),
                    "{place}: {code}"
                );
            }
        }
    }
}

#[test]
fn erased_from_the_tables() {
    erased_for_good(u64::MAX);
}

#[test]
fn erased_from_the_disk() {
    erased_for_good(0);
}

#[test]
fn a_request_is_carried_out_once_and_a_scrub_that_is_due_outlives_a_restart() {
    let world = World::bounded(u64::MAX);
    let mut vault = open(&world);
    let pseudonyms = tokenize(&vault, CALLERS[0], &[card(1), card(2)])
        .unwrap()
        .pseudonyms;
    let named = texts(&vault, &pseudonyms);
    let signed = request(&vault, named[..1].to_vec());
    assert!(!vault.store().is_scrub_due().unwrap());
    lodge(&vault, &signed).unwrap();
    assert_eq!(stored(&world, &vault).len(), 1);
    for _ in 0..2 {
        assert_eq!(
            lodge(&vault, &signed).unwrap_err().code(),
            Code::RequestReplayed
        );
        assert!(vault.store().is_scrub_due().unwrap());
        drop(vault);
        vault = open(&world);
    }
    erase(&vault, named[1..].to_vec());
    assert!(stored(&world, &vault).is_empty());
    // One scrub does for both, and it is remembered that it was.
    assert!(vault.store().scrub_due().unwrap());
    assert!(!vault.store().scrub_due().unwrap());
    drop(vault);
    let vault = open(&world);
    assert!(!vault.store().is_scrub_due().unwrap());
    assert_eq!(
        lodge(&vault, &signed).unwrap_err().code(),
        Code::RequestReplayed
    );
}
