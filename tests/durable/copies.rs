//! An order's own copies: what it may open stays with it, whatever becomes of the mapping, and goes
//! with it.

use std::sync::Arc;

use cloison::access;
use cloison::audit::cosign::{CosignatureQuorum, Cosigner, Cosigners};
use cloison::audit::origin::cosigner_name;
use cloison::code::Code;
use cloison::deployment::register_text::{APPROVERS, AUTHORITY, OFFICER};
use cloison::epoch::retire::{RetireEpochRequest, retire};
use cloison::epoch::statement::Destruction;
use cloison::keys::file::read_signing_key;
use cloison::keys::{Key, StoreKey, StoreSecret};
use cloison::order::OrderPayload;
use cloison::order::act::{ActKind, ActPayload};
use cloison::order::book::Book;
use cloison::register::{Operation, Register};
use cloison::reidentify::copies::{end, start};
use cloison::reidentify::lodge;
use cloison::reidentify::reveal::{self, RevealedItem};
use cloison::reidentify::{Release, ReleasedItem};
use cloison::seal::chunk::ChunkCipher;
use cloison::statement::{self, Statement as _};
use cloison::store::{OrderKey, copy_location};
use cloison::tlog::note::{self, SignatureKind, Verifier};
use cloison::vault::{Vault, VaultHome};
use jiff::SignedDuration;
use rocksdb::{DB, IteratorMode, Options};
use serde_json::{Value, json};

use super::erase::{self, erase, texts};
use super::world::{
    CALLERS, Link, World, advance, asked, card, client_key, deployment, id, lodge_order,
    order_at_most, order_for, release_of, statement, tokenize,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The register with rights officers and without keys of the other side's log: this side's clock
/// alone says what is over.
fn alone() -> Register {
    let mut register = erase::register();
    for authority in register.authorities.values_mut() {
        Arc::make_mut(authority).checkpoint_key = None;
    }
    let client = client_key(&register, "cnss-health");
    Arc::make_mut(register.clients.get_mut(&client).unwrap())
        .operations
        .push(Operation::RetireEpoch);
    register
}

fn open(world: &World) -> Vault {
    let vault = world
        .open_with(alone(), Box::new(|error| panic!("{error}")))
        .unwrap_or_else(|error| panic!("{error}"));
    start::begin(&vault).unwrap();
    vault
}

/// Persons' pseudonyms in the sector `health`.
fn persons(vault: &Vault, range: std::ops::Range<u32>) -> Vec<String> {
    let cards: Vec<_> = range.map(card).collect();
    let answer = tokenize(vault, CALLERS[0], &cards).unwrap();
    answer
        .pseudonyms
        .iter()
        .map(|pseudonym| answer.writer.text(pseudonym))
        .collect()
}

/// The payload of an order, as anybody can read it.
fn payload(order: &str) -> OrderPayload {
    OrderPayload::read(
        cloison::jws::parse(order, OrderPayload::TYP)
            .unwrap()
            .payload(),
    )
    .unwrap()
}

fn key(order: &str) -> OrderKey {
    OrderKey::new(AUTHORITY, payload(order).id)
}

/// The codes under an order; nothing where a mapping is handed out.
fn codes(vault: &Vault, order: &str, pseudonyms: &[String]) -> Vec<Option<Code>> {
    let Release { items, .. } =
        release_of(vault, &asked(vault.now(), order, "health", pseudonyms)).unwrap();
    let code = |item: &ReleasedItem| match item {
        ReleasedItem::Mapping { .. } => None,
        ReleasedItem::Refused { code } => Some(*code),
    };
    items.iter().map(code).collect()
}

/// Whom a node finds under an order.
fn found(
    vault: &Vault,
    world: &World,
    order: &str,
    pseudonyms: &[String],
) -> Vec<Result<String, Code>> {
    let node = world.node();
    let officer = vault.register().authorities[&id(AUTHORITY)].officers[&id(OFFICER)].certificate;
    let permit = access::officer(node.register(), &id(AUTHORITY), officer).unwrap();
    let asked = asked(vault.now(), order, "health", pseudonyms);
    let items = reveal::ask(&node, &permit, &asked, &Link(vault))
        .unwrap()
        .items;
    let who = |item| match item {
        RevealedItem::Identifier { value, .. } => Ok(value.0.to_string()),
        RevealedItem::Refused { code, .. } => Err(code),
    };
    items.into_iter().map(who).collect()
}

type Row = (Vec<u8>, Vec<u8>);

/// All rows of a column, of a store that nobody has open.
fn rows(world: &World, column: &str) -> Vec<Row> {
    let columns = DB::list_cf(&Options::default(), world.store()).unwrap();
    let mut options = Options::default();
    // As the store does: a reader that does not follows a null pointer where the manifest names a
    // log.
    options.set_track_and_verify_wals_in_manifest(true);
    let db = DB::open_cf_for_read_only(&options, world.store(), &columns, false).unwrap();
    let rows = db.iterator_cf(db.cf_handle(column).unwrap(), IteratorMode::Start);
    rows.map(|row| {
        row.map(|(key, value)| (key.into_vec(), value.into_vec()))
            .unwrap()
    })
    .collect()
}

/// How many copies orders have.
fn copies(vault: &Vault) -> usize {
    let mut count = 0;
    let each = |_, _, _| {
        count += 1;
        Ok::<_, cloison::store::StoreError>(())
    };
    vault.store().each_order_copy(each).unwrap();
    count
}

#[test]
fn an_order_goes_on_with_its_copies_after_an_erasure() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..4);
    // One was shown to the vault before, one was used for another person, one for nobody yet.
    let (lodged, used) = (
        order_for(vault.now(), "health", &people),
        order_for(vault.now(), "health", &people),
    );
    lodge_order(&vault, &lodged).unwrap();
    assert_eq!(codes(&vault, &used, &people[3..]), [None]);
    assert_eq!(copies(&vault), 8, "each has all that it lists");
    let late = order_for(vault.now(), "health", &people);

    erase(&vault, people[..2].to_vec());
    for order in [&lodged, &used] {
        assert_eq!(codes(&vault, order, &people), [None; 4]);
    }
    assert_eq!(
        codes(&vault, &late, &people),
        [Some(Code::NoMapping), Some(Code::NoMapping), None, None]
    );
    drop(vault);
    let vault = open(&world);
    let cards: Vec<_> = (0..4).map(|n| Ok(card(n))).collect();
    assert_eq!(
        found(&vault, &world, &lodged, &people),
        cards,
        "after a restart the copies open, to the right persons"
    );
}

