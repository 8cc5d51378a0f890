//! Where a log is read from, to check or to copy it: one resource after the other, as C2SP
//! `tlog-tiles` names them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::path::LogResource;
use super::proof::TileReader;
use super::tree::{self, Hash, TILE_WIDTH, TileId};

/// Why a log cannot be read at all. A resource that is missing or wrong is a finding instead.
#[derive(Debug, thiserror::Error)]
pub enum LogSourceError {
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A store.
    #[error(transparent)]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// A server.
    #[error("{0}")]
    Server(String),
    /// A path without a log.
    #[error(
        "{0} holds no log: neither a file `checkpoint`, nor folders of years with one, nor a store"
    )]
    NoLog(PathBuf),
    /// A tile is missing or damaged.
    #[error("{0} is missing or damaged")]
    Tile(String),
}

/// A log to be read, by shard and resource. A shard is named by the folder that it lies in: `2026`,
/// or nothing where there is only one.
pub trait LogSource {
    /// The shards, oldest first.
    ///
    /// # Errors
    /// [`LogSourceError`]
    fn shards(&self) -> Result<Vec<String>, LogSourceError>;

    /// A resource's bytes; `None` where it does not exist.
    ///
    /// # Errors
    /// [`LogSourceError`]
    fn read(&self, shard: &str, resource: LogResource) -> Result<Option<Vec<u8>>, LogSourceError>;

    /// A wider tile or bundle that begins with this one: once a full one exists, partial ones need
    /// not be kept.
    ///
    /// # Errors
    /// [`LogSourceError`]
    fn read_wider(
        &self,
        shard: &str,
        resource: LogResource,
    ) -> Result<Option<Vec<u8>>, LogSourceError> {
        match resource {
            LogResource::Checkpoint => Ok(None),
            LogResource::Tile(id, _) => self.read(shard, LogResource::Tile(id, TILE_WIDTH as u16)),
            LogResource::Entries(index, _) => {
                self.read(shard, LogResource::Entries(index, TILE_WIDTH as u16))
            }
        }
    }

    /// How many entries there are, where that is known without the checkpoint.
    ///
    /// # Errors
    /// [`LogSourceError`]
    fn entries(&self, shard: &str) -> Result<Option<u64>, LogSourceError> {
        let _ = shard;
        Ok(None)
    }
}

/// Reads a tile or bundle of that width, or the beginning of a wider one if it no longer exists.
///
/// # Errors
/// [`LogSourceError`]
pub fn read_or_wider(
    source: &dyn LogSource,
    shard: &str,
    resource: LogResource,
) -> Result<Option<Vec<u8>>, LogSourceError> {
    if let Some(found) = source.read(shard, resource)? {
        return Ok(Some(found));
    }
    let Some(mut found) = source.read_wider(shard, resource)? else {
        return Ok(None);
    };
    let length = match resource {
        LogResource::Tile(_, width) => usize::from(width) * 32,
        LogResource::Entries(_, width) => {
            let head = split_bundle(&found)
                .unwrap_or_default()
                .into_iter()
                .take(width.into());
            head.map(|entry| entry.len() + 2).sum()
        }
        LogResource::Checkpoint => found.len(),
    };
    found.truncate(length);
    Ok(Some(found))
}

/// The entries of a bundle; `None` if lengths and bytes do not fit.
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

/// The tiles of a source, for proofs; each is read once.
pub struct SourceTiles<'s> {
    source: &'s dyn LogSource,
    shard: &'s str,
    size: u64,
    read: BTreeMap<TileId, Rc<Vec<Hash>>>,
}

impl<'s> SourceTiles<'s> {
    /// The tiles of the tree of `size` entries.
    pub fn new(source: &'s dyn LogSource, shard: &'s str, size: u64) -> Self {
        Self {
            source,
            shard,
            size,
            read: BTreeMap::new(),
        }
    }
}

impl TileReader for SourceTiles<'_> {
    type Error = LogSourceError;

    fn tile(&mut self, id: TileId, count: usize) -> Result<Rc<Vec<Hash>>, LogSourceError> {
        if let Some(tile) = self.read.get(&id) {
            return Ok(tile.clone());
        }
        let resource = LogResource::Tile(id, tree::width(id, self.size));
        let bytes = read_or_wider(self.source, self.shard, resource)?;
        let hashes = bytes
            .and_then(|bytes| tree::tile_hashes(&bytes))
            .filter(|hashes| hashes.len() >= count);
        let hashes = Rc::new(hashes.ok_or_else(|| LogSourceError::Tile(resource.to_string()))?);
        self.read.insert(id, hashes.clone());
        Ok(hashes)
    }
}
