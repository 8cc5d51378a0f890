//! The raw bytes of every column, read with RocksDB itself and compared with `format.txt`: a change
//! of any of them needs a new format version and a migration. Secrets and clock are fixed; what is
//! random by nature is masked there, and taken apart here by nothing of the vault's own code but
//! the primitives.

use std::fmt::Write as _;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload as Sealed};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use cloison::access;
use cloison::audit::AuditEvent;
use cloison::code::Code;
use cloison::inspection::Inspections;
use cloison::inspection::decision::InspectionDecision;
use cloison::keys::AuthoritySecret;
use cloison::order::act::{ActKind, ActPayload};
use cloison::order::book::Book;
use cloison::pseudonym::Pseudonym;
use cloison::register::{SpkiDigest, Suite};
use cloison::reidentify::release::release;
use cloison::renewal::{self, RecipientProof, SegmentAnswer};
use cloison::rights::erase;
use cloison::rights::request::ErasureRequest;
use cloison::seal::record::SegmentRecord;
use cloison::seal::segment::AuthorityPrivateKey;
use cloison::statement::{self, Statement as _};
use cloison::store::{MigrationRow, OpenPage, OrderKey, PairsRow, RegisterRow, RowBatch, Store};
use cloison::tokenize;
use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, SigningKey};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rocksdb::{DB, IteratorMode, Options};
use sha2::{Digest, Sha256};

use super::fixed_vault::{fixed_register, node_permit, now, open, person, question, secret};
use super::world::id;

const ORDER: &str = "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d";