#[test]
fn an_erasure_says_the_same_whatever_was_there() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..3);
    let order = order_for(vault.now(), "health", &people[..1]);
    lodge_order(&vault, &order).unwrap();
    assert_eq!(codes(&vault, &order, &people[..1]), [None]);
    let unknown = texts(
        &vault,
        &[cloison::pseudonym::Pseudonym::from_bytes([7; 16])],
    );
    // Under an order, with a mapping only, with nothing at all.
    let receipts: Vec<_> = [&people[0], &people[1], &unknown[0]]
        .map(|one| erase(&vault, vec![one.clone()]))
        .into();
    let said: Vec<Value> = receipts
        .iter()
        .map(|receipt| blank(serde_json::to_value(receipt).unwrap()))
        .collect();
    assert_eq!((&said[0], &said[1]), (&said[1], &said[2]));
    let entries = vault.store().audit_from(0, usize::MAX).unwrap();
    let entries = entries
        .iter()
        .map(|(_, entry)| serde_json::from_slice::<Value>(entry).unwrap());
    let entries: Vec<Value> = entries
        .filter(|entry| entry["event"] == "erase")
        .map(blank)
        .collect();
    let said = json!({"bearer": "rights-201", "event": "erase", "officers": ["rights-201", "rights-202"], "request": "",
        "sector": "health", "time": "", "journal": ""});
    assert_eq!(entries, [said.clone(), said.clone(), said]);
}

