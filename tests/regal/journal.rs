//! The log is the journal of the state: a store rebuilt from nothing by the side records that the
//! log names has the same state, row for row, after a life with real processes.

use std::collections::BTreeMap;
use std::path::Path;

use cloison::audit::origin::origin;
use cloison::keys::custody::{Deposit, Keyring};
use cloison::keys::sector_secrets::read_journal;
use cloison::order::act::ActKind;
use cloison::seal::journal::{JournalCipher, NamingEntry, record_digest};
use cloison::store::{COLUMNS, RowBatch, StateChange, StateChanges, Store};
use data_encoding::HEXLOWER;
use rocksdb::{DB, IteratorMode, Options};
use serde_json::{Value, json};

use super::common::{DEPLOYMENT, Door, QUORUM, Side, World};
use super::copies::{erase, lodge, run, world};
use super::people::{act, to_node, to_vault};

/// Each column, and why it is not state. What is state says so by its name.
const COLUMN_LIST: [(&str, &str); 36] = [
    (
        "chunk",
        "not, because a backup holds it and clients can send it again",
    ),
    ("index", "not, because it is made anew from the chunks"),
    ("index-mark", "not, because it is made anew with the index"),
    ("segment", "not, because no chunk outlives its segment"),
    (
        "segment-proof",
        "not, because nodes prove again what they can open",
    ),
    ("audit", "not, because it is the log itself"),
    ("audit-salt", "not, because it may only be lost"),
    ("audit-tag", "not, because it may only be lost"),
    (
        "entry-index",
        "not, because it is made anew from entries and tags",
    ),
    ("audit-tree", "not, because it is the log itself"),
    ("audit-tile", "not, because it is the log itself"),
    ("audit-checkpoint", "not, because the places have it"),
    ("journal", "not, because it is the journal itself"),
    ("state-sector", "state"),
    ("state-epoch", "state"),
    ("state-retired", "state"),
    ("state-frozen", "state"),
    ("state-order", "state"),
    ("state-order-pair", "state"),
    ("state-order-life", "state"),
    ("state-order-act", "state"),
    ("state-order-copies", "state"),
    ("state-order-copy", "state"),
    ("state-inspection", "state"),
    ("state-tombstone", "state"),
    ("state-erasure-due", "state"),
    ("state-look-up", "state"),
    ("state-request", "state"),
    ("state-carried-out", "state"),
    ("state-release-rate", "state"),
    ("state-migration", "state"),
    (
        "migration-pairs",
        "not, because the migration makes unfetched pairs again",
    ),
    ("state-quota", "state"),
    ("state-register", "state"),
    ("state-suspension", "state"),
    ("state-meta", "state"),
];

/// Single values about the files of one store, which no other store can take over: its format and
/// owner, whether its entries are indexed, and what is still to be cleared out of its files.
const OF_THE_FILES: [&str; 5] = [
    "format",
    "owner",
    "entry-index",
    "scrub-due/",
    "copies-due/",
];

#[test]
fn every_column_is_state_or_says_why_it_is_not() {
    let listed: Vec<_> = COLUMN_LIST.iter().map(|(column, _)| *column).collect();
    let there: Vec<_> = COLUMNS.iter().map(|column| column.as_str()).collect();
    assert_eq!(listed, there);
    for (column, (_, what)) in COLUMNS.iter().zip(COLUMN_LIST) {
        assert_eq!(column.is_state(), what == "state", "{}", column.as_str());
        assert!(
            what == "state" || what.starts_with("not, because "),
            "{what}"
        );
    }
}

pub type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// Every row of state but those about the store's own files.
pub fn state(path: &Path) -> Rows {
    let columns = DB::list_cf(&Options::default(), path).unwrap();
    let mut options = Options::default();
    options.set_track_and_verify_wals_in_manifest(true);
    let db = DB::open_cf_for_read_only(&options, path, &columns, false).unwrap();
    let mut rows = Rows::new();
    for column in columns.iter().filter(|name| name.starts_with("state-")) {
        for row in db.iterator_cf(db.cf_handle(column).unwrap(), IteratorMode::Start) {
            let (key, value) = row.unwrap();
            let of_the_files = OF_THE_FILES
                .iter()
                .any(|name| column == "state-meta" && key.starts_with(name.as_bytes()));
            if !of_the_files {
                rows.insert((column.clone(), key.into_vec()), value.into_vec());
            }
        }
    }
    rows
}

pub fn cipher(world: &World, folder: &str) -> JournalCipher {
    let at = Deposit::file(world.path(folder));
    JournalCipher::new(&read_journal(&Keyring::default(), &at).unwrap())
}

/// The records of a store, checked against the entries that name them, in order.
fn records(world: &World, side: Side) -> Vec<StateChanges> {
    let (entity, folder) = match side {
        Side::Vault => ("vault", "secrets/vault/journal"),
        Side::Node => ("node/court", "secrets/authority/journal"),
    };
    let (store, cipher) = (world.store(side), cipher(world, folder));
    let mut named = vec![];
    for tree in store.trees().unwrap() {
        let origin = origin(&format!("{DEPLOYMENT}/{entity}"), tree.shard);
        let entries = store.audit_from(tree.first, tree.size as usize).unwrap();
        for (number, entry) in entries {
            let entry: Value = serde_json::from_slice(&entry).unwrap();
            let sealed = store.journal(number).unwrap();
            let digest = sealed.as_ref().map(|sealed| record_digest(sealed));
            assert_eq!(
                entry["journal"].as_str().map(str::to_owned),
                digest.map(|digest| HEXLOWER.encode(&digest)),
                "{entry}"
            );
            let naming = NamingEntry {
                origin: &origin,
                index: number - tree.first,
            };
            named.extend(sealed.map(|sealed| {
                let other = NamingEntry {
                    index: naming.index + 1,
                    ..naming
                };
                assert!(cipher.open(other, &sealed).is_err());
                StateChanges::read(cipher.open(naming, &sealed).unwrap()).unwrap()
            }));
        }
    }
    named
}

