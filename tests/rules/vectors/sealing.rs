//! Segments, mappings, chunks and audit tags.

use std::collections::BTreeMap;

use cloison::keys::{
    AuditKey, AuditSecret, AuthoritySecret, DomainScope, IdentityKeys, IdentitySecret,
    SectorRootKey, SectorSecret, StoreKey, StoreSecret,
};
use cloison::pseudonym::Pseudonym;
use cloison::register::{Suite, TextForm};
use cloison::seal::SealError;
use cloison::seal::chunk::{Chunk, ChunkCipher};
use cloison::seal::mapping::{Mapping, MappingLocation, RecordView};
use cloison::seal::segment::{AuthorityPrivateKey, OpenedSegment};
use cloison::store::ChunkKey;
use data_encoding::HEXLOWER;
use ed25519_dalek::VerifyingKey;
use serde_json::Value;
use uuid::Uuid;

use super::{array, bytes, each, file, form, key, number, scope, text};

fn kind(error: SealError) -> &'static str {
    match error {
        SealError::Format => "format",
        SealError::Signature => "signature",
        SealError::NotForThisKey => "not-for-this-key",
        SealError::Commitment => "commitment",
        SealError::PublicKey => "public-key",
        SealError::Open => "open",
        SealError::KeyVersion(_) => "key-version",
    }
}

fn authority(file: &Value, name: &str) -> AuthorityPrivateKey {
    let entry = &file["authorities"][name];
    let suite = Suite::from_number(entry["suite"].as_u64().unwrap()).unwrap();
    let key = AuthorityPrivateKey::derive(
        &AuthoritySecret(key(&entry["authority_secret"])),
        text(&entry["key_id"]),
        suite,
    );
    assert_eq!(
        HEXLOWER.encode(key.public()),
        text(&entry["public"]),
        "{name}"
    );
    key
}

fn pinned(file: &Value) -> Vec<VerifyingKey> {
    vec![VerifyingKey::from_bytes(&array(&file["pinned"])).unwrap()]
}

fn opened_segments(file: &Value) -> BTreeMap<&str, OpenedSegment> {
    each(&file["segments"])
        .map(|segment| {
            let mut by_each = each(&segment["sealed_to"]).map(|name| {
                let opened = OpenedSegment::open(
                    &bytes(&segment["record"]),
                    &authority(file, text(name)),
                    &pinned(file),
                );
                let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", segment["name"]));
                assert_eq!(opened.id(), &array(&segment["id"]));
                assert_eq!(opened.sector().to_string(), text(&segment["sector"]));
                opened
            });
            let first = by_each.next().unwrap();
            by_each.for_each(drop);
            (text(&segment["name"]), first)
        })
        .collect()
}

fn open_record(
    record: &[u8],
    segment: &OpenedSegment,
    sector: &Value,
    epoch: &Value,
    scope: &DomainScope,
) -> Result<Mapping, SealError> {
    let sector = Uuid::parse_str(text(sector)).unwrap();
    RecordView::parse(record)?.open(segment, MappingLocation::new(sector, number(epoch), scope))
}

fn store_cipher(file: &Value) -> ChunkCipher {
    ChunkCipher::new(each(&file["store_secrets"]).map(|entry| {
        (
            number(&entry["version"]),
            StoreKey::new(&StoreSecret(key(&entry["store_secret"]))),
        )
    }))
}

#[test]
fn authority_keys_agree() {
    let file = file("sealing.json");
    for (name, entry) in file["authorities"].as_object().unwrap() {
        let private = authority(&file, name);
        assert_eq!(private.id(), text(&entry["key_id"]));
        assert_eq!(private.public(), bytes(&entry["public"]), "{name}");
    }
}

#[test]
fn segments_and_mappings_open() {
    let file = file("sealing.json");
    let segments = opened_segments(&file);
    for entry in each(&file["mappings"]) {
        let (input, record) = (&entry["input"], bytes(&entry["record"]));
        let sector = &input["path"][0];
        let segment = &segments[text(&entry["segment"])];
        let mapping =
            open_record(&record, segment, sector, &input["epoch"], &scope(input)).unwrap();
        assert_eq!(mapping.scheme, text(&input["scheme"]));
        assert_eq!(mapping.value.as_str(), text(&input["value"]));
        assert_eq!(mapping.first_seen, number(&entry["first_seen"]));

        // The record is the one that this implementation would have made, but for the ciphertext
        // that a fixed DEK made.
        let (p, nonce_part) = derived(input, form(text(&entry["text_form"])));
        assert_eq!(p.as_bytes(), &array(&entry["pseudonym"]));
        assert_eq!(RecordView::parse(&record).unwrap().pseudonym, p);
        assert_eq!(record[16..24], nonce_part);
        assert_eq!(record[24..28], number(&entry["counter"]).to_be_bytes());
        assert_eq!(RecordView::parse(&record).unwrap().to_bytes(), record);
    }
}