/// A store with at least one row in every column: what the vault writes when it does each thing
/// once.
pub fn write(path: &Path) -> Vec<u8> {
    let vault = open(path, 1, fixed_register(7));

    let permit = access::tokenize(
        &vault,
        SpkiDigest([0x11; 32]),
        "health",
        "cnie",
        Some("billing"),
    )
    .unwrap();
    let items = ["BE9876", "ab-123456", "?"].map(Ok);
    let (answer, job) =
        tokenize::prepare(&vault, &permit, &Default::default(), items.into_iter()).unwrap();
    vault.committer().submit(job).unwrap().wait().unwrap();
    let texts: Vec<_> = answer
        .pseudonyms
        .iter()
        .map(|pseudonym| answer.writer.text(pseudonym))
        .collect();

    let ids = [ORDER, "5b0f8f5e-3f6f-4d1a-8f0c-2f4f1e9d7c11"].map(|id| id.parse().unwrap());
    let question = question(&vault, ids, "RABAT/2026/1", texts);
    let node = node_permit(&vault);
    release(&vault, &node, &question).unwrap();

    let (segment, record) = vault.store().segments_after(None, 1).unwrap().remove(0);
    let record = SegmentRecord::unverified(&record).unwrap();
    let entry = HEXLOWER.encode(&record.recipients[0].digest());
    let key = AuthorityPrivateKey::derive(&AuthoritySecret(secret(6)), "court-2026", Suite::X25519);
    let opening = HEXLOWER.encode(
        cloison::seal::segment::prove(&record, &key)
            .unwrap()
            .expose(),
    );
    let mut proof = RecipientProof {
        segment: HEXLOWER.encode(&segment),
        key: "court-2026".into(),
        entry,
        opening,
    };
    // Whoever has the node's certificate and not the authority's key shows nothing.
    let opening = std::mem::replace(&mut proof.opening, HEXLOWER.encode(&[7; 32]));
    let unopened = SegmentAnswer {
        register: question.register.clone(),
        added: vec![],
        proved: vec![proof.clone()],
        broken: vec![],
    };
    assert!(renewal::vault::take(&vault, &node, &unopened).is_err());
    proof.opening = opening;
    let done = SegmentAnswer {
        register: question.register,
        added: vec![],
        proved: vec![proof],
        broken: vec![],
    };
    assert_eq!(
        renewal::vault::take(&vault, &node, &done).unwrap().proved,
        1
    );

    let operator = access::operator(vault.register(), SpkiDigest([0x22; 32])).unwrap();
    let how = cloison::epoch::AdvanceEpochRequest {
        from: 1,
        own_secret: true,
        ..Default::default()
    };
    cloison::epoch::advance(&vault, &operator, "health", &how).unwrap();

    let suspend = ActPayload {
        aud: id("format"),
        act: ActKind::Suspend,
        authority: id("court"),
        order: ORDER.parse().unwrap(),
        reason: id("appeal"),
        time: now(),
        lifts: vec![],
    };
    let suspend =
        statement::sign::<ActPayload>(&suspend.draft().unwrap(), "amina", &person("amina"))
            .unwrap();
    let bearer = access::bearer(vault.register(), SpkiDigest([0x22; 32])).unwrap();
    Book::from(&vault).lodge(&suspend, &bearer).unwrap();

    // A migration would write a second chunk and a second segment, and retiring take the first
    // away: so as plain rows.
    let store = vault.store();
    let mut batch = RowBatch::default();
    let order = OrderKey::new("court", ORDER.parse().unwrap());
    let sector = "62484e22-a6a5-4de1-ba25-cb1b7c55c4b8".parse().unwrap();
    let open = OpenPage {
        request: "5b0f8f5e-3f6f-4d1a-8f0c-2f4f1e9d7c11".parse().unwrap(),
        until: 90,
        items: 7,
    };
    let row = MigrationRow {
        sector,
        from: 1,
        to: 2,
        next: 80,
        page: 3,
        handed_out: 1_007,
        migrated: 998,
        skipped: 2,
        open: Some(open),
    };
    store.put_migration(&mut batch, &order, row);
    assert_eq!(store.migration(&order).unwrap(), None);
    store.put_pairs(
        &mut batch,
        "cnss-health",
        &PairsRow {
            order: order.clone(),
            page: 3,
            sealed: b"sealed".to_vec(),
        },
    );
    // A look-up would write a tag of its own, and a young trace needs an erasure of somebody who
    // was resolved.
    store.put_look_ups(&mut batch, "fatima", 20_779, 3);
    store.put_erasure_due(&mut batch, now().as_second(), &[9; 16]);
    store.retire_epoch(&mut batch, sector, 9, now().as_second(), (7, 9));
    // The register of this test has no signatures, and so no file to keep.
    let kept = RegisterRow {
        version: 6,
        since: now().as_second(),
        digest: [6; 32],
        text: "version = 6\n".into(),
        signatures: "{}".into(),
    };
    store.put_past_register(&mut batch, &kept);
    let suspension = "0f3c2a6e-2b3d-4c5e-9f70-8192a3b4c5d7".parse().unwrap();
    let suspended = br#"{"id":"0f3c2a6e-2b3d-4c5e-9f70-8192a3b4c5d7","entry":"cnss-health","reason":"key-stolen","signers":["cndp"],"received":"2026-11-22T12:00:00Z","text":"{}"}"#;
    store.put_suspension(&mut batch, suspension, suspended);
    store.commit(batch).unwrap();
    assert_eq!(store.past_registers().unwrap(), [kept]);
    assert_eq!(store.migration(&order).unwrap(), Some(row));
    assert_eq!(store.migrations().unwrap(), [row]);
    assert_eq!(
        store.retired_epochs().unwrap(),
        [(sector, 9, now().as_second())]
    );
    let decision = InspectionDecision {
        aud: id("format"),
        id: "0f3c2a6e-2b3d-4c5e-9f70-8192a3b4c5d6".parse().unwrap(),
        reference: "D-1/2026".into(),
        controller: "A controller".into(),
        address: "Rabat".into(),
        agents: vec!["An agent".into()],
        object: "The format".into(),
        auditors: vec![id("auditor")],
        sectors: vec!["health".into()],
        actors: vec![],
        from: None,
        to: None,
        not_before: now(),
        not_after: now() + jiff::SignedDuration::from_hours(1),
    };
    let decision =
        statement::sign::<InspectionDecision>(&decision.draft().unwrap(), "cndp", &person("cndp"))
            .unwrap();
    let messenger = access::messenger(vault.register(), SpkiDigest([0x33; 32])).unwrap();
    Inspections::of(&vault)
        .enter(&decision, &messenger)
        .unwrap();

    // Of a pseudonym that has no mapping: what is stored above stays.
    let erasure = ErasureRequest {
        aud: id("format"),
        id: "6a1d9c54-7e21-4b8f-8c3d-1e2f3a4b5c6d".parse().unwrap(),
        sector: "health".into(),
        pseudonyms: vec![answer.writer.text(&Pseudonym::from_bytes([9; 16]))],
        reason: id("request"),
        time: now(),
    };
    let erasure = ["fatima", "ghita"]
        .iter()
        .fold(erasure.draft().unwrap(), |text, officer| {
            statement::sign::<ErasureRequest>(&text, officer, &person(officer)).unwrap()
        });
    let officer = access::rights_officer(vault.register(), SpkiDigest([0x44; 32])).unwrap();
    erase::at_vault(&vault, &officer, &erasure).unwrap();
    answer
        .pseudonyms
        .iter()
        .flat_map(|pseudonym| *pseudonym.as_bytes())
        .collect()
}

