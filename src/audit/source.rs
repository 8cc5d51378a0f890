//! Where a log is read from to check it: a copied folder, a store (a backup, or beside the process that writes it), or, by
//! `client::Client`, a server.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::path::Resource;
use super::proof::Tiles;
use super::shelf::Shelf;
use super::tree::{self, Hash, TILE_WIDTH, TileId};
use crate::store::{Shard, Store, StoreError, TreeRow};

/// Why a log cannot be read at all. What is only missing or wrong in it is a finding.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server.
    #[error("{0}")]
    Server(String),
    /// Nothing that looks like a log.
    #[error("{0} holds no log: neither a file `checkpoint`, nor folders of years with one, nor a store")]
    NoLog(PathBuf),
    /// A tile is not there, or is no tile.
    #[error("{0} is missing or damaged")]
    Tile(String),
}

/// A log to be read, by shard and resource. A shard is named by the folder that it lies in: `2026`, or nothing where there
/// is only one.
pub trait Source {
    /// The shards, oldest first.
    ///
    /// # Errors
    /// [`SourceError`]
    fn shards(&self) -> Result<Vec<String>, SourceError>;

    /// A resource's bytes; `None` where there is none.
    ///
    /// # Errors
    /// [`SourceError`]
    fn read(&self, shard: &str, resource: Resource) -> Result<Option<Vec<u8>>, SourceError>;

    /// A tile or bundle that begins with this one and is wider, where this one is gone: partial ones need not be kept once
    /// there is the full one.
    ///
    /// # Errors
    /// [`SourceError`]
    fn read_wider(&self, shard: &str, resource: Resource) -> Result<Option<Vec<u8>>, SourceError> {
        match resource {
            Resource::Checkpoint => Ok(None),
            Resource::Tile(id, _) => self.read(shard, Resource::Tile(id, TILE_WIDTH as u16)),
            Resource::Entries(index, _) => self.read(shard, Resource::Entries(index, TILE_WIDTH as u16)),
        }
    }

    /// How many entries there are, where that is known without the checkpoint.
    ///
    /// # Errors
    /// [`SourceError`]
    fn entries(&self, shard: &str) -> Result<Option<u64>, SourceError> {
        let _ = shard;
        Ok(None)
    }
}

/// The folder or store at a path.
///
/// # Errors
/// [`SourceError`]
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    if path.join("CURRENT").exists() {
        return Ok(Box::new(StoreCopy::open(path)?));
    }
    let folder = Folder(path.to_owned());
    match folder.shards()?.is_empty() {
        true => Err(SourceError::NoLog(path.to_owned())),
        false => Ok(Box::new(folder)),
    }
}

/// A tile or bundle of that width; where a partial one is gone, the beginning of a wider one.
///
/// # Errors
/// [`SourceError`]
pub fn read_or_wider(source: &dyn Source, shard: &str, resource: Resource) -> Result<Option<Vec<u8>>, SourceError> {
    if let Some(found) = source.read(shard, resource)? {
        return Ok(Some(found));
    }
    let Some(mut found) = source.read_wider(shard, resource)? else { return Ok(None) };
    let length = match resource {
        Resource::Tile(_, width) => usize::from(width) * 32,
        Resource::Entries(_, width) => {
            let head = split_bundle(&found).unwrap_or_default().into_iter().take(width.into());
            head.map(|entry| entry.len() + 2).sum()
        }
        Resource::Checkpoint => found.len(),
    };
    found.truncate(length);
    Ok(Some(found))
}

/// The entries of a bundle; `None` where lengths and bytes do not fit.
pub fn split_bundle(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = vec![];
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        bundle = rest;
    }
    Some(entries)
}

/// A log copied into a folder: `checkpoint`, `tile/…`, as a server has it; or a folder of those for each shard.
pub struct Folder(pub PathBuf);

impl Source for Folder {
    fn shards(&self) -> Result<Vec<String>, SourceError> {
        let Self(path) = self;
        if path.join("checkpoint").exists() {
            return Ok(vec![String::new()]);
        }
        let at = |error| SourceError::File(path.clone(), error);
        let mut shards = vec![];
        for entry in path.read_dir().map_err(at)? {
            let name = entry.map_err(at)?.file_name();
            let shard = name.to_str().and_then(Shard::parse);
            shards.extend(shard.filter(|_| path.join(&name).join("checkpoint").exists()));
        }
        shards.sort();
        Ok(shards.iter().map(Shard::to_string).collect())
    }

