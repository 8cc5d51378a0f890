//! People's rights with real processes: who resolved a person, told when it may be; and erasure,
//! after which the log is as good as before and nothing that is left can be held against a guess.
#![expect(unsafe_code, reason = "a lock that is held")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use cloison::audit::tags_root;
use cloison::keys::file::{SecretKind, read_secret};
use cloison::keys::{AuditKey, AuditSecret};
use cloison::order::OrderPayload;
use cloison::rights::request::ErasureRequest;
use cloison::statement::{self, Statement as _};
use cloison::store::ItemTag;
use cloison::tlog::tree::leaf_hash;
use jiff::SignedDuration;
use rocksdb::{DB, IteratorMode, Options};
use serde_json::{Value, json};

use super::actors;
use super::common::{Door, QUORUM, Reply, Setup, Side, World, files, now};

fn world() -> World {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    actors::rights_officers(
        &world,
        &[
            ("rights-1", &["health"]),
            ("rights-2", &["health"]),
            ("rights-3", &["tax"]),
        ],
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    world
}

fn persons(world: &World, first: u32, count: u32) -> Vec<String> {
    let cards: Vec<_> = (first..first + count)
        .map(|n| format!("AB{n:06}"))
        .collect();
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    world.health_pseudonyms(&cards)
}

fn ask(world: &World, officer: &str, body: Value) -> Reply {
    world.post_json(officer, Door::Control, "/v1/rights/resolutions", &body)
}

/// How many resolutions of a pseudonym are told.
fn resolutions(world: &World, pseudonym: &str) -> Vec<Value> {
    let found = ask(
        world,
        "rights-1",
        json!({"sector": "health", "pseudonyms": [pseudonym]}),
    )
    .ok();
    found["items"][0]["resolutions"].as_array().unwrap().clone()
}

fn resolve(world: &World, order: &OrderPayload, pseudonyms: &[String]) -> Value {
    let order = world.sign(order, QUORUM);
    world.reidentify(&order, "health", pseudonyms).ok()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_person_learns_who_resolved_them_when_that_may_be_told() {
    let mut world = world();
    let health = persons(&world, 0, 3);
    let open = world.order("health", &health[..2]);
    resolve(&world, &open, &health[..2]);
    let told = now() + SignedDuration::from_secs(6);
    let delayed = OrderPayload {
        inform_after: Some(told),
        ..world.order("health", &health[..1])
    };
    resolve(&world, &delayed, &health[..1]);

    let found = resolutions(&world, &health[0]);
    assert_eq!(found.len(), 1, "the other one may not be told yet");
    assert_eq!(found[0]["order"], open.id.to_string());
    assert_eq!(
        (&found[0]["authority"], &found[0]["officer"]),
        (&json!("court"), &json!("officer"))
    );
    assert_eq!(
        (&found[0]["basis"], &found[0]["case"]),
        (&json!("judicial"), &json!("RABAT/2026/1"))
    );
    // The entry that says so is where it is said to be.
    let place = found[0]["index"].to_string();
    std::thread::sleep(Duration::from_millis(600));
    let proof = world.cloison(&["audit", "prove", &place, "--client", "clients/auditor.toml"]);
    assert!(proof.status.success(), "{}", said(&proof));
    assert_eq!(resolutions(&world, &health[2]), [] as [Value; 0]);
    let by_order = |order: &OrderPayload| {
        let found = ask(
            &world,
            "rights-1",
            json!({"sector": "health", "order": order.id}),
        )
        .ok();
        found["items"][0]["resolutions"].as_array().unwrap().len()
    };
    assert_eq!((by_order(&open), by_order(&delayed)), (1, 0));

    // Only rights officers, only their own sectors, only what is one.
    let about = json!({"sector": "health", "pseudonyms": [health[0]]});
    assert_eq!(
        ask(&world, "rights-3", about.clone()).json()["code"],
        "unknown-sector"
    );
    for other in ["operator", "auditor", "cnss-health", "node"] {
        assert_eq!(ask(&world, other, about.clone()).status, 403, "{other}");
    }
    let odd = ask(
        &world,
        "rights-1",
        json!({"sector": "health", "pseudonyms": ["AB000000"]}),
    )
    .ok();
    assert_eq!(odd["items"][0]["code"], "pseudonym-malformed");
    for body in [
        json!({"sector": "health"}),
        json!({"sector": "health", "pseudonyms": [health[0]], "order": open.id}),
    ] {
        assert!((400..500).contains(&ask(&world, "rights-1", body).status));
    }

    while now() < told {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(
        (resolutions(&world, &health[0]).len(), by_order(&delayed)),
        (2, 1)
    );
    let shown = world.cloison(&[
        "rights",
        "resolutions",
        "--client",
        "clients/rights-1.toml",
        "--sector",
        "health",
        "--pseudonym",
        &health[0],
    ]);
    assert!(
        said(&shown).lines().count() == 2 && said(&shown).contains("court (officer)  judicial"),
        "{}",
        said(&shown)
    );

    // A restart forgets nothing, and who looked is in the log, but not whom for.
    world.restart();
    assert_eq!(resolutions(&world, &health[0]).len(), 2);
    world.stop();
    let entries = world.entries(Side::Vault);
    let looked: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "look-up")
        .collect();
    assert_eq!(looked.len(), 9);
    assert!(
        looked
            .iter()
            .all(|entry| entry["actor"] == "rights-1" && entry["sector"] == "health")
    );
    assert_eq!(
        world.refusals(Side::Vault, "rights-3", "look-up", "unknown-sector"),
        1
    );
}

/// All rows of a column of a store that nobody has open.
fn rows(path: &Path, column: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let columns = DB::list_cf(&Options::default(), path).unwrap();
    let mut options = Options::default();
    // As the store does: a reader that does not follows a null pointer where the manifest names a
    // log.
    options.set_track_and_verify_wals_in_manifest(true);
    let db = DB::open_cf_for_read_only(&options, path, &columns, false).unwrap();
    let rows = db.iterator_cf(db.cf_handle(column).unwrap(), IteratorMode::Start);
    rows.map(|row| {
        row.map(|(key, value)| (key.into_vec(), value.into_vec()))
            .unwrap()
    })
    .collect()
}

/// Whether some bytes stand anywhere in the files of a store.
fn stands(path: &Path, bytes: &[u8]) -> bool {
    files(path).iter().any(|file| {
        std::fs::read(file)
            .unwrap()
            .windows(bytes.len())
            .any(|window| window == bytes)
    })
}

/// What stands in a store of one person, as far as the store's own secrets tell.
struct Traces {
    chunks: Vec<Vec<u8>>,
    tags: Vec<ItemTag>,
    salts: Vec<Vec<u8>>,
}

impl Traces {
    fn of(
        path: &Path,
        key: &AuditKey,
        sector: uuid::Uuid,
        pseudonym: &cloison::pseudonym::Pseudonym,
    ) -> Self {
        let tag = key.tag(sector, pseudonym);
        let tags = rows(path, "audit-tag")
            .into_iter()
            .map(|(_, value)| ItemTag {
                tag: value[..16].try_into().unwrap(),
                salt: value[16..].try_into().unwrap(),
            });
        Self {
            chunks: rows(path, "chunk")
                .into_iter()
                .map(|(_, row)| row)
                .collect(),
            tags: tags.filter(|item| item.tag == tag).collect(),
            salts: rows(path, "audit-salt")
                .into_iter()
                .map(|(_, salt)| salt)
                .collect(),
        }
    }
}

fn audit_key(world: &World, side: &str) -> AuditKey {
    let secret = read_secret(
        &world.path(&format!("secrets/{side}/audit.secret")),
        SecretKind::Audit,
    )
    .unwrap();
    AuditKey::new(&AuditSecret(secret))
}

fn erase(world: &World, arguments: &[&str]) -> Output {
    world.cloison(&[&["rights"], arguments].concat())
}

#[test]
fn after_an_erasure_the_log_verifies_the_mapping_is_gone_and_the_evidence_is_not() {
    let mut world = world();
    // Alone in a request, whose digest is over one pseudonym, and among others.
    let alone = persons(&world, 0, 1);
    let health = persons(&world, 0, 5);
    assert_eq!(alone[0], health[0]);
    world.tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["AB000000"]);
    resolve(&world, &world.order("health", &health[..1]), &health[..1]);
    resolve(&world, &world.order("health", &health[..2]), &health[..2]);
    assert_eq!(resolutions(&world, &health[0]).len(), 2);
    let audit = |arguments: &[&str]| {
        let output = world.cloison(&[&["audit"], arguments].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let live = [
        "--client",
        "clients/auditor.toml",
        "--register",
        "register.toml",
    ];
    std::thread::sleep(Duration::from_millis(600));
    audit(&[&["verify", "--keep", "seen"], &live[..]].concat());
    let place = resolutions(&world, &health[0])[0]["index"].to_string();
    audit(&[
        "prove",
        &place,
        "--client",
        "clients/auditor.toml",
        "--output",
        "release.tlog-proof",
    ]);
    world.stop();

    let sector = world.register().sector("health").unwrap().clone();
    let person = sector.parse_pseudonym(&health[0]).unwrap().pseudonym;
    let neighbour = sector.parse_pseudonym(&health[1]).unwrap().pseudonym;
    let (vault, node) = (world.path("data/vault"), world.path("data/node"));
    let keys = (audit_key(&world, "vault"), audit_key(&world, "authority"));
    let before = (
        Traces::of(&vault, &keys.0, sector.uuid, &person),
        Traces::of(&node, &keys.1, sector.uuid, &person),
    );
    // Two releases and the look-ups at the vault, two reveals at the node; three batches with
    // salts, one of them of another sector.
    assert_eq!(
        (
            before.0.tags.len(),
            before.1.tags.len(),
            before.0.salts.len()
        ),
        (4, 2, 3)
    );
    let entries = world.entries(Side::Vault);
    let single: BTreeSet<String> = before
        .0
        .tags
        .iter()
        .map(|item| tags_root(&[*item]))
        .collect();
    let roots: BTreeSet<String> = entries
        .iter()
        .filter_map(|entry| entry["tags"].as_str())
        .map(str::to_owned)
        .collect();
    // A release and two look-ups of one item: with the salt, a guess could be held against them.
    assert_eq!(single.intersection(&roots).count(), 3);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);

    // One is not enough, and one of another sector is none.
    let asked = [
        "--register",
        "register.toml",
        "--sector",
        "health",
        "--pseudonym",
        &health[0],
        "--reason",
        "request",
    ];
    let by = |id: &str| {
        [
            format!("--key=secrets/people/{id}.pem"),
            format!("--kid={id}"),
        ]
    };
    let [key, kid] = by("rights-1");
    let drafted = erase(
        &world,
        &[&["erase"], &asked[..], &[&key, &kid, "--out", "erase.jws"]].concat(),
    );
    assert!(drafted.status.success(), "{}", said(&drafted));
    let at_vault = [
        "lodge",
        "--yes",
        "erase.jws",
        "--client",
        "clients/rights-1.toml",
        "--json",
    ];
    assert!(said(&erase(&world, &at_vault)).contains("two rights officers"));
    world.write("wrong.jws", &world.read("erase.jws"));
    let [key, kid] = by("rights-3");
    assert!(
        erase(&world, &["sign", "wrong.jws", &key, &kid])
            .status
            .success()
    );
    let wrong = [
        "lodge",
        "--yes",
        "wrong.jws",
        "--client",
        "clients/rights-1.toml",
    ];
    assert!(said(&erase(&world, &wrong)).contains("signer is not"));
    let [key, kid] = by("rights-2");
    assert!(
        erase(&world, &["sign", "erase.jws", &key, &kid])
            .status
            .success()
    );
    let by_stranger = [
        "lodge",
        "--yes",
        "erase.jws",
        "--client",
        "clients/operator.toml",
    ];
    assert!(said(&erase(&world, &by_stranger)).contains("forbidden"));
    let at_node = [
        "lodge",
        "--yes",
        "erase.jws",
        "--client",
        "clients/rights-1-node.toml",
        "--json",
    ];
    for (at, log) in [
        (at_vault, "cloison/test/vault/"),
        (at_node, "cloison/test/node/court/"),
    ] {
        let done: Value = serde_json::from_slice(&erase(&world, &at).stdout).unwrap();
        assert_eq!(
            done.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["entry", "request"],
            "nothing of what was there"
        );
        assert!(
            done["entry"]["log"].as_str().unwrap().starts_with(log),
            "{done}"
        );
    }
    // Each side carries it out once.
    assert!(said(&erase(&world, &at_vault)).contains("request-replayed"));
    assert!(said(&erase(&world, &at_node)).contains("request-replayed"));

    // The person is gone, the neighbours are not.
    let codes = |world: &World| {
        let answer = resolve(world, &world.order("health", &health[..2]), &health[..2]);
        (
            answer["items"][0]["code"].clone(),
            answer["items"][1]["value"].clone(),
        )
    };
    assert_eq!(codes(&world), (json!("no-mapping"), json!("AB000001")));
    // Asked for again, the pseudonym is the same, and no mapping comes back by it; not after a
    // restart either.
    for _ in 0..2 {
        assert_eq!(persons(&world, 0, 1), health[..1]);
        world.restart();
    }
    assert_eq!(codes(&world).0, "no-mapping");
    // Two releases before the erasure, which nobody wipes, and two after it.
    assert_eq!(resolutions(&world, &health[0]).len(), 4);

    // The log is the same log.
    let audit = |arguments: &[&str]| {
        let output = world.cloison(&[&["audit"], arguments].concat());
        assert!(output.status.success(), "{}", said(&output));
    };
    audit(&[&["verify", "--seen", "seen"], &live[..]].concat());
    audit(&[
        "prove",
        "--check",
        "release.tlog-proof",
        "--register",
        "register.toml",
    ]);
    audit(&[
        "prove",
        &place,
        "--client",
        "clients/auditor.toml",
        "--output",
        "again.tlog-proof",
    ]);
    let log = world.log(Side::Vault) + &world.log(Side::Node);
    assert!(
        log.matches("is gone from the store's files").count() >= 2,
        "{log}"
    );
    world.stop();
    assert_eq!(
        world.mappings(),
        5,
        "four neighbours, and the one in the other sector"
    );

    for (path, before, key) in [(&vault, &before.0, &keys.0), (&node, &before.1, &keys.1)] {
        // Tags are evidence for as long as the register says: who looked and who erased cannot wipe
        // them.
        let after = Traces::of(path, key, sector.uuid, &person);
        assert!(
            before.tags.iter().all(|item| after.tags.contains(item)),
            "a tag that is not old enough"
        );
        let roots: Vec<Value> = world_entries(path)
            .iter()
            .map(|entry| entry["tags"].clone())
            .collect();
        let tag = key.tag(sector.uuid, &person);
        assert!(
            roots
                .iter()
                .all(|root| *root != data_encoding::HEXLOWER.encode(&leaf_hash(&tag)))
        );
        let of_neighbour = Traces::of(path, key, sector.uuid, &neighbour).tags;
        assert!(
            of_neighbour.iter().all(|item| stands(path, &item.salt)),
            "the search finds what is there"
        );
    }
    let gone: Vec<bool> = before
        .0
        .salts
        .iter()
        .map(|salt| !stands(&vault, salt))
        .collect();
    assert_eq!(
        gone.iter().filter(|gone| **gone).count(),
        2,
        "the salts of both batches with the person: {gone:?}"
    );
    let chunks: Vec<bool> = before
        .0
        .chunks
        .iter()
        .map(|row| !stands(&vault, row))
        .collect();
    assert!(
        chunks.iter().any(|gone| *gone) && chunks.iter().any(|gone| !*gone),
        "only the person's chunk: {chunks:?}"
    );
    let entries = world.entries(Side::Vault);
    let erased: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "erase")
        .collect();
    assert_eq!(
        (erased.len(), &erased[0]["officers"]),
        (1, &json!(["rights-1", "rights-2"]))
    );
    assert_eq!(
        world.refusals(Side::Vault, "rights-1", "erase", "rights-invalid"),
        2
    );
    assert_eq!(
        world.refusals(Side::Vault, "rights-1", "erase", "request-replayed"),
        1
    );
}

fn world_entries(path: &Path) -> Vec<Value> {
    rows(path, "audit")
        .into_iter()
        .map(|(_, entry)| serde_json::from_slice(&entry).unwrap())
        .collect()
}

/// The second signer waits for the process that holds the file, reads it then, and puts a new file
/// in its place.
#[test]
fn a_countersignature_replaces_the_request_whole_and_under_a_lock() {
    let world = world();
    let health = persons(&world, 0, 1);
    let by = |id: &str| {
        [
            format!("--key=secrets/people/{id}.pem"),
            format!("--kid={id}"),
        ]
    };
    let asked = [
        "--register",
        "register.toml",
        "--sector",
        "health",
        "--pseudonym",
        &health[0],
        "--reason",
        "request",
    ];
    let [key, kid] = by("rights-1");
    let drafted = erase(
        &world,
        &[&["erase"], &asked[..], &[&key, &kid, "--out", "erase.jws"]].concat(),
    );
    assert!(drafted.status.success(), "{}", said(&drafted));
    let file = world.path("erase.jws");
    let held = File::open(&file).unwrap();
    // SAFETY: the descriptor is open as long as `held` is.
    assert_eq!(unsafe { libc::flock(held.as_raw_fd(), libc::LOCK_EX) }, 0);
    let third = statement::sign::<ErasureRequest>(
        &world.read("erase.jws"),
        "rights-3",
        &world.key("rights-3"),
    )
    .unwrap();
    let signed = std::thread::scope(|scope| {
        let [key, kid] = by("rights-2");
        let world = &world;
        let second = scope.spawn(move || erase(world, &["sign", "erase.jws", &key, &kid]));
        std::thread::sleep(std::time::Duration::from_millis(300));
        world.write("beside.jws", &third);
        fs::rename(world.path("beside.jws"), &file).unwrap();
        drop(held);
        second.join().unwrap()
    });
    assert!(
        signed.status.success() && said(&signed).contains("pseudonyms   1"),
        "{}",
        said(&signed)
    );
    let signed = cloison::jws::parse(&world.read("erase.jws"), ErasureRequest::TYP).unwrap();
    assert_eq!(
        signed.signers().collect::<Vec<_>>(),
        ["rights-1", "rights-3", "rights-2"]
    );
    let left = files(&world.path(""))
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".new"))
        .count();
    assert_eq!(left, 0, "nothing is left behind");
}