type Row = (String, Vec<u8>, Vec<u8>);

fn rows(path: &Path) -> Vec<Row> {
    let columns = DB::list_cf(&Options::default(), path).unwrap();
    let db = DB::open_cf(&Options::default(), path, &columns).unwrap();
    let mut rows = vec![];
    for column in columns {
        for row in db.iterator_cf(db.cf_handle(&column).unwrap(), IteratorMode::Start) {
            let (key, value) = row.unwrap();
            rows.push((column.clone(), key.into_vec(), value.into_vec()));
        }
    }
    rows
}

/// Text as text, everything else in hex.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
            text.to_owned()
        }
        _ => HEXLOWER.encode(bytes),
    }
}

fn mask(text: &str, random: &[u8]) -> String {
    text.replace(
        &HEXLOWER.encode(random),
        &format!("<{} random>", random.len()),
    )
}

#[test]
fn every_column_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let answered = write(&path);
    let rows = rows(&path);
    let one = |column: &str| {
        let mut of = rows.iter().filter(|row| row.0 == column);
        let row = of.next().unwrap_or_else(|| panic!("a row in {column}"));
        assert!(of.next().is_none(), "one row in {column}");
        row
    };

    // What is random, taken apart.
    let segment = one("segment");
    check_segment(&segment.1, &segment.2);
    let proofs: Vec<_> = rows.iter().filter(|row| row.0 == "segment-proof").collect();
    let [opening, proof] = proofs[..] else {
        panic!("{} rows in segment-proof", proofs.len())
    };
    assert_eq!((&opening.1, opening.2.len()), (&segment.1, 32));
    assert_eq!(proof.1, [&segment.1[..], b"court-2026"].concat());
    let recipient = &segment.2[1 + 16 + 16 + 8 + 32 + 1..segment.2.len() - 64];
    assert_eq!(
        proof.2,
        Sha256::digest(recipient).to_vec(),
        "of the recipient's bytes"
    );
    let chunk = one("chunk");
    let plain = open_chunk(&chunk.1, &chunk.2);
    check_chunk(&plain, &segment.1, &answered);
    let copies: Vec<_> = rows
        .iter()
        .filter(|row| row.0 == "state-order-copy")
        .collect();
    assert_eq!(copies.len(), 2);
    copies
        .iter()
        .for_each(|copy| check_copy(&copy.1, &copy.2, &segment.1, &answered));
    let salt = one("audit-salt");
    assert_eq!(salt.2.len(), 16);
    let mut digest = Hmac::<Sha256>::new_from_slice(&salt.2).unwrap();
    digest.update(&answered);
    let digest = digest.finalize().into_bytes();

    // tag ‖ salt; the entry's root is over both.
    let tags: Vec<&[u8]> = rows
        .iter()
        .filter(|row| row.0 == "audit-tag")
        .map(|row| &row.2[..])
        .collect();
    assert!(tags.len() == 2 && tags.iter().all(|tag| tag.len() == 32));
    let salts: Vec<&[u8]> = tags.iter().map(|tag| &tag[16..]).collect();
    let leaves = tags
        .iter()
        .map(|tag| Sha256::new().chain_update([0]).chain_update(tag).finalize());
    let root = leaves
        .fold(Sha256::new().chain_update([1]), |hash, leaf| {
            hash.chain_update(leaf)
        })
        .finalize();

    check_tree(&one("audit-tree").2, &one("audit-checkpoint").2, &rows);

    let records = check_journal(&rows);
    let mut text =
        String::from("# column key value; `tests/durable/format.rs` says what this is.\n");
    for (column, key, value) in &rows {
        let value = match column.as_str() {
            // The tree's root and the signature over it follow from what is random.
            "segment" | "segment-proof" | "chunk" | "state-order-copy" | "audit-tree"
            | "audit-checkpoint" | "journal" => {
                format!("<{} bytes>", value.len())
            }
            _ => shown(value),
        };
        let line = format!("{column} {} {value}", shown(key));
        let line = line.replace(
            concat!("\"program\":\"", env!("CARGO_PKG_VERSION")),
            "\"program\":\"<version>",
        );
        let line = [&segment.1[..], &salt.2, &digest, &root, salts[0], salts[1]]
            .iter()
            .fold(line, |line, random| mask(&line, random));
        let line = records
            .iter()
            .fold(line, |line, digest| mask(&line, digest));
        writeln!(text, "{line}").unwrap();
    }
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/durable/format.txt");
    if std::env::var_os("CLOISON_PIN_FORMAT").is_some() {
        std::fs::write(&pinned, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&pinned).unwrap();
    for (found, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
    // No column without a row: a new one has to be pinned too.
    let columns = DB::list_cf(&Options::default(), &path).unwrap();
    // Full tiles come with the 256th entry: `tiles_byte_for_byte`.
    for column in columns
        .iter()
        .filter(|column| !["default", "audit-tile"].contains(&column.as_str()))
    {
        assert!(
            rows.iter().any(|row| row.0 == *column),
            "column {column} has no row here"
        );
    }
}

/// Each side record opens at the entry that names it, and begins with a change. The digests of all.
fn check_journal(rows: &[Row]) -> Vec<[u8; 32]> {
    let hkdf = Hkdf::<Sha256>::new(Some(b"cloison/v1/extract/journal"), &[9; 32]);
    let mut key = [0; 32];
    hkdf.expand(b"cloison/v1/journal", &mut key).unwrap();
    let cipher = XChaCha20Poly1305::new(&CipherKey::from(key));
    let (origin, mut digests) = ("cloison/format/vault/2026", vec![]);
    for (_, entry, row) in rows.iter().filter(|row| row.0 == "journal") {
        let digest: [u8; 32] = Sha256::digest(row).into();
        let names = format!("\"journal\":\"{}\"", HEXLOWER.encode(&digest));
        let naming = rows.iter().find(|row| row.0 == "audit" && row.1 == *entry);
        assert!(
            std::str::from_utf8(&naming.unwrap().2)
                .unwrap()
                .contains(&names)
        );
        let mut r = &row[..];
        assert_eq!(take(&mut r, 5), [1, 0, 0, 0, 1]);
        let nonce = XNonce::try_from(take(&mut r, 24)).unwrap();
        let mut aad = b"cloison/v1/journal\0\x19".to_vec();
        aad.extend_from_slice(origin.as_bytes());
        aad.extend_from_slice(entry);
        let sealed = Sealed { msg: r, aad: &aad };
        let changes = cipher.decrypt(&nonce, sealed).unwrap();
        let mut r = &changes[..];
        let length = usize::from(take(&mut r, 2)[1]);
        assert!(take(&mut r, length).starts_with(b"state-"));
        digests.push(digest);
    }
    assert!(digests.len() > 4, "{}", digests.len());
    digests
}

/// Gives rows of orders the keys that they had in format 1: those of which `is_old` says so, as a
/// kill halfway leaves them.
fn back_to_format_1(path: &Path, is_old: impl Fn(usize) -> bool) {
    let columns = DB::list_cf(&Options::default(), path).unwrap();
    let of_orders = [
        "state-order",
        "state-order-pair",
        "state-order-life",
        "state-migration",
        "migration-pairs",
    ];
    let rows = rows(path)
        .into_iter()
        .filter(|row| of_orders.contains(&row.0.as_str()));
    let db = DB::open_cf(&Options::default(), path, &columns).unwrap();
    let whose = b"court\0";
    for (_, (column, key, value)) in rows.enumerate().filter(|(place, _)| is_old(*place)) {
        let at = key
            .windows(whose.len())
            .position(|bytes| bytes == whose)
            .expect("the authority");
        let old = [&key[..at], &key[at + whose.len()..]].concat();
        let column = db.cf_handle(&column).unwrap();
        db.delete_cf(column, key).unwrap();
        db.put_cf(column, old, value).unwrap();
    }
    db.put_cf(
        db.cf_handle("state-meta").unwrap(),
        "format",
        1u32.to_be_bytes(),
    )
    .unwrap();
}

#[test]
fn a_store_of_format_1_gets_its_orders_keyed_by_authority_also_after_a_kill_halfway() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    write(&path);
    let expected = rows(&path);
    for is_old in [
        |_| true,
        |place| place % 2 == 0,
        |place| place % 2 == 1,
        |_| false,
    ] {
        back_to_format_1(&path, is_old);
        assert_ne!(rows(&path), expected);
        drop(Store::open(&path, "format/vault").unwrap());
        // Each round is an upgrade of its own, and makes its copy.
        std::fs::remove_dir_all(folder.path().join("store.format-1")).unwrap();
        assert!(
            rows(&path) == expected,
            "every row is where format 2 has it"
        );
    }
}