    fn read(&self, shard: &str, resource: Resource) -> Result<Option<Vec<u8>>, SourceError> {
        let path = self.0.join(shard).join(resource.to_string());
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceError::File(path, error)),
        }
    }

    fn read_wider(&self, shard: &str, resource: Resource) -> Result<Option<Vec<u8>>, SourceError> {
        let least = match resource {
            Resource::Checkpoint => return Ok(None),
            Resource::Tile(_, width) | Resource::Entries(_, width) => width,
        };
        let of = |width: u16| match resource {
            Resource::Tile(id, _) => Resource::Tile(id, width),
            Resource::Entries(index, _) => Resource::Entries(index, width),
            Resource::Checkpoint => Resource::Checkpoint,
        };
        for width in least + 1..=TILE_WIDTH as u16 {
            if let Some(found) = self.read(shard, of(width))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// A store, only read.
pub struct StoreCopy {
    store: Store,
    trees: BTreeMap<Shard, TreeRow>,
}

impl StoreCopy {
    /// Opens it.
    ///
    /// # Errors
    /// [`SourceError::Store`]
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let store = Store::open_for_audit(path)?;
        let trees = store.trees()?.into_iter().map(|tree| (tree.shard, tree)).collect();
        Ok(Self { store, trees })
    }

    fn tree(&self, shard: &str) -> Option<&TreeRow> {
        self.trees.get(&Shard::parse(shard)?)
    }

    /// The bundle of what is there, whether that is complete or not.
    fn bundle(&self, tree: &TreeRow, index: u64, width: u16) -> Result<Vec<u8>, StoreError> {
        let first = tree.first + index * TILE_WIDTH as u64;
        let mut bundle = vec![];
        self.store.each_audit::<StoreError>(first, width.into(), |number, entry| {
            if number < first + u64::from(width) {
                bundle.extend_from_slice(&(entry.len() as u16).to_be_bytes());
                bundle.extend_from_slice(entry);
            }
            Ok(())
        })?;
        Ok(bundle)
    }
}

impl Source for StoreCopy {
    fn shards(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.trees.keys().map(Shard::to_string).collect())
    }

    fn read(&self, shard: &str, resource: Resource) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(tree) = self.tree(shard) else { return Ok(None) };
        let found = match resource {
            Resource::Checkpoint => self.store.checkpoint(tree.shard),
            Resource::Entries(index, width) => self.bundle(tree, index, width).map(Some),
            Resource::Tile(..) => Shelf::new(&self.store, tree, tree.size).read(resource),
        };
        match found {
            // Holes are for the verifier to report, with their place.
            Err(StoreError::Corrupt(_)) => Ok(None),
            found => Ok(found?),
        }
    }

    fn entries(&self, shard: &str) -> Result<Option<u64>, SourceError> {
        Ok(self.tree(shard).map(|tree| tree.size))
    }
}

/// The tiles of a source, for proofs; each is read once.
pub struct SourceTiles<'s> {
    source: &'s dyn Source,
    shard: &'s str,
    size: u64,
    read: BTreeMap<TileId, Rc<Vec<Hash>>>,
}

impl<'s> SourceTiles<'s> {
    /// Those of the tree of `size` entries.
    pub fn new(source: &'s dyn Source, shard: &'s str, size: u64) -> Self {
        Self { source, shard, size, read: BTreeMap::new() }
    }
}

impl Tiles for SourceTiles<'_> {
    type Error = SourceError;

    fn tile(&mut self, id: TileId, count: usize) -> Result<Rc<Vec<Hash>>, SourceError> {
        if let Some(tile) = self.read.get(&id) {
            return Ok(tile.clone());
        }
        let resource = Resource::Tile(id, tree::width(id, self.size));
        let bytes = read_or_wider(self.source, self.shard, resource)?;
        let hashes = bytes.and_then(|bytes| tree::tile_hashes(&bytes)).filter(|hashes| hashes.len() >= count);
        let hashes = Rc::new(hashes.ok_or_else(|| SourceError::Tile(resource.to_string()))?);
        self.read.insert(id, hashes.clone());
        Ok(hashes)
    }
}
