//! The contract of the store's engine, on RocksDB: see `src/store/contract.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use cloison::store::contract::{ContractSubject, checks, write_until_killed};
use cloison::store::{RocksEngine, StoreError};

/// Where the other process finds the folder of the rows.
const FOLDER: &str = "CLOISON_CONTRACT_FOLDER";

fn open(folder: &Path) -> Result<RocksEngine, StoreError> {
    RocksEngine::open(folder, "contract/engine", 1 << 20)
}

/// This program again, running [`other_process`] alone.
fn writer(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["store_contract::other_process", "--exact", "--nocapture"]).env(FOLDER, folder);
    command
}

#[test]
fn rocksdb_keeps_the_contract() {
    let subject = ContractSubject { open: &open, writer: &writer };
    let mut broken = vec![];
    for (name, check) in checks::<RocksEngine>() {
        let folder = tempfile::tempdir().unwrap();
        if let Err(breach) = check(&subject, &folder.path().join("rows")) {
            broken.push(format!("{name}: {breach}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Does nothing unless the contract starts it.
#[test]
fn other_process() {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        write_until_killed(&open(&folder).unwrap(), std::io::stdout()).unwrap();
    }
}
