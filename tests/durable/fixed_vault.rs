//! A vault whose register, secrets and clock are fixed, so that the bytes of its store are.

use std::path::Path;
use std::sync::Arc;

use cloison::access::{self, NodePermit};
use cloison::audit::log::LogParts;
use cloison::clock::FixedClock;
use cloison::jws;
use cloison::keys::file::FileError;
use cloison::keys::sector_secrets::SectorSecretStore;
use cloison::keys::{
    AuditSecret, AuthoritySecret, IdentityKeys, IdentitySecret, JournalSecret, Key, SectorSecret,
    StoreSecret,
};
use cloison::order::book::Book;
use cloison::order::{self, LegalBasis, OrderPayload, PseudonymScope, RequestPayload};
use cloison::register::{self, PinnedKey, Register, Suite};
use cloison::reidentify::{ReidentifyRequest, ReleaseRequest};
use cloison::seal::segment::AuthorityPrivateKey;
use cloison::statement::Statement as _;
use cloison::vault::{Vault, VaultHome, VaultSecrets};
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::world::id;

pub fn secret(byte: u8) -> Key {
    Key::take(&mut [byte; 32])
}

/// The sector secrets of this test: so many are there, more are counted up.
struct Shelf(u8);

impl SectorSecretStore for Shelf {
    fn load(&self) -> Result<Vec<(u32, SectorSecret)>, FileError> {
        let all = (1..=self.0).map(|version| (version.into(), SectorSecret(secret(2 + version))));
        Ok(all.collect())
    }

    fn create(&self, used: u32) -> Result<(u32, SectorSecret), FileError> {
        Ok((used + 1, SectorSecret(secret(3 + used as u8))))
    }

    fn destroy(&self, _: u32) -> Result<(), FileError> {
        unreachable!("no version is retired")
    }

    fn is_off_machine(&self) -> bool {
        true
    }
}

pub fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub fn person(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(format!("cloison order vectors: {name}")).into())
}

pub fn fixed_register(version: u64) -> Register {
    let public =
        AuthorityPrivateKey::derive(&AuthoritySecret(secret(6)), "court-2026", Suite::X25519)
            .public()
            .to_vec();
    let public_of = |name: &str| HEXLOWER.encode(person(name).verifying_key().as_bytes());
    let text = include_str!("register.toml").replace("@AUTHORITY@", &HEXLOWER.encode(&public));
    let text = text
        .replace("@FATIMA@", &public_of("fatima"))
        .replace("@GHITA@", &public_of("ghita"))
        .replace("\nversion = 7\n", &format!("\nversion = {version}\n"));
    let mut register = register::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    register.commission = vec![PinnedKey {
        id: id("cndp"),
        body: id("cndp"),
        key: person("cndp").verifying_key(),
    }];
    register
}

/// Opens a store with so many sector secrets.
pub fn open(path: &Path, versions: u8, register: Register) -> Vault {
    let secrets = VaultSecrets {
        identity: Box::new(IdentityKeys::new(&IdentitySecret(secret(1)))),
        audit: AuditSecret(secret(2)),
        store: vec![(1, StoreSecret(secret(5)))],
        journal: vec![(1, JournalSecret(secret(9)))],
        sector: Box::new(Shelf(versions)),
        segment: SigningKey::from_bytes(&[7; 32]),
        log: LogParts::new(SigningKey::from_bytes(&[8; 32])),
    };
    // No memory for the index: what it has goes to the disk at once.
    let home = VaultHome {
        store: path.to_owned(),
        index_memory: 0,
    };
    let clock = Arc::new(FixedClock::at(now()));
    let open = Vault::open(
        &home,
        register,
        secrets,
        &[],
        clock,
        &|_| {},
        Box::new(|_| {}),
    );
    open.unwrap_or_else(|error| panic!("{error}"))
}

/// The node's question for mappings of the sector `health`, under an order for these pseudonyms;
/// `ids` are the order's and the request's.
pub fn question(
    vault: &Vault,
    [order_id, request_id]: [Uuid; 2],
    case: &str,
    texts: Vec<String>,
) -> ReleaseRequest {
    let payload = OrderPayload {
        aud: id("format"),
        id: order_id,
        authority: id("court"),
        basis: LegalBasis::Judicial,
        case: case.into(),
        purpose: id("investigation"),
        sectors: vec!["health".into()],
        scope: PseudonymScope::Listed([("health".into(), texts.clone())].into()),
        not_before: now(),
        not_after: now() + jiff::SignedDuration::from_hours(1),
        officers: vec![id("driss")],
        inform_after: None,
        issued: None,
    };
    let order = ["amina", "chadia"]
        .iter()
        .fold(payload.draft().unwrap(), |text, approver| {
            jws::add_signature(&text, OrderPayload::TYP, approver, &person(approver)).unwrap()
        });
    let request = RequestPayload {
        aud: id("format"),
        order: order::digest_of(&order).unwrap(),
        request: request_id,
        sector: "health".to_owned(),
        list: order::list_digest(&texts).unwrap(),
        time: now(),
    };
    ReleaseRequest {
        register: HEXLOWER.encode(&vault.register().digest),
        acts: Book::from(vault).digest(&id("court")).unwrap(),
        held: None,
        asked: ReidentifyRequest {
            order,
            request: order::sign_request(request, &id("driss"), &person("driss")).unwrap(),
            sector: "health".into(),
            pseudonyms: texts,
            to: None,
        },
    }
}

/// The permit of the court's node.
pub fn node_permit(vault: &Vault) -> NodePermit {
    let node = vault.register().authorities[&id("court")].node;
    access::node(vault.register(), node).unwrap()
}
