//! The fingerprints of every secret in `keys-example/`, so that no vault runs on published keys.
//!
//! A fingerprint is SHA-256 over a label and the 32 raw bytes of a secret (for Ed25519 the seed),
//! or over another label and the digest of a TLS key's SubjectPublicKeyInfo. It lets a program
//! recognise a secret, not find it.

use std::collections::HashSet;
use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// One line per secret file: fingerprint (64 hex digits), two spaces, path inside `keys-example/`.
const LIST: &str = include_str!("../../keys-example/FINGERPRINTS");

/// The fingerprint of a raw 32-byte secret.
pub fn fingerprint(secret: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update("cloison/v1/example-key")
        .chain_update(secret)
        .finalize()
        .into()
}

/// The fingerprint of a TLS key, from SHA-256 of its SubjectPublicKeyInfo (DER).
pub fn fingerprint_of_spki(digest: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update("cloison/v1/example-tls-key")
        .chain_update(digest)
        .finalize()
        .into()
}

/// Whether a fingerprint is that of a secret in `keys-example/`.
pub fn is_example(fingerprint: &[u8; 32]) -> bool {
    static KNOWN: OnceLock<HashSet<[u8; 32]>> = OnceLock::new();
    KNOWN
        .get_or_init(|| listed().map(|(fingerprint, _)| fingerprint).collect())
        .contains(fingerprint)
}

/// Every listed fingerprint with the path of its file inside `keys-example/`.
pub fn listed() -> impl Iterator<Item = ([u8; 32], &'static str)> {
    LIST.lines().filter_map(|line| {
        let (digits, path) = line.split_once("  ")?;
        Some((
            HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok()?,
            path,
        ))
    })
}