/// Applies records to an empty store; its state.
fn rebuilt(world: &World, records: &[StateChanges]) -> Rows {
    let folder = tempfile::tempdir_in(world.path(".")).unwrap();
    let path = folder.path().join("store");
    let store = Store::open(&path, &format!("{DEPLOYMENT}/rebuilt")).unwrap();
    for record in records {
        let mut batch = RowBatch::default();
        store.apply_changes(&mut batch, record).unwrap();
        store.commit(batch).unwrap();
    }
    drop(store);
    state(&path)
}

/// A life that writes nearly every kind of state.
pub fn live(world: &mut World) {
    let cards = ["AB000001", "AB000002", "AB000003", "AB000004"];
    let asked = world.health_pseudonyms(&cards);
    // An order with copies, used, and one that is revoked.
    let order = world.order("health", &asked[..2]);
    let signed = world.sign(&order, QUORUM);
    lodge(world, "orders/1.jws", &signed);
    world.reidentify(&signed, "health", &asked[..2]).ok();
    let other = world.order("health", &asked[2..3]);
    world
        .reidentify(&world.sign(&other, QUORUM), "health", &asked[2..3])
        .ok();
    let revoked = act(world, &other, ActKind::Revoke, &["judge-1"]);
    to_vault(world, &revoked).ok();
    to_node(world, &revoked).ok();
    erase(world, "1.jws", &asked[0]);
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    erase(world, "2.jws", &asked[3]);
    // Epochs; a reload with a register that names more; a suspension and its end by a register.
    world.advance("health", true);
    world.advance("tax", false);
    let suspend = "client suspend rsu-social --reason misuse --yes --key secrets/register/commission.pem \
                   --kid commission --client clients/operator.toml --json";
    run(world, &suspend.split(' ').collect::<Vec<_>>());
    let certificate = world.certify("auditor-2", 2000, 4000);
    world.edit_register(|text| {
        text + &format!("\n[[auditor]]\nid = \"auditor-2\"\ncertificate = \"{certificate}\"\n")
    });
    for (caller, door) in [("operator", Door::Control), ("officer", Door::Officers)] {
        world
            .post_json(caller, door, "/v1/register/reload", &json!({}))
            .ok();
    }
    // Counts within one second, a kill of the node, and more counts.
    (0..5).for_each(|_| drop(world.health_pseudonyms(&cards)));
    world.kill(Side::Node);
    world.start(Side::Node, &[]);
    world.health_pseudonyms(&["AB000005"]);
}

#[test]
fn a_store_rebuilt_from_its_records_has_the_same_state() {
    let mut world = world();
    live(&mut world);
    world.stop();
    for (side, path) in [(Side::Vault, "data/vault"), (Side::Node, "data/node")] {
        let (all, kept) = (records(&world, side), state(&world.path(path)));
        let made = rebuilt(&world, &all);
        let differ = |one: &Rows, other: &Rows| -> Vec<(String, String)> {
            one.iter()
                .filter(|(key, value)| other.get(*key) != Some(*value))
                .map(|((column, key), _)| (column.clone(), String::from_utf8_lossy(key).into()))
                .collect()
        };
        assert_eq!(differ(&kept, &made), [], "{side:?}: not in the records");
        assert_eq!(differ(&made, &kept), [], "{side:?}: only in the records");
        let columns: Vec<_> = all
            .iter()
            .flat_map(StateChanges::iter)
            .filter_map(|change| match change.unwrap() {
                StateChange::Put { column, .. } => Some(column.as_str()),
                _ => None,
            })
            .collect();
        let vault = [
            "state-quota",
            "state-epoch",
            "state-frozen",
            "state-order-copy",
            "state-order-act",
            "state-tombstone",
            "state-suspension",
            "state-register",
        ];
        let wanted = if side == Side::Vault {
            &vault[..]
        } else {
            &vault[4..5]
        };
        for column in wanted {
            assert!(columns.contains(column), "{side:?}: {column}");
        }
    }
}

#[test]
fn counts_and_the_clock_travel_at_most_once_a_second() {
    let mut world = World::new();
    world.health_pseudonyms(&["AB000001"]);
    (0..40).for_each(|_| drop(world.health_pseudonyms(&["AB000001"])));
    world.stop();
    let entries = world.entries(Side::Vault);
    let time = |entry: &Value| entry["time"].as_str().unwrap().to_owned();
    let batches: Vec<_> = entries
        .iter()
        .filter(|e| e["event"] == "tokenize")
        .collect();
    let recorded = batches
        .iter()
        .filter(|e| e.get("journal").is_some())
        .count();
    // The first one has first uses in its record.
    let seconds = {
        let (first, last) = (time(batches[0]), time(batches[batches.len() - 1]));
        let at = |text: String| text.parse::<jiff::Timestamp>().unwrap();
        at(last).duration_since(at(first)).as_secs() as usize
    };
    assert!(recorded <= seconds + 2, "{recorded} records in {seconds} s");
}
