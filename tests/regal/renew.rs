//! Renewal of an authority's key: every stored segment is sealed to the new key and proved before
//! the old one is dropped, whoever is killed meanwhile. Mappings stay, pseudonyms stay.

use std::process::Output;

use cloison::clock::random;
use cloison::keys::AuthoritySecret;
use cloison::keys::file::{SecretKind, read_secret};
use cloison::register::{AuthorityKey, Suite};
use cloison::seal::record::SegmentRecord;
use cloison::seal::segment::{AuthorityPrivateKey, OpenSegment, prove};
use cloison::store::{RowBatch, Store};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::common::{Door, QUORUM, Side, World, id};
use super::people::{codes, persons, quiet, soon};
use super::proxy::Wire;

const OFFICER: [&str; 2] = ["--client", "clients/officer.toml"];
const OPERATOR: [&str; 2] = ["--client", "clients/operator.toml"];

pub fn renew(world: &World, more: &[&str], client: [&str; 2]) -> Output {
    world.cloison(&[&["authority", "renew", "--json", "--yes"], more, &client].concat())
}

/// What came of a run that found nothing to complain of.
#[track_caller]
pub fn renewed(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{said}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
pub fn complains(output: &Output, of: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    // As text, or with `--json` as an object.
    let hints = said.contains("hint: ") || said.contains("\"hint\":");
    assert!(said.contains(of) && hints, "{said}");
}

/// A new key in a file of the node's, named in node.toml; its public half.
pub fn new_key(world: &World, key: &str, suite: Suite) -> String {
    let place = format!("file:secrets/authority/{key}.secret");
    let output = world.cloison(&[
        "secrets",
        "new",
        "authority",
        &place,
        "--id",
        key,
        "--suite",
        suite.as_str(),
    ]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said.split_whitespace().last().unwrap().to_owned()
}

fn add_to_node(world: &World, config: &str, key: &str) {
    let text = world.read(config);
    world.write(
        config,
        &format!("{text}\n[[key]]\nid = \"{key}\"\nfile = \"secrets/authority/{key}.secret\"\n"),
    );
}

/// The register's table of a key.
pub fn table(key: &str, suite: Suite, public: &str) -> String {
    format!(
        "\n[[authority.key]]\nid = \"{key}\"\nsuite = {}\npublic = \"{public}\"\n",
        suite.number()
    )
}

/// The register's table of the key that there was at the beginning, with its secret's table in
/// node.toml.
fn first_key(world: &World) -> (String, String) {
    let register = world.register();
    let key = &register.authorities[&id("court")].keys[0];
    let public = data_encoding::HEXLOWER.encode(&key.public);
    let in_node = "[[key]]                         # opens what was sealed to it\nid = \"court-2026\"\n\
                   file = \"secrets/authority/court-2026.secret\"\n";
    (
        table("court-2026", Suite::X25519, &public),
        in_node.to_owned(),
    )
}

/// Lists another key beside the first one, on both sides, and starts them anew.
pub fn list_beside(world: &mut World, key: &str, suite: Suite) {
    let public = new_key(world, key, suite);
    let (first, _) = first_key(world);
    world.edit_register(|text| {
        super::common::swap(
            &text,
            &first,
            &(first.clone() + &table(key, suite, &public)),
        )
    });
    add_to_node(world, "node.toml", key);
    world.restart();
}

/// Takes the first key out, on both sides and from the disk, and starts them anew.
pub fn list_without_first(world: &mut World) {
    let (first, in_node) = first_key(world);
    world.edit_register(|text| super::common::swap(&text, &first, ""));
    world.replace("node.toml", &in_node, "");
    std::fs::remove_file(world.path("secrets/authority/court-2026.secret")).unwrap();
    world.restart();
}

fn signer(world: &World) -> SigningKey {
    cloison::keys::file::read_signing_key(&world.path("secrets/vault/segment.pem")).unwrap()
}

pub fn records(store: &Store, world: &World) -> Vec<SegmentRecord> {
    let rows = store.segments_after(None, usize::MAX).unwrap();
    rows.iter()
        .map(|(_, record)| SegmentRecord::read(record, &[signer(world).verifying_key()]).unwrap())
        .collect()
}

pub fn keys_of(record: &SegmentRecord) -> Vec<&str> {
    record
        .recipients
        .iter()
        .map(|recipient| recipient.key.as_str())
        .collect()
}

fn write(store: &Store, put: impl FnOnce(&mut RowBatch)) {
    let mut batch = RowBatch::default();
    put(&mut batch);
    store.commit(batch).unwrap();
}

/// A segment of the sector `health`, as the vault makes it.
fn segment(world: &World) -> OpenSegment {
    let register = world.register();
    let sector = register.sectors["health"].uuid;
    let keys: Vec<&AuthorityKey> = register
        .recipients(&register.sectors["health"])
        .map(|(_, key)| key)
        .collect();
    OpenSegment::create(sector, &keys, &signer(world), jiff::Timestamp::now()).unwrap()
}

/// Many more segments, as the vault would have made them.
fn add_segments(world: &World, count: usize) {
    let store = world.store(Side::Vault);
    write(&store, |batch| {
        for _ in 0..count {
            let segment = segment(world);
            store.put_segment(batch, segment.id(), segment.record());
            store.put_segment_opening(batch, segment.id(), segment.opening());
        }
    });
}

/// A segment that an earlier version made has nothing by which a proof is told from a claim: none
/// is believed, not even a true one, and it keeps every recipient.
#[test]
fn a_segment_of_which_nothing_can_be_proved_keeps_every_recipient() {
    let mut world = super::people::quiet();
    persons(&world, 1);
    world.stop();
    let old = segment(&world);
    let store = world.store(Side::Vault);
    write(&store, |batch| {
        store.put_segment(batch, old.id(), old.record());
    });
    drop(store);
    list_beside(&mut world, "court-2027", Suite::X25519);
    complains(
        &renew(&world, &[], OFFICER),
        "1 segments of an earlier version cannot be proved",
    );
    world.stop();
    let store = world.store(Side::Vault);
    let record = records(&store, &world)
        .into_iter()
        .find(|record| record.id == *old.id())
        .unwrap();
    drop(store);
    assert_eq!(
        record.recipients.len(),
        2,
        "it was sealed to the new key all the same"
    );

    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let secret = read_secret(
        &world.path("secrets/authority/court-2026.secret"),
        SecretKind::Authority,
    )
    .unwrap();
    let key = AuthorityPrivateKey::derive(&AuthoritySecret(secret), "court-2026", Suite::X25519);
    let opening = hex(prove(&record, &key).unwrap().expose());
    let entry = hex(&record.recipients[0].digest());
    let claim = json!([{"segment": hex(old.id()), "key": "court-2026", "entry": entry, "opening": opening}]);
    for (proved, broken) in [(claim.clone(), json!([])), (json!([]), claim)] {
        let body = json!({"register": hex(&world.register().digest), "added": [], "proved": proved, "broken": broken});
        let reply = world.post_json("node", Door::Control, "/v1/segments/recipients", &body);
        assert_eq!(reply.code(), "recipient-invalid", "{}", reply.text());
    }
    list_without_first(&mut world);
    complains(
        &renew(&world, &["--drop-old"], OPERATOR),
        "1 segments keep an old key",
    );
}

/// From X25519 to X-Wing, with either side killed at several places; then without the old key.
#[test]
fn to_the_other_suite_through_kills() {
    let (mut world, wire) = Wire::world();
    let asked = persons(&world, 5);
    world.stop();
    add_segments(&world, 599);
    list_beside(&mut world, "court-2028", Suite::XWing);
    let in_background = |world: &World| {
        let officer = world.client("officer");
        std::thread::spawn(move || {
            let mut after = Value::Null;
            loop {
                let mut body = json!({"task": "rewrap"});
                if after.is_string() {
                    body["after"] = after;
                }
                let Ok(step) = officer.post_json::<Value>("/v1/renewal", &body) else {
                    return false;
                };
                match &step["next"] {
                    Value::Null => return true,
                    next => after = next.clone(),
                }
            }
        })
    };
    // The node before its question goes out; the vault when its answer is on the way; either
    // somewhere.
    wire.waited();
    wire.hold_questions(true);
    let asking = in_background(&world);
    soon("a question waits", || wire.waited() > 0);
    world.kill(Side::Node);
    assert!(!asking.join().unwrap());
    wire.cut(true);
    wire.hold_questions(false);
    wire.cut(false);
    world.start(Side::Node, &[]);
    wire.waited();
    wire.hold_answers(true);
    let asking = in_background(&world);
    soon("an answer waits", || wire.waited() > 10_000);
    world.kill(Side::Vault);
    wire.cut(true);
    wire.hold_answers(false);
    assert!(!asking.join().unwrap());
    wire.cut(false);
    world.start(Side::Vault, &[]);
    for (side, wait) in [(Side::Node, 60), (Side::Vault, 120)] {
        let asking = in_background(&world);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        world.kill(side);
        asking.join().unwrap();
        world.start(side, &[]);
    }

    let done = renewed(&renew(&world, &[], OFFICER));
    assert_eq!(
        (&done["segments"], &done["proved"]),
        (&json!(600), &json!(1_200)),
        "{done}"
    );
    let again = renewed(&renew(&world, &[], OFFICER));
    assert_eq!(
        (&again["added"], &again["proved"]),
        (&json!(0), &json!(0)),
        "{again}"
    );
    // Nothing is dropped that the register lists.
    assert_eq!(
        renewed(&renew(&world, &["--drop-old"], OPERATOR))["dropped"],
        0
    );

    list_without_first(&mut world);
    let dropped = renewed(&renew(&world, &["--drop-old"], OFFICER));
    assert_eq!(
        (&dropped["dropped"], &dropped["unproved"]),
        (&json!(600), &json!(0)),
        "{dropped}"
    );
    assert_eq!(persons(&world, 5), asked, "no pseudonym has changed");
    let order = world.sign(&world.order("health", &asked), QUORUM);
    let answer = world.reidentify(&order, "health", &asked).ok();
    assert_eq!(codes(&answer), vec![None; 5], "{answer}");
    world.stop();
    let (store, entries) = (world.store(Side::Vault), |side| world.entries(side));
    for record in records(&store, &world) {
        assert_eq!(keys_of(&record), ["court-2028"]);
        assert_eq!(store.segment_proofs(&record.id).unwrap().len(), 1);
    }
    drop(store);
    let count = |side, action: &str, member: &str| -> u64 {
        let entries = entries(side);
        let of = entries
            .iter()
            .filter(|entry| entry["event"] == "segments" && entry["action"] == action);
        of.map(|entry| entry[member].as_u64().unwrap()).sum()
    };
    assert_eq!(
        count(Side::Vault, "rewrap", "recipients"),
        600,
        "each was added once, whoever was killed"
    );
    assert_eq!(count(Side::Vault, "prove", "recipients"), 1_200);
    assert_eq!(count(Side::Vault, "drop", "recipients"), 600);
    assert!(
        count(Side::Node, "open-to-rewrap", "segments") >= 600,
        "the node wrote it down before it opened any"
    );
}

/// Until the new key is proved the old one stays; a sealed node says so; and back from X-Wing to
/// X25519.
#[test]
fn nothing_is_dropped_unproved() {
    let mut world = quiet();
    let asked = persons(&world, 2);
    list_beside(&mut world, "court-2027", Suite::X25519);
    // A batch after the register lists both is sealed to both at once.
    world.health_pseudonyms(&["ZZ99"]);
    world
        .post_json("officer", Door::Officers, "/v1/seal", &json!({}))
        .ok();
    complains(&renew(&world, &[], OFFICER), "sealed");
    world.end(Side::Node);
    world.start(Side::Node, &[]);

    // Too early: the register forgets the old key while one segment has no other.
    let (first, in_node) = first_key(&world);
    let without = super::common::swap(&world.read("register.toml"), &first, "");
    let (before, node) = (world.read("register.toml"), world.read("node.toml"));
    world.edit_register(|text| super::common::swap(&text, &first, ""));
    assert!(without.len() < before.len());
    world.replace("node.toml", &in_node, "");
    world.restart();
    complains(
        &renew(&world, &["--drop-old"], OPERATOR),
        "2 segments keep an old key",
    );
    complains(
        &renew(&world, &[], OFFICER),
        "sealed to none of this authority",
    );
    let order = world.sign(&world.order("health", &asked), QUORUM);
    let lost = codes(&world.reidentify(&order, "health", &asked).ok());
    assert_eq!(
        lost,
        vec![Some("mapping-invalid".to_owned()); 2],
        "until the register lists it again"
    );

    // Back to both, and in the right order.
    let (key, _) = before.split_at(before.find(&first).unwrap() + first.len());
    let key = key[key.len() - first.len()..].to_owned();
    world.edit_register(|text| {
        let at = text.find("\n[[authority.key]]").unwrap();
        format!("{}{key}{}", &text[..at], &text[at..])
    });
    world.write("node.toml", &node);
    world.restart();
    let done = renewed(&renew(&world, &[], OFFICER));
    assert_eq!(
        (&done["segments"], &done["added"], &done["proved"]),
        (&json!(2), &json!(1), &json!(4)),
        "{done}"
    );
    list_without_first(&mut world);
    assert_eq!(
        renewed(&renew(&world, &["--drop-old"], OPERATOR))["dropped"],
        2
    );
    assert_eq!(
        codes(&world.reidentify(&order, "health", &asked).ok()),
        [None, None]
    );
}

/// What a stolen node, or who can write to the vault's disk, would like the vault to sign.
#[test]
fn nothing_false_is_signed() {
    let mut world = quiet();
    persons(&world, 1);
    world.stop();
    // A segment that somebody put there who has no key of the vault's.
    let forged = {
        let register = world.register();
        let keys: Vec<_> = register
            .recipients(&register.sectors["health"])
            .map(|(_, key)| key)
            .collect();
        let stranger = SigningKey::from_bytes(&random());
        OpenSegment::create(
            register.sectors["health"].uuid,
            &keys,
            &stranger,
            jiff::Timestamp::now(),
        )
        .unwrap()
    };
    let store = world.store(Side::Vault);
    let genuine = records(&store, &world).remove(0);
    write(&store, |batch| {
        store.put_segment(batch, forged.id(), forged.record());
    });
    drop(store);
    list_beside(&mut world, "court-2027", Suite::X25519);
    complains(&renew(&world, &[], OFFICER), "not signed by a key");

    let digest = data_encoding::HEXLOWER.encode(&world.register().digest);
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let (segment, base64) = (hex(&genuine.id), |length| {
        data_encoding::BASE64URL_NOPAD.encode(&vec![7; length])
    });
    let entry = hex(&genuine.recipients[0].digest());
    let added = |key: &str, suite: u8, enc, ct| json!([{"segment": segment, "suite": suite, "key": key, "enc": base64(enc), "ct": base64(ct)}]);
    let shown = |segment: &str, key: &str, opening: &str| json!([{"segment": segment, "key": key, "entry": entry, "opening": opening}]);
    let opening = {
        let secret = read_secret(
            &world.path("secrets/authority/court-2026.secret"),
            SecretKind::Authority,
        )
        .unwrap();
        let key =
            AuthorityPrivateKey::derive(&AuthoritySecret(secret), "court-2026", Suite::X25519);
        hex(prove(&genuine, &key).unwrap().expose())
    };
    let proof = |segment: &str, key: &str| shown(segment, key, &opening);
    let none = json!([]);
    for (what, added, proved) in [
        (
            "a key that the register does not list",
            added("thief", 1, 32, 48),
            none.clone(),
        ),
        (
            "another suite than the register's",
            added("court-2027", 2, 1120, 48),
            none.clone(),
        ),
        ("a short enc", added("court-2027", 1, 31, 48), none.clone()),
        (
            "a long ciphertext",
            added("court-2027", 1, 32, 49),
            none.clone(),
        ),
        (
            "a proof of somebody else's key",
            none.clone(),
            proof(&segment, "ministry-2026"),
        ),
        (
            "a proof by who opened nothing",
            none.clone(),
            shown(&segment, "court-2026", &hex(&[7; 32])),
        ),
        (
            "a proof of no segment",
            none.clone(),
            proof(&hex(&[9; 16]), "court-2026"),
        ),
        (
            "a proof of a forged segment",
            none.clone(),
            proof(&hex(forged.id()), "court-2026"),
        ),
    ] {
        let body = json!({"register": digest, "added": added, "proved": proved, "broken": []});
        let reply = world.post_json("node", Door::Control, "/v1/segments/recipients", &body);
        assert_eq!(reply.code(), "recipient-invalid", "{what}");
    }
    let body = json!({"register": hex(&[0; 32]), "added": [], "proved": [], "broken": []});
    let reply = world.post_json("node", Door::Control, "/v1/segments/recipients", &body);
    assert_eq!(reply.code(), "register-mismatch");
    // With the node's certificate alone nobody has a recipient discarded.
    let broken = json!({"register": digest, "added": [], "proved": [], "broken": shown(&segment, "court-2026", "")});
    let reply = world.post_json("node", Door::Control, "/v1/segments/recipients", &broken);
    assert_eq!(reply.code(), "recipient-invalid");
    // What was proved is not discarded, and a proof of an entry that is no longer there is none.
    let broken = json!({"register": digest, "added": [], "proved": [], "broken": proof(&segment, "court-2026")});
    let reply = world
        .post_json("node", Door::Control, "/v1/segments/recipients", &broken)
        .ok();
    assert_eq!(reply["discarded"], 0);
    // These doors are for nodes and operators, each his own.
    let page = json!({"register": digest, "task": "rewrap"});
    assert_eq!(
        world
            .post_json("operator", Door::Control, "/v1/segments", &page)
            .code(),
        "forbidden"
    );
    assert_eq!(
        world
            .post_json(
                "cnss-health",
                Door::Control,
                "/v1/segments/drop",
                &json!({})
            )
            .code(),
        "forbidden"
    );
    world.stop();
    let store = world.store(Side::Vault);
    assert_eq!(
        store.segment(forged.id()).unwrap().unwrap(),
        forged.record(),
        "untouched"
    );
}
