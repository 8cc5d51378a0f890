//! The trust table of README.md, row by row: each test holds exactly what a thief would hold, and
//! gets nothing. And the canary test: after everything ran, nothing stands where it must not.

#[path = "../common/mod.rs"]
mod common;

mod canaries;
mod canary;
mod crown_jewels;
mod custody;
mod disk;
#[path = "../identity/mod.rs"]
mod identity;
mod node;
mod one_key;
mod split;
mod store_and_key;
mod story;

use std::path::Path;

use cloison::keys::file::SecretKind;
use cloison::keys::sector_secrets::read_versions;
use cloison::keys::{StoreKey, StoreSecret};
use cloison::seal::chunk::ChunkCipher;

/// The records of every chunk of a store, unwrapped by the store secrets of a deployment: what the
/// vault alone can do.
fn vaults_chunks(deployment: &Path, store: &Path) -> Vec<Vec<u8>> {
    let secrets =
        read_versions(&deployment.join("secrets/vault/store"), SecretKind::Store).unwrap();
    let keys = secrets
        .into_iter()
        .map(|(version, secret)| (version, StoreKey::new(&StoreSecret(secret))));
    let cipher = ChunkCipher::new(keys);
    let chunks = story::rows(store)
        .into_iter()
        .filter(|row| row.0 == "chunk");
    chunks
        .map(|(_, key, row)| {
            let chunk = cipher.unwrap(&key, row).unwrap();
            chunk
                .records()
                .flat_map(|record| record.unwrap().to_bytes())
                .collect()
        })
        .collect()
}