#[test]
fn the_log_says_whose_an_order_is_that_has_no_life() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    write(&path);
    back_to_format_1(&path, |_| true);
    let columns = DB::list_cf(&Options::default(), &path).unwrap();
    let db = DB::open_cf(&Options::default(), &path, &columns).unwrap();
    let order: uuid::Uuid = ORDER.parse().unwrap();
    db.delete_cf(db.cf_handle("state-order-life").unwrap(), order.as_bytes())
        .unwrap();
    drop(db);
    let store = Store::open(&path, "format/vault").unwrap();
    let order = OrderKey::new("court", order);
    assert!(store.order_digest(&order).unwrap().is_some());
    assert_eq!(store.order_pairs(&order).unwrap().len(), 2);
}

/// format ‖ first entry ‖ size ‖ root, and the note over it.
fn check_tree(tree: &[u8], note: &[u8], rows: &[Row]) {
    let leaves: Vec<[u8; 32]> = rows
        .iter()
        .filter(|row| row.0 == "audit")
        .map(|row| {
            Sha256::new()
                .chain_update([0])
                .chain_update(&row.2)
                .finalize()
                .into()
        })
        .collect();
    let mut r = tree;
    assert_eq!(take(&mut r, 1), [1]);
    assert_eq!(take(&mut r, 8), 0u64.to_be_bytes());
    assert_eq!(take(&mut r, 8), (leaves.len() as u64).to_be_bytes());
    fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
        let [leaf] = leaves else {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            return Sha256::new()
                .chain_update([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
                .into();
        };
        *leaf
    }
    assert_eq!(r, root(&leaves));
    let text = format!(
        "cloison/format/vault/2026\n{}\n{}\n",
        leaves.len(),
        data_encoding::BASE64.encode(r)
    );
    let note = std::str::from_utf8(note)
        .unwrap()
        .strip_prefix(&text)
        .unwrap();
    let line = note
        .strip_prefix("\n— cloison/format/vault/2026 ")
        .unwrap()
        .strip_suffix('\n')
        .unwrap();
    let signature = data_encoding::BASE64.decode(line.as_bytes()).unwrap();
    let signature = Signature::from_bytes(signature[4..].try_into().unwrap());
    SigningKey::from_bytes(&[8; 32])
        .verifying_key()
        .verify_strict(text.as_bytes(), &signature)
        .unwrap();
}

/// shard(year, part) ‖ level ‖ number → 256 leaf hashes
#[test]
fn tiles_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    write(&path);
    let rows_before = rows(&path);
    assert!(rows_before.iter().all(|row| row.0 != "audit-tile"));
    let vault = open(&path, 2, fixed_register(7));
    for n in 0..256 {
        let event = AuditEvent::Refuse {
            actor: n.to_string(),
            operation: "tokenize",
            code: Code::Forbidden,
            count: 1,
        };
        vault
            .committer()
            .record(now(), event, vec![], vec![])
            .unwrap();
    }
    drop(vault);
    let rows = rows(&path);
    let tiles: Vec<_> = rows.iter().filter(|row| row.0 == "audit-tile").collect();
    assert_eq!(tiles.len(), 1);
    assert_eq!(
        tiles[0].1,
        [&2026u16.to_be_bytes()[..], &[0, 0], &[0], &[0; 8]].concat()
    );
    let leaves = rows.iter().filter(|row| row.0 == "audit").take(256);
    let leaves: Vec<u8> = leaves
        .flat_map(|row| {
            <[u8; 32]>::from(
                Sha256::new()
                    .chain_update([0])
                    .chain_update(&row.2)
                    .finalize(),
            )
        })
        .collect();
    assert_eq!(tiles[0].2, leaves);
}