/// Without what differs by chance: ids, places, times, and digests of sealed records.
fn blank(mut value: Value) -> Value {
    for member in ["request", "time", "journal"] {
        if let Some(found) = value.get_mut(member) {
            *found = "".into();
        }
    }
    if let Some(entry) = value.get_mut("entry").and_then(Value::as_object_mut) {
        entry.insert("index".to_owned(), json!(0));
        entry.insert("leaf".to_owned(), "".into());
    }
    value
}

#[test]
fn an_order_is_lodged_at_most_thirty_days_ahead_and_nothing_is_said_of_what_is_there() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..2);
    let unknown = texts(
        &vault,
        &[cloison::pseudonym::Pseudonym::from_bytes([7; 16])],
    );
    let later = |days| vault.now() + DAY * days;
    let refused = |order: &str| lodge_order(&vault, order).unwrap_err().code();
    assert_eq!(
        refused(&order_for(later(31), "health", &people)),
        Code::OrderNotYetValid
    );
    let ahead = order_for(later(30), "health", &people);
    let answers = [&ahead, &order_for(later(30), "health", &unknown)].map(|order| {
        let lodged = lodge_order(&vault, order).unwrap();
        assert_eq!(lodged.order, payload(order).id);
        serde_json::to_value(lodged)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(copies(&vault), 2);
    // It opens nothing before its time, and everything at its time.
    erase(&vault, people.clone());
    let early = release_of(&vault, &asked(vault.now(), &ahead, "health", &people)).unwrap_err();
    assert_eq!(early.code(), Code::OrderNotYetValid);
    world.later(DAY * 30);
    assert_eq!(codes(&vault, &ahead, &people), [None, None]);
    // Not signed by enough, of another authority, or under an id that is taken: nothing is copied.
    let (header, before) = (refused("{}"), copies(&vault));
    assert_eq!((header, before), (Code::OrderMalformed, 2));
    world.later(DAY * 2);
    assert_eq!(refused(&ahead), Code::OrderExpired);
}

#[test]
fn an_order_that_was_lodged_is_not_lodged_again() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..1);
    let order = order_for(vault.now(), "health", &people);
    lodge_order(&vault, &order).unwrap();
    let entries = || vault.store().last_audit().unwrap().unwrap().0;
    let before = entries();
    lodge_order(&vault, &order).unwrap();
    assert_eq!(entries(), before);
}

#[test]
fn an_order_without_a_list_keeps_what_was_asked_for() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..3);
    let order = order_at_most(vault.now(), "health", 3);
    assert_eq!(codes(&vault, &order, &people[..2]), [None; 2]);
    assert_eq!(copies(&vault), 2);
    erase(&vault, people.clone());
    assert_eq!(
        codes(&vault, &order, &people),
        [None, None, Some(Code::NoMapping)]
    );
}

#[test]
fn a_mapping_that_comes_later_is_copied_when_it_is_asked_for() {
    let world = World::new();
    let vault = open(&world);
    // The pseudonym is known from another world on the same keys.
    let elsewhere = World::new();
    let known = persons(&open(&elsewhere), 0..1);
    let order = order_for(vault.now(), "health", &known);
    lodge_order(&vault, &order).unwrap();
    assert_eq!(
        (codes(&vault, &order, &known), copies(&vault)),
        (vec![Some(Code::NoMapping)], 0)
    );
    assert_eq!(persons(&vault, 0..1), known);
    assert_eq!(
        (codes(&vault, &order, &known), copies(&vault)),
        (vec![None], 1)
    );
    erase(&vault, known.clone());
    assert_eq!(codes(&vault, &order, &known), [None]);
}

#[test]
fn an_order_goes_on_when_its_epoch_is_retired() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..3);
    // The overlap of the epochs ends in thirty days.
    let order = order_for(vault.now() + DAY * 30, "health", &people);
    lodge_order(&vault, &order).unwrap();
    advance(&vault, "health", false);
    world.later(DAY * 30 + SignedDuration::from_hours(1));
    let peer = client_key(vault.register(), "cnss-health");
    let permit = access::in_sector(&vault, peer, "health", Operation::RetireEpoch).unwrap();
    let statement = statement(
        &vault,
        Destruction::Epoch {
            sector: "health".into(),
            epoch: 1,
        },
    );
    let how = RetireEpochRequest {
        unmigrated: true,
        statement: Some(statement),
        ..RetireEpochRequest::default()
    };
    assert!(retire(&vault, &permit, 1, &how).unwrap().retired);
    assert_eq!(codes(&vault, &order, &people), [None; 3]);
    let other = order_for(vault.now(), "health", &people);
    assert_eq!(
        codes(&vault, &other, &people),
        [Some(Code::EpochRetired); 3]
    );
}

