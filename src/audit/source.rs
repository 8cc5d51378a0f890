//! Sources of logs beside a server: a copied folder, and a store (a backup, or a store that another
//! process writes).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::shard_reader::ShardReader;
use crate::store::{Shard, Store, StoreError, TreeRow};
use crate::tlog::path::LogResource;
use crate::tlog::source::{LogSource, LogSourceError};
use crate::tlog::tree::TILE_WIDTH;

impl From<StoreError> for LogSourceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

/// The folder or store at a path.
///
/// # Errors
/// [`LogSourceError`]
pub fn open(path: &Path) -> Result<Box<dyn LogSource>, LogSourceError> {
    if path.join("CURRENT").exists() {
        return Ok(Box::new(StoreSource::open(path)?));
    }
    let folder = LogFolder(path.to_owned());
    if folder.shards()?.is_empty() {
        return Err(LogSourceError::NoLog(path.to_owned()));
    }
    Ok(Box::new(folder))
}

/// A log copied into a folder: `checkpoint`, `tile/…`, as a server has it; or a folder of those for
/// each shard.
pub struct LogFolder(pub PathBuf);

impl LogSource for LogFolder {
    fn shards(&self) -> Result<Vec<String>, LogSourceError> {
        let Self(path) = self;
        if path.join("checkpoint").exists() {
            return Ok(vec![String::new()]);
        }
        let at = |error| LogSourceError::File(path.clone(), error);
        let mut shards = vec![];
        for entry in path.read_dir().map_err(at)? {
            let name = entry.map_err(at)?.file_name();
            let shard = name.to_str().and_then(Shard::parse);
            shards.extend(shard.filter(|_| path.join(&name).join("checkpoint").exists()));
        }
        shards.sort();
        Ok(shards.iter().map(Shard::to_string).collect())
    }

    fn read(&self, shard: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogSourceError> {
        let path = self.0.join(shard).join(resource.to_string());
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogSourceError::File(path, error)),
        }
    }

    fn read_wider(
        &self,
        shard: &str,
        resource: LogResource,
    ) -> Result<Option<Vec<u8>>, LogSourceError> {
        let least = match resource {
            LogResource::Checkpoint => return Ok(None),
            LogResource::Tile(_, width) | LogResource::Entries(_, width) => width,
        };
        let of = |width: u16| match resource {
            LogResource::Tile(id, _) => LogResource::Tile(id, width),
            LogResource::Entries(index, _) => LogResource::Entries(index, width),
            LogResource::Checkpoint => LogResource::Checkpoint,
        };
        for width in least + 1..=TILE_WIDTH as u16 {
            if let Some(found) = self.read(shard, of(width))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// A store that is only read.
pub struct StoreSource {
    store: Store,
    trees: BTreeMap<Shard, TreeRow>,
}

impl StoreSource {
    /// Opens the store at a path for reading.
    ///
    /// # Errors
    /// [`LogSourceError::Store`]
    pub fn open(path: &Path) -> Result<Self, LogSourceError> {
        let store = Store::open_for_audit(path)?;
        let trees = store
            .trees()?
            .into_iter()
            .map(|tree| (tree.shard, tree))
            .collect();
        Ok(Self { store, trees })
    }

    fn tree(&self, shard: &str) -> Option<&TreeRow> {
        self.trees.get(&Shard::parse(shard)?)
    }

    /// The bundle of the entries that are there, even if some are missing.
    fn bundle(&self, tree: &TreeRow, index: u64, width: u16) -> Result<Vec<u8>, StoreError> {
        let first = tree.first + index * TILE_WIDTH as u64;
        let mut bundle = vec![];
        self.store
            .each_audit::<StoreError>(first, width.into(), |number, entry| {
                if number < first + u64::from(width) {
                    bundle.extend_from_slice(&(entry.len() as u16).to_be_bytes());
                    bundle.extend_from_slice(entry);
                }
                Ok(())
            })?;
        Ok(bundle)
    }
}

impl LogSource for StoreSource {
    fn shards(&self) -> Result<Vec<String>, LogSourceError> {
        Ok(self.trees.keys().map(Shard::to_string).collect())
    }

    fn read(&self, shard: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogSourceError> {
        let Some(tree) = self.tree(shard) else {
            return Ok(None);
        };
        let found = match resource {
            LogResource::Checkpoint => self.store.checkpoint(tree.shard),
            LogResource::Entries(index, width) => self.bundle(tree, index, width).map(Some),
            LogResource::Tile(..) => ShardReader::new(&self.store, tree, tree.size).read(resource),
        };
        match found {
            // The verifier reports holes, with their place.
            Err(StoreError::Corrupt(_)) => Ok(None),
            found => Ok(found?),
        }
    }

    fn entries(&self, shard: &str) -> Result<Option<u64>, LogSourceError> {
        Ok(self.tree(shard).map(|tree| tree.size))
    }
}
