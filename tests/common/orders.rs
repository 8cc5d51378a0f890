//! The register of `tests/vectors/order-register.toml`, and orders made under it.

use cloison::jws;
use cloison::order::{LegalBasis, OrderPayload, PseudonymScope};
use cloison::pseudonym::{Pseudonym, TextWriter};
use cloison::register::{self, Id, Register, TextForm};
use cloison::statement::Statement as _;
use ed25519_dalek::SigningKey;
use jiff::{Timestamp, ToSpan as _};
use sha2::{Digest, Sha256};

/// The path of one of `tests/vectors/`.
pub fn vector(name: &str) -> String {
    format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub fn id(text: &str) -> Id {
    Id::parse(text).expect(text)
}

pub fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

/// The instant at which the orders of the vectors are judged.
pub fn now() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

/// The private key of a person in the vectors.
pub fn key(person: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(format!("cloison order vectors: {person}")).into())
}

pub fn register() -> Register {
    let text = std::fs::read_to_string(vector("order-register.toml")).unwrap();
    register::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// A pseudonym of `health`, all of whose bytes are `n`.
pub fn pseudonym(n: u8) -> String {
    TextWriter::new(TextForm::Bech32m, "sante", 3).text(&Pseudonym::from_bytes([n; 16]))
}

/// A judicial order over the pseudonyms 1 and 2 of `health`, for the officer driss.
pub fn payload() -> OrderPayload {
    OrderPayload {
        aud: id("vectors"),
        id: "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d".parse().unwrap(),
        authority: id("court"),
        basis: LegalBasis::Judicial,
        case: "RABAT/2026-17.A".into(),
        purpose: id("investigation"),
        sectors: vec!["health".into()],
        scope: PseudonymScope::Listed([("health".into(), vec![pseudonym(1), pseudonym(2)])].into()),
        not_before: now() - 3.hours(),
        not_after: at("2026-11-25T09:00:00Z"),
        officers: vec![id("driss")],
        inform_after: None,
        issued: None,
    }
}

/// An order, signed by each of `signers` with their own keys.
pub fn signed(payload: &OrderPayload, signers: &[&str]) -> String {
    signers
        .iter()
        .fold(jws::draft(&payload.write().unwrap()), |text, signer| {
            jws::add_signature(&text, OrderPayload::TYP, signer, &key(signer)).unwrap()
        })
}