#[test]
fn nothing_of_an_order_is_left_when_it_is_over() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..3);
    let (order, other) = (
        order_for(vault.now(), "health", &people),
        order_for(vault.now() + DAY, "health", &people),
    );
    assert_eq!(codes(&vault, &order, &people), [None; 3]);
    lodge_order(&vault, &other).unwrap();
    erase(&vault, people.clone());
    let sealed: Vec<Vec<u8>> = raw_copies(&vault, &order);
    assert_eq!(sealed.len(), 3);
    world.later(DAY - SignedDuration::from_secs(1));
    assert_eq!((end::destroy_over(&vault).unwrap(), copies(&vault)), (0, 6));
    world.later(SignedDuration::from_secs(1));
    assert_eq!((end::destroy_over(&vault).unwrap(), copies(&vault)), (1, 3));
    assert_eq!(end::destroy_over(&vault).unwrap(), 0);
    assert_eq!(
        codes(&vault, &other, &people),
        [None; 3],
        "the other order goes on"
    );
    assert!(vault.store().clear_copies().unwrap());
    drop(vault);
    let id = payload(&order).id;
    for column in ["state-order-copy", "state-order-copies"] {
        let of_it = rows(&world, column)
            .into_iter()
            .filter(|(key, _)| key.windows(16).any(|part| part == id.as_bytes()));
        assert_eq!(of_it.count(), 0, "{column}");
    }
    let files: Vec<_> = std::fs::read_dir(world.store())
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    for bytes in files
        .iter()
        .filter(|file| file.is_file())
        .map(|file| std::fs::read(file).unwrap())
    {
        assert!(
            sealed
                .iter()
                .all(|copy| !bytes.windows(copy.len()).any(|part| part == copy)),
            "the bytes are gone, too"
        );
    }
    let ends: Vec<Value> = entries(&world)
        .into_iter()
        .filter(|entry| entry["event"] == "order-end")
        .collect();
    assert_eq!(
        (ends.len(), &ends[0]["order"], &ends[0]["why"]),
        (1, &json!(id.to_string()), &json!("over"))
    );
}

/// Whoever waits for the lock of orders does not wait for the disk.
#[test]
fn clearing_the_files_of_copies_is_left_for_later_and_done_once_also_after_a_restart() {
    let world = World::new();
    let mut vault = open(&world);
    let people = persons(&vault, 0..2);
    for _ in 0..2 {
        lodge_order(&vault, &order_for(vault.now(), "health", &people)).unwrap();
    }
    assert!(
        !vault.store().clear_copies().unwrap(),
        "nothing was destroyed"
    );
    world.later(DAY);
    assert_eq!((end::destroy_over(&vault).unwrap(), copies(&vault)), (2, 0));
    drop(vault);
    vault = open(&world);
    assert_eq!(end::destroy_over(&vault).unwrap(), 0);
    assert!(
        vault.store().clear_copies().unwrap(),
        "destroying has not cleared, and a restart has not forgotten it"
    );
    assert!(
        !vault.store().clear_copies().unwrap(),
        "one clearing does for both orders"
    );
}

fn raw_copies(vault: &Vault, order: &str) -> Vec<Vec<u8>> {
    let (wanted, mut sealed) = (key(order), vec![]);
    let each = |of: OrderKey, _, copy: cloison::store::CopyRow| {
        if of == wanted {
            sealed.push(copy.sealed);
        }
        Ok::<_, cloison::store::StoreError>(())
    };
    vault.store().each_order_copy(each).unwrap();
    sealed
}

fn entries(world: &World) -> Vec<Value> {
    rows(world, "audit")
        .into_iter()
        .map(|(_, entry)| serde_json::from_slice(&entry).unwrap())
        .collect()
}