/// Reads off the front.
fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at(n);
    *bytes = tail;
    head
}

fn field<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let len = u16::from_be_bytes(take(bytes, 2).try_into().unwrap());
    take(bytes, len.into())
}

/// format ‖ id ‖ sector ‖ opened-at ‖ commitment ‖ 1 ‖ suite ‖ LP(key id) ‖ LP(enc) ‖ LP(ct) ‖
/// signature
fn check_segment(key: &[u8], record: &[u8]) {
    let mut r = record;
    assert_eq!(take(&mut r, 1), [1]);
    assert_eq!(take(&mut r, 16), key);
    assert_eq!(
        take(&mut r, 16),
        HEXLOWER
            .decode(b"62484e22a6a54de1ba25cb1b7c55c4b8")
            .unwrap()
    );
    assert_eq!(take(&mut r, 8), now().as_second().to_be_bytes());
    take(&mut r, 32);
    assert_eq!(take(&mut r, 2), [1, 1], "one recipient, suite 1");
    assert_eq!(field(&mut r), b"court-2026");
    assert_eq!(field(&mut r).len(), 32, "an X25519 point");
    assert_eq!(field(&mut r).len(), 48, "a data key and its tag");
    assert_eq!(r.len(), 64);
    let signed = [
        b"cloison/v1/segment-signature",
        &record[..record.len() - 64],
    ]
    .concat();
    let signature = Signature::from_bytes(r.try_into().unwrap());
    SigningKey::from_bytes(&[7; 32])
        .verifying_key()
        .verify_strict(&signed, &signature)
        .unwrap();
}

