//! The independent implementation: it agrees on all vectors, makes them, and opens what this one
//! seals.

use cloison::keys::{
    AuthoritySecret, DomainScope, IdentityKeys, IdentitySecret, Key, PrfOutput, SectorRootKey,
    SectorSecret, StoreKey, StoreSecret,
};
use cloison::register::{AuthorityKey, Id, Suite};
use cloison::seal::chunk::{ChunkBuilder, ChunkCipher, MAX_RECORDS};
use cloison::seal::mapping::{MappingLocation, MappingSealer};
use cloison::seal::segment::{AuthorityPrivateKey, OpenSegment};
use cloison::store::ChunkKey;
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{form, key, python, root};

#[test]
fn the_independent_implementation_agrees_on_all_vectors() {
    let said = python("check.py", &[&root().join("tests/vectors")], "");
    let count: usize = said
        .trim()
        .strip_suffix(" values agree")
        .expect("its last word")
        .parse()
        .unwrap();
    assert!(count > 900, "only {count} values were compared");
}

#[test]
fn the_vectors_are_those_that_the_independent_implementation_makes() {
    let folder = tempfile::tempdir().unwrap();
    python("generate.py", &[folder.path()], "");
    let mut made: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    made.sort();
    assert_eq!(
        made,
        [
            "canonical.json",
            "derivation.json",
            "sealing.json",
            "text.json"
        ]
    );
    for name in made {
        let (theirs, ours) = (
            folder.path().join(&name),
            root().join("tests/vectors").join(&name),
        );
        let same = std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap();
        assert!(
            same,
            "tests/vectors/{} is not what generate.py makes",
            name.display()
        );
    }
}

#[test]
fn the_independent_implementation_opens_what_this_one_seals() {
    for (form_name, suite) in [("bech32m", Suite::X25519), ("uuid", Suite::XWing)] {
        seal_and_let_open(form_name, suite);
    }
}

/// Three batches in two segments of one sector, the last with every granularity, as the vault would
/// seal them.
fn seal_and_let_open(form_name: &str, suite: Suite) {
    let secret = || HEXLOWER.encode(Key::random().expose());
    let (identity_secret, sector_secret, store_secret, authority_secret) =
        (secret(), secret(), secret(), secret());
    let secret_key = |hex: &str| key(&json!(hex));
    let path = [Uuid::from_bytes([7; 16]), Uuid::from_bytes([9; 16])];
    let sector = path[1];

    let signer = SigningKey::from_bytes(&cloison::clock::random());
    let court = AuthorityPrivateKey::derive(
        &AuthoritySecret(secret_key(&authority_secret)),
        "court-2026",
        suite,
    );
    let other =
        AuthorityPrivateKey::derive(&AuthoritySecret(Key::random()), "other", Suite::X25519);
    let public = |private: &AuthorityPrivateKey| AuthorityKey {
        id: Id::parse(private.id()).unwrap(),
        suite: private.suite(),
        public: private.public().to_vec(),
    };
    let recipients = [public(&other), public(&court)];
    let now = "2026-11-22T08:00:00Z".parse().unwrap();
    let segments: Vec<_> = (0..2)
        .map(|_| OpenSegment::create(sector, &recipients.each_ref(), &signer, now).unwrap())
        .collect();

    let identity = IdentityKeys::new(&IdentitySecret(secret_key(&identity_secret)));
    let tree = SectorRootKey::new(&SectorSecret(secret_key(&sector_secret))).sector(&path);
    let cipher = ChunkCipher::new([(5, StoreKey::new(&StoreSecret(secret_key(&store_secret))))]);
    let all = DomainScope {
        controller: "cnss".into(),
        purpose: "billing".into(),
        period: "2026-11".into(),
    };
    let batches = [
        (0, 1, DomainScope::default(), "cnie", 1),
        (1, 1, DomainScope::default(), "idcs", 600),
        (1, 40, all, "cnie", 3),
    ];

    let (mut rows, mut expected) = (Vec::new(), Vec::new());
    for (sequence, (segment, epoch, scope, scheme, count)) in (1..).step_by(10).zip(batches) {
        let segment = &segments[segment];
        let values: Vec<String> = (0..count).map(|n| format!("AB{n:06}")).collect();
        let mut utis = Vec::new();
        identity.append_utis(scheme, values.iter().map(String::as_bytes), &mut utis);
        let domain = tree.domain(epoch, &scope);
        let mut sealer = MappingSealer::new(
            segment,
            MappingLocation::new(sector, epoch, &scope),
            scheme,
            20_779,
            values.len(),
        )
        .unwrap();
        let mut persons: Vec<_> = utis
            .iter()
            .map(|uti| domain.prf(uti))
            .zip(&values)
            .collect();
        let pseudonym = |prf: &PrfOutput| prf.to_pseudonym().fixed_for(form(form_name));
        for (run, sequence) in persons.chunks_mut(MAX_RECORDS).zip(sequence..) {
            run.sort_unstable_by_key(|(prf, _)| pseudonym(prf));
            let mut chunk = ChunkBuilder::new(segment.id(), &scope, run.len(), 1 << 16);
            for (prf, value) in run {
                sealer.seal(
                    pseudonym(prf),
                    prf.nonce_part(),
                    value.as_bytes(),
                    &mut chunk,
                );
                let pseudonym = HEXLOWER.encode(pseudonym(prf).as_bytes());
                expected.push(json!({"pseudonym": pseudonym, "scheme": scheme, "value": value, "first_seen": 20_779}));
            }
            let place = ChunkKey {
                sector: 1,
                epoch,
                sequence,
            }
            .to_bytes();
            let row = HEXLOWER.encode(&cipher.wrap(&place, chunk));
            rows.push(json!({"row_key": HEXLOWER.encode(&place), "row": row}));
        }
    }
    let given = json!({
        "identity_secret": identity_secret,
        "sector_secret": sector_secret,
        "path": path.map(|uuid| uuid.to_string()),
        "text_form": form_name,
        "authority_secret": authority_secret,
        "key_id": "court-2026",
        "suite": suite.number(),
        "store_secrets": {"5": store_secret},
        "pinned": [HEXLOWER.encode(signer.verifying_key().as_bytes())],
        "segments": segments.iter().map(|segment| HEXLOWER.encode(segment.record())).collect::<Vec<_>>(),
        "rows": rows,
    });
    let opened: Value = serde_json::from_str(&python("open.py", &[], &given.to_string())).unwrap();
    let sorted = |mappings: &[Value]| {
        let mut mappings: Vec<String> = mappings.iter().map(Value::to_string).collect();
        mappings.sort();
        mappings
    };
    assert_eq!(sorted(opened.as_array().unwrap()), sorted(&expected));
}