fn derived(input: &Value, form: TextForm) -> (Pseudonym, [u8; 8]) {
    let identity = IdentityKeys::new(&IdentitySecret(key(&input["identity_secret"])));
    let (scheme, value) = (text(&input["scheme"]), text(&input["value"]));
    let mut utis = Vec::new();
    identity.append_utis(scheme, [value.as_bytes()], &mut utis);
    let path: Vec<Uuid> = each(&input["path"])
        .map(|sector| Uuid::parse_str(text(sector)).unwrap())
        .collect();
    let tree = SectorRootKey::new(&SectorSecret(key(&input["sector_secret"]))).sector(&path);
    let prf = tree
        .domain(number(&input["epoch"]), &scope(input))
        .prf(&utis[0]);
    (
        prf.to_pseudonym().fixed_for(form),
        *prf.nonce_part().as_bytes(),
    )
}

#[test]
fn chunks_open() {
    let file = file("sealing.json");
    let (cipher, segments) = (store_cipher(&file), opened_segments(&file));
    for entry in each(&file["chunks"]) {
        let place = ChunkKey {
            sector: number(&entry["sector_number"]),
            epoch: number(&entry["epoch"]),
            sequence: number(&entry["sequence"]),
        };
        assert_eq!(place.to_bytes(), array::<16>(&entry["row_key"]));
        let chunk = cipher
            .unwrap(&place.to_bytes(), bytes(&entry["row"]))
            .unwrap();
        let segment = &segments[text(&entry["segment"])];
        assert_eq!(chunk.segment(), segment.id());
        let records: Vec<_> = chunk
            .records()
            .map(|record| record.unwrap().to_bytes())
            .collect();
        assert_eq!(
            records,
            each(&entry["records"]).map(bytes).collect::<Vec<_>>()
        );
        for record in chunk.records().map(Result::unwrap) {
            assert_eq!(
                chunk.find(&record.pseudonym).unwrap().unwrap().to_bytes(),
                record.to_bytes()
            );
            let location =
                MappingLocation::new(segment.sector(), number(&entry["epoch"]), chunk.scope());
            record.open(segment, location).unwrap();
        }
    }
}

#[test]
fn audit_tags_agree() {
    let file = file("sealing.json");
    let audit = AuditKey::new(&AuditSecret(key(&file["audit"]["audit_secret"])));
    for entry in each(&file["audit"]["tags"]) {
        let sector = Uuid::parse_str(text(&entry["sector"])).unwrap();
        let tag = audit.tag(sector, &Pseudonym::from_bytes(array(&entry["pseudonym"])));
        assert_eq!(tag, array(&entry["tag"]));
    }
}

#[test]
fn what_must_not_open_does_not() {
    let file = file("sealing.json");
    let (segments, cipher) = (opened_segments(&file), store_cipher(&file));
    for case in each(&file["must_fail"]["segments"]) {
        let key = authority(&file, text(&case["opened_with"]));
        let opened = OpenedSegment::open(&bytes(&case["record"]), &key, &pinned(&file)).map(drop);
        assert_eq!(
            opened.map_err(kind),
            Err(text(&case["error"])),
            "segment: {}",
            case["name"]
        );
    }
    for case in each(&file["must_fail"]["mappings"]) {
        let segment = &segments[text(&case["segment"])];
        let opened = open_record(
            &bytes(&case["record"]),
            segment,
            &case["sector"],
            &case["epoch"],
            &scope(case),
        );
        assert_eq!(
            opened.map(drop).map_err(kind),
            Err(text(&case["error"])),
            "mapping: {}",
            case["name"]
        );
    }
    for case in each(&file["must_fail"]["chunks"]) {
        let unwrapped = cipher.unwrap(&bytes(&case["row_key"]), bytes(&case["row"]));
        let all = |chunk: Chunk| chunk.records().try_for_each(|record| record.map(drop));
        assert_eq!(
            unwrapped.and_then(all).map_err(kind),
            Err(text(&case["error"])),
            "chunk: {}",
            case["name"]
        );
    }
}
