//! What the stores hold, read once the processes have ended.

use cloison::keys::file::SecretKind;
use cloison::keys::sector_secrets::read_versions;
use cloison::keys::{StoreKey, StoreSecret};
use cloison::seal::chunk::ChunkCipher;
use cloison::store::{Store, StoreError};
use serde_json::Value;

use super::{DEPLOYMENT, Side, World};

impl World {
    /// The store of a process that has ended.
    pub fn store(&self, side: Side) -> Store {
        let (path, owner) = match side {
            Side::Vault => ("data/vault", format!("{DEPLOYMENT}/vault")),
            Side::Node => ("data/node", format!("{DEPLOYMENT}/node/court")),
        };
        Store::open(&self.path(path), &owner).unwrap()
    }

    /// All audit entries of a process that has ended, in order.
    pub fn entries(&self, side: Side) -> Vec<Value> {
        let rows = self.store(side).audit_from(0, usize::MAX).unwrap();
        let numbers: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(
            numbers,
            (0..rows.len() as u64).collect::<Vec<_>>(),
            "entries are numbered without gaps"
        );
        rows.iter()
            .map(|(_, entry)| serde_json::from_slice(entry).unwrap())
            .collect()
    }

    /// How many refusals of `actor` with `code` a process that has ended wrote down.
    pub fn refusals(&self, side: Side, actor: &str, operation: &str, code: &str) -> u64 {
        let entries = self.entries(side);
        let matching = entries.iter().filter(|entry| {
            entry["event"] == "refuse"
                && entry["actor"] == actor
                && entry["operation"] == operation
                && entry["code"] == code
        });
        matching.map(|entry| entry["count"].as_u64().unwrap()).sum()
    }

    /// How many mappings the vault's store holds: every chunk is unwrapped and its records are
    /// counted.
    pub fn mappings(&self) -> usize {
        let store = self.store(Side::Vault);
        let secrets = read_versions(&self.path("secrets/vault/store"), SecretKind::Store).unwrap();
        let keys = secrets
            .into_iter()
            .map(|(version, secret)| (version, StoreKey::new(&StoreSecret(secret))));
        let cipher = ChunkCipher::new(keys);
        let mut records = 0;
        store
            .each_chunk::<StoreError>(|key, row| {
                records += cipher
                    .unwrap(&key.to_bytes(), row)
                    .unwrap()
                    .records()
                    .count();
                Ok(())
            })
            .unwrap();
        records
    }
}