/// format ‖ version ‖ nonce(24) ‖ XChaCha20-Poly1305(K_store, nonce, plaintext, aad = row key)
fn open_chunk(key: &[u8], row: &[u8]) -> Vec<u8> {
    let mut k_store = [0; 32];
    let (prk, _) = Hkdf::<Sha256>::extract(Some(b"cloison/v1/extract/store"), &[5; 32]);
    Hkdf::<Sha256>::from_prk(&prk)
        .unwrap()
        .expand(b"cloison/v1/store", &mut k_store)
        .unwrap();
    let mut r = row;
    assert_eq!(
        take(&mut r, 5),
        [1, 0, 0, 0, 1],
        "format 1, store key version 1"
    );
    let nonce = XNonce::try_from(take(&mut r, 24)).unwrap();
    let cipher = XChaCha20Poly1305::new(&CipherKey::from(k_store));
    cipher.decrypt(&nonce, Sealed { msg: r, aad: key }).unwrap()
}

/// epoch ‖ a chunk of one record, wrapped for the row's key and the epoch
fn check_copy(key: &[u8], value: &[u8], segment: &[u8], answered: &[u8]) {
    let (epoch, sealed) = value.split_at(4);
    assert_eq!(epoch, 1u32.to_be_bytes());
    let plain = open_chunk(&[key, epoch].concat(), sealed);
    let mut r = &plain[..];
    assert_eq!(take(&mut r, 1), [1]);
    assert_eq!(take(&mut r, 16), segment);
    assert_eq!(
        [field(&mut r), field(&mut r), field(&mut r)],
        [&b"cnss"[..], b"billing", b"2026-11"]
    );
    assert_eq!(take(&mut r, 4), [0, 0, 0, 1]);
    let pseudonym = take(&mut r, 16);
    assert!(answered.chunks(16).any(|known| known == pseudonym));
    take(&mut r, 12);
    field(&mut r);
    assert!(r.is_empty());
}

/// format ‖ segment id ‖ LP(controller) ‖ LP(purpose) ‖ LP(period) ‖ count ‖ [P ‖ nonce ‖
/// LP(ciphertext)]…
fn check_chunk(plain: &[u8], segment: &[u8], answered: &[u8]) {
    let mut r = plain;
    assert_eq!(take(&mut r, 1), [1]);
    assert_eq!(take(&mut r, 16), segment);
    assert_eq!(
        [field(&mut r), field(&mut r), field(&mut r)],
        [&b"cnss"[..], b"billing", b"2026-11"]
    );
    assert_eq!(take(&mut r, 4), [0, 0, 0, 2]);
    let mut wanted: Vec<&[u8]> = answered.chunks(16).collect();
    // The length tells which of the two identifiers it is; counters go up in the order of the
    // records, not of the request.
    let lengths: Vec<_> = wanted
        .iter()
        .zip([6, 8])
        .map(|(p, len)| (p.to_vec(), len))
        .collect();
    wanted.sort_unstable();
    for (counter, pseudonym) in (0u32..).zip(wanted) {
        assert_eq!(take(&mut r, 16), pseudonym);
        let len = lengths.iter().find(|(p, _)| p == pseudonym).unwrap().1;
        assert_eq!(take(&mut r, 12)[8..], counter.to_be_bytes());
        assert_eq!(
            field(&mut r).len(),
            2 + 4 + 2 + len + 4 + 16,
            "LP(scheme), LP(value), day, tag"
        );
    }
    assert!(r.is_empty());
}
