//! The contract of the store's engine (`src/store/contract.rs`): RocksDB keeps it, and an engine
//! that forgets does not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::RwLock;

use cloison::store::contract::{ContractSubject, checks, write_until_killed};
use cloison::store::rows::{RowEngine, ScanRange, ScanStep};
use cloison::store::{ColumnName, RocksEngine, StoreError};

/// Where the other process finds the folder of the rows.
const FOLDER: &str = "CLOISON_CONTRACT_FOLDER";

fn open(folder: &Path) -> Result<RocksEngine, StoreError> {
    RocksEngine::open(folder, "contract/engine", 1 << 20)
}

/// This program again, running [`other_process`] alone.
fn writer(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["store_contract::other_process", "--exact", "--nocapture"])
        .env(FOLDER, folder);
    command
}

/// The checks that an engine fails, with the reason of each.
fn broken<E: RowEngine>(
    open: &dyn Fn(&Path) -> Result<E, StoreError>,
) -> Vec<(&'static str, String)> {
    let subject = ContractSubject {
        open,
        writer: &writer,
    };
    let failed = |(name, check): (_, cloison::store::contract::ContractCheck<E>)| {
        let folder = tempfile::tempdir().unwrap();
        check(&subject, &folder.path().join("rows"))
            .err()
            .map(|breach| (name, breach.to_string()))
    };
    checks::<E>().into_iter().filter_map(failed).collect()
}

#[test]
fn rocksdb_keeps_the_contract() {
    let broken = broken(&open);
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn an_engine_that_forgets_is_found_out() {
    let found: Vec<_> = broken(&|_| Ok(ForgetfulEngine::default()))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "a batch takes effect at its commit, in the order of its entries",
        "rows are loaded and kept",
        "what was acknowledged survives a kill",
        "a second opener is refused",
    ];
    assert_eq!(
        found, expected,
        "it keeps its rows in order, and for as long as it is open"
    );
}

/// Does nothing unless the contract starts it.
#[test]
fn other_process() {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        write_until_killed(&open(&folder).unwrap(), std::io::stdout()).unwrap();
    }
}

type Rows = BTreeMap<(ColumnName, Vec<u8>), Vec<u8>>;

/// Rows in the memory of one opener.
#[derive(Default)]
struct ForgetfulEngine(RwLock<Rows>);

impl RowEngine for ForgetfulEngine {
    type Batch = Vec<Box<dyn FnOnce(&mut Rows) + Send>>;

    fn read(&self, column: ColumnName, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.read().unwrap().get(&(column, key.to_vec())).cloned())
    }

    fn read_sorted<K: AsRef<[u8]>>(
        &self,
        column: ColumnName,
        keys: &[K],
        mut each: impl FnMut(Option<&[u8]>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        keys.iter()
            .try_for_each(|key| each(self.read(column, key.as_ref())?.as_deref()))
    }

    fn last(&self, column: ColumnName) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        let rows = self.0.read().unwrap();
        let last = rows.iter().rfind(|((of, _), _)| *of == column);
        Ok(last.map(|((_, key), value)| (key.clone(), value.clone())))
    }

    fn scan<E: From<StoreError>>(
        &self,
        column: ColumnName,
        range: ScanRange<'_>,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<ScanStep, E>,
    ) -> Result<(), E> {
        let (rows, mut from) = (self.0.read().unwrap(), range.from.to_vec());
        for ((of, key), value) in rows.range((column, from.clone())..) {
            if *of != column || !key.starts_with(range.prefix) {
                break;
            }
            if *key < from {
                continue;
            }
            match each(key, value)? {
                ScanStep::Next => {}
                ScanStep::SkipTo(later) => from = later,
                ScanStep::Stop => break,
            }
        }
        Ok(())
    }

    fn put(&self, batch: &mut Self::Batch, column: ColumnName, key: &[u8], value: &[u8]) {
        let (key, value) = (key.to_vec(), value.to_vec());
        batch.push(Box::new(move |rows| {
            drop(rows.insert((column, key), value));
        }));
    }

    fn delete(&self, batch: &mut Self::Batch, column: ColumnName, key: &[u8]) {
        let key = key.to_vec();
        batch.push(Box::new(move |rows| drop(rows.remove(&(column, key)))));
    }

    fn delete_range(&self, batch: &mut Self::Batch, column: ColumnName, from: &[u8], until: &[u8]) {
        let range = (column, from.to_vec())..(column, until.to_vec());
        batch.push(Box::new(move |rows| {
            rows.retain(|key, _| !range.contains(key));
        }));
    }

    fn commit(&self, batch: Self::Batch) -> Result<(), StoreError> {
        let mut rows = self.0.write().unwrap();
        batch.into_iter().for_each(|change| change(&mut rows));
        Ok(())
    }

    fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        column: ColumnName,
        rows: impl Iterator<Item = (K, V)>,
    ) -> Result<(), StoreError> {
        let mut batch = vec![];
        rows.for_each(|(key, value)| self.put(&mut batch, column, key.as_ref(), value.as_ref()));
        self.commit(batch)
    }
}