#[test]
fn the_copies_of_a_revoked_order_are_destroyed() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..2);
    let (order, other) = (
        order_for(vault.now(), "health", &people),
        order_for(vault.now(), "health", &people),
    );
    for order in [&order, &other] {
        lodge_order(&vault, order).unwrap();
    }
    let act = |kind| ActPayload {
        aud: id("durable"),
        act: kind,
        authority: id(AUTHORITY),
        order: payload(&order).id,
        reason: id("test"),
        time: vault.now(),
        lifts: vec![],
    };
    let signer =
        read_signing_key(&deployment().join(format!("secrets/people/{}.pem", APPROVERS[0].id)))
            .unwrap();
    let lodge_act = |kind| {
        let signed =
            statement::sign::<ActPayload>(&act(kind).draft().unwrap(), APPROVERS[0].id, &signer)
                .unwrap();
        let node = vault.register().authorities[&id(AUTHORITY)].node;
        Book::from(&vault)
            .lodge(&signed, &access::bearer(vault.register(), node).unwrap())
            .unwrap()
    };
    lodge_act(ActKind::Suspend);
    assert_eq!(
        (end::destroy_over(&vault).unwrap(), copies(&vault)),
        (0, 4),
        "a suspended order keeps its copies"
    );
    lodge_act(ActKind::Revoke);
    assert_eq!((end::destroy_over(&vault).unwrap(), copies(&vault)), (1, 2));
    assert_eq!(
        lodge_order(&vault, &order).unwrap_err().code(),
        Code::OrderRevoked
    );
    assert_eq!(codes(&vault, &other, &people), [None; 2]);
}

/// The other side's clock is known by its cosignatures.
#[test]
fn a_clock_that_ran_ahead_destroys_no_copy() {
    let world = World::new();
    let vault = erase::open(&world);
    let people = persons(&vault, 0..1);
    let order = order_for(vault.now(), "health", &people);
    lodge_order(&vault, &order).unwrap();
    let dawn = vault.now();
    let key = read_signing_key(&deployment().join("secrets/authority/checkpoint.pem")).unwrap();
    let name = cosigner_name(&format!("durable/node/{AUTHORITY}"));
    let watcher = Cosigner {
        verifier: Verifier::new(name.as_str(), SignatureKind::Cosigner, key.verifying_key()),
        ask: None,
        counts: false,
    };
    let quorum = CosignatureQuorum {
        required: 0,
        within: std::time::Duration::from_secs(1),
    };
    let cosigners = Cosigners::new(
        vec![watcher],
        quorum,
        world.clock.clone(),
        Box::new(|error| panic!("{error}")),
    );
    vault.watch(cosigners.clone());
    let cosign = |time: jiff::Timestamp| {
        let published = vault.log().latest().unwrap();
        let line = note::cosign(
            &name,
            &key,
            &published.checkpoint.text(),
            time.as_second() as u64,
        );
        assert_eq!(
            cosigners.take(vault.log(), &published, &line, &name),
            Ok(true)
        );
    };
    world.later(DAY * 40);
    assert_eq!(
        end::destroy_over(&vault).unwrap(),
        0,
        "nobody else has said that the day has come"
    );
    cosign(dawn + SignedDuration::from_hours(1));
    assert_eq!(
        end::destroy_over(&vault).unwrap(),
        0,
        "the other side says that it has not"
    );
    cosign(dawn + DAY);
    assert_eq!((end::destroy_over(&vault).unwrap(), copies(&vault)), (1, 0));
}

#[test]
fn a_start_brings_copies_under_the_present_storage_key() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..2);
    let order = order_for(vault.now(), "health", &people);
    lodge_order(&vault, &order).unwrap();
    erase(&vault, people.clone());
    drop(vault);
    let two = |first: bool| {
        let mut secrets = world.secrets();
        secrets
            .store
            .push((2, StoreSecret(Key::take(&mut [2; 32]))));
        secrets.store.retain(|(version, _)| first || *version == 2);
        let home = VaultHome {
            store: world.store(),
            index_memory: u64::MAX,
        };
        Vault::open(
            &home,
            alone(),
            secrets,
            &[],
            world.clock.clone(),
            &|_| {},
            Box::new(|error| panic!("{error}")),
        )
    };
    // Nothing but the copies is under the first version: both mappings were erased. Without it they
    // do not open …
    let vault = two(false).unwrap_or_else(|error| panic!("{error}"));
    assert!(
        start::begin(&vault).is_err(),
        "a copy needs the version that it was made under"
    );
    drop(vault);
    // … and once they are under the second one the first is not needed.
    let vault = two(true).unwrap_or_else(|error| panic!("{error}"));
    start::begin(&vault).unwrap();
    drop(vault);
    let second = ChunkCipher::new([(2, StoreKey::new(&StoreSecret(Key::take(&mut [2; 32]))))]);
    for (row_key, value) in rows(&world, "state-order-copy") {
        let tag: [u8; 16] = row_key[row_key.len() - 16..].try_into().unwrap();
        let epoch = u32::from_be_bytes(value[..4].try_into().unwrap());
        assert!(
            second
                .unwrap(
                    &copy_location(&key(&order), &tag, epoch),
                    value[4..].to_vec()
                )
                .is_ok()
        );
    }
    let vault = two(false).unwrap_or_else(|error| panic!("{error}"));
    start::begin(&vault).unwrap();
    assert_eq!(codes(&vault, &order, &people), [None; 2]);
}

/// A store of a version without copies: its orders that are live get them at the first start, of
/// what was asked for.
#[test]
fn orders_that_are_live_get_their_copies_at_the_first_start() {
    let world = World::new();
    let vault = open(&world);
    let people = persons(&vault, 0..3);
    let live = order_for(vault.now(), "health", &people);
    assert_eq!(codes(&vault, &live, &people[..2]), [None; 2]);
    drop(vault);
    forget_copies(&world);
    let vault = open(&world);
    assert_eq!(copies(&vault), 2, "what was asked for");
    erase(&vault, people[..1].to_vec());
    assert_eq!(codes(&vault, &live, &people), [None; 3]);
    assert_eq!(
        copies(&vault),
        3,
        "the list is known when the order is shown again"
    );
}

fn forget_copies(world: &World) {
    let columns = DB::list_cf(&Options::default(), world.store()).unwrap();
    let db = DB::open_cf(&Options::default(), world.store(), &columns).unwrap();
    for column in ["state-order-copy", "state-order-copies"] {
        let column = db.cf_handle(column).unwrap();
        let keys: Vec<_> = db
            .iterator_cf(column, IteratorMode::Start)
            .map(|row| row.unwrap().0)
            .collect();
        keys.iter()
            .for_each(|key| db.delete_cf(column, key).unwrap());
    }
    db.delete_cf(db.cf_handle("state-meta").unwrap(), b"order-copies")
        .unwrap();
}

#[test]
fn no_pseudonym_stands_in_a_copy() {
    let world = World::new();
    let vault = open(&world);
    let answer = tokenize(&vault, CALLERS[0], &[card(0)]).unwrap();
    let order = order_for(vault.now(), "health", &texts(&vault, &answer.pseudonyms));
    lodge_order(&vault, &order).unwrap();
    drop(vault);
    let found = rows(&world, "state-order-copy");
    assert_eq!(found.len(), 1);
    for bytes in [&found[0].0, &found[0].1] {
        assert!(
            !bytes
                .windows(16)
                .any(|part| part == answer.pseudonyms[0].as_bytes())
        );
    }
}

/// The node takes an order too, and brings it to the vault.
#[test]
fn an_order_lodged_at_the_node_reaches_the_vault() {
    let world = World::new();
    let (vault, node) = (open(&world), world.node());
    let people = persons(&vault, 0..2);
    let order = order_for(vault.now() + DAY, "health", &people);
    let officer = vault.register().authorities[&id(AUTHORITY)].officers[&id(OFFICER)].certificate;
    let permit = access::officer_bearer(node.register(), &id(AUTHORITY), officer).unwrap();
    lodge::at_node(&node, &permit, &order, &Link(&vault)).unwrap();
    assert_eq!(copies(&vault), 2);
}
